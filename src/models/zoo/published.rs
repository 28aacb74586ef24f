//! Published figures and the conditions they were measured under (spec/published.md; trust mark V
//! only).
//!
//! What a source does not say is `None`, and a figure with such a gap stands beside no run. Where
//! the spec infers the shape of the input from other figures, the inference is taken, and said.

use crate::metrics::accuracy::{KNN_TOP1, ZERO_SHOT_TOP1, ZERO_SHOT_TOP5};
use crate::metrics::latency::THROUGHPUT;
use crate::metrics::mask::SAM_IOU;
use crate::metrics::segmentation::MIOU;
use crate::metrics::{Benchmark, Definition};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Shapes of its zero-shot and kNN figures are inferred (spec/published.md §1.9). Its speed beside
/// DINOv2-g with registers is that of DINOv2-g without.
pub(super) const TABLE_1: &str = "arXiv 2312.06709v5 Table 1";

/// Sizes, shapes and the recipe of its probes are not stated.
pub(super) const C_RADIO_V4: &str = "arXiv 2601.17237v1 Tables 1-5";

/// How an image came to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Scaled to cover a square, the centre cut out.
    Square,
    /// The shortest side scaled, the aspect ratio kept.
    ShortestSide,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Square => "square",
            Shape::ShortestSide => "shortest side",
        }
    }
}

/// The evaluation that gave a figure, with its own settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Protocol {
    /// Votes of the k nearest train images, weighted exp(similarity / temperature).
    Knn { k: u32, temperature: f64 },
    /// Prompts of a set of templates over open_clip's names of the classes.
    ZeroShot { templates: &'static str },
    /// BatchNorm and a 1x1 convolution on frozen features; the preset that restates the recipe.
    LinearProbe { preset: Option<&'static str> },
    /// SAM's decoder on the features, prompted by annotated boxes.
    SamSwap,
    /// Forward passes on an A100 with TensorRT, batch not stated.
    Speed,
}

/// A published figure.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    pub metric: &'static Definition,
    pub value: f64,
    /// Where it was read, e.g. `arXiv 2312.06709v5 Table 1`.
    pub source: &'static str,
    pub protocol: Protocol,
    /// The split it was measured on; none for a speed.
    pub benchmark: Option<&'static Benchmark>,
    /// Pixels of the square's side, or of the shortest side.
    pub side: Option<i64>,
    pub shape: Option<Shape>,
    /// Whether the source says the shape, or it is inferred.
    pub shape_is_stated: bool,
    /// Whose summary; `None` is the backbone's own.
    pub adaptor: Option<&'static str>,
    /// ViTDet's window in patches; `None` is global attention.
    pub vitdet_window: Option<i64>,
}

impl Published {
    const fn new(
        metric: &'static Definition,
        protocol: Protocol,
        value: f64,
        source: &'static str,
    ) -> Self {
        Published {
            metric,
            value,
            source,
            protocol,
            benchmark: metric.benchmark,
            side: None,
            shape: None,
            shape_is_stated: false,
            adaptor: None,
            vitdet_window: None,
        }
    }

    /// Measured at this many pixels.
    pub(super) const fn at(mut self, side: i64) -> Self {
        self.side = Some(side);
        self
    }

    /// On a square, as other figures make likely.
    pub(super) const fn square(mut self) -> Self {
        self.shape = Some(Shape::Square);
        self
    }

    /// By the shortest side, as other figures make likely.
    pub(super) const fn shortest_side(mut self) -> Self {
        self.shape = Some(Shape::ShortestSide);
        self
    }

    /// In a source that gives no ground for either shape.
    pub(super) const fn of_unknown_shape(mut self) -> Self {
        self.shape = None;
        self
    }

    /// The source itself says the shape.
    pub(super) const fn stated(mut self) -> Self {
        self.shape_is_stated = true;
        self
    }

    pub(super) const fn windowed(mut self, patches: i64) -> Self {
        self.vitdet_window = Some(patches);
        self
    }

    pub(super) const fn adaptor(mut self, name: &'static str) -> Self {
        self.adaptor = Some(name);
        self
    }

    pub(super) const fn on(mut self, benchmark: &'static Benchmark) -> Self {
        self.benchmark = Some(benchmark);
        self
    }

    /// The conditions by name, for records and `models`; `null` where the source does not say.
    pub fn conditions(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut say = |name: &str, value: Value| {
            map.insert(name.to_string(), value);
        };
        if let Some(benchmark) = self.benchmark {
            say("data", json!(benchmark.name));
            say("split", json!(benchmark.split));
            say("samples", json!(benchmark.samples));
        }
        say("resolution", json!(self.side));
        say("shape", json!(self.shape.map(Shape::name)));
        if self.shape.is_some() && !self.shape_is_stated {
            say("shape_is", json!("inferred"));
        }
        match self.protocol {
            Protocol::Knn { k, temperature } => {
                say("k", json!(k));
                say("temperature", json!(temperature));
                say("train", json!("whole split"));
            }
            Protocol::ZeroShot { templates } => {
                say("templates", json!(templates));
                say("class_names", json!("open_clip"));
            }
            Protocol::LinearProbe { preset } => say("preset", json!(preset)),
            Protocol::SamSwap => say("prompt", json!("annotated boxes")),
            Protocol::Speed => {
                say("device", json!("A100, TensorRT"));
                say("batch", Value::Null);
            }
        }
        if self.protocol != Protocol::Speed {
            say(
                "features",
                json!(self.adaptor.map_or("backbone", |name| name)),
            );
        }
        say(
            "attention",
            match self.vitdet_window {
                None => json!("as trained"),
                Some(n) => json!(format!("ViTDet window {n}")),
            },
        );
        map
    }

    /// The conditions in words: `ImageNet-1k val, 768 px (shortest side, inferred), clip, openai
    /// templates`.
    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = self.benchmark.iter().map(|b| b.to_string()).collect();
        let size = self
            .side
            .map_or("resolution not stated".to_string(), |side| {
                format!("{side} px")
            });
        parts.push(match (self.shape, self.shape_is_stated) {
            (None, _) => size,
            (Some(shape), true) => format!("{size} ({})", shape.name()),
            (Some(shape), false) => format!("{size} ({}, inferred)", shape.name()),
        });
        parts.extend(self.adaptor.map(|name| format!("adaptor {name}")));
        parts.extend(self.vitdet_window.map(|n| format!("ViTDet window {n}")));
        parts.push(match self.protocol {
            Protocol::Knn { k, temperature } => format!("k {k}, T {temperature}"),
            Protocol::ZeroShot { templates } => format!("{templates} templates"),
            Protocol::LinearProbe {
                preset: Some(preset),
            } => format!("preset {preset}"),
            Protocol::LinearProbe { preset: None } => "recipe not stated".to_string(),
            Protocol::SamSwap => "prompted by annotated boxes".to_string(),
            Protocol::Speed => "A100 with TensorRT, batch not stated".to_string(),
        });
        parts.join(", ")
    }
}

impl Serialize for Published {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({
            "metric": self.metric.name,
            "value": self.value,
            "source": self.source,
            "conditions": self.conditions(),
        })
        .serialize(serializer)
    }
}

/// kNN on the backbone's summary, k 20 and T 0.07; upstream describes a centre crop.
pub(super) const fn knn(value: f64, source: &'static str) -> Published {
    let protocol = Protocol::Knn {
        k: 20,
        temperature: 0.07,
    };
    Published::new(&KNN_TOP1, protocol, value, source).square()
}

/// Zero-shot top-1 by the head that imitates an image-text teacher, or the teacher's own.
pub(super) const fn zero_shot(
    value: f64,
    source: &'static str,
    adaptor: &'static str,
) -> Published {
    let protocol = Protocol::ZeroShot {
        templates: "openai",
    };
    Published::new(&ZERO_SHOT_TOP1, protocol, value, source).adaptor(adaptor)
}

/// As [`zero_shot`], top-5.
pub(super) const fn zero_shot_top5(
    value: f64,
    source: &'static str,
    adaptor: &'static str,
) -> Published {
    Published {
        metric: &ZERO_SHOT_TOP5,
        ..zero_shot(value, source, adaptor)
    }
}

/// mIoU of a linear probe on ADE20k, by a recipe that the source does not state.
pub(super) const fn miou(value: f64, source: &'static str) -> Published {
    Published::new(&MIOU, Protocol::LinearProbe { preset: None }, value, source)
}

/// mIoU of a linear probe by the recipe of the AM-RADIO paper.
pub(super) const fn paper_miou(value: f64, source: &'static str, crop: i64) -> Published {
    let protocol = Protocol::LinearProbe {
        preset: Some("paper-v5"),
    };
    Published::new(&MIOU, protocol, value, source).at(crop)
}

/// Mask IoU of SAM's decoder on the student's features, at SAM's 1024 px.
pub(super) const fn sam_iou(value: f64, source: &'static str) -> Published {
    Published::new(&SAM_IOU, Protocol::SamSwap, value, source).at(1024)
}

/// Images per second of AM-RADIO's Table 1 on a square input.
pub(super) const fn speed(value: f64, source: &'static str, side: i64) -> Published {
    Published::new(&THROUGHPUT, Protocol::Speed, value, source)
        .at(side)
        .square()
}
