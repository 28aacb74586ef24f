//! The image encoder of Segment Anything, ViT-B/L/H (Kirillov et al., arXiv 2304.02643).
//!
//! `radio-eval features --model sam-h --weights sam_vit_h_4b8939.pth ...`
//!
//! Spatial = tokens of the last block, before the neck (what RADIO's `sam` adaptor imitates);
//! summary = their mean (AM-RADIO's kNN row "SAM"). One resolution only, as upstream.

mod config;
mod decoder;
mod decoder_config;
mod encoder;
mod mask_decoder;
mod prompt;
mod rel_pos;
mod transformer;

pub use decoder::{SamDecoder, SamNeck, at_original_size, load as load_decoder};
pub use encoder::{Encoder, windows};
pub use mask_decoder::Masks;
pub use prompt::{PromptEncoder, Prompts};
pub use rel_pos::relative_positions;

use super::layers;
use super::normalise::{self, Constants, Normalise};
use super::request::BlockPlan;
use super::vit::{self, BlockGroup};
use super::{Architecture, Backbone, BackboneInfo, BuildOptions, Features, Intermediate, Request};
use crate::Result;
use crate::weights::KeyPlace::Named;
use crate::weights::{Checkpoint, KeyLayout, KeyTable, OUTSIDE, ParamStore, Trainable};
use config::Config;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tch::Tensor;

const TRANSFORMERS: KeyTable = &[
    ("patch_embed.proj", Named("patch_embed.projection")),
    ("blocks.*.norm1", Named("layers.*.layer_norm1")),
    ("blocks.*.norm2", Named("layers.*.layer_norm2")),
    ("blocks.*", Named("layers.*")),
    ("neck.0", Named("neck.conv1")),
    ("neck.1", Named("neck.layer_norm1")),
    ("neck.2", Named("neck.conv2")),
    ("neck.3", Named("neck.layer_norm2")),
];

const TIMM: KeyTable = &[
    ("blocks.*.mlp.lin1", Named("blocks.*.mlp.fc1")),
    ("blocks.*.mlp.lin2", Named("blocks.*.mlp.fc2")),
];

/// Of norms over the channels of a map (segment-anything `LayerNorm2d`).
const MAP_EPS: f64 = 1e-6;

/// Normalises [B, C, H, W] over its channels.
fn layer_norm_2d(norm: &layers::LayerNorm, x: &Tensor) -> Tensor {
    norm.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

/// The encoder in a whole SAM, or saved alone.
fn find(checkpoint: &Checkpoint) -> Option<KeyLayout> {
    let has = |prefix: &str, name: &str| checkpoint.has(&format!("{prefix}{name}"));
    let whole = ["image_encoder.", ""].into_iter().find(|prefix| {
        has(prefix, "patch_embed.proj.weight") && has(prefix, "blocks.0.attn.rel_pos_h")
    });
    if let Some(prefix) = whole {
        let timm = has(prefix, "blocks.0.mlp.fc1.weight");
        return Some(KeyLayout::new(prefix, if timm { TIMM } else { &[] }));
    }
    let prefix = ["vision_encoder.", ""].into_iter().find(|prefix| {
        has(prefix, "patch_embed.projection.weight") && has(prefix, "layers.0.attn.rel_pos_h")
    })?;
    Some(KeyLayout::new(prefix, TRANSFORMERS))
}

/// The rest of SAM: prompts and masks.
fn is_decoder(key: &str) -> bool {
    key.strip_prefix(OUTSIDE).is_some_and(|key| {
        [
            "prompt_encoder.",
            "mask_decoder.",
            "shared_image_embedding.",
        ]
        .iter()
        .any(|part| key.starts_with(part))
    })
}

pub struct SamArchitecture;

impl Architecture for SamArchitecture {
    fn name(&self) -> &'static str {
        "sam"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        let config = &checkpoint.config;
        match checkpoint.tensors() {
            Some(_) => find(checkpoint).is_some(),
            None => {
                let transformers = config["model_type"].as_str();
                matches!(transformers, Some("sam" | "sam_vision_model"))
                    || config["global_attn_indexes"].is_array()
            }
        }
    }

    fn describes(&self, config: &Value) -> bool {
        let sam = |value: &Value| value.as_str().is_some_and(|name| name.starts_with("sam"));
        sam(&config["model_type"])
            || sam(&config["vision_config"]["model_type"])
            || sam(&config["architecture"])
            || config["global_attn_indexes"].is_array()
    }

    fn landmarks(&self) -> &'static [&'static str] {
        &[
            "image_encoder.patch_embed.proj.weight",
            "image_encoder.blocks.0.attn.rel_pos_h",
            "vision_encoder.patch_embed.projection.weight",
            "vision_encoder.layers.0.attn.rel_pos_h",
            "neck.0.weight",
        ]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Sam::load(checkpoint, options)?))
    }
}

/// The image encoder with its normalisation.
pub struct Sam {
    pub normalise: Normalise,
    pub encoder: Encoder,
    info: BackboneInfo,
    trainable: Option<Trainable>,
}

impl Sam {
    /// Builds the encoder from a file of segment-anything or transformers; strict about the
    /// encoder's tensors, and those of the decoder may be there.
    pub fn load(checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Self> {
        let layout = find(checkpoint).unwrap_or_else(|| KeyLayout::new("", &[]));
        let file = checkpoint;
        let checkpoint = layout.apply(file)?;
        let config = Config::read(&checkpoint)?;
        let registry = options.registry();
        let store = ParamStore::new(&checkpoint, options.device, options.run_kind())
            .trained(registry.as_ref());
        let encoder = Encoder::new(&store.root(), &config)
            .and_then(|encoder| store.finish(is_decoder).map(|()| encoder))
            .map_err(|e| layout.explain(e))?;
        let constants = Constants::from_checkpoint(&checkpoint, options, normalise::IMAGENET)?;
        let mut info = info(&config, options, store.parameters());
        constants.note(&mut info.settings);
        Ok(Sam {
            // segment-anything's 123.675, 116.28, 103.53 / 58.395, 57.12, 57.375 on 0..255.
            normalise: Normalise::new(constants.mean_std, options.device, options.run_kind()),
            encoder,
            info,
            trainable: registry.map(|r| r.finish(file)),
        })
    }
}

/// The neck counts as part of the encoder, as upstream counts it.
fn info(config: &Config, options: &BuildOptions, parameters: i64) -> BackboneInfo {
    let size = config.side * config.patch;
    let mut settings = Map::new();
    settings.insert("heads".into(), config.heads.into());
    settings.insert("tokens".into(), Value::from("before the neck"));
    BackboneInfo {
        preferred: (size, size),
        fixed: Some((size, size)),
        parameters,
        settings,
        ..BackboneInfo::plain_vit(
            format!("SAM ViT-{}/{}", vit::size_name(config.width), config.patch),
            config.patch,
            config.width,
            options,
        )
    }
}

impl Backbone for Sam {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn padding(&self) -> [f64; 3] {
        self.normalise.zero
    }

    fn trainable(&self) -> Option<&Trainable> {
        self.trainable.as_ref()
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let plan = BlockPlan::new(request, self.encoder.depth())?;
        let tokens = self.encoder.embed(&self.normalise.forward(x));
        let grid = (tokens.size()[1], tokens.size()[2]);
        // A mean of tokens, there being no class token; and no norm behind the last block.
        let mean = |spatial: &Tensor| spatial.mean_dim(1, false, None);
        let read = |group: &BlockGroup| {
            let spatial = vit::mean_of(group).flatten(1, 2);
            Intermediate {
                block: group.last().map_or(0, |(block, _)| *block),
                summary: Some(mean(&spatial)),
                spatial,
                grid,
            }
        };
        let block = |i: usize, tokens: Tensor| self.encoder.block(i, &tokens);
        let (tokens, intermediates) =
            vit::through_blocks(&plan, tokens, block, Tensor::shallow_clone, read);
        let spatial = tokens.flatten(1, 2);
        Ok(Features {
            summary: mean(&spatial),
            spatial,
            grid,
            adaptors: IndexMap::new(),
            intermediates,
        })
    }
}
