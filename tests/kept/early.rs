//! What can be known before the first image is read is said before it.

use super::{World, named};
use crate::common::{fails, stderr, stdout};

#[test]
fn k_and_classes_are_looked_at_before_any_extraction() {
    let world = World::new(2, 1);
    let error = fails(world.knn("home").args(["--k", "5"]), 2);
    assert!(
        error.contains("--k 5") && error.contains("there are 4"),
        "{error}"
    );

    std::fs::create_dir_all(world.path("data/val/other")).unwrap();
    let unseen = world.path("data/val/other/0000.bmp");
    std::fs::copy(world.path("data/val/dark/0000.bmp"), unseen).unwrap();
    let names = world.path("names.tsv");
    std::fs::write(&names, "bright\tbright\ndark\tdark\nother\tother\n").unwrap();
    let knn = || {
        let mut command = world.knn("home");
        command.arg("--classnames").arg(&names);
        command
    };
    let error = fails(&mut knn(), 1);
    assert!(
        error.contains("1 of 3 val images are of 1 classes without a train image")
            && error.contains("other"),
        "{error}"
    );
    assert!(named(&world.path("home"), "header.json").is_empty());

    let output = knn().arg("--unseen-classes").output().unwrap();
    let told = stderr(&output);
    assert!(
        output.status.success() && told.contains("without a train image"),
        "{told}"
    );
}

#[test]
fn result_files_are_looked_at_before_the_work() {
    let world = World::new(1, 1);
    std::fs::write(world.path("file"), b"").unwrap();
    for flag in ["--csv", "--markdown", "--per-class", "--predictions"] {
        let mut command = world.knn("home");
        let error = fails(command.arg(flag).arg(world.path("file/table")), 1);
        assert!(error.contains("file/table"), "{flag}: {error}");
    }
    assert!(named(&world.path("home"), "header.json").is_empty());
}

#[test]
fn every_command_that_measures_has_every_table_format() {
    use radio_eval::report::render::RENDERERS;
    let world = World::new(1, 1);
    for command in ["imagenet", "ade20k", "latency"] {
        let help = stdout(crate::common::radio_eval(&world.path("home")).args([command, "--help"]));
        for format in RENDERERS.iter().filter(|format| format.ending().is_some()) {
            let flag = format!("--{} <FILE>", format.name());
            assert!(help.contains(&flag), "{command} has no {flag}");
        }
        assert!(help.contains("--json"));
    }
}

#[test]
fn segmentation_and_latency_print_what_was_finished_before_a_failure() {
    let world = World::new(1, 1);
    let broken = world.path("broken.safetensors");
    std::fs::write(&broken, b"nothing").unwrap();
    let mut command = crate::common::radio_eval(&world.path("home"));
    let output = command
        .args([
            "ade20k", "--data", "ade-mini", "--preset", "mini", "--seeds", "0",
        ])
        .args(["--iterations", "1", "--train-limit", "8", "--skip-check"])
        .args(["--threads", "1", "--model", "mini-dino", "--model"])
        .arg(&broken)
        .arg("--out")
        .arg(world.path("out"))
        .output()
        .unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("broken.safetensors"), "{told}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("mini-dino") && table.contains("mIoU"),
        "{table}"
    );
    assert!(world.path("out/segmentation__mini-dino.json").is_file());
    assert!(
        world
            .path("out/segmentation__mini-dino.head.safetensors")
            .is_file()
    );
}
