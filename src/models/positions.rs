//! Position tables resized to another grid: rules that do not agree with each other.
//!
//! open_clip, timm, transformers and the DINOv2 hub each resample differently (spec/teachers.md
//! §1.4), and antialiased and plain bicubic differ even when enlarging (cubic coefficient -0.5
//! against -0.75). Always computed in fp32, once per grid.

use super::derived::Derived;
use crate::weights::Params;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// How a position grid is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// Rule A, antialiased bicubic: open_clip, timm, DINOv2 with registers.
    Antialias,
    /// Rule B, plain bicubic: transformers' CLIP, SigLIP and DINOv2 without registers, InternViT.
    Plain,
    /// Rule C, plain bicubic with scale (h + 0.1) / M: the DINOv2 hub without registers.
    PlainOffset,
    /// Rule D, antialiased bilinear: SigLIP2 NaFlex.
    AntialiasBilinear,
    /// Plain bilinear: PE.
    Bilinear,
}

impl Resample {
    /// For records and cache keys.
    pub fn name(self) -> &'static str {
        match self {
            Resample::Antialias => "antialiased bicubic",
            Resample::Plain => "bicubic",
            Resample::PlainOffset => "bicubic, scale (h+0.1)/M",
            Resample::AntialiasBilinear => "antialiased bilinear",
            Resample::Bilinear => "bilinear",
        }
    }

    /// grid: [M*M, C] fp32 -> [h*w, C]
    pub fn resize(self, grid: &Tensor, (h, w): (i64, i64)) -> Tensor {
        let side = isqrt(grid.size()[0]);
        let map = grid
            .view([1, side, side, -1])
            .permute([0, 3, 1, 2])
            .contiguous();
        let size = [h, w];
        let map = match self {
            Resample::Antialias => map.internal_upsample_bicubic2d_aa(size, false, None, None),
            Resample::Plain => map.upsample_bicubic2d(size, false, None, None),
            Resample::PlainOffset => {
                // The hub adds 0.1 against rounding of the output size; it shifts the samples.
                let scale = |n: i64| (n as f64 + 0.1) / side as f64;
                map.upsample_bicubic2d(size, false, scale(h), scale(w))
            }
            Resample::AntialiasBilinear => {
                map.internal_upsample_bilinear2d_aa(size, false, None, None)
            }
            Resample::Bilinear => map.upsample_bilinear2d(size, false, None, None),
        };
        map.permute([0, 2, 3, 1]).reshape([h * w, -1])
    }
}

/// When the stored table is used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The grids are equal.
    SameGrid,
    /// They have as many tokens, even in another arrangement (open_clip).
    SameCount,
}

/// A learned square position table, with the rows of prefix tokens in front.
pub struct Positions {
    /// [P + M*M, C] fp32
    table: Derived,
    /// P rows, which are never resampled.
    prefix: i64,
    side: i64,
    rule: Resample,
    keep: Keep,
    kind: Kind,
    /// [P + h*w, C] in the run's precision, by grid
    cache: RefCell<HashMap<(i64, i64), Tensor>>,
}

/// Grids kept at a time: enough for every resolution of a benchmark, and a bound for pictures in
/// their own sizes.
const CACHED_GRIDS: usize = 64;

impl Positions {
    /// `table`: [..., P + M*M, C] with `prefix` rows in front, read from `p`.
    pub fn new(p: &Params, table: Tensor, prefix: i64, rule: Resample, keep: Keep) -> Result<Self> {
        let rows = table.numel() as i64 / table.size().last().copied().unwrap_or(1).max(1);
        Self::of_rows(p, rows, prefix, rule, keep, move || table.shallow_clone())
    }

    /// The same, of a table with `rows` rows that `make` computes from parameters.
    pub fn of_rows(
        p: &Params,
        rows: i64,
        prefix: i64,
        rule: Resample,
        keep: Keep,
        make: impl Fn() -> Tensor + Send + 'static,
    ) -> Result<Self> {
        let count = rows - prefix;
        let side = isqrt(count);
        if side * side != count {
            return Err(Error::model(format!(
                "the position table has {count} rows beside its {prefix} prefix row(s), which is no square grid"
            )));
        }
        Ok(Positions {
            table: Derived::new(p, move || make().to_kind(Kind::Float).reshape([rows, -1])),
            prefix,
            side,
            rule,
            keep,
            kind: p.kind(),
            cache: RefCell::default(),
        })
    }

    /// [P + h*w, C] for that grid, in the run's precision.
    pub fn at(&self, grid: (i64, i64)) -> Tensor {
        if !self.table.is_constant() {
            return self.compute(grid);
        }
        if let Some(ready) = self.cache.borrow().get(&grid) {
            return ready.shallow_clone();
        }
        let rows = self.compute(grid);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_GRIDS {
            cache.clear();
        }
        cache.insert(grid, rows.shallow_clone());
        rows
    }

    fn compute(&self, grid: (i64, i64)) -> Tensor {
        let (h, w) = grid;
        let keep = match self.keep {
            Keep::SameGrid => grid == (self.side, self.side),
            Keep::SameCount => h * w == self.side * self.side,
        };
        let table = self.table.value();
        let rows = if keep {
            table
        } else {
            let patches = table.narrow(0, self.prefix, self.side * self.side);
            let patches = self.rule.resize(&patches, grid);
            match self.prefix {
                0 => patches,
                prefix => Tensor::cat(&[table.narrow(0, 0, prefix), patches], 0),
            }
        };
        rows.to_kind(self.kind)
    }

    /// M
    pub fn side(&self) -> i64 {
        self.side
    }

    pub fn rule(&self) -> Resample {
        self.rule
    }
}

/// The integer square root.
pub fn isqrt(n: i64) -> i64 {
    u64::try_from(n).map_or(0, |n| n.isqrt() as i64)
}
