//! Layouts of classification data sets, on small trees and on the shipped miniature world.

use crate::common::{fixture, shared};
use radio_eval::config::DatasetLayout;
use radio_eval::data::classification::{Classification, OpenOptions, open, open_with};
use radio_eval::data::fingerprint::fingerprint;
use radio_eval::data::{Annotation, Source};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A folder of tiny files; their content is their name (no layout decodes images).
fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

fn open_dir(dir: &Path) -> Classification {
    open(dir.to_str().unwrap(), None).unwrap()
}

fn error(dir: &Path, options: &OpenOptions) -> String {
    match open_with(dir.to_str().unwrap(), options) {
        Ok(_) => panic!("{} was taken", dir.display()),
        Err(e) => e.to_string(),
    }
}

fn rows(source: &dyn Source) -> Vec<(String, Option<u32>)> {
    (0..source.len())
        .map(|i| {
            assert_eq!(source.read(i).unwrap().len() as u64, source.size(i));
            assert_eq!(source.annotation(i).unwrap().class(), source.label(i));
            (source.key(i).to_string(), source.label(i))
        })
        .collect()
}

fn all(source: &dyn Source) -> String {
    fingerprint(source, &(0..source.len()).collect::<Vec<_>>())
}

const SMALL: &[&str] = &[
    "train/b/2.jpg",
    "train/a/10.JPEG",
    "train/a/9.jpeg",
    "train/a/notes.txt",
    "val/b/1.png",
    "val/a/.hidden.jpg",
    "val/a/7.webp",
];

#[test]
fn class_folders_in_order_of_names() {
    let dir = tree(SMALL);
    let set = open_dir(dir.path());
    assert_eq!(
        set.classes.iter().map(|c| &c.id).collect::<Vec<_>>(),
        ["a", "b"]
    );
    let train = rows(set.train.as_deref().unwrap());
    let expected = [
        ("train/a/10.JPEG", 0),
        ("train/a/9.jpeg", 0),
        ("train/b/2.jpg", 1),
    ];
    assert_eq!(train, expected.map(|(k, l)| (k.to_string(), Some(l))));
    let val = rows(set.val.as_deref().unwrap());
    assert_eq!(val.len(), 2);
    assert!(set.warnings.is_empty());
}

#[test]
fn tar_equals_folder_to_the_fingerprint() {
    let dir = tree(SMALL);
    let tar = dir.path().join("x.tar");
    // Written in an order that is not that of the names.
    let done = Command::new("tar")
        .current_dir(dir.path())
        .args(["cf", "x.tar", "./val", "train/b", "train/a"])
        .status();
    assert!(done.unwrap().success());
    let (folder, tar) = (open_dir(dir.path()), open_dir(&tar));
    for (a, b) in [(&folder.train, &tar.train), (&folder.val, &tar.val)] {
        let (a, b) = (a.as_deref().unwrap(), b.as_deref().unwrap());
        assert_eq!(rows(a), rows(b));
        assert_eq!(all(a), all(b));
    }
}

#[test]
fn official_train_tar_of_tars() {
    let dir = tree(&["n02/n02_1.JPEG", "n01/n01_1.JPEG", "n01/n01_2.JPEG"]);
    let run = |folder: &str, args: &[&str]| {
        let status = Command::new("tar")
            .current_dir(dir.path().join(folder))
            .args(args)
            .status();
        assert!(status.unwrap().success());
    };
    run("n01", &["cf", "../n01.tar", "n01_1.JPEG", "n01_2.JPEG"]);
    run("n02", &["cf", "../n02.tar", "n02_1.JPEG"]);
    run("", &["cf", "train.tar", "n02.tar", "n01.tar"]);
    let set = open_dir(&dir.path().join("train.tar"));
    let rows = rows(set.val.as_deref().unwrap());
    assert_eq!(rows[2], ("n02/n02_1.JPEG".to_string(), Some(1)));
    assert_eq!(set.val.unwrap().read(1).unwrap(), b"n01/n01_2.JPEG");
}

#[test]
fn flat_val_with_ground_truth_or_table() {
    let dir = tree(&[
        "train/n1/a.jpg",
        "train/n2/a.jpg",
        "val/v_2.JPEG",
        "val/v_1.JPEG",
    ]);
    assert!(open_dir(dir.path()).warnings[0].contains("has no labels"));
    fs::write(
        dir.path().join("val.csv"),
        "ImageId,PredictionString\nv_1,n2 3 4\nv_2,n1 1 1\n",
    )
    .unwrap();
    let set = open_dir(dir.path());
    assert_eq!(
        rows(set.val.as_deref().unwrap()),
        [
            ("val/v_1.JPEG".into(), Some(1)),
            ("val/v_2.JPEG".into(), Some(0))
        ]
    );

    fs::remove_file(dir.path().join("val.csv")).unwrap();
    let truth = dir.path().join("ILSVRC2012_validation_ground_truth.txt");
    fs::write(&truth, "7\n3\n").unwrap();
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("meta.tsv") && message.contains("meta.mat"),
        "{message}"
    );
    fs::write(dir.path().join("meta.tsv"), "3\tn2\n7\tn1\n").unwrap();
    let set = open_dir(dir.path());
    assert_eq!(rows(set.val.as_deref().unwrap())[0].1, Some(0));
    fs::write(&truth, "7\n3\n3\n").unwrap();
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("has 3 lines") && message.contains("2 images"),
        "{message}"
    );
}

#[test]
fn class_list_gives_order_and_missing_classes_are_told() {
    let dir = tree(&["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"]);
    fs::write(
        dir.path().join("classes.tsv"),
        "b\tsecond thing, other\na\tfirst\nc\tthird\n",
    )
    .unwrap();
    let set = open_dir(dir.path());
    assert_eq!(set.classes[0].names, ["second thing", "other"]);
    assert_eq!(rows(set.train.as_deref().unwrap())[0].1, Some(1));
    assert!(
        set.warnings[0].contains("no image of class c (1 of 3"),
        "{:?}",
        set.warnings
    );
    assert!(
        set.warnings[1].contains("class b and 1 more"),
        "{:?}",
        set.warnings
    );

    fs::write(dir.path().join("classes.tsv"), "b\tsecond\n").unwrap();
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("class `a` is not in the list"),
        "{message}"
    );
}

#[test]
fn wrong_trees_are_refused_in_a_sentence() {
    let dir = tree(&["train/a/1.jpg", "train/2.jpg"]);
    let message = error(dir.path(), &OpenOptions::default());
    assert!(
        message.contains("train/2.jpg: lies beside class folders"),
        "{message}"
    );
    let dir = tree(&["val/a/readme.txt"]);
    assert!(error(dir.path(), &OpenOptions::default()).contains("holds no image"));
    let dir = tree(&["a/1.jpg"]);
    let set = open_dir(dir.path());
    let message = set.need_train().err().unwrap().to_string();
    assert!(
        message.contains("has no train split") && message.contains("--train-data"),
        "{message}"
    );
    let options = OpenOptions {
        train: dir.path().to_str().map(str::to_string),
        ..OpenOptions::default()
    };
    assert!(
        open_with(dir.path().to_str().unwrap(), &options)
            .unwrap()
            .train
            .is_some()
    );
    let dir = tree(&["x.tar"]);
    let message = error(&dir.path().join("x.tar"), &OpenOptions::default());
    assert!(message.contains("is not a readable tar file"), "{message}");
}

#[test]
fn truncated_tar_is_told() {
    let dir = tree(&["val/a/1.jpg"]);
    fs::write(dir.path().join("val/a/1.jpg"), vec![7; 100_000]).unwrap();
    let status = Command::new("tar")
        .current_dir(dir.path())
        .args(["cf", "x.tar", "val"])
        .status();
    assert!(status.unwrap().success());
    let bytes = fs::read(dir.path().join("x.tar")).unwrap();
    fs::write(dir.path().join("x.tar"), &bytes[..50_000]).unwrap();
    let message = error(&dir.path().join("x.tar"), &OpenOptions::default());
    assert!(
        message.contains("val/a/1.jpg") && message.contains("truncated"),
        "{message}"
    );
}

#[test]
fn webdataset_shards_by_pattern() {
    let dir = tree(&[
        "0/a.jpg",
        "0/a.cls",
        "1/a.jpg",
        "1/a.cls",
        "1/b.jpg",
        "1/b.cls",
        "1/b.seg.png",
    ]);
    for (shard, labels) in [
        ("0", vec![("a", "2")]),
        ("1", vec![("a", "0\n"), ("b", "1")]),
    ] {
        for (key, label) in labels {
            fs::write(dir.path().join(format!("{shard}/{key}.cls")), label).unwrap();
        }
        let status = Command::new("sh")
            .current_dir(dir.path().join(shard))
            .args(["-c", &format!("tar cf ../s-0{shard}.tar *")])
            .status();
        assert!(status.unwrap().success());
    }
    let set = open(dir.path().join("s-{00..01}.tar").to_str().unwrap(), None).unwrap();
    let expected = [("s-00/a.jpg", 2), ("s-01/a.jpg", 0), ("s-01/b.jpg", 1)];
    assert_eq!(
        rows(set.val.as_deref().unwrap()),
        expected.map(|(k, l)| (k.to_string(), Some(l)))
    );
    assert_eq!(set.classes.len(), 3);
    let one = dir.path().join("s-01.tar");
    assert_eq!(open_dir(&one).val.unwrap().len(), 2);
    let message = error(
        &dir.path().join("s-{00..02}.tar"),
        &OpenOptions {
            layout: Some(DatasetLayout::Webdataset),
            ..Default::default()
        },
    );
    assert!(message.contains("s-02.tar: is missing"), "{message}");
}

#[test]
fn miniature_world_straight_from_the_clone() {
    let set = open("imagenet-mini", None).unwrap();
    let (train, val) = (set.need_train().unwrap(), set.need_val().unwrap());
    assert_eq!((train.len(), val.len(), set.classes.len()), (1040, 500, 20));
    assert_eq!(set.classes[0].id, "n90001000");
    assert_eq!(set.classes[0].names[1], "solid star");
    assert!(set.warnings.is_empty());
    assert!(val.key(0).starts_with("val/n90001000/ILSVRC2012_val_"));
    assert_eq!(train.label(1039), Some(19));
    let jpeg = val.read(499).unwrap();
    assert_eq!(&jpeg[..2], [0xff, 0xd8]);
}

#[test]
fn cifar_folders() {
    let Some(path) = shared("real/cifar10") else {
        return;
    };
    let set = open_dir(&path);
    assert_eq!(
        (set.train.unwrap().len(), set.val.unwrap().len()),
        (2000, 500)
    );
    assert_eq!(set.classes[0].names, ["airplane"]);
}

#[test]
fn hugging_face_parquet() {
    // tests/fixtures/data/make_parquet.py: two train files, row groups of 3 rows.
    let set = open_dir(&fixture("data/parquet"));
    let (train, val) = (set.need_train().unwrap(), set.need_val().unwrap());
    assert_eq!((train.len(), val.len()), (10, 2));
    let names: Vec<&str> = set.classes.iter().map(|c| c.names[0].as_str()).collect();
    assert_eq!(names, ["tench", "green apple"]);
    assert_eq!(set.classes[0].names[1], "Tinca tinca");
    // Backwards and jumping: every row comes out as it was written.
    for i in [9, 0, 8, 1, 7, 2, 6, 3, 5, 4] {
        assert_eq!(
            train.read(i).unwrap(),
            format!("image {i}").repeat(i + 1).into_bytes()
        );
        assert_eq!(
            train.annotation(i).unwrap(),
            Annotation::Class(i as u32 % 2)
        );
    }
    assert_eq!(train.key(5), "train-00001-of-00002/00000000");
    let message = error(
        &fixture("data/make_parquet.py"),
        &OpenOptions {
            layout: Some(DatasetLayout::Parquet),
            ..Default::default()
        },
    );
    assert!(
        message.contains("make_parquet.py: is not a readable parquet file"),
        "{message}"
    );
}

#[test]
fn unknown_name_lists_near_ones() {
    let message = open("imagenet_mini", None).err().unwrap().to_string();
    assert!(message.contains("near names: imagenet-mini"), "{message}");
}

#[test]
fn packed_weights_are_unpacked_and_checked() {
    let folder = radio_eval::assets::path("mini/weights/mini-clip").unwrap();
    let size = fs::metadata(folder.join("open_clip_model.safetensors"))
        .unwrap()
        .len();
    assert_eq!(size, 12_474_338);
    assert!(folder.join("open_clip_config.json").is_file());
}
