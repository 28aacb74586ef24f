//! Ctrl-C and SIGTERM: the running loop stops at its next safe point, keeping what is finished.

use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Installs the handler. A second signal ends the process at once with exit code 130.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            // Not `exit`, which destroys libtorch's globals under its working threads. What counts
            // is on the disk already: files are renamed into place when they are whole.
            // SAFETY: ends the process; touches no memory.
            unsafe { libc::_exit(130) };
        }
    })
    .map_err(|e| Error::model(format!("cannot install the signal handler: {e}")))
}

/// To be called between units of work: an error once the user asked to stop.
pub fn check() -> Result<()> {
    if ASKED.load(Ordering::Relaxed) {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
