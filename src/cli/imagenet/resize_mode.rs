//! `--resize-mode`.

use crate::cli::resolution::Resolution;
use crate::data::transform::Mode;
use clap::ValueEnum;

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
        // One side at least, by the parser and by what networks prefer.
        let side = |n: i64| usize::try_from(n).unwrap_or(1);
        let (height, width) = (side(resolution.height), side(resolution.width));
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
