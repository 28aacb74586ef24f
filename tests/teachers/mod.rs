//! Teachers against tensors of the official code, in every file layout.

mod clip;
mod dinov2;
mod dinov3;
mod internvit;
mod pe;
mod sam;
mod siglip;

use radio_eval::Result;
use radio_eval::models::architecture::build;
use radio_eval::models::normalise::MeanStd;
use radio_eval::models::{Backbone, BuildOptions, Features, Request, backbone, zoo};
use radio_eval::weights::{Checkpoint, LazyTensor, WeightSource};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Tensors of one golden file, by name.
pub struct Golden {
    case: String,
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    pub fn open(path: &Path) -> Self {
        let tensors = Tensor::read_safetensors(path).expect("a readable golden");
        let case = path.parent().and_then(Path::file_name);
        Golden {
            case: case.unwrap_or_default().to_string_lossy().into_owned(),
            tensors: tensors.into_iter().collect(),
        }
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> &Tensor {
        let found = self.tensors.get(name);
        found.unwrap_or_else(|| panic!("{} has no tensor {name}", self.case))
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tolerance of spec/teachers.md §7: 1e-5 · max(1, |max|).
    #[track_caller]
    pub fn close(&self, name: &str, got: &Tensor) {
        let want = self.get(name);
        assert_eq!(got.size(), want.size(), "{} {name}", self.case);
        let difference = (got - want).abs().max().double_value(&[]);
        let allowed = 1e-5 * want.abs().max().double_value(&[]).max(1.0);
        assert!(
            difference <= allowed,
            "{} {name}: off by {difference:e}, {allowed:e} allowed",
            self.case
        );
    }

    /// [B,H,W,3] bytes as [B,3,H,W] in [0,1].
    pub fn u8_pixels(&self, name: &str) -> Tensor {
        let pixels = self.get(name).permute([0, 3, 1, 2]).contiguous();
        pixels.to_kind(Kind::Float) * (1.0 / 255.0)
    }

    /// A normalised input of the golden as the [0,1] pixels a backbone takes.
    #[track_caller]
    pub fn pixels(&self, name: &str, (mean, std): MeanStd) -> Tensor {
        let channel = |v: [f64; 3]| Tensor::from_slice(&v).view([1, 3, 1, 1]);
        let image = self.get(name).to_kind(Kind::Double);
        (image * channel(std) + channel(mean)).to_kind(Kind::Float)
    }
}

/// Opens a file of a golden with its config, which bears another name there than in real folders.
pub fn open(file: &Path, config: &Path) -> Checkpoint {
    let mut checkpoint = Checkpoint::open(file).expect("a readable file");
    let text = std::fs::read(config).expect("a readable config");
    checkpoint.config = serde_json::from_slice(&text).expect("a JSON config");
    checkpoint
}

#[track_caller]
pub fn model(checkpoint: &Checkpoint, options: &BuildOptions) -> Box<dyn Backbone> {
    build(checkpoint, options).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
pub fn run(model: &dyn Backbone, pixels: &Tensor, adaptors: &[&str]) -> Features {
    let request = Request::adaptors(adaptors.iter().copied());
    backbone::run(model, pixels, &request).unwrap_or_else(|e| panic!("{e}"))
}

/// The checkpoint with the tensors that `pick` names multiplied by 0.003 (`eps_probe` goldens: a
/// wrong norm eps shows at small activations).
pub fn dimmed(checkpoint: &Checkpoint, pick: impl Fn(&str) -> bool) -> Checkpoint {
    edited(checkpoint, |name, tensor| {
        if !pick(name) {
            return Some(tensor.clone());
        }
        let stored = tensor.clone();
        let make = move || -> Result<Tensor> { Ok(stored.read_stored()? * 0.003) };
        Some(LazyTensor::computed(
            tensor.shape.clone(),
            tensor.kind,
            make,
        ))
    })
}

/// The checkpoint with every tensor passed through `edit`; `None` drops it.
pub fn edited(
    checkpoint: &Checkpoint,
    edit: impl Fn(&str, &LazyTensor) -> Option<LazyTensor>,
) -> Checkpoint {
    let tensors = checkpoint.tensors().expect("a file");
    let tensors = tensors
        .iter()
        .filter_map(|(name, tensor)| Some((name.clone(), edit(name, tensor)?)))
        .collect();
    Checkpoint {
        source: WeightSource::File(tensors),
        ..checkpoint.clone()
    }
}

/// bf16 features point where the fp32 ones do: cosine at least 0.999 for every row.
#[track_caller]
pub fn bf16_agrees(checkpoint: &Checkpoint, pixels: &Tensor) {
    let options = BuildOptions {
        kind: Some(Kind::BFloat16),
        ..BuildOptions::default()
    };
    let full = run(
        model(checkpoint, &BuildOptions::default()).as_ref(),
        pixels,
        &[],
    );
    let half = run(model(checkpoint, &options).as_ref(), pixels, &[]);
    assert_eq!(half.summary.kind(), Kind::BFloat16);
    for (full, half) in [(full.summary, half.summary), (full.spatial, half.spatial)] {
        let cosine = Tensor::cosine_similarity(&full, &half.to_kind(Kind::Float), -1, 1e-8);
        let worst = cosine.min().double_value(&[]);
        assert!(worst >= 0.999, "cosine {worst}");
    }
}

/// Folders of goldens to check: the committed ones, and the full set where it is.
pub fn cases(committed: &[&str], full: &[&str]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = committed
        .iter()
        .map(|c| crate::common::fixture(&format!("teachers/{c}")))
        .collect();
    if let Some(golden) = crate::common::shared("golden/teachers") {
        folders.extend(full.iter().map(|c| golden.join(c)).filter(|p| p.exists()));
    }
    folders
}

/// The names of design.md are all known, each once.
#[test]
fn the_zoo_knows_the_teachers() {
    let names = ["dinov2-s", "dinov2-g-reg", "openclip-h14", "mini-sam"];
    for name in names {
        assert_eq!(zoo::find(name).unwrap().name, name);
    }
    let mut seen = std::collections::HashSet::new();
    for entry in zoo::entries() {
        for name in std::iter::once(&entry.name).chain(entry.aliases) {
            assert!(seen.insert(zoo::normalise(name)), "{name} is there twice");
        }
    }
}
