//! Kernels against naive loops in f64, at every level that this machine has.

mod attention;
mod contraction;
mod convolution;
mod index;
mod math;
mod random;
mod sort;

use super::Bound;
use super::isa::Level;
use crate::program::{DimIndex, Kernel};

/// A table of dims in the making.
#[derive(Debug, Default)]
struct Dims(Vec<i64>);

impl Dims {
    fn add(&mut self, value: usize) -> DimIndex {
        self.0.push(value as i64);
        DimIndex(self.0.len() as u32 - 1)
    }
}

/// Numbers in [-1, 1) that look random, the same on every run.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| super::random::uniform(i, [seed as i64, 0], 1) * 2.0 - 1.0).collect()
}

/// 64-byte aligned scratch, with a guard behind it.
struct Scratch {
    memory: Vec<[u64; 8]>,
    bytes: usize,
}

impl Scratch {
    const GUARD: u64 = 0xDEAD_BEEF_F00D_CAFE;

    fn new(bytes: usize) -> Scratch {
        Scratch { memory: vec![[Scratch::GUARD; 8]; bytes.div_ceil(64) + 9], bytes }
    }

    fn start(&mut self) -> *mut u8 {
        let address = self.memory.as_mut_ptr().cast::<u8>();
        address.wrapping_add(address.align_offset(64))
    }

    fn check(&self) {
        let guards = &self.memory[self.bytes.div_ceil(64) + 1..];
        assert!(guards.iter().flatten().all(|&word| word == Scratch::GUARD), "scratch was overrun");
    }
}

/// Runs a kernel at a level over ranges that end at `cuts` (and at the extent), the last range first. The output has
/// canaries around it.
fn run(
    kernel: &Kernel,
    dims: &[i64],
    inputs: &[&[f32]],
    out: usize,
    extent: Option<usize>,
    level: Level,
    cuts: &[usize],
) -> Vec<f32> {
    const CANARY: f32 = 1234.5;
    const MARGIN: usize = 64;
    let bound = Bound::bind_at(kernel, dims, level).expect("the kernel binds");
    let extent = extent.unwrap_or(bound.extent());
    let mut scratch = Scratch::new(bound.scratch_bytes());
    let mut output = vec![CANARY; out + 2 * MARGIN];
    let mut buffers: Vec<*mut u8> = inputs.iter().map(|input| input.as_ptr().cast_mut().cast()).collect();
    buffers.push(output[MARGIN..].as_mut_ptr().cast());
    let stray = super::index::Stray::default();
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut % (extent + 1)).chain([0, extent]).collect();
    points.sort_unstable();
    for range in points.windows(2).rev() {
        // SAFETY: buffers and scratch are as large as the kernel's doc says.
        unsafe { bound.run(&buffers, range[0], range[1], scratch.start(), &stray) };
    }
    scratch.check();
    assert_eq!(stray.take(), None);
    assert!(output[..MARGIN].iter().chain(&output[MARGIN + out..]).all(|&x| x == CANARY), "written outside");
    output[MARGIN..MARGIN + out].to_vec()
}

/// Checks a kernel that writes all of its output at every level, whole and in pieces.
fn check(
    kernel: &Kernel,
    dims: &Dims,
    inputs: &[&[f32]],
    expected: &[f64],
    extent: Option<usize>,
    cuts: &[usize],
) {
    for level in Level::available() {
        let whole = run(kernel, &dims.0, inputs, expected.len(), extent, level, &[]);
        for (i, (&got, &want)) in whole.iter().zip(expected).enumerate() {
            // A thousand terms between -1 and 1 round so far, in the worst of many sums; a term too many would be ten thousand times that.
            let tolerance = 1e-4 * (1.0 + want.abs());
            assert!(
                (f64::from(got) - want).abs() <= tolerance,
                "{} {i}: {got} instead of {want}, {kernel:?} {:?}",
                level.name(),
                dims.0
            );
        }
        let pieces = run(kernel, &dims.0, inputs, expected.len(), extent, level, cuts);
        let same = whole.iter().zip(&pieces).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{}: other bits in pieces {cuts:?}, {kernel:?} {:?}", level.name(), dims.0);
    }
}

#[test]
fn bound_kernels_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Bound>();
}

#[test]
fn denormals_are_flushed_where_asked() {
    let product = || std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5);
    let flushed = std::thread::spawn(move || {
        super::isa::flush_denormals();
        product()
    });
    assert_eq!(flushed.join().expect("the thread ends well"), 0.0);
    assert_ne!(product(), 0.0);
}
