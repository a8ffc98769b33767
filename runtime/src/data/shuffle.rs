//! Orders of rows: a permutation is a function of its size, a stream, and a seed.
//!
//! Rows of more than a gigabyte are shuffled in [`Windows`]: blocks of neighbours in any order, and the rows of many such blocks
//! among themselves. So a disk is read in large pieces, however small the rows are. That this is done follows from the rows alone, not from
//! the machine, so that an order is the same everywhere.

/// The stream that picks rows to hold out; epochs use their own number, which never gets here.
pub const HOLD_OUT: u64 = u64::MAX;
/// The stream that picks the one batch of a training that sees no other.
pub const ONE_BATCH: u64 = u64::MAX - 1;
/// What the seed is changed by where batches are drawn, rather than rows.
pub const BUCKETS: u64 = 0x7765_6674_6275_636b;

/// The numbers `0..count`, shuffled (Fisher–Yates).
pub fn order(count: usize, stream: u64, seed: u64) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        let other = below(number(seed, stream, last as u64), last as u64 + 1);
        rows.swap(last, other as usize);
    }
    rows
}

/// Rows of more bytes than this are shuffled in windows.
const ANY_ORDER: u64 = 1 << 30;
/// Bytes of the neighbours that are read together.
const BLOCK: u64 = 1 << 20;
/// So many blocks are shuffled among themselves.
const BLOCKS: usize = 256;

/// An order in which rows that lie apart are also taken apart.
#[derive(Debug)]
pub struct Windows {
    /// Rows in all, and in a block; the last block may be shorter.
    count: usize,
    block: usize,
    /// The order of the blocks.
    blocks: Vec<u32>,
    stream: u64,
    seed: u64,
}

impl Windows {
    /// The windows of so many rows of so many bytes; none where any order will do.
    pub fn of(count: usize, row_bytes: usize, stream: u64, seed: u64) -> Option<Windows> {
        let bytes = (count as u64).saturating_mul(row_bytes as u64);
        (bytes > ANY_ORDER)
            .then(|| Windows::new(count, (BLOCK / row_bytes as u64).max(1) as usize, stream, seed))
    }

    fn new(count: usize, block: usize, stream: u64, seed: u64) -> Windows {
        Windows { count, block, blocks: order(count.div_ceil(block), stream, seed), stream, seed }
    }

    /// The blocks of each window: the first place of each, and the one after its last.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<(u32, u32)>> + '_ {
        let range = |block: &u32| {
            let first = *block as usize * self.block;
            (first as u32, (first + self.block).min(self.count) as u32)
        };
        self.blocks.chunks(BLOCKS).map(move |blocks| blocks.iter().map(range).collect())
    }

    /// The numbers `0..count`, window after window.
    pub fn order(&self) -> Vec<u32> {
        let mut rows = Vec::with_capacity(self.count);
        for (number, blocks) in (1..).zip(self.blocks()) {
            let window: Vec<u32> = blocks.into_iter().flat_map(|(first, end)| first..end).collect();
            let places = order(window.len(), self.stream, mix(self.seed).wrapping_add(number));
            rows.extend(places.into_iter().filter_map(|place| window.get(place as usize)));
        }
        rows
    }
}

/// The random number at a counter: no state, so that any number of a stream can be had at once.
fn number(seed: u64, stream: u64, counter: u64) -> u64 {
    mix(mix(mix(seed).wrapping_add(stream)).wrapping_add(counter))
}

/// A bijection of 64 bits whose output bits each depend on all input bits (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Scales a random number to `0..bound`. With 64 random bits, the bias is below `bound / 2⁶⁴`.
fn below(random: u64, bound: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_and_repeats() {
        for count in [0, 1, 2, 3, 10, 1000] {
            let mut rows = order(count, 3, 42);
            assert_eq!(rows, order(count, 3, 42));
            rows.sort_unstable();
            assert_eq!(rows, (0..count as u32).collect::<Vec<_>>());
        }
        assert_ne!(order(100, 3, 42), order(100, 4, 42));
        assert_ne!(order(100, 3, 42), order(100, 3, 43));
    }

    #[test]
    fn windows_hold_every_row_once_and_mix_what_lies_apart() {
        let count = 3 * BLOCKS * 7 + 5;
        let windows = Windows::new(count, 7, 3, 42);
        let rows = windows.order();
        assert_eq!(rows, Windows::new(count, 7, 3, 42).order());
        assert_ne!(rows, Windows::new(count, 7, 4, 42).order());
        assert_ne!(rows, Windows::new(count, 7, 3, 43).order());
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..count as u32).collect::<Vec<_>>());
        let sizes: Vec<usize> = windows.blocks().map(|blocks| blocks.len()).collect();
        assert_eq!(sizes, [BLOCKS, BLOCKS, BLOCKS, 1]);
        // The first window has rows from all over the data, and neighbours in it are rarely neighbours there.
        let first = &rows[..BLOCKS * 7];
        let quarters = first.iter().map(|row| *row as usize * 4 / count);
        assert!((0..4).all(|quarter| quarters.clone().filter(|q| *q == quarter).count() > BLOCKS));
        assert!(first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count() < 20);
    }

    #[test]
    fn only_rows_of_many_bytes_are_shuffled_in_windows() {
        assert!(Windows::of(1 << 20, 1 << 10, 0, 0).is_none());
        assert!(Windows::of((1 << 20) + 1, 1 << 10, 0, 0).is_some_and(|windows| windows.block == 1 << 10));
        assert!(Windows::of(1000, 1 << 23, 0, 0).is_some_and(|windows| windows.block == 1));
    }

    #[test]
    fn the_order_is_fixed_for_ever() {
        // A changed generator would silently change every training run.
        assert_eq!(order(10, 0, 1), [1, 2, 3, 9, 6, 0, 5, 7, 8, 4]);
    }

    #[test]
    fn every_row_reaches_every_place() {
        // 6 rows, 6000 orders: each (row, place) is expected 1000 times, with a deviation of 29.
        let mut counts = [[0u32; 6]; 6];
        for stream in 0..6000 {
            for (place, &row) in order(6, stream, 9).iter().enumerate() {
                counts[row as usize][place] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }
}
