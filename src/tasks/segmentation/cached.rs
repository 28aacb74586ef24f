//! Training on features computed once: images squashed to one size, no augmentation. They are kept
//! in the cache, so that a stopped run goes on and another recipe or seed finds them.

use super::batches;
use super::course::{Course, Run};
use super::recipe::Recipe;
use super::training::Training;
use crate::data::Source;
use crate::data::segmentation::PairSet;
use crate::data::subset::evenly_spread;
use crate::hash::sha256;
use crate::runtime::device::upload;
use crate::runtime::{home, progress};
use crate::store::{Column, Dtype, Reader, Row, Writer};
use crate::tasks::extract::row_bytes;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// Images per forward pass.
const BATCH: usize = 32;
/// Features are gone through in a random order; more than this needs a lower `train_limit`.
const MOST_BYTES: i64 = 8 << 30;

/// Seconds after which finished rows are made to survive a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Columns of the store.
const MAP: &str = "map";
const LABELS: &str = "labels";

/// The train split, ready for the head.
pub struct Cached {
    /// [n,C,h,w] fp32, on the runtime's device
    features: Tensor,
    /// uint8 [n,size,size]
    labels: Tensor,
    /// Which samples of the split.
    pub indices: Vec<usize>,
}

/// The samples that a recipe uses of a train split of `images`.
pub fn indices(recipe: &Recipe, images: usize) -> Vec<usize> {
    let limit = (recipe.train_limit > 0).then_some(recipe.train_limit);
    evenly_spread(images, limit)
}

/// Computes the features of the train split; what an earlier run finished is taken from the cache.
pub fn extract(training: &Training, train: &PairSet) -> Result<Cached> {
    let (recipe, device) = (training.recipe, training.runtime.device);
    let indices = indices(recipe, train.len());
    let size = recipe.label_size as usize;
    let label_bytes = (size as u64).pow(2).saturating_mul(indices.len() as u64);
    if label_bytes > MOST_BYTES as u64 {
        return Err(Error::usage(format!(
            "the labels of {} images at {size}x{size} would take {} GiB; use a smaller --label-size, or --train-limit",
            indices.len(),
            label_bytes >> 30
        )));
    }
    if indices.is_empty() {
        return Err(Error::model("the train split is empty"));
    }
    let key = key(training, &indices);
    let folder = home()
        .join("cache/features")
        .join(sha256(key["of"].to_string()))
        .join(&sha256(key["pass"].to_string())[..16]);
    let mut writer = Writer::open(&folder, key, indices.len())?;
    if !writer.is_complete() {
        fill(training, train, &indices, &mut writer)?;
    }
    let store = Reader::new(vec![writer.finish()?]);
    Ok(Cached {
        features: store.column(MAP)?.tensor()?.f_to_device(device)?,
        labels: store.column(LABELS)?.tensor()?.f_to_device(device)?,
        indices,
    })
}

/// Everything that decides the maps and the labels.
fn key(training: &Training, indices: &[usize]) -> Value {
    let recipe = training.recipe;
    json!({
        "pass": [MAP, LABELS],
        "of": {
            "network": training.network,
            "adaptor": training.options.adaptor,
            "images": training.train_images,
            "indices": sha256(json!(indices).to_string()),
            "classes": training.data.rule.classes,
            "size": [recipe.crop(), recipe.label_size],
            "batch_size": BATCH,
        },
    })
}

/// Computes the rows that `writer` lacks, in the batches that an undisturbed run has.
fn fill(
    training: &Training,
    train: &PairSet,
    indices: &[usize],
    writer: &mut Writer,
) -> Result<()> {
    let (recipe, runtime) = (training.recipe, training.runtime);
    let sides = (recipe.crop() as usize, recipe.label_size as usize);
    let done = writer.done();
    let batches = batches::squashed(train, &indices[done..], sides, BATCH, runtime);
    let show = training.options.show;
    let bar = progress::bar(
        show,
        "features",
        "images",
        indices.len() as u64,
        done as u64,
    );
    let mut committed = Instant::now();
    for batch in batches {
        let batch = batch?;
        let map = training.features.map(&batch.pixels)?;
        let (_, channels, rows, columns) = map.size4()?;
        let bytes = indices.len() as i64 * channels * rows * columns * 4;
        if bytes > MOST_BYTES {
            return Err(Error::usage(format!(
                "the cached features of {} images would take {} GiB; use --train-limit, or a preset with live features",
                indices.len(),
                bytes >> 30
            )));
        }
        let labels = batches::label_tensor(&batch.annotations)?;
        let shape = |tensor: &Tensor| -> Vec<usize> {
            tensor.size()[1..].iter().map(|&n| n as usize).collect()
        };
        writer.declare(&[
            Column::fixed(MAP, Dtype::F32, &shape(&map)),
            Column::fixed(LABELS, Dtype::U8, &shape(&labels)),
        ])?;
        let map = map.f_to_device(Device::Cpu)?.f_contiguous()?;
        let cells = row_bytes(&map).into_iter().zip(row_bytes(&labels));
        let rows: Vec<Row> = cells
            .map(|(map, labels)| Row {
                cells: vec![map, labels],
            })
            .collect();
        writer.append(&rows, Vec::new())?;
        bar.set_position(writer.done() as u64);
        if committed.elapsed() > COMMIT_EVERY {
            writer.commit()?;
            committed = Instant::now();
        }
    }
    writer.commit()?;
    bar.finish_and_clear();
    Ok(())
}

impl Cached {
    pub fn channels(&self) -> i64 {
        self.features.size()[1]
    }

    /// Trains one head. The order of images is that of the miniature world's protocol: the first
    /// `batch_size` of a fresh permutation in each iteration, from the generator that also drew
    /// the head's weights. A resumed run draws the permutations of the iterations it has behind
    /// it again, so that it sees what an uninterrupted one sees.
    pub fn train<'a>(&self, run: &'a Run<'a>) -> Result<Course<'a>> {
        let mut course = Course::begin(run, self.channels())?;
        let device = run.runtime.device;
        let n = self.features.size()[0];
        let batch = (run.recipe.batch_size as i64).min(n);
        let done = course.iteration();
        for iteration in 0..run.recipe.iterations {
            let order = Tensor::f_randperm(n, (Kind::Int64, tch::Device::Cpu))?;
            if iteration < done {
                continue;
            }
            course.check_interrupt()?;
            let chosen = upload(order.f_narrow(0, 0, batch)?, device)?;
            let features = self.features.f_index_select(0, &chosen)?;
            let labels = self.labels.f_index_select(0, &chosen)?;
            course.step(&features, &labels)?;
        }
        Ok(course)
    }
}
