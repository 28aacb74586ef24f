//! Prompt templates: the shipped sets and the user's files.

use crate::files::text;
use crate::{Error, Result, assets};
use std::path::Path;

/// The sets of RADIO's `zero_shot_imagenet.py`, from open_clip: 80, 7 and 1 templates.
const SHIPPED: [&str; 3] = ["openai", "simple", "base"];
/// Where the name goes.
const PLACE: &str = "{}";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// Name of the shipped set, or the file's path.
    pub name: String,
    pub lines: Vec<String>,
}

impl Templates {
    /// `openai`, `simple`, `base` or a file with one template a line.
    pub fn open(spec: &str) -> Result<Self> {
        let path = match SHIPPED.contains(&spec) {
            true => assets::path(&format!("text/templates/{spec}.txt"))?,
            false => Path::new(spec).to_path_buf(),
        };
        if !path.exists() {
            return Err(Error::usage(format!(
                "--templates {spec}: no such file, and the shipped sets are {}",
                SHIPPED.join(", ")
            )));
        }
        let mut templates = Vec::new();
        let text = text::read(&path)?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() {
                continue;
            }
            if !line.contains(PLACE) {
                return Err(Error::file(
                    &path,
                    format!("line {number}: `{line}` has no {PLACE} where the class name goes"),
                ));
            }
            templates.push(line.to_string());
        }
        match templates.is_empty() {
            true => Err(Error::file(&path, "holds no template")),
            false => Ok(Templates {
                name: spec.to_string(),
                lines: templates,
            }),
        }
    }

    /// The prompts of one class.
    pub fn prompts(&self, name: &str) -> impl Iterator<Item = String> {
        self.lines.iter().map(move |line| line.replace(PLACE, name))
    }
}
