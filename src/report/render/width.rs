//! How wide a table may be.

/// Columns of the terminal that stdout is: `$COLUMNS` where it is set, else what the terminal says;
/// `None` (as wide as it likes) for a file or a pipe.
pub fn available() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|text| text.trim().parse::<usize>().ok());
    told.filter(|&columns| columns > 0)
        .or_else(|| comfy_table::Table::new().width().map(usize::from))
}

/// Characters of the longest line.
pub fn in_columns(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}

/// The sentence under a table from which columns were left out.
pub fn hidden(titles: &[String], width: usize, elsewhere: &str) -> String {
    format!(
        "not shown in {width} columns: {} ({elsewhere})\n",
        titles.join(", ")
    )
}
