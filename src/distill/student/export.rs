//! The student as others load it: a Hugging Face folder in upstream's layout, with its adaptors in
//! the teachers' own units, and a model card.

use super::{card, is_eradio};
use crate::distill::learner::Learner;
use crate::distill::standardise::Statistics;
use crate::files::write_atomically;
use crate::models::student::args::Args;
use crate::runtime::Precision;
use crate::weights::spectral::{self, Rule};
use crate::weights::{Checkpoint, WeightSource, safetensors};
use crate::{Error, Result};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

pub use card::Card;

/// What an exported folder says besides its weights.
pub struct Export<'a> {
    pub args: &'a Value,
    /// fp64, one per teacher.
    pub statistics: &'a [Statistics],
    /// (height, width) it was trained at last.
    pub resolution: (i64, i64),
    /// The `version` of the config.
    pub name: &'a str,
    pub precision: Precision,
}

impl Export<'_> {
    /// Writes `model.safetensors` and `config.json` into `folder`; the weights are the moving
    /// average where one is kept.
    pub fn write(&self, learner: &Learner, folder: &Path) -> Result<()> {
        let tensors = self.tensors(learner)?;
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        safetensors::write(&folder.join("model.safetensors"), named, metadata)?;
        let config = self.config(learner, &tensors);
        let path = folder.join("config.json");
        let text = serde_json::to_vec_pretty(&config).map_err(|e| Error::file(&path, e))?;
        write_atomically(&path, &text)
    }

    /// All tensors under Hugging Face's keys.
    fn tensors(&self, learner: &Learner) -> Result<IndexMap<String, Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let mut tensors = self.folded(averaged(learner)?)?;
        for (teacher, statistics) in learner.objective.teachers.iter().zip(self.statistics) {
            let last = format!("_feature_projections.{}.final.2", teacher.name);
            let (weight, bias) = (format!("{last}.weight"), format!("{last}.bias"));
            let statistics = statistics.for_export();
            let folded = statistics.fold_into(&tensors[&weight], &tensors[&bias]);
            tensors.insert(weight, folded.0);
            tensors.insert(bias, folded.1);
        }
        let mut renamed = IndexMap::new();
        for (key, tensor) in tensors {
            let tensor = tensor.f_to_kind(self.precision.kind())?;
            if self.precision == Precision::Fp16
                && tensor.f_isfinite()?.f_all()?.int64_value(&[]) != 1
            {
                return Err(Error::model(format!(
                    "`{key}` reaches beyond fp16; set run.export to bf16 or fp32"
                )));
            }
            renamed.insert(hugging_face(&key), tensor.f_contiguous()?);
        }
        if !is_eradio(self.args) {
            let tokens = Args::from_config(self.args).summary_tokens();
            renamed.insert(
                "radio_model.summary_idxs".into(),
                Tensor::f_from_slice(&tokens)?,
            );
        }
        Ok(renamed)
    }

    /// Plain weights in the place of spectral ones, as upstream's loader folds them.
    fn folded(&self, tensors: IndexMap<String, Tensor>) -> Result<IndexMap<String, Tensor>> {
        if self.args["spectral_reparam"] != true {
            return Ok(tensors);
        }
        let mut tensors = tensors;
        // The second version of the parametrisation, which the network does not read as a tensor.
        let states: Vec<String> = tensors
            .keys()
            .filter(|key| key.ends_with("._u"))
            .cloned()
            .collect();
        for key in states {
            let version = format!("{}_sn_version", &key[..key.len() - "_u".len()]);
            tensors.insert(version, Tensor::f_from_slice(&[2i64])?);
        }
        let checkpoint = Checkpoint {
            source: WeightSource::File(super::stored(tensors)),
            ..Checkpoint::random(Value::Null, 0)
        };
        let (plain, _) = spectral::fold(&checkpoint, &|_| Rule::default())?;
        let read = plain.tensors().into_iter().flatten();
        read.map(|(key, tensor)| Ok((key.clone(), tensor.read(Device::Cpu, Kind::Float)?)))
            .collect()
    }

    /// `config.json` as upstream's export writes it.
    fn config(&self, learner: &Learner, tensors: &IndexMap<String, Tensor>) -> Value {
        let info = learner.backbone.info();
        let args = Args::from_config(self.args);
        let (mut names, mut adaptors) = (Vec::new(), Map::new());
        for teacher in args.teachers() {
            let shape = |module: &str, layer: &str| {
                let key = format!(
                    "radio_model.adaptors.{}.{module}.{layer}.weight",
                    teacher.name
                );
                tensors.get(&key).map_or(vec![0, 0], Tensor::size)
            };
            let head = |module: &str| {
                json!({
                    "input_dim": shape(module, "fc1")[1],
                    "hidden_dim": shape(module, "fc1")[0],
                    "output_dim": shape(module, "final.2")[0],
                    "num_inner": self.args["mlp_num_inner"],
                })
            };
            let mut feature = head("feat_mlp");
            feature["upsample_factor"] = json!(teacher.upsample);
            feature["upsample_rank"] = Value::Null;
            names.push(teacher.name.clone());
            adaptors.insert(
                teacher.name.clone(),
                json!({
                    "head_idx": teacher.token_slot,
                    "summary": head("head_mlp"),
                    "feature": feature,
                }),
            );
        }
        let (height, width) = self.resolution;
        let mut args_folded = self.args.clone();
        args_folded["spectral_reparam"] = json!(false);
        json!({
            "architectures": ["RADIOModel"],
            "auto_map": {
                "AutoConfig": "hf_model.RADIOConfig",
                "AutoModel": "hf_model.RADIOModel",
            },
            "args": args_folded,
            "version": self.name,
            "patch_size": info.patch,
            "max_resolution": self.args["cpe_max_size"].as_i64().unwrap_or(height.max(width)),
            "preferred_resolution": [height, width],
            "adaptor_names": names,
            "adaptor_configs": adaptors,
            "vitdet_window_size": null,
            "feature_normalizer_config": null,
            "inter_feature_normalizer_config": null,
            "torch_dtype": match self.precision {
                Precision::Fp32 => "float32",
                Precision::Bf16 => "bfloat16",
                Precision::Fp16 => "float16",
            },
        })
    }
}

/// Current values under the checkpoint's keys, parameters from the moving average where one is
/// kept.
fn averaged(learner: &Learner) -> Result<IndexMap<String, Tensor>> {
    let trainable = learner.backbone.trainable().ok_or_else(|| {
        Error::model("the student was not built for training and cannot be exported")
    })?;
    let swapped = learner.ema.as_ref().map(|ema| {
        let parameters = learner.parameters.iter().zip(&ema.averages);
        let originals: Vec<Tensor> = parameters
            .map(|((_, parameter), average)| {
                let mut parameter = parameter.detach();
                let original = parameter.copy();
                parameter.copy_(average);
                original
            })
            .collect();
        originals
    });
    let tensors = trainable.by_key();
    let copied = tensors.map(|tensors| {
        let each = tensors.into_iter();
        each.map(|(key, t)| (key, t.to_device(Device::Cpu).to_kind(Kind::Float).copy()))
            .collect()
    });
    for (original, (_, parameter)) in swapped.iter().flatten().zip(&learner.parameters) {
        parameter.detach().copy_(original);
    }
    copied
}

/// The Hugging Face key of one of upstream's checkpoints.
fn hugging_face(key: &str) -> String {
    let folders = [
        ("_heads.", "head_mlp"),
        ("_feature_projections.", "feat_mlp"),
    ];
    for (folder, module) in folders {
        if let Some((teacher, rest)) = key.strip_prefix(folder).and_then(|k| k.split_once('.')) {
            return format!("radio_model.adaptors.{teacher}.{module}.{rest}");
        }
    }
    match key.strip_prefix("base_model.") {
        Some(rest) => format!("radio_model.model.{rest}"),
        None => format!("radio_model.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::hugging_face;

    #[test]
    fn keys_of_both_layouts() {
        for (hub, hf) in [
            (
                "base_model.blocks.0.norm1.weight",
                "radio_model.model.blocks.0.norm1.weight",
            ),
            (
                "_heads.dino_v2.fc1.bias",
                "radio_model.adaptors.dino_v2.head_mlp.fc1.bias",
            ),
            (
                "_feature_projections.sam.final.2.weight",
                "radio_model.adaptors.sam.feat_mlp.final.2.weight",
            ),
            (
                "input_conditioner.norm_mean",
                "radio_model.input_conditioner.norm_mean",
            ),
        ] {
            assert_eq!(hugging_face(hub), hf);
        }
    }
}
