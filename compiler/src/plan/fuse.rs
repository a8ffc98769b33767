//! Merging loop nests, so that values pass in registers.
//!
//! A nest A whose result another nest B reads joins it when both can run in one loop nest, the *host*'s:
//!
//! - **B hosts A**, when A is a plain map and B reads its result in an order that visits each element once. A's loop variables follow
//!   from the address that B reads ([`affine::reshape`] takes it apart), so the loops need not look alike: a map over `[n, h, w, c]` runs
//!   inside a sum over `h, w` for each `n, c`.
//! - **A hosts B**, when B is a plain map that walks A's result from front to back: then it follows A's stores, after A's
//!   reductions if it has any. So the derivative of an activation follows a pooling gradient that writes out of order.
//!
//! Nests that read the same and have the same loops merge too (the maximum of a pooling window and its place). A store that nobody else
//! reads vanishes. What would take the leading loop (mostly the batch) out of the index space stays apart, and so do calls of
//! vector math in short rows. Merges never make a cycle: no other kernel may stand between the two.

use super::affine::{self, Affine, is_nonnegative};
use super::build::product;
use super::nest::{Nest, Stage, Store, ValueId, ValueOp, Values};
use super::{BufferId, Built, Draft, Kernel};
use crate::graph::Dim;
use std::collections::{BTreeMap, BTreeSet};

/// A merged stage has at most so many values: more would not fit registers.
const LARGEST: usize = 160;
/// And at most so many buffers.
const BUFFERS: usize = 24;
/// Rows shorter than this are no place for calls of vector math.
const CALL_ROW: i64 = 64;

pub fn fuse(built: &mut Built) {
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
                built.drafts[at].kernel = Kernel::Nest(Nest { space: 0, stages: vec![stage] });
                (built.drafts[at].path, built.drafts[at].span) = (path, span);
                built.drafts[other].kernel = Kernel::Nest(Nest { space: 0, stages: Vec::new() });
                web = Web::new(built);
            }
            None => at += 1,
        }
    }
    built.drafts.retain(|d| !matches!(&d.kernel, Kernel::Nest(nest) if nest.stages.is_empty()));
}

/// Who reads and writes what.
#[derive(Debug)]
struct Web {
    reads: Vec<BTreeSet<BufferId>>,
    writes: Vec<BTreeSet<BufferId>>,
    readers: BTreeMap<BufferId, Vec<usize>>,
    writers: BTreeMap<BufferId, Vec<usize>>,
    /// Must be in memory whoever reads them.
    kept: BTreeSet<BufferId>,
}

impl Web {
    fn new(built: &Built) -> Web {
        let mut web = Web {
            reads: Vec::new(),
            writes: Vec::new(),
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            kept: built.outputs.iter().map(|o| o.3).chain(built.updates.iter().map(|u| u.0)).collect(),
        };
        for (at, draft) in built.drafts.iter().enumerate() {
            let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
            match &draft.kernel {
                Kernel::Nest(nest) => {
                    for stage in &nest.stages {
                        reads.extend(stage.reads().map(|(b, _)| b));
                        writes.extend(stage.stores.iter().map(|s| s.buffer));
                    }
                }
                _ => {
                    for access in &draft.accesses {
                        if access.write {
                            writes.insert(access.buffer)
                        } else {
                            reads.insert(access.buffer)
                        };
                    }
                }
            }
            reads.iter().for_each(|b| web.readers.entry(*b).or_default().push(at));
            writes.iter().for_each(|b| web.writers.entry(*b).or_default().push(at));
            web.reads.push(reads);
            web.writes.push(writes);
        }
        web
    }

    fn reads_from(&self, late: usize, early: usize) -> bool {
        self.reads[late].intersection(&self.writes[early]).next().is_some()
    }

    /// Kernels that this one could merge with: those it reads from, nearest first, then those that read what it reads.
    fn partners(&self, built: &Built, at: usize) -> Vec<usize> {
        let Some(stage) = single(&built.drafts[at]) else { return Vec::new() };
        let mut list: Vec<usize> =
            self.reads[at].iter().filter_map(|b| self.writers.get(b)).flatten().copied().collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        let mut siblings: Vec<usize> = self.reads[at]
            .iter()
            .filter_map(|b| self.readers.get(b))
            .flatten()
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
    fn between(&self, early: usize, late: usize) -> bool {
        let next = |at: usize| {
            self.writes[at]
                .iter()
                .filter_map(|b| self.readers.get(b))
                .flatten()
                .copied()
                .filter(move |n| *n != at)
        };
        let mut open: Vec<usize> = next(early).filter(|n| *n != late).collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(at) = open.pop() {
            for n in next(at) {
                if n == late {
                    return true;
                }
                if seen.insert(n) {
                    open.push(n);
                }
            }
        }
        false
    }
}

/// The stage of a nest that may merge.
fn single(draft: &Draft) -> Option<&Stage> {
    let Kernel::Nest(nest) = &draft.kernel else { return None };
    match nest.stages.as_slice() {
        [stage] if stage.stores.iter().all(|s| !s.accumulate) => Some(stage),
        _ => None,
    }
}

fn alike(a: &Stage, b: &Stage) -> bool {
    a.kept == b.kept && a.reduced == b.reduced
}

/// Both kernels as one stage, if that can and should be.
fn merge(built: &Built, web: &Web, early: usize, late: usize) -> Option<Stage> {
    let (a, b) = (single(&built.drafts[early])?, single(&built.drafts[late])?);
    if a.values.len() + b.values.len() > LARGEST
        || web.reads[early].union(&web.reads[late]).count() > BUFFERS
        || web.between(early, late)
        || web.between(late, early)
    {
        return None;
    }
    let shared: Vec<BufferId> = web.writes[early].intersection(&web.reads[late]).copied().collect();
    if shared.iter().any(|b| web.writers.get(b).is_none_or(|w| w.len() != 1)) {
        return None;
    }
    let mut stage = if shared.is_empty() {
        side_by_side(a, b)?
    } else {
        into_late(built, a, b, &shared).or_else(|| into_early(built, a, b, &shared))?
    };
    // Who else reads what A stored?
    let only_here = |buffer: &BufferId| {
        !web.kept.contains(buffer)
            && web.readers.get(buffer).is_none_or(|readers| readers.iter().all(|r| *r == late))
    };
    stage.stores.retain(|s| !(shared.contains(&s.buffer) && only_here(&s.buffer)));
    stage.tidy();
    Some(stage)
}

/// Two nests with the same loops, neither of which reads the other.
fn side_by_side(a: &Stage, b: &Stage) -> Option<Stage> {
    if !alike(a, b) || a.reductions.is_empty() != b.reductions.is_empty() {
        return None;
    }
    // Calls of one would make strips of the other's loops for nothing.
    if has_calls(a) != has_calls(b) {
        return None;
    }
    Some(join(a, b, &|v| Affine::variable(v), &|_| None, false))
}

/// B's loops host the map A.
fn into_late(built: &Built, a: &Stage, b: &Stage, shared: &[BufferId]) -> Option<Stage> {
    if !a.reduced.is_empty() || !a.reductions.is_empty() {
        return None;
    }
    let at = common_address(b, shared)?;
    let extents = b.extents();
    let elements = product(&a.kept);
    let store = a.stores.iter().find(|s| shared.contains(&s.buffer))?;
    // A's stores must be row-major in its loops, so that the address says where A is.
    let plain = affine::flatten(&super::values::identity(&a.kept, 0), &a.kept);
    if a.stores.iter().any(|s| shared.contains(&s.buffer) && s.at != plain) || store.at != plain {
        return None;
    }
    if !visits_once(&at, &extents, &elements) {
        return None;
    }
    let index = affine::reshape(std::slice::from_ref(&at), &[elements], &a.kept, &extents)?;
    let leads = match (a.kept.first(), index.first()) {
        (Some(extent), Some(first)) => {
            extent.as_constant().is_some() && b.kept.first().is_some_and(|e| e.as_constant().is_some())
                || b.kept.first() == Some(extent) && *first == Affine::variable(0)
        }
        _ => true,
    };
    if !leads && built.estimate(&product(&a.kept)) > 64 {
        return None;
    }
    // Random elements are drawn in strips, in order.
    let draws = a.values.iter().any(|v| matches!(v.op, ValueOp::Random { .. }));
    if draws && at != affine::flatten(&super::values::identity(&extents, 0), &extents) {
        return None;
    }
    if !b.reduced.is_empty() && has_calls(a) {
        // In the row of a reduction, calls need a long row along which the address moves by one.
        let last = extents.len() - 1;
        let long = b.reduced.last().is_some_and(|e| e.as_constant().is_none_or(|e| e >= CALL_ROW));
        if !(long && at.coefficient(last).is(1)) {
            return None;
        }
    }
    // A's values first, at the places that B's addresses say; B's loads of them become the values.
    let with = |v: usize| index.get(v).cloned().unwrap_or_else(|| Affine::constant(0i64));
    Some(join(a, b, &with, &|value| forwarded(value, shared), true))
}

/// A's loops host the map B.
fn into_early(built: &Built, a: &Stage, b: &Stage, shared: &[BufferId]) -> Option<Stage> {
    if !b.reduced.is_empty() || !b.reductions.is_empty() {
        return None;
    }
    let at = common_address(b, shared)?;
    let elements = product(&b.kept);
    if at != affine::flatten(&super::values::identity(&b.kept, 0), &b.kept) {
        return None;
    }
    let stores: Vec<&Store> = a.stores.iter().filter(|s| shared.contains(&s.buffer)).collect();
    let first = stores.first()?;
    if stores.iter().any(|s| s.at != first.at || s.inner != first.inner) {
        return None;
    }
    let after = !a.reduced.is_empty() && !first.inner;
    let visited = if after { a.kept.clone() } else { a.extents() };
    if !visits_once(&first.at, &visited, &elements) {
        return None;
    }
    if after && has_calls(b) && built.estimate(&elements) > 1024 {
        // After a reduction the row is a single element; calls want rows of their own.
        return None;
    }
    let index = affine::reshape(std::slice::from_ref(&first.at), &[elements], &b.kept, &a.extents())?;
    let leads = match (b.kept.first(), index.first()) {
        (Some(extent), Some(first)) => {
            extent.as_constant().is_some() || a.kept.first() == Some(extent) && *first == Affine::variable(0)
        }
        _ => true,
    };
    if !leads {
        return None;
    }
    // Seen from A, B's variables are A's; B's stores are inner if A's were.
    let with = |v: usize| index.get(v).cloned().unwrap_or_else(|| Affine::constant(0i64));
    let mut moved = b.clone();
    for value in &mut moved.values {
        value.op = value.op.map(&|v| v, &|at| at.substitute(&with), &|r| r);
    }
    for store in &mut moved.stores {
        store.at = store.at.substitute(&with);
        store.inner = first.inner;
    }
    moved.kept = a.kept.clone();
    moved.reduced = a.reduced.clone();
    Some(join(a, &moved, &|v| Affine::variable(v), &|value| forwarded(value, shared), false))
}

/// The buffer that a load reads, if it is one of these.
fn forwarded(op: &ValueOp, shared: &[BufferId]) -> Option<BufferId> {
    match op {
        ValueOp::Load { buffer, .. } if shared.contains(buffer) => Some(*buffer),
        _ => None,
    }
}

/// The one address at which a stage reads these buffers, always and unguarded.
fn common_address(stage: &Stage, shared: &[BufferId]) -> Option<Affine> {
    let mut found: Option<&Affine> = None;
    for value in &stage.values {
        match &value.op {
            ValueOp::Load { buffer, at, when } if shared.contains(buffer) => {
                if when.is_some() || found.is_some_and(|f| f != at) {
                    return None;
                }
                found = Some(at);
            }
            ValueOp::LoadIndexed { buffer, .. } | ValueOp::Random { buffer, .. }
                if shared.contains(buffer) =>
            {
                return None;
            }
            _ => {}
        }
    }
    found.cloned()
}

/// Whether an address takes each of `0..elements` once as the variables run: its terms are the digits of a mixed radix.
fn visits_once(at: &Affine, extents: &[Dim], elements: &Dim) -> bool {
    if !at.constant.is(0) {
        return false;
    }
    let mut left: Vec<usize> = (0..extents.len()).filter(|v| !extents[*v].is(1)).collect();
    let mut next = Dim::constant(1);
    while !left.is_empty() {
        let Some(place) = left.iter().position(|v| at.coefficient(*v) == next) else { return false };
        next = next * extents[left.remove(place)].clone();
    }
    next == *elements && is_nonnegative(elements)
}

fn has_calls(stage: &Stage) -> bool {
    stage.values.iter().any(|v| {
        matches!(v.op, ValueOp::Random { .. })
            || match &v.op {
                ValueOp::Unary(u, _) => super::select::is_call(&crate::graph::Op::Unary(*u)),
                ValueOp::Binary(b, ..) => super::select::is_call(&crate::graph::Op::Binary(*b)),
                _ => false,
            }
    })
}

/// One stage of A's values (their maps changed by `with`) and then B's. B's loads that `forward` names become what A stores there.
/// `b_hosts`: the loops are B's, and A's stores stand inside them all.
fn join(
    a: &Stage,
    b: &Stage,
    with: &dyn Fn(usize) -> Affine,
    forward: &dyn Fn(&ValueOp) -> Option<BufferId>,
    b_hosts: bool,
) -> Stage {
    let host = if b_hosts { b } else { a };
    let mut values = Values::default();
    let mut places_a: Vec<ValueId> = Vec::new();
    for value in &a.values {
        let op = value.op.map(&|v| places_a[v.index()], &|at| at.substitute(with), &|r| r);
        places_a.push(values.push(op, value.dtype));
    }
    let first = a.reductions.len();
    let stored =
        |buffer: BufferId| a.stores.iter().find(|s| s.buffer == buffer).map(|s| places_a[s.value.index()]);
    let mut places_b: Vec<ValueId> = Vec::new();
    for value in &b.values {
        let place = match forward(&value.op).and_then(stored) {
            Some(place) => place,
            None => {
                let op = value.op.map(&|v| places_b[v.index()], &Affine::clone, &|r| first + r);
                values.push(op, value.dtype)
            }
        };
        places_b.push(place);
    }
    let mut stores: Vec<Store> = Vec::new();
    for store in &a.stores {
        stores.push(Store {
            at: store.at.substitute(with),
            value: places_a[store.value.index()],
            inner: if b_hosts { !b.reduced.is_empty() } else { store.inner },
            ..store.clone()
        });
    }
    for store in &b.stores {
        stores.push(Store { value: places_b[store.value.index()], ..store.clone() });
    }
    let mut reductions = a.reductions.clone();
    reductions.iter_mut().for_each(|r| r.of = places_a[r.of.index()]);
    for reduce in &b.reductions {
        let mut reduce = reduce.clone();
        reduce.of = places_b[reduce.of.index()];
        reductions.push(reduce);
    }
    Stage {
        kept: host.kept.clone(),
        reduced: host.reduced.clone(),
        values: values.list,
        reductions,
        stores,
        vector: None,
    }
}
