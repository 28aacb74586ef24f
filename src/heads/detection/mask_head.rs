//! A mask of each detection (He et al. 2017, spec/coco.md §4.6).

use super::box_head::{Chosen, positions};
use super::layers::{ChannelNorm, Conv, Deconv};
use super::parameters::{Init, Place};
use super::pooling;
use super::regions::roi_align;
use super::{DetectorOptions, HeadKind, Target};
use crate::runtime::shim::RoiAlign;
use crate::{Error, Result};
use tch::{Kind, Reduction, Tensor};

/// Side of the pooled features.
pub const SIDE: i64 = 14;
/// Side of the masks.
pub const MASK_SIDE: i64 = 28;

pub struct MaskHead {
    convs: Vec<(Conv, Option<ChannelNorm>)>,
    up: Deconv,
    logits: Conv,
}

impl MaskHead {
    /// `place`: of `roi_heads`.
    pub fn new(place: &Place, options: &DetectorOptions) -> Result<Self> {
        let channels = options.channels;
        let msra = |_: i64, fan_out: i64| Init::msra(fan_out);
        let convs = (0..options.mask_depth).map(|i| {
            let place = place.at("mask_head").at(i);
            let size = (channels, channels);
            Ok(match options.kind {
                HeadKind::MaskVitdet => (
                    Conv::without_bias(&place.at(0), size, 3, msra)?,
                    Some(ChannelNorm::new(&place.at(1), channels)?),
                ),
                _ => (Conv::new(&place.at(0), size, 3, msra)?, None),
            })
        });
        let convs = convs.collect::<Result<_>>()?;
        let predictor = place.at("mask_predictor");
        let hidden = options.mask_hidden;
        let up_init = Init::msra(hidden * 4);
        let normal = |_: i64, _: i64| Init::Normal { std: 0.001 };
        Ok(MaskHead {
            convs,
            up: Deconv::new(&predictor.at("conv5_mask"), (channels, hidden), up_init)?,
            logits: Conv::new(
                &predictor.at("mask_fcn_logits"),
                (hidden, options.classes),
                1,
                normal,
            )?,
        })
    }

    /// Pooled features `[K,C,14,14]` -> logits `[K,classes,28,28]`.
    pub fn forward(&self, pooled: &Tensor) -> Tensor {
        let mut x = pooled.shallow_clone();
        for (conv, norm) in &self.convs {
            x = conv.forward(&x);
            if let Some(norm) = norm {
                x = norm.forward(&x);
            }
            x = x.relu();
        }
        let up = self.up.forward(&x.contiguous()).relu();
        self.logits.forward(&up).to_kind(Kind::Float)
    }

    /// The loss over the chosen proposals that have an object.
    pub fn loss(&self, pyramid: &[Tensor], chosen: &Chosen, targets: &[Target]) -> Result<Tensor> {
        let device = pyramid[0].device();
        let on_device = |list: &[i64]| Tensor::from_slice(list).to_device(device);
        let (mut boxes, mut labels, mut goals) = (Vec::new(), Vec::new(), Vec::new());
        for (image, target) in targets.iter().enumerate() {
            let positive = positions(&chosen.labels[image]);
            let own = chosen.boxes[image].index_select(0, &on_device(&positive));
            let pick =
                |list: &[i64]| -> Vec<i64> { positive.iter().map(|&i| list[i as usize]).collect() };
            labels.extend(pick(&chosen.labels[image]));
            if !positive.is_empty() {
                let objects = on_device(&pick(&chosen.objects[image]));
                goals.push(project(target, &objects, &own)?);
            }
            boxes.push(own);
        }
        let pooled = pooling::pool(pyramid, &pooling::regions(&boxes), SIDE)?;
        let logits = self.forward(&pooled);
        if goals.is_empty() {
            return Ok(logits.sum(Kind::Float) * 0.0);
        }
        let rows = Tensor::arange(labels.len() as i64, (Kind::Int64, device));
        let own = logits.index(&[Some(&rows), Some(&on_device(&labels))]);
        let none: Option<&Tensor> = None;
        let goals = Tensor::cat(&goals, 0);
        Ok(own.binary_cross_entropy_with_logits(&goals, none, none, Reduction::Mean))
    }

    /// Probabilities `[N,28,28]` of the masks of detections `[N,4]` of classes `labels`, `image` by
    /// image.
    pub fn detect(
        &self,
        pyramid: &[Tensor],
        boxes: &[Tensor],
        labels: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let counts: Vec<i64> = boxes.iter().map(|b| b.size()[0]).collect();
        let pooled = pooling::pool(pyramid, &pooling::regions(boxes), SIDE)?;
        let logits = self.forward(&pooled);
        let rows = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
        let own = logits
            .index(&[Some(&rows), Some(&Tensor::cat(labels, 0))])
            .sigmoid();
        Ok(own.split_with_sizes(counts, 0))
    }
}

/// What the masks `[P,28,28]` of boxes `[P,4]` should be: RoIAlign of their objects' masks, with as
/// many samples as a bin has pixels.
pub fn project(target: &Target, objects: &Tensor, boxes: &Tensor) -> Result<Tensor> {
    let masks = target.masks.as_ref().ok_or_else(|| {
        Error::model("an image to train masks on has no masks; use --head-type faster-rcnn")
    })?;
    let _no_grad = tch::no_grad_guard();
    let masks = masks.to_kind(Kind::Float).unsqueeze(1);
    let rois = Tensor::cat(&[&objects.to_kind(Kind::Float).unsqueeze(1), boxes], 1);
    let settings = RoiAlign {
        size: (MASK_SIDE, MASK_SIDE),
        scale: 1.0,
        ratio: -1,
        aligned: false,
    };
    Ok(roi_align(&masks, &rois, &settings)?.squeeze_dim(1))
}
