//! Ctrl-C, and files that are not read twice.

use crate::common::radio_eval;
use radio_eval::weights::safetensors;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tch::{Device, Kind, Tensor};

/// The log line before a file is hashed.
const HASHING: &str = "hashing ";

#[test]
fn the_first_ctrl_c_is_obeyed_while_a_large_file_is_hashed() {
    let home = tempfile::tempdir().unwrap();
    // 150 GB of zeros, which take no room on the disk, and minutes to hash.
    let data = home.path().join("data");
    std::fs::create_dir_all(data.join("large")).unwrap();
    let tar = File::create(data.join("large/large.tar")).unwrap();
    tar.set_len(150 << 30).unwrap();
    let list = format!(
        "[large]\ntask = \"images\"\nabout = \"\"\n[large.splits.train]\npath = \"large.tar\"\nsha256 = {{ \"large.tar\" = \"{}\" }}\n",
        "0".repeat(64)
    );
    std::fs::write(home.path().join("datasets.toml"), list).unwrap();
    let mut child = radio_eval(home.path())
        .args(["-v", "datasets", "large", "--check"])
        .env("RADIO_EVAL_DATA", &data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut child, HASHING);
    // SAFETY: a signal to our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("still hashing 20 s after Ctrl-C");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
}

/// Stuck where no loop can look (a pipe that nobody writes to), the first Ctrl-C waits and the
/// second ends the process.
#[test]
fn the_second_ctrl_c_ends_the_process_at_once() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("datasets.toml");
    let name = CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: a valid path.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let mut child = radio_eval(home.path())
        .arg("datasets")
        .env("RADIO_EVAL_DATASETS", &pipe)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Opening for writing succeeds once the child has it open for reading.
    let started = Instant::now();
    let _writer = loop {
        let open = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe);
        if let Ok(writer) = open {
            break writer;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "never opened");
        std::thread::sleep(Duration::from_millis(10));
    };
    // SAFETY: a signal to our own child, which has not been waited for.
    let id = child.id() as i32;
    let interrupt = || assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    interrupt();
    // The handler has a thread of its own; it must have heard of the first before the second.
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first is obeyed here"
    );
    interrupt();
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("still there 20 s after the second Ctrl-C");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
}

/// Reads stderr up to the first line with `text`.
fn wait_for(child: &mut Child, text: &str) {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    let mut lines = stderr.lines().map(Result::unwrap);
    let there = lines.any(|line| {
        seen += &format!("{line}\n");
        line.contains(text)
    });
    assert!(there, "no `{text}` in:\n{seen}");
    // The pipe must stay open and empty: what comes later is read and dropped.
    std::thread::spawn(move || lines.for_each(drop));
}

#[test]
fn a_second_start_reads_no_weight_file_twice() {
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("mini-dino");
    std::fs::create_dir(&weights).unwrap();
    let shipped = radio_eval::assets::path("mini/weights/mini-dino").unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(shipped.join(name), weights.join(name)).unwrap();
    }
    let file = File::options()
        .write(true)
        .open(weights.join("model.safetensors"))
        .unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(an_hour_ago).unwrap();

    let hashed = || features(home.path(), &weights).matches(HASHING).count();
    assert_eq!(hashed(), 1, "the first start hashes the file");
    assert_eq!(hashed(), 0, "the second remembers the hash");
    file.set_modified(an_hour_ago + Duration::from_nanos(100))
        .unwrap();
    assert_eq!(hashed(), 1, "the file changed");
}

/// Runs `features`, which puts the weights' hash into its output; returns the log.
fn features(home: &Path, weights: &Path) -> String {
    let input = home.join("in.safetensors");
    let pixels = Tensor::zeros([1, 3, 126, 126], (Kind::Float, Device::Cpu));
    safetensors::write(&input, [("input", &pixels)], HashMap::new()).unwrap();
    let output = radio_eval(home)
        .args(["-v", "features", "--device", "cpu", "--model"])
        .arg(weights)
        .arg("--input")
        .arg(input)
        .arg("--output")
        .arg(home.join("out.safetensors"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    log
}
