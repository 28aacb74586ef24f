//! The losses, per image and in fp32 (spec/distillation.md §2).

use tch::{Reduction, Tensor};

/// Smallest length that a vector is divided by.
const MIN_LENGTH: f64 = 1e-8;
/// Smallest square of a chord, for the gradient of its length.
const MIN_CHORD_SQUARED: f64 = 1e-24;

/// Length over the last axis, which is kept: `[.., D]` -> `[.., 1]`.
fn length(x: &Tensor) -> Tensor {
    x.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true)
}

/// 1 - cos over the last axis: `[.., D]` twice -> `[..]`.
pub fn cosine_distance(x: &Tensor, y: &Tensor) -> Tensor {
    let dot = (x * y).sum_dim_intlist([-1i64].as_slice(), true, x.kind());
    let lengths = length(x).clamp_min(MIN_LENGTH) * length(y).clamp_min(MIN_LENGTH);
    let cosine: Tensor = dot / lengths;
    let distance: Tensor = 1.0 - cosine;
    distance.squeeze_dim(-1)
}

/// Squared angle over the teacher's dispersion: `[B,D]` twice -> `[B]`. The angle is
/// 2 atan2(|x-y|, |x+y|) of unit vectors, which stays exact where acos of a cosine near 1 does not.
pub fn angle_loss(x: &Tensor, y: &Tensor, dispersion: f64) -> Tensor {
    let x = x / length(x).clamp_min(MIN_LENGTH);
    let y = y / length(y).clamp_min(MIN_LENGTH);
    let chord = |z: Tensor| {
        z.square()
            .sum_dim_intlist([-1i64].as_slice(), false, z.kind())
            .clamp_min(MIN_CHORD_SQUARED)
            .sqrt()
    };
    let angle = chord(&x - &y).atan2(&chord(&x + &y)) * 2.0;
    angle.square() / dispersion
}

/// Mean squared angle of `[n,D]` teacher summaries to their mean direction (C-RADIOv4, arXiv
/// 2601.17237, as spec/distillation.md reads it).
pub fn dispersion(y: &Tensor) -> f64 {
    let unit = y / length(y).clamp_min(MIN_LENGTH);
    let mean = unit.mean_dim([0i64].as_slice(), true, unit.kind());
    angle_loss(&unit, &mean.expand_as(&unit), 1.0)
        .mean(unit.kind())
        .double_value(&[])
}

/// Smooth-L1 with threshold `beta`, mean over the last axis: `[.., D]` twice -> `[..]`.
pub fn smooth_l1(x: &Tensor, y: &Tensor, beta: f64) -> Tensor {
    x.smooth_l1_loss(y, Reduction::None, beta)
        .mean_dim([-1i64].as_slice(), false, x.kind())
}

/// Both maps (`[B,N,C]` on their grids of rows and columns) on the grid that is the larger one along
/// each axis; only a map that is smaller somewhere is resized (bilinear, no antialiasing).
pub fn match_grids(
    x: &Tensor,
    x_grid: (i64, i64),
    y: &Tensor,
    y_grid: (i64, i64),
) -> (Tensor, Tensor) {
    let grid = (x_grid.0.max(y_grid.0), x_grid.1.max(y_grid.1));
    (resized(x, x_grid, grid), resized(y, y_grid, grid))
}

fn resized(z: &Tensor, from: (i64, i64), to: (i64, i64)) -> Tensor {
    if from == to {
        return z.shallow_clone();
    }
    let size = z.size();
    z.transpose(1, 2)
        .reshape([size[0], size[2], from.0, from.1])
        .upsample_bilinear2d([to.0, to.1], false, None, None)
        .flatten(2, 3)
        .transpose(1, 2)
}

/// Mean squared difference between the cosines of all pairs of tokens inside a picture, of two maps
/// `[B,N,C]` and `[B,N,D]` on one grid: `[B]`. What a picture's places have to do with each other,
/// whatever the space (OC: the papers give no formula).
pub fn relation(x: &Tensor, y: &Tensor) -> Tensor {
    let cosines = |z: &Tensor| {
        let unit = z / length(z).clamp_min(MIN_LENGTH);
        unit.matmul(&unit.transpose(1, 2))
    };
    (cosines(x) - cosines(y))
        .square()
        .mean_dim([1i64, 2].as_slice(), false, x.kind())
}

/// How two maps of features are compared.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureLoss {
    /// alpha * cosine + beta * smooth-L1 (AM-RADIO)
    #[default]
    CosSmoothL1,
    /// Mean squared error (PHI-S)
    Mse,
}

/// The weights inside [`FeatureLoss::CosSmoothL1`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    pub alpha: f64,
    pub beta: f64,
    /// Where smooth-L1 turns from square to straight.
    pub smooth_l1_beta: f64,
}

impl Default for Mixture {
    /// AM-RADIO's 0.9 and 0.1; PyTorch's threshold.
    fn default() -> Self {
        Mixture {
            alpha: 0.9,
            beta: 0.1,
            smooth_l1_beta: 1.0,
        }
    }
}

/// A feature loss and what it is made of, each `[B]`.
pub struct FeatureTerms {
    pub loss: Tensor,
    /// Cosine and smooth-L1, where it has them.
    pub parts: Option<(Tensor, Tensor)>,
}

impl FeatureLoss {
    /// Of two maps `[B,N,C]` on one grid.
    pub fn apply(self, x: &Tensor, y: &Tensor, mixture: Mixture) -> FeatureTerms {
        let over_tokens = |z: Tensor| z.mean_dim([1i64].as_slice(), false, z.kind());
        match self {
            FeatureLoss::Mse => FeatureTerms {
                loss: (x - y)
                    .square()
                    .mean_dim([1i64, 2].as_slice(), false, x.kind()),
                parts: None,
            },
            FeatureLoss::CosSmoothL1 => {
                let cosine = over_tokens(cosine_distance(x, y));
                let smooth = over_tokens(smooth_l1(x, y, mixture.smooth_l1_beta));
                FeatureTerms {
                    loss: &cosine * mixture.alpha + &smooth * mixture.beta,
                    parts: Some((cosine, smooth)),
                }
            }
        }
    }
}
