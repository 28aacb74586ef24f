//! `radio-eval imagenet` on a small tree, where a user would see it.

use crate::common::{fails, radio_eval, stderr, stdout};
use image::{Rgb, RgbImage};
use radio_eval::report::Record;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Two classes of pictures (dark stripes, bright noise) as `train/<class>/` and `val/<class>/`,
/// and a home.
struct World {
    folder: TempDir,
}

impl World {
    fn new(train: u32, val: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (split, count, seed) in [("train", train, 1), ("val", val, 1_000)] {
            for class in 0..2u32 {
                let place = folder
                    .path()
                    .join("data")
                    .join(split)
                    .join(["dark", "bright"][class as usize]);
                std::fs::create_dir_all(&place).unwrap();
                for i in 0..count {
                    let mut state = seed + i * 7 + class;
                    let picture = RgbImage::from_fn(60, 44, |x, _| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let noise = (state >> 26) as u8;
                        match class {
                            0 => Rgb([noise, (x % 7) as u8 * 9, 10]),
                            _ => Rgb([255 - noise, 190 + noise, 180]),
                        }
                    });
                    picture.save(place.join(format!("{i:03}.png"))).unwrap();
                }
            }
        }
        World { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `radio-eval imagenet --model mini-dino --data .. --out ..` with a home of its own.
    fn command(&self) -> Command {
        self.command_for(&["mini-dino"], "home")
    }

    fn command_for(&self, models: &[&str], home: &str) -> Command {
        let mut command = radio_eval(&self.path(home));
        command.args(["imagenet", "--data"]).arg(self.path("data"));
        command.arg("--out").arg(self.path("out"));
        for model in models {
            command.args(["--model", model]);
        }
        command
    }

    fn records(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.path("out"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

/// A record without what may differ between two runs of the same command.
fn lasting(path: &Path) -> Value {
    let mut record: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for field in ["created", "timings"] {
        record.as_object_mut().unwrap().remove(field);
    }
    // What other processes did meanwhile is of the moment too.
    if let Some(machine) = record["machine"].as_object_mut() {
        machine.remove("others_cpu_percent");
    }
    record
}

#[test]
fn one_extraction_serves_lists_of_k_and_temperatures() {
    let world = World::new(6, 4);
    let per_class = world.path("classes.csv");
    let text = stdout(
        world
            .command()
            .args([
                "--k",
                "1,5",
                "--temperature",
                "0.07,1",
                "--json",
                "--per-class",
            ])
            .arg(&per_class),
    );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    let cells: Vec<(u64, f64)> = records
        .iter()
        .map(|r| {
            (
                r.options["k"].as_u64().unwrap(),
                r.options["temperature"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(cells, [(1, 0.07), (1, 1.0), (5, 0.07), (5, 1.0)]);
    for record in &records {
        assert_eq!(record.metrics["knn_top1"].value, 100.0);
        assert_eq!(record.metrics["knn_top1"].n, Some(8));
        let samples: Vec<u64> = record.data.iter().map(|d| d.samples).collect();
        assert_eq!(samples, [12, 8]);
        assert_eq!(record.model.sha256.as_ref().unwrap().len(), 64);
        assert_eq!(record.libtorch_version, "2.13.0");
    }
    assert_eq!(world.records().len(), 4);
    let classes = std::fs::read_to_string(per_class).unwrap();
    assert!(
        classes.contains("knn,mini-dino,,1,0.07,1,dark,dark,4,4,100\n"),
        "{classes}"
    );
}

#[test]
fn the_same_command_again_uses_the_cache_and_gives_the_same_record() {
    let world = World::new(10, 3);
    stdout(&mut world.command());
    let first = lasting(&world.path("out/knn__mini-dino.json"));
    let again = world.command().output().unwrap();
    assert!(stderr(&again).contains("features from the cache"));
    assert_eq!(lasting(&world.path("out/knn__mini-dino.json")), first);
    assert_eq!(world.records().len(), 1);
}

#[test]
fn limits_take_part_of_the_data() {
    let world = World::new(6, 5);
    let text =
        stdout(
            world
                .command()
                .args(["--limit", "4", "--train-limit", "2", "--k", "2", "--json"]),
        );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    let samples: Vec<u64> = records[0].data.iter().map(|d| d.samples).collect();
    assert_eq!(samples, [4, 4]);
    let error = fails(world.command().args(["--train-limit", "2", "--k", "5"]), 2);
    assert!(
        error.contains("--k 5 needs as many train images; there are 4"),
        "{error}"
    );
}

#[test]
fn other_resolutions_and_resize_modes_run() {
    let world = World::new(2, 2);
    let shortest = [
        "--resize-mode",
        "shortest",
        "--resolution",
        "112",
        "--k",
        "1",
        "--json",
    ];
    let text = stdout(world.command().args(shortest));
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(records[0].data[0].transform["resize"], "shortest");
    let text = stdout(
        world
            .command()
            .args(["--resolution", "56x70", "--k", "1", "--json"]),
    );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(records[0].resolution, (56, 70));
    assert_eq!(world.records().len(), 2);
}

#[test]
fn an_unreadable_image_is_an_error_unless_allowed() {
    let world = World::new(3, 3);
    std::fs::write(world.path("data/val/dark/broken.png"), b"not a picture").unwrap();
    let error = fails(world.command().args(["--k", "1"]), 1);
    assert!(
        error.contains("broken.png") && error.contains("--skip-bad"),
        "{error}"
    );
    let text = stdout(
        world
            .command()
            .args(["--k", "1", "--skip-bad", "1", "--json"]),
    );
    let records: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(records[0].data[1].skipped, 1);
    assert_eq!(records[0].data[1].samples, 6);
    assert!(records[0].warnings.iter().any(|w| w.contains("broken.png")));
    // The cache remembers what was left out, and a stricter command does not use it silently.
    let error = fails(world.command().args(["--k", "1"]), 1);
    assert!(error.contains("broken.png"), "{error}");
}

#[test]
fn what_was_asked_wrongly_is_said_before_any_work() {
    let world = World::new(1, 1);
    let error = fails(
        &mut world.command_for(&["mini-dino", "mini-dyno"], "home"),
        2,
    );
    assert!(
        error.contains("mini-dyno") && error.contains("mini-dino"),
        "{error}"
    );
    let error = fails(world.command().args(["--resolution", "100"]), 2);
    assert!(error.contains("nearest resolution is 98x98"), "{error}");
    let error = fails(world.command().args(["--adaptor", "sam"]), 2);
    assert!(error.contains("has no adaptor `sam`"), "{error}");
    for wrong in [
        ["--k", "0"],
        ["--temperature", "-1"],
        ["--resolution", "0"],
        ["--batch-size", "0"],
    ] {
        fails(world.command().args(wrong), 2);
    }
}

#[test]
fn folders_that_cannot_be_written_are_told_with_a_remedy() {
    let world = World::new(1, 1);
    let mut command = radio_eval(&world.path("home"));
    command.args([
        "imagenet",
        "--model",
        "mini-dino",
        "--out",
        "/proc/radio-eval",
        "--data",
    ]);
    let error = fails(command.arg(world.path("data")), 1);
    assert!(
        error.contains("/proc/radio-eval") && error.contains("--out"),
        "{error}"
    );
    std::fs::write(world.path("file"), b"").unwrap();
    let error = fails(
        world
            .command_for(&["mini-dino"], "file/home")
            .args(["--k", "1"]),
        1,
    );
    assert!(error.contains("RADIO_EVAL_HOME"), "{error}");
}

#[test]
fn a_failing_model_does_not_lose_the_one_before() {
    let world = World::new(2, 2);
    let broken = world.path("broken.safetensors");
    std::fs::write(&broken, b"nothing").unwrap();
    let mut command = world.command_for(&["mini-dino", broken.to_str().unwrap()], "home");
    let output = command.args(["--k", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("broken.safetensors"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("mini-dino"));
    assert_eq!(world.records(), [world.path("out/knn__mini-dino.json")]);
}

#[test]
fn killed_in_the_middle_the_same_command_gives_the_identical_record() {
    let world = World::new(60, 4);
    let command = |home: &str| {
        let mut command = world.command_for(&["mini-dino"], home);
        command.args(["--resolution", "252", "--batch-size", "2", "--workers", "1"]);
        command
    };
    let mut child = command("killed").stderr(Stdio::null()).spawn().unwrap();
    let cache = world.path("killed/cache/features");
    let (done, total) = loop {
        if let Some(state) = unfinished(&cache) {
            break state;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "finished before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(2));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(0 < done && done < total, "{done} of {total}");
    assert!(!world.path("out/knn__mini-dino.json").exists());

    let resumed = command("killed").output().unwrap();
    assert!(
        stderr(&resumed).contains("going on from image"),
        "{}",
        stderr(&resumed)
    );
    let record = lasting(&world.path("out/knn__mini-dino.json"));
    stdout(&mut command("untouched"));
    assert_eq!(lasting(&world.path("out/knn__mini-dino.json")), record);
    assert_eq!(
        features(&world.path("killed/cache/features")),
        features(&world.path("untouched/cache/features"))
    );
}

/// Every file of that name in the feature stores.
fn stored(cache: &Path, name: &str) -> Vec<PathBuf> {
    walkdir::WalkDir::new(cache)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.file_name().is_some_and(|n| n == name))
        .collect()
}

/// (done, total) of a feature store that is begun and not complete.
fn unfinished(cache: &Path) -> Option<(u64, u64)> {
    for path in stored(cache, "header.json") {
        let Ok(text) = std::fs::read(path) else {
            continue;
        };
        let header: Value = serde_json::from_slice(&text).unwrap();
        let (done, total) = (header["done"].as_u64()?, header["total"].as_u64()?);
        if 0 < done && done < total && total > 100 {
            return Some((done, total));
        }
    }
    None
}

/// Place and bytes of every stored feature file.
fn features(cache: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for name in ["summary.values", "content.values"] {
        for path in stored(cache, name) {
            let bytes = std::fs::read(&path).unwrap();
            all.push((path.strip_prefix(cache).unwrap().to_path_buf(), bytes));
        }
    }
    assert_eq!(all.len(), 4);
    all
}
