//! Attention inside windows, with a relative position bias (spec radio.md §3.5).

use super::config::Config;
use super::position::PositionBias;
use crate::Result;
use crate::models::layers::Linear;
use crate::weights::Params;
use tch::Tensor;

/// Multi-head attention on tokens of windows [n, N, C].
pub struct WindowAttention {
    qkv: Linear,
    proj: Linear,
    pos_emb_funct: PositionBias,
    heads: i64,
    scale: f64,
    /// One key and one value for all heads.
    multi_query: bool,
}

impl WindowAttention {
    pub fn new(p: &Params, config: &Config, dim: i64, heads: i64, window: i64) -> Result<Self> {
        let head_dim = dim / heads;
        let projections = if config.multi_query {
            dim + 2 * head_dim
        } else {
            3 * dim
        };
        Ok(WindowAttention {
            qkv: Linear::new(p.pp("qkv"), dim, projections, config.qkv_bias)?,
            proj: Linear::new(p.pp("proj"), dim, dim, false)?,
            pos_emb_funct: PositionBias::new(
                &p.pp("pos_emb_funct"),
                heads,
                config.cpb_mlp_hidden,
                window,
            )?,
            heads,
            // Upstream writes `qk_scale or head_dim ** -0.5`: a zero counts as not given.
            scale: config
                .qk_scale
                .filter(|&s| s != 0.0)
                .unwrap_or((head_dim as f64).powf(-0.5)),
            multi_query: config.multi_query,
        })
    }

    /// x: [n, N, C], N = window². `shifted` [windows, N, N] is added to the logits of each
    /// picture's windows (n is a multiple of `windows`).
    pub fn forward(&self, x: &Tensor, window: i64, shifted: Option<&Tensor>) -> Tensor {
        let (n, tokens, dim) = x.size3().expect("tokens are [n, N, C]");
        let (q, k, v) = self.split(&self.qkv.forward(x));
        let bias = self.pos_emb_funct.get(window, q.kind());
        let attend = |q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor| {
            Tensor::scaled_dot_product_attention(q, k, v, Some(mask), 0.0, false, self.scale, false)
        };
        let y = match shifted {
            None => attend(&q, &k, &v, &bias),
            Some(shifted) => {
                // The windows of a picture become heads, so that each has a mask of its own.
                let windows = shifted.size()[0];
                let mask = (bias + shifted.unsqueeze(1)).to_kind(q.kind());
                let mask = mask.view([1, -1, tokens, tokens]);
                let per_picture = |t: Tensor| {
                    t.reshape([n / windows, windows * self.heads, tokens, dim / self.heads])
                };
                attend(&per_picture(q), &per_picture(k), &per_picture(v), &mask).reshape([
                    n,
                    self.heads,
                    tokens,
                    dim / self.heads,
                ])
            }
        };
        self.proj
            .forward(&y.transpose(1, 2).reshape([n, tokens, dim]))
    }

    /// Queries, keys and values, each [n, heads, N, d].
    fn split(&self, qkv: &Tensor) -> (Tensor, Tensor, Tensor) {
        let (n, tokens, width) = qkv.size3().expect("projections are [n, N, D]");
        let parts = if self.multi_query {
            self.heads + 2
        } else {
            3 * self.heads
        };
        let head_dim = width / parts;
        let all = qkv.view([n, tokens, parts, head_dim]).transpose(1, 2); // [n, parts, N, d]
        if self.multi_query {
            let shared = |i: i64| {
                let size = [n, self.heads, tokens, head_dim];
                all.narrow(1, i, 1).expand(size, false)
            };
            let q = all.narrow(1, 0, self.heads);
            (q, shared(self.heads), shared(self.heads + 1))
        } else {
            let part = |i: i64| all.narrow(1, i * self.heads, self.heads);
            (part(0), part(1), part(2))
        }
    }
}
