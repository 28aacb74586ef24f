//! `ftfy.fix_text` with its default settings: undoes mojibake and other accidents of text.
//!
//! open_clip passes every prompt through ftfy before tokenizing it, so the same text must come out
//! here. This is a port of ftfy 6.3.1 (Robyn Speer, Apache-2.0, github.com/rspeer/python-ftfy);
//! the tables and patterns beside this file are written from that version by
//! `tests/fixtures/text/make_tables.py`. Left out: the repair of lone surrogates, which a Rust
//! string cannot hold.

mod codec;
mod encoding;

use super::html;
use encoding::{fix_c1_controls, fix_encoding};
use regex::Regex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// ftfy's `max_decode_length`, in characters.
const MAX_SEGMENT: usize = 1_000_000;

/// Fixes `text` line by line.
pub fn fix_text(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    // Once a line holds a `<`, entities stay as they are from there on: it may be HTML.
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .nth(MAX_SEGMENT)
                .map_or(rest.len(), |(i, _)| i);
            let (segment, after) = rest.split_at(end);
            unescape &= !segment.contains('<');
            fixed.push_str(&fix_segment(segment, unescape));
            rest = after;
        }
    }
    fixed
}

/// Repeats every fix until none changes anything.
fn fix_segment(segment: &str, unescape: bool) -> String {
    let mut text = segment.to_string();
    loop {
        let before = text.clone();
        if unescape {
            text = html::unescape_closed(&text);
        }
        text = fix_encoding(&text);
        text = fix_c1_controls(&text);
        text = translate(&text, &LIGATURES);
        text = translate(&text, &WIDTHS);
        text = text.chars().map(straight_quote).collect();
        text = text
            .replace("\r\n", "\n")
            .replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
        text = TERMINAL_ESCAPE.replace_all(&text, "").into_owned();
        text.retain(|c| !is_unwanted_control(c));
        text = text.nfc().collect();
        if text == before {
            return text;
        }
    }
}

fn translate(text: &str, table: &HashMap<char, Cow<'static, str>>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match table.get(&c) {
            Some(replacement) => out.push_str(replacement),
            None => out.push(c),
        }
    }
    out
}

/// Latin ligatures and digraphs, by their letters.
static LIGATURES: LazyLock<HashMap<char, Cow<'static, str>>> = LazyLock::new(|| {
    include_str!("ligatures.tsv")
        .lines()
        .filter_map(|line| {
            let (code, letters) = line.split_once('\t')?;
            let ligature = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            Some((ligature, Cow::Borrowed(letters)))
        })
        .collect()
});

/// Half-width and full-width forms, and the ideographic space, by their ordinary forms.
static WIDTHS: LazyLock<HashMap<char, Cow<'static, str>>> = LazyLock::new(|| {
    let forms = ('\u{FF01}'..'\u{FFF0}').filter_map(|form| {
        let plain: String = std::iter::once(form).nfkc().collect();
        (!plain.chars().eq([form])).then_some((form, Cow::Owned(plain)))
    });
    forms.chain([('\u{3000}', Cow::Borrowed(" "))]).collect()
});

fn straight_quote(c: char) -> char {
    match c {
        '\u{2BC}' | '\u{2018}'..='\u{201B}' => '\'',
        '\u{201C}'..='\u{201F}' => '"',
        c => c,
    }
}

/// Colours and cursor movements of Unix terminals.
static TERMINAL_ESCAPE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\x1B\[[\d;]*[a-zA-Z]"));

/// Control characters that have no place in text (Unicode Technical Report 20).
fn is_unwanted_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{B}'
            | '\u{E}'..='\u{1F}'
            | '\u{7F}'
            | '\u{206A}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFC}'
    )
}

/// Compiles a pattern of this program.
fn pattern(source: &str) -> Regex {
    Regex::new(source.trim_end_matches('\n')).expect("the pattern is a constant")
}
