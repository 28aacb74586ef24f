//! What `radio-eval latency` measures when no model is named: the comparison of AM-RADIO
//! (arXiv 2312.06709), as much of it as the machine takes.

use super::latency_sweep::LatencyConfig;
use crate::metrics::latency::LATENCY_MS_P50;
use crate::models::zoo;
use crate::report::Record;
use crate::runtime::{Precision, cpu, memory};
use tch::Device;

/// The fast student; first, as everything is compared with it.
const STUDENT: &str = "e-radio_v2";
/// RADIO of the paper's Table 1, and its teachers (marked by stars there).
const OTHERS: [&str; 5] = [
    "openai-clip-l14-336",
    "radio_v2.1",
    "dfn-clip-h14-378",
    "sam-h",
    "dinov2-g-reg",
];
const TEACHERS: [&str; 4] = [
    "openai-clip-l14-336",
    "dfn-clip-h14-378",
    "sam-h",
    "dinov2-g-reg",
];
/// Pixels per side for all: the size of the paper's comparison of backbones (Table 7).
const SIDE: i64 = 224;
/// How long all of it may take, in seconds.
const BUDGET_S: f64 = 120.0;
/// Timed passes of each, and passes before them until timings are steady.
const ROUNDS: usize = 3;
const WARM_UP: f64 = 4.0;
/// Weights drawn per second, and floating-point operations per second and core: what a slow server
/// core does, so that the estimate errs towards leaving out.
const DRAWN_PER_S: f64 = 5e7;
const FLOPS_PER_CORE: f64 = 6e10;
/// Operations per second of a GPU that is not fast.
const FLOPS_OF_GPU: f64 = 2e13;
/// Share of the free memory that is taken: other programs want some.
const OURS: f64 = 0.8;
/// Memory besides the weights: features and libtorch's workspace.
const WORKSPACE_BYTES: f64 = 3e8;

/// The machine, as far as the choice depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub free_bytes: f64,
    pub flops: f64,
    pub bytes_per_weight: f64,
}

impl Machine {
    /// This one, for `device` and `precision`.
    pub fn this(device: Device, precision: Precision) -> Self {
        let (free_bytes, flops) = match device {
            // libtorch does not tell a card's free memory; all of it takes 8 GB in 16 bits.
            Device::Cuda(_) => (f64::INFINITY, FLOPS_OF_GPU),
            _ => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let free = memory::free_bytes();
                (
                    free.map_or(f64::INFINITY, |free| OURS * free as f64),
                    cores as f64 * FLOPS_PER_CORE,
                )
            }
        };
        Machine {
            free_bytes,
            flops,
            bytes_per_weight: if precision == Precision::Fp32 {
                4.0
            } else {
                2.0
            },
        }
    }
}

/// The models that are measured, and what was left out and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub models: Vec<String>,
    pub left_out: Vec<String>,
}

/// As many of the comparison's models, cheapest first, as memory and time allow.
pub fn choose(machine: Machine) -> Chosen {
    let mut chosen = Chosen {
        models: Vec::new(),
        left_out: Vec::new(),
    };
    let (mut bytes, mut seconds) = (0.0, 0.0);
    for name in std::iter::once(STUDENT).chain(OTHERS) {
        let Some((parameters, patch)) = zoo::find(name)
            .ok()
            .and_then(|entry| Some((entry.parameters? as f64, entry.patch)))
        else {
            continue;
        };
        let tokens = (SIDE / patch).pow(2) as f64;
        let own_bytes = parameters * machine.bytes_per_weight + WORKSPACE_BYTES;
        let passes = WARM_UP + ROUNDS as f64;
        let own_seconds =
            parameters / DRAWN_PER_S + passes * 2.0 * parameters * tokens / machine.flops;
        let reason = if bytes + own_bytes > machine.free_bytes {
            let gib = |bytes: f64| bytes / f64::from(1 << 30);
            Some(format!(
                "{:.1} GiB more than the {:.1} GiB of free memory allow",
                gib(bytes + own_bytes - machine.free_bytes),
                gib(machine.free_bytes)
            ))
        } else if seconds + own_seconds > BUDGET_S {
            Some(format!(
                "about {own_seconds:.0} s more than two minutes allow"
            ))
        } else {
            None
        };
        match reason {
            None => {
                (bytes, seconds) = (bytes + own_bytes, seconds + own_seconds);
                chosen.models.push(name.to_string());
            }
            Some(reason) => chosen.left_out.push(format!("{name} ({reason})")),
        }
    }
    chosen
}

impl Chosen {
    /// The sweep: what the user's flags leave open, with the fastest design choices.
    pub fn sweep(&self, given: LatencyConfig, device: Device) -> LatencyConfig {
        let teacher = TEACHERS.iter().rev();
        let teacher = teacher.map(|name| name.to_string());
        given.or(LatencyConfig {
            models: self.models.clone(),
            resolution: vec![SIDE.to_string()],
            dtype: vec![precision(device)],
            window: vec!["optimal".into()],
            baseline: teacher.into_iter().find(|name| self.models.contains(name)),
            seconds: Some(1.0),
            rounds: Some(ROUNDS),
            ..LatencyConfig::default()
        })
    }

    /// What was left out, and the flag that adds it.
    pub fn note(&self) -> Option<String> {
        if self.left_out.is_empty() {
            return None;
        }
        let all: Vec<&str> = std::iter::once(STUDENT).chain(OTHERS).collect();
        Some(format!(
            "left out: {}; --model {} --resolution {SIDE} --window optimal measures all",
            self.left_out.join(", "),
            all.join(",")
        ))
    }
}

/// The fastest precision that the device computes at full speed.
pub fn precision(device: Device) -> Precision {
    match device {
        Device::Cuda(_) => Precision::Fp16,
        _ if cpu::slowness(device, Precision::Bf16).is_none() => Precision::Bf16,
        _ => Precision::Fp32,
    }
}

/// How many times as fast the student is as each teacher, and what the paper claims.
pub fn summary(records: &[Record]) -> Option<String> {
    let ms = |name: &str| {
        let record = records.iter().find(|r| r.model.name == name)?;
        Some(record.metrics.get(LATENCY_MS_P50.name)?.value)
    };
    let own = ms(STUDENT)?;
    let ratios: Vec<String> = TEACHERS
        .iter()
        .filter_map(|teacher| Some(format!("{:.2}x {teacher}", ms(teacher)? / own)))
        .collect();
    (!ratios.is_empty()).then(|| {
        format!(
            "{STUDENT} here, as fast as: {}\npublished: at least 7x as fast as its teachers (arXiv 2312.06709v1), at least 6x at matched resolution (v5), on an A100 with TensorRT",
            ratios.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Machine = Machine {
        free_bytes: 6e10,
        flops: 1e12,
        bytes_per_weight: 4.0,
    };

    #[test]
    fn a_large_machine_measures_all_and_a_small_one_says_what_it_leaves_out() {
        let all = choose(LARGE);
        assert_eq!(all.models.len(), 1 + OTHERS.len(), "{all:?}");
        assert_eq!((all.left_out.len(), all.note()), (0, None));
        let small = choose(Machine {
            free_bytes: 5e9,
            ..LARGE
        });
        assert_eq!(small.models[0], STUDENT);
        assert!(small.models.len() < 1 + OTHERS.len());
        let note = small.note().unwrap();
        assert!(
            note.contains("free memory") && note.contains("--model e-radio_v2,"),
            "{note}"
        );
        let slow = choose(Machine {
            flops: 2e10,
            ..LARGE
        });
        assert!(slow.note().unwrap().contains("two minutes"), "{slow:?}");
    }

    #[test]
    fn flags_stay_in_force() {
        let given = LatencyConfig {
            resolution: vec!["432".into()],
            ..LatencyConfig::default()
        };
        let sweep = choose(LARGE).sweep(given, Device::Cpu);
        assert_eq!(sweep.resolution, ["432"]);
        assert_eq!(sweep.baseline.as_deref(), Some("dinov2-g-reg"));
    }
}
