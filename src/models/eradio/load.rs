//! From a checkpoint, in any of the layouts RADIO comes in, to a loaded E-RADIO.

use super::config::{self, Config};
use super::{Model, Network, Window};
use crate::models::architecture::Architecture;
use crate::models::backbone::{Backbone, BackboneInfo};
use crate::models::normalise::{Constants, Normalise};
use crate::models::options::{BuildOptions, Flag, Purpose};
use crate::models::student::adaptor::{Adaptor, adaptors, attention_eps, eps_setting};
use crate::models::student::args::Args;
use crate::models::student::conditioner::conditioner as student_conditioner;
use crate::models::student::keys::{Keys, is_unlisted_head};
use crate::models::student::normalizer::FeatureNormalizer;
use crate::weights::{Checkpoint, ParamStore, Params, Registry, spectral};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use tch::Kind;

/// Side of the released model's preferred resolution (upstream's RESOURCE_MAP).
const PREFERRED: i64 = 512;

/// Recognises and builds E-RADIO.
pub struct ERadio;

impl Architecture for ERadio {
    fn name(&self) -> &'static str {
        "e-radio"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match checkpoint.tensors() {
            Some(_) => config::layout(checkpoint).is_some(),
            None => Config::find(&checkpoint.config).is_some(),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        Config::find(config).is_some() || Args::from_config(config).model().is_some()
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "base_model.patch_embed.conv_down.0.conv.weight",
            "patch_embed.conv_down.0.conv.weight",
        ]
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag::Window, Flag::AttentionHeadEps]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        let config = Config::find(&checkpoint.config).unwrap_or_else(|| {
            Err(Error::file(
                &checkpoint.path,
                "these are E-RADIO's tensors, but nothing beside or in the file says its window and heads; put the checkpoint's args beside it as args.json",
            ))
        })?;
        let args = Args::from_config(&checkpoint.config);
        let registry = options.registry_with(args.spectral());
        let mut model = match config::layout(checkpoint) {
            None => Model::new(checkpoint, options, registry.as_ref(), config)?,
            Some(kind) => {
                let names = Keys::from_checkpoint(checkpoint, kind, false, args);
                let build = || {
                    let mut ours = names.apply(checkpoint)?;
                    if options.purpose == Purpose::Inference {
                        ours = spectral::fold(&ours, &args.spectral())?.0;
                    }
                    Model::new(&ours, options, registry.as_ref(), config)
                };
                build().map_err(|error| names.explain(error, checkpoint))?
            }
        };
        model.trainable = registry.map(|r| r.finish(checkpoint));
        Ok(Box::new(model))
    }

    fn trains_from_scratch(&self) -> bool {
        true
    }
}

impl Model {
    /// `checkpoint` has the names of [`crate::models::student::keys`].
    fn new(
        checkpoint: &Checkpoint,
        options: &BuildOptions,
        registry: Option<&Registry>,
        config: Config,
    ) -> Result<Self> {
        let store =
            ParamStore::new(checkpoint, options.device, options.run_kind()).trained(registry);
        let root = store.root();
        let network = Network::new(&root.pp("model"), &config)?;
        let parameters = store.parameters();
        let width = config.full_features_head_dim;
        let constants = conditioner(&root, checkpoint, options)?;
        let feature_normalizer = checkpoint
            .has("feature_normalizer.mean")
            .then(|| FeatureNormalizer::new(&root.pp("feature_normalizer"), width))
            .transpose()?;
        root.skip("summary_idxs");

        // Heads stay in fp32 whatever the backbone's precision (upstream casts the backbone only).
        let head_store = ParamStore::new(checkpoint, options.device, Kind::Float).trained(registry);
        let heads = head_store.root().pp("adaptors");
        let configs = adaptors(checkpoint, Args::from_config(&checkpoint.config))?;
        let eps = attention_eps(options, &configs)?;
        let adaptors = configs
            .iter()
            .map(|a| Adaptor::new(&heads.pp(&a.name), a, eps))
            .collect::<Result<Vec<_>>>()?;
        let is_head = |name: &str| name.starts_with("adaptors.");
        head_store.finish(|name| !is_head(name))?;
        store.finish(|name| is_head(name) || is_unlisted_head(name) || is_dead(name))?;

        let window = options.eradio.window.unwrap_or_default();
        let mut info = info(&config, window, options, parameters);
        if let Some(eps) = eps {
            info.settings
                .insert("attention_head_eps".into(), eps_setting(eps, options));
        }
        info.adaptors = adaptors.iter().map(|a| a.name.clone()).collect();
        match &constants {
            Some(constants) => constants.note(&mut info.settings),
            None => {
                let settings = &mut info.settings;
                settings.insert("input_conditioner".into(), json!("none"));
            }
        }
        let input_conditioner = constants
            .map(|found| Normalise::new(found.mean_std, options.device, options.run_kind()));
        if feature_normalizer.is_some() {
            info.settings
                .insert("feature_normalizer".into(), json!(true));
        }
        Ok(Model {
            info,
            input_conditioner,
            network,
            feature_normalizer,
            adaptors,
            window,
            kind: options.run_kind(),
            trainable: None,
        })
    }
}

/// The pixel normalisation of the file or the user; none where neither has one.
fn conditioner(
    root: &Params,
    checkpoint: &Checkpoint,
    options: &BuildOptions,
) -> Result<Option<Constants>> {
    let stored = root.pp("input_conditioner").has("norm_mean");
    if checkpoint.tensors().is_none() || stored {
        return student_conditioner(root, checkpoint, options).map(Some);
    }
    let given = &options.torchscript;
    if given.mean.is_some() || given.std.is_some() {
        let none = Constants::new(([0.0; 3], [1.0; 3]), "none in the file");
        return Constants::of_user_or(options, none).map(Some);
    }
    tracing::warn!(
        "{}: the file is the network alone, without input_conditioner; pixels are not normalised (--mean and --std give constants)",
        checkpoint.path.display()
    );
    Ok(None)
}

/// Tensors that RADIO never reads: the last level's norm and the classifier, and buffers that are
/// rebuilt (spec radio.md §3.6, §3.8).
fn is_dead(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    name.starts_with("model.norm.")
        || name.starts_with("model.head.")
        || matches!(
            last,
            "num_batches_tracked"
                | "relative_coords_table"
                | "relative_position_index"
                | "relative_bias"
        )
}

fn info(config: &Config, window: Window, options: &BuildOptions, parameters: i64) -> BackboneInfo {
    let (name, tokens) = match window {
        Window::Trained => ("trained".to_string(), json!(config.trained_window())),
        Window::Optimal => ("optimal".to_string(), json!("by resolution")),
        Window::Size(n) => (n.to_string(), json!(n)),
    };
    let mut settings = Map::new();
    settings.insert("window".into(), json!(name));
    settings.insert("window_tokens".into(), tokens);
    BackboneInfo {
        architecture: format!("E-RADIO ({})", config.name),
        patch: config.patch(),
        step: config.step(),
        preferred: (PREFERRED, PREFERRED),
        fixed: None,
        native: None,
        summary_dim: config.full_features_head_dim,
        spatial_dim: config.full_features_head_dim,
        prefix_tokens: 0,
        adaptors: Vec::new(),
        parameters,
        precision: options.run_precision(),
        settings,
    }
}
