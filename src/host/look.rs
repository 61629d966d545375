//! What the machine has left, as the kernel says it now.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use rustix::fs::statvfs;

use crate::shortage::Shortage;

/// With less than this on the disk a write may have failed a moment ago.
const SPACE_LEAST: u64 = 1 << 20;
/// With fewer descriptors left than this some that were wanted together were not there.
const DESCRIPTORS_LEAST: u64 = 8;
/// With less memory than this the kernel is about to end somebody.
const MEMORY_LEAST: u64 = 16 << 20;

/// What is left of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) bytes: u64,
    /// Names of files that can yet be made; absent where the disk does not count them.
    pub(super) files: Option<u64>,
}

/// What is left of the disk under this path, or under the nearest folder above it that is there.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let absolute = std::path::absolute(path)?;
    let there = absolute.ancestors().find(|path| path.exists());
    let disk = statvfs(there.unwrap_or(Path::new("/")))?;
    Ok(Space {
        bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        files: (disk.f_files > 0).then_some(disk.f_favail),
    })
}

/// How many files a process has open, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Open ones.
    pub open: u64,
    /// At most; what has no limit has the greatest number.
    pub limit: u64,
}

impl Descriptors {
    /// Those of a process; `self` is this one.
    ///
    /// # Errors
    /// When the kernel does not say: there is no such process, or no descriptor left to read with.
    pub fn of(process: &str) -> io::Result<Descriptors> {
        let open = fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64;
        let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
        let limit = soft_limit(&limits).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Descriptors { open, limit })
    }

    /// Whether there are none left, but for a few.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        self.open + DESCRIPTORS_LEAST > self.limit
    }
}

/// The soft limit of open files, from `/proc/PID/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Whether a process, or all of a group's leader, was stopped by a signal.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it is in parentheses and may hold anything.
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| state.starts_with(['T', 't']))
}

/// Bytes of memory that may yet be had here: of the machine, and of every control group that this process is in.
pub(super) fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let machine = of_meminfo(&machine);
    machine.into_iter().chain(memory_of_groups()).min()
}

fn of_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The second version of control groups; where there is only the first one, the machine's memory has to do.
fn memory_of_groups() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(own);
    let groups = own.ancestors().take_while(|group| group.starts_with(root));
    groups.filter_map(memory_of_group).min()
}

fn memory_of_group(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    // A group without a limit says "max".
    let most: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    // What was only read from files is given back when somebody needs it.
    let cache = read("memory.stat")?;
    let cache = cache
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let cache: u64 = cache.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    Some(most.saturating_sub(used.saturating_sub(cache)))
}

/// How many processes the kernel has ended for want of memory since it started.
pub(super) fn oom_kills() -> Option<u64> {
    let counters = fs::read_to_string("/proc/vmstat").ok()?;
    let count = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    count.parse().ok()
}

/// Everything that there is none of now, with what was seen of it.
pub(super) fn shortages_now(dir: &Path) -> Vec<(Shortage, String)> {
    let mut short = Vec::new();
    let mut refused = |error: &io::Error, what: &str| {
        let found = Shortage::of(error);
        short.extend(found.map(|found| (found, format!("{what}: {error}"))));
    };
    let space = space(dir).inspect_err(|error| refused(error, "looking at the disk"));
    let open = Descriptors::of("self").inspect_err(|error| refused(error, "looking at itself"));
    // Closed at once: nobody connects to it, so nothing of it is left.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let _ = port.inspect_err(|error| refused(error, "listening"));
    if let Ok(space) = space {
        let Space { bytes, files } = space;
        if bytes < SPACE_LEAST {
            let seen = format!("{} KiB are free under {}", bytes >> 10, dir.display());
            short.push((Shortage::Space, seen));
        }
        if files == Some(0) {
            let seen = format!("no file can be made under {}", dir.display());
            short.push((Shortage::Space, seen));
        }
    }
    if let Ok(open) = open.as_ref().map(|open| *open)
        && open.are_gone()
    {
        let Descriptors { open, limit } = open;
        short.push((Shortage::OpenFiles, format!("{open} of {limit} are open")));
    }
    if let Some(bytes) = memory().filter(|&bytes| bytes < MEMORY_LEAST) {
        short.push((Shortage::Memory, format!("{} MiB are left", bytes >> 20)));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(space(dir.path()).expect("a disk").bytes > 0);
        // A folder that is still to be made lies on the disk of the one above it.
        let below = dir.path().join("not/there/yet");
        space(&below).expect("the same disk");
        assert!(!below.exists());
        let own = Descriptors::of("self").expect("this process");
        assert!(
            own.open >= 3 && own.limit > own.open && !own.are_gone(),
            "{own:?}"
        );
        assert!(Descriptors::of("no-such-process").is_err());
        assert!(memory().expect("meminfo") > 0);
        assert!(!is_stopped(std::process::id()));
        let short = shortages_now(dir.path());
        assert!(
            short.is_empty(),
            "the tests run on a fit machine: {short:?}"
        );
    }

    #[test]
    fn the_kernels_words_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             96324                96324                processes\n\
                      Max open files            200                  4096                 files\n";
        assert_eq!(soft_limit(limits), Some(200));
        assert_eq!(
            soft_limit("Max open files   unlimited  unlimited  files"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit("Max cpu time   unlimited"), None);
        let meminfo = "MemTotal:  1000 kB\nMemAvailable:     24 kB\n";
        assert_eq!(of_meminfo(meminfo), Some(24 << 10));
        let few = Descriptors {
            open: 195,
            limit: 200,
        };
        assert!(few.are_gone());
    }
}
