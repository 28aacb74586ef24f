//! What is put on top of frozen features: the linear probe's training, nearest neighbours,
//! zero-shot's ranking.

use crate::apart;
use radio_eval::heads::adamw::AdamWOptions;
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
