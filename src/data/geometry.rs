//! Places in an image, in continuous coordinates: pixel (column, row) covers
//! `[column, column + 1) x [row, row + 1)`, so that its centre is at one half (Pillow's, COCO's
//! and libtorch's half-pixel convention).

/// An axis-parallel rectangle, by its left, top, right and bottom edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
}

impl BoundingBox {
    /// From COCO's `[x, y, width, height]`: the far edges are `x + width` and `y + height`,
    /// without rounding and without the minus one of inclusive corners.
    pub fn from_xywh([x, y, width, height]: [f64; 4]) -> Self {
        BoundingBox {
            x0: x,
            y0: y,
            x1: x + width,
            y1: y + height,
        }
    }

    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }

    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }
}
