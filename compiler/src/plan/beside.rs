//! Loops side by side: which segments may run on several threads at once, each a turn behind the one before.
//!
//! A segment of a small batch is one task, so that a second thread would have nothing to do. But where a loop reads what the loop before
//! it yields, as the layers of a recurrent network do, its turn of a number needs that of the same number alone. Whether that is so is
//! asked of the kernels' accesses: what the earlier segment writes and the later one reads in its loop must be rows that move with both
//! loops alike.

use super::schedule::{Frame, frame, root};
use super::{Access, BufferId, Built, Work, repeat::Repeat};
use crate::graph::Dim;
use std::collections::BTreeMap;

/// What a segment does to some storage.
#[derive(Debug, Default)]
struct Use {
    written: bool,
    /// The rows that its loop writes, one a turn, if that is all that is written.
    rows: Option<Frame>,
}

/// The one loop of a segment, given by its drafts in order, and its place among them.
fn the_loop<'a>(built: &'a Built, members: &[usize]) -> Option<(usize, &'a Repeat)> {
    let mut loops = members.iter().enumerate().filter_map(|(place, at)| match &built.drafts[*at].work {
        Work::Loop(repeat) => Some((place, repeat)),
        Work::Kernel(_) => None,
    });
    let first = loops.next();
    loops.next().is_none().then_some(first).flatten()
}

/// Whether a segment's loop may run beside that of an earlier one.
pub fn may(built: &Built, early: &[usize], late: &[usize]) -> bool {
    let (Some((early_at, before)), Some((late_at, after))) = (the_loop(built, early), the_loop(built, late))
    else {
        return false;
    };
    if before.trip != after.trip {
        return false;
    }
    let mut uses: BTreeMap<BufferId, Use> = BTreeMap::new();
    for (place, member) in early.iter().enumerate() {
        for access in built.drafts[*member].kernels().into_iter().flat_map(|kernel| &kernel.accesses) {
            let found = uses.entry(root(built, access.buffer)).or_default();
            if access.write {
                let rows = if place == early_at { rows(built, access) } else { None };
                found.rows = rows.filter(|rows| !found.written || found.rows.as_ref() == Some(rows));
                found.written = true;
            }
        }
    }
    // What comes behind the later loop waits for all of the earlier segment.
    late[..=late_at].iter().enumerate().all(|(place, member)| {
        let mut accesses = built.drafts[*member].kernels().into_iter().flat_map(|kernel| &kernel.accesses);
        accesses.all(|access| match uses.get(&root(built, access.buffer)) {
            None => true,
            Some(_) if access.write => false,
            Some(found) if !found.written => true,
            Some(found) => {
                let alike = place == late_at && before.reversed == after.reversed;
                alike && found.rows.is_some() && rows(built, access) == found.rows
            }
        })
    })
}

/// The row that an access of a loop stays in, where rows of different turns lie apart.
fn rows(built: &Built, access: &Access) -> Option<Frame> {
    let frame = frame(built, access.buffer);
    let Frame::Rows(elements, _, moves) = &frame else { return None };
    let [advance] = moves.as_slice() else { return None };
    let room = elements.clone() - access.reach.clone() + Dim::constant(1);
    let within = access.at.as_ref().is_some_and(|at| at.within(&room, &access.extents));
    (elements == advance && within).then_some(frame)
}
