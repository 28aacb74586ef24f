//! Pictures of what was predicted: panels side by side over a legend, and label maps.

use crate::data::Source;
use crate::data::segmentation::{PairSet, WIDE_IGNORE};
use crate::files::{inside, write_atomically};
use crate::tasks::font;
use crate::tasks::palette::colour;
use crate::{Error, Result};
use image::{ExtendedColorType, Rgb, RgbImage};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Side of a legend's colour field, and the distance of its lines, in pixels.
const FIELD: u32 = 9;
const LINE: u32 = 12;
/// Width of a legend column.
const COLUMN: u32 = 208;
/// Panels in a row.
const MOST_IN_A_ROW: usize = 4;
/// Share of the class colour over the image.
const OPACITY: f32 = 0.6;

/// One picture among several of one size.
pub struct Panel {
    pub title: String,
    /// `height * width * 3` bytes
    pub pixels: Vec<u8>,
}

/// A photograph as RGB bytes, and the panels drawn over it.
pub struct Panels<'a> {
    pub photo: &'a [u8],
    pub width: u32,
    pub height: u32,
}

impl Panels<'_> {
    /// The photograph itself.
    pub fn photo(&self) -> Panel {
        Panel {
            title: "image".into(),
            pixels: self.photo.to_vec(),
        }
    }

    /// The classes' colours over the photograph; ignored pixels stay as they are.
    pub fn labels(&self, title: &str, labels: &[u16]) -> Panel {
        let mixed = self.photo.as_chunks::<3>().0.iter().zip(labels);
        Panel {
            title: title.to_string(),
            pixels: mixed
                .flat_map(|(pixel, &label)| mix(*pixel, label))
                .collect(),
        }
    }

    /// Probabilities 0..1 as heat over the grey photograph: as it is where cold, then red, yellow.
    pub fn heat(&self, title: &str, probabilities: &[f32]) -> Panel {
        let photo = self.photo.as_chunks::<3>().0.iter();
        let pixels = photo.zip(probabilities).flat_map(|([r, g, b], &p)| {
            let grey = 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b);
            let p = p.clamp(0.0, 1.0);
            let hot = [255.0, 255.0 * (2.0 * p - 1.0).max(0.0), 0.0];
            hot.map(|hot| (0.6 * grey * (1.0 - p) + hot * p) as u8)
        });
        Panel {
            title: title.to_string(),
            pixels: pixels.collect(),
        }
    }

    /// Panels in rows, each under its title; below, the classes of `legend` in their colours.
    pub fn draw(&self, panels: &[Panel], legend: &[(u16, &str)]) -> RgbImage {
        let (width, height) = (self.width, self.height);
        let across = panels.len().clamp(1, MOST_IN_A_ROW) as u32;
        let down = (panels.len() as u32).div_ceil(across);
        let columns = (across * width / COLUMN).max(1);
        let lines = (legend.len() as u32).div_ceil(columns);
        let below = down * (LINE + height);
        let mut picture = RgbImage::from_pixel(
            (across * width).max(COLUMN),
            below + LINE * lines + 4,
            Rgb([255, 255, 255]),
        );
        for (i, panel) in (0..).zip(panels) {
            let (left, top) = (i % across * width, i / across * (LINE + height));
            let fits = (width / 8) as usize;
            let title: String = panel.title.chars().take(fits).collect();
            font::draw(&mut picture, left + 3, top + 2, &title);
            for (at, pixel) in (0..).zip(panel.pixels.as_chunks::<3>().0) {
                let (x, y) = (left + at % width, top + LINE + at / width);
                picture.put_pixel(x, y, Rgb(*pixel));
            }
        }
        for (i, &(label, name)) in (0..).zip(legend) {
            let (x, y) = (i % columns * COLUMN + 3, below + 4 + i / columns * LINE);
            for field in 0..FIELD * FIELD {
                let (dx, dy) = (field % FIELD, field / FIELD);
                if x + dx < picture.width() {
                    picture.put_pixel(x + dx, y + dy, Rgb(colour(label.into())));
                }
            }
            font::draw(&mut picture, x + FIELD + 3, y + 1, name);
        }
        picture
    }
}

/// The labels that occur, in order.
pub fn present<'a>(labels: impl Iterator<Item = &'a u16>) -> Vec<u16> {
    let mut present = std::collections::BTreeSet::new();
    present.extend(labels.filter(|&&label| label != WIDE_IGNORE));
    present.into_iter().collect()
}

fn mix(pixel: [u8; 3], label: u16) -> [u8; 3] {
    if label == WIDE_IGNORE {
        return pixel;
    }
    let colour = colour(label.into());
    std::array::from_fn(|i| {
        (f32::from(pixel[i]) * (1.0 - OPACITY) + f32::from(colour[i]) * OPACITY) as u8
    })
}

/// A folder that takes pictures, made where there is none.
///
/// # Errors
/// It cannot be written: told before the work rather than after.
pub fn folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop))
        .map_err(|e| Error::file(folder, format!("predictions cannot be written there ({e})")))
}

/// Where what belongs to the image `key` is written in `folder`.
pub fn place(folder: &Path, key: &str, ending: &str) -> Result<PathBuf> {
    let key = key.rsplit_once('.').map_or(key, |(stem, _)| stem);
    inside(folder, &format!("{key}.{ending}"))
}

/// Writes an RGB picture as PNG.
pub fn write(path: &Path, picture: &RgbImage) -> Result<()> {
    let (w, h) = picture.dimensions();
    write_png(path, picture.as_raw(), w, h, ExtendedColorType::Rgb8)
}

/// Writes mask values as a grey PNG, of 16 bits where 8 do not hold them.
pub fn write_mask(path: &Path, values: &[u16], width: u32, height: u32) -> Result<()> {
    let bytes: Result<Vec<u8>, _> = values.iter().map(|&v| u8::try_from(v)).collect();
    match bytes {
        Ok(bytes) => write_png(path, &bytes, width, height, ExtendedColorType::L8),
        Err(_) => {
            let wide: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
            write_png(path, &wide, width, height, ExtendedColorType::L16)
        }
    }
}

fn write_png(
    path: &Path,
    data: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
) -> Result<()> {
    use image::ImageEncoder;
    let mut bytes = Cursor::new(Vec::new());
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(data, width, height, color)
        .map_err(|e| Error::file(path, e))?;
    write_atomically(path, &bytes.into_inner())
}

/// Where predictions for a data set with masks are drawn.
pub struct Predictions {
    folder: PathBuf,
}

impl Predictions {
    /// Makes the folder, and finds out before hours of training that it cannot be written, or that
    /// an image of the set has a name that cannot be given to a file of it.
    pub fn begin(path: &Path, set: &PairSet) -> Result<Self> {
        folder(path)?;
        (0..set.len()).try_for_each(|index| place(path, set.key(index), "png").map(drop))?;
        Ok(Predictions {
            folder: path.to_path_buf(),
        })
    }

    /// Whether the pictures of an image are there.
    pub fn has(&self, set: &PairSet, index: usize) -> bool {
        let is_there = |ending: &str| {
            place(&self.folder, set.key(index), ending).is_ok_and(|path| path.is_file())
        };
        is_there("png") && is_there("overlay.png")
    }

    /// Writes `KEY.png` (mask values, as the data set's own masks) and `KEY.overlay.png` (image,
    /// labels and prediction side by side, with a legend).
    pub fn save(
        &self,
        set: &PairSet,
        index: usize,
        labels: &[u16],
        prediction: &[u16],
    ) -> Result<()> {
        let classes = &set.rule().classes;
        let photo = set.image(index)?;
        let (width, height) = (photo.width as u32, photo.height as u32);
        let value = |&label: &u16| classes.get(usize::from(label)).map_or(0, |c| c.value);
        let values: Vec<u16> = prediction.iter().map(value).collect();
        let key = set.key(index);
        write_mask(&place(&self.folder, key, "png")?, &values, width, height)?;
        let panels = Panels {
            photo: &photo.data,
            width,
            height,
        };
        let legend: Vec<(u16, &str)> = present(labels.iter().chain(prediction))
            .into_iter()
            .filter_map(|label| Some((label, classes.get(usize::from(label))?.name.as_str())))
            .collect();
        let shown = [
            panels.photo(),
            panels.labels("labels", labels),
            panels.labels("prediction", prediction),
        ];
        let picture = panels.draw(&shown, &legend);
        write(&place(&self.folder, key, "overlay.png")?, &picture)
    }
}
