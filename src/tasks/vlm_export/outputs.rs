//! Which tensors an export holds, and how they come out of one pass.

use crate::models::{
    Backbone, Features, Indices, Intermediate, IntermediateRequest, Request, backbone,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// LayerNorm eps of `--norm layernorm` (torch's default).
const NORM_EPS: f64 = 1e-5;
/// Side of the square of tokens that `--merge` makes one.
pub const MERGE: i64 = 2;

/// A layer whose tokens are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The network's own spatial features, behind its final norm.
    Final,
    /// What a block gives, before any final norm; negative numbers count from the end, as in
    /// LLaVA's `mm_vision_select_layer`.
    Block(i64),
}

impl std::str::FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("final", _) => Ok(Layer::Final),
            (_, Ok(block)) => Ok(Layer::Block(block)),
            _ => Err("use final, or a block's number (-2 is the last but one)".into()),
        }
    }
}

/// What is done to tokens before they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    #[default]
    None,
    /// Each token to mean 0 and variance 1 over its channels (eps 1e-5, no weights).
    LayerNorm,
}

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub layers: Vec<Layer>,
    pub summary: bool,
    pub adaptors: Vec<String>,
    pub norm: Norm,
    /// Four neighbouring tokens become one of four times the width.
    pub merge: bool,
}

/// What the rows of an output stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// `rows_per_unit` rows for each token of the index.
    Token,
    /// One row per view.
    View,
}

/// A tensor of the shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
    pub unit: Unit,
    /// Rows for each token (an adaptor may make u x u of one), 1 for views.
    pub rows_per_unit: i64,
    pub channels: i64,
}

/// The outputs of a pass: (name, [views, tokens, channels] or [views, channels], grid).
type Made = Vec<(String, Tensor, Option<(i64, i64)>)>;

impl Wanted {
    fn request(&self) -> Request {
        let blocks: Vec<i64> = (self.layers.iter())
            .filter_map(|layer| match layer {
                Layer::Block(number) => Some(*number),
                Layer::Final => None,
            })
            .collect();
        let needs_end =
            self.layers.contains(&Layer::Final) || self.summary || !self.adaptors.is_empty();
        Request {
            adaptors: self.adaptors.clone(),
            intermediates: (!blocks.is_empty()).then(|| IntermediateRequest {
                stop_early: !needs_end,
                ..IntermediateRequest::new(Indices::Blocks(blocks))
            }),
        }
    }

    /// One pass over pixels `[views,3,H,W]`: each output by name, on the CPU, in fp32.
    pub fn run(&self, network: &dyn Backbone, pixels: &Tensor) -> Result<Made> {
        let features = backbone::run(network, pixels, &self.request())?;
        let mut made: Made = Vec::new();
        for name in self.spatial_names(&features)? {
            let (tokens, grid) = self.spatial(&features, &name)?;
            let (tokens, grid) = self.treated(tokens, grid)?;
            made.push((name, tokens, Some(grid)));
        }
        let summaries = self.summary.then_some(None).into_iter();
        for adaptor in summaries.chain(self.adaptors.iter().map(Some)) {
            let name = adaptor.map_or("summary".to_string(), |a| format!("{a}.summary"));
            let summary = features.summary_of(adaptor.map(String::as_str))?;
            made.push((name, summary.f_to_kind(Kind::Float)?, None));
        }
        (made.into_iter())
            .map(|(name, tensor, grid)| Ok((name, tensor.f_to_device(Device::Cpu)?, grid)))
            .collect()
    }

    /// Names of the spatial outputs, in the order of the file.
    fn spatial_names(&self, features: &Features) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if self.layers.contains(&Layer::Final) {
            names.push("spatial".to_string());
        }
        names.extend(features.intermediates.iter().map(layer_name));
        for name in &self.adaptors {
            if features
                .adaptors
                .get(name)
                .is_some_and(|a| a.spatial.is_some())
            {
                names.push(format!("{name}.spatial"));
            }
        }
        if names.is_empty() && !self.summary && self.adaptors.is_empty() {
            return Err(Error::usage(
                "nothing is asked for; name a --layer, or --summary",
            ));
        }
        Ok(names)
    }

    fn spatial(&self, features: &Features, name: &str) -> Result<(Tensor, (i64, i64))> {
        if name == "spatial" {
            return Ok((features.spatial.shallow_clone(), features.grid));
        }
        if let Some(one) = features
            .intermediates
            .iter()
            .find(|i| layer_name(i) == name)
        {
            return Ok((one.spatial.shallow_clone(), one.grid));
        }
        let adaptor = name
            .strip_suffix(".spatial")
            .and_then(|a| features.adaptors.get(a));
        let spatial = adaptor.and_then(|a| a.spatial.as_ref());
        let (tokens, grid) =
            spatial.ok_or_else(|| Error::model(format!("the features carry no `{name}`")))?;
        Ok((tokens.shallow_clone(), *grid))
    }

    /// Norm and merging of tokens [views, h*w, C].
    fn treated(&self, tokens: Tensor, grid: (i64, i64)) -> Result<(Tensor, (i64, i64))> {
        let mut tokens = tokens.f_to_kind(Kind::Float)?;
        let (views, _, channels) = tokens.size3()?;
        if self.norm == Norm::LayerNorm {
            let none = None::<&Tensor>;
            tokens = tokens.f_layer_norm([channels], none, none, NORM_EPS, true)?;
        }
        if !self.merge {
            return Ok((tokens, grid));
        }
        let (h, w) = grid;
        if h % MERGE != 0 || w % MERGE != 0 {
            return Err(Error::model(format!(
                "--merge joins {MERGE}x{MERGE} tokens, and a grid of {h}x{w} does not divide"
            )));
        }
        let merged = (h / MERGE, w / MERGE);
        let tokens = tokens
            .f_view([views, merged.0, MERGE, merged.1, MERGE, channels])?
            .f_permute([0, 1, 3, 2, 4, 5])? // row in the square, column, channel
            .f_reshape([views, merged.0 * merged.1, MERGE * MERGE * channels])?;
        Ok((tokens, merged))
    }

    /// The outputs that pixels `[1,3,H,W]` give, and the token grid that the index counts by: that
    /// of the first spatial output.
    pub fn probe(
        &self,
        network: &dyn Backbone,
        pixels: &Tensor,
    ) -> Result<(Vec<Output>, (i64, i64))> {
        let made = self.run(network, pixels)?;
        let grid = made.iter().find_map(|(_, _, grid)| *grid).unwrap_or((0, 0));
        let base = (grid.0 * grid.1).max(1);
        let mut outputs = Vec::new();
        for (name, tensor, own) in made {
            let channels = tensor.size().last().copied().unwrap_or(0);
            let rows_per_unit = match own {
                None => 1,
                Some((h, w)) if (h * w) % base == 0 => h * w / base,
                Some((h, w)) => {
                    return Err(Error::model(format!(
                        "`{name}` has a grid of {h}x{w}, which no whole number of rows per token makes of {}x{}; export it on its own",
                        grid.0, grid.1
                    )));
                }
            };
            outputs.push(Output {
                name,
                unit: if own.is_some() {
                    Unit::Token
                } else {
                    Unit::View
                },
                rows_per_unit,
                channels,
            });
        }
        Ok((outputs, grid))
    }
}

fn layer_name(layer: &Intermediate) -> String {
    format!("layer.{}", layer.block)
}
