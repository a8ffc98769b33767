//! The shared memory of a block, with a shadow of who touched which bytes last.
//!
//! Two threads that touch a byte, one of them writing, need a barrier between them. Every access has a time (a count
//! of the block's barriers and warps' synchronisations), and for every pair of warps the block knows up to which time
//! the accesses of the one are ordered before what the other does now. The grain of the shadow is the smallest access
//! of the kernel, so that no record stands for bytes of different threads.

use super::bits::{Bits, copy};
use crate::fault::{Fault, Kind};

/// An access: 0 for none, else time << 12 | atomic << 11 | 1 << 10 … packed below.
type Record = u64;

fn record(time: u32, thread: u32, atomic: bool) -> Record {
    (u64::from(time) << 12) | (u64::from(atomic) << 11) | u64::from(thread)
}

fn time(record: Record) -> u32 {
    (record >> 12) as u32
}

fn thread(record: Record) -> u32 {
    (record & 0x7ff) as u32
}

fn is_atomic(record: Record) -> bool {
    record & 0x800 != 0
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    write: Record,
    /// The last reads of two threads, of two warps where there were two.
    reads: [Record; 2],
}

/// Which accesses are ordered before the present, for each pair of warps.
#[derive(Clone, Debug)]
pub struct Order {
    /// The present; times begin at 1.
    pub now: u32,
    /// `before[v · warps + u]`: accesses of warp u at earlier times are ordered before what v does now.
    before: Vec<u32>,
    /// For each warp, the least of its row: what is older need not be looked at closer.
    floor: Vec<u32>,
    warps: usize,
}

impl Order {
    pub fn new(warps: usize) -> Self {
        Order { now: 1, before: vec![0; warps * warps], floor: vec![0; warps], warps }
    }

    /// What a warp knows when it comes to a barrier.
    pub fn row(&mut self, warp: usize) -> Vec<u32> {
        let mut row = self.before[warp * self.warps..(warp + 1) * self.warps].to_vec();
        self.now += 1;
        row[warp] = self.now;
        row
    }

    /// A warp leaves a barrier to which others came with what they knew.
    pub fn join(&mut self, warp: usize, rows: &[(usize, Vec<u32>)]) {
        let mine = &mut self.before[warp * self.warps..(warp + 1) * self.warps];
        for (_, row) in rows {
            for (mine, theirs) in mine.iter_mut().zip(row) {
                *mine = (*mine).max(*theirs);
            }
        }
        self.floor[warp] = mine.iter().copied().min().unwrap_or(0);
    }

    /// The lanes of a warp synchronise.
    pub fn warp(&mut self, warp: usize) {
        self.now += 1;
        self.before[warp * self.warps + warp] = self.now;
    }

    #[inline]
    fn has_seen(&self, me: u32, other: Record) -> bool {
        if time(other) < self.floor[(me / 32) as usize] {
            return true;
        }
        let them = thread(other);
        them == me || time(other) < self.before[(me / 32) as usize * self.warps + (them / 32) as usize]
    }
}

#[derive(Debug)]
pub struct Shared {
    pub data: Vec<u8>,
    written: Bits,
    /// Bytes that an asynchronous copy will write.
    pending: Bits,
    shadow: Vec<Cell>,
    /// The grain is 2 to this power.
    shift: u32,
}

impl Shared {
    pub fn new(bytes: usize, grain: usize) -> Self {
        Shared {
            data: vec![0; bytes],
            written: Bits::new(bytes),
            pending: Bits::new(bytes),
            shadow: vec![Cell::default(); bytes.div_ceil(grain)],
            shift: grain.ilog2(),
        }
    }

    /// Ready for the next block.
    pub fn reset(&mut self) {
        self.written.clear_all();
        self.pending.clear_all();
        self.shadow.fill(Cell::default());
    }

    #[inline]
    fn inside(&self, offset: u64, bytes: usize) -> Result<usize, Fault> {
        if offset.saturating_add(bytes as u64) <= self.data.len() as u64 {
            return Ok(offset as usize);
        }
        let message = format!(
            "{bytes} bytes at {offset} of shared memory, of which the block has {} bytes",
            self.data.len()
        );
        Err(Fault::new(Kind::IllegalAddress, message))
    }

    #[inline]
    pub fn load(
        &mut self,
        offset: u64,
        out: &mut [u8],
        by: u32,
        order: &Order,
        atomic: bool,
    ) -> Result<(), Fault> {
        let bytes = out.len();
        let at = self.inside(offset, bytes)?;
        if !self.written.all(at, bytes) {
            return Err(self.unwritten(at, bytes));
        }
        for cell in &mut self.shadow[at >> self.shift..((at + bytes - 1) >> self.shift) + 1] {
            if cell.write != 0 && !order.has_seen(by, cell.write) && !(atomic && is_atomic(cell.write)) {
                return Err(race(at, bytes, "reads", "wrote", by, cell.write));
            }
            let mine = record(order.now, by, atomic);
            let [first, second] = cell.reads;
            if first == 0 || thread(first) == by {
                cell.reads[0] = mine;
            } else if second == 0 || thread(second) == by || thread(first) / 32 != by / 32 {
                cell.reads[1] = mine;
            } else {
                cell.reads[0] = mine;
            }
        }
        copy(out, &self.data[at..at + bytes]);
        Ok(())
    }

    #[inline]
    pub fn store(
        &mut self,
        offset: u64,
        bytes: &[u8],
        by: u32,
        order: &Order,
        atomic: bool,
    ) -> Result<(), Fault> {
        let at = self.inside(offset, bytes.len())?;
        if self.pending.any(at, bytes.len()) {
            return Err(Fault::failed(format!(
                "writes {} bytes at {at} of shared memory, to which an asynchronous copy is under way",
                bytes.len()
            )));
        }
        self.touch(at, bytes.len(), by, order, atomic)?;
        copy(&mut self.data[at..at + bytes.len()], bytes);
        self.written.set(at, bytes.len());
        Ok(())
    }

    /// A write in the shadow.
    #[inline]
    fn touch(&mut self, at: usize, bytes: usize, by: u32, order: &Order, atomic: bool) -> Result<(), Fault> {
        for cell in &mut self.shadow[at >> self.shift..((at + bytes - 1) >> self.shift) + 1] {
            if cell.write != 0 && !order.has_seen(by, cell.write) && !(atomic && is_atomic(cell.write)) {
                return Err(race(at, bytes, "writes", "wrote", by, cell.write));
            }
            for read in &mut cell.reads {
                if *read != 0 && !order.has_seen(by, *read) && !(atomic && is_atomic(*read)) {
                    return Err(race(at, bytes, "writes", "read", by, *read));
                }
                *read = 0;
            }
            cell.write = record(order.now, by, atomic);
        }
        Ok(())
    }

    /// An asynchronous copy begins: until it is waited for, its bytes are nobody's.
    pub fn begin(&mut self, offset: u64, bytes: usize, by: u32, order: &Order) -> Result<(), Fault> {
        let at = self.inside(offset, bytes)?;
        if self.pending.any(at, bytes) {
            return Err(Fault::failed(format!(
                "copies {bytes} bytes to {at} of shared memory, to which another asynchronous copy is under way"
            )));
        }
        self.touch(at, bytes, by, order, false)?;
        self.written.clear(at, bytes);
        self.pending.set(at, bytes);
        Ok(())
    }

    /// An asynchronous copy has been waited for.
    pub fn arrive(&mut self, offset: u64, bytes: &[u8], by: u32, order: &Order) -> Result<(), Fault> {
        let at = self.inside(offset, bytes.len())?;
        self.pending.clear(at, bytes.len());
        self.touch(at, bytes.len(), by, order, false)?;
        self.data[at..at + bytes.len()].copy_from_slice(bytes);
        self.written.set(at, bytes.len());
        Ok(())
    }

    fn unwritten(&self, at: usize, bytes: usize) -> Fault {
        if self.pending.any(at, bytes) {
            return Fault::failed(format!(
                "reads {bytes} bytes at {at} of shared memory, to which an asynchronous copy is under way that has \
                 not been waited for"
            ));
        }
        let first = (at..at + bytes).find(|b| !self.written.all(*b, 1)).unwrap_or(at);
        Fault::failed(format!("reads shared memory that no thread of the block has written: byte {first}"))
    }
}

fn race(at: usize, bytes: usize, does: &str, did: &str, by: u32, other: Record) -> Fault {
    let (other, way) = (thread(other), if thread(other) / 32 == by / 32 { " of its own warp" } else { "" });
    Fault::failed(format!(
        "a race: thread {by} {does} {bytes} bytes at {at} of shared memory, which thread {other}{way} {did} with no \
         barrier between them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_orders_and_nothing_else_does() {
        let (mut shared, mut order) = (Shared::new(64, 4), Order::new(2));
        let mut out = [0; 4];
        assert!(shared.load(0, &mut out, 3, &order, false).unwrap_err().message.contains("byte 0"));
        shared.store(0, &[1; 4], 3, &order, false).unwrap();
        shared.load(0, &mut out, 3, &order, false).unwrap();
        let fault = shared.load(0, &mut out, 40, &order, false).unwrap_err();
        assert!(fault.message.contains("thread 40 reads") && fault.message.contains("thread 3 wrote"));
        assert!(shared.load(0, &mut out, 4, &order, false).unwrap_err().message.contains("of its own warp"));
        order.warp(0);
        shared.load(0, &mut out, 4, &order, false).unwrap();
        assert!(shared.load(0, &mut out, 40, &order, false).is_err());
        let rows = vec![(0, order.row(0)), (1, order.row(1))];
        order.join(0, &rows);
        order.join(1, &rows);
        shared.load(0, &mut out, 40, &order, false).unwrap();
        let fault = shared.store(0, &[2; 4], 3, &order, false).unwrap_err();
        assert!(fault.message.contains("thread 3 writes") && fault.message.contains("thread 40 read"));
    }

    #[test]
    fn a_copy_is_there_only_when_it_was_waited_for() {
        let (mut shared, mut order) = (Shared::new(64, 16), Order::new(1));
        let mut out = [0; 16];
        shared.begin(16, 16, 0, &order).unwrap();
        assert!(
            shared.load(16, &mut out, 0, &order, false).unwrap_err().message.contains("not been waited for")
        );
        shared.arrive(16, &[9; 16], 0, &order).unwrap();
        shared.load(16, &mut out, 0, &order, false).unwrap();
        assert!(shared.load(16, &mut out, 1, &order, false).is_err());
        order.warp(0);
        shared.load(16, &mut out, 1, &order, false).unwrap();
    }
}
