//! What data a run saw, as one hash.

use super::source::Source;
use crate::hash::hex;
use sha2::{Digest, Sha256};

/// SHA-256 (hex) over key, label and encoded size of the chosen samples, in the order given.
/// The same images give the same fingerprint from a folder and from a tar file.
pub fn fingerprint(source: &dyn Source, indices: &[usize]) -> String {
    let mut hash = Sha256::new();
    for &index in indices {
        let key = source.key(index);
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key.as_bytes());
        // A label never reaches 2^64 - 1, which stands for "none".
        let label = source.label(index).map_or(u64::MAX, u64::from);
        hash.update(label.to_le_bytes());
        hash.update(source.size(index).to_le_bytes());
    }
    hex(&hash.finalize())
}
