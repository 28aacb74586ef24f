//! kNN search against the bare matrix product on the same machine in the same run.
//!
//! `cargo bench --bench knn_search [-- KEYS QUERIES DIM K DEVICE]`, by default 50,000 keys,
//! 8,192 queries, 1280 features, k = 200, cpu. The full job is 1,281,167 keys and 50,000 queries;
//! blocks, and so the rate and the memory above the features, are the same, only fewer of them.

use radio_eval::runtime::device::parse_device;
use radio_eval::tasks::extract::Rows;
use radio_eval::tasks::knn::search::search;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

fn main() -> anyhow::Result<()> {
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

    let mut best = f64::INFINITY;
    let mut product = 0.0f64;
    for round in 0..3 {
        product = product.max(product_rate(dim, device)?);
        let memory = PeakMemory::start();
        let started = Instant::now();
        let found = search(query_rows, key_rows, k as usize, device, &mut |_| {})?;
        let seconds = started.elapsed().as_secs_f64();
        best = best.min(seconds);
        println!(
            "round {round}: search {seconds:.2} s, {:.1} GFLOP/s; first neighbour {:?}; memory above the features {:.0} MiB",
            flop / seconds / 1e9,
            found.of(0).first(),
            memory.stop() as f64 / (1 << 20) as f64,
        );
    }
    println!("matrix product alone: {:.1} GFLOP/s", product / 1e9);
    println!(
        "search / product:     {:.1} %",
        100.0 * flop / best / product
    );
    Ok(())
}

fn random(rows: i64, dim: i64) -> anyhow::Result<Vec<f32>> {
    tch::manual_seed(rows);
    let values = Tensor::f_randn([rows * dim], (Kind::Float, Device::Cpu))?;
    Ok(Vec::try_from(values)?)
}

/// FLOP/s of the best of three large products into memory that is there already.
fn product_rate(dim: i64, device: Device) -> anyhow::Result<f64> {
    let (m, n) = (8_192, 8_192);
    let a = Tensor::f_randn([m, dim], (Kind::Float, device))?;
    let b = Tensor::f_randn([n, dim], (Kind::Float, device))?;
    let out = Tensor::f_zeros([m, n], (Kind::Float, device))?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let started = Instant::now();
        let _ = a.f_mm_out(&out, &b.f_tr()?)?;
        // Waits for the device.
        let _ = out.f_double_value(&[0, 0])?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * (m * n * dim) as f64 / best)
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
