//! The format of a case folder (golden/distill/README.md).

use crate::distill::losses::{FeatureLoss, Mixture};
use crate::distill::objective::{Objective, SummaryLoss, Target, TeacherObjective};
use crate::distill::optimiser::{Rule, Settings};
use crate::distill::standardise::{Standardise, Statistics};
use crate::models::normalise::CLIP;
use crate::weights::{Checkpoint, LazyTensor, StateDict, WeightSource, safetensors};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Where the trunks of E-RADIO cases lie, seen from the case.
const TRUNKS: [&str; 4] = [".", "../../eradio", "../eradio", "../../../eradio"];
/// The trunk of a case whose arguments are those of no other.
const OFFICIAL: &str = "tiny_official.weights.safetensors";

/// `config.json`. Settings of the generator are not read.
#[derive(Debug, Clone, Deserialize)]
pub struct CaseConfig {
    pub alpha: f64,
    pub beta: f64,
    pub smooth_l1_beta: f64,
    pub clip_norm: f64,
    pub total_steps: u64,
    pub warmup_steps: u64,
    pub ema_decay: f64,
    pub adamw: OptimiserConfig,
    pub lamb: OptimiserConfig,
    pub partitions: Vec<PartitionConfig>,
    pub teachers: Vec<TeacherConfig>,
    /// The constructor's arguments of an E-RADIO student.
    #[serde(default)]
    pub eradio: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct OptimiserConfig {
    pub lr: f64,
    pub min_lr: f64,
    pub weight_decay: f64,
    pub betas: (f64, f64),
    pub eps: f64,
    #[serde(default)]
    pub clip_trust: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct PartitionConfig {
    pub batch: i64,
    /// ω
    pub weight: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct TeacherConfig {
    pub name: String,
    pub summary_weight: f64,
    pub feature_weight: f64,
    pub summary_loss: SummaryLoss,
    pub dispersion: Option<f64>,
    #[serde(default)]
    pub feature_loss: FeatureLoss,
    pub standardise: Standardise,
    /// By partition: rows and columns.
    pub grids: Vec<(i64, i64)>,
}

impl OptimiserConfig {
    pub fn settings(&self, rule: Rule) -> Settings {
        Settings {
            rule,
            weight_decay: self.weight_decay,
            betas: self.betas,
            eps: self.eps,
            trust_clip: self.clip_trust,
        }
    }
}

/// A case folder, opened.
pub struct Case {
    pub folder: PathBuf,
    pub config: CaseConfig,
    batch: StateDict,
}

impl Case {
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        let config = serde_json::from_slice(&text).map_err(|e| Error::file(&path, e))?;
        let (batch, _) = safetensors::open(&folder.join("batch.safetensors"))?;
        Ok(Case {
            folder: folder.to_path_buf(),
            config,
            batch,
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.batch.contains_key(name)
    }

    /// A tensor of the batch as it is stored.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let stored = self.batch.get(name).ok_or_else(|| {
            let path = self.folder.join("batch.safetensors");
            Error::tensor(path, name, "missing; the case needs it")
        })?;
        stored.read_stored()
    }

    /// `[b,3,H,W]` fp32 in `[0,1]`.
    pub fn images(&self, partition: usize) -> Result<Tensor> {
        let images = self.read(&format!("p{partition}.images"))?;
        Ok(images.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?)
    }

    pub fn targets(&self, partition: usize) -> Result<Vec<Option<Target>>> {
        let teachers = self.config.teachers.iter();
        let target = |teacher: &TeacherConfig| {
            let optional = |what: &str| {
                let name = format!("p{partition}.{}.{what}", teacher.name);
                self.has(&name).then(|| self.read(&name)).transpose()
            };
            let grid = teacher.grids.get(partition).copied().ok_or_else(|| {
                let path = self.folder.join("config.json");
                let reason = format!("`{}` has no grid for partition {partition}", teacher.name);
                Error::file(path, reason)
            })?;
            Ok(Some(Target {
                summary: optional("summary")?,
                features: optional("features")?.map(|features| (features, grid)),
            }))
        };
        teachers.map(target).collect()
    }

    pub fn objective(&self) -> Objective {
        let config = &self.config;
        let teachers = config.teachers.iter().map(|t| TeacherObjective {
            name: t.name.clone(),
            summary_weight: t.summary_weight,
            feature_weight: t.feature_weight,
            relation_weight: 0.0,
            summary_loss: t.summary_loss,
            dispersion: t.dispersion.unwrap_or(1.0),
            feature_loss: t.feature_loss,
            standardise: t.standardise,
        });
        Objective {
            teachers: teachers.collect(),
            mixture: Mixture {
                alpha: config.alpha,
                beta: config.beta,
                smooth_l1_beta: config.smooth_l1_beta,
            },
        }
    }

    /// The frozen statistics that an objective asks for, fp32.
    pub fn statistics(&self, objective: &Objective) -> Result<Vec<Statistics>> {
        let teachers = objective.teachers.iter();
        let restored = teachers.map(|teacher| {
            let read = |what: &str| self.read(&format!("stats.{}.{what}", teacher.name));
            let statistics = Statistics::restore(teacher.standardise, read)?;
            Ok(statistics.for_training(Device::Cpu))
        });
        restored.collect()
    }

    /// The student's weights: `checkpoint_raw.safetensors`, or the heads of an E-RADIO case with
    /// the trunk they go with.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let whole = self.folder.join("checkpoint_raw.safetensors");
        let mut checkpoint = match whole.is_file() {
            true => Checkpoint::open(&whole)?,
            false => self.eradio_from_parts()?,
        };
        if let Some(arguments) = &self.config.eradio {
            let teachers = self.config.teachers.iter();
            let teachers: Vec<_> = teachers.map(|t| json!({"name": t.name})).collect();
            let mut arguments = arguments.clone();
            arguments["teachers"] = json!(teachers);
            arguments["mlp_version"] = json!("v2");
            checkpoint.config = arguments;
        } else {
            let path = self.folder.join("args.json");
            let text = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
            checkpoint.config = serde_json::from_slice(&text).map_err(|e| Error::file(&path, e))?;
        }
        checkpoint.descriptions.clear();
        Ok(checkpoint)
    }

    /// The file of a trunk with the case's arguments.
    fn eradio_trunk(&self) -> Result<PathBuf> {
        let own = self.folder.join("trunk.safetensors");
        if own.is_file() {
            return Ok(own);
        }
        let folders = TRUNKS.iter().map(|folder| self.folder.join(folder));
        let mut official = None;
        for folder in folders.filter(|folder| folder.is_dir()) {
            let entries = std::fs::read_dir(&folder).map_err(|e| Error::file(&folder, e))?;
            for path in entries.flatten().map(|entry| entry.path()) {
                if !path.to_string_lossy().ends_with(".weights.safetensors") {
                    continue;
                }
                let (_, metadata) = safetensors::open(&path)?;
                let arguments = metadata.get("config");
                let arguments: Option<Value> =
                    arguments.and_then(|text| serde_json::from_str(text).ok());
                if arguments.is_some() && arguments == self.config.eradio {
                    return Ok(path);
                }
                if path.ends_with(OFFICIAL) {
                    official.get_or_insert(path);
                }
            }
        }
        official.ok_or_else(|| {
            Error::file(
                &self.folder,
                "has neither checkpoint_raw.safetensors nor, here or in ../../eradio, a trunk",
            )
        })
    }

    fn eradio_from_parts(&self) -> Result<Checkpoint> {
        let trunk = Checkpoint::open(&self.eradio_trunk()?)?.renamed(|key| {
            let dead = key.starts_with("norm.") || key.starts_with("head.");
            (!dead).then(|| format!("base_model.{key}"))
        });
        let heads = Checkpoint::open(&self.folder.join("heads.safetensors"))?;
        let mut tensors = StateDict::new();
        for part in [&trunk, &heads] {
            let stored = part.tensors().into_iter().flatten();
            tensors.extend(stored.map(|(key, tensor)| (key.clone(), tensor.clone())));
        }
        for (name, values) in [("norm_mean", CLIP.0), ("norm_std", CLIP.1)] {
            let value = move || Ok(Tensor::f_from_slice(&values)?.f_view([3, 1, 1])?);
            let constant = LazyTensor::computed(vec![3, 1, 1], Kind::Double, value);
            let key = format!("input_conditioner.{name}");
            tensors.entry(key).or_insert(constant);
        }
        Ok(Checkpoint {
            source: WeightSource::File(tensors),
            ..heads
        })
    }
}
