//! Flags that only some architectures know, and what a run says it ran in.

use crate::common::{fixture, radio_eval, shared, stderr};
use radio_eval::models::architecture::build;
use radio_eval::models::{BuildOptions, radio};
use radio_eval::runtime::{Precision, cpu};
use radio_eval::weights::{Checkpoint, safetensors};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Seven flags were once accepted by networks to which they mean nothing.
#[test]
fn a_flag_without_effect_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("input.safetensors");
    let x = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
    safetensors::write(&input, [("input", &x)], HashMap::new()).unwrap();
    for (model, flags, knowing) in [
        ("mini-clip", &["--window", "optimal"][..], "e-radio"),
        ("mini-clip", &["--window", "trained"], "e-radio"),
        ("mini-dino", &["--vitdet-window", "8"], "radio-vit"),
        ("mini-dino", &["--pos-align-corners", "true"], "radio-vit"),
        ("mini-dino", &["--tokens-before-norm"], "clip"),
        ("mini-clip", &["--nhwc"], "torchscript"),
        ("mini-sam", &["--step", "32"], "torchscript"),
        ("mini-sam", &["--attention-head-eps", "1e-5"], "e-radio"),
        ("eradio_xxxtiny", &["--vitdet-window", "8"], "radio-vit"),
    ] {
        let mut command = radio_eval(home.path());
        command.args(["features", "--model", model, "--random-weights", "1"]);
        command.args(flags).arg("--input").arg(&input);
        let output = home.path().join("out.safetensors");
        let output = command.arg("--output").arg(output).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{model} {flags:?}: {text}");
        assert!(text.contains(flags[0]) && text.contains(knowing), "{text}");
    }
}

/// No adaptor of these students has an attention head, so its eps decides nothing.
#[test]
fn an_eps_of_no_head_is_refused() {
    let folder = fixture("radio/v3_like");
    let checkpoint = crate::teachers::open(
        &folder.join("checkpoint_raw.safetensors"),
        &folder.join("args.json"),
    );
    let options = BuildOptions {
        attention_head_eps: Some(1e-5),
        ..BuildOptions::default()
    };
    let error = build(&checkpoint, &options).err().unwrap().to_string();
    assert!(error.contains("--attention-head-eps"), "{error}");
}

/// A checkpoint that is meant to run in bf16 does so unless another precision is asked for, and
/// its record says which.
#[test]
fn what_ran_is_what_is_said() {
    let Some(folder) = shared("golden/radio_vit/v21_bf16") else {
        return;
    };
    let checkpoint = Checkpoint::open(&folder.join("checkpoint.pth.tar")).unwrap();
    for (asked, runs) in [
        (None, Precision::Bf16),
        (Some(Kind::Float), Precision::Fp32),
        (Some(Kind::BFloat16), Precision::Bf16),
    ] {
        let options = BuildOptions {
            kind: asked,
            ..BuildOptions::default()
        };
        let network = build(&checkpoint, &options).unwrap();
        assert_eq!(network.info().precision, runs, "{asked:?}");
        let x = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
        let request = radio_eval::models::Request::default();
        let features = radio_eval::models::backbone::run(&*network, &x, &request).unwrap();
        assert_eq!(features.summary.kind(), runs.kind());
    }
}

/// Every default that decides is among the settings, with where it came from if it was a choice.
#[test]
fn decisive_defaults_are_recorded() {
    let folder = fixture("radio/v3_like");
    let checkpoint = crate::teachers::open(
        &folder.join("checkpoint_raw.safetensors"),
        &folder.join("args.json"),
    );
    for (flag, from) in [
        (None, "upstream's rule since 2025-06-28"),
        (Some(true), "flag"),
    ] {
        let options = BuildOptions {
            radio: radio::Options {
                pos_align_corners: flag,
                ..Default::default()
            },
            mean: Some([0.1, 0.2, 0.3]),
            ..BuildOptions::default()
        };
        let network = build(&checkpoint, &options).unwrap();
        let settings = &network.info().settings;
        assert_eq!(settings["pos_align_corners_from"], from);
        assert_eq!(settings["mean"], serde_json::json!([0.1, 0.2, 0.3]));
        for name in ["std", "mean_and_std_from", "heads", "eps"] {
            assert!(settings.contains_key(name), "{name}");
        }
        assert_eq!(settings["mean_and_std_from"]["from"], "flag");
    }
}

/// The warning is about what really runs: a checkpoint that is meant for half precision, without any
/// flag, on a CPU that has no instructions for it.
#[test]
fn a_slow_precision_of_the_checkpoint_is_told() {
    let home = tempfile::tempdir().unwrap();
    let folder = fixture("radio/v3_like");
    let text = std::fs::read_to_string(folder.join("args.json")).unwrap();
    let mut args: serde_json::Value = serde_json::from_str(&text).unwrap();
    let weights = home.path().join("model.safetensors");
    std::fs::copy(folder.join("checkpoint_raw.safetensors"), &weights).unwrap();
    let input = home.path().join("in.safetensors");
    let x = Tensor::rand([1, 3, 64, 96], (Kind::Float, Device::Cpu));
    safetensors::write(&input, [("input", &x)], HashMap::new()).unwrap();
    for (dtype, precision) in [("bfloat16", Precision::Bf16), ("float16", Precision::Fp16)] {
        args["dtype"] = dtype.into();
        std::fs::write(home.path().join("args.json"), args.to_string()).unwrap();
        let run = |more: &[&str]| {
            let mut command = radio_eval(home.path());
            command.args(["features", "--device", "cpu", "--model"]);
            command.arg(&weights).args(more).arg("--input").arg(&input);
            let output = home.path().join("out.safetensors");
            let output = command.arg("--output").arg(output).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            stderr(&output)
        };
        let slow = cpu::slowness(Device::Cpu, precision);
        let told = run(&[]);
        assert_eq!(
            slow.is_some(),
            told.contains("is many times slower"),
            "{told}"
        );
        if let Some(sentence) = slow {
            assert!(told.contains(&sentence), "{told}");
        }
        assert!(!run(&["--precision", "fp32"]).contains("slower"));
    }
}
