//! A kept value is used again only where everything that decides it is the same.

use super::{World, named, record, top1};
use crate::common::{radio_eval, shared, stderr};
use radio_eval::assets;
use std::path::Path;

#[test]
fn other_pictures_under_the_same_names_are_seen() {
    let Some(case) = shared("cases/data/c11_cache") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let knn = |data: &str| {
        let mut command = radio_eval(home.path());
        command
            .args(["imagenet", "--model", "mini-dino", "--k", "1", "--json"])
            .args(["--resolution", "56", "--data"])
            .arg(case.join(data))
            .arg("--out")
            .arg(home.path().join("out"));
        top1(&record(&mut command))
    };
    assert_eq!(knn("clean"), 100.0);
    assert_eq!(knn("shuffled"), 0.0);
    assert_eq!(knn("clean"), 100.0);
}

#[test]
fn two_pictures_that_change_places_are_computed_anew() {
    let world = World::new(2, 1);
    let before = record(&mut world.knn("home"));
    assert_eq!(top1(&before), 100.0);
    let (dark, bright) = ("data/val/dark/0000.bmp", "data/val/bright/0000.bmp");
    let (a, b) = (world.path(dark), world.path(bright));
    std::fs::rename(&a, world.path("kept.bmp")).unwrap();
    std::fs::rename(&b, &a).unwrap();
    std::fs::rename(world.path("kept.bmp"), &b).unwrap();
    let output = world.knn("home").output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("has changed since its features"), "{told}");
    let after = record(&mut world.knn("home"));
    assert_eq!(top1(&after), 0.0);
    assert_ne!(before.data[1].fingerprint, after.data[1].fingerprint);
    assert_eq!(before.data[0].fingerprint, after.data[0].fingerprint);
    assert!(
        after.data[0]
            .fingerprint_of
            .contains("SHA-256 of the bytes")
    );
}

#[test]
fn the_same_bytes_in_new_files_are_used_again() {
    let world = World::new(2, 1);
    let before = record(&mut world.knn("home"));
    for path in named(&world.path("data"), "0000.bmp") {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let output = world.knn("home").output().unwrap();
    let told = stderr(&output);
    assert_eq!(told.matches("features from the cache").count(), 2, "{told}");
    let after = record(&mut world.knn("home"));
    assert_eq!(before.data[0].fingerprint, after.data[0].fingerprint);
}

/// Labels decide no feature: a folder of another class name has other keys, but a mapping may
/// change without the pictures.
#[test]
fn what_the_config_says_is_part_of_the_key() {
    let world = World::new(2, 1);
    let weights = world.path("weights");
    std::fs::create_dir(&weights).unwrap();
    let shipped = assets::path("mini/weights/mini-dino").unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(shipped.join(name), weights.join(name)).unwrap();
    }
    let knn = || {
        let mut command = radio_eval(&world.path("home"));
        command
            .args(["imagenet", "--k", "1", "--resolution", "56", "--json"])
            .arg("--model")
            .arg(&weights)
            .arg("--data")
            .arg(world.path("data"))
            .arg("--out")
            .arg(world.path("out"));
        let output = command.output().unwrap();
        let told = stderr(&output);
        assert!(output.status.success(), "{told}");
        told.matches("features from the cache").count()
    };
    assert_eq!(knn(), 0);
    assert_eq!(knn(), 2);
    for (known, other) in [("0.485", "0.1"), ("1e-06", "1e-3"), ("0.229", "0.5")] {
        edit(&weights.join("config.json"), known, other);
        assert_eq!(knn(), 0, "{known} became {other}");
        assert_eq!(knn(), 2);
    }
}

fn edit(path: &Path, known: &str, other: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(known), "{text}");
    std::fs::write(path, text.replacen(known, other, 1)).unwrap();
}

#[test]
fn a_damaged_store_is_named_and_made_anew() {
    let world = World::new(2, 1);
    let before = record(&mut world.knn("home"));
    let stores = named(&world.path("home/cache/features"), "summary.values");
    std::fs::write(&stores[0], b"short").unwrap();
    let output = world.knn("home").output().unwrap();
    let told = stderr(&output);
    let folder = stores[0].parent().unwrap().display().to_string();
    assert!(
        told.contains(&folder) && told.contains("is damaged"),
        "{told}"
    );
    assert_eq!(top1(&record(&mut world.knn("home"))), top1(&before));
}
