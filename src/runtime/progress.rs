//! Progress bars on stderr, with rate and time left; invisible unless asked for.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` units (`images`, `Mpairs`), `done` of which were done before this run and
/// so do not count into the rate.
pub fn bar(visible: bool, label: &str, unit: &str, total: u64, done: u64) -> ProgressBar {
    let target = if visible {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let template = format!(
        "{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit}, {{per_sec}}, {{eta}} left"
    );
    // The template is fixed text but for the unit; a bad one falls back to the plain bar.
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), target)
        .with_style(style)
        .with_message(label.to_string())
        .with_position(done);
    bar.reset_eta();
    bar
}
