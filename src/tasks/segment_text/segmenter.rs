//! One picture through a network, to what every name scores where (spec/open_vocabulary.md §2).

use super::method::{Constants, Method};
use super::protocol::{Fit, Settings};
use super::scores::{Scores, counts, resized};
use crate::models::dense::{self, LastBlock, TextFamily, unit_rows, weights};
use crate::models::{BackboneInfo, Resolved};
use crate::runtime::guard;
use crate::tasks::sliding::{Window, windows};
use crate::{Error, Result};
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Windows per forward pass, of one picture.
pub const WINDOWS: usize = 8;
/// Entries of SCGA's matrix that are held at once: rows go through in blocks of so many.
const ENTRIES: i64 = 1 << 25;

/// A network that is asked about fixed names.
pub struct Segmenter<'a> {
    pub model: &'a Resolved,
    pub adaptor: String,
    pub family: TextFamily,
    pub method: Method,
    pub constants: Constants,
    pub settings: Settings,
    last: LastBlock,
    /// [D,Q] fp32, columns of unit length
    text: Tensor,
}

/// Seconds by what they were spent on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seconds {
    pub backbone: f64,
    /// SCGA
    pub aggregation: f64,
    /// Head, cosines and softmax
    pub head: f64,
}

/// What the network made of a picture.
pub struct Seen {
    pub scores: Scores,
    /// Height and width that were fed.
    pub fed: (i64, i64),
    pub windows: usize,
    pub seconds: Seconds,
}

impl<'a> Segmenter<'a> {
    /// `text`: `[Q,D]` fp32, rows of unit length.
    ///
    /// # Errors
    /// Windows that the network cannot take, and text of another width than its patches.
    pub fn new(
        model: &'a Resolved,
        adaptor: &str,
        method: Method,
        constants: Constants,
        settings: Settings,
        text: &Tensor,
        device: Device,
    ) -> Result<Self> {
        let family = dense::text_aligned(model.backbone.as_ref())?.family();
        check_windows(model.backbone.info(), family, &settings)?;
        let segmenter = Segmenter {
            model,
            adaptor: adaptor.to_string(),
            family,
            method,
            constants,
            last: method.last_block(&constants),
            settings,
            text: text.f_to_device(device)?.f_numpy_t()?.f_contiguous()?,
        };
        segmenter.check_width(device)?;
        Ok(segmenter)
    }

    /// Runs the smallest picture: whether everything fits together, before the first real one.
    fn check_width(&self, device: Device) -> Result<()> {
        let side = self.model.backbone.info().step;
        let blank = Tensor::f_zeros([1, 3, side, side], (Kind::Float, device))?;
        let (tokens, _) = self.tokens(&blank)?;
        let (of_patches, of_text) = (self.align(&tokens)?.size()[2], self.text.size()[0]);
        if of_patches != of_text {
            return Err(Error::usage(format!(
                "the adaptor `{}` of {} gives {of_patches} numbers per patch, the text tower gives {of_text}; they do not belong together",
                self.adaptor, self.model.name
            )));
        }
        Ok(())
    }

    fn is_student(&self) -> bool {
        matches!(self.family, TextFamily::Radio | TextFamily::ERadio)
    }

    /// [B,3,H,W] -> patch tokens [B,N,C], their grid
    fn tokens(&self, pixels: &Tensor) -> Result<(Tensor, (i64, i64))> {
        dense::tokens(self.model.backbone.as_ref(), pixels, &self.last)
    }

    /// [B,N,C] -> [B,N,D]
    fn align(&self, tokens: &Tensor) -> Result<Tensor> {
        dense::align(self.model.backbone.as_ref(), tokens, &self.adaptor)
    }

    /// Scores of a picture `[1,3,h,w]` in `[0,1]`, resized as the settings say.
    pub fn see(&self, pixels: &Tensor) -> Result<Seen> {
        match self.is_student() {
            true => self.student(pixels),
            false => self.teacher(pixels),
        }
    }

    fn student(&self, pixels: &Tensor) -> Result<Seen> {
        let mut clock = Clock::start(pixels.device());
        let (features, fed, windows) = self.stitched(pixels)?;
        let mut seconds = Seconds {
            backbone: clock.lap(),
            ..Seconds::default()
        };
        let features = match self.constants.scga_scale {
            Some(scale) => aggregate(&features, scale)?,
            None => features,
        };
        seconds.aggregation = clock.lap();
        let size = features.size();
        let tokens = features.f_view([1, size[0] * size[1], size[2]])?;
        let cosines = self.cosines(&tokens)?;
        let logits = cosines.f_mul_scalar(self.settings.logit_scale)?;
        let map = logits.f_softmax(-1, Kind::Float)?;
        let map = map.f_view([size[0], size[1], -1])?;
        seconds.head = clock.lap();
        Ok(Seen {
            scores: Scores::Probabilities(map),
            fed,
            windows,
            seconds,
        })
    }

    /// The features of all windows on one grid, averaged where windows overlap: `[h,w,C]` fp32;
    /// the size fed and the number of windows.
    pub fn stitched(&self, pixels: &Tensor) -> Result<(Tensor, (i64, i64), usize)> {
        let (_, _, height, width) = pixels.size4()?;
        let patch = self.model.backbone.info().patch;
        let fed = self.fitted((height, width));
        let pixels = match fed == (height, width) {
            true => pixels.shallow_clone(),
            false => guard(|| Ok(resized(pixels, fed)))?,
        };
        let places = windows(fed, self.settings.window);
        let (rows, columns) = (fed.0 / patch, fed.1 / patch);
        let mut sum: Option<Tensor> = None;
        let counts = Tensor::f_zeros([rows, columns, 1], (Kind::Float, pixels.device()))?;
        for places in places.chunks(WINDOWS) {
            let (tokens, (h, w)) = self.tokens(&cut(&pixels, places)?)?;
            let (n, _, width) = tokens.size3()?;
            let maps = tokens.f_to_kind(Kind::Float)?.f_view([n, h, w, width])?;
            let options = (Kind::Float, pixels.device());
            let sum = match &mut sum {
                Some(sum) => sum,
                None => sum.insert(Tensor::f_zeros([rows, columns, width], options)?),
            };
            for (i, place) in places.iter().enumerate() {
                let inside = |on: &Tensor| {
                    let on = on.f_narrow(0, place.top / patch, h)?;
                    on.f_narrow(1, place.left / patch, w)
                };
                let _ = inside(sum)?.f_add_(&maps.f_get(i as i64)?)?;
                let _ = inside(&counts)?.f_add_scalar_(1.0)?;
            }
        }
        let sum = sum.ok_or_else(|| Error::model("a picture without windows"))?;
        Ok((sum.f_div(&counts)?, fed, places.len()))
    }

    /// RADSeg's size before windows (spec §1.5); without windows, multiples of the step.
    fn fitted(&self, size: (i64, i64)) -> (i64, i64) {
        let step = self.model.backbone.info().step;
        match (self.settings.window, self.settings.fit) {
            (Some((crop, stride)), Some(Fit::Stride)) => fit(size, stride, crop),
            (Some((crop, _)), _) => fit(size, step, crop),
            (None, _) => fit(size, step, step),
        }
    }

    fn teacher(&self, pixels: &Tensor) -> Result<Seen> {
        let mut clock = Clock::start(pixels.device());
        let (_, _, height, width) = pixels.size4()?;
        let places = windows((height, width), self.settings.window);
        let mut seconds = Seconds::default();
        let mut maps = Vec::with_capacity(places.len());
        for some in places.chunks(WINDOWS) {
            let (tokens, (h, w)) = self.tokens(&cut(pixels, some)?)?;
            seconds.backbone += clock.lap();
            let cosines = self.cosines(&tokens)?;
            for (i, place) in some.iter().enumerate() {
                let map = cosines.f_get(i as i64)?.f_view([h, w, -1])?;
                maps.push((*place, map));
            }
            seconds.head += clock.lap();
        }
        let counts = counts((height, width), &places, pixels)?;
        Ok(Seen {
            scores: Scores::Cosines {
                canvas: (height, width),
                windows: maps,
                counts,
            },
            fed: (height, width),
            windows: places.len(),
            seconds,
        })
    }

    /// `[B,N,C]` -> cosines with every name, `[B,N,Q]` fp32; checked to be finite.
    pub fn cosines(&self, tokens: &Tensor) -> Result<Tensor> {
        let aligned = self.align(tokens)?;
        let cosines = guard(|| {
            let _no_grad = tch::no_grad_guard();
            Ok(unit_rows(&aligned).matmul(&self.text))
        })?;
        match cosines.f_sum(Kind::Float)?.f_double_value(&[])?.is_finite() {
            true => Ok(cosines),
            false => Err(Error::model(format!(
                "the patch features of {} are not finite in {}; try --precision bf16 or fp32",
                self.model.name,
                self.model.backbone.info().precision.name()
            ))),
        }
    }
}

/// The pixels of windows of one size, `[n,3,h,w]`
fn cut(pixels: &Tensor, places: &[Window]) -> Result<Tensor> {
    let mut cuts = Vec::with_capacity(places.len());
    for place in places {
        let rows = pixels.f_narrow(2, place.top, place.height)?;
        cuts.push(rows.f_narrow(3, place.left, place.width)?);
    }
    Ok(Tensor::f_cat(&cuts, 0)?)
}

/// Unchanged where both sides are multiples; else the longer side rounded up, the other scaled by
/// the same factor and rounded up, both at least `crop` (RADSeg `radseg.py`:452-468).
pub fn fit((height, width): (i64, i64), multiple: i64, crop: i64) -> (i64, i64) {
    if height % multiple == 0 && width % multiple == 0 {
        return (height, width);
    }
    let up = |n: i64| (n + multiple - 1) / multiple * multiple;
    let longer = height.max(width);
    let side = |n: i64| up((n as f64 * up(longer) as f64 / longer as f64) as i64).max(crop);
    (side(height), side(width))
}

/// SCGA (RADSeg `radseg.py`:419-431) on the whole grid, `[h,w,C]` fp32 -> the same: every patch
/// becomes the mean of those it resembles more than patches do on average.
///
/// The mean of all cosines is ‖Σ n‖² / M², so rows can be done in blocks.
pub fn aggregate(features: &Tensor, scale: f64) -> Result<Tensor> {
    let size = features.size();
    guard(|| {
        let _no_grad = tch::no_grad_guard();
        let x = features.flatten(0, 1);
        let unit = unit_rows(&x);
        let patches = unit.size()[0];
        let sum =
            unit.to_kind(Kind::Double)
                .sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        let mean = sum.square().sum(Kind::Double).to_kind(Kind::Float) / (patches * patches) as f64;
        let keys = unit.tr();
        let step = (ENTRIES / patches.max(1)).max(1);
        let rows: Vec<Tensor> = (0..patches)
            .step_by(step as usize)
            .map(|start| {
                let some = unit.narrow(0, start, step.min(patches - start));
                weights((some.matmul(&keys) - &mean) * scale).matmul(&x)
            })
            .collect();
        Ok(Tensor::cat(&rows, 0).view(size.as_slice()))
    })
}

/// Fails where windows do not lie on a student's patches.
fn check_windows(info: &BackboneInfo, family: TextFamily, settings: &Settings) -> Result<()> {
    let Some((crop, stride)) = settings.window else {
        return Ok(());
    };
    let patch = info.patch;
    match family {
        TextFamily::Radio | TextFamily::ERadio => {
            for (what, length) in [("a window", crop), ("the stride of windows", stride)] {
                if length % info.step != 0 {
                    return Err(Error::usage(format!(
                        "{what} of {length} pixels is no multiple of {}'s step of {}; choose one with --crop CROP/STRIDE",
                        info.architecture, info.step
                    )));
                }
            }
            Ok(())
        }
        TextFamily::Clip | TextFamily::Siglip if crop < patch => Err(Error::usage(format!(
            "a window of {crop} pixels is less than a patch of {} ({patch})",
            info.architecture
        ))),
        TextFamily::Clip | TextFamily::Siglip => Ok(()),
    }
}

/// Laps; on CUDA each waits for the device, else they would measure how fast work is handed over.
struct Clock {
    device: Device,
    last: Instant,
}

impl Clock {
    fn start(device: Device) -> Self {
        let mut clock = Clock {
            device,
            last: Instant::now(),
        };
        clock.lap();
        clock
    }

    fn lap(&mut self) -> f64 {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn radseg_rounds_up_to_the_stride() {
        // golden radio.v25_like.siglip.40x72.crop48s32
        assert_eq!(fit((40, 72), 32, 48), (64, 96));
        assert_eq!(fit((64, 96), 32, 48), (64, 96));
        // spec §0.4: short side 576 runs at 672 x 896.
        assert_eq!(fit((576, 768), 224, 336), (672, 896));
    }
}
