//! Our own work on libtorch's threads.

use super::{check, re_on_every_thread};
use crate::Result;
use crate::runtime::guard;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

/// Calls `work` on each of libtorch's threads at once, once per thread, and waits for them. An
/// operator inside uses the calling thread alone.
///
/// Threads of another pool would compete with libtorch's, which spin for some milliseconds after
/// every operator before they sleep.
///
/// # Errors
/// The first that any thread returned; the others are still waited for.
pub fn on_every_thread(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let shared = Shared {
        work: &work,
        outcome: Mutex::new(Ok(())),
    };
    // SAFETY: `run` gets the `Shared` that it expects, which outlives the call.
    check(unsafe { re_on_every_thread(run, (&raw const shared).cast_mut().cast()) })?;
    let Shared { outcome, .. } = shared;
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct Shared<'a> {
    work: &'a (dyn Fn() -> Result<()> + Sync),
    outcome: Mutex<Result<()>>,
}

/// # Safety
/// `user` must point to a `Shared`.
unsafe extern "C" fn run(user: *mut c_void) {
    // SAFETY: by the caller; it is only shared, and `Sync`.
    let shared = unsafe { &*user.cast::<Shared>() };
    // A panic must not pass through C++.
    if let Err(error) = guard(shared.work) {
        let mut outcome = shared
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if outcome.is_ok() {
            *outcome = Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::on_every_thread;
    use crate::Error;
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn all_threads_work_at_once() {
        let threads = tch::get_num_threads() as usize;
        let together = Barrier::new(threads);
        let seen = Mutex::new(HashSet::new());
        on_every_thread(|| {
            together.wait();
            seen.lock().unwrap().insert(std::thread::current().id());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen.into_inner().unwrap().len(), threads);
    }

    #[test]
    fn errors_and_panics_come_back() {
        let error = on_every_thread(|| Err(Error::Interrupted)).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
        let error = on_every_thread(|| panic!("no such operator")).unwrap_err();
        assert!(error.to_string().contains("no such operator"), "{error}");
    }
}
