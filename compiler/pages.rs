//! Lets an executable begin even where pages at its end are missing, so that it can say so itself (`stub/src/whole.rs`).
//!
//! Memory that begins as zeros follows a segment's bytes within their last page, and the kernel clears it there before anything runs: where the file ends
//! before that page, it kills the process. So those zeros become bytes of the file, up to the end of the page, and nothing is left to clear. The table of
//! sections, which stands behind the segments and which nothing reads that runs, gives way. (*System V Application Binary Interface*, chapter 5.)

/// Bytes of a page, and of a program header.
const PAGE: u64 = 4096;
const HEADER: usize = 56;

/// The type of a segment that is loaded.
const LOADED: u64 = 1;

/// Fills up the last pages of an executable's segments. What is no executable of 64 bits, least byte first, stays as it is.
pub fn fill(file: Vec<u8>) -> Vec<u8> {
    filled(&file).unwrap_or(file)
}

fn filled(file: &[u8]) -> Option<Vec<u8>> {
    let number = |at: usize, bytes: usize| {
        let bytes = file.get(at..at.checked_add(bytes)?)?;
        Some(bytes.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
    };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (first, count) = (usize::try_from(number(32, 8)?).ok()?, number(56, 2)?);
    let mut loaded = Vec::new();
    for at in (0..count as usize).map(|header| first + header * HEADER) {
        if number(at, 4)? == LOADED {
            loaded.push((at, number(at + 8, 8)?, number(at + 32, 8)?));
        }
    }
    let end = loaded.iter().map(|(_, offset, bytes)| offset + bytes).max()?;
    let mut made = file.get(..usize::try_from(end).ok()?)?.to_vec();
    for (at, offset, bytes) in loaded {
        let (address, memory) = (number(at + 16, 8)?, number(at + 40, 8)?);
        if memory <= bytes {
            continue;
        }
        let page = (address + bytes).next_multiple_of(PAGE) - (address + bytes);
        let more = if offset + bytes == end {
            made.resize(made.len() + page as usize, 0);
            page
        } else {
            // What follows in the file is the next segment's, and nobody reads it here.
            page.min(memory - bytes)
        };
        made.get_mut(at + 32..at + 40)?.copy_from_slice(&(bytes + more).to_le_bytes());
        made.get_mut(at + 40..at + 48)?.copy_from_slice(&memory.max(bytes + more).to_le_bytes());
    }
    // Where the table of sections begins, the size of an entry, how many there are, and which has their names.
    made.get_mut(40..48)?.fill(0);
    made.get_mut(58..64)?.fill(0);
    Some(made)
}
