//! The revision that records and cache keys carry (build/revision.rs).

#[path = "../build/revision.rs"]
mod script;

use script::{collect, digest, log, revision};
use std::path::Path;
use std::process::Command;

/// A checkout with one source and a README.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "src/lib.rs", "1");
    write(folder.path(), "README.md", "1");
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "x"]] {
        let identity = [
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@example.org",
            "-c",
            "commit.gpgsign=false",
        ];
        let mut git = Command::new("git");
        git.current_dir(folder.path()).args(identity).args(args);
        assert!(git.status().unwrap().success(), "{args:?}");
    }
    folder
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn no_two_sources_share_a_revision() {
    let folder = checkout();
    let root = folder.path();
    let clean = revision(root, true);
    assert!(
        clean.len() == 12 && clean.bytes().all(|b| b.is_ascii_hexdigit()),
        "{clean}"
    );
    write(root, "README.md", "2");
    assert_eq!(
        revision(root, true),
        clean,
        "the binary is not made from the README"
    );

    let mut seen = vec![clean.clone()];
    for (file, text) in [
        ("src/lib.rs", "2"),
        ("src/lib.rs", "3"),
        ("src/new.rs", ""),
        ("src/new.rs", "x"),
    ] {
        write(root, file, text);
        let dirty = revision(root, true);
        let digits = dirty.strip_prefix(&format!("{clean}-dirty.")).unwrap();
        assert!(
            digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            "{dirty}"
        );
        assert!(!seen.contains(&dirty), "{file} {text}");
        seen.push(dirty);
    }
    assert!(root.join(log(root).unwrap()).is_file());
}

#[test]
fn a_debug_build_and_a_tree_without_git_follow_their_sources() {
    let folder = tempfile::tempdir().unwrap();
    // So that no checkout is found above the temporary folder.
    write(folder.path(), ".git", "not a checkout");
    for (release, word) in [(false, "debug."), (true, "unknown.")] {
        write(folder.path(), "src/lib.rs", "1");
        let first = revision(folder.path(), release);
        write(folder.path(), "src/lib.rs", "2");
        let second = revision(folder.path(), release);
        assert!(first.starts_with(word), "{first}");
        assert_ne!(first, second);
    }
    let mut bytes = Vec::new();
    collect(folder.path(), &mut bytes);
    assert_eq!(digest(&bytes).len(), 8);
}
