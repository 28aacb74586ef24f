//! The network from a normalised picture to the neck's map.

use super::Tap;
use super::config::Config;
use super::conv::channels_last;
use super::level::Level;
use super::neck::{self, Neck};
use super::stem::Stem;
use crate::Result;
use crate::weights::Params;
use tch::Tensor;

/// E-RADIO without its conditioner and adaptors. The last level's norm and the classifier of
/// upstream's module are dead weight: RADIO reads the neck only.
pub struct Network {
    patch_embed: Stem,
    levels: Vec<Level>,
    high_res_neck: Neck,
}

impl Network {
    pub fn new(p: &Params, config: &Config) -> Result<Self> {
        let levels = p.pp("levels");
        Ok(Network {
            patch_embed: Stem::new(&p.pp("patch_embed"), config)?,
            levels: (0..config.depths.len())
                .map(|i| Level::new(&levels.pp(i), config, i))
                .collect::<Result<_>>()?,
            high_res_neck: Neck::new(&p.pp("high_res_neck"), config)?,
        })
    }

    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// x: [B, 3, H, W], normalised, in the run's precision -> [B, h, w, D].
    ///
    /// `window`: attention window in tokens, `None` as trained. `see_level` is shown every level's
    /// map [B, C, H, W] before down-sampling; `tap` every stage's output under upstream's module
    /// names.
    pub fn forward(
        &self,
        x: &Tensor,
        window: Option<i64>,
        see_level: &mut dyn FnMut(usize, &Tensor),
        tap: Tap,
    ) -> Tensor {
        let mut x = self.patch_embed.forward(&channels_last(x));
        tap(format_args!("patch_embed"), &x);
        let mut sum: Option<Tensor> = None;
        for (i, level) in self.levels.iter().enumerate() {
            let (next, map) = level.forward(&x, window, tap);
            see_level(i, &map);
            tap(format_args!("levels.{i}.pre_downsample"), &map);
            tap(format_args!("levels.{i}.out"), &next);
            if let Some(part) = self.high_res_neck.project(&map, i) {
                sum = Some(match sum {
                    None => part,
                    Some(sum) => neck::add(&sum, &part),
                });
            }
            x = next;
        }
        sum.expect("the neck starts at one of the levels")
    }
}
