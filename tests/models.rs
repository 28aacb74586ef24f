//! `radio-eval models`, and which weights a name means.

use crate::common::{fails, radio_eval, stdout};
use radio_eval::models::zoo;
use serde_json::Value;

#[test]
fn repository_names_mean_their_entry() {
    for (repository, name) in [
        ("nvidia/RADIO-B", "radio_v2.5-b"),
        ("nvidia/RADIO-L", "radio_v2.5-l"),
        ("nvidia/RADIO-H", "radio_v2.5-h"),
        ("nvidia/RADIO-g", "radio_v2.5-g"),
        ("nvidia/RADIO", "radio_v2.5-h"),
        ("nvidia/E-RADIO", "e-radio_v2"),
        ("nvidia/C-RADIO", "c-radio-h"),
        ("nvidia/C-RADIOv2-B", "c-radio_v2-b"),
        ("nvidia/C-RADIOv2-L", "c-radio_v2-l"),
        ("nvidia/C-RADIOv2-H", "c-radio_v2-h"),
        ("nvidia/C-RADIOv3-H", "c-radio_v3-h"),
        ("nvidia/C-RADIOv4-1D-H", "c-radio_v4-1d-h"),
        ("facebook/dinov2-small", "dinov2-s"),
    ] {
        assert_eq!(zoo::find(repository).unwrap().name, name, "{repository}");
    }
    // Aliases stay what they were.
    assert_eq!(zoo::find("radio-g").unwrap().name, "radio_v2.5-g");
    assert_eq!(zoo::find("c-radio").unwrap().name, "c-radio_v4-h");
}

#[test]
fn a_repository_asked_for_by_name_is_the_one_to_fetch() {
    let home = tempfile::tempdir().unwrap();
    let features = |model: &str| {
        let mut command = radio_eval(home.path());
        command.args([
            "features",
            "--model",
            model,
            "--input",
            "tests/fixtures/images",
        ]);
        command
            .arg("--output")
            .arg(home.path().join("out.safetensors"));
        fails(&mut command, 1)
    };
    let told = features("nvidia/RADIO-L");
    assert!(
        told.contains("radio-eval fetch nvidia/RADIO-L (nvidia/RADIO-L/model.safetensors)"),
        "{told}"
    );
    let told = features("radio_v2.5-l");
    assert!(
        told.contains("radio-eval fetch radio_v2.5-l (nvidia/RADIO/radio-v2.5-l_half.pth.tar)"),
        "{told}"
    );
}

#[test]
fn a_folder_of_weights_wins_over_a_name_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("dinov2-s");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(here.path().join("a.png"), b"no picture").unwrap();
    let features = || {
        let mut command = radio_eval(home.path());
        command.current_dir(here.path());
        command.args(["features", "--model", "dinov2-s", "--input", "a.png"]);
        command.args(["--output", "out.safetensors"]);
        fails(&mut command, 1)
    };
    // A folder without weights (a clone of the official code has a `radio/`) takes nothing away.
    let told = features();
    assert!(told.contains("radio-eval fetch dinov2-s"), "{told}");
    std::fs::write(folder.join("model.safetensors"), b"damaged").unwrap();
    let told = features();
    assert!(
        told.contains("is taken as dinov2-s, which is here"),
        "{told}"
    );
    assert!(!told.contains("radio-eval fetch"), "{told}");
}

#[test]
fn one_name_tells_all_that_is_known() {
    let home = tempfile::tempdir().unwrap();
    let told = stdout(radio_eval(home.path()).args(["models", "nvidia/RADIO-B"]));
    for text in [
        "radio_v2.5-b",
        "nvidia/RADIO-B",
        "98.23 M (backbone)",
        "768 px preferred, multiples of 16",
        "DFN CLIP, SigLIP, DINOv2, SAM",
        "NSCLv1 (non-commercial)",
        "nvidia/RADIO/radio-v2.5-b_half.pth.tar",
        "radio-eval fetch radio_v2.5-b",
        "ImageNet-1k val, 768 px (shortest side, inferred), adaptor clip, openai templates",
        "62.344",
        "ADE20k val, resolution not stated, recipe not stated",
        "NVlabs/RADIO RADIOv2.5_tech_report.md",
    ] {
        assert!(told.contains(text), "{text} is not in\n{told}");
    }
    let narrow = stdout(
        radio_eval(home.path())
            .args(["models", "radio_v2.5-b"])
            .env("COLUMNS", "80"),
    );
    let figures = narrow.split("Published").nth(1).unwrap();
    let widest = figures.lines().map(|l| l.chars().count()).max().unwrap();
    assert!(widest <= 80, "{narrow}");
    let json = stdout(radio_eval(home.path()).args(["models", "--json", "radio_v2.5-b"]));
    let models: Value = serde_json::from_str(&json).unwrap();
    let figure = &models[0]["published"][0];
    assert_eq!(figure["conditions"]["resolution"], 768);
    assert_eq!(figure["conditions"]["shape"], "shortest side");
    assert_eq!(models[0]["licence"], "NSCLv1 (non-commercial)");
}

#[test]
fn the_list_fits_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let list = |columns: &str| {
        stdout(
            radio_eval(home.path())
                .arg("models")
                .env("COLUMNS", columns),
        )
    };
    for columns in [80, 100, 160] {
        let told = list(&columns.to_string());
        let (table, rest) = told.split_once("\n\n").unwrap();
        let widest = table.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(widest <= columns, "{widest} > {columns}\n{told}");
        assert!(
            rest.contains(&format!("not shown in {columns} columns: from")),
            "{rest}"
        );
        assert!(table.contains("licence") || rest.contains("licence"));
        assert!(table.contains("e-radio_v2"));
    }
    assert!(list("160").lines().next().unwrap().contains("licence"));
    let wide = list("400");
    assert!(!wide.contains("not shown"), "{wide}");
}

#[test]
fn every_entry_with_weights_has_a_licence() {
    for entry in zoo::entries() {
        let elsewhere = !entry.page.is_empty();
        let released = entry.role == "mini" || elsewhere || entry.repositories().next().is_some();
        assert_eq!(released, !entry.licence.is_empty(), "{}", entry.name);
    }
}
