//! From the tensors of a file to the architecture that runs them: the step in front of every
//! architecture that takes off what trainers wrap around a network, chooses among several sets,
//! and finds the dictionary that describes the one chosen.

use super::architecture::{ARCHITECTURES, Architecture, check_trainable};
use super::backbone::Backbone;
use super::options::{BuildOptions, Purpose};
use super::torchscript::TorchScript;
use crate::weights::sets::{self, Set};
use crate::weights::{Checkpoint, WeightSource, diagnose};
use crate::{Error, Result};
use serde_json::{Value, json};

/// A network in a file.
pub struct Recognised {
    pub architecture: &'static dyn Architecture,
    /// Its tensors under the names the architecture knows, and the description that is its own
    /// (`Null` where there is none).
    pub checkpoint: Checkpoint,
}

impl Recognised {
    /// Builds the network; errors name the file's own tensors.
    pub fn build(&self, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        options.check_flags(self.architecture)?;
        let checkpoint = match options.purpose {
            Purpose::Inference => &self.checkpoint,
            Purpose::Training => {
                check_trainable(self.architecture, &self.checkpoint, options)?;
                &self.checkpoint.with_provenance()
            }
        };
        crate::runtime::guard(|| {
            let _no_grad = tch::no_grad_guard();
            self.architecture.build(checkpoint, options)
        })
        .map_err(|error| self.explain(error))
    }
}

impl Recognised {
    /// Names the file's own tensors in an error about one; where the names tell what was saved
    /// instead of a network (adapters, shards), says that.
    fn explain(&self, error: Error) -> Error {
        if matches!(error, Error::Tensor { .. })
            && let Some(part) = lone_shard(&self.checkpoint)
        {
            return part;
        }
        let names = self.checkpoint.tensors().into_iter().flat_map(|t| t.keys());
        match (&error, diagnose::diagnose(names.map(String::as_str))) {
            (Error::Tensor { path, .. }, Some(trouble)) => Error::file(path, trouble),
            _ => self.with_nearest(self.checkpoint.explain(error)),
        }
    }

    /// Adds the names in the file that are likest to the one that is missing.
    fn with_nearest(&self, error: Error) -> Error {
        let (path, tensor, reason) = match error {
            Error::Tensor {
                path,
                tensor,
                reason,
            } if reason.starts_with("missing") => (path, tensor, reason),
            other => return other,
        };
        let keys = self.checkpoint.tensors().into_iter().flat_map(|t| t.keys());
        let stored: Vec<String> = keys.map(|key| self.checkpoint.stored_name(key)).collect();
        let nearest = diagnose::nearest(&tensor, stored.iter().map(String::as_str), 3);
        let names = nearest.join("`, `");
        let beside = match nearest.is_empty() {
            true => String::new(),
            false => format!("; the nearest names in the file are `{names}`"),
        };
        Error::tensor(path, tensor, format!("{reason}{beside}"))
    }
}

/// Finds the network that `checkpoint` holds, or says what the file is instead.
pub fn find(checkpoint: &Checkpoint) -> Result<Recognised> {
    let architecture = match &checkpoint.source {
        WeightSource::File(_) => return in_file(checkpoint),
        // Whatever lies beside a program describes something else.
        WeightSource::TorchScript => Some(&TorchScript as &'static dyn Architecture),
        WeightSource::Random(_) => ARCHITECTURES
            .iter()
            .copied()
            .find(|architecture| architecture.recognises(checkpoint)),
    };
    let architecture = architecture.ok_or_else(|| {
        let reason = "the config is of no architecture known here";
        Error::file(&checkpoint.path, reason)
    })?;
    Ok(Recognised {
        architecture,
        checkpoint: checkpoint.clone(),
    })
}

/// An architecture with the dictionary in which it knows itself, and where that lies.
type Described = (&'static dyn Architecture, Option<(Value, String)>);

fn in_file(checkpoint: &Checkpoint) -> Result<Recognised> {
    let described: Vec<Described> = ARCHITECTURES
        .iter()
        .map(|&architecture| (architecture, description(checkpoint, architecture)))
        .collect();
    let mut sets = sets::search(checkpoint, &mut |set: &mut Checkpoint| {
        described.iter().position(|(architecture, description)| {
            let config = description.as_ref().map(|(value, _)| value.clone());
            set.config = config.unwrap_or_default();
            architecture.recognises(set)
        })
    })
    .into_iter();
    let Some(mut chosen) = sets.next() else {
        return Err(unknown(checkpoint));
    };
    let (architecture, description) = &described[chosen.known];
    let others: Vec<String> = sets.map(|other| named(&other.path)).collect();
    note(&mut chosen, &others);
    if !others.is_empty() {
        tracing::warn!(
            "{}: holds several sets of weights; {} is taken, not {}",
            checkpoint.path.display(),
            named(&chosen.path),
            others.join(", ")
        );
    }
    match description {
        Some((_, place)) => {
            let notes = &mut chosen.checkpoint.notes;
            notes.insert("described_by".into(), json!(place));
        }
        None => undescribed(checkpoint, *architecture),
    }
    Ok(Recognised {
        architecture: *architecture,
        checkpoint: chosen.checkpoint,
    })
}

/// The first dictionary that came with the weights in which `architecture` knows itself.
fn description(
    checkpoint: &Checkpoint,
    architecture: &dyn Architecture,
) -> Option<(Value, String)> {
    let own = (!checkpoint.config.is_null()).then(|| crate::weights::Description {
        place: "config".into(),
        value: checkpoint.config.clone(),
    });
    // What was opened comes with the place it was found at.
    let own = own.filter(|own| checkpoint.descriptions.iter().all(|d| d.value != own.value));
    let all = own.iter().chain(&checkpoint.descriptions);
    all.into_iter().find_map(|description| {
        let known = |value: &Value| architecture.describes(value);
        let value = description.readings().into_iter().find(known)?;
        Some((value, description.place.clone()))
    })
}

/// Says that what lies beside the weights describes another model.
fn undescribed(checkpoint: &Checkpoint, architecture: &dyn Architecture) {
    let subjects: Vec<String> = checkpoint
        .descriptions
        .iter()
        .map(crate::weights::Description::subject)
        .collect();
    if !subjects.is_empty() {
        tracing::warn!(
            "{}: {} describes no {} and is left out; sizes and settings follow from the tensors",
            checkpoint.path.display(),
            subjects.join(", "),
            architecture.name()
        );
    }
}

/// What the record says about the choice.
fn note(chosen: &mut Set<usize>, others: &[String]) {
    let notes = &mut chosen.checkpoint.notes;
    if !chosen.path.is_empty() {
        notes.insert("weights_under".into(), json!(named(&chosen.path)));
    }
    if !chosen.removed.is_empty() {
        notes.insert("taken_out_of_names".into(), json!(chosen.removed));
    }
    if !others.is_empty() {
        notes.insert("weights_instead_of".into(), json!(others));
    }
    if chosen.beside > 0 {
        notes.insert("tensors_beside".into(), json!(chosen.beside));
    }
}

/// A path of keys for people: `state_dict.module`, or words where there is none.
fn named(path: &str) -> String {
    match path.trim_end_matches('.') {
        "" => "the file's own tensors".into(),
        path => format!("`{path}`"),
    }
}

/// That the file is one shard of several, where its name says so.
fn lone_shard(checkpoint: &Checkpoint) -> Option<Error> {
    let [file] = checkpoint.files.as_slice() else {
        return None;
    };
    let part = crate::weights::shard(file).filter(|part| part.of > 1)?;
    let reason = format!(
        "is shard {} of {}; name the folder or the index (`.index.json`) that holds them all",
        part.number, part.of
    );
    Some(Error::file(&checkpoint.path, reason))
}

/// Why nothing in the file is known.
fn unknown(checkpoint: &Checkpoint) -> Error {
    let Some(tensors) = checkpoint.tensors() else {
        return Error::file(&checkpoint.path, "holds no tensors");
    };
    let all = || tensors.keys().chain(checkpoint.rest.keys());
    if let Some(trouble) = diagnose::diagnose(all().map(String::as_str)) {
        return Error::file(&checkpoint.path, trouble);
    }
    if let Some(part) = lone_shard(checkpoint) {
        return part;
    }
    let known: Vec<_> = ARCHITECTURES.iter().map(|a| a.name()).collect();
    let beside: Vec<String> = checkpoint
        .descriptions
        .iter()
        .map(crate::weights::Description::subject)
        .collect();
    let beside = match beside.as_slice() {
        [] => String::new(),
        some => format!("; beside them lies {}", some.join(", ")),
    };
    Error::file(
        &checkpoint.path,
        format!(
            "its {} tensors, {} and so on, are of no architecture known here ({}){}{beside}",
            tensors.len(),
            diagnose::first_names(tensors, 3),
            known.join(", "),
            expected(checkpoint)
        ),
    )
}

/// The names that known architectures look for which are likest to those of the file.
fn expected(checkpoint: &Checkpoint) -> String {
    /// Names compared; a file's first blocks tell as much as its last.
    const COMPARED: usize = 512;
    let mut scored: Vec<(f64, &str, &str)> = Vec::new();
    for architecture in ARCHITECTURES {
        for landmark in architecture.landmarks() {
            let depth = landmark.matches('.').count();
            let names = checkpoint.tensors().into_iter().flat_map(|t| t.keys());
            let best = names
                .take(COMPARED)
                .map(|name| strsim::normalized_levenshtein(tail(name, depth), landmark))
                .fold(0.0, f64::max);
            scored.push((best, landmark, architecture.name()));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let nearest: Vec<String> = scored
        .iter()
        .take(3)
        .map(|(_, landmark, name)| format!("`{landmark}` ({name})"))
        .collect();
    match nearest.is_empty() {
        true => String::new(),
        false => format!("; the nearest names looked for are {}", nearest.join(", ")),
    }
}

/// The last `depth + 1` components of a name.
fn tail(name: &str, depth: usize) -> &str {
    let at = name.rmatch_indices('.').nth(depth);
    at.map_or(name, |(at, _)| &name[at + 1..])
}
