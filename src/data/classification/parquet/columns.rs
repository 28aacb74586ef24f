//! Which columns of a parquet file hold images and classes.

use crate::data::classification::{Class, OpenOptions};
use crate::{Error, Result};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use serde_json::Value;
use std::path::Path;

/// Columns that hold the class, the likeliest first; `label` wins over everything else.
const LABELS: [&str; 7] = [
    "label",
    "labels",
    "fine_label",
    "cls",
    "class",
    "target",
    "label_name",
];
/// Columns that hold the encoded image, as a struct with `bytes` or as bytes themselves.
const IMAGES: [&str; 9] = [
    "image",
    "img",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "picture",
    "image_bytes",
    "pixels",
];

/// The chosen columns, by their place in the schema.
pub struct Columns {
    pub image: usize,
    pub label: Option<Label>,
}

/// The class column.
pub struct Label {
    pub column: usize,
    pub name: String,
    /// Names of the classes in index order, where the metadata has them.
    pub classes: Option<Vec<Class>>,
}

/// Chooses by the user's flags, else by name and by the metadata that the `datasets` library
/// writes.
pub fn choose(
    schema: &SchemaDescriptor,
    features: Option<&Value>,
    options: &OpenOptions,
    path: &Path,
) -> Result<Columns> {
    let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
    Ok(Columns {
        image: image(schema, &names, options, path)?,
        label: label(&names, features, options, path)?,
    })
}

fn image(
    schema: &SchemaDescriptor,
    names: &[String],
    options: &OpenOptions,
    path: &Path,
) -> Result<usize> {
    let holds_bytes = |c: &usize| schema.column(*c).physical_type() == Type::BYTE_ARRAY;
    let column = |name: &str| {
        let within = format!("{name}.bytes");
        let place = names.iter().position(|n| *n == within || n == name);
        place.filter(holds_bytes)
    };
    let columns = names.join(", ");
    if let Some(given) = &options.image_column {
        return column(given).ok_or_else(|| {
            Error::file(
                path,
                format!("has no column `{given}` of encoded images; its columns are {columns}"),
            )
        });
    }
    let structs = || (0..names.len()).filter(|&c| names[c].ends_with(".bytes") && holds_bytes(&c));
    let text = |c: &usize| !is_text(&schema.column(*c));
    let named = || IMAGES.iter().find_map(|name| column(name).filter(text));
    let found = match (structs().count(), named()) {
        (_, Some(named)) => Some(named),
        (1, None) => structs().next(),
        (0, None) => None,
        (_, None) => {
            return Err(Error::file(
                path,
                format!(
                    "has several columns of images ({columns}); choose one with --image-column"
                ),
            ));
        }
    };
    found.ok_or_else(|| {
        Error::file(
            path,
            format!(
                "has no image column (a struct with `bytes`, or encoded bytes called `image`); its columns are {columns}; name one with --image-column"
            ),
        )
    })
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.converted_type() == ConvertedType::UTF8
        || matches!(column.logical_type_ref(), Some(LogicalType::String))
}

fn label(
    names: &[String],
    features: Option<&Value>,
    options: &OpenOptions,
    path: &Path,
) -> Result<Option<Label>> {
    let label = |name: &str, classes: Option<Vec<Class>>| {
        let column = names.iter().position(|n| n == name)?;
        let name = name.to_string();
        Some(Label {
            column,
            name,
            classes,
        })
    };
    let listed = class_labels(features);
    let classes_of = |name: &str| {
        let entry = listed.iter().find(|(column, _)| column == name);
        entry.map(|(_, classes)| classes.clone())
    };
    if let Some(given) = &options.label_column {
        let found = label(given, classes_of(given));
        return found.map(Some).ok_or_else(|| {
            Error::file(
                path,
                format!(
                    "has no column `{given}`; its columns are {}",
                    names.join(", ")
                ),
            )
        });
    }
    let by_name = |name: &&str| label(name, classes_of(name));
    if let Some(found) = by_name(&LABELS[0]) {
        return Ok(Some(found));
    }
    match listed.as_slice() {
        [(name, classes)] => Ok(label(name, Some(classes.clone()))),
        [] => Ok(LABELS.iter().find_map(by_name)),
        several => {
            let known = LABELS
                .iter()
                .find(|name| several.iter().any(|(n, _)| n == *name));
            match known {
                Some(name) => Ok(by_name(name)),
                None => {
                    let several: Vec<&str> = several.iter().map(|(n, _)| n.as_str()).collect();
                    Err(Error::file(
                        path,
                        format!(
                            "has several columns of classes ({}); choose one with --label-column",
                            several.join(", ")
                        ),
                    ))
                }
            }
        }
    }
}

/// Columns of type ClassLabel and their names.
fn class_labels(features: Option<&Value>) -> Vec<(String, Vec<Class>)> {
    let class = |name: &Value| -> Option<Class> {
        let id = name.as_str()?;
        // ImageNet's names carry their synonyms: `tench, Tinca tinca`.
        Some(match id.contains(", ") {
            false => Class::from_id(id),
            true => Class {
                id: id.to_string(),
                names: id.split(", ").map(str::to_string).collect(),
            },
        })
    };
    let columns = features.and_then(Value::as_object).into_iter().flatten();
    columns
        .filter(|(_, feature)| feature["_type"] == "ClassLabel")
        .filter_map(|(column, feature)| {
            let names = feature["names"].as_array()?;
            let classes: Option<Vec<Class>> = names.iter().map(class).collect();
            Some((column.clone(), classes?))
        })
        .collect()
}
