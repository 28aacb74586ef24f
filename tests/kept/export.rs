//! `radio-eval features` of many images: flat memory, and a stopped run goes on.

use super::{World, named};
use crate::common::{radio_eval, stderr, stdout};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn features(world: &World, home: &str, out: &str) -> Command {
    let mut command = radio_eval(&world.path(home));
    command
        .args(["features", "--model", "mini-dino", "--resolution", "224"])
        .args([
            "--batch-size",
            "4",
            "--threads",
            "1",
            "--workers",
            "1",
            "--input",
        ])
        .arg(world.path("data/train"))
        .arg("--output")
        .arg(world.path(out));
    command
}

/// Most memory that a run had resident, in bytes.
fn peak_memory(command: &mut Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

/// 256 tokens of 192 numbers are 197 kB an image: 300 more images would be 59 MB more. The smaller
/// run is long enough for libtorch's and the allocator's own memory to have settled, which takes
/// over 100 images and 30 MB.
#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let (few, many) = (World::new(80, 0), World::new(230, 0));
    let small = peak_memory(&mut features(&few, "home", "few.safetensors"));
    let large = peak_memory(&mut features(&many, "home", "many.safetensors"));
    let file = std::fs::metadata(many.path("many.safetensors"))
        .unwrap()
        .len();
    assert!(file > 80 << 20, "{file}");
    assert!(
        large < small + (24 << 20),
        "{small} bytes for 160, {large} for 460"
    );
}

/// (done, total) of the export under way.
fn progress(home: &Path) -> Option<(u64, u64)> {
    let header = named(&home.join("cache/exports"), "header.json").pop()?;
    let header: Value = serde_json::from_slice(&std::fs::read(header).ok()?).ok()?;
    Some((header["done"].as_u64()?, header["total"].as_u64()?))
}

#[test]
fn killed_in_the_middle_the_same_command_writes_the_same_file() {
    let world = World::new(80, 0);
    let mut child = features(&world, "killed", "killed.safetensors")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while progress(&world.path("killed")).is_none_or(|(done, _)| done == 0) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "finished before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.path("killed.safetensors").exists());

    let resumed = features(&world, "killed", "killed.safetensors")
        .output()
        .unwrap();
    let told = stderr(&resumed);
    assert!(
        resumed.status.success() && told.contains("going on from image"),
        "{told}"
    );
    stdout(&mut features(&world, "whole", "whole.safetensors"));
    let read = |name: &str| std::fs::read(world.path(name)).unwrap();
    assert!(read("killed.safetensors") == read("whole.safetensors"));
    assert!(named(&world.path("killed/cache/exports"), "header.json").is_empty());
    assert!(!world.path("killed.safetensors.partial").exists());
}
