//! Attention: softmax(scale · Q Kᵀ + bias) V and its gradients, a few rows of the scores at a time (Rabe & Staats 2021, Dao et al. 2022).
//!
//! A head is worked through in blocks of [`ROWS`] queries by up to [`KEYS`] keys, whose scores lie in scratch, in the second cache. The
//! [`forward`] form goes over the keys once, and rescales what it has whenever a larger score comes up; beside the result it
//! writes the logarithm of each row's sum, with which the [`backward`] form computes the weights again instead of keeping them. Both are
//! [`Block`]s of register tiles with [`rows`] of elementwise work between them. With `causal`, blocks that lie beyond the last query are not
//! computed. Few queries read their keys where they lie; for more of them the keys of a head are packed once.
//!
//! One head of the keys is one step of the index space (in the forward form one of the queries), so the bits don't depend on threads.

mod backward;
mod forward;
mod rows;

use super::block::{Block, Kept};
use super::isa::Level;
use super::tile::Segment;
use super::{few, pack, resolve};
use crate::program::{Attention, DimIndex, PANEL};

/// Queries whose scores are computed together.
const ROWS: usize = 48;
/// Keys that they meet at once, at most.
const KEYS: usize = 512;

#[derive(Debug)]
pub struct Bound {
    level: Level,
    backward: bool,
    n: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    groups: usize,
    width: usize,
    depth: usize,
    scale: f32,
    /// With so many keys before the first query's own place.
    causal: Option<usize>,
    q: [isize; 3],
    k: [isize; 3],
    v: [isize; 3],
    gradient: [isize; 3],
    bias: Option<[isize; 4]>,
    mask: Option<[isize; 4]>,
    bias_gradient: bool,
}

/// One head's part of a tensor: where its first step is, and from one step to the next.
#[derive(Clone, Copy, Debug)]
struct Steps {
    at: *mut f32,
    step: isize,
}

impl Steps {
    fn row(self, step: usize) -> *mut f32 {
        self.at.wrapping_offset(step as isize * self.step)
    }
}

/// What a thread works in, cut up.
#[derive(Debug)]
struct Room<'a> {
    /// Keys, and values in the backward form, as panels of columns: `[panels, width, PANEL]`.
    keys: *mut f32,
    values: *mut f32,
    /// A block of scores, and in the backward form of their adjoints; rows are `stride` long.
    scores: *mut f32,
    slopes: *mut f32,
    stride: usize,
    /// Offsets of rows of A and C, at most `stride` or [`ROWS`].
    a_rows: &'a mut [isize],
    c_rows: &'a mut [isize],
    /// Two numbers a row of a block.
    highest: &'a mut [f32],
    total: &'a mut [f32],
}

impl Bound {
    pub fn bind(kernel: &Attention, dims: &[i64], level: Level) -> Result<Bound, String> {
        let extent = |dim: DimIndex| resolve::extent(dim, dims);
        let three = |list: &[DimIndex; 3]| -> Result<[isize; 3], String> {
            let [a, b, c] = list.map(|dim| resolve::value(dim, dims));
            Ok([a?, b?, c?])
        };
        let four = |list: &Option<[DimIndex; 4]>| -> Result<Option<[isize; 4]>, String> {
            let Some(list) = list else { return Ok(None) };
            let [a, b, c, d] = list.map(|dim| resolve::value(dim, dims));
            Ok(Some([a?, b?, c?, d?]))
        };
        let bound = Bound {
            level,
            backward: kernel.backward,
            n: extent(kernel.n)?,
            queries: extent(kernel.queries)?,
            keys: extent(kernel.keys)?,
            heads: extent(kernel.heads)?,
            groups: extent(kernel.groups)?,
            width: extent(kernel.width)?,
            depth: extent(kernel.depth)?,
            scale: f32::from_bits(kernel.scale),
            causal: kernel.causal.map(extent).transpose()?,
            q: three(&kernel.q)?,
            k: three(&kernel.k)?,
            v: three(&kernel.v)?,
            gradient: three(&kernel.gradient)?,
            bias: four(&kernel.bias)?,
            mask: four(&kernel.mask)?,
            bias_gradient: kernel.bias_gradient,
        };
        if bound.groups == 0 || !bound.heads.is_multiple_of(bound.groups) {
            return Err(format!("{} heads of keys do not divide {} of queries", bound.groups, bound.heads));
        }
        let widest = bound.width.max(bound.depth);
        resolve::product_of([bound.n, bound.heads, bound.queries.max(bound.keys), widest])?;
        resolve::product_of([bound.keys.next_multiple_of(PANEL), widest, 4])?;
        Ok(bound)
    }

    pub fn extent(&self) -> usize {
        self.n * if self.backward { self.groups } else { self.heads }
    }

    pub fn buffers(&self) -> usize {
        let beside = usize::from(self.bias.is_some()) + usize::from(self.mask.is_some());
        let own = if self.backward { 6 + usize::from(self.bias_gradient) } else { 2 };
        3 + beside + own
    }

    /// Whether so few queries meet each key that its row is read where it lies, as in a step of a generation.
    fn few(&self) -> bool {
        self.queries <= few::ROWS
    }

    /// Elements of a row of scores in scratch.
    fn stride(&self) -> usize {
        self.keys.min(KEYS).next_multiple_of(PANEL)
    }

    pub fn scratch_bytes(&self) -> usize {
        let panels = self.keys.next_multiple_of(PANEL);
        let of_values = if self.backward { panels * self.depth } else { 0 };
        let floats = panels * self.width + of_values + 2 * ROWS * self.stride() + 2 * ROWS;
        floats * size_of::<f32>() + 2 * self.stride().max(ROWS) * size_of::<isize>() + 64
    }

    /// # Safety
    /// See [`super::Bound::run`].
    pub unsafe fn run(&self, buffers: &[*mut u8], begin: usize, end: usize, scratch: *mut u8) {
        // SAFETY: `scratch_bytes` made room for all parts; the caller vouches for the rest.
        unsafe {
            let mut room = self.room(scratch);
            if self.backward {
                (begin..end).for_each(|at| {
                    backward::head(self, buffers, at / self.groups, at % self.groups, &mut room)
                });
            } else {
                forward::heads(self, buffers, begin, end, &mut room);
            }
        }
    }

    unsafe fn room<'a>(&self, scratch: *mut u8) -> Room<'a> {
        let panels = self.keys.next_multiple_of(PANEL);
        let (stride, rows) = (self.stride(), self.stride().max(ROWS));
        let keys = scratch.cast::<f32>();
        let values = keys.wrapping_add(panels * self.width);
        let scores = values.wrapping_add(if self.backward { panels * self.depth } else { 0 });
        let slopes = scores.wrapping_add(ROWS * stride);
        let highest = slopes.wrapping_add(ROWS * stride);
        let total = highest.wrapping_add(ROWS);
        let after = total.wrapping_add(ROWS).cast::<u8>();
        let tables = after.wrapping_add(after.align_offset(align_of::<isize>())).cast::<isize>();
        // SAFETY: the parts lie one after another in the scratch, and any bits are numbers.
        unsafe {
            Room {
                keys,
                values,
                scores,
                slopes,
                stride,
                a_rows: std::slice::from_raw_parts_mut(tables, rows),
                c_rows: std::slice::from_raw_parts_mut(tables.add(rows), rows),
                highest: std::slice::from_raw_parts_mut(highest, ROWS),
                total: std::slice::from_raw_parts_mut(total, ROWS),
            }
        }
    }

    /// A head's part of a tensor with these strides.
    fn steps(buffer: *mut u8, strides: [isize; 3], n: usize, head: usize) -> Steps {
        let offset = n as isize * strides[0] + head as isize * strides[2];
        Steps { at: buffer.cast::<f32>().wrapping_offset(offset), step: strides[1] }
    }

    /// The strides of `[n, steps, heads, width]` without gaps.
    fn contiguous(steps: usize, heads: usize, width: usize) -> [isize; 3] {
        [(steps * heads * width) as isize, (heads * width) as isize, width as isize]
    }

    /// The keys up to which a block of queries that ends before `end` looks.
    fn limit(&self, end: usize) -> usize {
        self.causal.map_or(self.keys, |before| (before + end).min(self.keys))
    }

    /// Where the buffers of `bias` and `mask` stand, if they are there.
    fn beside(&self, buffers: &[*mut u8]) -> (Option<*mut u8>, Option<*mut u8>) {
        let bias = self.bias.map(|_| buffers[3]);
        let mask = self.mask.map(|_| buffers[3 + usize::from(self.bias.is_some())]);
        (bias, mask)
    }

    /// What rows of scores are worked on with, for the queries from `first` and the keys from `from` on.
    fn rows(
        &self,
        beside: (Option<*mut u8>, Option<*mut u8>),
        n: usize,
        head: usize,
        first: usize,
        from: usize,
    ) -> rows::Frame {
        let place = |strides: [isize; 4]| {
            n as isize * strides[0]
                + head as isize * strides[1]
                + first as isize * strides[2]
                + from as isize * strides[3]
        };
        let of = |buffer: Option<*mut u8>, strides: Option<[isize; 4]>| {
            buffer.zip(strides).map(|(buffer, s)| (buffer, place(s), [s[2], s[3]]))
        };
        rows::Frame {
            scale: self.scale,
            bias: of(beside.0, self.bias)
                .map(|(b, at, steps)| (b.cast::<f32>().cast_const().wrapping_offset(at), steps)),
            mask: of(beside.1, self.mask).map(|(m, at, steps)| (m.cast_const().wrapping_offset(at), steps)),
        }
    }

    /// How many of the keys from `from` up to `end` a query sees by its place.
    fn visible(&self, query: usize, from: usize, end: usize) -> usize {
        self.causal.map_or(end, |before| (before + query + 1).clamp(from, end)) - from
    }
}

/// Lays the rows of a head as panels of columns: `target[step / PANEL, i, step % PANEL] = rows[step, i]`.
///
/// # Safety
/// Both must cover `steps` rows of `width`.
unsafe fn transposed(rows: Steps, steps: usize, width: usize, target: *mut f32) {
    for first in (0..steps).step_by(PANEL) {
        let columns = PANEL.min(steps - first);
        // SAFETY: the caller's own promise.
        unsafe { pack::panel(rows.row(first), 1, rows.step, width, columns, target.add(first * width)) };
    }
}

/// `C[r, :] (+)= Σ_k A[r, k] · B[k, :]`, where rows of A and C lie at equal steps.
#[derive(Clone, Copy, Debug)]
struct Product {
    a: *const f32,
    a_row: isize,
    a_step: isize,
    b: *const f32,
    b_step: isize,
    b_panel: isize,
    rows: usize,
    length: usize,
    c: *mut f32,
    c_row: isize,
    columns: usize,
    accumulate: bool,
}

impl Product {
    /// # Safety
    /// As for [`Block::run`]; the tables have room for the rows.
    unsafe fn run(self, level: Level, a_rows: &mut [isize], c_rows: &mut [isize]) {
        for row in 0..self.rows {
            a_rows[row] = row as isize * self.a_row;
            c_rows[row] = row as isize * self.c_row;
        }
        let block = Block {
            a: self.a,
            a_rows: &a_rows[..self.rows],
            a_step: self.a_step,
            adjacent: self.a_row == 1,
            strip: None,
            b: self.b,
            kept: Kept::WIDE,
            b_step: self.b_step,
            b_panel: self.b_panel,
            segments: &[Segment { a: 0, b: 0 }],
            length: self.length,
            c: self.c,
            c_rows: &c_rows[..self.rows],
            columns: self.columns,
            accumulate: self.accumulate,
            then: None,
        };
        // SAFETY: the caller's own promise.
        unsafe { block.run(level) }
    }
}
