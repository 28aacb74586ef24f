//! The region proposal network (Ren et al. 2015) with torchvision's rules (spec/coco.md §4.6).

use super::anchors;
use super::boxes::{self, BoxCoder};
use super::layers::Conv;
use super::matching::{IGNORED, Matcher, Sampler, Sampling, Stage, on_host};
use super::parameters::{Init, Place};
use super::regions::nms;
use super::{Images, Target};
use crate::Result;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

/// Proposals that overlap a better one by more than this go.
const OVERLAP: f64 = 0.7;
/// Shortest side of a proposal, in pixels.
const LEAST_SIDE: f64 = 1e-3;
/// Where smooth L1 turns from a parabola into a line.
pub const BETA: f64 = 1.0 / 9.0;
/// Anchors per place: one size, three ratios.
const PER_PLACE: i64 = anchors::RATIOS.len() as i64;

/// Numbers of the proposal network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RpnOptions {
    /// Convolutions before the outputs.
    pub depth: usize,
    /// Anchor side of each level, p2 first.
    pub anchor_sizes: Vec<f64>,
    /// Most candidates per level before suppression, in training and in evaluation.
    pub candidates: (i64, i64),
    /// Most proposals per image after it, in training and in evaluation.
    pub proposals: (i64, i64),
    pub sampling: Sampling,
}

pub struct Rpn {
    convs: Vec<Conv>,
    objectness: Conv,
    deltas: Conv,
    options: RpnOptions,
}

/// Outputs of all levels, one behind the other.
pub struct RpnOutput {
    /// `[B,N]` logits
    pub objectness: Tensor,
    /// `[B,N,4]`
    pub deltas: Tensor,
    /// `[N,4]`
    pub anchors: Tensor,
    /// Anchors of each level.
    pub per_level: Vec<i64>,
}

impl Rpn {
    /// `place`: of `rpn`.
    pub fn new(place: &Place, channels: i64, options: RpnOptions) -> Result<Self> {
        let head = place.at("head");
        let normal = |_: i64, _: i64| Init::Normal { std: 0.01 };
        let convs = (0..options.depth)
            .map(|i| {
                let conv = head.at("conv").at(i).at(0);
                Conv::new(&conv, (channels, channels), 3, normal)
            })
            .collect::<Result<_>>()?;
        Ok(Rpn {
            convs,
            objectness: Conv::new(&head.at("cls_logits"), (channels, PER_PLACE), 1, normal)?,
            deltas: Conv::new(&head.at("bbox_pred"), (channels, 4 * PER_PLACE), 1, normal)?,
            options,
        })
    }

    /// Logits and deltas of one level: `[B,3,h,w]`, `[B,12,h,w]`.
    pub fn level(&self, x: &Tensor) -> (Tensor, Tensor) {
        let mut x = x.shallow_clone();
        for conv in &self.convs {
            x = conv.forward(&x).relu();
        }
        let outputs = (self.objectness.forward(&x), self.deltas.forward(&x));
        (
            outputs.0.to_kind(Kind::Float),
            outputs.1.to_kind(Kind::Float),
        )
    }

    pub fn forward(&self, levels: &[Tensor], padded: (i64, i64)) -> RpnOutput {
        let (mut objectness, mut deltas, mut all_anchors) = (Vec::new(), Vec::new(), Vec::new());
        let mut per_level = Vec::new();
        for (level, &size) in levels.iter().zip(&self.options.anchor_sizes) {
            let shape = level.size();
            let (batch, rows, columns) = (shape[0], shape[2], shape[3]);
            let (logits, shifts) = self.level(level);
            objectness.push(logits.permute([0, 2, 3, 1]).reshape([batch, -1]));
            let shifts = shifts.view([batch, PER_PLACE, 4, rows, columns]);
            deltas.push(shifts.permute([0, 3, 4, 1, 2]).reshape([batch, -1, 4]));
            all_anchors.push(anchors::of_level(
                size,
                (rows, columns),
                padded,
                level.device(),
            ));
            per_level.push(rows * columns * PER_PLACE);
        }
        RpnOutput {
            objectness: Tensor::cat(&objectness, 1),
            deltas: Tensor::cat(&deltas, 1),
            anchors: Tensor::cat(&all_anchors, 0),
            per_level,
        }
    }

    /// The proposals of each image, `[P,4]`, best first; without gradients.
    pub fn propose(&self, output: &RpnOutput, images: &Images, train: bool) -> Result<Vec<Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let pick = |(training, evaluation): (i64, i64)| if train { training } else { evaluation };
        let (candidates, most) = (pick(self.options.candidates), pick(self.options.proposals));
        let proposals = images.sizes.iter().enumerate().map(|(image, &size)| {
            let logits = output.objectness.select(0, image as i64);
            let (mut chosen, mut level_of, mut start) = (Vec::new(), Vec::new(), 0);
            for (level, &count) in output.per_level.iter().enumerate() {
                let own = logits.narrow(0, start, count);
                let (_, best) = own.topk(candidates.min(count), 0, true, true);
                level_of.push(best.full_like(level as i64));
                chosen.push(best + start);
                start += count;
            }
            let (chosen, level_of) = (Tensor::cat(&chosen, 0), Tensor::cat(&level_of, 0));
            let deltas = output
                .deltas
                .select(0, image as i64)
                .index_select(0, &chosen);
            let from = output.anchors.index_select(0, &chosen);
            let decoded = BoxCoder::PROPOSALS.decode(&deltas, &from).select(1, 0);
            let decoded = boxes::clip(&decoded, size);
            let large = boxes::is_large(&decoded, LEAST_SIDE)
                .nonzero()
                .flatten(0, -1);
            let decoded = decoded.index_select(0, &large);
            let scores = logits
                .index_select(0, &chosen)
                .index_select(0, &large)
                .sigmoid();
            let level_of = level_of.index_select(0, &large);
            let keep = nms(&decoded, &scores, Some(&level_of), OVERLAP)?;
            let keep = keep.narrow(0, 0, most.min(keep.size()[0]));
            Ok(decoded.index_select(0, &keep))
        });
        proposals.collect()
    }

    /// (objectness, box) losses over the anchors that `sampler` chooses.
    pub fn losses(
        &self,
        output: &RpnOutput,
        targets: &[Target],
        sampler: &mut dyn Sampler,
    ) -> Result<(Tensor, Tensor)> {
        let device = output.anchors.device();
        let per_image = output.anchors.size()[0];
        let (mut all, mut positive) = (Vec::new(), Vec::new());
        let (mut labels, mut encoded) = (Vec::new(), Vec::new());
        for (image, target) in targets.iter().enumerate() {
            let matches = {
                let _no_grad = tch::no_grad_guard();
                match target.boxes.size()[0] {
                    0 => Tensor::full([per_image], -1, (Kind::Int64, device)),
                    _ => {
                        let quality = boxes::iou(&target.boxes, &output.anchors);
                        Matcher::PROPOSALS.assign(&quality)
                    }
                }
            };
            let matches = on_host(&matches)?;
            let label = |&m: &i64| match m {
                IGNORED => -1,
                m => i64::from(m >= 0),
            };
            let label: Vec<i64> = matches.iter().map(label).collect();
            let sample = self
                .options
                .sampling
                .sample(&label, Stage::Anchors, image, sampler);
            let first = image as i64 * per_image;
            all.extend(sample.all.iter().map(|i| first + i));
            labels.extend(sample.all.iter().map(|&i| label[i as usize] as f32));
            positive.extend(sample.positive.iter().map(|i| first + i));
            if !sample.positive.is_empty() {
                let objects: Vec<i64> = sample
                    .positive
                    .iter()
                    .map(|&i| matches[i as usize])
                    .collect();
                let at = |list: &[i64]| Tensor::from_slice(list).to_device(device);
                let own = output.anchors.index_select(0, &at(&sample.positive));
                let goal = target.boxes.index_select(0, &at(&objects));
                encoded.push(BoxCoder::PROPOSALS.encode(&own, &goal));
            }
        }
        let count = all.len().max(1) as f64;
        let at = |list: &[i64]| Tensor::from_slice(list).to_device(device);
        let logits = output.objectness.flatten(0, -1).index_select(0, &at(&all));
        let labels = Tensor::from_slice(&labels).to_device(device);
        let none: Option<&Tensor> = None;
        let objectness =
            logits.binary_cross_entropy_with_logits(&labels, none, none, Reduction::Mean);
        let deltas = output.deltas.reshape([-1, 4]);
        let chosen = deltas.index_select(0, &at(&positive));
        let shift = match encoded.is_empty() {
            true => chosen.sum(Kind::Float),
            false => {
                let goal = Tensor::cat(&encoded, 0);
                chosen.smooth_l1_loss(&goal, Reduction::Sum, BETA) / count
            }
        };
        Ok((objectness, shift))
    }
}
