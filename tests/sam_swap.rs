//! `coco --task sam-swap`: the metric and the whole way against the goldens, the miniature SAM
//! against its own figures, and what is refused.

use crate::common::{fails, fixture, radio_eval, shared, stdout};
use crate::teachers::Golden;
use radio_eval::data::Source;
use radio_eval::data::annotation::{Instance, RunLengths};
use radio_eval::data::coco::{CocoSet, OpenOptions, Split, mask, open};
use radio_eval::metrics::mask::Bucket;
use radio_eval::tasks::sam_swap::{Judged, Outcome, best, counted};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The golden annotations on blank pictures, and where those lie.
fn open_synthetic(folder: &Path) -> (CocoSet, tempfile::TempDir) {
    let images = tempfile::tempdir().unwrap();
    let file = folder.join("instances_synth.json");
    for image in read(&file)["images"].as_array().unwrap() {
        let path = images.path().join(image["file_name"].as_str().unwrap());
        let side = |name: &str| image[name].as_u64().unwrap() as u32;
        let picture = image::RgbImage::new(side("width"), side("height"));
        picture.save(path).unwrap();
    }
    let options = OpenOptions {
        images: Some(images.path().to_path_buf()),
        ..OpenOptions::default()
    };
    let set = open(file.to_str().unwrap(), Split::Val, &options).unwrap();
    (set, images)
}

/// Every counted instance of the golden annotations with (height, width) of its image.
pub fn synthetic(folder: &Path, mut each: impl FnMut(&Instance, usize, usize)) {
    let (set, _images) = open_synthetic(folder);
    for index in 0..set.len() {
        let (height, width) = set.stated_size(index).unwrap();
        counted(set.instances(index)).for_each(|instance| each(instance, height, width));
    }
}

/// The raster of a compressed mask of a golden.
pub fn decoded(mask: &Value) -> Vec<u8> {
    let side = |axis: usize| mask["size"][axis].as_u64().unwrap() as u32;
    let counts = mask["counts"].as_str().unwrap();
    let rle = hotcoco::mask::rle_from_string(counts, side(0), side(1)).unwrap();
    mask::raster(&RunLengths {
        height: rle.h,
        width: rle.w,
        counts: rle.counts,
    })
}

/// Ties, empty answers, areas on the border of buckets, crowds and an empty truth.
#[test]
fn the_metric_is_the_harness_own() {
    let Some(folder) = shared("golden/sam/metric") else {
        return;
    };
    let (candidates, expected) = (
        read(&folder.join("candidates.json")),
        read(&folder.join("expected.json")),
    );
    let (set, _images) = open_synthetic(&folder);
    let mut outcomes = Vec::new();
    for index in 0..set.len() {
        let (height, width) = set.stated_size(index).unwrap();
        let judge = |instance: &Instance| {
            let candidate = &candidates[instance.id.to_string()];
            let predicted = candidate["predicted_iou"].as_array().unwrap().iter();
            // Mask 0 never counts, whatever is expected of it.
            let predicted: Vec<f32> = std::iter::once(9.0)
                .chain(predicted.map(|v| v.as_f64().unwrap() as f32))
                .collect();
            let (chosen, predicted_iou) = best(&predicted);
            let answer = decoded(&candidate["masks"][usize::from(chosen) - 1]);
            let runs = mask::runs(instance, height, width).unwrap().unwrap();
            let truth = mask::raster(&runs);
            let count = |is: &dyn Fn(u8, u8) -> bool| {
                let pixels = answer.iter().zip(&truth).filter(|(a, t)| is(**a, **t));
                pixels.count() as u64
            };
            Outcome {
                intersection: count(&|a, t| a & t != 0),
                union: count(&|a, t| a | t != 0),
                mask: chosen,
                predicted_iou,
            }
        };
        outcomes.push(counted(set.instances(index)).map(judge).collect::<Vec<_>>());
    }
    let indices: Vec<usize> = (0..set.len()).collect();
    let judged = Judged {
        set: &set,
        indices: &indices,
        outcomes: &outcomes,
    };
    let means: HashMap<_, _> = judged
        .means(0)
        .into_iter()
        .map(|(b, m)| (b as usize, m))
        .collect();
    for (bucket, part, name) in [
        (Bucket::All, "summary", "all"),
        (Bucket::Large, "summary", "large"),
        (Bucket::Medium, "summary", "medium"),
        (Bucket::Small, "summary", "small"),
        (Bucket::NoCrowd, "summary_without_crowd", "all"),
    ] {
        let mean = &means[&(bucket as usize)];
        let want = expected[part][name].as_f64().unwrap();
        assert!(
            (mean.value - want).abs() < 1e-9,
            "{bucket:?}: {} {want}",
            mean.value
        );
        assert_eq!(
            json!(mean.n),
            expected[part][format!("n_{name}")],
            "{bucket:?}"
        );
        let (low, high) = (mean.low.unwrap(), mean.high.unwrap());
        assert!(
            low <= mean.value && mean.value <= high,
            "{bucket:?}: {low} {high}"
        );
    }
    let table = judged.csv().unwrap();
    let rows: HashMap<String, f64> = rows(&table, "iou");
    for record in expected["records"].as_array().unwrap() {
        let (id, want) = (
            record["ann_id"].to_string(),
            record["iou"].as_f64().unwrap(),
        );
        assert!((rows[&id] - want).abs() < 1e-9, "annotation {id}");
    }
    assert!(!rows.contains_key("8"), "area 0.08 is left out");
}

/// A column of numbers of a table of instances, by annotation.
fn rows(table: &str, column: &str) -> HashMap<String, f64> {
    let mut table = csv::Reader::from_reader(table.as_bytes());
    let header = table.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let (id, value) = (at("annotation_id"), at(column));
    let rows = table.records().map(|row| {
        let row = row.unwrap();
        (row[id].to_string(), row[value].parse().unwrap())
    });
    rows.collect()
}

/// The table of instances of the only record in `out`.
fn instances(out: &Path) -> String {
    let mut files = fs::read_dir(out).unwrap().map(|file| file.unwrap().path());
    let file = files.find(|path| path.to_string_lossy().ends_with("instances.csv"));
    fs::read_to_string(file.expect("a table of instances")).unwrap()
}

/// From pixels to IoU through the tiny SAM, in the layout of segment-anything.
#[test]
fn the_whole_way_equals_the_official_code() {
    let Some(folder) = shared("golden/sam") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (model, images) = (dir.path().join("tiny-sam"), dir.path().join("val2017"));
    fs::create_dir_all(&model).unwrap();
    fs::create_dir_all(&images).unwrap();
    let weights = folder.join("sam_tiny.original.safetensors");
    fs::copy(weights, model.join("model.safetensors")).unwrap();
    let config = read(&folder.join("sam_tiny.meta.json"))["config"].to_string();
    fs::write(model.join("config.json"), config).unwrap();
    let metric = folder.join("metric");
    let golden = Golden::open(&metric.join("e2e.golden.safetensors"));
    let annotations = metric.join("instances_synth.json");
    for image in read(&annotations)["images"].as_array().unwrap() {
        let pixels = golden.get(&format!("image.{}", image["id"]));
        let size = pixels.size();
        let bytes = Vec::<u8>::try_from(pixels.contiguous().view([-1])).unwrap();
        image::RgbImage::from_raw(size[1] as u32, size[0] as u32, bytes)
            .unwrap()
            .save(images.join(image["file_name"].as_str().unwrap()))
            .unwrap();
    }
    let out = dir.path().join("out");
    let printed = stdout(
        radio_eval(dir.path())
            .args(["coco", "--json", "--model"])
            .arg(&model)
            .arg("--data")
            .arg(&annotations)
            .arg("--images")
            .arg(&images)
            .arg("--out")
            .arg(&out),
    );
    let record: Value = serde_json::from_str(&printed).unwrap();
    let expected = read(&metric.join("e2e_expected.json"));
    let table = instances(&out);
    let (iou, mask) = (rows(&table, "iou"), rows(&table, "mask"));
    let records = expected["records"].as_array().unwrap();
    assert_eq!(records.len(), iou.len());
    for record in records {
        let (id, want) = (
            record["ann_id"].to_string(),
            record["iou"].as_f64().unwrap(),
        );
        assert!(
            (iou[&id] - want).abs() < 0.05,
            "annotation {id}: {} {want}",
            iou[&id]
        );
        assert_eq!(
            mask[&id] - 1.0,
            record["selected"].as_f64().unwrap(),
            "{id}"
        );
    }
    let metrics = &record[0]["metrics"];
    for (metric, name) in [
        ("sam_iou", "all"),
        ("sam_iou_large", "large"),
        ("sam_iou_medium", "medium"),
        ("sam_iou_small", "small"),
    ] {
        let (got, want) = (&metrics[metric], &expected["summary"][name]);
        let difference = got["value"].as_f64().unwrap() - want.as_f64().unwrap();
        assert!(difference.abs() < 0.05, "{metric}: {got} {want}");
        assert_eq!(got["n"], expected["summary"][format!("n_{name}")]);
    }
    for option in [
        "preset",
        "padding",
        "grid",
        "prompt",
        "decoder_precision",
        "sam",
    ] {
        assert!(!record[0]["options"][option].is_null(), "{option}");
    }
}

/// `coco` on the miniature SAM and world.
fn mini(home: &Path, out: &str) -> std::process::Command {
    let mut command = radio_eval(home);
    command
        .args([
            "coco",
            "--model",
            "mini-sam",
            "--json",
            "--threads",
            "1",
            "--out",
        ])
        .arg(home.join(out));
    command
}

/// Boxes 82.99 with crowds and 84.47 without, clicks 77.63, and every instance of them; from tars
/// and from folders, where the embeddings of the tar are found again by neither.
#[test]
fn the_miniature_sam_reaches_its_figures() {
    let Some(expected) = shared("mini/expected.json") else {
        return;
    };
    let expected = read(&expected)["teachers"]["mini-sam"].clone();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("world");
    let tar = fixture("../../assets/mini/data/coco-mini-val2017.tar");
    tar::Archive::new(fs::File::open(tar).unwrap())
        .unpack(&folder)
        .unwrap();
    let folder = folder.to_str().unwrap();
    let boxes = ["sam_iou", "sam_iou_no_crowd"];
    let points = ["sam_point_iou", "sam_point_iou_no_crowd"];
    for (out, data, prompt, part, metrics) in [
        ("box", "coco-mini", "box", "sam_box", boxes),
        ("point", "coco-mini", "point", "sam_point", points),
        ("folder", folder, "box", "sam_box", boxes),
    ] {
        let printed = stdout(mini(home.path(), out).args(["--data", data, "--prompt", prompt]));
        let record: Value = serde_json::from_str(&printed).unwrap();
        let expected = &expected[part];
        for (metric, mean, n) in [
            (metrics[0], "miou_with_crowd", "n_with_crowd"),
            (metrics[1], "miou", "n"),
        ] {
            let got = &record[0]["metrics"][metric];
            let want = expected[mean].as_f64().unwrap();
            assert!(
                (got["value"].as_f64().unwrap() - want).abs() < 0.01,
                "{got} {want}"
            );
            assert_eq!(got["n"], expected[n]);
        }
        let table = instances(&home.path().join(out));
        let (iou, mask) = (rows(&table, "iou"), rows(&table, "mask"));
        let instances = expected["per_instance"].as_array().unwrap();
        assert_eq!(iou.len(), instances.len());
        let mut off = 0;
        for instance in instances {
            let id = instance["id"].to_string();
            let difference = (iou[&id] - instance["iou"].as_f64().unwrap()).abs();
            // A pixel of a small object is half a point.
            assert!(difference < 0.6, "{part} {id}: off by {difference}");
            off += usize::from(difference > 1e-4);
            assert_eq!(
                mask[&id] - 1.0,
                instance["mask"].as_f64().unwrap(),
                "{part} {id}"
            );
        }
        assert!(off <= 4, "{off} instances differ by a pixel or more");
    }
}

/// Embeddings are computed once for all prompts, and a run that was stopped goes on.
#[test]
fn embeddings_are_reused_and_the_same_run_reads_its_outcomes() {
    let home = tempfile::tempdir().unwrap();
    let run = |out: &str, prompt: &[&str]| -> Value {
        let mut command = mini(home.path(), out);
        let printed = stdout(
            command
                .args(["--data", "coco-mini", "--limit", "6"])
                .args(prompt),
        );
        serde_json::from_str::<Value>(&printed).unwrap()[0].clone()
    };
    let first = run("a", &[]);
    assert_eq!(first["data"][0]["samples"], 6);
    assert!(
        first["timings"]["images_per_s"].is_number(),
        "{}",
        first["timings"]
    );
    let clicks = run("b", &["--prompt", "point", "--clicks", "2"]);
    assert!(
        clicks["timings"]["images_per_s"].is_null(),
        "embeddings came from the cache"
    );
    assert_ne!(clicks["metrics"], first["metrics"]);
    let again = run("c", &[]);
    assert_eq!(again["metrics"], first["metrics"]);
    let prompts = run("d", &["--prompts-per-pass", "3"]);
    let value = |record: &Value| record["metrics"]["sam_iou"]["value"].as_f64().unwrap();
    assert!(
        (value(&prompts) - value(&first)).abs() < 0.05,
        "batching is exact but for rounding"
    );
}

#[test]
fn what_cannot_be_done_is_said_before_any_image() {
    let home = tempfile::tempdir().unwrap();
    let run = |model: &str, args: &[&str], code: i32| {
        let mut command = radio_eval(home.path());
        command.args(["coco", "--data", "coco-mini", "--model", model, "--out"]);
        fails(command.arg(home.path().join("out")).args(args), code)
    };
    for (model, args, reason) in [
        ("mini-dino", &[][..], "has no adaptor `sam`"),
        (
            "mini-sam",
            &["--padding", "black"],
            "--padding is about a student's features",
        ),
        ("mini-sam", &["--adaptor", "sam"], "is SAM itself"),
        (
            "mini-sam",
            &["--clicks", "2"],
            "--clicks goes with --prompt point",
        ),
        (
            "mini-sam",
            &["--resolution", "512"],
            "--resolution goes with --grid resize",
        ),
    ] {
        let error = run(model, args, 2);
        assert!(error.contains(reason), "{model} {args:?}: {error}");
    }
    let error = run("mini-sam", &["--sam-weights", "mini-dino"], 1);
    assert!(error.contains("has no mask decoder"), "{error}");
    let mut none = radio_eval(home.path());
    let error = fails(none.args(["coco", "--data", "coco-mini"]), 2);
    assert!(error.contains("--model"), "{error}");
}

/// A detector that finds every instance of the miniature world by its own box: the masks have the
/// IoU of `--prompt box`, crowds aside, and their AP is far above that of the boxes' own pixels.
#[test]
fn boxes_of_a_detector_give_masks_and_their_ap() {
    let home = tempfile::tempdir().unwrap();
    let set = open("coco-mini", Split::Val, &OpenOptions::default()).unwrap();
    let mut detections = Vec::new();
    for index in 0..set.len() {
        for instance in set
            .instances(index)
            .iter()
            .filter(|instance| !instance.crowd)
        {
            let b = instance.bounds;
            detections.push(json!({
                "image_id": set.image_id(index),
                "category_id": instance.category,
                "bbox": [b.x0, b.y0, b.width(), b.height()],
                "score": 0.5 + 0.001 * (instance.id % 100) as f64,
            }));
        }
    }
    let file = home.path().join("boxes.json");
    fs::write(&file, Value::from(detections.clone()).to_string()).unwrap();
    let boxes = [
        "--data",
        "coco-mini",
        "--prompt",
        "boxes",
        file.to_str().unwrap(),
    ];
    let printed = stdout(mini(home.path(), "out").args(boxes));
    let record = serde_json::from_str::<Value>(&printed).unwrap()[0].clone();
    assert_eq!(record["options"]["detections"], detections.len());
    let ap = |name: &str| record["metrics"][name]["value"].as_f64().unwrap();
    // Found all, with a mean IoU of 84: nearly all count at 0.5, half of the thresholds on average.
    assert!(ap("sam_mask_ap50") > 85.0, "{}", record["metrics"]);
    assert!(ap("sam_mask_ap") > 50.0 && ap("sam_mask_ap") < ap("sam_mask_ap50"));
    assert!(
        record["metrics"]["sam_mask_ap_large"].is_null(),
        "no instance is large"
    );
    let out = home.path().join("out");
    let masks = read(&out.join("sam_swap__mini-sam.segm.json"));
    let masks = masks.as_array().unwrap();
    assert_eq!(masks.len(), detections.len());
    // The masks are those of `--prompt box`.
    stdout(mini(home.path(), "box").args(["--data", "coco-mini"]));
    let iou = rows(&instances(&home.path().join("box")), "iou");
    let mut compared = 0;
    for (index, mask) in masks.iter().zip(&detections).enumerate().take(20) {
        let (mask, detection) = mask;
        assert_eq!(mask["score"], detection["score"], "{index}");
        let image = set.position(mask["image_id"].as_u64().unwrap()).unwrap();
        let (height, width) = set.stated_size(image).unwrap();
        let answer = decoded(&mask["segmentation"]);
        let found = set.instances(image).iter().find(|i| {
            i.bounds.x0 == detection["bbox"][0] && i.bounds.y0 == detection["bbox"][1] && !i.crowd
        });
        let instance = found.unwrap();
        let runs = mask::runs(instance, height, width).unwrap().unwrap();
        let truth = mask::raster(&runs);
        let both = answer
            .iter()
            .zip(&truth)
            .filter(|(a, t)| *a & *t != 0)
            .count();
        let either = answer
            .iter()
            .zip(&truth)
            .filter(|(a, t)| *a | *t != 0)
            .count();
        let got = 100.0 * both as f64 / either as f64;
        assert!(
            (got - iou[&instance.id.to_string()]).abs() < 1e-3,
            "{index}"
        );
        compared += 1;
    }
    assert_eq!(compared, 20);
    for (bad, reason) in [
        (json!([]), "holds no detection"),
        (
            json!([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]),
            "image 1,",
        ),
        (
            json!([{"image_id": 3007, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 1}]),
            "category 5,",
        ),
        (
            json!([{"image_id": 3007, "category_id": 1, "bbox": [0, 0, -1, 1], "score": 1}]),
            "none negative",
        ),
    ] {
        fs::write(&file, bad.to_string()).unwrap();
        let error = fails(mini(home.path(), "bad").args(boxes), 1);
        assert!(
            error.contains(reason) && error.contains("boxes.json"),
            "{error}"
        );
    }
    let error = fails(mini(home.path(), "bad").args(["--prompt", "boxes"]), 2);
    assert!(error.contains("--prompt boxes FILE"), "{error}");
}
