//! Zero-shot of a RADIO student: each adaptor into an image-text space with the text tower of the
//! teacher that it imitates, found where that teacher's weights lie.

use crate::common::{fails, file_name, fixture, predictions, radio_eval, stdout};
use radio_eval::assets;
use radio_eval::models::{BuildOptions, text, zoo};
use radio_eval::tasks::zero_shot::Templates;
use radio_eval::weights::{Checkpoint, safetensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use tch::{Device, Kind, Tensor};

/// Width of the student's adaptors, and so of the teachers' joint spaces.
const EMBED: i64 = 40;

/// (adaptor, zoo name of its teacher)
const PAIRS: [(&str, &str); 3] = [
    ("clip", "dfn-clip-h14-378"),
    ("siglip", "siglip-so400m-384"),
    ("siglip2-g", "siglip2-g-384"),
];

type Tensors = Vec<(String, Tensor)>;

fn read(path: &Path) -> Tensors {
    let file = Checkpoint::open(path).unwrap();
    let tensors = file.tensors().unwrap().iter();
    tensors
        .map(|(name, tensor)| (name.clone(), tensor.read_stored().unwrap()))
        .collect()
}

fn write(path: &Path, tensors: &Tensors) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pairs = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::write(path, pairs, HashMap::new()).unwrap();
}

/// The committed student with all three adaptors: what it has for CLIP, with its last layer turned
/// otherwise for each.
fn write_student(folder: &Path) {
    let mut tensors = Tensors::new();
    for (name, tensor) in read(&fixture("radio/spectral/checkpoint_raw.safetensors")) {
        for (turn, (adaptor, _)) in PAIRS.iter().enumerate() {
            let own = name.replace(".clip.", &format!(".{adaptor}."));
            let last = own.starts_with("_heads") && own.contains(".final.2.bias");
            let own_tensor = match last {
                true => tensor.roll([7 * turn as i64], [0]),
                false => tensor.shallow_clone(),
            };
            if turn == 0 || own != name {
                tensors.push((own, own_tensor));
            }
        }
    }
    write(&folder.join("model.safetensors"), &tensors);
    let args = std::fs::read(fixture("radio/spectral/args.json")).unwrap();
    let mut args: Value = serde_json::from_slice(&args).unwrap();
    // The third is DINOv2 in the fixture, whose adaptor the file does not have.
    args["teachers"][2]["name"] = "siglip2-g".into();
    let args = args.to_string();
    std::fs::write(folder.join("config.json"), args).unwrap();
}

/// The small text towers of the goldens, cut to the student's width, and CLIP's with a token table
/// for the vocabulary that ships.
fn write_teachers(home: &Path) {
    tch::manual_seed(1);
    let folder = |teacher: &str| home.join("weights").join(teacher);
    let copy = |from: &str, to: &Path| {
        std::fs::copy(fixture(from), to).unwrap();
    };
    let cut = |mut tensors: Tensors, names: [&str; 2]| {
        for (name, tensor) in &mut tensors {
            if names.contains(&name.as_str()) {
                *tensor = tensor.narrow(0, 0, EMBED).contiguous();
            }
        }
        tensors
    };

    let clip = folder(PAIRS[0].1);
    let mut tensors = read(&fixture("text/clip_quickgelu/openclip.safetensors"));
    for (name, tensor) in &mut tensors {
        if name == "token_embedding.weight" {
            *tensor = Tensor::randn([49_408, 48], (Kind::Float, Device::Cpu)) * 0.5;
        }
    }
    write(&clip.join("open_clip_model.safetensors"), &tensors);
    let config = fixture("text/clip_quickgelu/openclip_config.json");
    let config = std::fs::read_to_string(config).unwrap();
    let config = config.replace("\"vocab_size\": 200", "\"vocab_size\": 49408");
    std::fs::write(clip.join("open_clip_config.json"), config).unwrap();

    let siglip = folder(PAIRS[1].1);
    let tensors = read(&fixture("text/siglip_so400m_like/openclip.safetensors"));
    let head = ["text.text_projection.weight", "text.text_projection.bias"];
    write(
        &siglip.join("open_clip_model.safetensors"),
        &cut(tensors, head),
    );
    let config = "text/siglip_so400m_like/openclip_config.json";
    copy(config, &siglip.join("open_clip_config.json"));
    let tokenizer = "text/siglip_zero_shot/tokenizer.json";
    copy(tokenizer, &siglip.join("tokenizer.json"));

    let siglip2 = folder(PAIRS[2].1);
    let tensors = read(&fixture("text/siglip2_gopt_like/hf/model.safetensors"));
    let head = ["text_model.head.weight", "text_model.head.bias"];
    write(&siglip2.join("model.safetensors"), &cut(tensors, head));
    let config = "text/siglip2_gopt_like/hf/config.json";
    copy(config, &siglip2.join("config.json"));
    // Gemma's end of text.
    let tokenizer = std::fs::read_to_string(fixture(tokenizer)).unwrap();
    let tokenizer = tokenizer.replace("</s>", "<eos>");
    std::fs::write(siglip2.join("tokenizer.json"), tokenizer).unwrap();
}

/// A student with adaptors as `home/student`, and their teachers' text towers where they are
/// looked for.
pub fn write_world(home: &Path) {
    write_student(&home.join("student"));
    write_teachers(home);
}

fn zero_shot(home: &Path, adaptor: &str) -> Command {
    let mut command = crate::common::zero_shot(home);
    command
        .arg("--model")
        .arg(home.join("student"))
        .args(["--adaptor", adaptor, "--resolution", "96"])
        .args(["--data", "imagenet-mini", "--limit", "100"]);
    command
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    let (rows, _) = tensor.size2().unwrap();
    (0..rows)
        .map(|i| Vec::try_from(tensor.get(i).to_kind(Kind::Double)).unwrap())
        .collect()
}

fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / length).collect()
}

/// One vector per class: the mean of its prompts' directions.
fn classifier(teacher: &str, home: &Path) -> Vec<Vec<f64>> {
    let checkpoint = Checkpoint::open(&home.join("weights").join(teacher)).unwrap();
    let options = BuildOptions {
        zoo_hints: (zoo::find(teacher).unwrap().hints)(),
        ..BuildOptions::default()
    };
    let tower = text::load(&checkpoint, &options).unwrap();
    let templates = Templates::open(fixture("text/mini_templates.txt").to_str().unwrap()).unwrap();
    let data = radio_eval::data::classification::open("imagenet-mini", None).unwrap();
    let class = |name: &str| {
        let prompts: Vec<String> = templates.prompts(name).collect();
        let embeddings = rows(&tower.encode(&tower.tokenize(&prompts).unwrap()).unwrap());
        let mut sum = vec![0.0; EMBED as usize];
        for embedding in &embeddings {
            for (sum, x) in sum.iter_mut().zip(unit(embedding)) {
                *sum += x;
            }
        }
        unit(&sum)
    };
    data.classes.iter().map(|c| class(&c.names[0])).collect()
}

#[test]
fn each_adaptor_meets_its_teachers_text_tower() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write_student(&at("student"));
    write_teachers(home.path());

    let mut features = radio_eval(home.path());
    features
        .args(["features", "--resolution", "96", "--model"])
        .arg(at("student"))
        .arg("--input")
        .arg(assets::path("mini/data/imagenet-mini-val.tar").unwrap())
        .arg("--output")
        .arg(at("features.safetensors"));
    for (adaptor, _) in PAIRS {
        features.args(["--adaptor", adaptor]);
    }
    stdout(&mut features);
    let (tensors, metadata) = safetensors::open(&at("features.safetensors")).unwrap();
    let images: Vec<String> = serde_json::from_str(&metadata["images"]).unwrap();

    for (adaptor, teacher) in PAIRS {
        let records = stdout(&mut zero_shot(home.path(), adaptor));
        let records: Value = serde_json::from_str(&records).unwrap();
        let record = &records[0];
        assert_eq!(record["model"]["adaptor"], adaptor);
        let told = record["options"]["text_weights"].as_str().unwrap();
        assert!(told.contains(teacher), "{told}");

        let classes = classifier(teacher, home.path());
        let summary = &tensors[&format!("{adaptor}.summary")];
        let summaries = rows(&summary.read(Device::Cpu, Kind::Float).unwrap());
        let found = predictions(&at("predictions.csv"));
        assert_eq!(found.len(), 100);
        let mut decided = 0;
        for (image, summary) in images.iter().zip(&summaries) {
            let Some(&predicted) = found.get(&file_name(image)) else {
                continue;
            };
            let image = unit(summary);
            let cosine = |class: &Vec<f64>| class.iter().zip(&image).map(|(a, b)| a * b).sum();
            let scores: Vec<f64> = classes.iter().map(cosine).collect();
            let best = scores.iter().copied().fold(f64::MIN, f64::max);
            // Where two classes are nearer than fp32 can tell, either is right.
            assert!(best - scores[predicted] < 1e-5, "{adaptor} {scores:?}");
            decided += usize::from(scores.iter().filter(|s| best - **s < 1e-5).count() == 1);
        }
        assert!(decided > 90, "{adaptor}: {decided}");
    }
}

#[test]
fn a_text_tower_that_is_missing_or_of_another_width_is_told() {
    let home = tempfile::tempdir().unwrap();
    write_student(&home.path().join("student"));
    let error = fails(&mut zero_shot(home.path(), "siglip"), 1);
    assert!(
        error.contains("needs the text tower of its teacher siglip-so400m-384"),
        "{error}"
    );
    assert!(
        error.contains("radio-eval fetch siglip-so400m-384"),
        "{error}"
    );

    write_teachers(home.path());
    let whole = fixture("text/siglip_so400m_like/openclip.safetensors");
    let siglip = home.path().join("weights/siglip-so400m-384");
    std::fs::copy(whole, siglip.join("open_clip_model.safetensors")).unwrap();
    let error = fails(&mut zero_shot(home.path(), "siglip"), 2);
    assert!(
        error.contains("gives 40 numbers per image") && error.contains("gives 64"),
        "{error}"
    );
}
