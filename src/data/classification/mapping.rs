//! Which class each image of a flat folder has.

use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The official devkit's answer file: one ILSVRC2012 id a line, for the images in name order.
pub const GROUND_TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Beside it: `ILSVRC2012_ID<TAB>WNID`; the devkit has this table only inside meta.mat.
pub const META: &str = "meta.tsv";
/// Names under which a mapping is looked for beside the images.
pub const NAMES: [&str; 5] = [
    GROUND_TRUTH,
    "val.tsv",
    "val.csv",
    "LOC_val_solution.csv",
    "mapping.tsv",
];

/// Classes of images, by file name or by place in the order of names.
pub struct Mapping {
    path: PathBuf,
    classes: Classes,
}

enum Classes {
    /// Keys without folder and extension.
    ByName(HashMap<String, String>),
    ByPlace(Vec<String>),
}

impl Mapping {
    /// The first known mapping file in one of `folders`.
    pub fn find(folders: &[&Path]) -> Result<Option<Self>> {
        let mut candidates = folders
            .iter()
            .flat_map(|folder| NAMES.iter().map(move |name| folder.join(name)));
        candidates
            .find(|path| path.is_file())
            .map(|path| Self::open(&path))
            .transpose()
    }

    /// Reads a ground-truth file of the devkit (with `meta.tsv` beside it), or a table
    /// `image<TAB, comma or space>class[...]` with or without a header line.
    pub fn open(path: &Path) -> Result<Self> {
        let text = crate::data::utf8::read(path)?;
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines().next().is_none() {
            return Err(Error::file(path, "is empty"));
        }
        let classes = match lines().all(|line| line.bytes().all(|b| b.is_ascii_digit())) {
            true => Classes::ByPlace(ground_truth(path, lines())?),
            false => Classes::ByName(table(path, &text)?),
        };
        Ok(Mapping {
            path: path.to_path_buf(),
            classes,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class of the image `name`, the `place`-th in the order of names.
    pub fn class(&self, place: usize, name: &str) -> Option<&str> {
        match &self.classes {
            Classes::ByPlace(classes) => classes.get(place).map(String::as_str),
            Classes::ByName(classes) => classes.get(stem(name)).map(String::as_str),
        }
    }

    /// A list by place must have as many lines as there are images, else it would shift.
    pub fn check_count(&self, images: usize, folder: &Path) -> Result<()> {
        match &self.classes {
            Classes::ByPlace(classes) if classes.len() != images => Err(Error::file(
                &self.path,
                format!(
                    "has {} lines, but {} holds {images} images; line n is the class of the n-th image",
                    classes.len(),
                    folder.display()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// `val/ILSVRC2012_val_00000001.JPEG` -> `ILSVRC2012_val_00000001`
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match super::folder::is_image(file) {
        true => file.rsplit_once('.').map_or(file, |(stem, _)| stem),
        false => file,
    }
}

fn table(path: &Path, text: &str) -> Result<HashMap<String, String>> {
    let mut classes = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let mut fields = line
            .split([',', '\t', ' '])
            .map(|field| field.trim_matches(['"', ' ']))
            .filter(|field| !field.is_empty());
        let Some(image) = fields.next() else { continue };
        let Some(class) = fields.next() else {
            return Err(Error::file(
                path,
                format!("line {}: must be IMAGE and CLASS", number + 1),
            ));
        };
        // Kaggle's header; other headers name no image and do no harm.
        if number == 0 && image.eq_ignore_ascii_case("ImageId") {
            continue;
        }
        if let Some(other) = classes.insert(stem(image).to_string(), class.to_string())
            && other != class
        {
            return Err(Error::file(
                path,
                format!(
                    "line {}: `{image}` has class {other} further up and {class} here",
                    number + 1
                ),
            ));
        }
    }
    Ok(classes)
}

/// Turns ILSVRC2012 ids (1..1000, an order of their own) into wnids.
fn ground_truth<'a>(path: &Path, lines: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let meta = path.with_file_name(META);
    let text = std::fs::read_to_string(&meta).map_err(|e| {
        Error::file(
            &meta,
            format!(
                "{e}; the ids of {} are in an order of their own that the devkit keeps in meta.mat only. \
                 Write it out once, beside it: python -c \"import scipy.io as s; \
                 [print(x[0], x[1], sep='\\t') for x in s.loadmat('meta.mat', squeeze_me=True)['synsets'] if x[4] == 0]\" > {META}",
                path.display()
            ),
        )
    })?;
    let wnids: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(['\t', ' ', ',']))
        .map(|(id, wnid)| (id.trim(), wnid.trim()))
        .collect();
    lines
        .enumerate()
        .map(|(number, id)| {
            wnids.get(id).map(|w| w.to_string()).ok_or_else(|| {
                Error::file(
                    path,
                    format!("line {}: id {id} is not in {}", number + 1, meta.display()),
                )
            })
        })
        .collect()
}
