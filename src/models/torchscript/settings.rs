//! What a TorchScript file does not say about itself: flags, or a TOML file beside it.

use crate::files::text;
use crate::models::normalise::MeanStd;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Axes of a four-dimensional output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputAxes {
    /// [B, C, h, w]
    #[default]
    Nchw,
    /// [B, h, w, C] (timm's Swin Transformers)
    Nhwc,
}

/// Keys of `MODEL.toml` beside `MODEL.pt`; what is not given has a default (`Settings`).
///
/// ```toml
/// mean = [0.5, 0.5, 0.5]      # of pixels in [0,1]; default 0 and 1: the program normalises
/// std = [0.5, 0.5, 0.5]
/// resolution = [384, 384]     # height, width it is meant for; or one number; default 224
/// step = 32                   # height and width must be multiples; default the patch
/// fixed = true                # it takes that resolution only; default false
/// layout = "nhwc"             # of a four-dimensional output; default "nchw"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    pub mean: Option<[f64; 3]>,
    pub std: Option<[f64; 3]>,
    pub resolution: Option<Size>,
    pub step: Option<i64>,
    pub fixed: Option<bool>,
    pub layout: Option<OutputAxes>,
}

/// One number for a square, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Size {
    Square(i64),
    Pair([i64; 2]),
}

impl Size {
    /// (height, width)
    pub fn pair(self) -> (i64, i64) {
        match self {
            Size::Square(side) => (side, side),
            Size::Pair([height, width]) => (height, width),
        }
    }
}

/// Everything there is to know before the program runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub mean_std: MeanStd,
    /// (height, width)
    pub resolution: (i64, i64),
    /// `None`: the patch, once the output is known.
    pub step: Option<i64>,
    pub fixed: bool,
    pub layout: OutputAxes,
}

/// Where the settings of `program` lie: `model.pt` -> `model.toml`.
pub fn path_beside(program: &Path) -> PathBuf {
    program.with_extension("toml")
}

/// Flags first, then the file beside `program`, then ImageNet's normalisation and 224 pixels.
pub fn read(program: &Path, flags: &Declared) -> Result<Settings> {
    let path = path_beside(program);
    let beside = if path.exists() {
        toml::from_str(&text::read(&path)?).map_err(|e| Error::file(&path, e))?
    } else {
        Declared::default()
    };
    let settings = Settings {
        // The contract of a backbone: pixels in [0,1] come in, and it normalises for itself.
        mean_std: (
            flags.mean.or(beside.mean).unwrap_or([0.0; 3]),
            flags.std.or(beside.std).unwrap_or([1.0; 3]),
        ),
        resolution: flags
            .resolution
            .or(beside.resolution)
            .map_or((224, 224), Size::pair),
        step: flags.step.or(beside.step),
        fixed: flags.fixed.or(beside.fixed).unwrap_or(false),
        layout: flags.layout.or(beside.layout).unwrap_or_default(),
    };
    check(&settings).map_err(|reason| Error::usage(format!("{}: {reason}", program.display())))?;
    Ok(settings)
}

fn check(settings: &Settings) -> Result<(), &'static str> {
    let (height, width) = settings.resolution;
    if settings.mean_std.1.iter().any(|&s| s <= 0.0) {
        Err("the standard deviations must be positive")
    } else if height < 1 || width < 1 {
        Err("the resolution must be positive")
    } else if settings.step.is_some_and(|step| step < 1) {
        Err("the step must be positive")
    } else {
        Ok(())
    }
}
