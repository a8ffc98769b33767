//! Orders of rows: a permutation is a function of its size, a stream, and a seed.

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
