//! The part of an image whose samples are computed.

use super::header::{Component, Frame};
use super::upsample::Plane;
use crate::data::image::Region;
use std::ops::Range;

/// The MCUs that the pixels asked for depend on.
pub struct Window {
    /// MCU columns and rows.
    columns: Range<usize>,
    rows: Range<usize>,
    /// What the result holds: whole MCU columns of the rows asked for.
    pub pixels: Region,
}

impl Window {
    /// The chroma filter reads one sample around each.
    pub fn new(frame: &Frame, needed: Region) -> Self {
        let mcus = |start: usize, length: usize, factor: usize, size: usize| {
            let end = (start + length + factor).min(size);
            start.saturating_sub(factor) / (8 * factor)..end.div_ceil(8 * factor)
        };
        let columns = mcus(needed.x, needed.width, frame.max_h, frame.width);
        let rows = mcus(needed.y, needed.height, frame.max_v, frame.height);
        let left = columns.start * 8 * frame.max_h;
        let right = (columns.end * 8 * frame.max_h).min(frame.width);
        Window {
            columns,
            rows,
            pixels: Region {
                x: left,
                width: right - left,
                ..needed
            },
        }
    }

    /// The columns and rows of a component's blocks.
    pub fn blocks(&self, c: &Component) -> (Range<usize>, Range<usize>) {
        (
            self.columns.start * c.h..self.columns.end * c.h,
            self.rows.start * c.v..self.rows.end * c.v,
        )
    }

    /// Room for a component's samples.
    pub fn plane(&self, c: &Component) -> Plane {
        let (columns, rows) = self.blocks(c);
        Plane {
            samples: vec![0; columns.len() * rows.len() * 64],
            stride: columns.len() * 8,
            left: columns.start * 8,
            top: rows.start * 8,
        }
    }
}
