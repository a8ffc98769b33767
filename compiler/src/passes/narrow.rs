//! Learned weights kept in a narrower type, for models that are only run: fewer bytes to read, and every sum still in f32.
//!
//! ```text
//! variable W : f32  →  cast(variable W : bf16) : f32
//! variable W : f32  →  cast(variable W : i8) : f32 · broadcast(variable W/scale)
//! ```
//!
//! A weight of i8 has a scale for each of its channels: what is not summed over where it is multiplied, or the rows of a table. So the graph
//! says what a narrow model computes, the evaluator computes just that, and a contraction finds the weight behind these operations and reads
//! it as it is ([`crate::plan`]). A table gives its rows narrow, which are then widened.
//!
//! As floats, matrices, tables and convolutions' kernels are narrowed, for they are what takes memory; biases, norms' scales and states stay as
//! they are. As i8, only what contractions and gathers read, where at least [`SHARED`] values share a scale: a convolution takes its time to
//! compute and not to read.

use super::rewrite::{Rewritten, look, rewrite};
use crate::graph::op::{Binary, Reduction, Unary};
use crate::graph::{
    Builder, DType, Dim, Entry, Graph, Module, Node, NodeId, Op, TensorType, TypeError, Variable,
};
use std::collections::BTreeMap;
use weft_runtime::program::{VariableKind, scale_path};

/// A scale for fewer values would save little, and cost as much accuracy.
const SHARED: i64 = 16;
/// The largest value of i8 that is used: the range is symmetric.
const LARGEST: f64 = 127.0;

/// A weight's new type, and its channels where it is of i8.
#[derive(Clone, Debug)]
struct Narrow {
    ty: TensorType,
    channels: Vec<usize>,
}

impl Narrow {
    /// The type of the scales.
    fn scale(&self) -> TensorType {
        let shape: Vec<Dim> = self.channels.iter().map(|axis| self.ty.shape[*axis].clone()).collect();
        TensorType::new(DType::F32, shape)
    }
}

/// The module with its large weights kept as `dtype`: f16, bf16 or i8.
pub fn weights(module: &Module, dtype: DType) -> Module {
    let mut module = module.clone();
    let mut narrowed = BTreeMap::new();
    let mut scales = Vec::new();
    let large = |v: &Variable| v.kind == VariableKind::Weight && v.ty.dtype == DType::F32 && v.ty.rank() > 1;
    for at in 0..module.variables.len() {
        if !large(&module.variables[at]) {
            continue;
        }
        let channels = match dtype {
            DType::I8 => match channels(&module, &module.variables[at]) {
                Some(channels) => channels,
                None => continue,
            },
            _ => Vec::new(),
        };
        let variable = &mut module.variables[at];
        variable.ty.dtype = dtype;
        variable.channels.clone_from(&channels);
        let narrow = Narrow { ty: variable.ty.clone(), channels };
        if dtype == DType::I8 {
            scales.push(Variable {
                path: scale_path(&variable.path),
                kind: VariableKind::Scale,
                ty: narrow.scale(),
                trainable: false,
                channels: Vec::new(),
                span: variable.span,
            });
        }
        narrowed.insert(variable.path.clone(), narrow);
    }
    module.variables.extend(scales);
    // Weights that are only run move no more, so that none has an average, which would be of another type.
    module.trainings.iter_mut().for_each(|training| training.averages.clear());
    for Entry { graph, .. } in &mut module.entries {
        narrow(graph, &narrowed);
    }
    module
}

/// The channels of a weight that contractions or gathers read, if enough of its values share one.
pub(super) fn channels(module: &Module, weight: &Variable) -> Option<Vec<usize>> {
    let identity: Vec<usize> = (0..weight.ty.rank()).collect();
    let found = module.entries.iter().find_map(|entry| {
        let graph = &entry.graph;
        let is = |id: &NodeId| matches!(&graph.node(*id).op, Op::Variable(path) if *path == weight.path);
        graph.ids().filter(is).find_map(|id| channels_of(graph, id, &identity))
    })?;
    let shared =
        (0..weight.ty.rank()).filter(|axis| !found.contains(axis)).map(|axis| &weight.ty.shape[axis]);
    let shared = shared.cloned().fold(Dim::constant(1), |product, extent| product * extent);
    shared.as_constant().is_some_and(|shared| shared >= SHARED).then_some(found)
}

/// The channels by the first operation that multiplies a node or gathers from it; `axes` says where its axes come from in the weight.
fn channels_of(graph: &Graph, id: NodeId, axes: &[usize]) -> Option<Vec<usize>> {
    let from = |mut channels: Vec<usize>| {
        channels = channels.into_iter().map(|axis| axes[axis]).collect();
        channels.sort_unstable();
        channels
    };
    for user in graph.ids() {
        let node = graph.node(user);
        for (place, _) in node.inputs.iter().enumerate().filter(|(_, input)| **input == id) {
            let found = match &node.op {
                Op::Contract { batch, sum } => {
                    let summed = |axis: &usize| {
                        sum.iter().any(|pair| if place == 0 { pair.0 == *axis } else { pair.1 == *axis })
                    };
                    batch.is_empty().then(|| from((0..axes.len()).filter(|axis| !summed(axis)).collect()))
                }
                Op::Gather { axis } if place == 0 => Some(from(vec![*axis])),
                Op::Transpose { permutation } => {
                    let moved: Vec<usize> = permutation.iter().map(|axis| axes[*axis]).collect();
                    channels_of(graph, user, &moved)
                }
                Op::Hold | Op::Cast => channels_of(graph, user, axes),
                Op::Scan(scan) => scan.inputs().get(place).and_then(|input| {
                    let captured = place >= scan.elements + scan.carries;
                    if captured { channels_of(&scan.body, *input, axes) } else { None }
                }),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn narrow(graph: &mut Graph, narrowed: &BTreeMap<String, Narrow>) {
    rewrite(graph, |b, node| match &node.op {
        Op::Variable(path) => match narrowed.get(path) {
            Some(narrow) => widened(b, path, narrow, node.ty.dtype).map(Some),
            None => Ok(None),
        },
        Op::Gather { axis } => gathered(b, node, *axis),
        _ => Ok(None),
    });
    let mut b = Builder::new("");
    std::mem::swap(&mut b.graph, graph);
    for at in 0..b.graph.updates.len() {
        let (path, id) = b.graph.updates[at].clone();
        let Some(narrow) = narrowed.get(&path) else { continue };
        if narrow.channels.is_empty() {
            // A cast of a float fits always.
            if let Ok(cast) = b.cast(id, narrow.ty.dtype) {
                b.graph.updates[at].1 = cast;
            }
        } else if let Ok((values, scales)) = quantised(&mut b, id, narrow) {
            b.graph.updates[at].1 = values;
            b.graph.updates.push((scale_path(&path), scales));
        }
    }
    *graph = b.graph;
}

/// The weight in f32, from what is kept of it.
fn widened(b: &mut Builder, path: &str, narrow: &Narrow, dtype: DType) -> Result<NodeId, TypeError> {
    let kept = b.push(Op::Variable(path.to_owned()), &[], Some(narrow.ty.clone()))?;
    let wide = b.cast(kept, dtype)?;
    if narrow.channels.is_empty() {
        return Ok(wide);
    }
    let scale = b.push(Op::Variable(scale_path(path)), &[], Some(narrow.scale()))?;
    let scale = spread(b, scale, narrow.channels.clone(), &narrow.ty.shape)?;
    b.binary(Binary::Mul, wide, scale)
}

/// Rows of a widened table: the rows are gathered as they are kept, and then widened.
fn gathered(b: &mut Builder, node: &Node, axis: usize) -> Rewritten {
    let &[table, indices] = node.inputs.as_slice() else { return Ok(None) };
    let (op, first) = look(b, table);
    let (wide, scale) = match (op, b.graph.node(table).inputs.as_slice()) {
        (Op::Cast, _) => (table, None),
        (Op::Binary(Binary::Mul), &[_, scale]) => match look(b, scale) {
            (Op::Broadcast { axes }, from) if *axes == [axis] => (first, Some(from)),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let (Op::Cast, kept) = look(b, wide) else { return Ok(None) };
    let narrow = matches!(b.ty(kept).dtype, DType::F16 | DType::BF16 | DType::I8);
    if !narrow || !matches!(look(b, kept).0, Op::Variable(_)) {
        return Ok(None);
    }
    let rows = b.push(node.op.clone(), &[kept, indices], None)?;
    let rows = b.cast(rows, node.ty.dtype)?;
    let Some(scale) = scale else { return Ok(Some(rows)) };
    let along = (axis..axis + b.ty(indices).rank()).collect();
    let scale = b.push(Op::Gather { axis: 0 }, &[scale, indices], None)?;
    let scale = spread(b, scale, along, &node.ty.shape)?;
    b.binary(Binary::Mul, rows, scale).map(Some)
}

/// The values of i8 and the scales of a weight: the largest value of a channel becomes the largest of i8.
fn quantised(b: &mut Builder, weight: NodeId, narrow: &Narrow) -> Result<(NodeId, NodeId), TypeError> {
    let shape = &narrow.ty.shape;
    let shared: Vec<usize> = (0..shape.len()).filter(|axis| !narrow.channels.contains(axis)).collect();
    let size = b.unary(Unary::Abs, weight)?;
    let largest = b.reduce(Reduction::Max, size, &shared)?;
    let ty = narrow.scale();
    // A channel of zeros has some scale.
    let least = b.full(f64::from(f32::MIN_POSITIVE) * LARGEST, &ty)?;
    let largest = b.binary(Binary::Max, largest, least)?;
    let steps = b.full(LARGEST, &ty)?;
    let scale = b.binary(Binary::Div, largest, steps)?;
    let spread = spread(b, scale, narrow.channels.clone(), shape)?;
    let values = b.binary(Binary::Div, weight, spread)?;
    let values = b.unary(Unary::Round, values)?;
    Ok((b.cast(values, DType::I8)?, scale))
}

/// A value for each index of some axes, for all elements of a shape.
fn spread(b: &mut Builder, x: NodeId, axes: Vec<usize>, shape: &[Dim]) -> Result<NodeId, TypeError> {
    let ty = TensorType::new(b.ty(x).dtype, shape.to_vec());
    b.push(Op::Broadcast { axes }, &[x], Some(ty))
}
