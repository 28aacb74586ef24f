//! Whole evaluations on the miniature world, from image files to metrics.

use radio_eval::data::classification;
use radio_eval::data::coco;
use radio_eval::data::segmentation::{self, OpenOptions};
use radio_eval::data::transform::Transform;
use radio_eval::models::architecture::build;
use radio_eval::models::{BuildOptions, ModelSpec, Resolved, resolve, zoo};
use radio_eval::report::{ModelPart, Record};
use radio_eval::runtime::{Precision, Runtime};
use radio_eval::tasks::classify::{self, Job, Method};
use radio_eval::tasks::extract::Extractor;
use radio_eval::tasks::finished::{Contents, Finished};
use radio_eval::tasks::knn::{self, Knn};
use radio_eval::tasks::sam_swap::{self, Grid, Padding, PromptKind, Settings};
use radio_eval::tasks::segmentation::recipe::{Preset, Recipe, RecipeValues};
use radio_eval::tasks::segmentation::{self as probe};
use radio_eval::tasks::zero_shot::{self, ZeroShot};
use radio_eval::weights::{Checkpoint, safetensors};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tch::Device;

const HOME: &str = "RADIO_EVAL_HOME";
const INNER: &str = "RADIO_EVAL_STRICT_INNER";

/// Runs the test again in a process whose caches are its own; true inside.
fn in_own_home(test: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let home = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, home.path())
        .env(INNER, "1")
        .status();
    assert!(
        status.unwrap().success(),
        "{test} failed in its own process"
    );
    false
}

fn runtime(device: Device, precision: Precision) -> Runtime {
    Runtime {
        device,
        precision,
        workers: 1,
        ..Runtime::cpu()
    }
}

fn model(name: &str, runtime: &Runtime) -> Resolved {
    let spec = ModelSpec {
        model: name.into(),
        ..ModelSpec::default()
    };
    let options = BuildOptions {
        device: runtime.device,
        kind: Some(runtime.precision.kind()),
        ..BuildOptions::default()
    };
    resolve(&spec, &options).unwrap_or_else(|e| panic!("{e}"))
}

fn value(record: &Record, metric: &str) -> f64 {
    let found = record.metrics.get(metric);
    found
        .unwrap_or_else(|| panic!("{} has no {metric}", record.task))
        .value
}

/// kNN and zero-shot top-1 of mini-clip on a part of imagenet-mini.
fn classified(device: Device, precision: Precision) -> [f64; 2] {
    let runtime = runtime(device, precision);
    let model = model("mini-clip", &runtime);
    let part = ModelPart::for_model(&model).unwrap();
    let data = classification::open("imagenet-mini", None).unwrap();
    let job = Job {
        data: &data,
        extractor: Extractor {
            model: &model,
            part: &part,
            transform: Transform::cover(128, 128, 1),
            runtime: &runtime,
            batch_size: 16,
            skip_bad: 0,
            padding: [0.0; 3],
            progress: false,
        },
        adaptor: None,
        resolution: (128, 128),
        limit: Some(60),
        train_limit: Some(5),
        load_s: 0.0,
    };
    let knn = knn::Options {
        k: vec![5],
        temperatures: vec![0.07],
        unseen_classes: false,
    };
    let templates = format!(
        "{}/tests/fixtures/text/mini_templates.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let zero_shot = zero_shot::Options {
        templates: zero_shot::Templates::open(&templates).unwrap(),
        names_given: false,
        text_weights: None,
    };
    let methods: Vec<Box<dyn Method>> = vec![
        Box::new(Knn::prepare(&job, &knn).unwrap_or_else(|e| panic!("{e}"))),
        Box::new(ZeroShot::prepare(&job, &zero_shot).unwrap_or_else(|e| panic!("{e}"))),
    ];
    let mut records = Vec::new();
    classify::run(&job, &methods, &mut |finished| {
        records.push(finished.record);
        Ok(())
    })
    .unwrap_or_else(|e| panic!("{e}"));
    [
        value(&records[0], "knn_top1"),
        value(&records[1], "zero_shot_top1"),
    ]
}

#[test]
fn classification_gives_the_figures_of_the_cpu() {
    if !in_own_home("loops::classification_gives_the_figures_of_the_cpu") {
        return;
    }
    let host = classified(Device::Cpu, Precision::Fp32);
    assert_eq!(classified(strict_device::device(), Precision::Fp32), host);
    // Of 60 images two may fall on the other side in bf16.
    for (own, host) in classified(strict_device::device(), Precision::Bf16)
        .iter()
        .zip(host)
    {
        assert!((own - host).abs() <= 4.0, "{own} {host}");
    }
}

/// A short training, on cached features or on fresh crops; or the evaluation of a trained head.
fn segmented(
    device: Device,
    precision: Precision,
    preset: Preset,
    head: Option<&Path>,
) -> Finished {
    let runtime = runtime(device, precision);
    let model = model("mini-dino", &runtime);
    let data = segmentation::open("ade-mini", &OpenOptions::default()).unwrap();
    let values = RecipeValues {
        iterations: Some(12),
        batch_size: Some(4),
        seeds: Some(vec![0]),
        resolution: Some(126),
        // A few windows per picture at most.
        scale: Some([252, 126]),
        test_scale: Some([252, 126]),
        ..RecipeValues::default()
    };
    let recipe = Recipe::new(preset, values).unwrap_or_else(|e| panic!("{e}"));
    let options = probe::Options {
        skip_check: true,
        head: head.map(Path::to_path_buf),
        ..probe::Options::default()
    };
    probe::run(&model, &data, recipe, &options, &runtime).unwrap_or_else(|e| panic!("{e}"))
}

/// Writes the head that a training gave.
fn save(finished: &Finished, path: &Path) {
    let head = finished
        .beside
        .iter()
        .find_map(|file| match &file.contents {
            Contents::Tensors(tensors, metadata) => Some((tensors, metadata.clone())),
            Contents::Text(_) => None,
        });
    let (tensors, metadata) = head.expect("a training gives a head");
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(path, tensors, metadata).unwrap();
}

#[test]
fn segmentation_gives_the_figures_of_the_cpu() {
    if !in_own_home("loops::segmentation_gives_the_figures_of_the_cpu") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let head = folder.path().join("head.safetensors");
    let own = strict_device::device();
    for preset in [Preset::Mini, Preset::RepoHead] {
        // Adam's first steps are signs of gradients, some of which are rounding: bf16's training
        // is compared by what its head is worth, one head on two devices closely.
        let trained = segmented(own, Precision::Fp32, preset, None);
        save(&trained, &head);
        let miou = value(&trained.record, "miou");
        let on_host = segmented(Device::Cpu, Precision::Fp32, preset, Some(&head));
        let difference = (miou - value(&on_host.record, "miou")).abs();
        assert!(
            difference <= 0.02,
            "{preset:?}: the same head, apart by {difference}"
        );
        let other = segmented(own, Precision::Bf16, preset, None);
        let other = value(&other.record, "miou");
        assert!(
            (miou - other).abs() <= 2.0,
            "{preset:?} bf16: {miou} {other}"
        );
    }
}

/// Mean IoU of mini-sam's decoder on a few pictures.
fn swapped(device: Device, precision: Precision, prompt: PromptKind) -> f64 {
    let runtime = runtime(device, precision);
    let set = coco::open("coco-mini", coco::Split::Val, &coco::OpenOptions::default()).unwrap();
    let settings = Settings {
        prompt,
        clicks: 2,
        ..Settings::default()
    };
    let options = sam_swap::Options {
        batch_size: 2,
        limit: Some(8),
        ..sam_swap::Options::default()
    };
    let model = model("mini-sam", &runtime);
    let finished = sam_swap::run(model, true, &Arc::new(set), &settings, &options, &runtime)
        .unwrap_or_else(|e| panic!("{e}"));
    let metric = match prompt {
        PromptKind::Box | PromptKind::Boxes => "sam_iou",
        PromptKind::Point => "sam_point_iou",
    };
    value(&finished.record, metric)
}

#[test]
fn sam_swap_gives_the_figures_of_the_cpu() {
    if !in_own_home("loops::sam_swap_gives_the_figures_of_the_cpu") {
        return;
    }
    let own = strict_device::device();
    for prompt in [PromptKind::Box, PromptKind::Point] {
        let host = swapped(Device::Cpu, Precision::Fp32, prompt);
        let device = swapped(own, Precision::Fp32, prompt);
        assert!((device - host).abs() <= 0.05, "{prompt:?}: {device} {host}");
        let device = swapped(own, Precision::Bf16, prompt);
        assert!(
            (device - host).abs() <= 4.0,
            "{prompt:?} bf16: {device} {host}"
        );
    }
}

/// A student of random weights, whose `sam` adaptor is as wide as mini-sam's neck takes.
fn student(runtime: &Runtime) -> Resolved {
    let mut config = (zoo::find("radio_v2.5-b").unwrap().config)();
    config["args"]["model_kwargs"] = json!({"embed_dim": 64, "depth": 2, "num_heads": 4});
    config["adaptor_configs"]["sam"]["feature"]["output_dim"] = json!(192);
    let adaptors = config["adaptor_configs"].as_object_mut().unwrap();
    adaptors.retain(|name, _| ["sam", "clip"].contains(&name.as_str()));
    for adaptor in adaptors.values_mut() {
        adaptor["feature"]["hidden_dim"] = json!(64);
        adaptor["summary"]["hidden_dim"] = json!(64);
    }
    let checkpoint = Checkpoint::random(config, 3);
    let options = BuildOptions {
        device: runtime.device,
        kind: Some(runtime.precision.kind()),
        ..BuildOptions::default()
    };
    Resolved {
        name: "student".into(),
        entry: None,
        backbone: build(&checkpoint, &options).unwrap_or_else(|e| panic!("{e}")),
        checkpoint,
    }
}

/// Every way in which a student's features come to SAM's grid, on both devices.
#[test]
fn students_come_to_sams_grid() {
    if !in_own_home("loops::students_come_to_sams_grid") {
        return;
    }
    let set = coco::open("coco-mini", coco::Split::Val, &coco::OpenOptions::default()).unwrap();
    let set = Arc::new(set);
    let measure = |device: Device, padding: Padding, grid: Grid| {
        let runtime = runtime(device, Precision::Fp32);
        let settings = Settings {
            padding,
            grid,
            ..Settings::default()
        };
        let options = sam_swap::Options {
            sam_weights: Some("mini-sam".into()),
            resolution: (grid == Grid::Resize).then_some(192),
            batch_size: 3,
            limit: Some(5),
            ..sam_swap::Options::default()
        };
        let model = student(&runtime);
        sam_swap::run(model, false, &set, &settings, &options, &runtime)
            .unwrap_or_else(|e| panic!("{e}"))
            .record
    };
    let mut seen = Vec::new();
    for (padding, grid, side) in [
        (Padding::SamMean, Grid::Run, 256),
        (Padding::Black, Grid::Run, 256),
        (Padding::None, Grid::Run, 256),
        (Padding::SamMean, Grid::Resize, 192),
    ] {
        let host = measure(Device::Cpu, padding, grid);
        let own = measure(strict_device::device(), padding, grid);
        let (host_iou, own_iou) = (value(&host, "sam_iou"), value(&own, "sam_iou"));
        assert!(
            (own_iou - host_iou).abs() <= 0.1,
            "{padding:?} {grid:?}: {own_iou} {host_iou}"
        );
        assert_eq!(host.resolution, (side, side));
        assert_eq!(host.model.adaptor.as_deref(), Some("sam"));
        assert_eq!(host.options["sam"]["name"], "mini-sam");
        seen.push(host_iou);
    }
    let unlike = |i: usize| seen[..i].iter().all(|other| *other != seen[i]);
    assert!(
        (0..seen.len()).all(unlike),
        "a setting does nothing: {seen:?}"
    );
    let settings = Settings::default();
    let runtime = runtime(Device::Cpu, Precision::Fp32);
    let options = sam_swap::Options {
        sam_weights: Some("mini-sam".into()),
        adaptor: Some("clip".into()),
        batch_size: 1,
        limit: Some(1),
        ..sam_swap::Options::default()
    };
    let wrong = sam_swap::run(
        student(&runtime),
        false,
        &set,
        &settings,
        &options,
        &runtime,
    );
    let error = wrong.err().expect("another width").to_string();
    assert!(error.contains("SAM's neck takes 192"), "{error}");
}
