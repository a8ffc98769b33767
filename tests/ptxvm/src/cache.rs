//! What of a kernel's accesses reaches memory, through a cache that is a block's share of a GPU's.
//!
//! Blocks run one after another here, and hundreds at once on a GPU, which share its second-level cache: 40 MB among 108 multiprocessors of up to
//! 2,048 threads each (A100) are 48 KB for a block of 256 threads, and twice as much for one of 512. So the model is a cache of that size that the
//! blocks use in turn: sectors of 32 bytes, of which the one that nobody has touched for longest makes room. A sector that is read and not there is
//! read from memory; one that was written goes to memory when it leaves, or at the end, once, however many pieces it was written in.

use std::collections::HashMap;

/// Sectors of the cache for each thread of a block, and threads of the smallest blocks that leave no room for others.
const SECTORS: usize = 6;
const LEAST: usize = 64;
/// No place in the list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    sector: u64,
    written: bool,
    /// Those that were touched just before and just after this one.
    older: u32,
    newer: u32,
}

/// A cache, and what went through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    room: usize,
    places: HashMap<u64, u32>,
    lines: Vec<Line>,
    oldest: u32,
    newest: u32,
    /// Sectors that were read from memory, and written to it so far.
    moved: [u64; 2],
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::of(LEAST as u32)
    }
}

impl Cache {
    /// The share of a block of so many threads. A multiprocessor has 32 blocks at most.
    pub fn of(threads: u32) -> Cache {
        let room = SECTORS * LEAST.max(threads as usize);
        Cache { room, places: HashMap::new(), lines: Vec::new(), oldest: NONE, newest: NONE, moved: [0; 2] }
    }

    /// A sector is read, or written.
    pub fn touch(&mut self, sector: u64, write: bool) {
        // Most accesses go on where the one before was.
        if self.newest != NONE && self.lines[self.newest as usize].sector == sector {
            self.lines[self.newest as usize].written |= write;
            return;
        }
        if let Some(&at) = self.places.get(&sector) {
            self.lines[at as usize].written |= write;
            self.unlink(at);
            self.append(at);
            return;
        }
        self.moved[0] += u64::from(!write);
        let line = Line { sector, written: write, older: NONE, newer: NONE };
        let at = if self.lines.len() < self.room {
            self.lines.push(line);
            self.lines.len() as u32 - 1
        } else {
            let at = self.oldest;
            let gone = self.lines[at as usize];
            self.moved[1] += u64::from(gone.written);
            self.places.remove(&gone.sector);
            self.unlink(at);
            self.lines[at as usize] = line;
            at
        };
        self.places.insert(sector, at);
        self.append(at);
    }

    /// Sectors that were read from memory, and written to it when the cache is empty again.
    pub fn moved(&self) -> [u64; 2] {
        let waiting = self.lines.iter().filter(|line| line.written).count() as u64;
        [self.moved[0], self.moved[1] + waiting]
    }

    fn unlink(&mut self, at: u32) {
        let Line { older, newer, .. } = self.lines[at as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.lines[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.lines[newer as usize].older = older,
        }
    }

    fn append(&mut self, at: u32) {
        let newest = self.newest;
        (self.lines[at as usize].older, self.lines[at as usize].newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = at,
            newest => self.lines[newest as usize].newer = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sectors of a block's 48 KB.
    const ROOM: u64 = 1536;

    #[test]
    fn what_is_there_is_not_read_again() {
        let mut cache = Cache::of(256);
        for _ in 0..3 {
            (0..ROOM).for_each(|sector| cache.touch(sector, false));
        }
        assert_eq!(cache.moved(), [ROOM, 0]);
        // One more than there is room for, in turn: each comes when it has just left.
        let mut cache = Cache::of(256);
        for _ in 0..3 {
            (0..=ROOM).for_each(|sector| cache.touch(sector, false));
        }
        assert_eq!(cache.moved(), [3 * (ROOM + 1), 0]);
    }

    #[test]
    fn larger_blocks_have_more_of_it() {
        for (threads, room) in [(1, 384), (64, 384), (256, 1536), (1024, 6144)] {
            let mut cache = Cache::of(threads);
            for _ in 0..2 {
                (0..room).for_each(|sector| cache.touch(sector, false));
            }
            assert_eq!(cache.moved(), [room, 0], "{threads}");
            (0..=room).for_each(|sector| cache.touch(sector, false));
            (0..=room).for_each(|sector| cache.touch(sector, false));
            assert_ne!(cache.moved(), [room + 1, 0], "{threads}");
        }
    }

    #[test]
    fn what_is_written_in_pieces_goes_to_memory_once() {
        let mut cache = Cache::of(256);
        for sector in [7, 8, 7, 8] {
            cache.touch(sector, true);
        }
        assert_eq!(cache.moved(), [0, 2]);
        // Written, read while it is there, and out of the way of others.
        cache.touch(7, false);
        (100..100 + ROOM).for_each(|sector| cache.touch(sector, false));
        assert_eq!(cache.moved(), [ROOM, 2]);
        cache.touch(8, true);
        assert_eq!(cache.moved(), [ROOM, 3]);
    }
}
