//! `--resolution` and `--resize-mode`.

use crate::data::transform::Mode;
use crate::{Error, Result};
use clap::ValueEnum;
use std::str::FromStr;

/// Larger sides than any model takes; guards against `--resolution 100000`.
const LARGEST: usize = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    pub height: usize,
    pub width: usize,
}

impl FromStr for Resolution {
    type Err = Error;

    /// `R` or `HxW`.
    fn from_str(text: &str) -> Result<Self> {
        let side = |text: &str| text.parse().ok().filter(|&n| (1..=LARGEST).contains(&n));
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(Resolution { height, width }),
            _ => Err(Error::usage(format!(
                "`{text}` is not a resolution; use R or HxW in pixels, at most {LARGEST}"
            ))),
        }
    }
}

impl From<(i64, i64)> for Resolution {
    /// (height, width)
    fn from((height, width): (i64, i64)) -> Self {
        let side = |n: i64| usize::try_from(n).unwrap_or(1);
        Resolution {
            height: side(height),
            width: side(width),
        }
    }
}

/// How an image comes to the resolution. RADIO's protocol is `cover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResizeMode {
    /// Scale to cover the rectangle, cut out the centre
    Cover,
    /// Scale to fit into the rectangle, pad with black
    Fit,
    /// Scale both sides, whatever the aspect ratio
    Squash,
    /// Scale the shortest side, keep the aspect ratio; images of one size form a batch
    Shortest,
    /// Scale the longest side, keep the aspect ratio
    Longest,
}

impl ResizeMode {
    pub fn mode(self, resolution: Resolution) -> Mode {
        let Resolution { height, width } = resolution;
        match self {
            ResizeMode::Cover => Mode::Cover { height, width },
            ResizeMode::Fit => Mode::Fit { height, width },
            ResizeMode::Squash => Mode::Squash { height, width },
            ResizeMode::Shortest => Mode::Shortest(height.min(width)),
            ResizeMode::Longest => Mode::Longest(height.max(width)),
        }
    }

    /// Whether images keep their own aspect ratio, so that sizes vary.
    pub fn keeps_aspect(self) -> bool {
        matches!(self, ResizeMode::Shortest | ResizeMode::Longest)
    }

    pub fn name(self) -> &'static str {
        match self {
            ResizeMode::Cover => "cover",
            ResizeMode::Fit => "fit",
            ResizeMode::Squash => "squash",
            ResizeMode::Shortest => "shortest",
            ResizeMode::Longest => "longest",
        }
    }
}
