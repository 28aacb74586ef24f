//! What is kept between runs: never stale, never lost, and listed.

mod disk_full;
mod early;
mod export;
mod listing;
mod once;
mod stale;

use crate::common::{radio_eval, stdout};
use radio_eval::report::Record;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// `train/` and `val/` with two classes of one-coloured noise, as BMPs: all of one size in bytes.
struct World {
    folder: TempDir,
}

impl World {
    fn new(train: u32, val: u32) -> Self {
        let world = World {
            folder: tempfile::tempdir().unwrap(),
        };
        for (split, count, seed) in [("train", train, 1), ("val", val, 900)] {
            for class in ["dark", "bright"] {
                for i in 0..count {
                    let path = world.path(&format!("data/{split}/{class}/{i:04}.bmp"));
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, picture(class, seed + i)).unwrap();
                }
            }
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// kNN of mini-dino, small and the same everywhere.
    fn knn(&self, home: &str) -> Command {
        self.knn_at(home, "1")
    }

    fn knn_at(&self, home: &str, k: &str) -> Command {
        let mut command = radio_eval(&self.path(home));
        command
            .args(["imagenet", "--model", "mini-dino", "--k", k])
            .args(["--resolution", "56", "--threads", "1", "--json", "--data"])
            .arg(self.path("data"))
            .arg("--out")
            .arg(self.path("out"));
        command
    }
}

/// A bitmap of 24 bits, 60x60, blue before green before red, the last row first.
fn picture(class: &str, seed: u32) -> Vec<u8> {
    const SIDE: u32 = 60;
    let values = SIDE * SIDE * 3;
    let mut file = b"BM".to_vec();
    for number in [
        54 + values,
        0,
        54,
        40,
        SIDE,
        SIDE,
        1 | 24 << 16,
        0,
        values,
        0,
        0,
        0,
        0,
    ] {
        file.extend(number.to_le_bytes());
    }
    let mut state = seed.wrapping_mul(2_654_435_761);
    for _ in 0..SIDE * SIDE {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 27) as u8;
        file.extend(match class {
            "dark" => [10, 20 + noise, noise],
            _ => [220 - noise, 200, 250 - noise],
        });
    }
    file
}

/// The one record that a command prints.
fn record(command: &mut Command) -> Record {
    let text = stdout(command);
    let mut records: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn top1(record: &Record) -> f64 {
    record.metrics["knn_top1"].value
}

/// Every file of that name below `folder`, in order.
fn named(folder: &Path, name: &str) -> Vec<PathBuf> {
    walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.file_name().is_some_and(|n| n == name))
        .collect()
}
