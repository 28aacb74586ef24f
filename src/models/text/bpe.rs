//! OpenAI CLIP's byte-pair tokenizer with the vocabulary that ships with the tool.

use super::clean;
use crate::{Error, Result, assets};
use flate2::read::GzDecoder;
use regex::Regex;
use std::io::Read;
use std::path::Path;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

/// The merges of OpenAI CLIP, as open_clip ships them.
const VOCABULARY: &str = "text/bpe_simple_vocab_16e6.txt.gz";
/// 49152 - 256 - 2: the file holds more merges than the vocabulary takes.
const MERGES: usize = 48_894;
const START: &str = "<start_of_text>";
const END: &str = "<end_of_text>";
/// What fills a row after the end.
const PAD: i64 = 0;

/// Text to rows of token ids.
pub struct ClipTokenizer {
    bpe: BPE,
    /// Contractions, runs of letters, single digits, runs of anything else but spaces.
    words: Regex,
    byte_letters: [char; 256],
    start: i64,
    end: i64,
    context: usize,
}

impl ClipTokenizer {
    /// `context`: tokens in a row (77).
    pub fn new(context: usize) -> Result<Self> {
        let path = assets::path(VOCABULARY)?;
        let merges = read_merges(&path)?;
        let byte_letters = byte_letters();
        let mut letters: Vec<char> = (0..=255).map(|b| byte_letters[b]).collect();
        // The vocabulary's order: printable bytes first, then the ones moved out of the way.
        letters.sort_unstable();
        let singles = letters.iter().map(char::to_string);
        let ends = letters.iter().map(|c| format!("{c}</w>"));
        let merged = merges.iter().map(|(a, b)| format!("{a}{b}"));
        let specials = [START, END].map(String::from);
        let vocabulary: Vec<String> = singles.chain(ends).chain(merged).chain(specials).collect();
        let size = vocabulary.len() as i64;
        let bpe = BPE::builder()
            .vocab_and_merges(
                vocabulary
                    .into_iter()
                    .zip(0..)
                    .collect::<tokenizers::models::bpe::Vocab>(),
                merges,
            )
            .end_of_word_suffix("</w>".into())
            .build()
            .map_err(|e| Error::file(&path, e))?;
        let words = words_pattern().map_err(Error::model)?;
        Ok(ClipTokenizer {
            bpe,
            words,
            byte_letters,
            start: size - 2,
            end: size - 1,
            context,
        })
    }

    /// One row of `context` ids: start, the text, end, zeros. A longer text is cut, its last id
    /// becoming the end.
    pub fn row(&self, text: &str) -> Result<Vec<i64>> {
        let mut ids = vec![self.start];
        ids.extend(self.encode(text)?);
        ids.push(self.end);
        if ids.len() > self.context {
            ids.truncate(self.context);
            if let Some(last) = ids.last_mut() {
                *last = self.end;
            }
        }
        ids.resize(self.context, PAD);
        Ok(ids)
    }

    /// The ids of a text, without start and end.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let mut ids = Vec::new();
        for word in self.words.find_iter(&clean::lower(text)) {
            match word.as_str() {
                START => ids.push(self.start),
                END => ids.push(self.end),
                word => {
                    let letters: String = word
                        .bytes()
                        .map(|byte| self.byte_letters[usize::from(byte)])
                        .collect();
                    let tokens = self.bpe.tokenize(&letters).map_err(Error::model)?;
                    ids.extend(tokens.iter().map(|token| i64::from(token.id)));
                }
            }
        }
        Ok(ids)
    }
}

/// open_clip's pattern of words. Letters and numbers are those of Python's `regex` 2026.11, so that
/// the Unicode version of a Rust crate changes no token.
fn words_pattern() -> Result<Regex, regex::Error> {
    let (letters, numbers) = include_str!("letters_and_numbers.txt")
        .trim_end()
        .split_once('\n')
        .unwrap_or_default();
    // U+0345 is no letter, but folds to one: under open_clip's IGNORECASE nothing takes it.
    Regex::new(&format!(
        r"(?i:<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d)|[{letters}]+|[{numbers}]|[^\s{letters}{numbers}\x{{345}}]+",
    ))
}

/// Lines 1 to [`MERGES`] of the vocabulary file; line 0 is its version.
fn read_merges(path: &Path) -> Result<Vec<(String, String)>> {
    let file = std::fs::File::open(path).map_err(|e| Error::file(path, e))?;
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .map_err(|e| Error::file(path, e))?;
    let merges: Vec<_> = text
        .lines()
        .skip(1)
        .take(MERGES)
        .filter_map(|line| line.split_once(' '))
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .collect();
    if merges.len() != MERGES {
        return Err(Error::file(
            path,
            format!(
                "has {} merges, {MERGES} are needed; the file is damaged",
                merges.len()
            ),
        ));
    }
    Ok(merges)
}

/// A printable letter for every byte (GPT-2's `bytes_to_unicode`): printable bytes of Latin-1
/// stand for themselves, the others move up from U+0100.
fn byte_letters() -> [char; 256] {
    let mut moved = (0x100u32..).filter_map(char::from_u32);
    std::array::from_fn(|byte| match byte as u8 {
        b @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(b),
        _ => moved.next().unwrap_or_default(),
    })
}
