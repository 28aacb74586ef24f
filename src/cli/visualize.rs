//! `radio-eval visualize`: features as colours, models side by side.

use super::Outcome;
use super::common::{ModelArgs, RuntimeArgs};
use super::resolution::Resolution;
use super::results::writable_file;
use crate::data::decode::{self, Limits};
use crate::data::files;
use crate::data::image::RgbImage;
use crate::data::transform::Transform;
use crate::files::write_atomically;
use crate::models::{Indices, IntermediateRequest, Request, resolve};
use crate::runtime::limits::check_batch;
use crate::tasks::visualize;
use crate::{Error, Result};
use clap::Args;
use image::imageops::FilterType;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Pixels between the maps of a picture.
const GAP: u32 = 6;

/// Draw spatial features as colours: the first three principal components of all pictures together
///
/// For each picture one PNG: the picture, then a map for each model, adaptor and block, in the order
/// that columns.txt tells. `radio-eval report --pictures FOLDER` shows them.
#[derive(Debug, Args)]
pub struct VisualizeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Pictures, or folders or tars of them
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder of the drawings
    #[arg(long, default_value = "visualize")]
    out: PathBuf,
    /// Also this adaptor's features, of the models that have it (commas, or repeated)
    #[arg(long, value_delimiter = ',')]
    adaptor: Vec<String>,
    /// Also features behind these blocks, from 0, -1 being the last
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    block: Vec<i64>,
    /// Size pictures are brought to, S or HxW (default: what each model prefers)
    #[arg(long)]
    resolution: Option<Resolution>,
    /// Pixels per side of a drawn map
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=2048))]
    tile: u32,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &VisualizeArgs) -> anyhow::Result<Outcome> {
    let runtime = args.runtime.runtime()?;
    writable_file(&args.out.join("columns.txt"))?;
    let pictures = read(&args.images)?;
    let mut names = vec!["picture".to_string()];
    let mut rows: Vec<Vec<RgbImage>> = vec![Vec::new(); pictures.len()];
    let mut known: Vec<String> = Vec::new();
    for spec in args.model.specs()? {
        let options = args
            .model
            .build_options(runtime.device, args.runtime.precision);
        let model = resolve(&spec, &options)?;
        let info = model.backbone.info();
        let (height, width) = args.resolution.map_or(info.preferred, |r| r.size());
        info.check_resolution(height, width)?;
        check_batch(1, height, width)?;
        let transform = Transform::cover(height as usize, width as usize, info.step as usize);
        let ready = pictures.iter().map(|(name, picture)| {
            let fail = |reason: String| Error::file(name, reason);
            transform.apply(picture).map_err(fail)
        });
        let ready: Vec<RgbImage> = ready.collect::<Result<_>>()?;
        if names.len() == 1 {
            for (row, picture) in rows.iter_mut().zip(&ready) {
                row.push(picture.clone());
            }
        }
        let adaptors = args
            .adaptor
            .iter()
            .filter(|name| info.adaptors.contains(name));
        let request = Request {
            adaptors: adaptors.cloned().collect(),
            intermediates: (!args.block.is_empty())
                .then(|| IntermediateRequest::new(Indices::Blocks(args.block.clone()))),
        };
        known.extend(request.adaptors.iter().cloned());
        let network = model.backbone.as_ref();
        for map in visualize::maps(network, &ready, &request, runtime.device)? {
            names.push(format!("{} {}", model.name, map.name));
            for (row, drawn) in rows.iter_mut().zip(map.colours()?) {
                row.push(drawn);
            }
        }
    }
    if let Some(name) = args.adaptor.iter().find(|name| !known.contains(name)) {
        return Err(Error::usage(format!("--adaptor {name}: none of the models has it")).into());
    }
    for ((name, _), row) in pictures.iter().zip(&rows) {
        let path = args.out.join(file_name(name));
        write_atomically(&path, &side_by_side(&path, row, args.tile)?)?;
        println!("{}", path.display());
    }
    let columns = names.join(" | ");
    println!("columns: {columns}");
    write_atomically(
        &args.out.join("columns.txt"),
        format!("{columns}\n").as_bytes(),
    )?;
    Ok(Outcome::Done)
}

/// Every picture with its name.
fn read(paths: &[PathBuf]) -> Result<Vec<(String, RgbImage)>> {
    let mut pictures = Vec::new();
    for path in paths {
        let source = files::open(path)?;
        for index in 0..source.len() {
            let key = source.key(index).to_string();
            let picture = decode::decode(&source.read(index)?, &Limits::default())
                .map_err(|reason| Error::file(&key, reason))?;
            pictures.push((key, picture));
        }
    }
    Ok(pictures)
}

/// `cat/1.jpg` as `cat-1.png`.
fn file_name(key: &str) -> String {
    let stem = Path::new(key).with_extension("");
    let stem = stem.to_string_lossy().replace(['/', '\\'], "-");
    format!("{}.png", stem.trim_start_matches('-'))
}

/// PNG of the maps beside each other, each `tile` pixels high and of its own shape; features are
/// enlarged without smoothing, so that tokens stay visible.
fn side_by_side(path: &Path, row: &[RgbImage], tile: u32) -> Result<Vec<u8>> {
    let fail = |reason: &str| Error::file(path, reason);
    let mut tiles = Vec::new();
    for (index, picture) in row.iter().enumerate() {
        let (width, height) = (picture.width as u32, picture.height as u32);
        let buffer = image::RgbImage::from_raw(width, height, picture.data.clone());
        let buffer = buffer.ok_or_else(|| fail("the map has no pixels"))?;
        let wide = (f64::from(tile) * f64::from(width) / f64::from(height)).round() as u32;
        let filter = if index == 0 {
            FilterType::Triangle
        } else {
            FilterType::Nearest
        };
        tiles.push(image::imageops::resize(&buffer, wide.max(1), tile, filter));
    }
    let width: u32 = tiles.iter().map(|tile| tile.width() + GAP).sum();
    let white = image::Rgb([255, 255, 255]);
    let mut sheet = image::RgbImage::from_pixel(width.saturating_sub(GAP).max(1), tile, white);
    let mut left = 0;
    for tile in &tiles {
        image::imageops::replace(&mut sheet, tile, i64::from(left), 0);
        left += tile.width() + GAP;
    }
    let mut png = Cursor::new(Vec::new());
    sheet
        .write_to(&mut png, image::ImageFormat::Png)
        .map_err(|e| fail(&e.to_string()))?;
    Ok(png.into_inner())
}
