//! ViTDet mode: most blocks attend inside windows (spec/radio.md §2.13).
//!
//! Prefix tokens skip the windowed blocks unchanged and rejoin the patches at global ones.

use super::block::Block;
use crate::{Error, Result};
use serde_json::{Value, json};
use tch::Tensor;

/// Global blocks where neither the user nor the zoo says how many.
const DEFAULT_GLOBAL: i64 = 4;

/// Windows of a network of fixed depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VitDet {
    /// Patches per window side.
    pub window: i64,
    /// Every `period`-th block is global, and so is the last.
    period: i64,
    depth: i64,
}

impl VitDet {
    /// `hints` may have `vitdet` (false where upstream refuses it), `vitdet_num_windowed` and
    /// `vitdet_num_global`.
    pub fn new(window: i64, depth: i64, hints: &Value) -> Result<Self> {
        if hints["vitdet"].as_bool() == Some(false) {
            return Err(Error::usage(
                "this version does not support ViTDet windows; leave --vitdet-window out",
            ));
        }
        if window < 1 {
            return Err(Error::usage(
                "--vitdet-window must be a positive number of patches",
            ));
        }
        let global = hints["vitdet_num_global"].as_i64().filter(|&n| n > 0);
        let period = match hints["vitdet_num_windowed"].as_i64() {
            Some(windowed) => windowed + 1,
            None => (depth / global.unwrap_or(DEFAULT_GLOBAL)).max(1),
        };
        if period < 2 {
            return Err(Error::usage(format!(
                "a network of {depth} blocks is too shallow for ViTDet windows: every block would be global"
            )));
        }
        Ok(VitDet {
            window,
            period,
            depth,
        })
    }

    /// For records and cache keys.
    pub fn describe(&self) -> Value {
        json!({"window": self.window, "period": self.period})
    }

    fn is_global(&self, block: i64) -> bool {
        block == self.depth - 1 || block % self.period == self.period - 1
    }

    /// Cuts tokens [B, prefix + h*w, C] in raster order into windows; h and w are multiples of the
    /// window.
    pub fn cut(&self, tokens: &Tensor, prefix: i64, (h, w): (i64, i64)) -> WindowedTokens {
        let (b, n, c) = tokens.size3().expect("tokens are [B, N, C]");
        let side = self.window;
        let (rows, columns) = (h / side, w / side);
        WindowedTokens {
            prefix: tokens.narrow(1, 0, prefix),
            windows: tokens
                .narrow(1, prefix, n - prefix)
                .reshape([b, rows, side, columns, side, c])
                .permute([0, 1, 3, 2, 4, 5])
                .reshape([b * rows * columns, side * side, c]),
            counts: (rows, columns),
            side,
        }
    }

    /// Block `i` of the network on `tokens`: inside windows, or on all of them.
    pub fn forward(&self, i: usize, block: &Block, tokens: WindowedTokens) -> WindowedTokens {
        if !self.is_global(i as i64) {
            return WindowedTokens {
                windows: block.forward(&tokens.windows),
                ..tokens
            };
        }
        let (prefix, n) = (tokens.prefix.size()[1], tokens.patch_count());
        let windows = tokens.windows.size();
        let b = tokens.prefix.size()[0];
        let joined = [&tokens.prefix, &tokens.windows.view([b, n, windows[2]])];
        let y = block.forward(&Tensor::cat(&joined, 1));
        WindowedTokens {
            prefix: y.narrow(1, 0, prefix),
            windows: y.narrow(1, prefix, n).reshape(&windows),
            ..tokens
        }
    }
}

/// The tokens between two blocks, patches ordered by window.
pub struct WindowedTokens {
    /// [B, P, C]
    prefix: Tensor,
    /// [B * windows, side², C], windows and their patches in raster order
    windows: Tensor,
    /// Windows per column and per row.
    counts: (i64, i64),
    side: i64,
}

impl WindowedTokens {
    fn patch_count(&self) -> i64 {
        self.counts.0 * self.counts.1 * self.side * self.side
    }

    /// [B, P + h*w, C], patches in raster order.
    pub fn join(&self) -> Tensor {
        let (rows, columns) = self.counts;
        let (b, c) = (self.prefix.size()[0], self.prefix.size()[2]);
        let patches = self
            .windows
            .view([b, rows, columns, self.side, self.side, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([b, self.patch_count(), c]);
        Tensor::cat(&[&self.prefix, &patches], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(depth: i64, hints: Value) -> Vec<i64> {
        let plan = VitDet::new(16, depth, &hints).unwrap();
        (0..depth).filter(|&i| plan.is_global(i)).collect()
    }

    #[test]
    fn global_blocks_of_the_releases() {
        // The examples of spec §2.13.
        assert_eq!(
            global(32, json!({"vitdet_num_windowed": 5})),
            [5, 11, 17, 23, 29, 31]
        );
        assert_eq!(global(12, json!({"vitdet_num_global": 4})), [2, 5, 8, 11]);
        assert_eq!(global(32, Value::Null), [7, 15, 23, 31]);
    }

    #[test]
    fn refuses_what_upstream_breaks_on() {
        for (depth, hints) in [
            (6, json!({"vitdet_num_global": 4})),
            (32, json!({"vitdet": false})),
        ] {
            assert!(matches!(
                VitDet::new(16, depth, &hints),
                Err(Error::Usage(_))
            ));
        }
    }
}
