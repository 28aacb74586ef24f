//! What no machine is asked for.

use crate::{Error, Result};

/// Pixels of all images of a batch: 24 GiB of input in fp32.
const MAX_BATCH_PIXELS: u64 = 1 << 31;

/// Fails where a batch of `images` of `height` x `width` is beyond any machine: allocating it
/// would end the process instead of giving an error.
pub fn check_batch(images: usize, height: i64, width: i64) -> Result<()> {
    let pixels = (images as u64)
        .saturating_mul(height.unsigned_abs())
        .saturating_mul(width.unsigned_abs());
    if pixels <= MAX_BATCH_PIXELS {
        return Ok(());
    }
    Err(Error::usage(format!(
        "a batch of {images} images of {height}x{width} has {pixels} pixels, more than the limit of {MAX_BATCH_PIXELS}; use a smaller batch (--batch-size; of latency --batch) or --resolution"
    )))
}

#[cfg(test)]
mod tests {
    use super::check_batch;

    #[test]
    fn batches_beyond_any_machine_are_refused() {
        check_batch(8_192, 512, 512).unwrap();
        check_batch(1, 16_384, 16_384).unwrap();
        let error = check_batch(65_536, 16_384, 16_384).unwrap_err().to_string();
        assert!(error.contains("65536 images of 16384x16384"), "{error}");
        check_batch(usize::MAX, i64::MAX, i64::MAX).unwrap_err();
    }
}
