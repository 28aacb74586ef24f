//! The size of an image as it is loaded, which masks are drawn at.

use crate::data::Source;
use crate::data::coco::CocoSet;
use crate::data::decode::{Limits, decode};
use crate::data::source::size_of;
use crate::{Error, Result};

/// (height, width), by the header where that tells.
pub fn original_size(set: &CocoSet, index: usize) -> Result<(usize, usize)> {
    if let Some((width, height)) = size_of(set, index)? {
        return Ok((height, width));
    }
    let image = decode(&set.read(index)?, &Limits::default())
        .map_err(|reason| Error::file(set.image_path(index), reason))?;
    Ok((image.height, image.width))
}
