use super::{json, pattern, sha256};
use crate::common::fixture;
use radio_eval::data::decode::{Limits, decode, decode_part};
use radio_eval::data::image::Region;

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture("images/decode").join(name)).expect("the fixture is there")
}

#[test]
fn pixels_equal_pillow() {
    let expected = json("decode.json");
    let expected = expected.as_object().expect("an object");
    assert!(expected.len() > 70);
    for (name, row) in expected {
        let image =
            decode(&read(name), &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got = serde_json::json!([image.width, image.height, sha256(&image.data)]);
        assert_eq!(got, *row, "{name}");
    }
}

#[test]
fn a_part_is_cut_out_of_the_whole() {
    for name in json("decode.json").as_object().expect("an object").keys() {
        let bytes = read(name);
        let whole = decode(&bytes, &Limits::default()).expect(name);
        let (w, h) = (whole.width, whole.height);
        for (left, right) in [(0, 1), (0, w), (w / 3, w / 2 + 1), (w - 1, w)] {
            for (top, bottom) in [(0, h), (h / 2, h / 2 + 1), (0, h / 3 + 1), (h - 1, h)] {
                let needed = Region {
                    x: left,
                    y: top,
                    width: right - left,
                    height: bottom - top,
                };
                let part = decode_part(&bytes, &Limits::default(), |_, _| needed).expect(name);
                assert_eq!((part.width, part.height), (w, h), "{name}");
                for y in top..bottom {
                    let row = part.pixels.row(y - part.y);
                    let cut = &row[(left - part.x) * 3..(right - part.x) * 3];
                    let expected = &whole.row(y)[left * 3..right * 3];
                    assert_eq!(cut, expected, "{name}: {needed:?}, row {y}");
                }
            }
        }
    }
}

#[test]
fn damage_outside_the_part_gives_the_same_error() {
    let corner = |_, _| Region {
        x: 0,
        y: 0,
        width: 1,
        height: 1,
    };
    for name in ["53x37_420_q92.jpg", "restart.jpg"] {
        let bytes = read(name);
        for end in 0..bytes.len() {
            let whole = decode(&bytes[..end], &Limits::default());
            let part = decode_part(&bytes[..end], &Limits::default(), corner);
            assert_eq!(part.err(), whole.err(), "{name} cut to {end} bytes");
        }
    }
}

#[test]
fn truncated_files_are_refused() {
    for name in [
        "53x37_420_q92.jpg",
        "53x37_420_progressive.jpg",
        "restart.jpg",
        "cmyk.jpg",
    ] {
        let bytes = read(name);
        for end in 0..bytes.len() {
            let outcome = decode(&bytes[..end], &Limits::default());
            assert!(outcome.is_err(), "{name} cut to {end} bytes was taken");
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    for name in [
        "53x37_422_q20.jpg",
        "33x16_420_progressive.jpg",
        "restart_progressive.jpg",
    ] {
        let bytes = read(name);
        let mut taken = 0;
        for at in 2..bytes.len() {
            for flip in [0xff, 0x10, 0x01] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                taken += usize::from(
                    decode(
                        &damaged,
                        &Limits {
                            max_pixels: 1 << 20,
                        },
                    )
                    .is_ok(),
                );
            }
        }
        assert!(
            taken > 0,
            "libjpeg takes most damage of entropy-coded data, and so do we"
        );
    }
}

#[test]
fn more_pixels_than_allowed_are_refused_before_they_are_decoded() {
    for name in [
        "53x37_420_q92.jpg",
        "rgb.png",
        "rgb.bmp",
        "lossless.webp",
        "palette.gif",
        "rgb.tiff",
    ] {
        let error = decode(&read(name), &Limits { max_pixels: 100 }).expect_err(name);
        assert!(error.contains("exceed the limit of 100"), "{name}: {error}");
    }
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"hello", &pattern(3, 3).data] {
        let error = decode(bytes, &Limits::default()).expect_err("not an image");
        assert!(error.contains("not an image of a known format"), "{error}");
    }
}
