//! Spatial features as maps.

use crate::models::{Request, Resolved, backbone};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// The spatial features of a model, or of one of its adaptors.
pub struct SpatialFeatures<'a> {
    pub model: &'a Resolved,
    pub adaptor: Option<&'a str>,
}

impl SpatialFeatures<'_> {
    /// `[B,3,H,W]` in `[0,1]` -> `[B,C,h,w]` in fp32, without gradients.
    pub fn map(&self, pixels: &Tensor) -> Result<Tensor> {
        if !self.model.backbone.has_spatial_map() {
            return Err(Error::usage(format!(
                "the tokens of {} have no places in the picture with this --neck; use --neck decoder",
                self.model.name
            )));
        }
        let request = Request::adaptors(self.adaptor);
        let features = backbone::run(self.model.backbone.as_ref(), pixels, &request)?;
        let (tokens, (rows, columns)) = match self.adaptor {
            None => (features.spatial, features.grid),
            Some(name) => features
                .adaptors
                .get(name)
                .and_then(|adaptor| adaptor.spatial.as_ref())
                .map(|(tokens, grid)| (tokens.shallow_clone(), *grid))
                .ok_or_else(|| {
                    Error::usage(format!(
                        "adaptor `{name}` of {} has no spatial features to probe",
                        self.model.name
                    ))
                })?,
        };
        let (batch, _, channels) = tokens.size3()?;
        let map = tokens.f_transpose(1, 2)?;
        Ok(map
            .f_reshape([batch, channels, rows, columns])?
            .f_to_kind(Kind::Float)?
            .f_contiguous()?)
    }

    /// C, found out with a blank image of `side` pixels.
    pub fn channels(&self, side: i64, device: Device) -> Result<i64> {
        let blank = Tensor::f_zeros([1, 3, side, side], (Kind::Float, device))?;
        Ok(self.map(&blank)?.size4()?.1)
    }

    /// The nearest size not below `length` that the model takes.
    pub fn padded(&self, length: i64) -> i64 {
        let step = self.model.backbone.info().step;
        (length + step - 1) / step * step
    }
}
