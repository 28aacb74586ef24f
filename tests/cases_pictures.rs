//! The pictures of `shared/cases`: Pillow's pixels, or a refusal where Pillow refuses.

use crate::common::shared;
use radio_eval::data::decode::{Limits, decode};
use std::path::Path;

/// What is wrong with one picture of `X`, `X.ref.png`, `X.ref-error.txt`.
fn fault(path: &Path) -> Option<String> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        std::path::PathBuf::from(name)
    };
    let bytes = std::fs::read(path).expect("the case is readable");
    let got = decode(&bytes, &Limits::default());
    match (beside(".ref.png"), beside(".ref-error.txt")) {
        (reference, _) if reference.exists() => {
            let reference = image::open(reference).expect("a PNG").to_rgb8();
            match got {
                Err(e) => Some(format!("refused: {e}")),
                Ok(image) => {
                    let size = (image.width as u32, image.height as u32);
                    let equal = size == reference.dimensions() && &image.data == reference.as_raw();
                    (!equal).then(|| "other pixels".to_string())
                }
            }
        }
        (_, refusal) if refusal.exists() => got.is_ok().then(|| "was taken".to_string()),
        _ => Some("has no reference".to_string()),
    }
}

#[test]
fn every_picture_of_the_cases() {
    let Some(folder) = shared("cases/pictures") else {
        return;
    };
    let mut faults = Vec::new();
    let mut pictures = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is listed") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.contains(".ref") {
            continue;
        }
        pictures += 1;
        faults.extend(fault(&path).map(|fault| format!("{name}: {fault}")));
    }
    assert!(pictures >= 30, "{pictures} pictures");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
