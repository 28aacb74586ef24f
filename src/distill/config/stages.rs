//! The course of a run: stages, each with its partitions.

use super::Side;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A stretch of steps with one schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    pub steps: u64,
    /// Pictures of a step, where there are no partitions.
    #[serde(default)]
    pub batch: usize,
    /// Of the student, where there are no partitions.
    #[serde(default)]
    pub resolution: Option<Side>,
    /// Groups of pictures of one resolution each that make up a step.
    #[serde(default)]
    pub partitions: Vec<PartitionConfig>,
    /// Instead of the optimiser's.
    #[serde(default)]
    pub lr: Option<f64>,
    #[serde(default)]
    pub warmup: u64,
    /// Names of the teachers that take part; default: all.
    #[serde(default)]
    pub teachers: Option<Vec<String>>,
}

/// Pictures of one resolution within a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionConfig {
    pub batch: usize,
    /// Of the student.
    pub resolution: Side,
    /// ω: its weight in the mean over partitions; `images` weighs by their number.
    #[serde(default)]
    pub weight: PartitionWeight,
    #[serde(default)]
    pub teachers: Option<Vec<String>>,
    /// Pixels per side of what a teacher sees here, by its name; default: the teacher's own.
    #[serde(default)]
    pub resolutions: IndexMap<String, Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PartitionWeight {
    Number(f64),
    Images(ByImages),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ByImages {
    Images,
}

impl Default for PartitionWeight {
    fn default() -> Self {
        PartitionWeight::Number(1.0)
    }
}

impl PartitionConfig {
    /// ω
    pub fn omega(&self) -> f64 {
        match self.weight {
            PartitionWeight::Number(weight) => weight,
            PartitionWeight::Images(_) => self.batch as f64,
        }
    }
}

impl StageConfig {
    /// Its partitions; a stage without any is one of its own.
    pub fn parts(&self) -> Vec<PartitionConfig> {
        match (self.resolution, self.partitions.as_slice()) {
            (Some(resolution), []) => vec![PartitionConfig {
                batch: self.batch,
                resolution,
                weight: PartitionWeight::default(),
                teachers: None,
                resolutions: IndexMap::new(),
            }],
            (_, partitions) => partitions.to_vec(),
        }
    }

    /// Pictures of a step.
    pub fn images(&self) -> usize {
        self.parts().iter().map(|partition| partition.batch).sum()
    }

    /// Whether the teacher `name` sees `partition`.
    pub fn shows(&self, partition: &PartitionConfig, name: &str) -> bool {
        let names = [&self.teachers, &partition.teachers];
        let allows = |list: &&Vec<String>| list.iter().any(|known| known == name);
        names.into_iter().flatten().all(|list| allows(&list))
    }
}
