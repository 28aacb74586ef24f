//! The words that flags take for the library's enums, with their help. Files and records use the
//! same words.

use crate::config::DatasetLayout;
use crate::heads::Curve;
use crate::heads::detection::HeadKind;
use crate::models::radio1d::Neck;
use crate::tasks::detection::ap::IouKind;
use crate::tasks::detection::{self, GridRule};
use crate::tasks::sam_swap;
use crate::tasks::segment_text::method::Method;
use crate::tasks::segment_text::protocol::{Fit, Protocol};
use crate::tasks::segmentation::Preset;
use crate::tasks::segmentation::recipe::{Inference, TrainFeatures};
use clap::ValueEnum;
use clap::builder::PossibleValue;

macro_rules! choices {
    ($type:ty { $($variant:ident: $word:literal, $help:literal;)* }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(Self::$variant => PossibleValue::new($word).help($help),)*
                })
            }
        }
    };
}

choices!(DatasetLayout {
    Folder: "folder", "One folder per class, with or without `train/` and `val/`, on disk or in tar files; a flat split with a mapping file";
    Webdataset: "webdataset", "WebDataset shards: KEY.jpg with KEY.cls, KEY.json or KEY.txt";
    Parquet: "parquet", "Hugging Face parquet files with columns `image` and `label`";
});

choices!(Preset {
    RepoHead: "repo-head", "The repository's mmseg configs: BN head, 80k iterations at 512 px";
    PaperV5: "paper-v5", "The AM-RADIO paper (arXiv 2312.06709v5): 160k iterations, slide at 2/3 of the crop";
    Dinov3: "dinov3", "DINOv3's linear probe: 40k iterations, weight decay 1e-3, slide 512/341";
    Mini: "mini", "The miniature world's: cached features, 400 iterations, five seeds";
    Quick: "quick", "Cached features of up to 2,000 images, minutes on a CPU";
});

choices!(TrainFeatures {
    Cached: "cached", "Every image once, squashed to the resolution, without augmentation";
    Live: "live", "Fresh crops in every iteration, augmented as mmseg does";
});

choices!(Inference {
    Squash: "squash", "Squashed to the resolution";
    Whole: "whole", "Resized to `test_scale` keeping its aspect ratio, padded to the model's step";
    Slide: "slide", "Resized likewise, in overlapping windows whose logits are averaged";
});

choices!(Curve {
    Poly: "poly", "mmengine's LinearLR, then PolyLR to 0";
    Cosine: "cosine", "Linear warm-up, then half a cosine to 0 (the annealing of one-cycle schedules)";
    Steps: "steps", "Linear warm-up, then 1, a tenth from 8/9 of the run on and a hundredth from 26/27 (ViTDet)";
    Ramp: "ramp", "The miniature world's `min(1, (i + 1) / warmup) * (1 - i / iterations)`";
});

choices!(sam_swap::Preset {
    Advised: "advised", "The advised default of every setting";
    Paper: "paper", "RADIO's positions with align_corners, as in figures made before mid-2025";
    Window16: "window-16", "ViTDet windows of 16 patches (RADIO ViT)";
    StrictHarness: "strict-harness", "EfficientViT's harness: compressed run-length masks are an error";
});

choices!(sam_swap::Padding {
    SamMean: "sam-mean", "SAM's mean colour, which is zero after SAM's own normalisation";
    Black: "black", "Black";
    None: "none", "Nothing: the picture alone, zeros around its features (RADSeg)";
});

choices!(sam_swap::Grid {
    Run: "run", "The model runs at the size that gives SAM's grid";
    Resize: "resize", "The model runs at SAM's size, its features are resized (bilinear)";
});

choices!(sam_swap::PromptKind {
    Box: "box", "Its annotated box";
    Point: "point", "Clicks, each where the answer so far is most wrong";
    Boxes: "boxes", "A detector's boxes, from a file: mask AP";
});

choices!(Neck {
    Decoder: "decoder", "The decoder's summary and a feature per patch";
    Encoder: "encoder", "The encoder's summary and its code";
    Tokens: "tokens", "The mean of the code's tokens, and the code";
});

choices!(Method {
    Plain: "plain", "The network as it is; RADIO's patches through the summary head of the adaptor";
    Radseg: "radseg", "RADSeg: recursive attention in the last block, aggregation over the picture (RADIO)";
    Naradio: "naradio", "RayFronts' NARadio: keys and a prior of neighbours in the last block (RADIO)";
    Maskclip: "maskclip", "MaskCLIP: values alone in the last block, residual and MLP kept (CLIP)";
    MaskclipReduced: "maskclip-reduced", "The same without residual and MLP, as ClearCLIP compares with (CLIP)";
    Sclip: "sclip", "SCLIP: queries with queries and keys with keys (CLIP)";
    Naclip: "naclip", "NACLIP: keys and a prior of neighbours, without residual and MLP (CLIP)";
    Clearclip: "clearclip", "ClearCLIP: queries with queries, without residual and MLP (CLIP)";
    SiglipValue: "siglip-value", "The attention pool on each patch alone (SigLIP)";
});

choices!(Protocol {
    Sclip: "sclip", "336 px (560 Cityscapes, 448 COCO-Stuff), windows 224/112, scale 40 to 65";
    Naclip: "naclip", "The same, whole pictures on VOC; without NACLIP's PAMR";
    Proxyclip: "proxyclip", "336 or 448 px, windows 336/112, ProxyCLIP's names";
    RadsegLow: "radseg-low", "336 px (560 Cityscapes), windows 224/112";
    RadsegMid: "radseg-mid", "336 to 688 px, windows 336/224 (336/112 VOC)";
    RadsegHigh: "radseg-high", "672 to 1344 px, windows 336/224";
    Mini: "mini", "The miniature world's: 384 px, windows 128/64, scale 100";
});

choices!(Fit {
    Stride: "stride", "Multiples of the window's stride";
    Patch: "patch", "Multiples of the network's step";
});

choices!(IouKind {
    Bbox: "bbox", "Boxes";
    Segm: "segm", "Masks";
});

choices!(detection::Preset {
    Smoke: "smoke", "512 px, 12 epochs";
    OneX: "1x", "1024 px, 12 epochs";
    Long: "long", "1024 px, 50 epochs, wide jitter";
    Mini: "mini", "The miniature world: 192 px and a narrow head, minutes on a CPU";
});

choices!(GridRule {
    Resize: "resize", "The model sees the picture at resolution * patch / 16 pixels";
    Interpolate: "interpolate", "The model sees it at the resolution, and its map is interpolated";
});

choices!(HeadKind {
    MaskVitdet: "mask-vitdet", "Mask R-CNN as ViTDet has it";
    MaskRcnn: "mask-rcnn", "Mask R-CNN as torchvision has it";
    FasterRcnn: "faster-rcnn", "Faster R-CNN: boxes only";
});

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    /// A flag's word is the one in files and records.
    #[track_caller]
    fn same_words<T: ValueEnum + Serialize>() {
        for variant in T::value_variants() {
            let word = variant.to_possible_value().unwrap();
            assert_eq!(serde_json::to_value(variant).unwrap(), word.get_name());
        }
    }

    #[test]
    fn flags_and_files_use_the_same_words() {
        same_words::<DatasetLayout>();
        same_words::<Preset>();
        same_words::<TrainFeatures>();
        same_words::<Inference>();
        same_words::<Curve>();
        same_words::<Method>();
        same_words::<Protocol>();
        same_words::<Fit>();
        same_words::<IouKind>();
        same_words::<detection::Preset>();
        same_words::<GridRule>();
        same_words::<HeadKind>();
        same_words::<sam_swap::Preset>();
        same_words::<sam_swap::Padding>();
        same_words::<sam_swap::Grid>();
        same_words::<sam_swap::PromptKind>();
    }
}
