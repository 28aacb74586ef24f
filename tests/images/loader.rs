use super::{json, sha256};
use crate::common::fixture;
use radio_eval::Result;
use radio_eval::data::Source;
use radio_eval::data::loader::{Batch, LoaderOptions, load};
use radio_eval::data::resize::Filter;
use radio_eval::data::transform::{Mode, Transform};
use std::sync::Arc;

/// Fixture images by name.
struct Files(Vec<String>);

impl Source for Files {
    fn describe(&self) -> String {
        "files".into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, index: usize) -> &str {
        &self.0[index]
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let path = fixture("images/decode").join(&self.0[index]);
        std::fs::read(&path).map_err(|e| radio_eval::Error::file(&path, e))
    }

    fn size(&self, _: usize) -> u64 {
        0
    }
}

fn files(names: &[&str]) -> Arc<Files> {
    Arc::new(Files(names.iter().map(|n| n.to_string()).collect()))
}

fn squash() -> Transform {
    Transform {
        mode: Mode::Squash {
            height: 8,
            width: 12,
        },
        multiple: 1,
        filter: Filter::Bilinear,
    }
}

fn options(workers: usize, skip_bad: usize) -> LoaderOptions {
    LoaderOptions {
        batch_size: 4,
        workers,
        skip_bad,
        ..LoaderOptions::default()
    }
}

#[test]
fn order_and_pixels_do_not_depend_on_the_threads() {
    let names: Vec<String> = json("decode.json")
        .as_object()
        .expect("names")
        .keys()
        .cloned()
        .collect();
    let source = Arc::new(Files(names));
    let indices: Vec<usize> = (0..source.len()).rev().collect();
    let run = |workers| -> Vec<(Vec<usize>, String)> {
        load(
            source.clone(),
            indices.clone(),
            squash(),
            options(workers, 0),
        )
        .map(|batch| {
            let Batch { indices, pixels } = batch.expect("all fixtures decode");
            assert_eq!(pixels.size(), [indices.len() as i64, 3, 8, 12]);
            let values = Vec::<f32>::try_from(pixels.flatten(0, -1)).expect("floats");
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (indices, sha256(&bytes))
        })
        .collect()
    };
    let one = run(1);
    assert_eq!(
        one.iter().flat_map(|b| b.0.clone()).collect::<Vec<_>>(),
        indices
    );
    assert_eq!(one, run(5));
}

#[test]
fn a_batch_of_several_sizes_comes_in_parts() {
    let source = files(&["rgb.png", "grey.jpg", "rgba.png", "cmyk.jpg", "rgb.bmp"]);
    let shortest = Transform::shortest(8, 1);
    let batches: Vec<Batch> = load(source, (0..5).collect(), shortest, options(2, 0))
        .collect::<Result<_>>()
        .expect("all decode");
    let parts: Vec<&[usize]> = batches.iter().map(|b| &b.indices[..]).collect();
    // 31x23 and 47x33 both become 11x8; only the batch size of four cuts here.
    assert_eq!(parts, [&[0, 1, 2, 3][..], &[4]]);
    let longest = Transform::shortest(23, 1);
    let source = files(&["rgb.png", "grey.jpg", "rgba.png", "cmyk.jpg", "rgb.bmp"]);
    let batches: Vec<Batch> = load(source, (0..5).collect(), longest, options(2, 0))
        .collect::<Result<_>>()
        .expect("all decode");
    let parts: Vec<&[usize]> = batches.iter().map(|b| &b.indices[..]).collect();
    assert_eq!(parts, [&[0, 2][..], &[1, 3], &[4]]);
}

#[test]
fn an_unreadable_image_ends_loading_unless_it_may_be_skipped() {
    let names = [
        "rgb.png",
        "missing.jpg",
        "grey.jpg",
        "absent.png",
        "rgb.bmp",
    ];
    let mut loader = load(files(&names), (0..5).collect(), squash(), options(2, 0));
    let error = loader
        .next()
        .expect("an item")
        .expect_err("a missing file")
        .to_string();
    assert!(
        error.contains("files/missing.jpg") && error.contains("--skip-bad"),
        "{error}"
    );
    assert!(loader.next().is_none());

    let mut loader = load(files(&names), (0..5).collect(), squash(), options(2, 2));
    let read: Vec<usize> = loader
        .by_ref()
        .flat_map(|b| b.expect("two may be bad").indices)
        .collect();
    assert_eq!(read, [0, 2, 4]);
    let skipped: Vec<_> = loader
        .skipped()
        .iter()
        .map(|s| (s.index, &s.key[..]))
        .collect();
    assert_eq!(skipped, [(1, "missing.jpg"), (3, "absent.png")]);

    let mut loader = load(files(&names), (0..5).collect(), squash(), options(2, 1));
    let error = loader
        .find_map(|b| b.err())
        .expect("one too many")
        .to_string();
    assert!(error.contains("absent.png"), "{error}");
}

#[test]
fn dropping_a_loader_early_ends_its_threads() {
    let source = files(&["rgb.png"; 200]);
    let mut loader = load(source.clone(), (0..200).collect(), squash(), options(3, 0));
    assert!(loader.next().is_some());
    drop(loader);
    // The threads held the source; now only this test does.
    assert_eq!(Arc::strong_count(&source), 1);
}
