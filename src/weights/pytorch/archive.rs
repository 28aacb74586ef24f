//! The zip container: `<root>/data.pkl`, one stored record `<root>/data/<key>` per storage.

use super::{Saved, Storages, select};
use crate::weights::lazy::Mapping;
use crate::weights::pickle::{self, StorageRef};
use crate::{Error, Result};
use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;
use zip::{CompressionMethod, ZipArchive};

/// Most bytes unpacked for a record that is not a tensor.
const MAX_RECORD: u64 = 64 << 20;

pub(super) fn open(map: &Arc<Mapping>) -> Result<Option<Saved>> {
    let fail = |reason: String| Error::file(map.path(), reason);
    let mut archive = Archive::new(map.bytes()).map_err(fail)?;
    if archive.is_torchscript() {
        return Ok(image_text_parameters(map, &mut archive));
    }
    if let Some(order) = archive.read("byteorder").map_err(fail)?
        && order != b"little"
    {
        return Err(fail(
            "the tensors are big-endian, which is not supported: save them again on a \
             little-endian machine"
                .into(),
        ));
    }
    let pickle = archive.read("data.pkl").map_err(fail)?.unwrap_or_default();
    let pickle = pickle::read(&pickle).map_err(fail)?;
    select::select(map, &pickle, &mut archive).map(Some)
}

/// The parameters of a TorchScript archive that holds an image tower and a text tower, which no
/// caller of programs on images can run (OpenAI's `ViT-L-14.pt`); `None` for other programs.
fn image_text_parameters(map: &Arc<Mapping>, archive: &mut Archive) -> Option<Saved> {
    let pickle = archive.read("data.pkl").ok()??;
    let pickle = pickle::read(&pickle).ok()?;
    let saved = select::select(map, &pickle, archive).ok()?;
    let images = saved.tensors.keys().any(|name| name.starts_with("visual."));
    (images && saved.tensors.contains_key("token_embedding.weight")).then_some(saved)
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Folder of all records, with its slash.
    root: String,
}

impl<'a> Archive<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| {
            format!(
                "not a readable zip archive ({e}); the file is truncated or damaged: fetch it again"
            )
        })?;
        let root = zip
            .file_names()
            .filter_map(|name| Some(name.ok()?.strip_suffix("data.pkl")?.to_string()))
            .filter(|root| root.is_empty() || root.ends_with('/'))
            .min_by_key(|root| root.matches('/').count());
        match root {
            Some(root) => Ok(Archive { zip, root }),
            None => {
                Err("a zip archive, but not one that torch.save wrote (it has no data.pkl)".into())
            }
        }
    }

    fn is_torchscript(&self) -> bool {
        let code = format!("{}code/", self.root);
        self.zip
            .index_for_name(&format!("{}constants.pkl", self.root))
            .is_some()
            || self
                .zip
                .file_names()
                .any(|name| name.is_ok_and(|name| name.starts_with(&code)))
    }

    /// A small record, its checksum verified; `None` where there is none of that name.
    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(index) = self.zip.index_for_name(&format!("{}{name}", self.root)) else {
            return Ok(None);
        };
        let damaged = |e: &dyn std::fmt::Display| {
            format!("record `{name}` cannot be read ({e}); the file is damaged: fetch it again")
        };
        let record = self.zip.by_index(index).map_err(|e| damaged(&e))?;
        let mut bytes = Vec::new();
        let mut limited = record.take(MAX_RECORD + 1);
        limited.read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
        if bytes.len() as u64 > MAX_RECORD {
            return Err(format!(
                "record `{name}` is larger than {} MiB",
                MAX_RECORD >> 20
            ));
        }
        Ok(Some(bytes))
    }
}

impl Storages for Archive<'_> {
    fn locate(&mut self, storage: &StorageRef) -> Result<Range<usize>, String> {
        let key = &storage.key;
        let name = format!("{}data/{key}", self.root);
        let index = self.zip.index_for_name(&name).ok_or_else(|| {
            format!("its values (record `data/{key}`) are not in the file; fetch it again")
        })?;
        let damaged = |e: &dyn std::fmt::Display| {
            format!("record `data/{key}` is damaged ({e}); fetch the file again")
        };
        let record = self.zip.by_index_raw(index).map_err(|e| damaged(&e))?;
        if record.compression() != CompressionMethod::Stored || record.encrypted() {
            return Err(
                "its values are compressed or encrypted, which torch.save never does; the archive \
                 was packed again: take the original file"
                    .into(),
            );
        }
        let start = record.data_start().ok_or_else(|| damaged(&"no start"))?;
        let end = start.checked_add(record.compressed_size());
        match (usize::try_from(start), end.map(usize::try_from)) {
            (Ok(start), Some(Ok(end))) => Ok(start..end),
            _ => Err(damaged(&"impossible offsets")),
        }
    }
}
