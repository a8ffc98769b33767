//! What chunks go through before they are written, undone.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::Outcome;
use super::bytes::Cursor;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Deflate,
    /// All first bytes of the elements, then all second ones, … The elements' size.
    Shuffle(usize),
    Fletcher,
}

impl Filter {
    /// The filters of a pipeline message, in the order of writing.
    pub fn all(mut at: Cursor<'_, '_>) -> Outcome<Vec<Filter>> {
        let (version, count) = (at.u8()?, at.u8()?);
        if version != 1 && version != 2 {
            return Err(format!("its filters have version {version}; versions 1 and 2 are known"));
        }
        if version == 1 {
            at.skip(6)?;
        }
        (0..count).map(|_| Filter::one(&mut at, version)).collect()
    }

    fn one(at: &mut Cursor<'_, '_>, version: u8) -> Outcome<Filter> {
        let id = at.u16()?;
        // The newer version names only filters that HDF5 doesn't define.
        let named = if version == 1 || id >= 256 { at.u16()? } else { 0 };
        at.skip(2)?;
        let values = u64::from(at.u16()?);
        let padding = if version == 1 { u64::from(named).next_multiple_of(8) } else { named.into() };
        at.skip(padding)?;
        let mut values_at = at.clone();
        at.skip(4 * (values + if version == 1 { values % 2 } else { 0 }))?;
        match id {
            1 => Ok(Filter::Deflate),
            2 if values > 0 => Ok(Filter::Shuffle(values_at.u32()? as usize)),
            3 => Ok(Filter::Fletcher),
            4 => Err("it is compressed with szip, which is not read here; write it with gzip".into()),
            32000 => Err("it is compressed with lzf, which is not read here; write it with gzip".into()),
            _ => Err(format!("it went through filter {id}, which is not read here; write it with gzip")),
        }
    }
}

/// A chunk as it was before the filters. `skipped` has a bit for each filter that this chunk didn't go through. What comes
/// out has `size` bytes, or there is an error.
pub fn undo(filters: &[Filter], skipped: u32, bytes: &[u8], size: usize) -> Outcome<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for (number, filter) in filters.iter().enumerate().rev() {
        if number < 32 && skipped >> number & 1 != 0 {
            continue;
        }
        match filter {
            Filter::Deflate => bytes = inflate(&bytes, size)?,
            Filter::Shuffle(width) => bytes = unshuffle(&bytes, *width),
            Filter::Fletcher => {
                let end = bytes.len().checked_sub(4).ok_or("a chunk is shorter than its checksum")?;
                let kept = bytes.split_off(end);
                let kept = kept.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
                let sum = fletcher(&bytes);
                // Early versions of HDF5 wrote the bytes of each half the other way round.
                let halves_swapped = (sum & 0x00ff_00ff) << 8 | (sum & 0xff00_ff00) >> 8;
                if kept != sum && kept != halves_swapped {
                    return Err("a chunk is damaged: its checksum differs".into());
                }
            }
        }
    }
    if bytes.len() == size {
        Ok(bytes)
    } else {
        Err(format!("a chunk holds {} bytes instead of {size}", bytes.len()))
    }
}

/// At most a checksum more than `size` comes out, whatever is in it: memory grows with what was really there.
fn inflate(bytes: &[u8], size: usize) -> Outcome<Vec<u8>> {
    let most = (size as u64).saturating_add(4);
    let mut whole = Vec::new();
    let read = ZlibDecoder::new(bytes).take(most.saturating_add(1)).read_to_end(&mut whole);
    match read {
        Ok(_) if whole.len() as u64 <= most => Ok(whole),
        Ok(_) => Err("a chunk holds more than its shape".into()),
        Err(error) => Err(format!("a chunk is damaged: {error}")),
    }
}

fn unshuffle(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(width).unwrap_or(0);
    if width < 2 || count < 2 {
        return bytes.to_vec();
    }
    let mut whole = Vec::with_capacity(bytes.len());
    for element in 0..count {
        whole.extend((0..width).map(|byte| bytes[byte * count + element]));
    }
    // What is no whole element stays at the end.
    whole.extend_from_slice(&bytes[width * count..]);
    whole
}

/// Fletcher's sums over words of two bytes, the first byte in front.
fn fletcher(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    // As many words as the sums can take before they must be folded.
    for block in bytes.chunks(2 * 360) {
        for word in block.chunks(2) {
            low += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&byte| byte.into());
            high += low;
        }
        (low, high) = (fold(low), fold(high));
    }
    fold(high) << 16 | fold(low)
}
