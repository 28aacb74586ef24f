use crate::common::shared;
use radio_eval::data::image::{Cutout, RgbImage};
use radio_eval::data::pixels;
use radio_eval::data::resize::{Filter, resize};
use radio_eval::data::transform::{Mode, Transform};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// One unit in the last place below 1.
const ULP: f64 = 6e-8;

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(path)
        .expect("the golden opens")
        .into_iter()
        .collect()
}

fn image(tensor: &Tensor) -> RgbImage {
    let size = tensor.size();
    let data = Vec::<u8>::try_from(tensor.flatten(0, -1)).expect("bytes");
    RgbImage {
        width: size[1] as usize,
        height: size[0] as usize,
        data,
    }
}

fn apply(transform: &Transform, image: &RgbImage) -> Tensor {
    let out = transform.apply(image).expect("the transform applies");
    assert_eq!(
        transform.output_size(image.height, image.width),
        Ok((out.height, out.width))
    );
    pixels::to_float(&[out]).squeeze_dim(0)
}

#[track_caller]
fn close(got: &Tensor, expected: &Tensor, tolerance: f64, name: &str) {
    assert_eq!(got.size(), expected.size(), "{name}");
    let worst = (got - expected).abs().max().double_value(&[]);
    assert!(worst <= tolerance, "{name}: {worst}");
}

#[test]
fn am_radio_transform_equals_its_golden() {
    let Some(path) = shared("golden/misc/preprocess.safetensors") else {
        return;
    };
    let golden = tensors(&path);
    let mut checked = 0;
    for (name, expected) in &golden {
        // out_201x60_res120x120_m16_min
        let parts: Vec<&str> = name.split('_').collect();
        let ["out", input, resolution, multiple, mode] = parts[..] else {
            continue;
        };
        let numbers = |text: &str| -> Vec<usize> {
            text.split('x')
                .map(|n| n.parse().expect("a number"))
                .collect()
        };
        let mode = match (&numbers(&resolution[3..])[..], mode) {
            (&[size], "min") => Mode::Shortest(size),
            (&[size], _) => Mode::Longest(size),
            (&[height, width], "min") => Mode::Cover { height, width },
            (&[height, width], _) => Mode::Fit { height, width },
            _ => panic!("{name}"),
        };
        let transform = Transform::new(mode, numbers(&multiple[1..])[0]);
        let got = apply(&transform, &image(&golden[&format!("img_{input}")]));
        close(&got, expected, ULP, name);
        checked += 1;
    }
    assert_eq!(checked, 21);
}

#[test]
fn teachers_own_transforms_equal_their_goldens() {
    let Some(path) = shared("golden/teachers/preprocess/io.safetensors") else {
        return;
    };
    let golden = tensors(&path);
    let clip = (
        [0.48145466, 0.4578275, 0.40821073],
        [0.26862954, 0.26130258, 0.27577711],
    );
    let half = ([0.5; 3], [0.5; 3]);
    let imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let cases = [
        ("clip_shortest_bicubic", Transform::crop(56, 56), clip),
        ("dfn_squash_bicubic", Transform::squash(56), clip),
        ("siglip_squash_bicubic", Transform::squash(56), half),
        ("dinov2_resize64_crop56", Transform::crop(64, 56), imagenet),
    ];
    for size in ["97x143", "201x60", "50x50", "64x64"] {
        let input = image(&golden[&format!("{size}.u8")]);
        for (name, transform, (mean, std)) in &cases {
            let channel = |values: &[f64; 3]| {
                Tensor::from_slice(values)
                    .view([3, 1, 1])
                    .to_kind(Kind::Float)
            };
            let got = (apply(transform, &input) - channel(mean)) / channel(std);
            // Division by the standard deviation magnifies the last place.
            close(
                &got,
                &golden[&format!("{size}.{name}")],
                4.0 * ULP * 4.0,
                name,
            );
        }
        let bilinear = resize(&input, 56, 56, Filter::Bilinear);
        assert_eq!(
            bilinear,
            image(&golden[&format!("{size}.resized_u8_squash56_bilinear")])
        );
    }
}

#[test]
fn sizes_round_as_python_and_as_segment_anything() {
    let size = |mode, multiple, h, w| Transform::new(mode, multiple).output_size(h, w);
    // 378 at multiple 16 is 23.625 steps: 384; 40 is 2.5 steps, and halves go to even: 32.
    assert_eq!(size(Mode::Shortest(378), 16, 100, 100), Ok((384, 384)));
    assert_eq!(size(Mode::Shortest(40), 16, 100, 100), Ok((32, 32)));
    assert_eq!(size(Mode::Shortest(224), 1, 375, 500), Ok((224, 299)));
    assert_eq!(Transform::sam(1024).output_size(427, 640), Ok((683, 1024)));
    assert_eq!(
        Transform::cover(224, 224, 16).output_size(20, 3000),
        Ok((224, 224))
    );
}

#[test]
fn what_a_transform_reads_is_enough() {
    let image = super::pattern(97, 130);
    let rectangle = |height, width| Transform::new(Mode::Cover { height, width }, 1);
    for transform in [
        Transform::crop(64, 48),
        Transform::crop(20, 40),
        Transform::crop(300, 30),
        Transform::shortest(48, 16),
        Transform::squash(33),
        Transform::new(
            Mode::Fit {
                height: 40,
                width: 9,
            },
            1,
        ),
        rectangle(20, 70),
        rectangle(97, 40),
        Transform {
            filter: Filter::Nearest,
            ..rectangle(30, 20)
        },
    ] {
        let needed = transform.reads(image.height, image.width);
        let mut pixels = RgbImage::black(needed.width, needed.height);
        let lines = pixels.data.chunks_exact_mut(needed.width * 3);
        for (line, y) in lines.zip(needed.y..) {
            line.copy_from_slice(&image.row(y)[needed.x * 3..(needed.x + needed.width) * 3]);
        }
        let part = Cutout {
            pixels: Cow::Owned(pixels),
            x: needed.x,
            y: needed.y,
            width: image.width,
            height: image.height,
        };
        assert_eq!(
            transform.apply(part),
            transform.apply(&image),
            "{transform:?}"
        );
    }
}

#[test]
fn extreme_shapes_are_refused_with_a_reason() {
    let strip = RgbImage::black(60_000, 1);
    let error = Transform::shortest(1024, 16)
        .apply(&strip)
        .expect_err("too large");
    assert!(error.contains("exceed the limit"), "{error}");
}

#[test]
fn a_description_tells_every_setting() {
    let text = Transform::cover(224, 336, 16).describe().to_string();
    assert_eq!(
        text,
        r#"{"resize":"cover","size":[224,336],"multiple":16,"filter":"bicubic"}"#
    );
}
