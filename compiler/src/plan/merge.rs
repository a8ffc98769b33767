//! Two loop nests as one stage.
//!
//! A nest A whose result another nest B reads joins it when both can run in one loop nest, the *host*'s:
//!
//! - **B hosts A**, when A is a plain map and B reads its result in an order that visits each element once. A's loop variables
//!   follow from the address that B reads ([`affine::reshape`] takes it apart), so the loops need not look alike: a map over
//!   `[n, h, w, c]` runs inside a sum over `h, w` for each `n, c`. When nobody else reads A's result, B need not visit all of it.
//! - **A hosts B**, when B is a plain map that walks A's result from front to back: then it follows A's stores, after A's
//!   reductions if it has any. So the derivative of an activation follows a pooling gradient that writes out of order.
//! - **Both run abreast**, when their loops are the same and B reads at each point what A stores there.
//! - **A hosts B's reduction**, when A is a plain map that writes out of order: B then folds in A's order.
//!
//! What would take the leading loop (mostly the batch) out of the index space stays apart, and on a processor so do calls of vector math in short
//! rows.

use super::affine::{self, Affine, is_nonnegative};
use super::build::product;
use super::nest::{How, Stage, Store, ValueId, ValueOp, Values};
use super::{BufferId, Built, Machine};
use crate::graph::Dim;

/// Rows shorter than this are no place for calls of vector math.
const CALL_ROW: i64 = 64;

pub fn alike(a: &Stage, b: &Stage) -> bool {
    a.kept == b.kept && a.reduced == b.reduced
}

/// A and B as one stage, where B reads what A stores in the buffers `shared`. `private`: nobody else reads what A stores.
pub fn join_reader(built: &Built, a: &Stage, b: &Stage, shared: &[BufferId], private: bool) -> Option<Stage> {
    into_late(built, a, b, shared, private)
        .or_else(|| into_early(built, a, b, shared))
        .or_else(|| abreast(a, b, shared))
        .or_else(|| into_fold(a, b, shared))
}

/// Two nests with the same loops, neither of which reads the other.
pub fn side_by_side(a: &Stage, b: &Stage) -> Option<Stage> {
    if !alike(a, b) || a.reductions.is_empty() != b.reductions.is_empty() {
        return None;
    }
    // Calls of one would make strips of the other's loops for nothing, unless all that the other does is to copy.
    let copies = |stage: &Stage| stage.reduced.is_empty() && stage.values.len() == 1;
    if has_calls(a) != has_calls(b) && !copies(a) && !copies(b) {
        return None;
    }
    Some(join(a, b, &|v| Affine::variable(v), &|_| None, false))
}

/// B's loops host the map A.
fn into_late(built: &Built, a: &Stage, b: &Stage, shared: &[BufferId], private: bool) -> Option<Stage> {
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
    if !(visits_once(&at, &extents, &elements) || private && never_again(&at, &extents)) {
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
    if built.machine == Machine::Cpu && !b.reduced.is_empty() && has_calls(a) {
        // In the row of a reduction, calls of vector math need a long row along which the address moves by one.
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

/// The same loops for both: B's values follow A's at each point.
fn abreast(a: &Stage, b: &Stage, shared: &[BufferId]) -> Option<Stage> {
    let at = common_address(b, shared)?;
    let inner = !a.reduced.is_empty();
    let here = |s: &Store| s.at == at && s.inner == inner;
    if !alike(a, b) || !a.stores.iter().filter(|s| shared.contains(&s.buffer)).all(here) {
        return None;
    }
    // Calls of one would make strips of the other's loops for nothing.
    if has_calls(a) != has_calls(b) || !never_again(&at, &a.extents()) {
        return None;
    }
    Some(join(a, b, &|v| Affine::variable(v), &|value| forwarded(value, shared), false))
}

/// A's loops host the reduction B: those that B keeps come first, the others are folded over, in A's order.
fn into_fold(a: &Stage, b: &Stage, shared: &[BufferId]) -> Option<Stage> {
    let folds = b.reductions.iter().all(|r| matches!(r.how, How::Fold(_)));
    if !a.reduced.is_empty() || b.reduced.is_empty() || !folds || has_calls(a) || has_calls(b) {
        return None;
    }
    let at = common_address(b, shared)?;
    let mut stores = a.stores.iter().filter(|s| shared.contains(&s.buffer));
    let written = stores.next()?.at.clone();
    if stores.any(|s| s.at != written) {
        return None;
    }
    let elements = product(&a.kept);
    if !visits_once(&written, &a.kept, &elements) || !visits_once(&at, &b.extents(), &elements) {
        return None;
    }
    // All else in B stands still while it folds.
    let moves = |at: &Affine| at.terms.iter().any(|(v, _)| *v >= b.kept.len());
    let others = b.values.iter().filter(|v| forwarded(&v.op, shared).is_none());
    if others.flat_map(|v| v.op.maps()).any(moves) || b.stores.iter().any(|s| s.inner) {
        return None;
    }
    // Each loop that B keeps is one of A's: the same extent, and the same step through the result.
    let mut places: Vec<Option<usize>> = vec![None; a.kept.len()];
    for (v, extent) in b.kept.iter().enumerate().filter(|(_, e)| !e.is(1)) {
        let step = at.coefficient(v);
        let same =
            |u: &usize| places[*u].is_none() && a.kept[*u] == *extent && written.coefficient(*u) == step;
        let found = (0..a.kept.len()).find(same)?;
        places[found] = Some(v);
    }
    if places.first() != Some(&Some(0)) {
        return None;
    }
    let mut reduced = Vec::new();
    let mut variables = Vec::with_capacity(places.len());
    for (place, extent) in places.iter().zip(&a.kept) {
        variables.push(place.unwrap_or(b.kept.len() + reduced.len()));
        if place.is_none() {
            reduced.push(extent.clone());
        }
    }
    let mut host = Stage { kept: b.kept.clone(), reduced, ..a.clone() };
    host.stores.iter_mut().for_each(|s| s.inner = true);
    let with = |v: usize| Affine::variable(variables.get(v).copied().unwrap_or(v));
    Some(join(&host, b, &with, &|value| forwarded(value, shared), false))
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
            ValueOp::Random { buffer, .. } if shared.contains(buffer) => return None,
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

/// Whether an address never comes back as the variables run: each term steps over all that the smaller ones reach.
pub fn never_again(at: &Affine, extents: &[Dim]) -> bool {
    let mut terms = Vec::new();
    for (variable, extent) in extents.iter().enumerate().filter(|(_, e)| !e.is(1)) {
        match at.coefficient(variable).as_constant() {
            Some(step) if step > 0 => terms.push((step, extent)),
            _ => return false,
        }
    }
    terms.sort_by_key(|(step, _)| *step);
    let mut reach = Some(0i64);
    terms.into_iter().all(|(step, extent)| {
        // Past a loop of unknown extent nothing is known to step further.
        let apart = reach.is_some_and(|reach| step > reach);
        reach = reach.zip(extent.as_constant()).map(|(reach, extent)| reach + step * (extent - 1).max(0));
        apart
    })
}

fn has_calls(stage: &Stage) -> bool {
    stage.values.iter().any(|v| {
        matches!(v.op, ValueOp::Random { .. })
            || match &v.op {
                ValueOp::Unary(u, _) => crate::graph::Op::Unary(*u).is_call(),
                ValueOp::Binary(b, ..) => crate::graph::Op::Binary(*b).is_call(),
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
