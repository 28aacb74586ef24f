//! HTML character references, decoded as Python does.

use regex::{Captures, Regex};
use std::collections::HashMap;
use std::sync::LazyLock;

/// `html.entities.html5`: names (most with their `;`, the oldest also without) and texts. The
/// names are those of the HTML standard, "Named character references".
static ENTITIES: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
    include_str!("html5_entities.tsv")
        .lines()
        .filter_map(|line| {
            let (name, codes) = line.split_once('\t')?;
            let text = codes
                .split('\t')
                .filter_map(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
            Some((name, text.collect()))
        })
        .collect()
});

/// Names in capitals that HTML does not know but ftfy decodes (`EACUTE;`).
static CAPITALS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    ENTITIES
        .iter()
        .filter(|(name, _)| name.ends_with(';') && !name.contains(|c: char| c.is_uppercase()))
        .filter_map(|(name, text)| {
            let capitals = name.to_uppercase();
            let reference = format!("&{capitals}");
            (unescape(&reference) == reference).then(|| (capitals, text.to_uppercase()))
        })
        .collect()
});

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\x0C <&#;]{1,32};?)")
        .expect("the pattern is a constant")
});

static CLOSED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"&(#?[0-9A-Za-z]{1,24};)").expect("the pattern is a constant"));

/// Python's `html.unescape`: every reference, also those without the semicolon.
pub fn unescape(text: &str) -> String {
    let decode = |found: &Captures| reference(&found[1]);
    REFERENCE.replace_all(text, decode).into_owned()
}

/// ftfy's `unescape_html`: only references closed by a semicolon, and some in capitals.
pub fn unescape_closed(text: &str) -> String {
    let decode = |found: &Captures| {
        let (whole, name) = (&found[0], &found[1]);
        if let Some(text) = ENTITIES.get(name).or_else(|| CAPITALS.get(name)) {
            return text.clone();
        }
        if name.starts_with('#') {
            let decoded = unescape(whole);
            if !decoded.contains(';') {
                return decoded;
            }
        }
        whole.to_string()
    };
    CLOSED.replace_all(text, decode).into_owned()
}

/// What stands after the `&`, decoded.
fn reference(name: &str) -> String {
    if let Some(number) = name.strip_prefix('#') {
        let number = number.trim_end_matches(';');
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        // Only too large a number fails to parse.
        return numeric(code.unwrap_or(u32::MAX));
    }
    if let Some(text) = ENTITIES.get(name) {
        return text.clone();
    }
    // The longest name that the text begins with: `&notit;` is `¬it;`.
    let ends = name.char_indices().map(|(i, _)| i).filter(|i| *i > 1);
    for end in ends.rev() {
        if let Some(text) = ENTITIES.get(&name[..end]) {
            return format!("{text}{}", &name[end..]);
        }
    }
    format!("&{name}")
}

/// A numeric reference (HTML standard, "Numeric character reference end state").
fn numeric(code: u32) -> String {
    /// What browsers take 0x80 to 0x9F for: Windows-1252.
    const WINDOWS_1252: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž',
        '\u{8F}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}',
        'ž', 'Ÿ',
    ];
    let noncharacter = (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE;
    match code {
        0 => '\u{FFFD}'.to_string(),
        0x80..=0x9F => WINDOWS_1252[(code - 0x80) as usize].to_string(),
        0x1..=0x8 | 0xB | 0xE..=0x1F | 0x7F => String::new(),
        ..=0x10FFFF if noncharacter => String::new(),
        // Surrogates and what is beyond Unicode.
        _ => char::from_u32(code).unwrap_or('\u{FFFD}').to_string(),
    }
}
