//! AdamW and LAMB over named parameters, with gradient clipping (spec/distillation.md §5).

use crate::{Error, Result};
use tch::{Kind, Tensor};

/// Which update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// PyTorch's AdamW
    AdamW,
    /// timm's LAMB, without its own clipping
    Lamb,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub rule: Rule,
    pub weight_decay: f64,
    pub betas: (f64, f64),
    pub eps: f64,
    /// LAMB: a tensor's step is never made longer than Adam's.
    pub trust_clip: bool,
}

/// What an optimiser remembers of one parameter. A parameter that never got a gradient has none.
pub struct State {
    /// Updates done.
    pub step: u64,
    /// Moving means of the gradient and of its square.
    pub mean: Tensor,
    pub square: Tensor,
}

pub struct Optimiser {
    pub settings: Settings,
    /// In the order of the parameters.
    pub states: Vec<Option<State>>,
}

/// Whether a parameter is exempt from weight decay: vectors and biases, the position map, and the
/// prefix tokens (upstream's `no_weight_decay`); log-variances of balancing are vectors.
pub fn is_undecayed(name: &str, parameter: &Tensor) -> bool {
    const NAMES: [&str; 3] = [".bias", ".pos_embed", ".cls_token.token"];
    parameter.dim() <= 1 || NAMES.iter().any(|ending| name.ends_with(ending))
}

/// The norm of all gradients as one vector.
pub fn norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let norm = |g: &Tensor| g.f_norm()?.f_to_kind(Kind::Double);
    let norms = gradients.iter().flatten().map(norm);
    let norms = norms.collect::<Result<Vec<_>, _>>()?;
    if norms.is_empty() {
        return Ok(0.0);
    }
    Ok(Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?)
}

/// What gradients of norm `norm` are multiplied with so that it is at most `limit` (PyTorch's
/// `clip_grad_norm_`).
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

/// The first parameter whose gradient is not finite.
pub fn not_finite<'a>(
    parameters: &'a [(String, Tensor)],
    gradients: &[Option<Tensor>],
) -> Option<&'a str> {
    let is_bad = |g: &Tensor| !g.sum(Kind::Float).double_value(&[]).is_finite();
    let mut both = parameters.iter().zip(gradients);
    let found = both.find(|(_, gradient)| gradient.as_ref().is_some_and(is_bad));
    found.map(|((name, _), _)| name.as_str())
}

impl Optimiser {
    pub fn new(settings: Settings, parameters: usize) -> Self {
        Optimiser {
            settings,
            states: (0..parameters).map(|_| None).collect(),
        }
    }

    /// One update with rate `lr`; `gradients` are in the order of `parameters`, and a parameter
    /// without one stays as it is, decay included.
    pub fn step(
        &mut self,
        parameters: &[(String, Tensor)],
        gradients: &[Option<Tensor>],
        lr: f64,
    ) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let settings = self.settings;
        for (((name, parameter), gradient), state) in
            parameters.iter().zip(gradients).zip(&mut self.states)
        {
            let Some(gradient) = gradient else { continue };
            let state = match state {
                Some(state) => state,
                None => state.insert(State {
                    step: 0,
                    mean: parameter.detach().f_zeros_like()?,
                    square: parameter.detach().f_zeros_like()?,
                }),
            };
            let decay = match is_undecayed(name, parameter) {
                true => 0.0,
                false => settings.weight_decay,
            };
            state.update(&settings, parameter, gradient, lr, decay)?;
        }
        Ok(())
    }
}

impl State {
    fn update(
        &mut self,
        settings: &Settings,
        parameter: &Tensor,
        gradient: &Tensor,
        lr: f64,
        decay: f64,
    ) -> Result<()> {
        self.step += 1;
        let (beta1, beta2) = settings.betas;
        let count = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - beta1.powi(count);
        let correction2 = (1.0 - beta2.powi(count)).sqrt();
        let _ = self.mean.f_lerp_(gradient, 1.0 - beta1)?;
        let fresh = gradient.f_square()?.f_mul_scalar_(1.0 - beta2)?;
        let _ = self.square.f_mul_scalar_(beta2)?.f_add_(&fresh)?;
        let mut scale = self.square.f_sqrt()?;
        let _ = scale
            .f_div_scalar_(correction2)?
            .f_add_scalar_(settings.eps)?;
        let mut update = self.mean.f_div(&scale)?;
        let mut parameter = parameter.detach();
        match settings.rule {
            Rule::AdamW => {
                if decay != 0.0 {
                    let _ = parameter.f_mul_scalar_(1.0 - lr * decay)?;
                }
                let update = update.f_mul_scalar_(lr / correction1)?;
                let _ = parameter.f_sub_(&update)?;
            }
            Rule::Lamb => {
                let mut update = update.f_div_scalar_(correction1)?;
                if decay != 0.0 {
                    let _ = update.f_add_(&parameter.f_mul_scalar(decay)?)?;
                    let ratio = trust(&parameter, &update, settings.trust_clip)?;
                    let _ = update.f_mul_(&ratio)?;
                }
                let _ = parameter.f_sub_(&update.f_mul_scalar_(lr)?)?;
            }
        }
        Ok(())
    }
}

/// |p| / |u|, or 1 where either is 0; a tensor, so that nobody waits for the device.
fn trust(parameter: &Tensor, update: &Tensor, clipped: bool) -> Result<Tensor> {
    let (p, u) = (parameter.f_norm()?, update.f_norm()?);
    let both = p.f_gt(0.0)?.f_logical_and(&u.f_gt(0.0)?)?;
    let ratio = p.f_div(&u)?.f_where_self(&both, &p.f_ones_like()?)?;
    Ok(match clipped {
        true => ratio.f_clamp_max(1.0)?,
        false => ratio,
    })
}

/// An error about a step whose gradients are not finite.
pub fn refuse(step: u64, name: &str) -> Error {
    Error::model(format!(
        "step {step}: the gradient of `{name}` is not finite"
    ))
}
