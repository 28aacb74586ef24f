//! Large-scale jitter (Ghiasi et al. 2021) as detectron2 has it for ViTDet: a random scale, a crop
//! of the input's size (padded where the picture is smaller) and a flip. Objects follow the
//! picture; their boxes are drawn anew from what is left of their masks.

use crate::data::annotation::{Instance, InstanceShape};
use crate::data::coco::mask;
use crate::data::decode::Limits;
use crate::data::geometry::BoundingBox;
use crate::data::image::{Region, RgbImage};
use crate::data::resize::{Filter, Target};
use crate::data::transform::Placement;
use crate::rng::Rng;

/// Shortest side of an object that is still trained on, in pixels.
const LEAST_SIDE: f64 = 1.0;

pub struct Jitter {
    /// Side of the result.
    pub side: usize,
    /// Scales, as shares of `side`.
    pub scales: (f64, f64),
}

impl Jitter {
    /// The picture, and where it went. Errors as [`Limits::check_resized`].
    pub fn apply(&self, image: &RgbImage, rng: &mut Rng) -> Result<(RgbImage, Placement), String> {
        let original = (image.height, image.width);
        let target = rng.uniform(self.scales.0, self.scales.1) * self.side as f64;
        let scale = (target / original.0 as f64).min(target / original.1 as f64);
        let length = |n: usize| ((n as f64 * scale + 0.5) as usize).max(1);
        let (height, width) = (length(original.0), length(original.1));
        Limits::default().check_resized(original, (height, width))?;
        let window = |length: usize, rng: &mut Rng| {
            let spare = length.saturating_sub(self.side);
            (rng.below(spare + 1), length.min(self.side))
        };
        let ((y, rows), (x, columns)) = (window(height, rng), window(width, rng));
        let part = Target {
            width,
            height,
            filter: Filter::Bilinear,
            region: Region {
                x,
                y,
                width: columns,
                height: rows,
            },
        };
        let mut shown = part.apply(&image.into());
        let mut placement = Placement::cut(
            original,
            (height, width),
            (rows, columns),
            (y as i64, x as i64),
        );
        if rng.coin() {
            mirror(&mut shown);
            placement = placement.mirrored();
        }
        let mut out = RgbImage::black(self.side, self.side);
        for y in 0..rows {
            let start = y * self.side * 3;
            out.data[start..start + columns * 3].copy_from_slice(shown.row(y));
        }
        Ok((out, placement.padded(self.side, self.side)))
    }
}

fn mirror(image: &mut RgbImage) {
    for row in image.data.chunks_exact_mut(image.width * 3) {
        let (pixels, _) = row.as_chunks_mut::<3>();
        pixels.reverse();
    }
}

/// Objects in a square of `side` pixels, `enlarged` times the frame of `placement`: shapes drawn as
/// run lengths, boxes around them. Crowds and what is not seen any more are left out.
///
/// # Errors
/// A sentence about a shape that cannot be drawn.
pub fn placed(
    instances: &[Instance],
    placement: &Placement,
    side: usize,
    enlarged: f64,
) -> Result<Vec<Instance>, String> {
    let mut kept = Vec::new();
    for instance in instances.iter().filter(|instance| !instance.crowd) {
        let bounds = placement.box_in_result(&instance.bounds);
        let bounds = BoundingBox {
            x0: bounds.x0 * enlarged,
            y0: bounds.y0 * enlarged,
            x1: bounds.x1 * enlarged,
            y1: bounds.y1 * enlarged,
        };
        let (bounds, shape) = match &instance.shape {
            None => (bounds.clipped(side, side), None),
            Some(shape) => {
                let moved = moved(instance, shape, placement, enlarged, side)?;
                let Some((bounds, shape)) = moved else {
                    continue;
                };
                (bounds, Some(shape))
            }
        };
        if bounds.width() >= LEAST_SIDE && bounds.height() >= LEAST_SIDE {
            kept.push(Instance {
                bounds,
                shape,
                ..instance.clone()
            });
        }
    }
    Ok(kept)
}

/// The shape in the square, and the box around it; `None` where nothing of it is seen.
fn moved(
    instance: &Instance,
    shape: &InstanceShape,
    placement: &Placement,
    enlarged: f64,
    side: usize,
) -> Result<Option<(BoundingBox, InstanceShape)>, String> {
    let rows = match shape {
        InstanceShape::Polygons(polygons) => {
            let point =
                |corner: &[f64; 2]| placement.point_in_result(*corner).map(|v| v * enlarged);
            let polygons = polygons
                .iter()
                .map(|p| p.iter().map(point).collect())
                .collect();
            let moved = Instance {
                shape: Some(InstanceShape::Polygons(polygons)),
                ..instance.clone()
            };
            match mask::runs(&moved, side, side)? {
                None => return Ok(None),
                Some(runs) => mask::raster(&runs),
            }
        }
        InstanceShape::Runs(runs) => {
            let (height, width) = placement.original;
            if (runs.height as usize, runs.width as usize) != (height, width) {
                return Err(format!(
                    "annotation {} has a mask of {}x{} pixels, its image {width}x{height}",
                    instance.id, runs.width, runs.height
                ));
            }
            resampled(&mask::raster(runs), placement, enlarged, side)
        }
    };
    let Some(bounds) = around(&rows, side) else {
        return Ok(None);
    };
    let runs = mask::from_raster(&rows, side, side)?;
    Ok(Some((bounds, InstanceShape::Runs(runs))))
}

/// A mask of the stored image (row by row) in the square: the nearest pixel of each.
fn resampled(stored: &[u8], placement: &Placement, enlarged: f64, side: usize) -> Vec<u8> {
    let (height, width) = placement.original;
    let mut rows = vec![0; side * side];
    let place = |at: usize| (at as f64 + 0.5) / enlarged;
    for (y, row) in rows.chunks_exact_mut(side).enumerate() {
        for (x, inside) in row.iter_mut().enumerate() {
            let [from_x, from_y] = placement.point_in_image([place(x), place(y)]);
            let is_seen =
                (0.0..width as f64).contains(&from_x) && (0.0..height as f64).contains(&from_y);
            if is_seen {
                *inside = stored[from_y as usize * width + from_x as usize];
            }
        }
    }
    rows
}

/// The box around the pixels of a mask.
fn around(rows: &[u8], side: usize) -> Option<BoundingBox> {
    let inside = |row: &[u8]| row.iter().any(|&v| v != 0);
    let top = rows.chunks_exact(side).position(inside)?;
    let bottom = rows.chunks_exact(side).rposition(inside)?;
    let column = |x: usize| (top..=bottom).any(|y| rows[y * side + x] != 0);
    let left = (0..side).find(|&x| column(x))?;
    let right = (0..side).rev().find(|&x| column(x))?;
    Some(BoundingBox {
        x0: left as f64,
        y0: top as f64,
        x1: right as f64 + 1.0,
        y1: bottom as f64 + 1.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::annotation::RunLengths;

    fn instance(shape: Option<InstanceShape>, crowd: bool) -> Instance {
        Instance {
            id: 1,
            category: 3,
            bounds: BoundingBox::from_xywh([2.0, 1.0, 4.0, 2.0]),
            area: 8.0,
            crowd,
            shape,
        }
    }

    /// A rectangle as polygon and as run lengths, in an image of 8 x 10.
    fn shapes() -> [InstanceShape; 2] {
        let corners = vec![[2.0, 1.0], [6.0, 1.0], [6.0, 3.0], [2.0, 3.0]];
        let mut rows = vec![0; 80];
        for (x, y) in (2..6).flat_map(|x| (1..3).map(move |y| (x, y))) {
            rows[y * 10 + x] = 1;
        }
        [
            InstanceShape::Polygons(vec![corners]),
            InstanceShape::Runs(mask::from_raster(&rows, 8, 10).unwrap()),
        ]
    }

    #[test]
    fn shapes_and_boxes_follow_the_picture() {
        // Twice as large, cut off at the left, mirrored.
        let placement = Placement::cut((8, 10), (16, 20), (16, 16), (0, 4)).mirrored();
        let expected = BoundingBox {
            x0: 8.0,
            y0: 2.0,
            x1: 16.0,
            y1: 6.0,
        };
        for shape in shapes().map(Some).into_iter().chain([None]) {
            let placed = placed(&[instance(shape.clone(), false)], &placement, 16, 1.0).unwrap();
            assert_eq!(placed[0].bounds, expected, "{shape:?}");
            assert_eq!(placed[0].shape.is_some(), shape.is_some());
            // The detector's input may be larger than what the backbone sees.
            let twice = super::placed(&[instance(shape, false)], &placement, 32, 2.0).unwrap();
            assert_eq!(twice[0].bounds.x0, 16.0);
            assert_eq!(twice[0].bounds.y1, 12.0);
        }
    }

    #[test]
    fn crowds_and_what_is_cut_off_are_left_out() {
        let [shape, _] = shapes();
        let whole = Placement::unchanged(8, 10);
        let crowd = instance(Some(shape.clone()), true);
        assert!(placed(&[crowd], &whole, 10, 1.0).unwrap().is_empty());
        let away = Placement::cut((8, 10), (8, 10), (8, 3), (0, 7));
        for shape in [None, Some(shape)] {
            assert!(
                placed(&[instance(shape, false)], &away, 8, 1.0)
                    .unwrap()
                    .is_empty()
            );
        }
        let other = InstanceShape::Runs(RunLengths {
            height: 2,
            width: 2,
            counts: vec![4],
        });
        let error = placed(&[instance(Some(other), false)], &whole, 10, 1.0).unwrap_err();
        assert!(
            error.contains("mask of 2x2 pixels, its image 10x8"),
            "{error}"
        );
    }

    #[test]
    fn the_picture_is_scaled_cut_padded_and_flipped_by_the_draw_alone() {
        let mut image = RgbImage::black(10, 8);
        image.data.fill(200);
        let jitter = Jitter {
            side: 16,
            scales: (0.5, 2.0),
        };
        let (mut smaller, mut mirrored) = (0, 0);
        for seed in 0..40 {
            let draw = || jitter.apply(&image, &mut Rng::plain(seed)).unwrap();
            let (out, placement) = draw();
            assert_eq!(draw(), (out.clone(), placement));
            assert_eq!((out.width, out.height), (16, 16));
            let shown = placement.shown;
            let lit = out.data.iter().filter(|&&v| v != 0).count();
            assert_eq!(lit, shown.width * shown.height * 3);
            smaller += usize::from(shown.width < 16);
            mirrored += usize::from(placement.scale.0 < 0.0);
        }
        assert!(
            (5..35).contains(&smaller) && (8..32).contains(&mirrored),
            "{smaller} {mirrored}"
        );
    }
}
