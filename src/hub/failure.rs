//! What went wrong with a request, and whether to try again.

use crate::runtime::interrupt;
use crate::{Error, Result};
use std::time::{Duration, Instant};

/// Tries without any progress before giving up.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

pub enum Failure {
    /// Worth another try, after the time the server asked for.
    Passing(String, Option<Duration>),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

impl Failure {
    pub fn last(reason: impl ToString) -> Self {
        Failure::Final(Error::model(reason))
    }

    pub fn passing(reason: impl ToString) -> Self {
        Failure::Passing(reason.to_string(), None)
    }
}

/// Counts tries, and waits between them.
#[derive(Default)]
pub struct Patience {
    tried: u32,
}

impl Patience {
    /// Something was gained: the count starts again.
    pub fn renew(&mut self) {
        self.tried = 0;
    }

    /// Waits before the next try, or gives up with what `failure` says about `what`.
    pub fn after(&mut self, what: &str, failure: Failure) -> Result<()> {
        let (reason, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(reason, asked) => (reason, asked),
        };
        self.tried += 1;
        if self.tried >= ATTEMPTS {
            return Err(Error::model(format!(
                "{what}: {reason}; gave up after {ATTEMPTS} tries. What came is kept: the same command goes on from there"
            )));
        }
        let wait = asked.unwrap_or(FIRST_WAIT * 2u32.pow(self.tried - 1));
        if wait > LONGEST_WAIT {
            return Err(Error::model(format!(
                "{what}: {reason}; the server asks to wait {} s, try again then",
                wait.as_secs()
            )));
        }
        tracing::warn!("{what}: {reason}; next try in {:.1} s", wait.as_secs_f64());
        let end = Instant::now() + wait;
        while Instant::now() < end {
            interrupt::check()?;
            std::thread::sleep(wait.min(Duration::from_millis(100)));
        }
        Ok(())
    }
}

/// Runs `request` until it succeeds or patience ends.
pub fn patiently<T>(
    what: &str,
    mut request: impl FnMut() -> std::result::Result<T, Failure>,
) -> Result<T> {
    let mut patience = Patience::default();
    loop {
        interrupt::check()?;
        match request() {
            Ok(value) => return Ok(value),
            Err(failure) => patience.after(what, failure)?,
        }
    }
}
