//! The training arguments a RADIO checkpoint carries (upstream's argparse Namespace as JSON).
//!
//! Only what matters at inference is read here; sizes come from the tensors (spec/radio.md §1.1).

use crate::weights::spectral::Rule;
use serde_json::Value;
use tch::Kind;

/// A view of the arguments, wherever the checkpoint keeps them.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a Value);

/// One entry of `teachers`; the position in the list is the index of its heads.
#[derive(Debug, Clone)]
pub struct Teacher {
    pub name: String,
    pub use_summary: bool,
    /// The cls token its adaptor reads.
    pub token_slot: i64,
    /// u: its feature head makes u x u tokens of each.
    pub upsample: i64,
}

impl<'a> Args<'a> {
    /// From `config.json` of the Hugging Face layout (`args` inside), or the arguments themselves.
    pub fn from_config(config: &'a Value) -> Self {
        Args(if config["args"].is_object() {
            &config["args"]
        } else {
            config
        })
    }

    /// timm's name of the student.
    pub fn model(&self) -> Option<&'a str> {
        self.0["model"].as_str()
    }

    /// A value of `model_kwargs`.
    pub fn kwarg(&self, name: &str) -> &'a Value {
        &self.0["model_kwargs"][name]
    }

    pub fn cpe_max_size(&self) -> Option<i64> {
        self.0["cpe_max_size"].as_i64()
    }

    /// Whether the final norm is kept.
    pub fn model_norm(&self) -> bool {
        truthy(&self.0["model_norm"])
    }

    pub fn cls_token_per_teacher(&self) -> bool {
        truthy(&self.0["cls_token_per_teacher"])
    }

    pub fn teachers(&self) -> Vec<Teacher> {
        let list = self.0["teachers"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter()
            .enumerate()
            .map(|(i, t)| Teacher {
                name: t["name"].as_str().unwrap_or_default().to_string(),
                use_summary: t["use_summary"].as_bool().unwrap_or(true),
                token_slot: if self.cls_token_per_teacher() {
                    t["token_slot"].as_i64().unwrap_or(i as i64)
                } else {
                    0
                },
                upsample: t["fd_upsample_factor"].as_i64().unwrap_or(1).max(1),
            })
            .collect()
    }

    /// Names of the teachers, each once, in order: one cls token each, where they have their own.
    fn distinct(&self) -> Vec<String> {
        let mut names = Vec::new();
        for teacher in self.teachers() {
            if !names.contains(&teacher.name) {
                names.push(teacher.name);
            }
        }
        names
    }

    /// K, the number of cls tokens.
    pub fn cls_tokens(&self) -> i64 {
        if self.cls_token_per_teacher() {
            self.distinct().len().max(1) as i64
        } else {
            1
        }
    }

    /// R, the number of register tokens behind the cls tokens. Where K is a multiple of
    /// `register_multiple`, upstream adds a full group.
    pub fn registers(&self) -> i64 {
        let count = |name: &str| self.0[name].as_i64().filter(|&n| n > 0);
        match (count("cpe_num_registers"), count("register_multiple")) {
            (Some(n), _) => n,
            (None, Some(multiple)) => multiple - self.cls_tokens() % multiple,
            (None, None) => 0,
        }
    }

    /// The cls tokens that make up the summary, by the torch hub's rule.
    pub fn summary_tokens(&self) -> Vec<i64> {
        if !self.cls_token_per_teacher() {
            return vec![0];
        }
        let teachers = self.teachers();
        let used = |name: &String| teachers.iter().any(|t| &t.name == name && t.use_summary);
        (0..)
            .zip(self.distinct())
            .filter_map(|(i, name)| used(&name).then_some(i))
            .collect()
    }

    /// The precision the backbone is to run in (`torch.bfloat16` for radio_v2.1).
    pub fn dtype(&self) -> Kind {
        match self.0["dtype"].as_str().unwrap_or_default() {
            "torch.bfloat16" | "bfloat16" => Kind::BFloat16,
            "torch.float16" | "float16" | "torch.half" | "half" => Kind::Half,
            _ => Kind::Float,
        }
    }

    /// eps and number of power iterations with which spectrally reparametrised weights are folded
    /// (spec §2.11): 1e-6 and one where the argument is `true`, else as the dictionary says.
    ///
    /// The function tells it for a module, by our name: heads are parametrised with the defaults,
    /// whatever the backbone's settings.
    pub fn spectral(&self) -> impl Fn(&str) -> Rule + use<> {
        let setting = &self.0["spectral_reparam"];
        let backbone = match setting.is_object() {
            true => Rule {
                eps: setting["eps"].as_f64().unwrap_or(1e-12),
                iterations: setting["n_power_iterations"].as_i64().unwrap_or(1),
            },
            false => Rule::default(),
        };
        move |module| match module.starts_with("model.") {
            true => backbone,
            false => Rule::default(),
        }
    }
}

/// Python's truth of a JSON value.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_follow_the_teachers() {
        let teacher = |name: &str| json!({ "name": name });
        let v2 = json!({
            "cls_token_per_teacher": true, "register_multiple": 16,
            "teachers": [teacher("clip"), teacher("openai_clip"), teacher("dino_v2"), teacher("sam")],
        });
        let args = Args::from_config(&v2);
        assert_eq!((args.cls_tokens(), args.registers()), (4, 12));
        // K is a multiple of register_multiple: a full group is added.
        let full = json!({
            "cls_token_per_teacher": true, "register_multiple": 4, "teachers": v2["teachers"],
        });
        assert_eq!(Args::from_config(&full).registers(), 4);
        // A teacher named twice has one token; `use_summary` of one of its entries is enough.
        let twice = json!({
            "cls_token_per_teacher": true, "register_multiple": 8,
            "teachers": [teacher("clip"), {"name": "sam", "use_summary": false}, teacher("clip"), teacher("dino_v2")],
        });
        let args = Args::from_config(&twice);
        assert_eq!((args.cls_tokens(), args.registers()), (3, 5));
        assert_eq!(args.summary_tokens(), [0, 2]);
        let one = json!({"cls_token_per_teacher": false, "cpe_num_registers": 4, "teachers": v2["teachers"]});
        let args = Args::from_config(&one);
        assert_eq!((args.cls_tokens(), args.registers()), (1, 4));
        assert_eq!(args.summary_tokens(), [0]);
        assert!(args.teachers().iter().all(|t| t.token_slot == 0));
    }
}
