//! Text-driven segmentation: every pixel belongs to the class whose name lies nearest to its patch
//! in the joint space of images and text; nothing is trained (spec/open_vocabulary.md).

pub mod decide;
pub mod method;
pub mod names;
pub mod protocol;
pub mod scores;
pub mod segmenter;
