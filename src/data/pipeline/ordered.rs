//! Work on many threads, results in order, bounded memory.

use crate::runtime::guard;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Results of `work(item)` for every item of a range, in that order, computed by several threads
/// that run at most so many items ahead of the reader.
///
/// An item over which `work` panicked comes as an error; the others come all the same. Dropping
/// it stops the threads after the items they are at.
pub struct Ordered<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a worker's panic said, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(pub String);

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A result arrived, or a worker ended.
    ready: Condvar,
    /// The reader took a result, or wants the workers to stop.
    room: Condvar,
    end: usize,
    ahead: usize,
}

struct State<T> {
    /// The next item to be worked on.
    next: usize,
    /// The next item to be handed out.
    wanted: usize,
    done: BTreeMap<usize, Result<T, Panicked>>,
    workers: usize,
    stop: bool,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item to work on, once there is room for its result.
    fn claim(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if state.stop || state.next >= self.end {
                return None;
            }
            if state.next < state.wanted.saturating_add(self.ahead) {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the reader that a worker is gone, however it ended.
struct Leaving<'a, T>(&'a Shared<T>);

impl<T> Drop for Leaving<'_, T> {
    fn drop(&mut self) {
        self.0.state().workers -= 1;
        self.0.ready.notify_all();
    }
}

/// Starts the work on `items` in `workers` threads, at least one; see [`Ordered`].
///
/// # Errors
/// The system's, where it gives no thread at all. Where it gives some, the work goes on with
/// those.
pub fn ordered<T: Send + 'static>(
    items: Range<usize>,
    workers: usize,
    ahead: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
) -> std::io::Result<Ordered<T>> {
    let workers = workers.clamp(1, items.len().max(1));
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            next: items.start,
            wanted: items.start,
            done: BTreeMap::new(),
            workers: 0,
            stop: false,
        }),
        ready: Condvar::new(),
        room: Condvar::new(),
        end: items.end,
        ahead: ahead.max(workers),
    });
    let work = Arc::new(work);
    let mut started = Ordered {
        shared,
        threads: Vec::with_capacity(workers),
    };
    for _ in 0..workers {
        let (shared, work) = (Arc::clone(&started.shared), Arc::clone(&work));
        started.shared.state().workers += 1;
        let spawned = std::thread::Builder::new()
            .name("loader".into())
            .spawn(move || {
                let leaving = Leaving(&shared);
                while let Some(item) = leaving.0.claim() {
                    let result = guard::catch(|| work(item)).map_err(Panicked);
                    leaving.0.state().done.insert(item, result);
                    leaving.0.ready.notify_all();
                }
            });
        match spawned {
            Ok(thread) => started.threads.push(thread),
            Err(error) => {
                started.shared.state().workers -= 1;
                if started.threads.is_empty() {
                    return Err(error);
                }
                tracing::warn!(
                    "only {} of {workers} worker threads could be started: {error}",
                    started.threads.len()
                );
                break;
            }
        }
    }
    Ok(started)
}

impl<T> Iterator for Ordered<T> {
    type Item = Result<T, Panicked>;

    /// The next result; `None` after the last one.
    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.shared.state();
        loop {
            let wanted = state.wanted;
            if wanted >= self.shared.end {
                return None;
            }
            let result = match state.done.remove(&wanted) {
                Some(result) => Some(result),
                // Cannot be, as panics are caught; but waiting for nobody would be for ever.
                None if state.workers == 0 => {
                    Some(Err(Panicked("all worker threads are gone".into())))
                }
                None => None,
            };
            if let Some(result) = result {
                state.wanted += 1;
                self.shared.room.notify_all();
                return Some(result);
            }
            let waited = self.shared.ready.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // Panics of the work were caught and handed out.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the code before, the reader waited for ever for item 3: the other workers had no room.
    #[test]
    fn a_panic_is_one_items_error_and_the_others_come_all_the_same() {
        let work = |item: usize| match item {
            3 => panic!("three is a crowd"),
            item => item * item,
        };
        let results: Vec<_> = ordered(0..100, 4, 8, work).unwrap().collect();
        assert_eq!(results.len(), 100);
        for (item, result) in results.iter().enumerate() {
            match (item, result) {
                (3, Err(Panicked(message))) => {
                    assert!(message.starts_with("three is a crowd (src"), "{message}");
                }
                (item, result) => assert_eq!(result, &Ok(item * item)),
            }
        }
    }

    #[test]
    fn a_range_begins_anywhere_and_a_dropped_reader_stops_the_workers() {
        let mut results = ordered(7..usize::MAX, 3, 5, |item| item).unwrap();
        assert_eq!(results.next(), Some(Ok(7)));
        assert_eq!(results.next(), Some(Ok(8)));
        drop(results);
        assert_eq!(ordered(5..5, 3, 5, |item| item).unwrap().next(), None);
    }
}
