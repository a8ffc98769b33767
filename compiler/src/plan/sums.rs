//! Sums of two products: the later product adds to what the earlier one left, where nobody sees it before.
//!
//! A step of a recurrent layer adds the product of its state to that of its input, and a map reads the sum. Kept apart, both products are
//! written to memory and read from there. So the later one adds its tiles to the place of the earlier one, which its register tiles do
//! anyway where a sum over k is cut, and the map reads one place. `(a + bias) + b` becomes `(a + b) + bias`, which may differ in the last bit.

use super::nest::{Nest, Stage, ValueId, ValueOp};
use super::schedule::root;
use super::{BufferId, Built, Kernel, Launch, Segment, Step, Storage};
use crate::graph::Dim;
use crate::graph::op::Binary;
use std::collections::BTreeMap;

/// How many launches touch each storage.
type Uses = BTreeMap<BufferId, usize>;

/// Lets products add, wherever they can.
pub fn join(built: &Built, segments: &mut [Segment]) {
    let mut uses = Uses::new();
    for launch in segments.iter().flat_map(Segment::launches) {
        let mut touched: Vec<BufferId> =
            launch.buffers.iter().map(|(buffer, _)| root(built, *buffer)).collect();
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|buffer| *uses.entry(buffer).or_default() += 1);
    }
    segments.iter_mut().for_each(|segment| in_steps(built, &uses, &mut segment.steps, &[]));
}

/// Among the steps of a segment, or of a loop with its rings.
fn in_steps(built: &Built, uses: &Uses, steps: &mut [Step], rings: &[(BufferId, Dim)]) {
    for late in 0..steps.len() {
        if let Step::Loop(inner) = &mut steps[late] {
            in_steps(built, uses, &mut inner.steps, &inner.rings);
            continue;
        }
        while let Some((place, product, map)) = found(built, uses, &steps[..=late], rings) {
            steps[place] = Step::Launch(Box::new(product));
            steps[late] = Step::Launch(Box::new(map));
        }
    }
}

/// A product of these steps that can add to what an earlier one leaves for the last step, a map: its place, and both as they become.
fn found(
    built: &Built,
    uses: &Uses,
    steps: &[Step],
    rings: &[(BufferId, Dim)],
) -> Option<(usize, Launch, Launch)> {
    let (Step::Launch(map), before) = steps.split_last()? else { return None };
    let Kernel::Nest(Nest { stages, .. }) = &map.kernel else { return None };
    let [stage] = stages.as_slice() else { return None };
    let products: Vec<(usize, &Launch, BufferId)> = before
        .iter()
        .enumerate()
        .filter_map(|(place, step)| match step {
            Step::Launch(launch) => {
                between(built, uses, launch, map).map(|result| (place, &**launch, result))
            }
            Step::Loop(_) => None,
        })
        .collect();
    for (at, (place, second, from)) in products.iter().enumerate() {
        let Kernel::Contraction { packed: true, adds: false, .. } = &second.kernel else { continue };
        // What others add to stays where it is.
        if products.iter().filter(|(_, _, result)| result == from).count() > 1 {
            continue;
        }
        for (_, _, to) in &products[..at] {
            let turn = rings.iter().find(|(ring, _)| ring == to).map(|(_, turn)| turn);
            let room = turn.unwrap_or(&built.buffers[to.index()].elements);
            // A product that runs ahead does so for several turns at once.
            let ahead = rings.iter().any(|(ring, _)| ring == from);
            let reads_it = second.buffers.iter().any(|(buffer, _)| root(built, *buffer) == *to);
            if ahead || reads_it || *room != built.buffers[from.index()].elements {
                continue;
            }
            if let Some(stage) = summed(stage, *from, *to) {
                return Some((*place, adding(second, *to), reading(built, map, stage, *from)));
            }
        }
    }
    None
}

/// The result of a product that nobody but this map reads.
fn between(built: &Built, uses: &Uses, product: &Launch, map: &Launch) -> Option<BufferId> {
    let Kernel::Contraction { splits: 1, .. } = &product.kernel else { return None };
    let (result, offset) = product.buffers.last()?;
    let there = map.buffers.iter().any(|(buffer, offset)| buffer == result && offset.is(0));
    let own = built.buffers[result.index()].storage == Storage::Unused
        && built.inputs.iter().all(|input| input.4 != *result)
        && built.outputs.iter().all(|output| root(built, output.3) != *result)
        && built.updates.iter().all(|(place, _)| root(built, *place) != *result);
    (offset.is(0) && there && own && uses.get(result) == Some(&2)).then_some(*result)
}

/// The stage with `to` alone, where it reads of both buffers nothing but the sums of elements at the same place.
fn summed(stage: &Stage, from: BufferId, to: BufferId) -> Option<Stage> {
    let values = &stage.values;
    let load = |id: ValueId, of: BufferId| match &values[id.index()].op {
        ValueOp::Load { buffer, at, when: None } if *buffer == of => Some(at),
        _ => None,
    };
    let mut readers: Vec<Vec<ValueId>> = vec![Vec::new(); values.len()];
    for (at, value) in values.iter().enumerate() {
        value.op.operands().into_iter().for_each(|x| readers[x.index()].push(ValueId(at as u32)));
    }
    let ends = stage.stores.iter().map(|store| store.value).chain(stage.reductions.iter().map(|r| r.of));
    let ends: Vec<ValueId> = ends.collect();
    // Who alone reads a value.
    let reader = |id: ValueId| match readers[id.index()].as_slice() {
        [reader] if !ends.contains(&id) => Some(*reader),
        _ => None,
    };
    let sum = |id: ValueId| match values[id.index()].op {
        ValueOp::Binary(Binary::Add, x, y) => Some([x, y]),
        _ => None,
    };
    let mut instead: Vec<ValueId> = (0..values.len()).map(|at| ValueId(at as u32)).collect();
    let mut joined = Vec::new();
    for id in (0..values.len()).map(|at| ValueId(at as u32)) {
        let Some(at) = load(id, from) else { continue };
        let total = reader(id)?;
        let [x, y] = sum(total)?;
        let other = if x == id { y } else { x };
        // The other addend is the element itself, or a sum with it that nobody else reads.
        let same = |id: &ValueId| load(*id, to) == Some(at);
        let inner = || {
            let alone = reader(other) == Some(total);
            sum(other).filter(|_| alone).and_then(|pair| pair.into_iter().find(same))
        };
        let element = if same(&other) { Some(other) } else { inner() }?;
        reader(element)?;
        joined.push(element);
        instead[total.index()] = other;
    }
    let all = (0..values.len()).map(|at| ValueId(at as u32)).filter(|id| load(*id, to).is_some());
    let stored = stage.stores.iter().any(|store| store.buffer == from || store.buffer == to);
    if joined.is_empty() || stored || all.into_iter().any(|id| !joined.contains(&id)) {
        return None;
    }
    let mut stage = stage.clone();
    for value in &mut stage.values {
        value.op = value.op.map(&|id| instead[id.index()], &Clone::clone, &|place| place);
    }
    stage.stores.iter_mut().for_each(|store| store.value = instead[store.value.index()]);
    stage.reductions.iter_mut().for_each(|reduce| reduce.of = instead[reduce.of.index()]);
    stage.tidy();
    Some(stage)
}

fn adding(product: &Launch, to: BufferId) -> Launch {
    let mut product = product.clone();
    if let Kernel::Contraction { adds, .. } = &mut product.kernel {
        *adds = true;
    }
    if let Some(result) = product.buffers.last_mut() {
        *result = (to, Dim::constant(0));
    }
    product
}

fn reading(built: &Built, map: &Launch, stage: Stage, from: BufferId) -> Launch {
    let buffer = &built.buffers[from.index()];
    let less = buffer.elements.clone() * Dim::from(buffer.dtype.size());
    let space = match &map.kernel {
        Kernel::Nest(nest) => nest.space,
        _ => 0,
    };
    let mut map = map.clone();
    map.buffers.retain(|(buffer, _)| *buffer != from);
    map.kernel = Kernel::Nest(Nest::new(space, vec![stage]));
    map.bytes = map.bytes - less;
    map
}
