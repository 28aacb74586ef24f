//! At which size, in which windows and with which thresholds: what each repository's configs say
//! (spec/open_vocabulary.md §1.5), and the user's changes.

use crate::models::dense::TextFamily;
use crate::{Error, Result};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Sclip,
    Naclip,
    Proxyclip,
    RadsegLow,
    RadsegMid,
    RadsegHigh,
    Mini,
}

/// To what a picture's sides are rounded up before windows are cut (students).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Multiples of the window's stride, as RADSeg does.
    Stride,
    /// Multiples of the network's step.
    Patch,
}

/// Every value that decides labels besides network, method and names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    pub protocol: Protocol,
    /// The label set whose row of the protocol's table this is; `default` where it has none.
    pub row: String,
    /// Pixels of the shorter side, and the most that the longer side may have.
    pub short_side: usize,
    pub long_side: usize,
    /// Side of a window and its stride, in pixels; `None`: the whole picture at once.
    pub window: Option<(i64, i64)>,
    /// Students only.
    pub fit: Option<Fit>,
    pub logit_scale: f64,
    /// Classes whose probability is below this in all of the picture count nowhere; 0: off.
    pub denoise: f64,
    /// Pixels whose largest class probability is below this are class 0; 0: off.
    pub prob_threshold: f64,
    /// A foreground class with at most this share of the foreground counts nowhere; 0: off.
    pub area_threshold: f64,
    /// Whose class names.
    pub names: String,
}

/// What the user says instead.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub protocol: Option<Protocol>,
    pub short_side: Option<usize>,
    pub long_side: Option<usize>,
    /// `Some(None)`: no windows.
    pub window: Option<Option<(i64, i64)>>,
    pub fit: Option<Fit>,
    pub logit_scale: Option<f64>,
    pub denoise: Option<f64>,
    pub prob_threshold: Option<f64>,
    pub area_threshold: Option<f64>,
    pub names: Option<String>,
}

/// A row: short side, long side, window and stride.
type Row = (usize, usize, Option<(i64, i64)>);

impl Protocol {
    /// RADSeg's own is RADIO's, SCLIP's the teachers'; the miniature world has one at its size.
    fn usual(family: TextFamily, set: Option<&str>) -> Protocol {
        match (set, family) {
            (Some("ade-mini"), _) => Protocol::Mini,
            (_, TextFamily::Radio | TextFamily::ERadio) => Protocol::RadsegMid,
            (_, TextFamily::Clip | TextFamily::Siglip) => Protocol::Sclip,
        }
    }

    /// The sizes for a label set, and the set whose row it is.
    fn sizes(self, set: &str) -> (Row, &'static str) {
        const SLIDE: Option<(i64, i64)> = Some((224, 112));
        const RADSEG: Option<(i64, i64)> = Some((336, 224));
        match (self, set) {
            (Protocol::Sclip, "coco-stuff") => ((448, 2048, SLIDE), "coco-stuff"),
            (Protocol::Sclip | Protocol::Naclip, "cityscapes") => {
                ((560, 2048, SLIDE), "cityscapes")
            }
            (Protocol::Naclip, "voc20") => ((336, 2048, None), "voc20"),
            (Protocol::Naclip, "voc21") => ((336, 2048, None), "voc21"),
            (Protocol::Sclip | Protocol::Naclip, _) => ((336, 2048, SLIDE), "default"),
            (Protocol::Proxyclip, "cityscapes") => ((448, 2048, SLIDE), "cityscapes"),
            (Protocol::Proxyclip, "ade20k") => ((448, 2048, Some((336, 112))), "ade20k"),
            (Protocol::Proxyclip, _) => ((336, 2048, Some((336, 112))), "default"),
            (Protocol::RadsegLow, "cityscapes") => ((560, 2048, SLIDE), "cityscapes"),
            (Protocol::RadsegLow, _) => ((336, 2048, SLIDE), "default"),
            (Protocol::RadsegMid, "voc20") => ((336, 2048, Some((336, 112))), "voc20"),
            (Protocol::RadsegMid, "context59") => ((576, 4096, RADSEG), "context59"),
            (Protocol::RadsegMid, "coco-stuff") => ((448, 2048, RADSEG), "coco-stuff"),
            (Protocol::RadsegMid, "cityscapes") => ((688, 2048, RADSEG), "cityscapes"),
            // Its configs have no other rows: ADE20k's serves where a set has none.
            (Protocol::RadsegMid, _) => ((576, 2048, RADSEG), "ade20k"),
            (Protocol::RadsegHigh, "coco-stuff") => ((896, 1334, RADSEG), "coco-stuff"),
            (Protocol::RadsegHigh, "cityscapes") => ((1344, 2688, RADSEG), "cityscapes"),
            (Protocol::RadsegHigh, "voc20") => ((672, 2016, RADSEG), "voc20"),
            (Protocol::RadsegHigh, "context59") => ((672, 2016, RADSEG), "context59"),
            (Protocol::RadsegHigh, _) => ((672, 2016, RADSEG), "ade20k"),
            // The miniature CLIP was trained at 128 pixels, on pictures of one or two objects.
            (Protocol::Mini, _) => ((384, 2048, Some((128, 64))), "default"),
        }
    }

    /// (logit scale, denoising threshold, probability threshold, area threshold)
    fn numbers(self, set: &str) -> (f64, f64, f64, f64) {
        // RADSeg: `radseg.py`:70 and `base_config.py`:6; SCLIP and its followers: per config.
        match (self, set) {
            (Protocol::RadsegLow | Protocol::RadsegMid | Protocol::RadsegHigh, _) => {
                (100.0, 0.5, 0.0, 0.0)
            }
            (Protocol::Sclip, "voc21") => (65.0, 0.0, 0.1, 0.1),
            (Protocol::Sclip, "context60" | "coco-object") => (50.0, 0.0, 0.1, 0.0),
            (Protocol::Naclip, "voc21" | "context60" | "coco-object") => (40.0, 0.0, 0.1, 0.0),
            (Protocol::Proxyclip, "voc21") => (40.0, 0.0, 0.2, 0.0),
            (Protocol::Proxyclip, "context60") => (40.0, 0.0, 0.15, 0.0),
            (Protocol::Proxyclip, "coco-object") => (40.0, 0.0, 0.25, 0.0),
            (Protocol::Mini, _) => (100.0, 0.0, 0.0, 0.0),
            _ => (40.0, 0.0, 0.0, 0.0),
        }
    }

    /// The shipped set of prompt templates.
    pub fn templates(self) -> &'static str {
        match self {
            Protocol::Mini => "mini",
            _ => "openai",
        }
    }

    fn names(self) -> &'static str {
        match self {
            Protocol::Mini => "mini",
            Protocol::Sclip | Protocol::Naclip => "sclip",
            Protocol::Proxyclip => "proxyclip",
            Protocol::RadsegLow | Protocol::RadsegMid | Protocol::RadsegHigh => "radseg",
        }
    }
}

impl Settings {
    /// The protocol's values for `set`, changed as the user says.
    ///
    /// # Errors
    /// A change that cannot be obeyed with networks of this family, or with these classes.
    pub fn new(
        changes: &Changes,
        set: Option<&str>,
        family: TextFamily,
        background: bool,
    ) -> Result<Self> {
        let protocol = changes.protocol.unwrap_or(Protocol::usual(family, set));
        let set = set.unwrap_or_default();
        let ((short, long, window), row) = protocol.sizes(set);
        let (scale, denoise, threshold, area) = protocol.numbers(set);
        let student = matches!(family, TextFamily::Radio | TextFamily::ERadio);
        // What is off for a family by its nature: the published code of the other has no such step.
        let denoise = if student { denoise } else { 0.0 };
        let area = if student { 0.0 } else { area };
        let settings = Settings {
            protocol,
            row: row.to_string(),
            short_side: changes.short_side.unwrap_or(short),
            long_side: changes.long_side.unwrap_or(long),
            window: changes.window.unwrap_or(window),
            fit: student.then(|| changes.fit.unwrap_or(Fit::Stride)),
            logit_scale: changes.logit_scale.unwrap_or(scale),
            denoise: changes.denoise.unwrap_or(denoise),
            prob_threshold: changes.prob_threshold.unwrap_or(threshold),
            area_threshold: changes.area_threshold.unwrap_or(area),
            names: changes.names.clone().unwrap_or(protocol.names().into()),
        };
        settings.check(changes, student, background)?;
        Ok(settings)
    }

    fn check(&self, changes: &Changes, student: bool, background: bool) -> Result<()> {
        let fault = |reason: &str| Err(Error::usage(reason));
        if self.long_side < self.short_side {
            return Err(Error::usage(format!(
                "--long-side {} is below --short-side {}",
                self.long_side, self.short_side
            )));
        }
        if changes.fit.is_some() && !student {
            return fault("--fit is for students; teachers see windows as they are");
        }
        if changes.fit == Some(Fit::Stride) && self.window.is_none() {
            return fault("--fit stride needs windows; leave it out, or give --crop");
        }
        if self.denoise > 0.0 && !student {
            return fault(
                "--denoise is RADSeg's step on probabilities and goes with students; teachers' code has --area-threshold",
            );
        }
        if self.area_threshold > 0.0 && student {
            return fault("--area-threshold is SCLIP's step and goes with CLIP teachers");
        }
        if (self.prob_threshold > 0.0 || self.area_threshold > 0.0) && !background {
            return fault(
                "--prob-threshold and --area-threshold need a class for the background as the first one; these classes have none, so pixels would fall into an ordinary class",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(protocol: Protocol, set: &str, family: TextFamily) -> Settings {
        let changes = Changes {
            protocol: Some(protocol),
            ..Changes::default()
        };
        Settings::new(&changes, Some(set), family, true).unwrap()
    }

    #[test]
    fn rows_of_the_configs() {
        let voc21 = settings(Protocol::Sclip, "voc21", TextFamily::Clip);
        assert_eq!((voc21.short_side, voc21.window), (336, Some((224, 112))));
        assert_eq!(voc21.logit_scale, 65.0);
        assert_eq!((voc21.prob_threshold, voc21.area_threshold), (0.1, 0.1));
        let city = settings(Protocol::RadsegHigh, "cityscapes", TextFamily::Radio);
        assert_eq!((city.short_side, city.long_side), (1344, 2688));
        assert_eq!((city.logit_scale, city.denoise), (100.0, 0.5));
        let whole = settings(Protocol::Naclip, "voc20", TextFamily::Clip);
        assert_eq!(whole.window, None);
        let own = Settings::new(&Changes::default(), None, TextFamily::Radio, false).unwrap();
        assert_eq!((own.protocol, own.short_side), (Protocol::RadsegMid, 576));
        assert_eq!(own.row, "ade20k");
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        let refused = |changes: Changes, family| {
            Settings::new(&changes, Some("ade20k"), family, false)
                .unwrap_err()
                .to_string()
        };
        let threshold = Changes {
            prob_threshold: Some(0.2),
            ..Changes::default()
        };
        assert!(refused(threshold, TextFamily::Clip).contains("background"));
        let denoise = Changes {
            denoise: Some(0.2),
            ..Changes::default()
        };
        assert!(refused(denoise, TextFamily::Clip).contains("students"));
    }
}
