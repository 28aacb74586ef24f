//! DINOv3's rotary positions: patch coordinates in [-1, 1] per axis, one set of angles for every
//! head and layer.

use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// cos and sin, [N, d] each.
pub type Angles = (Tensor, Tensor);

/// How the sides of a grid become coordinates (`pos_embed_rope_normalize_coords`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// Each axis by its own length; every released model.
    Separate,
    /// Both axes by the longer side.
    Max,
    /// Both axes by the shorter side.
    Min,
}

pub struct Rope {
    /// [d/4], as stored or computed
    periods: Tensor,
    coordinates: Coordinates,
    /// Of coordinates, angles and rotation: fp32 in every released model.
    kind: Kind,
    device: Device,
    cache: RefCell<HashMap<(i64, i64), (Tensor, Tensor)>>,
}

/// P_j = base^(2j / (d/2)), j < d/4, for heads of width `d`; fp32 on `device`.
pub fn periods_of_base(d: i64, base: f64, device: Device) -> Tensor {
    let exponents = Tensor::arange(d / 4, (Kind::Float, device)) * (2.0 / (d / 2) as f64);
    (exponents * base.ln()).exp()
}

/// P_j = min · (max/min)^(j / (d/4 - 1)), j < d/4, for heads of width `d`; fp32 on `device`.
pub fn periods_between(d: i64, (min, max): (f64, f64), device: Device) -> Tensor {
    let steps = (d / 4 - 1).max(1) as f64;
    let exponents = Tensor::arange(d / 4, (Kind::Float, device)) / steps;
    (exponents * (max / min).ln()).exp() * min
}

/// Grids kept at a time.
const CACHED_GRIDS: usize = 64;

impl Rope {
    pub fn new(periods: &Tensor, coordinates: Coordinates, kind: Kind) -> Self {
        Rope {
            periods: periods.to_kind(kind),
            coordinates,
            kind,
            device: periods.device(),
            cache: RefCell::default(),
        }
    }

    /// For a grid of h x w patches.
    pub fn at(&self, (h, w): (i64, i64)) -> Angles {
        let copy = |(cos, sin): &Angles| (cos.shallow_clone(), sin.shallow_clone());
        if let Some(ready) = self.cache.borrow().get(&(h, w)) {
            return copy(ready);
        }
        let angles = self.compute(h, w);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_GRIDS {
            cache.clear();
        }
        cache.insert((h, w), copy(&angles));
        angles
    }

    /// In upstream's order of operations (dinov3 `layers/rope_position_encoding.py`).
    fn compute(&self, h: i64, w: i64) -> Angles {
        let options = (self.kind, self.device);
        let quarter = self.periods.size()[0];
        let (over_h, over_w) = match self.coordinates {
            Coordinates::Separate => (h, w),
            Coordinates::Max => (h.max(w), h.max(w)),
            Coordinates::Min => (h.min(w), h.min(w)),
        };
        // Centres of patches.
        let centres = |n: i64, over: i64| {
            let at = (Tensor::arange(n, options) + 0.5) / over as f64;
            at * 2.0 - 1.0
        };
        let turns = |centres: Tensor| {
            let angle = centres.unsqueeze(-1) * std::f64::consts::TAU;
            angle / &self.periods
        };
        let size = [h, w, quarter];
        let y = turns(centres(h, over_h)).unsqueeze(1).expand(size, false);
        let x = turns(centres(w, over_w)).unsqueeze(0).expand(size, false);
        let half = Tensor::cat(&[y, x], -1).view([h * w, -1]);
        let angles = Tensor::cat(&[&half, &half], -1);
        (angles.cos(), angles.sin())
    }
}

/// Rotates the last N of the tokens of t [B, heads, P + N, d] in the angles' precision; prefix
/// tokens stay.
pub fn rotate(t: &Tensor, (cos, sin): &Angles) -> Tensor {
    let patches = cos.size()[0];
    let prefix = t.size()[2] - patches;
    let x = t.narrow(2, prefix, patches).to_kind(cos.kind());
    let halves = x.chunk(2, -1);
    let turned = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
    let x = (x * cos + turned * sin).to_kind(t.kind());
    Tensor::cat(&[t.narrow(2, 0, prefix), x], 2)
}
