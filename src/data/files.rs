//! Images without labels: one file, or every image of a folder or tar file.

use super::classification::is_image;
use super::content::Stamp;
use super::labelled::{EncodedImages, LabelledSet, TreeImages};
use super::source::Source;
use super::tree::FileTree;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images at `path`, in order of name.
pub fn open(path: &Path) -> Result<Arc<dyn Source>> {
    let name = path.display().to_string();
    let samples: Box<dyn EncodedImages> =
        if path.is_dir() || path.extension().is_some_and(|e| e == "tar") {
            let tree = Arc::new(FileTree::open(path)?);
            let images = tree.names().enumerate().filter(|(_, name)| is_image(name));
            let files: Vec<u32> = images.map(|(index, _)| index as u32).collect();
            Box::new(TreeImages::new(tree, files))
        } else {
            let size = std::fs::metadata(path).map_err(|e| Error::file(path, e))?;
            Box::new(OneFile {
                path: path.to_path_buf(),
                name: name.clone(),
                size: size.len(),
            })
        };
    if samples.is_empty() {
        return Err(Error::file(path, "holds no images"));
    }
    let labels = vec![None; samples.len()];
    Ok(Arc::new(LabelledSet::new(name, samples, labels)))
}

struct OneFile {
    path: PathBuf,
    name: String,
    size: u64,
}

impl EncodedImages for OneFile {
    fn len(&self) -> usize {
        1
    }

    fn key(&self, _index: usize) -> &str {
        &self.name
    }

    fn size(&self, _index: usize) -> u64 {
        self.size
    }

    fn read(&self, _index: usize) -> Result<Vec<u8>> {
        std::fs::read(&self.path).map_err(|e| Error::file(&self.path, e))
    }

    fn stamp(&self, _index: usize) -> Option<Stamp> {
        Stamp::new(&self.path, &std::fs::metadata(&self.path).ok()?, &[])
    }
}
