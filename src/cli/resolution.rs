//! Sizes in pixels on the command line.

use super::numbers::MAX_SIDE;
use std::str::FromStr;

/// A size in pixels: `512` (square) or `HxW`, `432x768`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    pub height: i64,
    pub width: i64,
}

impl Resolution {
    /// (height, width)
    pub fn size(self) -> (i64, i64) {
        (self.height, self.width)
    }
}

impl From<(i64, i64)> for Resolution {
    /// (height, width)
    fn from((height, width): (i64, i64)) -> Self {
        Resolution { height, width }
    }
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        match (height.parse(), width.parse()) {
            (Ok(height @ 1..=MAX_SIDE), Ok(width @ 1..=MAX_SIDE)) => {
                Ok(Resolution { height, width })
            }
            _ => Err(format!(
                "`{text}` is not a resolution; use R or HxW in pixels, at most {MAX_SIDE}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_limit_for_every_command() {
        let size = |text: &str| text.parse::<Resolution>().map(Resolution::size);
        assert_eq!(size("512"), Ok((512, 512)));
        assert_eq!(size("432x768"), Ok((432, 768)));
        for text in ["0", "16385", "512x", "x", "-1", "1x2x3", "100000"] {
            let error = size(text).unwrap_err();
            assert!(
                error.contains(text) && error.contains("at most 16384"),
                "{error}"
            );
        }
    }
}
