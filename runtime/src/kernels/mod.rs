//! Compute kernels: what is the same for every spec and wants the widest registers.
//!
//! [`Bound`] is a kernel of a [`crate::program::Program`] with its dims resolved. It runs any range of its index space, in
//! any order and on any thread, with the same bits. Contractions and convolutions share one micro-kernel, the register
//! `tile`; [`math`] is the vector library that generated code calls; [`random`] holds the counter-based random numbers.
//!
//! | file | idea |
//! |---|---|
//! | [`isa`] | the instruction set, chosen once |
//! | `vector`, `tile`, `block` | a vector, a register tile, a block of tiles |
//! | `few` | contractions of few rows |
//! | `resolve`, `runs` | dims and strides as numbers, how k is cut |
//! | `contraction`, `convolution`, `attention`, `pack`, [`index`], `sort` | the kernels |
//! | [`math`], [`random`] | functions of strips of elements |
//! | [`peak`] | what this machine can do at best |

#![allow(
    clippy::needless_range_loop,
    reason = "arrays that live in registers are clearer by index, several at a time"
)]

mod attention;
mod block;
mod contraction;
mod convolution;
mod few;
pub mod index;
pub mod isa;
pub mod math;
mod pack;
pub mod peak;
pub mod random;
mod resolve;
mod runs;
mod sort;
mod tile;
mod vector;

#[cfg(test)]
mod tests;

use crate::program::Kernel;
use index::Stray;
use isa::Level;

/// A kernel whose dims are resolved.
#[derive(Debug)]
pub struct Bound {
    form: Form,
    extent: usize,
    /// Number of buffers.
    buffers: usize,
}

#[derive(Debug)]
enum Form {
    Contraction(contraction::Bound),
    Convolution(convolution::Bound),
    Pack(pack::Bound),
    Attention(attention::Bound),
    Index(index::Bound),
    Sort(sort::Bound),
}

impl Bound {
    /// Resolves a kernel (any but [`Kernel::Nest`]) against the values of its entry's dims.
    ///
    /// `outer` counts are not part of index kernels: their extent is `usize::MAX`, as a launch alone knows its range.
    pub fn bind(kernel: &Kernel, dims: &[i64]) -> Result<Bound, String> {
        Bound::bind_at(kernel, dims, Level::best())
    }

    /// The same for one instruction set, which the machine must have.
    pub fn bind_at(kernel: &Kernel, dims: &[i64], level: Level) -> Result<Bound, String> {
        let level = level.min(Level::best());
        Ok(match kernel {
            Kernel::Nest { .. } | Kernel::Device(_) => {
                return Err("generated code is not one of the runtime's kernels".into());
            }
            Kernel::Contraction(kernel) => {
                let bound = contraction::Bound::bind(kernel, dims, level)?;
                let (extent, buffers) = (bound.extent(), bound.buffers());
                Bound { extent, buffers, form: Form::Contraction(bound) }
            }
            Kernel::Convolution(kernel) => {
                let bound = convolution::Bound::bind(kernel, dims, level)?;
                Bound { extent: bound.extent(), form: Form::Convolution(bound), buffers: 3 }
            }
            Kernel::Pack(kernel) => {
                let bound = pack::Bound::bind(kernel, dims)?;
                Bound { extent: bound.extent(), form: Form::Pack(bound), buffers: 2 }
            }
            Kernel::Attention(kernel) => {
                let bound = attention::Bound::bind(kernel, dims, level)?;
                let (extent, buffers) = (bound.extent(), bound.buffers());
                Bound { extent, buffers, form: Form::Attention(bound) }
            }
            Kernel::CumulativeSum { .. } | Kernel::Gather { .. } | Kernel::ScatterAdd { .. } => {
                let buffers = if matches!(kernel, Kernel::CumulativeSum { .. }) { 2 } else { 3 };
                Bound { form: Form::Index(index::Bound::bind(kernel, dims)?), extent: usize::MAX, buffers }
            }
            Kernel::Sort { .. } => {
                let bound = sort::Bound::bind(kernel, dims)?;
                Bound { form: Form::Sort(bound), extent: usize::MAX, buffers: 3 }
            }
        })
    }

    /// Whether this is a contraction whose sums a later one, which adds to them, can go on with; see [`Bound::run_on`].
    pub fn can_go_on(&self, late: &Bound) -> bool {
        match (&self.form, &late.form) {
            (Form::Contraction(first), Form::Contraction(late)) => first.can_go_on(late),
            _ => false,
        }
    }

    /// Of the time of both, the part of this contraction, before a later one that goes on with its sums.
    pub fn share_beside(&self, late: &Bound) -> f64 {
        match (&self.form, &late.form) {
            (Form::Contraction(first), Form::Contraction(late)) => {
                first.terms() as f64 / (first.terms() + late.terms()).max(1) as f64
            }
            _ => 1.0,
        }
    }

    /// Runs a range of this contraction and of a later one that goes on with its sums, in the same registers: C is written once.
    ///
    /// # Safety
    /// As for [`Bound::run`], of both; their C is one place.
    pub unsafe fn run_on(
        &self,
        late: &Bound,
        buffers: [&[*mut u8]; 2],
        begin: usize,
        end: usize,
        scratch: *mut u8,
    ) {
        debug_assert!(self.can_go_on(late) && end <= self.extent);
        if let (Form::Contraction(first), Form::Contraction(late)) = (&self.form, &late.form) {
            // SAFETY: the caller's own promises.
            unsafe { first.run_on(late, buffers, begin, end, scratch) }
        }
    }

    /// The size of the index space.
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// How many rows an index can name, and how many indices there are; of kernels that move by index.
    pub fn indexed(&self) -> Option<(usize, usize)> {
        match &self.form {
            Form::Index(bound) => Some((bound.axis, bound.count)),
            _ => None,
        }
    }

    /// Bytes of scratch that each running thread must give, 64-byte aligned.
    pub fn scratch_bytes(&self) -> usize {
        match &self.form {
            Form::Contraction(bound) => bound.scratch_bytes(),
            Form::Convolution(bound) => bound.scratch_bytes(),
            Form::Pack(_) => 0,
            Form::Attention(bound) => bound.scratch_bytes(),
            Form::Index(_) => 0,
            Form::Sort(bound) => bound.scratch_bytes(),
        }
    }

    /// Runs the range `begin..end` of the index space. Allocates nothing and takes no lock.
    ///
    /// An index out of range is clamped and noted in `stray`.
    ///
    /// # Safety
    /// `buffers` are the kernel's, in the order of its doc, and as large as its dims say, or at least there where the range touches
    /// them (their starts may lie outside of their memory); outputs don't overlap inputs;
    /// `scratch` is this thread's, with at least [`Bound::scratch_bytes`]; no other thread runs an overlapping range.
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize, scratch: *mut u8, stray: &Stray) {
        debug_assert_eq!(buffers.len(), self.buffers);
        debug_assert!(end <= self.extent);
        if begin >= end {
            return;
        }
        // SAFETY: the caller's own promises.
        unsafe {
            match &self.form {
                Form::Contraction(bound) => bound.run(buffers, begin, end, scratch),
                Form::Convolution(bound) => bound.run(buffers, begin..end, scratch),
                Form::Pack(bound) => bound.run(buffers, begin, end),
                Form::Attention(bound) => bound.run(buffers, begin, end, scratch),
                Form::Index(bound) => bound.run(buffers, begin, end, stray),
                Form::Sort(bound) => bound.run(buffers, begin, end, scratch),
            }
        }
    }
}
