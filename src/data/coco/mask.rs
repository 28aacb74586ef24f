//! An instance's shape as pixels, exactly as COCO's mask API draws it (spec/coco.md §2.5). The
//! drawing is hotcoco's, which equals pycocotools bit for bit.

use crate::data::annotation::{Instance, InstanceShape, RunLengths};
use hotcoco::Rle;
use hotcoco::mask::{decode, encode, fr_polys, rle_to_string};

/// Run lengths of an instance on an image of `height` x `width`; `None` where it has no shape.
///
/// # Errors
/// A sentence where its run lengths are of another size than the image.
pub fn runs(
    instance: &Instance,
    height: usize,
    width: usize,
) -> Result<Option<RunLengths>, String> {
    let (Ok(h), Ok(w)) = (u32::try_from(height), u32::try_from(width)) else {
        return Err(format!(
            "an image of {height}x{width} is too large for run lengths"
        ));
    };
    match &instance.shape {
        None => Ok(None),
        Some(InstanceShape::Runs(runs)) if (runs.height, runs.width) == (h, w) => {
            Ok(Some(runs.clone()))
        }
        Some(InstanceShape::Runs(runs)) => Err(format!(
            "annotation {} has run lengths for {}x{} pixels, its image is {height}x{width}",
            instance.id, runs.height, runs.width
        )),
        Some(InstanceShape::Polygons(polygons)) => {
            let flat: Vec<Vec<f64>> = polygons.iter().map(|p| p.concat()).collect();
            let rle =
                fr_polys(&flat, h, w).map_err(|e| format!("annotation {}: {e}", instance.id))?;
            Ok(Some(RunLengths {
                height: h,
                width: w,
                counts: rle.counts,
            }))
        }
    }
}

/// One byte per pixel, 1 inside, column by column from the left, as run lengths go.
pub fn columns(runs: &RunLengths) -> Vec<u8> {
    decode(&rle(runs))
}

/// One byte per pixel, 1 inside, row by row from the top.
pub fn raster(runs: &RunLengths) -> Vec<u8> {
    let (height, width) = (runs.height as usize, runs.width as usize);
    let columns = columns(runs);
    let mut rows = vec![0; height * width];
    for (x, column) in columns.chunks_exact(height.max(1)).enumerate() {
        for (y, &inside) in column.iter().enumerate() {
            rows[y * width + x] = inside;
        }
    }
    rows
}

/// The run lengths of a mask of one byte per pixel (0 is outside), row by row from the top.
///
/// # Errors
/// A sentence where `rows` does not have `height * width` bytes, or too many for run lengths.
pub fn from_raster(rows: &[u8], height: usize, width: usize) -> Result<RunLengths, String> {
    let columns: Vec<u8> = (0..width)
        .flat_map(|x| (0..height).map(move |y| y * width + x))
        .filter_map(|at| rows.get(at).copied())
        .collect();
    from_columns(&columns, height, width)
}

/// As [`from_raster`], column by column from the left.
pub fn from_columns(columns: &[u8], height: usize, width: usize) -> Result<RunLengths, String> {
    let side = |n: usize| u32::try_from(n).map_err(|e| e.to_string());
    let rle = encode(columns, side(height)?, side(width)?).map_err(|e| e.to_string())?;
    Ok(RunLengths {
        height: rle.h,
        width: rle.w,
        counts: rle.counts,
    })
}

/// Pixels inside.
pub fn area(runs: &RunLengths) -> u64 {
    let inside = runs.counts.iter().skip(1).step_by(2);
    inside.map(|&n| u64::from(n)).sum()
}

/// COCO's string of run lengths.
pub fn compressed(runs: &RunLengths) -> String {
    rle_to_string(&rle(runs))
}

fn rle(runs: &RunLengths) -> Rle {
    Rle {
        h: runs.height,
        w: runs.width,
        counts: runs.counts.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows_and_back() {
        let runs = RunLengths {
            height: 2,
            width: 3,
            counts: vec![1, 2, 3],
        };
        assert_eq!(raster(&runs), [0, 1, 0, 1, 0, 0]);
        assert_eq!(from_raster(&raster(&runs), 2, 3), Ok(runs));
    }
}
