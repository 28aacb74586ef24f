//! Peak memory of loading fp32 weights to bf16, tensor by tensor:
//! `cargo bench --bench load_memory [-- MEGABYTES]` (default 1200).
//!
//! Writes a safetensors file with the tensors of a ViT-H (blocks of 1280 wide), reads every tensor
//! as `Params` does, keeps them all, and compares the process's peak resident memory with the
//! file's size. Exit code 1 when the peak is above file size + 20 %.

use radio_eval::weights::Checkpoint;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tch::{Device, Kind, Tensor};

const WIDTH: usize = 1280;

fn main() -> ExitCode {
    let megabytes = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    let size = write(&path, megabytes.unwrap_or(1200) * 1_000_000).expect("the file is written");
    let before = status("VmRSS:");

    let checkpoint = Checkpoint::open(&path).expect("the file opens");
    let tensors = checkpoint.tensors().expect("it has tensors");
    let kept: Vec<Tensor> = tensors
        .values()
        .map(|t| {
            t.read(Device::Cpu, Kind::BFloat16)
                .expect("a tensor is read")
        })
        .collect();
    let peak = status("VmHWM:");
    let share = peak as f64 / size as f64;
    println!(
        "file {:.0} MB fp32, {} tensors; before {:.0} MB, after {:.0} MB, peak {:.0} MB = {:.1} % of the file",
        size as f64 / 1e6,
        kept.len(),
        before as f64 / 1e6,
        status("VmRSS:") as f64 / 1e6,
        peak as f64 / 1e6,
        100.0 * share
    );
    match share <= 1.2 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Streams blocks of a transformer until `target` bytes are reached; returns the file's size.
fn write(path: &Path, target: usize) -> std::io::Result<usize> {
    let shapes = [("qkv", 3), ("proj", 1), ("mlp.fc1", 4), ("mlp.fc2", 4)];
    let (mut header, mut end) = (String::from("{"), 0);
    'blocks: for block in 0.. {
        for (name, times) in shapes {
            if end >= target {
                break 'blocks;
            }
            let start = end;
            end += WIDTH * times * WIDTH * 4;
            let comma = if start == 0 { "" } else { "," };
            let _ = write!(
                header,
                r#"{comma}"blocks.{block}.{name}.weight":{{"dtype":"F32","shape":[{},{WIDTH}],"data_offsets":[{start},{end}]}}"#,
                WIDTH * times
            );
        }
    }
    header.push('}');
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let row: Vec<u8> = (0..WIDTH).flat_map(|i| (i as f32).to_le_bytes()).collect();
    for _ in 0..end / row.len() {
        file.write_all(&row)?;
    }
    file.flush()?;
    Ok(8 + header.len() + end)
}

/// A field of `/proc/self/status` in bytes.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text
        .lines()
        .find(|l| l.starts_with(field))
        .expect("the field");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kib * 1024
}
