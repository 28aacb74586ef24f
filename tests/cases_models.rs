//! Weight files as people really have them (`../shared/cases/models`): each gives the numbers of
//! the official code, or a sentence that says what it is and what to do.

use crate::common::{fails, fixture, radio_eval, shared, stdout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn case(name: &str) -> Option<PathBuf> {
    shared(&format!("cases/models/{name}"))
}

fn verify(home: &Path, model: &Path, reference: &Path) -> Command {
    let mut command = radio_eval(home);
    command.arg("verify").arg("--model").arg(model);
    command.arg("--reference").arg(reference);
    command.args(["--tolerance", "1e-5", "--json"]);
    command
}

/// Every tensor of the reference within 1e-5 of its scale.
#[track_caller]
fn equals(model: &Path, reference: &Path, more: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let text = stdout(verify(home.path(), model, reference).args(more));
    let report: Value = serde_json::from_str(&text).unwrap();
    let compared = report["compared"].as_array().unwrap();
    assert!(!compared.is_empty(), "{text}");
}

#[test]
fn m01_a_multi_gpu_run_of_open_clip() {
    let Some(case) = case("m01-ddp") else { return };
    equals(&case.join("epoch_4.pt"), &case.join("ref.safetensors"), &[]);
}

#[test]
fn m03_training_files_of_dinov3() {
    let Some(case) = case("m03-dinov3-training") else {
        return;
    };
    let reference = case.join("ref.safetensors");
    for name in ["teacher_checkpoint.pth", "model_99.pth"] {
        equals(&case.join(name), &reference, &[]);
    }
    let home = tempfile::tempdir().unwrap();
    for name in ["dcp", "dcp/__0_0.distcp"] {
        let text = fails(&mut verify(home.path(), &case.join(name), &reference), 1);
        assert!(
            text.contains("torch.distributed.checkpoint.format_utils")
                && text.contains("dcp_to_torch_save"),
            "{text}"
        );
    }
}

#[test]
fn m06_dinov3_in_timms_layout() {
    let Some(case) = case("m06-dinov3-timm") else {
        return;
    };
    equals(&case, &case.join("ref.safetensors"), &[]);
}

#[test]
fn m07_satellite_weights_by_flags_or_by_their_processor() {
    let Some(case) = case("m07-dinov3-satellite") else {
        return;
    };
    let reference = case.join("ref_sat.safetensors");
    let hub = case.join("dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth");
    let flags = ["--mean", "0.430,0.411,0.296", "--std", "0.213,0.156,0.143"];
    equals(&hub, &reference, &flags);
    equals(&case.join("hf"), &reference, &[]);
    // Without them ImageNet's constants run, and other numbers come out.
    let home = tempfile::tempdir().unwrap();
    fails(&mut verify(home.path(), &hub, &reference), 3);
}

#[test]
fn m09_openais_own_archive_and_its_state_dict() {
    let Some(case) = case("m09-openai-jit") else {
        return;
    };
    for name in ["ViT-tiny-14.pt", "converted.pt"] {
        equals(&case.join(name), &case.join("ref.safetensors"), &[]);
    }
}

#[test]
fn m10_a_trainers_args_hide_no_config() {
    let Some(case) = case("m10-args-hide-config") else {
        return;
    };
    equals(
        &case.join("with_args.pt"),
        &case.join("ref.safetensors"),
        &[],
    );
}

#[test]
fn m12_types_that_no_network_computes_with() {
    let Some(case) = case("m12-unusual-dtypes") else {
        return;
    };
    for name in ["complex.pt", "fp8.pt", "quant.pt", "uint16.pt"] {
        equals(&case.join(name), &case.join("ref.safetensors"), &[]);
    }
}

/// The features of one picture, as the bytes of the file they were written to.
#[track_caller]
fn features(model: &Path) -> Vec<(String, Vec<f32>)> {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("features.safetensors");
    let mut command = radio_eval(home.path());
    command.args(["features", "--resolution", "56", "--model"]);
    command.arg(model).arg("--input").arg(picture());
    stdout(command.arg("--output").arg(&output));
    let mut tensors: Vec<(String, Vec<f32>)> = tch::Tensor::read_safetensors(&output)
        .unwrap()
        .into_iter()
        .map(|(name, t)| (name, Vec::try_from(t.flatten(0, -1)).unwrap()))
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// One of the miniature world's pictures.
fn picture() -> PathBuf {
    fixture("images/decode").join("2x1_420_q92.jpg")
}

#[test]
fn m24_a_traced_program_beside_a_config_is_the_program() {
    let Some(case) = case("m24-torchscript-beside-config") else {
        return;
    };
    let alone = features(&case.join("alone.pt"));
    for folder in ["dinov2", "clip", "other"] {
        assert_eq!(
            features(&case.join(folder).join("traced.pt")),
            alone,
            "{folder}"
        );
        assert_eq!(features(&case.join(folder)), alone, "{folder}");
    }
    // OpenAI's archive takes images and texts together: its parameters are the model.
    let openai = features(&case.join("openai/ViT-L-14.pt"));
    assert_ne!(openai, alone);
}
