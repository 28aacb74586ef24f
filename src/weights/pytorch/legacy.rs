//! The container of PyTorch before 1.6: pickles of a magic number, a protocol version, facts
//! about the machine, the object, and the storage keys; then every storage as its number of
//! elements (int64) and its raw bytes.

use super::{Saved, Storages, select};
use crate::weights::Element;
use crate::weights::lazy::Mapping;
use crate::weights::pickle::{self, Node, Pickle, StorageRef};
use crate::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// `0x1950a86a20f9469cfc6c`, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

pub(super) fn open(map: &Arc<Mapping>) -> Result<Saved> {
    let fail = |reason: String| Error::file(map.path(), reason);
    let (pickle, mut storages) = parse(map.bytes()).map_err(fail)?;
    select::select(map, &pickle, &mut storages)
}

fn parse(bytes: &[u8]) -> Result<(Pickle, Table), String> {
    let mut at = 0;
    let mut next = || {
        let pickle = pickle::read(&bytes[at..])?;
        at += pickle.len;
        Ok::<_, String>(pickle)
    };
    let foreign = "a Python pickle, but not one that torch.save wrote; load it in Python and save \
                   its state dict with safetensors or torch.save";
    let magic = next().map_err(|_| foreign)?;
    if *magic.node(magic.root()) != Node::Long(MAGIC.to_vec()) {
        return Err(foreign.into());
    }
    let protocol = next()?;
    if *protocol.node(protocol.root()) != Node::Int(PROTOCOL) {
        return Err("written by a version of PyTorch that is not known here".into());
    }
    let system = next()?;
    let little = system.get(system.root(), "little_endian");
    if little.is_some_and(|id| *system.node(id) == Node::Bool(false)) {
        return Err("the tensors are big-endian, which is not supported".into());
    }
    let object = next()?;
    let keys = next()?;
    let table = Table::new(bytes, at, &object, &keys)?;
    Ok((object, table))
}

/// Byte range of each storage.
struct Table(HashMap<String, Range<usize>>);

impl Table {
    fn new(bytes: &[u8], mut at: usize, object: &Pickle, keys: &Pickle) -> Result<Self, String> {
        let widths: HashMap<&str, &Element> = object
            .storages()
            .map(|s| (s.key.as_str(), &s.element))
            .collect();
        let Node::Sequence(order) = keys.node(keys.root()) else {
            return Err("its list of storages is damaged".into());
        };
        let mut table = HashMap::with_capacity(order.len());
        for &key in order {
            let key = keys.str(key).ok_or("its list of storages is damaged")?;
            let element = widths
                .get(key)
                .ok_or_else(|| format!("storage `{key}` is of no tensor"))?;
            let width = element.bytes.ok_or_else(|| {
                format!(
                    "it holds a `{}`, whose size is not known here, so what lies behind it cannot be found; save the weights again with torch.save of PyTorch 1.6 or newer",
                    element.name
                )
            })?;
            let truncated = || {
                format!(
                    "storage `{key}` reaches past the end; the file is truncated: fetch it again"
                )
            };
            let start = at.checked_add(8).ok_or_else(truncated)?;
            let header = bytes.get(at..start).ok_or_else(truncated)?;
            let mut count = [0; 8];
            count.copy_from_slice(header);
            let end = usize::try_from(i64::from_le_bytes(count))
                .ok()
                .and_then(|n| n.checked_mul(width))
                .and_then(|n| start.checked_add(n))
                .filter(|&end| end <= bytes.len())
                .ok_or_else(truncated)?;
            table.insert(key.to_string(), start..end);
            at = end;
        }
        Ok(Table(table))
    }
}

impl Storages for Table {
    fn locate(&mut self, storage: &StorageRef) -> Result<Range<usize>, String> {
        let found = self.0.get(&storage.key).cloned();
        found.ok_or_else(|| format!("its values (storage `{}`) are not in the file", storage.key))
    }
}
