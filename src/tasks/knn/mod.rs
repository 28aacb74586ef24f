//! The weighted k-nearest-neighbour classifier on frozen features (spec/radio.md §5.4).

pub mod search;
pub mod topk;
