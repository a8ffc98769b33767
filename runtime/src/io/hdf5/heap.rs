//! Heaps: the fractal one, where newer groups keep their links and attributes, and the global one with texts of any length.

use super::Outcome;
use super::bytes::{Source, width_of};

/// Blocks of doubling size that are one long stretch of bytes; an object is a place and a length in it.
#[derive(Debug)]
pub struct FractalHeap {
    /// How many bytes of an object's id tell its place, and how many its length.
    place: u8,
    length: u8,
    /// Blocks a row; the size of a block of the first two rows; the largest block that holds objects itself.
    width: u64,
    first: u64,
    largest: u64,
    root: u64,
    /// Of the root, where it is a block of blocks; 0 where it holds objects.
    rows: u64,
}

impl FractalHeap {
    pub fn read(source: &Source<'_>, address: u64) -> Outcome<FractalHeap> {
        let mut at = source.at(address)?;
        at.expect(b"FRHP", "heap")?;
        at.version(0, "heap")?;
        at.skip(2)?;
        let filters = at.u16()?;
        at.skip(1)?;
        let object = at.u32()?;
        // Huge objects, free space, and statistics.
        at.length()?;
        at.offset()?;
        at.length()?;
        at.offset()?;
        for _ in 0..8 {
            at.length()?;
        }
        let width = at.u16()?.into();
        let (first, largest) = (at.length()?, at.length()?);
        let bits = at.u16()?;
        at.skip(2)?;
        let root = at.offset()?;
        let rows = at.u16()?.into();
        if filters > 0 {
            return Err("its heaps are compressed, which is not read here".into());
        }
        let powers = first.is_power_of_two() && largest.is_power_of_two() && first <= largest;
        if !powers || width == 0 || bits > 64 || rows > 64 {
            return Err("a heap has impossible sizes".into());
        }
        let place = bits.div_ceil(8) as u8;
        let length = width_of(object.into()).min((largest.ilog2().div_ceil(8)) as u8);
        Ok(FractalHeap { place, length, width, first, largest, root, rows })
    }

    /// The bytes of an object, by its id.
    pub fn object<'a>(&self, source: &Source<'a>, id: &'a [u8]) -> Outcome<&'a [u8]> {
        let mut at = source.within(id);
        if at.u8()? & 0xf0 != 0 {
            return Err("it keeps names or attributes in a way that is not read here".into());
        }
        let (place, length) = (at.uint(self.place)?, at.uint(self.length)?);
        let (block, inside) = if self.rows == 0 {
            (self.root, place)
        } else {
            self.block(source, self.root, self.rows, place)?
        };
        let address = block.checked_add(inside).ok_or("an object lies outside of its heap")?;
        source.at(address)?.take(length)
    }

    /// The block of objects that holds a place of the heap, and where in it.
    fn block(&self, source: &Source<'_>, address: u64, rows: u64, place: u64) -> Outcome<(u64, u64)> {
        let (mut address, mut rows, mut rest) = (address, rows, place);
        // Blocks of blocks get smaller on the way down, since a row's blocks are smaller than all of it.
        loop {
            let (row, size) = (0..rows)
                .map_while(|row| Some((row, self.size(row)?)))
                .find(|&(_, size)| match size.checked_mul(self.width) {
                    Some(span) if rest >= span => {
                        rest -= span;
                        false
                    }
                    _ => true,
                })
                .ok_or("an object lies outside of its heap")?;
            let column = rest / size;
            rest %= size;
            let mut at = source.at(address)?;
            at.expect(b"FHIB", "block of a heap")?;
            at.skip(1)?;
            at.offset()?;
            at.skip(self.place.into())?;
            let entry = (row * self.width + column).checked_mul(source.offset_size().into());
            at.skip(entry.ok_or("an object lies outside of its heap")?)?;
            address = at.offset()?;
            if size <= self.largest {
                return Ok((address, rest));
            }
            // How many rows fill a block of this size.
            rows = u64::from(size.ilog2())
                .checked_sub(self.first.saturating_mul(self.width).ilog2().into())
                .map(|more| more + 1)
                .ok_or("a heap has impossible sizes")?;
        }
    }

    /// The size of a row's blocks: the first two rows have the smallest, each other twice the one before.
    fn size(&self, row: u64) -> Option<u64> {
        let doublings = u32::try_from(row.saturating_sub(1)).ok()?;
        self.first.checked_shl(doublings).filter(|size| size >> doublings == self.first)
    }
}

/// An object of the heap that all of a file share: a collection's address, and a number in it.
pub fn shared_object<'a>(source: &Source<'a>, address: u64, index: u32) -> Outcome<&'a [u8]> {
    let mut at = source.at(address)?;
    at.expect(b"GCOL", "collection of texts")?;
    at.version(1, "collection of texts")?;
    at.skip(3)?;
    let size = at.length()?;
    let head = 8 + u64::from(source.length_size());
    let mut at = source.at(address)?;
    // Only the objects' heads are paid for: a collection of many texts is gone through for each of them.
    let end = at.left().min(size);
    let mut place = head;
    while place < end {
        at = source.at(address.saturating_add(place))?;
        let number = at.u16()?;
        at.skip(6)?;
        let length = at.length()?;
        if number == 0 {
            break;
        }
        if u32::from(number) == index {
            return at.take(length);
        }
        let padded = length.checked_next_multiple_of(8).ok_or("a text lies outside of its collection")?;
        place = place.saturating_add(8 + u64::from(source.length_size())).saturating_add(padded);
    }
    Err("a text is not where it should be".into())
}
