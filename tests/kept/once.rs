//! Every image goes through the network once, whatever is measured on it.

use super::{World, named};
use crate::adaptor_text;
use crate::common::{fixture, radio_eval, stderr};
use std::process::Stdio;

/// Images that the log says went through a network: lines `N images through ARCHITECTURE`.
fn images_through(log: &str) -> u64 {
    let counts = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" images through ")?;
        before.split_whitespace().last()?.parse::<u64>().ok()
    });
    counts.sum()
}

#[test]
fn knn_and_zero_shot_of_a_student_share_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    adaptor_text::write_world(home);
    let run = |task: &str, out: &str| {
        let mut command = radio_eval(home);
        command
            .args(["-vv", "imagenet", "--task", task, "--json", "--k", "1"])
            .args(["--data", "imagenet-mini", "--resolution", "96"])
            .args(["--limit", "40", "--train-limit", "1", "--threads", "1"])
            .arg("--templates")
            .arg(fixture("text/mini_templates.txt"))
            .arg("--model")
            .arg(home.join("student"))
            .arg("--out")
            .arg(home.join(out));
        let output = command.output().unwrap();
        let log = stderr(&output);
        assert!(output.status.success(), "{log}");
        (images_through(&log), output.stdout, log)
    };
    let records =
        |json: &[u8]| -> Vec<radio_eval::report::Record> { serde_json::from_slice(json).unwrap() };
    let (images, both, _) = run("all", "both");
    let both = records(&both);
    assert_eq!(both.len(), 2);
    let train = both[0].data[0].samples;
    assert!(train > 0 && both[0].data[1].samples == 40);
    // One blank image tells the width of the adaptor.
    assert_eq!(images, train + 40 + 1);
    assert_eq!(
        named(&home.join("cache/features"), "clip.summary.values").len(),
        1
    );

    // Each task alone finds what it needs in the store of the shared pass.
    let (images, knn, log) = run("knn", "alone");
    assert_eq!(images, 0, "{log}");
    let (one_blank, zero_shot, _) = run("zero-shot", "alone");
    assert_eq!(one_blank, 1);
    assert_eq!(records(&knn)[0].metrics, both[0].metrics);
    assert_eq!(records(&zero_shot)[0].metrics, both[1].metrics);
}

/// Several runs at once, into one folder and from one cache: every record is there afterwards, and
/// nothing half-written.
#[test]
fn runs_at_once_share_a_folder() {
    let world = World::new(6, 3);
    let runs: Vec<_> = ["1", "2", "3", "4"]
        .map(|k| {
            let mut command = world.knn_at("home", k);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .into();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let files: Vec<_> = std::fs::read_dir(world.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let mut ks: Vec<u64> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            record["options"]["k"].as_u64().unwrap()
        })
        .collect();
    ks.sort_unstable();
    assert_eq!(ks, [1, 2, 3, 4], "{files:?}");
    assert!(
        files
            .iter()
            .all(|path| !path.to_string_lossy().contains("part"))
    );
}
