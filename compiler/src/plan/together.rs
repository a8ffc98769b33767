//! Many small kernels as one launch, for a GPU.
//!
//! To start a kernel costs more than to update a layer's weights, and few of its threads would be busy. So maps over constant extents (the
//! updates of an optimizer, initialisers, sums of metrics) wait for one another: from the last kernel to the first, each is
//! put off until the nearest place where such kernels already run, if nothing on the way touches what it writes or writes what it
//! reads. What a group's kernels do is independent, so blocks of one launch can share it out.

use super::nest::Nest;
use super::schedule::root;
use super::{BufferId, Built, Kernel, Launch, Part, Segment, Step};
use crate::graph::Dim;
use std::collections::BTreeSet;

/// A launch has at most so many parts, which touch so many storages.
const PARTS: usize = 32;
const STORAGES: usize = 64;

/// What a step touches, by storage.
#[derive(Clone, Debug, Default)]
struct Touched {
    all: BTreeSet<BufferId>,
    written: BTreeSet<BufferId>,
}

impl Touched {
    fn of(built: &Built, launches: &[&Launch]) -> Touched {
        let mut touched = Touched::default();
        for launch in launches {
            touched.all.extend(launch.buffers.iter().map(|(buffer, _)| root(built, *buffer)));
            touched.written.extend(launch.written().into_iter().map(|buffer| root(built, buffer)));
        }
        touched
    }

    /// Must one of both be done before the other?
    fn meets(&self, other: &Touched) -> bool {
        let both = |a: &BTreeSet<BufferId>, b: &BTreeSet<BufferId>| a.intersection(b).next().is_some();
        both(&self.written, &other.all) || both(&self.all, &other.written)
    }
}

/// Puts launches together.
pub fn gather(built: &mut Built, segments: &mut Vec<Segment>) {
    let all: Vec<(usize, usize)> = segments
        .iter()
        .enumerate()
        .flat_map(|(s, segment)| (0..segment.steps.len()).map(move |at| (s, at)))
        .collect();
    let step = |place: &(usize, usize)| &segments[place.0].steps[place.1];
    let touched: Vec<Touched> = all.iter().map(|place| Touched::of(built, &step(place).launches())).collect();
    let small: Vec<bool> =
        all.iter().map(|(s, at)| *s >= built.prepares && is_small(&segments[*s].steps[*at])).collect();
    // By step: those that run in its place, in order; none where it has been put off.
    let mut here: Vec<Vec<usize>> = (0..all.len()).map(|at| vec![at]).collect();
    for at in (0..all.len()).rev().filter(|at| small[*at]) {
        for later in at + 1..all.len() {
            let meets = here[later].iter().any(|other| touched[at].meets(&touched[*other]));
            if meets {
                break;
            }
            let together = here[later].first().is_some_and(|first| small[*first]);
            if together && fits(&here[later], at, &touched) {
                here[later].insert(0, at);
                here[at].clear();
                break;
            }
        }
    }
    let taken: Vec<Vec<Step>> =
        segments.iter_mut().map(|segment| std::mem::take(&mut segment.steps)).collect();
    let mut taken: Vec<Option<Step>> = taken.into_iter().flatten().map(Some).collect();
    for (place, members) in all.iter().zip(here) {
        let steps: Vec<Step> = members.iter().filter_map(|at| taken[*at].take()).collect();
        segments[place.0].steps.extend(joined(steps));
    }
    // Some segments have nothing left to do. None of those that prepare: these stay as they are.
    let mut busy = segments.iter().map(|segment| !segment.steps.is_empty());
    built.owned.retain(|_| busy.next().unwrap_or(true));
    segments.retain(|segment| !segment.steps.is_empty());
}

/// Is it a map over constant extents?
fn is_small(step: &Step) -> bool {
    let Step::Launch(launch) = step else { return false };
    let Kernel::Nest(Nest { stages, .. }) = &launch.kernel else { return false };
    let [stage] = stages.as_slice() else { return false };
    stage.reduced.is_empty()
        && stage.kept.iter().all(|extent| extent.as_constant().is_some())
        && stage.stores.iter().all(|store| !store.accumulate)
}

/// Is there room for one more?
fn fits(members: &[usize], more: usize, touched: &[Touched]) -> bool {
    let mut storages = touched[more].all.clone();
    members.iter().for_each(|at| storages.extend(&touched[*at].all));
    members.len() < PARTS && storages.len() <= STORAGES
}

/// Steps of one place as one.
fn joined(steps: Vec<Step>) -> Vec<Step> {
    if steps.len() < 2 {
        return steps;
    }
    let launches: Vec<Launch> = steps
        .into_iter()
        .filter_map(|step| match step {
            Step::Launch(launch) => Some(*launch),
            Step::Loop(_) => None,
        })
        .collect();
    let Some(first) = launches.first().cloned() else { return Vec::new() };
    let (mut parts, mut buffers) = (Vec::new(), Vec::new());
    let (mut flops, mut bytes) = (Dim::constant(0), Dim::constant(0));
    for launch in launches {
        for buffer in launch.buffers {
            if !buffers.contains(&buffer) {
                buffers.push(buffer);
            }
        }
        (flops, bytes) = (flops + launch.flops, bytes + launch.bytes);
        if let Kernel::Nest(nest) = launch.kernel {
            parts.push(Part { path: launch.path, nest });
        }
    }
    vec![Step::Launch(Box::new(Launch {
        kernel: Kernel::Parts(parts),
        buffers,
        per_unit: Dim::constant(1),
        flops,
        bytes,
        ..first
    }))]
}
