use super::{json, sha256};
use crate::common::fixture;
use radio_eval::Result;
use radio_eval::data::image::RgbImage;
use radio_eval::data::loader::{Batch, LoaderOptions, load};
use radio_eval::data::pipeline::{self, Prepare, Prepared, Unusable};
use radio_eval::data::resize::Filter;
use radio_eval::data::transform::{Mode, Placement, Transform};
use radio_eval::data::{Annotation, Source};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

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
            let Batch {
                indices, pixels, ..
            } = batch.expect("all fixtures decode");
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

/// Files with a fault in the program itself over one of them.
struct Faulty(Arc<Files>);

impl Source for Faulty {
    fn describe(&self) -> String {
        "faulty".into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, index: usize) -> &str {
        self.0.key(index)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        assert_ne!(index, 6, "a fault over this file");
        self.0.read(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(index as u32 % 3)
    }

    fn size(&self, _: usize) -> u64 {
        0
    }
}

/// A loader thread that died used to look like the end of the data, or to hang the reader.
#[test]
fn a_panic_in_a_loader_thread_is_an_error_that_names_the_sample() {
    for workers in [1, 4] {
        let source = Arc::new(Faulty(files(&["rgb.png"; 60])));
        // Bad images may be left out; a fault may not.
        let mut loader = load(source, (0..60).collect(), squash(), options(workers, 9));
        let first = loader.next().expect("a batch").expect("four good images");
        assert_eq!(first.indices, [0, 1, 2, 3]);
        let error = loader.next().expect("an item").expect_err("the fault");
        let error = error.to_string();
        assert!(error.starts_with("faulty/rgb.png: "), "{error}");
        assert!(error.contains("a fault over this file"), "{error}");
        assert!(loader.next().is_none());
    }
}

#[test]
fn annotations_and_placements_come_with_the_pixels_when_asked_for() {
    let names = ["rgb.png", "grey.jpg", "rgba.png", "cmyk.jpg"];
    let source = Arc::new(Faulty(files(&names)));
    let asked = LoaderOptions {
        annotated: true,
        ..options(2, 0)
    };
    let batch = load(source.clone(), vec![3, 1, 2], squash(), asked).next();
    let batch = batch.expect("a batch").expect("all decode");
    let classes: Vec<_> = batch.annotations.iter().map(|a| a.class()).collect();
    assert_eq!(classes, [Some(0), Some(1), Some(2)]);
    // grey.jpg is 47x33, squashed to 12x8.
    let placement = batch.placements[1];
    assert_eq!(placement.original, (33, 47));
    assert_eq!(placement.scale, (12.0 / 47.0, 8.0 / 33.0));
    assert_eq!((placement.inset, placement.size), ((0.0, 0.0), (8, 12)));
    let batch = load(source, vec![3], squash(), options(2, 0)).next();
    let batch = batch.expect("a batch").expect("it decodes");
    assert_eq!(batch.annotations, [Annotation::None]);
}

/// Reads its position off a small image.
struct Numbered;

impl Prepare for Numbered {
    fn describe(&self) -> String {
        "numbered".into()
    }

    fn index(&self, position: usize) -> usize {
        position * 7 % 101
    }

    fn key(&self, index: usize) -> String {
        index.to_string()
    }

    fn prepare(&self, position: usize, index: usize) -> Result<Prepared, Unusable> {
        assert_eq!(index, self.index(position));
        Ok(Prepared {
            image: RgbImage {
                width: 1,
                height: 1,
                data: vec![position as u8; 3],
            },
            annotation: Annotation::Text(position.to_string()),
            placement: Placement::unchanged(1, 1),
        })
    }
}

#[test]
fn a_pass_taken_up_at_any_sample_has_the_batches_of_an_uninterrupted_one() {
    let options = pipeline::Options {
        batch_size: 4,
        workers: 3,
        skip_bad: 0,
        device: Device::Cpu,
        padding: [0.0; 3],
    };
    let run = |positions| -> Vec<(Vec<usize>, Vec<f32>)> {
        pipeline::start(Numbered, positions, options)
            .map(|batch| {
                let batch = batch.expect("nothing fails");
                let red = batch.pixels.select(1, 0).flatten(0, -1);
                (batch.indices, Vec::try_from(red).expect("floats"))
            })
            .collect()
    };
    let whole = run(0..22);
    assert_eq!(whole.len(), 6);
    for first in 0..22 {
        let rest = run(first..22);
        let at = first / 4;
        let begun = &whole[at].0[first % 4..];
        assert_eq!(rest[0].0, begun, "from {first}");
        assert_eq!(rest[1..], whole[at + 1..], "from {first}");
    }
}

/// segment-anything pads after it has normalised: the padding is zero then, not black.
#[test]
fn padding_has_the_colour_that_the_model_asks_for() {
    let mean = [0.485, 0.456, 0.406];
    let source = files(&["rgb.png"]);
    let transform = Transform::new(
        Mode::Fit {
            height: 20,
            width: 20,
        },
        1,
    );
    let asked = LoaderOptions {
        padding: mean,
        ..options(1, 0)
    };
    let black = load(source.clone(), vec![0], transform, options(1, 0)).next();
    let black = black.expect("a batch").expect("it decodes");
    let batch = load(source, vec![0], transform, asked).next();
    let batch = batch.expect("a batch").expect("it decodes");
    // 31x23 fits as 20x15, in the middle.
    let shown = batch.placements[0].shown;
    assert_eq!(
        (shown.x, shown.y, shown.width, shown.height),
        (0, 2, 20, 15)
    );
    for (channel, mean) in (0..).zip(mean) {
        let plane = |batch: &Batch| batch.pixels.select(1, channel);
        let (with, without) = (plane(&batch), plane(&black));
        let inside = |plane: &Tensor| plane.narrow(1, 2, 15);
        assert!(inside(&with).equal(&inside(&without)));
        for padding in [with.narrow(1, 0, 2), with.narrow(1, 17, 3)] {
            let normalised = padding - Tensor::from_slice(&[mean]).to_kind(Kind::Float);
            assert_eq!(normalised.abs().max().double_value(&[]), 0.0);
        }
    }
}
