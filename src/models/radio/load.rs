//! Building a RADIO ViT from a checkpoint or from random weights.

use super::RadioVit;
use super::block::Block;
use super::config::{Config, Summary};
use super::patch::PatchGenerator;
use super::sizes::Sizes;
use super::vitdet::VitDet;
use crate::models::architecture::Architecture;
use crate::models::backbone::{Backbone, BackboneInfo};
use crate::models::facts::beside_weights;
use crate::models::layers::LayerNorm;
use crate::models::normalise::Normalise;
use crate::models::options::{BuildOptions, Flag, Purpose};
use crate::models::student::adaptor::{Adaptor, attention_eps, eps_setting};
use crate::models::student::args::Args;
use crate::models::student::conditioner::conditioner;
use crate::models::student::keys;
use crate::models::student::normalizer::{FeatureNormalizer, InterNormalizer};
use crate::runtime::Precision;
use crate::weights::{Checkpoint, ParamStore, Registry, WeightSource, spectral};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

/// Longer side of the default resolution where neither the file nor the zoo names one.
pub(in crate::models) const DEFAULT_SIDE: i64 = 512;

pub struct RadioArchitecture;

impl Architecture for RadioArchitecture {
    fn name(&self) -> &'static str {
        "radio-vit"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match &checkpoint.source {
            WeightSource::File(_) => keys::detect(checkpoint).is_some(),
            WeightSource::TorchScript => false,
            WeightSource::Random(_) => {
                let args = Args::from_config(&checkpoint.config);
                args.cpe_max_size().is_some() && Sizes::from_args(args).is_ok()
            }
        }
    }

    fn describes(&self, config: &Value) -> bool {
        let args = Args::from_config(config);
        args.model().is_some() || args.cpe_max_size().is_some() || config["model_type"] == "radio"
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "base_model.patch_generator.embedder.weight",
            "radio_model.model.patch_generator.embedder.weight",
            "model.patch_generator.embedder.weight",
            "embeddings.cls_register_token",
        ]
    }

    fn flags(&self) -> &'static [Flag] {
        &[
            Flag::PosAlignCorners,
            Flag::VitdetWindow,
            Flag::AttentionHeadEps,
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(RadioVit::load(checkpoint, options)?))
    }

    fn trains_from_scratch(&self) -> bool {
        true
    }
}

impl RadioVit {
    /// Loads strictly: a tensor of the network that is missing, wrongly shaped or without a place
    /// is an error that names it as the file does.
    pub fn load(checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Self> {
        let rule_of = Args::from_config(&checkpoint.config).spectral();
        let registry = options.registry_with(rule_of);
        let mut model = Self::read(checkpoint, options, registry.as_ref())?;
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(model)
    }

    fn read(
        checkpoint: &Checkpoint,
        options: &BuildOptions,
        registry: Option<&Registry>,
    ) -> Result<Self> {
        if let WeightSource::Random(_) = checkpoint.source {
            let config = Config::of_args(&checkpoint.config)?;
            return Self::build(checkpoint, config, options, registry, false);
        }
        let (kind, dino) = keys::detect(checkpoint).ok_or_else(|| {
            Error::file(
                &checkpoint.path,
                "holds no patch generator, so it is no RADIO ViT",
            )
        })?;
        let args = Args::from_config(&checkpoint.config);
        if args.model().is_none() && kind != keys::Kind::Native {
            return Err(Error::file(
                &checkpoint.path,
                format!(
                    "the weights come without their args (config.json, args.json or the pickled args), \
                     which tell the number of attention heads{}; put them beside the file",
                    beside_weights(checkpoint)
                ),
            ));
        }
        let names = keys::Keys::from_checkpoint(checkpoint, kind, dino, args);
        let build = || {
            let ours = names.apply(checkpoint)?;
            let (plain, folded) = spectral::fold(&ours, &args.spectral())?;
            let config = Config::of_file(&plain, dino)?;
            match options.purpose {
                Purpose::Inference => Self::build(&plain, config, options, registry, folded),
                Purpose::Training => Self::build(&ours, config, options, registry, folded),
            }
        };
        build().map_err(|error| names.explain(error, checkpoint))
    }

    fn build(
        checkpoint: &Checkpoint,
        config: Config,
        options: &BuildOptions,
        registry: Option<&Registry>,
        folded: bool,
    ) -> Result<Self> {
        let hints = &options.zoo_hints;
        let kind = match options.purpose {
            // A checkpoint that is meant to run in half precision (radio_v2.1) does so unless the
            // user chose another.
            Purpose::Inference => options.kind.unwrap_or(config.dtype),
            Purpose::Training => Kind::Float,
        };
        let (align_corners, align_corners_from) = align_corners(options);
        let vitdet = options
            .radio
            .vitdet_window
            .map(|window| VitDet::new(window, config.depth, hints))
            .transpose()?;
        let attention_eps = attention_eps(options, &config.adaptors)?;

        let store = ParamStore::new(checkpoint, options.device, kind).trained(registry);
        let root = store.root();
        let model = root.pp("model");
        let patch_generator = PatchGenerator::new(
            &model.pp("patch_generator"),
            &config.patch_shape(),
            align_corners,
        )?;
        let blocks = (0..config.depth)
            .map(|i| Block::new(&model.pp("blocks").pp(i), &config, i))
            .collect::<Result<Vec<_>>>()?;
        let norm = config
            .final_norm
            .then(|| LayerNorm::new(model.pp("norm"), config.width, config.eps))
            .transpose()?;
        let parameters = store.parameters();
        let constants = conditioner(&root, checkpoint, options)?;
        let input_conditioner = Normalise::new(constants.mean_std, options.device, kind);
        let feature_normalizer = config
            .feature_normalizer
            .then(|| FeatureNormalizer::new(&root.pp("feature_normalizer"), config.width))
            .transpose()?;
        let inter_normalizer = config
            .inter_normalizer
            .map(|(count, per_block)| {
                InterNormalizer::new(
                    &root.pp("inter_feature_normalizer"),
                    config.width,
                    count,
                    per_block,
                )
            })
            .transpose()?;
        root.skip("summary_idxs");

        // Heads stay in fp32 whatever the backbone's precision (upstream casts the backbone only).
        let head_store = ParamStore::new(checkpoint, options.device, Kind::Float).trained(registry);
        let adaptors = config
            .adaptors
            .iter()
            .map(|a| {
                Adaptor::new(
                    &head_store.root().pp("adaptors").pp(&a.name),
                    a,
                    attention_eps,
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let is_head = |name: &str| name.starts_with("adaptors.");
        head_store.finish(|name| !is_head(name))?;
        store.finish(|name| {
            is_head(name) || keys::is_unlisted_head(name) || keys::is_dead(name, config.final_norm)
        })?;

        let mut settings = Map::new();
        constants.note(&mut settings);
        settings.insert("pos_align_corners".into(), json!(align_corners));
        settings.insert("pos_align_corners_from".into(), json!(align_corners_from));
        settings.insert("heads".into(), json!(config.heads));
        settings.insert("eps".into(), json!(config.eps));
        if let Some(vitdet) = &vitdet {
            settings.insert("vitdet".into(), vitdet.describe());
        }
        if options.kind.is_none() && kind != Kind::Float {
            settings.insert("dtype".into(), json!(dtype_name(kind)));
        }
        if folded {
            settings.insert("spectral_fold".into(), json!(true));
        }
        if config.feature_normalizer {
            settings.insert("feature_normalizer".into(), json!(true));
        }
        if let Some(eps) = attention_eps {
            settings.insert("attention_head_eps".into(), eps_setting(eps, options));
        }
        let step = config.patch * vitdet.map_or(1, |v| v.window);
        let mut info = BackboneInfo {
            architecture: format!(
                "RADIO ViT-{}/{}",
                crate::models::vit::size_name(config.width),
                config.patch
            ),
            patch: config.patch,
            step,
            preferred: (step, step),
            fixed: None,
            native: None,
            summary_dim: config.summary_dim(),
            spatial_dim: config.width,
            prefix_tokens: config.prefix_tokens,
            adaptors: adaptors.iter().map(|a| a.name.clone()).collect(),
            parameters,
            precision: Precision::from_kind(kind),
            settings,
        };
        info.preferred = preferred(
            DEFAULT_SIDE.min(config.map_side * config.patch),
            &checkpoint.config,
            hints,
            &info,
        );
        let summary_idxs = match &config.summary {
            Summary::Tokens(tokens) => Tensor::from_slice(tokens),
            Summary::First => Tensor::from_slice(&[0i64]),
        };
        Ok(RadioVit {
            summary_idxs: summary_idxs.to_device(options.device),
            config,
            info,
            input_conditioner,
            patch_generator,
            blocks,
            norm,
            feature_normalizer,
            inter_normalizer,
            adaptors,
            vitdet,
            trainable: None,
        })
    }
}

/// The file's own preference, else the zoo's, else a square of `side` pixels.
pub(in crate::models) fn preferred(
    side: i64,
    file: &Value,
    hints: &Value,
    info: &BackboneInfo,
) -> (i64, i64) {
    let pair = |value: &Value| Some((value[0].as_i64()?, value[1].as_i64()?));
    let (height, width) = pair(&file["preferred_resolution"])
        .or_else(|| pair(&hints["preferred"]))
        .unwrap_or((side, side));
    info.nearest_resolution(height, width)
}

pub(in crate::models) fn dtype_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        Kind::Half => "fp16",
        _ => "fp32",
    }
}

/// How the position map is interpolated, and who says so.
pub(in crate::models) fn align_corners(options: &BuildOptions) -> (bool, &'static str) {
    let hint = options.zoo_hints["pos_align_corners"].as_bool();
    match (options.radio.pos_align_corners, hint) {
        (Some(chosen), _) => (chosen, "flag"),
        (None, Some(published)) => (published, "zoo"),
        // Repositories exported since then bundle it.
        (None, None) => (false, "upstream's rule since 2025-06-28"),
    }
}
