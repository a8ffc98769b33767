//! One function of many items, on all threads: for what takes long once, like compiling. What models do again and again is a pool's (`pool.rs`).

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What the function gives for each item, in their order, on so many threads, this one among them. A thread takes the next item when it is done
/// with one, so that long ones hold up nobody. A panic goes on in the caller.
pub fn map<T: Sync, R: Send>(threads: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, f(item)));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(some)).collect();
        let mut all = some();
        all.extend(
            others.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
        );
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_lie_in_the_order_of_their_items() {
        let items: Vec<u64> = (0..100).collect();
        let squares: Vec<u64> = items.iter().map(|i| i * i).collect();
        for threads in [0, 1, 2, 7, 200] {
            assert_eq!(map(threads, &items, |i| i * i), squares, "{threads} threads");
        }
        assert!(map(4, &[], |i: &u64| *i).is_empty());
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn a_panic_goes_on_in_the_caller() {
        map(3, &[1, 2, 3, 4, 5, 6, 7, 8], |&i| assert!(i != 7, "the seventh"));
    }
}
