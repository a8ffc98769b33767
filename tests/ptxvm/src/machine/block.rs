//! A block: warps in turn, each until it waits, and the barriers at which they meet.

use super::World;
use super::run::Stop;
use super::warp::{Arrival, Wait, Warp};
use crate::code::{BarrierKind, Program};
use crate::counts::Counts;
use crate::fault::{Fault, Report};
use crate::memory::{Memory, Order, Shared};

/// A generator of pseudorandom numbers (xorshift64*), for the order of things.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

/// Atomic and volatile accesses of a block after which another goes on.
const PATIENCE: u64 = 4096;

/// How far a block came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// Another block may be what it waits for.
    Paused,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub index: [u32; 3],
    warps: Vec<Warp>,
    shared: Shared,
    order: Order,
    /// Who has come to each barrier.
    barriers: Vec<Vec<(usize, Arrival)>>,
}

/// What all blocks of a launch have in common.
pub(crate) struct Grid<'a> {
    pub program: &'a Program,
    pub parameters: &'a [u8],
    pub memory: &'a mut Memory,
    pub counts: &'a mut Counts,
    pub counting: bool,
    pub clock: u64,
    pub watched: u64,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic: u32,
    /// None: everything in its natural order.
    pub random: Option<Random>,
}

impl Block {
    pub fn new(grid: &Grid<'_>) -> Self {
        let warps = grid.block.iter().product::<u32>().div_ceil(32);
        let bytes = grid.program.shared_bytes + grid.dynamic as usize;
        Block {
            index: [0; 3],
            warps: (0..warps).map(|index| Warp::new(grid.program, index)).collect(),
            shared: Shared::new(bytes, grid.program.grain),
            order: Order::new(warps as usize),
            barriers: vec![Vec::new(); 16],
        }
    }

    /// Ready to run the threads of a block.
    pub fn start(&mut self, grid: &Grid<'_>, index: [u32; 3]) {
        self.index = index;
        self.shared.reset();
        self.order = Order::new(self.warps.len());
        let total = self.shared.data.len() as u32;
        for warp in &mut self.warps {
            warp.start(grid.grid, grid.block, index, grid.dynamic, total);
        }
        for barrier in &mut self.barriers {
            barrier.clear();
        }
    }

    /// Runs to its end, or until it seems to wait for another block.
    pub fn run(&mut self, grid: &mut Grid<'_>, limit: u64) -> Result<Progress, Box<Report>> {
        let mut turn: Vec<usize> = (0..self.warps.len()).collect();
        let watched = grid.watched + PATIENCE;
        loop {
            if let Some(random) = &mut grid.random {
                random.shuffle(&mut turn);
            }
            let mut ran = false;
            for &at in &turn {
                let ready = self.warps[at].groups.iter().any(|g| !matches!(g.wait, Wait::Barrier(_)));
                if !ready {
                    continue;
                }
                ran = true;
                // In a random order, warps also take turns often.
                let slice = match &mut grid.random {
                    Some(random) => 16 + random.next() % 256,
                    None => 1 << 16,
                };
                let mut world = World {
                    program: grid.program,
                    parameters: grid.parameters,
                    memory: grid.memory,
                    shared: &mut self.shared,
                    order: &mut self.order,
                    counts: grid.counts,
                    counting: grid.counting,
                    clock: &mut grid.clock,
                    watched: &mut grid.watched,
                };
                let stop = self.warps[at].run(&mut world, slice);
                let stop = stop.map_err(|fault| self.report(grid, at, fault))?;
                for arrival in std::mem::take(&mut self.warps[at].arrivals) {
                    self.barriers[arrival.barrier].push((at, arrival));
                }
                if stop != Stop::Quantum {
                    self.release();
                }
            }
            if self.warps.iter().all(Warp::is_done) {
                return Ok(Progress::Done);
            }
            if !ran {
                return Err(self.deadlock(grid));
            }
            if grid.watched >= watched || grid.clock > limit {
                return Ok(Progress::Paused);
            }
        }
    }

    /// Lets those go on whose barrier is complete.
    fn release(&mut self) {
        let alive = self.warps.iter().filter(|w| !w.is_done()).count() as u32 * 32;
        for barrier in 0..16 {
            let Some((_, first)) = self.barriers[barrier].first() else { continue };
            let wanted = first.count.unwrap_or(alive);
            if (self.barriers[barrier].len() as u32) * 32 < wanted {
                continue;
            }
            let arrivals = std::mem::take(&mut self.barriers[barrier]);
            let rows: Vec<_> = arrivals.iter().map(|(warp, a)| (*warp, a.knows.clone())).collect();
            let votes = |a: &Arrival| (a.values & a.lanes, a.lanes);
            let passed: u32 = arrivals.iter().map(|(_, a)| votes(a).0.count_ones()).sum();
            let all = arrivals.iter().all(|(_, a)| votes(a).0 == votes(a).1);
            for (at, arrival) in arrivals.iter().filter(|(_, a)| a.waits) {
                let warp = &mut self.warps[*at];
                self.order.join(*at, &rows);
                match arrival.kind {
                    BarrierKind::Count { to, .. } => warp.put(to, &[passed.into(); 32], arrival.lanes),
                    BarrierKind::Any { to, .. } => {
                        warp.put_predicate(to, if passed > 0 { u32::MAX } else { 0 }, arrival.lanes);
                    }
                    BarrierKind::All { to, .. } => {
                        warp.put_predicate(to, if all { u32::MAX } else { 0 }, arrival.lanes);
                    }
                    _ => {}
                }
                for group in &mut warp.groups {
                    if group.wait == Wait::Barrier(barrier) {
                        group.wait = Wait::Nothing;
                    }
                }
            }
        }
    }

    fn deadlock(&self, grid: &Grid<'_>) -> Box<Report> {
        let mut message =
            String::from("deadlock: warps of the block wait at barriers that others never reach");
        for (barrier, arrivals) in self.barriers.iter().enumerate().filter(|(_, a)| !a.is_empty()) {
            let came: Vec<_> = arrivals.iter().map(|(warp, _)| warp.to_string()).collect();
            let wanted = arrivals[0].1.count.map_or("all".to_string(), |c| c.to_string());
            message += &format!(
                "\n    barrier {barrier} waits for {wanted} threads; warps {} came",
                came.join(", ")
            );
            let last = self.warps[arrivals[0].0].last;
            message += &format!(", the first at {}", grid.program.place(last));
        }
        let at = self.warps.iter().position(|w| !w.is_done()).unwrap_or(0);
        let lane = self.warps[at].groups.first().map_or(0, |g| g.mask.trailing_zeros());
        self.report(grid, at, Fault::failed(message).at(lane))
    }

    pub fn report(&self, grid: &Grid<'_>, warp: usize, fault: Fault) -> Box<Report> {
        let thread = warp as u32 * 32 + fault.lane;
        let [x, y, _] = grid.block;
        Box::new(Report {
            kind: fault.kind,
            kernel: grid.program.name.clone(),
            block: self.index,
            thread: [thread % x, thread / x % y, thread / (x * y)],
            place: grid.program.place(self.warps[warp].last),
            message: fault.message,
        })
    }
}
