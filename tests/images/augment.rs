use super::{json, pattern, sha256, sizes};
use radio_eval::data::annotation::{IGNORE, LabelMap};
use radio_eval::data::augment::photometric::Distortion;
use radio_eval::data::augment::{LabelledImage, TrainPipeline, crop, hsv, resize};
use radio_eval::data::resize::Region;
use radio_eval::rng::Rng;

/// `labels` of generate.py.
fn labels(height: usize, width: usize) -> LabelMap {
    let label = |at: usize| match ((at % width / 11) * 5 + (at / width / 6) * 3) % 9 {
        8 => IGNORE,
        label => label as u8,
    };
    LabelMap {
        width,
        height,
        labels: (0..height * width).map(label).collect(),
    }
}

#[test]
fn resized_bytes_equal_opencv() {
    let expected = json("augment.json");
    for row in expected["bilinear"].as_array().expect("rows") {
        let [h, w, oh, ow] = sizes(row);
        let image = resize::bilinear(&pattern(h, w), ow, oh);
        assert_eq!(row[4], sha256(&image.data), "bilinear {row}");
    }
    for row in expected["nearest"].as_array().expect("rows") {
        let [h, w, oh, ow] = sizes(row);
        let mask = resize::nearest(&labels(h, w), ow, oh);
        assert_eq!(row[4], sha256(&mask.labels), "nearest {row}");
    }
}

#[test]
fn every_colour_converts_as_opencv_converts_it() {
    let expected = json("augment.json");
    let every =
        (0..1u32 << 24).flat_map(|c| hsv::from_rgb([(c >> 16) as u8, (c >> 8) as u8, c as u8]));
    assert_eq!(expected["rgb_to_hsv"], sha256(&every.collect::<Vec<u8>>()));
    let every =
        (0..180u32 << 16).flat_map(|c| hsv::to_rgb([(c >> 16) as u8, (c >> 8) as u8, c as u8]));
    assert_eq!(expected["hsv_to_rgb"], sha256(&every.collect::<Vec<u8>>()));
}

#[test]
fn distortion_equals_mmseg() {
    for row in json("augment.json")["distort"].as_array().expect("rows") {
        let mut image = pattern(40, 96);
        let distortion = Distortion {
            brightness: row[0].as_f64(),
            contrast: row[1].as_f64(),
            contrast_first: row[2] == true,
            saturation: row[3].as_f64(),
            hue: row[4].as_i64().map(|hue| hue as i32),
        };
        distortion.apply(&mut image);
        assert_eq!(row[5], sha256(&image.data), "{row}");
    }
}

#[test]
fn crops_are_judged_as_mmseg_judges_them() {
    for row in json("augment.json")["varied"].as_array().expect("rows") {
        let [y, x, height, width] = sizes(row);
        let ratio = row[4].as_f64().expect("a ratio");
        let place = Region {
            x,
            y,
            width,
            height,
        };
        assert_eq!(
            row[5],
            crop::is_varied(&labels(50, 70), place, ratio),
            "{row}"
        );
    }
}

#[test]
fn sizes_keep_the_ratio_as_mmcv_rounds() {
    // mmcv.rescale_size((640, 427), (2048, 512)): 512 / 427 * 640 = 767.4.
    assert_eq!(resize::keep_ratio(427, 640, (2048, 512)), Ok((512, 767)));
    assert_eq!(resize::keep_ratio(100, 1000, (2048, 512)), Ok((205, 2048)));
}

#[test]
fn a_window_is_a_part_of_the_whole() {
    let whole = resize::bilinear(&pattern(50, 70), 91, 77);
    let place = Region {
        x: 13,
        y: 21,
        width: 40,
        height: 30,
    };
    let part = resize::bilinear_window(&pattern(50, 70), 91, 77, place);
    for y in 0..30 {
        assert_eq!(part.row(y), &whole.row(y + 21)[39..159]);
    }
}

#[test]
fn the_pipeline_is_reproducible_and_keeps_image_and_labels_together() {
    // The image shows its own labels, so that any step that moves one only is seen.
    let map = labels(90, 120);
    let sample = LabelledImage {
        image: radio_eval::data::image::RgbImage {
            width: 120,
            height: 90,
            data: map.labels.iter().flat_map(|&l| [l; 3]).collect(),
        },
        labels: map,
    };
    let pipeline = TrainPipeline {
        photometric: false,
        // A scale of exactly one keeps labels in the image unmixed.
        scale: (120, 90),
        ratio: (1.0, 1.0),
        ..TrainPipeline::ade20k(64, 70)
    };
    let mut flips = std::collections::HashSet::new();
    for image in 0..20 {
        let apply = || {
            pipeline
                .apply(&sample, &mut Rng::new(&[7, image]))
                .expect("a small image")
        };
        let (out, placement) = apply();
        assert_eq!((out.clone(), placement), apply());
        assert_eq!((out.image.width, out.image.height), (70, 70));
        for (at, (pixel, &label)) in out.image.data.chunks(3).zip(&out.labels.labels).enumerate() {
            let padded = at % 70 >= 64 || at / 70 >= 64;
            let expected = if padded { 0 } else { label };
            assert_eq!(pixel, [expected; 3]);
            assert!(!padded || label == IGNORE);
            // Where the pipeline says it put the image is where its pixels are.
            let centre = [(at % 70) as f64 + 0.5, (at / 70) as f64 + 0.5];
            let [x, y] = placement.point_in_image(centre);
            if !padded {
                assert_eq!(label, sample.labels.labels[y as usize * 120 + x as usize]);
            }
        }
        assert_eq!(placement.shown, Region::whole(64, 64));
        flips.insert(out.image.data);
    }
    assert!(flips.len() > 10, "crops and flips differ between images");
}
