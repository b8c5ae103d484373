//! What the machine and the process environment say; nothing below this file reads them.

use std::fs;

/// Bytes that may still be allocated: free memory of the machine, or less where a cgroup sets a limit.
pub fn free_memory_bytes() -> u64 {
    let machine = meminfo("MemAvailable:").unwrap_or(u64::MAX);
    let cgroup = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ]
    .iter()
    .filter_map(|(limit, used)| Some(number(limit)?.saturating_sub(number(used)?)))
    .min();
    cgroup.map_or(machine, |cgroup| machine.min(cgroup))
}

/// Largest resident memory of this process so far.
pub fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmHWM:").unwrap_or(0)
}

/// Threads to compute with: OMP_NUM_THREADS, else physical cores within affinity and cgroup, divided among the local
/// processes of a distributed run.
pub fn compute_threads() -> usize {
    let set = std::env::var("OMP_NUM_THREADS").ok().and_then(|text| text.split(',').next()?.trim().parse::<usize>().ok());
    if let Some(threads) = set.filter(|&threads| threads > 0) {
        return threads;
    }
    // Counts affinity and cgroup quotas.
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    let local = std::env::var("LOCAL_WORLD_SIZE").ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
    (logical.min(physical_cores().unwrap_or(logical)) / local).max(1)
}

/// Distinct (package, core) pairs; `None` where the kernel does not say.
fn physical_cores() -> Option<usize> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut cores = std::collections::BTreeSet::new();
    let mut package = "";
    for line in text.lines() {
        match line.split_once(':') {
            Some((name, value)) if name.trim() == "physical id" => package = value.trim(),
            Some((name, value)) if name.trim() == "core id" => {
                cores.insert((package, value.trim()));
            }
            _ => {}
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

fn meminfo(name: &str) -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// `name   123 kB` in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
