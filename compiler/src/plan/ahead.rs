//! What a loop computes from a sequence alone, for several steps at once.
//!
//! A step's product of its element with weights is one of few rows where the batch is small: all of the weights come from a cache for
//! little work. It waits for no other step, so a block of steps shares one product, whose results lie together until the last of these
//! steps has read them. How many steps make a block follows from the batch, which is known when the program runs: with as many rows as a
//! product should have, a block is one step, and nothing is different.

use super::affine::is_nonnegative;
use super::schedule::root;
use super::{BufferId, Built, Draft, Kernel, Machine, Storage, Stride, Work, repeat, resolve};
use crate::graph::Dim;
use std::collections::BTreeSet;
use weft_runtime::program::Partition;

/// Rows that a product should have: those of a register tile.
const ROWS: i64 = 12;

/// Units that are one task, whatever else: where a block has several steps, its rows lie step by step, and are not cut.
pub const UNCUT: i64 = ROWS / 2 + 1;

/// Lets the products of a loop that is cut along `units` run ahead, where they can; says whether any does.
pub fn arrange(built: &mut Built, at: usize, units: &Dim) -> bool {
    let Work::Loop(looped) = &built.drafts[at].work else { return false };
    let found: Vec<(usize, Dim)> = (0..looped.drafts.len())
        .filter_map(|place| advance(built, at, looped, place).map(|advance| (place, advance)))
        .collect();
    // A constant number of units says nothing of how many rows a step has.
    if found.is_empty() || units.as_constant().is_some() {
        return false;
    }
    let one = Dim::constant(1);
    let block = match built.machine {
        Machine::Cpu => Dim::constant(ROWS).floor_div(&units.larger(&one)).larger(&one).smaller(&looped.trip),
        // It has room for the rows of all steps, and threads for them.
        Machine::Gpu => looped.trip.clone(),
    };
    let mut rings = Vec::new();
    for (place, advance) in &found {
        let Work::Loop(looped) = &mut built.drafts[at].work else { continue };
        let draft = &mut looped.drafts[*place];
        let Work::Kernel(Kernel::Contraction { m, .. }) = &mut draft.work else { continue };
        let Some(&(ring, _)) = draft.buffers.last() else { continue };
        let elements = &mut built.buffers[ring.index()].elements;
        let step = elements.clone();
        *elements = step.clone() * block.clone();
        m.insert(
            0,
            Stride { extent: block.clone(), a: Some(advance.clone()), b: None, c: Some(step.clone()) },
        );
        draft.loops.push(block.clone());
        draft.space = draft.space.clone() * block.clone();
        rings.push((ring, step));
    }
    if let Work::Loop(looped) = &mut built.drafts[at].work {
        // What runs ahead comes first.
        let ahead = |draft: &Draft| writes(draft).iter().any(|b| rings.iter().any(|(ring, _)| ring == b));
        looped.drafts.sort_by_key(|draft| !ahead(draft));
        (looped.block, looped.rings) = (block, rings);
    }
    true
}

/// How far what a product reads is from one step to the next, if it can run ahead of the loop's other kernels.
fn advance(built: &Built, at: usize, looped: &repeat::Repeat, place: usize) -> Option<Dim> {
    let draft = &looped.drafts[place];
    let Work::Kernel(Kernel::Contraction { batch, m, splits: 1, partition: Partition::Rows, .. }) =
        &draft.work
    else {
        return None;
    };
    let (&[(a, _), (b, _), (c, _)], [_], true) = (draft.buffers.as_slice(), m.as_slice(), batch.is_empty())
    else {
        return None;
    };
    // The operands are there before the loop, and only one moves with it.
    let written: BTreeSet<BufferId> =
        looped.drafts.iter().flat_map(writes).map(|buffer| root(built, buffer)).collect();
    let moves = |buffer: BufferId| resolve(&built.buffers, buffer).2;
    let there = |buffer: BufferId| !written.contains(&root(built, buffer));
    let of_a = moves(a);
    let (there, [advance]) = (there(a) && there(b) && moves(b).is_empty(), of_a.as_slice()) else {
        return None;
    };
    // The result is read by kernels of this very loop alone.
    let fresh = built.buffers[c.index()].storage == Storage::Unused;
    let kept = looped.updates.iter().any(|(new, carry)| *new == c || *carry == c)
        || built.outputs.iter().any(|output| output.3 == c)
        || built
            .buffers
            .iter()
            .any(|b| matches!(b.storage, Storage::Alias(of) | Storage::Row { of, .. } if of == c));
    let touches = |draft: &Draft| repeat::touched(draft).iter().any(|(buffer, _)| *buffer == c);
    let inside = looped.drafts.iter().all(|other| match other.work {
        Work::Kernel(_) => true,
        Work::Loop(_) => !touches(other),
    });
    let outside = built.drafts.iter().enumerate().all(|(other, draft)| other == at || !touches(draft));
    let once = looped.drafts.iter().flat_map(writes).filter(|buffer| *buffer == c).count() == 1;
    (there && fresh && !kept && inside && outside && once && is_nonnegative(advance)).then(|| advance.clone())
}

fn writes(draft: &Draft) -> Vec<BufferId> {
    repeat::touched(draft).into_iter().filter(|(_, write)| *write).map(|(buffer, _)| buffer).collect()
}
