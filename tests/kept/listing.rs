//! `radio-eval cache`.

use super::{World, named, record};
use crate::common::{fails, radio_eval, stderr, stdout};
use serde_json::Value;
use std::path::PathBuf;

#[test]
fn the_cache_is_listed_and_pruned() {
    let world = World::new(2, 1);
    record(&mut world.knn("home"));
    let cache = |args: &[&str]| {
        let mut command = radio_eval(&world.path("home"));
        command.arg("cache").args(args);
        command
    };
    let text = stdout(&mut cache(&["--json"]));
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    let features: Vec<&Value> = entries.iter().filter(|e| e["kind"] == "features").collect();
    assert_eq!(features.len(), 2);
    for entry in &features {
        assert_eq!(entry["model"], "mini-dino");
        assert!(entry["bytes"].as_u64().unwrap() > 2 * 192 * 4);
        assert_eq!(entry["done"][0], entry["done"][1]);
        assert!(entry["age_s"].as_u64().unwrap() < 600);
    }
    let table = stdout(&mut cache(&[]));
    assert!(
        table.contains("mini-dino") && table.contains("ago"),
        "{table}"
    );

    fails(&mut cache(&["prune"]), 2);
    let old = stdout(&mut cache(&["prune", "--older-than", "1d"]));
    assert!(old.starts_with("removed 0 of"), "{old}");
    let other = stdout(&mut cache(&["prune", "--model", "mini-sam"]));
    assert!(other.starts_with("removed 0 of"), "{other}");

    // A damaged store is named.
    let headers = named(&world.path("home/cache/features"), "header.json");
    std::fs::write(&headers[0], b"{").unwrap();
    let output = cache(&[]).output().unwrap();
    assert!(
        stderr(&output).contains("is damaged"),
        "{}",
        stderr(&output)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("damaged"));

    // One in use stays.
    let part: PathBuf = headers[1].parent().unwrap().into();
    let lock = std::fs::File::open(part.join("lock")).unwrap();
    lock.lock().unwrap();
    let told = stderr(&cache(&["prune", "--all"]).output().unwrap());
    assert!(told.contains("in use by another process"), "{told}");
    assert!(headers[1].is_file() && !headers[0].exists());
    drop(lock);
    stdout(&mut cache(&["prune", "--all"]));
    assert!(named(&world.path("home/cache"), "header.json").is_empty());
    record(&mut world.knn("home"));
}
