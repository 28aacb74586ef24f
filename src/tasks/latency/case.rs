//! One cell of the sweep: a network at a resolution and a batch size.

use super::rival::Rival;

#[derive(Debug, Clone)]
pub struct Case {
    pub label: String,
    /// (height, width), a size that the network takes
    pub resolution: (i64, i64),
    /// What was asked for, where that had to be moved to the network's step.
    pub asked: Option<(i64, i64)>,
    pub batch: i64,
}

impl Case {
    /// `resolution` is moved to the nearest one that the network takes; `None` is its preferred one.
    pub fn new(rival: &Rival, resolution: Option<(i64, i64)>, batch: i64) -> Self {
        let info = rival.model.backbone.info();
        let (height, width) = resolution.unwrap_or(info.preferred);
        let nearest = info.nearest_resolution(height, width);
        Case {
            label: rival.label.clone(),
            resolution: nearest,
            asked: (nearest != (height, width)).then_some((height, width)),
            batch,
        }
    }
}
