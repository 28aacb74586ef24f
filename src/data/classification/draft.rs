//! A split while its classes are not numbered yet.

use super::classes::{self, Class};
use crate::data::labelled::{LabelledSet, Samples};
use crate::data::source::Source;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a layout says about the classes of its samples; one entry per sample.
pub enum Labels {
    /// Class identifiers, interned: `ids[of[i]]` is sample i's.
    Ids { ids: Vec<String>, of: Vec<u32> },
    /// Class indices as stored.
    Indices(Vec<u32>),
    /// No labels (images only).
    None,
}

/// The samples of one split, as found.
pub struct Draft {
    /// Where they were found, for messages.
    pub path: PathBuf,
    pub samples: Box<dyn Samples>,
    pub labels: Labels,
    /// The class list that came with them, in index order.
    pub classes: Option<Vec<Class>>,
}

/// Interns class identifiers.
#[derive(Default)]
pub struct Interner {
    ids: Vec<String>,
    index: HashMap<String, u32>,
    of: Vec<u32>,
}

impl Interner {
    /// Notes the class of the next sample.
    pub fn push(&mut self, id: &str) {
        let next = self.ids.len() as u32;
        let index = *self.index.entry(id.to_string()).or_insert_with(|| {
            self.ids.push(id.to_string());
            next
        });
        self.of.push(index);
    }

    pub fn labels(self) -> Labels {
        Labels::Ids {
            ids: self.ids,
            of: self.of,
        }
    }
}

/// Settles one class list for all splits.
pub fn class_list(drafts: &[&Draft], given: Option<Vec<Class>>) -> Vec<Class> {
    if let Some(classes) = given.or_else(|| drafts.iter().find_map(|d| d.classes.clone())) {
        return classes;
    }
    let ids = drafts.iter().flat_map(|d| match &d.labels {
        Labels::Ids { ids, .. } => ids.as_slice(),
        _ => &[],
    });
    let mut classes = classes::from_ids(ids.map(String::as_str));
    let largest = drafts.iter().filter_map(|d| match &d.labels {
        Labels::Indices(indices) => indices.iter().max(),
        _ => None,
    });
    if let Some(&largest) = largest.max() {
        classes.extend((classes.len() as u32..=largest).map(|i| Class::from_id(&i.to_string())));
    }
    classes
}

impl Draft {
    /// Numbers the labels by `classes` and makes the split a source called `description`.
    pub fn number(self, description: String, classes: &[Class]) -> Result<Arc<dyn Source>> {
        if self.samples.is_empty() {
            return Err(Error::file(&self.path, "holds no image"));
        }
        let labels = match self.labels {
            Labels::None => vec![None; self.samples.len()],
            Labels::Indices(indices) => {
                let bad = indices.iter().position(|&i| i as usize >= classes.len());
                if let Some(bad) = bad {
                    return Err(Error::file(
                        self.path.join(self.samples.key(bad)),
                        format!(
                            "has label {}, but there are {} classes (0 to {})",
                            indices[bad],
                            classes.len(),
                            classes.len() as i64 - 1
                        ),
                    ));
                }
                indices.into_iter().map(Some).collect()
            }
            Labels::Ids { ids, of } => {
                let index: HashMap<&str, u32> = classes
                    .iter()
                    .enumerate()
                    .map(|(i, c)| (c.id.as_str(), i as u32))
                    .collect();
                let numbers: Vec<u32> = ids
                    .iter()
                    .map(|id| {
                        index
                            .get(id.as_str())
                            .copied()
                            .ok_or_else(|| unknown(&self.path, id, classes))
                    })
                    .collect::<Result<_>>()?;
                of.into_iter().map(|i| Some(numbers[i as usize])).collect()
            }
        };
        Ok(Arc::new(LabelledSet::new(
            description,
            self.samples,
            labels,
        )))
    }
}

fn unknown(path: &Path, id: &str, classes: &[Class]) -> Error {
    Error::file(
        path,
        format!(
            "class `{id}` is not in the list of {} classes; add it to {}, or remove its images",
            classes.len(),
            classes::CLASS_FILE
        ),
    )
}
