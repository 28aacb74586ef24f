//! From files, folders and archives to batches of pixels.

pub mod annotation;
pub mod augment;
pub mod brace;
pub mod catalogue;
pub mod classification;
pub mod coco;
pub mod content;
pub mod decode;
pub mod fetch;
pub mod files;
pub mod fingerprint;
pub mod geometry;
pub mod image;
pub mod labelled;
pub mod loader;
pub mod order;
pub mod paths;
pub mod pictures;
pub mod pipeline;
pub mod pixels;
pub mod resize;
pub mod segmentation;
pub mod source;
pub mod subset;
pub mod summary;
pub mod table;
pub mod transform;
pub mod tree;
pub mod whole;

pub use annotation::Annotation;
pub use source::Source;
