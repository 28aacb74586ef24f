//! What is put on top of frozen features: the linear probe's training, nearest neighbours,
//! zero-shot's ranking.

use crate::apart;
use radio_eval::heads::adamw::AdamWOptions;
use radio_eval::heads::detection::{
    Detector, DetectorOptions, HeadKind, Images, Sampler, Stage, Target,
};
use radio_eval::heads::{AdamW, LinearSegHead};
use radio_eval::tasks::extract::Rows;
use radio_eval::tasks::knn::search;
use radio_eval::tasks::zero_shot;
use strict_device::device;
use tch::{Device, Kind, Tensor};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// The start of a training, made once: libtorch's generator is shared with other tests.
struct Start {
    head: Vec<(String, Tensor)>,
    features: Tensor,
    labels: Tensor,
}

impl Start {
    fn new() -> Self {
        let labels = Tensor::randint(8, [3, 33, 40], (Kind::Int64, Device::Cpu));
        let labels = labels.where_self(&labels.lt(7), &Tensor::from(255i64));
        Start {
            head: LinearSegHead::new(12, 7, Device::Cpu).unwrap().tensors(),
            features: Tensor::randn([3, 12, 6, 5], CPU),
            labels: labels.to_kind(Kind::Uint8),
        }
    }

    fn head(&self, on: Device) -> LinearSegHead {
        let read = |name: &str| {
            let found = self.head.iter().find(|(own, _)| own == name);
            Ok(found.expect("a tensor of the head").1.copy())
        };
        LinearSegHead::from_tensors(read, on).unwrap()
    }

    /// Loss and gradients of the first step.
    fn step(&self, on: Device) -> (f64, Vec<Tensor>) {
        let head = self.head(on);
        let seen = head.accumulate(&self.features.to_device(on), &self.labels.to_device(on));
        let gradients = head.parameters().iter().map(|p| p.grad().copy()).collect();
        (seen.unwrap().read().unwrap().loss, gradients)
    }

    /// Losses of five steps, and the tensors afterwards.
    fn train(&self, on: Device) -> (Vec<f64>, Vec<Tensor>) {
        let head = self.head(on);
        let mut optimiser = AdamW::new(AdamWOptions::default(), &head.parameters());
        let (features, labels) = (self.features.to_device(on), self.labels.to_device(on));
        let mut losses = Vec::new();
        for _ in 0..5 {
            let seen = head.accumulate(&features, &labels).unwrap();
            optimiser.step(&head.parameters(), 1e-2);
            losses.push(seen.read().unwrap().loss);
        }
        (losses, head.tensors().into_iter().map(|(_, t)| t).collect())
    }
}

#[test]
fn a_probe_trains_as_on_the_cpu_and_every_time_alike() {
    let start = Start::new();
    let (loss, gradients) = start.step(device());
    let (host_loss, host_gradients) = start.step(Device::Cpu);
    assert!(
        (loss - host_loss).abs() <= 1e-6 * host_loss,
        "{loss} {host_loss}"
    );
    for (own, host) in gradients.iter().zip(&host_gradients) {
        let own = own.to_device(Device::Cpu);
        assert!(own.allclose(host, 1e-4, 1e-6, false), "{own:?}");
    }
    let (losses, tensors) = start.train(device());
    assert!(losses[4] < losses[0], "{losses:?}");
    let (again, tensors_again) = start.train(device());
    assert_eq!(again, losses);
    for (one, other) in tensors.iter().zip(&tensors_again) {
        assert_eq!(apart(other, &one.to_device(Device::Cpu)), 0.0);
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.reshape([-1])).unwrap()
}

#[test]
fn neighbours_are_those_of_the_cpu() {
    tch::manual_seed(1);
    let (queries, keys) = (
        Tensor::randn([300, 24], CPU),
        Tensor::randn([1_500, 24], CPU),
    );
    let (queries, keys) = (values(&queries), values(&keys));
    let on = |device| {
        let (queries, keys) = (
            Rows::new(&queries, 24).unwrap(),
            Rows::new(&keys, 24).unwrap(),
        );
        search::search(&queries, &keys, 9, device, &mut |_| {}).unwrap()
    };
    let (own, host) = (on(device()), on(Device::Cpu));
    for query in 0..300 {
        for (own, host) in own.neighbours(query).iter().zip(host.neighbours(query)) {
            assert_eq!(own.key, host.key);
            assert!((own.similarity - host.similarity).abs() < 1e-5);
        }
    }
}

#[test]
fn zero_shot_ranks_as_on_the_cpu() {
    tch::manual_seed(2);
    let (images, classes) = (Tensor::randn([70, 16], CPU), Tensor::randn([11, 16], CPU));
    let images = values(&images);
    let ranked = |on: Device| {
        let rows = Rows::new(&images, 16).unwrap();
        zero_shot::rank(rows, &classes.to_device(on), on).unwrap()
    };
    assert_eq!(ranked(device()), ranked(Device::Cpu));
}

/// Takes the lowest indices.
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

/// RoIAlign and suppression are tensor code there, native code here.
#[test]
fn a_detector_trains_and_detects_as_on_the_cpu() {
    let mut options = DetectorOptions::new(HeadKind::MaskVitdet, 12, 3);
    (options.channels, options.hidden, options.mask_hidden) = (16, 24, 8);
    options.rpn.anchor_sizes = vec![8.0, 16.0, 32.0, 64.0, 128.0];
    options.rpn.proposals = (40, 20);
    options.sampling.batch = 16;
    options.score_threshold = 0.0;
    options.detections = 10;
    let drawn = Detector::new(options.clone(), Device::Cpu, None).unwrap();
    let map = Tensor::randn([2, 12, 6, 6], CPU);
    let images = Images {
        padded: (96, 96),
        sizes: vec![(96, 96), (80, 96)],
    };
    let run = |on: Device| {
        let copy = |name: &str| {
            Ok(drawn
                .parameters()
                .get(name)
                .map(|tensor| tensor.detach().copy()))
        };
        let detector = Detector::new(options.clone(), on, Some(&copy)).unwrap();
        let masks = Tensor::zeros([2, 96, 96], (Kind::Uint8, Device::Cpu));
        let _ = masks.narrow(1, 10, 40).narrow(2, 10, 40).fill_(1);
        let target = |objects: i64| Target {
            boxes: Tensor::from_slice(&[10f32, 10., 50., 50., 10., 12., 45., 50.])
                .view([2, 4])
                .narrow(0, 0, objects)
                .to_device(on),
            labels: Tensor::from_slice(&[1i64, 3])
                .narrow(0, 0, objects)
                .to_device(on),
            masks: Some(masks.narrow(0, 0, objects).to_device(on)),
        };
        let map = map.to_device(on);
        let targets = [target(2), target(0)];
        let losses = detector
            .losses(&map, &images, &targets, &mut Lowest)
            .unwrap();
        losses.total().backward();
        let values: Vec<f64> = losses
            .named()
            .iter()
            .map(|(_, l)| l.double_value(&[]))
            .collect();
        let norms: Vec<f64> = (detector.parameters().values())
            .map(|parameter| parameter.grad().norm().double_value(&[]))
            .collect();
        let found = detector.detect(&map, &images).unwrap();
        let scores: Vec<Tensor> = found
            .iter()
            .map(|f| f.scores.to_device(Device::Cpu))
            .collect();
        let masks = found[0].masks.as_ref().unwrap().size();
        (values, norms, scores, masks)
    };
    let (host, own) = (run(Device::Cpu), run(device()));
    for (a, b) in host.0.iter().zip(&own.0).chain(host.1.iter().zip(&own.1)) {
        assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
    for (a, b) in host.2.iter().zip(&own.2) {
        assert!(a.allclose(b, 1e-4, 1e-5, false), "{a:?} {b:?}");
    }
    assert_eq!(host.3, own.3);
}
