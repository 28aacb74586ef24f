//! A frozen network, and what it says about a batch.

use super::config::TeacherConfig;
use super::objective::Target;
use crate::data::paths;
use crate::models::{BuildOptions, ModelSpec, Request, Resolved, backbone, resolve};
use crate::runtime::Precision;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Pictures that a teacher sees at once, unless told.
const BATCH: usize = 32;
/// The summary of the backbone itself, among the names of a teacher's summaries.
const OWN_SUMMARY: &str = "backbone";

pub struct Teacher {
    pub config: TeacherConfig,
    /// Of the student's adaptor.
    pub name: String,
    pub model: Resolved,
    /// The adaptor whose summary is learned; `None`: the backbone's own.
    adaptor: Option<String>,
    /// (height, width) of what it sees, where the configuration or the network fixes it.
    pub fixed: Option<(i64, i64)>,
    /// D of its summary and C of its features.
    pub summary_width: i64,
    pub feature_width: i64,
    device: Device,
}

impl Teacher {
    pub fn open(config: &TeacherConfig, device: Device) -> Result<Self> {
        let spec = ModelSpec {
            model: paths::expand(&config.model)?.into_owned(),
            weights: (config.weights.as_deref())
                .map(paths::expand_path)
                .transpose()?,
            random_weights: None,
        };
        let options = BuildOptions {
            device,
            kind: config.precision.map(Precision::kind),
            mean: config.mean,
            std: config.std,
            ..BuildOptions::default()
        };
        let model = resolve(&spec, &options)?;
        let info = model.backbone.info();
        let adaptor = match config.summary.as_deref() {
            Some(OWN_SUMMARY) => None,
            Some(name) => {
                info.check_adaptor(name)?;
                Some(name.to_string())
            }
            None => info.adaptors.first().cloned(),
        };
        let reads_features = config.feature_weight != 0.0 || config.relation_weight != 0.0;
        if reads_features && !model.backbone.has_spatial_map() {
            return Err(Error::usage(format!(
                "teacher `{}` has no map of features; set its feature_weight and relation_weight to 0",
                model.name
            )));
        }
        let fixed = match (config.resolution, info.fixed) {
            (Some(side), _) => {
                let (height, width) = side.size();
                info.check_resolution(height, width)?;
                Some((height, width))
            }
            (None, fixed) => fixed,
        };
        let mut teacher = Teacher {
            name: config.name.clone().unwrap_or_else(|| adaptor_name(&model)),
            config: config.clone(),
            adaptor,
            fixed,
            model,
            summary_width: 0,
            feature_width: 0,
            device,
        };
        teacher.measure()?;
        Ok(teacher)
    }

    /// What it makes of a black picture tells its widths.
    fn measure(&mut self) -> Result<()> {
        let (height, width) = self.fixed.unwrap_or(self.model.backbone.info().preferred);
        let options = (Kind::Float, self.device);
        let target = self.run(&Tensor::f_zeros([1, 3, height, width], options)?)?;
        let width = |t: &Tensor| t.size().last().copied().unwrap_or(0);
        self.summary_width = target.summary.as_ref().map_or(0, width);
        self.feature_width = target.features.as_ref().map_or(0, |(t, _)| width(t));
        Ok(())
    }

    /// (height, width) of what it sees where the student sees `student`: what is fixed, else what
    /// it prefers of a square, else the nearest size it takes.
    pub fn size(&self, student: (i64, i64)) -> (i64, i64) {
        let info = self.model.backbone.info();
        match self.fixed {
            Some(size) => size,
            None if student.0 == student.1 => info.preferred,
            None => info.nearest_resolution(student.0, student.1),
        }
    }

    /// Its outputs for pixels `[b,3,H,W]` in `[0,1]` of its own size, without gradients.
    pub fn run(&self, pixels: &Tensor) -> Result<Target> {
        let batch = self.config.batch.unwrap_or(BATCH) as i64;
        let request = Request::adaptors(&self.adaptor);
        let (mut summaries, mut maps, mut grid) = (Vec::new(), Vec::new(), (0, 0));
        for pixels in pixels.f_split(batch, 0)? {
            let features = backbone::run(self.model.backbone.as_ref(), &pixels, &request)?;
            summaries.push(
                features
                    .summary_of(self.adaptor.as_deref())?
                    .shallow_clone(),
            );
            grid = features.grid;
            maps.push(features.spatial);
        }
        Ok(Target {
            summary: Some(Tensor::f_cat(&summaries, 0)?),
            features: Some((Tensor::f_cat(&maps, 0)?, grid)),
        })
    }

    /// Tokens of its map, and their grid, where it sees pictures of (height, width).
    pub fn tokens(&self, (height, width): (i64, i64)) -> Result<(i64, (i64, i64))> {
        let options = (Kind::Float, self.device);
        let black = Tensor::f_zeros([1, 3, height, width], options)?;
        let request = Request::default();
        let features = backbone::run(self.model.backbone.as_ref(), &black, &request)?;
        Ok((features.spatial.size()[1], features.grid))
    }

    /// What decides its outputs, for the run's identity.
    pub fn describe(&self) -> Result<serde_json::Value> {
        let info = self.model.backbone.info();
        Ok(serde_json::json!({
            "name": self.name,
            "model": self.model.name,
            "sha256": self.model.checkpoint.sha256()?,
            "precision": info.precision.name(),
            "settings": info.settings,
            "adaptor": self.adaptor,
        }))
    }
}

/// The name upstream gives the adaptor of a teacher of this family, else the model's own.
fn adaptor_name(model: &Resolved) -> String {
    const FAMILIES: [(&str, &str); 5] = [
        ("SigLIP", "siglip"),
        ("CLIP", "clip"),
        ("DINOv3", "dino_v3"),
        ("DINOv2", "dino_v2"),
        ("SAM", "sam"),
    ];
    let architecture = &model.backbone.info().architecture;
    let known = FAMILIES
        .iter()
        .find(|(family, _)| architecture.starts_with(family));
    known.map_or_else(
        || model.name.replace(['.', ' '], "_"),
        |(_, name)| name.to_string(),
    )
}
