//! Turns libtorch failures inside a forward pass into errors.

use crate::{Error, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! { static GUARDED: Cell<bool> = const { Cell::new(false) }; }
static HOOK: Once = Once::new();

/// Runs `f` and returns its value, or [`Error::Torch`] where an operator failed (out of memory,
/// a shape that a user's TorchScript file does not take, ...).
///
/// tch's plain operators panic when libtorch throws; the networks use them because a forward pass
/// written with the fallible twins is unreadable. This is the one place that catches.
pub fn guard<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                default(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    outcome.unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("an operator failed without a message");
        // `called Result::unwrap() on an Err value: Torch("message\nC++ backtrace")`
        let text = text.split_once("Torch(\"").map_or(text, |(_, rest)| rest);
        let line = text.split("\\n").next().unwrap_or(text);
        Err(Error::Torch(
            line.lines().next().unwrap_or(line).to_string(),
        ))
    })
}
