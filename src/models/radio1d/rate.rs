//! Dynamic rate (spec/radio1d.md §5): a model that is asked for -n tokens chooses for each picture
//! how many its code has.

use super::shape::Shape;
use crate::models::layers::Linear;
use crate::weights::Params;
use crate::{Error, Result};
use tch::{Kind, Tensor};

pub struct DynamicRate {
    /// [C]; what the first register says about the rate asked for
    vec: Tensor,
    projector: Linear,
    /// Place of the first register.
    register: i64,
}

impl DynamicRate {
    /// `model` holds `dynamic_rate_vec` and `dynamic_rate_projector`.
    pub fn new(model: &Params, shape: &Shape) -> Result<Self> {
        if shape.cls_tokens == shape.prefix_tokens {
            return Err(Error::model(
                "the args have dynamic_rate and no register, which is where the rate is told",
            ));
        }
        let width = shape.width();
        Ok(DynamicRate {
            vec: model.get("dynamic_rate_vec", &[width])?,
            projector: Linear::new(model.pp("dynamic_rate_projector"), width, 1, true)?,
            register: shape.cls_tokens,
        })
    }

    /// x: [B, P+h*w, C] with the first register replaced. `rate` is -n over the most tokens: upstream
    /// keeps the sign.
    pub fn announce(&self, x: &Tensor, rate: f64) -> Tensor {
        let (batch, count, width) = x.size3().expect("tokens are [B, N, C]");
        let told = (&self.vec * (2.0 * rate - 1.0)).expand([batch, 1, width], false);
        let behind = self.register + 1;
        Tensor::cat(
            &[
                x.narrow(1, 0, self.register),
                told,
                x.narrow(1, behind, count - behind),
            ],
            1,
        )
    }

    /// Tokens of each picture, 1 to `limit`, from x: [B, P+h*w, C] in front of the first merging.
    pub fn choose(&self, x: &Tensor, limit: i64) -> Counts {
        let logits = self.projector.forward(&x.select(1, self.register));
        let share = logits.to_kind(Kind::Float).sigmoid();
        // Half to even, as upstream rounds.
        Counts(
            (share * (limit - 1) as f64 + 1.0)
                .round()
                .to_kind(Kind::Int64),
        )
    }
}

/// Tokens of each picture: [B, 1], on the device.
pub struct Counts(Tensor);

impl Counts {
    /// 0, 1, ... n-1 as [1, n].
    fn places(&self, n: i64) -> Tensor {
        Tensor::arange(n, (Kind::Int64, self.0.device())).unsqueeze(0)
    }

    /// Which of `n` tokens are a picture's own: [B, n, 1].
    pub fn mask(&self, n: i64) -> Tensor {
        self.places(n).less_tensor(&self.0).unsqueeze(-1)
    }

    /// tokens: [B, n, C'] with zeros behind each picture's own.
    pub fn keep(&self, tokens: &Tensor) -> Tensor {
        tokens * self.mask(tokens.size()[1]).to_kind(tokens.kind())
    }

    /// The last tokens of spatial: [B, N, C'], each picture's own in front: [B, n, C'].
    pub fn last_of(&self, spatial: &Tensor, n: i64) -> Tensor {
        let (_, count, width) = spatial.size3().expect("tokens are [B, N, C]");
        let places = (self.places(n) - &self.0 + count).clamp_max(count - 1);
        spatial.gather(
            1,
            &places.unsqueeze(-1).expand([-1, -1, width], false),
            false,
        )
    }

    /// tokens: [B, n, C'], zero behind each picture's own -> their mean [B, C'].
    pub fn mean(&self, tokens: &Tensor) -> Tensor {
        tokens.sum_dim_intlist(1, false, None::<Kind>) / self.0.to_kind(tokens.kind())
    }
}
