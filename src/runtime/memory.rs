//! How much memory this process may still take.

use std::fs::read_to_string;

/// Bytes that can be had without swapping: what the kernel says is available, or what is left of
/// the control group's limit (version 2), whichever is less; `None` where neither is told.
pub fn free_bytes() -> Option<u64> {
    let told = read_to_string("/proc/meminfo").ok();
    let available = told.and_then(|text| kilobytes(&text, "MemAvailable:"));
    [available, group_bytes()].into_iter().flatten().min()
}

/// `MemAvailable:   19873456 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// What a control group leaves; cached files that nothing reads go before a limit is hit.
fn group_bytes() -> Option<u64> {
    let read = |name: &str| read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let cached = read("memory.stat").and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file "))?;
        line.trim().parse::<u64>().ok()
    });
    let used = number("memory.current")?.saturating_sub(cached.unwrap_or(0));
    Some(number("memory.max")?.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal: 9 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kilobytes(text, "Swap:"), None);
        assert!(free_bytes().is_some_and(|bytes| bytes > 0));
    }
}
