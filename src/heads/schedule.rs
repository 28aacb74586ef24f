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
    /// Linear warm-up, then 1, and a tenth from each of two points on (ViTDet's: 8/9 and 26/27 of
    /// the run)
    Steps,
}

/// Where [`Curve::Steps`] falls to a tenth, as shares of the run: 88.9 % and 96.3 % in ViTDet.
const STEPS: [(u64, u64); 2] = [(8, 9), (26, 27)];

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
            Curve::Steps => {
                let passed = |&&(n, of): &&(u64, u64)| i * of >= n * self.iterations;
                0.1f64.powi(STEPS.iter().filter(passed).count() as i32)
            }
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
    fn steps_fall_twice() {
        let schedule = Schedule {
            curve: Curve::Steps,
            warmup_factor: 1e-3,
            ..poly(2_700, 251, 1.0)
        };
        let factor = |i| schedule.factor(i);
        assert_eq!((factor(0), factor(250), factor(251)), (1e-3, 1.0, 1.0));
        assert!((factor(125) - 0.5005).abs() < 1e-12);
        assert_eq!(
            (factor(2_399), factor(2_400), factor(2_599)),
            (1.0, 0.1, 0.1)
        );
        assert!((factor(2_600) - 0.01).abs() < 1e-15);
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
