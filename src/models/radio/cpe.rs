//! Cropped position embedding (CPE) at evaluation (spec/radio.md §2.4).
//!
//! The learned map is resampled to a square of the longer side of the patch grid, and its
//! top-left corner is used: a 4x6 grid sees the upper two thirds of a 6x6 map.

use crate::Result;
use crate::weights::Params;
use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Grids kept at a time. A table of ViT-H at 2048 pixels takes 84 MB, so not many.
const CACHED_GRIDS: usize = 16;

/// The learned map and the rule by which it meets a patch grid.
pub struct PositionMap {
    /// [1, side*side, C] in the run's precision
    table: Tensor,
    side: i64,
    /// Upstream said `true` until commit cb07f55 (2025-06-28), `false` since.
    align_corners: bool,
    /// `false`: the window is cut from the map itself, without resampling.
    cpe: bool,
    /// [1, h*w, C] by grid
    cache: RefCell<HashMap<(i64, i64), Tensor>>,
}

impl PositionMap {
    /// `p` is `patch_generator`, whose `pos_embed` is [1, side*side, C].
    pub fn new(p: &Params, side: i64, width: i64, align_corners: bool, cpe: bool) -> Result<Self> {
        // In the run's precision first, as upstream's parameter is.
        let table = p.get("pos_embed", &[1, side * side, width])?;
        Ok(Self::from_table(&table, side, align_corners, cpe))
    }

    /// `table`: [1, side*side, C] in the run's precision.
    pub fn from_table(table: &Tensor, side: i64, align_corners: bool, cpe: bool) -> Self {
        PositionMap {
            table: table.shallow_clone(),
            side,
            align_corners,
            cpe,
            cache: RefCell::default(),
        }
    }

    /// [1, C, side, side] fp32, as learned.
    pub fn map(&self) -> Tensor {
        self.table
            .to_kind(Kind::Float)
            .view([1, self.side, self.side, -1])
            .permute([0, 3, 1, 2])
            .contiguous()
    }

    /// Whether a patch grid is the map's own, which is then used as it is.
    pub fn is_own_grid(&self, grid: (i64, i64)) -> bool {
        grid == (self.side, self.side)
    }

    /// Whether the map is resampled at all, and by random viewports in training.
    pub fn is_cropped(&self) -> bool {
        self.cpe
    }

    /// [1, h*w, C] for the patch grid (h, w), in the run's precision; computed once per grid
    /// unless the map is trained.
    pub fn at(&self, grid: (i64, i64)) -> Tensor {
        if self.table.requires_grad() {
            return self.compute(grid);
        }
        if let Some(ready) = self.cache.borrow().get(&grid) {
            return ready.shallow_clone();
        }
        let table = self.compute(grid).to_kind(self.table.kind());
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_GRIDS {
            cache.clear();
        }
        cache.insert(grid, table.shallow_clone());
        table
    }

    fn compute(&self, (h, w): (i64, i64)) -> Tensor {
        let resample = |map: &Tensor, size: [i64; 2]| {
            map.upsample_bilinear2d(size, self.align_corners, None, None)
        };
        let mut map = self.map();
        if !self.is_own_grid((h, w)) {
            if self.cpe {
                let longer = h.max(w);
                map = resample(&map, [longer, longer]);
            }
            let size = map.size();
            map = map
                .narrow(2, 0, h.min(size[2]))
                .narrow(3, 0, w.min(size[3]));
            if map.size()[2..] != [h, w] {
                map = resample(&map, [h, w]);
            }
        }
        map.flatten(2, 3).transpose(1, 2).contiguous()
    }
}
