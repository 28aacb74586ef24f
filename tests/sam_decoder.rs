//! SAM's prompt encoder and mask decoder against segment-anything, and clicks against EfficientViT's
//! rule.

use crate::common::shared;
use crate::teachers::{Golden, edited, open};
use radio_eval::models::sam::{Prompts, at_original_size, load_decoder};
use radio_eval::models::zoo;
use radio_eval::tasks::sam_swap::clicks::{Click, next_click};
use radio_eval::tasks::sam_swap::resized;
use radio_eval::weights::Checkpoint;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// spec/coco.md §5: 1e-4 on logits, relative to max(1, |max|) as its own verification has it.
#[track_caller]
fn close(golden: &Golden, name: &str, got: &Tensor) {
    let want = golden.get(name);
    assert_eq!(got.size(), want.size(), "{name}");
    let difference = (got - want).abs().max().double_value(&[]);
    let allowed = 1e-4 * want.abs().max().double_value(&[]).max(1.0);
    assert!(
        difference <= allowed,
        "{name}: off by {difference:e}, {allowed:e} allowed"
    );
}

/// The miniature SAM in both layouts, with a config each.
fn layouts(folder: &Path) -> Vec<Checkpoint> {
    let meta = std::fs::read(folder.join("sam_tiny.meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&meta).unwrap();
    let mut original = Checkpoint::open(&folder.join("sam_tiny.original.safetensors")).unwrap();
    original.config = meta["config"].clone();
    let transformers = open(
        &folder.join("sam_tiny.hf.safetensors"),
        &folder.join("sam_tiny.hf_config.json"),
    );
    vec![original, transformers]
}

#[test]
fn both_layouts_give_the_official_masks() {
    let Some(folder) = shared("golden/sam") else {
        return;
    };
    let golden = Golden::open(&folder.join("sam_tiny.golden.safetensors"));
    let points = || {
        let labels = golden.get("prompt.labels").to_kind(Kind::Float);
        Some((golden.get("prompt.points_model").shallow_clone(), labels))
    };
    let boxes = || Some(golden.get("prompt.boxes_model").shallow_clone());
    for checkpoint in layouts(&folder) {
        let (neck, decoder) = load_decoder(&checkpoint, Device::Cpu).unwrap();
        assert_eq!((decoder.side, decoder.image, neck.features), (8, 128, 24));
        let embedding = neck.embed(golden.get("img0.pre_neck_bhwc"));
        close(&golden, "img0.embedding", &embedding);
        close(
            &golden,
            "dense_pe",
            decoder.prompt_encoder().dense_positions(),
        );
        let two = |boxes: Option<Tensor>| boxes.map(|boxes| boxes.narrow(0, 0, 2));
        let one = |boxes: Option<Tensor>| boxes.map(|boxes| boxes.narrow(0, 0, 1));
        let masks = Some(golden.get("prompt.mask_input").shallow_clone());
        let prompts = [
            ("box", None, boxes(), None),
            ("points", points(), None, None),
            ("points_box", points(), two(boxes()), None),
            ("box_mask", None, one(boxes()), masks),
        ];
        for (case, points, boxes, masks) in prompts {
            let prompts = Prompts {
                points,
                boxes,
                masks,
            };
            let name = |part: &str| format!("{case}.{part}");
            let (sparse, dense) = decoder.prompt_encoder().encode(&prompts);
            close(&golden, &name("sparse"), &sparse);
            let expected = golden.get(&name("dense"));
            close(
                &golden,
                &name("dense"),
                &dense.expand(expected.size(), false),
            );
            let answer = decoder.decode(&embedding, &prompts);
            close(&golden, &name("masks4"), &answer.logits);
            close(&golden, &name("iou4"), &answer.iou);
            let full = at_original_size(&answer.logits, 128, (87, 128), (75, 110));
            close(&golden, &name("post_logits"), &full);
            // A boolean may differ only where the logit is next to nothing.
            let differ = full
                .gt(0.0)
                .logical_xor(&golden.get(&name("post_bool")).gt(0.0));
            let clear = full.abs().ge(1e-4).logical_and(&differ);
            assert_eq!(clear.sum(Kind::Int64).int64_value(&[]), 0, "{case}");
        }
    }
}

/// Student features of other grids (spec/coco.md §2.3 c).
#[test]
fn features_of_another_grid_are_resized_before_the_neck() {
    let Some(folder) = shared("golden/sam") else {
        return;
    };
    let golden = Golden::open(&folder.join("sam_tiny.golden.safetensors"));
    let (neck, decoder) = load_decoder(&layouts(&folder)[0], Device::Cpu).unwrap();
    let prompts = Prompts {
        boxes: Some(golden.get("prompt.boxes_model").shallow_clone()),
        ..Prompts::default()
    };
    for side in [6, 8, 16] {
        let name = |part: &str| format!("swap{side}x{side}.{part}");
        let features = golden.get(&name("features_bnc")).view([1, side, side, 24]);
        let map = resized(&features, 8);
        close(&golden, &name("resized_nchw"), &map.permute([0, 3, 1, 2]));
        let embedding = neck.embed(&map);
        close(&golden, &name("embedding"), &embedding);
        let answer = decoder.decode(&embedding, &prompts);
        close(&golden, &name("masks3"), &answer.logits.narrow(1, 1, 3));
        let iou = answer.iou.narrow(1, 1, 3);
        close(&golden, &name("iou3"), &iou);
        assert_eq!(iou.argmax(1, false), *golden.get(&name("selected_index")));
    }
}

#[test]
fn a_file_without_a_decoder_or_with_more_is_refused() {
    let Some(folder) = shared("golden/sam") else {
        return;
    };
    let whole = &layouts(&folder)[0];
    let refused = |checkpoint: &Checkpoint| match load_decoder(checkpoint, Device::Cpu) {
        Ok(_) => panic!("it was taken"),
        Err(e) => e.to_string(),
    };
    let trunk = edited(whole, |name, tensor| {
        name.starts_with("image_encoder.").then(|| tensor.clone())
    });
    let error = refused(&trunk);
    assert!(
        error.contains("has no mask decoder") && error.contains("--sam-weights"),
        "{error}"
    );
    let short = edited(whole, |name, tensor| {
        let dropped = name == "mask_decoder.transformer.layers.1.norm4.bias";
        (!dropped).then(|| tensor.clone())
    });
    let error = refused(&short);
    assert!(
        error.contains("layers.1.norm4.bias") && error.contains("missing"),
        "{error}"
    );
    let more = edited(whole, |_, tensor| Some(tensor.clone()));
    let mut tensors = more.tensors().unwrap().clone();
    let extra = tensors["mask_decoder.iou_token.weight"].clone();
    tensors.insert("mask_decoder.extra.weight".into(), extra);
    let more = Checkpoint {
        source: radio_eval::weights::WeightSource::File(tensors),
        ..more
    };
    let error = refused(&more);
    assert!(
        error.contains("`mask_decoder.extra.weight`: unexpected"),
        "{error}"
    );
}

/// The sizes of the released SAMs, by their parameters (`real_configs.json`).
#[test]
fn released_decoders_have_as_many_parameters() {
    for (name, width) in [("sam-b", 768), ("sam-h", 1280)] {
        let config = (zoo::find(name).unwrap().config)();
        let (neck, decoder) = load_decoder(&Checkpoint::random(config, 0), Device::Cpu).unwrap();
        assert_eq!(
            (neck.features, decoder.side, decoder.image),
            (width, 64, 1024)
        );
        // The neck's, the prompt encoder's 6,220 and the mask decoder's 4,058,340.
        let neck = width * 256 + 256 * 256 * 9 + 4 * 256;
        assert_eq!(decoder.parameters, neck + 6_220 + 4_058_340, "{name}");
    }
}

/// 20 instances with three clicks each, against answers that are given.
#[test]
fn clicks_follow_the_rule() {
    let Some(folder) = shared("golden/sam/metric") else {
        return;
    };
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let (candidates, expected) = (read("candidates.json"), read("clicks_expected.json"));
    let mut truths = HashMap::new();
    crate::sam_swap::synthetic(&folder, |instance, height, width| {
        let runs = radio_eval::data::coco::mask::runs(instance, height, width);
        let runs = runs.unwrap().unwrap();
        truths.insert(
            instance.id,
            (radio_eval::data::coco::mask::raster(&runs), width),
        );
    });
    let records = expected["records"].as_array().unwrap();
    assert_eq!(records.len(), 20);
    for record in records {
        let id = record["ann_id"].as_u64().unwrap();
        let (truth, width) = &truths[&id];
        let answer = |candidate: usize| {
            let mask = &candidates[id.to_string()]["masks"][candidate];
            crate::sam_swap::decoded(mask)
        };
        let answers = [vec![0; truth.len()], answer(0), answer(2)];
        let mut clicks: Vec<Click> = Vec::new();
        for answer in &answers {
            clicks.push(next_click(truth, answer, *width, &clicks));
        }
        let places: Vec<[usize; 2]> = clicks.iter().map(|c| [c.x, c.y]).collect();
        let labels: Vec<u8> = clicks.iter().map(|c| u8::from(c.inside)).collect();
        assert_eq!(json!(places), record["clicks_xy"], "annotation {id}");
        assert_eq!(json!(labels), record["labels"], "annotation {id}");
    }
}
