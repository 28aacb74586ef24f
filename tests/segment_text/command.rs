//! `segment-text` from end to end on the miniature world.

use crate::common::{fails, radio_eval, stdout};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The miniature CLIP on whole small pictures: quick, and not at its best.
fn segment(home: &Path, out: &str, args: &[&str]) -> Command {
    let mut command = radio_eval(home);
    command
        .args([
            "segment-text",
            "--model",
            "mini-clip",
            "--json",
            "--device",
            "cpu",
        ])
        .args(["--threads", "1", "--workers", "1", "--skip-check"])
        .args(["--out".as_ref(), home.join(out).as_os_str()])
        .args(args);
    command
}

const QUICK: [&str; 6] = [
    "--data",
    "ade-mini",
    "--short-side",
    "128",
    "--crop",
    "none",
];

fn record(command: &mut Command) -> Value {
    let records: Value = serde_json::from_str(&stdout(command)).unwrap();
    records[0].clone()
}

fn iou(home: &Path, out: &str) -> Vec<(String, f64)> {
    let file = home.join(out).join("segment_text__mini-clip.classes.csv");
    let mut rows = csv::Reader::from_path(file).unwrap();
    let row = |row: csv::StringRecord| (row[0].to_string(), row[2].parse().unwrap_or(0.0));
    rows.records().map(|r| row(r.unwrap())).collect()
}

/// What a record says, without what is of the moment and the home.
fn lasting(record: &Value) -> [Value; 3] {
    let mut record = record.clone();
    record["options"]["text_weights"].take();
    ["metrics", "options", "data"].map(|name| record[name].clone())
}

#[test]
fn the_miniature_world_far_above_chance() {
    let home = tempfile::tempdir().unwrap();
    let args = [
        "--data", "ade-mini", "--method", "maskclip", "--crop", "128/128",
    ];
    let one = record(&mut segment(home.path(), "run", &args));
    let value = |name: &str| one["metrics"][name]["value"].as_f64().unwrap();
    // All sky, the most frequent class: 24.8 % of the pixels, a mean IoU of 2.3.
    assert!(
        value("open_vocab_miou") > 9.0,
        "{}",
        value("open_vocab_miou")
    );
    assert!(
        value("open_vocab_aacc") > 27.0,
        "{}",
        value("open_vocab_aacc")
    );
    assert!(one["metrics"]["open_vocab_miou"]["low"].as_f64() < Some(value("open_vocab_miou")));
    assert_eq!(one["options"]["method"], "maskclip");
    assert_eq!(one["options"]["window"], serde_json::json!([128, 128]));
    assert_eq!(one["options"]["class_names"], "mini (ade-mini)");
    assert_eq!(one["options"]["name_count"], 26);
    assert_eq!(one["data"][0]["samples"], 80);
}

/// A name that says nothing takes its class away. Its pixels go to others, which gain or lose a
/// little by that: none loses a point.
#[test]
fn a_misspelt_name_costs_its_class() {
    let home = tempfile::tempdir().unwrap();
    let list = |name: &str, grass: &str| {
        let text = format!(
            "the sky\nwater\n{grass}\nsand\nbrick\nwood\na plain star\na plain ring\na plain cross\na plain crescent\na plain triangle\n"
        );
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (list("right.txt", "grass"), list("wrong.txt", "grsas"));
    let run = |out: &str, file: &str| {
        let args = [&QUICK[..2], &["--crop", "128/128", "--classnames", file]].concat();
        record(&mut segment(home.path(), out, &args));
        iou(home.path(), out)
    };
    let (before, after) = (run("right", &right), run("wrong", &wrong));
    let mut lost = Vec::new();
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        if before - after > 1.0 {
            lost.push(name.as_str());
        }
    }
    assert_eq!(lost, ["grass"], "{before:?} {after:?}");
}

#[test]
fn killed_and_resumed_gives_the_same_record() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [one, two] = homes.each_ref().map(|home| home.path());
    let whole = record(&mut segment(one, "run", &QUICK));
    let mut child = segment(two, "run", &QUICK)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let cache = two.join("cache/segment-text");
    let kept = || {
        let parts = fs::read_dir(&cache).ok()?.next()?.ok()?.path();
        let header = fs::read(parts.join("part-0-of-1/header.json")).ok()?;
        serde_json::from_slice::<Value>(&header).ok()?["done"].as_u64()
    };
    let deadline = Instant::now() + Duration::from_secs(300);
    while kept().is_none_or(|done| done == 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let done = kept().expect("something was kept");
    assert!(
        (1..80).contains(&done),
        "{done} images were done when it was killed"
    );
    let resumed = record(&mut segment(two, "run", &QUICK));
    assert_eq!(lasting(&resumed), lasting(&whole));
    let csv =
        |home: &Path| fs::read(home.join("run/segment_text__mini-clip.confusion.csv")).unwrap();
    assert_eq!(csv(one), csv(two));
    // And from the cache alone, in which case nothing was timed.
    let again = record(&mut segment(two, "again", &QUICK));
    assert_eq!(lasting(&again), lasting(&whole));
    assert!(again["timings"]["images_per_s"].is_null());
}

#[test]
fn several_models_into_one_table_and_pictures() {
    let home = tempfile::tempdir().unwrap();
    let weights = radio_eval::assets::path("mini/weights/mini-clip").unwrap();
    let mut command = radio_eval(home.path());
    command
        .args(["segment-text", "--model", "mini-clip", "--model"])
        .arg(weights)
        .args(["--device", "cpu", "--threads", "1", "--workers", "1"])
        .args(QUICK)
        .arg("--out")
        .arg(home.path().join("out"))
        .arg("--save-predictions")
        .arg(home.path().join("drawn"));
    let table = stdout(&mut command);
    assert_eq!(table.matches("ade-mini").count(), 2, "{table}");
    assert!(table.contains("text mIoU"), "{table}");
    let place = home.path().join("drawn/mini-clip/images/validation");
    let mask = image::open(place.join("ADE_val_00000001.png"))
        .unwrap()
        .into_luma8();
    assert!(mask.iter().all(|&v| (1..=11).contains(&v)));
    let overlay = image::open(place.join("ADE_val_00000001.overlay.png")).unwrap();
    assert!(overlay.width() >= 3 * mask.width());
}

#[test]
fn own_words_on_own_pictures() {
    let home = tempfile::tempdir().unwrap();
    let picture = radio_eval::assets::path("latency.jpg").unwrap();
    let args = [
        "--query",
        "a red star, sky|heaven",
        picture.to_str().unwrap(),
    ];
    let one = record(&mut segment(home.path(), "out", &args));
    assert_eq!(one["task"], "segment_text_query");
    assert_eq!(one["options"]["name_count"], 3);
    let shown = &one["options"]["pictures"][0];
    assert_eq!(shown["words"][1]["word"], "sky");
    let share = |i: usize| shown["words"][i]["share"].as_f64().unwrap();
    assert!((share(0) + share(1) - 100.0).abs() < 1e-9);
    let labels = image::open(shown["labels"].as_str().unwrap())
        .unwrap()
        .into_luma8();
    assert!(labels.iter().all(|&v| v == 1 || v == 2));
    // Image, segmentation and a heat map for each word, side by side.
    let overlay = image::open(shown["overlay"].as_str().unwrap()).unwrap();
    assert!(overlay.width() >= 4 * labels.width());
    // Below the threshold it is none of the words.
    let args = [&args[..], &["--prob-threshold", "1.1"]].concat();
    let one = record(&mut segment(home.path(), "none", &args));
    assert_eq!(one["options"]["pictures"][0]["words"][0]["share"], 0.0);
}

#[test]
fn what_cannot_be_obeyed_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| fails(&mut segment(home.path(), "out", args), 2);
    let with = |args: &[&str]| said(&[&["--data", "ade-mini"], args].concat());
    assert!(with(&["--method", "radseg"]).contains("there is maskclip, plain"));
    assert!(with(&["--prob-threshold", "0.5"]).contains("background"));
    assert!(with(&["--denoise", "0.5"]).contains("students"));
    assert!(with(&["--fit", "patch"]).contains("students"));
    assert!(with(&["--sigma", "3"]).contains("no such constant"));
    assert!(with(&["--crop", "8"]).contains("less than a patch"));
    assert!(with(&["--names", "sclip"]).contains("--classnames"));
    assert!(said(&["--query", "sky,,x", "x.png"]).contains("empty word"));
    let mut dino = radio_eval(home.path());
    dino.args([
        "segment-text",
        "--model",
        "mini-dino",
        "--data",
        "ade-mini",
        "--device",
        "cpu",
    ]);
    dino.arg("--out").arg(home.path().join("out"));
    assert!(fails(&mut dino, 2).contains("space of text"));
}

/// 847 classes: more than a byte counts. Memory does not grow with the number of pictures.
#[test]
fn many_classes_in_flat_memory() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    for side in ["images", "masks"] {
        fs::create_dir_all(folder.join(side)).unwrap();
    }
    let mut names = String::new();
    for class in 0..847 {
        names += &format!("{class}\tthing number {class}\n");
    }
    fs::write(folder.join("classes.tsv"), names).unwrap();
    let write = |images: std::ops::Range<u32>| {
        for i in images {
            let pixel = |x: u32, y: u32| [(x * 5 + i) as u8, (y * 7) as u8, (i * 3) as u8];
            let picture = image::RgbImage::from_fn(40, 32, |x, y| image::Rgb(pixel(x, y)));
            picture
                .save(folder.join(format!("images/{i:05}.png")))
                .unwrap();
            let label = |x: u32, y: u32| image::Luma([((x / 8 + y / 8 * 5 + i * 20) % 847) as u16]);
            let mask = image::ImageBuffer::from_fn(40, 32, label);
            mask.save(folder.join(format!("masks/{i:05}.png"))).unwrap();
        }
    };
    let run = |out: &str| {
        let data = folder.display().to_string();
        let args = [
            "--data",
            &data,
            "--short-side",
            "32",
            "--crop",
            "none",
            "--templates",
            "base",
        ];
        let command = segment(home.path(), out, &args);
        let mut timed = Command::new("/usr/bin/env");
        timed.args(["bash", "-c", "\"$@\" >/dev/null 2>&1 & pid=$!; most=0; while kill -0 $pid 2>/dev/null; do now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null); [ -n \"$now\" ] && most=$now; sleep 0.02; done; wait $pid && echo $most", "sh"]);
        timed.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => timed.env(name, value),
                None => timed.env_remove(name),
            };
        }
        stdout(&mut timed).trim().parse::<u64>().expect("kilobytes")
    };
    write(0..200);
    let few = run("few");
    write(200..2000);
    let many = run("many");
    // Kilobytes: 2,000 pictures take no more than 200 but for a little noise of the allocator.
    assert!(
        many < few + 30_000,
        "{few} kB for 200 pictures, {many} kB for 2,000"
    );
}
