//! Memory: blocks that buffers live in, and the plan that gives each buffer its place in an arena.
//!
//! A buffer is needed from its first to its last segment. Two buffers may share bytes when their lifetimes are disjoint, so
//! the plan is a packing of rectangles (time × bytes). It is found greedily: largest first, each into the smallest gap that
//! the buffers alive beside it leave. The result depends on the requests alone, never on addresses or threads.

use std::fs::File;
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use crate::cuda::DeviceBlock;
use crate::error::{Error, Result};
use crate::home::Home;

/// Every buffer starts at a multiple of this: a cache line, and the widest vector.
pub const ALIGNMENT: usize = 64;

/// A block of at least so many bytes asks for large pages; smaller ones would be rounded up too far.
#[cfg(target_os = "linux")]
const LARGE: usize = 8 << 20;

/// Zeroed memory, page-aligned, given back when dropped. Pages cost nothing until they are touched.
#[derive(Debug)]
pub struct Block {
    memory: Memory,
    bytes: usize,
}

/// Whose memory a block is.
#[derive(Debug)]
enum Memory {
    Nobodys,
    Mapped(MmapRaw),
    Borrowed(*mut u8),
    /// That of a block which nobody writes any more.
    Shared(Arc<Block>),
    Device(DeviceBlock),
}

// SAFETY: a block is the only owner of what it points to, or shares it with others that only read it; it is written through `&mut` alone.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub fn new(bytes: usize) -> Result<Block> {
        if bytes == 0 {
            return Ok(Block::empty());
        }
        // Allocators clear aligned memory by writing it; fresh anonymous pages are zero without being touched.
        let map = MmapMut::map_anon(bytes).map_err(|source| Error::Memory { bytes, source })?;
        // Large pages need fewer look-ups of addresses, and stream faster. Where the system has none, small ones do.
        #[cfg(target_os = "linux")]
        if bytes >= LARGE {
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Block { memory: Memory::Mapped(map.into()), bytes })
    }

    /// A part of a file, which is only read: nobody may ask for its [`Block::bytes_mut`].
    pub fn of_file(file: &File, start: u64, bytes: usize) -> Result<Block> {
        if bytes == 0 {
            return Ok(Block::empty());
        }
        // SAFETY: the file is that of the running executable, which the system lets nobody write to.
        let map = unsafe { MmapOptions::new().offset(start).len(bytes).map_copy_read_only(file) };
        let map = map.map_err(|source| Error::Memory { bytes, source })?;
        Ok(Block { memory: Memory::Mapped(map.into()), bytes })
    }

    pub const fn empty() -> Block {
        Block { memory: Memory::Nobodys, bytes: 0 }
    }

    /// Bytes of the process's own image, which are only read: nobody may ask for their [`Block::bytes_mut`].
    pub fn linked(bytes: &'static [u8]) -> Result<Block> {
        if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(Error::Unsound("its weights are not aligned".into()));
        }
        Ok(Block { memory: Memory::Borrowed(bytes.as_ptr().cast_mut()), bytes: bytes.len() })
    }

    /// The bytes of another block, which are only read: nobody may ask for their [`Block::bytes_mut`].
    pub fn shared(block: &Arc<Block>) -> Block {
        Block { bytes: block.bytes, memory: Memory::Shared(Arc::clone(block)) }
    }

    /// Memory of a GPU: its address is known here, and nothing else.
    pub fn of_device(block: DeviceBlock, bytes: usize) -> Block {
        Block { memory: Memory::Device(block), bytes }
    }

    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The start of the block; aligned and dangling when it is empty.
    pub fn pointer(&self) -> *mut u8 {
        match &self.memory {
            Memory::Nobodys => std::ptr::without_provenance_mut(ALIGNMENT),
            Memory::Mapped(map) => map.as_mut_ptr(),
            Memory::Borrowed(start) => *start,
            Memory::Shared(block) => block.pointer(),
            Memory::Device(block) => block.pointer(),
        }
    }

    /// What the block holds; nothing where that is a GPU's.
    pub fn bytes(&self) -> &[u8] {
        if let Memory::Device(_) = self.memory {
            return &[];
        }
        // SAFETY: the mapping holds `bytes` initialised bytes as long as `self`; writers hold `&mut` of the block's owner.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.bytes) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if let Memory::Device(_) = self.memory {
            return &mut [];
        }
        assert!(!matches!(self.memory, Memory::Shared(_)), "shared memory is only read");
        // SAFETY: as in `bytes`, and `&mut self` makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.bytes) }
    }
}

/// Where a session's memory comes from: the system, or a place that it was given once and for all.
#[derive(Debug, Default)]
pub struct Room {
    /// What is left of the place.
    given: Option<(*mut u8, usize)>,
    home: Home,
    /// Bytes of all blocks so far.
    taken: usize,
}

// SAFETY: a room is the only one who hands out what is left of its place.
unsafe impl Send for Room {}
// SAFETY: as above; it is changed through `&mut` alone.
unsafe impl Sync for Room {}

impl Room {
    /// Memory of the caller.
    ///
    /// # Safety
    /// So many bytes must be there, nobody else may use them, and they must outlive every block of this room.
    pub unsafe fn of(start: *mut u8, bytes: usize) -> Room {
        let skipped = start.align_offset(ALIGNMENT).min(bytes);
        Room { given: Some((start.wrapping_add(skipped), bytes - skipped)), ..Room::default() }
    }

    /// Memory of this place, as much as it has.
    pub fn at(home: Home) -> Room {
        Room { home, ..Room::default() }
    }

    /// Where the memory is.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Bytes that blocks have taken, those that were given back included: nothing is handed out twice.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// A block for tensors, zeroed where it is the process's.
    pub fn block(&mut self, bytes: usize) -> Result<Block> {
        match self.home {
            Home::Process => self.own_block(bytes),
            Home::Device(_) => {
                self.taken = self.taken.saturating_add(align(bytes));
                self.home.block(bytes)
            }
        }
    }

    /// A zeroed block of the process's memory, wherever tensors are.
    pub fn own_block(&mut self, bytes: usize) -> Result<Block> {
        self.taken = self.taken.saturating_add(align(bytes));
        let Some((start, left)) = self.given else { return Block::new(bytes) };
        if bytes == 0 {
            return Ok(Block::empty());
        }
        if align(bytes) > left {
            return Err(Error::GivenMemory { wanted: bytes, left });
        }
        self.given = Some((start.wrapping_add(align(bytes)), left - align(bytes)));
        // SAFETY: these bytes are the room's, and were not handed out before.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Block { memory: Memory::Borrowed(start), bytes })
    }
}

/// What a buffer asks for: so many bytes from its first to its last segment, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub bytes: usize,
    pub first: u32,
    pub last: u32,
}

impl Request {
    fn meets(&self, other: &Request) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// An offset for each request, in the same order, and the size of the whole arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub offsets: Vec<usize>,
    pub bytes: usize,
    /// What is alive in the busiest segment: no arena can do with less.
    pub live: usize,
}

/// Rounds up to [`ALIGNMENT`]; saturates, so that an absurd size is refused where memory is asked for.
pub fn align(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX / ALIGNMENT * ALIGNMENT)
}

/// Places every request by best fit, largest first. All requests together must stay below `isize::MAX` bytes.
pub fn plan(requests: &[Request]) -> Plan {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(requests[i].bytes), requests[i].first, i));

    let mut offsets = vec![0; requests.len()];
    let mut total = 0;
    // Placed requests as (offset, end, index), by offset.
    let mut placed: Vec<(usize, usize, usize)> = Vec::with_capacity(requests.len());
    for index in order {
        let size = align(requests[index].bytes);
        if size == 0 {
            continue;
        }
        let mut best: Option<(usize, usize)> = None;
        let mut free_from = 0;
        for &(start, end, other) in &placed {
            if !requests[index].meets(&requests[other]) {
                continue;
            }
            if start > free_from {
                let gap = start - free_from;
                if gap >= size && best.is_none_or(|(smallest, _)| gap < smallest) {
                    best = Some((gap, free_from));
                }
            }
            free_from = free_from.max(end);
        }
        let offset = best.map_or(free_from, |(_, offset)| offset);
        let end = offset + size;
        offsets[index] = offset;
        total = total.max(end);
        let at = placed.partition_point(|&(start, ..)| start <= offset);
        placed.insert(at, (offset, end, index));
    }
    let plan = Plan { offsets, bytes: total, live: busiest(requests) };
    debug_assert_eq!(verify(requests, &plan), Ok(()));
    plan
}

/// The bytes that are alive in the segment where these are most.
fn busiest(requests: &[Request]) -> usize {
    // Bytes come before their first segment and go behind their last, so both kinds of steps never meet in one key.
    let mut steps: Vec<(u32, bool, usize)> = requests
        .iter()
        .map(|r| (r, align(r.bytes)))
        .flat_map(|(r, bytes)| [(r.first, false, bytes), (r.last, true, bytes)])
        .collect();
    steps.sort_unstable();
    let (mut live, mut most) = (0usize, 0);
    for (_, goes, bytes) in steps {
        live = if goes { live - bytes } else { live.saturating_add(bytes) };
        most = live.max(most);
    }
    most
}

/// Checks a plan without knowing how it was made: every buffer is aligned and inside, no two live ones overlap.
pub fn verify(requests: &[Request], plan: &Plan) -> Result<(), String> {
    if plan.offsets.len() != requests.len() {
        return Err(format!("{} requests but {} offsets", requests.len(), plan.offsets.len()));
    }
    let places: Vec<(usize, &Request)> =
        plan.offsets.iter().copied().zip(requests).filter(|(_, r)| r.bytes > 0).collect();
    for (i, &(offset, request)) in places.iter().enumerate() {
        if offset % ALIGNMENT != 0 {
            return Err(format!("offset {offset} is not aligned"));
        }
        if offset.saturating_add(request.bytes) > plan.bytes {
            return Err(format!("{request:?} at {offset} ends outside the arena of {} bytes", plan.bytes));
        }
        for &(other_offset, other) in &places[..i] {
            let apart_in_time = request.last < other.first || other.last < request.first;
            let apart_in_space =
                offset + request.bytes <= other_offset || other_offset + other.bytes <= offset;
            if !apart_in_time && !apart_in_space {
                return Err(format!("{request:?} at {offset} overlaps {other:?} at {other_offset}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(bytes: usize, first: u32, last: u32) -> Request {
        Request { bytes, first, last }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        // x0 → x1 → … → x9, each alive in two neighbouring segments.
        let requests: Vec<_> = (0..10).map(|i| request(1000, i, i + 1)).collect();
        assert_eq!(plan(&requests).bytes, 2 * 1024);
    }

    #[test]
    fn the_smallest_gap_is_taken() {
        // Two gaps open up at time 1: one of 256 bytes, one of 128. The request of 128 bytes must take the second.
        let requests = [
            request(512, 0, 1),
            request(320, 0, 0),
            request(320, 0, 1),
            request(192, 0, 0),
            request(192, 0, 1),
            request(128, 1, 1),
        ];
        let plan = plan(&requests);
        assert_eq!(plan.offsets[5], plan.offsets[3]);
    }

    #[test]
    fn the_verifier_finds_overlap_misalignment_and_excess() {
        let requests = [request(64, 0, 1), request(64, 1, 2)];
        let wrong = |offsets: [usize; 2], bytes| {
            verify(&requests, &Plan { offsets: offsets.to_vec(), bytes, live: 0 }).unwrap_err()
        };
        assert!(wrong([0, 0], 128).contains("overlaps"));
        assert!(wrong([0, 65], 256).contains("aligned"));
        assert!(wrong([0, 64], 100).contains("outside"));
    }

    #[test]
    fn blocks_are_zeroed_and_aligned() {
        let mut block = Block::new(100_000).unwrap();
        assert!(block.bytes().iter().all(|&b| b == 0));
        assert_eq!(block.pointer() as usize % ALIGNMENT, 0);
        block.bytes_mut()[99_999] = 7;
        assert_eq!(block.bytes()[99_999], 7);
        assert!(Block::new(0).unwrap().bytes().is_empty());
    }

    #[test]
    fn more_memory_than_there_can_be_is_an_error() {
        assert!(matches!(Block::new(usize::MAX / 2), Err(Error::Memory { .. })));
    }

    proptest! {
        #[test]
        fn any_plan_is_sound_and_deterministic(
            raw in proptest::collection::vec((0usize..5000, 0u32..40, 0u32..12), 0..80)
        ) {
            let requests: Vec<_> = raw.iter().map(|&(bytes, first, len)| request(bytes, first, first + len)).collect();
            let first = plan(&requests);
            prop_assert_eq!(verify(&requests, &first), Ok(()));
            prop_assert_eq!(&first, &plan(&requests));
            // Never worse than giving every buffer its own place, never better than the busiest moment needs.
            let sum: usize = requests.iter().map(|r| align(r.bytes)).sum();
            let busiest = (0..60)
                .map(|t| requests.iter().filter(|r| r.first <= t && t <= r.last).map(|r| align(r.bytes)).sum())
                .max()
                .unwrap_or(0);
            prop_assert!(first.bytes <= sum && first.bytes >= busiest);
            prop_assert_eq!(first.live, busiest);
        }
    }

    #[test]
    fn a_room_of_the_caller_hands_out_its_memory_once() {
        let mut memory = vec![0xa5u8; 1000];
        // SAFETY: the memory lives longer than the blocks, and nobody else uses it.
        let mut room = unsafe { Room::of(memory.as_mut_ptr().wrapping_add(1), 900) };
        let (first, second) = (room.block(100).unwrap(), room.block(200).unwrap());
        for block in [&first, &second] {
            assert!(block.pointer().addr().is_multiple_of(ALIGNMENT));
            assert!(block.bytes().iter().all(|byte| *byte == 0));
        }
        assert!(second.pointer().addr() >= first.pointer().addr() + 100);
        assert_eq!(room.taken(), 128 + 256);
        assert!(room.block(0).unwrap().is_empty());
        let error = room.block(900).unwrap_err();
        assert!(matches!(error, Error::GivenMemory { wanted: 900, .. }), "{error}");
        drop((first, second));
        assert_eq!((memory[0], memory[950]), (0xa5, 0xa5));
    }
}
