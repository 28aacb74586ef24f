//! Which anchors and proposals are trained on what (spec/coco.md §4.5).

use tch::{Kind, Tensor};

/// No object: background.
pub const BACKGROUND: i64 = -1;
/// Neither: not trained on.
pub const IGNORED: i64 = -2;

/// Assigns boxes to objects by their IoU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matcher {
    /// From this IoU on a box belongs to its best object.
    pub high: f64,
    /// Below this one it is background.
    pub low: f64,
    /// Boxes that come nearest to an object get their own best object in any case.
    pub low_quality: bool,
}

impl Matcher {
    pub const PROPOSALS: Matcher = Matcher {
        high: 0.7,
        low: 0.3,
        low_quality: true,
    };
    pub const HEAD: Matcher = Matcher {
        high: 0.5,
        low: 0.5,
        low_quality: false,
    };

    /// `quality` `[objects, boxes]`, at least one object -> int64 `[boxes]`: the object,
    /// [`BACKGROUND`] or [`IGNORED`].
    pub fn assign(&self, quality: &Tensor) -> Tensor {
        let (value, best) = quality.max_dim(0, false);
        let background = Tensor::from(BACKGROUND).to_device(quality.device());
        let ignored = Tensor::from(IGNORED).to_device(quality.device());
        let mut matches = best.where_self(&value.ge(self.high), &ignored);
        matches = background.where_self(&value.lt(self.low), &matches);
        if self.low_quality {
            let nearest = quality.amax([1], true);
            let reaches = quality.eq_tensor(&nearest).any_dim(0, false);
            matches = best.where_self(&reaches, &matches);
        }
        matches
    }
}

/// Who is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Anchors,
    Proposals,
}

/// Chooses the boxes that a step is trained on.
pub trait Sampler {
    /// Indices out of `positive` and `negative` (ascending), `wanted` (positive, negative) of them,
    /// in any order.
    fn choose(
        &mut self,
        stage: Stage,
        image: usize,
        positive: &[i64],
        negative: &[i64],
        wanted: (usize, usize),
    ) -> (Vec<i64>, Vec<i64>);
}

/// How many, of which kind.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// Boxes per image.
    pub batch: usize,
    /// Largest share of positive ones.
    pub positive: f64,
}

/// Indices (ascending) that are trained on.
pub struct Sample {
    pub positive: Vec<i64>,
    /// Positive and negative ones.
    pub all: Vec<i64>,
}

impl Sampling {
    /// `labels`: positive above 0, negative 0, below 0 left out.
    pub fn sample(
        &self,
        labels: &[i64],
        stage: Stage,
        image: usize,
        sampler: &mut dyn Sampler,
    ) -> Sample {
        let at = |wanted: fn(i64) -> bool| -> Vec<i64> {
            let pairs = (0..).zip(labels);
            pairs.filter(|(_, l)| wanted(**l)).map(|(i, _)| i).collect()
        };
        let (positive, negative) = (at(|l| l > 0), at(|l| l == 0));
        let most = (self.batch as f64 * self.positive) as usize;
        let positives = positive.len().min(most);
        let negatives = negative.len().min(self.batch - positives);
        let wanted = (positives, negatives);
        let (mut positive, negative) = sampler.choose(stage, image, &positive, &negative, wanted);
        positive.sort_unstable();
        let mut all = [positive.as_slice(), &negative].concat();
        all.sort_unstable();
        Sample { positive, all }
    }
}

/// A tensor of whole numbers on the host.
pub fn on_host(tensor: &Tensor) -> crate::Result<Vec<i64>> {
    let tensor = tensor.f_to_kind(Kind::Int64)?.f_flatten(0, -1)?;
    Ok(Vec::<i64>::try_from(tensor)?)
}
