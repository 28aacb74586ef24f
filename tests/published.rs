//! A published figure stands beside a run that meets its conditions, every one of them.

use crate::report::record;
use indexmap::IndexMap;
use radio_eval::models::architecture::build;
use radio_eval::models::options::by_flag;
use radio_eval::models::{BuildOptions, zoo};
use radio_eval::report::render::MARKDOWN;
use radio_eval::report::{DataPart, Metric, Record, Table, published};
use radio_eval::weights::Checkpoint;
use serde_json::{Value, json};

fn part(split: &str, samples: u64, transform: Value) -> DataPart {
    DataPart {
        name: "imagenet".into(),
        path: "/data/imagenet".into(),
        split: split.into(),
        samples,
        fingerprint: "ff".into(),
        fingerprint_of: String::new(),
        skipped: 0,
        transform,
    }
}

fn cover(side: i64, multiple: i64) -> Value {
    json!({"resize": "cover", "size": [side, side], "multiple": multiple, "filter": "bicubic"})
}

fn shortest(side: i64, multiple: i64) -> Value {
    json!({"resize": "shortest", "size": [side], "multiple": multiple, "filter": "bicubic"})
}

fn options(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// Zero-shot of radio_v2.5-b on ImageNet's val split as upstream does it, at a square of `side`.
fn zero_shot(side: i64) -> Record {
    let mut run = record("radio_v2.5-b", 20, 62.3);
    run.task = "zero_shot".into();
    run.metrics = IndexMap::from([("zero_shot_top1".to_string(), Metric::value(62.3))]);
    run.options = options(json!({"templates": "openai", "class_names": "open_clip (by wnid)"}));
    run.model.adaptor = Some("clip".into());
    run.model.settings = options(json!({"pos_align_corners": true}));
    run.benchmark = Some("ImageNet-1k val".into());
    run.resolution = (side, side);
    run.data = vec![part("val", 50_000, cover(side, 16))];
    run
}

/// kNN of e-radio_v2 at 512 px, as AM-RADIO's Table 1 has it.
fn knn() -> Record {
    let mut run = record("e-radio_v2", 20, 83.0);
    run.options =
        options(json!({"k": 20, "temperature": 0.07, "limit": null, "train_limit": null}));
    run.model.settings = options(json!({"window": "trained", "window_tokens": 16}));
    run.benchmark = Some("ImageNet-1k val".into());
    run.resolution = (512, 512);
    run.data = vec![
        part("train", 1_281_167, cover(512, 16)),
        part("val", 50_000, cover(512, 16)),
    ];
    run
}

/// The probe of radio_v2.1 on ADE20k by the paper's recipe.
fn probe() -> Record {
    let mut run = record("radio_v2.1", 20, 51.0);
    run.task = "segmentation".into();
    run.metrics = IndexMap::from([("miou".to_string(), Metric::value(51.0))]);
    run.options = options(json!({"preset": "paper-v5", "recipe_changes": []}));
    run.model.settings = options(json!({"pos_align_corners": true}));
    run.benchmark = Some("ADE20k val".into());
    run.resolution = (512, 512);
    run.data = vec![
        part("train", 20_210, json!({})),
        part("val", 2_000, json!({})),
    ];
    run
}

/// What stands beside the run's own metric.
fn beside(run: &Record) -> Option<f64> {
    let entry = zoo::find(&run.model.name).unwrap();
    let standing = published::standing(entry, run);
    let metric = run.metrics.keys().next().unwrap();
    standing
        .iter()
        .find(|p| &p.metric == metric)
        .map(|p| p.value)
}

/// A change to a run, and what it is.
type Change = (&'static str, fn(&mut Record));

fn assert_each_spoils(run: &Record, changes: &[Change]) {
    assert!(beside(run).is_some());
    for (what, change) in changes {
        let mut other = run.clone();
        change(&mut other);
        assert_eq!(beside(&other), None, "{what}");
    }
}

#[test]
fn each_resolution_and_shape_has_its_own_figure() {
    assert_eq!(beside(&zero_shot(224)), Some(62.344));
    assert_eq!(beside(&zero_shot(768)), Some(74.386));
    assert_eq!(beside(&zero_shot(640)), None);
    let mut whole = zero_shot(768);
    whole.data = vec![part("val", 50_000, shortest(768, 16))];
    assert_eq!(beside(&whole), Some(74.57));
    whole.data = vec![part("val", 50_000, shortest(224, 16))];
    whole.resolution = (224, 224);
    assert_eq!(beside(&whole), None);
    let mut siglip = zero_shot(224);
    siglip.model.adaptor = Some("siglip".into());
    assert_eq!(beside(&siglip), Some(58.670));
    let mut windowed = zero_shot(512);
    windowed.model.settings = options(json!({"vitdet": {"window": 16, "period": 3}}));
    assert_eq!(beside(&windowed), Some(70.488));
}

#[test]
fn zero_shot_misses_a_condition() {
    let changes: [Change; 11] = [
        ("other templates", |r| {
            r.options["templates"] = json!("simple");
        }),
        ("other names", |r| {
            r.options["class_names"] = json!("data set")
        }),
        ("backbone's summary", |r| r.model.adaptor = None),
        ("random weights", |r| r.model.random_weights = true),
        ("no benchmark", |r| r.benchmark = None),
        ("another benchmark", |r| {
            r.benchmark = Some("ADE20k val".into())
        }),
        ("a part of the split", |r| r.data[0].samples = 49_999),
        ("images left out", |r| r.data[0].skipped = 1),
        ("padded", |r| r.data[0].transform["resize"] = json!("fit")),
        ("another rule of positions", |r| {
            r.model.settings = options(json!({"pos_align_corners": false}));
        }),
        ("sizes in other multiples", |r| {
            r.data[0].transform["multiple"] = json!(32);
        }),
    ];
    assert_each_spoils(&zero_shot(224), &changes);
}

#[test]
fn knn_misses_a_condition() {
    assert_eq!(beside(&knn()), Some(83.89));
    let changes: [Change; 8] = [
        ("k", |r| r.options["k"] = json!(10)),
        ("temperature", |r| r.options["temperature"] = json!(0.1)),
        ("train limit", |r| r.options["train_limit"] = json!(10)),
        ("a part of the train split", |r| r.data[0].samples = 10_000),
        ("an adaptor's summary", |r| {
            r.model.adaptor = Some("clip".into())
        }),
        ("optimal window", |r| {
            r.model.settings = options(json!({"window": "optimal"}));
        }),
        ("resolution", |r| {
            r.resolution = (224, 224);
            r.data[1].transform = cover(224, 16);
        }),
        ("mean by a flag", |r| {
            r.model.settings["mean"] = json!({"value": [0.5, 0.5, 0.5], "from": "flag"});
        }),
    ];
    let mut run = knn();
    run.model.settings.insert("mean".into(), json!(null));
    assert_each_spoils(&run, &changes);
}

/// Constants given by a flag make another model than the published one, as its record says them.
#[test]
fn constants_of_the_user_spoil_every_figure() {
    let built = |mean, std| {
        let config = (zoo::find("eradio_xxxtiny").unwrap().config)();
        let options = BuildOptions {
            mean,
            std,
            ..BuildOptions::default()
        };
        let network = build(&Checkpoint::random(config, 1), &options).unwrap();
        let mut run = knn();
        run.model.settings = network.info().settings.clone();
        // The released model's window, which the small one has not.
        run.model.settings.extend(knn().model.settings);
        run
    };
    assert_eq!(beside(&built(None, None)), Some(83.89));
    let own = [0.48145466, 0.4578275, 0.40821073];
    for (mean, std) in [
        (Some(own), None),
        (None, Some([0.3; 3])),
        (Some(own), Some([0.3; 3])),
    ] {
        let run = built(mean, std);
        assert_eq!(beside(&run), None, "{mean:?} {std:?}");
        let from = &run.model.settings["mean_and_std_from"];
        assert!(from["value"].as_str().unwrap().starts_with("--"), "{from}");
    }
    // Nor do other patch tokens, or another eps.
    for setting in ["patch_tokens", "attention_head_eps"] {
        let mut run = built(None, None);
        run.model.settings.insert(setting.into(), by_flag(1));
        assert_eq!(beside(&run), None, "{setting}");
    }
}

#[test]
fn a_probe_misses_a_condition() {
    assert_eq!(beside(&probe()), Some(51.34));
    let changes: [Change; 5] = [
        ("preset", |r| r.options["preset"] = json!("quick")),
        ("a changed value", |r| {
            r.options["recipe_changes"] = json!(["lr"])
        }),
        ("a given head", |r| {
            r.options.insert("head".into(), json!("head.safetensors"));
        }),
        ("crop", |r| r.resolution = (432, 432)),
        ("a part of the train split", |r| r.data[0].samples = 2_000),
    ];
    assert_each_spoils(&probe(), &changes);
}

#[test]
fn a_figure_whose_source_leaves_something_out_stands_beside_nothing() {
    // The README gives no size for kNN of radio_v2.5-b and no recipe for its probe.
    let mut run = knn();
    run.model.name = "radio_v2.5-b".into();
    run.model.settings = options(json!({"pos_align_corners": true}));
    for side in [512, 768] {
        run.resolution = (side, side);
        run.data[1].transform = cover(side, 16);
        assert_eq!(beside(&run), None, "{side}");
    }
    let mut run = probe();
    run.model.name = "radio_v2.5-b".into();
    assert_eq!(beside(&run), None);
}

#[test]
fn a_speed_carries_the_accuracies_of_the_same_network_and_input() {
    let mut speed = record("e-radio_v2", 20, 0.0);
    speed.task = "latency".into();
    speed.data = Vec::new();
    speed.metrics = IndexMap::from([("throughput".to_string(), Metric::value(5.0))]);
    speed.model.random_weights = true;
    speed.model.settings = options(json!({"window": "trained"}));
    speed.resolution = (512, 512);
    let entry = zoo::find("e-radio_v2").unwrap();
    let metrics = |run: &Record| -> Vec<String> {
        let standing = published::standing(entry, run);
        standing.into_iter().map(|p| p.metric).collect()
    };
    assert_eq!(metrics(&speed), ["knn_top1", "throughput"]);
    let mut adapted = speed.clone();
    adapted.model.settings = options(json!({"window": "optimal"}));
    assert!(metrics(&adapted).is_empty());
    let mut smaller = speed;
    smaller.resolution = (224, 224);
    assert!(metrics(&smaller).is_empty());
}

#[test]
fn tables_show_what_the_record_holds_and_ask_no_zoo() {
    let mut run = zero_shot(224);
    let entry = zoo::find("radio_v2.5-b").unwrap();
    let bare = MARKDOWN.render(&Table::from_records("t", std::slice::from_ref(&run)));
    assert!(!bare.unwrap().contains("published"));
    run.published = published::standing(entry, &run);
    // What was true then stays, whatever today's zoo says.
    run.published[0].value = 62.5;
    let text = MARKDOWN.render(&Table::from_records("t", &[run])).unwrap();
    assert!(text.contains("zero-shot top-1 (published)"), "{text}");
    assert!(text.contains("| 62.50 |"), "{text}");
    assert!(
        text.contains("tech_report.md, 224 px (square, inferred)"),
        "{text}"
    );
}

#[test]
fn records_of_the_first_version_are_read() {
    let old = Record::read("tests/fixtures/records/version-1.json".as_ref()).unwrap();
    assert_eq!((old.schema_version, old.published.len()), (1, 0));
    let text = MARKDOWN.render(&Table::from_records("t", &[old])).unwrap();
    assert!(text.contains("| e-radio_v2 (random weights) |"), "{text}");
    assert!(!text.contains("published"), "{text}");
}
