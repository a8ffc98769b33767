//! Buffers: updates in place, and who lives from when to when.

use super::nest::{Nest, Stage, Store, ValueId, ValueOp};
use super::schedule::{Order, root};
use super::{BufferId, Built, Draft, Kernel, Machine, Plan, Segment, Storage, Work};
use crate::graph::{Dim, Entry, Variable};
use std::collections::BTreeSet;

/// Lets each update write its variable in place when every other reader of the old value can run before; else adds a copy.
pub fn place_updates(built: &mut Built, order: &mut Order) {
    for (place, target) in built.updates.clone() {
        let uses = built.updates.iter().filter(|(p, _)| *p == place).count();
        let ordinary = built.buffers[place.index()].storage == Storage::Unused
            && uses == 1
            && built.inputs.iter().all(|i| i.4 != place)
            && built.outputs.iter().all(|o| o.3 != place);
        let touches = |draft: &Draft, buffer: BufferId, write: bool| {
            draft.accesses.iter().any(|a| a.buffer == buffer && a.write == write)
        };
        let writers: Vec<usize> =
            (0..built.drafts.len()).filter(|d| touches(&built.drafts[*d], place, true)).collect();
        let readers: Vec<usize> =
            (0..built.drafts.len()).filter(|d| touches(&built.drafts[*d], target, false)).collect();
        if let ([writer], true) = (writers.as_slice(), ordinary) {
            let free = readers.iter().all(|reader| {
                if reader == writer {
                    pointwise(&built.drafts[*writer], target, place)
                } else {
                    !order.reaches(*writer, *reader)
                }
            });
            if free {
                order.before[*writer].extend(readers.iter().copied().filter(|r| r != writer));
                built.buffers[place.index()].storage = Storage::Alias(target);
                continue;
            }
        }
        let elements = built.buffers[place.index()].elements.clone();
        let dtype = built.buffers[place.index()].dtype;
        let mut draft = copy(elements, dtype, place, target, built);
        super::normal::finish(&mut draft);
        built.drafts.push(draft);
        // It may only run after everyone who reads the old value.
        order.before.push(readers.into_iter().chain(writers).collect());
    }
}

fn copy(elements: Dim, dtype: crate::graph::DType, from: BufferId, to: BufferId, built: &Built) -> Draft {
    let mut values = super::nest::Values::default();
    let at = super::affine::Affine::variable(0);
    let value = values.push(ValueOp::Load { buffer: from, at: at.clone(), when: None }, dtype);
    let stage = Stage {
        kept: vec![elements],
        values: values.list,
        stores: vec![Store { buffer: to, at, value, accumulate: false, inner: false }],
        ..Stage::default()
    };
    let writer = built.drafts.iter().find(|d| d.accesses.iter().any(|a| a.write && a.buffer == from));
    Draft {
        work: Work::Kernel(Kernel::Nest(Nest::new(0, vec![stage]))),
        buffers: Vec::new(),
        accesses: Vec::new(),
        loops: Vec::new(),
        space: Dim::constant(1),
        path: writer.map_or_else(|| "".into(), |d| d.path.clone()),
        span: writer.map_or_else(Default::default, |d| d.span),
        flops: Dim::constant(0),
    }
}

/// Whether a nest reads `from` only where, and only as, it writes `to`: each element before it is overwritten.
fn pointwise(draft: &Draft, from: BufferId, to: BufferId) -> bool {
    let Some(nest) = draft.as_nest() else { return false };
    let stores: Vec<(&Stage, &Store)> =
        nest.stages.iter().flat_map(|stage| stage.stores.iter().map(move |store| (stage, store))).collect();
    let mut stores = stores.into_iter().filter(|(_, store)| store.buffer == to);
    let (Some((stage, store)), None) = (stores.next(), stores.next()) else { return false };
    let extents = stage.extents();
    // At each point of the loops all loads come before the stores, and no other point has the same element.
    let apart = super::merge::never_again(&store.at, if store.inner { &extents } else { &stage.kept });
    let elsewhere = |other: &&Stage| !std::ptr::eq(*other, stage);
    apart
        && !store.accumulate
        && stage.reads().filter(|(b, _)| *b == from).all(|(_, at)| at == Some(&store.at))
        && nest.stages.iter().filter(elsewhere).all(|other| other.reads().all(|(b, _)| b != from))
        && (nest.stages.len() == 1 || nest.row.is_some() && read_late(nest, stage, from))
}

/// Whether a stage of rows reads `from` for results alone that no other stage needs: one thread then reads and writes them, and does so last.
fn read_late(nest: &Nest, stage: &Stage, from: BufferId) -> bool {
    let needed = |buffer: BufferId| nest.stages.iter().any(|other| other.reads().any(|(b, _)| b == buffer));
    let early = stage.stores.iter().filter(|store| store.inner || needed(store.buffer));
    let mut open: Vec<ValueId> =
        early.map(|store| store.value).chain(stage.reductions.iter().map(|reduce| reduce.of)).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let op = &stage.value(id).op;
        if matches!(op, ValueOp::Load { buffer, .. } if *buffer == from) {
            return false;
        }
        if seen.insert(id) {
            open.extend(op.operands());
        }
    }
    true
}

/// Lifetimes, reuse of the last reader's operand, and the finished plan.
pub fn finish(entry: &Entry, _variables: &[Variable], mut built: Built, segments: Vec<Segment>) -> Plan {
    // Segments that may run at once keep apart all that lives in any of them.
    let mut first_of: Vec<usize> = (0..segments.len()).collect();
    for (at, segment) in segments.iter().enumerate() {
        if segment.follows && at > 0 {
            first_of[at] = first_of[at - 1];
        }
    }
    reuse(&mut built, &segments, &first_of);
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; built.buffers.len()];
    let mut touch = |buffer: BufferId, segment: usize| {
        let life = lives[buffer.index()].get_or_insert((segment, segment));
        *life = (life.0.min(segment), life.1.max(segment));
    };
    for (at, segment) in segments.iter().enumerate() {
        for (buffer, _) in segment.launches().into_iter().flat_map(|l| &l.buffers) {
            touch(root(&built, *buffer), at);
        }
    }
    for input in &built.inputs {
        touch(input.4, 0);
    }
    for output in &built.outputs {
        touch(root(&built, output.3), segments.len().saturating_sub(1));
    }
    let lasting: Vec<BufferId> =
        built.inputs.iter().map(|i| i.4).chain(built.outputs.iter().map(|o| root(&built, o.3))).collect();
    let mut unowned = BTreeSet::new();
    for (segment, owned) in segments.iter().zip(&built.owned) {
        for (buffer, _) in segment.launches().into_iter().flat_map(|l| &l.buffers) {
            if !owned.contains(buffer) {
                unowned.insert(root(&built, *buffer));
            }
        }
    }
    for (at, life) in lives.into_iter().enumerate() {
        let id = BufferId(at as u32);
        let machine = built.machine;
        let buffer = &mut built.buffers[at];
        if let (Storage::Unused, Some((first, last))) = (&buffer.storage, life) {
            let local =
                machine == Machine::Cpu && first == last && !unowned.contains(&id) && !lasting.contains(&id);
            // A plan of nothing but what it is given has no segments.
            let beside = first_of.get(last).and_then(|group| first_of.iter().rposition(|f| f == group));
            let (first, last) = (first_of.get(first).copied().unwrap_or(first), beside.unwrap_or(last));
            buffer.storage = if local { Storage::Local } else { Storage::Arena { first, last } };
        }
    }
    let mut symbols = Vec::new();
    let mut note = |dim: &Dim| {
        dim.symbols(&mut |s| {
            if !symbols.contains(s) {
                symbols.push(s.clone());
            }
        });
    };
    for input in &built.inputs {
        input.2.iter().for_each(&mut note);
    }
    for (bound, _) in &entry.graph.bounds {
        note(&Dim::symbol(bound.clone()));
    }
    for (guard, _, _) in &entry.graph.guards {
        note(guard);
    }
    Plan {
        name: entry.graph.name.clone(),
        symbols,
        inputs: built.inputs,
        outputs: built.outputs,
        guards: entry.graph.guards.clone(),
        buffers: built.buffers,
        segments,
        prepares: built.prepares,
        changes: built.changed.into_iter().collect(),
        sizes: built.sizes,
    }
}

/// The variable that a buffer is.
pub fn variable(built: &Built, buffer: BufferId) -> Option<usize> {
    match built.buffers[root(built, buffer).index()].storage {
        Storage::Variable(variable) => Some(variable),
        _ => None,
    }
}

/// Lets a nest that is the last reader of a buffer write its result over it, element by element: less memory, and lines that are
/// in cache already.
fn reuse(built: &mut Built, segments: &[Segment], first_of: &[usize]) {
    let (mut launches, mut segment_of, mut loops) = (Vec::new(), Vec::new(), Vec::new());
    for (at, segment) in segments.iter().enumerate() {
        for (launch, around) in segment.launches_in_loops() {
            launches.push(launch);
            segment_of.push(at);
            loops.push(around);
        }
    }
    let uses = |buffer: BufferId| -> Vec<usize> {
        (0..launches.len()).filter(|l| launches[*l].buffers.iter().any(|(b, _)| *b == buffer)).collect()
    };
    let ours = |built: &Built, buffer: BufferId| {
        built.buffers[buffer.index()].storage == Storage::Unused
            && built.inputs.iter().all(|i| i.4 != buffer)
            && built.outputs.iter().all(|o| o.3 != buffer)
    };
    for (at, launch) in launches.iter().enumerate() {
        let Kernel::Nest(nest) = &launch.kernel else { continue };
        let [stage] = nest.stages.as_slice() else { continue };
        if !stage.reduced.is_empty() {
            continue;
        }
        for store in &stage.stores {
            let fresh = built.buffers[store.buffer.index()].storage == Storage::Unused;
            if !fresh || uses(store.buffer).first() != Some(&at) {
                continue;
            }
            let found = stage.reads().map(|(b, _)| b).find(|&from| {
                let (source, target) = (&built.buffers[from.index()], &built.buffers[store.buffer.index()]);
                let base = root(built, from);
                let mut all: Vec<usize> = (0..built.buffers.len() as u32)
                    .map(BufferId)
                    .filter(|b| root(built, *b) == base)
                    .flat_map(uses)
                    .collect();
                all.sort_unstable();
                let last = all.last().is_none_or(|l| *l <= at);
                // Kernels of one segment run side by side at different units. Where the buffer was written in this segment, all its
                // readers here stay within their units (or they would not be in it); else none but this one may read it.
                let here = segment_of[at];
                let apart = all.first().is_some_and(|f| segment_of[*f] == here)
                    || all.iter().all(|l| *l == at || first_of[segment_of[*l]] != first_of[here]);
                // In a loop the next turn reads again what no kernel of the same loop has written.
                let done = loops[at].is_empty()
                    || !matches!(source.storage, Storage::Row { .. })
                        && all
                            .iter()
                            .chain(&uses(store.buffer))
                            .all(|l| segment_of[*l] == here && loops[*l] == loops[at]);
                ours(built, base)
                    && done
                    && built.outputs.iter().all(|o| root(built, o.3) != base)
                    && last
                    && apart
                    && source.dtype.size() == target.dtype.size()
                    && source.elements == target.elements
                    && stage.stores.iter().all(|s| root(built, s.buffer) != base)
                    && stage
                        .reads()
                        .filter(|(b, _)| root(built, *b) == base)
                        .all(|(_, a)| a == Some(&store.at))
            });
            if let Some(from) = found {
                built.buffers[store.buffer.index()].storage = Storage::Alias(from);
            }
        }
    }
}
