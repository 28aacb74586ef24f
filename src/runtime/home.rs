//! Where the tool keeps its own files.

use std::path::PathBuf;

/// `$RADIO_EVAL_HOME`, else `~/.cache/radio-eval`: weights, feature caches, digests.
pub fn home() -> PathBuf {
    std::env::var_os("RADIO_EVAL_HOME").map_or_else(
        || {
            let user = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
            user.join(".cache/radio-eval")
        },
        PathBuf::from,
    )
}
