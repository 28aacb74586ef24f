//! Records become files and tables.

use indexmap::IndexMap;
use radio_eval::report::record::{MachinePart, SCHEMA_VERSION, Timings};
use radio_eval::report::render::{CSV, MARKDOWN, TERMINAL, render_within};
use radio_eval::report::{DataPart, Metric, ModelPart, Record, Table, write_record};
use serde_json::{Map, json};

pub fn record(model: &str, k: i64, top1: f64) -> Record {
    Record {
        schema_version: SCHEMA_VERSION,
        tool_version: "0.1.0".into(),
        git_revision: "abc".into(),
        libtorch_version: "2.13.0".into(),
        command: vec!["radio-eval".into()],
        created: "2026-11-23T20:15:00Z".into(),
        task: "knn".into(),
        model: ModelPart {
            name: model.into(),
            architecture: "ViT".into(),
            weights: format!("/weights/{model}"),
            sha256: Some("00".into()),
            random_weights: false,
            parameters: 2_500_000,
            adaptor: None,
            settings: Map::new(),
            entry: None,
        },
        device: "cpu".into(),
        precision: "fp32".into(),
        threads: 2,
        machine: MachinePart::default(),
        seed: 0,
        resolution: (128, 128),
        data: vec![DataPart {
            name: "imagenet-mini".into(),
            path: "/data".into(),
            split: "val".into(),
            samples: 500,
            fingerprint: "ff".into(),
            fingerprint_of: String::new(),
            skipped: 0,
            transform: json!({"mode": "cover"}),
        }],
        benchmark: None,
        options: json!({"k": k}).as_object().cloned().unwrap(),
        metrics: IndexMap::from([(
            "knn_top1".to_string(),
            Metric {
                value: top1,
                low: Some(top1 - 3.0),
                high: Some(top1 + 3.0),
                n: Some(500),
            },
        )]),
        published: Vec::new(),
        timings: Timings::default(),
        warnings: Vec::new(),
    }
}

#[test]
fn the_best_value_is_marked_in_every_format() {
    let records = [record("mini-clip", 20, 86.0), record("mini-dino", 20, 99.4)];
    let table = Table::from_records("ImageNet", &records);
    let markdown = MARKDOWN.render(&table).unwrap();
    assert_eq!(
        markdown,
        "**ImageNet**\n\n\
         | model | params | px | data | kNN top-1 |\n\
         | --- | --- | --- | --- | ---: |\n\
         | mini-clip | 2.5M | 128 | imagenet-mini | 86.00 [83.00, 89.00] |\n\
         | mini-dino | 2.5M | 128 | imagenet-mini | **99.40 [96.40, 102.40]** |\n"
    );
    let csv = CSV.render(&table).unwrap();
    assert!(csv.starts_with("model,params,resolution,data,knn_top1,knn_top1_low,knn_top1_high\n"));
    assert!(csv.ends_with("mini-dino,2.5M,128,imagenet-mini,99.4,96.4,102.4\n"));
    let terminal = TERMINAL.render(&table).unwrap();
    assert!(terminal.contains("99.40 [96.40, 102.40] *"), "{terminal}");
    assert!(!terminal.contains("89.00] *"), "{terminal}");
}

#[test]
fn one_row_is_marked_in_no_format() {
    let table = Table::from_records("one", &[record("mini-clip", 20, 86.0)]);
    assert!(!MARKDOWN.render(&table).unwrap().contains("**86"));
}

#[test]
fn tasks_of_a_model_share_a_row_and_other_settings_do_not() {
    let mut zero_shot = record("mini-clip", 20, 91.8);
    zero_shot.metrics = IndexMap::from([("zero_shot_top1".to_string(), Metric::value(91.8))]);
    zero_shot.options = Map::new();
    let records = [
        record("mini-clip", 20, 86.0),
        record("mini-clip", 10, 85.0),
        zero_shot,
    ];
    let table = Table::from_records("t", &records);
    let titles: Vec<_> = table.columns.iter().map(|c| c.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "model",
            "params",
            "px",
            "data",
            "k",
            "kNN top-1",
            "zero-shot top-1"
        ]
    );
    assert_eq!(table.rows.len(), 2);
}

#[test]
fn weights_are_shown_where_one_model_has_several() {
    let mut other = record("mini-clip", 20, 85.0);
    other.model.weights = "/other".into();
    let table = Table::from_records("t", &[record("mini-clip", 20, 86.0), other]);
    assert!(table.columns.iter().any(|c| c.title == "weights"));
}

#[test]
fn no_two_cells_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let plain = write_record(folder.path(), &record("mini-clip", 20, 86.0)).unwrap();
    assert_eq!(plain, folder.path().join("knn__mini-clip.json"));
    let k10 = write_record(folder.path(), &record("mini-clip", 10, 85.0)).unwrap();
    let name = k10.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("knn__mini-clip__k10_"), "{name}");
    // The same cell again replaces its own record.
    let again = write_record(folder.path(), &record("mini-clip", 20, 87.0)).unwrap();
    assert_eq!(again, plain);
    assert_eq!(
        Record::read(&plain).unwrap().metrics["knn_top1"].value,
        87.0
    );
    assert_eq!(
        write_record(folder.path(), &record("mini-clip", 10, 85.0)).unwrap(),
        k10
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn people_read_bytes_in_mebibytes_and_programs_read_bytes() {
    let mut latency = record("mini-clip", 20, 86.0);
    latency.metrics =
        IndexMap::from([("peak_memory_bytes".to_string(), Metric::value(67_457_024.0))]);
    let table = Table::from_records("t", &[latency]);
    let markdown = MARKDOWN.render(&table).unwrap();
    assert!(markdown.contains("| peak MiB |"), "{markdown}");
    assert!(markdown.contains("| 64.3 |"), "{markdown}");
    assert!(CSV.render(&table).unwrap().contains("67457024"));
}

/// Eight writers at once, each with two cells of its own: before, the last to rename won.
#[test]
fn writers_at_once_lose_no_record() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (start, folder) = (&start, folder.path());
                scope.spawn(move || {
                    start.wait();
                    for k in [1 + writer, 101 + writer] {
                        let path = write_record(folder, &record("mini-clip", k, 86.0)).unwrap();
                        assert_eq!(Record::read(&path).unwrap().options["k"], k);
                    }
                });
            }
        });
        let records = Record::read_folder(folder.path()).unwrap();
        let mut ks: Vec<i64> = records
            .iter()
            .map(|r| r.options["k"].as_i64().unwrap())
            .collect();
        ks.sort_unstable();
        let expected: Vec<i64> = (1..=8).chain(101..=108).collect();
        assert_eq!(ks, expected);
    }
}

#[test]
fn a_table_fits_the_terminal_and_says_what_it_hides() {
    let mut records = Vec::new();
    for k in [10, 20] {
        let mut run = record("a-model-with-a-rather-long-name", k, 86.0);
        for metric in ["knn_top5", "zero_shot_top1", "zero_shot_top5"] {
            let value = run.metrics["knn_top1"];
            run.metrics.insert(metric.into(), value);
        }
        run.data[0].name = format!("imagenet-mini-{k}");
        records.push(run);
    }
    let table = Table::from_records("t", &records);
    let whole = render_within(&table, None);
    assert!(whole.contains("zero-shot top-5") && !whole.contains("not shown"));
    for width in [80, 100, 160] {
        let text = render_within(&table, Some(width));
        let widest = text
            .lines()
            .filter(|l| !l.starts_with("not shown"))
            .map(|l| l.chars().count())
            .max();
        assert!(widest.unwrap() <= width, "{width}\n{text}");
        assert!(text.contains("a-model-with-a-rather-long-name"));
        assert!(text.contains("kNN top-1"), "{text}");
        assert!(
            text.contains(&format!("not shown in {width} columns: intervals")),
            "{text}"
        );
    }
    assert!(render_within(&table, Some(80)).contains("--csv, --markdown and --json have them"));
}
