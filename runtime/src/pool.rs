//! A pool of threads that stays: the caller and its workers run a segment's tasks together.
//!
//! A segment is published with one atomic store, its tasks are claimed with `fetch_add`, and its end is a counter that
//! reaches zero: no lock and no allocation in between. Workers that find nothing spin for at most [`SPIN`] and then sleep.
//! *Which* thread runs a task is left to chance, and no result depends on what a task is.
//!
//! **Why it is sound.** All shared state is one [`Shared`]:
//!
//! - `claims` is `tasks << 32 | next`. A thread owns the tasks `next .. min(next + bite, tasks)` of the word that its
//!   `fetch_add(bite)` returned. A word whose tasks are used up stays so until the caller stores a new one.
//! - `remaining` counts tasks that are not finished. The caller sets it before it publishes, an owner of tasks lowers it by
//!   their number after it has done them all, and the caller publishes the next segment only after it has read 0. So while
//!   any thread owns tasks that it has not handed in, the segment cannot change.
//! - `job` is plain memory. It is written by the caller only while no task is owned, and read only by the owner of a task
//!   *after* the claim. The claim's acquire pairs with the publishing release (later `fetch_add`s continue its release
//!   sequence), so an owner sees the job of the very segment that its claim belongs to, even when it had looked at an older
//!   word before: claim first, then read. The owner's release on `remaining` pairs with the caller's acquire, which orders
//!   all reads of the job, and all that the task wrote, before what the caller does next.
//! - Sleeping: a worker raises its `asleep` flag, then looks at `claims` once more; the caller stores `claims`, then looks at
//!   the flags. Sequentially consistent fences between the two steps on both sides make it impossible that both miss the
//!   other (store buffering), so no wake-up is lost. `unpark` before `park` is remembered by the standard library.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long an idle worker looks for work before it sleeps.
const SPIN: Duration = Duration::from_micros(50);
/// Looks between two readings of the clock.
const LOOKS: u32 = 64;

/// What a task is run by: `(task, thread)`, where thread 0 is the caller.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// One value to a cache line, so that threads that spin on one do not slow down writers of another.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Line<T>(T);

/// What a worker reads first: one line brings it all.
#[derive(Default)]
struct Work {
    claims: AtomicU64,
    job: UnsafeCell<Option<*const Task<'static>>>,
}

struct Shared {
    work: Line<Work>,
    remaining: Line<AtomicUsize>,
    asleep: Vec<Line<AtomicBool>>,
    panicked: AtomicBool,
    stop: AtomicBool,
    threads: usize,
}

/// A word of claims as the next task and the number of tasks.
fn split(word: u64) -> (usize, usize) {
    (word as u32 as usize, (word >> 32) as usize)
}

// SAFETY: everything but `job` is atomic; the module's doc shows that `job` is never read and written at once, and that
// what it points to is `Sync` and outlives every read.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is only followed while the caller that published it waits.
unsafe impl Send for Shared {}

impl Shared {
    /// Claims and runs tasks until none is left.
    fn work(&self, thread: usize) {
        let word = self.work.0.claims.load(Ordering::Relaxed);
        let (mut next, mut tasks) = split(word);
        let mut done = 0;
        while next < tasks {
            // Large bites first, single tasks at the end: few claims, and no thread waits long for the last one.
            let bite = ((tasks - next) / (2 * self.threads)).max(1);
            let word = self.work.0.claims.fetch_add(bite as u64, Ordering::Acquire);
            (next, tasks) = split(word);
            for task in next..tasks.min(next + bite) {
                // SAFETY: this thread owns an unfinished task, so nobody writes `job` now, and the caller keeps the closure
                // alive until `remaining` is 0.
                let run = || unsafe {
                    if let Some(job) = *self.work.0.job.get() {
                        (*job)(task, thread);
                    }
                };
                // A panic must not leave the caller waiting for ever; it is raised again there.
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                done += 1;
            }
            next += bite;
        }
        if done > 0 {
            self.remaining.0.fetch_sub(done, Ordering::Release);
        }
    }

    fn has_work(&self) -> bool {
        let (next, tasks) = split(self.work.0.claims.load(Ordering::Relaxed));
        next < tasks
    }

    fn worker(&self, thread: usize) {
        let _mode = FlushDenormals::enter();
        let asleep = &self.asleep[thread - 1].0;
        while !self.stop.load(Ordering::Acquire) {
            self.work(thread);
            if self.spin() {
                continue;
            }
            asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            while asleep.load(Ordering::Acquire) && !self.has_work() && !self.stop.load(Ordering::Acquire) {
                thread::park();
            }
            asleep.store(false, Ordering::Relaxed);
        }
    }

    /// Looks for work for a while; false when there was none.
    fn spin(&self) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.has_work() || self.stop.load(Ordering::Relaxed) {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= SPIN {
                return false;
            }
        }
    }
}

/// The pool. One caller at a time, by `&mut`.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of so many threads, the caller's included.
    pub fn new(threads: usize) -> Result<Pool> {
        let workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            work: Line::default(),
            remaining: Line::default(),
            asleep: (0..workers).map(|_| Line::default()).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            threads: workers + 1,
        });
        let mut pool = Pool { shared, workers: Vec::with_capacity(workers) };
        for thread in 1..=workers {
            let shared = Arc::clone(&pool.shared);
            let spawned =
                thread::Builder::new().name(format!("weft-{thread}")).spawn(move || shared.worker(thread));
            pool.workers.push(spawned.map_err(Error::Thread)?);
        }
        Ok(pool)
    }

    /// One thread for each core that this process may use.
    pub fn default_threads() -> usize {
        thread::available_parallelism().map_or(1, |n| n.get())
    }

    /// Threads that run tasks, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0..tasks, thread)` once each and returns when all are done. A single task runs here and now.
    ///
    /// # Panics
    /// When a task panics; all others are finished first.
    pub fn run(&mut self, tasks: usize, task: &Task<'_>) {
        if tasks <= 1 || self.workers.is_empty() {
            for index in 0..tasks {
                task(index, 0);
            }
            return;
        }
        assert!(tasks < 1 << 31, "too many tasks");
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is followed by owners of tasks alone, and `run` does not return
        // before all of them are done.
        let job = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        // SAFETY: `remaining` is 0, so no task is owned and nobody reads `job`.
        unsafe { *shared.work.0.job.get() = Some(job) };
        shared.remaining.0.store(tasks, Ordering::Relaxed);
        shared.work.0.claims.store((tasks as u64) << 32, Ordering::Release);
        fence(Ordering::SeqCst);
        self.wake(tasks - 1);

        shared.work(0);
        let mut looks = 0u32;
        while shared.remaining.0.load(Ordering::Acquire) != 0 {
            // With more threads than cores, the last owner may need this very core.
            looks += 1;
            if looks < 1 << 12 {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a task of the thread pool panicked");
        }
    }

    /// Wakes at most so many sleeping workers.
    fn wake(&self, mut wanted: usize) {
        for (asleep, worker) in self.shared.asleep.iter().zip(&self.workers) {
            if wanted == 0 {
                return;
            }
            if asleep.0.load(Ordering::Relaxed) && asleep.0.swap(false, Ordering::Release) {
                worker.thread().unpark();
            }
            wanted -= 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches its tasks' panics, so it ends without one.
            let _ = worker.join();
        }
    }
}

/// While it lives, this thread's denormal numbers are zero, both as results and as operands: a decayed optimizer state
/// full of them would run several times slower. The thread's former mode comes back when it is dropped.
#[derive(Debug)]
pub struct FlushDenormals {
    former: u64,
    /// The mode belongs to this thread, so the value must not leave it.
    _thread: std::marker::PhantomData<*const ()>,
}

impl FlushDenormals {
    pub fn enter() -> FlushDenormals {
        let former = control::read();
        control::write(former | control::FLUSH);
        FlushDenormals { former, _thread: std::marker::PhantomData }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::write(self.former);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    /// MXCSR: flush-to-zero (bit 15) and denormals-are-zero (bit 6).
    pub const FLUSH: u64 = 1 << 15 | 1 << 6;

    pub fn read() -> u64 {
        let mut word = 0u32;
        // SAFETY: stores the control register to a local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags)) };
        u64::from(word)
    }

    pub fn write(word: u64) {
        let word = word as u32;
        // SAFETY: loads what `read` gave, with at most the two flush bits added; no exception is unmasked.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags, readonly)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// FPCR: flush to zero, which covers operands too.
    pub const FLUSH: u64 = 1 << 24;

    pub fn read() -> u64 {
        let word: u64;
        // SAFETY: reads the control register.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub fn write(word: u64) {
        // SAFETY: writes what `read` gave, with at most the flush bit added.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub const FLUSH: u64 = 0;
    pub fn read() -> u64 {
        0
    }
    pub fn write(_: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn many_tiny_segments_run_every_task_once() {
        for threads in [2, 3, 4] {
            let mut pool = Pool::new(threads).unwrap();
            let sums: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
            let mut expected = vec![0u64; 64];
            for round in 0..100_000u64 {
                let tasks = (round % 7 + 1) as usize;
                pool.run(tasks, &|task, thread| {
                    assert!(thread < threads);
                    sums[task].fetch_add(round, Ordering::Relaxed);
                });
                expected[..tasks].iter_mut().for_each(|e| *e += round);
            }
            let got: Vec<u64> = sums.iter().map(|s| s.load(Ordering::Relaxed)).collect();
            assert_eq!(got, expected, "{threads} threads");
        }
    }

    #[test]
    fn a_segment_sees_all_that_the_one_before_wrote() {
        // Plain (not atomic) cells: each segment reads what other tasks of the previous one wrote.
        struct Cells(Vec<UnsafeCell<u64>>);
        // SAFETY: task t writes cell t of one half and reads the other half only.
        unsafe impl Sync for Cells {}
        let mut pool = Pool::new(4).unwrap();
        let halves = [(); 2].map(|()| Cells((0..16).map(|_| UnsafeCell::new(1)).collect()));
        for round in 0..20_000 {
            let (from, to) = (&halves[round % 2], &halves[(round + 1) % 2]);
            pool.run(16, &|task, _| {
                let (from, to) = (from, to);
                // SAFETY: as said at `Cells`.
                unsafe { *to.0[task].get() = *from.0[(task + 5) % 16].get() + 1 };
            });
        }
        // SAFETY: no task runs any more.
        assert!(halves[0].0.iter().all(|c| unsafe { *c.get() } == 20_001));
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let mut pool = Pool::new(3).unwrap();
        let seen: Vec<AtomicBool> = (0..3).map(|_| AtomicBool::new(false)).collect();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(5));
            seen.iter().for_each(|s| s.store(false, Ordering::Relaxed));
            // Three tasks that wait for each other need three threads.
            let barrier = std::sync::Barrier::new(3);
            pool.run(3, &|_, thread| {
                barrier.wait();
                seen[thread].store(true, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|s| s.load(Ordering::Relaxed)));
        }
    }

    #[test]
    fn a_panicking_task_reaches_the_caller_and_leaves_the_pool_usable() {
        let mut pool = Pool::new(2).unwrap();
        let done = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.run(8, &|task, _| {
                assert_ne!(task, 3);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }));
        assert!(caught.is_err());
        assert_eq!(done.load(Ordering::Relaxed), 7);
        pool.run(2, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 9);
    }

    #[test]
    fn denormals_are_flushed_on_all_threads_and_the_caller_gets_its_mode_back() {
        let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert_ne!(half(), 0.0);
        {
            let _mode = FlushDenormals::enter();
            let mut pool = Pool::new(3).unwrap();
            pool.run(30, &|_, _| assert_eq!(half(), 0.0));
        }
        assert_ne!(half(), 0.0);
    }

    #[test]
    fn a_pool_of_one_and_a_segment_of_none_work() {
        let mut pool = Pool::new(1).unwrap();
        let count = AtomicUsize::new(0);
        pool.run(5, &|_, thread| {
            count.fetch_add(thread + 1, Ordering::Relaxed);
        });
        pool.run(0, &|_, _| unreachable!());
        assert_eq!(count.load(Ordering::Relaxed), 5);
    }
}
