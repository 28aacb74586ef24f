//! Where and how a run computes: device, precision, threads, seeds, interruption.

pub mod allocator;
pub mod cpu;
pub mod device;
pub mod disk;
pub mod guard;
pub mod home;
pub mod interrupt;
pub mod launcher;
pub mod limits;
pub mod load;
pub mod memory;
pub mod nvml;
pub mod progress;
pub mod rank;
pub mod shim;

pub use device::{Precision, Runtime};
pub use guard::guard;
pub use home::home;
pub use rank::Rank;
