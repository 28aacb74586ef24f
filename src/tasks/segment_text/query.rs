//! The user's own words on the user's own pictures: segmentation and heat maps.

use super::decide::{Below, heat};
use super::evaluate::segment;
use super::names::ClassNames;
use super::prepare::{Options, Prepared};
use super::record;
use crate::data::augment::resize;
use crate::data::decode::{Limits, decode};
use crate::data::files;
use crate::data::image::RgbImage;
use crate::models::Resolved;
use crate::report::{DataPart, ModelPart};
use crate::runtime::{Runtime, interrupt};
use crate::tasks::pictures::{self, Panels};
use crate::tasks::{Finished, contents};
use crate::{Error, Result};
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use tch::Device;

/// Name of the task in records.
const TASK: &str = "segment_text_query";

/// What was found in a picture.
pub struct Shown {
    pub image: PathBuf,
    /// The picture with its legend, and the label map: 0 is none, word i of the query is i + 1.
    pub overlay: PathBuf,
    pub labels: PathBuf,
    /// Per word: its share of the pixels, and its largest probability.
    pub words: Vec<(String, f64, f64)>,
}

/// Segments every picture of `images` (files, folders, tars) by the words of `query`; pictures go
/// to `folder`.
pub fn run(
    model: &Resolved,
    query: &str,
    images: &[PathBuf],
    folder: &Path,
    options: &Options,
    runtime: &Runtime,
) -> Result<(Finished, Vec<Shown>)> {
    // A threshold makes pixels "none of the words": no class is needed for that.
    let prepared = Prepared::new(model, options, None, true, runtime, |_| {
        ClassNames::of_query(query)
    })?;
    pictures::folder(folder)?;
    let mut shown = Vec::new();
    let mut taken = HashSet::new();
    let mut hashes = Vec::new();
    for path in images {
        let source = files::open(path)?;
        for index in 0..source.len() {
            interrupt::check()?;
            let key = source.key(index).to_string();
            let stem = unique(&key, &mut taken);
            let bytes = source.read(index)?;
            hashes.push(source.content_hash(index)?);
            let place = match path.is_file() && source.len() == 1 {
                true => path.clone(),
                false => path.join(&key),
            };
            let image =
                decode(&bytes, &Limits::default()).map_err(|reason| Error::file(&place, reason))?;
            shown.push(one(&prepared, &image, place, folder, &stem, runtime)?);
        }
    }
    let part = ModelPart::for_model(model)?;
    let pictures: Vec<_> = shown
        .iter()
        .map(|one| {
            let words = one.words.iter().map(|(word, share, probability)| {
                json!({"word": word, "share": share, "largest_probability": probability})
            });
            json!({
                "image": one.image.display().to_string(),
                "overlay": one.overlay.display().to_string(),
                "labels": one.labels.display().to_string(),
                "words": words.collect::<Vec<_>>(),
            })
        })
        .collect();
    let text: String = hashes.iter().map(|hash| crate::hash::hex(hash)).collect();
    let record = record::begin(TASK, &part, &prepared, runtime)
        .option("query", query)
        .option("pictures", pictures)
        .data(DataPart {
            name: "own pictures".into(),
            path: images
                .iter()
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
            split: "query".into(),
            samples: shown.len() as u64,
            fingerprint: crate::hash::sha256(text),
            fingerprint_of: contents::FINGERPRINT_OF.to_string(),
            skipped: 0,
            transform: json!({
                "short_side": prepared.segmenter.settings.short_side,
                "long_side": prepared.segmenter.settings.long_side,
            }),
        });
    Ok((Finished::record(record.build()), shown))
}

/// The file's name without its ending; a number behind it where another picture has it.
fn unique(key: &str, taken: &mut HashSet<String>) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut free = stem.to_string();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{stem}-{number}");
        number += 1;
    }
    free
}

fn one(
    prepared: &Prepared,
    image: &RgbImage,
    path: PathBuf,
    folder: &Path,
    stem: &str,
    runtime: &Runtime,
) -> Result<Shown> {
    let settings = &prepared.segmenter.settings;
    let scale = (settings.long_side, settings.short_side);
    let resized = resize::test_time(image, scale).map_err(|reason| Error::file(&path, reason))?;
    let size = (image.height as i64, image.width as i64);
    let (seen, decision, _) = segment(prepared, &resized, size, Below::Unknown, runtime).map_err(
        |error| match error {
            Error::Model(reason) => Error::file(&path, reason),
            other => other,
        },
    )?;
    let rules = prepared.rules(Below::Unknown);
    let panels = Panels {
        photo: &image.data,
        width: image.width as u32,
        height: image.height as u32,
    };
    // The first name of each class stands for it.
    let word = |class: usize| {
        let at = prepared.names.class_of.iter().position(|&c| c == class);
        at.map_or("", |at| prepared.names.names[at].as_str())
    };
    let coloured: Vec<u16> = decision
        .labels
        .iter()
        .map(|&label| {
            label
                .checked_sub(1)
                .unwrap_or(crate::data::segmentation::WIDE_IGNORE)
        })
        .collect();
    let mut drawn = vec![panels.photo(), panels.labels("segmentation", &coloured)];
    let mut words = Vec::new();
    for class in 0..prepared.names.classes {
        interrupt::check()?;
        let map = heat(&seen.scores, size, &rules, class)?;
        let map = map.f_flatten(0, 1)?.f_to_device(Device::Cpu)?;
        let map = Vec::<f32>::try_from(map)?;
        let largest = map.iter().copied().fold(0.0, f32::max);
        drawn.push(panels.heat(word(class), &map));
        let pixels = coloured
            .iter()
            .filter(|&&c| usize::from(c) == class)
            .count();
        let share = 100.0 * pixels as f64 / coloured.len().max(1) as f64;
        words.push((word(class).to_string(), share, 100.0 * f64::from(largest)));
    }
    let present = pictures::present(coloured.iter());
    let legend: Vec<(u16, &str)> = present
        .into_iter()
        .map(|label| (label, word(usize::from(label))))
        .collect();
    let overlay = pictures::place(folder, &format!("{stem}.x"), "overlay.png")?;
    pictures::write(&overlay, &panels.draw(&drawn, &legend))?;
    let labels = pictures::place(folder, &format!("{stem}.x"), "labels.png")?;
    pictures::write_mask(&labels, &decision.labels, panels.width, panels.height)?;
    Ok(Shown {
        image: path,
        overlay,
        labels,
        words,
    })
}
