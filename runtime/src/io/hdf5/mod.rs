//! HDF5, as far as files of weights go: what Keras and h5py write.
//!
//! A file is a tree of groups with data sets as its leaves. Every structure names others by their addresses, so a file that is
//! damaged, or made to do harm, can name anything: places outside of it, itself, more numbers than there are. Nothing is
//! believed here. All bytes are taken through [`bytes::Cursor`], which checks that they are there and pays for each from a
//! budget that the file's length sets: a file that leads in circles runs out of it. Nothing is allocated by what a header
//! claims, only by what was really found, or is asked for by the caller who knows the shape that he wants.
//!
//! Read are: superblocks 0 to 3; groups as symbol tables, as links in their header, and in fractal heaps; contiguous, compact
//! and chunked data, with deflate, shuffle and Fletcher checksums; floats and integers in either byte order; texts in attributes.
//! Not read are data that grow (extensible arrays), links to other files, and compound types: no file of weights has them.
//!
//! Source: "HDF5 File Format Specification Version 3.0", The HDF Group.

mod btree;
mod bytes;
mod chunks;
mod dataset;
mod filters;
mod group;
mod header;
mod heap;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use bytes::Source;
pub use dataset::Dataset;
use header::{Header, kind};
pub use types::Element;

/// What is wrong with a file, in a sentence without its name.
type Outcome<T> = Result<T, String>;

/// Groups in groups; Keras' models nest a handful.
const DEEPEST: usize = 64;

/// The first bytes of every HDF5 file.
pub const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Where the data of a file's tree begin.
#[derive(Debug)]
pub struct Hdf5<'a> {
    source: Source<'a>,
    root: u64,
}

/// A group: its texts, and what is in it.
#[derive(Debug, Default)]
pub struct Tree {
    /// Attributes that hold texts. Others say nothing about weights.
    pub texts: BTreeMap<String, Vec<String>>,
    pub groups: BTreeMap<String, Tree>,
    pub datasets: BTreeMap<String, Dataset>,
}

impl<'a> Hdf5<'a> {
    /// Finds the root of a file's tree.
    pub fn open(bytes: &'a [u8]) -> Outcome<Hdf5<'a>> {
        // A block of the user's may stand before the file proper: the signature is at 0, or at 512 and its doubles.
        let mut start = 0;
        while bytes.get(start..start + SIGNATURE.len()) != Some(SIGNATURE) {
            start = if start == 0 { 512 } else { start * 2 };
            if start >= bytes.len() {
                return Err("this is no HDF5 file".into());
            }
        }
        let (source, root) = superblock(bytes.get(start..).unwrap_or_default(), start as u64)?;
        Ok(Hdf5 { source, root })
    }

    /// All groups and data sets.
    pub fn tree(&self) -> Outcome<Tree> {
        self.group(&Header::read(&self.source, self.root)?, 0)
    }

    fn group(&self, header: &Header<'a>, depth: usize) -> Outcome<Tree> {
        if depth == DEEPEST {
            return Err(format!("its groups are nested more than {DEEPEST} deep"));
        }
        let mut tree = Tree { texts: types::texts(header, &self.source)?, ..Tree::default() };
        for (name, address) in group::links(header, &self.source)? {
            let inside = |error| format!("{name}: {error}");
            let member = Header::read(&self.source, address).map_err(inside)?;
            if member.first(kind::LAYOUT).is_some() {
                let dataset = Dataset::of(&member, &self.source).map_err(inside)?;
                tree.datasets.insert(name, dataset);
            } else {
                let group = self.group(&member, depth + 1).map_err(inside)?;
                tree.groups.insert(name, group);
            }
        }
        Ok(tree)
    }

    /// Fills `into`, which has the size of the data set, with its values: row-major, little-endian.
    pub fn read(&self, dataset: &Dataset, into: &mut [u8]) -> Outcome<()> {
        dataset.read(&self.source, into)
    }
}

/// What the file begins with: how wide its addresses and lengths are, and where its root group's header is.
fn superblock(bytes: &[u8], start: u64) -> Outcome<(Source<'_>, u64)> {
    let byte = |at: usize| bytes.get(at).copied().ok_or("it ends within its superblock");
    let version = byte(8)?;
    // Where the widths stand, where the addresses begin, and how many of those are between the base and the root's.
    let (widths, addresses, between) = match version {
        0 => (13, 24, 4),
        1 => (13, 28, 4),
        2 | 3 => (9, 12, 2),
        _ => return Err(format!("its superblock has version {version}; versions 0 to 3 are known")),
    };
    let source = Source::new(bytes, byte(widths)?, byte(widths + 1)?)?;
    let mut at = source.at(addresses)?;
    // Addresses count from the base, which is where the signature was found.
    let base = at.offset()?;
    if base != start && base != 0 {
        return Err(format!("its addresses count from byte {base}, but it begins at byte {start}"));
    }
    for _ in 0..between {
        at.offset()?;
    }
    let root = at.offset()?;
    Ok((source, root))
}
