//! Cropped position embedding in training: every sample sees a random viewport of the map
//! (spec/radio.md §2.4).

use super::cpe::PositionMap;
use crate::weights::Mode;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Smallest share of the map's area that a viewport covers.
const MIN_AREA: f64 = 0.1;
/// Narrowest viewport, width : height; the widest is its inverse.
const MIN_ASPECT: f64 = 3.0 / 4.0;
/// Share of the samples that are trained without positions.
pub const POSITION_DROPOUT: f64 = 0.1;
/// Name of the numbers that decide which samples are.
const DROP: &str = "drop";

/// Uniform numbers in [0,1) of one step, for G viewports and B samples.
pub struct Draws {
    /// `[G,1,1]`
    pub scale: Tensor,
    /// `[G,1,1]`
    pub aspect: Tensor,
    /// `[G,1,1,2]`, x before y
    pub offset: Tensor,
    /// `[B,1,1]`
    pub keep: Tensor,
}

impl Draws {
    /// From libtorch's generator in upstream's order, so that a seed gives upstream's viewports.
    ///
    /// `frames`: consecutive samples of one video, which share a viewport (1 for images); must
    /// divide `batch`.
    pub fn random(batch: i64, frames: i64, device: Device) -> Result<Self> {
        Self::from_mode(&Mode::default(), batch, frames, device)
    }

    /// The same, from where `mode` has its random numbers: `scale`, `aspect`, `offset`, `drop`.
    pub fn from_mode(mode: &Mode, batch: i64, frames: i64, device: Device) -> Result<Self> {
        if frames < 1 || batch % frames != 0 {
            return Err(Error::model(format!(
                "a batch of {batch} cannot be split into videos of {frames} frames"
            )));
        }
        let groups = batch / frames;
        Ok(Draws {
            scale: mode.uniform("scale", &[groups, 1, 1], device)?,
            aspect: mode.uniform("aspect", &[groups, 1, 1], device)?,
            offset: mode.uniform("offset", &[groups, 1, 1, 2], device)?,
            keep: mode.uniform(DROP, &[batch, 1, 1], device)?,
        })
    }
}

impl PositionMap {
    /// Positions [B, h*w, C] (fp32) of `draws`, before dropout; differentiable in the map.
    pub fn viewports(&self, (h, w): (i64, i64), draws: &Draws) -> Tensor {
        let groups = draws.scale.size()[0];
        let frames = draws.keep.size()[0] / groups;
        let min_side = MIN_AREA.sqrt();
        let scale = &draws.scale * (1.0 - min_side) + min_side;
        let low = MIN_ASPECT.ln();
        let aspect = (&draws.aspect * (-2.0 * low) + low).exp();
        let size = Tensor::stack(&[&scale * &aspect, &scale / &aspect], -1).clamp(0.0, 1.0); // [G,1,1,2]
        let offset = &draws.offset * (1.0 - &size);
        let options = (Kind::Float, draws.scale.device());
        let x = Tensor::linspace(0.0, 1.0, w, options)
            .view([1, 1, w])
            .expand([groups, h, w], false);
        let y = Tensor::linspace(0.0, 1.0, h, options)
            .view([1, h, 1])
            .expand([groups, h, w], false);
        let points = (Tensor::stack(&[x, y], -1) * size + offset) * 2.0 - 1.0; // [G,h,w,2]
        let map = self.map();
        let [_, c, rows, cols] = map.size()[..] else {
            return map;
        };
        const BILINEAR: i64 = 0;
        const ZEROS: i64 = 0;
        map.expand([groups, c, rows, cols], false)
            .grid_sampler(&points, BILINEAR, ZEROS, true)
            .repeat_interleave_self_int(frames, 0, None)
            .flatten(2, 3)
            .transpose(1, 2)
    }

    /// `tokens` [B, h*w, C] with the positions of `draws`, dropped for some samples.
    pub fn add_viewports(&self, tokens: &Tensor, grid: (i64, i64), draws: &Draws) -> Tensor {
        self.add_kept(tokens, self.viewports(grid, draws), &draws.keep)
    }

    /// `tokens` [B, h*w, C] with positions as in a step of training: of random viewports, or of
    /// the whole map where the grid is the map's own (no viewport is drawn then); dropped for some
    /// samples.
    pub fn add_in_training(
        &self,
        tokens: &Tensor,
        grid: (i64, i64),
        mode: &Mode,
    ) -> Result<Tensor> {
        let (batch, device) = (tokens.size()[0], tokens.device());
        if self.is_own_grid(grid) || !self.is_cropped() {
            let keep = mode.uniform(DROP, &[batch, 1, 1], device)?;
            return Ok(self.add_kept(tokens, self.at(grid), &keep));
        }
        let draws = Draws::from_mode(mode, batch, 1, device)?;
        Ok(self.add_viewports(tokens, grid, &draws))
    }

    fn add_kept(&self, tokens: &Tensor, positions: Tensor, keep: &Tensor) -> Tensor {
        let kept = keep.gt(POSITION_DROPOUT).to_kind(Kind::Float);
        tokens + (positions * kept).to_kind(tokens.kind())
    }
}
