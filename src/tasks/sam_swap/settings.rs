//! What the literature leaves open about SAM's decoder on a student's features, each a setting with
//! the default that spec/coco.md §2.3 advises.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where settings that were not given come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The advised default of every setting.
    #[default]
    Advised,
    /// As before mid-2025, when the published figures were made: positions with align_corners.
    Paper,
    /// ViTDet windows of 16 patches.
    #[serde(rename = "window-16")]
    Window16,
    /// EfficientViT's harness, which the AM-RADIO paper cites: a compressed run-length mask, which
    /// it cannot read, is an error.
    StrictHarness,
}

/// What the student sees beside the picture, which is no square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// SAM's mean colour, which SAM's own normalisation makes zero.
    #[default]
    SamMean,
    Black,
    /// Nothing: the picture alone, its short side cut to whole patches, and zeros around the
    /// features (RADSeg).
    None,
}

/// How the features come to SAM's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grid {
    /// The student runs at as many pixels as give that grid.
    #[default]
    Run,
    /// The student runs at SAM's size, and its features are resized (bilinear).
    Resize,
}

/// What the decoder is told of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptKind {
    /// Its annotated box.
    #[default]
    Box,
    /// Clicks, each where the answer so far is most wrong.
    Point,
    /// A detector's boxes instead of the instances, for mask AP.
    Boxes,
}

/// Everything that decides a number besides the networks and the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Settings {
    pub preset: Preset,
    pub padding: Padding,
    pub grid: Grid,
    pub prompt: PromptKind,
    /// Clicks per instance, with [`PromptKind::Point`].
    pub clicks: usize,
    /// Prompts that go through the decoder together; the order of sums depends on it.
    pub prompts_per_pass: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            preset: Preset::default(),
            padding: Padding::default(),
            grid: Grid::default(),
            prompt: PromptKind::default(),
            clicks: 1,
            prompts_per_pass: 16,
        }
    }
}

impl Settings {
    /// The settings by name, with those of spec/coco.md §2.3 that have one choice only.
    pub fn describe(&self) -> Vec<(&'static str, Value)> {
        let clicks = (self.prompt == PromptKind::Point).then_some(self.clicks);
        vec![
            ("preset", json!(self.preset)),
            ("padding", json!(self.padding)),
            ("grid", json!(self.grid)),
            ("prompt", json!(self.prompt)),
            ("clicks", json!(clicks)),
            ("prompts_per_pass", json!(self.prompts_per_pass)),
            ("normalisation", json!("the model's own, on [0,1]")),
            ("features", json!("before SAM's neck")),
            ("decoder_precision", json!("fp32")),
            (
                "mask_choice",
                json!("highest predicted IoU of masks 1 to 3"),
            ),
        ]
    }

    /// The settings that are not as advised, by name; the prompt and the preset aside.
    pub fn changes(&self) -> Vec<&'static str> {
        let advised = Settings::default();
        let changes = [
            ("padding", self.padding != advised.padding),
            ("grid", self.grid != advised.grid),
        ];
        let changed = changes.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(name, _)| name).collect()
    }
}
