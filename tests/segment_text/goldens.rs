//! golden/open_vocabulary: upstream's own code on tiny networks, at the spec's tolerances.

use crate::common::{fixture, shared};
use radio_eval::models::architecture::build;
use radio_eval::models::dense::{self, unit_rows};
use radio_eval::models::{BuildOptions, Resolved};
use radio_eval::tasks::segment_text::decide::{Below, Rules, decide};
use radio_eval::tasks::segment_text::method::{Chosen, Method};
use radio_eval::tasks::segment_text::protocol::{Changes, Fit, Protocol, Settings};
use radio_eval::tasks::segment_text::scores::{Names, Scores};
use radio_eval::tasks::segment_text::segmenter::{Segmenter, aggregate};
use radio_eval::tasks::zero_shot::classifier::mean_directions;
use radio_eval::weights::{Checkpoint, safetensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// golden/open_vocabulary/README.md
const TOLERANCE: f64 = 2e-5;

pub struct Golden {
    name: String,
    pub meta: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    pub fn open(path: &Path) -> Self {
        let (tensors, metadata) = safetensors::open(path).expect("golden opens");
        let tensors = tensors.iter().map(|(name, tensor)| {
            let read = tensor.read_stored().expect("golden reads");
            (name.clone(), read)
        });
        Golden {
            name: path.display().to_string(),
            meta: serde_json::from_str(&metadata["golden"]).expect("JSON"),
            tensors: tensors.collect(),
        }
    }

    pub fn get(&self, name: &str) -> &Tensor {
        &self.tensors[name]
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn number(&self, name: &str) -> f64 {
        self.meta[name].as_f64().expect("a number")
    }

    fn size(&self) -> (i64, i64) {
        let size = Vec::<i64>::try_from(self.get("orig_hw")).expect("a size");
        (size[0], size[1])
    }

    /// |difference| <= 2e-5 · max(1, largest value)
    #[track_caller]
    pub fn close(&self, name: &str, ours: &Tensor) {
        let wanted = self.get(name);
        assert_eq!(ours.size(), wanted.size(), "{} {name}", self.name);
        let largest = wanted.abs().max().double_value(&[]).max(1.0);
        let worst = (ours - wanted).abs().max().double_value(&[]);
        assert!(
            worst <= TOLERANCE * largest,
            "{} {name}: {worst:e} of {largest}",
            self.name
        );
    }

    #[track_caller]
    fn same_labels(&self, name: &str, ours: &[u16]) {
        let wanted = self.get(name).flatten(0, -1).to_kind(Kind::Int64);
        let wanted = Vec::<i64>::try_from(wanted).expect("labels");
        let ours: Vec<i64> = ours.iter().map(|&label| i64::from(label)).collect();
        assert_eq!(ours, wanted, "{} {name}", self.name);
    }

    /// Windows of the golden; `None`: the whole picture.
    fn window(&self) -> Option<(i64, i64)> {
        let number = |name: &str| self.meta[name].as_i64().expect("a number");
        (number("crop") > 0).then(|| (number("crop"), number("stride")))
    }
}

/// `[h,w,Q]` -> `[1,Q,h,w]`
fn channels_first(map: &Tensor) -> Tensor {
    map.permute([2, 0, 1]).unsqueeze(0)
}

/// `[1,C,h,w]` -> `[1,N,C]`
fn tokens_of(map: &Tensor) -> Tensor {
    map.flatten(2, 3).transpose(1, 2)
}

/// All of it at once.
fn all(scores: &Scores, size: (i64, i64)) -> Tensor {
    let names = Names {
        start: 0,
        count: scores.names(),
    };
    channels_first(&scores.enlarged(names, size).expect("enlarges"))
}

pub fn resolved(checkpoint: Checkpoint) -> Resolved {
    let backbone = build(&checkpoint, &BuildOptions::default()).expect("builds");
    Resolved {
        name: "golden".into(),
        entry: None,
        checkpoint,
        backbone,
    }
}

pub fn student(folder: &Path) -> Resolved {
    let args = std::fs::read(folder.join("args.json")).expect("args.json");
    resolved(Checkpoint {
        config: serde_json::from_slice(&args).expect("JSON"),
        ..Checkpoint::open(&folder.join("checkpoint_raw.safetensors")).expect("weights open")
    })
}

fn settings(golden: &Golden, model: &Resolved) -> Settings {
    let family = dense::text_aligned(model.backbone.as_ref())
        .unwrap()
        .family();
    let window = golden.window();
    let student = golden.meta["kind"] == "radio";
    let changes = Changes {
        protocol: Some(if student {
            Protocol::RadsegMid
        } else {
            Protocol::Sclip
        }),
        window: Some(window),
        fit: window.filter(|_| student).map(|_| Fit::Stride),
        logit_scale: Some(golden.number("logit_scale")),
        ..Changes::default()
    };
    Settings::new(&changes, None, family, false).unwrap()
}

fn segmenter<'a>(golden: &Golden, model: &'a Resolved, method: Method) -> Segmenter<'a> {
    let constants = method.constants(Chosen::default()).unwrap();
    let text = unit_rows(golden.get("text"));
    let adaptor = golden.meta["adaptor"].as_str().unwrap_or("clip");
    let settings = settings(golden, model);
    Segmenter::new(
        model,
        adaptor,
        method,
        constants,
        settings,
        &text,
        Device::Cpu,
    )
    .unwrap()
}

fn radio(file: &str) {
    let Some(path) = shared(&format!("golden/open_vocabulary/{file}.safetensors")) else {
        return;
    };
    let golden = Golden::open(&path);
    let weights = golden.meta["weights"].as_str().unwrap();
    let model = student(&shared(&format!("golden/{weights}")).expect("weights beside it"));
    for method in [Method::Plain, Method::Radseg, Method::Naradio] {
        let segmenter = segmenter(&golden, &model, method);
        let name = |tensor: &str| format!("{}.{tensor}", method.name());
        let image = golden.get("image");
        let (mut features, _, windows) = segmenter.stitched(image).unwrap();
        golden.close(&name("features"), &channels_first(&features));
        if golden.has("windows") {
            assert_eq!(windows as i64, golden.get("windows").size()[0]);
        }
        if method == Method::Radseg {
            features = aggregate(&features, golden.number("scga_scale")).unwrap();
            golden.close("radseg.aggregated", &channels_first(&features));
        }
        let tokens = tokens_of(&channels_first(&features));
        let aligned = dense::align(model.backbone.as_ref(), &tokens, &segmenter.adaptor).unwrap();
        let grid = features.size();
        let map = |tokens: &Tensor| tokens.transpose(1, 2).view([1, -1, grid[0], grid[1]]);
        golden.close(&name("aligned"), &map(&aligned));
        if method == Method::Naradio {
            continue;
        }
        golden.close(&name("cos"), &map(&segmenter.cosines(&tokens).unwrap()));
        let scores = segmenter.see(image).unwrap().scores;
        let Scores::Probabilities(probabilities) = &scores else {
            panic!("students give probabilities");
        };
        golden.close(&name("probs"), &channels_first(probabilities));
        let size = golden.size();
        golden.close(&name("probs_up"), &all(&scores, size));

        let class_of: Vec<usize> = (0..6).collect();
        let plain = Rules {
            class_of: &class_of,
            classes: 6,
            logit_scale: golden.number("logit_scale"),
            denoise: 0.0,
            prob_threshold: 0.0,
            area_threshold: 0.0,
            below: Below::Background,
        };
        let labels = decide(&scores, size, &plain).unwrap();
        golden.same_labels(&name("labels"), &labels.labels);
        let denoised = Rules {
            denoise: golden.number("denoise"),
            ..plain
        };
        let labels = decide(&scores, size, &denoised).unwrap();
        golden.same_labels(&name("labels_denoised"), &labels.labels);
        let removed: Vec<u16> = labels.removed.iter().map(|&r| u16::from(r)).collect();
        golden.same_labels(&name("removed"), &removed);
        let unknown = Rules {
            prob_threshold: golden.number("unknown_below"),
            below: Below::Unknown,
            ..denoised
        };
        let labels = decide(&scores, size, &unknown).unwrap();
        golden.same_labels(&name("labels_unknown"), &labels.labels);
        assert_eq!(
            labels.below,
            labels.labels.iter().filter(|&&label| label == 0).count() as u64
        );
    }
}

#[test]
fn radio_square() {
    radio("radio.v25_like.siglip.64x64");
}

#[test]
fn radio_wide() {
    radio("radio.v25_like.siglip.48x112");
}

#[test]
fn radio_in_windows() {
    radio("radio.v25_like.siglip.40x72.crop48s32");
}

#[test]
fn radio_v4_with_ten_prefix_tokens() {
    radio("radio.v4_like.siglip2-g.64x96");
}

const CLIP_METHODS: [(Method, &str); 5] = [
    (Method::Maskclip, "maskclip"),
    (Method::MaskclipReduced, "maskclip_reduced"),
    (Method::Naclip, "naclip"),
    (Method::Sclip, "sclip"),
    (Method::Clearclip, "clearclip"),
];

fn clip(golden: &Path, weights: &Path) {
    let golden = Golden::open(golden);
    let folder = weights.parent().unwrap();
    let config = std::fs::read(folder.join("openclip_config.json")).unwrap();
    let model = resolved(Checkpoint {
        config: serde_json::from_slice(&config).unwrap(),
        ..Checkpoint::open(weights).unwrap()
    });
    let (image, size) = (golden.get("image"), golden.size());
    for (method, name) in CLIP_METHODS {
        let name = |tensor: &str| format!("{name}.{tensor}");
        let segmenter = segmenter(&golden, &model, method);
        let last = method.last_block(&segmenter.constants);
        if golden.has(&name("features")) {
            let backbone = model.backbone.as_ref();
            let (tokens, grid) = dense::tokens(backbone, image, &last).unwrap();
            let aligned = dense::align(backbone, &tokens, "clip").unwrap();
            let map = |tokens: &Tensor| tokens.transpose(1, 2).view([1, -1, grid.0, grid.1]);
            golden.close(&name("features"), &map(&aligned));
            if golden.has(&name("cos")) {
                golden.close(&name("cos"), &map(&segmenter.cosines(&tokens).unwrap()));
            }
        }
        if !golden.has(&name("labels")) {
            continue;
        }
        let scores = segmenter.see(image).unwrap().scores;
        if golden.has(&name("cos_up")) {
            let canvas = image.size();
            golden.close(&name("cos_up"), &all(&scores, (canvas[2], canvas[3])));
        }
        golden.close(&name("cos_orig"), &all(&scores, size));
        let class_of = Vec::<i64>::try_from(golden.get("query_class")).unwrap();
        let class_of: Vec<usize> = class_of.into_iter().map(|class| class as usize).collect();
        let rules = Rules {
            class_of: &class_of,
            classes: 5,
            logit_scale: golden.number("logit_scale"),
            denoise: 0.0,
            prob_threshold: 0.0,
            area_threshold: 0.0,
            below: Below::Background,
        };
        let labels = decide(&scores, size, &rules).unwrap();
        golden.same_labels(&name("labels"), &labels.labels);
        let thresholded = Rules {
            prob_threshold: golden.number("prob_thd"),
            ..rules
        };
        let labels = decide(&scores, size, &thresholded).unwrap();
        golden.same_labels(&name("labels_bg"), &labels.labels);
        let heat: Vec<Tensor> = (0..5)
            .map(|class| {
                radio_eval::tasks::segment_text::decide::heat(&scores, size, &rules, class).unwrap()
            })
            .collect();
        golden.close(&name("probs"), &Tensor::stack(&heat, 0));
    }
}

/// From the repository's own fixtures, so that it runs everywhere.
#[test]
fn clip_on_its_own_grid() {
    clip(
        &fixture("open_vocabulary/clip.clip_quickgelu.56x56.safetensors"),
        &fixture("teachers/clip_quickgelu/openclip.safetensors"),
    );
}

#[test]
fn clip_with_interpolated_positions_and_in_windows() {
    for file in ["56x84", "70x84.crop56s28"] {
        let name = format!("golden/open_vocabulary/clip.clip_quickgelu.{file}.safetensors");
        let Some(path) = shared(&name) else { return };
        let weights = shared("golden/teachers/clip_quickgelu/openclip.safetensors").unwrap();
        clip(&path, &weights);
    }
}

/// Means of unit vectors; RADSeg leaves them as they are, CLIP methods make them unit length.
#[test]
fn text_vectors() {
    let golden = Golden::open(&fixture("open_vocabulary/text.safetensors"));
    let prompts = golden.get("prompts");
    let found = mean_directions(&prompts.flatten(0, 1), prompts.size()[1]).unwrap();
    golden.close("clip_text", &found);
    let radseg = golden.get("radseg_text");
    let worst = (unit_rows(radseg) - found).abs().max().double_value(&[]);
    assert!(worst <= TOLERANCE, "{worst:e}");
}
