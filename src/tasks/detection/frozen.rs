//! The frozen backbone's map as detectors take it: a cell for every 16 pixels of their input.

use super::batches::Frame;
use super::recipe::{GridRule, Recipe, STRIDE};
use crate::models::Resolved;
use crate::tasks::spatial::SpatialFeatures;
use crate::{Error, Result};
use tch::{Device, Tensor};

pub struct FrozenMap<'a> {
    pub features: SpatialFeatures<'a>,
    /// Side of the detector's input.
    pub resolution: i64,
    /// Side of what the backbone sees.
    pub side: i64,
}

impl<'a> FrozenMap<'a> {
    /// # Errors
    /// A model that takes no square input near that size.
    pub fn new(model: &'a Resolved, adaptor: Option<&'a str>, recipe: &Recipe) -> Result<Self> {
        let info = model.backbone.info();
        let wanted = match recipe.grid {
            GridRule::Resize => recipe.resolution * info.patch / STRIDE,
            GridRule::Interpolate => recipe.resolution,
        };
        let (side, width) = info.nearest_resolution(wanted, wanted);
        if side != width {
            return Err(Error::usage(format!(
                "{} takes {side}x{width} only; detectors are trained on squares",
                info.architecture
            )));
        }
        Ok(FrozenMap {
            features: SpatialFeatures { model, adaptor },
            resolution: recipe.resolution,
            side,
        })
    }

    /// `[B,3,side,side]` in `[0,1]` -> `[B,C,resolution/16,resolution/16]` in fp32, without
    /// gradients.
    pub fn map(&self, pixels: &Tensor) -> Result<Tensor> {
        let map = self.features.map(pixels)?;
        let cells = self.resolution / STRIDE;
        let (_, _, rows, columns) = map.size4()?;
        if (rows, columns) == (cells, cells) {
            return Ok(map);
        }
        let none: Option<f64> = None;
        Ok(map.f_upsample_bilinear2d([cells, cells], false, none, none)?)
    }

    /// C.
    pub fn channels(&self, device: Device) -> Result<i64> {
        self.features.channels(self.side, device)
    }

    /// How pictures come to it.
    pub fn frame(&self) -> Frame {
        Frame {
            side: self.side as usize,
            resolution: self.resolution as usize,
            padding: self.features.model.backbone.padding(),
        }
    }
}
