//! From the terms of a step to one number (spec/distillation.md §4).

use crate::Result;
use tch::{Device, Kind, Tensor};

/// Decay of AdaLoss's moving averages.
pub const ADALOSS_DECAY: f64 = 0.99;
/// The name under which log-variances are trained and saved.
pub const LOG_VARIANCE: &str = "balancing.log_variance";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balancing {
    /// The weights as they are (AM-RADIO's choice)
    #[default]
    Manual,
    /// A learned variance per term (Kendall et al. 2018)
    Uncertainty,
    /// Weights inverse to the average loss (Hu et al. 2019)
    AdaLoss,
}

/// The balancing of a run, with what it has learned.
pub struct Balancer {
    pub kind: Balancing,
    /// Per term.
    pub weights: Vec<f64>,
    /// `[M]` fp64, of `Uncertainty`.
    pub log_variance: Option<Tensor>,
    /// Moving averages per term before bias correction, and how many values they hold.
    pub averages: Vec<f64>,
    pub updates: u64,
}

impl Balancer {
    pub fn new(kind: Balancing, weights: Vec<f64>, device: Device) -> Self {
        let count = weights.len() as i64;
        let log_variance = (kind == Balancing::Uncertainty)
            .then(|| Tensor::zeros([count], (Kind::Double, device)).set_requires_grad(true));
        Balancer {
            kind,
            averages: vec![0.0; weights.len()],
            weights,
            log_variance,
            updates: 0,
        }
    }

    /// Whether the coefficients follow from this step's own losses, so that nothing can be
    /// differentiated before all of them are known.
    pub fn needs_losses_first(&self) -> bool {
        self.kind == Balancing::AdaLoss
    }

    /// What each term is multiplied with in this step, constant for the gradient of the network.
    /// AdaLoss: as of the last [`Balancer::observe`].
    pub fn coefficients(&self) -> Result<Vec<f64>> {
        let each = self.weights.iter().copied();
        Ok(match (self.kind, &self.log_variance) {
            (Balancing::AdaLoss, _) => {
                let correction = 1.0 - ADALOSS_DECAY.powi(self.updates.min(100_000) as i32);
                let inverse = |average: &f64| correction / average;
                let sum: f64 = self.averages.iter().map(inverse).sum();
                let count = self.weights.len() as f64;
                each.zip(&self.averages)
                    .map(|(w, average)| w * count * inverse(average) / sum)
                    .collect()
            }
            (Balancing::Uncertainty, Some(s)) => each
                .zip(Vec::<f64>::try_from(s.detach())?)
                .map(|(w, s)| w * 0.5 * (-s).exp())
                .collect(),
            _ => each.collect(),
        })
    }

    /// Takes in the losses of a step, before its coefficients are asked for (AdaLoss).
    pub fn observe(&mut self, losses: &[f64]) {
        if self.kind != Balancing::AdaLoss {
            return;
        }
        for (average, loss) in self.averages.iter_mut().zip(losses) {
            *average = ADALOSS_DECAY * *average + (1.0 - ADALOSS_DECAY) * loss;
        }
        self.updates += 1;
    }

    /// The step's one number.
    pub fn total(&self, losses: &[f64]) -> Result<f64> {
        let coefficients = self.coefficients()?;
        let mut total: f64 = coefficients.iter().zip(losses).map(|(c, l)| c * l).sum();
        if let Some(s) = &self.log_variance {
            let s = Vec::<f64>::try_from(s.detach())?;
            total += (self.weights.iter().zip(s))
                .map(|(w, s)| w * 0.5 * s)
                .sum::<f64>();
        }
        Ok(total)
    }

    /// The gradient of the total for the log-variances, `[M]`.
    pub fn log_variance_gradient(&self, losses: &[f64]) -> Result<Option<Tensor>> {
        let Some(s) = &self.log_variance else {
            return Ok(None);
        };
        let values = Vec::<f64>::try_from(s.detach())?;
        let gradient: Vec<f64> = (self.weights.iter().zip(&values).zip(losses))
            .map(|((w, s), loss)| w * (0.5 - 0.5 * (-s).exp() * loss))
            .collect();
        Ok(Some(Tensor::f_from_slice(&gradient)?.to_device(s.device())))
    }
}
