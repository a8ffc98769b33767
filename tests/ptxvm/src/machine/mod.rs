//! The machine: warps of 32 lanes that run a program, the blocks they form, and the grid of a launch.

mod access;
mod block;
mod exchange;
mod grid;
mod matrix;
mod run;
mod warp;

pub use grid::{Launch, Limits, run as launch};

use crate::code::Program;
use crate::counts::Counts;
use crate::memory::{Memory, Order, Shared};

/// All that a running warp sees beside itself.
pub(crate) struct World<'a> {
    pub program: &'a Program,
    pub parameters: &'a [u8],
    pub memory: &'a mut Memory,
    pub shared: &'a mut Shared,
    pub order: &'a mut Order,
    pub counts: &'a mut Counts,
    /// Bytes and sectors are counted, which costs time.
    pub counting: bool,
    /// Instructions of warps so far.
    pub clock: &'a mut u64,
    /// Atomic operations and volatile accesses so far: what a warp does that waits for another block.
    pub watched: &'a mut u64,
}
