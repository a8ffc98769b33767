//! What is done to each element of a product by itself (a bias, an activation, a sum with what stands beside it) is done before the element
//! is stored, on a GPU: the result of the product passes in registers.
//!
//! A map that reads each element of a product's result once and in order becomes the product's *epilogue*, and the product runs in the map's
//! place. That is sound where nothing on the way writes what the product reads, and the map writes nothing of it: other blocks may
//! still read it. Where others need the result too, it is stored as well.

use super::affine::{Affine, flatten};
use super::nest::{Nest, Stage, Store, ValueId, ValueOp};
use super::schedule::root;
use super::values::identity;
use super::{BufferId, Built, Epilogue, Kernel, Launch, Segment, Step, Storage};
use crate::graph::Dim;
use std::collections::BTreeSet;
use weft_runtime::program::ConvolutionKind;

/// An epilogue of more values, or loads, would not fit registers beside the sums.
const VALUES: usize = 40;
const LOADS: usize = 6;

/// Gives products their epilogues.
pub fn attach(built: &mut Built, segments: &mut Vec<Segment>) {
    let mut steps = unfolded(segments);
    for late in 0..steps.len() {
        if let Some((early, launch)) = joined(built, &steps, late) {
            steps[early].1 = None;
            steps[late].1 = Some(Step::Launch(Box::new(launch)));
        }
    }
    folded(built, segments, steps);
}

/// All steps in their order, each with its segment, so that some can be taken out.
pub(super) fn unfolded(segments: &mut [Segment]) -> Vec<(usize, Option<Step>)> {
    let mut steps = Vec::new();
    for (at, segment) in segments.iter_mut().enumerate() {
        steps.extend(std::mem::take(&mut segment.steps).into_iter().map(|step| (at, Some(step))));
    }
    steps
}

/// Puts them back. Some segments then have nothing left to do.
pub(super) fn folded(built: &mut Built, segments: &mut Vec<Segment>, steps: Vec<(usize, Option<Step>)>) {
    for (segment, step) in steps {
        segments[segment].steps.extend(step);
    }
    let mut busy = segments.iter().map(|segment| !segment.steps.is_empty());
    built.owned.retain(|_| busy.next().unwrap_or(true));
    segments.retain(|segment| !segment.steps.is_empty());
}

/// Is it a product that can have an epilogue? Its result is written once, whole, and in place.
fn is_product(launch: &Launch) -> bool {
    launch.epilogue.is_none()
        && match &launch.kernel {
            Kernel::Contraction { splits, .. } => *splits == 1,
            Kernel::Convolution { kind, groups, input_channels, .. } => {
                *kind != ConvolutionKind::Weights && (groups.is(1) || groups != input_channels)
            }
            _ => false,
        }
}

/// The product that a map can be the epilogue of: its place among the steps, and both as one launch.
fn joined(built: &Built, steps: &[(usize, Option<Step>)], late: usize) -> Option<(usize, Launch)> {
    let (segment, Some(Step::Launch(map))) = &steps[late] else { return None };
    let Kernel::Nest(Nest { stages, .. }) = &map.kernel else { return None };
    let [stage] = stages.as_slice() else { return None };
    let simple = stage.reduced.is_empty()
        && stage.reductions.is_empty()
        && !stage.kept.is_empty()
        && stage.values.len() <= VALUES
        && stage.reads().count() <= LOADS
        && stage.stores.iter().all(|store| !store.accumulate)
        && stage.values.iter().all(|value| !matches!(value.op, ValueOp::Random { .. }));
    if !simple || *segment < built.prepares {
        return None;
    }
    let whole = flatten(&identity(&stage.kept, 0), &stage.kept);
    let elements = stage.kept.iter().fold(Dim::constant(1), |size, extent| size * extent.clone());
    (0..late).rev().find_map(|early| {
        let (segment, Some(Step::Launch(product))) = &steps[early] else { return None };
        if *segment < built.prepares || !is_product(product) {
            return None;
        }
        let (result, offset) = product.buffers.last()?;
        let in_order = offset.is(0)
            && built.buffers[result.index()].storage == Storage::Unused
            && built.buffers[result.index()].elements == elements
            && reads_in_order(stage, *result, &whole);
        (in_order && may_wait(built, steps, early, late, product, map, *result)).then_some(())?;
        let launch = both(built, steps, (early, late), product, map, stage, *result, &whole)?;
        Some((early, launch))
    })
}

/// Does a map read this buffer, each element at its own point alone?
fn reads_in_order(stage: &Stage, buffer: BufferId, whole: &Affine) -> bool {
    let mut any = false;
    let all = stage.values.iter().all(|value| match &value.op {
        ValueOp::Load { buffer: from, at, when } if *from == buffer => {
            any = true;
            at == whole && when.is_none()
        }
        _ => true,
    });
    any && all && stage.stores.iter().all(|store| store.buffer != buffer)
}

/// Can the product run in the map's place, and the map's stores beside its blocks?
fn may_wait(
    built: &Built,
    steps: &[(usize, Option<Step>)],
    early: usize,
    late: usize,
    product: &Launch,
    map: &Launch,
    result: BufferId,
) -> bool {
    let operands = &product.buffers[..product.buffers.len() - 1];
    let read: BTreeSet<BufferId> = operands.iter().map(|(buffer, _)| root(built, *buffer)).collect();
    let written =
        |launch: &Launch| launch.written().into_iter().any(|buffer| read.contains(&root(built, buffer)));
    let touches = |launch: &Launch| launch.buffers.iter().any(|(buffer, _)| root(built, *buffer) == result);
    let between =
        steps[early + 1..late].iter().filter_map(|(_, step)| step.as_ref()).flat_map(Step::launches);
    // The map reads the result by its own name alone.
    !written(map)
        && map.buffers.iter().all(|(buffer, _)| *buffer == result || root(built, *buffer) != result)
        && between.into_iter().all(|launch| !written(launch) && !touches(launch))
        && built.updates.iter().all(|(place, _)| root(built, *place) != result)
        // A slot has one offset.
        && map.buffers.iter().all(|(buffer, offset)| {
            operands.iter().all(|(other, at)| buffer != other || offset == at)
        })
}

fn both(
    built: &Built,
    steps: &[(usize, Option<Step>)],
    (early, late): (usize, usize),
    product: &Launch,
    map: &Launch,
    stage: &Stage,
    result: BufferId,
    whole: &Affine,
) -> Option<Launch> {
    let touches = |launch: &Launch| launch.buffers.iter().any(|(buffer, _)| root(built, *buffer) == result);
    let others = steps.iter().enumerate().filter(|(at, _)| *at != early && *at != late);
    let mut others = others.filter_map(|(_, (_, step))| step.as_ref()).flat_map(Step::launches);
    let needed = others.any(touches) || built.outputs.iter().any(|output| root(built, output.3) == result);
    let mut stage = stage.clone();
    if needed {
        let at = stage
            .values
            .iter()
            .position(|value| matches!(&value.op, ValueOp::Load { buffer, .. } if *buffer == result))?;
        let value = ValueId(at as u32);
        stage.stores.push(Store {
            buffer: result,
            at: whole.clone(),
            value,
            accumulate: false,
            inner: false,
        });
    }
    let mut buffers = product.buffers[..product.buffers.len() - 1].to_vec();
    for slot in &map.buffers {
        if (slot.0 != result || needed) && !buffers.contains(slot) {
            buffers.push(slot.clone());
        }
    }
    let dtype = built.buffers[result.index()].dtype;
    let saved = built.buffers[result.index()].elements.clone() * Dim::from(dtype.size());
    Some(Launch {
        buffers,
        epilogue: Some(Epilogue { stage, of: result }),
        path: map.path.clone(),
        span: map.span,
        flops: product.flops.clone() + map.flops.clone(),
        bytes: product.bytes.clone() + map.bytes.clone() - saved * Dim::constant(if needed { 1 } else { 2 }),
        ..product.clone()
    })
}
