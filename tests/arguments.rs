//! Numbers that no machine can hold, and names that lead elsewhere: each is a sentence that names
//! the argument, exit code 2, and never a panic or an abort.

use crate::common::{fails, radio_eval, stdout};
use std::process::Command;

/// A command on the shipped miniature world, which needs no file of the user's.
fn command(home: &std::path::Path, words: &str) -> Command {
    let mut command = radio_eval(home);
    command.args(words.split(' '));
    command.arg(match words.starts_with("latency") {
        true => "--out",
        false => "--device=cpu",
    });
    if words.starts_with("latency") {
        command.arg(home.join("out"));
    }
    command
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let probe = "ade20k --model mini-dino --data ade-mini --random-weights 0";
    let classify = "imagenet --model mini-dino --data imagenet-mini --random-weights 0";
    let features = "features --model mini-dino --random-weights 0 --input x --output y";
    let verify = "verify --model mini-dino --random-weights 0 --reference x";
    let latency = "latency --model mini-dino --device cpu";
    // The recipe's other values are looked at where they are checked (recipe/mod.rs).
    let cases = [
        (probe, "iterations", &["10000000000000", "-1"][..]),
        (probe, "batch-size", &["0", "1000000"]),
        (probe, "ratio", &["1 100000", "nan nan"]),
        (probe, "scale", &["1000000 1000000", "5"]),
        (probe, "test-scale", &["1000000 1000000"]),
        (probe, "resolution", &["1 --inference slide", "100000"]),
        (probe, "label-size", &["100000 --preset quick"]),
        (probe, "workers", &["0", "100000"]),
        (probe, "threads", &["0", "100000"]),
        (classify, "k", &["0", "99999999999"]),
        (classify, "temperature", &["nan"]),
        (
            classify,
            "batch-size",
            &["1000000", "65536 --resolution 16380"],
        ),
        (classify, "resize-multiple", &["4000000000"]),
        (classify, "resolution", &["14x0", "100000"]),
        (classify, "limit", &["0"]),
        (classify, "train-limit", &["0"]),
        (features, "batch-size", &["0", "1000000"]),
        (features, "resolution", &["0", "1000000"]),
        (verify, "tolerance", &["nan", "-1"]),
        (
            latency,
            "batch",
            &["0", "1000000000", "65536 --resolution 16380"],
        ),
        (latency, "rounds", &["0", "99999999999"]),
        (latency, "seconds", &["nan", "inf"]),
        (latency, "threads", &["0", "100000"]),
        (latency, "vitdet-window", &["0"]),
        (latency, "window", &["0"]),
    ];
    for (words, flag, values) in cases {
        for value in values {
            // `--flag=-1`, so that a sign is no flag.
            let joined = match value.starts_with('-') {
                true => format!("{words} --{flag}={value}"),
                false => format!("{words} --{flag} {value}"),
            };
            let message = fails(&mut command(home.path(), &joined), 2);
            let (dashed, named) = (format!("--{flag}"), format!("`{}`", flag.replace('-', "_")));
            assert!(
                message.contains(&dashed) || message.contains(&named) || message.contains(flag),
                "{joined}: {message}"
            );
        }
    }
}

/// A tar member with an absolute name used to be followed out of the folder of predictions.
#[test]
fn predictions_are_written_into_their_folder_only() {
    // Hidden names, such as the usual ones of temporary folders, are left out of archives.
    let home = tempfile::Builder::new().prefix("evil").tempdir().unwrap();
    let target = home.path().join("elsewhere");
    let inside = |name: &str, path: &std::path::Path, bytes: &[u8]| {
        let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
        let mut header = tar::Header::new_gnu();
        // `append_data` refuses such names; whoever writes an evil archive does not.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
        tar.finish().unwrap();
    };
    let png = |colour: png::ColorType, data: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 28, 28);
        encoder.set_color(colour);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let name = target.join("evil.png").display().to_string();
    let (images, masks) = (
        home.path().join("images.tar"),
        home.path().join("masks.tar"),
    );
    inside(
        &name,
        &images,
        &png(png::ColorType::Rgb, &[90; 28 * 28 * 3]),
    );
    let labels: Vec<u8> = (0..28 * 28).map(|i| 1 + (i % 2) as u8).collect();
    inside(&name, &masks, &png(png::ColorType::Grayscale, &labels));
    let classes = home.path().join("classes.txt");
    std::fs::write(&classes, "even\nodd\n").unwrap();
    let words = "ade20k --model mini-dino --random-weights 0 --preset mini --seeds 0 --iterations 2 \
                 --resolution 28 --label-size 8 --reduce-zero-label true --threads 1 --workers 1";
    let mut command = command(home.path(), words);
    for (flag, path) in [
        ("--images", &images),
        ("--masks", &masks),
        ("--val-images", &images),
        ("--val-masks", &masks),
        ("--classes", &classes),
        ("--save-predictions", &home.path().join("predictions")),
        ("--out", &home.path().join("out")),
    ] {
        command.arg(flag).arg(path);
    }
    // As tar does when it unpacks, the leading slash is left out.
    stdout(&mut command);
    let written = home.path().join("predictions").join(&name[1..]);
    assert!(written.exists(), "{}", written.display());
    assert!(!target.exists());
}
