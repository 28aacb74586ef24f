//! Where an image's time goes: preprocess, encoder, adaptors, head.

use super::case::Case;
use super::clock;
use super::options::Options;
use super::rival::Rival;
use crate::data::decode::{Limits, decode};
use crate::data::pixels;
use crate::data::transform::Transform;
use crate::models::{Request, backbone};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// A 500x375 JPEG of quality 90 (the median size of an ImageNet picture), made by program.
const PICTURE: &[u8] = include_bytes!("../../../assets/latency.jpg");

/// Timings per stage; the median is reported.
const PASSES: usize = 3;

/// Classes of the classifier that stands for a head, as in ImageNet.
const CLASSES: i64 = 1000;

/// Seconds per image by stage, each the median of [`PASSES`]: one worker thread decoding and
/// resizing a JPEG; the network; all its adaptors on top (0 without any); a 1000-way linear
/// classifier on the summary.
pub fn measure(rival: &Rival, case: &Case, options: &Options) -> Result<Vec<(&'static str, f64)>> {
    let (height, width) = case.resolution;
    let info = rival.model.backbone.info();
    let network = rival.model.backbone.as_ref();
    let transform = Transform::cover(height as usize, width as usize, info.patch.max(1) as usize);
    let preprocess = median(|| {
        let clock = std::time::Instant::now();
        let image = decode(PICTURE, &Limits::default()).map_err(Error::model)?;
        let image = transform.apply(&image).map_err(Error::model)?;
        let _ = pixels::to_float(std::slice::from_ref(&image));
        Ok(clock.elapsed().as_secs_f64() * 1e3)
    })?;

    let x = Tensor::f_rand(
        [case.batch, 3, height, width],
        (Kind::Float, options.device),
    )?;
    let forward = |request: &Request| {
        median(|| {
            clock::time(options.device, || {
                backbone::run_unread(network, &x, request).map(drop)
            })
        })
    };
    let encoder = forward(&Request::default())?;
    let adaptors = match info.adaptors.as_slice() {
        [] => 0.0,
        all => (forward(&Request::adaptors(all))? - encoder).max(0.0),
    };

    let summary = backbone::run(network, &x, &Request::default())?.summary;
    let classifier = Tensor::f_zeros(
        [CLASSES, info.summary_dim],
        (summary.kind(), options.device),
    )?;
    let head = median(|| {
        clock::time(options.device, || {
            let _ = summary.f_linear(&classifier, None::<Tensor>)?;
            Ok(())
        })
    })?;
    let per_image = |ms: f64| ms * 1e-3 / case.batch as f64;
    Ok(vec![
        ("preprocess", preprocess * 1e-3),
        ("encoder", per_image(encoder)),
        ("adaptors", per_image(adaptors)),
        ("head", per_image(head)),
    ])
}

fn median(mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut all = (0..PASSES).map(|_| once()).collect::<Result<Vec<_>>>()?;
    all.sort_by(f64::total_cmp);
    Ok(all[PASSES / 2])
}
