//! The two kinds of B-trees that lead to what a structure holds. All of a tree is read; nothing is looked up.

use super::Outcome;
use super::bytes::{Cursor, Source, width_of};

/// Trees of sound files are flat: each level holds many times as many entries as the one above.
const DEEPEST: u16 = 16;

/// The first kind, as an index of a group: the addresses of its nodes of symbols.
pub fn symbol_nodes(source: &Source<'_>, address: u64) -> Outcome<Vec<u64>> {
    let mut found = Vec::new();
    let key = source.length_size().into();
    walk(source, address, 0, key, &mut |_, child| {
        found.push(child);
        Ok(())
    })?;
    Ok(found)
}

/// Visits all leaves of a tree of the first kind: each entry's key, and the address that it leads to.
pub fn walk<'a>(
    source: &Source<'a>,
    address: u64,
    node_type: u8,
    key: u64,
    visit: &mut dyn FnMut(&'a [u8], u64) -> Outcome<()>,
) -> Outcome<()> {
    let mut nodes = vec![(address, None)];
    while let Some((address, expected)) = nodes.pop() {
        let mut at = source.at(address)?;
        at.expect(b"TREE", "node of a tree")?;
        if at.u8()? != node_type {
            return Err("a tree is of another kind than it should be".into());
        }
        let level = u16::from(at.u8()?);
        if level > DEEPEST || expected.is_some_and(|expected| level != expected) {
            return Err("the levels of a tree are out of order".into());
        }
        let entries = at.u16()?;
        // The siblings are met from above.
        at.offset()?;
        at.offset()?;
        let first = nodes.len();
        for _ in 0..entries {
            let (key, child) = (at.take(key)?, at.offset()?);
            match level.checked_sub(1) {
                None => visit(key, child)?,
                below => nodes.push((child, below)),
            }
        }
        // In the order of the keys: the last of a stack comes first.
        nodes[first..].reverse();
    }
    Ok(())
}

/// All records of a tree of the second kind.
pub fn records<'a>(source: &Source<'a>, address: u64, node_type: u8) -> Outcome<Vec<&'a [u8]>> {
    let mut at = source.at(address)?;
    at.expect(b"BTHD", "head of a tree")?;
    at.version(0, "tree")?;
    if at.u8()? != node_type {
        return Err("a tree is of another kind than it should be".into());
    }
    let (node, record, depth) = (at.u32()?, at.u16()?, at.u16()?);
    at.skip(2)?;
    let (root, count) = (at.offset()?, at.u16()?);
    if depth > DEEPEST {
        return Err(format!("a tree is {depth} levels deep"));
    }
    let mut found = Vec::new();
    if count > 0 {
        let widths = Widths::of(source, node.into(), record.into(), depth)?;
        node_records(source, &widths, root, count.into(), depth, node_type, &mut found)?;
    }
    Ok(found)
}

/// How wide the numbers are that tell how much is below an entry: as wide as the fullest tree needs them.
struct Widths {
    record: u64,
    /// Of the count of records in a child.
    child: u8,
    /// Of the count of all records below a child, by the child's depth; a leaf has none.
    below: Vec<u8>,
}

impl Widths {
    fn of(source: &Source<'_>, node: u64, record: u64, depth: u16) -> Outcome<Widths> {
        /// What a node begins with, and its checksum.
        const PREFIX: u64 = 10;
        let leaf = node.checked_sub(PREFIX).and_then(|room| room.checked_div(record));
        let leaf = leaf.filter(|&most| most > 0).ok_or("the nodes of a tree are too small")?;
        let child = width_of(leaf);
        let (mut below, mut most) = (vec![0], leaf);
        for _ in 0..depth {
            let last = below.last().copied().unwrap_or(0);
            let pointer = u64::from(source.offset_size() + child + last);
            let room = node.checked_sub(PREFIX + pointer).ok_or("the nodes of a tree are too small")?;
            let here = room / (record + pointer);
            most = (here + 1).saturating_mul(most).saturating_add(here);
            below.push(width_of(most));
        }
        Ok(Widths { record, child, below })
    }
}

fn node_records<'a>(
    source: &Source<'a>,
    widths: &Widths,
    address: u64,
    count: u64,
    depth: u16,
    node_type: u8,
    found: &mut Vec<&'a [u8]>,
) -> Outcome<()> {
    let mut at: Cursor<'_, 'a> = source.at(address)?;
    at.expect(if depth == 0 { b"BTLF" } else { b"BTIN" }, "node of a tree")?;
    at.version(0, "node of a tree")?;
    if at.u8()? != node_type {
        return Err("a node is of another kind than its tree".into());
    }
    for _ in 0..count {
        found.push(at.take(widths.record)?);
    }
    if depth > 0 {
        let below = widths.below.get(usize::from(depth) - 1).copied().unwrap_or(0);
        for _ in 0..=count {
            let (child, own) = (at.offset()?, at.uint(widths.child)?);
            at.uint(below)?;
            node_records(source, widths, child, own, depth - 1, node_type, found)?;
        }
    }
    Ok(())
}
