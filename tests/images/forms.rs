//! BMP, GIF, TIFF, PNM and rare JPEGs in every form that people have (`fixtures/images/forms.py`): Pillow's
//! pixels, or a refusal where Pillow refuses.

use super::{json, sha256};
use crate::common::fixture;
use radio_eval::data::decode::{Limits, decode};
use std::io::Read;

fn files() -> Vec<(String, Vec<u8>)> {
    let archive = std::fs::File::open(fixture("images/forms.zip")).expect("the fixture is there");
    let mut archive = zip::ZipArchive::new(archive).expect("a zip file");
    let mut files = Vec::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).expect("a member");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("its bytes");
        let name = member.name().expect("a name").into_owned();
        files.push((name, bytes));
    }
    files
}

#[test]
fn pixels_equal_pillow_or_are_refused_with_it() {
    let expected = json("forms.json");
    let mut wrong = Vec::new();
    for (name, bytes) in files() {
        let got = match decode(&bytes, &Limits::default()) {
            Ok(image) => serde_json::json!([image.width, image.height, sha256(&image.data)]),
            Err(_) => serde_json::Value::Null,
        };
        if got != expected[&name] {
            wrong.push(format!("{name}: {got}, expected {}", expected[&name]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file that ends early is refused, never half decoded, and no damage panics.
#[test]
fn cut_files_are_refused() {
    for (name, bytes) in files() {
        let plain = [
            "b_rgb",
            "b_8.",
            "g_local",
            "t_rgb_None",
            "p6_255.",
            "p5_4095",
        ];
        if !plain.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        for end in 0..bytes.len() {
            let outcome = decode(&bytes[..end], &Limits::default());
            // A GIF's trailer and a TIFF's directory may lie behind the pixels.
            let pixels_whole = end + 8 >= bytes.len();
            assert!(
                outcome.is_err() || pixels_whole,
                "{name} cut to {end} bytes was taken"
            );
        }
    }
}
