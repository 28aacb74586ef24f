//! From a decoded image to the size a model takes (spec/radio.md §5.1, spec/teachers.md §6,
//! spec/coco.md §1.2).
//!
//! The result stays in bytes: pixels become floats in [`super::pixels`], and the model normalises
//! for itself.

mod placement;

pub use placement::Placement;

use super::annotation::{IGNORE, LabelMap};
use super::decode::Limits;
use super::image::{Cutout, RgbImage};
use super::resize::{self, Filter, Region, Target};
use serde_json::{Value, json};

/// How the resized size follows from the image's, and what is cut out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The shortest side becomes this long.
    Shortest(usize),
    /// The longest side becomes this long (one value with `max_dim` upstream).
    Longest(usize),
    /// The smallest size that covers the rectangle, then the centre of it.
    Cover { height: usize, width: usize },
    /// The largest size within the rectangle (two values with `max_dim`), padded to a square with
    /// black, then the centre of it.
    Fit { height: usize, width: usize },
    /// This size, whatever the aspect ratio.
    Squash { height: usize, width: usize },
    /// torchvision's `Resize(size)` (the long side rounded down), then `CenterCrop(crop)`.
    Crop { size: usize, crop: usize },
    /// segment-anything's longest side: each side `int(length * scale + 0.5)`.
    LongestHalfUp(usize),
    /// The same, then padded at the right and the bottom to a square of this side.
    LongestHalfUpPadded(usize),
    /// The longest side becomes this long, the other as segment-anything has it, then down to a
    /// multiple (RADSeg).
    LongestFloored(usize),
}

/// One way of bringing images to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transform {
    pub mode: Mode,
    /// Both resized sides are rounded to multiples of this (halves to even, as Python rounds),
    /// except in the modes of other libraries (`Squash`, `Crop`, `LongestHalfUp`).
    pub multiple: usize,
    pub filter: Filter,
}

/// The resized size and the window cut from it, both in pixels.
struct Plan {
    resized: (usize, usize),
    /// Output size (height, width).
    window: (usize, usize),
    /// Top left of the window in the resized image; outside of it is black.
    top: i64,
    left: i64,
}

impl Transform {
    /// AM-RADIO's common transform for one resolution value: the shortest side becomes `size`.
    pub fn shortest(size: usize, multiple: usize) -> Self {
        Self::new(Mode::Shortest(size), multiple)
    }

    /// AM-RADIO's common transform for two values: cover, then centre crop.
    pub fn cover(height: usize, width: usize, multiple: usize) -> Self {
        Self::new(Mode::Cover { height, width }, multiple)
    }

    /// DFN-CLIP's and SigLIP's own transform.
    pub fn squash(size: usize) -> Self {
        Self::new(
            Mode::Squash {
                height: size,
                width: size,
            },
            1,
        )
    }

    /// open_clip's (`crop` = `size`) and DINOv2's (256, 224) own transform.
    pub fn crop(size: usize, crop: usize) -> Self {
        Self::new(Mode::Crop { size, crop }, 1)
    }

    /// segment-anything's own transform: longest side, Pillow bilinear.
    pub fn sam(size: usize) -> Self {
        Transform {
            mode: Mode::LongestHalfUp(size),
            multiple: 1,
            filter: Filter::Bilinear,
        }
    }

    /// All of segment-anything's own preprocessing but the normalisation: as [`Transform::sam`],
    /// then padded to a square. It pads after normalising, so the padding's colour is for the
    /// pipeline to put in ([`super::pipeline::Options::padding`]); here it is black.
    pub fn sam_padded(size: usize) -> Self {
        Transform {
            mode: Mode::LongestHalfUpPadded(size),
            ..Self::sam(size)
        }
    }

    /// RADSeg's way to SAM's size without padding: the longest side becomes `size`, the other is cut
    /// down to a multiple of `multiple`.
    pub fn sam_floored(size: usize, multiple: usize) -> Self {
        Transform {
            mode: Mode::LongestFloored(size),
            multiple,
            ..Self::sam(size)
        }
    }

    /// A transform with the bicubic filter that all but SAM's use.
    pub fn new(mode: Mode, multiple: usize) -> Self {
        Transform {
            mode,
            multiple,
            filter: Filter::Bicubic,
        }
    }

    /// The pixels that [`Transform::apply`] reads of an image of this size; all where it fails.
    pub fn reads(&self, height: usize, width: usize) -> Region {
        match self.plan(height, width) {
            Ok(plan) => self.target(&plan).0.reads(width, height),
            Err(_) => Region::whole(width, height),
        }
    }

    /// The result for an image, or for one of which `part` holds at least what
    /// [`Transform::reads`] says; of the size that [`Transform::output_size`] tells.
    ///
    /// # Errors
    /// A sentence where the resized image would exceed the pixel limit: an extreme aspect ratio
    /// under `Shortest`.
    pub fn apply<'a>(&self, part: impl Into<Cutout<'a>>) -> Result<RgbImage, String> {
        let part = part.into();
        let plan = self.plan(part.height, part.width)?;
        let (target, inset_x, inset_y) = self.target(&plan);
        let inside = target.apply(&part);
        let Region { width, height, .. } = target.region;
        if (height, width) == plan.window {
            return Ok(inside);
        }
        let mut out = RgbImage::black(plan.window.1, plan.window.0);
        for y in 0..height {
            let start = ((y + inset_y) * out.width + inset_x) * 3;
            out.data[start..start + width * 3].copy_from_slice(inside.row(y));
        }
        Ok(out)
    }

    /// The labels of an image, as [`Transform::apply`] places the image: nearest neighbour, as
    /// Pillow's `NEAREST` picks it, whatever the filter; [`IGNORE`] where there is padding. Errors
    /// as `apply`.
    pub fn apply_labels(&self, map: &LabelMap) -> Result<LabelMap, String> {
        let plan = self.plan(map.height, map.width)?;
        let (target, inset_x, inset_y) = self.target(&plan);
        let (height, width) = plan.window;
        let mut labels = vec![IGNORE; height * width];
        let rows = resize::nearest_positions(map.height, target.height);
        let columns = resize::nearest_positions(map.width, target.width);
        let Region { x, y, .. } = target.region;
        for (row, out) in rows[y..y + target.region.height].iter().zip(inset_y..) {
            let Some(row) = row else { continue };
            let line = &mut labels[out * width + inset_x..][..target.region.width];
            for (label, column) in line.iter_mut().zip(&columns[x..]) {
                if let Some(column) = column {
                    *label = map.labels[row * map.width + column];
                }
            }
        }
        Ok(LabelMap {
            width,
            height,
            labels,
        })
    }

    /// Where an image of (height, width) goes; errors as `apply`.
    pub fn placement(&self, height: usize, width: usize) -> Result<Placement, String> {
        let plan = self.plan(height, width)?;
        Ok(Placement::cut(
            (height, width),
            plan.resized,
            plan.window,
            (plan.top, plan.left),
        ))
    }

    /// The window's part inside the resized image, and its x and y in the window.
    fn target(&self, plan: &Plan) -> (Target, usize, usize) {
        let (resized_height, resized_width) = plan.resized;
        // (first, length, offset in the window)
        let clip = |start: i64, window: usize, size: usize| {
            let first = start.clamp(0, size as i64);
            let end = (start + window as i64).clamp(first, size as i64);
            let inset = (first - start).clamp(0, window as i64) as usize;
            (first as usize, (end - first) as usize, inset)
        };
        let (y, height, inset_y) = clip(plan.top, plan.window.0, resized_height);
        let (x, width, inset_x) = clip(plan.left, plan.window.1, resized_width);
        let region = Region {
            x,
            y,
            width,
            height,
        };
        let target = Target {
            width: resized_width,
            height: resized_height,
            filter: self.filter,
            region,
        };
        (target, inset_x, inset_y)
    }

    /// (height, width) of the result for an image of (height, width); errors as `apply`.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize), String> {
        Ok(self.plan(height, width)?.window)
    }

    /// For records and cache keys: everything that decides the result's pixels.
    pub fn describe(&self) -> Value {
        let (resize, size) = match self.mode {
            Mode::Shortest(size) => ("shortest", json!([size])),
            Mode::Longest(size) => ("longest", json!([size])),
            Mode::Cover { height, width } => ("cover", json!([height, width])),
            Mode::Fit { height, width } => ("fit", json!([height, width])),
            Mode::Squash { height, width } => ("squash", json!([height, width])),
            Mode::Crop { size, crop } => ("crop", json!([size, crop])),
            Mode::LongestHalfUp(size) => ("longest-half-up", json!([size])),
            Mode::LongestHalfUpPadded(size) => ("longest-half-up-padded", json!([size])),
            Mode::LongestFloored(size) => ("longest-floored", json!([size])),
        };
        json!({
            "resize": resize,
            "size": size,
            "multiple": self.multiple,
            "filter": self.filter,
        })
    }

    fn plan(&self, height: usize, width: usize) -> Result<Plan, String> {
        if height == 0 || width == 0 {
            return Err("the image has no pixels".into());
        }
        let (h, w) = (height as f64, width as f64);
        let scaled = |factor: f64| (self.round(h * factor), self.round(w * factor));
        let whole = |resized: (usize, usize)| Plan {
            resized,
            window: resized,
            top: 0,
            left: 0,
        };
        let plan = match self.mode {
            Mode::Shortest(size) => whole(scaled(size as f64 / h.min(w))),
            Mode::Longest(size) => whole(scaled(size as f64 / h.max(w))),
            Mode::Squash { height, width } => whole((height, width)),
            Mode::LongestHalfUp(size) | Mode::LongestHalfUpPadded(size) => {
                let scale = size as f64 / h.max(w);
                let side = |length: f64| ((length * scale + 0.5) as usize).max(1);
                let resized = whole((side(h), side(w)));
                match self.mode {
                    Mode::LongestHalfUpPadded(_) => Plan {
                        window: (size, size),
                        ..resized
                    },
                    _ => resized,
                }
            }
            Mode::LongestFloored(size) => {
                let scale = size as f64 / h.max(w);
                let multiple = self.multiple.max(1);
                let side = |length: f64| {
                    let times = (length * scale + 0.5) as usize / multiple;
                    times.max(1) * multiple
                };
                whole((side(h), side(w)))
            }
            Mode::Crop { size, crop } => {
                let long = |long: usize, short: usize| size * long / short;
                let resized = if height <= width {
                    (size, long(width, height))
                } else {
                    (long(height, width), size)
                };
                let (top, left) = (centre(resized.0, crop), centre(resized.1, crop));
                Plan {
                    resized,
                    window: (crop, crop),
                    top,
                    left,
                }
            }
            Mode::Cover {
                height: to_h,
                width: to_w,
            }
            | Mode::Fit {
                height: to_h,
                width: to_w,
            } => {
                let cover = matches!(self.mode, Mode::Cover { .. });
                let (input, output) = (h / w, to_h as f64 / to_w as f64);
                let by_width = if cover {
                    input > output
                } else {
                    input < output
                };
                let resized = scaled(if by_width {
                    to_w as f64 / w
                } else {
                    to_h as f64 / h
                });
                let square = resized.0.max(resized.1);
                // Padding puts the image `pad` from the top left of the square.
                let offset = |resized: usize, window: usize| {
                    centre(square, window) - ((square - resized) / 2) as i64
                };
                Plan {
                    resized,
                    window: (to_h, to_w),
                    top: offset(resized.0, to_h),
                    left: offset(resized.1, to_w),
                }
            }
        };
        Limits::default().check_resized((height, width), plan.resized)?;
        Ok(plan)
    }

    /// Python's `int(round(length / multiple) * multiple)`, but never nothing.
    fn round(&self, length: f64) -> usize {
        let multiple = self.multiple.max(1);
        let times = (length / multiple as f64).round_ties_even();
        (times as usize).max(1).saturating_mul(multiple)
    }
}

/// Where torchvision's `CenterCrop` starts; negative where it pads.
fn centre(size: usize, crop: usize) -> i64 {
    if crop > size {
        -(((crop - size) / 2) as i64)
    } else {
        ((size - crop) as f64 / 2.0).round_ties_even() as i64
    }
}
