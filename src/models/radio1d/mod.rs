//! RADIO1D: a RADIO whose picture is a code of 1 to 256 tokens (`nvidia/C-RADIOv4-1D-H`, ICML
//! 2026), and a decoder that makes features per patch of it.
//!
//! ```text
//! radio-eval imagenet --model c-radio_v4-1d-h --tokens 1,16,256 --neck tokens --data imagenet-1k
//! ```
//!
//! spec/radio1d.md gives the facts; fields are the keys of upstream's module.

mod decoder;
mod encoder;
mod load;
mod rate;
mod shape;

pub use load::Radio1dArchitecture;
pub use shape::{MOST_TOKENS, Shape};

use super::normalise::Normalise;
use super::radio::patch::PatchGenerator;
use super::request::{Aggregation, BlockPlan, Request};
use super::student::adaptor::Adaptor;
use super::student::patch_grid;
use super::{Backbone, BackboneInfo, Features, Intermediate};
use crate::{Error, Result};
use decoder::Decoder;
use encoder::{Code, Encoder};
use tch::Tensor;

/// What of the network makes the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Neck {
    /// The decoder's summary [B, m*C] and a feature per patch [B, h*w, C]; adaptors read these.
    #[default]
    Decoder,
    /// The encoder's summary [B, m*C'] and its code [B, n, C'], with zeros behind the tokens that a
    /// picture has where the model chose their number.
    Encoder,
    /// The mean of the code's tokens [B, C'], and the code.
    Tokens,
}

impl Neck {
    pub fn name(self) -> &'static str {
        match self {
            Neck::Decoder => "decoder",
            Neck::Encoder => "encoder",
            Neck::Tokens => "tokens",
        }
    }
}

/// What the user says about a RADIO1D.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodeOptions {
    /// Tokens of the code; as many as there are by default. -n: the model chooses for each picture,
    /// told that n are wanted (dynamic rate).
    pub tokens: Option<i64>,
    /// The last tokens of the merged grid, instead of the first (upstream's `use_last_tokens`).
    pub last: bool,
    /// [`Neck::Decoder`] by default.
    pub neck: Option<Neck>,
}

/// A RADIO1D student with one of its necks.
pub struct Radio1d {
    shape: Shape,
    info: BackboneInfo,
    input_conditioner: Normalise,
    patch_generator: PatchGenerator,
    encoder: Encoder,
    decoder: Decoder,
    adaptors: Vec<Adaptor>,
    /// Indices of the summary's cls tokens, on the device.
    summary_idxs: Tensor,
    neck: Neck,
    /// n that was asked for; all there are by default.
    tokens: Option<i64>,
    /// The last of them instead of the first.
    last: bool,
}

impl Radio1d {
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is asked of the encoder for an input with this patch grid: the tokens wanted, as far as
    /// there are so many (floor(h w / 4^M)).
    fn code_request(&self, grid: (i64, i64)) -> encoder::Request {
        let limit = self.shape.token_limit(grid);
        encoder::Request {
            limit,
            tokens: self.tokens.map_or(limit, |n| n.min(limit)),
            last: self.last,
        }
    }

    /// The code of x `[B,3,H,W]` in `[0,1]`, and what the chosen blocks of the encoder give. All
    /// blocks run, whatever the request says about stopping: the code needs them.
    fn encode(
        &self,
        x: &Tensor,
        grid: (i64, i64),
        request: &Request,
    ) -> Result<(Code, Vec<Intermediate>)> {
        let wanted = self.code_request(grid);
        if wanted.limit == 0 {
            return Err(Error::usage(format!(
                "a picture of {}x{} patches is too small for a single token; take a larger --resolution",
                grid.0, grid.1
            )));
        }
        let plan = BlockPlan::new(request, self.encoder.depth())?;
        if let Some(wanted) = &request.intermediates
            && (wanted.aggregation == Aggregation::Dense || wanted.norm)
        {
            return Err(Error::usage(
                "RADIO1D's blocks have grids and widths of their own: their features are given one by one and without a norm",
            ));
        }
        let mut intermediates = Vec::new();
        let p = self.shape.prefix_tokens;
        let read = |block: usize, tokens: &Tensor, grid: (i64, i64)| {
            if plan.is_chosen(block) {
                intermediates.push(Intermediate {
                    block,
                    summary: Some(self.summary_of(&tokens.narrow(1, 0, p))),
                    spatial: tokens.narrow(1, p, grid.0 * grid.1),
                    grid,
                });
            }
        };
        let tokens = self
            .patch_generator
            .forward(&self.input_conditioner.forward(x));
        let code = self.encoder.forward(tokens, grid, wanted, read);
        Ok((code, intermediates))
    }

    /// The summary's cls tokens of [B, P, C], one behind the other: [B, m*C].
    fn summary_of(&self, prefix: &Tensor) -> Tensor {
        prefix.index_select(1, &self.summary_idxs).flatten(1, 2)
    }
}

impl Backbone for Radio1d {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn code_length(&self, height: i64, width: i64) -> Option<i64> {
        let patch = self.shape.patch;
        let wanted = self.code_request((height / patch, width / patch));
        (wanted.tokens > 0).then_some(wanted.tokens)
    }

    fn set_code_length(&mut self, tokens: i64) -> Result<()> {
        self.shape.check_tokens(tokens)?;
        self.tokens = Some(tokens);
        self.info.settings.insert("tokens".into(), tokens.into());
        Ok(())
    }

    fn has_spatial_map(&self) -> bool {
        self.neck == Neck::Decoder
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        let grid = patch_grid(x, self.shape.patch)?;
        let (code, intermediates) = self.encode(x, grid, request)?;
        let of_code = |summary: Tensor, intermediates| Features {
            summary,
            grid: (1, code.tokens.size()[1]),
            spatial: code.tokens.shallow_clone(),
            adaptors: Default::default(),
            intermediates,
        };
        match self.neck {
            Neck::Encoder => Ok(of_code(self.summary_of(&code.prefix), intermediates)),
            Neck::Tokens => Ok(of_code(code.mean(), intermediates)),
            Neck::Decoder => {
                let tokens = self.decoder.forward(&code, grid);
                let p = self.shape.prefix_tokens;
                let spatial = tokens.narrow(1, p, grid.0 * grid.1);
                let adaptors = (self.adaptors.iter())
                    .filter(|adaptor| request.wants(&adaptor.name))
                    .map(|adaptor| {
                        let cls = tokens.select(1, adaptor.token);
                        let features = adaptor.forward(&cls, &spatial, grid);
                        (adaptor.name.clone(), features)
                    })
                    .collect();
                Ok(Features {
                    summary: self.summary_of(&tokens.narrow(1, 0, p)),
                    spatial,
                    grid,
                    adaptors,
                    intermediates,
                })
            }
        }
    }
}
