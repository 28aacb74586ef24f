//! The learning rate, by step (spec/distillation.md §5).

/// Linear warm-up, then half a cosine from `base` to `floor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineSchedule {
    pub base: f64,
    pub floor: f64,
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
}

impl CosineSchedule {
    /// The rate of step `t`, counted from 0; never 0 while `base` is not.
    pub fn rate(&self, t: u64) -> f64 {
        if t < self.warmup {
            return self.base * (t + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let turn = std::f64::consts::PI * (t - self.warmup) as f64 / span;
        self.floor + 0.5 * (self.base - self.floor) * (1.0 + turn.cos())
    }
}
