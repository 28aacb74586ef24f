//! Whatever makes features, followed by SAM's neck: pictures to image embeddings, as a backbone of
//! its own, so that embeddings are kept on disk as all features are.

use super::settings::{Grid, Padding, Settings};
use crate::models::sam::SamNeck;
use crate::models::{Backbone, BackboneInfo, Features, Request, Resolved};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// SAM's mean colour in `[0,1]` (segment-anything: 123.675, 116.28, 103.53 of 255).
const SAM_MEAN: [f64; 3] = [0.485, 0.456, 0.406];

/// A model's features through SAM's neck.
struct SwapEncoder {
    features: Box<dyn Backbone>,
    /// The adaptor that imitates SAM; `None` for SAM itself.
    adaptor: Option<String>,
    neck: SamNeck,
    grid: Grid,
    padding: Padding,
    info: BackboneInfo,
}

/// The model whose spatial features are image embeddings: `[B,side*side,C]` in fp32.
///
/// # Errors
/// An adaptor that is not there, or of a width that the neck does not take.
pub fn swapped(
    model: Resolved,
    adaptor: Option<String>,
    neck: SamNeck,
    neck_weights: Value,
    settings: &Settings,
) -> Result<Resolved> {
    let mut info = model.backbone.info().clone();
    if let Some(adaptor) = &adaptor {
        info.check_adaptor(adaptor)?;
    }
    info.settings.insert(
        "sam_swap".into(),
        json!({
            "adaptor": adaptor,
            "neck": neck_weights,
            "padding": settings.padding,
            "grid": settings.grid,
        }),
    );
    info.spatial_dim = neck.width;
    info.summary_dim = neck.width;
    Ok(Resolved {
        name: model.name,
        entry: model.entry,
        checkpoint: model.checkpoint,
        backbone: Box::new(SwapEncoder {
            features: model.backbone,
            adaptor,
            neck,
            grid: settings.grid,
            padding: settings.padding,
            info,
        }),
    })
}

/// Features `[B,h,w,C]` on a grid of `side` x `side`: bilinear with half-pixel centres and no
/// antialiasing (spec/coco.md §2.3 c).
pub fn resized(features: &Tensor, side: i64) -> Tensor {
    features
        .permute([0, 3, 1, 2])
        .upsample_bilinear2d([side, side], false, None, None)
        .permute([0, 2, 3, 1])
}

/// Features `[B,h,w,C]` in the top left of a grid of `side` x `side`, zeros in the rest.
fn surrounded(features: &Tensor, side: i64) -> Tensor {
    let size = features.size();
    features.constant_pad_nd([0, 0, 0, side - size[2], 0, side - size[1]])
}

impl SwapEncoder {
    /// The features `[B,h,w,C]` in fp32.
    fn map(&self, x: &Tensor) -> Result<Tensor> {
        let request = Request::adaptors(self.adaptor.as_deref());
        let features = self.features.forward(x, &request)?;
        let (tokens, (rows, columns)) = match &self.adaptor {
            None => (features.spatial, features.grid),
            Some(name) => {
                let adaptor = features.adaptors.get(name);
                let spatial = adaptor.and_then(|adaptor| adaptor.spatial.as_ref());
                let (tokens, grid) = spatial.ok_or_else(|| {
                    Error::usage(format!(
                        "adaptor `{name}` has no spatial features for SAM's neck"
                    ))
                })?;
                (tokens.shallow_clone(), *grid)
            }
        };
        let (batch, _, width) = tokens.size3()?;
        if width != self.neck.features {
            return Err(Error::usage(format!(
                "the features are {width} wide and SAM's neck takes {}: a student that imitates SAM-H (1280) goes with SAM-H's weights, another with those of its own teacher (--sam-weights)",
                self.neck.features
            )));
        }
        let map = tokens.f_to_kind(Kind::Float)?;
        Ok(map.f_reshape([batch, rows, columns, width])?)
    }
}

impl Backbone for SwapEncoder {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn padding(&self) -> [f64; 3] {
        match (&self.adaptor, self.padding) {
            // SAM pads after it normalises.
            (None, Padding::SamMean) => self.features.padding(),
            (Some(_), Padding::SamMean) => SAM_MEAN,
            (_, Padding::Black | Padding::None) => [0.0; 3],
        }
    }

    fn forward(&self, x: &Tensor, _: &Request) -> Result<Features> {
        let map = self.map(x)?;
        let side = self.neck.side;
        let grid = (map.size()[1], map.size()[2]);
        let map = match (grid == (side, side), self.padding, self.grid) {
            (true, _, _) => map,
            (false, Padding::None, _) if grid.0 <= side && grid.1 <= side => surrounded(&map, side),
            (false, _, Grid::Resize) => resized(&map, side),
            (false, _, _) => {
                return Err(Error::usage(format!(
                    "the features lie on a grid of {}x{} and SAM's has {side}x{side}; use --grid resize",
                    grid.0, grid.1
                )));
            }
        };
        let spatial = self
            .neck
            .embed(&map)
            .flatten(2, 3)
            .transpose(1, 2)
            .contiguous();
        Ok(Features {
            summary: spatial.mean_dim(1, false, None),
            spatial,
            grid: (side, side),
            adaptors: IndexMap::new(),
            intermediates: Vec::new(),
        })
    }
}
