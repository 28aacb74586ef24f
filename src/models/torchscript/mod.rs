//! A user's own network as a TorchScript file: whatever `torch.jit.trace` or `torch.jit.script`
//! saved, behind the same trait as the built-in models.
//!
//! ```text
//! radio-eval imagenet --model efficientnet_lite0.torchscript.pt --data cifar10 --resolution 224
//! ```
//!
//! The program gets `[B,3,H,W]` pixels, normalised as `settings` say, and returns one of the forms
//! of `output`. It is run once at load, to learn its widths.

mod output;
pub mod settings;

pub use settings::{Declared, OutputAxes, Size};

use super::architecture::Architecture;
use super::backbone::{Backbone, BackboneInfo, Features};
use super::normalise::Normalise;
use super::options::{BuildOptions, Flag};
use super::request::Request;
use crate::runtime::shim;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use indexmap::IndexMap;
use output::Output;
use serde_json::{Map, Value, json};
use settings::Settings;
use std::path::{Path, PathBuf};
use tch::{CModule, IValue, Kind, Tensor};

/// Recognises and loads TorchScript files.
pub struct TorchScript;

impl Architecture for TorchScript {
    fn name(&self) -> &'static str {
        "torchscript"
    }

    fn recognises(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.is_torchscript()
    }

    fn describes(&self, _config: &Value) -> bool {
        false
    }

    fn trains(&self) -> bool {
        false
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag::Step, Flag::Nhwc]
    }

    fn build(&self, checkpoint: &Checkpoint, options: &BuildOptions) -> Result<Box<dyn Backbone>> {
        // A folder's checkpoint names the file that was picked in it.
        let path = checkpoint.files.first().unwrap_or(&checkpoint.path);
        let given = &options.torchscript;
        let flags = Declared {
            mean: options.mean.or(given.mean),
            std: options.std.or(given.std),
            ..given.clone()
        };
        let settings = settings::read(path, &flags)?;
        Ok(Box::new(Model::load(path, settings, options)?))
    }
}

/// A loaded program.
struct Model {
    path: PathBuf,
    info: BackboneInfo,
    normalise: Normalise,
    layout: OutputAxes,
    module: CModule,
}

impl Model {
    fn load(path: &Path, settings: Settings, options: &BuildOptions) -> Result<Self> {
        let program =
            shim::prepare_program(path, options.run_kind()).map_err(|e| Error::file(path, e))?;
        let module = CModule::load_data_on_device(&mut program.bytes.as_slice(), options.device)
            .map_err(|e| Error::file(path, Error::from(e)))?;
        let mut model = Model {
            path: path.to_path_buf(),
            info: info(path, &settings, options, program.parameters),
            normalise: Normalise::new(settings.mean_std, options.device, options.run_kind()),
            layout: settings.layout,
            module,
        };
        let (height, width) = settings.resolution;
        let probe = Tensor::f_zeros([1, 3, height, width], (Kind::Float, options.device))?;
        let output = model.call(&probe)?;
        let info = &mut model.info;
        info.summary_dim = output.summary.size()[1];
        info.spatial_dim = output.spatial.size()[2];
        if output.grid != (1, 1) {
            // The last patches of a size off the grid may stick out of the picture.
            info.patch = (height + output.grid.0 - 1) / output.grid.0;
            info.step = settings.step.unwrap_or(info.patch);
        }
        Ok(model)
    }

    fn call(&self, x: &Tensor) -> Result<Output> {
        let (_, _, height, width) = x.size4()?;
        let input = IValue::Tensor(self.normalise.forward(x));
        let value = self
            .module
            .forward_is(&[input])
            .map_err(|e| Error::file(&self.path, sentence(&e.to_string())))?;
        output::read(value, (height, width), self.layout)
            .map_err(|reason| Error::file(&self.path, reason))
    }
}

/// The last line of an interpreter's traceback, which names the operator and its complaint.
fn sentence(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with("RuntimeError"))
        .or_else(|| text.lines().find(|line| !line.trim().is_empty()))
        .unwrap_or("the program failed without a message");
    let line = line.strip_prefix("RuntimeError: ").unwrap_or(line);
    if text.contains("same device") {
        return format!(
            "the program holds a tensor that stays on the CPU wherever the program is loaded (a \
             constant of tracing, or a device written into the code): {line}. Run it with --device \
             cpu, or make the tensor a buffer of the module and trace it on the GPU"
        );
    }
    format!("the program failed: {line}")
}

/// Facts known before the program has run; widths and patch follow from its first output.
fn info(path: &Path, settings: &Settings, options: &BuildOptions, parameters: i64) -> BackboneInfo {
    let (mean, std) = settings.mean_std;
    let mut facts = Map::<String, Value>::new();
    facts.insert("mean".into(), json!(mean));
    facts.insert("std".into(), json!(std));
    if settings.layout == OutputAxes::Nhwc {
        facts.insert("layout".into(), json!(settings.layout));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    BackboneInfo {
        architecture: format!("TorchScript {name}"),
        patch: settings.step.unwrap_or(1),
        step: settings.step.unwrap_or(1),
        preferred: settings.resolution,
        fixed: settings.fixed.then_some(settings.resolution),
        native: Some(settings.resolution),
        summary_dim: 0,
        spatial_dim: 0,
        prefix_tokens: 0,
        adaptors: Vec::new(),
        parameters,
        precision: options.run_precision(),
        settings: facts,
    }
}

impl Backbone for Model {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn forward(&self, x: &Tensor, request: &Request) -> Result<Features> {
        if request.intermediates.is_some() {
            return Err(Error::usage(format!(
                "{}: a TorchScript program shows its outputs only; features behind its blocks need a program that returns them",
                self.path.display()
            )));
        }
        let output = self.call(x)?;
        Ok(Features {
            summary: output.summary,
            spatial: output.spatial,
            grid: output.grid,
            adaptors: IndexMap::new(),
            intermediates: Vec::new(),
        })
    }
}
