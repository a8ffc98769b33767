//! Device memory: a map of allocations, each with what was written of it.
//!
//! Addresses are never given out twice, so that a use after `free` is known as such for good, and between two
//! allocations lies a gap, so that an access beyond an end never meets a neighbour.

mod bits;
mod shared;

use std::collections::BTreeMap;
use std::ops::Range;

pub use bits::Bits;
pub use shared::{Order, Shared};

use crate::fault::{Fault, Kind};

const FIRST: u64 = 0x0000_0003_0000_0000;
const ALIGN: u64 = 512;
const GAP: u64 = 4096;

#[derive(Debug)]
pub struct Allocation {
    pub start: u64,
    pub data: Vec<u8>,
    written: Bits,
    /// Every byte was written: `written` needs no look.
    whole: bool,
    /// What the launch that runs has read and written, where that is counted.
    touched: Option<Box<[Bits; 2]>>,
}

impl Allocation {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }
}

#[derive(Debug)]
pub struct Memory {
    /// By their addresses.
    allocations: Vec<Allocation>,
    freed: BTreeMap<u64, u64>,
    next: u64,
    pub used: u64,
    pub limit: u64,
    last: usize,
    counting: bool,
}

impl Memory {
    pub fn new(limit: u64) -> Self {
        Memory {
            allocations: Vec::new(),
            freed: BTreeMap::new(),
            next: FIRST,
            used: 0,
            limit,
            last: 0,
            counting: false,
        }
    }

    /// The address of so many fresh bytes; none where the device has no such room.
    pub fn allocate(&mut self, bytes: u64) -> Option<u64> {
        let size = bytes.next_multiple_of(ALIGN);
        if bytes == 0 || size > self.limit.saturating_sub(self.used) {
            return None;
        }
        let start = self.next;
        self.next += size + GAP;
        self.used += size;
        let length = bytes as usize;
        self.allocations.push(Allocation {
            start,
            data: vec![0; length],
            written: Bits::new(length),
            whole: false,
            touched: None,
        });
        Some(start)
    }

    /// Whether the address began an allocation.
    pub fn free(&mut self, start: u64) -> bool {
        let Ok(at) = self.allocations.binary_search_by_key(&start, |a| a.start) else { return false };
        let gone = self.allocations.remove(at);
        self.used -= (gone.data.len() as u64).next_multiple_of(ALIGN);
        self.freed.insert(start, gone.end());
        self.last = 0;
        true
    }

    /// The allocation in which bytes lie, and where.
    #[inline]
    pub fn find(&mut self, address: u64, bytes: u64) -> Result<(usize, usize), Fault> {
        if let Some(last) = self.allocations.get(self.last)
            && address >= last.start
            && address.wrapping_add(bytes) <= last.end()
        {
            return Ok((self.last, (address - last.start) as usize));
        }
        let after = self.allocations.partition_point(|a| a.start <= address);
        if after > 0 {
            let found = &self.allocations[after - 1];
            if address.saturating_add(bytes) <= found.end() {
                self.last = after - 1;
                return Ok((after - 1, (address - found.start) as usize));
            }
        }
        Err(self.lost(address, bytes, after))
    }

    /// Why bytes are not to be had.
    fn lost(&self, address: u64, bytes: u64, after: usize) -> Fault {
        let mut message = format!("{bytes} bytes at 0x{address:x} of device memory: ");
        if address < 1 << 16 {
            message += "a null pointer";
        } else if let Some((start, end)) = self.freed.range(..=address).next_back()
            && address < *end
        {
            message += &format!("in an allocation of {} bytes that was freed", end - start);
        } else {
            let before = after.checked_sub(1).map(|at| &self.allocations[at]);
            match before {
                Some(a) if address.saturating_sub(a.end()) <= GAP => {
                    message += &format!(
                        "{} bytes past the end of an allocation of {} bytes at 0x{:x}",
                        (address + bytes).saturating_sub(a.end()),
                        a.data.len(),
                        a.start
                    );
                }
                _ => match self.allocations.get(after) {
                    Some(a) if a.start - address <= GAP => {
                        message += &format!(
                            "{} bytes before an allocation of {} bytes at 0x{:x}",
                            a.start - address,
                            a.data.len(),
                            a.start
                        );
                    }
                    _ => message += "in no allocation",
                },
            }
        }
        Fault::new(Kind::IllegalAddress, message)
    }

    /// What a kernel reads: the bytes must have been written.
    #[inline]
    pub fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        let bytes = out.len();
        let (at, offset) = self.find(address, bytes as u64)?;
        let counting = self.counting;
        let allocation = &mut self.allocations[at];
        if !allocation.whole && !allocation.written.all(offset, bytes) {
            let first = (offset..offset + bytes).find(|b| !allocation.written.all(*b, 1)).unwrap_or(offset);
            return Err(Fault::failed(format!(
                "reads device memory that nothing has written: byte {first} of an allocation of {} bytes at 0x{:x}",
                allocation.data.len(),
                allocation.start
            )));
        }
        bits::copy(out, &allocation.data[offset..offset + bytes]);
        if counting {
            // What the launch reads of its own is nothing that it needs.
            let [read, written] = touched(allocation);
            if !written.all(offset, bytes) {
                read.set(offset, bytes);
            }
        }
        Ok(())
    }

    /// What a kernel writes.
    #[inline]
    pub fn store(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let (at, offset) = self.find(address, bytes.len() as u64)?;
        let counting = self.counting;
        let allocation = &mut self.allocations[at];
        bits::copy(&mut allocation.data[offset..offset + bytes.len()], bytes);
        if !allocation.whole {
            allocation.written.set(offset, bytes.len());
        }
        if counting {
            touched(allocation)[1].set(offset, bytes.len());
        }
        Ok(())
    }

    /// Bytes from the host.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (at, offset) = self.find(address, bytes.len() as u64)?;
        self.allocations[at].data[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.mark(at, offset, bytes.len());
        Ok(())
    }

    fn mark(&mut self, at: usize, offset: usize, bytes: usize) {
        let allocation = &mut self.allocations[at];
        if !allocation.whole {
            allocation.written.set(offset, bytes);
            allocation.whole = bytes == allocation.data.len() || allocation.written.is_full();
        }
    }

    /// The same bytes over and over.
    pub fn fill(&mut self, address: u64, pattern: &[u8], count: usize) -> Result<(), Fault> {
        let bytes = pattern.len() * count;
        if bytes == 0 {
            return Ok(());
        }
        let (at, offset) = self.find(address, bytes as u64)?;
        for chunk in self.allocations[at].data[offset..offset + bytes].chunks_exact_mut(pattern.len()) {
            chunk.copy_from_slice(pattern);
        }
        self.mark(at, offset, bytes);
        Ok(())
    }

    /// Bytes for the host; what nothing has written is 0xff, which no reader takes for a number.
    pub fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        if out.is_empty() {
            return Ok(());
        }
        let (at, offset) = self.find(address, out.len() as u64)?;
        let allocation = &self.allocations[at];
        out.copy_from_slice(&allocation.data[offset..offset + out.len()]);
        if !allocation.whole {
            for (i, byte) in out.iter_mut().enumerate() {
                if !allocation.written.all(offset + i, 1) {
                    *byte = 0xff;
                }
            }
        }
        Ok(())
    }

    /// A copy within the device takes along what was never written.
    pub fn copy(&mut self, to: u64, from: u64, bytes: usize) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        let (source, from_offset) = self.find(from, bytes as u64)?;
        let (target, to_offset) = self.find(to, bytes as u64)?;
        let data = self.allocations[source].data[from_offset..from_offset + bytes].to_vec();
        self.allocations[target].data[to_offset..to_offset + bytes].copy_from_slice(&data);
        if self.allocations[source].whole {
            self.mark(target, to_offset, bytes);
        } else {
            self.allocations[target].whole = false;
            for i in 0..bytes {
                let written = self.allocations[source].written.all(from_offset + i, 1);
                self.allocations[target].written.put(to_offset + i, written);
            }
        }
        Ok(())
    }

    /// From here on, what a launch touches is counted.
    pub fn count(&mut self, counting: bool) {
        self.counting = counting;
        for allocation in &mut self.allocations {
            allocation.touched = None;
        }
    }

    /// Distinct bytes read and written since counting began.
    pub fn counted(&self) -> [u64; 2] {
        let mut sums = [0; 2];
        for touched in self.allocations.iter().filter_map(|a| a.touched.as_deref()) {
            sums[0] += touched[0].count();
            sums[1] += touched[1].count();
        }
        sums
    }

    /// The ranges of addresses that were read, and written, since counting began.
    pub fn touched(&self) -> [Vec<Range<u64>>; 2] {
        [0, 1].map(|which| {
            let of = |a: &Allocation| {
                let runs = a.touched.as_ref().map_or(Vec::new(), |touched| touched[which].runs());
                let start = a.start;
                runs.into_iter().map(move |run| start + run.start as u64..start + run.end as u64)
            };
            self.allocations.iter().flat_map(of).collect()
        })
    }

    /// After a launch: what is whole now needs no look again.
    pub fn settle(&mut self) {
        for allocation in &mut self.allocations {
            allocation.whole = allocation.whole || allocation.written.is_full();
        }
    }

    /// The allocation around an address: its start and its bytes.
    pub fn around(&mut self, address: u64) -> Option<(u64, u64)> {
        let (at, _) = self.find(address, 1).ok()?;
        Some((self.allocations[at].start, self.allocations[at].data.len() as u64))
    }
}

fn touched(allocation: &mut Allocation) -> &mut [Bits; 2] {
    let bytes = allocation.data.len();
    allocation.touched.get_or_insert_with(|| Box::new([Bits::new(bytes), Bits::new(bytes)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_there_only_between_malloc_and_free() {
        let mut memory = Memory::new(1 << 20);
        let a = memory.allocate(100).unwrap();
        memory.write(a, &[7; 100]).unwrap();
        let mut out = [0; 4];
        memory.load(a + 96, &mut out).unwrap();
        assert_eq!(out, [7; 4]);
        let message = memory.load(a + 97, &mut out).unwrap_err().message;
        assert!(message.contains("1 bytes past the end of an allocation of 100 bytes"), "{message}");
        let message = memory.load(4, &mut out).unwrap_err().message;
        assert!(message.contains("null pointer"), "{message}");
        assert!(memory.free(a) && !memory.free(a));
        let message = memory.load(a, &mut out).unwrap_err().message;
        assert!(message.contains("100 bytes that was freed"), "{message}");
        assert_eq!(memory.used, 0);
    }

    #[test]
    fn room_is_limited() {
        let mut memory = Memory::new(4096);
        assert!(memory.allocate(4097).is_none());
        let a = memory.allocate(4096).unwrap();
        assert!(memory.allocate(1).is_none());
        memory.free(a);
        assert!(memory.allocate(1).is_some());
    }

    #[test]
    fn what_was_never_written_is_known_also_after_a_copy() {
        let mut memory = Memory::new(1 << 20);
        let (a, b) = (memory.allocate(64).unwrap(), memory.allocate(64).unwrap());
        memory.write(a, &[1; 32]).unwrap();
        memory.copy(b, a, 64).unwrap();
        let mut out = [0; 8];
        memory.load(b + 24, &mut out).unwrap();
        let message = memory.load(b + 28, &mut out).unwrap_err().message;
        assert!(message.contains("byte 32 of an allocation of 64 bytes"), "{message}");
        memory.read(b + 28, &mut out).unwrap();
        assert_eq!(out, [1, 1, 1, 1, 255, 255, 255, 255]);
    }
}
