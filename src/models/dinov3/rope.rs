//! DINOv3's rotary positions: patch coordinates in [-1, 1] per axis, one set of angles for every
//! head and layer.

use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// cos and sin, [N, d] fp32 each.
pub type Angles = (Tensor, Tensor);

pub struct Rope {
    /// d, a multiple of 4
    head_width: i64,
    /// 100 in every released model.
    base: f64,
    device: Device,
    cache: RefCell<HashMap<(i64, i64), (Tensor, Tensor)>>,
}

/// Grids kept at a time.
const CACHED_GRIDS: usize = 64;

impl Rope {
    pub fn new(head_width: i64, base: f64, device: Device) -> Self {
        Rope {
            head_width,
            base,
            device,
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

    fn compute(&self, h: i64, w: i64) -> Angles {
        let options = (Kind::Float, self.device);
        let quarter = self.head_width / 4;
        // periods_j = base^(2j / (d/2))
        let exponents = Tensor::arange(quarter, options) * (2.0 / (self.head_width / 2) as f64);
        let periods = (exponents * self.base.ln()).exp();
        // Centres of patches, each axis by its own length.
        let centres = |n: i64| (Tensor::arange(n, options) + 0.5) * (2.0 / n as f64) - 1.0;
        let turns = |centres: Tensor| {
            let angle = centres.unsqueeze(-1) * std::f64::consts::TAU;
            angle / &periods
        };
        let size = [h, w, quarter];
        let y = turns(centres(h)).unsqueeze(1).expand(size, false);
        let x = turns(centres(w)).unsqueeze(0).expand(size, false);
        let half = Tensor::cat(&[y, x], -1).view([h * w, -1]);
        let angles = Tensor::cat(&[&half, &half], -1);
        (angles.cos(), angles.sin())
    }
}

/// Rotates the last N of the tokens of t [B, heads, P + N, d] in fp32; prefix tokens stay.
pub fn rotate(t: &Tensor, (cos, sin): &Angles) -> Tensor {
    let patches = cos.size()[0];
    let prefix = t.size()[2] - patches;
    let x = t.narrow(2, prefix, patches).to_kind(Kind::Float);
    let halves = x.chunk(2, -1);
    let turned = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
    let x = (x * cos + turned * sin).to_kind(t.kind());
    Tensor::cat(&[t.narrow(2, 0, prefix), x], 2)
}
