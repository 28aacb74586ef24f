//! One image: its instances prompted, the decoder's masks compared with the annotated ones.

use super::clicks::{Click, next_click};
use super::settings::{PromptKind, Settings};
use crate::data::annotation::RunLengths;
use crate::data::coco::mask;
use crate::data::geometry::BoundingBox;
use crate::data::transform::Placement;
use crate::models::sam::{Prompts, SamDecoder, at_original_size};
use crate::runtime::{guard, interrupt};
use crate::{Error, Result};
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

/// An instance as it is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub bounds: BoundingBox,
    /// Its pixels, on the image as stored.
    pub runs: RunLengths,
}

/// What came of an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Pixels in both masks, and in either.
    pub intersection: u64,
    pub union: u64,
    /// Which of the decoder's masks was chosen: 1 to 3.
    pub mask: u8,
    pub predicted_iou: f32,
}

/// The decoder with what decides its answers.
pub struct Judge<'a> {
    pub decoder: &'a SamDecoder,
    pub settings: &'a Settings,
    /// Pixels per side of the square that images were placed in.
    pub frame: i64,
}

/// The chosen masks of some prompts.
struct Answer {
    /// `[P,H,W]` bool
    masks: Tensor,
    chosen: Vec<(u8, f32)>,
}

impl Judge<'_> {
    /// embedding: `[1,C,h,w]`; `placement` says where the image lies in the frame. Memory does not
    /// grow with the number of targets, but for their run lengths.
    pub fn judge(
        &self,
        embedding: &Tensor,
        placement: &Placement,
        targets: &[Target],
    ) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(targets.len());
        for part in targets.chunks(self.settings.prompts_per_pass.max(1)) {
            interrupt::check()?;
            let answer = match self.settings.prompt {
                PromptKind::Box | PromptKind::Boxes => {
                    let bounds = part.iter().map(|target| &target.bounds);
                    self.answer_boxes(embedding, placement, bounds)?
                }
                PromptKind::Point => self.answer_clicks(embedding, placement, part)?,
            };
            outcomes.extend(self.compare(&answer, part)?);
        }
        Ok(outcomes)
    }

    /// The chosen mask of each box, on the image as stored.
    pub fn masks(
        &self,
        embedding: &Tensor,
        placement: &Placement,
        boxes: &[BoundingBox],
    ) -> Result<Vec<RunLengths>> {
        let (height, width) = placement.original;
        let mut masks = Vec::with_capacity(boxes.len());
        for part in boxes.chunks(self.settings.prompts_per_pass.max(1)) {
            interrupt::check()?;
            let answer = self.answer_boxes(embedding, placement, part.iter())?;
            let columns = answer.masks.f_transpose(1, 2)?.f_to_kind(Kind::Uint8)?;
            let columns = columns
                .f_contiguous()?
                .f_view([-1])?
                .f_to_device(Device::Cpu)?;
            let columns = Vec::<u8>::try_from(columns)?;
            let runs: Result<Vec<RunLengths>, String> = columns
                .par_chunks_exact((height * width).max(1))
                .map(|columns| mask::from_columns(columns, height, width))
                .collect();
            masks.extend(runs.map_err(Error::model)?);
        }
        Ok(masks)
    }

    /// From pixels of the image as stored to those of SAM's input.
    fn scale(&self) -> f64 {
        self.decoder.image as f64 / self.frame as f64
    }

    fn answer_boxes<'b>(
        &self,
        embedding: &Tensor,
        placement: &Placement,
        bounds: impl Iterator<Item = &'b BoundingBox>,
    ) -> Result<Answer> {
        let corners: Vec<f32> = bounds
            .flat_map(|bounds| {
                let placed = placement.box_in_result(bounds);
                [placed.x0, placed.y0, placed.x1, placed.y1].map(|v| (v * self.scale()) as f32)
            })
            .collect();
        let boxes = Tensor::from_slice(&corners).f_view([-1, 4])?;
        let prompts = Prompts {
            boxes: Some(boxes.f_to_device(self.decoder.device)?),
            ..Prompts::default()
        };
        self.answer(embedding, placement, &prompts)
    }

    fn answer_clicks(
        &self,
        embedding: &Tensor,
        placement: &Placement,
        targets: &[Target],
    ) -> Result<Answer> {
        let (height, width) = placement.original;
        let truths: Vec<Vec<u8>> = targets.par_iter().map(|t| mask::raster(&t.runs)).collect();
        let mut answers = vec![0u8; targets.len() * height * width];
        let mut clicks: Vec<Vec<Click>> = vec![Vec::new(); targets.len()];
        loop {
            let next: Vec<Click> = truths
                .par_iter()
                .zip(answers.par_chunks_exact((height * width).max(1)))
                .zip(&clicks)
                .map(|((truth, answer), clicks)| next_click(truth, answer, width, clicks))
                .collect();
            clicks
                .iter_mut()
                .zip(next)
                .for_each(|(clicks, click)| clicks.push(click));
            let prompts = self.clicks(&clicks, placement)?;
            let answer = self.answer(embedding, placement, &prompts)?;
            if clicks[0].len() >= self.settings.clicks {
                return Ok(answer);
            }
            let masks = answer
                .masks
                .f_to_kind(Kind::Uint8)?
                .f_to_device(Device::Cpu)?;
            answers = Vec::<u8>::try_from(masks.f_contiguous()?.f_view([-1])?)?;
        }
    }

    fn clicks(&self, clicks: &[Vec<Click>], placement: &Placement) -> Result<Prompts> {
        let places: Vec<f32> = clicks
            .iter()
            .flatten()
            .flat_map(|click| {
                let placed = placement.point_in_result([click.x as f64, click.y as f64]);
                placed.map(|v| (v * self.scale()) as f32)
            })
            .collect();
        let labels: Vec<f32> = clicks
            .iter()
            .flatten()
            .map(|click| f32::from(u8::from(click.inside)))
            .collect();
        let (prompts, device) = (clicks.len() as i64, self.decoder.device);
        let place = |values: &[f32], shape: &[i64]| -> Result<Tensor> {
            Ok(Tensor::from_slice(values)
                .f_view(shape)?
                .f_to_device(device)?)
        };
        Ok(Prompts {
            points: Some((
                place(&places, &[prompts, -1, 2])?,
                place(&labels, &[prompts, -1])?,
            )),
            ..Prompts::default()
        })
    }

    /// The mask of the highest predicted IoU of masks 1 to 3 (the first of several), at the size of
    /// the image as stored.
    fn answer(
        &self,
        embedding: &Tensor,
        placement: &Placement,
        prompts: &Prompts,
    ) -> Result<Answer> {
        let size = |(height, width): (usize, usize)| (height as i64, width as i64);
        guard(|| {
            let _no_grad = tch::no_grad_guard();
            let masks = self.decoder.decode(embedding, prompts);
            let iou = masks.iou.f_to_device(Device::Cpu)?;
            let per_prompt = iou.size()[1] as usize;
            let iou = Vec::<f32>::try_from(iou.f_contiguous()?.f_view([-1])?)?;
            let chosen: Vec<(u8, f32)> = iou.chunks(per_prompt).map(best).collect();
            if chosen.iter().any(|(_, iou)| !iou.is_finite()) {
                return Err(Error::model(
                    "SAM's decoder predicts an IoU that is not a finite number; look for damage in its weights",
                ));
            }
            let index: Vec<i64> = (0i64..)
                .zip(&chosen)
                .map(|(prompt, (mask, _))| prompt * per_prompt as i64 + i64::from(*mask))
                .collect();
            let index = Tensor::from_slice(&index).f_to_device(self.decoder.device)?;
            let logits = masks.logits.f_flatten(0, 1)?.f_index_select(0, &index)?;
            let logits = at_original_size(
                &logits.unsqueeze(1),
                self.frame,
                size(placement.resized),
                size(placement.original),
            );
            Ok(Answer {
                masks: logits.squeeze_dim(1).f_gt(0.0)?,
                chosen,
            })
        })
    }

    fn compare(&self, answer: &Answer, targets: &[Target]) -> Result<Vec<Outcome>> {
        let truths: Vec<Vec<u8>> = targets.par_iter().map(|t| mask::columns(&t.runs)).collect();
        let size = answer.masks.size();
        let truth =
            Tensor::f_from_data_size(&truths.concat(), &[size[0], size[2], size[1]], Kind::Uint8)?;
        let truth = truth
            .f_to_device(self.decoder.device)?
            .f_transpose(1, 2)?
            .f_to_kind(Kind::Bool)?;
        let count = |mask: &Tensor| -> Result<Vec<i64>> {
            let counts = mask.f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Int64)?;
            Ok(Vec::<i64>::try_from(counts.f_to_device(Device::Cpu)?)?)
        };
        let both = count(&answer.masks.f_logical_and(&truth)?)?;
        let predicted = count(&answer.masks)?;
        let mut outcomes = Vec::with_capacity(targets.len());
        for (i, target) in targets.iter().enumerate() {
            let (mask, predicted_iou) = answer.chosen[i];
            let intersection = both[i].unsigned_abs();
            let all = predicted[i].unsigned_abs() + mask::area(&target.runs);
            outcomes.push(Outcome {
                intersection,
                union: all - intersection,
                mask,
                predicted_iou,
            });
        }
        Ok(outcomes)
    }
}

/// The mask of the highest predicted IoU but for mask 0, which is for prompts that are clear.
pub fn best(iou: &[f32]) -> (u8, f32) {
    let mut best = (1, iou[1]);
    for (mask, &iou) in (2..).zip(&iou[2..]) {
        if iou > best.1 {
            best = (mask, iou);
        }
    }
    best
}
