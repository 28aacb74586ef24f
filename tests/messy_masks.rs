//! Segmentation sets as people have them: what is read, and what is refused in a sentence.

use crate::common::radio_eval;
use radio_eval::data::Source;
use radio_eval::data::segmentation::{OpenOptions, check, open};
use std::fs;
use std::path::Path;

fn png(path: &Path, values: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_raw(values.len() as u32, 1, values.to_vec())
        .unwrap()
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

/// Images and masks of four pixels: (image, mask, values).
fn world(pairs: &[(&str, &str, [u8; 4])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (image, mask, values) in pairs {
        png(&dir.path().join(image), &[9; 4]);
        png(&dir.path().join(mask), values);
    }
    dir
}

fn options(classes: &str) -> OpenOptions {
    OpenOptions {
        classes: Some(classes.to_string()),
        ..OpenOptions::default()
    }
}

#[track_caller]
fn refusal(dir: &Path, options: &OpenOptions) -> String {
    let set = open(dir.to_str().unwrap(), options);
    match set.and_then(|set| check::check(set.val.as_ref().or(set.train.as_ref()).unwrap())) {
        Ok(_) => panic!("{} was taken", dir.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn train_ids_against_label_ids() {
    let street = |values| world(&[("images/val/a.png", "masks/val/a.png", values)]);
    let train_ids = street([0, 13, 18, 255]);
    let told = refusal(train_ids.path(), &options("cityscapes"));
    assert!(
        told.contains("trainIds") && told.contains("--classes cityscapes-trainids"),
        "{told}"
    );
    let set = open(
        train_ids.path().to_str().unwrap(),
        &options("cityscapes-trainids"),
    )
    .unwrap();
    let val = set.need_val().unwrap();
    assert_eq!(val.labels(0).unwrap().labels, [0, 13, 18, 255]);
    assert_eq!(
        (set.rule.classes.len(), set.rule.classes[13].name.as_str()),
        (19, "car")
    );
    let label_ids = street([7, 26, 33, 0]);
    assert!(
        check::check(
            open(label_ids.path().to_str().unwrap(), &options("cityscapes"))
                .unwrap()
                .need_val()
                .unwrap()
        )
        .is_ok()
    );
    let told = refusal(label_ids.path(), &options("cityscapes-trainids"));
    assert!(
        told.contains("labelIds, so use --classes cityscapes"),
        "{told}"
    );
}

#[test]
fn one_class_is_never_a_result() {
    let binary = world(&[("images/val/a.png", "masks/val/a.png", [0, 255, 255, 0])]);
    let told = refusal(binary.path(), &OpenOptions::default());
    assert!(
        told.contains("255 means \"ignore\"") && told.contains("--classes FILE"),
        "{told}"
    );
    // What the sentence says to do works.
    fs::write(
        binary.path().join("classes.tsv"),
        "0\tbackground\n255\tobject\n",
    )
    .unwrap();
    let set = open(binary.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(
        set.need_val().unwrap().labels(0).unwrap().labels,
        [0, 1, 1, 0]
    );
    // A list of which only one class is in the masks.
    let one = world(&[("images/val/a.png", "masks/val/a.png", [1, 1, 1, 1])]);
    fs::write(one.path().join("classes.txt"), "background\ncat\ndog\n").unwrap();
    let told = refusal(one.path(), &OpenOptions::default());
    assert!(told.contains("one class only (`cat`)"), "{told}");
    fs::write(one.path().join("classes.txt"), "cat\n").unwrap();
    let told = refusal(one.path(), &OpenOptions::default());
    assert!(
        told.contains("leaves one class only (`cat`, value 0)"),
        "{told}"
    );
}

#[test]
fn masks_in_colours_as_jpeg_and_in_grey_colours() {
    let dir = world(&[("images/val/a.png", "masks/val/a.png", [0, 1, 2, 0])]);
    let mask = dir.path().join("masks/val/a.png");
    let colours = |values: [[u8; 3]; 4]| image::RgbImage::from_raw(4, 1, values.concat()).unwrap();
    colours([[0; 3], [1; 3], [2; 3], [0; 3]])
        .save(&mask)
        .unwrap();
    let set = open(dir.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(
        set.need_val().unwrap().labels(0).unwrap().labels,
        [0, 1, 2, 0]
    );
    colours([[0; 3], [128, 0, 0], [0, 128, 0], [0; 3]])
        .save(&mask)
        .unwrap();
    let told = refusal(dir.path(), &OpenOptions::default());
    assert!(
        told.contains("a.png: is a mask in colours (the first is 128, 0, 0)"),
        "{told}"
    );
    fs::remove_file(&mask).unwrap();
    fs::write(dir.path().join("masks/val/a.jpg"), [0xff, 0xd8, 0xff, 0xe0]).unwrap();
    let told = refusal(dir.path(), &OpenOptions::default());
    assert!(
        told.contains("a.jpg: is a JPEG") && told.contains("masks must be lossless"),
        "{told}"
    );
}

#[test]
fn names_in_capitals_composed_and_with_suffixes() {
    let dir = world(&[
        (
            "images/val/caf\u{e9}.PNG",
            "masks/val/cafe\u{301}.PNG",
            [0, 1, 2, 0],
        ),
        ("images/val/b.png", "masks/val/b.Png", [0, 1, 2, 0]),
    ]);
    // Beside images/: a tar that is none, a link to nothing, lost+found.
    fs::write(dir.path().join("old.tar"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("images/val/gone.png")).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let set = open(dir.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(set.need_val().unwrap().len(), 2);
    assert!(
        set.warnings
            .join("\n")
            .contains("links that lead nowhere: 1"),
        "{:?}",
        set.warnings
    );

    let dir = world(&[("images/val/a_1.png", "masks/val/a_1_mask.png", [0, 1, 2, 0])]);
    let told = refusal(dir.path(), &options("voc"));
    assert!(
        told.contains("images/val/a_1.png: has no mask")
            && told.contains("give --mask-suffix _mask;"),
        "{told}"
    );
    let city = world(&[(
        "leftImg8bit/val/x/a_1_leftImg8bit.png",
        "gtFine/val/x/a_1_gtFine_labelIds.png",
        [7, 8, 26, 0],
    )]);
    let told = refusal(city.path(), &options("cityscapes"));
    assert!(
        told.contains("--image-suffix _leftImg8bit --mask-suffix _gtFine_labelIds"),
        "{told}"
    );
}

#[test]
fn the_published_table_of_ade_and_the_fault_that_a_check_tells() {
    let dir = world(&[(
        "images/training/a.png",
        "annotations/training/a.png",
        [0, 1, 2, 1],
    )]);
    let table = "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1576,11664,1172,1,wall\n2,0.1072,6046,612,1,building;edifice\n";
    fs::write(
        dir.path().join("objectInfo150.csv"),
        format!("\u{feff}{table}"),
    )
    .unwrap();
    let set = open(dir.path().to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(set.rule.classes[1].name, "building");
    assert_eq!(
        set.need_train().unwrap().labels(0).unwrap().labels,
        [255, 0, 1, 0]
    );

    let home = tempfile::tempdir().unwrap();
    let check = || {
        let mut command = radio_eval(home.path());
        let output = command
            .args(["datasets", "--check"])
            .arg(dir.path())
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    };
    let (code, told) = check();
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("(segmentation)")
            && told.contains("1 pictures of train decoded, 1 masks of train read"),
        "{told}"
    );
    fs::remove_file(dir.path().join("annotations/training/a.png")).unwrap();
    png(
        &dir.path().join("annotations/training/b.png"),
        &[0, 1, 2, 1],
    );
    let (code, told) = check();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("a.png: has no mask"), "{told}");
}
