//! `radio-eval report`: records as one HTML page.

use super::Outcome;
use crate::files::{text, write_atomically};
use crate::report::Record;
use crate::report::html::{self, Material, Picture};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Bytes of pictures in a page: what a browser on a phone still opens.
const MOST_BYTES: usize = 24 << 20;

/// Make one HTML page of records: tables, plots, curves, classes, pictures, and what made them
///
/// The page has no scripts and needs no network.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders with records (and what lies beside them), searched to the bottom
    #[arg(default_value = "results")]
    folders: Vec<PathBuf>,
    /// The page
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
    /// Heading of the page
    #[arg(long, default_value = "radio-eval report")]
    title: String,
    /// Folders of pictures that were drawn (--save-predictions and the like)
    #[arg(long, value_name = "FOLDER")]
    pictures: Vec<PathBuf>,
    /// Pictures of each folder, spread evenly
    #[arg(long, default_value_t = 12)]
    most_pictures: usize,
}

pub fn run(args: &ReportArgs) -> anyhow::Result<Outcome> {
    let mut material = Material {
        title: args.title.clone(),
        ..Material::default()
    };
    for folder in &args.folders {
        collect(folder, &mut material)?;
    }
    if material.records.is_empty() && material.logs.is_empty() {
        let names: Vec<String> = (args.folders.iter())
            .map(|folder| folder.display().to_string())
            .collect();
        return Err(Error::usage(format!(
            "no records in {}; name the folder that a command wrote to with --out",
            names.join(", ")
        ))
        .into());
    }
    for folder in &args.pictures {
        add_pictures(folder, args.most_pictures, &mut material)?;
    }
    write_atomically(&args.out, html::page(&material)?.as_bytes())?;
    println!("{}", args.out.display());
    Ok(Outcome::Done)
}

/// Records, tables of `run` and logs of training runs in a folder, in the order of their paths.
fn collect(folder: &Path, material: &mut Material) -> Result<()> {
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|e| Error::file(folder, e))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy();
        if !entry.file_type().is_file() {
            continue;
        }
        match name.as_ref() {
            "table.json" => {
                let page = path.with_extension("html");
                if page.is_file() {
                    let page = text::read(&page)?;
                    let inside = page.split_once("<main>\n").map(|(_, rest)| rest);
                    let inside = inside.and_then(|rest| rest.split_once("</main>"));
                    material
                        .comparisons
                        .extend(inside.map(|(table, _)| table.to_string()));
                }
            }
            "metrics.csv" => material.logs.push((path.to_path_buf(), text::read(path)?)),
            _ if name.ends_with(".json") => match Record::read(path) {
                Ok(record) => material.records.push((path.to_path_buf(), record)),
                Err(reason) => tracing::debug!("left out: {reason}"),
            },
            _ => {}
        }
    }
    Ok(())
}

fn add_pictures(folder: &Path, most: usize, material: &mut Material) -> Result<()> {
    let mut paths: Vec<(PathBuf, &'static str)> = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|e| Error::file(folder, e))?;
        let ending = entry
            .path()
            .extension()
            .unwrap_or_default()
            .to_string_lossy();
        let kind = match ending.to_ascii_lowercase().as_str() {
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "webp" => "image/webp",
            _ => continue,
        };
        paths.push((entry.path().to_path_buf(), kind));
    }
    // Where overlays lie beside bare masks, the overlays are what people look at.
    let is_overlay = |path: &Path| path.to_string_lossy().contains("overlay");
    if paths.iter().any(|(path, _)| is_overlay(path)) {
        paths.retain(|(path, _)| is_overlay(path));
    }
    let count = paths.len();
    let most = most.min(count);
    for index in 0..most {
        let (path, kind) = &paths[index * count / most];
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
        let used: usize = material.pictures.iter().map(|p| p.bytes.len()).sum();
        if used + bytes.len() > MOST_BYTES {
            material.notes.push(format!(
                "pictures of {} were left out from {} on: the page would be too large",
                folder.display(),
                path.display()
            ));
            break;
        }
        let caption = path.strip_prefix(folder).unwrap_or(path);
        material.pictures.push(Picture {
            caption: caption.display().to_string(),
            kind,
            bytes,
        });
    }
    Ok(())
}
