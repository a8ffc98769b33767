//! Counter-based random numbers, element by element, as the runtime's kernels define them.
//!
//! Element `i` of a stream is lane `i % 4` of the Philox4x32-10 block whose counter is `i / 4` and the batch number, under a key of
//! the seed and the stream's name: any element can be made anywhere, in any order.

/// The key of a stream: FNV-1a of its name, its bits spread by SplitMix64's finaliser.
pub fn key(path: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Element `i`, in [0, 1), a multiple of 2⁻²⁴. `state` is (seed, batch number).
pub fn uniform(i: u64, state: [i64; 2], key: u64) -> f32 {
    unit(block(i / 4, state, key)[(i % 4) as usize])
}

/// Element `i` of a standard normal distribution: Box–Muller over the pairs of lanes (0, 1) and (2, 3).
pub fn normal(i: u64, state: [i64; 2], key: u64) -> f32 {
    let lanes = block(i / 4, state, key);
    let pair = (i % 4) as usize & 2;
    // Shifted by one step into (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (unit(lanes[pair]) + 2f32.powi(-24)).ln()).sqrt();
    let angle = 2.0 * std::f32::consts::PI * unit(lanes[pair + 1]);
    radius * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
}

fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * 2f32.powi(-24)
}

fn block(place: u64, [seed, batch]: [i64; 2], key: u64) -> [u32; 4] {
    let low = |v: u64| v as u32;
    let high = |v: u64| (v >> 32) as u32;
    let (seed, batch) = (seed as u64, batch as u64);
    philox([low(place), high(place), low(batch), high(batch)], [low(seed) ^ low(key), high(seed) ^ high(key)])
}

/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |m: u32, c: u32| {
            let wide = u64::from(m) * u64::from(c);
            ((wide >> 32) as u32, wide as u32)
        };
        let (high0, low0) = product(0xD251_1F53, counter[0]);
        let (high1, low1) = product(0xCD9E_8D57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the Random123 library.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }
}
