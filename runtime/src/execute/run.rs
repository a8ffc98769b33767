//! Running a bound entry: the hot path. No allocation, no lock, no look-up.
//!
//! A section's tasks are run by the pool. Where buffers lie in a thread's own memory or move with a loop, a task first puts the
//! pointers of all its calls together, in that memory; each turn of a loop then moves those that move, and calls.
//!
//! Sections that follow one another turn by turn run side by side, as the tasks of one job: each tells its [`Pace`], and waits for that of
//! the one before. A task waits for earlier tasks alone, and the pool's threads take tasks in order, so the first one that is not done
//! is always at work and waits for nobody: any number of threads gets through.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::pool::Pool;

use super::bind::{BoundEntry, BoundKernel, BoundStep, Call, Section, Turns};
use super::device::Starter;

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
    side: Side<'a>,
    /// Who starts kernels of a GPU, and who measures them.
    starter: Option<(&'a Starter<'a>, Option<&'a Timed<'a>>)>,
}

/// Measures the work of a call.
pub(super) type Timed<'a> = dyn Fn(usize, &dyn Fn()) + 'a;

/// What a task that runs beside others tells, and what it listens to.
#[derive(Clone, Copy, Debug, Default)]
struct Side<'a> {
    own: Option<&'a Pace>,
    before: Option<&'a Pace>,
}

/// How many turns of a loop are done, on a cache line of its own; [`Pace::ALL`] when all of the section is.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicUsize);

/// Tells at its end that all is done, also where a kernel panics: nobody waits for ever.
struct Done<'a>(&'a Pace);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.tell(Pace::ALL);
    }
}

impl Pace {
    const ALL: usize = usize::MAX;
    /// Looks before a thread lets others have its core.
    const LOOKS: u32 = 1 << 12;

    fn tell(&self, turns: usize) {
        self.0.store(turns, Ordering::Release);
    }

    fn wait(&self, turns: usize) {
        let mut looks = 0;
        while self.0.load(Ordering::Acquire) < turns {
            looks += 1;
            if looks < Pace::LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl BoundEntry {
    /// Runs all segments from a first one on.
    pub fn run(&self, first: usize, pool: &mut Pool, scratch: Scratch) {
        let mut at = first;
        while at < self.sections.len() {
            at = self.sections::<false>(at, pool, scratch, &[]);
        }
    }

    /// Runs a section, or all that run beside it, and says which one is next.
    #[inline]
    fn sections<const TIMED: bool>(
        &self,
        first: usize,
        pool: &mut Pool,
        scratch: Scratch,
        clocks: &[AtomicU64],
    ) -> usize {
        let section = &self.sections[first];
        let all = &self.sections[first..first + section.beside];
        if all.len() == 1 {
            pool.run(section.tasks, &|task, thread| {
                self.task::<TIMED>(section, task, scratch.of(thread), clocks, Side::default(), None);
            });
        } else {
            all.iter().for_each(|section| section.pace.tell(0));
            pool.run(all.len(), &|place, thread| {
                let section = &all[place];
                let _done = Done(&section.pace);
                let before = place.checked_sub(1).map(|before| &all[before].pace);
                let side = Side { own: Some(&section.pace), before };
                self.task::<TIMED>(section, 0, scratch.of(thread), clocks, side, None);
            });
        }
        first + all.len()
    }

    /// Runs all segments from a first one on and gives the nanoseconds of each call, in order. Calls of one segment run interleaved,
    /// so a segment's time on the clock is divided among them by the time that they took on all threads.
    pub fn run_profiled(&self, first: usize, pool: &mut Pool, scratch: Scratch) -> Vec<u64> {
        let clocks: Vec<AtomicU64> = self.calls.iter().map(|_| AtomicU64::new(0)).collect();
        let mut at = first;
        while at < self.sections.len() {
            let start = Instant::now();
            let next = self.sections::<true>(at, pool, scratch, &clocks);
            let elapsed = start.elapsed().as_nanos() as u64;
            let clocks = &clocks[self.sections[at].calls.start..self.sections[next - 1].calls.end];
            at = next;
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
    fn task<const TIMED: bool>(
        &self,
        section: &Section,
        task: usize,
        own: *mut u8,
        clocks: &[AtomicU64],
        side: Side<'_>,
        starter: Option<(&Starter<'_>, Option<&Timed<'_>>)>,
    ) {
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
        let task = Task { begin, end, pointers, own, clocks, side, starter };
        self.walk::<TIMED>(section.steps.clone(), &task);
    }

    /// Walks all segments from a first one on, each as one task whose calls start kernels.
    pub(super) fn walk_on_device(
        &self,
        first: usize,
        scratch: Scratch,
        starter: &Starter<'_>,
        timed: Option<&Timed<'_>>,
    ) {
        for section in &self.sections[first..] {
            self.task::<false>(section, 0, scratch.of(0), &[], Side::default(), Some((starter, timed)));
        }
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
                BoundStep::Pair(first, late) => {
                    let start = TIMED.then(Instant::now);
                    let share = self.pair(*first, *late, task);
                    if let Some(start) = start {
                        let time = start.elapsed().as_nanos() as f64;
                        task.clocks[*first].fetch_add((time * share) as u64, Ordering::Relaxed);
                        task.clocks[*late].fetch_add((time * (1.0 - share)) as u64, Ordering::Relaxed);
                    }
                    at += 1;
                }
                BoundStep::Nothing => at += 1,
                BoundStep::Loop(turns) => {
                    self.turns::<TIMED>(at, turns, task);
                    at = turns.end;
                }
            }
        }
    }

    /// All turns of the loop at a place.
    #[inline]
    fn turns<const TIMED: bool>(&self, at: usize, turns: &Turns, task: &Task<'_>) {
        let side = if turns.again { Side::default() } else { task.side };
        // The turn of its block that what goes back with each block stands at.
        let mut stands = 0;
        for turn in 0..turns.trip {
            if turn > 0 {
                self.shift(turns.moves.clone(), 1, task);
            }
            let place = turn % turns.block;
            if place == 0 {
                let over = (turn + turns.block).saturating_sub(turns.trip);
                if let Some(before) = side.before {
                    before.wait(turn + turns.block - over);
                }
                if turns.ahead > at + 1 {
                    // The last block begins so many turns earlier.
                    let ahead = turns.moves.start..turns.back;
                    self.shift(ahead.clone(), -(over as isize), task);
                    self.walk::<TIMED>(at + 1..turns.ahead, task);
                    self.shift(ahead, over as isize, task);
                    self.shift(turns.within.clone(), over as isize - stands, task);
                    stands = over as isize;
                }
            } else {
                self.shift(turns.within.clone(), 1, task);
                stands += 1;
            }
            self.walk::<TIMED>(turns.ahead..turns.end, task);
            if let Some(own) = side.own {
                own.tell(turn + 1);
            }
        }
        if turns.again && turns.trip > 1 {
            self.shift(turns.moves.clone(), 1 - turns.trip as isize, task);
            self.shift(turns.within.clone(), -stands, task);
        }
        if let Some(before) = side.before {
            before.wait(Pace::ALL);
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

    /// Runs two contractions of which the second goes on with the sums of the first; says what part of the time is the first one's.
    #[inline]
    fn pair(&self, first: usize, late: usize, task: &Task<'_>) -> f64 {
        let calls = [&self.calls[first], &self.calls[late]];
        let (begin, end) = (task.begin * calls[0].per_unit, task.end * calls[0].per_unit);
        let [BoundKernel::Native(kernel), BoundKernel::Native(next)] = calls.map(|call| &call.kernel) else {
            return 1.0;
        };
        if begin < end {
            let pointers = calls.map(|call| task.pointers_of(call));
            // SAFETY: as for a call, of both; binding found that their results are one place.
            unsafe { kernel.run_on(next, pointers, begin, end, task.own) }
        }
        kernel.share_beside(next)
    }

    /// Runs one call for the task's units.
    #[inline]
    fn call(&self, index: usize, task: &Task<'_>) {
        let call = &self.calls[index];
        let (begin, end) = (task.begin * call.per_unit, task.end * call.per_unit);
        if begin == end {
            return;
        }
        let pointers = task.pointers_of(call);
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
            BoundKernel::Device(kernel) => match task.starter {
                Some((starter, Some(timed))) => timed(index, &|| starter.start(kernel, pointers)),
                Some((starter, None)) => starter.start(kernel, pointers),
                None => {}
            },
        }
    }
}

impl Task<'_> {
    /// The pointers of a call of the task's section.
    #[inline]
    fn pointers_of(&self, call: &Call) -> &[*mut u8] {
        // SAFETY: the section's pointers are there as long as the task runs, and nothing moves them during a call.
        unsafe { std::slice::from_raw_parts(self.pointers.add(call.pointers.start), call.pointers.len()) }
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
