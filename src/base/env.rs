//! Memory, CPUs, host and process: everything that is read from the machine and from environment variables.

use std::fs;
use std::path::{Path, PathBuf};

/// Available memory in bytes: that of the machine, or less if a cgroup (version 1 or 2, this process's or one of its
/// ancestors) sets a limit. The page cache counts as available.
pub fn free_memory_bytes() -> u64 {
    let machine = meminfo("MemAvailable:").unwrap_or(u64::MAX);
    cgroup_folders().iter().filter_map(|folder| cgroup_free(folder)).fold(machine, u64::min)
}

/// Folders of this process's memory cgroup and its ancestors.
fn cgroup_folders() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut folders = vec![];
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            v1 if v1.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        // In a container the path may be that of the host and not exist; the root is then the container's cgroup.
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            folders.push(Path::new(root).join(above));
        }
    }
    folders
}

fn cgroup_free(folder: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    // File pages that the kernel reclaims under memory pressure.
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cache = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let cache = cache("total_inactive_file ").or_else(|| cache("inactive_file ")).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

/// Peak resident memory of this process in bytes.
pub fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmHWM:").unwrap_or(0)
}

/// Resident memory of this process in bytes.
pub fn resident_memory_bytes() -> u64 {
    // Pages have 4 KiB on x86-64, the only supported architecture.
    let pages =
        fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Replaces a leading `~` by the home folder.
pub fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// Host name of the machine.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

/// Identifies a process among those on all machines that share a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Hash of the host name and the PID namespace in which `pid` is valid.
    pub host: u32,
    /// Process id on that host.
    pub pid: u32,
    /// Start time in clock ticks since boot; it distinguishes processes that reuse an id.
    pub start_ticks: u64,
}

/// This process.
pub fn this_process() -> Process {
    let pid = std::process::id();
    let mut name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name += &fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    // FNV-1a, because the hash must be the same in every version of this program.
    let host = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Process { host, pid, start_ticks: start_ticks(pid).unwrap_or(0) }
}

/// `HOST-PID-START`, the host as eight hexadecimal digits.
impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{}-{}", self.host, self.pid, self.start_ticks)
    }
}

impl Process {
    /// Parses the text that `Display` writes.
    pub fn parse(text: &str) -> Option<Process> {
        let mut parts = text.splitn(3, '-');
        let host = parts.next().filter(|host| host.len() == 8)?;
        Some(Process {
            host: u32::from_str_radix(host, 16).ok()?,
            pid: parts.next()?.parse().ok()?,
            start_ticks: parts.next()?.parse().ok()?,
        })
    }
    /// Whether the process is running; `None` if it belongs to another host.
    pub fn is_alive(self) -> Option<bool> {
        (self.host == this_process().host).then(|| start_ticks(self.pid) == Some(self.start_ticks))
    }
}

/// Field 22 of /proc/PID/stat; `None` for a process that has ended, even if its parent has not read its exit status yet.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    fields.nth(18)?.parse().ok()
}

/// Whether this process ignores a signal, as `nohup` arranges for SIGHUP.
pub fn ignores_signal(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

/// Rank of this process and number of processes of a distributed run: RANK and WORLD_SIZE, if both are set and there are
/// several processes.
pub fn rank() -> Option<(usize, usize)> {
    let number = |name: &str| std::env::var(name).ok()?.trim().parse::<usize>().ok();
    let (rank, size) = (number("RANK")?, number("WORLD_SIZE")?);
    (size > 1).then_some((rank, size))
}

/// Number of compute threads: OMP_NUM_THREADS, else the physical cores within CPU affinity and cgroup quota, divided by
/// the number of local processes of a distributed run (LOCAL_WORLD_SIZE).
pub fn compute_threads() -> usize {
    let set =
        std::env::var("OMP_NUM_THREADS").ok().and_then(|text| text.split(',').next()?.trim().parse::<usize>().ok());
    if let Some(threads) = set.filter(|&threads| threads > 0) {
        return threads;
    }
    // Respects CPU affinity and cgroup quotas.
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    let local = std::env::var("LOCAL_WORLD_SIZE").ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
    (logical.min(physical_cores().unwrap_or(logical)) / local).max(1)
}

/// Number of distinct (package, core) pairs; `None` if the kernel does not report them.
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

/// Value in bytes of a line `name   123 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_of_another_start_does_not() {
        let own = this_process();
        assert_eq!(own.is_alive(), Some(true));
        assert_eq!(Process { start_ticks: own.start_ticks + 1, ..own }.is_alive(), Some(false));
        assert_eq!(Process { host: own.host ^ 1, ..own }.is_alive(), None);
        assert_eq!(Process::parse(&own.to_string()), Some(own));
    }

    #[test]
    fn a_process_that_has_ended_is_dead_before_its_parent_asks() {
        let mut child = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
        // The pipe closes when the process ends.
        std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut vec![]).unwrap();
        let ended = || start_ticks(child.id()).is_none();
        let before = std::time::Instant::now();
        while !ended() && before.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        assert!(ended());
        child.wait().unwrap();
    }

    #[test]
    fn a_cgroup_limit_counts_without_what_the_page_cache_holds() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "max\n");
        assert_eq!(cgroup_free(folder.path()), None);
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 400\ninactive_file 250\n");
        assert_eq!(cgroup_free(folder.path()), Some(550));
        let version_1 = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("memory.limit_in_bytes", "1000"),
            ("memory.usage_in_bytes", "900"),
            ("memory.stat", "total_inactive_file 100"),
        ] {
            fs::write(version_1.path().join(name), text).unwrap();
        }
        assert_eq!(cgroup_free(version_1.path()), Some(200));
        assert!(free_memory_bytes() > 0 && resident_memory_bytes() > 0);
    }
}
