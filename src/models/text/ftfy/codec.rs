//! The single-byte encodings that mojibake comes from, and UTF-8 with its common deviations.

use std::collections::HashMap;
use std::sync::LazyLock;

/// In sloppy encodings this byte stands for U+FFFD, a character lost before.
const SUBSTITUTE: u8 = 0x1A;

/// A single-byte encoding. The sloppy ones fill their unassigned bytes as Latin-1 would.
pub struct Charmap {
    pub name: &'static str,
    bytes: HashMap<char, u8>,
    high: Vec<char>,
}

/// ftfy's encodings in the order in which it tries them.
pub static CHARMAPS: LazyLock<Vec<Charmap>> = LazyLock::new(|| {
    include_str!("charmaps.tsv")
        .lines()
        .map(Charmap::parse)
        .collect()
});

impl Charmap {
    /// `name`, then the characters of bytes 0x80 to 0xFF in hex.
    fn parse(line: &'static str) -> Self {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap_or_default();
        let high: Vec<char> = columns
            .filter_map(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?))
            .collect();
        let bytes = high.iter().copied().zip(0x80..=0xFF).collect();
        Charmap { name, bytes, high }
    }

    pub fn is_sloppy(&self) -> bool {
        self.name.starts_with("sloppy")
    }

    /// The bytes of `text`, or `None` where a character is not of this encoding.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars()
            .map(|c| match c {
                '\u{1A}' if self.is_sloppy() => None,
                '\u{FFFD}' if self.is_sloppy() => Some(SUBSTITUTE),
                c if c.is_ascii() => Some(c as u8),
                c => self.bytes.get(&c).copied(),
            })
            .collect()
    }

    /// The character of a byte from 0x80 on.
    pub fn high(&self, byte: u8) -> Option<char> {
        self.high.get(usize::from(byte).checked_sub(0x80)?).copied()
    }
}

/// ftfy's `utf-8-variants`: UTF-8 that may hold CESU-8 surrogate pairs and Java's two-byte NUL.
/// `None` where the bytes are neither.
pub fn decode_utf8_variants(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let special = (0..rest.len()).find(|i| is_special(&rest[*i..]));
        let plain = special.unwrap_or(rest.len());
        if plain > 0 {
            out.push_str(std::str::from_utf8(&rest[..plain]).ok()?);
            rest = &rest[plain..];
        } else if rest[0] == 0xC0 && rest.len() > 1 {
            out.push('\0');
            rest = &rest[2..];
        } else if rest.len() >= 6 && matches_prefix(rest, CESU8) {
            let bits = |i: usize, mask: u8| u32::from(rest[i] & mask);
            let code = (bits(1, 0x0F) << 16)
                + (bits(2, 0x3F) << 10)
                + (bits(4, 0x0F) << 6)
                + bits(5, 0x3F)
                + 0x10000;
            out.push(char::from_u32(code)?);
            rest = &rest[6..];
        } else {
            // A truncated sequence or a lone surrogate: Python's decoder refuses it.
            return None;
        }
    }
    Some(out)
}

type Range = std::ops::RangeInclusive<u8>;

/// Java's NUL.
const NUL: &[Range] = &[0xC0..=0xC0, 0x80..=0x80];
/// A surrogate pair, each half as three bytes.
const CESU8: &[Range] = &[
    0xED..=0xED,
    0xA0..=0xAF,
    0x80..=0xBF,
    0xED..=0xED,
    0xB0..=0xBF,
    0x80..=0xBF,
];
/// One surrogate.
const SURROGATE: &[Range] = &[0xED..=0xED, 0xA0..=0xBF, 0x80..=0xBF];

fn is_special(bytes: &[u8]) -> bool {
    [NUL, CESU8, SURROGATE]
        .iter()
        .any(|sequence| matches_prefix(bytes, sequence))
}

/// Whether `bytes` begin with the sequence, or with a beginning of it (its first byte at least) and
/// then end. As for Python's `$`, the end may also be before a last line feed.
fn matches_prefix(bytes: &[u8], sequence: &[Range]) -> bool {
    for (i, range) in sequence.iter().enumerate() {
        match bytes.get(i) {
            Some(byte) if range.contains(byte) => {}
            rest => {
                let at_end = rest.is_none() || (bytes[i] == b'\n' && i + 1 == bytes.len());
                return i > 0 && at_end;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_all_its_bytes() {
        assert_eq!(CHARMAPS.len(), 10);
        for map in CHARMAPS.iter() {
            assert_eq!(
                (map.high.len(), map.bytes.len()),
                (128, 128),
                "{}",
                map.name
            );
        }
        let cp1252 = &CHARMAPS[1];
        assert_eq!(
            cp1252.encode("€\u{81}\u{FFFD}a"),
            Some(vec![0x80, 0x81, 0x1A, b'a'])
        );
        assert_eq!(cp1252.encode("\u{1A}"), None);
    }

    #[test]
    fn utf8_variants() {
        let cesu = [0xED, 0xA0, 0xBD, 0xED, 0xB2, 0xA9];
        assert_eq!(decode_utf8_variants(&cesu).as_deref(), Some("💩"));
        assert_eq!(decode_utf8_variants(b"a\xC0\x80b").as_deref(), Some("a\0b"));
        assert_eq!(
            decode_utf8_variants("한글".as_bytes()).as_deref(),
            Some("한글")
        );
        assert_eq!(decode_utf8_variants(b"a\xC0"), None);
        assert_eq!(decode_utf8_variants(b"\xED\xA0\x80abc"), None);
    }
}
