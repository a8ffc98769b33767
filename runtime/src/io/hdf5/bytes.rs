//! The file's bytes, taken one value after the other: each is checked to be there, and paid for.

use std::cell::Cell;

use super::Outcome;

/// How often a file may be read over. Sound files need about two rounds: heads of structures are looked at again for each
/// of their parts.
const ROUNDS: u64 = 16;

/// And so many bytes more, for small files of many small parts.
const SPARE: u64 = 1 << 20;

/// An address that stands for nothing: all bits set.
const NOWHERE: u64 = u64::MAX;

/// All bytes of a file, and how wide addresses and lengths are in it.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    offset_size: u8,
    length_size: u8,
    /// How many bytes may still be taken. Structures that refer to each other in circles use it up.
    budget: Cell<u64>,
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8], offset_size: u8, length_size: u8) -> Outcome<Source<'a>> {
        for size in [offset_size, length_size] {
            if ![2, 4, 8].contains(&size) {
                return Err(format!("its addresses are {size} bytes wide"));
            }
        }
        let budget = Cell::new(ROUNDS.saturating_mul(bytes.len() as u64).saturating_add(SPARE));
        Ok(Source { bytes, offset_size, length_size, budget })
    }

    /// A reader from this address to the end of the file.
    pub fn at(&self, address: u64) -> Outcome<Cursor<'_, 'a>> {
        if address == NOWHERE {
            return Err("it lacks a part that it needs".into());
        }
        let rest = usize::try_from(address).ok().and_then(|start| self.bytes.get(start..));
        let rest = rest.ok_or_else(|| {
            format!("it refers to byte {address}, but has {} bytes: was it cut off?", self.bytes.len())
        })?;
        Ok(Cursor { source: self, rest })
    }

    /// A reader of bytes that were taken already.
    pub fn within(&self, bytes: &'a [u8]) -> Cursor<'_, 'a> {
        Cursor { source: self, rest: bytes }
    }

    pub fn offset_size(&self) -> u8 {
        self.offset_size
    }

    pub fn length_size(&self) -> u8 {
        self.length_size
    }
}

/// A place in the file, and what is behind it.
#[derive(Clone, Debug)]
pub struct Cursor<'s, 'a> {
    source: &'s Source<'a>,
    rest: &'a [u8],
}

impl<'a> Cursor<'_, 'a> {
    pub fn take(&mut self, count: u64) -> Outcome<&'a [u8]> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = taken.ok_or("it ends in the middle of something: was it cut off?")?;
        let budget = self.source.budget.get().checked_sub(count.max(1));
        self.source.budget.set(budget.ok_or("its parts refer to each other in circles")?);
        self.rest = rest;
        Ok(taken)
    }

    pub fn skip(&mut self, count: u64) -> Outcome<()> {
        self.take(count).map(drop)
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.rest.len() as u64
    }

    /// An unsigned number of up to eight bytes.
    pub fn uint(&mut self, width: u8) -> Outcome<u64> {
        let bytes = self.take(width.min(8).into())?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub fn u8(&mut self) -> Outcome<u8> {
        Ok(self.uint(1)? as u8)
    }

    pub fn u16(&mut self) -> Outcome<u16> {
        Ok(self.uint(2)? as u16)
    }

    pub fn u32(&mut self) -> Outcome<u32> {
        Ok(self.uint(4)? as u32)
    }

    /// An address; one that stands for nothing keeps doing so, however wide addresses are.
    pub fn offset(&mut self) -> Outcome<u64> {
        let width = self.source.offset_size;
        let value = self.uint(width)?;
        Ok(if value == NOWHERE >> (64 - 8 * u32::from(width)) { NOWHERE } else { value })
    }

    pub fn length(&mut self) -> Outcome<u64> {
        self.uint(self.source.length_size)
    }

    /// The four letters that a structure begins with.
    pub fn expect(&mut self, letters: &[u8; 4], what: &str) -> Outcome<()> {
        if self.take(4)? == letters { Ok(()) } else { Err(format!("there is no {what} where one should be")) }
    }

    /// The version that a structure has to have.
    pub fn version(&mut self, known: u8, what: &str) -> Outcome<()> {
        let version = self.u8()?;
        if version == known {
            Ok(())
        } else {
            Err(format!("its {what} has version {version}; version {known} is known"))
        }
    }

    /// A text that ends with a zero.
    pub fn name(&mut self) -> Outcome<String> {
        let length = self.rest.iter().position(|&byte| byte == 0).ok_or("a name has no end")?;
        let name = text(self.take(length as u64)?);
        self.skip(1)?;
        Ok(name)
    }
}

/// Whether an address stands for a place.
pub fn is_place(address: u64) -> bool {
    address != NOWHERE
}

/// The smallest number of bytes that holds numbers up to this.
pub fn width_of(limit: u64) -> u8 {
    (limit.max(1).ilog2() / 8 + 1) as u8
}

/// A text up to its first zero. What is not UTF-8 is shown as such and fits no name.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
