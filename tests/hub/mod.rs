//! `radio-eval fetch` against a hub on the loopback, with everything that can go wrong.

mod server;

use crate::common::{fails, fixture, radio_eval, stdout};
use server::{COMMIT, Fault, Server, sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

const CONFIG: &[u8] = br#"{"model_type": "dinov2"}"#;

/// Files of `facebook/dinov2-small` (zoo: `dinov2-s`), the weights being 300,000 made-up bytes.
fn server() -> Server {
    Server::start(&[
        ("model.safetensors", weights()),
        ("config.json", CONFIG.to_vec()),
        ("README.md", b"not fetched".to_vec()),
    ])
}

fn weights() -> Vec<u8> {
    (0..300_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn fetch(server: &Server, home: &Path, names: &[&str]) -> Command {
    let mut command = radio_eval(home);
    command
        .env("HF_ENDPOINT", &server.endpoint)
        .env("NO_PROXY", "*")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN_PATH")
        .arg("fetch")
        .args(names);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    command
}

fn repo(home: &Path) -> PathBuf {
    home.join("hf/hub/models--facebook--dinov2-small")
}

#[track_caller]
fn assert_fetched(home: &Path) {
    let snapshot = repo(home).join("snapshots").join(COMMIT);
    assert!(std::fs::read(snapshot.join("model.safetensors")).unwrap() == weights());
    assert_eq!(std::fs::read(snapshot.join("config.json")).unwrap(), CONFIG);
    assert!(!snapshot.join("README.md").exists());
    assert_eq!(
        std::fs::read_to_string(repo(home).join("refs/main")).unwrap(),
        COMMIT
    );
    let left: Vec<_> = std::fs::read_dir(repo(home).join("blobs"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 2, "only whole files are left: {left:?}");
}

#[test]
fn models_land_in_the_hubs_cache() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    let told = stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert!(
        told.starts_with("dinov2-s ") && told.contains(COMMIT),
        "{told}"
    );
    assert_fetched(home.path());
    let snapshot = repo(home.path()).join("snapshots").join(COMMIT);
    let link = std::fs::read_link(snapshot.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));

    // The model is found there, without the network.
    let models = stdout(radio_eval(home.path()).args(["models", "dinov2-s", "--json"]));
    let models: serde_json::Value = serde_json::from_str(&models).unwrap();
    let found = models[0]["weights"].as_str().unwrap();
    assert!(
        found.ends_with(&format!("snapshots/{COMMIT}/model.safetensors")),
        "{found}"
    );

    // A second call downloads nothing.
    let before = server.log().len();
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert!(
        server.log()[before..]
            .iter()
            .all(|line| !line.contains("/cdn/"))
    );
}

#[test]
fn cut_connections_are_resumed() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault(
        "model.safetensors",
        Fault::Cut {
            after: 100_000,
            times: 2,
        },
    );
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert_fetched(home.path());
    let log = server.log();
    let gets: Vec<&String> = log.iter().filter(|l| l.contains("/cdn/model")).collect();
    assert_eq!(gets.len(), 3);
    assert!(
        gets[1].contains("bytes=100000-") && gets[2].contains("bytes=200000-"),
        "{gets:?}"
    );
}

#[test]
fn a_killed_download_goes_on() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    // What an earlier process left.
    let blobs = repo(home.path()).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&weights())));
    std::fs::write(&partial, &weights()[..123_456]).unwrap();
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert_fetched(home.path());
    assert!(server.log().iter().any(|l| l.contains("bytes=123456-")));
}

#[test]
fn a_damaged_part_is_fetched_again() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    let blobs = repo(home.path()).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&weights())));
    std::fs::write(&partial, vec![0; 1000]).unwrap();
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert_fetched(home.path());
}

#[test]
fn a_server_without_ranges_starts_again() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault("model.safetensors", Fault::NoRanges { after: 50_000 });
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert_fetched(home.path());
}

#[test]
fn wrong_bytes_are_never_kept() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault("model.safetensors", Fault::Wrong { times: 1 });
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert_fetched(home.path());

    let home = tempfile::tempdir().unwrap();
    server.fault("model.safetensors", Fault::Wrong { times: 9 });
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(error.contains("does not have the checksum"), "{error}");
    assert!(!repo(home.path()).join("refs/main").exists());
}

#[test]
fn wrong_sizes_are_refused() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault("model.safetensors", Fault::Longer);
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(
        error.contains("more than the 300000 bytes it announced"),
        "{error}"
    );

    // More than the disk holds is refused before anything is downloaded.
    let huge = 1 << 60;
    server
        .state
        .lock()
        .unwrap()
        .claimed_size
        .insert("model.safetensors".into(), huge);
    let before = server.log().len();
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(error.contains("the disk has"), "{error}");
    assert!(
        server.log()[before..]
            .iter()
            .all(|line| !line.contains("/cdn/"))
    );
}

#[test]
fn too_many_requests_are_waited_out() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault("model.safetensors", Fault::Status(429, 1));
    let start = std::time::Instant::now();
    stdout(&mut fetch(&server, home.path(), &["dinov2-s"]));
    assert!(start.elapsed().as_secs_f64() >= 1.0, "Retry-After is kept");
    assert_fetched(home.path());
}

#[test]
fn refusals_say_what_to_do() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    server.fault("model.safetensors", Fault::Status(401, 99));
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(
        error.contains("facebook/dinov2-small/model.safetensors"),
        "{error}"
    );
    assert!(
        error.contains("set HF_TOKEN") && error.contains("accept the terms"),
        "{error}"
    );

    server.fault("model.safetensors", Fault::Status(404, 99));
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(error.contains("not on the hub (HTTP 404"), "{error}");

    server
        .state
        .lock()
        .unwrap()
        .files
        .remove("model.safetensors");
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s"]), 1);
    assert!(error.contains("has no file model.safetensors"), "{error}");
}

#[test]
fn the_token_stays_with_the_hub() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    stdout(fetch(&server, home.path(), &["dinov2-s"]).env("HF_TOKEN", "secret"));
    let log = server.log();
    assert!(
        log.iter()
            .filter(|l| !l.contains("/cdn/"))
            .all(|l| l.contains("Bearer secret"))
    );
    assert!(
        log.iter()
            .filter(|l| l.contains("/cdn/"))
            .all(|l| !l.contains("secret"))
    );
}

/// A token that `huggingface-cli login` stored, and a cache elsewhere than in HF_HOME.
#[test]
fn the_hubs_other_variables_hold() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("token"), "stored\n").unwrap();
    let fetch = |token_file: &str| {
        let mut command = fetch(&server, home.path(), &["dinov2-s"]);
        command
            .env("HF_TOKEN_PATH", at(token_file))
            .env("HF_HUB_CACHE", at("elsewhere"));
        command
    };
    stdout(&mut fetch("token"));
    let log = server.log();
    assert!(!log.is_empty());
    let of_hub = |line: &&String| !line.contains("/cdn/");
    assert!(
        log.iter()
            .filter(of_hub)
            .all(|l| l.contains("Bearer stored"))
    );
    let repo = at("elsewhere/models--facebook--dinov2-small");
    let weights = repo
        .join("snapshots")
        .join(COMMIT)
        .join("model.safetensors");
    assert!(weights.exists());
    assert!(!at("hf").exists());

    server.fault("config.json", Fault::Status(403, 99));
    std::fs::remove_dir_all(&repo).unwrap();
    let error = fails(&mut fetch("token"), 1);
    assert!(
        error.contains("the token may not be valid for it: check HF_TOKEN"),
        "{error}"
    );
    assert!(
        !error.contains("stored"),
        "the token is no one's business: {error}"
    );
    let error = fails(&mut fetch("no-token"), 1);
    assert!(error.contains("set HF_TOKEN"), "{error}");
}

#[test]
fn offline_mode_and_unknown_names_ask_nothing() {
    let (server, home) = (server(), tempfile::tempdir().unwrap());
    let error = fails(
        fetch(&server, home.path(), &["dinov2-s"]).env("HF_HUB_OFFLINE", "1"),
        2,
    );
    assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
    let error = fails(&mut fetch(&server, home.path(), &["dinov2-s", "dinov9"]), 2);
    assert!(error.contains("near names"), "{error}");
    let error = fails(&mut fetch(&server, home.path(), &["mini-dino"]), 2);
    assert!(error.contains("in no repository"), "{error}");
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn data_sets_are_found_where_they_were_fetched() {
    let parquet = fixture("data/parquet/data");
    let read = |name: &str| std::fs::read(parquet.join(name)).unwrap();
    let names = [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.parquet",
    ];
    let server = Server::start(&[]);
    for name in names {
        let mut state = server.state.lock().unwrap();
        state.files.insert(format!("data/{name}"), read(name));
        state.files.insert(name.to_string(), read(name));
    }
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("datasets.toml");
    let entry = "[tiny]\ntask = \"classification\"\nabout = \"\"\nlayout = \"parquet\"\nhub = \"me/tiny\"\n\
                 splits.train.path = \"data/train-*.parquet\"\nsplits.val.path = \"data/validation-*.parquet\"\n";
    std::fs::write(&list, entry).unwrap();
    stdout(&mut fetch(&server, home.path(), &["tiny"]));
    let told = stdout(radio_eval(home.path()).args(["datasets", "tiny"]));
    assert!(told.contains("datasets--me--tiny"), "{told}");
    assert!(told.contains("train"), "{told}");
}
