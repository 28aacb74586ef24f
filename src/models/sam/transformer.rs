//! The two-way transformer of SAM's mask decoder: prompt tokens and image tokens attend to each
//! other (segment-anything `transformer.py`, spec/coco.md §1.5).

use super::decoder_config::DecoderConfig;
use crate::Result;
use crate::models::layers::{Activation, LayerNorm, Linear, Mlp, attention};
use crate::weights::Params;
use tch::Tensor;

/// Of the norms between the attentions: torch's default, which segment-anything has. transformers'
/// configurations say 1e-6, with which outputs differ by 6e-4.
const EPS: f64 = 1e-5;

struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: i64,
}

impl Attention {
    fn new(p: &Params, config: &DecoderConfig, inner: i64) -> Result<Self> {
        let width = config.width;
        Ok(Attention {
            q_proj: Linear::new(p.pp("q_proj"), width, inner, true)?,
            k_proj: Linear::new(p.pp("k_proj"), width, inner, true)?,
            v_proj: Linear::new(p.pp("v_proj"), width, inner, true)?,
            out_proj: Linear::new(p.pp("out_proj"), inner, width, true)?,
            heads: config.heads,
        })
    }

    /// q: `[P,N,C]`, k and v: `[P,M,C]`; each may have one row for all prompts.
    fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let prompts = q.size()[0].max(k.size()[0]);
        let split = |x: Tensor| {
            let size = x.size();
            let (rows, n, inner) = (size[0], size[1], size[2]);
            x.view([rows, n, self.heads, inner / self.heads])
                .transpose(1, 2)
                .expand([prompts, -1, -1, -1], false)
        };
        let q = split(self.q_proj.forward(q));
        let (k, v) = (split(self.k_proj.forward(k)), split(self.v_proj.forward(v)));
        let mixed = attention(&q, &k, &v, None).transpose(1, 2).flatten(2, 3);
        self.out_proj.forward(&mixed)
    }
}

struct Layer {
    self_attn: Attention,
    norm1: LayerNorm,
    cross_attn_token_to_image: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    norm3: LayerNorm,
    cross_attn_image_to_token: Attention,
    norm4: LayerNorm,
    first: bool,
}

impl Layer {
    fn new(p: &Params, config: &DecoderConfig, first: bool) -> Result<Self> {
        let (width, inner) = (config.width, config.cross_width);
        let norm = |name: &str| LayerNorm::new(p.pp(name), width, EPS);
        let cross = |name: &str| Attention::new(&p.pp(name), config, inner);
        let mlp = p.pp("mlp");
        Ok(Layer {
            self_attn: Attention::new(&p.pp("self_attn"), config, width)?,
            norm1: norm("norm1")?,
            cross_attn_token_to_image: cross("cross_attn_token_to_image")?,
            norm2: norm("norm2")?,
            mlp: Mlp::from_parts(
                Linear::new(mlp.pp("lin1"), width, config.hidden, true)?,
                Linear::new(mlp.pp("lin2"), config.hidden, width, true)?,
                Activation::Relu,
            ),
            norm3: norm("norm3")?,
            cross_attn_image_to_token: cross("cross_attn_image_to_token")?,
            norm4: norm("norm4")?,
            first,
        })
    }

    /// Prompt tokens `q` and image tokens `k`, with their positions.
    fn forward(&self, q: &Tensor, k: &Tensor, at: (&Tensor, &Tensor)) -> (Tensor, Tensor) {
        let q = match self.first {
            // Neither a residual nor positions: the tokens are their positions still.
            true => self.self_attn.forward(q, q, q),
            false => {
                let placed = q + at.0;
                q + self.self_attn.forward(&placed, &placed, q)
            }
        };
        let q = self.norm1.forward(&q);
        let image = k + at.1;
        let seen = self
            .cross_attn_token_to_image
            .forward(&(&q + at.0), &image, k);
        let q = self.norm2.forward(&(q + seen));
        let q = self.norm3.forward(&(&q + self.mlp.forward(&q)));
        let seen = self
            .cross_attn_image_to_token
            .forward(&image, &(&q + at.0), &q);
        let k = self.norm4.forward(&(k + seen));
        (q, k)
    }
}

pub struct TwoWayTransformer {
    layers: Vec<Layer>,
    final_attn_token_to_image: Attention,
    norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    pub fn new(p: &Params, config: &DecoderConfig) -> Result<Self> {
        let layer = |i: i64| Layer::new(&p.pp("layers").pp(i), config, i == 0);
        let last = p.pp("final_attn_token_to_image");
        Ok(TwoWayTransformer {
            layers: (0..config.depth).map(layer).collect::<Result<_>>()?,
            final_attn_token_to_image: Attention::new(&last, config, config.cross_width)?,
            norm_final_attn: LayerNorm::new(p.pp("norm_final_attn"), config.width, EPS)?,
        })
    }

    /// tokens: `[P,T,C]`, image and positions: `[P,N,C]`, or one row for all prompts, which then is
    /// projected once. Gives both after they have seen each other.
    pub fn forward(&self, tokens: &Tensor, image: &Tensor, positions: &Tensor) -> (Tensor, Tensor) {
        let (mut q, mut k) = (tokens.shallow_clone(), image.shallow_clone());
        for layer in &self.layers {
            (q, k) = layer.forward(&q, &k, (tokens, positions));
        }
        let seen = self
            .final_attn_token_to_image
            .forward(&(&q + tokens), &(&k + positions), &k);
        (self.norm_final_attn.forward(&(q + seen)), k)
    }
}
