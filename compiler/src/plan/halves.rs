//! Products of floats of 16 bits. Where each operand of a product is widened from the same such type ([`crate::passes::rounded`]), a GPU reads
//! the narrow numbers where they lie, and multiplies them as they are.

use super::Machine;
use crate::graph::op::Conv;
use crate::graph::{DType, Dim, Graph, Node, NodeId, Op};

/// Rows of queries, keys and values that a kernel of attention has in shared memory as a whole are no wider.
pub const WIDEST: i64 = 128;

/// The type that a product's operands are read in, if it is a narrow one.
pub fn of(graph: &Graph, node: &Node, machine: Machine) -> Option<DType> {
    if machine == Machine::Cpu {
        return None;
    }
    let mut types = places(graph, node)
        .into_iter()
        .map(|place| behind(graph, node.inputs[place]).map(|(_, dtype)| dtype));
    let first = types.next()??;
    types.all(|dtype| dtype == Some(first)).then_some(first)
}

/// What a widened operand is widened from, and its type.
pub fn behind(graph: &Graph, id: NodeId) -> Option<(NodeId, DType)> {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Cast, &[from]) if node.ty.dtype == DType::F32 => {
            let dtype = graph.node(from).ty.dtype;
            matches!(dtype, DType::BF16 | DType::F16).then_some((from, dtype))
        }
        _ => None,
    }
}

/// The inputs of a node that tensor cores can multiply: those of products of matrices, of convolutions of more than single channels, and of
/// attention over rows that are short enough for it.
pub fn places(graph: &Graph, node: &Node) -> Vec<usize> {
    let grouped = |conv: &Conv, x: &Node| {
        conv.groups == 1 || x.ty.shape.last().is_some_and(|channels| !channels.is(conv.groups as i64))
    };
    let fits = match &node.op {
        Op::Contract { .. } => !super::is_nest(graph, node),
        Op::Conv(conv) | Op::ConvWeights(conv) => grouped(conv, graph.node(node.inputs[0])),
        Op::ConvData(conv) => grouped(conv, node),
        Op::Attention(op) => {
            let short = |place: usize| {
                let width = graph.node(node.inputs[place]).ty.shape.last().and_then(Dim::as_constant);
                width.is_some_and(|width| width <= WIDEST)
            };
            let gradient = op.part.is_gradient().then(|| op.inputs() - 1);
            return if short(0) && short(2) { (0..3).chain(gradient).collect() } else { Vec::new() };
        }
        _ => false,
    };
    if fits { vec![0, 1] } else { Vec::new() }
}
