//! COCO-format data sets: layouts, masks against the goldens, and what is refused.

use crate::common::shared;
use radio_eval::data::coco::{OpenOptions, Split, mask, open};
use radio_eval::data::{Annotation, Source};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Two pictures in `images/`, annotations as given.
fn world(images: &str, annotations: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(images);
    fs::create_dir_all(&folder).unwrap();
    for name in ["b.png", "a.png"] {
        image::RgbImage::new(6, 4).save(folder.join(name)).unwrap();
    }
    let file = dir.path().join(annotations);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let object = |id: u64, image: u64| {
        json!({"id": id, "image_id": image, "category_id": 31, "bbox": [1, 1, 2, 2], "area": 4,
               "iscrowd": 0, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]})
    };
    let file_json = json!({
        "images": [{"id": 5, "file_name": "b.png", "height": 4, "width": 6},
                   {"id": 2, "file_name": "a.png", "height": 4, "width": 6}],
        "categories": [{"id": 31, "name": "cup"}],
        "annotations": [object(1, 2), object(9, 5), object(4, 2)],
    });
    fs::write(file, file_json.to_string()).unwrap();
    dir
}

#[test]
fn layouts_of_coco_roboflow_and_one_folder() {
    for (images, annotations) in [
        ("val2017", "annotations/instances_val2017.json"),
        ("images/val2017", "instances_val2017.json"),
        ("valid", "valid/_annotations.coco.json"),
        ("", "labels.json"),
    ] {
        let dir = world(images, annotations);
        let spec = dir.path().to_str().unwrap();
        let set = open(spec, Split::Val, &OpenOptions::default()).unwrap();
        assert_eq!(
            (set.image_id(0), set.image_id(1)),
            (5, 2),
            "the file's order"
        );
        assert_eq!(set.position(2), Some(1));
        let ids: Vec<u64> = set.instances(1).iter().map(|i| i.id).collect();
        assert_eq!(ids, [1, 4], "in the file's order");
        let Annotation::Instances(instances) = set.annotation(0).unwrap() else {
            panic!("{annotations}")
        };
        assert_eq!(instances[0].id, 9);
        assert!(set.read(0).unwrap().starts_with(b"\x89PNG"));
        // The annotation file itself names the data set too.
        let file = dir.path().join(annotations);
        let pictures = OpenOptions {
            images: Some(dir.path().join(images)),
            ..OpenOptions::default()
        };
        let named = open(file.to_str().unwrap(), Split::Val, &pictures).unwrap();
        assert_eq!(named.annotations_sha256, set.annotations_sha256);
    }
}

#[test]
fn missing_pictures_and_splits_are_named() {
    let dir = world("val2017", "annotations/instances_val2017.json");
    fs::remove_file(dir.path().join("val2017/a.png")).unwrap();
    let spec = dir.path().to_str().unwrap();
    let error = |split| match open(spec, split, &OpenOptions::default()) {
        Ok(_) => panic!("{spec} was taken"),
        Err(e) => e.to_string(),
    };
    let lacking = error(Split::Val);
    assert!(lacking.contains("lacks 1 of the 2 pictures"), "{lacking}");
    assert!(
        lacking.contains("a.png first") && lacking.contains("--images"),
        "{lacking}"
    );
    fs::write(dir.path().join("annotations/instances_other.json"), "{}").unwrap();
    let none = error(Split::Train);
    assert!(
        none.contains("no one annotation file of the train split"),
        "{none}"
    );
}

#[test]
fn the_shipped_world_is_read_from_its_tars() {
    for (split, images, instances) in [(Split::Val, 80, 194), (Split::Train, 300, 0)] {
        let set = open("coco-mini", split, &OpenOptions::default()).unwrap();
        assert_eq!(set.len(), images);
        let all: usize = (0..set.len()).map(|i| set.instances(i).len()).sum();
        assert!(all >= instances, "{all}");
        if split == Split::Val {
            assert_eq!(all, instances);
        }
        assert_eq!(set.categories.len(), 20);
        assert!(set.categories.iter().any(|category| category.id == 31));
    }
}

/// Every mask of the golden annotations, against pycocotools' run lengths.
#[test]
fn masks_equal_pycocotools() {
    let Some(folder) = shared("golden/sam/metric") else {
        return;
    };
    let images = tempfile::tempdir().unwrap();
    let file = folder.join("instances_synth.json");
    for image in json(&file)["images"].as_array().unwrap() {
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
    let golden = json(&folder.join("rle_goldens.json"));
    let polygons = golden["polygons"].as_array().unwrap();
    let mut compared = 0;
    for index in 0..set.len() {
        let (height, width) = set.stated_size(index).unwrap();
        for instance in set.instances(index) {
            let runs = mask::runs(instance, height, width).unwrap().unwrap();
            let raster = mask::raster(&runs);
            assert_eq!(mask::from_raster(&raster, height, width).unwrap(), runs);
            let Some(expected) = polygons.iter().find(|p| p["ann_id"] == json!(instance.id)) else {
                continue;
            };
            assert_eq!(json!(runs.counts), expected["counts"], "{}", instance.id);
            assert_eq!(json!(mask::compressed(&runs)), expected["merged_rle"]);
            let area: u64 = raster.iter().map(|&inside| u64::from(inside)).sum();
            assert_eq!(json!(area), expected["area"]);
            compared += 1;
        }
    }
    assert_eq!(compared, polygons.len());
}

/// 100 photographs of COCO val, with polygons and five crowds.
#[test]
fn real_annotations_are_read() {
    let Some(folder) = shared("real/coco100") else {
        return;
    };
    let set = open(
        folder.to_str().unwrap(),
        Split::Val,
        &OpenOptions::default(),
    )
    .unwrap();
    assert_eq!((set.len(), set.categories.len()), (100, 80));
    let all = (0..set.len()).flat_map(|i| set.instances(i));
    let crowds = all.clone().filter(|instance| instance.crowd).count();
    assert_eq!((all.count(), crowds), (712, 5));
    for index in 0..set.len() {
        let (height, width) = set.stated_size(index).unwrap();
        for instance in set.instances(index) {
            let runs = mask::runs(instance, height, width).unwrap().unwrap();
            let area: u64 = runs
                .counts
                .iter()
                .skip(1)
                .step_by(2)
                .map(|&n| u64::from(n))
                .sum();
            // The stated area is the polygon's, the raster differs at its border.
            let border = 4.0 * (instance.area.sqrt() + 4.0) + 0.2 * instance.area;
            assert!(
                (area as f64 - instance.area).abs() < border,
                "{}",
                instance.id
            );
        }
    }
}
