//! Whether every picture of a data set can be decoded.

use super::decode::{Limits, decode};
use super::source::Source;
use crate::runtime::interrupt;
use crate::{Error, Result};
use rayon::prelude::*;

/// Pictures that are named one by one.
const NAMED: usize = 5;

/// Reads and decodes every picture; a sentence for each of the first that cannot be, and one for
/// the number of others.
///
/// # Errors
/// The user's interrupt only.
pub fn unreadable(source: &dyn Source) -> Result<Vec<String>> {
    let fault = |index: usize| -> Result<Option<String>> {
        interrupt::check()?;
        Ok(match source.read(index) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => Some(error.to_string()),
            Ok(bytes) => decode(&bytes, &Limits::default())
                .err()
                .map(|reason| format!("{}: {}: {reason}", source.describe(), source.key(index))),
        })
    };
    let faults: Result<Vec<Option<String>>> = (0..source.len())
        .into_par_iter()
        .map(fault)
        .filter(|fault| !matches!(fault, Ok(None)))
        .collect();
    let mut faults: Vec<String> = faults?.into_iter().flatten().collect();
    if faults.len() > NAMED {
        let more = faults.len() - NAMED;
        faults.truncate(NAMED);
        faults.push(format!(
            "{}: {more} more pictures cannot be read",
            source.describe()
        ));
    }
    Ok(faults)
}
