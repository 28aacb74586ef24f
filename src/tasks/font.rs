//! Letters for legends: 8 x 8 pixels.

use font8x8::UnicodeFonts;

/// Side of a letter, and the distance of letters.
const SIDE: u32 = 8;

/// Writes `text` in black with its top left at (x, y), as far as it fits; characters that the font
/// lacks become a gap.
pub fn draw(picture: &mut image::RgbImage, x: u32, y: u32, text: &str) {
    for (left, letter) in (x..).step_by(SIDE as usize).zip(text.chars()) {
        let known = font8x8::BASIC_FONTS.get(letter);
        let Some(rows) = known.or_else(|| font8x8::LATIN_FONTS.get(letter)) else {
            continue;
        };
        // A row's lowest bit is its leftmost pixel.
        for (y, row) in (y..).zip(rows) {
            for (bit, x) in (left..left + SIDE).enumerate() {
                if row >> bit & 1 == 1 && x < picture.width() && y < picture.height() {
                    picture.put_pixel(x, y, image::Rgb([0, 0, 0]));
                }
            }
        }
    }
}
