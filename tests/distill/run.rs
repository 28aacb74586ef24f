//! Whole runs through the command: resumed after kill -9, refused, replayed, exported.

use super::{apart, json, tensors};
use crate::common::{fails, radio_eval, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STEPS: usize = 8;

/// A tiny student of two miniature teachers; `changes` replace lines by their beginning.
fn config(folder: &Path, student: &str, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = format!(
        r#"
[student]
{student}
mlp_hidden_size = 32
mlp_num_inner = 0

[[teachers]]
model = "mini-clip"
summary_loss = "angle"

[[teachers]]
model = "mini-dino"
standardise = "phi-s"

[[data]]
path = "distill-mini"
weight = 2.0

[[data]]
path = "{}"

[loss]
teacher_dropping = 0.25

[optimiser]
ema = 0.9

[[stages]]
steps = 5
warmup = 2

[[stages.partitions]]
batch = 3
resolution = 64

[[stages.partitions]]
batch = 2
resolution = [64, 96]
weight = "images"
teachers = ["clip"]

[[stages]]
steps = 3
batch = 4
resolution = 64
lr = 0.0005

[run]
estimation_steps = 2
checkpoint_every = 100
log_every = 1
micro_batch = 2
"#,
        crate::common::fixture("images").display()
    );
    for (beginning, line) in changes {
        let lines = text.lines().map(|old| match old.starts_with(beginning) {
            true => line,
            false => old,
        });
        text = lines.collect::<Vec<_>>().join("\n");
    }
    let path = folder.join("run.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const VIT: &str = r#"model = "vit_tiny_patch16_224"
model_kwargs = { embed_dim = 32, depth = 2, num_heads = 2 }
cpe_max_size = 128"#;

const ERADIO: &str = r#"model = "eradio_xxxtiny"
model_kwargs = { dim = 8, in_dim = 8, depths = [1, 1, 1, 1], num_heads = [1, 1, 2, 2], window_size = [[], [], [4, 4], 4], full_features_head_dim = 32, cpb_mlp_hidden = 16 }"#;

fn distill(home: &Path, config: &Path, out: &Path) -> Command {
    let mut command = radio_eval(home);
    command
        .arg("distill")
        .arg(config)
        .args([
            "--device",
            "cpu",
            "--threads",
            "1",
            "--workers",
            "2",
            "--out",
        ])
        .arg(out);
    command
}

/// Kills the run as soon as a checkpoint behind `step` is there.
fn kill_behind(command: &mut Command, out: &Path, step: usize) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let behind = |name: &str| {
        let number = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        number.parse::<usize>().ok().filter(|n| *n >= step)
    };
    let started = Instant::now();
    loop {
        let entries = std::fs::read_dir(out.join("checkpoints"));
        let names = entries.into_iter().flatten().flatten();
        let mut names = names.filter_map(|e| e.file_name().into_string().ok());
        if names.any(|name| behind(&name).is_some()) {
            break;
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no checkpoint"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL: nothing is saved on the way out.
    let _ = child.kill();
    child.wait().unwrap();
}

fn resumes_bit_for_bit(student: &str) {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let once = config(home.path(), student, &[]);
    stdout(&mut distill(home.path(), &once, &whole));
    let killed = home.path().join("killed");
    let often = config(
        home.path(),
        student,
        &[("checkpoint_every", "checkpoint_every = 1")],
    );
    for step in [1, 3, 6] {
        kill_behind(&mut distill(home.path(), &often, &killed), &killed, step);
    }
    stdout(&mut distill(home.path(), &often, &killed));
    let weights = |out: &Path| std::fs::read(out.join("student/model.safetensors")).unwrap();
    assert_eq!(weights(&whole), weights(&killed), "the students differ");
    let last = format!("checkpoints/step-{STEPS:09}.safetensors");
    let (a, b) = (tensors(&whole.join(&last)), tensors(&killed.join(&last)));
    assert_eq!(a.len(), b.len());
    for (name, tensor) in &a {
        assert_eq!(apart(tensor, &b[name]), 0.0, "{name}");
    }
    // Every step is noted once.
    let csv = std::fs::read_to_string(killed.join("metrics.csv")).unwrap();
    assert_eq!(csv.lines().count(), STEPS + 1);
    // The student is a checkpoint like any other.
    let features = home.path().join("features.safetensors");
    let picture = crate::common::fixture("images/decode/2x1_420_q92.jpg");
    stdout(
        radio_eval(home.path())
            .args([
                "features",
                "--adaptor",
                "clip",
                "--adaptor",
                "dino_v2",
                "--model",
            ])
            .arg(whole.join("student"))
            .arg("--input")
            .arg(&picture)
            .arg("--output")
            .arg(&features),
    );
    assert_eq!(tensors(&features)["dino_v2.spatial"].size()[2], 192);
    // Another configuration is not gone on with.
    let other = config(home.path(), student, &[("ema", "ema = 0.5")]);
    let error = fails(&mut distill(home.path(), &other, &killed), 2);
    assert!(error.contains("--restart"), "{error}");
}

#[test]
fn vit_resumes_after_kill() {
    resumes_bit_for_bit(VIT);
}

#[test]
fn eradio_resumes_after_kill() {
    resumes_bit_for_bit(ERADIO);
}

/// However the pictures of a step are cut into micro-batches, the losses are the same.
#[test]
fn micro_batches_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let total = |name: &str, micro: &str, balancing: &str, dropping: &str| {
        let changes = [
            ("micro_batch", micro),
            ("[optimiser]", balancing),
            ("teacher_dropping", dropping),
        ];
        let config = config(home.path(), VIT, &changes);
        let out = home.path().join(name);
        stdout(&mut distill(home.path(), &config, &out));
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["total"].as_f64().unwrap()
        });
        lines.collect::<Vec<f64>>()
    };
    let all = [
        ("manual", "[optimiser]", "teacher_dropping = 0.25"),
        (
            "adaloss",
            "balancing = \"adaloss\"\n[optimiser]",
            "teacher_dropping = 0.0",
        ),
        (
            "uncertainty",
            "balancing = \"uncertainty\"\n[optimiser]",
            "teacher_dropping = 0.0",
        ),
    ];
    for (name, balancing, dropping) in all {
        let whole = total(&format!("{name}-0"), "micro_batch = 0", balancing, dropping);
        let cut = total(&format!("{name}-1"), "micro_batch = 1", balancing, dropping);
        assert_eq!((whole.len(), cut.len()), (STEPS, STEPS));
        for (a, b) in whole.iter().zip(&cut) {
            assert!((a - b).abs() < 1e-4, "{name}: {whole:?} {cut:?}");
        }
        assert!(whole[STEPS - 1] != whole[0]);
    }
}

/// What the teachers said is read back: a second run sees the same, and asks none of them.
#[test]
fn a_cache_gives_the_same_student() {
    let home = tempfile::tempdir().unwrap();
    let line = format!("micro_batch = 2\ncache = {:?}", home.path().join("outputs"));
    let changes = [
        ("micro_batch", line.as_str()),
        ("resolution = [64, 96]", "resolution = [64, 64]"),
    ];
    let config = config(home.path(), VIT, &changes);
    let student = |name: &str| {
        let out = home.path().join(name);
        stdout(&mut distill(home.path(), &config, &out));
        std::fs::read(out.join("student/model.safetensors")).unwrap()
    };
    let said = stdout(distill(home.path(), &config, &home.path().join("fill")).arg("--cache-only"));
    assert!(said.contains("crops"), "{said}");
    let first = student("first");
    let files = || {
        let folders = std::fs::read_dir(home.path().join("outputs")).unwrap();
        let files = folders.flat_map(|f| std::fs::read_dir(f.unwrap().path()).unwrap());
        let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
        files.sort();
        files
    };
    let before: Vec<_> = files().iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert_eq!(before.len(), 4, "records and checksums of two teachers");
    assert!(first == student("second"), "the students differ");
    let after: Vec<_> = files().iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert!(before == after, "the second run wrote into the cache");
    // Damage is told.
    let records = &files()[0];
    let mut bytes = std::fs::read(records).unwrap();
    bytes.iter_mut().for_each(|b| *b ^= 1);
    std::fs::write(records, bytes).unwrap();
    let error = fails(
        &mut distill(home.path(), &config, &home.path().join("third")),
        1,
    );
    assert!(error.contains("is damaged"), "{error}");
}

/// Spectral weights begin as the plain ones, and are plain again in the exported student; windows
/// and relations between tokens are part of a step.
#[test]
fn spectral_weights_windows_and_relations() {
    let home = tempfile::tempdir().unwrap();
    let deep = VIT.replace("depth = 2", "depth = 8");
    let totals = |name: &str, more: &str, relation: &str| {
        let student = format!("{deep}\n{more}");
        let changes = [
            ("ema", "ema = 0.0"),
            ("summary_loss", relation),
            ("teacher_dropping", "teacher_dropping = 0.0"),
        ];
        let config = config(home.path(), &student, &changes);
        let out = home.path().join(name);
        stdout(&mut distill(home.path(), &config, &out));
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    let cosine = "summary_loss = \"cosine\"";
    let total = |line: &serde_json::Value| line["total"].as_f64().unwrap();
    let plain = totals("plain", "", cosine);
    let spectral = totals("spectral", "spectral_reparam = true", cosine);
    // Twenty power iterations leave a little of sigma of these random matrices to be found.
    let (a, b) = (total(&plain[0]), total(&spectral[0]));
    assert!((a - b).abs() < 0.02, "{a} {b}");
    assert!((total(&plain[STEPS - 1]) - total(&spectral[STEPS - 1])).abs() > 1e-6);
    let exported = tensors(&home.path().join("spectral/student/model.safetensors"));
    assert!(exported.keys().all(|key| !key.contains("parametrizations")));
    assert!(exported.contains_key("radio_model.model.blocks.0.attn.qkv.weight"));
    let windows = totals("windows", "vitdet_windows = [2]", cosine);
    let differ = |a: &[serde_json::Value], b: &[serde_json::Value]| {
        a.iter()
            .zip(b)
            .filter(|(a, b)| total(a) != total(b))
            .count()
    };
    assert!(differ(&plain, &windows) > 0, "no step drew a window");
    let related = totals("related", "", "relation_weight = 2.0");
    let difference = total(&related[0]) - total(&plain[0]);
    let relation = related[0]["clip.relation"].as_f64().unwrap();
    assert!(relation > 0.0 && (difference - 2.0 * relation).abs() < 1e-4);
    // Too shallow for windows.
    let shallow = format!("{VIT}\nvitdet_windows = [2]");
    let config = config(home.path(), &shallow, &[]);
    let error = fails(
        &mut distill(home.path(), &config, &home.path().join("shallow")),
        2,
    );
    assert!(error.contains("too shallow"), "{error}");
}

/// A step that diverges changes nothing, is written down, and can be run again.
#[test]
fn a_step_that_is_not_finite_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let config = config(
        home.path(),
        VIT,
        &[("[optimiser]", "[optimiser]\nlr = 1e38\nclip_norm = 0.0")],
    );
    let error = fails(&mut distill(home.path(), &config, &out), 1);
    assert!(error.contains("--replay"), "{error}");
    let file = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("replay-step-"))
        .expect("a file to replay");
    let output = distill(home.path(), &config, &out)
        .arg("--replay")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["finite"], false);
    assert_eq!(found["pixels_finite"], true);
    assert_eq!(found["pictures"].as_array().unwrap().len(), 5);
}

#[test]
fn what_cannot_be_obeyed_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let refused = |changes: &[(&str, &str)], code: i32, words: &str| {
        let config = config(home.path(), VIT, changes);
        let error = fails(&mut distill(home.path(), &config, &out), code);
        assert!(error.contains(words), "{error}");
    };
    refused(&[("ema", "emma = 0.9")], 1, "unknown field `emma`");
    refused(&[("steps = 3", "steps = 0")], 1, "steps");
    refused(
        &[(
            "teacher_dropping",
            "teacher_dropping = 0.5\nbalancing = \"adaloss\"",
        )],
        1,
        "manual",
    );
    refused(&[("resolution = 64", "resolution = 65")], 2, "65");
    refused(&[("teachers = [", "teachers = [\"sam\"]")], 2, "`sam`");
    refused(&[("cpe_max_size", "start = \"nowhere\"")], 1, "nowhere");
    let error = fails(radio_eval(home.path()).arg("distill"), 2);
    assert!(error.contains("--student"), "{error}");
}

/// The one-line form, and what a run would cost.
#[test]
fn the_estimate_comes_first() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let said = stdout(
        radio_eval(home.path())
            .args(["distill", "--student", "e-radio-xxxtiny", "--dry-run"])
            .args([
                "--teachers",
                "mini-clip,mini-dino",
                "--data",
                "distill-mini",
            ])
            .args(["--batch-size", "2", "--resolution", "64", "--threads", "1"])
            .args(["--device", "cpu", "--out"])
            .arg(&out),
    );
    for words in [
        "student: 10.",
        "teacher clip:",
        "teacher dino_v2:",
        "10000 steps",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!out.join("student").exists() && !out.join("checkpoints").exists());
    let described = json(&out.join("run.json"));
    assert_eq!(described["config"]["student"]["model"], "e-radio-xxxtiny");
}
