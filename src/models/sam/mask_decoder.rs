//! SAM's mask decoder: from image embedding and prompts to four masks with a predicted IoU each
//! (segment-anything `mask_decoder.py`, spec/coco.md §1.5).

use super::decoder_config::DecoderConfig;
use super::transformer::TwoWayTransformer;
use super::{MAP_EPS, layer_norm_2d};
use crate::Result;
use crate::models::layers::{LayerNorm, Linear};
use crate::weights::Params;
use tch::Tensor;

/// What the decoder makes of `P` prompts.
pub struct Masks {
    /// `[P,4,4h,4w]`: logits, the first mask for prompts that are clear.
    pub logits: Tensor,
    /// `[P,4]`: IoU the decoder expects of each; a linear output, which may exceed 1.
    pub iou: Tensor,
}

/// Linear layers with ReLU between them.
struct Perceptron {
    layers: Vec<Linear>,
}

impl Perceptron {
    fn new(p: &Params, sizes: &[i64]) -> Result<Self> {
        let layer =
            |(i, pair): (usize, &[i64])| Linear::new(p.pp("layers").pp(i), pair[0], pair[1], true);
        let layers = sizes.windows(2).enumerate().map(layer);
        Ok(Perceptron {
            layers: layers.collect::<Result<_>>()?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = x.shallow_clone();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x);
            if i + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        x
    }
}

pub struct MaskDecoder {
    transformer: TwoWayTransformer,
    /// `[1+masks,C]`: that of the predicted IoU, then one per mask.
    tokens: Tensor,
    /// Fields by the keys `0`, `1`, `3`.
    upscale1: (Tensor, Tensor),
    upscale_norm: LayerNorm,
    upscale2: (Tensor, Tensor),
    hypernetworks: Vec<Perceptron>,
    iou_head: Perceptron,
}

impl MaskDecoder {
    pub fn new(p: &Params, config: &DecoderConfig) -> Result<Self> {
        let (width, masks) = (config.width, config.masks);
        let upscaling = p.pp("output_upscaling");
        let conv = |key: i64, input: i64, out: i64| -> Result<(Tensor, Tensor)> {
            let p = upscaling.pp(key);
            Ok((
                p.get("weight", &[input, out, 2, 2])?,
                p.get("bias", &[out])?,
            ))
        };
        let networks = p.pp("output_hypernetworks_mlps");
        let network = |i| Perceptron::new(&networks.pp(i), &[width, width, width, width / 8]);
        let mut sizes = vec![config.iou_hidden; config.iou_depth as usize + 1];
        (sizes[0], sizes[config.iou_depth as usize]) = (width, masks);
        let iou_token = p.pp("iou_token").get("weight", &[1, width])?;
        let mask_tokens = p.pp("mask_tokens").get("weight", &[masks, width])?;
        Ok(MaskDecoder {
            transformer: TwoWayTransformer::new(&p.pp("transformer"), config)?,
            tokens: Tensor::cat(&[iou_token, mask_tokens], 0),
            upscale1: conv(0, width, width / 4)?,
            upscale_norm: LayerNorm::new(upscaling.pp(1), width / 4, MAP_EPS)?,
            upscale2: conv(3, width / 4, width / 8)?,
            hypernetworks: (0..masks).map(network).collect::<Result<_>>()?,
            iou_head: Perceptron::new(&p.pp("iou_prediction_head"), &sizes)?,
        })
    }

    /// image: `[1,C,h,w]`, the embedding; sparse: `[P,T,C]`; dense: `[P,C,h,w]` or `[1,C,h,w]`;
    /// positions: `[1,C,h,w]`.
    pub fn forward(
        &self,
        image: &Tensor,
        sparse: &Tensor,
        dense: &Tensor,
        positions: &Tensor,
    ) -> Masks {
        let (prompts, own) = (sparse.size()[0], self.tokens.size()[0]);
        let tokens = self.tokens.unsqueeze(0).expand([prompts, -1, -1], false);
        let tokens = Tensor::cat(&[&tokens, sparse], 1);
        let in_rows = |map: &Tensor| map.flatten(2, 3).transpose(1, 2);
        let source = in_rows(&(image + dense)).contiguous();
        let (seen, image_tokens) =
            self.transformer
                .forward(&tokens, &source, &in_rows(positions).contiguous());

        let size = image.size();
        let map = image_tokens
            .transpose(1, 2)
            .reshape([-1, size[1], size[2], size[3]]);
        let up = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| {
            x.conv_transpose2d(weight, Some(bias), [2, 2], [0, 0], [0, 0], 1, [1, 1])
        };
        let map = layer_norm_2d(&self.upscale_norm, &up(&map, &self.upscale1)).gelu("none");
        let map = up(&map, &self.upscale2).gelu("none");

        let weigh =
            |(i, network): (usize, &Perceptron)| network.forward(&seen.select(1, 1 + i as i64));
        let weights: Vec<Tensor> = self.hypernetworks.iter().enumerate().map(weigh).collect();
        let (height, width) = (map.size()[2], map.size()[3]);
        let logits = Tensor::stack(&weights, 1).matmul(&map.flatten(2, 3));
        Masks {
            logits: logits.view([prompts, own - 1, height, width]),
            iou: self.iou_head.forward(&seen.select(1, 0)),
        }
    }
}
