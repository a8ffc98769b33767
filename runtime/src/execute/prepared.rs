//! What an entry prepares from variables alone, such as packed weights: made once, and again only when one of them has changed.

use crate::error::Result;
use crate::memory::{Block, Room};
use crate::program::{Entry, Storage};

use super::{sound, stack};

/// The prepared buffers of one entry. They have memory of their own, which no other entry's run touches.
#[derive(Debug)]
pub struct Prepared {
    /// How many segments fill the buffers.
    segments: usize,
    /// The variables that these read.
    sources: Vec<u32>,
    /// When they ran last, on the clock of [`Changes`].
    made: Option<u64>,
    block: Block,
    /// Start of each prepared buffer in the block.
    offsets: Vec<usize>,
}

/// When each variable has changed last.
#[derive(Debug)]
pub struct Changes {
    now: u64,
    last: Vec<u64>,
}

impl Prepared {
    pub fn new(entry: &Entry) -> Prepared {
        let segments = entry.prepares as usize;
        let launches = entry.segments.iter().take(segments).flat_map(|segment| segment.launches());
        let variable = |buffer: usize| match entry.buffers[sound::root(entry, buffer)?].storage {
            Storage::Variable(variable) => Some(variable),
            _ => None,
        };
        let mut sources: Vec<u32> =
            launches.flat_map(|l| &l.buffers).filter_map(|slice| variable(slice.buffer.0 as usize)).collect();
        sources.sort_unstable();
        sources.dedup();
        Prepared { segments, sources, made: None, block: Block::empty(), offsets: Vec::new() }
    }

    /// Makes room for buffers of these sizes, where there is too little. True when there was: pointers into the old room are void.
    pub fn make_room(&mut self, entry: &Entry, sizes: &[usize], room: &mut Room) -> Result<bool> {
        let prepared = |index: usize| matches!(entry.buffers[index].storage, Storage::Prepared);
        let sizes: Vec<usize> =
            sizes.iter().enumerate().map(|(index, size)| if prepared(index) { *size } else { 0 }).collect();
        let (offsets, total) = stack(&sizes);
        if total <= self.block.len() {
            return Ok(false);
        }
        self.block = room.block(total)?;
        self.offsets = offsets;
        self.made = None;
        Ok(true)
    }

    /// Gives the room back.
    pub fn release(&mut self) {
        self.block = Block::empty();
        self.made = None;
    }

    /// Bytes of the room.
    pub fn bytes(&self) -> usize {
        self.block.len()
    }

    /// Where a prepared buffer lies.
    pub fn pointer(&self, index: usize) -> *mut u8 {
        self.block.pointer().wrapping_add(self.offsets.get(index).copied().unwrap_or(0))
    }

    /// The segment that a run begins with: the first one, or, as long as what was prepared is still right, the one behind those that
    /// prepare.
    pub fn first(&mut self, changes: &Changes) -> usize {
        let right = |made: u64| self.sources.iter().all(|source| changes.last[*source as usize] <= made);
        if self.made.is_some_and(right) {
            return self.segments;
        }
        self.made = Some(changes.now);
        0
    }
}

impl Changes {
    pub fn new(variables: usize) -> Changes {
        Changes { now: 0, last: vec![0; variables] }
    }

    /// Notes that a variable changes.
    pub fn note(&mut self, variable: usize) {
        self.now += 1;
        self.last[variable] = self.now;
    }
}
