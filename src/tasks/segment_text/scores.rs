//! What every name scores where, held at the size it was computed at and enlarged a few names at a
//! time.
//!
//! Maps are `[h,w,Q]` with the names innermost: seen as `[1,Q,h,w]` that is channels-last memory,
//! which libtorch enlarges, and looks for maxima in, along consecutive values.

use crate::Result;
use crate::runtime::{guard, interrupt};
use crate::tasks::sliding::Window;
use tch::{Kind, Tensor};

/// Bytes of enlarged scores that are held at once.
const BYTES: i64 = 64 << 20;

/// Scores of Q names over one picture.
pub enum Scores {
    /// `[h,w,Q]` over the whole picture, enlarged to its own size in one step (RADSeg).
    Probabilities(Tensor),
    /// Cosines per window, enlarged to the window, averaged over windows, and the average enlarged
    /// to the picture's own size (CLIP methods).
    Cosines {
        /// Height and width that windows were cut from.
        canvas: (i64, i64),
        /// Each `[h,w,Q]`.
        windows: Vec<(Window, Tensor)>,
        /// `[1,1,height,width]`: windows over each pixel.
        counts: Tensor,
    },
}

/// Consecutive names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    pub start: i64,
    pub count: i64,
}

impl Scores {
    /// Q
    pub fn names(&self) -> i64 {
        match self {
            Scores::Probabilities(map) => map.size()[2],
            Scores::Cosines { windows, .. } => windows.first().map_or(0, |(_, map)| map.size()[2]),
        }
    }

    /// All names in blocks of which one can be held at `size` (height, width).
    pub fn blocks(&self, size: (i64, i64)) -> impl Iterator<Item = Names> + use<> {
        let pixels = match self {
            Scores::Probabilities(_) => size.0 * size.1,
            Scores::Cosines { canvas, .. } => size.0 * size.1 + canvas.0 * canvas.1,
        };
        let (all, step) = (self.names(), (BYTES / 4 / pixels.max(1)).max(1));
        let block = move |start: i64| Names {
            start,
            count: step.min(all - start),
        };
        (0..all).step_by(step as usize).map(block)
    }

    /// The scores of `names` at `size`: `[height,width,n]` fp32, names innermost.
    pub fn enlarged(&self, names: Names, size: (i64, i64)) -> Result<Tensor> {
        interrupt::check()?;
        guard(|| {
            let _no_grad = tch::no_grad_guard();
            Ok(match self {
                Scores::Probabilities(map) => resized(&some(map, names), size),
                Scores::Cosines { .. } => {
                    let average = self.average(names);
                    let canvas = average.size();
                    match (canvas[2], canvas[3]) == size {
                        true => average,
                        false => resized(&average, size),
                    }
                }
            }
            .squeeze_dim(0)
            .permute([1, 2, 0]))
        })
    }

    /// `[1,n,height,width]` of the canvas.
    fn average(&self, names: Names) -> Tensor {
        let Scores::Cosines {
            canvas: (height, width),
            windows,
            counts,
        } = self
        else {
            unreachable!("probabilities lie on one grid")
        };
        if let [(window, map)] = windows.as_slice() {
            return resized(&some(map, names), (window.height, window.width));
        }
        let options = (Kind::Float, counts.device());
        let sum = Tensor::zeros([*height, *width, names.count], options);
        let sum = sum.permute([2, 0, 1]).unsqueeze(0);
        for (window, map) in windows {
            let mut target =
                sum.narrow(2, window.top, window.height)
                    .narrow(3, window.left, window.width);
            target += resized(&some(map, names), (window.height, window.width));
        }
        sum / counts
    }
}

/// How many windows lie over each pixel of the canvas.
pub fn counts(canvas: (i64, i64), windows: &[Window], like: &Tensor) -> Result<Tensor> {
    let options = (Kind::Float, like.device());
    let counts = Tensor::f_zeros([1, 1, canvas.0, canvas.1], options)?;
    for window in windows {
        let target = counts.f_narrow(2, window.top, window.height)?;
        let mut target = target.f_narrow(3, window.left, window.width)?;
        let _ = target.f_add_scalar_(1.0)?;
    }
    Ok(counts)
}

/// `[h,w,Q]` -> `[1,n,h,w]`, channels last
fn some(map: &Tensor, names: Names) -> Tensor {
    let some = map.narrow(2, names.start, names.count).contiguous();
    some.permute([2, 0, 1]).unsqueeze(0)
}

/// Bilinear, `align_corners=False`. `[1,n,h,w]` -> `[1,n,size]`
pub fn resized(map: &Tensor, (height, width): (i64, i64)) -> Tensor {
    map.upsample_bilinear2d([height, width], false, None, None)
}
