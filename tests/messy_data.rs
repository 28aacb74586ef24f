//! Data sets as people have them: what is recognised, and what is refused in a sentence.

use crate::common::{fails, fixture, radio_eval, stderr};
use radio_eval::data::Source;
use radio_eval::data::classification::{Classification, OpenOptions, open_with};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of tiny files; their content is their name (no layout decodes images).
fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        write(dir.path(), file, file);
    }
    dir
}

fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A tar file of tiny files.
fn tar(path: &Path, files: &[(&str, &str)]) {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        // Names as they are, so that `..` and a leading `/` can be written.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.finish().unwrap();
}

#[track_caller]
fn open(dir: &Path) -> Classification {
    open_as(dir, &OpenOptions::default())
}

#[track_caller]
fn open_as(dir: &Path, options: &OpenOptions) -> Classification {
    open_with(dir.to_str().unwrap(), options).unwrap()
}

#[track_caller]
fn error(dir: &Path) -> String {
    error_as(dir, &OpenOptions::default())
}

#[track_caller]
fn error_as(dir: &Path, options: &OpenOptions) -> String {
    match open_with(dir.to_str().unwrap(), options) {
        Ok(_) => panic!("{} was taken", dir.display()),
        Err(error) => error.to_string(),
    }
}

fn labels(source: &Option<std::sync::Arc<dyn Source>>) -> Vec<u32> {
    let source = source.as_ref().expect("the split is there");
    (0..source.len())
        .map(|i| source.label(i).expect("a label"))
        .collect()
}

fn ids(set: &Classification) -> Vec<&str> {
    set.classes.iter().map(|class| class.id.as_str()).collect()
}

#[test]
fn splits_of_other_classes_are_refused_with_both_named() {
    let dir = tree(&[
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "val/kitten/1.jpg",
        "val/dog/1.jpg",
    ]);
    let message = error(dir.path());
    for part in [
        "/val",
        "/train",
        "`kitten`",
        "`cat`, `dog`",
        "1 of its 2 classes",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // Fewer classes in val are told, and no fault.
    let dir = tree(&["train/cat/1.jpg", "train/dog/1.jpg", "val/dog/1.jpg"]);
    let set = open(dir.path());
    assert_eq!(labels(&set.val), [1]);
    assert!(
        set.warnings[0].contains("no image of class cat"),
        "{:?}",
        set.warnings
    );
}

#[test]
fn numbers_are_places_only_where_told_or_unmistakable() {
    let by_index = OpenOptions {
        labels_by_index: true,
        ..OpenOptions::default()
    };
    let train = ["train/n01/1.jpg", "train/n02/1.jpg", "train/n03/1.jpg"];
    let with = |val: &[&'static str]| tree(&[&train[..], val].concat());
    let dir = with(&["val/0/1.jpg", "val/1/1.jpg", "val/2/1.jpg"]);
    assert_eq!(labels(&open(dir.path()).val), [0, 1, 2]);
    // Numbers from 1, or too few: a guess could be off by one.
    for val in [
        ["val/1/1.jpg", "val/2/1.jpg", "val/3/1.jpg"],
        ["val/0/1.jpg", "val/0/2.jpg", "val/1/1.jpg"],
    ] {
        let dir = with(&val);
        let message = error(dir.path());
        assert!(message.contains("--labels-by-index"), "{message}");
    }
    let dir = with(&["val/0/1.jpg", "val/2/1.jpg"]);
    assert_eq!(labels(&open_as(dir.path(), &by_index).val), [0, 2]);
    let dir = with(&["val/0/1.jpg", "val/3/1.jpg"]);
    let message = error_as(dir.path(), &by_index);
    assert!(
        message.contains("class `3` is not in the list of 3 classes"),
        "{message}"
    );
}

#[test]
fn numbers_order_by_value_and_are_no_names() {
    let dir = tree(&["train/10/1.jpg", "train/9/1.jpg", "train/2/1.jpg"]);
    let set = open(dir.path());
    assert_eq!(ids(&set), ["2", "9", "10"]);
    assert!(set.classes.iter().all(|class| class.names.is_empty()));
}

#[test]
fn tables_of_labels() {
    let dir = tree(&[
        "train/golden retriever/1.jpg",
        "train/tabby, tabby cat/1.jpg",
        "val/a.jpg",
        "val/b 1.jpg",
    ]);
    let names = ["golden retriever", "tabby, tabby cat"];
    for table in [
        "a.jpg,\"tabby, tabby cat\"\nb 1.jpg,golden retriever\n",
        "\u{feff}filename,label\na.jpg,\"tabby, tabby cat\"\nb 1.jpg,golden retriever\n",
        "Label;File_Name\ntabby, tabby cat;a.jpg\ngolden retriever;b 1.jpg\n",
        "a.jpg\ttabby, tabby cat\nb 1.jpg\tgolden retriever\n",
        "a.jpg tabby, tabby cat\nb 1.jpg golden retriever\n"
            .replace(", tabby cat", "")
            .as_str(),
        "id,filename,split,label\n1,val/a.jpg,val,\"tabby, tabby cat\"\n2,b 1,val,golden retriever\n",
    ] {
        write(dir.path(), "val.csv", table);
        match table.contains("tabby cat") {
            true => {
                let set = open(dir.path());
                assert_eq!(
                    (ids(&set), labels(&set.val)),
                    (names.to_vec(), vec![1, 0]),
                    "{table}"
                );
            }
            false => assert!(error(dir.path()).contains("`tabby`"), "{table}"),
        }
    }
    write(
        dir.path(),
        "val.csv",
        "filename,width,height\na.jpg,3,4\nb 1.jpg,3,4\n",
    );
    let message = error(dir.path());
    assert!(
        message.contains("val.csv: has no column for the label among filename, width, height"),
        "{message}"
    );
    let width = OpenOptions {
        label_column: Some("width".into()),
        ..OpenOptions::default()
    };
    let message = error_as(dir.path(), &width);
    assert!(
        message.contains("`3`") && message.contains("golden retriever"),
        "{message}"
    );
    write(
        dir.path(),
        "val.csv",
        "a.jpg,1,golden retriever\nb 1.jpg,2,tabby\n",
    );
    assert!(error(dir.path()).contains("has 3 columns and no line that names them"));
}

#[test]
fn what_is_not_read_is_told_and_stops_nothing() {
    let dir = tree(&[
        "train/a/1.jpg",
        "train/b/1.JFIF",
        "train/b/2.ppm",
        "train/b/3.heic",
        "train/b/4.HEIC",
        "train/lost+found/x.jpg",
        "train/a/notes.txt",
        "backup.tar",
    ]);
    std::os::unix::fs::symlink("nowhere.jpg", dir.path().join("train/a/gone.jpg")).unwrap();
    std::os::unix::fs::symlink("../b/2.ppm", dir.path().join("train/a/kept.ppm")).unwrap();
    let set = open(dir.path());
    assert_eq!(ids(&set), ["a", "b"]);
    assert_eq!(labels(&set.train), [0, 0, 1, 1]);
    let told = set.warnings.join("\n");
    for part in [
        "links that lead nowhere: 1 (train/a/gone.jpg)",
        "ending .heic, which is not read: 1",
        "ending .HEIC",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("notes"), "{told}");
    let dir = tree(&["photos/1.heic", "photos/2.heic"]);
    let message = error(dir.path());
    assert!(
        message.contains("holds no image") && message.contains(".heic, which is not read: 2"),
        "{message}"
    );
}

#[test]
fn members_that_lead_out_of_a_tar_are_left_out() {
    let dir = tree(&[]);
    let file = dir.path().join("x.tar");
    let members = [
        "/a/1.jpg",
        "a/2.jpg",
        "../b/3.jpg",
        "b/../../4.jpg",
        "b/5.JPG",
        "c.TAR",
    ];
    tar(
        &file,
        &members.map(|name| (name, if name == "c.TAR" { "" } else { "x" })),
    );
    let set = open(&file);
    let source = set.val.as_ref().unwrap();
    let keys: Vec<&str> = (0..source.len()).map(|i| source.key(i)).collect();
    assert_eq!(keys, ["a/1.jpg", "a/2.jpg", "b/5.JPG"]);
    let told = set.warnings.join("\n");
    assert!(
        told.contains("names lead out of the archive: 2 (../b/3.jpg, ...)"),
        "{told}"
    );
}

/// GNU tar's four ways to leave zeros out: the bytes are those of the file, holes and all.
#[test]
fn sparse_members_are_read() {
    use std::os::unix::fs::FileExt;
    let dir = tree(&["t/a/2.jpg", "t/b/3.jpg"]);
    let path = dir.path().join("t/a/1.jpg");
    let holey = fs::File::create(&path).unwrap();
    // More parts than a header and one extended header hold (4 and 21).
    for part in 0..30u64 {
        let bytes = vec![part as u8 + 1; 4096];
        holey.write_all_at(&bytes, part * 65_536).unwrap();
    }
    holey.set_len(30 * 65_536 + 5).unwrap();
    fs::hard_link(&path, dir.path().join("t/b/4.jpg")).unwrap();
    let expected = fs::read(&path).unwrap();
    for (format, version) in [
        ("gnu", "0.0"),
        ("posix", "0.0"),
        ("posix", "0.1"),
        ("posix", "1.0"),
    ] {
        let name = format!("{format}-{version}.tar");
        let done = std::process::Command::new("tar")
            .current_dir(dir.path())
            .args(["--sparse", "--hole-detection=raw", "--format", format])
            .args([
                "--sparse-version",
                version,
                "-cf",
                &name,
                "-C",
                "t",
                "a",
                "b",
            ])
            .status();
        assert!(done.unwrap().success());
        let archive = dir.path().join(&name);
        assert!(
            fs::metadata(&archive).unwrap().len() < 400_000,
            "{name} has no holes"
        );
        let set = open(&archive);
        assert!(set.warnings.is_empty(), "{name}: {:?}", set.warnings);
        let source = &set.val.as_ref().unwrap();
        let keys: Vec<&str> = (0..source.len()).map(|i| source.key(i)).collect();
        assert_eq!(keys, ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"], "{name}");
        for (index, bytes) in [(0, &expected[..]), (1, b"t/a/2.jpg"), (3, &expected[..])] {
            assert!(source.read(index).unwrap() == bytes, "{name} {index}");
        }
    }
}

/// A map that lies is damage, and costs no memory.
#[test]
fn damaged_sparse_members_are_told() {
    let dir = tree(&[]);
    let path = dir.path().join("x.tar");
    let write = |size: &str, map: &str| {
        let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
        builder
            .append_pax_extensions([
                ("GNU.sparse.major", b"0".as_slice()),
                ("GNU.sparse.name", b"a/1.jpg"),
                ("GNU.sparse.size", size.as_bytes()),
                ("GNU.sparse.map", map.as_bytes()),
            ])
            .unwrap();
        for name in ["GNUSparseFile.1/1.jpg", "b/2.jpg"] {
            let mut header = tar::Header::new_ustar();
            header.set_size(4);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, &b"data"[..])
                .unwrap();
        }
        builder.finish().unwrap();
    };
    write("10", "6,4");
    let set = open(&path);
    let source = &set.val.as_ref().unwrap();
    assert_eq!(source.read(0).unwrap(), b"\0\0\0\0\0\0data");
    for (size, map, told) in [
        ("10", "8,4", "overlap or reach past its end"),
        ("10", "4,2,4,2", "overlap or reach past its end"),
        ("60000000", "0,4000000", "reaches past the end"),
        ("10", "6", "ends in the middle"),
        ("10", "6,x", "is no number"),
    ] {
        write(size, map);
        let error = error(&path);
        assert!(error.contains(told), "{map}: {error}");
    }
    write("99999999999999", "0,4");
    let set = open(&path);
    let told = set.warnings.join("\n");
    assert!(
        told.contains("sparse members of more than 64 MiB: 1"),
        "{told}"
    );
}

#[test]
fn each_split_takes_its_own_archives() {
    for (train, val) in [
        ("ILSVRC-TRAIN-0.tar", "ILSVRC-VAL-0.tar"),
        ("é-train-0.tar", "é-val-0.tar"),
        ("tränen-train.tar", "tränen-val.tar"),
    ] {
        let dir = tree(&[]);
        tar(
            &dir.path().join(train),
            &[("a/1.jpg", "x"), ("b/1.jpg", "x")],
        );
        tar(&dir.path().join(val), &[("b/2.jpg", "x")]);
        let set = open(dir.path());
        assert_eq!(
            (labels(&set.train), labels(&set.val)),
            (vec![0, 1], vec![1]),
            "{train}"
        );
    }
}

#[test]
fn folders_of_archives() {
    // Shards without the word of a split.
    let dir = tree(&[]);
    for (shard, label) in [("000000", "0"), ("000001", "1")] {
        tar(
            &dir.path().join(format!("{shard}.tar")),
            &[("x.jpg", "x"), ("x.cls", label)],
        );
    }
    assert_eq!(labels(&open(dir.path()).val), [0, 1]);
    // Shards in the folders of splits.
    let both = tree(&[]);
    for split in ["train", "val"] {
        fs::create_dir(both.path().join(split)).unwrap();
        for shard in ["000000.tar", "000001.tar"] {
            fs::copy(dir.path().join(shard), both.path().join(split).join(shard)).unwrap();
        }
    }
    let set = open(both.path());
    assert_eq!(
        (labels(&set.train), labels(&set.val)),
        (vec![0, 1], vec![0, 1])
    );
    // A tar per class: ILSVRC's train archive, unpacked once.
    let dir = tree(&["val/n01440764/1.JPEG", "val/n01443537/1.JPEG"]);
    fs::create_dir(dir.path().join("train")).unwrap();
    for class in ["n01440764", "n01443537"] {
        tar(
            &dir.path().join(format!("train/{class}.tar")),
            &[("1.JPEG", "x"), ("2.JPEG", "x")],
        );
    }
    let set = open(dir.path());
    assert_eq!(ids(&set), ["n01440764", "n01443537"]);
    assert_eq!(labels(&set.train), [0, 0, 1, 1]);
    assert!(
        set.warnings[0].contains("each of the 2 tar files is taken as one class"),
        "{:?}",
        set.warnings
    );
    // Packed archives and Arrow: a sentence with the command.
    let dir = tree(&["train-0.tar.gz", "val-0.tar.gz"]);
    assert!(
        error(dir.path()).contains("gunzip"),
        "{}",
        error(dir.path())
    );
    let dir = tree(&[
        "dataset_dict.json",
        "train/data-00000-of-00001.arrow",
        "train/state.json",
    ]);
    assert!(
        error(dir.path()).contains("load_from_disk"),
        "{}",
        error(dir.path())
    );
    assert!(error(&dir.path().join("train")).contains("to_parquet"));
}

#[test]
fn kaggles_tree_from_its_top() {
    let dir = tree(&[
        "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_1.JPEG",
        "ILSVRC/Data/CLS-LOC/train/n01443537/n01443537_1.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG",
        "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG",
    ]);
    write(
        dir.path(),
        "LOC_val_solution.csv",
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8\nILSVRC2012_val_00000002,n01440764 1 2 3 4\n",
    );
    write(
        dir.path(),
        "LOC_synset_mapping.txt",
        "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n",
    );
    for below in ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"] {
        let set = open(&dir.path().join(below));
        assert_eq!(
            (labels(&set.train), labels(&set.val)),
            (vec![0, 1], vec![1, 0]),
            "{below}"
        );
        assert_eq!(set.classes[0].names, ["tench", "Tinca tinca"]);
    }
}

#[test]
fn folders_around_and_names_with_braces() {
    let dir = tree(&[
        "{odd}*/train/a/1.jpg",
        "{odd}*/train/b/1.jpg",
        "{odd}*/val/b/1.jpg",
    ]);
    let odd = dir.path().join("{odd}*");
    assert_eq!(labels(&open(&odd).val), [1]);
    // The only data set in a folder; of two, neither.
    assert_eq!(labels(&open(dir.path()).train), [0, 1]);
    write(dir.path(), "other/train/a/1.jpg", "x");
    let message = error(dir.path());
    assert!(message.contains("holds several data sets"), "{message}");
    let vast = odd.join("x-{0..4294967295}.tar");
    assert!(
        error(&vast).contains("names 4294967296 files"),
        "{}",
        error(&vast)
    );
    // A stray archive beside class folders.
    write(&odd, "val/train-old.tar", "not a tar");
    let set = open_as(&odd.join("val"), &OpenOptions::default());
    assert!(
        set.warnings
            .join("\n")
            .contains("archives beside the images: 1 (train-old.tar)"),
        "{:?}",
        set.warnings
    );
}

#[test]
fn labels_that_are_none() {
    let dir = tree(&[]);
    for (label, part) in [
        ("4294967295", "at most 1048576 classes"),
        ("-1", "which is no class"),
        ("2.5", "which is no class"),
    ] {
        let file = dir.path().join("s.tar");
        tar(&file, &[("a.jpg", "x"), ("a.cls", label)]);
        let message = error(&file);
        assert!(
            message.contains("a.jpg") && message.contains(part),
            "{message}"
        );
    }
    let dir = tree(&["val/a/1.jpg", "val/a/2.jpg"]);
    let message = open(dir.path()).need_val().err().unwrap().to_string();
    assert!(message.contains("has one class only (`a`)"), "{message}");
}

#[test]
fn webdataset_fields_and_capitals() {
    let dir = tree(&[]);
    let file = dir.path().join("s.tar");
    let members = [
        "a.JPG",
        "a.CLS",
        "a.seg.png",
        "b.v2.jpg",
        "b.v2.cls",
        "c.image.png",
        "c.cls",
    ];
    tar(
        &file,
        &members.map(|name| {
            (
                name,
                if name.to_lowercase().ends_with("cls") {
                    "1"
                } else {
                    "x"
                },
            )
        }),
    );
    let set = open(&file);
    let source = set.val.as_ref().unwrap();
    let keys: Vec<&str> = (0..source.len()).map(|i| source.key(i)).collect();
    assert_eq!(keys, ["s/a.JPG", "s/b.v2.jpg", "s/c.image.png"]);
    assert!(
        set.warnings
            .join("\n")
            .contains("another field of a sample: 1 (a.seg.png)"),
        "{:?}",
        set.warnings
    );
}

/// `fixtures/data/make_parquet_forms.py`.
fn parquet(name: &str) -> PathBuf {
    fixture("data/parquet_forms").join(name)
}

#[test]
fn columns_of_parquet_files() {
    let choose = |column: &str| OpenOptions {
        label_column: Some(column.into()),
        ..OpenOptions::default()
    };
    let set = open(&parquet("words"));
    assert_eq!(
        (ids(&set), labels(&set.train)),
        (vec!["cat", "dog"], vec![1, 0, 1])
    );
    let set = open(&parquet("two"));
    assert_eq!(
        (ids(&set), labels(&set.train)),
        (vec!["cat", "dog", "owl"], vec![2, 1, 0])
    );
    assert_eq!(
        ids(&open_as(&parquet("two"), &choose("domain"))),
        ["photo", "sketch"]
    );
    let message = error(&parquet("unclear"));
    assert!(
        message.contains("several columns of classes (genre, artist)"),
        "{message}"
    );
    assert_eq!(
        ids(&open_as(&parquet("unclear"), &choose("artist"))),
        ["c", "d"]
    );
    let message = error(&parquet("secret"));
    assert!(
        message.contains("row 0: column `label` holds -1, which is no class"),
        "{message}"
    );
    let set = open(&parquet("plain"));
    assert_eq!(labels(&set.train), [1, 0]);
    assert_eq!(set.train.as_ref().unwrap().read(1).unwrap(), b"bc");
    // The same names in another order: an index means another class in each file.
    let set = open(&parquet("orders"));
    assert_eq!(ids(&set), ["cat", "dog"]);
    assert_eq!(
        (labels(&set.train), labels(&set.val)),
        (vec![0, 1], vec![1, 0])
    );
    let set = open(&parquet("converted"));
    assert_eq!(
        (labels(&set.train), labels(&set.val)),
        (vec![0, 1], vec![1, 0])
    );
}

#[test]
fn a_null_image_names_its_own_row_only() {
    let set = open(&parquet("null"));
    let train = set.need_train().unwrap();
    for row in [0, 2, 3] {
        assert_eq!(
            train.read(row).unwrap(),
            format!("image {row}").into_bytes()
        );
    }
    let message = train.read(1).unwrap_err().to_string();
    assert!(
        message.contains("train-0/00000001: has no image: it is null"),
        "{message}"
    );
}

#[test]
fn damaged_row_counts_are_refused() {
    let bytes = fs::read(parquet("words/data/train-0.parquet")).unwrap();
    let dir = tree(&[]);
    let file = dir.path().join("x.parquet");
    // Every byte of the footer: never a panic, never a reservation of what it claims.
    for at in bytes.len().saturating_sub(700)..bytes.len() {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            fs::write(&file, &damaged).unwrap();
            if let Ok(set) = open_with(file.to_str().unwrap(), &OpenOptions::default()) {
                let source = set.val.unwrap();
                assert!(
                    source.len() <= 3
                        && (0..source.len())
                            .all(|i| source.read(i).is_ok() || source.read(i).is_err())
                );
            }
        }
    }
}

/// Text with `~`, `$X` and `${X}`, where no shell puts them in; and warnings on the terminal.
#[test]
fn the_command_expands_paths_and_tells_warnings() {
    let home = tempfile::tempdir().unwrap();
    let data = tree(&[
        "sets/train/a/1.jpg",
        "sets/train/b/1.jpg",
        "sets/train/b/2.heic",
    ]);
    for spec in [
        "--data=~/sets",
        "--data=$PLACE/sets",
        "--data=${PLACE}/$NAME",
    ] {
        let mut command = radio_eval(home.path());
        command
            .env("HOME", data.path())
            .env("PLACE", data.path())
            .env("NAME", "sets");
        command
            .args(["imagenet", "--model", "mini-dino", spec, "--out"])
            .arg(home.path());
        let told = fails(&mut command, 1);
        assert!(told.contains("sets: has no val split"), "{spec}: {told}");
        assert!(
            told.contains("ending .heic, which is not read"),
            "{spec}: {told}"
        );
    }
    let mut command = radio_eval(home.path());
    command.args([
        "imagenet",
        "--model",
        "mini-dino",
        "--data=$NO_SUCH_PLACE/x",
        "--out",
    ]);
    let told = fails(command.arg(home.path()), 2);
    assert!(told.contains("variable NO_SUCH_PLACE is not set"), "{told}");
}

#[test]
fn the_check_decodes_pictures_and_says_what_it_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        fs::create_dir_all(dir.path().join(class)).unwrap();
        image::RgbImage::new(2, 2)
            .save(dir.path().join(class).join("1.png"))
            .unwrap();
    }
    let check = |code: i32| {
        let mut command = radio_eval(home.path());
        let output = command
            .args(["datasets", "--check"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = check(0);
    assert!(
        told.contains("checked   without a fault: 2 pictures of val decoded\n"),
        "{told}"
    );
    let png = fs::read(dir.path().join("a/1.png")).unwrap();
    fs::write(dir.path().join("a/1.png"), &png[..png.len() - 15]).unwrap();
    let told = check(3);
    assert!(
        told.contains("problem") && told.contains("a/1.png") && !told.contains("checked"),
        "{told}"
    );
}
