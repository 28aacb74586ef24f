//! A page of a mapped file that cannot be read (the file was cut short, the disk fails) reaches the
//! process as SIGBUS, in the middle of any instruction: there is no way back. This handler says
//! which file it was and ends the process with exit code 1, as any other unreadable file does.
//!
//! The handler may call async-signal-safe functions only, and may take no lock: the maps are kept
//! in a table of atomics.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Maps at one time whose names are known; the 7B networks come in a dozen files.
const SLOTS: usize = 1024;
/// `start` of a slot nobody uses, and of one that is being filled.
const FREE: usize = 0;
const TAKEN: usize = 1;

const REASON: &[u8] =
    b": was cut short while it was read, or its disk fails; fetch or make it again\n";

struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    /// UTF-8 or not: the path's own bytes, which are never freed.
    name: AtomicPtr<u8>,
    name_len: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(FREE),
        end: AtomicUsize::new(0),
        name: AtomicPtr::new(null_mut()),
        name_len: AtomicUsize::new(0),
    }
}; SLOTS];

/// What handled SIGBUS before: Rust's own, or a program's that uses this library.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Knows a map's file until it is dropped.
pub struct Watch(&'static Slot);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.start.store(FREE, Ordering::Release);
    }
}

/// Watches over `map`, a map of the file at `path`; `None` where it is empty or more maps are open
/// than the table holds. Installs the handler at the first call.
pub fn watch(path: &Path, map: &[u8]) -> io::Result<Option<Watch>> {
    install()?;
    if map.is_empty() {
        return Ok(None);
    }
    let free = |slot: &&Slot| {
        slot.start
            .compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    let Some(slot) = TABLE.iter().find(free) else {
        return Ok(None);
    };
    let name = forever(path);
    slot.name.store(name.as_ptr().cast_mut(), Ordering::Relaxed);
    slot.name_len.store(name.len(), Ordering::Relaxed);
    let start = map.as_ptr() as usize;
    slot.end.store(start + map.len(), Ordering::Relaxed);
    slot.start.store(start, Ordering::Release);
    Ok(Some(Watch(slot)))
}

/// The path's bytes for the rest of the process: the handler cannot know when a name is dropped.
/// Each file's once, however often it is mapped.
fn forever(path: &Path) -> &'static [u8] {
    static NAMES: OnceLock<Mutex<HashMap<PathBuf, &'static [u8]>>> = OnceLock::new();
    let names = NAMES.get_or_init(Mutex::default).lock();
    names
        .unwrap_or_else(PoisonError::into_inner)
        .entry(path.to_path_buf())
        .or_insert_with(|| Vec::leak(path.as_os_str().as_bytes().to_vec()))
}

fn install() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    // SAFETY: `sigaction` is a plain C struct for which zero is valid; the handler has the
    // signature that SA_SIGINFO asks for, and obeys the rules of a handler (see `on_sigbus`).
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        let _ = BEFORE.set(before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &action, null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *installed = true;
    Ok(())
}

/// Runs on the thread that touched the page.
extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid `siginfo_t`, whose address is set for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    let lost = TABLE.iter().find(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        start > TAKEN && (start..slot.end.load(Ordering::Relaxed)).contains(&address)
    });
    // SAFETY: `write`, `_exit` and `sigaction` are async-signal-safe; the name's bytes live for
    // ever, and were stored before `start` was.
    unsafe {
        match lost {
            Some(slot) => {
                let name = slot.name.load(Ordering::Relaxed);
                say(b"error: ");
                say(std::slice::from_raw_parts(
                    name,
                    slot.name_len.load(Ordering::Relaxed),
                ));
                say(REASON);
                libc::_exit(1);
            }
            // Not ours: as it would have been without this handler, when the instruction is run
            // again.
            None => {
                let before = BEFORE.get().map_or(std::ptr::null(), |before| before);
                if before.is_null() || libc::sigaction(libc::SIGBUS, before, null_mut()) != 0 {
                    libc::_exit(1);
                }
            }
        }
    }
}

/// To stderr, as far as it takes it.
unsafe fn say(bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}
