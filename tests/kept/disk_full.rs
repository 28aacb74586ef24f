//! A disk that fills up (here: a limit on the size of files) loses nothing that was finished.

use super::{World, named, record};
use crate::common::{fails, radio_eval, stderr, stdout};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the child write no file beyond `bytes`; a write beyond fails as on a full disk.
fn limited(command: &mut Command, bytes: u64) -> &mut Command {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: both calls are safe between fork and exec, and touch nothing of this process.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    }
}

#[test]
fn the_feature_store_counts_what_was_written() {
    let world = World::new(60, 2);
    // 120 rows of 768 bytes, in batches of 8: six batches fit.
    let mut command = world.knn("home");
    command.args(["--batch-size", "8"]);
    let error = fails(limited(&mut command, 40_000), 1);
    assert!(
        error.contains("summary.values") && error.contains("have room"),
        "{error}"
    );
    let stores = named(&world.path("home/cache/features"), "header.json");
    let partial = stores.iter().find_map(|path| {
        let header: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (header["total"] == 120).then_some((path, header["done"].as_u64().unwrap()))
    });
    let (header, done) = partial.unwrap();
    assert_eq!(done, 48);
    let values = header.with_file_name("summary.values");
    assert!(std::fs::metadata(values).unwrap().len() >= done * 768);

    let mut command = world.knn("home");
    let output = command.args(["--batch-size", "8"]).output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("going on from image 48"), "{told}");
    let mut fresh = world.knn("fresh");
    record(fresh.args(["--batch-size", "8"]));
    for name in ["summary.values", "content.values"] {
        let bytes = |home: &str| -> Vec<Vec<u8>> {
            let files = named(&world.path(home).join("cache/features"), name);
            files
                .iter()
                .map(|path| std::fs::read(path).unwrap())
                .collect()
        };
        assert!(bytes("home") == bytes("fresh"), "{name}");
    }
}

#[test]
fn an_export_goes_on_once_there_is_room() {
    let world = World::new(20, 0);
    let features = |home: &str, out: &str| {
        let mut command = radio_eval(&world.path(home));
        command
            .args(["features", "--model", "mini-dino", "--resolution", "56"])
            .args(["--batch-size", "4", "--threads", "1", "--input"])
            .arg(world.path("data/train"))
            .arg("--output")
            .arg(world.path(out));
        command
    };
    let out = "a.safetensors";
    let error = fails(limited(&mut features("home", out), 100_000), 1);
    assert!(error.contains(out), "{error}");
    assert!(!world.path(out).exists());
    stdout(&mut features("home", out));
    stdout(&mut features("fresh", "b.safetensors"));
    let read = |name: &str| std::fs::read(world.path(name)).unwrap();
    assert!(read(out) == read("b.safetensors"));
}

/// State, head and record of a probe: an error that names the file, nothing half written, and the
/// next run has it all.
#[test]
fn a_probe_on_a_full_disk_goes_on_once_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let probe = |out: &str| {
        let mut command = radio_eval(home.path());
        command
            .args([
                "ade20k",
                "--model",
                "mini-dino",
                "--data",
                "ade-mini",
                "--json",
            ])
            .args(["--preset", "mini", "--seeds", "0", "--iterations", "4"])
            .args([
                "--checkpoint-every",
                "2",
                "--train-limit",
                "16",
                "--skip-check",
            ])
            .args(["--threads", "1", "--workers", "1"])
            .arg("--out")
            .arg(home.path().join(out));
        command
    };
    let states = || {
        let folder = std::fs::read_dir(home.path().join("cache/segmentation"));
        folder.map_or(0, |entries| entries.count())
    };
    // The features are larger than a state, a state larger than a head, a head than a record.
    let error = fails(limited(&mut probe("a"), 20_000), 1);
    assert!(error.contains("cache/features"), "{error}");
    stdout(&mut probe("whole"));
    assert_eq!(states(), 1);
    // Now with the features of the run before.
    std::fs::remove_dir_all(home.path().join("cache/segmentation")).unwrap();
    let error = fails(limited(&mut probe("a"), 20_000), 1);
    assert!(error.contains("cache/segmentation"), "{error}");
    assert_eq!(states(), 0);
    stdout(&mut probe("again"));
    assert_eq!(states(), 1);
    let head = |out: &str| {
        let path = home
            .path()
            .join(out)
            .join("segmentation__mini-dino.head.safetensors");
        std::fs::read(path).unwrap()
    };
    let size = head("whole").len() as u64;
    let error = fails(limited(&mut probe("b"), size - 1), 1);
    assert!(error.contains("head.safetensors"), "{error}");
    let left: Vec<_> = std::fs::read_dir(home.path().join("b")).unwrap().collect();
    for entry in left {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("head") && !name.contains("part"), "{name}");
    }
    stdout(&mut probe("b"));
    let tensors = |file: Vec<u8>| {
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        file[8 + header..].to_vec()
    };
    assert!(tensors(head("b")) == tensors(head("whole")));
}

/// An empty or cut state file costs time, nothing else.
#[test]
fn a_damaged_state_starts_over() {
    let home = tempfile::tempdir().unwrap();
    let probe = || {
        let mut command = radio_eval(home.path());
        command
            .args([
                "ade20k",
                "--model",
                "mini-dino",
                "--data",
                "ade-mini",
                "--json",
            ])
            .args(["--preset", "mini", "--seeds", "0", "--iterations", "2"])
            .args(["--train-limit", "8", "--skip-check", "--threads", "1"])
            .arg("--out")
            .arg(home.path().join("out"));
        command
    };
    let miou = |text: &[u8]| {
        let records: Value = serde_json::from_slice(text).unwrap();
        records[0]["metrics"]["miou"]["value"].as_f64().unwrap()
    };
    let first = miou(stdout(&mut probe()).as_bytes());
    let folder = home.path().join("cache/segmentation");
    let state = std::fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&state, b"").unwrap();
    let output = probe().output().unwrap();
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("it starts over"), "{told}");
    assert_eq!(miou(&output.stdout), first);
}
