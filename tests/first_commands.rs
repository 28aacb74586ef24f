//! What users type first, from an empty home: sentences that say what to do.

use crate::common::{radio_eval, stderr, stdout};
use std::path::Path;
use std::process::Command;

/// Without anything of the machine's own in the environment.
fn bare(home: &Path, arguments: &[&str]) -> Command {
    let mut command = radio_eval(home);
    for name in [
        "IMAGENET_DIR",
        "IMAGENET_ROOT",
        "ADE20K_DIR",
        "LLAVA_PRETRAIN_DIR",
        "RADIO_EVAL_DATA",
        "RADIO_EVAL_DATASETS",
    ] {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// The sentences on stderr of a command that fails with exit code 2.
fn refusal(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = bare(home.path(), arguments)
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn imagenet_says_how_to_get_data_and_weights() {
    let told = refusal(&["imagenet", "--model", "e-radio"]);
    for part in [
        "imagenet-1k is not on this machine",
        "$IMAGENET_DIR (not set)",
        "export IMAGENET_DIR=FOLDER",
        "radio-eval fetch imagenet-1k-parquet",
        "imagenet-mini",
        "the weights of e-radio_v2 are not on this machine",
        "--weights PATH",
        "radio-eval fetch e-radio_v2",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    assert!(told.lines().count() <= 12, "{told}");
}

#[test]
fn other_commands_say_the_same_of_their_data() {
    let told = refusal(&["ade20k", "--model", "e-radio"]);
    assert!(told.contains("export ADE20K_DIR=FOLDER"), "{told}");
    assert!(told.contains("ade-mini in its place"), "{told}");
    assert!(told.contains("radio-eval fetch e-radio_v2"), "{told}");
    // Weights that ship are no reason to complain.
    let told = refusal(&["ade20k", "--model", "mini-dino"]);
    assert!(!told.contains("weights"), "{told}");
}

#[test]
fn completions_know_every_command() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&mut bare(home.path(), &["completions", shell]));
        for command in ["imagenet", "ade20k", "vlm-export", "latency"] {
            assert!(script.contains(command), "{shell}: no {command}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("man");
    let folder = out.to_str().unwrap();
    stdout(&mut bare(home.path(), &["man", "--out", folder]));
    let page = std::fs::read_to_string(out.join("radio-eval-imagenet.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("templates"), "{page}");
    assert!(out.join("radio-eval-vlm-export-verify.1").exists());
    stdout(&mut bare(
        home.path(),
        &["man", "--markdown", "--out", folder],
    ));
    let page = std::fs::read_to_string(out.join("radio-eval-latency.md")).unwrap();
    assert!(page.starts_with("# radio-eval latency\n"), "{page}");
    assert!(page.contains("--baseline"), "{page}");
}
