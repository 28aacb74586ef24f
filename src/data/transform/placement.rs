//! Where a transform put an image, so that boxes, masks and points can follow it.

use crate::data::geometry::BoundingBox;
use crate::data::image::Region;

/// Along each axis, `result = image * scale + inset`, in the continuous coordinates of
/// [`crate::data::geometry`]: resampling with half-pixel centres is exactly that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// (height, width) of the image as stored.
    pub original: (usize, usize),
    /// (height, width) that the whole image was resized to, before anything was cut off or added.
    pub resized: (usize, usize),
    /// Pixels of the result per pixel of the image, (x, y): the rounded sides' ratio, not the
    /// ratio that was asked for. x is negative where the image was mirrored.
    pub scale: (f64, f64),
    /// Where the image's left and top edge came to lie, (x, y); negative where they were cut off.
    pub inset: (f64, f64),
    /// (height, width) of the result.
    pub size: (usize, usize),
    /// The part of the result that shows the image; the rest is padding.
    pub shown: Region,
}

impl Placement {
    /// An image as it is.
    pub fn unchanged(height: usize, width: usize) -> Self {
        Self::resized((height, width), (height, width))
    }

    /// An image of `original` (height, width) resized to `size`, all of it.
    pub fn resized(original: (usize, usize), size: (usize, usize)) -> Self {
        Self::cut(original, size, size, (0, 0))
    }

    /// The window of `size` (height, width) whose top left is at (`top`, `left`) of the image
    /// resized to `resized`; negative where the window begins with padding.
    pub fn cut(
        original: (usize, usize),
        resized: (usize, usize),
        size: (usize, usize),
        (top, left): (i64, i64),
    ) -> Self {
        let ratio = |to: usize, from: usize| to as f64 / from as f64;
        // Where the image begins in the window, and for how long it is seen.
        let seen = |start: i64, window: usize, length: usize| {
            let first = start.saturating_neg().clamp(0, window as i64);
            let end = (length as i64).saturating_sub(start);
            (
                first as usize,
                (end.clamp(first, window as i64) - first) as usize,
            )
        };
        let (x, width) = seen(left, size.1, resized.1);
        let (y, height) = seen(top, size.0, resized.0);
        Placement {
            original,
            resized,
            scale: (ratio(resized.1, original.1), ratio(resized.0, original.0)),
            inset: (-left as f64, -top as f64),
            size,
            shown: Region {
                x,
                y,
                width,
                height,
            },
        }
    }

    /// With left and right of the result exchanged.
    pub fn mirrored(self) -> Self {
        Placement {
            scale: (-self.scale.0, self.scale.1),
            inset: (self.size.1 as f64 - self.inset.0, self.inset.1),
            shown: Region {
                x: self.size.1 - self.shown.x - self.shown.width,
                ..self.shown
            },
            ..self
        }
    }

    /// With padding to at least `height` x `width` at the right and the bottom.
    pub fn padded(self, height: usize, width: usize) -> Self {
        Placement {
            size: (self.size.0.max(height), self.size.1.max(width)),
            ..self
        }
    }

    /// A point of the image, in the result; outside of it where that part was cut off.
    pub fn point_in_result(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            x * self.scale.0 + self.inset.0,
            y * self.scale.1 + self.inset.1,
        ]
    }

    /// A point of the result, in the image; outside of it for padding.
    pub fn point_in_image(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            (x - self.inset.0) / self.scale.0,
            (y - self.inset.1) / self.scale.1,
        ]
    }

    /// A box of the image, in the result; not clipped.
    pub fn box_in_result(&self, bounds: &BoundingBox) -> BoundingBox {
        let near = self.point_in_result([bounds.x0, bounds.y0]);
        let far = self.point_in_result([bounds.x1, bounds.y1]);
        BoundingBox::from_corners(near, far)
    }

    /// A box of the result, in the image; not clipped.
    pub fn box_in_image(&self, bounds: &BoundingBox) -> BoundingBox {
        let near = self.point_in_image([bounds.x0, bounds.y0]);
        let far = self.point_in_image([bounds.x1, bounds.y1]);
        BoundingBox::from_corners(near, far)
    }
}
