//! `radio-eval latency` through the binary.

use crate::common::{fails, fixture, radio_eval, stdout};
use serde_json::Value;
use std::process::{Child, Command};
use tempfile::TempDir;

/// A sweep over the smallest network, as short as it can be.
fn tiny(home: &TempDir) -> Command {
    let mut command = radio_eval(home.path());
    command
        .args(["latency", "--model", "eradio_xxxtiny", "--resolution", "64"])
        .args(["--seconds", "0", "--rounds", "2", "--device", "cpu"])
        .arg("--out")
        .arg(home.path().join("out"));
    command
}

#[test]
fn records_carry_every_metric() {
    let home = TempDir::new().unwrap();
    let mut command = tiny(&home);
    command.args(["--batch", "1,2", "--baseline", "eradio_xxxtiny", "--json"]);
    let records: Value = serde_json::from_str(&stdout(&mut command)).unwrap();
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 2);
    let value = |record: &Value, metric: &str| record["metrics"][metric]["value"].as_f64();
    for record in records {
        assert_eq!(record["model"]["random_weights"], true);
        for metric in ["throughput", "gflops", "params", "matrix_peak_share"] {
            assert!(value(record, metric).unwrap() > 0.0, "{metric}");
        }
        let machine = &record["machine"];
        assert!(machine["cores"].as_u64().unwrap() > 0);
        assert!(!machine["cpu_capabilities"].as_array().unwrap().is_empty());
        let speedup = value(record, "speedup").unwrap();
        assert_eq!(speedup, 1.0, "a model is as fast as itself");
    }
    let (one, two) = (&records[0], &records[1]);
    assert!(value(one, "latency_ms_p50").unwrap() > 0.0);
    assert_eq!(value(two, "latency_ms_p50"), None);
    assert!(value(two, "batch_ms_p50").unwrap() > 0.0);
    // Per image, whatever the batch.
    assert_eq!(value(one, "gflops"), value(two, "gflops"));
    let written = std::fs::read_dir(home.path().join("out")).unwrap().count();
    assert_eq!(written, 2, "one file per record");
}

/// A process that computes beside the measurement stands in the record, and is told.
#[test]
fn a_busy_neighbour_is_told() {
    let home = TempDir::new().unwrap();
    let mut neighbours: Vec<Child> = (0..2)
        .map(|_| {
            let mut busy = Command::new("sh");
            busy.args(["-c", "while :; do :; done"]).spawn().unwrap()
        })
        .collect();
    let mut command = radio_eval(home.path());
    command
        .args(["latency", "--model", "eradio_xxxtiny", "--resolution", "64"])
        .args(["--seconds", "1.5", "--device", "cpu", "--json", "--out"])
        .arg(home.path().join("out"));
    let output = command.output().unwrap();
    for neighbour in &mut neighbours {
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
    }
    let records: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A sandbox may hide the machine's CPU time; then nothing is said.
    let others = records[0]["machine"]["others_cpu_percent"].as_f64();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let warned = told.contains("% of the CPU during the timings");
    assert_eq!(others.is_some_and(|share| share > 5.0), warned, "{told}");
    let cores = records[0]["machine"]["cores"].as_u64().unwrap();
    if others.is_some() && cores <= 16 {
        assert!(warned, "{others:?} on {cores} cores: {told}");
    }
}

#[test]
fn a_config_gives_tables_and_a_plot() {
    let home = TempDir::new().unwrap();
    let config = home.path().join("sweep.toml");
    std::fs::write(
        &config,
        "batch = [1]\nwindow = [\"trained\", \"optimal\"]\n",
    )
    .unwrap();
    let text = stdout(tiny(&home).arg("--config").arg(&config));
    assert!(text.contains("optimal"), "{text}");
    let out = home.path().join("out");
    for name in ["table.md", "table.csv", "latency.svg"] {
        assert!(out.join(name).exists(), "{name}");
    }
}

/// A code's lengths are swept where a network makes codes; others are measured once beside them.
#[test]
fn lengths_of_a_code() {
    let home = TempDir::new().unwrap();
    let mut command = radio_eval(home.path());
    command
        .args(["latency", "--model"])
        .arg(fixture("radio1d/two_levels"))
        .args(["--model", "eradio_xxxtiny", "--tokens", "1,4"])
        .args(["--resolution", "64", "--rounds", "3", "--seconds", "0"])
        .args(["--device", "cpu", "--json", "--out"])
        .arg(home.path().join("out"));
    let records: Value = serde_json::from_str(&stdout(&mut command)).unwrap();
    let records = records.as_array().unwrap();
    let tokens = |record: &Value| record["model"]["settings"]["tokens"].as_i64();
    let tokens: Vec<_> = records.iter().map(tokens).collect();
    assert_eq!(tokens, [Some(1), Some(4), None]);

    let text = fails(tiny(&home).args(["--tokens", "4"]), 2);
    assert!(text.contains("--tokens does nothing"), "{text}");
    let text = fails(tiny(&home).args(["--tokens", "0"]), 2);
    assert!(text.contains("--tokens 0: use 1 to 65536"), "{text}");
}

#[test]
fn wrong_usage_is_told() {
    let home = TempDir::new().unwrap();
    let text = fails(tiny(&home).args(["--batch", "0"]), 2);
    assert!(text.contains("at least one image"), "{text}");
    let text = fails(tiny(&home).args(["--baseline", "sam-h"]), 2);
    assert!(text.contains("sam-h is not one of the measured"), "{text}");
    let config = home.path().join("sweep.toml");
    std::fs::write(&config, "batch = [1]\nbatches = [2]\n").unwrap();
    let text = fails(tiny(&home).arg("--config").arg(&config), 1);
    assert!(text.contains("line 2"), "{text}");
}
