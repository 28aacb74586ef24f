//! Files beside the record: tables of classes, the head, and pictures of predictions.

use crate::data::Source;
use crate::data::segmentation::{IGNORE, LabelMap, LabelRule, PairSet};
use crate::files::{inside, write_atomically};
use crate::metrics::segmentation::Confusion;
use crate::report::render::to_csv;
use crate::tasks::font;
use crate::tasks::palette::colour;
use crate::{Error, Result};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Side of a legend's colour field, and the distance of its lines, in pixels.
const FIELD: u32 = 9;
const LINE: u32 = 12;
/// Width of a legend column.
const COLUMN: u32 = 208;
/// Share of the class colour over the image.
const OPACITY: f32 = 0.6;

/// Where predictions are drawn.
pub struct Predictions {
    pub folder: PathBuf,
}

/// `class,value,iou,accuracy,labelled,predicted`, in class order; empty where undefined.
pub fn classes_csv(rule: &LabelRule, confusion: &Confusion) -> Result<String> {
    let header = ["class", "value", "iou", "accuracy", "labelled", "predicted"];
    let mut rows = vec![header.map(str::to_string).to_vec()];
    let iou = confusion.score().iou;
    for (c, class) in rule.classes.iter().enumerate() {
        let labelled: u64 = (0..confusion.classes())
            .map(|p| confusion.count(c, p))
            .sum();
        let predicted: u64 = (0..confusion.classes())
            .map(|l| confusion.count(l, c))
            .sum();
        let percent = |share: f64| format!("{:.4}", 100.0 * share);
        let accuracy = match labelled {
            0 => String::new(),
            n => percent(confusion.count(c, c) as f64 / n as f64),
        };
        rows.push(vec![
            class.name.clone(),
            class.value.to_string(),
            iou[c].map_or(String::new(), percent),
            accuracy,
            labelled.to_string(),
            predicted.to_string(),
        ]);
    }
    to_csv(&rows)
}

/// Pixels by labelled class (rows) and predicted class (columns).
pub fn confusion_csv(rule: &LabelRule, confusion: &Confusion) -> Result<String> {
    let names = rule.classes.iter().map(|class| class.name.clone());
    let corner = "label \\ prediction".to_string();
    let mut rows = vec![std::iter::once(corner).chain(names).collect()];
    for (label, class) in rule.classes.iter().enumerate() {
        let counts = (0..confusion.classes()).map(|p| confusion.count(label, p).to_string());
        rows.push(std::iter::once(class.name.clone()).chain(counts).collect());
    }
    to_csv(&rows)
}

impl Predictions {
    /// Makes the folder, and finds out before hours of training that it cannot be written, or that
    /// an image of the set has a name that cannot be given to a file of it.
    pub fn begin(folder: &Path, set: &PairSet) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop))
            .map_err(|e| {
                Error::file(folder, format!("predictions cannot be written there ({e})"))
            })?;
        let predictions = Predictions {
            folder: folder.to_path_buf(),
        };
        (0..set.len()).try_for_each(|index| predictions.path(set, index, "png").map(drop))?;
        Ok(predictions)
    }

    /// Where what belongs to an image is written.
    fn path(&self, set: &PairSet, index: usize, ending: &str) -> Result<PathBuf> {
        let key = set.key(index);
        let key = key.rsplit_once('.').map_or(key, |(stem, _)| stem);
        inside(&self.folder, &format!("{key}.{ending}"))
    }

    /// Writes `KEY.png` (mask values, as the data set's own masks) and `KEY.overlay.png` (image,
    /// labels and prediction side by side, with a legend).
    pub fn save(
        &self,
        set: &PairSet,
        index: usize,
        labels: &LabelMap,
        prediction: &[u8],
    ) -> Result<()> {
        let rule = set.rule();
        let (width, height) = (labels.width as u32, labels.height as u32);
        let values: Vec<u16> = prediction
            .iter()
            .map(|&p| rule.classes.get(usize::from(p)).map_or(0, |c| c.value))
            .collect();
        let mask = self.path(set, index, "png")?;
        let bytes = match values.iter().all(|&v| v < 256) {
            true => {
                let values: Vec<u8> = values.iter().map(|&v| v as u8).collect();
                encode(&values, width, height, image::ExtendedColorType::L8)
            }
            false => {
                let values: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
                encode(&values, width, height, image::ExtendedColorType::L16)
            }
        };
        write_atomically(&mask, &bytes.map_err(|e| Error::file(&mask, e))?)?;
        let photo = set.image(index)?;
        let picture = overlay(&photo.data, labels, prediction, rule);
        let path = self.path(set, index, "overlay.png")?;
        let (w, h) = picture.dimensions();
        let bytes = encode(picture.as_raw(), w, h, image::ExtendedColorType::Rgb8);
        write_atomically(&path, &bytes.map_err(|e| Error::file(&path, e))?)
    }
}

fn encode(
    data: &[u8],
    width: u32,
    height: u32,
    color: image::ExtendedColorType,
) -> image::ImageResult<Vec<u8>> {
    use image::ImageEncoder;
    let mut bytes = Cursor::new(Vec::new());
    image::codecs::png::PngEncoder::new(&mut bytes).write_image(data, width, height, color)?;
    Ok(bytes.into_inner())
}

/// The image, its labels and the prediction in a row, each under its name; below, the classes that
/// occur.
fn overlay(
    photo: &[u8],
    labels: &LabelMap,
    prediction: &[u8],
    rule: &LabelRule,
) -> image::RgbImage {
    let (width, height) = (labels.width as u32, labels.height as u32);
    let mut present: Vec<u8> = labels.labels.iter().chain(prediction).copied().collect();
    present.sort_unstable();
    present.dedup();
    present.retain(|&label| label != IGNORE);
    let columns = (3 * width / COLUMN).max(1);
    let lines = (present.len() as u32).div_ceil(columns);
    let mut picture = image::RgbImage::from_pixel(
        (3 * width).max(COLUMN),
        LINE + height + LINE * lines + 4,
        image::Rgb([255, 255, 255]),
    );
    for (column, name) in (0..).zip(["image", "labels", "prediction"]) {
        font::draw(&mut picture, column * width + 3, 2, name);
    }
    for (i, (pixel, (&label, &predicted))) in photo
        .chunks_exact(3)
        .zip(labels.labels.iter().zip(prediction))
        .enumerate()
    {
        let (x, y) = (i as u32 % width, LINE + i as u32 / width);
        let pixel = [pixel[0], pixel[1], pixel[2]];
        picture.put_pixel(x, y, image::Rgb(pixel));
        picture.put_pixel(width + x, y, image::Rgb(mix(pixel, label)));
        picture.put_pixel(2 * width + x, y, image::Rgb(mix(pixel, predicted)));
    }
    for (i, &label) in present.iter().enumerate() {
        let (x, y) = (
            i as u32 % columns * COLUMN + 3,
            LINE + height + 4 + i as u32 / columns * LINE,
        );
        for field in 0..FIELD * FIELD {
            let (dx, dy) = (field % FIELD, field / FIELD);
            if x + dx < picture.width() {
                picture.put_pixel(x + dx, y + dy, image::Rgb(colour(label.into())));
            }
        }
        let name = &rule.classes[usize::from(label)].name;
        font::draw(&mut picture, x + FIELD + 3, y + 1, name);
    }
    picture
}

/// The class's colour over the image; ignored pixels stay as they are.
fn mix(pixel: [u8; 3], label: u8) -> [u8; 3] {
    if label == IGNORE {
        return pixel;
    }
    let colour = colour(label.into());
    std::array::from_fn(|i| {
        (f32::from(pixel[i]) * (1.0 - OPACITY) + f32::from(colour[i]) * OPACITY) as u8
    })
}
