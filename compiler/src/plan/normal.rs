//! The final shape of each nest: loops of extent 1 go, loops that lie evenly in every access become one, and each stage gets the
//! variable along which it is vectorised and the nest its index space.

use super::affine::Affine;
use super::nest::{How, Nest, Stage, ValueId, ValueOp, Values};
use super::{Access, BufferId, Draft, Kernel, Work};
use crate::graph::Dim;

/// Brings a nest into its final shape and says how it touches memory.
pub fn finish(draft: &mut Draft) {
    let Work::Kernel(Kernel::Nest(nest)) = &mut draft.work else { return };
    normalise(nest);
    let Some(first) = nest.stages.first() else { return };
    draft.loops = first.kept[..nest.space].to_vec();
    draft.space = super::build::product(&draft.loops);
    draft.buffers = buffers(nest).into_iter().map(|b| (b, Dim::constant(0))).collect();
    draft.accesses = Vec::new();
    draft.flops = Dim::constant(0);
    for stage in &nest.stages {
        let extents = stage.extents();
        let operations = stage
            .values
            .iter()
            .filter(|v| {
                matches!(
                    v.op,
                    ValueOp::Unary(..)
                        | ValueOp::Binary(..)
                        | ValueOp::Compare(..)
                        | ValueOp::Select(..)
                        | ValueOp::Cast(_)
                )
            })
            .count()
            + stage.reductions.len();
        draft.flops = draft.flops.clone() + super::build::product(&extents) * Dim::from(operations);
        for (buffer, at) in stage.reads().filter(|(buffer, _)| !nest.passes(*buffer)) {
            draft.accesses.push(Access {
                buffer,
                write: false,
                at: at.cloned(),
                reach: Dim::constant(1),
                extents: extents.clone(),
            });
        }
        for store in stage.stores.iter().filter(|store| !nest.passes(store.buffer)) {
            draft.accesses.push(Access {
                buffer: store.buffer,
                write: true,
                at: Some(store.at.clone()),
                reach: Dim::constant(1),
                extents: extents.clone(),
            });
        }
    }
}

/// The buffers of a nest in the order of its function's pointers: as they first appear, loads before stores.
pub fn buffers(nest: &Nest) -> Vec<BufferId> {
    let mut list = Vec::new();
    let all = nest.stages.iter().flat_map(|s| s.reads().map(|(b, _)| b));
    for buffer in all.chain(nest.stages.iter().flat_map(|s| s.stores.iter().map(|s| s.buffer))) {
        if !list.contains(&buffer) && !nest.passes(buffer) {
            list.push(buffer);
        }
    }
    list
}

fn normalise(nest: &mut Nest) {
    if nest.row.is_some() {
        return normalise_rows(nest);
    }
    let open = nest.stages.len() == 1;
    let space = if open { usize::MAX } else { nest.space };
    for stage in &mut nest.stages {
        stage.tidy();
    }
    if !open {
        let dropped = nest.stages.first().map_or(0, |s| s.kept[..space].iter().filter(|e| e.is(1)).count());
        nest.space -= dropped;
    }
    for stage in &mut nest.stages {
        let fixed = if open { 0 } else { nest.space };
        drop_units(stage);
        while let Some(variable) = mergeable(stage, fixed) {
            merge(stage, variable);
        }
        stage.vector = vector(stage, fixed);
        if open {
            let kept = stage.kept.len();
            nest.space = match stage.vector {
                Some(v) if v < kept && kept > 1 => kept - 1,
                _ => kept,
            };
        }
    }
}

/// Stages of rows have the same loops, and keep them.
fn normalise_rows(nest: &mut Nest) {
    nest.stages.iter_mut().for_each(Stage::tidy);
    let count = |nest: &Nest| nest.stages.iter().map(|stage| stage.extents().len()).max().unwrap_or(0);
    let joint = |nest: &Nest| {
        (0..count(nest).saturating_sub(1)).find(|v| {
            let has = |stage: &&Stage| v + 1 < stage.extents().len();
            v + 1 != nest.space && nest.stages.iter().filter(has).all(|stage| lies_even(stage, *v))
        })
    };
    while let Some(variable) = joint(nest) {
        let has = |stage: &&mut Stage| variable + 1 < stage.extents().len();
        nest.stages.iter_mut().filter(has).for_each(|stage| merge(stage, variable));
        nest.space -= usize::from(variable < nest.space);
    }
    for stage in &mut nest.stages {
        stage.vector = vector(stage, nest.space);
    }
}

/// Takes out all variables of extent 1.
pub fn drop_units(stage: &mut Stage) {
    let units: Vec<usize> =
        (0..stage.kept.len() + stage.reduced.len()).filter(|v| stage.extents()[*v].is(1)).collect();
    for variable in units.into_iter().rev() {
        remove(stage, variable);
    }
    if stage.reduced.is_empty() {
        pass_through(stage);
    }
}

/// Merges all variables that can be, kept ones and reduced ones.
pub fn flatten(stage: &mut Stage) {
    while let Some(variable) = mergeable(stage, 0) {
        merge(stage, variable);
    }
}

/// Makes reduced loops of those of a map that are not to be kept: what it stores is stored inside of them.
pub fn keep(stage: &mut Stage, kept: &[usize]) {
    let (outer, inner): (Vec<usize>, Vec<usize>) = (0..stage.kept.len()).partition(|v| kept.contains(v));
    let order = [outer, inner].concat();
    let place = |variable: usize| order.iter().position(|v| *v == variable).unwrap_or(variable);
    remap(stage, &|map| map.substitute(&|variable| Affine::variable(place(variable))));
    let mut loops: Vec<Dim> = order.iter().map(|v| stage.kept[*v].clone()).collect();
    stage.reduced = loops.split_off(kept.len());
    stage.kept = loops;
    let inner = !stage.reduced.is_empty();
    stage.stores.iter_mut().for_each(|store| store.inner = inner);
}

/// Replaces every map of a stage.
fn remap(stage: &mut Stage, with: &dyn Fn(&Affine) -> Affine) {
    for value in &mut stage.values {
        value.op = value.op.map(&|v| v, with, &|r| r);
    }
    for store in &mut stage.stores {
        store.at = with(&store.at);
    }
}

/// Reductions over a single element are that element.
pub fn pass_through(stage: &mut Stage) {
    let reductions = std::mem::take(&mut stage.reductions);
    let mut values = Values::default();
    let mut places: Vec<ValueId> = Vec::with_capacity(stage.values.len());
    for value in &stage.values {
        let place = match value.op {
            ValueOp::Reduced(place) => match reductions[place].how {
                How::Fold(_) => places[reductions[place].of.index()],
                How::Arg { .. } => values.constant(0.0, value.dtype),
            },
            _ => values.push(value.op.map(&|v| places[v.index()], &Affine::clone, &|r| r), value.dtype),
        };
        places.push(place);
    }
    for store in &mut stage.stores {
        store.value = places[store.value.index()];
        store.inner = false;
    }
    stage.values = values.list;
    stage.tidy();
}

/// Takes out a variable of extent 1.
fn remove(stage: &mut Stage, variable: usize) {
    if variable < stage.kept.len() {
        stage.kept.remove(variable);
    } else {
        stage.reduced.remove(variable - stage.kept.len());
    }
    remap(stage, &|at| {
        at.substitute(&|v| match v.cmp(&variable) {
            std::cmp::Ordering::Less => Affine::variable(v),
            std::cmp::Ordering::Equal => Affine::constant(0i64),
            std::cmp::Ordering::Greater => Affine::variable(v - 1),
        })
    });
}

/// A variable that can be merged with the next one.
fn mergeable(stage: &Stage, fixed: usize) -> Option<usize> {
    let extents = stage.extents();
    let kept = stage.kept.len();
    (0..extents.len().saturating_sub(1)).find(|&v| {
        let same_kind = v + 1 < kept && v >= fixed || v >= kept;
        same_kind && lies_even(stage, v)
    })
}

/// Does every access step with a variable over all that it passes with the next one?
fn lies_even(stage: &Stage, variable: usize) -> bool {
    let inner = stage.extents()[variable + 1].clone();
    let even = |at: &Affine| at.coefficient(variable) == at.coefficient(variable + 1) * inner.clone();
    stage.values.iter().flat_map(|value| value.op.maps()).all(even)
        && stage.stores.iter().all(|s| even(&s.at))
}

fn merge(stage: &mut Stage, variable: usize) {
    let kept = stage.kept.len();
    let loops = if variable < kept { &mut stage.kept } else { &mut stage.reduced };
    let at = if variable < kept { variable } else { variable - kept };
    let inner = loops.remove(at + 1);
    loops[at] = loops[at].clone() * inner;
    // The inner variable alone says where the merged one is: its coefficient is the merged one's.
    remap(stage, &|map| {
        map.substitute(&|v| match v {
            v if v == variable => Affine::constant(0i64),
            v if v > variable => Affine::variable(v - 1),
            v => Affine::variable(v),
        })
    });
}

/// The last kept variable or the last reduced one: the one along which more accesses are even.
fn vector(stage: &Stage, fixed: usize) -> Option<usize> {
    let kept = stage.kept.len().checked_sub(1).filter(|v| *v >= fixed);
    let reduced = (!stage.reduced.is_empty()).then(|| stage.kept.len() + stage.reduced.len() - 1);
    let (Some(kept), Some(reduced)) = (kept, reduced) else { return kept.or(reduced) };
    let score = |variable: usize| -> i64 {
        let of = |at: &Affine| match at.coefficient(variable) {
            c if c.is(0) => 0,
            c if c.is(1) => 2,
            _ => -2,
        };
        let loads = stage.values.iter().filter_map(|v| match &v.op {
            ValueOp::Load { at, .. } => Some(of(at)),
            ValueOp::Inside(tests) => {
                Some(-4 * tests.iter().filter(|(a, _)| a.depends_on(variable)).count() as i64)
            }
            ValueOp::Random { index, .. } => Some(of(index) - 2),
            _ => None,
        });
        let inner = stage.stores.iter().filter(|s| s.inner).map(|s| of(&s.at));
        loads.chain(inner).sum()
    };
    let short = stage.kept[kept].as_constant().is_some_and(|e| e < 4);
    let arg = stage.reductions.iter().any(|r| matches!(r.how, How::Arg { .. }));
    let (by_kept, by_reduced) = (score(kept) + i64::from(arg), score(reduced));
    Some(if by_kept > by_reduced || by_kept == by_reduced && !short { kept } else { reduced })
}
