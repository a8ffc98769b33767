//! A set of bytes, one bit each.

use std::ops::Range;

#[derive(Clone, Debug)]
pub struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    pub fn new(length: usize) -> Self {
        Bits { words: vec![0; length.div_ceil(64)], length }
    }

    /// The bits of a range within one word, and that word; longer ranges come in pieces.
    #[inline]
    fn pieces(start: usize, count: usize) -> impl Iterator<Item = (usize, u64)> {
        let (mut at, end) = (start, start + count);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (word, low) = (at / 64, at % 64);
            let many = (64 - low).min(end - at);
            let mask = if many == 64 { u64::MAX } else { ((1 << many) - 1) << low };
            at += many;
            Some((word, mask))
        })
    }

    /// The word and the mask of a range within one word.
    #[inline]
    fn within(start: usize, count: usize) -> Option<(usize, u64)> {
        let low = start % 64;
        (low + count < 64).then(|| (start / 64, ((1 << count) - 1) << low))
    }

    #[inline]
    pub fn all(&self, start: usize, count: usize) -> bool {
        if let Some((word, mask)) = Self::within(start, count) {
            return self.words[word] & mask == mask;
        }
        Self::pieces(start, count).all(|(word, mask)| self.words[word] & mask == mask)
    }

    #[inline]
    pub fn any(&self, start: usize, count: usize) -> bool {
        if let Some((word, mask)) = Self::within(start, count) {
            return self.words[word] & mask != 0;
        }
        Self::pieces(start, count).any(|(word, mask)| self.words[word] & mask != 0)
    }

    #[inline]
    pub fn set(&mut self, start: usize, count: usize) {
        if let Some((word, mask)) = Self::within(start, count) {
            self.words[word] |= mask;
            return;
        }
        for (word, mask) in Self::pieces(start, count) {
            self.words[word] |= mask;
        }
    }

    #[inline]
    pub fn clear(&mut self, start: usize, count: usize) {
        for (word, mask) in Self::pieces(start, count) {
            self.words[word] &= !mask;
        }
    }

    pub fn put(&mut self, at: usize, value: bool) {
        if value { self.set(at, 1) } else { self.clear(at, 1) }
    }

    pub fn clear_all(&mut self) {
        self.words.fill(0);
    }

    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// The runs of bytes that are in the set.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (word, bits) in self.words.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            let mut left = *bits;
            while left != 0 {
                let start = left.trailing_zeros() as usize;
                let many = (left >> start).trailing_ones() as usize;
                let first = 64 * word + start;
                match runs.last_mut() {
                    Some(last) if last.end == first => last.end = first + many,
                    _ => runs.push(first..first + many),
                }
                left &= if start + many == 64 { 0 } else { u64::MAX << (start + many) };
            }
        }
        runs
    }

    pub fn is_full(&self) -> bool {
        self.all(0, self.length)
    }
}

/// Copies a few bytes; accesses have few lengths, and a call for each would cost more than the copy.
#[inline]
pub(super) fn copy(to: &mut [u8], from: &[u8]) {
    macro_rules! lengths {
        ($($n:literal),*) => {
            match from.len() {
                $($n => {
                    if let (Some(to), Some(from)) = (to.first_chunk_mut::<$n>(), from.first_chunk::<$n>()) {
                        *to = *from;
                    }
                })*
                _ => to.copy_from_slice(from),
            }
        };
    }
    lengths!(1, 2, 4, 8, 16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_across_words() {
        let mut bits = Bits::new(200);
        bits.set(60, 80);
        assert!(bits.all(60, 80) && !bits.all(59, 2) && !bits.any(140, 60) && bits.any(139, 1));
        assert_eq!(bits.count(), 80);
        bits.clear(64, 64);
        assert_eq!(bits.count(), 16);
        assert_eq!(bits.runs(), [60..64, 128..140]);
        bits.set(0, 200);
        assert!(bits.is_full());
        assert!(bits.runs().into_iter().eq(std::iter::once(0..200)));
    }
}
