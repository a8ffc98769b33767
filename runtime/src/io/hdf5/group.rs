//! What is in a group: names, and the addresses of what they name.

use super::Outcome;
use super::btree::{records, symbol_nodes};
use super::bytes::{Source, is_place};
use super::header::{Header, kind};
use super::heap::FractalHeap;

/// All hard links of a group, in the order in which they stand. Links by name, to this file or to others, lead to nothing
/// that isn't linked where it is.
pub fn links(header: &Header<'_>, source: &Source<'_>) -> Outcome<Vec<(String, u64)>> {
    let mut found = Vec::new();
    if header.first(kind::SYMBOL_TABLE).is_some() {
        from_symbol_table(header.needed(kind::SYMBOL_TABLE, "symbol table")?, source, &mut found)?;
    }
    for message in header.all(kind::LINK) {
        found.extend(link(message.data, source)?);
    }
    if header.first(kind::LINK_INFO).is_some() {
        from_heap(header.needed(kind::LINK_INFO, "table of links")?, source, &mut found)?;
    }
    Ok(found)
}

/// The old form: a tree of leaves with symbols, whose names are in a heap.
fn from_symbol_table<'a>(data: &'a [u8], source: &Source<'a>, found: &mut Vec<(String, u64)>) -> Outcome<()> {
    let mut at = source.within(data);
    let (tree, heap) = (at.offset()?, at.offset()?);
    let mut at = source.at(heap)?;
    at.expect(b"HEAP", "heap of names")?;
    at.skip(4)?;
    let size = at.length()?;
    at.length()?;
    // Paid for name by name: the names of a large group are looked up one at a time.
    let names = at.offset()?;
    for node in symbol_nodes(source, tree)? {
        let mut at = source.at(node)?;
        at.expect(b"SNOD", "node of symbols")?;
        at.skip(2)?;
        for _ in 0..at.u16()? {
            let (name, address, cached) = (at.offset()?, at.offset()?, at.u32()?);
            at.skip(20)?;
            // 2: a link by name, without an address.
            if cached != 2 {
                if name >= size {
                    return Err("a name lies outside of its heap".into());
                }
                let place = names.checked_add(name).ok_or("a name lies outside of the file")?;
                found.push((source.at(place)?.name()?, address));
            }
        }
    }
    Ok(())
}

/// The newer form for many links: messages in a heap, found through a tree.
fn from_heap<'a>(data: &'a [u8], source: &Source<'a>, found: &mut Vec<(String, u64)>) -> Outcome<()> {
    let mut at = source.within(data);
    at.version(0, "table of links")?;
    if at.u8()? & 1 != 0 {
        at.skip(8)?;
    }
    let (heap, tree) = (at.offset()?, at.offset()?);
    if !is_place(heap) {
        return Ok(());
    }
    let heap = FractalHeap::read(source, heap)?;
    for record in records(source, tree, 5)? {
        // The name's hash, then where the message is in the heap.
        let id = record.get(4..).ok_or("a record of a link is too short")?;
        found.extend(link(heap.object(source, id)?, source)?);
    }
    Ok(())
}

/// A link message; `None` for links by name.
fn link<'a>(data: &'a [u8], source: &Source<'a>) -> Outcome<Option<(String, u64)>> {
    let mut at = source.within(data);
    at.version(1, "link")?;
    let flags = at.u8()?;
    let hard = flags & 8 == 0 || at.u8()? == 0;
    if flags & 4 != 0 {
        at.skip(8)?;
    }
    if flags & 0x10 != 0 {
        at.skip(1)?;
    }
    let length = at.uint(1 << (flags & 3))?;
    let name = super::bytes::text(at.take(length)?);
    if hard { Ok(Some((name, at.offset()?))) } else { Ok(None) }
}
