//! Failpoints: tests let a chosen write, synchronisation or renaming fail, or end the process there.
//!
//! `WEFT_FAILPOINT=rename:3=abort` ends the process, without any clean-up, where a file is to be renamed for the third time; `=enospc` and
//! `=eio` give that error there and at all later places (a disk stays full); `any` stands for every point. Without the variable a
//! point costs one look at a cell; points are only where files are written.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plan {
    point: String,
    /// At the n-th time, counted from 1.
    at: u64,
    action: Action,
    reached: AtomicU64,
}

enum Action {
    Abort,
    Fail(io::ErrorKind),
}

/// Fails here if a test wants that.
pub fn reach(point: &str) -> io::Result<()> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| std::env::var("WEFT_FAILPOINT").ok().as_deref().and_then(parse));
    match plan {
        Some(plan) if plan.point == point || plan.point == "any" => plan.reach(),
        _ => Ok(()),
    }
}

impl Plan {
    fn reach(&self) -> io::Result<()> {
        let count = self.reached.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.action {
            Action::Abort if count == self.at => std::process::abort(),
            Action::Fail(kind) if count >= self.at => Err((*kind).into()),
            _ => Ok(()),
        }
    }
}

fn parse(text: &str) -> Option<Plan> {
    let (place, action) = text.split_once('=')?;
    let (point, at) = place.split_once(':').unwrap_or((place, "1"));
    let action = match action {
        "abort" => Action::Abort,
        "enospc" => Action::Fail(io::ErrorKind::StorageFull),
        "eio" => Action::Fail(io::ErrorKind::Other),
        _ => return None,
    };
    Some(Plan { point: point.to_owned(), at: at.parse().ok()?, action, reached: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_fails_from_its_time_on() {
        let plan = parse("sync:2=enospc").unwrap();
        let kinds: Vec<Option<io::ErrorKind>> =
            (0..3).map(|_| plan.reach().err().map(|error| error.kind())).collect();
        let full = Some(io::ErrorKind::StorageFull);
        assert_eq!(kinds, [None, full, full]);
        assert!(parse("sync:x=abort").is_none() && parse("sync").is_none() && parse("sync=else").is_none());
    }
}
