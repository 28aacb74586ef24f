//! A parser's run: inputs one after another, each in bounds of time and memory.

use crate::memory;
use crate::mutate::{Dice, damage};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// A parser under test.
pub struct Target {
    /// Small real files, which it accepts.
    pub seeds: Vec<Vec<u8>>,
    /// Mends what damage would only be caught by (checksums, lengths), so that it reaches further.
    pub mend: fn(&mut Vec<u8>),
    /// Reads an input; the error is what the user would be told.
    pub read: fn(&[u8]) -> Result<(), String>,
    /// Most bytes held while reading one input.
    pub memory: usize,
}

impl Target {
    pub fn new(seeds: Vec<Vec<u8>>, read: fn(&[u8]) -> Result<(), String>) -> Self {
        Target {
            seeds,
            mend: |_| {},
            read,
            // The png crate unpacks text and profiles up to 64 MiB.
            memory: 96 << 20,
        }
    }

    pub fn mended(self, mend: fn(&mut Vec<u8>)) -> Self {
        Target { mend, ..self }
    }
}

/// Without a number of inputs.
const SHORT: Duration = Duration::from_millis(500);
/// CPU seconds of one input; a debug build on a busy machine stays far below.
const SLOWEST: Duration = Duration::from_secs(5);
/// Wall seconds after which an input counts as endless.
const ENDLESS: u64 = 120;
/// Different failures after which a run stops.
const ENOUGH: usize = 20;

/// Runs `target` on its seeds, on what was found before, and on damaged seeds.
pub fn run(name: &'static str, target: &Target) {
    quiet();
    assert!(!target.seeds.is_empty(), "{name} has no seed");
    for seed in &target.seeds {
        if let Err(fault) = attempt(target, seed).and_then(|outcome| outcome) {
            panic!("{name}: an undamaged file is refused: {fault}");
        }
    }
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/found")
        .join(name);
    for file in files(&found) {
        let bytes = std::fs::read(&file).expect("a readable file");
        if let Err(fault) = attempt(target, &bytes) {
            panic!("{name}: {}: {fault}", file.display());
        }
    }

    let (count, from) = (setting("INPUTS"), setting("FROM").unwrap_or(0));
    let start = Instant::now();
    let current = watch(name);
    let (mut accepted, mut refusals) = (0u64, BTreeSet::new());
    let mut failures: BTreeMap<String, u64> = BTreeMap::new();
    let mut number = from;
    while count.map_or(start.elapsed() < SHORT, |count| number < from + count) {
        let input = input(name, number, target);
        current.store(number, Ordering::Relaxed);
        match attempt(target, &input) {
            Ok(Ok(())) => accepted += 1,
            Ok(Err(refusal)) => {
                if refusals.len() < 10_000 {
                    refusals.insert(kind(&refusal));
                }
            }
            Err(fault) => {
                if failures.insert(kind(&fault), number).is_none() {
                    let kept = keep(name, number, &input);
                    eprintln!("{name}: input {number} ({}): {fault}", kept.display());
                }
                if failures.len() >= ENOUGH {
                    break;
                }
            }
        }
        number += 1;
    }
    current.store(u64::MAX, Ordering::Relaxed);
    println!(
        "{name}: {} inputs from {from} on in {:.0} s, {:.1} % accepted, {} kinds of refusal, {} kinds of failure",
        number - from,
        start.elapsed().as_secs_f64(),
        100.0 * accepted as f64 / (number - from).max(1) as f64,
        refusals.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{name}: {failures:#?}");
}

/// Input `number`: one of the seeds, damaged.
fn input(name: &str, number: u64, target: &Target) -> Vec<u8> {
    let mut dice = Dice::new(name, number);
    let mut bytes = dice.pick(&target.seeds).clone();
    let other = dice.pick(&target.seeds);
    damage(&mut bytes, other, &mut dice);
    (target.mend)(&mut bytes);
    bytes
}

thread_local! { static PANIC: RefCell<Option<String>> = const { RefCell::new(None) }; }

/// What the parser said, or what must not happen.
fn attempt(target: &Target, bytes: &[u8]) -> Result<Result<(), String>, String> {
    let start = cpu_time();
    let (outcome, peak) = memory::peak(|| catch_unwind(AssertUnwindSafe(|| (target.read)(bytes))));
    let outcome = outcome.map_err(|_| {
        let panic = PANIC.take();
        format!("panics {}", panic.unwrap_or_default())
    })?;
    let used = cpu_time().saturating_sub(start);
    if used > SLOWEST {
        return Err(format!("takes {} s", used.as_secs()));
    }
    if peak > target.memory {
        return Err(format!("holds {} MiB", peak >> 20));
    }
    match &outcome {
        Err(refusal) if refusal.trim().is_empty() => Err("refuses without a word".into()),
        Err(refusal) if refusal.contains("panicked") || refusal.contains("unwrap()") => {
            Err(format!("tells the user of a panic: {refusal}"))
        }
        _ => Ok(outcome),
    }
}

/// Panics are told by `attempt`, with their place.
fn quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or_default();
            PANIC.set(Some(format!("at {place}: {text}")));
            if place.starts_with("tests/fuzz") {
                default(info);
            }
        }));
    });
}

/// Ends the process where an input takes forever, and names it.
fn watch(name: &'static str) -> Arc<AtomicU64> {
    let current = Arc::new(AtomicU64::new(0));
    let watched = current.clone();
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            match watched.load(Ordering::Relaxed) {
                u64::MAX => break,
                now if now != last => (last, since) = (now, Instant::now()),
                now if since.elapsed().as_secs() > ENDLESS => {
                    eprintln!("{name}: input {now} takes more than {ENDLESS} s");
                    std::process::abort();
                }
                _ => {}
            }
        }
    });
    current
}

/// A message without its numbers and names.
fn kind(message: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in message.chars().take(300) {
        match c {
            '`' => quoted = !quoted,
            _ if quoted || !c.is_ascii() || c.is_control() => {}
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            c => kind.push(c),
        }
    }
    kind
}

/// Where a failing input was written.
fn keep(name: &str, number: u64, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("fuzz")
        .join(name);
    let path = folder.join(format!("{number}.bin"));
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .expect("a failing input can be kept");
    path
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files
}

fn setting(name: &str) -> Option<u64> {
    let name = format!("RADIO_EVAL_FUZZ_{name}");
    let text = std::env::var(&name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain out-parameter.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
