//! Which class each image of a flat folder has.

use super::OpenOptions;
use crate::data::classification::is_image;
use crate::data::table::{Rows, Wanted};
use crate::files::text;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

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

const IMAGE: Wanted = Wanted {
    what: "image",
    names: &[
        "image",
        "filename",
        "file",
        "imageid",
        "imagename",
        "imagefile",
        "imagepath",
        "img",
        "filepath",
        "path",
        "name",
        "id",
    ],
};
const LABEL: Wanted = Wanted {
    what: "label",
    names: &[
        "label",
        "class",
        "category",
        "target",
        "wnid",
        "synset",
        "classname",
        "labelname",
        "categoryname",
        "predictionstring",
        "classid",
        "labelid",
        "categoryid",
        "classindex",
    ],
};

/// Classes of images, by file name or by place in the order of names.
pub struct Mapping {
    path: PathBuf,
    classes: Classes,
}

enum Classes {
    /// Keys as written, and shortened to the file name without its ending; `None` where
    /// shortening makes two images with different classes one.
    ByName(HashMap<String, Option<String>>),
    ByPlace(Vec<String>),
}

impl Mapping {
    /// The first known mapping file in one of `folders`.
    pub fn find(folders: &[&Path], options: &OpenOptions) -> Result<Option<Self>> {
        let mut candidates = folders
            .iter()
            .flat_map(|folder| NAMES.iter().map(move |name| folder.join(name)));
        candidates
            .find(|path| path.is_file())
            .map(|path| Self::open(&path, options))
            .transpose()
    }

    /// Reads a ground-truth file of the devkit (with `meta.tsv` beside it), or a table of images
    /// and classes ([`Rows`]) with or without a header line.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let text = text::read(path)?;
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines().next().is_none() {
            return Err(Error::file(path, "is empty"));
        }
        let classes = match lines().all(|line| line.bytes().all(|b| b.is_ascii_digit())) {
            true => Classes::ByPlace(ground_truth(path, lines())?),
            false => Classes::ByName(table(path, &text, options)?),
        };
        Ok(Mapping {
            path: path.to_path_buf(),
            classes,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class of the image `name` (relative to its split), the `place`-th in the order of names.
    pub fn class(&self, place: usize, name: &str) -> Option<&str> {
        match &self.classes {
            Classes::ByPlace(classes) => classes.get(place).map(String::as_str),
            Classes::ByName(classes) => {
                let whole = key(name);
                let found = classes.get(&whole).or_else(|| classes.get(stem(&whole)));
                found?.as_deref()
            }
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

/// A file name for comparison: NFC, `/` between folders, no `./`.
fn key(name: &str) -> String {
    let name: String = name.nfc().collect();
    let name = name.replace('\\', "/");
    name.trim_start_matches("./")
        .trim_start_matches('/')
        .to_string()
}

/// `val/ILSVRC2012_val_00000001.JPEG` -> `ILSVRC2012_val_00000001`
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match is_image(file) {
        true => file.rsplit_once('.').map_or(file, |(stem, _)| stem),
        false => file,
    }
}

fn table(
    path: &Path,
    text: &str,
    options: &OpenOptions,
) -> Result<HashMap<String, Option<String>>> {
    let given = [&options.image_column, &options.label_column];
    let named: Vec<&str> = given.into_iter().flatten().map(String::as_str).collect();
    let table = Rows::parse(text, path)?.with_header(&[&IMAGE, &LABEL], &named);
    let (image, label) = match table.has_header() || !named.is_empty() {
        true => (
            table.column(&IMAGE, options.image_column.as_deref())?,
            table.column(&LABEL, options.label_column.as_deref())?,
        ),
        false => unnamed(&table, path)?,
    };
    let mut written: HashMap<String, String> = HashMap::new();
    let mut classes = HashMap::new();
    for row in table.rows() {
        let name = key(table.field(row, image)?);
        let class = class_of(table.field(row, label)?);
        if name.is_empty() || class.is_empty() {
            return Err(table.fault(row, "must be an image and its class"));
        }
        let short = stem(&name).to_string();
        if let Some(other) = written.insert(name.clone(), class.clone())
            && other != class
        {
            return Err(table.fault(
                row,
                format!("`{name}` has class {other} further up and {class} here"),
            ));
        }
        let kept = classes.entry(short).or_insert_with(|| Some(class.clone()));
        if kept.as_ref().is_some_and(|other| *other != class) {
            *kept = None;
        }
    }
    classes.extend(written.into_iter().map(|(name, class)| (name, Some(class))));
    Ok(classes)
}

/// Of a table without header: the column of images is the first, or the only one whose fields are
/// names of images; the class is the other.
fn unnamed(table: &Rows, path: &Path) -> Result<(usize, usize)> {
    let width = table.width();
    let images = |column: usize| {
        let fields = table
            .rows()
            .iter()
            .take(100)
            .map(|row| row.fields.get(column));
        fields.flatten().all(|field| is_image(field))
    };
    match (width, (0..width).find(|&column| images(column))) {
        (2, Some(1)) => Ok((1, 0)),
        (2, _) => Ok((0, 1)),
        (1, _) => Err(Error::file(
            path,
            "line 1: must be an image and its class, with a tab, comma, semicolon or space between",
        )),
        _ => Err(Error::file(
            path,
            format!(
                "has {width} columns and no line that names them; write one at its top, like filename,label"
            ),
        )),
    }
}

/// The class in a field: of Kaggle's `PredictionString` (a wnid and boxes) the wnid.
fn class_of(field: &str) -> String {
    let boxed = field.split_once(' ').filter(|(first, rest)| {
        let numbers = rest
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b' ' || b.is_ascii_lowercase());
        let digits = rest.bytes().any(|b| b.is_ascii_digit());
        first.starts_with('n')
            && first[1..].bytes().all(|b| b.is_ascii_digit())
            && numbers
            && digits
    });
    let class = boxed.map_or(field, |(wnid, _)| wnid);
    class.nfc().collect()
}

/// Turns ILSVRC2012 ids (1..1000, an order of their own) into wnids.
fn ground_truth<'a>(path: &Path, lines: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let meta = path.with_file_name(META);
    if !meta.is_file() {
        return Err(Error::file(
            &meta,
            format!(
                "is not there; the ids of {} are in an order of their own that the devkit keeps in meta.mat only. \
                 Write it out once, beside it: python -c \"import scipy.io as s; \
                 [print(x[0], x[1], sep='\\t') for x in s.loadmat('meta.mat', squeeze_me=True)['synsets'] if x[4] == 0]\" > {META}",
                path.display()
            ),
        ));
    }
    let text = text::read(&meta)?;
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
