//! Pictures inside the page.

use super::escape;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// An encoded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    pub caption: String,
    /// `image/png`
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

pub fn section(pictures: &[Picture]) -> String {
    if pictures.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Pictures</h2>\n<div class=\"grid\">\n");
    for picture in pictures {
        let caption = escape(&picture.caption);
        let _ = writeln!(
            out,
            "<figure><img loading=\"lazy\" alt=\"{caption}\" src=\"data:{};base64,{}\"><figcaption>{caption}</figcaption></figure>",
            picture.kind,
            STANDARD.encode(&picture.bytes)
        );
    }
    out += "</div>\n";
    out
}
