//! What this machine can do at best, measured: the roof under which benchmarks stand.

use super::isa::{Level, versions};
use super::tile::Family;
use super::vector::Vector;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long a measurement runs.
const DURATION: Duration = Duration::from_millis(30);

/// Independent chains of multiply-adds, enough to hide their latency.
const CHAINS: usize = 12;

/// GFLOP/s of fused multiply-adds in registers (a multiply-add counts 2), all threads together.
pub fn fma_peak_gflops(threads: usize) -> f64 {
    const ROUNDS: usize = 20_000;
    let level = Level::best();
    let flops = (2 * ROUNDS * CHAINS * Family::of(level).lanes) as f64;
    let work = || {
        let mut sum = 0.0;
        // SAFETY: the machine has the instructions of its best level.
        unsafe { multiply_adds(level, ROUNDS, &mut sum) };
        black_box(sum);
    };
    rate(threads, work) * flops / 1e9
}

/// GB/s of reading memory far beyond the caches, all threads together.
pub fn read_bandwidth_gbs(threads: usize) -> f64 {
    const BYTES: usize = 64 << 20;
    const PIECE: usize = 1 << 20;
    let memory = vec![1.0f32; BYTES / 4];
    let place = std::sync::atomic::AtomicUsize::new(0);
    let level = Level::best();
    rate(threads, || {
        let at = place.fetch_add(PIECE, std::sync::atomic::Ordering::Relaxed) % BYTES;
        let piece = &memory[at / 4..][..PIECE / 4];
        let mut sum = 0.0;
        // SAFETY: the machine has the instructions of its best level.
        unsafe { read(level, piece, &mut sum) };
        black_box(sum);
    }) * PIECE as f64
        / 1e9
}

/// Calls a second of `work`, on so many threads at once.
fn rate(threads: usize, work: impl Fn() + Sync) -> f64 {
    let run = || {
        let (start, mut calls) = (Instant::now(), 0u64);
        while start.elapsed() < DURATION {
            work();
            calls += 1;
        }
        calls as f64 / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(run)).collect();
        run() + others.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum::<f64>()
    })
}

versions! {
    /// `rounds` multiply-adds in each of [`CHAINS`] vectors.
    unsafe fn multiply_adds = multiply_adds_body<V>, (rounds: usize, sum: &mut f32)
}

#[inline(always)]
unsafe fn multiply_adds_body<V: Vector>(rounds: usize, sum: &mut f32) {
    let (factor, addend) = (black_box(0.5f32), black_box(1.0f32));
    // SAFETY: the caller has the vector's instruction set; one lane is stored.
    unsafe {
        let (factor, addend) = (V::splat(&factor), V::splat(&addend));
        let mut chains = [V::zero(); CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = chain.multiply_add(factor, addend);
            }
        }
        let total = chains.into_iter().fold(V::zero(), |total, chain| total.add(chain));
        total.store(sum, V::mask(1));
    }
}

versions! {
    /// Sums a piece of memory.
    unsafe fn read = read_body<V>, (piece: &[f32], sum: &mut f32)
}

#[inline(always)]
unsafe fn read_body<V: Vector>(piece: &[f32], sum: &mut f32) {
    const VECTORS: usize = 8;
    // SAFETY: whole chunks are read; one lane is stored.
    unsafe {
        let mask = V::mask(V::LANES);
        let mut sums = [V::zero(); VECTORS];
        for chunk in piece.chunks_exact(VECTORS * V::LANES) {
            for v in 0..VECTORS {
                sums[v] = sums[v].add(V::load(chunk.as_ptr().add(v * V::LANES), mask));
            }
        }
        let total = sums.into_iter().fold(V::zero(), |total, part| total.add(part));
        total.store(sum, V::mask(1));
    }
}
