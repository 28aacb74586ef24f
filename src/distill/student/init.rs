//! Weights to start from, drawn from a seed and the tensor's own name, so that nothing depends on
//! the order in which they are made.

use crate::Result;
use crate::distill::config::StudentConfig;
use crate::distill::teacher::Teacher;
use crate::hash::sha256;
use crate::rng::Rng;
use indexmap::IndexMap;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// The stream of random numbers, out of a seed's, that draws weights.
const WEIGHTS: u64 = 11;
/// timm's initial value of LayerScale.
const LAYER_SCALE: f64 = 1e-5;
/// Of DyT's alpha (arXiv 2503.10622).
const DYT_ALPHA: f64 = 0.5;

/// The value of a trunk's tensor: position maps and prefix tokens N(0, 1/C) [R]; matrices Xavier
/// uniform, as the original ViT; convolutions and the patch embedding uniform with bound
/// 1/sqrt(fan-in), as PyTorch; norms 1, biases 0.
pub fn value(name: &str, like: &Tensor, args: &Value, seed: u64) -> Result<Tensor> {
    let shape = like.size();
    let last = name.rsplit('.').next().unwrap_or(name);
    let constant = |value: f64| Ok(Tensor::f_full(&shape, value, (Kind::Float, Device::Cpu))?);
    if name.starts_with("input_conditioner.") {
        return Ok(like.f_detach()?.f_to_kind(Kind::Float)?.copy());
    }
    match last {
        "pos_embed" | "token" => {
            let width = shape.last().copied().unwrap_or(1) as f64;
            return normal(name, &shape, width.powf(-0.5), seed);
        }
        "running_mean" | "bias" | "beta" => return constant(0.0),
        "alpha" => return constant(DYT_ALPHA),
        _ if name.contains(".ls1.") || name.contains(".ls2.") => return constant(LAYER_SCALE),
        _ if last.starts_with("gamma") && shape.len() <= 1 && name.contains("attention") => {
            let given = args["model_kwargs"]["layer_scale"].as_f64();
            return constant(given.unwrap_or(1.0));
        }
        _ => {}
    }
    match shape.as_slice() {
        [] | [_] => constant(1.0),
        [rows, columns] if !name.contains("patch_generator.embedder") => {
            let bound = (6.0 / (rows + columns) as f64).sqrt();
            uniform(name, &shape, bound, seed)
        }
        [_, fan_in @ ..] => {
            let fan_in: i64 = fan_in.iter().product();
            uniform(name, &shape, (fan_in as f64).powf(-0.5), seed)
        }
    }
}

/// Adds the heads of one teacher (MLP2): PyTorch's own bounds, biases 0.
pub fn heads(
    tensors: &mut IndexMap<String, Tensor>,
    teacher: &Teacher,
    config: &StudentConfig,
    seed: u64,
) -> Result<()> {
    let input = trunk_width(tensors);
    let outputs = [
        ("_heads", teacher.summary_width),
        (
            "_feature_projections",
            teacher.feature_width * teacher.config.upsample.pow(2),
        ),
    ];
    for (folder, output) in outputs {
        let prefix = format!("{folder}.{}", teacher.name);
        let mut layers = vec![("fc1".to_string(), config.mlp_hidden_size, input)];
        let mut norms = Vec::new();
        for i in 0..config.mlp_num_inner {
            norms.push(format!("blocks.{i}.0"));
            let inner = (config.mlp_hidden_size, config.mlp_hidden_size);
            layers.push((format!("blocks.{i}.2"), inner.0, inner.1));
        }
        norms.push("final.0".into());
        layers.push(("final.2".into(), output, config.mlp_hidden_size));
        let options = (Kind::Float, Device::Cpu);
        for (layer, rows, columns) in layers {
            let key = format!("{prefix}.{layer}.weight");
            let bound = (columns as f64).powf(-0.5);
            let weight = uniform(&key, &[rows, columns], bound, seed)?;
            tensors.insert(key, weight);
            let bias = Tensor::f_zeros([rows], options)?;
            tensors.insert(format!("{prefix}.{layer}.bias"), bias);
        }
        for norm in norms {
            let size = [config.mlp_hidden_size];
            let key = |what: &str| format!("{prefix}.{norm}.{what}");
            tensors.insert(key("weight"), Tensor::f_ones(size, options)?);
            tensors.insert(key("bias"), Tensor::f_zeros(size, options)?);
        }
    }
    Ok(())
}

/// C of the tokens or the map that heads read.
fn trunk_width(tensors: &IndexMap<String, Tensor>) -> i64 {
    let tokens = tensors.get("base_model.patch_generator.cls_token.token");
    let width = |t: &Tensor| t.size().last().copied().unwrap_or(0);
    tokens.map(width).unwrap_or_else(|| {
        let neck = tensors.iter().rev().find(|(key, _)| {
            key.starts_with("base_model.high_res_neck.") && key.ends_with("conv2.weight")
        });
        neck.map_or(0, |(_, t)| t.size()[0])
    })
}

fn stream(name: &str, seed: u64) -> Rng {
    let digest = sha256(name);
    let key = u64::from_str_radix(&digest[..16], 16).unwrap_or(0);
    Rng::new(&[seed, WEIGHTS, key])
}

fn uniform(name: &str, shape: &[i64], bound: f64, seed: u64) -> Result<Tensor> {
    let mut rng = stream(name, seed);
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| rng.uniform(-bound, bound) as f32)
        .collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
}

/// Box and Muller's transform.
fn normal(name: &str, shape: &[i64], std: f64, seed: u64) -> Result<Tensor> {
    let mut rng = stream(name, seed);
    let count: i64 = shape.iter().product();
    let mut draw = || {
        let radius = (-2.0 * (1.0 - rng.uniform(0.0, 1.0)).ln()).sqrt();
        let angle = rng.uniform(0.0, 2.0 * std::f64::consts::PI);
        (std * radius * angle.cos()) as f32
    };
    let values: Vec<f32> = (0..count).map(|_| draw()).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
}
