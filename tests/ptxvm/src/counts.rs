//! What a launch did: instructions by class, floating-point operations, bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use crate::cache::Cache;
use crate::code::{CLASSES, Class};

/// Counts of one launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    /// Instructions of threads, in the order of [`CLASSES`].
    pub instructions: [u64; CLASSES.len()],
    pub flops: u64,
    /// Distinct bytes of device memory that were read before the launch wrote them itself, and that were written.
    pub bytes: [u64; 2],
    /// Sectors of 32 bytes that warps' loads, and stores, asked for.
    pub sectors: [u64; 2],
    /// Sectors that were read from memory, and written to it, behind the cache.
    pub moved: [u64; 2],
    /// Turns that the banks of shared memory took for warps' accesses, and how many they would have taken with no conflict.
    pub turns: [u64; 2],
    /// Threads' loads of device memory by their bytes.
    pub loads: BTreeMap<u32, u64>,
    /// Threads' stores of device memory by their bytes.
    pub stores: BTreeMap<u32, u64>,
    /// The ranges of addresses that were read, and written, where that is wanted.
    pub touched: [Vec<Range<u64>>; 2],
    pub(crate) cache: Cache,
}

impl Counts {
    pub fn of(&self, class: Class) -> u64 {
        self.instructions[class as usize]
    }

    pub fn total(&self) -> u64 {
        self.instructions.iter().sum()
    }

    /// The lanes of a warp load (or store: 1) so many bytes each.
    pub(crate) fn access(&mut self, which: usize, bytes: u32, addresses: &mut [u64]) {
        if addresses.is_empty() {
            return;
        }
        let widths = if which == 0 { &mut self.loads } else { &mut self.stores };
        *widths.entry(bytes).or_default() += addresses.len() as u64;
        addresses.sort_unstable();
        let mut next = 0;
        for address in addresses {
            let (first, last) = (*address / 32, (*address + u64::from(bytes) - 1) / 32);
            let first = first.max(next);
            if last >= first {
                self.sectors[which] += last - first + 1;
                (first..=last).for_each(|sector| self.cache.touch(sector, which == 1));
                next = last + 1;
            }
        }
    }

    /// The lanes of a warp access so many bytes each at these places of shared memory. It has 32 banks of words of 4 bytes, each of which serves one
    /// word in a turn, whoever asks for it. Of 8 bytes half of the lanes are served at once, of 16 bytes a quarter.
    pub(crate) fn shared(&mut self, bytes: u32, places: &[Option<u64>]) {
        let bytes = bytes.max(4);
        for part in places.chunks((128 / bytes as usize).clamp(1, 32)) {
            let starts = part.iter().flatten();
            let mut words: Vec<u64> =
                starts.flat_map(|at| (0..u64::from(bytes / 4)).map(move |word| at / 4 + word)).collect();
            words.sort_unstable();
            words.dedup();
            let mut banks = [0u64; 32];
            words.iter().for_each(|word| banks[(word % 32) as usize] += 1);
            self.turns[0] += banks.iter().max().copied().unwrap_or(0);
            self.turns[1] += (words.len() as u64).div_ceil(32);
        }
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let mut out = format!(
            "{{\"kernel\":\"{}\",\"grid\":{:?},\"block\":{:?},\"dynamic_shared\":{},\"instructions\":{{",
            self.kernel, self.grid, self.block, self.dynamic_shared
        );
        for (i, (class, name)) in CLASSES.iter().enumerate() {
            let _ = write!(out, "{}\"{name}\":{}", if i > 0 { "," } else { "" }, self.of(*class));
        }
        let widths = |map: &BTreeMap<u32, u64>| {
            map.iter().map(|(w, n)| format!("\"{w}\":{n}")).collect::<Vec<_>>().join(",")
        };
        let _ = write!(
            out,
            "}},\"flops\":{},\"bytes_read\":{},\"bytes_written\":{},\"sectors_read\":{},\"sectors_written\":{},\
             \"memory_read\":{},\"memory_written\":{},\"shared_turns\":{},\"shared_turns_least\":{},\"loads\":{{{}}},\"stores\":{{{}}}}}",
            self.flops,
            self.bytes[0],
            self.bytes[1],
            self.sectors[0],
            self.sectors[1],
            self.moved[0],
            self.moved[1],
            self.turns[0],
            self.turns[1],
            widths(&self.loads),
            widths(&self.stores)
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_that_are_asked_for_two_words_take_two_turns() {
        let turns = |bytes: u32, place: fn(u64) -> u64| {
            let mut counts = Counts::default();
            counts.shared(bytes, &std::array::from_fn::<_, 32, _>(|lane| Some(place(lane as u64))));
            counts.turns
        };
        assert_eq!(turns(4, |lane| 4 * lane), [1, 1]);
        assert_eq!(turns(4, |_| 64), [1, 1]);
        assert_eq!(turns(4, |lane| 8 * lane), [2, 1]);
        assert_eq!(turns(4, |lane| 128 * lane), [32, 1]);
        assert_eq!(turns(2, |lane| 2 * lane), [1, 1]);
        assert_eq!(turns(16, |lane| 16 * lane), [4, 4]);
        assert_eq!(turns(16, |lane| 64 * lane), [16, 4]);
        assert_eq!(turns(8, |lane| 8 * lane), [2, 2]);
    }

    #[test]
    fn sectors_are_counted_once_a_warp() {
        let mut counts = Counts::default();
        let mut addresses: Vec<u64> = (0..32).map(|l| 1024 + 4 * l).collect();
        counts.access(0, 4, &mut addresses);
        assert_eq!(counts.sectors[0], 4);
        let mut addresses: Vec<u64> = (0..32).map(|l| 1024 + 128 * l).collect();
        counts.access(0, 4, &mut addresses);
        assert_eq!(counts.sectors[0], 36);
        let mut addresses = vec![1024 + 16; 32];
        counts.access(1, 16, &mut addresses);
        assert_eq!((counts.sectors[1], counts.loads[&4], counts.stores[&16]), (1, 64, 32));
    }
}
