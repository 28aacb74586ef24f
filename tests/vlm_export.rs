//! `vlm-export` through the binary: what it writes, and that kills, parts and damage change nothing
//! silently.

use crate::common::{fails, radio_eval, skipped, stdout};
use radio_eval::weights::safetensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

fn export(home: &Path, out: &Path) -> Command {
    export_at(home, out, 126)
}

fn export_at(home: &Path, out: &Path, resolution: u32) -> Command {
    let mut command = radio_eval(home);
    command
        .args([
            "--quiet",
            "vlm-export",
            "--model",
            "mini-dino",
            "--dataset",
            "llava-mini",
        ])
        .args(["--batch-size", "8", "--shard-size", "1", "--out"])
        .arg(out)
        .arg("--resolution")
        .arg(resolution.to_string());
    command
}

/// Every file of a finished export by name; the description of the run is left out where it names
/// nothing but shards.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the export's folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("reads"))
        })
        .collect()
}

fn index(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("index.jsonl")).expect("an index");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn rows(folder: &Path, entry: &Value, tensor: &str) -> Tensor {
    let (tensors, _) = safetensors::open(&folder.join(entry["shard"].as_str().unwrap())).unwrap();
    let all = tensors[tensor].read_stored().unwrap();
    let (first, count) = match tensor {
        "summary" => ("view", "views"),
        _ => ("token", "tokens"),
    };
    all.narrow(
        0,
        entry[first].as_i64().unwrap(),
        entry[count].as_i64().unwrap(),
    )
}

#[test]
fn llava_mini_is_exported_once_per_picture() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let told = stdout(export(home.path(), &out).args(["--preset", "radio", "--summary"]));
    assert!(told.contains("160 pictures of llava-mini"), "{told}");
    assert!(
        told.contains("162 records, 1 without a picture, 1 mentions again"),
        "{told}"
    );
    let lines = index(&out);
    assert_eq!(lines.len(), 160);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let tokens: i64 = lines.iter().map(|e| e["tokens"].as_i64().unwrap()).sum();
    assert_eq!(manifest["tokens"], tokens);
    assert_eq!(manifest["prefix_tokens_left_out"], 5);
    assert!(manifest["shards"].as_u64().unwrap() > 2);
    let channel = &manifest["statistics"]["spatial"]["mean"];
    assert_eq!(channel.as_array().unwrap().len(), 192);
    for entry in &lines {
        let number = |name: &str| entry[name].as_i64().unwrap();
        assert_eq!(number("tokens"), number("grid_h") * number("grid_w"));
        assert_eq!(number("view_h").max(number("view_w")), 126);
    }
    // The statistics are those of the stored values.
    let (mut sum, mut count) = (0.0, 0i64);
    for entry in &lines {
        let rows = rows(&out, entry, "spatial").to_kind(Kind::Double);
        sum += rows.select(1, 0).sum(Kind::Double).double_value(&[]);
        count += rows.size()[0];
    }
    let mean = channel[0].as_f64().unwrap();
    assert!((sum / count as f64 - mean).abs() < 1e-9, "{mean}");
}

/// Square pictures of the network's own size are not resized by either command.
#[test]
fn tokens_equal_those_of_the_features_command() {
    let home = tempfile::tempdir().unwrap();
    let pictures = home.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for number in 0..3u8 {
        let picture = image::RgbImage::from_fn(126, 126, |x, y| {
            image::Rgb([x as u8 * 2, y as u8, number * 80])
        });
        picture
            .save(pictures.join(format!("{number}.png")))
            .unwrap();
    }
    let features = home.path().join("features.safetensors");
    stdout(
        radio_eval(home.path())
            .args([
                "features",
                "--model",
                "mini-dino",
                "--batch-size",
                "3",
                "--input",
            ])
            .arg(&pictures)
            .arg("--output")
            .arg(&features),
    );
    let (expected, _) = safetensors::open(&features).unwrap();
    let read = |name: &str| expected[name].read_stored().unwrap();
    for preset in ["square", "clip-pad", "native", "radio"] {
        let out = home.path().join(preset);
        stdout(
            radio_eval(home.path())
                .args([
                    "--quiet",
                    "vlm-export",
                    "--model",
                    "mini-dino",
                    "--resolution",
                    "126",
                ])
                .args([
                    "--preset",
                    preset,
                    "--format",
                    "fp32",
                    "--summary",
                    "--dataset",
                ])
                .arg(&pictures)
                .arg("--out")
                .arg(&out),
        );
        for (number, entry) in index(&out).iter().enumerate() {
            let spatial = rows(&out, entry, "spatial");
            assert_eq!(spatial, read("spatial").get(number as i64), "{preset}");
            let summary = rows(&out, entry, "summary").get(0);
            assert_eq!(summary, read("summary").get(number as i64), "{preset}");
        }
    }
}

#[test]
fn layers_norm_merging_and_tiles() {
    let home = tempfile::tempdir().unwrap();
    let plain = home.path().join("plain");
    let settings = ["--preset", "square", "--format", "fp32"];
    stdout(
        export_at(home.path(), &plain, 112)
            .args(settings)
            .args(["--layer", "-2"]),
    );
    let merged = home.path().join("merged");
    stdout(export_at(home.path(), &merged, 112).args(settings).args([
        "--layer",
        "-2",
        "--norm",
        "layernorm",
        "--merge",
    ]));
    let (a, b) = (&index(&plain)[7], &index(&merged)[7]);
    let tokens = rows(&plain, a, "layer.4");
    assert_eq!(
        (a["grid_h"].as_i64(), b["grid_h"].as_i64()),
        (Some(8), Some(4))
    );
    let none = None::<&Tensor>;
    let normed = tokens.layer_norm([192], none, none, 1e-5, true);
    let expected = normed
        .view([4, 2, 4, 2, 192])
        .permute([0, 2, 1, 3, 4])
        .reshape([16, 768]);
    let difference = (rows(&merged, b, "layer.4") - expected).abs().max();
    assert!(difference.double_value(&[]) < 1e-5);

    let tiles = home.path().join("tiles");
    stdout(export(home.path(), &tiles).args(["--preset", "anyres", "--grids", "1x2,2x1,2x2"]));
    for entry in index(&tiles) {
        let number = |name: &str| entry[name].as_i64().unwrap();
        assert_eq!(number("views"), 1 + number("tiles_x") * number("tiles_y"));
        assert_eq!(number("tokens"), number("views") * 81);
    }
}

#[test]
fn kill_and_resume_give_the_same_files() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let run = |out: &Path| {
        export(home.path(), out)
            .args(["--preset", "radio", "--format", "fp32"])
            .output()
    };
    assert!(run(&whole).unwrap().status.success());
    let expected = bytes(&whole);
    let stopped = home.path().join("stopped");
    for shard in [0, 1, 3] {
        let mut child = export(home.path(), &stopped)
            .args(["--preset", "radio", "--format", "fp32"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let wanted = stopped.join(format!("shard-{shard:05}.json"));
        let started = Instant::now();
        while !wanted.exists() && started.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(wanted.exists());
    }
    assert!(run(&stopped).unwrap().status.success());
    let mut again = bytes(&stopped);
    // What a kill leaves of an unfinished file is hidden, and nobody's shard.
    again.retain(|name, _| !name.starts_with('.'));
    assert_eq!(
        again.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    assert!(again == expected);

    // Other settings do not go on where these stopped.
    let told = fails(
        export(home.path(), &stopped).args(["--preset", "square"]),
        1,
    );
    assert!(told.contains("belongs to another export"), "{told}");
    assert!(told.contains("--restart"), "{told}");
}

#[test]
fn parts_merge_to_the_whole() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let preset = ["--preset", "radio"];
    stdout(export(home.path(), &path("whole")).args(preset));
    stdout(
        export(home.path(), &path("part0"))
            .args(preset)
            .args(["--shard", "0/2"]),
    );
    // As a launcher says it.
    let told = stdout(
        export(home.path(), &path("part1"))
            .args(preset)
            .envs([("RANK", "1"), ("WORLD_SIZE", "2")]),
    );
    assert!(told.contains("part 1/2 is done"), "{told}");
    let mut merge = radio_eval(home.path());
    merge
        .args(["vlm-export", "merge", "--out"])
        .arg(path("merged"));
    let told = fails(
        Command::new(merge.get_program())
            .args(merge.get_args())
            .arg(path("part1")),
        1,
    );
    assert!(told.contains("shards are not there: 0, 2"), "{told}");
    stdout(merge.arg(path("part0")).arg(path("part1")));
    assert!(bytes(&path("merged")) == bytes(&path("whole")));
}

#[test]
fn damage_is_found_and_named() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    stdout(export(home.path(), &out).args(["--preset", "square"]));
    let verify = || {
        let mut command = radio_eval(home.path());
        command.args(["vlm-export", "verify"]).arg(&out);
        command
    };
    let told = stdout(verify().args([
        "--recompute",
        "3",
        "--model",
        "mini-dino",
        "--dataset",
        "llava-mini",
    ]));
    assert!(told.contains("160 pictures"), "{told}");
    assert!(told.contains("3 pictures computed anew"), "{told}");
    let told = fails(
        verify().args([
            "--recompute",
            "1",
            "--model",
            "mini-clip",
            "--dataset",
            "llava-mini",
        ]),
        2,
    );
    assert!(told.contains("other weights or settings"), "{told}");
    let shard = out.join("shard-00001.safetensors");
    let mut damaged = std::fs::read(&shard).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    std::fs::write(&shard, damaged).unwrap();
    let told = fails(&mut verify(), 1);
    assert!(
        told.contains("shard-00001.safetensors: is damaged"),
        "{told}"
    );
}

#[test]
fn missing_pictures_are_named() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::create_dir_all(path("pictures/train")).unwrap();
    image::RgbImage::new(126, 126)
        .save(path("pictures/train/a.png"))
        .unwrap();
    std::fs::write(path("pictures/broken.png"), b"no picture").unwrap();
    let write = |records: &str| std::fs::write(path("data.json"), records).unwrap();
    let run = |more: &[&str]| -> Command {
        let mut command = radio_eval(home.path());
        command
            .args([
                "--quiet",
                "vlm-export",
                "--model",
                "mini-dino",
                "--preset",
                "square",
            ])
            .args(["--resolution", "126", "--dataset"])
            .arg(path("data.json"))
            .arg("--images")
            .arg(path("pictures"))
            .arg("--out")
            .arg(path("out"))
            .args(more);
        command
    };
    write(r#"[{"image": "a.png"}, {"image": "b.png"}]"#);
    let told = fails(&mut run(&[]), 1);
    assert!(told.contains("lacks 2 of the 2 pictures"), "{told}");
    assert!(told.contains("train/a.png is there"), "{told}");
    write(r#"[{"image": "train/a.png"}, {"image": "broken.png"}, {"image": "b.png"}]"#);
    let told = fails(&mut run(&["--skip-bad", "1"]), 1);
    assert!(told.contains("--skip-bad 1"), "{told}");
    let told = stdout(&mut run(&["--skip-bad", "2"]));
    assert!(told.contains("1 pictures"), "{told}");
    let manifest = std::fs::read_to_string(path("out/manifest.json")).unwrap();
    assert!(
        manifest.contains("broken.png") && manifest.contains("b.png"),
        "{manifest}"
    );
    write("{}");
    assert!(fails(&mut run(&[]), 1).contains("neither a list of conversations"));
}

/// The reader of docs/vlm-export.md, run where Python has what it imports.
#[test]
fn the_documented_reader_reads() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python)
        .args(["-c", "import numpy, safetensors"])
        .output()
        .is_ok_and(|out| out.status.success());
    if !has {
        skipped(&format!(
            "{python} has no numpy and safetensors; set PYTHON to one that has"
        ));
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vlm-export.md");
    let page = std::fs::read_to_string(page).unwrap();
    let code = page
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let home = tempfile::tempdir().unwrap();
    let out: PathBuf = home.path().join("out");
    stdout(export(home.path(), &out).args(["--preset", "radio"]));
    let entry = &index(&out)[3];
    let key = entry["key"].as_str().unwrap();
    let told = stdout(
        Command::new(&python)
            .args(["-c", code.unwrap()])
            .arg(&out)
            .arg(key),
    );
    let tokens = rows(&out, entry, "spatial").to_kind(Kind::Double);
    let mean = tokens.mean(Kind::Double).double_value(&[]);
    let grid = format!("(1, {}, {}, 192)", entry["grid_h"], entry["grid_w"]);
    assert!(told.contains(&grid), "{told}");
    let last: f64 = told
        .split_whitespace()
        .next_back()
        .unwrap()
        .parse()
        .unwrap();
    assert!((last - mean).abs() < 1e-9, "{told} {mean}");
}

/// Shards whose labels no evaluation would take (one class only) are pictures all the same; `$X`
/// stands in a path.
#[test]
fn labels_do_not_matter() {
    let home = tempfile::tempdir().unwrap();
    let mut shard = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        shard.append_data(&mut header, name, bytes).unwrap();
    };
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(126, 126)
        .write_to(&mut picture, image::ImageFormat::Png)
        .unwrap();
    for key in ["a", "b"] {
        add(&format!("{key}.png"), picture.get_ref());
        add(&format!("{key}.cls"), b"0");
    }
    let bytes = shard.into_inner().unwrap();
    std::fs::write(home.path().join("p-000.tar"), bytes).unwrap();
    let mut command = radio_eval(home.path());
    command
        .args(["--quiet", "vlm-export", "--model", "mini-dino"])
        .args(["--preset", "square", "--resolution", "126"])
        .args(["--dataset", "$PICTURES/p-{000..000}.tar", "--out"])
        .arg(home.path().join("out"))
        .env("PICTURES", home.path());
    let told = stdout(&mut command);
    assert!(told.contains("2 pictures"), "{told}");
}
