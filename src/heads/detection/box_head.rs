//! Class and box of each proposal (spec/coco.md §4.6).

use super::boxes::{self, BoxCoder};
use super::layers::{ChannelNorm, Conv, Linear};
use super::matching::{BACKGROUND, Matcher, Sampler, Sampling, Stage, on_host};
use super::parameters::{Init, Place};
use super::regions::nms;
use super::rpn::BETA;
use super::{DetectorOptions, HeadKind, Target};
use crate::Result;
use tch::{Kind, Reduction, Tensor};

/// Side of the pooled features.
pub const SIDE: i64 = 7;
/// Detections of a class that overlap a better one by more than this go.
const OVERLAP: f64 = 0.5;
/// Shortest side of a detection, in pixels.
const LEAST_SIDE: f64 = 1e-2;
/// Convolutions of ViTDet's head.
const CONVS: usize = 4;

enum Body {
    /// `fc6`, `fc7`
    Linear([Linear; 2]),
    /// ViTDet's: four convolutions with norms, then one layer.
    Convolutions(Vec<(Conv, ChannelNorm)>, Linear),
}

pub struct BoxHead {
    body: Body,
    classes: Linear,
    deltas: Linear,
    sampling: Sampling,
    score_threshold: f64,
    detections: i64,
}

/// Proposals chosen to be trained on.
pub struct Chosen {
    /// Per image, `[P,4]`.
    pub boxes: Vec<Tensor>,
    /// Per image and proposal: the class, 0 for background.
    pub labels: Vec<Vec<i64>>,
    /// Per image and proposal: the object; any for background.
    pub objects: Vec<Vec<i64>>,
}

/// What an image shows, best first.
pub struct Found {
    /// `[N,4]` in pixels of the network's input
    pub boxes: Tensor,
    /// `[N]`
    pub scores: Tensor,
    /// int64 `[N]`, from 1
    pub labels: Tensor,
}

impl BoxHead {
    /// `place`: of `roi_heads`.
    pub fn new(place: &Place, options: &DetectorOptions) -> Result<Self> {
        let (channels, hidden) = (options.channels, options.hidden);
        let head = place.at("box_head");
        let flat = channels * SIDE * SIDE;
        let linear =
            |place: Place, input| Linear::new(&place, (input, hidden), Init::xavier(input));
        let body = match options.kind {
            HeadKind::MaskVitdet => {
                let convs = (0..CONVS).map(|i| {
                    let place = head.at(i);
                    let msra = |_: i64, fan_out: i64| Init::msra(fan_out);
                    let conv = Conv::without_bias(&place.at(0), (channels, channels), 3, msra)?;
                    Ok((conv, ChannelNorm::new(&place.at(1), channels)?))
                });
                let convs = convs.collect::<Result<Vec<_>>>()?;
                // One place is nn.Flatten's.
                Body::Convolutions(convs, linear(head.at(CONVS + 1), flat)?)
            }
            HeadKind::MaskRcnn | HeadKind::FasterRcnn => Body::Linear([
                linear(head.at("fc6"), flat)?,
                linear(head.at("fc7"), hidden)?,
            ]),
        };
        let predictor = place.at("box_predictor");
        let output = |name: &str, width: i64, std: f64| {
            Linear::new(&predictor.at(name), (hidden, width), Init::Normal { std })
        };
        Ok(BoxHead {
            body,
            classes: output("cls_score", options.classes, 0.01)?,
            deltas: output("bbox_pred", 4 * options.classes, 0.001)?,
            sampling: options.sampling,
            score_threshold: options.score_threshold,
            detections: options.detections,
        })
    }

    /// Pooled features `[K,C,7,7]` -> hidden features `[K,hidden]`.
    pub fn features(&self, pooled: &Tensor) -> Tensor {
        match &self.body {
            Body::Linear([fc6, fc7]) => {
                let x = fc6.forward(&pooled.flatten(1, -1)).relu();
                fc7.forward(&x).relu()
            }
            Body::Convolutions(convs, fc) => {
                let mut x = pooled.shallow_clone();
                for (conv, norm) in convs {
                    x = norm.forward(&conv.forward(&x)).relu();
                }
                fc.forward(&x.flatten(1, -1)).relu()
            }
        }
    }

    /// Hidden features -> class logits `[K,classes]`, deltas `[K,4*classes]`.
    pub fn predict(&self, features: &Tensor) -> (Tensor, Tensor) {
        let outputs = (
            self.classes.forward(features),
            self.deltas.forward(features),
        );
        (
            outputs.0.to_kind(Kind::Float),
            outputs.1.to_kind(Kind::Float),
        )
    }

    /// Which proposals to train on; every object is a proposal too.
    pub fn choose(
        &self,
        proposals: &[Tensor],
        targets: &[Target],
        sampler: &mut dyn Sampler,
    ) -> Result<Chosen> {
        let _no_grad = tch::no_grad_guard();
        let mut chosen = Chosen {
            boxes: Vec::new(),
            labels: Vec::new(),
            objects: Vec::new(),
        };
        for (image, (proposals, target)) in proposals.iter().zip(targets).enumerate() {
            let all = Tensor::cat(&[proposals, &target.boxes], 0);
            let matches = match target.boxes.size()[0] {
                0 => vec![BACKGROUND; all.size()[0] as usize],
                _ => on_host(&Matcher::HEAD.assign(&boxes::iou(&target.boxes, &all)))?,
            };
            let classes = on_host(&target.labels)?;
            let label = |&m: &i64| if m < 0 { 0 } else { classes[m as usize] };
            let labels: Vec<i64> = matches.iter().map(label).collect();
            let sample = self
                .sampling
                .sample(&labels, Stage::Proposals, image, sampler);
            let of = |list: &[i64]| sample.all.iter().map(|&i| list[i as usize]).collect();
            let at = Tensor::from_slice(&sample.all).to_device(all.device());
            chosen.boxes.push(all.index_select(0, &at));
            chosen.labels.push(of(&labels));
            let objects: Vec<i64> = matches.iter().map(|&m| m.max(0)).collect();
            chosen.objects.push(of(&objects));
        }
        Ok(chosen)
    }

    /// (class, box) losses of predictions for the chosen proposals.
    pub fn losses(
        &self,
        (logits, deltas): (&Tensor, &Tensor),
        chosen: &Chosen,
        targets: &[Target],
    ) -> (Tensor, Tensor) {
        let device = logits.device();
        let labels = chosen.labels.concat();
        let on_device = |list: &[i64]| Tensor::from_slice(list).to_device(device);
        let classes = logits.cross_entropy_for_logits(&on_device(&labels));
        let positive: Vec<i64> = positions(&labels);
        let own: Vec<i64> = positive.iter().map(|&i| labels[i as usize]).collect();
        let per_class = deltas.view([labels.len() as i64, -1, 4]);
        let (rows, columns) = (on_device(&positive), on_device(&own));
        let shifts = per_class.index(&[Some(&rows), Some(&columns)]);
        let mut goals = Vec::new();
        let each = chosen.boxes.iter().zip(&chosen.labels).zip(&chosen.objects);
        for (((boxes, labels), objects), target) in each.zip(targets) {
            let positive = positions(labels);
            if positive.is_empty() {
                continue;
            }
            let objects: Vec<i64> = positive.iter().map(|&i| objects[i as usize]).collect();
            let from = boxes.index_select(0, &on_device(&positive));
            let to = target.boxes.index_select(0, &on_device(&objects));
            goals.push(BoxCoder::HEAD.encode(&from, &to));
        }
        let shift = match goals.is_empty() {
            true => shifts.sum(Kind::Float),
            false => {
                let sum = shifts.smooth_l1_loss(&Tensor::cat(&goals, 0), Reduction::Sum, BETA);
                sum / labels.len().max(1) as f64
            }
        };
        (classes, shift)
    }

    /// Detections of an image of (height, width) out of predictions for its proposals.
    pub fn detect(
        &self,
        logits: &Tensor,
        deltas: &Tensor,
        proposals: &Tensor,
        size: (i64, i64),
    ) -> Result<Found> {
        let _no_grad = tch::no_grad_guard();
        let count = proposals.size()[0];
        let classes = logits.size()[1];
        let device = logits.device();
        let decoded = BoxCoder::HEAD.decode(deltas, proposals);
        // Without background.
        let decoded = boxes::clip(&decoded, size)
            .narrow(1, 1, classes - 1)
            .reshape([-1, 4]);
        let scores = logits
            .softmax(-1, Kind::Float)
            .narrow(1, 1, classes - 1)
            .reshape([-1]);
        let labels = Tensor::arange_start(1, classes, (Kind::Int64, device));
        let labels = labels
            .unsqueeze(0)
            .expand([count, classes - 1], false)
            .reshape([-1]);
        let is_kept = scores
            .gt(self.score_threshold)
            .logical_and(&boxes::is_large(&decoded, LEAST_SIDE));
        let likely = is_kept.nonzero().flatten(0, -1);
        let [decoded, scores, labels] =
            [decoded, scores, labels].map(|t| t.index_select(0, &likely));
        let keep = nms(&decoded, &scores, Some(&labels), OVERLAP)?;
        let keep = keep.narrow(0, 0, self.detections.min(keep.size()[0]));
        let [boxes, scores, labels] = [decoded, scores, labels].map(|t| t.index_select(0, &keep));
        Ok(Found {
            boxes,
            scores,
            labels,
        })
    }
}

/// Where a label is an object's.
pub fn positions(labels: &[i64]) -> Vec<i64> {
    let pairs = (0..).zip(labels);
    pairs
        .filter(|(_, label)| **label > 0)
        .map(|(i, _)| i)
        .collect()
}
