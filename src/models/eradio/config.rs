//! The variants of E-RADIO and where a checkpoint says which one it is (spec radio.md §3.1).

use crate::models::radio::keys;
use crate::weights::Checkpoint;
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// The names under which upstream registers E-RADIO with timm.
pub const REGISTERED: &[&str] = &[
    "eradio",
    "eradio_large_fullres_ws16",
    "eradio_xxxtiny",
    "eradio_xxxtiny_8x_ws12",
    "eradio_xxxtiny_8x_ws16",
];

/// Constructor arguments of the network, under upstream's names.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Registered name, or `custom` where the file lists the arguments themselves.
    pub name: String,
    /// Channels of the first level; each level doubles them.
    pub dim: i64,
    pub in_dim: i64,
    pub depths: Vec<usize>,
    pub num_heads: Vec<i64>,
    /// Windows per level, one per attention block inside it; empty for convolutional levels.
    pub window_size: Vec<Vec<i64>>,
    /// Sub-sampling per level, one entry per attention block.
    pub sr_ratio: Vec<Vec<i64>>,
    pub use_swiglu: bool,
    pub multi_query: bool,
    pub use_shift: bool,
    pub qkv_bias: bool,
    /// `None`: head dimension ^ -0.5.
    pub qk_scale: Option<f64>,
    pub layer_scale: Option<f64>,
    pub layer_scale_conv: Option<f64>,
    pub yolo_arch: bool,
    pub shuffle_down: bool,
    pub downsample_shuffle: bool,
    /// Sub-sampling by strided convolutions instead of average pooling.
    pub conv_base: bool,
    /// Groups of the 3x3 in front of full-resolution attention, per channel; 0 dense, 1 depthwise,
    /// -1 no convolution.
    pub conv_groups_ratio: f64,
    pub cpb_mlp_hidden: i64,
    /// Channels of the neck's map.
    pub full_features_head_dim: i64,
    pub neck_start_stage: usize,
}

/// Levels 0 and 1 are convolutional whatever the arguments.
pub const CONV_LEVELS: usize = 2;

impl Config {
    /// From `args` (`.pth.tar`, args JSON), a Hugging Face `config.json` (`args` inside), or the
    /// constructor arguments themselves. `None` where `config` is of another network.
    pub fn find(config: &Value) -> Option<Result<Self>> {
        let args = if config["args"].is_object() {
            &config["args"]
        } else {
            config
        };
        match args["model"].as_str() {
            Some(name) if REGISTERED.contains(&name) => Some(Self::from_args(name, args)),
            Some(_) => None,
            None if args["sr_ratio"].is_array() && args["depths"].is_array() => {
                Some(args.as_object().map_or_else(
                    || Err(Error::model("E-RADIO's config is not an object")),
                    |kwargs| Self::from_kwargs("custom", kwargs),
                ))
            }
            None => None,
        }
    }

    fn from_args(name: &str, args: &Value) -> Result<Self> {
        let Value::Object(mut kwargs) = registered(name) else {
            return Err(Error::model(format!("`{name}` is no variant of E-RADIO")));
        };
        if let Some(own) = args["model_kwargs"].as_object() {
            kwargs.extend(own.clone());
        }
        Self::from_kwargs(name, &kwargs)
    }

    /// Defaults are those of upstream's constructor.
    fn from_kwargs(name: &str, kwargs: &Map<String, Value>) -> Result<Self> {
        let get = |key: &str| kwargs.get(key).filter(|v| !v.is_null());
        let wrong = |key: &str, wanted: &str| {
            Error::model(format!(
                "E-RADIO's config: `{key}` must be {wanted}, it is {}",
                get(key).unwrap_or(&Value::Null)
            ))
        };
        let integer = |key: &str, default: Option<i64>| match get(key) {
            None => default.ok_or_else(|| wrong(key, "given")),
            Some(value) => value.as_i64().ok_or_else(|| wrong(key, "a whole number")),
        };
        let positive = |key: &str, default: Option<i64>| match integer(key, default)? {
            n if n > 0 => Ok(n),
            _ => Err(wrong(key, "positive")),
        };
        let flag = |key: &str| match get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(key, "true or false")),
        };
        let real = |key: &str| -> Result<Option<f64>> {
            match get(key) {
                None => Ok(None),
                Some(value) => Ok(Some(value.as_f64().ok_or_else(|| wrong(key, "a number"))?)),
            }
        };
        let lists = |key: &str| -> Result<Vec<Vec<i64>>> {
            let levels = get(key).and_then(Value::as_array);
            let levels = levels.ok_or_else(|| wrong(key, "a list with one entry per level"))?;
            levels
                .iter()
                .map(|level| list(level).ok_or_else(|| wrong(key, "made of whole numbers")))
                .collect()
        };
        let flat = |key: &str| -> Result<Vec<i64>> {
            get(key)
                .and_then(list)
                .ok_or_else(|| wrong(key, "a list of whole numbers, one per level"))
        };
        if !flag("return_full_features")? {
            return Err(Error::model(
                "E-RADIO without `return_full_features` has no spatial features: RADIO's own wrapper cannot run it either",
            ));
        }
        let depths = flat("depths")?
            .into_iter()
            .map(|depth| usize::try_from(depth).map_err(|_| wrong("depths", "positive")))
            .collect::<Result<Vec<_>>>()?;
        let config = Config {
            name: name.to_string(),
            dim: positive("dim", None)?,
            in_dim: positive("in_dim", None)?,
            num_heads: flat("num_heads")?,
            window_size: lists("window_size")?,
            sr_ratio: lists("sr_ratio")?,
            use_swiglu: flag("use_swiglu")?,
            multi_query: flag("multi_query")?,
            use_shift: flag("use_shift")?,
            qkv_bias: flag("qkv_bias")?,
            qk_scale: real("qk_scale")?,
            layer_scale: real("layer_scale")?,
            layer_scale_conv: real("layer_scale_conv")?,
            yolo_arch: flag("yolo_arch")?,
            shuffle_down: flag("shuffle_down")?,
            downsample_shuffle: flag("downsample_shuffle")?,
            conv_base: flag("conv_base")?,
            conv_groups_ratio: real("conv_groups_ratio")?.unwrap_or(0.0),
            cpb_mlp_hidden: positive("cpb_mlp_hidden", Some(512))?,
            full_features_head_dim: positive("full_features_head_dim", Some(128))?,
            neck_start_stage: usize::try_from(integer("neck_start_stage", Some(1))?)
                .map_err(|_| wrong("neck_start_stage", "a level"))?,
            depths,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let levels = self.depths.len();
        let fits = levels > CONV_LEVELS
            && self.num_heads.len() == levels
            && self.window_size.len() == levels
            && self.sr_ratio.len() == levels
            && self.neck_start_stage < levels;
        if !fits {
            return Err(Error::model(format!(
                "E-RADIO's config: `depths`, `num_heads`, `window_size` and `sr_ratio` need one entry for each of at least three levels, and `neck_start_stage` must be one of them; got {self:?}"
            )));
        }
        for level in CONV_LEVELS..levels {
            let (dim, heads) = (self.level_dim(level), self.num_heads[level]);
            let windows = &self.window_size[level];
            if heads < 1 || dim % heads != 0 {
                return Err(Error::model(format!(
                    "E-RADIO's config: {heads} heads do not divide the {dim} channels of level {level}"
                )));
            }
            let window = windows.first().copied().unwrap_or(0);
            if window < 2 || windows.iter().any(|&w| w != window) {
                return Err(Error::model(format!(
                    "E-RADIO's config: level {level} needs one window of at least 2 tokens, it has {windows:?}"
                )));
            }
            if self.sr_ratio[level].is_empty() || self.sr_ratio[level].iter().any(|&sr| sr < 1) {
                return Err(Error::model(format!(
                    "E-RADIO's config: level {level} needs sub-sampling ratios of at least 1"
                )));
            }
        }
        Ok(())
    }

    /// Channels of a level.
    pub fn level_dim(&self, level: usize) -> i64 {
        self.dim << level
    }

    /// Pixels per side of a token of the neck's map: the stem's 4, doubled by each level before
    /// the neck's first.
    pub fn patch(&self) -> i64 {
        4 << self.neck_start_stage
    }

    /// Pixels per side of the last level's tokens, of which height and width must be multiples
    /// (upstream insists on 32 for its four levels, although the API advertises 16).
    pub fn step(&self) -> i64 {
        4 << (self.depths.len() - 1)
    }

    /// The window the weights were trained with: the table divisor, which never changes.
    pub fn trained_window(&self) -> i64 {
        self.window_size[CONV_LEVELS][0]
    }
}

/// `null` -> [], n -> [n], [a, b] -> [a, b].
fn list(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(Value::as_i64).collect(),
        other => Some(vec![other.as_i64()?]),
    }
}

/// Arguments that each registered name stands for.
fn registered(name: &str) -> Value {
    let base = |depths: [i64; 4], window: i64, dim: i64, in_dim: i64, neck: i64| {
        json!({
            "depths": depths, "num_heads": [2, 4, 8, 16],
            "window_size": [null, null, [window, window], window],
            "dim": dim, "in_dim": in_dim, "sr_ratio": [1, 1, [2, 1], 1],
            "yolo_arch": true, "full_features_head_dim": neck,
            "neck_start_stage": 2, "conv_base": true, "cpb_mlp_hidden": 512,
        })
    };
    let tiny_8x = |window: i64, start: i64| {
        let mut config = base([1, 3, 4, 5], window, 32, 32, 256);
        config["conv_base"] = json!(false);
        config["cpb_mlp_hidden"] = json!(64);
        config["conv_groups_ratio"] = json!(1);
        config["neck_start_stage"] = json!(start);
        config
    };
    match name {
        "eradio" | "eradio_large_fullres_ws16" => base([3, 3, 5, 5], 16, 192, 64, 1536),
        "eradio_xxxtiny" => base([1, 3, 4, 5], 16, 32, 32, 256),
        "eradio_xxxtiny_8x_ws12" => tiny_8x(12, 2),
        "eradio_xxxtiny_8x_ws16" => tiny_8x(16, 1),
        _ => Value::Null,
    }
}

/// The layout of a checkpoint's names, recognised by the stem; `None` where it is another network.
pub fn layout(checkpoint: &Checkpoint) -> Option<keys::Kind> {
    const STEM: &str = "patch_embed.conv_down.0.conv.weight";
    let prefixes = [
        ("base_model.", keys::Kind::Hub),
        ("radio_model.model.", keys::Kind::HuggingFace),
        ("model.", keys::Kind::Loaded),
        ("", keys::Kind::Bare),
    ];
    let found = prefixes.into_iter().find(|(prefix, _)| {
        let mut wrappers = keys::WRAPPERS.iter();
        wrappers.any(|wrapper| checkpoint.has(&format!("{prefix}{wrapper}{STEM}")))
    });
    found.map(|(_, kind)| kind)
}
