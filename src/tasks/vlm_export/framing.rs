//! From a picture to what the network sees of it: one view, or a view of the whole and tiles.

use crate::data::image::RgbImage;
use crate::data::resize::{Filter, resize};
use crate::{Error, Result};
use serde_json::{Value, json};

/// How a picture is brought to the network (spec/published.md §3, LLaVA-1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// AM-RADIO's: the long edge becomes `side`, both edges are padded to the multiple.
    Radio,
    /// LLaVA's `image_aspect_ratio pad`: padded to a square with the mean colour, then resized.
    ClipPad,
    /// Squashed to a square.
    Square,
    /// The picture's own size, each edge rounded to the multiple, no edge longer than `side`.
    Native,
    /// LLaVA-NeXT's: the whole squashed to a square, then the tiles of the best grid.
    Anyres,
}

impl Preset {
    pub const ALL: [Preset; 5] = [
        Preset::Radio,
        Preset::ClipPad,
        Preset::Square,
        Preset::Native,
        Preset::Anyres,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Preset::Radio => "radio",
            Preset::ClipPad => "clip-pad",
            Preset::Square => "square",
            Preset::Native => "native",
            Preset::Anyres => "anyres",
        }
    }
}

/// LLaVA-NeXT's grids as (columns, rows) of tiles (`image_grid_pinpoints` of llava-v1.6: 336x672,
/// 672x336, 672x672, 1008x336, 336x1008), in its order, which decides ties.
pub const LLAVA_NEXT_GRIDS: [(u32, u32); 5] = [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3)];

/// A preset with its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Framing {
    pub preset: Preset,
    /// Pixels; which edge it bounds is the preset's business.
    pub side: usize,
    /// Height and width of every view are multiples of this.
    pub multiple: usize,
    /// Colour of padding, 0..255.
    pub fill: [u8; 3],
    /// (columns, rows) of tiles to choose from (anyres).
    pub grids: Vec<(u32, u32)>,
}

/// Pixels of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewSize {
    pub height: usize,
    pub width: usize,
}

/// The views of a picture: all of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Views {
    pub size: ViewSize,
    /// (columns, rows) of tiles behind the view of the whole; (0, 0) where that is all.
    pub tiles: (u32, u32),
}

impl Views {
    pub fn count(&self) -> usize {
        1 + self.tiles.0 as usize * self.tiles.1 as usize
    }
}

impl Framing {
    /// Whether the views of a picture follow from the preset alone, whatever the picture's size.
    pub fn is_fixed(&self) -> bool {
        matches!(self.preset, Preset::ClipPad | Preset::Square)
    }

    /// For the manifest: everything that decides pixels.
    pub fn describe(&self) -> Value {
        let mut value = json!({
            "preset": self.preset.name(),
            "side": self.side,
            "multiple": self.multiple,
            "filter": "bicubic",
        });
        if matches!(self.preset, Preset::Radio | Preset::ClipPad) {
            value["fill"] = json!(self.fill);
        }
        if self.preset == Preset::Anyres {
            value["grids"] = json!(self.grids);
        }
        value
    }

    /// # Errors
    /// A side that is no multiple where views are squares of it; grids that are none.
    pub fn check(&self) -> Result<()> {
        let squares = matches!(
            self.preset,
            Preset::ClipPad | Preset::Square | Preset::Anyres
        );
        if squares && !self.side.is_multiple_of(self.multiple) {
            let down = (self.side / self.multiple).max(1) * self.multiple;
            return Err(Error::usage(format!(
                "--resolution {} is not a multiple of {}; preset {} needs one, like {down}",
                self.side,
                self.multiple,
                self.preset.name()
            )));
        }
        if self.side < self.multiple {
            return Err(Error::usage(format!(
                "--resolution {} is below the {} pixels that a view is made of",
                self.side, self.multiple
            )));
        }
        let tiles = |&(columns, rows): &(u32, u32)| columns as u64 * rows as u64;
        if self.preset == Preset::Anyres
            && (self.grids.is_empty() || self.grids.iter().any(|g| !(1..=64).contains(&tiles(g))))
        {
            return Err(Error::usage(
                "a grid has 1 to 64 tiles, and there must be one",
            ));
        }
        Ok(())
    }

    /// The views of a picture of `height` x `width`.
    pub fn views(&self, height: usize, width: usize) -> Views {
        let one = |height, width| Views {
            size: ViewSize { height, width },
            tiles: (0, 0),
        };
        match self.preset {
            Preset::ClipPad | Preset::Square => one(self.side, self.side),
            Preset::Radio => {
                let (h, w) = self.long_edge(height, width);
                one(self.up(h), self.up(w))
            }
            Preset::Native => {
                let (h, w) = self.native(height, width);
                one(h, w)
            }
            Preset::Anyres => Views {
                size: ViewSize {
                    height: self.side,
                    width: self.side,
                },
                tiles: self.best_grid(height, width),
            },
        }
    }

    /// The pixels of every view, the whole first, then tiles row by row.
    pub fn apply(&self, image: &RgbImage) -> Vec<RgbImage> {
        let (height, width, side) = (image.height, image.width, self.side);
        match self.preset {
            Preset::Square => vec![resize(image, side, side, Filter::Bicubic)],
            Preset::ClipPad => {
                // LLaVA's expand2square.
                let longer = height.max(width);
                let (x, y) = ((longer - width) / 2, (longer - height) / 2);
                let square = pasted(image, longer, longer, x, y, self.fill);
                vec![resize(&square, side, side, Filter::Bicubic)]
            }
            Preset::Radio => {
                let (h, w) = self.long_edge(height, width);
                let resized = resize(image, w, h, Filter::Bicubic);
                vec![pasted(&resized, self.up(w), self.up(h), 0, 0, self.fill)]
            }
            Preset::Native => {
                let (h, w) = self.native(height, width);
                vec![resize(image, w, h, Filter::Bicubic)]
            }
            Preset::Anyres => self.tiles(image),
        }
    }

    /// `length` up to the next multiple.
    fn up(&self, length: usize) -> usize {
        length.div_ceil(self.multiple) * self.multiple
    }

    /// (height, width) with the long edge at `side`, the other rounded (halves to even).
    fn long_edge(&self, height: usize, width: usize) -> (usize, usize) {
        let scale = self.side as f64 / height.max(width) as f64;
        let edge = |length: usize| ((length as f64 * scale).round_ties_even() as usize).max(1);
        (edge(height), edge(width))
    }

    /// (height, width) rounded to the multiple, scaled down first where an edge exceeds `side`.
    fn native(&self, height: usize, width: usize) -> (usize, usize) {
        let scale = (self.side as f64 / height.max(width) as f64).min(1.0);
        let most = self.side / self.multiple;
        let edge = |length: usize| {
            let times = (length as f64 * scale / self.multiple as f64).round_ties_even() as usize;
            times.clamp(1, most) * self.multiple
        };
        (edge(height), edge(width))
    }

    /// LLaVA-NeXT's `select_best_resolution`: the most pixels of the picture, then the least waste.
    fn best_grid(&self, height: usize, width: usize) -> (u32, u32) {
        let (h, w) = (height as f64, width as f64);
        let mut best = ((1, 1), (0u64, u64::MAX));
        for &grid in &self.grids {
            let to = (grid.0 as usize * self.side, grid.1 as usize * self.side);
            let scale = (to.0 as f64 / w).min(to.1 as f64 / h);
            let fitted = (w * scale) as u64 * (h * scale) as u64;
            let effective = fitted.min((width * height) as u64);
            let wasted = (to.0 * to.1) as u64 - effective;
            let (most, least) = best.1;
            if effective > most || (effective == most && wasted < least) {
                best = (grid, (effective, wasted));
            }
        }
        best.0
    }

    /// LLaVA-NeXT's `process_anyres_image`.
    fn tiles(&self, image: &RgbImage) -> Vec<RgbImage> {
        let side = self.side;
        let (columns, rows) = self.best_grid(image.height, image.width);
        let (columns, rows) = (columns as usize, rows as usize);
        let (to_w, to_h) = (columns * side, rows * side);
        let (w, h) = (image.width as f64, image.height as f64);
        let (scale_w, scale_h) = (to_w as f64 / w, to_h as f64 / h);
        let (width, height) = if scale_w < scale_h {
            (to_w, ((h * scale_w).ceil() as usize).min(to_h))
        } else {
            (((w * scale_h).ceil() as usize).min(to_w), to_h)
        };
        let resized = resize(image, width, height, Filter::Bicubic);
        let (x, y) = ((to_w - width) / 2, (to_h - height) / 2);
        let canvas = pasted(&resized, to_w, to_h, x, y, [0; 3]);
        let mut views = vec![resize(image, side, side, Filter::Bicubic)];
        for row in 0..rows {
            for column in 0..columns {
                views.push(cut(&canvas, column * side, row * side, side));
            }
        }
        views
    }
}

/// `image` on a canvas of `fill`, its top left at (x, y).
fn pasted(
    image: &RgbImage,
    width: usize,
    height: usize,
    x: usize,
    y: usize,
    fill: [u8; 3],
) -> RgbImage {
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    let mut out = RgbImage {
        width,
        height,
        data: fill.repeat(width * height),
    };
    for row in 0..image.height {
        let start = ((y + row) * width + x) * 3;
        out.data[start..start + image.width * 3].copy_from_slice(image.row(row));
    }
    out
}

fn cut(image: &RgbImage, x: usize, y: usize, side: usize) -> RgbImage {
    let rows = (y..y + side).flat_map(|row| &image.row(row)[x * 3..(x + side) * 3]);
    RgbImage {
        width: side,
        height: side,
        data: rows.copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(preset: Preset, side: usize, multiple: usize) -> Framing {
        Framing {
            preset,
            side,
            multiple,
            fill: [122, 116, 104],
            grids: LLAVA_NEXT_GRIDS.to_vec(),
        }
    }

    fn picture(height: usize, width: usize) -> RgbImage {
        let pixel = |i: usize| ((i * 37) % 251) as u8;
        RgbImage {
            width,
            height,
            data: (0..height * width * 3).map(pixel).collect(),
        }
    }

    #[test]
    fn sizes_are_those_of_the_views() {
        let cases = [
            (Preset::Radio, 432, 16, (480, 640), (336, 432)),
            (Preset::Radio, 432, 14, (333, 500), (294, 434)),
            (Preset::ClipPad, 336, 14, (10, 999), (336, 336)),
            (Preset::Native, 1024, 16, (100, 300), (96, 304)),
            (Preset::Native, 512, 16, (100, 2000), (32, 512)),
        ];
        for (preset, side, multiple, (h, w), (height, width)) in cases {
            let framing = framing(preset, side, multiple);
            let views = framing.views(h, w);
            assert_eq!(views.size, ViewSize { height, width }, "{preset:?}");
            let made = framing.apply(&picture(h, w));
            assert_eq!(made.len(), views.count());
            assert_eq!((made[0].height, made[0].width), (height, width));
        }
    }

    /// LLaVA's own functions on pictures of these sizes (`select_best_resolution`).
    #[test]
    fn grids_as_llava_next_chooses_them() {
        let anyres = framing(Preset::Anyres, 336, 14);
        for ((h, w), grid) in [
            ((480, 640), (2, 2)),
            ((200, 200), (1, 1)),
            ((300, 1200), (3, 1)),
            ((1000, 300), (1, 3)),
            ((336, 672), (2, 1)),
        ] {
            let expected = if grid == (1, 1) { (1, 2) } else { grid };
            assert_eq!(anyres.views(h, w).tiles, expected, "{h}x{w}");
        }
        let made = anyres.apply(&picture(480, 640));
        assert_eq!(made.len(), 5);
        assert!(made.iter().all(|v| (v.height, v.width) == (336, 336)));
    }

    #[test]
    fn padding_is_where_llava_puts_it() {
        let square = pasted(&picture(2, 4), 4, 4, 0, 1, [9, 8, 7]);
        assert_eq!(square.row(0)[..3], [9, 8, 7]);
        assert_eq!(square.row(1), picture(2, 4).row(0));
        assert_eq!(square.row(3)[9..], [9, 8, 7]);
    }
}
