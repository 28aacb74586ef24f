//! SAM's prompt encoder: clicks and boxes become tokens, a mask becomes a map (segment-anything
//! `prompt_encoder.py`, spec/coco.md §1.4).

use super::decoder_config::DecoderConfig;
use super::layer_norm_2d;
use crate::Result;
use crate::models::layers::LayerNorm;
use crate::weights::Params;
use std::f64::consts::PI;
use tch::{Device, Kind, Tensor};

/// From corner or pixel index to the pixel's centre.
const CENTRE: f64 = 0.5;

/// What the decoder is asked about; `P` prompts at a time, all of one image. Coordinates are in
/// pixels of SAM's own input (x, y).
#[derive(Default)]
pub struct Prompts {
    /// `[P,n,2]` and `[P,n]`: clicks, and 1 (inside), 0 (outside) or -1 (no click) for each.
    pub points: Option<(Tensor, Tensor)>,
    /// `[P,4]`: left, top, right, bottom.
    pub boxes: Option<Tensor>,
    /// `[P,1,4h,4w]`: logits of an earlier answer, four to a cell of the grid per axis.
    pub masks: Option<Tensor>,
}

pub struct PromptEncoder {
    /// `[2,C/2]`
    gaussian: Tensor,
    /// Outside, inside, left top, right bottom: `[1,C]` each.
    points: Vec<Tensor>,
    no_point: Tensor,
    no_mask: Tensor,
    mask: MaskDownscaling,
    /// `[1,C,h,w]`
    dense_positions: Tensor,
    /// Cells per side of the grid.
    side: i64,
    /// Pixels per side of SAM's input.
    image: f64,
}

/// Fields by the keys `0`, `1`, `3`, `4`, `6`.
struct MaskDownscaling {
    conv1: (Tensor, Tensor),
    norm1: LayerNorm,
    conv2: (Tensor, Tensor),
    norm2: LayerNorm,
    conv3: (Tensor, Tensor),
}

/// Weight and bias of a convolution `[out,in,k,k]`.
fn conv(p: &Params, out: i64, input: i64, side: i64) -> Result<(Tensor, Tensor)> {
    Ok((
        p.get("weight", &[out, input, side, side])?,
        p.get("bias", &[out])?,
    ))
}

impl PromptEncoder {
    /// `p` is the root: transformers keeps the Gaussian matrix beside the prompt encoder, and once
    /// more inside it.
    pub fn new(root: &Params, config: &DecoderConfig) -> Result<Self> {
        let p = root.pp("prompt_encoder");
        let width = config.width;
        const GAUSSIAN: [&str; 3] = [
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
            "shared_image_embedding.positional_embedding",
            "prompt_encoder.shared_embedding.positional_embedding",
        ];
        let stored = GAUSSIAN.into_iter().find(|name| root.has(name));
        let gaussian = root.buffer(stored.unwrap_or(GAUSSIAN[0]), &[2, width / 2])?;
        GAUSSIAN.iter().for_each(|name| root.skip(name));
        let embedding = |p: Params| p.get("weight", &[1, width]);
        let points = (0..4).map(|i| embedding(p.pp("point_embeddings").pp(i)));
        let (mask, channels) = (p.pp("mask_downscaling"), config.mask_channels);
        let norm = |p: Params, dim| LayerNorm::new(p, dim, super::MAP_EPS);
        let mut encoder = PromptEncoder {
            points: points.collect::<Result<_>>()?,
            no_point: embedding(p.pp("not_a_point_embed"))?,
            no_mask: embedding(p.pp("no_mask_embed"))?,
            mask: MaskDownscaling {
                conv1: conv(&mask.pp(0), channels / 4, 1, 2)?,
                norm1: norm(mask.pp(1), channels / 4)?,
                conv2: conv(&mask.pp(3), channels, channels / 4, 2)?,
                norm2: norm(mask.pp(4), channels)?,
                conv3: conv(&mask.pp(6), width, channels, 1)?,
            },
            dense_positions: Tensor::zeros([0], (Kind::Float, Device::Cpu)),
            gaussian,
            side: config.side,
            image: (config.side * config.patch) as f64,
        };
        encoder.dense_positions = encoder.grid_positions();
        Ok(encoder)
    }

    /// Positions of the cells of the grid: `[1,C,h,w]`.
    pub fn dense_positions(&self) -> &Tensor {
        &self.dense_positions
    }

    fn grid_positions(&self) -> Tensor {
        let options = (Kind::Float, self.gaussian.device());
        let centres = (Tensor::arange(self.side, options) + CENTRE) / self.side as f64;
        let x = centres.unsqueeze(0).expand([self.side, self.side], false);
        let y = centres.unsqueeze(1).expand([self.side, self.side], false);
        let positions = self.positions(&Tensor::stack(&[x, y], -1));
        positions.permute([2, 0, 1]).unsqueeze(0).contiguous()
    }

    /// Random Fourier features of places (x, y) in `[0,1]`: `[..,2]` -> `[..,C]`.
    fn positions(&self, places: &Tensor) -> Tensor {
        let z = (places * 2.0 - 1.0).matmul(&self.gaussian) * (2.0 * PI);
        Tensor::cat(&[z.sin(), z.cos()], -1)
    }

    /// Tokens `[P,T,C]` of clicks and boxes, and the map `[P,C,h,w]` of the mask; `[1,C,h,w]`
    /// without one, for all prompts alike.
    pub fn encode(&self, prompts: &Prompts) -> (Tensor, Tensor) {
        let mut tokens = Vec::new();
        if let Some((points, labels)) = &prompts.points {
            tokens.push(self.points(points, labels, prompts.boxes.is_none()));
        }
        if let Some(boxes) = &prompts.boxes {
            tokens.push(self.boxes(boxes));
        }
        let dense = match &prompts.masks {
            Some(masks) => self.mask.forward(masks),
            None => self
                .no_mask
                .view([1, -1, 1, 1])
                .expand([1, -1, self.side, self.side], false),
        };
        let sparse = match tokens.is_empty() {
            true => self.no_mask.narrow(0, 0, 0).view([1, 0, -1]),
            false => Tensor::cat(&tokens, 1),
        };
        (sparse, dense)
    }

    fn points(&self, points: &Tensor, labels: &Tensor, padded: bool) -> Tensor {
        let (mut points, mut labels) = (points + CENTRE, labels.to_kind(Kind::Float));
        if padded {
            // Without a box a click that is none stands at the end.
            let prompts = points.size()[0];
            let options = (Kind::Float, points.device());
            points = Tensor::cat(&[points, Tensor::zeros([prompts, 1, 2], options)], 1);
            labels = Tensor::cat(&[labels, -Tensor::ones([prompts, 1], options)], 1);
        }
        let labels = labels.unsqueeze(-1);
        let is = |label: f64| labels.eq(label);
        let positions = self.positions(&(points / self.image));
        let tokens = positions.where_self(&is(-1.0).logical_not(), &self.no_point);
        let kind = |tokens: Tensor, label: f64, embedding: &Tensor| {
            (&tokens + embedding).where_self(&is(label), &tokens)
        };
        kind(kind(tokens, 0.0, &self.points[0]), 1.0, &self.points[1])
    }

    fn boxes(&self, boxes: &Tensor) -> Tensor {
        let corners = (boxes + CENTRE).reshape([-1, 2, 2]);
        let kinds = Tensor::cat(&[&self.points[2], &self.points[3]], 0);
        self.positions(&(corners / self.image)) + kinds
    }
}

impl MaskDownscaling {
    fn forward(&self, masks: &Tensor) -> Tensor {
        let conv = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| {
            let stride = weight.size()[2];
            x.conv2d(weight, Some(bias), [stride, stride], [0, 0], [1, 1], 1)
        };
        let x = layer_norm_2d(&self.norm1, &conv(masks, &self.conv1)).gelu("none");
        let x = layer_norm_2d(&self.norm2, &conv(&x, &self.conv2)).gelu("none");
        conv(&x, &self.conv3)
    }
}
