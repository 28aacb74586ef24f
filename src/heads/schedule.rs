//! Learning-rate curves, by iteration.

use serde::{Deserialize, Serialize};

/// The shape of the curve after and during warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// mmengine's LinearLR, then PolyLR to 0
    Poly,
    /// Linear warm-up, then half a cosine to 0 (the annealing of one-cycle schedules)
    Cosine,
    /// The miniature world's `min(1, (i + 1) / warmup) * (1 - i / iterations)`
    Ramp,
}

/// Learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub curve: Curve,
    pub iterations: u64,
    pub warmup: u64,
    /// Share of the base rate at iteration 0.
    pub warmup_factor: f64,
    /// Exponent of `Poly`.
    pub power: f64,
}

impl Schedule {
    /// The share of the base rate that iteration `i` (from 0) uses.
    ///
    /// `Poly` is mmengine 0.10's chain: `LinearLR(begin=0, end=warmup)` reaches 1 at iteration
    /// `warmup - 1` (its span is `end - begin - 1`), `PolyLR(begin=warmup, end=iterations)`
    /// starts at 1 and reaches 0 at the last iteration, in closed form `(1 - t / span)^power`.
    pub fn factor(&self, i: u64) -> f64 {
        let ramp = |i: u64| {
            let span = (self.warmup.max(2) - 1) as f64;
            self.warmup_factor + (1.0 - self.warmup_factor) * i as f64 / span
        };
        let after = |i: u64| {
            let span = (self.iterations.saturating_sub(self.warmup).max(2) - 1) as f64;
            ((i - self.warmup) as f64 / span).min(1.0)
        };
        match self.curve {
            Curve::Ramp => {
                let rise = (i + 1) as f64 / self.warmup.max(1) as f64;
                rise.min(1.0) * (1.0 - i as f64 / self.iterations as f64)
            }
            _ if i < self.warmup => ramp(i),
            Curve::Poly => (1.0 - after(i)).powf(self.power),
            Curve::Cosine => (1.0 + (std::f64::consts::PI * after(i)).cos()) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poly(iterations: u64, warmup: u64, power: f64) -> Schedule {
        Schedule {
            curve: Curve::Poly,
            iterations,
            warmup,
            warmup_factor: 1e-6,
            power,
        }
    }

    /// mmengine's recursions, step by step (`_get_value` of LinearLR and PolyLR).
    fn mmengine(schedule: &Schedule) -> Vec<f64> {
        let (start, span) = (schedule.warmup_factor, (schedule.warmup - 1) as f64);
        let mut rates = vec![start];
        for step in 1..schedule.warmup {
            let grow = (1.0 - start) / (span * start + (step - 1) as f64 * (1.0 - start));
            rates.push(rates[rates.len() - 1] * (1.0 + grow));
        }
        let total = schedule.iterations - schedule.warmup - 1;
        rates.push(rates[rates.len() - 1]);
        for step in 1..=total {
            let ratio = (1.0 - 1.0 / (total - step + 1) as f64).powf(schedule.power);
            rates.push(rates[rates.len() - 1] * ratio);
        }
        rates
    }

    #[test]
    fn poly_equals_mmengines_recursion() {
        for schedule in [poly(80_000, 1_500, 1.0), poly(400, 20, 0.9)] {
            let rates = mmengine(&schedule);
            assert_eq!(rates.len() as u64, schedule.iterations);
            for (i, expected) in rates.iter().enumerate() {
                let found = schedule.factor(i as u64);
                assert!((found - expected).abs() < 1e-9, "{i}: {found} {expected}");
            }
        }
    }

    #[test]
    fn ramp_by_hand() {
        let schedule = Schedule {
            curve: Curve::Ramp,
            ..poly(400, 20, 1.0)
        };
        assert_eq!(schedule.factor(0), 1.0 / 20.0);
        assert_eq!(schedule.factor(19), 1.0 - 19.0 / 400.0);
        assert_eq!(schedule.factor(399), 1.0 - 399.0 / 400.0);
    }

    #[test]
    fn cosine_ends_at_zero() {
        let schedule = Schedule {
            curve: Curve::Cosine,
            ..poly(1_001, 1, 1.0)
        };
        assert_eq!(schedule.factor(1), 1.0);
        assert!((schedule.factor(501) - 0.5).abs() < 2e-3);
        assert!(schedule.factor(1_000).abs() < 1e-12);
    }
}
