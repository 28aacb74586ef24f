//! Attention pooling: one learned query over the tokens, then a residual MLP (SigLIP, PE).

use super::derived::Derived;
use super::layers::{Activation, LayerNorm, Linear, Mlp, attention};
use crate::Result;
use crate::weights::Params;
use tch::Tensor;

/// Sizes of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// C
    pub width: i64,
    pub heads: i64,
    /// Width inside the MLP.
    pub hidden: i64,
    pub eps: f64,
    pub activation: Activation,
}

/// Multi-head attention of the query over the tokens, then the MLP.
pub struct AttentionPool {
    /// [1, heads, 1, d]: the query does not depend on the input.
    query: Derived,
    /// [2C, C]: keys and values
    kv: Linear,
    proj: Linear,
    norm: LayerNorm,
    mlp: Mlp,
}

impl AttentionPool {
    /// `p` holds `latent`, `in_proj`, `proj`, `norm` and `mlp` (timm's names).
    pub fn new(p: &Params, config: &PoolConfig) -> Result<Self> {
        let PoolConfig { width, heads, .. } = *config;
        let latent = p.get("latent", &[1, 1, width])?;
        let in_proj = p.pp("in_proj");
        let weight = in_proj.get("weight", &[3 * width, width])?;
        let bias = in_proj.get("bias", &[3 * width])?;
        let rows = |start: i64, count: i64| {
            let (weight, bias) = (weight.shallow_clone(), bias.shallow_clone());
            Linear::arranged(p, move || {
                let bias = bias.narrow(0, start, count);
                (weight.narrow(0, start, count), Some(bias))
            })
        };
        let q = rows(0, width)?;
        let query = move || {
            let query = q.forward(&latent);
            query.view([1, 1, heads, width / heads]).transpose(1, 2)
        };
        Ok(AttentionPool {
            query: Derived::new(p, query),
            kv: rows(width, 2 * width)?,
            proj: Linear::new(p.pp("proj"), width, width, true)?,
            norm: LayerNorm::new(p.pp("norm"), width, config.eps)?,
            mlp: Mlp::new(&p.pp("mlp"), width, config.hidden, config.activation)?,
        })
    }

    /// x: [B, N, C] -> [B, C]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let query = self.query.value();
        let (b, n, heads, d) = (size[0], size[1], query.size()[1], query.size()[3]);
        let kv = self
            .kv
            .forward(x)
            .view([b, n, 2, heads, d])
            .permute([2, 0, 3, 1, 4]);
        let query = query.expand([b, -1, -1, -1], false);
        let pooled = attention(&query, &kv.get(0), &kv.get(1), None);
        let a = self
            .proj
            .forward(&pooled.transpose(1, 2).reshape([b, heads * d]));
        let y = self.mlp.forward(&self.norm.forward(&a));
        a + y
    }
}
