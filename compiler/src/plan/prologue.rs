//! What an operand of a product is made of, element by element (pixels scaled, an adjoint spread to the places of its maxima), is done by the product
//! while it loads the operand, on a GPU: the operand is in memory nowhere.
//!
//! A map whose only result is an operand of one product, and of nothing else, becomes that product's *prologue*, and is done in the product's place.
//! That is sound where nothing on the way, nor the product, writes what the map reads. It need not pay: a product loads an element once for
//! each tile of rows (or columns) beside it, and a convolution for each tap besides, and what is loaded again is computed again. So both ways are
//! weighed in bytes ([`Weight`]), at the likely values of symbols.

use super::affine::{Affine, flatten};
use super::epilogue::{folded, unfolded};
use super::nest::{Nest, Stage, ValueId, ValueOp};
use super::schedule::root;
use super::values::identity;
use super::{BufferId, Built, Kernel, Launch, Prologue, Segment, Step, Storage};
use crate::graph::op::{Binary, Unary};
use crate::graph::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};
use weft_runtime::program::ConvolutionKind;

/// A prologue of more values, or loads, would not fit registers beside the sums.
const VALUES: usize = 40;
const LOADS: usize = 10;

/// Operations of a GPU's plain units in the time that its memory takes for a byte: of an A100 9.7 · 10¹² in a second, and 1.6 · 10¹² bytes.
const OPERATIONS: f64 = 6.0;

/// A product as tiles are chosen for it: so many rows and columns of so many products, of operands of these types, of which a map makes one from so many
/// loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub rows: i64,
    pub cols: i64,
    pub products: i64,
    pub types: [DType; 2],
    pub reads: usize,
}

/// Rows and columns of the tiles in which a machine does a product that has a prologue.
pub type Tiles<'a> = dyn Fn(&Shape) -> (i64, i64) + 'a;

/// Gives products their prologues.
pub(super) fn attach(built: &mut Built, segments: &mut Vec<Segment>, tiles: &Tiles<'_>) {
    let mut steps = unfolded(segments);
    for late in 0..steps.len() {
        for slot in [0, 1] {
            if let Some((early, launch)) = joined(built, &steps, late, slot, tiles) {
                steps[early].1 = None;
                steps[late].1 = Some(Step::Launch(Box::new(launch)));
            }
        }
    }
    folded(built, segments, steps);
}

/// Is it a product that can have prologues?
fn is_product(launch: &Launch) -> bool {
    match &launch.kernel {
        Kernel::Contraction { packed, .. } => !packed,
        Kernel::Convolution { groups, input_channels, .. } => groups.is(1) || groups != input_channels,
        _ => false,
    }
}

/// The map that makes a product's operand alone: its place among the steps, and both as one launch.
fn joined(
    built: &Built,
    steps: &[(usize, Option<Step>)],
    late: usize,
    slot: usize,
    tiles: &Tiles<'_>,
) -> Option<(usize, Launch)> {
    let (segment, Some(Step::Launch(product))) = &steps[late] else { return None };
    if *segment < built.prepares || !is_product(product) || product.prologues.iter().any(|p| p.slot == slot) {
        return None;
    }
    let (operand, offset) = &product.buffers[slot];
    let touches =
        |launch: &Launch| launch.buffers.iter().filter(|(b, _)| root(built, *b) == *operand).count();
    let alone = offset.is(0)
        && built.buffers[operand.index()].storage == Storage::Unused
        && built.inputs.iter().all(|input| input.4 != *operand)
        && built.outputs.iter().all(|output| root(built, output.3) != *operand)
        && built.updates.iter().all(|(place, _)| root(built, *place) != *operand)
        && touches(product) == 1;
    if !alone {
        return None;
    }
    // Who else touches it makes it, and is one.
    let mut others = steps.iter().enumerate().filter(|(at, (_, step))| {
        let launches = step.as_ref().map(Step::launches).unwrap_or_default();
        *at != late && launches.into_iter().any(|launch| touches(launch) > 0)
    });
    let (early, (segment, step)) = others.next().filter(|(at, _)| *at < late)?;
    let (Some(Step::Launch(map)), None) = (step, others.next()) else { return None };
    let Kernel::Nest(Nest { stages, row: None, .. }) = &map.kernel else { return None };
    let [stage] = stages.as_slice() else { return None };
    if *segment < built.prepares || !is_map(stage) {
        return None;
    }
    let stage = in_order(stage, *operand, &built.buffers[operand.index()].elements)?;
    let between =
        steps[early + 1..late].iter().filter_map(|(_, step)| step.as_ref()).flat_map(Step::launches);
    let inputs: Vec<(BufferId, Dim)> = map.buffers.iter().filter(|(b, _)| b != operand).cloned().collect();
    let read: BTreeSet<BufferId> = inputs.iter().map(|(buffer, _)| root(built, *buffer)).collect();
    let writes =
        |launch: &Launch| launch.written().into_iter().any(|buffer| read.contains(&root(built, buffer)));
    let still = between.into_iter().all(|launch| !writes(launch)) && !writes(product);
    let first = inputs.first()?.clone();
    let mut buffers = product.buffers.clone();
    buffers[slot] = first;
    // A slot has one offset.
    let fits = inputs
        .iter()
        .all(|(buffer, at)| buffers.iter().all(|(other, offset)| buffer != other || offset == at));
    if !still || !fits || !Weight::of(built, product, slot, &stage, tiles)?.pays() {
        return None;
    }
    // Results come last.
    let results = if product.epilogue.is_some() { 0 } else { 1 };
    for input in inputs {
        if !buffers.contains(&input) {
            buffers.insert(buffers.len() - results, input);
        }
    }
    let size = built.buffers[operand.index()].elements.clone()
        * Dim::from(built.buffers[operand.index()].dtype.size());
    let mut prologues = product.prologues.clone();
    prologues.push(Prologue { slot, stage, of: *operand, path: map.path.clone(), span: map.span });
    let launch = Launch {
        buffers,
        prologues,
        flops: product.flops.clone() + map.flops.clone(),
        bytes: product.bytes.clone() + map.bytes.clone() - size * Dim::constant(2),
        ..(**product).clone()
    };
    Some((early, launch))
}

/// Does a stage make one element at each point, of what lies in memory and of nothing else?
fn is_map(stage: &Stage) -> bool {
    let [store] = stage.stores.as_slice() else { return false };
    // Whether something is there is asked of places alone.
    let asks = |id: &ValueId| {
        let mut open = vec![*id];
        let mut loads = false;
        while let Some(id) = open.pop() {
            let op = &stage.value(id).op;
            loads |= matches!(op, ValueOp::Load { .. });
            open.extend(op.operands());
        }
        !loads
    };
    stage.reduced.is_empty()
        && stage.reductions.is_empty()
        && !store.accumulate
        && stage.values.len() <= VALUES
        && (1..=LOADS).contains(&stage.reads().count())
        && stage.values.iter().all(|value| match &value.op {
            ValueOp::Random { .. } | ValueOp::Reduced(_) => false,
            ValueOp::Load { when, buffer, .. } => *buffer != store.buffer && when.iter().all(asks),
            _ => true,
        })
}

/// The stage with its loops in the order in which its result lies in memory, and as few of them as that takes; none where it leaves gaps.
fn in_order(stage: &Stage, result: BufferId, elements: &Dim) -> Option<Stage> {
    let store = stage.stores.first().filter(|store| store.buffer == result && store.at.constant.is(0))?;
    // From the innermost out: each variable goes on where the ones before end.
    let (mut order, mut size) = (Vec::new(), Dim::constant(1));
    let mut left: Vec<usize> = (0..stage.kept.len()).filter(|v| !stage.kept[*v].is(1)).collect();
    while !left.is_empty() {
        let next = left.iter().position(|variable| store.at.coefficient(*variable) == size)?;
        let variable = left.remove(next);
        size = size * stage.kept[variable].clone();
        order.push(variable);
    }
    order.reverse();
    if size != *elements || order.is_empty() {
        return None;
    }
    let place = |variable: usize| match order.iter().position(|other| *other == variable) {
        Some(place) => Affine::variable(place),
        None => Affine::constant(0i64),
    };
    let kept = order.iter().map(|variable| stage.kept[*variable].clone()).collect();
    let mut stage = Stage { kept, vector: None, ..moved(stage, &place) };
    // Two loops that all maps go through as through one are one.
    let mut at = 1;
    while at < stage.kept.len() {
        let (outer, inner) = (at - 1, at);
        let maps = stage.values.iter().flat_map(|value| value.op.maps());
        let one = |map: &Affine| map.coefficient(outer) == map.coefficient(inner) * stage.kept[inner].clone();
        if !maps.into_iter().all(one) {
            at += 1;
            continue;
        }
        let place = |variable: usize| match variable {
            _ if variable == outer => Affine::constant(0i64),
            _ => Affine::variable(if variable > outer { variable - 1 } else { variable }),
        };
        let mut kept = stage.kept.clone();
        kept[inner] = kept[outer].clone() * kept[inner].clone();
        kept.remove(outer);
        stage = Stage { kept, ..moved(&stage, &place) };
    }
    stage.stores[0].at = flatten(&identity(&stage.kept, 0), &stage.kept);
    stage.stores[0].inner = false;
    Some(stage)
}

/// The stage with other variables.
fn moved(stage: &Stage, place: &dyn Fn(usize) -> Affine) -> Stage {
    let mut stage = stage.clone();
    for value in &mut stage.values {
        value.op = value.op.map(&|id| id, &|map| map.substitute(place), &|reduction| reduction);
    }
    stage.stores.iter_mut().for_each(|store| store.at = store.at.substitute(place));
    stage
}

/// What an operand costs, in bytes that memory moves in the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// Of the operand, and of all that the map reads.
    pub operand: f64,
    pub inputs: f64,
    /// So often each element is loaded by blocks of their own; a block that loads it again finds it in its cache.
    pub blocks: f64,
    /// So often each element is loaded.
    pub loads: f64,
    /// Operations for all elements, once.
    pub work: f64,
}

impl Weight {
    /// With a kernel of its own the map's inputs are read once, and the operand is written and read; it is then in a cache for those who read it
    /// again. As a prologue, each block reads the inputs anew, and computes anew what it loads anew.
    pub fn pays(self) -> bool {
        let apart = self.inputs + 2.0 * self.operand;
        let joined = self.blocks * self.inputs + self.loads * self.work / OPERATIONS;
        joined < apart
    }

    fn of(built: &Built, product: &Launch, slot: usize, stage: &Stage, tiles: &Tiles<'_>) -> Option<Weight> {
        let size = |dim: &Dim| built.estimate(dim) as f64;
        let operand = product.buffers[slot].0;
        let buffer = &built.buffers[operand.index()];
        let elements = size(&buffer.elements).max(1.0);
        let types = [0, 1].map(|slot| built.buffers[product.operand(slot).index()].dtype);
        let extents = |axes: &[super::Stride]| axes.iter().map(|axis| size(&axis.extent)).product::<f64>();
        // Products side by side, the parts of their sums, rows, columns and steps; and of a convolution's A, so many rows of a tile are of the same tap, and so
        // many taps find in a block's cache what another one has read.
        let ([items, parts, rows, cols, steps], [tap, most]) = match &product.kernel {
            Kernel::Contraction { batch, m, k, n, splits, .. } => {
                ([extents(batch), f64::from(*splits), extents(m), size(&n.extent), extents(k)], [0.0, 1.0])
            }
            Kernel::Convolution {
                kind,
                n,
                input,
                output,
                input_channels,
                output_channels,
                kernel,
                stride,
                groups,
                splits,
                ..
            } => {
                let groups = size(groups).max(1.0);
                let (ci, co) = (size(input_channels) / groups, size(output_channels) / groups);
                let (high, wide) = (size(&kernel[0]), size(&kernel[1]));
                let (taps, [sh, sw]) = (high * wide, stride.map(f64::from));
                let pixels = |extents: &[Dim; 2]| size(n) * size(&extents[0]) * size(&extents[1]);
                // Runs of pixels are of one line, so those taps read the same that are of one.
                let line = [0.0, (wide / sw).max(1.0)];
                match kind {
                    ConvolutionKind::Forward => ([groups, 1.0, pixels(output), co, taps * ci], line),
                    ConvolutionKind::Data => {
                        let phases = sh * sw;
                        let steps = (taps / phases).max(1.0) * co;
                        ([groups * phases, 1.0, pixels(input) / phases, ci, steps], line)
                    }
                    ConvolutionKind::Weights => {
                        ([groups, size(splits), taps * ci, co, pixels(output)], [ci, taps.max(1.0)])
                    }
                }
            }
            _ => return None,
        };
        let shape = Shape {
            rows: rows as i64,
            cols: cols as i64,
            products: (items * parts) as i64,
            types,
            reads: stage.reads().count(),
        };
        let (tile_rows, tile_cols) = tiles(&shape);
        let tiles = |extent: f64, tile: i64| (extent / tile as f64).ceil().max(1.0);
        let (loads, again) = match slot {
            // Where rows are of no tap, all of these are in one block.
            0 => {
                let again = (tile_rows as f64 / tap).clamp(1.0, most);
                (items * rows * steps / elements * tiles(cols, tile_cols), again)
            }
            _ => (items * cols * steps / elements * tiles(rows, tile_rows), 1.0),
        };
        let mut inputs: BTreeMap<BufferId, f64> = BTreeMap::new();
        for (input, _) in stage.reads() {
            let input_buffer = &built.buffers[input.index()];
            // Of what is larger, a part is read.
            let read = size(&input_buffer.elements).min(elements);
            inputs.insert(input, read * input_buffer.dtype.size() as f64);
        }
        Some(Weight {
            operand: elements * buffer.dtype.size() as f64,
            inputs: inputs.values().sum(),
            blocks: (loads / again).max(1.0),
            loads: loads.max(1.0),
            work: operations(stage) * elements,
        })
    }
}

/// Operations of the plain units that an element takes.
pub fn operations(stage: &Stage) -> f64 {
    stage.values.iter().map(|value| work(stage, &value.op)).sum()
}

/// Those of one value. What is not exact takes a short row of them.
fn work(stage: &Stage, op: &ValueOp) -> f64 {
    match op {
        ValueOp::Constant(_) | ValueOp::Dim(_) | ValueOp::Index(_) | ValueOp::Load { .. } => 0.0,
        ValueOp::Reduced(_) | ValueOp::Random { .. } => 0.0,
        ValueOp::Compare(..) | ValueOp::Select(..) | ValueOp::Cast(_) => 1.0,
        ValueOp::Inside(tests) => 2.0 * tests.len() as f64,
        ValueOp::Unary(op, _) => match op {
            Unary::Neg | Unary::Abs | Unary::Not => 1.0,
            Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round => 2.0,
            Unary::Sqrt | Unary::Rsqrt => 8.0,
            Unary::Exp | Unary::Expm1 | Unary::Log | Unary::Log1p | Unary::Sigmoid => 16.0,
            Unary::Sin | Unary::Cos | Unary::Tanh | Unary::Erf => 24.0,
        },
        ValueOp::Binary(of, ..) => match of {
            Binary::Div if stage.quotient(op).is_some() => 2.0,
            Binary::Div => 8.0,
            Binary::FloorDiv | Binary::Rem => 12.0,
            Binary::Pow => 40.0,
            _ => 1.0,
        },
    }
}
