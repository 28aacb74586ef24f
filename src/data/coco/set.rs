//! One split, as a source of annotated images.

use super::file::{Annotations, Category, Image};
use crate::data::annotation::{Annotation, Instance};
use crate::data::content::Stamp;
use crate::data::source::Source;
use crate::data::tree::FileTree;
use crate::hash::sha256;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images with their objects, in the order of the annotation file. Annotated with instances.
pub struct CocoSet {
    /// Name in the catalogue, or the folder's or file's.
    pub name: String,
    /// The annotation file; inside a tar `ARCHIVE/MEMBER`.
    pub annotations_path: PathBuf,
    /// SHA-256 (hex) of the annotation file.
    pub annotations_sha256: String,
    /// By ascending id.
    pub categories: Vec<Category>,
    /// The first annotation whose run lengths are compressed to a string.
    pub first_compressed: Option<u64>,
    /// Sentences about what was guessed.
    pub warnings: Vec<String>,
    pub(super) annotations: AnnotationFile,
    pub(super) description: String,
    pub(super) tree: Arc<FileTree>,
    /// Parallel to `images`: where the picture is in `tree`.
    pub(super) files: Vec<u32>,
    pub(super) images: Vec<Image>,
    pub(super) instances: Vec<Vec<Instance>>,
}

/// Where an annotation file can be read again.
pub(super) enum AnnotationFile {
    File(PathBuf),
    /// A member of a tree.
    Member(Arc<FileTree>, usize),
}

impl AnnotationFile {
    /// Its bytes, and its path for messages.
    pub(super) fn read(&self) -> Result<(Vec<u8>, PathBuf)> {
        match self {
            AnnotationFile::File(path) => {
                let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
                Ok((bytes, path.clone()))
            }
            AnnotationFile::Member(tree, member) => Ok((tree.read(*member)?, tree.path(*member))),
        }
    }
}

impl CocoSet {
    pub(super) fn new(
        description: String,
        name: String,
        annotations: AnnotationFile,
        annotations_path: PathBuf,
        annotations_sha256: String,
        pictures: (Arc<FileTree>, Vec<u32>),
        read: Annotations,
    ) -> Self {
        CocoSet {
            name,
            annotations,
            annotations_path,
            annotations_sha256,
            categories: read.categories,
            first_compressed: read.first_compressed,
            warnings: read.warnings,
            description,
            tree: pictures.0,
            files: pictures.1,
            images: read.images,
            instances: read.instances,
        }
    }

    /// The annotation file's bytes, read again.
    ///
    /// # Errors
    /// A file that is gone or that has changed since the data set was opened.
    pub fn read_annotations(&self) -> Result<Vec<u8>> {
        let (bytes, path) = self.annotations.read()?;
        match sha256(&bytes) == self.annotations_sha256 {
            true => Ok(bytes),
            false => Err(Error::file(path, "has changed while it was in use")),
        }
    }

    /// The id and the position of every image.
    pub fn positions(&self) -> impl Iterator<Item = (u64, usize)> {
        self.images
            .iter()
            .enumerate()
            .map(|(at, image)| (image.id, at))
    }

    /// The id that the annotation file gives image `index`.
    pub fn image_id(&self, index: usize) -> u64 {
        self.images[index].id
    }

    /// The position of the image with this id.
    pub fn position(&self, id: u64) -> Option<usize> {
        self.images.iter().position(|image| image.id == id)
    }

    /// (height, width) as the annotation file states them, where it does.
    pub fn stated_size(&self, index: usize) -> Option<(usize, usize)> {
        let image = &self.images[index];
        Some((image.height?, image.width?))
    }

    /// The objects in image `index`, in the file's order.
    pub fn instances(&self, index: usize) -> &[Instance] {
        &self.instances[index]
    }

    /// The picture's file, for messages.
    pub fn image_path(&self, index: usize) -> PathBuf {
        self.tree.path(self.files[index] as usize)
    }

    /// Where the pictures are: a folder or a tar file.
    pub fn images_path(&self) -> &Path {
        self.tree.root()
    }
}

impl Source for CocoSet {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn key(&self, index: usize) -> &str {
        self.tree.name(self.files[index] as usize)
    }

    fn annotation(&self, index: usize) -> Result<Annotation> {
        Ok(Annotation::Instances(self.instances[index].clone()))
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        self.tree.read(self.files[index] as usize)
    }

    fn read_start(&self, index: usize, most: usize) -> Result<Vec<u8>> {
        self.tree.read_start(self.files[index] as usize, most)
    }

    fn size(&self, index: usize) -> u64 {
        self.tree.size(self.files[index] as usize)
    }

    fn stamp(&self, index: usize) -> Option<Stamp> {
        self.tree.stamp(self.files[index] as usize)
    }
}
