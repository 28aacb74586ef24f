//! What may describe the model of a weight file: JSON beside it, settings inside it. Whether one
//! does is for an architecture to say, which knows its own words; a trainer's settings and the
//! config of another model are no description.

use serde_json::{Value, json};

/// A dictionary that came with the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// For people: the file's name, or the key inside the weight file.
    pub place: String,
    pub value: Value,
}

/// Dictionaries inside dictionaries that are looked at: `{"cfg": {"student": {...}}}`.
const MAX_DEPTH: usize = 3;
/// Most dictionaries looked at in one description.
const MAX_OBJECTS: usize = 1024;

impl Description {
    /// The dictionary itself and those inside it, the outer first.
    pub fn readings(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut level = vec![&self.value];
        for _ in 0..=MAX_DEPTH {
            let mut inner = Vec::new();
            for object in level {
                let Some(fields) = object.as_object() else {
                    continue;
                };
                if found.len() >= MAX_OBJECTS {
                    return found;
                }
                // timm's `model_args` change what the architecture's name stands for.
                if let Some(own) = fields.get("model_args").and_then(Value::as_object) {
                    let mut whole = fields.clone();
                    whole.extend(own.clone());
                    found.push(Value::Object(whole));
                }
                found.push(object.clone());
                // A model's JSON inside open_clip itself lacks the wrapper of its files.
                if fields.get("vision_cfg").is_some_and(Value::is_object) {
                    found.push(json!({ "model_cfg": object }));
                }
                inner.extend(fields.values());
            }
            level = inner;
        }
        found
    }

    /// What it says it is, for messages.
    pub fn subject(&self) -> String {
        let said = [
            "model_type",
            "architecture",
            "arch",
            "model",
            "architectures",
        ]
        .iter()
        .find_map(|key| match &self.value[*key] {
            Value::String(name) => Some(format!("{key} `{name}`")),
            Value::Array(names) => Some(format!("{key} `{}`", names.first()?.as_str()?)),
            _ => None,
        });
        match said {
            Some(said) => format!("{} ({said})", self.place),
            None => self.place.clone(),
        }
    }
}
