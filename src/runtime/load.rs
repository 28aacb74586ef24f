//! How much of the CPU other processes used while this one measured.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// Share in percent above which a timing is called disturbed.
pub const DISTURBED: f64 = 5.0;

/// The kernel counts in hundredths of a second: nothing is said of shorter spans.
const SHORTEST: Duration = Duration::from_millis(500);

/// A span of time over which the CPU is watched.
#[derive(Debug, Clone)]
pub struct LoadWatch {
    started: Instant,
    at_start: Option<Usage>,
}

/// CPU seconds since the machine, or the process, was started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    /// Of everybody on the cores that this process may use, the hypervisor's other guests included.
    all: f64,
    own: f64,
    cores: usize,
}

impl LoadWatch {
    pub fn start() -> Self {
        LoadWatch {
            started: Instant::now(),
            at_start: usage(),
        }
    }

    /// Percent of the time of this process's cores that others used since the start; `None` for a
    /// span too short, or where the system does not tell.
    pub fn others(&self) -> Option<f64> {
        let elapsed = self.started.elapsed();
        if elapsed < SHORTEST {
            return None;
        }
        share(self.at_start?, usage()?, elapsed.as_secs_f64())
    }
}

fn share(start: Usage, end: Usage, seconds: f64) -> Option<f64> {
    let (all, own) = (end.all - start.all, end.own - start.own);
    // Where a sandbox shows no CPU time at all, nothing is known.
    if all <= 0.0 || start.cores != end.cores || seconds <= 0.0 {
        return None;
    }
    let others = (all - own).max(0.0) / (seconds * end.cores as f64);
    Some((100.0 * others).min(100.0))
}

fn usage() -> Option<Usage> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let allowed = allowed_cores()?;
    let (all, cores) = busy(&text, |core| allowed.contains(&core));
    // SAFETY: a plain question to the C library.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (cores > 0 && ticks > 0).then_some(Usage {
        all: all as f64 / ticks as f64,
        own: own_seconds()?,
        cores,
    })
}

/// Ticks in use and number of the cores that `counts`, from the text of `/proc/stat`. Idle time and
/// waiting for disks (the fourth and fifth number) are no use; guests' time is in the first two
/// already (proc_stat(5)).
fn busy(stat: &str, counts: impl Fn(usize) -> bool) -> (u64, usize) {
    let cores = stat.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let core = fields.next()?.strip_prefix("cpu")?.parse().ok()?;
        let numbers: Vec<u64> = fields.map_while(|n| n.parse().ok()).collect();
        counts(core).then_some(numbers)
    });
    cores.fold((0, 0), |(ticks, n), numbers| {
        let used = [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| numbers.get(i));
        (ticks + used.sum::<u64>(), n + 1)
    })
}

/// The cores that this process may run on.
fn allowed_cores() -> Option<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel fills a set of the size given; 0 is this process.
    let set = unsafe {
        let size = std::mem::size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, set.as_mut_ptr()) != 0 {
            return None;
        }
        set.assume_init()
    };
    // SAFETY: indices stay below the size of the set.
    let is_set = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    Some((0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
}

/// CPU seconds of all threads of this process.
fn own_seconds() -> Option<f64> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel fills the struct.
    let time = unsafe {
        if libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn time_in_use_by_the_kernels_columns() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\n\
                    cpu0 100 10 30 5000 700 1 2 4 50 0\n\
                    cpu1 200 0 0 1 1 0 0 0 0 0\n\
                    intr 5\n";
        assert_eq!(busy(stat, |_| true), (347, 2));
        assert_eq!(busy(stat, |core| core == 0), (147, 1));
    }

    #[test]
    fn what_is_ours_is_not_others() {
        let usage = |all, own| Usage { all, own, cores: 2 };
        // Two seconds on two cores: one core was ours, a tenth of the other somebody else's.
        let others = share(usage(10.0, 1.0), usage(12.2, 3.0), 2.0).unwrap();
        assert!((others - 5.0).abs() < 1e-9, "{others}");
        assert_eq!(share(usage(10.0, 1.0), usage(12.0, 3.1), 2.0), Some(0.0));
        assert_eq!(share(usage(0.0, 1.0), usage(0.0, 3.0), 2.0), None);
    }

    #[test]
    fn a_busy_neighbour_is_seen() {
        let mut neighbour = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let watch = LoadWatch::start();
        std::thread::sleep(Duration::from_millis(1500));
        let others = watch.others();
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
        let cores = allowed_cores().unwrap().len() as f64;
        // A sandbox may hide the machine's CPU time.
        if let Some(others) = others {
            assert!(others > 20.0 / cores, "{others} % of {cores} cores");
        }
        assert_eq!(LoadWatch::start().others(), None, "too short to tell");
    }
}
