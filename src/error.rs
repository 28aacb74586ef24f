//! The crate's error: full sentences that say what was wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// Everything that can go wrong in the library. `anyhow` appears only at the edge (`cli`).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was used wrongly (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// A file or folder could not be read, written or understood.
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// A tensor of a weight file is missing, unexpected, wrongly shaped or damaged.
    #[error("{}: tensor `{tensor}`: {reason}", path.display())]
    Tensor {
        path: PathBuf,
        tensor: String,
        reason: String,
    },
    /// A model cannot be built or cannot run what it was asked to run.
    #[error("{0}")]
    Model(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(String),
    /// The user asked to stop; state is kept (exit code 130).
    #[error("interrupted; what is finished is kept, and the same command goes on from there")]
    Interrupted,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error about a file; `reason` may be an underlying error or a sentence.
    pub fn file(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Error::File {
            path: path.as_ref().to_path_buf(),
            reason: reason.to_string(),
        }
    }

    /// An error about one tensor of a weight file.
    pub fn tensor(
        path: impl AsRef<Path>,
        tensor: impl Into<String>,
        reason: impl ToString,
    ) -> Self {
        Error::Tensor {
            path: path.as_ref().to_path_buf(),
            tensor: tensor.into(),
            reason: reason.to_string(),
        }
    }

    pub fn model(reason: impl ToString) -> Self {
        Error::Model(reason.to_string())
    }

    pub fn usage(reason: impl ToString) -> Self {
        Error::Usage(reason.to_string())
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // libtorch appends its C++ backtrace; the first line is the sentence.
        let text = error.to_string();
        Error::Torch(text.lines().next().unwrap_or_default().to_string())
    }
}
