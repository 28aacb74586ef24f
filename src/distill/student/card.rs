//! The model card: what the student was made of, as Markdown for the Hugging Face hub.

use crate::distill::config::DistillConfig;
use crate::distill::log::Line;
use crate::files::write_atomically;
use crate::report::environment;
use crate::{Error, Result};
use std::fmt::Write;
use std::path::Path;

/// What a card tells.
pub struct Card<'a> {
    pub name: &'a str,
    pub architecture: &'a str,
    /// Parameters of the trunk, and of the trunk with its heads.
    pub parameters: (i64, i64),
    pub config: &'a DistillConfig,
    /// Name, model and SHA-256 of each teacher.
    pub teachers: &'a [(String, String, Option<String>)],
    /// Pictures of the data, and pictures seen.
    pub pictures: (usize, usize),
    /// Pictures replaced because they could not be read.
    pub replaced: usize,
    /// Seconds of training.
    pub seconds: f64,
    pub device: &'a str,
    pub lines: &'a [Line],
}

impl Card<'_> {
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.text(path)?.as_bytes())
    }

    fn text(&self, path: &Path) -> Result<String> {
        let mut text = String::new();
        let config = toml::to_string_pretty(self.config).map_err(|e| Error::file(path, e))?;
        let names: Vec<&str> = self.teachers.iter().map(|t| t.0.as_str()).collect();
        let failed = |e: std::fmt::Error| Error::file(path, e);
        self.sections(&mut text, &names, &config).map_err(failed)?;
        Ok(text)
    }

    fn sections(&self, out: &mut String, names: &[&str], config: &str) -> std::fmt::Result {
        let (trunk, all) = self.parameters;
        writeln!(
            out,
            "---\nlibrary_name: transformers\ntags:\n- radio\n- distillation\n---\n"
        )?;
        writeln!(out, "# {}\n", self.name)?;
        writeln!(
            out,
            "{} ({:.2} M parameters, {:.2} M with adaptors), distilled by `radio-eval distill` from {} with the method of AM-RADIO (arXiv 2312.06709).\n",
            self.architecture,
            trunk as f64 / 1e6,
            all as f64 / 1e6,
            names.join(", "),
        )?;
        writeln!(
            out,
            "```\nradio-eval features --model . --input photo.jpg --output features.safetensors\n```\n"
        )?;
        writeln!(
            out,
            "## Teachers\n\n| adaptor | model | SHA-256 of the weights |\n|---|---|---|"
        )?;
        for (name, model, sha256) in self.teachers {
            let sha256 = sha256.as_deref().unwrap_or("-");
            writeln!(out, "| {name} | {model} | `{sha256}` |")?;
        }
        writeln!(out, "\n## Data\n")?;
        for data in &self.config.data {
            writeln!(out, "- `{}` (weight {})", data.path, data.weight)?;
        }
        let (pictures, seen) = self.pictures;
        writeln!(
            out,
            "\n{pictures} unlabelled pictures, {seen} seen in {} steps; {} could not be read and were replaced.\n",
            self.config.steps(),
            self.replaced,
        )?;
        writeln!(
            out,
            "Trained for {:.1} minutes on {} with radio-eval {} (libtorch {}).\n",
            self.seconds / 60.0,
            self.device,
            environment::GIT_REVISION,
            environment::LIBTORCH_VERSION,
        )?;
        self.losses(out)?;
        self.evaluations(out)?;
        writeln!(out, "## Settings\n\n```toml\n{config}```")
    }

    /// The last losses, and the curves.
    fn losses(&self, out: &mut String) -> std::fmt::Result {
        let Some(last) = (self.lines.iter().rev()).find(|l| l.values.contains_key("total")) else {
            return Ok(());
        };
        writeln!(
            out,
            "## Losses\n\n![Losses over the steps](curves.svg)\n\nAt step {}:\n",
            last.step
        )?;
        writeln!(out, "| loss | value |\n|---|---|")?;
        for (name, value) in &last.values {
            if name == "total" || name.contains('.') {
                writeln!(
                    out,
                    "| {name} | {:.4} |",
                    value.as_f64().unwrap_or(f64::NAN)
                )?;
            }
        }
        writeln!(out)
    }

    fn evaluations(&self, out: &mut String) -> std::fmt::Result {
        let evaluated = |l: &&Line| l.values.keys().any(|name| name.starts_with("eval."));
        let lines: Vec<&Line> = self.lines.iter().filter(evaluated).collect();
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "## Evaluation\n\n| step | metric | value |\n|---|---|---|"
        )?;
        for line in lines {
            for (name, value) in &line.values {
                if let Some(metric) = name.strip_prefix("eval.") {
                    let value = value.as_f64().unwrap_or(f64::NAN);
                    writeln!(out, "| {} | {metric} | {value:.2} |", line.step)?;
                }
            }
        }
        writeln!(out)
    }
}
