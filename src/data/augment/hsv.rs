//! `cv2.cvtColor` between 8-bit RGB and HSV (hue 0..180), bit for bit.
//!
//! Checked against OpenCV for all 2^24 colours and all 180 * 256 * 256 HSV triples. OpenCV rounds
//! the last `width % 32` pixels of a row where it truncates the others; here all are truncated,
//! which is what it does at mmseg's crop widths.

use std::sync::LazyLock;

const SHIFT: u32 = 12;

/// Reciprocals in fixed point: 255 / i for the saturation and 180 / 6i for the hue.
static RECIPROCALS: LazyLock<[[i32; 2]; 256]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let divide = |numerator: i32, by: f64| match i {
            0 => 0,
            _ => (f64::from(numerator << SHIFT) / (by * i as f64)).round_ties_even() as i32,
        };
        [divide(255, 1.0), divide(180, 6.0)]
    })
});

/// RGB to hue, saturation, value.
pub fn from_rgb(rgb: [u8; 3]) -> [u8; 3] {
    let reciprocals = &*RECIPROCALS;
    let [r, g, b] = rgb.map(i32::from);
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    let fixed = |product: i32| (product + (1 << (SHIFT - 1))) >> SHIFT;
    let saturation = fixed(range * reciprocals[value as usize][0]);
    let sector = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * range
    } else {
        r - g + 4 * range
    };
    let hue = fixed(sector * reciprocals[range as usize][1]);
    let hue = if hue < 0 { hue + 180 } else { hue };
    [hue, saturation, value].map(|v| v.clamp(0, 255) as u8)
}

/// Hue, saturation, value to RGB.
pub fn to_rgb(hsv: [u8; 3]) -> [u8; 3] {
    const BYTE: f32 = 1.0 / 255.0;
    const HUE: f32 = 6.0 / 180.0;
    // Which of the four levels below each of red, green and blue takes, by sector of the hue.
    const SECTORS: [[usize; 3]; 6] = [
        [0, 3, 1],
        [2, 0, 1],
        [1, 0, 3],
        [1, 2, 0],
        [3, 1, 0],
        [0, 1, 2],
    ];
    let [hue, saturation, value] = hsv.map(f32::from);
    let (saturation, value) = (saturation * BYTE, value * BYTE);
    let turned = hue * HUE;
    let sector = turned.trunc();
    let fraction = turned - sector;
    // OpenCV's compiler fuses these multiplications and subtractions into one rounding.
    let fused = |by: f32| (1.0 - f64::from(saturation) * f64::from(by)) as f32;
    let levels = [
        value,
        value * (1.0 - saturation),
        value * fused(fraction),
        value * fused(1.0 - fraction),
    ];
    SECTORS[sector as usize % 6].map(|level| (levels[level] * 255.0) as u8)
}
