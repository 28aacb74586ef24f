//! Mean and covariance of vectors that come in pieces.

use crate::Result;
use tch::{Device, Kind, Tensor};

/// Count, mean and centred sum of products, fp64; merged by Chan's formula, so that any split into
/// pieces gives the same.
pub struct Moments {
    pub count: i64,
    /// `[C]`
    pub mean: Tensor,
    /// `[C,C]`
    pub products: Tensor,
}

impl Moments {
    pub fn new(width: i64, device: Device) -> Self {
        Moments {
            count: 0,
            mean: Tensor::zeros([width], (Kind::Double, device)),
            products: Tensor::zeros([width, width], (Kind::Double, device)),
        }
    }

    /// Takes in `[n,C]` vectors.
    pub fn add(&mut self, x: &Tensor) {
        let x = x.to_kind(Kind::Double);
        let count = x.size()[0];
        if count == 0 {
            return;
        }
        let mean = x.mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = x - &mean;
        let products = centred.tr().matmul(&centred);
        let other = Moments {
            count,
            mean,
            products,
        };
        self.merge(&other);
    }

    pub fn merge(&mut self, other: &Moments) {
        let total = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let delta = &other.mean - &self.mean;
        self.products =
            &self.products + &other.products + delta.outer(&delta) * (a * b / total as f64);
        self.mean = &self.mean + delta * (b / total as f64);
        self.count = total;
    }

    /// `[C,C]`, divisor n - 1.
    ///
    /// # Errors
    /// Fewer than two vectors came.
    pub fn covariance(&self) -> Result<Tensor> {
        if self.count < 2 {
            return Err(crate::Error::model(format!(
                "statistics of {} feature vectors cannot be had; run more estimation steps",
                self.count
            )));
        }
        Ok(&self.products / (self.count - 1) as f64)
    }
}
