//! Colours of classes.

/// PASCAL VOC's colour map: the bits of the class number, spread over the channels. Shifted by
/// one, because its first colour is black.
pub fn colour(class: u32) -> [u8; 3] {
    let mut bits = class + 1;
    let mut colour = [0u8; 3];
    for shift in (0..8).rev() {
        for (channel, value) in colour.iter_mut().enumerate() {
            *value |= ((bits >> channel & 1) << shift) as u8;
        }
        bits >>= 3;
    }
    colour
}
