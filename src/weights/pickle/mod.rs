//! A reader of Python pickles that builds data and runs nothing.
//!
//! A pickle is a program for a small stack machine whose instructions may call any Python
//! function. [`read`] runs the instructions that make data, and replaces the few calls found in
//! PyTorch checkpoints (`globals`) by code of its own; every other class or function becomes an
//! opaque marker that carries its name and has no effect.
//!
//! Format: CPython `Lib/pickletools.py`, protocols 2 to 5.

mod globals;
mod input;
mod json;
mod machine;
mod opcode;
mod value;

pub use machine::read;
pub use value::{Id, Node, Pickle, StorageRef, TensorRef};
