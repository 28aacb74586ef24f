//! What a data set says about an image, by kind: a class, a class per pixel, objects, text.

use super::geometry::BoundingBox;

/// What is known about one image; see [`super::Source::annotation`].
#[derive(Debug, Clone, PartialEq)]
pub enum Annotation {
    /// The data set says nothing about the image.
    None,
    /// Index of the class that the whole image shows.
    Class(u32),
    /// A class for every pixel.
    Mask(LabelMap),
    /// The objects in the image, in the order of the data set; empty where it holds none.
    Instances(Vec<Instance>),
    /// A caption, a question, or a conversation as the data set stores it.
    Text(String),
}

/// Label of pixels that count nowhere (mmseg's `ignore_index`).
pub const IGNORE: u8 = 255;

/// A class for every pixel, row by row from the top: 0..classes, or [`IGNORE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    pub width: usize,
    pub height: usize,
    /// `height * width` labels.
    pub labels: Vec<u8>,
}

/// [`IGNORE`] among labels of 16 bits.
pub const WIDE_IGNORE: u16 = u16::MAX;

/// As [`LabelMap`], of sets with more classes than a byte counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WideLabelMap {
    pub width: usize,
    pub height: usize,
    /// `height * width` labels: 0..classes, or [`WIDE_IGNORE`].
    pub labels: Vec<u16>,
}

/// One object of an image, as COCO describes it (spec/coco.md).
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The annotation's id, unique within the data set.
    pub id: u64,
    /// The category's id as the data set numbers it; COCO's have gaps.
    pub category: u32,
    /// In pixels of the image as stored, neither rounded nor clipped.
    pub bounds: BoundingBox,
    /// In square pixels, as the data set states it; not the count of the mask's pixels.
    pub area: f64,
    /// Stands for a group of objects (COCO's `iscrowd`).
    pub crowd: bool,
    pub shape: Option<InstanceShape>,
}

/// Which pixels an instance has, in pixels of the image as stored.
#[derive(Debug, Clone, PartialEq)]
pub enum InstanceShape {
    /// The union of closed polygons, each a list of corners (x, y).
    Polygons(Vec<Vec<[f64; 2]>>),
    Runs(RunLengths),
}

/// COCO's run-length encoding, uncompressed: down the columns, left to right, lengths of
/// alternating runs that start with the background (which may be of length 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLengths {
    pub height: u32,
    pub width: u32,
    /// Sum up to `height * width`.
    pub counts: Vec<u32>,
}

impl Annotation {
    /// The class index of a class annotation.
    pub fn class(&self) -> Option<u32> {
        match self {
            Annotation::Class(class) => Some(*class),
            _ => None,
        }
    }
}
