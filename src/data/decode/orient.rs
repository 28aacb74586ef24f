//! Turning an image as the EXIF orientation 1 to 8 says.

use super::RgbImage;

/// The image as it is to be seen (`PIL.ImageOps.exif_transpose`); other numbers change nothing.
pub fn orient(image: RgbImage, orientation: u16) -> RgbImage {
    let (w, h) = (image.width, image.height);
    // Where the pixel at (x, y) of the result comes from.
    let source = |x: usize, y: usize| match orientation {
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, h - 1 - x),
        7 => (w - 1 - y, h - 1 - x),
        _ => (w - 1 - y, x),
    };
    let (width, height) = match orientation {
        2..=4 => (w, h),
        5..=8 => (h, w),
        _ => return image,
    };
    let mut data = Vec::with_capacity(image.data.len());
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = source(x, y);
            let at = (from_y * w + from_x) * 3;
            data.extend(&image.data[at..at + 3]);
        }
    }
    RgbImage {
        width,
        height,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns, three rows, numbered in reading order.
    #[test]
    fn every_orientation() {
        let numbered = RgbImage {
            width: 2,
            height: 3,
            data: (0..6u8).flat_map(|v| [v; 3]).collect(),
        };
        let expected: [(u16, usize, [u8; 6]); 8] = [
            (1, 2, [0, 1, 2, 3, 4, 5]),
            (2, 2, [1, 0, 3, 2, 5, 4]),
            (3, 2, [5, 4, 3, 2, 1, 0]),
            (4, 2, [4, 5, 2, 3, 0, 1]),
            (5, 3, [0, 2, 4, 1, 3, 5]),
            (6, 3, [4, 2, 0, 5, 3, 1]),
            (7, 3, [5, 3, 1, 4, 2, 0]),
            (8, 3, [1, 3, 5, 0, 2, 4]),
        ];
        for (orientation, width, values) in expected {
            let image = orient(numbered.clone(), orientation);
            let got: Vec<u8> = image.data.iter().step_by(3).copied().collect();
            assert_eq!(
                (image.width, got.as_slice()),
                (width, &values[..]),
                "{orientation}"
            );
        }
    }
}
