//! Merging loop nests, so that values pass in registers: which kernels meet, and what becomes of their stores.
//!
//! How two nests become one stage is told in [`super::merge`]. Nests that read the same and have the same loops merge too (the
//! maximum of a pooling window and its place). A store that nobody else reads vanishes. Merges never make a cycle: no other
//! kernel may stand between the two. The kernels in a loop merge with one another, never across its border.

use super::affine::Affine;
use super::merge::{alike, join_reader, side_by_side};
use super::nest::{Nest, Stage};
use super::{BufferId, Built, Draft, Kernel, Machine, Storage, Work};
use std::collections::BTreeSet;

/// A merged stage has at most so many values: more would not fit registers.
const LARGEST: usize = 160;
/// And at most so many buffers.
const BUFFERS: usize = 24;

pub fn fuse(built: &mut Built) {
    super::repeat::inside_each(built, &mut fuse);
    let mut web = Web::new(built);
    let mut at = 0;
    // In order; a merged kernel is looked at again, for it may merge with the next one.
    while at < built.drafts.len() {
        let partners = web.partners(built, at);
        let merged = partners.into_iter().find_map(|other| {
            let (early, late) = if web.reads_from(at, other) { (other, at) } else { (at, other) };
            merge(built, &web, early, late).map(|stage| (other, late, stage))
        });
        match merged {
            Some((other, late, stage)) => {
                let (path, span) = (built.drafts[late].path.clone(), built.drafts[late].span);
                let nest = |stages| Work::Kernel(Kernel::Nest(Nest::new(0, stages)));
                built.drafts[at].work = nest(vec![stage]);
                (built.drafts[at].path, built.drafts[at].span) = (path, span);
                built.drafts[other].work = nest(Vec::new());
                web.renew(built, at);
                web.renew(built, other);
            }
            None => at += 1,
        }
    }
    built.drafts.retain(|d| d.as_nest().is_none_or(|nest| !nest.stages.is_empty()));
}

/// Who reads and writes what. Kernels are numbered as in [`Built::drafts`].
#[derive(Debug)]
pub(super) struct Web {
    pub reads: Vec<BTreeSet<BufferId>>,
    pub writes: Vec<BTreeSet<BufferId>>,
    /// By buffer, in no order.
    pub readers: Vec<Vec<usize>>,
    pub writers: Vec<Vec<usize>>,
    /// Must be in memory whoever reads them.
    pub kept: BTreeSet<BufferId>,
}

impl Web {
    pub fn new(built: &Built) -> Web {
        let mut web = Web {
            reads: vec![BTreeSet::new(); built.drafts.len()],
            writes: vec![BTreeSet::new(); built.drafts.len()],
            readers: vec![Vec::new(); built.buffers.len()],
            writers: vec![Vec::new(); built.buffers.len()],
            kept: built.outputs.iter().map(|o| o.3).chain(built.updates.iter().map(|u| u.0)).collect(),
        };
        // What a step of a loop leaves in a stack is read behind the loop.
        let rows = (0..built.buffers.len() as u32).map(BufferId);
        let is_row = |b: &BufferId| matches!(built.buffers[b.index()].storage, Storage::Row { .. });
        web.kept.extend(rows.filter(is_row));
        (0..built.drafts.len()).for_each(|at| web.renew(built, at));
        web
    }

    /// Looks at a kernel anew: a merge changes two kernels of what may be thousands.
    pub fn renew(&mut self, built: &Built, at: usize) {
        for buffer in std::mem::take(&mut self.reads[at]) {
            self.readers[buffer.index()].retain(|reader| *reader != at);
        }
        for buffer in std::mem::take(&mut self.writes[at]) {
            self.writers[buffer.index()].retain(|writer| *writer != at);
        }
        let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
        for (buffer, write) in super::repeat::touched(&built.drafts[at]) {
            if write { &mut writes } else { &mut reads }.insert(buffer);
        }
        reads.iter().for_each(|b| self.readers[b.index()].push(at));
        writes.iter().for_each(|b| self.writers[b.index()].push(at));
        (self.reads[at], self.writes[at]) = (reads, writes);
    }

    pub fn reads_from(&self, late: usize, early: usize) -> bool {
        self.reads[late].intersection(&self.writes[early]).next().is_some()
    }

    /// Kernels that this one could merge with: those it reads from, nearest first, then those that read what it reads.
    fn partners(&self, built: &Built, at: usize) -> Vec<usize> {
        let Some(stage) = single(&built.drafts[at]) else { return Vec::new() };
        let mut list: Vec<usize> =
            self.reads[at].iter().flat_map(|b| &self.writers[b.index()]).copied().collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        let mut siblings: Vec<usize> = self.reads[at]
            .iter()
            .flat_map(|b| &self.readers[b.index()])
            .copied()
            .filter(|other| *other < at && single(&built.drafts[*other]).is_some_and(|o| alike(o, stage)))
            .collect();
        siblings.sort_unstable();
        list.extend(siblings);
        let mut seen = BTreeSet::new();
        list.retain(|other| *other != at && seen.insert(*other));
        list
    }

    /// Whether a way leads from one kernel to another through a third.
    pub fn between(&self, early: usize, late: usize) -> bool {
        let next = |at: usize| self.writes[at].iter().flat_map(|b| &self.readers[b.index()]).copied();
        let mut seen = vec![false; self.reads.len()];
        seen[early] = true;
        let mut open: Vec<usize> = next(early).filter(|n| *n != late).collect();
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            for n in next(at) {
                if n == late {
                    return true;
                }
                open.push(n);
            }
        }
        false
    }
}

/// The stage of a nest that may merge.
fn single(draft: &Draft) -> Option<&Stage> {
    let nest = draft.as_nest()?;
    match nest.stages.as_slice() {
        [stage] if stage.stores.iter().all(|s| !s.accumulate) => Some(stage),
        _ => None,
    }
}

/// Is it worth it to compute two nests side by side: do both read an element at the same place, reduce, or have but one point?
fn meet(a: &Stage, b: &Stage) -> bool {
    let reads = |stage: &Stage| -> Vec<(BufferId, Affine)> {
        let maps = stage.reads().filter_map(|(buffer, at)| Some((buffer, at?.clone())));
        maps.filter(|(_, at)| !at.terms.is_empty()).collect()
    };
    let first = reads(a);
    !a.reductions.is_empty()
        || a.extents().iter().all(|extent| extent.is(1))
        || reads(b).iter().any(|read| first.contains(read))
}

/// Both kernels as one stage, if that can and should be.
fn merge(built: &Built, web: &Web, early: usize, late: usize) -> Option<Stage> {
    let (a, b) = (single(&built.drafts[early])?, single(&built.drafts[late])?);
    if a.values.len() + b.values.len() > LARGEST || web.reads[early].union(&web.reads[late]).count() > BUFFERS
    {
        return None;
    }
    let shared: Vec<BufferId> = web.writes[early].intersection(&web.reads[late]).copied().collect();
    if shared.iter().any(|b| web.writers[b.index()].len() != 1) {
        return None;
    }
    // Who else reads what A stored?
    let only_here = |buffer: &BufferId| {
        !web.kept.contains(buffer) && web.readers[buffer.index()].iter().all(|reader| *reader == late)
    };
    let mut stage = if shared.is_empty() {
        // A GPU starts maps that have no element in common together all the same ([`super::together`]); as one stage, all their values would wait
        // in registers for one another.
        if built.machine == Machine::Gpu && !meet(a, b) {
            return None;
        }
        side_by_side(a, b)?
    } else {
        let private = a.stores.iter().all(|s| shared.contains(&s.buffer) && only_here(&s.buffer));
        join_reader(built, a, b, &shared, private)?
    };
    if web.between(early, late) || web.between(late, early) {
        return None;
    }
    stage.stores.retain(|s| !(shared.contains(&s.buffer) && only_here(&s.buffer)));
    stage.tidy();
    Some(stage)
}
