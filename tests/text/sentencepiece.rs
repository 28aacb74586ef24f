//! SigLIP's tokenizers against Python's `tokenizers` and open_clip's canonical form.

use crate::common::fixture;
use radio_eval::models::text::SiglipTokenizer;

fn check(name: &str) {
    let folder = fixture(&format!("text/{name}"));
    let tokenizer = SiglipTokenizer::open(&folder.join("tokenizer.json"), 64).unwrap();
    let rows = std::fs::read_to_string(folder.join("rows.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 301);
    for line in rows.lines() {
        let (prompt, pad, mut expected): (String, i64, Vec<i64>) =
            serde_json::from_str(line).unwrap();
        expected.resize(64, pad);
        assert_eq!(tokenizer.row(&prompt).unwrap(), expected, "{prompt:?}");
    }
}

#[test]
fn siglip_rows() {
    check("siglip");
}

#[test]
fn siglip2_rows() {
    check("siglip2");
}

#[test]
fn a_missing_tokenizer_says_where_it_belongs() {
    let path = fixture("text/clip_quickgelu/tokenizer.json");
    let error = SiglipTokenizer::open(&path, 64).err().unwrap().to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("beside the weights"),
        "{error}"
    );
    let config = fixture("text/clip_quickgelu/openclip_config.json");
    assert!(SiglipTokenizer::open(&config, 64).is_err());
}
