//! The arguments inside a checkpoint as JSON.

use super::value::{Id, Node, Pickle};
use serde_json::{Map, Value};

/// A value may be shared many times over, so that a small pickle can stand for endless JSON.
const MAX_VALUES: usize = 1 << 20;
/// Cycles show as endless depth.
const MAX_DEPTH: usize = 64;

impl Pickle {
    /// `id` as JSON: namespaces and dicts become objects, tuples and sets arrays, torch dtypes
    /// and other globals their dotted names, what is not understood `<class>`.
    pub fn to_json(&self, id: Id) -> Result<Value, String> {
        let mut budget = MAX_VALUES;
        self.value(id, 0, &mut budget)
    }

    fn value(&self, id: Id, depth: usize, budget: &mut usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its args are nested more than {MAX_DEPTH} deep"));
        }
        self.spend(id, budget)?;
        Ok(match self.node(id) {
            Node::None => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => (*value).into(),
            Node::Float(value) => number(*value),
            Node::Str(text) | Node::Global(text) => Value::String(text.clone()),
            Node::Sequence(items) => Value::Array(
                items
                    .iter()
                    .map(|&item| self.value(item, depth + 1, budget))
                    .collect::<Result<_, _>>()?,
            ),
            Node::Dict(pairs) | Node::Namespace(pairs) => {
                let mut object = Map::new();
                for &(key, value) in pairs {
                    self.spend(key, budget)?;
                    object.insert(self.key(key), self.value(value, depth + 1, budget)?);
                }
                Value::Object(object)
            }
            Node::NumpyType(code) => Value::String(format!("numpy.{code}")),
            Node::Long(_) => Value::String("<int>".into()),
            Node::Bytes(_) => Value::String("<bytes>".into()),
            Node::Storage(_) => Value::String("<torch.storage>".into()),
            Node::Tensor(_) | Node::OpaqueTensor(_) => Value::String("<torch.Tensor>".into()),
            Node::Opaque(class) => Value::String(format!("<{class}>")),
        })
    }

    fn spend(&self, id: Id, budget: &mut usize) -> Result<(), String> {
        let cost = match self.node(id) {
            Node::Str(text) | Node::Global(text) | Node::Opaque(text) => 1 + text.len() / 64,
            _ => 1,
        };
        *budget = budget
            .checked_sub(cost)
            .ok_or_else(|| format!("its args hold more than {MAX_VALUES} values"))?;
        Ok(())
    }

    /// Object keys are text; Python's other keys are written as Python's `json` writes them.
    fn key(&self, id: Id) -> String {
        match self.node(id) {
            Node::Str(text) | Node::Global(text) => text.clone(),
            Node::None => "null".into(),
            Node::Bool(value) => value.to_string(),
            Node::Int(value) => value.to_string(),
            Node::Float(value) => value.to_string(),
            _ => "<key>".into(),
        }
    }
}

/// JSON has no NaN and no infinity; Python's `json` writes them as these words.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(
        || {
            let word = match value {
                v if v.is_nan() => "NaN",
                v if v > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            Value::String(word.into())
        },
        Value::Number,
    )
}
