//! TensorBoard's event files: scalars as protobuf messages in TFRecord frames.
//!
//! Formats: tensorflow/core/util/event.proto, framework/summary.proto, lib/io/record_writer.cc. A
//! frame is the length (u64), its masked CRC-32C, the message, and its masked CRC-32C.

use super::Line;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// `Event.session_log` with `status` START: what an earlier session wrote behind this step is void.
const SESSION_START: u64 = 1;
/// `kMaskDelta` of lib/hash/crc32c.h.
const MASK: u32 = 0xa282_ead8;

pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// A new file for a session that begins at `step`.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        let name = format!(
            "events.out.tfevents.{:.0}.{}.radio-eval",
            now(),
            std::process::id()
        );
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| Error::file(&path, e))?;
        let mut events = EventFile { path, file };
        let mut version = Message::event(0);
        version.bytes(3, b"brain.Event:2");
        events.frame(&version.0)?;
        if step > 0 {
            let mut log = Message::default();
            log.varint(1, SESSION_START);
            let mut start = Message::event(step);
            start.bytes(7, &log.0);
            events.frame(&start.0)?;
        }
        Ok(events)
    }

    /// The values of a line, each as a scalar.
    pub fn scalars(&mut self, line: &Line) -> Result<()> {
        let mut summary = Message::default();
        for (name, value) in &line.values {
            let Some(value) = Value::as_f64(value) else {
                continue;
            };
            let mut entry = Message::default();
            entry.bytes(1, name.replace('.', "/").as_bytes());
            entry.fixed32(2, value as f32);
            summary.bytes(1, &entry.0);
        }
        let mut event = Message::event(line.step);
        event.bytes(5, &summary.0);
        self.frame(&event.0)
    }

    fn frame(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut frame = length.to_vec();
        frame.extend(masked(&length).to_le_bytes());
        frame.extend(message);
        frame.extend(masked(message).to_le_bytes());
        let written = self.file.write_all(&frame);
        written.map_err(|e| Error::file(&self.path, e))
    }
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An `Event` with its time and step.
    fn event(step: u64) -> Self {
        let mut event = Message::default();
        event.key(1, 1);
        event.0.extend(now().to_le_bytes());
        event.varint(2, step);
        event
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.number(field << 3 | wire);
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.number(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.number(value.len() as u64);
        self.0.extend(value);
    }

    fn fixed32(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths, checksums and fields as the formats say.
    #[test]
    fn frames_are_those_of_tfrecord() {
        // RFC 3720 B.4: 32 bytes of zeroes.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 0).unwrap();
        let mut line = Line::new(300);
        line.put("clip.summary", 0.5);
        events.scalars(&line).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
        let first = &bytes[12..12 + length];
        assert_eq!(bytes[12 + length..16 + length], masked(first).to_le_bytes());
        assert!(first.ends_with(b"brain.Event:2"));
        let second = &bytes[16 + length..];
        let length = u64::from_le_bytes(second[..8].try_into().unwrap()) as usize;
        let event = &second[12..12 + length];
        assert_eq!(event[9..12], [0x10, 0xac, 0x02]); // step 300
        let tag = b"clip/summary";
        assert!(event.windows(tag.len()).any(|w| w == tag));
        assert!(event.ends_with(&0.5f32.to_le_bytes()));
    }
}
