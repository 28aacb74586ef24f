//! A split while its classes are not numbered yet.

use super::classes::Class;
use crate::data::Source;
use crate::data::labelled::{EncodedImages, LabelledSet};
use crate::data::tree::LeftOut;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

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
    pub samples: Box<dyn EncodedImages>,
    pub labels: Labels,
    /// The class list that came with them, in index order.
    pub classes: Option<Vec<Class>>,
    /// What is there but is no sample.
    pub left_out: LeftOut,
    /// Sentences about what was guessed.
    pub notes: Vec<String>,
}

impl Draft {
    /// The split as a source called `description`; identifiers must have become indices.
    pub fn source(self, description: String) -> Arc<dyn Source> {
        let labels = match self.labels {
            Labels::Indices(indices) => indices.into_iter().map(Some).collect(),
            Labels::Ids { of, .. } => of.into_iter().map(Some).collect(),
            Labels::None => vec![None; self.samples.len()],
        };
        Arc::new(LabelledSet::new(description, self.samples, labels))
    }
}

/// Interns class identifiers, in Unicode's composed form (macOS writes names decomposed).
#[derive(Default)]
pub struct Interner {
    ids: Vec<String>,
    index: HashMap<String, u32>,
    of: Vec<u32>,
}

impl Interner {
    /// Notes the class of the next sample.
    pub fn push(&mut self, id: &str) {
        let id: String = id.nfc().collect();
        let next = self.ids.len() as u32;
        let index = *self.index.entry(id).or_insert_with_key(|id| {
            self.ids.push(id.clone());
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
