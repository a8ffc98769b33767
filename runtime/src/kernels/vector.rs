//! Vectors of f32: AVX-512, AVX2 and four-lane arrays behind one trait.
//!
//! The methods are inlined into functions that enable the instruction set; anywhere else they must not be called.

use half::bf16;

/// One vector of f32 lanes.
///
/// # Safety
/// The methods need the instruction set of the vector; loads and stores need the memory of the lanes that the mask names.
pub trait Vector: Copy {
    const LANES: usize;
    type Mask: Copy;
    /// The mask of the first `count` lanes (all, if more).
    unsafe fn mask(count: usize) -> Self::Mask;
    unsafe fn zero() -> Self;
    unsafe fn splat(source: *const f32) -> Self;
    unsafe fn load(source: *const f32, mask: Self::Mask) -> Self;
    /// All lanes.
    unsafe fn load_full(source: *const f32) -> Self;
    unsafe fn store(self, target: *mut f32, mask: Self::Mask);
    /// All lanes.
    unsafe fn store_full(self, target: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    /// All lanes, from bf16.
    unsafe fn widen_bf16(source: *const bf16) -> Self;
    /// All lanes, from i8.
    unsafe fn widen_i8(source: *const i8) -> Self;
}

/// What elements of B may be kept as.
pub trait Element: Copy {
    /// Whether sums of it are multiplied by scales.
    const SCALED: bool;
    /// All lanes of a vector, as f32.
    ///
    /// # Safety
    /// As for the methods of [`Vector`].
    unsafe fn load_full<V: Vector>(source: *const Self) -> V;
    /// The lanes of the mask. What is kept narrow lies in panels that are whole: all lanes are read where `there` says that the panel exists,
    /// else none.
    ///
    /// # Safety
    /// As for the methods of [`Vector`].
    unsafe fn load<V: Vector>(source: *const Self, mask: V::Mask, there: bool) -> V;
    /// One element.
    fn widen(self) -> f32;
}

// SAFETY of all methods: see the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Element for f32 {
    const SCALED: bool = false;
    #[inline(always)]
    unsafe fn load_full<V: Vector>(source: *const f32) -> V {
        unsafe { V::load_full(source) }
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(source: *const f32, mask: V::Mask, _: bool) -> V {
        unsafe { V::load(source, mask) }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

// SAFETY of all methods: see the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Element for bf16 {
    const SCALED: bool = false;
    #[inline(always)]
    unsafe fn load_full<V: Vector>(source: *const bf16) -> V {
        unsafe { V::widen_bf16(source) }
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(source: *const bf16, _: V::Mask, there: bool) -> V {
        unsafe { if there { V::widen_bf16(source) } else { V::zero() } }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

// SAFETY of all methods: see the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Element for i8 {
    const SCALED: bool = true;
    #[inline(always)]
    unsafe fn load_full<V: Vector>(source: *const i8) -> V {
        unsafe { V::widen_i8(source) }
    }
    #[inline(always)]
    unsafe fn load<V: Vector>(source: *const i8, _: V::Mask, there: bool) -> V {
        unsafe { if there { V::widen_i8(source) } else { V::zero() } }
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

/// Asks for the line of an address, which is soon written. Any address will do: it is a hint.
#[inline(always)]
pub fn prefetch_to_write(target: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction touches no memory that a program can see, and faults at no address; where a processor lacks it, it does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) target, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// Asks for the line of an address, which is soon read. Any address will do.
#[inline(always)]
pub fn prefetch_to_read(source: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above; all processors of this architecture have the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(source.cast::<i8>());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = source;
}

/// Four lanes, which the compiler turns into the baseline's 128-bit vectors.
#[derive(Clone, Copy)]
pub struct Four([f32; 4]);

// SAFETY of all methods: see `Vector`.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Vector for Four {
    const LANES: usize = 4;
    /// The number of lanes.
    type Mask = usize;
    #[inline(always)]
    unsafe fn mask(count: usize) -> usize {
        count.min(4)
    }
    #[inline(always)]
    unsafe fn zero() -> Self {
        Four([0.0; 4])
    }
    #[inline(always)]
    unsafe fn splat(source: *const f32) -> Self {
        unsafe { Four([*source; 4]) }
    }
    #[inline(always)]
    unsafe fn load_full(source: *const f32) -> Self {
        unsafe { Four(source.cast::<[f32; 4]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn load(source: *const f32, mask: usize) -> Self {
        if mask == 4 {
            return unsafe { Four::load_full(source) };
        }
        Four(std::array::from_fn(|lane| if lane < mask { unsafe { *source.add(lane) } } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, mask: usize) {
        if mask == 4 {
            return unsafe { self.store_full(target) };
        }
        for lane in 0..mask {
            unsafe { *target.add(lane) = self.0[lane] }
        }
    }
    #[inline(always)]
    unsafe fn store_full(self, target: *mut f32) {
        unsafe { target.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Four(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // A fused multiply-add is one instruction in AArch64's baseline, and a library call in x86-64's.
        Four(std::array::from_fn(|lane| {
            if cfg!(target_arch = "aarch64") {
                self.0[lane].mul_add(factor.0[lane], sum.0[lane])
            } else {
                self.0[lane] * factor.0[lane] + sum.0[lane]
            }
        }))
    }
    #[inline(always)]
    unsafe fn widen_bf16(source: *const bf16) -> Self {
        let bits = unsafe { source.cast::<[u16; 4]>().read_unaligned() };
        Four(bits.map(|bits| f32::from_bits(u32::from(bits) << 16)))
    }
    #[inline(always)]
    unsafe fn widen_i8(source: *const i8) -> Self {
        Four(unsafe { source.cast::<[i8; 4]>().read_unaligned() }.map(f32::from))
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::Vector;
    use half::bf16;
    use std::arch::x86_64::*;

    /// 512 bits.
    #[derive(Clone, Copy)]
    pub struct Wide(__m512);

    // SAFETY of all methods: see `Vector`.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Vector for Wide {
        const LANES: usize = 16;
        type Mask = __mmask16;
        #[inline(always)]
        unsafe fn mask(count: usize) -> __mmask16 {
            ((1u32 << count.min(16)) - 1) as __mmask16
        }
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { Wide(_mm512_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn splat(source: *const f32) -> Self {
            unsafe { Wide(_mm512_set1_ps(*source)) }
        }
        #[inline(always)]
        unsafe fn load_full(source: *const f32) -> Self {
            unsafe { Wide(_mm512_loadu_ps(source)) }
        }
        #[inline(always)]
        unsafe fn load(source: *const f32, mask: __mmask16) -> Self {
            unsafe { Wide(_mm512_maskz_loadu_ps(mask, source)) }
        }
        #[inline(always)]
        unsafe fn store(self, target: *mut f32, mask: __mmask16) {
            unsafe { _mm512_mask_storeu_ps(target, mask, self.0) }
        }
        #[inline(always)]
        unsafe fn store_full(self, target: *mut f32) {
            unsafe { _mm512_storeu_ps(target, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Wide(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
            unsafe { Wide(_mm512_fmadd_ps(self.0, factor.0, sum.0)) }
        }
        #[inline(always)]
        unsafe fn widen_bf16(source: *const bf16) -> Self {
            unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()));
                Wide(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)))
            }
        }
        #[inline(always)]
        unsafe fn widen_i8(source: *const i8) -> Self {
            unsafe { Wide(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(source.cast())))) }
        }
    }

    /// 256 bits.
    #[derive(Clone, Copy)]
    pub struct Half(__m256);

    // SAFETY of all methods: see `Vector`.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Vector for Half {
        const LANES: usize = 8;
        type Mask = __m256i;
        #[inline(always)]
        unsafe fn mask(count: usize) -> __m256i {
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), lanes)
            }
        }
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { Half(_mm256_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn splat(source: *const f32) -> Self {
            unsafe { Half(_mm256_set1_ps(*source)) }
        }
        #[inline(always)]
        unsafe fn load_full(source: *const f32) -> Self {
            unsafe { Half(_mm256_loadu_ps(source)) }
        }
        #[inline(always)]
        unsafe fn load(source: *const f32, mask: __m256i) -> Self {
            unsafe { Half(_mm256_maskload_ps(source, mask)) }
        }
        #[inline(always)]
        unsafe fn store(self, target: *mut f32, mask: __m256i) {
            unsafe { _mm256_maskstore_ps(target, mask, self.0) }
        }
        #[inline(always)]
        unsafe fn store_full(self, target: *mut f32) {
            unsafe { _mm256_storeu_ps(target, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Half(_mm256_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
            unsafe { Half(_mm256_fmadd_ps(self.0, factor.0, sum.0)) }
        }
        #[inline(always)]
        unsafe fn widen_bf16(source: *const bf16) -> Self {
            unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast()));
                Half(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)))
            }
        }
        #[inline(always)]
        unsafe fn widen_i8(source: *const i8) -> Self {
            unsafe { Half(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(source.cast())))) }
        }
    }
}

/// The sum of lanes (a power of two of them), halved again and again.
#[inline(always)]
pub fn tree<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
