//! The published ways to compare patches with text, with their constants (spec/open_vocabulary.md
//! §2).

use crate::models::dense::{LastAttention, LastBlock, TextFamily};
use crate::models::positions::Resample;
use crate::{Error, Result};
use serde::Serialize;

/// RADSeg's scales of both correlations (`radseg.py`:157-158).
const RADSEG_SCALE: f64 = 10.0;
/// Patches over which neighbours count: RayFronts' `naradio.py`:182, NACLIP's `naclip.py`:21.
const NARADIO_SIGMA: f64 = 7.0;
const NACLIP_SIGMA: f64 = 5.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Plain,
    Radseg,
    Naradio,
    Maskclip,
    MaskclipReduced,
    Sclip,
    Naclip,
    Clearclip,
    SiglipValue,
}

/// Constants the user chose; `None`: the method's own.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chosen {
    pub scra_scale: Option<f64>,
    pub scga_scale: Option<f64>,
    pub sigma: Option<f64>,
}

/// The constants of a method; `None` where it has no such.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Constants {
    pub scra_scale: Option<f64>,
    pub scga_scale: Option<f64>,
    pub sigma: Option<f64>,
}

impl Method {
    /// By the word of flags and records.
    pub fn name(self) -> &'static str {
        match self {
            Method::Plain => "plain",
            Method::Radseg => "radseg",
            Method::Naradio => "naradio",
            Method::Maskclip => "maskclip",
            Method::MaskclipReduced => "maskclip-reduced",
            Method::Sclip => "sclip",
            Method::Naclip => "naclip",
            Method::Clearclip => "clearclip",
            Method::SiglipValue => "siglip-value",
        }
    }

    /// What a family can do, its default first.
    pub fn known(family: TextFamily) -> &'static [Method] {
        match family {
            TextFamily::Radio => &[Method::Radseg, Method::Plain, Method::Naradio],
            TextFamily::ERadio => &[Method::Plain],
            TextFamily::Clip => &[
                Method::Maskclip,
                Method::Plain,
                Method::MaskclipReduced,
                Method::Sclip,
                Method::Naclip,
                Method::Clearclip,
            ],
            TextFamily::Siglip => &[Method::SiglipValue],
        }
    }

    /// The method asked for, or the family's default.
    ///
    /// # Errors
    /// A method that networks of this family have no layers for.
    pub fn choose(asked: Option<Method>, family: TextFamily, architecture: &str) -> Result<Method> {
        let known = Method::known(family);
        let Some(method) = asked else {
            return Ok(known[0]);
        };
        if known.contains(&method) {
            return Ok(method);
        }
        let names: Vec<&str> = known.iter().map(|method| method.name()).collect();
        Err(Error::usage(format!(
            "--method {} cannot be used with {architecture}; there is {}",
            method.name(),
            names.join(", ")
        )))
    }

    /// The method's constants, changed as the user chose.
    ///
    /// # Errors
    /// A constant that the method does not have.
    pub fn constants(self, chosen: Chosen) -> Result<Constants> {
        let radseg = (self == Method::Radseg).then_some(RADSEG_SCALE);
        let sigma = match self {
            Method::Naradio => Some(NARADIO_SIGMA),
            Method::Naclip => Some(NACLIP_SIGMA),
            _ => None,
        };
        let take = |flag: &str, chosen: Option<f64>, usual: Option<f64>| match (chosen, usual) {
            (Some(_), None) => Err(Error::usage(format!(
                "{flag} does nothing: the method {} has no such constant; leave it out",
                self.name()
            ))),
            (chosen, usual) => Ok(chosen.or(usual)),
        };
        Ok(Constants {
            scra_scale: take("--scra-scale", chosen.scra_scale, radseg)?,
            scga_scale: take("--scga-scale", chosen.scga_scale, radseg)?,
            sigma: take("--sigma", chosen.sigma, sigma)?,
        })
    }

    /// What it makes of the last block.
    pub fn last_block(self, constants: &Constants) -> LastBlock {
        let sigma = constants.sigma.unwrap_or(NACLIP_SIGMA);
        let scale = constants.scra_scale.unwrap_or(RADSEG_SCALE);
        let of_student = |attention| LastBlock {
            attention,
            ..LastBlock::ORDINARY
        };
        // SCLIP's tower, which NACLIP and ClearCLIP start from, resamples positions by rule C.
        let of_clip = |attention, residual, positions| LastBlock {
            attention,
            residual,
            positions: Some(positions),
        };
        let offset = Resample::PlainOffset;
        match self {
            Method::Plain | Method::SiglipValue => LastBlock::ORDINARY,
            Method::Radseg => of_student(LastAttention::Recursive { scale }),
            Method::Naradio => of_student(LastAttention::Neighbours { sigma }),
            Method::Maskclip => of_clip(LastAttention::Value, true, Resample::Plain),
            Method::MaskclipReduced => of_clip(LastAttention::Value, false, offset),
            Method::Sclip => of_clip(LastAttention::QueriesAndKeys, true, offset),
            Method::Naclip => of_clip(LastAttention::Neighbours { sigma }, false, offset),
            Method::Clearclip => of_clip(LastAttention::Queries, false, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_family_or_a_method_lacks_is_refused() {
        let refused = Method::choose(Some(Method::Radseg), TextFamily::Clip, "CLIP ViT-B/16");
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("there is maskclip, plain")
        );
        assert_eq!(
            Method::choose(None, TextFamily::Radio, "").unwrap(),
            Method::Radseg
        );
        let sigma = Chosen {
            sigma: Some(3.0),
            ..Chosen::default()
        };
        assert!(Method::Radseg.constants(sigma).is_err());
        assert_eq!(Method::Naclip.constants(sigma).unwrap().sigma, Some(3.0));
    }
}
