//! Detection operators and detectors against torchvision 0.28 (spec/coco.md §4.7): outputs, losses
//! and gradients.

use crate::common::shared;
use radio_eval::heads::detection::anchors::cell_anchors;
use radio_eval::heads::detection::boxes::BoxCoder;
use radio_eval::heads::detection::detector::clip_gradients;
use radio_eval::heads::detection::matching::Matcher;
use radio_eval::heads::detection::paste::paste;
use radio_eval::heads::detection::{
    Detector, DetectorOptions, HeadKind, Images, Sampler, Sampling, Stage, Target, box_head,
    mask_head, pooling, regions,
};
use radio_eval::runtime::shim::RoiAlign;
use radio_eval::weights::{StateDict, safetensors};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

struct Golden(StateDict);

impl Golden {
    fn open(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.safetensors"));
        Golden(safetensors::open(&path).unwrap().0)
    }

    fn get(&self, name: &str) -> Tensor {
        let stored = self.0.get(name).unwrap_or_else(|| panic!("no {name}"));
        stored.read(Device::Cpu, stored.kind).unwrap()
    }

    fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .filter_map(move |name| name.strip_prefix(prefix))
    }
}

/// Difference over the larger of 1 and the expected magnitude.
#[track_caller]
fn close(own: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(own.size(), expected.size(), "{what}");
    if own.numel() == 0 {
        return;
    }
    let (own, expected) = (own.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let apart = (own - expected).abs().max().double_value(&[]) / scale;
    assert!(apart <= tolerance, "{what}: {apart:e}");
}

fn goldens() -> Option<PathBuf> {
    shared("golden/det")
}

#[test]
fn operators() {
    let Some(folder) = goldens() else { return };
    let golden = Golden::open(&folder, "ops.golden");
    let (map, rois) = (golden.get("roi.x"), golden.get("roi.rois"));
    let mut compared = 0;
    for name in golden.names("roi.al") {
        let numbers: Vec<f64> = name
            .split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
            .flat_map(|part| part.split('.').map(str::to_string).collect::<Vec<_>>())
            .filter_map(|part| part.parse().ok())
            .collect();
        // `0.sr-1.sc0.5.o3`: aligned, ratio, scale in two parts, height.
        let [aligned, ratio, whole, tenths, height] = numbers.as_slice() else {
            panic!("{name}: {numbers:?}");
        };
        let settings = RoiAlign {
            size: (*height as i64, *height as i64 + 1),
            scale: whole + tenths / 10.0,
            ratio: *ratio as i64,
            aligned: *aligned == 1.0,
        };
        let own = regions::roi_align(&map, &rois, &settings).unwrap();
        close(&own, &golden.get(&format!("roi.al{name}")), 1e-5, name);
        compared += 1;
    }
    assert_eq!(compared, 32);
    let leaf = map.set_requires_grad(true);
    let settings = RoiAlign {
        size: (3, 4),
        scale: 0.5,
        ratio: 2,
        aligned: true,
    };
    let pooled = regions::roi_align(&leaf, &rois, &settings).unwrap();
    pooled.square().sum(Kind::Float).backward();
    close(
        &leaf.grad(),
        &golden.get("roi.grad_x.al1.sr2.sc0.5.o3"),
        1e-5,
        "gradient",
    );

    let (boxes, labels) = (golden.get("nms.boxes"), golden.get("nms.labels"));
    for threshold in [0.0, 0.3, 0.5, 0.7, 1.0] {
        for (scores, tied) in [("nms.scores", ""), ("nms.scores_tied", "_tied")] {
            let scores = golden.get(scores);
            for (labels, name) in [(None, "keep"), (Some(&labels), "batched")] {
                let own = regions::nms(&boxes, &scores, labels, threshold).unwrap();
                let expected = golden.get(&format!("nms.{name}{tied}.{threshold:.1}"));
                assert!(own.equal(&expected), "{name}{tied} {threshold}");
            }
        }
    }

    let proposals = golden.get("coder.prop");
    let codes = BoxCoder::HEAD.encode(&proposals, &golden.get("coder.ref"));
    close(&codes, &golden.get("coder.codes"), 1e-5, "encode");
    let decoded = BoxCoder::HEAD.decode(&golden.get("coder.big_codes"), &proposals);
    close(
        &decoded.flatten(1, -1),
        &golden.get("coder.decoded_big"),
        1e-5,
        "decode",
    );

    let quality = golden.get("match.quality");
    for (name, matcher) in [("rpn", Matcher::PROPOSALS), ("roi", Matcher::HEAD)] {
        let expected = golden.get(&format!("match.{name}"));
        assert!(matcher.assign(&quality).equal(&expected), "{name}");
    }
    let retina = Matcher {
        high: 0.5,
        low: 0.4,
        low_quality: true,
    };
    assert!(retina.assign(&quality).equal(&golden.get("match.retina")));

    let levels = pooling::levels(&golden.get("levels.boxes")) - 2;
    assert!(levels.equal(&golden.get("levels.k2_5")));
    for (i, size) in [(0, 32.0), (1, 64.0)] {
        let expected = golden.get(&format!("cell_anchors.{i}"));
        assert!(cell_anchors(&[size], &[0.5, 1.0, 2.0]).equal(&expected));
    }

    let (masks, boxes) = (golden.get("paste.masks"), golden.get("paste.boxes"));
    let expected = golden.get("paste.out_40x50");
    for i in 0..4 {
        let own = pasted(&masks.get(i).squeeze_dim(0), &boxes.get(i), (40, 50));
        close(&own, &expected.get(i).squeeze_dim(0), 1e-5, "paste");
    }
    let target = Target {
        boxes: Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)),
        labels: Tensor::zeros([0], (Kind::Int64, Device::Cpu)),
        masks: Some(golden.get("project.gt")),
    };
    let (objects, boxes) = (golden.get("project.idx"), golden.get("project.boxes"));
    let own = mask_head::project(&target, &objects, &boxes).unwrap();
    close(&own, &golden.get("project.out28"), 1e-5, "project");
}

/// A mask in an image of (height, width), `[height, width]`.
fn pasted(mask: &Tensor, bounds: &Tensor, (height, width): (usize, usize)) -> Tensor {
    let values = Vec::<f32>::try_from(mask.flatten(0, -1)).unwrap();
    let bounds: [f32; 4] = Vec::<f32>::try_from(bounds).unwrap().try_into().unwrap();
    let part = paste(&values, mask.size()[0] as usize, bounds, (height, width));
    let mut all = vec![0f32; height * width];
    for y in 0..part.height {
        let start = (part.y + y) * width + part.x;
        let row = &part.values[y * part.width..(y + 1) * part.width];
        all[start..start + part.width].copy_from_slice(row);
    }
    Tensor::from_slice(&all).view([height as i64, width as i64])
}

/// The lowest indices.
struct Lowest;

impl Sampler for Lowest {
    fn choose(
        &mut self,
        _stage: Stage,
        _image: usize,
        positive: &[i64],
        negative: &[i64],
        (positives, negatives): (usize, usize),
    ) -> (Vec<i64>, Vec<i64>) {
        (
            positive[..positives].to_vec(),
            negative[..negatives].to_vec(),
        )
    }
}

/// What torchvision chose.
struct Recorded<'a> {
    golden: &'a Golden,
    variant: &'a str,
}

impl Sampler for Recorded<'_> {
    fn choose(
        &mut self,
        stage: Stage,
        image: usize,
        positive: &[i64],
        negative: &[i64],
        wanted: (usize, usize),
    ) -> (Vec<i64>, Vec<i64>) {
        let stage = match stage {
            Stage::Anchors => "rpn",
            Stage::Proposals => "roi",
        };
        let read = |kind: &str| {
            let name = format!("train.{}.{stage}.{kind}.{image}", self.variant);
            let chosen = self.golden.get(&name).nonzero().flatten(0, -1);
            Vec::<i64>::try_from(chosen).unwrap()
        };
        let (chosen, others) = (read("pos"), read("neg"));
        assert!(
            chosen.iter().all(|i| positive.contains(i)),
            "a positive that is none"
        );
        assert!(others.iter().all(|i| negative.binary_search(i).is_ok()));
        assert_eq!((chosen.len(), others.len()), wanted);
        (chosen, others)
    }
}

fn detector(folder: &Path, name: &str) -> Detector {
    let weights = Golden::open(folder, &format!("{name}.weights"));
    let kind = match name {
        "faster" => HeadKind::FasterRcnn,
        "mask" => HeadKind::MaskRcnn,
        _ => HeadKind::MaskVitdet,
    };
    let mut options = DetectorOptions::new(kind, 24, 4);
    options.input_norm = false;
    (options.channels, options.hidden, options.mask_hidden) = (32, 40, 16);
    options.rpn.anchor_sizes = vec![8.0, 16.0, 32.0, 64.0, 128.0];
    options.rpn.candidates = (80, 60);
    options.rpn.proposals = (50, 30);
    options.rpn.sampling.batch = 24;
    options.sampling = Sampling {
        batch: 20,
        positive: 0.25,
    };
    options.score_threshold = 0.1;
    options.detections = 12;
    options.mask_depth = if name == "mask" { 2 } else { 4 };
    let read = |name: &str| Ok(weights.0.contains_key(name).then(|| weights.get(name)));
    let detector = Detector::new(options, Device::Cpu, Some(&read)).unwrap();
    // Every tensor but the one that stands for the frozen backbone.
    let trained = weights
        .0
        .keys()
        .filter(|key| !key.starts_with("backbone.frozen"));
    assert_eq!(trained.count(), detector.parameters().len());
    detector
}

/// (height, width)
type Size = (i64, i64);
/// Sizes of the images as stored, and as the network sees them.
type Sizes = Vec<(Size, Size)>;

fn sizes(golden: &Golden, inputs: &Golden) -> Sizes {
    let resized = golden.get("eval.sizes");
    (0..2)
        .map(|i| {
            let stored = inputs.get(&format!("image.{i}")).size();
            let seen = (resized.int64_value(&[i, 0]), resized.int64_value(&[i, 1]));
            ((stored[1], stored[2]), seen)
        })
        .collect()
}

/// The objects as the network sees them (spec §4.2).
fn targets(inputs: &Golden, sizes: &Sizes, empty_second: bool, masks: bool) -> Vec<Target> {
    let one = |(i, (stored, seen)): (usize, &(Size, Size))| {
        let get = |what: &str| inputs.get(&format!("target.{i}.{what}"));
        let ratio = |a: i64, b: i64| a as f32 / b as f32;
        let (y, x) = (ratio(seen.0, stored.0), ratio(seen.1, stored.1));
        let index = |from: i64, to: i64| {
            let scale = from as f64 / to as f64;
            let picked: Vec<i64> = (0..to).map(|i| (i as f64 * scale) as i64).collect();
            Tensor::from_slice(&picked)
        };
        let mask = get("masks")
            .index_select(1, &index(stored.0, seen.0))
            .index_select(2, &index(stored.1, seen.1));
        let keep = if empty_second && i == 1 {
            0
        } else {
            mask.size()[0]
        };
        Target {
            boxes: (get("boxes") * Tensor::from_slice(&[x, y, x, y])).narrow(0, 0, keep),
            labels: get("labels").narrow(0, 0, keep),
            masks: masks.then(|| mask.narrow(0, 0, keep)),
        }
    };
    sizes.iter().enumerate().map(one).collect()
}

fn check(name: &str) {
    let Some(folder) = goldens() else { return };
    let golden = Golden::open(&folder, &format!("{name}.golden"));
    let inputs = Golden::open(&folder, "inputs");
    let detector = detector(&folder, name);
    let sizes = sizes(&golden, &inputs);
    let padded = golden.get("eval.batch").size();
    let images = Images {
        padded: (padded[2], padded[3]),
        sizes: sizes.iter().map(|s| s.1).collect(),
    };
    let map = golden.get("eval.stride16");

    // Evaluation, piece by piece.
    let no_grad = tch::no_grad_guard();
    let pyramid = detector.pyramid.forward(&map);
    for (i, level) in pyramid.iter().enumerate() {
        close(
            level,
            &golden.get(&format!("eval.sfp.p{}", i + 2)),
            1e-4,
            "pyramid",
        );
        let (objectness, deltas) = detector.rpn.level(level);
        close(
            &objectness,
            &golden.get(&format!("eval.rpn.objectness.{i}")),
            1e-4,
            "objectness",
        );
        close(
            &deltas,
            &golden.get(&format!("eval.rpn.deltas.{i}")),
            1e-4,
            "deltas",
        );
    }
    let output = detector.rpn.forward(&pyramid, images.padded);
    assert!(output.anchors.equal(&golden.get("eval.anchors")), "anchors");
    let proposals = detector.rpn.propose(&output, &images, false).unwrap();
    for (i, own) in proposals.iter().enumerate() {
        let expected = golden.get(&format!("eval.proposals.{i}"));
        assert!(
            (own - expected).abs().max().double_value(&[]) < 1e-3,
            "proposals"
        );
    }
    let rois = pooling::regions(&proposals);
    let pooled = pooling::pool(&pyramid, &rois, box_head::SIDE).unwrap();
    let features = detector.boxes.features(&pooled);
    let (logits, deltas) = detector.boxes.predict(&features);
    for (own, name) in [
        (&pooled, "box_pooled"),
        (&features, "box_feat"),
        (&logits, "cls_score"),
        (&deltas, "bbox_pred"),
    ] {
        let name = format!("eval.{name}");
        // Where two models have the same tensors, only one golden holds them.
        if golden.0.contains_key(&name) {
            close(own, &golden.get(&name), 1e-4, &name);
        } else {
            assert_ne!(name, "mask_vitdet");
        }
    }
    drop(no_grad);

    // The whole.
    let found = detector.detect(&map, &images).unwrap();
    for (i, (found, (stored, seen))) in found.iter().zip(&sizes).enumerate() {
        let expected = |what: &str| golden.get(&format!("eval.out.{i}.{what}"));
        let ratio = |a: i64, b: i64| a as f32 / b as f32;
        let (y, x) = (ratio(stored.0, seen.0), ratio(stored.1, seen.1));
        let boxes = &found.boxes * Tensor::from_slice(&[x, y, x, y]);
        let apart = (&boxes - expected("boxes")).abs().max().double_value(&[]);
        assert!(apart < 1e-3, "boxes: {apart}");
        close(&found.scores, &expected("scores"), 1e-4, "scores");
        assert!(found.labels.equal(&expected("labels")), "labels");
        assert_eq!(found.masks.is_some(), name != "faster");
        let Some(masks) = &found.masks else { continue };
        for n in 0..masks.size()[0] {
            let size = (stored.0 as usize, stored.1 as usize);
            let own = pasted(&masks.get(n), &expected("boxes").get(n), size);
            close(&own, &expected("masks").get(n).squeeze_dim(0), 1e-4, "mask");
        }
    }

    // Losses, by three ways of sampling.
    for variant in ["firstk", "seeded", "empty2"] {
        let targets = targets(&inputs, &sizes, variant == "empty2", name != "faster");
        let mut recorded = Recorded {
            golden: &golden,
            variant,
        };
        let sampler: &mut dyn Sampler = match variant {
            "firstk" => &mut Lowest,
            _ => &mut recorded,
        };
        let losses = detector.losses(&map, &images, &targets, sampler).unwrap();
        let named = losses.named();
        let prefix = format!("train.{variant}.loss.");
        assert_eq!(golden.names(&prefix).count(), named.len());
        for (loss, own) in &named {
            let expected = golden.get(&format!("{prefix}{loss}"));
            close(own, &expected, 1e-4, &format!("{variant} {loss}"));
        }
        if variant != "firstk" {
            continue;
        }
        losses.total().backward();
        let mut compared = 0;
        for parameter in golden.names("train.firstk.grad.") {
            let expected = golden.get(&format!("train.firstk.grad.{parameter}"));
            close(
                &detector.parameters()[parameter].grad(),
                &expected,
                1e-4,
                parameter,
            );
            compared += 1;
        }
        assert!(compared > 40, "{compared}");
        for parameter in golden.names("train.firstk.grad_norm.") {
            let expected = golden.get(&format!("train.firstk.grad_norm.{parameter}"));
            let norm = detector.parameters()[parameter].grad().norm();
            close(&norm, &expected, 1e-4, parameter);
        }
    }
}

#[test]
fn faster_rcnn() {
    check("faster");
}

#[test]
fn mask_rcnn() {
    check("mask");
}

#[test]
fn mask_rcnn_of_vitdet() {
    check("mask_vitdet");
}

#[test]
fn gradients_are_clipped_to_a_norm() {
    let leaf = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
    let (a, b) = (leaf(&[3.0, 0.0]), leaf(&[4.0]));
    let step = || {
        ((&a * &a).sum(Kind::Float) / 2.0 + (&b * &b).sum(Kind::Float) / 2.0).backward();
    };
    step();
    let norm = clip_gradients(&[&a, &b], 1.0).unwrap();
    assert!((norm.double_value(&[]) - 5.0).abs() < 1e-6);
    assert!((a.grad().double_value(&[0]) - 0.6).abs() < 1e-6);
    assert!((b.grad().double_value(&[0]) - 0.8).abs() < 1e-6);
    let norm = clip_gradients(&[&a, &b], 2.0).unwrap();
    assert!((norm.double_value(&[]) - 1.0).abs() < 1e-6);
    assert!((b.grad().double_value(&[0]) - 0.8).abs() < 1e-6);
}
