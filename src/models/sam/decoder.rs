//! What follows SAM's image encoder: the neck, the prompt encoder and the mask decoder, in fp32.
//! A student's `sam` adaptor imitates what goes into the neck (spec/coco.md §2.3).

use super::decoder_config::DecoderConfig;
use super::encoder::Neck;
use super::mask_decoder::{MaskDecoder, Masks};
use super::prompt::{PromptEncoder, Prompts};
use crate::models::recognise;
use crate::runtime::guard;
use crate::weights::KeyPlace::Named;
use crate::weights::{Checkpoint, KeyLayout, KeyTable, OUTSIDE, ParamStore};
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Where transformers keeps what is not the image encoder's trunk.
const TRANSFORMERS: KeyTable = &[
    ("image_encoder.pos_embed", Named("vision_encoder.pos_embed")),
    (
        "image_encoder.patch_embed.proj",
        Named("vision_encoder.patch_embed.projection"),
    ),
    ("image_encoder.neck.0", Named("vision_encoder.neck.conv1")),
    (
        "image_encoder.neck.1",
        Named("vision_encoder.neck.layer_norm1"),
    ),
    ("image_encoder.neck.2", Named("vision_encoder.neck.conv2")),
    (
        "image_encoder.neck.3",
        Named("vision_encoder.neck.layer_norm2"),
    ),
    (
        "prompt_encoder.mask_downscaling.0",
        Named("prompt_encoder.mask_embed.conv1"),
    ),
    (
        "prompt_encoder.mask_downscaling.1",
        Named("prompt_encoder.mask_embed.layer_norm1"),
    ),
    (
        "prompt_encoder.mask_downscaling.3",
        Named("prompt_encoder.mask_embed.conv2"),
    ),
    (
        "prompt_encoder.mask_downscaling.4",
        Named("prompt_encoder.mask_embed.layer_norm2"),
    ),
    (
        "prompt_encoder.mask_downscaling.6",
        Named("prompt_encoder.mask_embed.conv3"),
    ),
    (
        "prompt_encoder.point_embeddings.*",
        Named("prompt_encoder.point_embed.*"),
    ),
    (
        "mask_decoder.transformer.layers.*.norm1",
        Named("mask_decoder.transformer.layers.*.layer_norm1"),
    ),
    (
        "mask_decoder.transformer.layers.*.norm2",
        Named("mask_decoder.transformer.layers.*.layer_norm2"),
    ),
    (
        "mask_decoder.transformer.layers.*.norm3",
        Named("mask_decoder.transformer.layers.*.layer_norm3"),
    ),
    (
        "mask_decoder.transformer.layers.*.norm4",
        Named("mask_decoder.transformer.layers.*.layer_norm4"),
    ),
    (
        "mask_decoder.transformer.norm_final_attn",
        Named("mask_decoder.transformer.layer_norm_final_attn"),
    ),
    (
        "mask_decoder.output_upscaling.0",
        Named("mask_decoder.upscale_conv1"),
    ),
    (
        "mask_decoder.output_upscaling.1",
        Named("mask_decoder.upscale_layer_norm"),
    ),
    (
        "mask_decoder.output_upscaling.3",
        Named("mask_decoder.upscale_conv2"),
    ),
    (
        "mask_decoder.output_hypernetworks_mlps.*.layers.0",
        Named("mask_decoder.output_hypernetworks_mlps.*.proj_in"),
    ),
    (
        "mask_decoder.output_hypernetworks_mlps.*.layers.1",
        Named("mask_decoder.output_hypernetworks_mlps.*.layers.0"),
    ),
    (
        "mask_decoder.output_hypernetworks_mlps.*.layers.2",
        Named("mask_decoder.output_hypernetworks_mlps.*.proj_out"),
    ),
    (
        "mask_decoder.iou_prediction_head.layers.0",
        Named("mask_decoder.iou_prediction_head.proj_in"),
    ),
    (
        "mask_decoder.iou_prediction_head.layers.1",
        Named("mask_decoder.iou_prediction_head.layers.0"),
    ),
    (
        "mask_decoder.iou_prediction_head.layers.2",
        Named("mask_decoder.iou_prediction_head.proj_out"),
    ),
];

/// The neck of the image encoder.
pub struct SamNeck {
    neck: Neck,
    /// Cells per side of the grid that features must have.
    pub side: i64,
    /// C of the features that it takes: 1280 with SAM-H.
    pub features: i64,
    /// C of the embedding.
    pub width: i64,
}

/// The prompt encoder and the mask decoder.
pub struct SamDecoder {
    prompts: PromptEncoder,
    masks: MaskDecoder,
    /// Cells per side of the embedding's grid.
    pub side: i64,
    /// Pixels per side of SAM's own input, in which prompts are given.
    pub image: i64,
    /// C of the embedding.
    pub width: i64,
    /// Of neck, prompt encoder and mask decoder.
    pub parameters: i64,
    pub device: Device,
}

/// The decoder's tensors of a file in segment-anything's names.
fn named(checkpoint: &Checkpoint) -> Result<(KeyLayout, Checkpoint)> {
    let transformers = checkpoint.has("mask_decoder.upscale_conv1.weight");
    let layout = KeyLayout::new("", if transformers { TRANSFORMERS } else { &[] });
    let renamed = layout.apply(checkpoint)?;
    Ok((layout, renamed))
}

/// Tensors of a whole SAM that are no part of this.
fn is_trunk(key: &str) -> bool {
    let key = key.strip_prefix(OUTSIDE).unwrap_or(key);
    key.starts_with("image_encoder.") || key.starts_with("vision_encoder.")
}

/// Builds neck and decoder in fp32 from a whole SAM in the layout of segment-anything or
/// transformers; strict about every tensor that is not the trunk's.
///
/// # Errors
/// A file without a mask decoder, or with one of other sizes.
pub fn load(checkpoint: &Checkpoint, device: Device) -> Result<(SamNeck, SamDecoder)> {
    // What trainers wrap around a network is taken off as for the encoder.
    let found = match checkpoint.tensors() {
        Some(_) => recognise::find(checkpoint)?.checkpoint,
        None => checkpoint.clone(),
    };
    let (layout, renamed) = named(&found)?;
    let lacks = renamed.tensors().is_some() && !renamed.has("mask_decoder.iou_token.weight");
    if lacks || checkpoint.is_torchscript() {
        return Err(Error::file(
            &checkpoint.path,
            "has no mask decoder (`mask_decoder.*`), or is no SAM: name a whole SAM (sam_vit_h_4b8939.pth, facebook/sam-vit-huge) with --sam-weights",
        ));
    }
    let config = DecoderConfig::read(&renamed)?;
    let store = ParamStore::new(&renamed, device, Kind::Float);
    let built = guard(|| {
        let _no_grad = tch::no_grad_guard();
        let root = store.root();
        let neck = root.pp("image_encoder.neck");
        let neck = SamNeck {
            neck: Neck::new(&neck, config.features, config.width)?,
            side: config.side,
            features: config.features,
            width: config.width,
        };
        let prompts = PromptEncoder::new(&root, &config)?;
        let masks = MaskDecoder::new(&root.pp("mask_decoder"), &config)?;
        store.finish(is_trunk)?;
        let decoder = SamDecoder {
            prompts,
            masks,
            side: config.side,
            image: config.side * config.patch,
            width: config.width,
            parameters: store.parameters(),
            device,
        };
        Ok((neck, decoder))
    });
    built.map_err(|e| found.explain(layout.explain(e)))
}

impl SamNeck {
    /// Features `[B,h,w,C]` in any precision -> image embedding `[B,C',h,w]` in fp32.
    pub fn embed(&self, features: &Tensor) -> Tensor {
        self.neck.forward(&features.to_kind(Kind::Float))
    }
}

impl SamDecoder {
    /// Masks for `P` prompts of one image, whose embedding is `[1,C',side,side]`. To be called
    /// without gradients, inside `guard`.
    pub fn decode(&self, embedding: &Tensor, prompts: &Prompts) -> Masks {
        let (sparse, dense) = self.prompts.encode(prompts);
        let positions = self.prompts.dense_positions();
        self.masks.forward(embedding, &sparse, &dense, positions)
    }

    /// What prompts become before the decoder sees them.
    pub fn prompt_encoder(&self) -> &PromptEncoder {
        &self.prompts
    }
}

/// Logits `[P,M,h,w]` at the original size `[P,M,H,W]`: enlarged to the square input of `frame`
/// pixels, the padding cut off, and brought to (height, width) of `original`. Bilinear with
/// half-pixel centres both times (spec/coco.md §1.6).
pub fn at_original_size(
    logits: &Tensor,
    frame: i64,
    resized: (i64, i64),
    original: (i64, i64),
) -> Tensor {
    logits
        .upsample_bilinear2d([frame, frame], false, None, None)
        .narrow(2, 0, resized.0)
        .narrow(3, 0, resized.1)
        .upsample_bilinear2d([original.0, original.1], false, None, None)
}
