//! The Hugging Face hub: its cache on this machine, and downloads into it.
//!
//! The transfer is written here on `ureq`: the `hf-hub` crate (0.4, blocking) checks no checksum,
//! no free space and no size, gives up on 429 and 5xx, and knows no offline mode. The cache has
//! the layout of `huggingface_hub`, so that Python's tools and this one share it.
//!
//! Nothing but `radio-eval fetch` calls [`client`] and [`download`].

pub mod cache;
mod checksum;
pub mod client;
pub mod download;
mod failure;

pub use cache::{HubCache, RepoKind};
pub use client::{Hub, RemoteFile};
pub use download::{Plan, Progress};
