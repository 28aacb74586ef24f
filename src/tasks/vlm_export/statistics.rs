//! Per-channel statistics of what an export holds, in fp64, summed shard by shard.

use crate::Result;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Sums over rows, per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    pub rows: u64,
    pub sum: Vec<f64>,
    pub squares: Vec<f64>,
    pub min: Vec<f64>,
    pub max: Vec<f64>,
}

/// What a manifest says about an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    pub rows: u64,
    /// Root mean square over all values: the activation scale.
    pub rms: f64,
    pub mean: Vec<f64>,
    /// Biased.
    pub std: Vec<f64>,
    pub min: Vec<f64>,
    pub max: Vec<f64>,
}

impl Sums {
    pub fn empty(channels: usize) -> Self {
        Sums {
            rows: 0,
            sum: vec![0.0; channels],
            squares: vec![0.0; channels],
            min: vec![f64::INFINITY; channels],
            max: vec![f64::NEG_INFINITY; channels],
        }
    }

    /// Takes in values [rows, channels] as they are stored.
    pub fn add(&mut self, values: &Tensor) -> Result<()> {
        let rows = values.size()[0];
        if rows == 0 {
            return Ok(());
        }
        let values = values.f_to_kind(Kind::Double)?;
        let numbers = |tensor: Tensor| -> Result<Vec<f64>> { Ok(Vec::try_from(tensor)?) };
        let sum_of =
            |tensor: &Tensor| tensor.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        add(&mut self.sum, numbers(sum_of(&values)?)?, |a, b| a + b);
        add(
            &mut self.squares,
            numbers(sum_of(&values.f_square()?)?)?,
            |a, b| a + b,
        );
        add(
            &mut self.min,
            numbers(values.f_amin([0i64].as_slice(), false)?)?,
            f64::min,
        );
        add(
            &mut self.max,
            numbers(values.f_amax([0i64].as_slice(), false)?)?,
            f64::max,
        );
        self.rows += rows as u64;
        Ok(())
    }

    pub fn merge(&mut self, other: Sums) {
        self.rows += other.rows;
        add(&mut self.sum, other.sum, |a, b| a + b);
        add(&mut self.squares, other.squares, |a, b| a + b);
        add(&mut self.min, other.min, f64::min);
        add(&mut self.max, other.max, f64::max);
    }

    /// `None` without rows.
    pub fn statistics(&self) -> Option<Statistics> {
        let rows = self.rows as f64;
        if self.rows == 0 {
            return None;
        }
        let mean: Vec<f64> = self.sum.iter().map(|s| s / rows).collect();
        let std = (self.squares.iter().zip(&mean))
            .map(|(squares, mean)| (squares / rows - mean * mean).max(0.0).sqrt())
            .collect();
        let all: f64 = self.squares.iter().sum();
        Some(Statistics {
            rows: self.rows,
            rms: (all / (rows * self.sum.len() as f64)).sqrt(),
            mean,
            std,
            min: self.min.clone(),
            max: self.max.clone(),
        })
    }
}

fn add(to: &mut [f64], from: Vec<f64>, join: impl Fn(f64, f64) -> f64) {
    for (a, b) in to.iter_mut().zip(from) {
        *a = join(*a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_parts_as_of_the_whole() {
        let values = Tensor::from_slice(&[1.0f32, -2.0, 3.0, 4.0, 5.0, 0.5]).view([3, 2]);
        let mut sums = Sums::empty(2);
        sums.add(&values.narrow(0, 0, 1)).unwrap();
        let mut rest = Sums::empty(2);
        rest.add(&values.narrow(0, 1, 2)).unwrap();
        sums.merge(rest);
        let statistics = sums.statistics().unwrap();
        assert_eq!(statistics.mean, [3.0, 2.5 / 3.0]);
        assert_eq!((statistics.min[1], statistics.max[0]), (-2.0, 5.0));
        assert!((statistics.std[0] - (8.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(Sums::empty(2).statistics().is_none());
    }
}
