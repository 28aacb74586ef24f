//! The kNN protocol against the official script's values.

use crate::common::fixture;
use radio_eval::metrics::vote::vote;
use radio_eval::tasks::extract::Rows;
use radio_eval::tasks::knn::search::search;
use radio_eval::weights::Checkpoint;
use tch::{Device, Kind, Tensor};

/// golden/misc/knn: 64 queries, 500 keys, k = 20, temperature 0.07; votes must be equal.
#[test]
fn golden_votes_are_equal() {
    let golden = Checkpoint::open(&fixture("knn/knn.safetensors")).unwrap();
    let tensors = golden.tensors().unwrap();
    let read = |name: &str, kind| tensors[name].read(Device::Cpu, kind).unwrap();
    let floats = |name: &str| Vec::<f32>::try_from(read(name, Kind::Float).reshape([-1])).unwrap();
    let integers = |name: &str| -> Vec<i64> { read(name, Kind::Int64).try_into().unwrap() };
    let labels = integers("train_labels");

    let (queries, keys) = (floats("eval"), floats("train"));
    let found = search(
        &Rows::new(&queries, 32).unwrap(),
        &Rows::new(&keys, 32).unwrap(),
        20,
        Device::Cpu,
        &mut |_| {},
    )
    .unwrap();
    let similarities: Vec<f32> = (0..found.queries())
        .flat_map(|q| found.neighbours(q).iter().map(|n| n.similarity))
        .collect();
    let expected = read("topk_sim_sorted", Kind::Float).reshape([-1]);
    let difference = (Tensor::from_slice(&similarities) - expected).abs().max();
    assert!(difference.double_value(&[]) < 1e-6, "{difference:?}");

    let votes: Vec<i64> = (0..found.queries())
        .map(|q| {
            let neighbours = found
                .neighbours(q)
                .iter()
                .map(|n| (n.similarity, labels[n.key as usize] as u32));
            i64::from(vote(neighbours, 0.07, 1)[0])
        })
        .collect();
    assert_eq!(votes, integers("vote"));
    let correct = votes
        .iter()
        .zip(integers("eval_labels"))
        .filter(|(v, l)| **v == *l);
    assert_eq!(
        correct.count() as i64,
        read("num_correct", Kind::Int64).int64_value(&[])
    );
}
