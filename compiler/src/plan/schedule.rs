//! The order of kernels, and their segments.
//!
//! Kernels are listed as soon as what they read is there. A kernel joins the open segment when its index space is cut along the
//! segment's units and each unit touches only its own share of what the segment's other kernels write; so the units may run in any
//! order, and nothing waits. Kernels too small to be worth a second thread gather in segments of one unit.
//!
//! How many units make a task follows from dims alone: few enough that a task's data stays in cache, enough that dense
//! layers see a few rows and that a task is worth starting.

use super::affine::Affine;
use super::{Access, BufferId, Built, Draft, Kernel, Launch, Segment, Storage};
use crate::graph::{Dim, Symbol};
use std::collections::{BTreeMap, BTreeSet};
use weft_runtime::program::Partition;

/// Less work than this (in elements or FLOPs) is not worth a second thread.
const SMALL: i64 = 16 << 10;
/// What a task should touch at most, so that it stays in a core's cache.
const CACHE: i64 = 512 << 10;
/// Rows that a dense layer should see at once.
const ROWS: i64 = 16;

/// Which kernels must run before which.
#[derive(Debug)]
pub struct Order {
    pub before: Vec<BTreeSet<usize>>,
}

impl Order {
    /// Who reads what others write.
    pub fn new(drafts: &[Draft]) -> Order {
        let mut writers: BTreeMap<BufferId, Vec<usize>> = BTreeMap::new();
        for (at, draft) in drafts.iter().enumerate() {
            for access in draft.accesses.iter().filter(|a| a.write) {
                writers.entry(access.buffer).or_default().push(at);
            }
        }
        let before = drafts
            .iter()
            .enumerate()
            .map(|(at, draft)| {
                let reads = draft.accesses.iter().filter(|a| !a.write);
                reads
                    .flat_map(|a| writers.get(&a.buffer).into_iter().flatten().copied())
                    .filter(|w| *w != at)
                    .collect()
            })
            .collect();
        Order { before }
    }

    /// Whether `late` must run after `early`, directly or through others.
    pub fn reaches(&self, early: usize, late: usize) -> bool {
        let mut seen = vec![false; self.before.len()];
        let mut open = vec![late];
        while let Some(at) = open.pop() {
            for &earlier in &self.before[at] {
                if earlier == early {
                    return true;
                }
                if !std::mem::replace(&mut seen[earlier], true) {
                    open.push(earlier);
                }
            }
        }
        false
    }
}

/// The segment that is being filled.
#[derive(Debug)]
struct Open {
    units: Dim,
    members: Vec<usize>,
    /// By storage: whether it is written, and whether all accesses so far stay within their units.
    touched: BTreeMap<BufferId, (bool, bool)>,
    least: i64,
    most: i64,
}

pub fn schedule(built: &mut Built) -> Vec<Segment> {
    for draft in &mut built.drafts {
        super::normal::finish(draft);
    }
    let mut order = Order::new(&built.drafts);
    super::memory::place_updates(built, &mut order);
    let batches: Vec<Symbol> =
        built.inputs.iter().filter_map(|i| i.2.first()?.as_symbol().cloned()).collect();

    let count = built.drafts.len();
    let mut done = vec![false; count];
    let mut segments = Vec::new();
    let mut remaining = count;
    while remaining > 0 {
        let ready = |at: usize, done: &[bool]| !done[at] && order.before[at].iter().all(|b| done[*b]);
        let Some(first) = (0..count).find(|at| ready(*at, &done)) else { break };
        let mut open = Open::new(built, first, &batches);
        open.add(built, first);
        done[first] = true;
        remaining -= 1;
        // Each kernel that joins may make others ready, so the walk starts over until none joins.
        let mut joined = true;
        while joined {
            joined = false;
            for at in 0..count {
                if ready(at, &done) && open.admits(built, at) {
                    open.add(built, at);
                    done[at] = true;
                    remaining -= 1;
                    joined = true;
                }
            }
        }
        let owned = open.owned();
        segments.push(open.close(built));
        built.owned.push(owned);
    }
    segments
}

impl Open {
    fn new(built: &Built, first: usize, batches: &[Symbol]) -> Open {
        let draft = &built.drafts[first];
        let units = match draft.loops.first() {
            None => Dim::constant(1),
            Some(_) if small(built, draft) && !by_batch(draft, batches) => Dim::constant(1),
            Some(extent) => units_of(built, draft, extent, batches),
        };
        Open { units, members: Vec::new(), touched: BTreeMap::new(), least: 1, most: i64::MAX }
    }

    /// Steps of the kernel's outermost loop in one unit, if the kernel can be cut so.
    fn steps(&self, built: &Built, draft: &Draft) -> Option<Dim> {
        if self.units.is(1) {
            return small(built, draft).then(|| Dim::constant(1));
        }
        // Few units would be few tasks for a kernel that has work for more.
        if self.units.as_constant().is_some_and(|u| u < 8 && Some(u) != draft.space.as_constant()) {
            return None;
        }
        draft.loops.first()?.exact_div(&self.units)
    }

    fn admits(&self, built: &Built, at: usize) -> bool {
        let draft = &built.drafts[at];
        let Some(steps) = self.steps(built, draft) else { return false };
        let (least, most) = self.wishes(built, draft);
        if self.least.max(least) > self.most.min(most).saturating_mul(2) {
            return false;
        }
        draft.accesses.iter().all(|access| {
            let Some((written, within)) = self.touched.get(&root(built, access.buffer)) else { return true };
            if !written && !access.write {
                return true;
            }
            self.units.is(1) || *within && self.owns(built, draft, access, &steps)
        })
    }

    /// Whether unit `u` touches only its own share of the buffer.
    fn owns(&self, built: &Built, _draft: &Draft, access: &Access, steps: &Dim) -> bool {
        let Some(at) = &access.at else { return false };
        let Some(share) = built.buffers[access.buffer.index()].elements.exact_div(&self.units) else {
            return false;
        };
        let step = at.coefficient(0);
        if step.clone() * steps.clone() != share {
            return false;
        }
        let rest = at.substitute(&|v| if v == 0 { Affine::constant(0i64) } else { Affine::variable(v) });
        rest.within(&(step - access.reach.clone() + Dim::constant(1)), &access.extents)
    }

    /// The least units that a task of this kernel should have, and the most.
    fn wishes(&self, built: &Built, draft: &Draft) -> (i64, i64) {
        let units = built.estimate(&self.units).max(1);
        let mut least = 1;
        if let Kernel::Contraction { batch, m, k, n, partition: Partition::Rows, .. } = &draft.kernel {
            let rows: i64 =
                batch.iter().chain(m).map(|s| built.estimate(&s.extent).max(1)).product::<i64>().max(1);
            let weights: i64 =
                k.iter().map(|s| built.estimate(&s.extent)).product::<i64>() * built.estimate(&n.extent) * 4;
            // Small weights stay in cache from one task to the next.
            if weights > CACHE / 8 && batch.is_empty() {
                least = (ROWS * units / rows).max(1);
            }
        }
        (least, (CACHE / share_bytes(built, [draft], units).max(1)).max(1))
    }

    fn add(&mut self, built: &Built, at: usize) {
        let draft = &built.drafts[at];
        let steps = self.steps(built, draft);
        let (least, most) = self.wishes(built, draft);
        self.least = self.least.max(least);
        self.most = self.most.min(most);
        for access in &draft.accesses {
            let own = steps.as_ref().is_some_and(|steps| self.owns(built, draft, access, steps));
            let entry = self.touched.entry(root(built, access.buffer)).or_insert((false, true));
            entry.0 |= access.write;
            entry.1 &= own;
        }
        self.members.push(at);
    }

    /// The storage that could be cut up among the units.
    fn owned(&self) -> BTreeSet<BufferId> {
        if self.units.is(1) {
            return BTreeSet::new();
        }
        self.touched
            .iter()
            .filter(|(_, (written, own))| *written && *own)
            .map(|(buffer, _)| *buffer)
            .collect()
    }

    fn close(self, built: &Built) -> Segment {
        let units = built.estimate(&self.units).max(1);
        let work: i64 =
            self.members.iter().map(|at| self.work(built, &built.drafts[*at])).fold(0, i64::saturating_add);
        // A task worth starting, within what fits the cache; never so few tasks that cores idle.
        let worth = (2 * SMALL).saturating_mul(units).checked_div(work.max(1)).unwrap_or(units).max(1);
        let bytes = share_bytes(built, self.members.iter().map(|at| &built.drafts[*at]), units);
        let fitting = (CACHE / bytes.max(1)).max(1).min((units / 16).max(1));
        let grain = fitting.max(worth).max(self.least);
        let launches = self.members.iter().map(|at| launch(built, &built.drafts[*at], &self.units)).collect();
        Segment { units: self.units, grain: Dim::constant(grain), launches }
    }

    fn work(&self, built: &Built, draft: &Draft) -> i64 {
        built.estimate(&draft.flops).max(total_elements(built, draft))
    }
}

/// Elements of all buffers that a kernel touches.
fn total_elements(built: &Built, draft: &Draft) -> i64 {
    let mut buffers: Vec<BufferId> = draft.accesses.iter().map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    buffers.iter().map(|b| built.estimate(&built.buffers[b.index()].elements)).fold(0, i64::saturating_add)
}

/// Bytes that one unit of some kernels touches, all together.
fn share_bytes<'a>(built: &Built, drafts: impl IntoIterator<Item = &'a Draft>, units: i64) -> i64 {
    let accesses = drafts.into_iter().flat_map(|draft| &draft.accesses);
    let mut buffers: Vec<BufferId> = accesses.filter(|a| a.at.is_some()).map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    let bytes = |b: &BufferId| {
        let buffer = &built.buffers[b.index()];
        built.estimate(&buffer.elements).saturating_mul(buffer.dtype.size() as i64)
    };
    buffers.iter().map(bytes).fold(0i64, i64::saturating_add) / units.max(1)
}

fn small(built: &Built, draft: &Draft) -> bool {
    built.estimate(&draft.flops).max(total_elements(built, draft)) <= SMALL
}

fn by_batch(draft: &Draft, batches: &[Symbol]) -> bool {
    draft
        .loops
        .first()
        .is_some_and(|extent| batches.iter().any(|b| extent.exact_div(&Dim::symbol(b.clone())).is_some()))
}

/// The units along which a segment that starts with this kernel is cut.
fn units_of(built: &Built, draft: &Draft, extent: &Dim, batches: &[Symbol]) -> Dim {
    for batch in batches {
        let batch = Dim::symbol(batch.clone());
        if extent.exact_div(&batch).is_some() {
            return batch;
        }
    }
    // Elements of weights: a number of equal parts that other weights may share.
    if let (Some(total), Kernel::Nest(_)) = (extent.as_constant(), &draft.kernel) {
        for parts in [64, 32, 16, 8] {
            if total % parts == 0 && built.estimate(&draft.space) >= parts * 16 {
                return Dim::constant(parts);
            }
        }
    }
    extent.clone()
}

/// The buffer whose storage this one uses.
pub fn root(built: &Built, mut buffer: BufferId) -> BufferId {
    while let Storage::Alias(of) = built.buffers[buffer.index()].storage {
        buffer = of;
    }
    buffer
}

fn launch(built: &Built, draft: &Draft, units: &Dim) -> Launch {
    let mut buffers: Vec<BufferId> = draft.accesses.iter().map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    let bytes = buffers.iter().fold(Dim::constant(0), |sum, b| {
        let buffer = &built.buffers[b.index()];
        sum + buffer.elements.clone() * Dim::from(buffer.dtype.size())
    });
    // A kernel is only in a segment when the units divide its outermost loop.
    let per_unit = match draft.loops.split_first() {
        Some((first, inner)) if !units.is(1) => {
            first.exact_div(units).unwrap_or_else(|| first.clone()) * super::build::product(inner)
        }
        _ => draft.space.clone(),
    };
    Launch {
        kernel: draft.kernel.clone(),
        buffers: draft.buffers.clone(),
        per_unit,
        path: draft.path.clone(),
        span: draft.span,
        flops: draft.flops.clone(),
        bytes,
    }
}
