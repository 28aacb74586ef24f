//! Work on many threads, results in order, bounded memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Results of `work(0), work(1), ..., work(count - 1)` in that order, computed by `workers`
/// threads that run at most `ahead` items ahead of the reader.
///
/// Dropping it stops the threads after the items they are at.
pub struct Ordered<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A result arrived, or a worker ended.
    ready: Condvar,
    /// The reader took a result, or wants the workers to stop.
    room: Condvar,
    count: usize,
    ahead: usize,
}

struct State<T> {
    started: usize,
    taken: usize,
    done: BTreeMap<usize, T>,
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
            if state.stop || state.started == self.count {
                return None;
            }
            if state.started < state.taken + self.ahead {
                state.started += 1;
                return Some(state.started - 1);
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

/// Starts the work; see [`Ordered`].
pub fn ordered<T: Send + 'static>(
    count: usize,
    workers: usize,
    ahead: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Ordered<T> {
    let workers = workers.clamp(1, count.max(1));
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            started: 0,
            taken: 0,
            done: BTreeMap::new(),
            workers,
            stop: false,
        }),
        ready: Condvar::new(),
        room: Condvar::new(),
        count,
        ahead: ahead.max(workers),
    });
    let work = Arc::new(work);
    let threads = (0..workers)
        .map(|_| {
            let (shared, work) = (Arc::clone(&shared), Arc::clone(&work));
            std::thread::spawn(move || {
                let leaving = Leaving(&shared);
                while let Some(item) = leaving.0.claim() {
                    let result = work(item);
                    leaving.0.state().done.insert(item, result);
                    leaving.0.ready.notify_all();
                }
            })
        })
        .collect();
    Ordered { shared, threads }
}

impl<T> Iterator for Ordered<T> {
    type Item = T;

    /// The next result; `None` after the last one, or where a worker panicked over it.
    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.state();
        loop {
            let wanted = state.taken;
            if let Some(result) = state.done.remove(&wanted) {
                state.taken += 1;
                self.shared.room.notify_all();
                return Some(result);
            }
            if wanted == self.shared.count || state.workers == 0 {
                return None;
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
            // A worker's panic was already seen as a missing result.
            let _ = thread.join();
        }
    }
}
