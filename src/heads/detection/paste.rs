//! Masks of 28 x 28 put back into the image (torchvision's `paste_masks_in_image`).

/// A part of an image and the probability of the object at each of its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Pasted {
    /// Top left corner in the image.
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

/// The probabilities `mask` (`side` x `side`, row by row) in the box (x0, y0, x1, y1) of an image of
/// (height, width). A border of zeros of one is put around the mask, the box grows as much.
pub fn paste(
    mask: &[f32],
    side: usize,
    bounds: [f32; 4],
    (height, width): (usize, usize),
) -> Pasted {
    let padded = side + 2;
    let scale = padded as f32 / side as f32;
    let grown = |low: f32, high: f32| {
        let (half, centre) = ((high - low) * 0.5 * scale, (high + low) * 0.5);
        // Cut off towards zero, as a cast to int64.
        ((centre - half) as i64, (centre + half) as i64)
    };
    let (x, y) = (grown(bounds[0], bounds[2]), grown(bounds[1], bounds[3]));
    let columns = Span::new(x, width, padded);
    let rows = Span::new(y, height, padded);
    let value = |row: usize, column: usize| match (1..=side).contains(&row)
        && (1..=side).contains(&column)
    {
        true => mask[(row - 1) * side + column - 1],
        false => 0.0,
    };
    let mut values = Vec::with_capacity(rows.taps.len() * columns.taps.len());
    for &(top, bottom, below) in &rows.taps {
        for &(left, right, beside) in &columns.taps {
            let line = |row: usize| value(row, left) * (1.0 - beside) + value(row, right) * beside;
            values.push(line(top) * (1.0 - below) + line(bottom) * below);
        }
    }
    Pasted {
        x: columns.start,
        y: rows.start,
        width: columns.taps.len(),
        height: rows.taps.len(),
        values,
    }
}

/// The pixels of an axis that the box covers, and what each is interpolated from.
struct Span {
    start: usize,
    /// Two neighbours of the padded mask, and the weight of the second.
    taps: Vec<(usize, usize, f32)>,
}

impl Span {
    fn new((low, high): (i64, i64), length: usize, padded: usize) -> Self {
        let size = (high - low + 1).max(1);
        let start = low.clamp(0, length as i64);
        let end = (high + 1).min(length as i64).max(start);
        // Bilinear with half-pixel centres, as torch.nn.functional.interpolate.
        let scale = padded as f32 / size as f32;
        let tap = |pixel: i64| {
            let at = (((pixel - low) as f32 + 0.5) * scale - 0.5).max(0.0);
            let first = (at as usize).min(padded - 1);
            (first, (first + 1).min(padded - 1), at - first as f32)
        };
        Span {
            start: start as usize,
            taps: (start..end).map(tap).collect(),
        }
    }
}
