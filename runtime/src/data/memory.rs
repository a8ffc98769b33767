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

/// The units that a number of bytes may have, in the order of their sizes; with an `i` they are the same.
const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];

/// `512MB`, `8GB`, `1.5GiB`, or a number of bytes; the error says what is wrong with it.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let short = |letter: &str| if letter.is_empty() { "B".to_owned() } else { format!("{letter}B") };
    let upper = unit.to_ascii_uppercase();
    let known = short(upper.strip_suffix('B').map_or(&*upper, |letter| letter.trim_end_matches('I')));
    let power = UNITS.iter().position(|name| *name == known);
    match (number.parse::<f64>(), power) {
        (Ok(number), Some(power)) => Ok((number * (1u64 << (10 * power)) as f64) as u64),
        (Ok(_), None) => {
            let near = UNITS.iter().find(|name| upper.starts_with(&name[..1]));
            let way_out = match near {
                Some(near) => format!("did you mean `{number}{near}`?"),
                None => format!("they are {}", UNITS.join(", ")),
            };
            Err(format!("`{unit}` is no unit of bytes; {way_out}"))
        }
        _ => Err("expected a number of bytes such as 512MB or 8GB".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        for (text, number) in
            [("64", 64), (" 1 MiB ", 1 << 20), ("1.5gb", 3 << 29), ("2K", 2048), ("0", 0), ("1TB", 1 << 40)]
        {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for (text, says) in [
            ("1GG", "`GG` is no unit of bytes; did you mean `1GB`?"),
            ("5 apples", "`apples` is no unit of bytes; they are B, KB, MB, GB, TB"),
            ("much", "expected a number of bytes such as 512MB or 8GB"),
            ("", "expected a number of bytes such as 512MB or 8GB"),
            ("-1MB", "expected a number of bytes such as 512MB or 8GB"),
        ] {
            assert_eq!(bytes(text).unwrap_err(), says);
        }
    }
}
