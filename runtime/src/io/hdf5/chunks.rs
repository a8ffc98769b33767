//! Data in chunks: finding them, and putting them where they belong.

use super::Outcome;
use super::btree::walk;
use super::bytes::{Cursor, Source, is_place};
use super::filters::{Filter, undo};

#[derive(Clone, Debug)]
pub struct Chunks {
    /// Of each chunk, also where it sticks out over the end of the data.
    extents: Vec<usize>,
    /// Of a whole chunk.
    bytes: usize,
    filters: Vec<Filter>,
    index: Index,
}

/// How chunks are found.
#[derive(Clone, Debug)]
pub enum Index {
    /// The usual one: a tree of the first kind.
    Tree(u64),
    /// There is one only; its size in the file if it went through filters, and the filters that it didn't go through.
    Single { address: u64, filtered: Option<(u64, u32)> },
    /// They lie one after the other.
    Implicit(u64),
    /// A table of addresses.
    Array(u64),
}

/// A chunk in the file.
struct Chunk {
    /// Its number, counted along the last axis first.
    number: u64,
    address: u64,
    size: u64,
    skipped: u32,
}

impl Index {
    /// Of a layout of the fourth version, behind the chunk's shape.
    pub fn read(at: &mut Cursor<'_, '_>, flags: u8) -> Outcome<Index> {
        Ok(match at.u8()? {
            1 => {
                let filtered = if flags & 2 != 0 { Some((at.length()?, at.u32()?)) } else { None };
                Index::Single { address: at.offset()?, filtered }
            }
            2 => Index::Implicit(at.offset()?),
            3 => {
                at.skip(1)?;
                Index::Array(at.offset()?)
            }
            _ => return Err("it can grow, and its chunks are kept in a way that is not read here".into()),
        })
    }
}

impl Chunks {
    pub fn new(extents: &[u64], element: usize, filters: Vec<Filter>, index: Index) -> Outcome<Chunks> {
        let whole = |extent: &u64| usize::try_from(*extent).ok().filter(|&extent| extent > 0);
        let extents: Option<Vec<usize>> = extents.iter().map(whole).collect();
        let extents = extents.ok_or("its chunks have an axis without extent")?;
        let bytes = extents.iter().try_fold(element, |bytes, &extent| bytes.checked_mul(extent));
        let bytes = bytes.ok_or("its chunks have more values than can be")?;
        Ok(Chunks { extents, bytes, filters, index })
    }

    pub fn read(&self, source: &Source<'_>, shape: &[usize], element: usize, into: &mut [u8]) -> Outcome<()> {
        if into.is_empty() {
            return Ok(());
        }
        let counts: Vec<u64> =
            shape.iter().zip(&self.extents).map(|(&extent, &chunk)| extent.div_ceil(chunk) as u64).collect();
        // No more than there are values.
        let count: u64 = counts.iter().product();
        let mut chunks = self.find(source, shape, &counts, count)?;
        chunks.sort_by_key(|chunk| chunk.number);
        let each_once = chunks.iter().zip(0..).all(|(chunk, number)| chunk.number == number);
        if chunks.len() as u64 != count || !each_once {
            return Err(format!("it has {} chunks where its shape has {count}", chunks.len()));
        }
        for chunk in chunks {
            let stored = source.at(chunk.address)?.take(chunk.size)?;
            let bytes = undo(&self.filters, chunk.skipped, stored, self.bytes)?;
            self.place(&bytes, chunk.number, &counts, shape, element, into);
        }
        Ok(())
    }

    /// All chunks. Memory grows with the entries that are really in the file.
    fn find(&self, source: &Source<'_>, shape: &[usize], counts: &[u64], count: u64) -> Outcome<Vec<Chunk>> {
        let bytes = self.bytes as u64;
        let mut found = Vec::new();
        match self.index {
            Index::Single { address, filtered } => {
                let (size, skipped) = filtered.unwrap_or((bytes, 0));
                found.push(Chunk { number: 0, address, size, skipped });
            }
            Index::Implicit(start) => {
                // That they are in the file is known before they are counted.
                source
                    .at(start)?
                    .skip(count.checked_mul(bytes).ok_or("its chunks are larger than the file")?)?;
                let chunk =
                    |number| Chunk { number, address: start + number * bytes, size: bytes, skipped: 0 };
                found.extend((0..count).map(chunk));
            }
            Index::Tree(address) if !is_place(address) => return Err("nothing was ever written to it".into()),
            Index::Tree(address) => {
                let key = 8 + 8 * (shape.len() as u64 + 1);
                walk(source, address, 1, key, &mut |key, address| {
                    let mut at = source.within(key);
                    let (size, skipped) = (at.u32()?.into(), at.u32()?);
                    let mut number = 0u64;
                    for ((&extent, &count), &axis) in self.extents.iter().zip(counts).zip(shape) {
                        let start = at.uint(8)?;
                        if start >= axis as u64 || start % extent as u64 != 0 {
                            return Err("a chunk lies outside of its shape".into());
                        }
                        number = number * count + start / extent as u64;
                    }
                    found.push(Chunk { number, address, size, skipped });
                    Ok(())
                })?;
            }
            Index::Array(address) => self.array(source, address, count, &mut found)?,
        }
        Ok(found)
    }

    /// A fixed array: a head, and a block of entries, which is cut into pages where it is long.
    fn array(&self, source: &Source<'_>, address: u64, count: u64, found: &mut Vec<Chunk>) -> Outcome<()> {
        let mut at = source.at(address)?;
        at.expect(b"FAHD", "array of chunks")?;
        at.version(0, "array of chunks")?;
        let filtered = at.u8()? == 1;
        let (entry, page_bits) = (at.u8()?, at.u8()?);
        let entries = at.length()?;
        let block = at.offset()?;
        if entries != count {
            return Err(format!("it has {entries} chunks where its shape has {count}"));
        }
        if !is_place(block) {
            return Err("nothing was ever written to it".into());
        }
        let page = 1u64.checked_shl(page_bits.into()).ok_or("an array has impossible pages")?;
        let mut at = source.at(block)?;
        at.expect(b"FADB", "block of chunks")?;
        at.skip(2)?;
        at.offset()?;
        let paged = entries > page;
        if paged {
            // Which pages were written, and a checksum. A page that wasn't holds no sound address.
            at.skip(entries.div_ceil(page).div_ceil(8) + 4)?;
        }
        let width = entry.checked_sub(source.offset_size() + 4);
        for number in 0..entries {
            if paged && number > 0 && number % page == 0 {
                at.skip(4)?;
            }
            let address = at.offset()?;
            let (size, skipped) = match (filtered, width) {
                (true, Some(width)) => (at.uint(width)?, at.u32()?),
                (true, None) => return Err("the entries of an array are too short".into()),
                (false, _) => (self.bytes as u64, 0),
            };
            found.push(Chunk { number, address, size, skipped });
        }
        Ok(())
    }

    /// Copies the part of a chunk that is inside of the data, row by row.
    fn place(
        &self,
        bytes: &[u8],
        number: u64,
        counts: &[u64],
        shape: &[usize],
        element: usize,
        into: &mut [u8],
    ) {
        let rank = shape.len();
        let Some(last) = rank.checked_sub(1) else {
            into.copy_from_slice(bytes);
            return;
        };
        let origin = vec![0; rank];
        let (mut starts, mut rest) = (origin.clone(), number);
        for axis in (0..rank).rev() {
            starts[axis] = (rest % counts[axis]) as usize * self.extents[axis];
            rest /= counts[axis];
        }
        let inside: Vec<usize> =
            (0..rank).map(|axis| self.extents[axis].min(shape[axis] - starts[axis])).collect();
        let row = inside[last] * element;
        let mut index = origin.clone();
        'rows: loop {
            let offset = |extents: &[usize], starts: &[usize]| {
                (0..rank).fold(0, |offset, axis| offset * extents[axis] + starts[axis] + index[axis])
            };
            let from = offset(&self.extents, &origin) * element;
            let to = offset(shape, &starts) * element;
            into[to..to + row].copy_from_slice(&bytes[from..from + row]);
            for axis in (0..last).rev() {
                index[axis] += 1;
                if index[axis] < inside[axis] {
                    continue 'rows;
                }
                index[axis] = 0;
            }
            return;
        }
    }
}
