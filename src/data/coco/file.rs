//! COCO's JSON file, read and checked.

use crate::data::annotation::{Instance, InstanceShape, RunLengths};
use crate::data::geometry::BoundingBox;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A class of objects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Category {
    /// As annotations name it; COCO's have gaps.
    pub id: u32,
    pub name: String,
}

/// An image as the file describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    pub id: u64,
    pub file_name: String,
    /// Absent in some files of others' tools.
    #[serde(default)]
    pub height: Option<usize>,
    #[serde(default)]
    pub width: Option<usize>,
}

/// What an annotation file says.
pub struct Annotations {
    /// In the file's order.
    pub images: Vec<Image>,
    /// By ascending id.
    pub categories: Vec<Category>,
    /// Of each image, in the file's order.
    pub instances: Vec<Vec<Instance>>,
    /// The first annotation whose run lengths are compressed to a string.
    pub first_compressed: Option<u64>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Stored {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<StoredInstance>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct StoredInstance {
    id: u64,
    image_id: u64,
    category_id: u32,
    bbox: Option<Vec<f64>>,
    area: Option<f64>,
    #[serde(default)]
    iscrowd: Flag,
    #[serde(default)]
    segmentation: Option<Segmentation>,
}

/// 0 or 1, or `true` and `false` as some tools write.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Number(u8),
    Bool(bool),
}

impl Default for Flag {
    fn default() -> Self {
        Flag::Bool(false)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { size: [u32; 2], counts: Counts },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Runs(Vec<u32>),
    Compressed(String),
}

/// Reads the text of the annotation file `path` (named in errors).
pub fn parse(text: &str, path: &Path) -> Result<Annotations> {
    let stored: Stored = serde_json::from_str(text).map_err(|e| {
        Error::file(
            path,
            format!("is no COCO annotation file (`images`, `annotations`, `categories`): {e}"),
        )
    })?;
    Reader { path }.read(stored)
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Error::file(self.path, reason.into()))
    }

    fn read(&self, stored: Stored) -> Result<Annotations> {
        let mut position = HashMap::with_capacity(stored.images.len());
        for (index, image) in stored.images.iter().enumerate() {
            if position.insert(image.id, index).is_some() {
                return self.fail(format!("has two images of id {}", image.id));
            }
        }
        let categories = self.categories(stored.categories)?;
        let known: HashSet<u32> = categories.iter().map(|category| category.id).collect();
        let mut ids = HashSet::with_capacity(stored.annotations.len());
        let mut read = Annotations {
            instances: vec![Vec::new(); stored.images.len()],
            images: stored.images,
            categories,
            first_compressed: None,
            warnings: Vec::new(),
        };
        let mut without_area = 0;
        for annotation in stored.annotations {
            let (id, image, category) =
                (annotation.id, annotation.image_id, annotation.category_id);
            let Some(&index) = position.get(&image) else {
                return self.fail(format!(
                    "annotation {id} is of image {image}, which `images` does not list"
                ));
            };
            if !ids.insert(id) {
                return self.fail(format!("has two annotations of id {id}"));
            }
            if !known.contains(&category) {
                return self.fail(format!(
                    "annotation {id} is of category {category}, which `categories` does not list"
                ));
            }
            let compressed = matches!(
                annotation.segmentation,
                Some(Segmentation::Runs {
                    counts: Counts::Compressed(_),
                    ..
                })
            );
            if compressed {
                read.first_compressed.get_or_insert(id);
            }
            without_area += usize::from(annotation.area.is_none());
            read.instances[index].push(self.instance(annotation)?);
        }
        if without_area > 0 {
            read.warnings.push(format!(
                "{}: {without_area} annotations state no area; their box's is taken",
                self.path.display()
            ));
        }
        Ok(read)
    }

    fn categories(&self, mut categories: Vec<Category>) -> Result<Vec<Category>> {
        categories.sort_by_key(|category| category.id);
        match categories.windows(2).find(|two| two[0].id == two[1].id) {
            Some(two) => self.fail(format!(
                "has two categories of id {}, {} and {}",
                two[0].id, two[0].name, two[1].name
            )),
            None => Ok(categories),
        }
    }

    fn instance(&self, stored: StoredInstance) -> Result<Instance> {
        let id = stored.id;
        let corner: Option<[f64; 4]> = stored.bbox.and_then(|numbers| numbers.try_into().ok());
        let Some([x, y, width, height]) = corner else {
            return self.fail(format!(
                "annotation {id} has no `bbox` of four numbers [x, y, width, height]"
            ));
        };
        // Written so that a NaN, which JSON has not but f64 has, would fail too.
        let sound = [x, y].iter().all(|v| v.is_finite()) && width >= 0.0 && height >= 0.0;
        if !sound {
            return self.fail(format!(
                "annotation {id} has the box [{x}, {y}, {width}, {height}]; width and height may not be negative"
            ));
        }
        let area = stored.area.unwrap_or(width * height);
        if !(area >= 0.0 && area.is_finite()) {
            return self.fail(format!("annotation {id} has the area {area}"));
        }
        Ok(Instance {
            id,
            category: stored.category_id,
            bounds: BoundingBox::from_xywh([x, y, width, height]),
            area,
            crowd: match stored.iscrowd {
                Flag::Number(number) => number != 0,
                Flag::Bool(crowd) => crowd,
            },
            shape: match stored.segmentation {
                None => None,
                Some(segmentation) => self.shape(id, segmentation)?,
            },
        })
    }

    fn shape(&self, id: u64, segmentation: Segmentation) -> Result<Option<InstanceShape>> {
        match segmentation {
            Segmentation::Polygons(parts) => {
                let bad = |part: &&Vec<f64>| part.len() < 6 || !part.len().is_multiple_of(2);
                if let Some(part) = parts.iter().find(bad) {
                    return self.fail(format!(
                        "annotation {id} has a polygon of {} numbers; it takes x and y of three corners at least",
                        part.len()
                    ));
                }
                let corners = |part: &Vec<f64>| part.chunks(2).map(|c| [c[0], c[1]]).collect();
                let polygons: Vec<Vec<[f64; 2]>> = parts.iter().map(corners).collect();
                Ok((!polygons.is_empty()).then_some(InstanceShape::Polygons(polygons)))
            }
            Segmentation::Runs {
                size: [height, width],
                counts,
            } => {
                let runs = match counts {
                    Counts::Runs(counts) => Ok(counts),
                    Counts::Compressed(text) => {
                        hotcoco::mask::rle_from_string(&text, height, width).map(|rle| rle.counts)
                    }
                };
                let counts = match runs {
                    Ok(counts) => counts,
                    Err(e) => {
                        return self.fail(format!("annotation {id}: its run lengths: {e}"));
                    }
                };
                let pixels = u64::from(height) * u64::from(width);
                let covered: u64 = counts.iter().map(|&n| u64::from(n)).sum();
                if covered != pixels {
                    return self.fail(format!(
                        "annotation {id}: its run lengths cover {covered} pixels of {height}x{width} ({pixels})"
                    ));
                }
                Ok(Some(InstanceShape::Runs(RunLengths {
                    height,
                    width,
                    counts,
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotation: &str) -> Result<Annotations> {
        let text = format!(
            r#"{{"images": [{{"id": 7, "file_name": "a.jpg", "height": 4, "width": 6}}],
                "categories": [{{"id": 9, "name": "b"}}, {{"id": 3, "name": "a"}}],
                "annotations": [{annotation}]}}"#
        );
        parse(&text, Path::new("a.json"))
    }

    #[test]
    fn every_form_of_a_mask_is_read() {
        let head = r#""id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 0, 2, 2.5], "area": 5"#;
        let shape = |text: &str| {
            let read = read(&format!("{{{head}{text}}}")).unwrap();
            let instance = read.instances[0][0].clone();
            (instance.shape, instance.crowd, read.first_compressed)
        };
        let polygon = shape(r#", "segmentation": [[0, 0, 2, 0, 2, 2.5]]"#);
        let corners = vec![[0.0, 0.0], [2.0, 0.0], [2.0, 2.5]];
        let expected = InstanceShape::Polygons(vec![corners]);
        assert_eq!(polygon, (Some(expected), false, None));
        let runs = InstanceShape::Runs(RunLengths {
            height: 4,
            width: 6,
            counts: vec![1, 2, 21],
        });
        let counts = r#", "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [1, 2, 21]}"#;
        assert_eq!(shape(counts), (Some(runs.clone()), true, None));
        let text = hotcoco::mask::rle_to_string(&hotcoco::Rle {
            h: 4,
            w: 6,
            counts: vec![1, 2, 21],
        });
        let text = format!(r#", "segmentation": {{"size": [4, 6], "counts": "{text}"}}"#);
        assert_eq!(shape(&text), (Some(runs), false, Some(1)));
        assert_eq!(shape(r#", "segmentation": []"#), (None, false, None));
        assert_eq!(shape(""), (None, false, None));
        let read = read(&format!("{{{head}}}")).unwrap();
        let ids: Vec<u32> = read.categories.iter().map(|c| c.id).collect();
        assert_eq!(ids, [3, 9], "ascending, gaps kept");
    }

    #[test]
    fn what_is_wrong_is_said_by_annotation() {
        for (annotation, reason) in [
            (
                r#"{"id": 1, "image_id": 8, "category_id": 9, "bbox": [0, 0, 1, 1]}"#,
                "image 8",
            ),
            (
                r#"{"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]}"#,
                "category 4",
            ),
            (
                r#"{"id": 1, "image_id": 7, "category_id": 9}"#,
                "annotation 1 has no `bbox`",
            ),
            (
                r#"{"id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 0, -1, 1]}"#,
                "negative",
            ),
            (
                r#"{"id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1],
                    "segmentation": [[0, 0, 1, 1]]}"#,
                "polygon of 4 numbers",
            ),
            (
                r#"{"id": 1, "image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1],
                    "segmentation": {"size": [4, 6], "counts": [1, 2]}}"#,
                "cover 3 pixels of 4x6 (24)",
            ),
            (r#"{"id": "x"}"#, "line 3"),
        ] {
            let error = read(annotation).err().expect(annotation).to_string();
            assert!(
                error.contains(reason) && error.contains("a.json"),
                "{error}"
            );
        }
    }
}
