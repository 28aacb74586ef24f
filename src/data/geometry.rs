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

    /// The box that has these two points (x, y) as opposite corners.
    pub fn from_corners([ax, ay]: [f64; 2], [bx, by]: [f64; 2]) -> Self {
        BoundingBox {
            x0: ax.min(bx),
            y0: ay.min(by),
            x1: ax.max(bx),
            y1: ay.max(by),
        }
    }

    /// The part inside an image of `width` x `height`; empty (of no width or no height) where
    /// there is none.
    pub fn clipped(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width as f64, height as f64);
        BoundingBox {
            x0: self.x0.clamp(0.0, width),
            y0: self.y0.clamp(0.0, height),
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
        }
    }

    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }

    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }
}
