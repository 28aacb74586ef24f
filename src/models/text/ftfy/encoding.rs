//! Text that was decoded with the wrong encoding (mojibake): found and decoded again.

use super::codec::{CHARMAPS, Charmap, decode_utf8_variants};
use super::pattern;
use regex::Regex;
use regex::bytes::Regex as BytesRegex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Neighbouring characters that hardly occur in text that was decoded rightly.
static BADNESS: LazyLock<Regex> = LazyLock::new(|| pattern(include_str!("badness.regex")));

/// (what cannot stand in front of it, a run of characters that look like UTF-8 decoded as a
/// single-byte encoding)
static UTF8_DETECTOR: LazyLock<(Regex, Regex)> = LazyLock::new(|| {
    let (before, run) = include_str!("utf8_detector.regex")
        .split_once('\n')
        .unwrap_or_default();
    (pattern(&format!("{before}\\z")), pattern(run))
});

/// UTF-8 in which byte A0 became a space.
static ALTERED_UTF8: LazyLock<BytesRegex> = LazyLock::new(|| {
    bytes_pattern(
        r"[\xC2\xC3\xC5\xCE\xD0\xD9][ ]|[\xE2\xE3][ ][\x80-\x84\x86-\x9F\xA1-\xBF]|[\xE0-\xE3][\x80-\x84\x86-\x9F\xA1-\xBF][ ]|\xF0[ ][\x80-\xBF][\x80-\xBF]|\xF0[\x80-\xBF][ ][\x80-\xBF]|\xF0[\x80-\xBF][\x80-\xBF][ ]",
    )
});

/// UTF-8 in which bytes were lost (1A, sometimes `?`).
static LOSSY_UTF8: LazyLock<BytesRegex> = LazyLock::new(|| {
    bytes_pattern(
        r"[\xC2-\xDF]\x1A|[\xC2-\xC3][?]|\xED[\xA0-\xAF][\x1A?]\xED[\xB0-\xBF][\x1A?\x80-\xBF]|\xED[\xA0-\xAF][\x1A?\x80-\xBF]\xED[\xB0-\xBF][\x1A?]|[\xE0-\xEF][\x1A?][\x1A\x80-\xBF]|[\xE0-\xEF][\x1A\x80-\xBF][\x1A?]|[\xF0-\xF4][\x1A?][\x1A\x80-\xBF][\x1A\x80-\xBF]|[\xF0-\xF4][\x1A\x80-\xBF][\x1A?][\x1A\x80-\xBF]|[\xF0-\xF4][\x1A\x80-\xBF][\x1A\x80-\xBF][\x1A?]|\x1A",
    )
});

fn bytes_pattern(source: &str) -> BytesRegex {
    BytesRegex::new(&format!("(?s-u){source}")).expect("the pattern is a constant")
}

/// ftfy's `fix_encoding`: one step after the other until none changes anything.
pub fn fix_encoding(text: &str) -> String {
    let mut text = text.to_string();
    while let Some(better) = fix_one_step(&text) {
        text = better;
    }
    text
}

/// C1 control characters as what Windows-1252 has in their places.
pub fn fix_c1_controls(text: &str) -> String {
    let windows = windows_1252();
    text.chars()
        .map(|c| match c {
            '\u{80}'..='\u{9F}' => windows.high(c as u8).unwrap_or(c),
            c => c,
        })
        .collect()
}

fn windows_1252() -> &'static Charmap {
    // The second of ftfy's list.
    &CHARMAPS[1]
}

/// `None` where there is nothing (more) to fix.
fn fix_one_step(text: &str) -> Option<String> {
    if text.is_ascii() || !BADNESS.is_match(text) {
        return None;
    }
    if let Some(fixed) = CHARMAPS.iter().find_map(|map| reinterpret(text, map)) {
        return (fixed != text).then_some(fixed);
    }
    if let Some(fixed) = fix_embedded(text) {
        return Some(fixed);
    }
    // Latin-1 that was meant as Windows-1252, or else at least its control characters.
    let fixed = latin_1_as_windows_1252(text).unwrap_or_else(|| fix_c1_controls(text));
    (fixed != text).then_some(fixed)
}

/// The text as UTF-8 that was taken for `map`, where it can be that.
fn reinterpret(text: &str, map: &Charmap) -> Option<String> {
    let mut bytes = map.encode(text)?;
    if map.name != "macroman" && ALTERED_UTF8.is_match(&bytes) {
        bytes = restore_byte_a0(&bytes);
    }
    if map.is_sloppy() {
        let lost = "\u{FFFD}".as_bytes();
        bytes = LOSSY_UTF8.replace_all(&bytes, lost).into_owned();
    }
    if bytes.contains(&0xED) || bytes.contains(&0xC0) {
        decode_utf8_variants(&bytes)
    } else {
        String::from_utf8(bytes).ok()
    }
}

/// Puts back A0 where it became a space inside of what looks like UTF-8.
fn restore_byte_a0(bytes: &[u8]) -> Vec<u8> {
    // `Ã ` alone is the word `à`, whose own space stays, unless it begins a Portuguese word.
    const NOT_A_WORD: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut words = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        match rest.strip_prefix(b"\xC3 ") {
            Some(after) if !NOT_A_WORD.iter().any(|word| after.starts_with(word)) => {
                words.extend(b"\xC3\xA0 ");
                rest = after;
            }
            _ => {
                words.push(*first);
                rest = &rest[1..];
            }
        }
    }
    let restored = ALTERED_UTF8.replace_all(&words, |found: &regex::bytes::Captures| {
        let sequence = found[0].iter();
        let sequence = sequence.map(|byte| if *byte == b' ' { 0xA0 } else { *byte });
        sequence.collect::<Vec<u8>>()
    });
    restored.into_owned()
}

/// Fixes the runs inside of `text` that look like mojibake for themselves; `None` where that
/// changes nothing.
fn fix_embedded(text: &str) -> Option<String> {
    let (before, run) = &*UTF8_DETECTOR;
    let mut fixed = String::with_capacity(text.len());
    let (mut done, mut from) = (0, 0);
    while let Some(found) = run.find_at(text, from) {
        let previous = text[..found.start()].chars().next_back();
        if previous.is_some_and(|c| before.is_match(c.encode_utf8(&mut [0; 4]))) {
            let first = found.as_str().chars().next().map_or(1, char::len_utf8);
            from = found.start() + first;
            continue;
        }
        fixed.push_str(&text[done..found.start()]);
        let part = found.as_str();
        // A part is shorter than the whole, so that this ends.
        fixed.push_str(&match part.len() < text.len() && BADNESS.is_match(part) {
            true => Cow::Owned(fix_encoding(part)),
            false => Cow::Borrowed(part),
        });
        done = found.end();
        from = done;
    }
    fixed.push_str(&text[done..]);
    (fixed != text).then_some(fixed)
}

/// `None` where a character is not of Latin-1, or its byte is unassigned in Windows-1252.
fn latin_1_as_windows_1252(text: &str) -> Option<String> {
    let windows = windows_1252();
    text.chars()
        .map(|c| match c {
            '\u{81}' | '\u{8D}' | '\u{8F}' | '\u{90}' | '\u{9D}' => None,
            '\0'..='\u{7F}' => Some(c),
            '\u{80}'..='\u{FF}' => windows.high(c as u8),
            _ => None,
        })
        .collect()
}
