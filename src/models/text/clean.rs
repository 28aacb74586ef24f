//! How prompts are cleaned before they are tokenized (open_clip `tokenizer.py`).

use super::{ftfy, html};

/// open_clip's `lower`: ftfy, HTML references twice, single spaces, lower case.
pub fn lower(text: &str) -> String {
    collapse(&basic(text)).to_lowercase()
}

/// open_clip's `whitespace`: ftfy, HTML references twice, single spaces.
pub fn whitespace(text: &str) -> String {
    collapse(&basic(text))
}

/// open_clip's `canonicalize` (SigLIP): as [`canonicalize`], after ftfy and HTML references.
pub fn basic_canonicalize(text: &str) -> String {
    canonicalize(&basic(text))
}

/// big_vision's canonical form (RADIO's SigLIP2 adaptor): `_` becomes a space, ASCII punctuation
/// goes, lower case, single spaces.
pub fn canonicalize(text: &str) -> String {
    let text: String = text
        .replace('_', " ")
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    collapse(&text.to_lowercase())
}

fn basic(text: &str) -> String {
    html::unescape(&html::unescape(&ftfy::fix_text(text)))
}

/// Words joined by single spaces.
fn collapse(text: &str) -> String {
    let words: Vec<&str> = text
        .split(is_python_space)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Python's `str.isspace`: Unicode's white space and four separators of ASCII.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}
