//! The same network under other tensor names.
//!
//! An architecture is written against one layout ("ours", usually upstream's own). A [`KeyLayout`] is
//! a table that says where each of those tensors lies in a file of another layout, so that the
//! network code sees one set of names, and errors still name the tensors of the user's file.

use super::checkpoint::{Checkpoint, SEVERAL, WeightSource};
use super::{LazyTensor, Provenance, StateDict};
use crate::{Error, Result};
use tch::Tensor;

/// Where a tensor lies in a file of another layout. In both columns of a table `*` stands for one
/// number, and what follows the last component (`.weight`, `.bias`) is taken over.
#[derive(Debug, Clone, Copy)]
pub enum KeyPlace {
    /// The same tensor under another name.
    Named(&'static str),
    /// Several tensors, one under the other along the first axis (q, k and v of an attention).
    Stacked(&'static [&'static str]),
    /// A matrix stored the other way round.
    Transposed(&'static str),
}

impl KeyPlace {
    fn names(&self) -> Vec<&'static str> {
        match self {
            KeyPlace::Named(name) | KeyPlace::Transposed(name) => vec![name],
            KeyPlace::Stacked(names) => names.to_vec(),
        }
    }
}

/// Where the tensors of a network lie in a file.
pub struct KeyLayout {
    /// What stands in front of every tensor of the network in the file (`dinov2.`), or nothing.
    pub prefix: String,
    pub table: KeyTable,
    /// Tensors of the network that lie outside the prefix all the same.
    pub outside: KeyTable,
}

/// (our name, place in the file)
pub type KeyTable = &'static [(&'static str, KeyPlace)];

/// Stands in front of tensors outside the prefix that no table knows (another tower, a
/// classifier), so that an architecture can say at [`super::ParamStore::finish`] which it allows.
pub const OUTSIDE: char = '^';

impl KeyLayout {
    pub fn new(prefix: impl Into<String>, table: KeyTable) -> Self {
        KeyLayout {
            prefix: prefix.into(),
            table,
            outside: &[],
        }
    }

    pub fn with_outside(self, outside: KeyTable) -> Self {
        KeyLayout { outside, ..self }
    }

    /// The same checkpoint under our names. Tensors that no table knows keep theirs (marked with
    /// [`OUTSIDE`] where they lack the prefix), so that strict loading still finds them unexpected.
    pub fn apply(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        let WeightSource::File(tensors) = &checkpoint.source else {
            return Ok(checkpoint.clone());
        };
        let mut ours = StateDict::new();
        for (key, tensor) in tensors {
            let (prefix, short, table) = match key.strip_prefix(&self.prefix) {
                Some(short) => (self.prefix.as_str(), short, self.table),
                None => ("", key.as_str(), self.outside),
            };
            let hit = table.iter().find_map(|(our, place)| {
                let part = place.names().iter().find_map(|name| matches(name, short))?;
                Some((our, place, part))
            });
            match hit {
                None if short.len() == key.len() && !self.prefix.is_empty() => {
                    ours.insert(format!("{OUTSIDE}{key}"), tensor.clone());
                }
                None => {
                    ours.insert(short.to_string(), tensor.clone());
                }
                Some((our, place, found)) => {
                    let name = found.fill(our);
                    let known = ours.contains_key(&name);
                    if known && !matches!(place, KeyPlace::Stacked(_)) {
                        let reason =
                            "is there twice: the file has the same tensor under another name too";
                        return Err(Error::tensor(&checkpoint.path, key, reason));
                    }
                    if !known {
                        let key = |pattern: &str| format!("{prefix}{}", found.fill(pattern));
                        let value =
                            value(place, &key, tensor, tensors).map_err(|(key, reason)| {
                                Error::tensor(&checkpoint.path, key, reason)
                            })?;
                        ours.insert(name, value);
                    }
                }
            }
        }
        Ok(Checkpoint {
            source: WeightSource::File(ours),
            ..checkpoint.clone()
        })
    }

    /// Turns our name in an error about a tensor back into the name (or names) in the file.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Tensor {
                path,
                tensor,
                reason,
            } => Error::Tensor {
                path,
                tensor: self.stored_name(&tensor),
                reason,
            },
            other => other,
        }
    }

    fn stored_name(&self, ours: &str) -> String {
        if let Some(outside) = ours.strip_prefix(OUTSIDE) {
            return outside.to_string();
        }
        let named = |prefix: &str, table: KeyTable| {
            table.iter().find_map(|(our, place)| {
                let found = matches(our, ours)?;
                let names = place.names().into_iter();
                let names: Vec<_> = names
                    .map(|n| format!("{prefix}{}", found.fill(n)))
                    .collect();
                Some(names.join(SEVERAL))
            })
        };
        named("", self.outside)
            .or_else(|| named(&self.prefix, self.table))
            .unwrap_or_else(|| format!("{}{ours}", self.prefix))
    }
}

/// The tensor that `place` describes, `tensor` being one of its parts; `key` completes the names
/// of its patterns. An error is about the tensor named first.
fn value(
    place: &KeyPlace,
    key: &dyn Fn(&str) -> String,
    tensor: &LazyTensor,
    tensors: &StateDict,
) -> Result<LazyTensor, (String, String)> {
    let names = match place {
        KeyPlace::Named(_) => return Ok(tensor.clone()),
        KeyPlace::Transposed(_) => return Ok(transposed(tensor)),
        KeyPlace::Stacked(names) => names,
    };
    let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
    let mut parts = Vec::new();
    for key in &keys {
        match tensors.get(key) {
            Some(part) => parts.push(part.clone()),
            None => {
                let others: Vec<_> = keys.iter().filter(|k| *k != key).cloned().collect();
                let reason = format!("missing; it belongs beside `{}`", others.join("`, `"));
                return Err((key.clone(), reason));
            }
        }
    }
    let shapes: Vec<_> = parts.iter().map(|p| p.shape.clone()).collect();
    stacked(parts).ok_or_else(|| {
        let reason = format!(
            "the shapes of `{}` ({shapes:?}) do not go together",
            keys.join("`, `")
        );
        (keys[0].clone(), reason)
    })
}

/// Parts one under the other along the first axis; `None` where the other axes differ.
pub fn stacked(parts: Vec<LazyTensor>) -> Option<LazyTensor> {
    let first = parts.first()?;
    let (kind, mut shape) = (first.kind, first.shape.clone());
    let rows = parts.iter().map(|part| match &part.provenance {
        Some(Provenance::Key(key)) => Some((key.clone(), *part.shape.first()?)),
        _ => None,
    });
    let provenance = rows.collect::<Option<Vec<_>>>().map(Provenance::Rows);
    if shape.is_empty() || parts.iter().any(|p| p.shape.get(1..) != shape.get(1..)) {
        return None;
    }
    shape[0] = parts.iter().map(|p| p.shape[0]).sum();
    let stacked = LazyTensor::computed(shape, kind, move || {
        let values = parts
            .iter()
            .map(|p| p.read(tch::Device::Cpu, kind))
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&values, 0)?)
    });
    Some(stacked.with_provenance(provenance))
}

/// A matrix the other way round.
fn transposed(tensor: &LazyTensor) -> LazyTensor {
    let shape = tensor.shape.iter().rev().copied().collect();
    let stored = tensor.clone();
    let provenance = match &tensor.provenance {
        Some(Provenance::Key(key)) => Some(Provenance::Transposed(key.clone())),
        _ => None,
    };
    LazyTensor::computed(shape, tensor.kind, move || {
        Ok(stored.read_stored()?.f_numpy_t()?.f_contiguous()?)
    })
    .with_provenance(provenance)
}

/// What the stars of a pattern stood for, and what followed it.
struct Match {
    numbers: Vec<String>,
    rest: String,
}

impl Match {
    /// Puts the numbers and the rest into another pattern.
    fn fill(&self, pattern: &str) -> String {
        let mut numbers = self.numbers.iter();
        let mut name: Vec<&str> = pattern
            .split('.')
            .map(|part| match part {
                "*" => numbers.next().map_or("*", String::as_str),
                part => part,
            })
            .collect();
        if !self.rest.is_empty() {
            name.push(&self.rest);
        }
        name.join(".")
    }
}

/// Matches `name` against `pattern`, which may stop at a component before the end of `name`.
fn matches(pattern: &str, name: &str) -> Option<Match> {
    let mut parts = name.split('.');
    let mut numbers = Vec::new();
    for wanted in pattern.split('.') {
        let part = parts.next()?;
        if wanted == "*" {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            numbers.push(part.to_string());
        } else if wanted != part {
            return None;
        }
    }
    let rest = parts.collect::<Vec<_>>().join(".");
    Some(Match { numbers, rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const TABLE: &[(&str, KeyPlace)] = &[
        ("blocks.*.norm1", KeyPlace::Named("layer.*.norm_before")),
        (
            "blocks.*.attn.qkv",
            KeyPlace::Stacked(&["layer.*.q", "layer.*.k", "layer.*.v"]),
        ),
        ("head.weight", KeyPlace::Transposed("proj")),
    ];

    fn tensor(shape: [i64; 2], start: i64) -> LazyTensor {
        LazyTensor::computed(shape.to_vec(), tch::Kind::Float, move || {
            let count = Tensor::arange(shape[0] * shape[1], (tch::Kind::Float, tch::Device::Cpu));
            Ok((count + start).view(shape))
        })
    }

    fn checkpoint(names: &[&str]) -> Checkpoint {
        let tensors = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.to_string(), tensor([2, 3], 10 * i as i64)));
        Checkpoint {
            source: WeightSource::File(tensors.collect()),
            ..Checkpoint::random(serde_json::Value::Null, 0)
        }
    }

    #[test]
    fn renames_stacks_and_transposes() {
        let file = checkpoint(&[
            "net.layer.11.v.weight",
            "net.layer.11.k.weight",
            "net.layer.11.q.weight",
            "net.layer.0.norm_before.bias",
            "net.proj",
            "net.strange",
        ]);
        let ours = KeyLayout::new("net.", TABLE).apply(&file).unwrap();
        let mut names: Vec<_> = ours.tensors().unwrap().keys().collect();
        names.sort();
        assert_eq!(
            names,
            [
                "blocks.0.norm1.bias",
                "blocks.11.attn.qkv.weight",
                "head.weight",
                "strange"
            ]
        );
        let read = |name: &str| {
            let tensor = ours.tensors().unwrap()[name].read_stored().unwrap();
            assert_eq!(tensor.size(), ours.shape(name).unwrap());
            Vec::<f64>::try_from(tensor.flatten(0, -1)).unwrap()
        };
        let qkv: Vec<f64> = [20., 10., 0.]
            .iter()
            .flat_map(|s| (0..6).map(move |i| s + i as f64))
            .collect();
        assert_eq!(read("blocks.11.attn.qkv.weight"), qkv);
        assert_eq!(read("head.weight"), [40., 43., 41., 44., 42., 45.]);
    }

    #[test]
    fn errors_name_the_files_own_tensors() {
        let layout = KeyLayout::new("net.", TABLE);
        let file = checkpoint(&["net.layer.3.q.weight", "net.layer.3.v.weight"]);
        let error = layout.apply(&file).err().unwrap().to_string();
        assert!(error.contains("`net.layer.3.k.weight`: missing"), "{error}");
        let error = Error::tensor(PathBuf::from("f"), "blocks.7.norm1.bias", "missing");
        let error = layout.explain(error).to_string();
        assert_eq!(error, "f: tensor `net.layer.7.norm_before.bias`: missing");
    }
}
