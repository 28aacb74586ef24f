//! What RADIO, E-RADIO and RADIO1D share as students of several teachers: the training arguments in
//! their checkpoints, the layouts of tensor names, the adaptors that imitate a teacher with their
//! heads, and the normalisers of features.

pub mod adaptor;
pub mod args;
pub mod conditioner;
pub mod heads;
pub mod keys;
pub mod normalizer;
