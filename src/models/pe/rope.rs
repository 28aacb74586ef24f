//! PE's rotary positions (upstream core/vision_encoder/rope.py `Rope2D`): pairs of neighbouring
//! channels turn, the first half of a head by the column, the second by the row; the same angles
//! for every head and layer.

use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Upstream's `theta`.
const THETA: f64 = 10_000.0;
/// Grids kept at a time.
const CACHED_GRIDS: usize = 64;

/// cos and sin, [N, d] each, fp32.
pub type Angles = (Tensor, Tensor);

pub struct Rope {
    /// d
    head: i64,
    /// What rows and columns count from: 1 where there is a class token, which is at 0.
    first: i64,
    device: Device,
    cache: RefCell<HashMap<(i64, i64), Angles>>,
}

impl Rope {
    /// For heads of width `head`, a multiple of 4.
    pub fn new(head: i64, class_token: bool, device: Device) -> Self {
        Rope {
            head,
            first: i64::from(class_token),
            device,
            cache: RefCell::default(),
        }
    }

    /// For a grid of h x w patches, in raster order.
    pub fn at(&self, grid: (i64, i64)) -> Angles {
        let copy = |(cos, sin): &Angles| (cos.shallow_clone(), sin.shallow_clone());
        if let Some(ready) = self.cache.borrow().get(&grid) {
            return copy(ready);
        }
        let angles = self.compute(grid);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_GRIDS {
            cache.clear();
        }
        cache.insert(grid, copy(&angles));
        angles
    }

    fn compute(&self, (h, w): (i64, i64)) -> Angles {
        let options = (Kind::Float, self.device);
        let half = self.head / 2;
        let exponents = Tensor::arange(half / 2, options) * 2.0 / half as f64;
        let frequencies = Tensor::pow_scalar(THETA, &exponents).reciprocal();
        // [n, d/2]: each frequency for both channels of a pair.
        let turns = |n: i64| {
            let places = Tensor::arange(n, options) + self.first as f64;
            (places.unsqueeze(-1) * &frequencies).repeat_interleave_self_int(2, -1, None)
        };
        let size = [h, w, half];
        let x = turns(w).unsqueeze(0).expand(size, false);
        let y = turns(h).unsqueeze(1).expand(size, false);
        let angles = Tensor::cat(&[x, y], -1).view([h * w, self.head]);
        (angles.cos(), angles.sin())
    }
}

/// Turns the last N of the tokens of t [B, heads, P + N, d] in fp32; a class token stays.
pub fn rotate(t: &Tensor, (cos, sin): &Angles) -> Tensor {
    let (batch, heads, count, head) = t.size4().expect("queries are [B, heads, N, d]");
    let patches = cos.size()[0];
    let prefix = count - patches;
    let x = t.narrow(2, prefix, patches).to_kind(Kind::Float);
    let pairs = x.view([batch, heads, patches, head / 2, 2]);
    let turned = Tensor::stack(&[&-pairs.select(-1, 1), &pairs.select(-1, 0)], -1);
    let x = x * cos + turned.view([batch, heads, patches, head]) * sin;
    let x = x.to_kind(t.kind());
    match prefix {
        0 => x,
        _ => Tensor::cat(&[t.narrow(2, 0, prefix), x], 2),
    }
}
