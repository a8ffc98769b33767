//! A launch: all blocks of a grid, one after another.
//!
//! A block that does many atomic or volatile accesses is set aside and another goes on, so that blocks may wait for
//! each other as on a GPU that holds them all at once (cooperative launches).

use std::collections::VecDeque;

use super::block::{Block, Grid, Progress, Random};
use super::run::too_long;
use crate::cache::Cache;
use crate::code::Program;
use crate::counts::Counts;
use crate::fault::{Fault, Report};
use crate::memory::Memory;

/// What a launch tells beside the program.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic: u32,
    pub parameters: &'a [u8],
}

/// How launches run.
#[derive(Clone, Debug)]
pub struct Limits {
    /// 0: blocks and warps in their natural order; else an order drawn from it.
    pub seed: u64,
    /// Instructions of warps after which a launch is given up.
    pub instructions: u64,
    /// Whether bytes, sectors and widths are counted.
    pub counting: bool,
    /// Whether it is told which bytes were touched.
    pub watching: bool,
}

/// Runs a launch to its end.
pub fn run(
    program: &Program,
    launch: &Launch<'_>,
    memory: &mut Memory,
    limits: &Limits,
) -> Result<Counts, Box<Report>> {
    let mut counts = Counts {
        kernel: program.name.clone(),
        grid: launch.grid,
        block: launch.block,
        dynamic_shared: launch.dynamic,
        cache: Cache::of(launch.block.iter().product()),
        ..Counts::default()
    };
    let mut grid = Grid {
        program,
        parameters: launch.parameters,
        memory,
        counts: &mut counts,
        counting: limits.counting,
        clock: 0,
        watched: 0,
        grid: launch.grid,
        block: launch.block,
        dynamic: launch.dynamic,
        random: (limits.seed != 0).then(|| Random(limits.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
    };
    grid.memory.count(limits.counting || limits.watching);
    let blocks = launch.grid.iter().map(|d| u64::from(*d)).product::<u64>();
    let mut order: Vec<u64> = Vec::new();
    if let Some(random) = &mut grid.random {
        order = (0..blocks).collect();
        random.shuffle(&mut order);
    }
    let index = |n: u64| {
        let n = order.get(n as usize).copied().unwrap_or(n);
        let [x, y, _] = launch.grid.map(u64::from);
        [(n % x) as u32, (n / x % y) as u32, (n / (x * y)) as u32]
    };
    let (mut spare, mut paused) = (None::<Block>, VecDeque::<Block>::new());
    let mut next = 0;
    while next < blocks || !paused.is_empty() {
        let mut block = if next < blocks {
            let mut block = spare.take().unwrap_or_else(|| Block::new(&grid));
            block.start(&grid, index(next));
            next += 1;
            block
        } else {
            match paused.pop_front() {
                Some(block) => block,
                None => break,
            }
        };
        match block.run(&mut grid, limits.instructions)? {
            Progress::Done => spare = Some(block),
            Progress::Paused => paused.push_back(block),
        }
        if grid.clock > limits.instructions {
            let block = paused.pop_back().or(spare.take());
            let fault: Fault = too_long(limits.instructions);
            let block = block.unwrap_or_else(|| Block::new(&grid));
            return Err(block.report(&grid, 0, fault));
        }
    }
    grid.memory.settle();
    counts.bytes = memory.counted();
    if limits.watching {
        counts.touched = memory.touched();
    }
    counts.moved = counts.cache.moved();
    memory.count(false);
    Ok(counts)
}
