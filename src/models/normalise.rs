//! Per-channel normalisation of `[0,1]` pixels, and where its constants come from.

use crate::weights::Checkpoint;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// (mean, standard deviation) per channel, for pixels in `[0,1]`.
pub type MeanStd = ([f64; 3], [f64; 3]);

/// OpenAI CLIP and the open_clip models after it (open_clip `OPENAI_DATASET_MEAN/STD`).
pub const CLIP: MeanStd = (
    [0.48145466, 0.4578275, 0.40821073],
    [0.26862954, 0.26130258, 0.27577711],
);
/// SigLIP and SigLIP2 (timm `IMAGENET_INCEPTION_MEAN/STD`).
pub const HALF: MeanStd = ([0.5; 3], [0.5; 3]);
/// DINOv2, DINOv3, InternViT (timm `IMAGENET_DEFAULT_MEAN/STD`).
pub const IMAGENET: MeanStd = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// (x - mean) / std in fp32, then the run's precision.
pub struct Normalise {
    mean: Tensor,
    std: Tensor,
    kind: Kind,
    /// Red, green and blue in `[0,1]` that become exactly zero.
    pub zero: [f64; 3],
}

impl Normalise {
    pub fn new((mean, std): MeanStd, device: Device, kind: Kind) -> Self {
        let channel = |values: [f64; 3]| {
            Tensor::from_slice(&values)
                .to_kind(Kind::Float)
                .view([1, 3, 1, 1])
                .to_device(device)
        };
        Normalise {
            mean: channel(mean),
            std: channel(std),
            kind,
            zero: mean,
        }
    }

    /// x: `[B,3,H,W]` in `[0,1]`
    pub fn forward(&self, x: &Tensor) -> Tensor {
        ((x.to_kind(Kind::Float) - &self.mean) / &self.std).to_kind(self.kind)
    }
}

/// The constants a checkpoint brings along (open_clip's `preprocess_cfg`, a transformers
/// `preprocessor_config.json` beside the weights, bare `mean`/`std`), else `default`.
pub fn mean_std(checkpoint: &Checkpoint, default: MeanStd) -> MeanStd {
    let config = &checkpoint.config;
    let folder = if checkpoint.path.is_dir() {
        Some(checkpoint.path.as_path())
    } else {
        checkpoint.path.parent()
    };
    let beside = folder
        .and_then(|f| std::fs::read(f.join("preprocessor_config.json")).ok())
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        .unwrap_or(Value::Null);
    let own =
        |holder: &Value, mean: &str, std: &str| Some((three(&holder[mean])?, three(&holder[std])?));
    // segment-anything's are for 0..255.
    let bytes = own(config, "pixel_mean", "pixel_std")
        .map(|(mean, std)| (mean.map(|v| v / 255.0), std.map(|v| v / 255.0)));
    own(&config["preprocess_cfg"], "mean", "std")
        .or(bytes)
        .or_else(|| own(&config["pretrained_cfg"], "mean", "std"))
        .or_else(|| own(config, "mean", "std"))
        .or_else(|| own(&beside, "image_mean", "image_std"))
        .unwrap_or(default)
}

fn three(value: &Value) -> Option<[f64; 3]> {
    let values: Vec<f64> = value.as_array()?.iter().filter_map(Value::as_f64).collect();
    values.try_into().ok()
}
