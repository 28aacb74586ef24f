//! Text-driven segmentation: upstream's tensors, and the command from end to end.

mod command;
mod goldens;
mod layers;
