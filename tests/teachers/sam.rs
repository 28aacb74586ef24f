use super::{Golden, bf16_agrees, edited, model, open, run};
use radio_eval::data::Source;
use radio_eval::data::loader::{LoaderOptions, load};
use radio_eval::data::transform::Transform;
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::IMAGENET;
use radio_eval::models::sam::{Sam, relative_positions, windows};
use radio_eval::models::{BuildOptions, Request, backbone};
use radio_eval::weights::Checkpoint;
use std::path::PathBuf;
use std::sync::Arc;
use tch::Tensor;

/// The committed golden, and the full one where it is.
fn folders() -> Vec<PathBuf> {
    let full = crate::common::shared("golden/sam");
    std::iter::once(crate::common::fixture("teachers/sam"))
        .chain(full)
        .collect()
}

#[test]
fn both_layouts_equal_the_official_code() {
    for folder in folders() {
        let golden = Golden::open(&folder.join("sam_tiny.golden.safetensors"));
        // segment-anything's files come without a config: sizes follow from the tensors.
        let mut original = Checkpoint::open(&folder.join("sam_tiny.original.safetensors")).unwrap();
        original.config = serde_json::Value::Null;
        let mut files = vec![original];
        let hf = folder.join("sam_tiny.hf.safetensors");
        if hf.exists() {
            files.push(open(&hf, &folder.join("sam_tiny.hf_config.json")));
        }
        for file in &files {
            let network = model(file, &BuildOptions::default());
            let sam = Sam::load(file, &BuildOptions::default()).unwrap();
            for image in (0..4).map(|i| format!("img{i}")) {
                let name = |n: &str| format!("{image}.{n}");
                if !golden.has(&name("preprocessed")) {
                    continue;
                }
                let pixels = golden.pixels(&name("preprocessed"), IMAGENET);
                let out = run(network.as_ref(), &pixels, &[]);
                golden.close(&name("mean_token"), &out.summary);
                let tokens = out.spatial.view([1, 8, 8, 24]);
                golden.close(&name("pre_neck_bhwc"), &tokens);
                golden.close(&name("embedding"), &sam.encoder.neck(&tokens));
            }
        }
        bf16_agrees(&files[0], &golden.pixels("img0.preprocessed", IMAGENET));
    }
}

#[test]
fn relative_positions_and_windows_equal_segment_anything() {
    for folder in folders() {
        let golden = Golden::open(&folder.join("sam_tiny.golden.safetensors"));
        let table = golden.get("rel_pos.table");
        for (q, k) in [(2, 2), (3, 3), (4, 8), (8, 4), (8, 8)] {
            let name = format!("rel_pos.q{q}k{k}");
            golden.close(&name, &relative_positions(table, q, k));
        }
        let parts = windows(golden.get("window.x"), 3);
        golden.close("window.parts", &parts);
    }
}

/// Only the encoder's tensors are asked for, and only at the size it was trained for.
#[test]
fn loading_and_resolution_are_strict() {
    let folder = crate::common::fixture("teachers/sam");
    let file = Checkpoint::open(&folder.join("sam_tiny.original.safetensors")).unwrap();
    let name = "image_encoder.blocks.2.attn.rel_pos_w";
    let missing = edited(&file, |k, t| (k != name).then(|| t.clone()));
    let error = build(&missing, &BuildOptions::default()).err().unwrap();
    assert!(
        error.to_string().contains(&format!("`{name}`: missing")),
        "{error}"
    );
    let network = model(&file, &BuildOptions::default());
    let pixels = Tensor::zeros([1, 3, 160, 160], tch::kind::FLOAT_CPU);
    let error = backbone::run(network.as_ref(), &pixels, &Request::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("128x128 only"), "{error}");
}

#[test]
fn mini_sam_equals_its_golden() {
    let weights = radio_eval::assets::path("mini/weights/mini-sam").unwrap();
    let file = open(
        &weights.join("model.safetensors"),
        &weights.join("config.json"),
    );
    let network = model(&file, &BuildOptions::default());
    assert_eq!(network.info().preferred, (256, 256));
    let Some(golden) = crate::common::shared("mini/golden/sam.safetensors") else {
        return;
    };
    let golden = Golden::open(&golden);
    let out = run(network.as_ref(), &golden.u8_pixels("pixels_u8"), &[]);
    golden.close("summary", &out.summary);
    golden.close("features", &out.spatial);
    let sam = Sam::load(&file, &BuildOptions::default()).unwrap();
    let tokens = tch::no_grad(|| sam.encoder.forward(golden.get("sam_input")));
    golden.close("sam_neck", &sam.encoder.neck(&tokens));
}

/// The golden's pictures, as PNG files.
struct Pictures(Vec<Vec<u8>>);

impl Source for Pictures {
    fn describe(&self) -> String {
        "golden".into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, _: usize) -> &str {
        "picture"
    }

    fn read(&self, index: usize) -> radio_eval::Result<Vec<u8>> {
        Ok(self.0[index].clone())
    }

    fn size(&self, index: usize) -> u64 {
        self.0[index].len() as u64
    }
}

fn png(pixels: &Tensor) -> Vec<u8> {
    let (height, width, _) = pixels.size3().unwrap();
    let data = Vec::<u8>::try_from(pixels.flatten(0, -1)).unwrap();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&data).unwrap();
    writer.finish().unwrap();
    bytes
}

/// From files of four shapes to tokens in one batch: resized, padded after normalising.
#[test]
fn pictures_of_any_shape_come_to_the_network_as_segment_anything_brings_them() {
    for folder in folders() {
        let golden = Golden::open(&folder.join("sam_tiny.golden.safetensors"));
        let mut file = Checkpoint::open(&folder.join("sam_tiny.original.safetensors")).unwrap();
        file.config = serde_json::Value::Null;
        let network = model(&file, &BuildOptions::default());
        let images: Vec<String> = (0..4)
            .map(|i| format!("img{i}"))
            .filter(|image| golden.has(&format!("{image}.u8")))
            .collect();
        let pictures = images.iter().map(|i| png(golden.get(&format!("{i}.u8"))));
        let source = Arc::new(Pictures(pictures.collect()));
        if source.is_empty() {
            continue;
        }
        let options = LoaderOptions {
            workers: 1,
            padding: network.padding(),
            ..LoaderOptions::default()
        };
        let indices = (0..source.len()).collect();
        let mut batches = load(source, indices, Transform::sam_padded(128), options);
        let batch = batches.next().unwrap().unwrap();
        assert!(batches.next().is_none(), "all have one size");
        let out = run(network.as_ref(), &batch.pixels, &[]);
        let sam = Sam::load(&file, &BuildOptions::default()).unwrap();
        let normalised = sam.normalise.forward(&batch.pixels);
        for (row, image) in (0..).zip(&images) {
            golden.close(
                &format!("{image}.preprocessed"),
                &normalised.narrow(0, row, 1),
            );
            let tokens = out.spatial.narrow(0, row, 1).view([1, 8, 8, 24]);
            golden.close(&format!("{image}.pre_neck_bhwc"), &tokens);
            let shown = batch.placements[row as usize].shown;
            let resized = golden.get(&format!("{image}.resized_pil11_u8")).size();
            assert_eq!([shown.height as i64, shown.width as i64], resized[..2]);
        }
    }
}
