//! Decoding, resizing, transforms, augmentation and loading, against Pillow and OpenCV
//! (`fixtures/images/generate.py`).

mod augment;
mod decode;
mod forms;
mod loader;
mod placement;
mod resize;
mod transform;

use crate::common::fixture;
use radio_eval::data::image::RgbImage;
use sha2::{Digest, Sha256};

fn json(name: &str) -> serde_json::Value {
    let text = std::fs::read(fixture("images").join(name)).expect("the fixture is there");
    serde_json::from_slice(&text).expect("the fixture is JSON")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A row of numbers.
fn sizes<const N: usize>(row: &serde_json::Value) -> [usize; N] {
    std::array::from_fn(|i| row[i].as_u64().expect("a size") as usize)
}

/// `pattern` of generate.py.
fn pattern(height: usize, width: usize) -> RgbImage {
    let mut image = RgbImage::black(width, height);
    for (at, value) in image.data.iter_mut().enumerate() {
        let (x, y, c) = (
            (at / 3 % width) as u32,
            (at / 3 / width) as u32,
            (at % 3) as u32,
        );
        let mixed = x.wrapping_mul(2654435761);
        let mixed = mixed.wrapping_add(y.wrapping_mul(2246822519));
        let mixed = mixed.wrapping_add(c.wrapping_mul(3266489917));
        let noisy = (x / 9 + y / 7) % 3 == 0;
        *value = if noisy {
            mixed >> 24
        } else {
            x * 3 + y * 2 + c * 40
        } as u8;
    }
    image
}
