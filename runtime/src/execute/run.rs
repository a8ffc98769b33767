//! Running a bound entry: the hot path. No allocation, no lock, no look-up.
//!
//! A section's tasks are run by the pool. Where buffers lie in a thread's own memory or move with a loop, a task first puts the
//! pointers of all its calls together, in that memory; each turn of a loop then moves those that move, and calls.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::pool::Pool;

use super::bind::{BoundEntry, BoundKernel, BoundStep, Section};

/// Scratch memory, one part for each thread.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    pub pointer: *mut u8,
    pub stride: usize,
}

// SAFETY: thread t touches only the bytes `t * stride .. (t + 1) * stride`.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

/// One task at work.
#[derive(Debug)]
struct Task<'a> {
    /// Its units.
    begin: usize,
    end: usize,
    /// The pointers of the section's calls. Those of a section with loops or local buffers are the task's own.
    pointers: *mut *mut u8,
    /// The thread's memory.
    own: *mut u8,
    /// Where time is counted, call by call; empty when nobody asks.
    clocks: &'a [AtomicU64],
}

impl BoundEntry {
    /// Runs all segments from a first one on.
    pub fn run(&self, first: usize, pool: &mut Pool, scratch: Scratch) {
        for section in &self.sections[first..] {
            pool.run(section.tasks, &|task, thread| {
                self.task::<false>(section, task, scratch.of(thread), &[]);
            });
        }
    }

    /// Runs all segments from a first one on and gives the nanoseconds of each call, in order. Calls of one segment run interleaved,
    /// so a segment's time on the clock is divided among them by the time that they took on all threads.
    pub fn run_profiled(&self, first: usize, pool: &mut Pool, scratch: Scratch) -> Vec<u64> {
        let clocks: Vec<AtomicU64> = self.calls.iter().map(|_| AtomicU64::new(0)).collect();
        for section in &self.sections[first..] {
            let start = Instant::now();
            pool.run(section.tasks, &|task, thread| {
                self.task::<true>(section, task, scratch.of(thread), &clocks);
            });
            let elapsed = start.elapsed().as_nanos() as u64;
            let clocks = &clocks[section.calls.clone()];
            let busy: u64 = clocks.iter().map(|clock| clock.load(Ordering::Relaxed)).sum();
            for clock in clocks {
                let share = clock.load(Ordering::Relaxed) as f64 / busy.max(1) as f64;
                clock.store((elapsed as f64 * share) as u64, Ordering::Relaxed);
            }
        }
        clocks.into_iter().map(AtomicU64::into_inner).collect()
    }

    /// One task of a section.
    #[inline]
    fn task<const TIMED: bool>(&self, section: &Section, task: usize, own: *mut u8, clocks: &[AtomicU64]) {
        let (begin, end) = section.share(task);
        let shared = &self.pointers[section.pointers.clone()];
        let mut pointers = shared.as_ptr().cast_mut();
        if section.own {
            let table = own.wrapping_add(self.table_start).cast::<*mut u8>();
            // SAFETY: the thread's own memory has room for the longest section's pointers; nothing else uses it during the task.
            unsafe {
                table.copy_from_nonoverlapping(shared.as_ptr(), shared.len());
                for local in &self.locals[section.locals.clone()] {
                    // Kernels count units from the segment's first one; those before the task's are not there, and not touched.
                    let first = own.wrapping_add(self.local_start + local.start);
                    *table.add(local.place) = first.wrapping_sub(begin * local.unit);
                }
            }
            pointers = table;
        }
        let task = Task { begin, end, pointers, own, clocks };
        self.walk::<TIMED>(section.steps.clone(), &task);
    }

    /// Some steps, in order, each loop as often as it turns.
    fn walk<const TIMED: bool>(&self, steps: Range<usize>, task: &Task<'_>) {
        let mut at = steps.start;
        while at < steps.end {
            match &self.steps[at] {
                BoundStep::Call(call) => {
                    let start = TIMED.then(Instant::now);
                    self.call(*call, task);
                    if let Some(start) = start {
                        task.clocks[*call].fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    }
                    at += 1;
                }
                BoundStep::Loop(turns) => {
                    for turn in 0..turns.trip {
                        if turn > 0 {
                            self.shift(turns.moves.clone(), 1, task);
                        }
                        self.walk::<TIMED>(at + 1..turns.end, task);
                    }
                    if turns.again && turns.trip > 1 {
                        self.shift(turns.moves.clone(), 1 - turns.trip as isize, task);
                    }
                    at = turns.end;
                }
            }
        }
    }

    /// Moves pointers by so many turns of their loop.
    #[inline]
    fn shift(&self, moves: Range<usize>, turns: isize, task: &Task<'_>) {
        for step in &self.moves[moves] {
            // SAFETY: a section with a loop has pointers of the task's own, and the place is one of them.
            unsafe {
                let pointer = task.pointers.add(step.place);
                *pointer = (*pointer).wrapping_offset(step.by * turns);
            }
        }
    }

    /// Runs one call for the task's units.
    #[inline]
    fn call(&self, index: usize, task: &Task<'_>) {
        let call = &self.calls[index];
        let (begin, end) = (task.begin * call.per_unit, task.end * call.per_unit);
        if begin == end {
            return;
        }
        // SAFETY: the section's pointers are there as long as the task runs, and nothing moves them during the call.
        let pointers = unsafe {
            std::slice::from_raw_parts(task.pointers.add(call.pointers.start), call.pointers.len())
        };
        match &call.kernel {
            BoundKernel::Nest { function, dims } => {
                let dims = self.values[dims.clone()].as_ptr();
                // SAFETY: the compiler made this function for these buffers and dims; the code is mapped as long as the
                // session lives, and no other thread runs this range.
                unsafe { function(pointers.as_ptr(), dims, self.table, begin as i64, end as i64) }
            }
            BoundKernel::Native(kernel) => {
                // SAFETY: the kernel was bound to these dims, its buffers hold what the program says they hold, the range
                // lies in its index space and no other thread runs it; scratch is this thread's own and large enough.
                unsafe { kernel.run(pointers, begin, end, task.own, &self.strays[index]) }
            }
        }
    }
}

impl Scratch {
    /// The memory of one thread.
    #[inline]
    fn of(self, thread: usize) -> *mut u8 {
        self.pointer.wrapping_add(thread * self.stride)
    }
}

impl Section {
    /// The units of one task.
    #[inline]
    fn share(&self, task: usize) -> (usize, usize) {
        (self.units * task / self.tasks, self.units * (task + 1) / self.tasks)
    }
}
