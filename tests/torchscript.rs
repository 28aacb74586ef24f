//! Users' TorchScript programs, in every form of output.

use crate::common::{fixture, shared};
use radio_eval::models::torchscript::{Declared, OutputAxes, Size};
use radio_eval::models::{Backbone, BuildOptions, Request, architecture, backbone};
use radio_eval::weights::{Checkpoint, safetensors};
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn given() -> Declared {
    Declared {
        mean: Some([0.5, 0.4, 0.3]),
        std: Some([0.2, 0.25, 0.5]),
        resolution: Some(Size::Pair([16, 24])),
        ..Declared::default()
    }
}

fn load(path: &Path, torchscript: Declared) -> Result<Box<dyn Backbone>, String> {
    let options = BuildOptions {
        torchscript,
        ..BuildOptions::default()
    };
    let checkpoint = Checkpoint::open(path).map_err(|e| e.to_string())?;
    architecture::build(&checkpoint, &options).map_err(|e| e.to_string())
}

fn expected(name: &str) -> Tensor {
    let (tensors, _) = safetensors::open(&fixture("torchscript/expected.safetensors")).unwrap();
    tensors[name].read_stored().unwrap()
}

#[track_caller]
fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.size(), b.size());
    let difference = (a - b).abs().max().double_value(&[]);
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn every_form_of_output() {
    for (file, summary, spatial, step) in [
        ("pair", "head", "spatial", 8),
        ("dictionary", "head", "spatial", 8),
        ("classtoken", "sum", "spatial", 8),
        ("vector", "head", "head", 1),
        ("indexed", "head", "head", 1),
    ] {
        let model = load(&fixture(&format!("torchscript/{file}.pt")), given()).unwrap();
        let features = backbone::run(&*model, &expected("input"), &Request::default()).unwrap();
        assert_close(&features.summary, &expected(summary));
        let spatial = expected(spatial);
        let tokens = match spatial.dim() {
            2 => spatial.unsqueeze(1),
            _ => spatial,
        };
        assert_close(&features.spatial, &tokens);
        let info = model.info();
        assert_eq!(
            (info.summary_dim, info.spatial_dim),
            (tokens_width(&features.summary), tokens_width(&tokens))
        );
        assert_eq!((info.step, info.patch), (step, step), "{file}");
        assert_eq!(info.parameters, 3 * 4 * 64 + 4 + 4 * 6 + 6);
    }
}

fn tokens_width(tensor: &Tensor) -> i64 {
    tensor.size()[tensor.dim() - 1]
}

#[test]
fn settings_come_from_the_toml_beside_the_file() {
    let model = load(&fixture("torchscript/nhwc.pt"), Declared::default()).unwrap();
    assert_eq!(model.info().preferred, (16, 24));
    let features = backbone::run(&*model, &expected("input"), &Request::default()).unwrap();
    assert_eq!(features.grid, (2, 3));
    assert_close(&features.spatial, &expected("spatial"));
    assert_close(&features.summary, &expected("mean"));
    assert_eq!(model.info().settings["layout"], "nhwc");
}

#[test]
fn flags_overrule_the_toml() {
    let flags = Declared {
        layout: Some(OutputAxes::Nchw),
        step: Some(4),
        ..Declared::default()
    };
    let model = load(&fixture("torchscript/nhwc.pt"), flags).unwrap();
    // [B, 2, 3, 4] read as [B, C, h, w]: two channels on a grid of 3 x 4.
    assert_eq!((model.info().spatial_dim, model.info().step), (2, 4));
}

#[test]
fn bad_settings_and_bad_programs_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("model.pt");
    std::fs::copy(fixture("torchscript/pair.pt"), &program).unwrap();
    let toml = folder.path().join("model.toml");
    std::fs::write(&toml, "means = [0, 0, 0]").unwrap();
    let error = load(&program, Declared::default()).err().unwrap();
    assert!(
        error.contains("model.toml") && error.contains("means"),
        "{error}"
    );
    std::fs::write(&toml, "std = [0.0, 1.0, 1.0]").unwrap();
    let error = load(&program, Declared::default()).err().unwrap();
    assert!(
        error.contains("standard deviations must be positive"),
        "{error}"
    );
    std::fs::write(&toml, "\u{FEFF}resolution = 16\nfixed = true").unwrap();
    let model = load(&program, Declared::default()).unwrap();
    let x = Tensor::zeros([1, 3, 32, 32], (Kind::Float, Device::Cpu));
    let error = backbone::run(&*model, &x, &Request::default())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("takes 16x16 only"), "{error}");
    std::fs::write(&toml, "resolution = 4").unwrap();
    let error = load(&program, Declared::default()).err().unwrap();
    assert!(error.contains("model.pt: the program failed"), "{error}");
}

/// A real traced network, at a size other than the one it was traced at.
#[test]
fn a_traced_efficientnet() {
    let Some(path) = shared("real/efficientnet_lite0.torchscript.pt") else {
        return;
    };
    let model = load(&path, Declared::default()).unwrap();
    let info = model.info();
    assert_eq!((info.summary_dim, info.spatial_dim), (1280, 1280));
    assert_eq!((info.step, info.parameters), (32, 4_652_008));
    let x = Tensor::full([1, 3, 128, 192], 0.5, (Kind::Float, Device::Cpu));
    let features = backbone::run(&*model, &x, &Request::default()).unwrap();
    assert_eq!(features.grid, (4, 6));
    assert_eq!(features.spatial.size(), [1, 24, 1280]);
}
