//! `radio-eval compare` on records and the samples beside them, and `visualize`.

use crate::common::{radio_eval, stderr, stdout};
use std::path::Path;
use std::process::Command;

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = radio_eval(home);
    command.current_dir(home).args(arguments);
    command
}

#[test]
fn two_runs_are_compared_on_their_samples() {
    let home = tempfile::tempdir().unwrap();
    for (model, out, limit) in [
        ("mini-dino", "a", "40"),
        ("mini-sam", "b", "40"),
        ("mini-sam", "c", "20"),
    ] {
        stdout(&mut command(
            home.path(),
            &[
                "imagenet",
                "--model",
                model,
                "--data",
                "imagenet-mini",
                "--limit",
                limit,
                "--train-limit",
                "4",
                "--samples",
                "--out",
                out,
            ],
        ));
    }
    let pair = ["compare", "a/knn__mini-dino.json", "b/knn__mini-sam.json"];
    let told = stdout(&mut command(home.path(), &pair));
    assert!(
        told.starts_with("mini-dino is better than mini-sam: top-1 +"),
        "{told}"
    );
    assert!(told.contains("on 40 images"), "{told}");
    assert!(told.contains("McNemar's exact test p"), "{told}");
    let json = stdout(command(home.path(), &pair).arg("--json"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (a, b) = (&json["a_better"], &json["b_better"]);
    let gain = 100.0 * (b.as_f64().unwrap() - a.as_f64().unwrap()) / 40.0;
    let value = json["b_minus_a"]["value"].as_f64().unwrap();
    assert!((value - gain).abs() < 1e-9, "{json}");

    let output = command(
        home.path(),
        &["compare", "a/knn__mini-dino.json", "c/knn__mini-sam.json"],
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn features_of_several_models_are_drawn_side_by_side() {
    let home = tempfile::tempdir().unwrap();
    for (name, colour) in [("a.png", [200u8, 30, 30]), ("b.png", [30, 30, 200])] {
        let mut picture = image::RgbImage::from_pixel(140, 128, image::Rgb(colour));
        for x in 40..90 {
            for y in 30..100 {
                picture.put_pixel(x, y, image::Rgb([20, 220, 40]));
            }
        }
        picture.save(home.path().join(name)).unwrap();
    }
    let told = stdout(&mut command(
        home.path(),
        &[
            "visualize",
            "--model",
            "mini-dino,mini-clip",
            "a.png",
            "b.png",
            "--block",
            "-1",
            "--tile",
            "64",
            "--out",
            "maps",
        ],
    ));
    let columns = "picture | mini-dino spatial | mini-dino block ";
    assert!(told.contains(columns), "{told}");
    let sheet = image::open(home.path().join("maps/a.png"))
        .unwrap()
        .to_rgb8();
    assert_eq!((sheet.width(), sheet.height()), (5 * 64 + 4 * 6, 64));
    // The square is of another colour than what surrounds it.
    let (inside, outside) = (sheet.get_pixel(70 + 32, 32), sheet.get_pixel(70 + 3, 60));
    let distance: i32 = (0..3)
        .map(|c| (i32::from(inside[c]) - i32::from(outside[c])).abs())
        .sum();
    assert!(distance > 60, "{inside:?} {outside:?}");
}
