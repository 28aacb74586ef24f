//! A moving average of the parameters (spec/distillation.md §5).

use tch::Tensor;

/// e <- d e + (1 - d) p, fp32.
pub struct Ema {
    decay: f64,
    /// Whether the decay is at most (1 + t) / (10 + t) at update t, from 0.
    warmup: bool,
    pub updates: u64,
    /// In the order of the parameters.
    pub averages: Vec<Tensor>,
}

impl Ema {
    pub fn new(decay: f64, warmup: bool, parameters: &[(String, Tensor)]) -> Self {
        Ema {
            decay,
            warmup,
            updates: 0,
            averages: parameters.iter().map(|(_, p)| p.detach().copy()).collect(),
        }
    }

    /// The decay of update `t`.
    pub fn decay(&self, t: u64) -> f64 {
        match self.warmup {
            true => self.decay.min((1 + t) as f64 / (10 + t) as f64),
            false => self.decay,
        }
    }

    pub fn update(&mut self, parameters: &[(String, Tensor)]) {
        let _no_grad = tch::no_grad_guard();
        let weight = 1.0 - self.decay(self.updates);
        for (average, (_, parameter)) in self.averages.iter_mut().zip(parameters) {
            let _ = average.lerp_(&parameter.detach(), weight);
        }
        self.updates += 1;
    }
}
