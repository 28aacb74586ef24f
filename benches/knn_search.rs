//! kNN search against libtorch's best bare matrix product on the same machine in the same run, in
//! turns.
//!
//! `cargo bench --bench knn_search [-- KEYS QUERIES DIM K DEVICE]`, by default 50,000 keys,
//! 8,192 queries, 1280 features, k = 200, cpu. The full job is 1,281,167 keys and 50,000 queries;
//! blocks, and so the rate and the memory above the features, are the same, only fewer of them.

use radio_eval::runtime::allocator::keep_memory;
use radio_eval::runtime::device::parse_device;
use radio_eval::runtime::shim::{PackedLinear, Pointwise, worthwhile};
use radio_eval::tasks::extract::Rows;
use radio_eval::tasks::knn::search::search;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

fn main() -> anyhow::Result<()> {
    keep_memory();
    let _no_grad = tch::no_grad_guard();
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |i: usize, default: i64| args.get(i).map_or(Ok(default), |a| a.parse());
    let (keys, queries) = (number(0, 50_000)?, number(1, 8_192)?);
    let (dim, k) = (number(2, 1_280)?, number(3, 200)?);
    let device = parse_device(args.get(4).map_or("cpu", String::as_str))?;
    println!(
        "{keys} keys, {queries} queries, {dim} features, k = {k}, {device:?}, {} threads",
        tch::get_num_threads()
    );

    let key_values = random(keys, dim)?;
    let query_values = random(queries, dim)?;
    let (key_rows, query_rows) = (
        Rows::new(&key_values, dim as usize)?,
        Rows::new(&query_values, dim as usize)?,
    );
    let flop = 2.0 * keys as f64 * queries as f64 * dim as f64;

    let (mut search_rates, mut plain, mut packed) =
        (Rates::default(), Rates::default(), Rates::default());
    for round in 0..3 {
        let memory = PeakMemory::start();
        let started = Instant::now();
        let found = search(&query_rows, &key_rows, k as usize, device, &mut |_| {})?;
        let rate = flop / started.elapsed().as_secs_f64();
        search_rates.0.push(rate);
        println!(
            "round {round}: search {:.1} GFLOP/s; first neighbour {:?}; memory above the features {:.0} MiB",
            rate / 1e9,
            found.neighbours(0).first(),
            memory.stop() as f64 / (1 << 20) as f64
        );
        drop(found);
        product_rates(dim, device, &mut plain, &mut packed)?;
    }
    println!("search:                    {search_rates}");
    println!("libtorch's matrix product: {plain}");
    if !packed.0.is_empty() {
        println!("... by oneDNN, packed:     {packed}");
    }
    let product = plain.best().max(packed.best());
    println!(
        "search / best product:     {:.1} %",
        100.0 * search_rates.best() / product
    );
    Ok(())
}

/// FLOP/s of some runs.
#[derive(Default)]
struct Rates(Vec<f64>);

impl Rates {
    fn best(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (best, median) = (self.best() / 1e9, self.median() / 1e9);
        write!(f, "best {best:.1}, median {median:.1} GFLOP/s")
    }
}

fn random(rows: i64, dim: i64) -> anyhow::Result<Vec<f32>> {
    tch::manual_seed(rows);
    let values = Tensor::f_randn([rows * dim], (Kind::Float, Device::Cpu))?;
    Ok(Vec::try_from(values)?)
}

/// Three large products each of the two kinds that libtorch has: the plain one, and on the CPU
/// oneDNN's on a matrix laid out for it before.
fn product_rates(
    dim: i64,
    device: Device,
    plain: &mut Rates,
    packed: &mut Rates,
) -> anyhow::Result<()> {
    let (m, n) = (8_192, 8_192);
    let flop = 2.0 * (m * n * dim) as f64;
    let a = Tensor::f_randn([m, dim], (Kind::Float, device))?;
    let b = Tensor::f_randn([n, dim], (Kind::Float, device))?;
    // Into memory that is there already.
    let out = Tensor::f_zeros([m, n], (Kind::Float, device))?;
    for _ in 0..3 {
        let started = Instant::now();
        let _ = a.f_mm_out(&out, &b.f_tr()?)?;
        // Waits for the device.
        let _ = out.f_double_value(&[0, 0])?;
        plain.0.push(flop / started.elapsed().as_secs_f64());
    }
    drop(out);
    if worthwhile(&b) {
        let b = PackedLinear::new(&b, None)?;
        for _ in 0..3 {
            let started = Instant::now();
            let _ = b.forward(&a, Pointwise::None)?;
            packed.0.push(flop / started.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Largest anonymous memory while it runs, above that at the start.
struct PeakMemory {
    start: u64,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl PeakMemory {
    fn start() -> Self {
        // What earlier work left in the allocator would hide what this one takes.
        #[cfg(target_env = "gnu")]
        // SAFETY: only gives free memory back.
        unsafe {
            libc::malloc_trim(0);
        }
        let (peak, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = std::thread::spawn({
            let (peak, stop) = (peak.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    peak.fetch_max(anonymous_memory(), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        PeakMemory {
            start: anonymous_memory(),
            peak,
            stop,
            thread,
        }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed).saturating_sub(self.start)
    }
}

/// `RssAnon` of this process, in bytes.
fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
