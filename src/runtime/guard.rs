//! Turns panics into errors: libtorch's inside a forward pass, and those of worker threads.

use crate::{Error, Result};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the last guarded panic of this thread was: `src/file.rs:line`.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}
static HOOK: Once = Once::new();

/// Runs `f` and returns its value, or [`Error::Torch`] where an operator failed (out of memory,
/// a shape that a user's TorchScript file does not take, ...).
///
/// tch's plain operators panic when libtorch throws; the networks use them because a forward pass
/// written with the fallible twins is unreadable. This is the one place that catches.
pub fn guard<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    quietly(f).unwrap_or_else(|payload| {
        let text = message(payload.as_ref());
        // `called Result::unwrap() on an Err value: Torch("message\nC++ backtrace")`
        let text = text.split_once("Torch(\"").map_or(text, |(_, rest)| rest);
        let line = text.split("\\n").next().unwrap_or(text);
        Err(Error::Torch(
            line.lines().next().unwrap_or(line).to_string(),
        ))
    })
}

/// Runs `f` and returns its value, or what its panic said and where it was. For threads, whose
/// panics would otherwise look like the end of their work.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    quietly(f).map_err(|payload| {
        let place = PLACE.with_borrow(String::clone);
        format!("{} ({place})", message(payload.as_ref()))
    })
}

/// Runs `f`; a panic is returned and printed nowhere.
fn quietly<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return default(info);
            }
            let place = info.location().map(ToString::to_string);
            PLACE.set(place.unwrap_or_default());
        }));
    });
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    outcome
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it failed without a message")
}
