//! `~`, `$NAME` and `${NAME}` in paths that users write: a shell leaves them alone in
//! `--data=~/x`, in quotes and in configuration files.

use crate::{Error, Result};
use std::borrow::Cow;
use std::env::VarError;
use std::path::{Path, PathBuf};

/// The path with `~` (at its start) and variables (anywhere) put in. A path that exists as it is
/// written stays as it is.
///
/// # Errors
/// A variable that is not set.
pub fn expand(path: &str) -> Result<Cow<'_, str>> {
    if Path::new(path).exists() {
        return Ok(Cow::Borrowed(path));
    }
    shellexpand::full(path).map_err(|e| {
        let reason = match e.cause {
            VarError::NotPresent => "is not set",
            VarError::NotUnicode(_) => "is not UTF-8",
        };
        Error::usage(format!(
            "{path}: the environment variable {} {reason}; set it, or write the folder out",
            e.var_name
        ))
    })
}

/// As [`expand`], of a path.
pub fn expand_path(path: &Path) -> Result<PathBuf> {
    match path.to_str() {
        Some(text) => Ok(PathBuf::from(expand(text)?.as_ref())),
        None => Ok(path.to_path_buf()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_and_variables_anywhere() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(expand("~/x").unwrap(), format!("{home}/x"));
        assert_eq!(
            expand("/a/$HOME/${HOME}b").unwrap(),
            format!("/a/{home}/{home}b")
        );
        assert_eq!(expand("a~b/{0..3}.tar").unwrap(), "a~b/{0..3}.tar");
        let error = expand("/data/$RADIO_EVAL_NO_SUCH/x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("variable RADIO_EVAL_NO_SUCH is not set"),
            "{error}"
        );
    }

    #[test]
    fn an_existing_name_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("$odd");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(expand_path(&odd).unwrap(), odd);
    }
}
