//! AdamW (Loshchilov and Hutter 2019) in PyTorch's arithmetic, with a state that can be saved:
//! tch's own optimisers cannot be resumed.

use crate::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWOptions {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    /// torch.optim.AdamW's, but no weight decay.
    fn default() -> Self {
        AdamWOptions {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// The optimiser of some parameters, given in one order throughout.
pub struct AdamW {
    options: AdamWOptions,
    /// Updates done.
    step: u64,
    /// Running means of the gradient and of its square, per parameter.
    moments: Vec<(Tensor, Tensor)>,
}

impl AdamW {
    pub fn new(options: AdamWOptions, parameters: &[&Tensor]) -> Self {
        AdamW {
            options,
            step: 0,
            moments: parameters
                .iter()
                .map(|p| (p.detach().zeros_like(), p.detach().zeros_like()))
                .collect(),
        }
    }

    pub fn options(&self) -> AdamWOptions {
        self.options
    }

    /// One update with rate `lr` from the gradients of `parameters`, which are then cleared.
    /// Follows torch's single-tensor path operation by operation.
    pub fn step(&mut self, parameters: &[&Tensor], lr: f64) {
        self.step += 1;
        let AdamWOptions {
            beta1,
            beta2,
            eps,
            weight_decay,
        } = self.options;
        let correction1 = 1.0 - beta1.powi(self.step as i32);
        let correction2 = (1.0 - beta2.powi(self.step as i32)).sqrt();
        tch::no_grad(|| {
            for (parameter, (mean, square)) in parameters.iter().zip(&mut self.moments) {
                let gradient = parameter.grad();
                let mut parameter = parameter.shallow_clone();
                if weight_decay != 0.0 {
                    parameter *= 1.0 - lr * weight_decay;
                }
                let _ = mean.lerp_(&gradient, 1.0 - beta1);
                *square = &*square * beta2 + &gradient * &gradient * (1.0 - beta2);
                let scale = square.sqrt() / correction2 + eps;
                let update = &*mean / scale;
                parameter -= update * (lr / correction1);
                parameter.zero_grad();
            }
        });
    }

    /// The moments as named tensors, for a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        for (i, (mean, square)) in self.moments.iter().enumerate() {
            state.push((format!("adamw.{i}.exp_avg"), mean.shallow_clone()));
            state.push((format!("adamw.{i}.exp_avg_sq"), square.shallow_clone()));
        }
        state
    }

    /// Takes up the moments that [`AdamW::state`] gave after `step` updates; `read` returns a
    /// tensor by name.
    pub fn restore(&mut self, step: u64, read: impl Fn(&str) -> Result<Tensor>) -> Result<()> {
        self.step = step;
        for (i, (mean, square)) in self.moments.iter_mut().enumerate() {
            mean.f_copy_(&read(&format!("adamw.{i}.exp_avg"))?)?;
            square.f_copy_(&read(&format!("adamw.{i}.exp_avg_sq"))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        // f(x) = x^2 / 2 at x = 2, lr 0.1, weight decay 0.5.
        let x = Tensor::from_slice(&[2.0f64]).set_requires_grad(true);
        let options = AdamWOptions {
            weight_decay: 0.5,
            ..AdamWOptions::default()
        };
        let mut adamw = AdamW::new(options, &[&x]);
        let (mut value, mut mean, mut square) = (2.0f64, 0.0, 0.0);
        for step in 1..=2 {
            (&x * &x / 2.0).sum(tch::Kind::Double).backward();
            adamw.step(&[&x], 0.1);
            let gradient = value;
            value *= 1.0 - 0.1 * 0.5;
            mean = 0.9 * mean + 0.1 * gradient;
            square = 0.999 * square + 0.001 * gradient * gradient;
            let denominator = (square / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8;
            value -= 0.1 * mean / (1.0 - 0.9f64.powi(step)) / denominator;
            assert!((x.double_value(&[0]) - value).abs() < 1e-12);
        }
    }
}
