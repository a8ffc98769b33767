//! How much of a data set is held in memory; what is more goes into files.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the system doesn't say how much memory it has.
const UNKNOWN: u64 = 4 << 30;
/// The share of the machine's memory that data may take unless the user says otherwise.
const SHARE: u64 = 4;

/// The memory that is left to the rows of one data set.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    left: AtomicU64,
}

impl Memory {
    /// So many bytes; a quarter of the machine's where none are given.
    pub fn new(bytes: Option<u64>) -> Memory {
        let limit = bytes.unwrap_or_else(|| of_machine().unwrap_or(UNKNOWN) / SHARE);
        Memory { limit, left: AtomicU64::new(limit) }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes some of it, if there is as much left.
    pub fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    pub fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes of memory of this machine, or of the group of processes that this one is in.
fn of_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    Some((kibibytes * 1024).min(group))
}
