//! Building a RADIO1D from a checkpoint or from random weights.

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::shape::Shape;
use super::{Neck, Radio1d};
use crate::models::architecture::Architecture;
use crate::models::facts::beside_weights;
use crate::models::normalise::Normalise;
use crate::models::options::{BuildOptions, Flag};
use crate::models::radio::load;
use crate::models::radio::patch::{PatchGenerator, PatchShape};
use crate::models::student::adaptor::{Adaptor, adaptors, attention_eps};
use crate::models::student::args::Args;
use crate::models::student::conditioner::conditioner;
use crate::models::student::keys;
use crate::models::{Backbone, BackboneInfo};
use crate::runtime::Precision;
use crate::weights::{Checkpoint, ParamStore, WeightSource, spectral};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

/// What no other RADIO has (spec/radio1d.md §4).
const MARK: &str = "downscale_blocks.0.reduction.weight";

pub struct Radio1dArchitecture;

impl Architecture for Radio1dArchitecture {
    fn name(&self) -> &'static str {
        "radio1d"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        match &checkpoint.source {
            WeightSource::File(tensors) => {
                keys::detect(checkpoint).is_some() && tensors.keys().any(|key| key.ends_with(MARK))
            }
            WeightSource::TorchScript => false,
            WeightSource::Random(_) => Args::from_config(&checkpoint.config)
                .model()
                .is_some_and(|name| name.starts_with("radio1d_")),
        }
    }

    fn describes(&self, config: &Value) -> bool {
        Args::from_config(config).model().is_some()
    }

    fn trains(&self) -> bool {
        false
    }

    fn flags(&self) -> &'static [Flag] {
        &[
            Flag::PosAlignCorners,
            Flag::AttentionHeadEps,
            Flag::Tokens,
            Flag::Neck,
            Flag::LastTokens,
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Radio1d::load(checkpoint, options)?))
    }
}

impl Radio1d {
    /// Loads strictly: a tensor of the network that is missing, wrongly shaped or without a place
    /// is an error that names it as the file does.
    pub fn load(checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Self> {
        if let WeightSource::Random(_) = checkpoint.source {
            let shape = Shape::of_args(&checkpoint.config)?;
            return Self::build(checkpoint, shape, options, false);
        }
        let args = Args::from_config(&checkpoint.config);
        if args.model().is_none() {
            return Err(Error::file(
                &checkpoint.path,
                format!(
                    "the weights come without their args (config.json), which tell the number of attention heads{}; put them beside the file",
                    beside_weights(checkpoint)
                ),
            ));
        }
        let (kind, _) = keys::detect(checkpoint).ok_or_else(|| {
            Error::file(
                &checkpoint.path,
                "holds no patch generator, so it is no RADIO1D",
            )
        })?;
        let names = keys::Keys::from_checkpoint(checkpoint, kind, false, args);
        let build = || {
            let (plain, folded) = spectral::fold(&names.apply(checkpoint)?, &args.spectral())?;
            let shape = Shape::of_file(&plain)?;
            Self::build(&plain, shape, options, folded)
        };
        build().map_err(|error| names.explain(error, checkpoint))
    }

    fn build(
        checkpoint: &Checkpoint,
        shape: Shape,
        options: &BuildOptions,
        folded: bool,
    ) -> Result<Self> {
        let given = options.radio1d;
        let neck = given.neck.unwrap_or_default();
        if let Some(n) = given.tokens {
            shape.check_tokens(n)?;
        }
        if given.last && shape.progressive {
            return Err(Error::usage(
                "--last-tokens does nothing here: with progressive_reduction the encoder ends with the first n tokens; leave it out",
            ));
        }
        let kind = options.kind.unwrap_or(shape.dtype);
        // Upstream's rule for positions since 2025-06-28; no RADIO1D is older.
        let align_corners = options.radio.pos_align_corners.unwrap_or(false);
        let store = ParamStore::new(checkpoint, options.device, kind);
        let root = store.root();
        let model = root.pp("model");
        let patch_shape = PatchShape {
            patch: shape.patch,
            width: shape.width(),
            prefix_tokens: shape.prefix_tokens,
            map_side: shape.map_side,
            embed_bias: shape.embed_bias,
            cpe: true,
        };
        let patch_generator =
            PatchGenerator::new(&model.pp("patch_generator"), &patch_shape, align_corners)?;
        let encoder = Encoder::new(&model, &shape)?;
        let decoder = Decoder::new(&model.pp("decoder"), &shape)?;
        let parameters = store.parameters();
        let constants = conditioner(&root, checkpoint, options)?;
        let input_conditioner = Normalise::new(constants.mean_std, options.device, kind);
        root.skip("summary_idxs");

        let heads = adaptors(checkpoint, Args::from_config(&checkpoint.config))?;
        let head_store = ParamStore::new(checkpoint, options.device, Kind::Float);
        let eps = attention_eps(options, &heads)?;
        let adaptors = heads
            .iter()
            .map(|a| Adaptor::new(&head_store.root().pp("adaptors").pp(&a.name), a, eps))
            .collect::<Result<Vec<_>>>()?;
        let is_head = |name: &str| name.starts_with("adaptors.");
        head_store.finish(|name| !is_head(name))?;
        store.finish(|name| {
            is_head(name) || keys::is_unlisted_head(name) || is_dead(name, shape.final_norm)
        })?;

        let mut settings = Map::new();
        constants.note(&mut settings);
        settings.insert("neck".into(), json!(neck.name()));
        settings.insert(
            "tokens".into(),
            given.tokens.map_or(json!("all"), |n| json!(n)),
        );
        if given.last {
            settings.insert("tokens_from".into(), json!("the end"));
        }
        settings.insert("pos_align_corners".into(), json!(align_corners));
        settings.insert("progressive_reduction".into(), json!(shape.progressive));
        if options.kind.is_none() && kind != Kind::Float {
            settings.insert("dtype".into(), json!(load::dtype_name(kind)));
        }
        if folded {
            settings.insert("spectral_fold".into(), json!(true));
        }
        let count = shape.summary.len() as i64;
        let (summary_dim, spatial_dim) = match neck {
            Neck::Decoder => (count * shape.width(), shape.width()),
            Neck::Encoder => (count * shape.code_width(), shape.code_width()),
            Neck::Tokens => (shape.code_width(), shape.code_width()),
        };
        let mut info = BackboneInfo {
            architecture: format!(
                "RADIO1D ViT-{}/{}",
                crate::models::vit::size_name(shape.width()),
                shape.patch
            ),
            patch: shape.patch,
            step: shape.patch,
            preferred: (shape.patch, shape.patch),
            fixed: None,
            native: None,
            summary_dim,
            spatial_dim,
            prefix_tokens: shape.prefix_tokens,
            adaptors: match neck {
                Neck::Decoder => adaptors.iter().map(|a| a.name.clone()).collect(),
                Neck::Encoder | Neck::Tokens => Vec::new(),
            },
            parameters,
            precision: Precision::from_kind(kind),
            settings,
        };
        let side = load::DEFAULT_SIDE.min(shape.map_side * shape.patch);
        info.preferred = load::preferred(side, &checkpoint.config, &options.zoo_hints, &info);
        Ok(Radio1d {
            summary_idxs: Tensor::from_slice(&shape.summary).to_device(options.device),
            input_conditioner,
            patch_generator,
            encoder,
            decoder,
            adaptors,
            neck,
            tokens: given.tokens,
            last: given.last,
            shape,
            info,
        })
    }
}

/// Tensors that files hold and no pass reads (spec §0.8, §4; §5 where the args have no
/// `dynamic_rate`), by our names.
fn is_dead(name: &str, final_norm: bool) -> bool {
    let Some(rest) = name.strip_prefix("model.") else {
        return false;
    };
    match rest.split('.').next().unwrap_or(rest) {
        "_iter_count" | "dynamic_rate_vec" | "dynamic_rate_projector" | "head" | "fc_norm" => true,
        "norm" => !final_norm,
        _ => rest.starts_with("patch_generator.video_embedder."),
    }
}
