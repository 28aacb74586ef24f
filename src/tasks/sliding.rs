//! Windows that slide over a picture, as mmseg and its followers place them.

/// Where windows start along a side (mmseg `slide_inference`): every `stride`, the last one moved
/// back to the border.
pub fn starts(length: i64, crop: i64, stride: i64) -> Vec<i64> {
    let count = (length - crop + stride - 1).max(0) / stride + 1;
    (0..count)
        .map(|i| (i * stride).min((length - crop).max(0)))
        .collect()
}

/// Pixels `top..top + height`, `left..left + width` of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub top: i64,
    pub left: i64,
    pub height: i64,
    pub width: i64,
}

/// Windows of `crop` pixels every `stride`, row by row; a side that is shorter than the crop makes
/// smaller ones. `None`: the whole picture.
pub fn windows((height, width): (i64, i64), sliding: Option<(i64, i64)>) -> Vec<Window> {
    let (crop, stride) = sliding.unwrap_or((height.max(width), 1));
    let columns = starts(width, crop, stride);
    starts(height, crop, stride)
        .into_iter()
        .flat_map(|top| columns.iter().map(move |&left| (top, left)))
        .map(|(top, left)| Window {
            top,
            left,
            height: crop.min(height),
            width: crop.min(width),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_as_mmseg_places_them() {
        // h_grids = max(h - crop + stride - 1, 0) // stride + 1, the last clamped to the border.
        assert_eq!(starts(512, 512, 341), [0]);
        assert_eq!(starts(683, 512, 341), [0, 171]);
        assert_eq!(starts(853, 512, 341), [0, 341]);
        assert_eq!(starts(2048, 512, 341), [0, 341, 682, 1023, 1364, 1536]);
        assert_eq!(starts(300, 512, 341), [0]);
    }

    #[test]
    fn a_picture_without_windows_is_one() {
        let whole = Window {
            top: 0,
            left: 0,
            height: 30,
            width: 50,
        };
        assert_eq!(windows((30, 50), None), [whole]);
        assert_eq!(windows((30, 50), Some((64, 32))), [whole]);
        let sliding = windows((30, 50), Some((20, 16)));
        assert_eq!(sliding.len(), 6);
        assert_eq!((sliding[5].top, sliding[5].left), (10, 30));
    }
}
