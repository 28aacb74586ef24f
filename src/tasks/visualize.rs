//! Spatial features as colours: the first three principal components as red, green and blue.
//!
//! One basis for all pictures of a map, so that a colour means the same in each. The fit is robust:
//! tokens far from the rest (artefacts in the background of ViTs without registers) are left out of
//! it, though not out of the picture.

use crate::data::image::RgbImage;
use crate::data::pixels;
use crate::models::{Backbone, Request, backbone};
use crate::runtime::interrupt;
use crate::{Error, Result};
use indexmap::IndexMap;
use tch::{Device, Kind, Tensor};

/// Times of fitting anew without the tokens that the last fit found far away.
const REFITS: usize = 2;
/// Tokens further from the mean than so many median distances are far away.
const FAR: f64 = 3.0;
/// Percentiles that become black and full colour.
const ENDS: (f64, f64) = (0.02, 0.98);

/// One kind of features of all pictures: the backbone's, an adaptor's, a block's.
pub struct FeatureMaps {
    /// `spatial`, `clip`, `block 7`
    pub name: String,
    /// Of each picture `[N, C]` on the CPU in fp32.
    tokens: Vec<Tensor>,
    /// (rows, columns)
    grid: (i64, i64),
}

/// Runs the pictures one by one.
pub fn maps(
    network: &dyn Backbone,
    pictures: &[RgbImage],
    request: &Request,
    device: Device,
) -> Result<Vec<FeatureMaps>> {
    let mut all: IndexMap<String, FeatureMaps> = IndexMap::new();
    for picture in pictures {
        interrupt::check()?;
        let input = pixels::to_float(std::slice::from_ref(picture)).f_to_device(device)?;
        let features = backbone::run(network, &input, request)?;
        let mut keep = |name: String, spatial: &Tensor, grid| -> Result<()> {
            let tokens = spatial
                .f_squeeze_dim(0)?
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Float)?;
            let maps = all.entry(name.clone()).or_insert(FeatureMaps {
                name,
                tokens: Vec::new(),
                grid,
            });
            maps.tokens.push(tokens);
            Ok(())
        };
        keep("spatial".into(), &features.spatial, features.grid)?;
        for (name, adaptor) in &features.adaptors {
            if let Some((spatial, grid)) = &adaptor.spatial {
                keep(name.clone(), spatial, *grid)?;
            }
        }
        for block in &features.intermediates {
            keep(format!("block {}", block.block), &block.spatial, block.grid)?;
        }
    }
    Ok(all.into_values().collect())
}

impl FeatureMaps {
    /// A picture of a pixel per token for each input.
    pub fn colours(&self) -> Result<Vec<RgbImage>> {
        let all = Tensor::f_cat(&self.tokens, 0)?.f_to_kind(Kind::Double)?;
        if all.size()[1] < 3 || all.size()[0] < 3 {
            return Err(Error::model(format!(
                "{}: three colours need three channels and three tokens, they are {:?}",
                self.name,
                all.size()
            )));
        }
        let (mean, basis, kept) = fit(&all)?;
        let components = |x: &Tensor| -> Result<Tensor> {
            Ok(x.f_to_kind(Kind::Double)?.f_sub(&mean)?.f_matmul(&basis)?)
        };
        let (low, high) = ends(&components(&kept)?)?;
        let span = high.f_sub(&low)?.f_clamp_min(1e-12)?;
        let paint = |tokens: &Tensor| -> Result<RgbImage> {
            let shares = components(tokens)?.f_sub(&low)?.f_div(&span)?;
            let bytes = shares.f_clamp(0.0, 1.0)?.f_mul_scalar(255.0)?.f_round()?;
            let data: Vec<u8> = Vec::try_from(bytes.f_to_kind(Kind::Uint8)?.f_flatten(0, -1)?)
                .map_err(Error::from)?;
            Ok(RgbImage {
                height: self.grid.0 as usize,
                width: self.grid.1 as usize,
                data,
            })
        };
        self.tokens.iter().map(paint).collect()
    }
}

/// Mean `[1,C]` and the first three principal axes `[C,3]` of the tokens `[N,C]` that lie near, and
/// these tokens. An axis points to where its largest weight is positive.
fn fit(all: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let mut kept = all.shallow_clone();
    for round in 0.. {
        let mean = kept.f_mean_dim([0i64].as_slice(), true, Kind::Double)?;
        if round < REFITS {
            let distance = all.f_sub(&mean)?.f_square()?.f_sum_dim_intlist(
                [1i64].as_slice(),
                false,
                Kind::Double,
            )?;
            let distance = distance.f_sqrt()?;
            let limit = distance.f_median()?.f_mul_scalar(FAR)?;
            let near = distance
                .f_le_tensor(&limit)?
                .f_nonzero()?
                .f_flatten(0, -1)?;
            if near.size()[0] >= 3 {
                kept = all.f_index_select(0, &near)?;
                continue;
            }
        }
        let centred = kept.f_sub(&mean)?;
        let covariance = centred.f_tr()?.f_matmul(&centred)?;
        let (_, vectors) = covariance.f_linalg_eigh("L")?;
        let width = vectors.size()[1];
        let axes = vectors
            .f_narrow(1, (width - 3).max(0), width.min(3))?
            .f_flip([1i64])?;
        let largest = axes.f_abs()?.f_argmax(0, true)?;
        let signs = axes.f_gather(0, &largest, false)?.f_sign()?;
        return Ok((mean, axes.f_mul(&signs)?, kept));
    }
    Err(Error::model("the components could not be fitted"))
}

/// The percentiles of each column that become black and full colour, `[1,3]` each.
fn ends(components: &Tensor) -> Result<(Tensor, Tensor)> {
    let (sorted, _) = components.f_sort(0, false)?;
    let last = (sorted.size()[0] - 1) as f64;
    let row = |share: f64| sorted.f_narrow(0, (share * last).round() as i64, 1);
    Ok((row(ENDS.0)?, row(ENDS.1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_far_token_does_not_bend_the_axes() {
        let line: Vec<f64> = (0..100)
            .flat_map(|i| [f64::from(i), 0.0, 0.0, 0.0])
            .collect();
        let mut tokens = Tensor::from_slice(&line).view([100, 4]);
        let far = Tensor::from_slice(&[0.0f64, 0.0, 9_000.0, 0.0]).view([1, 4]);
        tokens = Tensor::cat(&[tokens, far], 0);
        let (_, axes, kept) = fit(&tokens).unwrap();
        assert_eq!(kept.size(), [100, 4]);
        assert!((axes.double_value(&[0, 0]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn colours_are_one_basis_over_pictures() {
        let tokens = |from: i64| {
            let column = Tensor::arange_start(from, from + 4, (Kind::Float, Device::Cpu));
            Tensor::stack(&[&column, &(&column * 0.5), &(&column * 0.0)], 1)
        };
        let maps = FeatureMaps {
            name: "spatial".into(),
            tokens: vec![tokens(0), tokens(4), tokens(0)],
            grid: (2, 2),
        };
        let pictures = maps.colours().unwrap();
        assert_eq!(pictures[0].data, pictures[2].data);
        assert_ne!(pictures[0].data, pictures[1].data);
        assert!(pictures[0].data[0] < pictures[1].data[9]);
    }
}
