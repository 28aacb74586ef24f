//! Damaged, mislabelled and hostile weight files: an error that says so, never a panic.

use crate::common::{fixture, shared};
use radio_eval::weights::Checkpoint;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Opens and reads everything; the error's text, or `None` where all of it could be read.
fn outcome(path: &Path) -> Option<String> {
    let read = || -> radio_eval::Result<()> {
        for tensor in Checkpoint::open(path)?.tensors().into_iter().flatten() {
            let _values = tensor.1.read_stored()?;
        }
        Ok(())
    };
    let outcome = catch_unwind(read).unwrap_or_else(|_| panic!("{} panics", path.display()));
    outcome.err().map(|e| e.to_string())
}

fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[track_caller]
fn says(name: &str, bytes: &[u8], expected: &str) {
    let (_folder, path) = write(name, bytes);
    let error = outcome(&path).expect("an error");
    assert!(error.contains(expected), "{error}");
    assert!(error.contains(name), "the file is not named: {error}");
}

#[test]
fn files_that_are_no_weights_say_what_they_are() {
    let name = "model.safetensors";
    says(name, b"", "is empty");
    says(name, b"<!DOCTYPE html><html>", "it is a web page");
    says(
        name,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n",
        "Git LFS pointer (oid sha256:0a, size 12)",
    );
    says(name, b"Entry not found", "begins with `Entry not found`");
    says(name, br#"{"error": "x"}"#, "it is JSON");
    says(name, &[0; 64], "begins with zeros");
    says(name, &[0x1f, 0x8b, 8, 0], "it is compressed");
    says(name, &[1, 2, 3, 255], "01 02 03 ff");
    says("x.pth", b"PK\x03\x04garbage", "not a readable zip archive");
}

#[test]
fn a_wrong_extension_does_not_matter() {
    let bytes = std::fs::read(fixture("weights/zip.pth.tar")).unwrap();
    let (_folder, path) = write("model.safetensors", &bytes);
    assert_eq!(outcome(&path), None);
}

#[test]
fn truncated_files_are_refused() {
    for name in [
        "zip.pth.tar",
        "legacy.pth.tar",
        "protocol4.pth",
        "expected.safetensors",
    ] {
        let bytes = std::fs::read(fixture("weights").join(name)).unwrap();
        let (_folder, path) = write(name, &bytes);
        for len in 0..bytes.len() {
            // Shrinking in place: each open maps the file anew.
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len((bytes.len() - 1 - len) as u64).unwrap();
            assert!(
                outcome(&path).is_some(),
                "{name} less {} bytes is read",
                len + 1
            );
        }
    }
}

/// Every byte of a small file, and a spread of bytes of the published forms, set to other values.
#[test]
fn flipped_bytes_never_panic() {
    let small = [
        "zip.pth.tar",
        "legacy.pth.tar",
        "protocol4.pth",
        "expected.safetensors",
    ];
    for name in small {
        flip(&fixture("weights").join(name), 1);
    }
    if let Some(golden) = shared("golden/radio_vit/v25_like/checkpoint.pth.tar") {
        flip(&golden, 9973);
    }
}

fn flip(path: &Path, step: usize) {
    let bytes = std::fs::read(path).unwrap();
    let (_folder, copy) = write("flipped", &bytes);
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(&copy).unwrap();
    for at in (0..bytes.len()).step_by(step) {
        let mask = [0x01, 0x80, 0xff][at % 3];
        file.write_all_at(&[bytes[at] ^ mask], at as u64).unwrap();
        outcome(&copy);
        file.write_all_at(&[bytes[at]], at as u64).unwrap();
    }
}

/// A pickle in an archive as `torch.save` writes it.
fn archive(pickle: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", &[0u8; 8])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Pickle instructions written as text, one byte a letter.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// `{"w": tensor}` over storage 0 (8 bytes), claimed to have `numel` floats, with offset, shape
/// and strides pushed by `rest`.
fn tensor(numel: &str, rest: &str) -> Vec<u8> {
    archive(&latin1(&format!(
        "\u{80}\u{2}}}X\u{1}\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\u{7}\0\0\0storagectorch\n\
         FloatStorage\nX\u{1}\0\0\u{0}0X\u{3}\0\0\0cpu{numel}tQ{rest}NNtRs."
    )))
}

#[test]
fn hostile_pickles_are_refused() {
    let (two, million) = ("K\u{2}", "J\0\0\u{10}\0");
    let good = tensor(two, "K\0K\u{2}\u{85}K\u{1}\u{85}");
    assert_eq!(outcome(&write("good", &good).1), None);

    // A storage, a shape, an offset and a stride that reach past the end.
    says(
        "x",
        &tensor(million, "K\0K\u{2}\u{85}K\u{1}\u{85}"),
        "should have 4194304 bytes",
    );
    says(
        "x",
        &tensor(two, "K\0K\u{3}\u{85}K\u{1}\u{85}"),
        "past the end",
    );
    says(
        "x",
        &tensor(two, "K\u{1}K\u{2}\u{85}K\u{1}\u{85}"),
        "past the end",
    );
    says(
        "x",
        &tensor(two, "K\0K\u{2}\u{85}K\u{9}\u{85}"),
        "past the end",
    );
    // Stride 0 would make two floats a tensor of any size.
    says(
        "x",
        &tensor(two, &format!("K\0{million}\u{85}K\0\u{85}")),
        "larger than its file",
    );
    says(
        "x",
        &tensor(two, "K\0J\u{ff}\u{ff}\u{ff}\u{ff}\u{85}K\u{1}\u{85}"),
        "-1 is given as a size",
    );
    says("x", &tensor(two, "K\0K\u{2}\u{85})"), "but strides []");

    let cases = [
        // A dict that holds itself, in the args.
        ("}X\u{1}\0\0\0w", "holds no state dict"),
        ("}q\0X\u{4}\0\0\0argsh\0s", "holds no state dict"),
        ("}q\0X\u{5}\0\0\0modelh\0s", "holds no state dict"),
        ("h\u{7}", "refers to a value that it has not built"),
        ("0", "a value is missing"),
        ("u", "a mark is missing"),
        ("}(K\u{1}u", "a key without a value"),
        (
            "cos\nsystem\nX\u{2}\0\0\0ls\u{85}R",
            "whole object of `os.system`",
        ),
        ("X\u{ff}\u{ff}\u{ff}\u{7f}", "ends in the middle"),
        ("\u{82}\u{1}", "instruction 0x82"),
    ];
    for (pickle, expected) in cases {
        says(
            "x",
            &archive(&latin1(&format!("\u{80}\u{2}{pickle}."))),
            expected,
        );
    }
}

/// Values shared over and over: small to store, endless to copy out.
#[test]
fn pickled_bombs_are_refused() {
    let mut bomb = String::from("\u{80}\u{2}]q\u{0}0");
    for _ in 0..40 {
        // [last, last]
        bomb += "](h\0h\0eq\u{0}0";
    }
    bomb += "}(X\u{4}\0\0\0args}X\u{1}\0\0\0ah\0sX\u{1}\0\0\0w\
             ctorch._utils\n_rebuild_tensor_v2\n((X\u{7}\0\0\0storagectorch\nFloatStorage\n\
             X\u{1}\0\0\u{0}0X\u{3}\0\0\0cpuK\u{2}tQK\0K\u{2}\u{85}K\u{1}\u{85}NNtRu.";
    says("x", &archive(&latin1(&bomb)), "args hold more than");

    let endless = vec![b'N'; 5 << 20];
    says("x", &archive(&endless), "builds more than");
    let mut deep = latin1("\u{80}\u{2}");
    deep.extend(vec![b']'; 1 << 20]);
    deep.extend(vec![b'a'; (1 << 20) - 1]);
    deep.push(b'.');
    says("x", &archive(&deep), "holds no state dict");
}

/// A tensor over storage 0, of a storage class.
fn over(class: &str, numel: &str, shape: &str) -> String {
    format!(
        "ctorch._utils\n_rebuild_tensor_v2\n((X\u{7}\0\0\0storagectorch\n{class}\n\
         X\u{1}\0\0\00X\u{3}\0\0\0cpu{numel}tQK\0{shape}\u{85}K\u{1}\u{85}NNtR"
    )
}

/// A complex tensor beside the weights, or among them, matters only to whoever reads it.
#[test]
fn types_that_no_network_computes_with_are_opaque() {
    let (one, two) = ("K\u{1}", "K\u{2}");
    let floats = over("FloatStorage", two, two);
    let complex = over("ComplexFloatStorage", one, one);
    let among = format!("(X\u{1}\0\0\0w{floats}X\u{1}\0\0\0q{complex}u");
    let beside = format!("(X\u{5}\0\0\0model}}X\u{1}\0\0\0w{floats}sX\u{1}\0\0\0q{complex}u");
    for (pickle, within) in [(among, ""), (beside, "model.")] {
        let pickle = latin1(&format!("\u{80}\u{2}}}{pickle}."));
        let (_folder, path) = write("x.pth", &archive(&pickle));
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.within, within);
        assert_eq!(checkpoint.shape("w"), Some([2].as_slice()));
        let own = checkpoint.tensors().unwrap().get("q");
        let q = own.or_else(|| checkpoint.rest.get("q")).unwrap();
        let error = q.read_stored().unwrap_err().to_string();
        assert!(
            error.contains("`q` is of type `torch.ComplexFloatStorage`"),
            "{error}"
        );
    }
}
