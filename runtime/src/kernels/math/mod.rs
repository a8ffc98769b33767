//! The vector math library: functions of strips of elements, which generated code calls through [`table`].
//!
//! f32 functions are branch-free `functions` that the compiler vectorises for each instruction set; f64 ones are plain
//! loops over the standard library. An element's bits depend on its value alone: not on its place in a strip, and (up to
//! the fused multiply-add, which a processor without one emulates slowly) not on the instruction set.

pub(super) mod functions;

use super::isa::Level;
use super::{random, vector};
use std::sync::OnceLock;

/// Places in the [`table`].
///
/// Unary functions are `extern "C" fn(dst: *mut T, src: *const T, n: usize)`, `Pow` takes two sources; `dst` may be a source.
/// Random ones are `extern "C" fn(dst: *mut T, first: u64, n: usize, state: *const i64, key: u64)` (see [`super::random`]).
/// Those of a sum are [`OfSum`]: a gate of a recurrent cell, of a product and a bias that are read where they lie.
/// `Fetch` is a [`Lines`], and computes nothing.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MathFunction {
    Exp,
    Expm1,
    Log,
    Log1p,
    Tanh,
    Sigmoid,
    Erf,
    Sin,
    Cos,
    Pow,
    Exp64,
    Expm164,
    Log64,
    Log1p64,
    Tanh64,
    Sigmoid64,
    Erf64,
    Sin64,
    Cos64,
    Pow64,
    Uniform,
    Normal,
    Bits,
    TanhOfSum,
    SigmoidOfSum,
    Fetch,
}

/// The number of functions in the [`table`].
pub const COUNT: usize = MathFunction::Fetch as usize + 1;

/// A unary function of a strip.
pub type Unary<T> = unsafe extern "C" fn(dst: *mut T, src: *const T, n: usize);
/// A binary function of a strip.
pub type Binary<T> = unsafe extern "C" fn(dst: *mut T, a: *const T, b: *const T, n: usize);
/// A function of the sums of two operands, times a factor, plus an addend: `f(a + b) · factor + addend`, rounded once behind the function, for so many
/// rows of `n` elements. A row of an operand is a number of elements behind the one before; results lie row behind row. Null: there is no addend,
/// or neither is there.
pub type OfSum<T> = unsafe extern "C" fn(
    dst: *mut T,
    a: *const T,
    a_step: isize,
    b: *const T,
    b_step: isize,
    factor: *const T,
    factor_step: isize,
    addend: *const T,
    addend_step: isize,
    rows: usize,
    n: usize,
);
/// Asks for the lines of so many rows of `bytes` bytes, `step` bytes apart, that are soon written. Any address will do.
pub type Lines = extern "C" fn(start: *const u8, step: isize, rows: usize, bytes: usize);
/// Random numbers from element `first` of a stream on.
pub type Random<T> = unsafe extern "C" fn(dst: *mut T, first: u64, n: usize, state: *const i64, key: u64);

struct Table([*const (); COUNT]);

// SAFETY: addresses of functions, which are the same for every thread.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

/// The functions by [`MathFunction`], for the widest instruction set of this machine.
pub fn table() -> &'static [*const (); COUNT] {
    table_at(Level::best())
}

/// The functions for one instruction set, which the machine must have.
pub fn table_at(level: Level) -> &'static [*const (); COUNT] {
    static TABLES: OnceLock<[Table; 3]> = OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        [
            Table(portable::table()),
            #[cfg(target_arch = "x86_64")]
            Table(avx2::table()),
            #[cfg(not(target_arch = "x86_64"))]
            Table(portable::table()),
            #[cfg(target_arch = "x86_64")]
            Table(avx512::table()),
            #[cfg(not(target_arch = "x86_64"))]
            Table(portable::table()),
        ]
    });
    &tables[level.min(Level::best()) as usize].0
}

/// Elements that are worked on together: one vector of the widest registers, so that a function's steps stay in them.
const LANES: usize = 16;
/// Bytes of a line of the caches.
const LINE: usize = 64;
/// Elements that are looked through together for rare arguments.
const STRIP: usize = 64;

/// # Safety
/// `dst` and the sources hold `n` elements; `dst` may be one of them.
#[inline(always)]
unsafe fn strips<T: Copy + Default, const N: usize>(
    dst: *mut T,
    sources: [*const T; N],
    n: usize,
    function: impl Fn([T; N]) -> T,
) {
    let whole = n - n % LANES;
    for done in (0..whole).step_by(LANES) {
        // SAFETY: `done + LANES <= n`.
        unsafe { lanes(dst.add(done), sources.map(|source| source.add(done)), &function) };
    }
    // A shorter rest is padded, so that it takes the same path.
    let rest = n - whole;
    if rest > 0 {
        let (mut strip, mut values) = ([[T::default(); LANES]; N], [T::default(); LANES]);
        // SAFETY: `whole + rest == n`.
        unsafe {
            for (part, source) in strip.iter_mut().zip(sources) {
                part.as_mut_ptr().copy_from_nonoverlapping(source.add(whole), rest);
            }
            lanes(values.as_mut_ptr(), std::array::from_fn(|part| strip[part].as_ptr()), &function);
            dst.add(whole).copy_from_nonoverlapping(values.as_ptr(), rest);
        }
    }
}

/// A unary function of sums, row by row, as [`OfSum`] has it.
///
/// # Safety
/// `dst` holds `rows · n` elements, and each row of an operand that is there `n`; `dst` is none of them.
#[inline(always)]
unsafe fn rows_of_sums(
    dst: *mut f32,
    [a, b, factor, addend]: [(*const f32, isize); 4],
    rows: usize,
    n: usize,
    function: impl Fn(f32) -> f32,
) {
    let is_there = |(start, _): (*const f32, isize)| !start.is_null();
    for row in 0..rows {
        let at = |(start, step): (*const f32, isize)| start.wrapping_offset(row as isize * step);
        let (a, b) = (at(a), at(b));
        // SAFETY: the caller's own promises.
        unsafe {
            let dst = dst.add(row * n);
            if is_there(addend) {
                let operands = [a, b, at(factor), at(addend)];
                strips(dst, operands, n, |[a, b, factor, addend]| function(a + b).mul_add(factor, addend));
            } else if is_there(factor) {
                strips(dst, [a, b, at(factor)], n, |[a, b, factor]| function(a + b) * factor);
            } else {
                strips(dst, [a, b], n, |[a, b]| function(a + b));
            }
        }
    }
}

/// See [`Lines`].
extern "C" fn fetch(start: *const u8, step: isize, rows: usize, bytes: usize) {
    for row in 0..rows {
        let row = start.wrapping_offset(row as isize * step);
        for at in (0..bytes).step_by(LINE) {
            vector::prefetch_to_write(row.wrapping_add(at).cast());
        }
    }
}

/// # Safety
/// As for [`strips`], with [`LANES`] elements.
#[inline(always)]
unsafe fn lanes<T: Copy + Default, const N: usize>(
    dst: *mut T,
    sources: [*const T; N],
    function: &impl Fn([T; N]) -> T,
) {
    // SAFETY: the caller's own promises; all is read before anything is written.
    unsafe {
        let parts: [[T; LANES]; N] = sources.map(|source| source.cast::<[T; LANES]>().read_unaligned());
        let mut values = [T::default(); LANES];
        for i in 0..LANES {
            values[i] = function(std::array::from_fn(|part| parts[part][i]));
        }
        dst.cast::<[T; LANES]>().write_unaligned(values);
    }
}

/// Sine or cosine, whose rare arguments beyond the quick reduction are done again, one by one.
///
/// # Safety
/// As for [`strips`].
#[inline(always)]
unsafe fn circular(
    dst: *mut f32,
    src: *const f32,
    n: usize,
    function: impl Fn(f32) -> f32,
    exact: impl Fn(f64) -> f64,
) {
    let mut done = 0;
    while done < n {
        let count = STRIP.min(n - done);
        // SAFETY: `done + count <= n`.
        unsafe {
            let mut kept = [0.0f32; STRIP];
            kept.as_mut_ptr().copy_from_nonoverlapping(src.add(done), count);
            strips(dst.add(done), [kept.as_ptr()], count, |[x]| function(x));
            let large = kept.iter().fold(0.0f32, |large, x| if x.abs() > large { x.abs() } else { large });
            if large > functions::CIRCULAR_LIMIT {
                for (i, &x) in kept[..count].iter().enumerate() {
                    if x.abs() > functions::CIRCULAR_LIMIT {
                        *dst.add(done + i) = exact(f64::from(x)) as f32;
                    }
                }
            }
        }
        done += count;
    }
}

/// One instruction set's functions, and the table of them in the order of [`MathFunction`].
macro_rules! level {
    ($name:ident, $(#[$features:meta])*) => {
        mod $name {
            use super::{COUNT, circular, functions, random, rows_of_sums, strips};

            level!(@unary f32 [$(#[$features])*] exp functions::exp, expm1 functions::expm1, log functions::log,
                log1p functions::log1p, tanh functions::tanh, sigmoid functions::sigmoid, erf functions::erf);
            level!(@circular [$(#[$features])*] sin f64::sin, cos f64::cos);
            level!(@binary f32 [$(#[$features])*] pow functions::pow);
            level!(@random [$(#[$features])*] uniform f32 random::fill_uniform, normal f32 random::fill_normal,
                bits u32 random::fill_bits);
            level!(@of_sum f32 [$(#[$features])*] tanh_of_sum functions::tanh, sigmoid_of_sum functions::sigmoid);

            pub fn table() -> [*const (); COUNT] {
                use super::double;
                [
                    exp as *const (),
                    expm1 as *const (),
                    log as *const (),
                    log1p as *const (),
                    tanh as *const (),
                    sigmoid as *const (),
                    erf as *const (),
                    sin as *const (),
                    cos as *const (),
                    pow as *const (),
                    double::exp as *const (),
                    double::expm1 as *const (),
                    double::log as *const (),
                    double::log1p as *const (),
                    double::tanh as *const (),
                    double::sigmoid as *const (),
                    double::erf as *const (),
                    double::sin as *const (),
                    double::cos as *const (),
                    double::pow as *const (),
                    uniform as *const (),
                    normal as *const (),
                    bits as *const (),
                    tanh_of_sum as *const (),
                    sigmoid_of_sum as *const (),
                    super::fetch as *const (),
                ]
            }
        }
    };
    (@unary $type:ident $features:tt $($name:ident $function:path),*) => {
        $(level!(@function $features $name (dst: *mut $type, src: *const $type, n: usize)
            strips(dst, [src], n, |[x]| $function(x)));)*
    };
    (@circular $features:tt $($name:ident $exact:path),*) => {
        $(level!(@function $features $name (dst: *mut f32, src: *const f32, n: usize)
            circular(dst, src, n, functions::$name, $exact));)*
    };
    (@binary $type:ident $features:tt $($name:ident $function:path),*) => {
        $(level!(@function $features $name (dst: *mut $type, a: *const $type, b: *const $type, n: usize)
            strips(dst, [a, b], n, |[a, b]| $function(a, b)));)*
    };
    (@of_sum $type:ident $features:tt $($name:ident $function:path),*) => {
        $(level!(@function $features $name (dst: *mut $type, a: *const $type, a_step: isize, b: *const $type, b_step: isize,
            factor: *const $type, factor_step: isize, addend: *const $type, addend_step: isize, rows: usize, n: usize)
            rows_of_sums(dst, [(a, a_step), (b, b_step), (factor, factor_step), (addend, addend_step)], rows, n, |x| $function(x)));)*
    };
    (@random $features:tt $($name:ident $type:ident $function:path),*) => {
        $(level!(@function $features $name (dst: *mut $type, first: u64, n: usize, state: *const i64, key: u64)
            $function(dst, first, n, state, key));)*
    };
    (@function [$(#[$features:meta])*] $name:ident ($($argument:ident : $type:ty),*) $body:expr) => {
        $(#[$features])*
        unsafe extern "C" fn $name($($argument: $type),*) {
            // SAFETY: the caller of a function of the table vouches for its operands.
            unsafe { $body }
        }
    };
}

level!(portable,);
#[cfg(target_arch = "x86_64")]
level!(avx2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
level!(avx512, #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]);

/// f64 functions: the standard library, element by element.
mod double {
    use super::functions;

    macro_rules! unary {
        ($($name:ident $function:path),*) => {
            $(pub unsafe extern "C" fn $name(dst: *mut f64, src: *const f64, n: usize) {
                for i in 0..n {
                    // SAFETY: the caller of a function of the table vouches for its operands.
                    unsafe { *dst.add(i) = $function(*src.add(i)) };
                }
            })*
        };
    }

    unary!(exp f64::exp, expm1 f64::exp_m1, log f64::ln, log1p f64::ln_1p, tanh f64::tanh, sin f64::sin, cos f64::cos,
        sigmoid functions::sigmoid64, erf functions::erf64);

    pub unsafe extern "C" fn pow(dst: *mut f64, a: *const f64, b: *const f64, n: usize) {
        for i in 0..n {
            // SAFETY: the caller of a function of the table vouches for its operands.
            unsafe { *dst.add(i) = (*a.add(i)).powf(*b.add(i)) };
        }
    }
}
