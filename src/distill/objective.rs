//! What is asked of a student: the terms of its loss, per image (spec/distillation.md §2).

use super::losses::{
    FeatureLoss, FeatureTerms, Mixture, angle_loss, cosine_distance, match_grids, relation,
};
use super::standardise::{Standardise, Statistics};
use crate::models::Features;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// How summaries are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SummaryLoss {
    #[default]
    Cosine,
    /// Squared angle over the teacher's dispersion (C-RADIOv4)
    Angle,
}

/// What is asked in the name of one teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherObjective {
    /// Of the adaptor that imitates it.
    pub name: String,
    /// 0: no summary loss; its head then gets no gradient.
    pub summary_weight: f64,
    pub feature_weight: f64,
    /// Of the relations between tokens.
    pub relation_weight: f64,
    pub summary_loss: SummaryLoss,
    /// Of the angle loss.
    pub dispersion: f64,
    pub feature_loss: FeatureLoss,
    pub standardise: Standardise,
}

/// One number of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermKind {
    Summary,
    Features,
    Relation,
}

/// A teacher's summary or feature loss whose weight is not 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub teacher: usize,
    pub kind: TermKind,
    pub weight: f64,
}

/// Everything asked of a student.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// In the order of the student's cls tokens.
    pub teachers: Vec<TeacherObjective>,
    pub mixture: Mixture,
}

/// A teacher's outputs for a batch, in any floating kind.
pub struct Target {
    /// `[B,D]`
    pub summary: Option<Tensor>,
    /// `[B,N,C]` as the teacher gives them, on their grid of rows and columns.
    pub features: Option<(Tensor, (i64, i64))>,
}

impl Target {
    /// The same on `device`.
    pub fn on(self, device: Device) -> Result<Self> {
        Ok(Target {
            summary: self.summary.map(|t| t.f_to_device(device)).transpose()?,
            features: match self.features {
                Some((map, grid)) => Some((map.f_to_device(device)?, grid)),
                None => None,
            },
        })
    }

    /// Some of its rows, as `narrow` chooses them.
    pub fn narrowed(
        &self,
        narrow: impl Fn(&Tensor) -> Result<Tensor, tch::TchError>,
    ) -> Result<Self> {
        Ok(Target {
            summary: self.summary.as_ref().map(&narrow).transpose()?,
            features: match &self.features {
                Some((map, grid)) => Some((narrow(map)?, *grid)),
                None => None,
            },
        })
    }
}

/// One teacher's losses `[B]`; absent where the weight is 0 or the teacher is.
#[derive(Default)]
pub struct ImageLosses {
    pub summary: Option<Tensor>,
    pub features: Option<FeatureTerms>,
    pub relation: Option<Tensor>,
}

impl ImageLosses {
    pub fn term(&self, kind: TermKind) -> Option<&Tensor> {
        match kind {
            TermKind::Summary => self.summary.as_ref(),
            TermKind::Features => self.features.as_ref().map(|f| &f.loss),
            TermKind::Relation => self.relation.as_ref(),
        }
    }

    /// Every number of them by the name it is reported under.
    pub fn named(&self) -> Vec<(&'static str, &Tensor)> {
        let mut named = Vec::new();
        if let Some(summary) = &self.summary {
            named.push(("summary", summary));
        }
        if let Some(features) = &self.features {
            named.push(("features", &features.loss));
            if let Some((cosine, smooth)) = &features.parts {
                named.push(("feature_cos", cosine));
                named.push(("feature_sl1", smooth));
            }
        }
        if let Some(relation) = &self.relation {
            named.push(("relation", relation));
        }
        named
    }
}

impl TeacherObjective {
    pub fn is_asked(&self) -> bool {
        self.summary_weight != 0.0 || self.sees_features()
    }

    /// Whether a loss reads its map of features.
    fn sees_features(&self) -> bool {
        self.feature_weight != 0.0 || self.relation_weight != 0.0
    }
}

impl Objective {
    /// The terms that take part, teacher by teacher.
    pub fn terms(&self) -> Vec<Term> {
        let mut terms = Vec::new();
        for (teacher, asked) in self.teachers.iter().enumerate() {
            let all = [
                (TermKind::Summary, asked.summary_weight),
                (TermKind::Features, asked.feature_weight),
                (TermKind::Relation, asked.relation_weight),
            ];
            let taking = all.into_iter().filter(|(_, weight)| *weight != 0.0);
            terms.extend(taking.map(|(kind, weight)| Term {
                teacher,
                kind,
                weight,
            }));
        }
        terms
    }

    /// The losses of a batch, per teacher; those of a teacher without a target are absent.
    ///
    /// `statistics`: one per teacher, fp32.
    ///
    /// # Errors
    /// The student lacks an adaptor, or an adaptor differs from its teacher in width.
    pub fn losses(
        &self,
        features: &Features,
        targets: &[Option<Target>],
        statistics: &[Statistics],
    ) -> Result<Vec<ImageLosses>> {
        let each = self.teachers.iter().zip(targets).zip(statistics);
        each.map(|((teacher, target), statistics)| match target {
            Some(target) => self.of_teacher(teacher, features, target, statistics),
            None => Ok(ImageLosses::default()),
        })
        .collect()
    }

    fn of_teacher(
        &self,
        teacher: &TeacherObjective,
        features: &Features,
        target: &Target,
        statistics: &Statistics,
    ) -> Result<ImageLosses> {
        let mut losses = ImageLosses::default();
        if !teacher.is_asked() {
            return Ok(losses);
        }
        let name = &teacher.name;
        let adaptor = features.adaptors.get(name).ok_or_else(|| {
            Error::model(format!(
                "the student has no adaptor `{name}`, which a loss asks for"
            ))
        })?;
        let lacking = |what: &str| {
            Error::model(format!(
                "teacher `{name}` gives no {what}, which a loss asks for; set its weight to 0"
            ))
        };
        if teacher.summary_weight != 0.0 {
            let target = target.summary.as_ref().ok_or_else(|| lacking("summary"))?;
            let y = target.to_kind(Kind::Float);
            same_width(name, "summary", &adaptor.summary, &y)?;
            let x = adaptor.summary.to_kind(Kind::Float);
            losses.summary = Some(match teacher.summary_loss {
                SummaryLoss::Cosine => cosine_distance(&x, &y),
                SummaryLoss::Angle => angle_loss(&x, &y, teacher.dispersion),
            });
        }
        if teacher.sees_features() {
            let target = target.features.as_ref();
            let (y, y_grid) = target.ok_or_else(|| lacking("features"))?;
            let (x, x_grid) = adaptor.spatial.as_ref().ok_or_else(|| {
                Error::model(format!("the adaptor `{name}` has no head for features"))
            })?;
            same_width(name, "features", x, y)?;
            let y = tch::no_grad(|| statistics.apply(&y.to_kind(Kind::Float)));
            let (x, y) = match_grids(&x.to_kind(Kind::Float), *x_grid, &y, *y_grid);
            if teacher.feature_weight != 0.0 {
                losses.features = Some(teacher.feature_loss.apply(&x, &y, self.mixture));
            }
            if teacher.relation_weight != 0.0 {
                losses.relation = Some(relation(&x, &y));
            }
        }
        Ok(losses)
    }
}

fn same_width(name: &str, what: &str, student: &Tensor, teacher: &Tensor) -> Result<()> {
    let (ours, theirs) = (student.size(), teacher.size());
    if ours.last() == theirs.last() {
        return Ok(());
    }
    Err(Error::model(format!(
        "the student's {what} for `{name}` are {} wide, the teacher's {}",
        ours.last().unwrap_or(&0),
        theirs.last().unwrap_or(&0)
    )))
}
