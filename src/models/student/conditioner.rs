//! The pixel statistics of a student, which its checkpoint holds as tensors.

use crate::Result;
use crate::models::BuildOptions;
use crate::models::normalise::{self, Constants, MeanStd};
use crate::weights::{Checkpoint, Params, WeightSource};
use tch::{Device, Kind, Tensor};

/// The pixel normalisation of the file; OpenAI CLIP's for random weights (upstream's default).
pub fn conditioner(
    root: &Params,
    checkpoint: &Checkpoint,
    options: &BuildOptions,
) -> Result<Constants> {
    let (mean_std, source): (MeanStd, _) = match checkpoint.source {
        WeightSource::Random(_) => {
            let (mean, std) = normalise::CLIP;
            let p = root.pp("input_conditioner");
            for (name, values) in [("norm_mean", mean), ("norm_std", std)] {
                let values = Tensor::from_slice(&values).to_kind(Kind::Float);
                p.constant(name, values.view([3, 1, 1]));
            }
            (normalise::CLIP, "upstream's default")
        }
        WeightSource::File(_) | WeightSource::TorchScript => {
            let three = |name: &str| -> Result<[f64; 3]> {
                let values = root.pp("input_conditioner").buffer(name, &[3, 1, 1])?;
                let values = values
                    .to_device(Device::Cpu)
                    .to_kind(Kind::Double)
                    .view([3]);
                Ok(std::array::from_fn(|i| values.double_value(&[i as i64])))
            };
            let stored = (three("norm_mean")?, three("norm_std")?);
            (stored, "input_conditioner in the file")
        }
    };
    Constants::of_user_or(options, Constants::new(mean_std, source))
}
