//! Sizes of SAM's prompt encoder and mask decoder. They follow from the tensors, but for the heads;
//! where weights are drawn, from the config, else they are those of every released SAM.

use crate::Result;
use crate::models::facts::{check_heads, int, required_size};
use crate::weights::Checkpoint;
use serde_json::Value;

pub struct DecoderConfig {
    /// C of tokens and embedding.
    pub width: i64,
    pub heads: i64,
    /// Inner width of the attentions between tokens and image.
    pub cross_width: i64,
    pub depth: i64,
    /// Of the transformer's perceptrons.
    pub hidden: i64,
    /// Masks per prompt: one, and three for prompts that are not clear.
    pub masks: i64,
    /// Channels inside the mask prompt's convolutions.
    pub mask_channels: i64,
    pub iou_hidden: i64,
    pub iou_depth: i64,
    /// Cells per side of the grid.
    pub side: i64,
    /// Pixels per side of a cell.
    pub patch: i64,
    /// C of the features that the neck takes.
    pub features: i64,
}

impl DecoderConfig {
    /// `checkpoint` is in segment-anything's names.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let config = &checkpoint.config;
        let within = |name: &str| match &config[name] {
            Value::Object(_) => &config[name],
            _ => config,
        };
        let (vision, prompt) = (within("vision_config"), within("prompt_encoder_config"));
        let decoder = within("mask_decoder_config");
        let dim = |name: &str, axis: usize| checkpoint.shape(name)?.get(axis).copied();
        let size = |label: &str, stored: Option<i64>, stated: Option<i64>, released: i64| {
            required_size(checkpoint, label, stored.or(stated).or(Some(released)))
        };
        let layers = |prefix: &str, suffix: &str| {
            checkpoint.tensors()?;
            Some(checkpoint.count(prefix, suffix) as i64)
        };
        const TRANSFORMER: &str = "mask_decoder.transformer.layers.";
        const IOU: &str = "mask_decoder.iou_prediction_head.layers.";
        let width = size(
            "decoder width",
            dim("mask_decoder.iou_token.weight", 1),
            int(config, &["prompt_embed_dim"])
                .or_else(|| int(vision, &["output_channels"]))
                .or_else(|| int(decoder, &["hidden_size"])),
            256,
        )?;
        let first = |rest: &str| format!("{TRANSFORMER}0.{rest}");
        let listed = config["mask_decoder_config"].is_object();
        let heads = int(config, &["decoder_heads"])
            .or_else(|| int(decoder, &["num_attention_heads"]).filter(|_| listed))
            // No tensor tells; every released SAM is 256 wide and has eight.
            .or_else(|| (width == 256).then_some(8));
        let heads = required_size(checkpoint, "number of decoder heads", heads)?;
        check_heads(checkpoint, width, heads)?;
        let masks = int(decoder, &["num_multimask_outputs"]).unwrap_or(3) + 1;
        Ok(DecoderConfig {
            cross_width: size(
                "cross attention width",
                dim(&first("cross_attn_token_to_image.q_proj.weight"), 0),
                None,
                width / 2,
            )?,
            depth: size(
                "decoder depth",
                layers(TRANSFORMER, ".norm1.weight"),
                None,
                2,
            )?,
            hidden: size(
                "decoder's hidden width",
                dim(&first("mlp.lin1.weight"), 0),
                int(config, &["decoder_mlp_dim"]),
                2048,
            )?,
            masks: size(
                "masks",
                dim("mask_decoder.mask_tokens.weight", 0),
                Some(masks),
                4,
            )?,
            mask_channels: size(
                "mask prompt channels",
                dim("prompt_encoder.mask_downscaling.3.weight", 0),
                int(prompt, &["mask_input_channels"]).or(int(config, &["mask_in_chans"])),
                16,
            )?,
            iou_hidden: size(
                "IoU head width",
                dim(&format!("{IOU}0.weight"), 0),
                int(config, &["iou_head_hidden_dim"]),
                256,
            )?,
            iou_depth: size("IoU head depth", layers(IOU, ".weight"), None, 3)?,
            side: size(
                "grid",
                dim("image_encoder.pos_embed", 1),
                int(vision, &["image_size", "img_size"])
                    .zip(int(vision, &["patch_size"]))
                    .map(|(image, patch)| image / patch.max(1)),
                64,
            )?,
            patch: size(
                "patch size",
                dim("image_encoder.patch_embed.proj.weight", 3),
                int(vision, &["patch_size"]),
                16,
            )?,
            features: size(
                "neck width",
                dim("image_encoder.neck.0.weight", 1),
                int(vision, &["hidden_size", "embed_dim"]),
                1280,
            )?,
            width,
            heads,
        })
    }
}
