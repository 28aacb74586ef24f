//! The sets of tensors in a file, free of what trainers wrap around them.
//!
//! A checkpoint may hold its network under any number of names (`module.`, `_orig_mod.`,
//! `teacher.backbone.`, `{"ema": {"module": ...}}`, a vision-language model's `vision_tower.`), and
//! more than once (student and teacher, weights and their average). [`search`] takes the names off,
//! whatever they are, until somebody knows what is left.

use super::{Checkpoint, StateDict, WeightSource};
use std::collections::HashMap;
use std::sync::Arc;

/// What compilation, sharding and recomputation put between a module and its name, at any depth.
const TRANSPARENT: &[&str] = &[
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];
/// What data-parallel training puts there; a network may have one of that name itself.
const PARALLEL: &str = "module";
/// Fewest tensors of a network.
const FEWEST: usize = 12;
/// Names that may stand in front; a vision-language model has some hundreds of modules.
const MOST_PREFIXES: usize = 4096;

/// A set that is known.
pub struct Set<T> {
    /// All that stands in front of its tensors in the file, with dots: `state_dict.module.`.
    pub path: String,
    /// The tensors, under the names that are left.
    pub checkpoint: Checkpoint,
    /// What `knows` made of it.
    pub known: T,
    /// Components that were taken out in between (`_orig_mod`).
    pub removed: Vec<&'static str>,
    /// Tensors beside the set that were not read.
    pub beside: usize,
}

/// The sets of `checkpoint` that `knows` accepts, the preferred first: averages and teachers, then
/// neutral names, then students; among equals the outer first, in the order of the file. A set
/// inside another is part of that.
pub fn search<T>(
    checkpoint: &Checkpoint,
    knows: &mut dyn FnMut(&mut Checkpoint) -> Option<T>,
) -> Vec<Set<T>> {
    let WeightSource::File(tensors) = &checkpoint.source else {
        return Vec::new();
    };
    let parts = [
        (checkpoint.within.as_str(), tensors),
        ("", &*checkpoint.rest),
    ];
    let mut with = |parallel: bool| {
        let mut found = Vec::new();
        for (within, tensors) in parts {
            let part = Part::new(checkpoint, within, tensors, parallel);
            part.search(knows, &mut found);
        }
        found.sort_by_key(|set| rank(&set.path));
        found
    };
    let found = with(false);
    if !tensors
        .keys()
        .any(|key| key.split('.').any(|c| c == PARALLEL))
    {
        return found;
    }
    // A part wrapped on its own (`visual.module.conv1`) belongs to the whole.
    let size = |sets: &[Set<T>]| {
        let first = sets.first().and_then(|set| set.checkpoint.tensors());
        first.map_or(0, StateDict::len)
    };
    let unwrapped = with(true);
    match size(&unwrapped) > size(&found) {
        true => unwrapped,
        false => found,
    }
}

/// 0 for what evaluation is meant for, 2 for what it is not.
fn rank(path: &str) -> u8 {
    let words: Vec<String> = path
        .split(['.', '_'])
        .map(str::to_ascii_lowercase)
        .collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    if has(&[
        "ema", "teacher", "averaged", "swa", "momentum", "target", "shadow",
    ]) {
        0
    } else if has(&["student", "online"]) {
        2
    } else {
        1
    }
}

/// The tensors of a state dict without what is transparent in their names.
struct Part<'a> {
    whole: &'a Checkpoint,
    within: &'a str,
    tensors: StateDict,
    /// The name in the file of each tensor that lost something.
    names: HashMap<String, String>,
    removed: Vec<&'static str>,
}

impl<'a> Part<'a> {
    fn new(whole: &'a Checkpoint, within: &'a str, tensors: &StateDict, parallel: bool) -> Self {
        let mut part = Part {
            whole,
            within,
            tensors: StateDict::with_capacity(tensors.len()),
            names: HashMap::new(),
            removed: Vec::new(),
        };
        for (key, tensor) in tensors {
            let mut name = String::with_capacity(key.len());
            for component in key.split('.') {
                let transparent = TRANSPARENT.iter().find(|t| **t == component).copied();
                let taken = transparent.or((parallel && component == PARALLEL).then_some(PARALLEL));
                match taken {
                    Some(taken) if !part.removed.contains(&taken) => part.removed.push(taken),
                    Some(_) => {}
                    None => {
                        if !name.is_empty() {
                            name.push('.');
                        }
                        name += component;
                    }
                }
            }
            if part.tensors.contains_key(&name) {
                // Two names that differ in what is transparent: both keep theirs.
                name.clone_from(key);
            }
            if name != *key {
                part.names.insert(name.clone(), key.clone());
            }
            part.tensors.insert(name, tensor.clone());
        }
        part
    }

    fn search<T>(
        &self,
        knows: &mut dyn FnMut(&mut Checkpoint) -> Option<T>,
        found: &mut Vec<Set<T>>,
    ) {
        let mut taken: Vec<String> = Vec::new();
        for prefix in self.prefixes() {
            if taken.iter().any(|outer| prefix.starts_with(outer.as_str())) {
                continue;
            }
            let mut checkpoint = self.under(&prefix);
            if let Some(known) = knows(&mut checkpoint) {
                let own = checkpoint.tensors().map_or(0, StateDict::len);
                found.push(Set {
                    path: format!("{}{prefix}", self.within),
                    known,
                    removed: self.removed.clone(),
                    beside: self.tensors.len() - own,
                    checkpoint,
                });
                taken.push(prefix);
            }
        }
    }

    /// Everything that stands in front of enough tensors, nothing first, the shorter first.
    fn prefixes(&self) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut order: Vec<&str> = Vec::new();
        for name in self.tensors.keys() {
            for (at, _) in name.match_indices('.') {
                let prefix = &name[..=at];
                let count = counts.entry(prefix).or_default();
                *count += 1;
                if *count == FEWEST {
                    order.push(prefix);
                }
            }
        }
        order.sort_by_key(|prefix| prefix.matches('.').count());
        order.truncate(MOST_PREFIXES);
        let order = order.into_iter().map(String::from);
        std::iter::once(String::new()).chain(order).collect()
    }

    /// The tensors whose names begin with `prefix`, without it.
    fn under(&self, prefix: &str) -> Checkpoint {
        let tensors: StateDict = self
            .tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let short = name.strip_prefix(prefix)?;
                Some((short.to_string(), tensor.clone()))
            })
            .collect();
        let names = tensors.keys().filter_map(|short| {
            let whole = format!("{prefix}{short}");
            let stored = self.names.get(&whole).cloned();
            match (stored, prefix) {
                (None, "") => None,
                (stored, _) => Some((short.clone(), stored.unwrap_or(whole))),
            }
        });
        let within = format!("{}{prefix}", self.within);
        Checkpoint {
            names: Arc::new(names.collect()),
            ema: self.whole.ema && within.starts_with(self.whole.within.as_str()),
            source: WeightSource::File(tensors),
            prefix: prefix.to_string(),
            within,
            rest: Arc::default(),
            ..self.without_tensors()
        }
    }

    fn without_tensors(&self) -> Checkpoint {
        Checkpoint {
            source: WeightSource::TorchScript,
            rest: Arc::default(),
            path: self.whole.path.clone(),
            files: self.whole.files.clone(),
            config: self.whole.config.clone(),
            descriptions: self.whole.descriptions.clone(),
            within: String::new(),
            names: Arc::default(),
            prefix: String::new(),
            notes: self.whole.notes.clone(),
            ema: false,
        }
    }
}
