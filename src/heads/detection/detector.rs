//! The whole detector, from the backbone's map to losses or detections.

use super::box_head::{self, BoxHead, Found};
use super::mask_head::MaskHead;
use super::matching::Sampler;
use super::parameters::{Parameters, ReadTensor};
use super::pooling;
use super::pyramid::Pyramid;
use super::rpn::Rpn;
use super::{DetectorOptions, Images, Target};
use crate::runtime::guard;
use crate::{Error, Result};
use indexmap::IndexMap;
use tch::{Device, Kind, Tensor};

pub struct Detector {
    pub pyramid: Pyramid,
    pub rpn: Rpn,
    pub boxes: BoxHead,
    pub masks: Option<MaskHead>,
    options: DetectorOptions,
    /// By name, in the order of building.
    parameters: IndexMap<String, Tensor>,
}

/// The losses of a batch, torchvision's names.
pub struct Losses {
    pub classifier: Tensor,
    pub box_reg: Tensor,
    pub mask: Option<Tensor>,
    pub objectness: Tensor,
    pub rpn_box_reg: Tensor,
}

impl Losses {
    /// By name.
    pub fn named(&self) -> Vec<(&'static str, &Tensor)> {
        let mut all = vec![
            ("loss_classifier", &self.classifier),
            ("loss_box_reg", &self.box_reg),
            ("loss_objectness", &self.objectness),
            ("loss_rpn_box_reg", &self.rpn_box_reg),
        ];
        all.extend(self.mask.as_ref().map(|mask| ("loss_mask", mask)));
        all
    }

    /// Their sum.
    pub fn total(&self) -> Tensor {
        let named = self.named();
        let (_, first) = named[0];
        named[1..]
            .iter()
            .fold(first.shallow_clone(), |sum, (_, loss)| sum + *loss)
    }
}

/// What an image shows, best first; boxes in pixels of the network's input.
pub struct Detections {
    /// `[N,4]`
    pub boxes: Tensor,
    /// `[N]`
    pub scores: Tensor,
    /// int64 `[N]`, from 1
    pub labels: Tensor,
    /// Probabilities `[N,28,28]`, where there is a mask head.
    pub masks: Option<Tensor>,
}

impl Detector {
    /// A detector whose parameters are read by name, or drawn from libtorch's generator.
    pub fn new(
        options: DetectorOptions,
        device: Device,
        read: Option<&ReadTensor>,
    ) -> Result<Self> {
        if options.rpn.anchor_sizes.len() != super::pyramid::LEVELS || options.classes < 2 {
            return Err(Error::model(
                "a detector has an anchor size for each of five levels, and a class besides background",
            ));
        }
        let parameters = Parameters::new(device, read);
        let (pyramid, rpn, boxes, masks) = {
            let backbone = parameters.at("backbone");
            let heads = parameters.at("roi_heads");
            let channels = options.channels;
            let pyramid = Pyramid::new(&backbone, options.input, channels, options.input_norm)?;
            let rpn = Rpn::new(&parameters.at("rpn"), channels, options.rpn.clone())?;
            let boxes = BoxHead::new(&heads, &options)?;
            let masks = match options.masks {
                true => Some(MaskHead::new(&heads, &options)?),
                false => None,
            };
            (pyramid, rpn, boxes, masks)
        };
        Ok(Detector {
            pyramid,
            rpn,
            boxes,
            masks,
            options,
            parameters: parameters.finish(),
        })
    }

    pub fn options(&self) -> &DetectorOptions {
        &self.options
    }

    /// Every parameter by its name; leaves that gather gradients.
    pub fn parameters(&self) -> &IndexMap<String, Tensor> {
        &self.parameters
    }

    /// The losses of a batch. `map` `[B,C,h,w]`: the backbone's, of stride 16.
    pub fn losses(
        &self,
        map: &Tensor,
        images: &Images,
        targets: &[Target],
        sampler: &mut dyn Sampler,
    ) -> Result<Losses> {
        guard(|| {
            let pyramid = self.pyramid.forward(map);
            let output = self.rpn.forward(&pyramid, images.padded);
            let proposals = self.rpn.propose(&output, images, true)?;
            let (objectness, rpn_box_reg) = self.rpn.losses(&output, targets, sampler)?;
            let chosen = self.boxes.choose(&proposals, targets, sampler)?;
            let rois = pooling::regions(&chosen.boxes);
            let pooled = pooling::pool(&pyramid, &rois, box_head::SIDE)?;
            let (logits, deltas) = self.boxes.predict(&self.boxes.features(&pooled));
            let (classifier, box_reg) = self.boxes.losses((&logits, &deltas), &chosen, targets);
            let masks = self.masks.as_ref();
            let mask = masks
                .map(|head| head.loss(&pyramid, &chosen, targets))
                .transpose()?;
            Ok(Losses {
                classifier,
                box_reg,
                mask,
                objectness,
                rpn_box_reg,
            })
        })
    }

    /// What each image shows.
    pub fn detect(&self, map: &Tensor, images: &Images) -> Result<Vec<Detections>> {
        guard(|| {
            let _no_grad = tch::no_grad_guard();
            let pyramid = self.pyramid.forward(map);
            let output = self.rpn.forward(&pyramid, images.padded);
            let proposals = self.rpn.propose(&output, images, false)?;
            let counts: Vec<i64> = proposals.iter().map(|p| p.size()[0]).collect();
            let rois = pooling::regions(&proposals);
            let pooled = pooling::pool(&pyramid, &rois, box_head::SIDE)?;
            let (logits, deltas) = self.boxes.predict(&self.boxes.features(&pooled));
            let logits = logits.split_with_sizes(counts.as_slice(), 0);
            let deltas = deltas.split_with_sizes(counts.as_slice(), 0);
            let each = logits
                .iter()
                .zip(&deltas)
                .zip(&proposals)
                .zip(&images.sizes);
            let found = each
                .map(|(((logits, deltas), own), &size)| {
                    self.boxes.detect(logits, deltas, own, size)
                })
                .collect::<Result<Vec<Found>>>()?;
            let masks: Vec<Option<Tensor>> = match &self.masks {
                None => found.iter().map(|_| None).collect(),
                Some(head) => {
                    let boxes: Vec<Tensor> =
                        found.iter().map(|f| f.boxes.shallow_clone()).collect();
                    let labels: Vec<Tensor> =
                        found.iter().map(|f| f.labels.shallow_clone()).collect();
                    head.detect(&pyramid, &boxes, &labels)?
                        .into_iter()
                        .map(Some)
                        .collect()
                }
            };
            let whole = found.into_iter().zip(masks);
            Ok(whole
                .map(|(found, masks)| Detections {
                    boxes: found.boxes,
                    scores: found.scores,
                    labels: found.labels,
                    masks,
                })
                .collect())
        })
    }

    /// Number of parameters.
    pub fn size(&self) -> i64 {
        self.parameters.values().map(|p| p.numel() as i64).sum()
    }
}

/// Global norm of the gradients; where it is above `most`, all are scaled down to it
/// (`torch.nn.utils.clip_grad_norm_`).
pub fn clip_gradients(parameters: &[&Tensor], most: f64) -> Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let gradients: Vec<Tensor> = parameters.iter().map(|p| p.grad()).collect();
    let defined: Vec<&Tensor> = gradients.iter().filter(|g| g.defined()).collect();
    let norms: Vec<Tensor> = defined.iter().map(|g| g.norm()).collect();
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
    let scale = (most / (&norm + 1e-6))
        .f_clamp_max(1.0)?
        .f_to_kind(Kind::Float)?;
    for gradient in defined {
        let _ = gradient.shallow_clone().f_mul_(&scale)?;
    }
    Ok(norm)
}
