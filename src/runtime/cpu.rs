//! What this machine's CPU can do in one instruction.

use super::Precision;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use tch::Device;

/// Instruction sets that decide how fast networks run, by the kernel's names: x86, then Arm.
const KNOWN: [&str; 17] = [
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
    "sve",
];

/// Those of `KNOWN` that this CPU has; empty where the system does not tell.
pub fn capabilities() -> &'static [&'static str] {
    static FOUND: OnceLock<Vec<&'static str>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        among(&text)
    })
}

/// The known sets in the text of `/proc/cpuinfo`.
fn among(cpuinfo: &str) -> Vec<&'static str> {
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))
        .and_then(|line| line.split_once(':'))
        .map_or("", |(_, flags)| flags);
    let has = |name: &&str| flags.split_whitespace().any(|flag| flag == *name);
    KNOWN.into_iter().filter(has).collect()
}

/// Whether there are matrix instructions for `precision`. Without them libtorch converts every
/// value back and forth.
fn is_native(precision: Precision, capabilities: &[&str]) -> bool {
    let any = |names: &[&str]| names.iter().any(|name| capabilities.contains(name));
    match precision {
        Precision::Fp32 => true,
        Precision::Bf16 => any(&["avx512_bf16", "amx_bf16", "bf16"]),
        Precision::Fp16 => any(&["avx512_fp16", "amx_fp16", "asimdhp"]),
    }
}

/// A sentence where a run on this CPU would be many times slower than in fp32.
pub fn slowness(device: Device, precision: Precision) -> Option<String> {
    let capabilities = capabilities();
    if device != Device::Cpu || capabilities.is_empty() || is_native(precision, capabilities) {
        return None;
    }
    let name = precision.name();
    Some(format!(
        "this CPU has no {name} instructions ({}): a run in {name} is many times slower than one in fp32; use --precision fp32",
        capabilities.join(", ")
    ))
}

/// Says so on stderr, once for each precision. `precision` is what the network runs in, which a
/// checkpoint may have chosen.
pub fn warn_where_slow(device: Device, precision: Precision) {
    static TOLD: AtomicU8 = AtomicU8::new(0);
    if let Some(sentence) = slowness(device, precision) {
        let bit = 1u8 << precision as u8;
        if TOLD.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!("{sentence}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_by_the_kernels_names() {
        let zen2 = "processor\t: 0\nflags\t\t: fpu avx f16c avx2 fma\nprocessor\t: 1\n";
        let sapphire = "flags\t\t: avx2 avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile\n";
        let graviton3 = "Features\t: fp asimd asimdhp sve bf16 i8mm\n";
        assert_eq!(among(zen2), ["avx", "f16c", "fma", "avx2"]);
        assert!(among("").is_empty());
        let native = |text: &str| {
            let found = among(text);
            [Precision::Fp32, Precision::Bf16, Precision::Fp16].map(|p| is_native(p, &found))
        };
        assert_eq!(native(zen2), [true, false, false]);
        assert_eq!(native(sapphire), [true, true, true]);
        assert_eq!(native(graviton3), [true, true, true]);
    }
}
