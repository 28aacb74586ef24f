//! Image and mask pairs: layouts, class lists, and what is refused before training.

use crate::common::{fails, radio_eval, shared, stdout};
use radio_eval::data::segmentation::{IGNORE, OpenOptions, Segmentation, check, open};
use radio_eval::data::{Annotation, Source};
use std::fs;
use std::path::Path;

fn png(path: &Path, width: u32, height: u32, values: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_raw(width, height, values.to_vec())
        .unwrap()
        .save(path)
        .unwrap();
}

/// Two 2x2 images per split, with masks 0 1 2 2 and 1 1 1 255.
fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for split in ["training", "validation"] {
        for (name, mask) in [("a", [0, 1, 2, 2]), ("b", [1, 1, 1, 255])] {
            png(
                &dir.path().join(format!("images/{split}/{name}.png")),
                2,
                2,
                &[9; 4],
            );
            png(
                &dir.path().join(format!("annotations/{split}/{name}.png")),
                2,
                2,
                &mask,
            );
        }
    }
    fs::write(
        dir.path().join("objectInfo2.txt"),
        "Idx\tName\n1\twall\n2\tsky, air\n",
    )
    .unwrap();
    dir
}

fn open_dir(dir: &Path) -> Segmentation {
    open(dir.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

fn error(dir: &Path, options: &OpenOptions) -> String {
    let set = open(dir.to_str().unwrap(), options);
    match set.and_then(|set| check::check(set.need_train()?)) {
        Ok(_) => panic!("{} was taken", dir.display()),
        Err(e) => e.to_string(),
    }
}

#[test]
fn ade_folders() {
    let dir = world();
    let set = open_dir(dir.path());
    let train = set.need_train().unwrap();
    assert_eq!(train.key(1), "images/training/b.png");
    assert_eq!(train.labels(0).unwrap().labels, [IGNORE, 0, 1, 1]);
    assert_eq!(
        train.annotation(0).unwrap(),
        Annotation::Mask(train.labels(0).unwrap())
    );
    assert_eq!(train.label(0), None);
    let statistics = check::check(train).unwrap();
    assert_eq!((statistics.pixels, statistics.ignored), (vec![4, 2], 2));
}

#[test]
fn damage_is_found_before_training_and_named() {
    let dir = world();
    png(
        &dir.path().join("annotations/training/b.png"),
        2,
        2,
        &[1, 1, 3, 1],
    );
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("annotations/training/b.png: has value 3 at column 0, row 1"),
        "{message}"
    );
    png(
        &dir.path().join("annotations/training/b.png"),
        4,
        1,
        &[1, 1, 1, 1],
    );
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("is 4x1, but its image") && message.contains("is 2x2; a mask has"),
        "{message}"
    );
    fs::remove_file(dir.path().join("annotations/training/b.png")).unwrap();
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("images/training/b.png: has no mask"),
        "{message}"
    );
    fs::write(dir.path().join("annotations/training/b.png"), "x").unwrap();
    let message = error(dir.path(), &OpenOptions::default());
    assert!(message.contains("not a readable PNG"), "{message}");
}

/// A 16-bit grey PNG.
fn deep_png(path: &Path, width: u32, height: u32, values: &[u16]) {
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, values.to_vec())
        .unwrap()
        .save(path)
        .unwrap();
}

#[test]
fn sixteen_bit_masks_hold_values_above_255() {
    let dir = world();
    let mask = dir.path().join("annotations/training/b.png");
    deep_png(&mask, 2, 2, &[1, 300, 0, 65_535]);
    fs::remove_file(dir.path().join("objectInfo2.txt")).unwrap();
    fs::write(
        dir.path().join("classes.tsv"),
        "1\twall\n2\tsky\n300\tfar\n65535\t-\n",
    )
    .unwrap();
    let set = open_dir(dir.path());
    let labels = set.need_train().unwrap().labels(1).unwrap().labels;
    assert_eq!(labels, [0, 2, IGNORE, IGNORE]);
}

/// What the command says about a tree that `damage` was done to.
fn refusal(damage: impl Fn(&Path)) -> String {
    let (home, dir) = (tempfile::tempdir().unwrap(), world());
    damage(dir.path());
    let mut command = radio_eval(home.path());
    command.args([
        "ade20k",
        "--model",
        "mini-dino",
        "--preset",
        "mini",
        "--data",
    ]);
    command.arg(dir.path()).arg("--out").arg(home.path());
    fails(&mut command, 1)
}

/// Each names the file and says what to do.
#[test]
fn the_command_refuses_messy_folders() {
    let mask = "annotations/validation/a.png";
    let message = refusal(|dir| fs::remove_file(dir.join(mask)).unwrap());
    assert!(
        message.contains("images/validation/a.png: has no mask")
            && message.contains("add it, take the image away"),
        "{message}"
    );
    let message = refusal(|dir| png(&dir.join(mask), 2, 1, &[1, 1]));
    assert!(
        message.contains("annotations/validation/a.png: is 2x1, but its image")
            && message.contains("a mask has a value for every pixel"),
        "{message}"
    );
    let message = refusal(|dir| deep_png(&dir.join(mask), 2, 2, &[1, 1, 1, 700]));
    assert!(
        message.contains("annotations/validation/a.png: has value 700 at column 1, row 1")
            && message.contains("add it to the list"),
        "{message}"
    );
    let message = refusal(|dir| {
        let colours = image::RgbImage::from_fn(2, 2, |x, _| image::Rgb([128 * x as u8, 0, 0]));
        colours.save(dir.join(mask)).unwrap();
    });
    assert!(
        message.contains("annotations/validation/a.png: is a mask in colours")
            && message.contains("convert it"),
        "{message}"
    );
    let image = "images/training/b.png";
    let message = refusal(|dir| fs::write(dir.join(image), "no image").unwrap());
    assert!(
        message.contains("images/training/b.png: ") && message.contains("replace it"),
        "{message}"
    );
    // The header is whole, so that only decoding finds it.
    let message = refusal(|dir| {
        let whole = fs::read(dir.join(image)).unwrap();
        fs::write(dir.join(image), &whole[..whole.len() - 20]).unwrap();
    });
    assert!(message.contains("images/training/b.png: "), "{message}");
}

#[test]
fn voc_lists_cityscapes_names_and_one_split() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x", "y", "z"] {
        png(
            &dir.path().join(format!("JPEGImages/{name}.png")),
            1,
            1,
            &[9],
        );
    }
    for (name, value) in [("x", 5), ("y", 20)] {
        png(
            &dir.path().join(format!("SegmentationClass/{name}.png")),
            1,
            1,
            &[value],
        );
    }
    fs::write(dir.path().join("train.txt"), "x\n").unwrap();
    fs::write(dir.path().join("val.txt"), "y\n").unwrap();
    let options = OpenOptions {
        train_list: Some(dir.path().join("train.txt")),
        val_list: Some(dir.path().join("val.txt")),
        classes: Some("voc".into()),
        ..OpenOptions::default()
    };
    let set = open(dir.path().to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (
            set.train.unwrap().len(),
            set.val.unwrap().labels(0).unwrap().labels
        ),
        (1, vec![20])
    );
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("JPEGImages/z.png: has no mask"),
        "{message}"
    );

    let dir = tempfile::tempdir().unwrap();
    png(
        &dir.path()
            .join("leftImg8bit/train/aachen/a_1_leftImg8bit.png"),
        1,
        1,
        &[9],
    );
    png(
        &dir.path()
            .join("gtFine/train/aachen/a_1_gtFine_labelIds.png"),
        1,
        1,
        &[11],
    );
    png(
        &dir.path()
            .join("gtFine/train/aachen/a_1_gtFine_instanceIds.png"),
        1,
        1,
        &[99],
    );
    let options = OpenOptions {
        image_suffix: "_leftImg8bit".into(),
        mask_suffix: "_gtFine_labelIds".into(),
        classes: Some("cityscapes".into()),
        ..OpenOptions::default()
    };
    let set = open(dir.path().to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (set.rule.classes.len(), set.rule.classes[2].name.as_str()),
        (19, "building")
    );
    assert_eq!(set.train.unwrap().labels(0).unwrap().labels, [2]);
    let message = set.val.is_none().then(|| {
        error(
            dir.path(),
            &OpenOptions {
                train_share: Some(0.5),
                ..options
            },
        )
    });
    assert!(message.unwrap().contains("one side of 1 images empty"));
}

#[test]
fn without_a_class_list_the_masks_tell() {
    let dir = world();
    fs::remove_file(dir.path().join("objectInfo2.txt")).unwrap();
    let set = open_dir(dir.path());
    assert_eq!(
        set.rule.classes.iter().map(|c| c.value).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(
        set.warnings[0].contains("the 3 values in the masks"),
        "{:?}",
        set.warnings
    );
}

#[test]
fn shipped_world_and_its_unpacked_folders_are_the_same() {
    let set = open("ade-mini", &OpenOptions::default()).unwrap();
    let (train, val) = (set.need_train().unwrap(), set.need_val().unwrap());
    assert_eq!(
        (train.len(), val.len(), set.rule.classes.len()),
        (300, 80, 11)
    );
    assert_eq!(set.rule.classes[6].name, "star");
    assert!(check::check(val).unwrap().pixels.iter().all(|&n| n > 0));
    let dir = tempfile::tempdir().unwrap();
    for tar in ["training", "validation"] {
        let file = radio_eval::assets::path(&format!("mini/data/ade-mini-{tar}.tar")).unwrap();
        tar::Archive::new(fs::File::open(file).unwrap())
            .unpack(dir.path())
            .unwrap();
    }
    let unpacked = open_dir(dir.path());
    assert_eq!(unpacked.rule.classes, set.rule.classes);
    let other = unpacked.need_val().unwrap();
    for index in [0, 79] {
        assert_eq!(other.key(index), val.key(index));
        assert_eq!(other.labels(index).unwrap(), val.labels(index).unwrap());
    }
}

#[test]
fn coco_semantic_masks_cut_in_two() {
    let Some(path) = shared("real/coco100") else {
        return;
    };
    let options = OpenOptions {
        classes: Some("coco-panoptic".into()),
        train_share: Some(0.7),
        ..OpenOptions::default()
    };
    let set = open(path.to_str().unwrap(), &options).unwrap();
    assert_eq!(
        (
            set.train.as_ref().unwrap().len(),
            set.val.as_ref().unwrap().len()
        ),
        (70, 30)
    );
    check::check(set.need_train().unwrap()).unwrap();
    check::check(set.need_val().unwrap()).unwrap();
}

#[test]
fn datasets_command_lists_and_checks() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = radio_eval(home.path());
        command.arg("datasets").args(args);
        command
    };
    let list = stdout(&mut run(&[]));
    assert!(
        list.contains("imagenet-1k") && list.contains("not here"),
        "{list}"
    );
    let one = stdout(&mut run(&[
        "imagenet-mini",
        "ade-mini",
        "coco-mini",
        "llava-mini",
        "distill-mini",
        "--check",
    ]));
    assert!(
        one.contains("train     1040 images, 52 of each class"),
        "{one}"
    );
    assert!(!one.contains("problem"), "{one}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&mut run(&["ade-mini", "--json"]))).unwrap();
    assert_eq!(json[0]["splits"][1]["samples"], 80);

    // A list of the user's whose counts are not met: exit code 3.
    let list = home.path().join("datasets.toml");
    let text = "[cats]\ntask = \"classification\"\nabout = \"\"\nroots = [\"$CATS\"]\n[cats.splits.val]\npath = \"val\"\nsamples = 2\n";
    fs::write(&list, text).unwrap();
    png(&home.path().join("val/cat/1.png"), 1, 1, &[0]);
    let output = run(&["cats"]).env("CATS", home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("split val has 1 images, expected 2"),
        "{told}"
    );
    let message = fails(&mut run(&["cats"]), 2);
    assert!(
        message.contains("cats is not on this machine\n  looked for: $RADIO_EVAL_DATA/cats"),
        "{message}"
    );
    assert!(message.contains("$CATS (not set)"), "{message}");
    assert!(message.contains("export CATS=FOLDER"), "{message}");
    fs::write(&list, "[cats]\ntask = \"claßification\"\n").unwrap();
    let message = fails(&mut run(&["cats"]), 1);
    assert!(
        message.contains("datasets.toml: line 2: unknown variant"),
        "{message}"
    );
}
