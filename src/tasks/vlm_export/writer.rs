//! Shards go to disk behind the network's back.

use super::shard::{Filling, Finished};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Writes one shard while the next is computed.
pub struct Writer {
    folder: PathBuf,
    identity: String,
    busy: Option<JoinHandle<Result<Finished>>>,
}

impl Writer {
    pub fn new(folder: &Path, identity: &str) -> Self {
        Writer {
            folder: folder.to_path_buf(),
            identity: identity.to_string(),
            busy: None,
        }
    }

    pub fn write(&mut self, filling: Filling) -> Result<()> {
        self.join()?;
        let (folder, identity) = (self.folder.clone(), self.identity.clone());
        let handle = std::thread::Builder::new()
            .name("shard writer".into())
            .spawn(move || filling.write(&folder, &identity))
            .map_err(|e| Error::model(format!("cannot start a thread: {e}")))?;
        self.busy = Some(handle);
        Ok(())
    }

    /// Waits for the shard that is being written.
    pub fn join(&mut self) -> Result<()> {
        let Some(handle) = self.busy.take() else {
            return Ok(());
        };
        match handle.join() {
            Ok(outcome) => outcome.map(drop),
            Err(_) => Err(Error::model("the thread that writes shards failed")),
        }
    }
}
