//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
//!
//! Element `i` of a stream is lane `i % 4` of block `i / 4`. The block's counter is
//! `[lo(i / 4), hi(i / 4), lo(state[1]), hi(state[1])]`, its key `[lo(state[0]) ^ lo(key), hi(state[0]) ^ hi(key)]`, where
//! `state` is the run's seed and the number of the batch, and `key` names the place in the spec that draws. So an element
//! depends on nothing but its index, and any part of a stream can be drawn anywhere.
//!
//! - **uniform**: `(bits >> 8) · 2⁻²⁴`, in `[0, 1)`.
//! - **normal**: Box–Muller over the lanes `(0, 1)` and `(2, 3)`. Of a pair `b0, b1`: `r = √(-2 ln(((b0 >> 8) + 1) · 2⁻²⁴))`,
//!   `u = (b1 >> 8) · 2⁻²⁴`; the even lane is `r · cos 2πu`, the odd one `r · sin 2πu`, with the logarithm and the circular
//!   polynomials of [`super::math`].

use super::math::functions;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Blocks that are made side by side; with fewer, the compiler unrolls the loops over them before it would vectorise them.
const LANES: usize = 32;

/// A stable 64-bit name for a path: FNV-1a, its bits spread by SplitMix64's finaliser.
pub fn key(path: &str) -> u64 {
    let hash = path.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// Element `index` of a stream of bits.
pub fn bits(index: u64, state: [i64; 2], key: u64) -> u32 {
    let [c2, c3] = halves(state[1] as u64);
    let [c0, c1] = halves(index / 4);
    philox([c0, c1, c2, c3], philox_key(state, key))[(index % 4) as usize]
}

/// Element `index` of a stream of uniform numbers in `[0, 1)`.
pub fn uniform(index: u64, state: [i64; 2], key: u64) -> f32 {
    unit(bits(index, state, key))
}

/// Element `index` of a stream of standard normal numbers.
pub fn normal(index: u64, state: [i64; 2], key: u64) -> f32 {
    let pair = index & !1;
    box_muller(bits(pair, state, key), bits(pair | 1, state, key))[(index % 2) as usize]
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn philox_key(state: [i64; 2], key: u64) -> [u32; 2] {
    halves(state[0] as u64 ^ key)
}

/// Philox4x32-10 of one counter. The words live in the low halves of 64-bit ones, whose high halves are left to hold what
/// they may: a widening multiplication reads low halves only, and so costs one instruction.
#[inline(always)]
pub(super) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(u64::from);
    let [mut k0, mut k1] = key;
    let low = |word: u64| word & 0xFFFF_FFFF;
    for _ in 0..ROUNDS {
        let first = low(c0) * u64::from(MULTIPLIERS[0]);
        let second = low(c2) * u64::from(MULTIPLIERS[1]);
        c0 = (second >> 32) ^ c1 ^ u64::from(k0);
        c1 = second;
        c2 = (first >> 32) ^ c3 ^ u64::from(k1);
        c3 = first;
        (k0, k1) = (k0.wrapping_add(WEYL[0]), k1.wrapping_add(WEYL[1]));
    }
    [c0 as u32, c1 as u32, c2 as u32, c3 as u32]
}

#[inline(always)]
fn unit(bits: u32) -> f32 {
    // Below 2²⁴, so that the signed conversion, which every instruction set has, is exact.
    (bits >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[inline(always)]
fn box_muller(first: u32, second: u32) -> [f32; 2] {
    let open = ((first >> 8) + 1) as i32 as f32 * (1.0 / 16_777_216.0);
    let radius = (-2.0 * functions::log(open)).sqrt();
    let (sin, cos) = functions::sin_cos_turns(unit(second));
    [radius * cos, radius * sin]
}

/// Fills `dst` with `n` elements from `first` on, of which `make` makes a strip at a time from [`LANES`] blocks.
///
/// # Safety
/// `dst` holds `n` elements, `state` two.
#[inline(always)]
unsafe fn fill<T: Copy + Default>(
    dst: *mut T,
    first: u64,
    n: usize,
    state: *const i64,
    key: u64,
    make: impl Fn([[u32; LANES]; 4]) -> [[T; LANES]; 4],
) {
    // SAFETY: the caller's own promise.
    let state = unsafe { [*state, *state.add(1)] };
    let key = philox_key(state, key);
    let [c2, c3] = halves(state[1] as u64);
    let mut done = 0;
    while done < n {
        let at = first.wrapping_add(done as u64);
        let (block, skipped) = (at / 4, (at % 4) as usize);
        // Words by lane, so that the loop over blocks becomes vector code.
        let mut words = [[0; LANES]; 4];
        for i in 0..LANES {
            let [c0, c1] = halves(block + i as u64);
            [words[0][i], words[1][i], words[2][i], words[3][i]] = philox([c0, c1, c2, c3], key);
        }
        let lanes = make(words);
        let mut strip = [T::default(); 4 * LANES];
        for i in 0..LANES {
            for lane in 0..4 {
                strip[4 * i + lane] = lanes[lane][i];
            }
        }
        let count = (4 * LANES - skipped).min(n - done);
        // SAFETY: `done + count <= n`.
        unsafe { dst.add(done).copy_from_nonoverlapping(strip[skipped..].as_ptr(), count) };
        done += count;
    }
}

/// # Safety
/// `dst` holds `n` elements, `state` two.
#[inline(always)]
pub(super) unsafe fn fill_bits(dst: *mut u32, first: u64, n: usize, state: *const i64, key: u64) {
    // SAFETY: the caller's own promise.
    unsafe { fill(dst, first, n, state, key, |bits| bits) }
}

/// # Safety
/// `dst` holds `n` elements, `state` two.
#[inline(always)]
pub(super) unsafe fn fill_uniform(dst: *mut f32, first: u64, n: usize, state: *const i64, key: u64) {
    let make = |bits: [[u32; LANES]; 4]| bits.map(|lane| lane.map(unit));
    // SAFETY: the caller's own promise.
    unsafe { fill(dst, first, n, state, key, make) }
}

/// # Safety
/// `dst` holds `n` elements, `state` two.
#[inline(always)]
pub(super) unsafe fn fill_normal(dst: *mut f32, first: u64, n: usize, state: *const i64, key: u64) {
    let make = |bits: [[u32; LANES]; 4]| {
        let mut lanes = [[0.0; LANES]; 4];
        for pair in [0, 2] {
            for i in 0..LANES {
                let [even, odd] = box_muller(bits[pair][i], bits[pair + 1][i]);
                (lanes[pair][i], lanes[pair + 1][i]) = (even, odd);
            }
        }
        lanes
    };
    // SAFETY: the caller's own promise.
    unsafe { fill(dst, first, n, state, key, make) }
}
