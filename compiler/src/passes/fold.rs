//! Constants of constants: what depends on constants alone is computed here, by the reference evaluator.
//!
//! Only scalars and small tables are; a large constant tensor is better as the few nodes that make it.

use super::rewrite::rewrite;
use crate::evaluate::{Real, Symbols, Value, Values, evaluate_nodes};
use crate::graph::{Builder, DType, Graph, Node, NodeId, Op, TypeError};

/// The most elements of a folded tensor.
const LARGEST: i64 = 64;

/// The most elements of a table that only counts.
const LARGEST_COUNT: i64 = 1024;

pub fn run(graph: &mut Graph) -> bool {
    rewrite(graph, |b, node| {
        let constant = match &node.op {
            Op::DimValue(dim) => {
                dim.as_constant().filter(|v| v.unsigned_abs() < 1 << 53).map(|v| Op::Constant(v as f64))
            }
            Op::Input(_)
            | Op::Variable(_)
            | Op::Constant(_)
            | Op::Table(_)
            | Op::Iota { .. }
            | Op::Random { .. } => None,
            // A loop is its results, which read nothing but it.
            Op::Scan(_) | Op::ScanResult { .. } => None,
            // These are as good as what they would become.
            Op::Broadcast { .. } => None,
            Op::Gather { axis } => {
                let [table, indices] = node.inputs[..] else { return Ok(None) };
                return match counted(b, table)? {
                    Some(table) => b.push(Op::Gather { axis: *axis }, &[table, indices], None).map(Some),
                    None => Ok(None),
                };
            }
            _ => {
                let inputs: Vec<&Node> = node.inputs.iter().map(|id| b.graph.node(*id)).collect();
                compute(node, &inputs)
            }
        };
        constant.map(|op| b.push(op, &[], Some(node.ty.clone()))).transpose()
    })
}

/// The numbers 0, 1, 2 … that a gather reads, as a table: what is gathered from lies in memory, and this way it lies there from the
/// start instead of being written anew in each run.
fn counted(b: &mut Builder, table: NodeId) -> Result<Option<NodeId>, TypeError> {
    let node = b.graph.node(table);
    let counts = |n: &Node| matches!(n.op, Op::Iota { .. }) && n.ty.rank() == 1;
    let is = match node.op {
        Op::Cast => node.inputs.first().is_some_and(|x| counts(b.graph.node(*x))),
        _ => counts(node),
    };
    let ty = node.ty.clone();
    match ty.elements().as_constant() {
        Some(count @ 1..=LARGEST_COUNT) if is && ty.dtype != DType::Bool => {
            let values = (0..count).map(|v| v as f64).collect();
            b.push(Op::Table(values), &[], Some(ty)).map(Some)
        }
        _ => Ok(None),
    }
}

fn compute(node: &Node, inputs: &[&Node]) -> Option<Op> {
    let known = |n: &&Node| matches!(n.op, Op::Constant(_) | Op::Table(_));
    let small = |n: &Node| n.ty.elements().as_constant().is_some_and(|count| count <= LARGEST);
    if inputs.is_empty() || !inputs.iter().all(known) || !small(node) {
        return None;
    }
    // In f64, which the constants are kept in; but a narrow float rounds, and so does a cast of or to one.
    let narrow = |n: &Node| match node.op {
        Op::Cast => n.ty.dtype.is_float() && n.ty.dtype != DType::F64,
        _ => matches!(n.ty.dtype, DType::F16 | DType::BF16),
    };
    let values = if inputs.iter().any(|n| narrow(n)) || narrow(node) {
        elements::<f32>(node, inputs)?
    } else {
        elements::<f64>(node, inputs)?
    };
    Some(match (values.as_slice(), node.ty.rank()) {
        ([value], 0) => Op::Constant(*value),
        _ => Op::Table(values),
    })
}

/// The elements of a node on these inputs; `None` where they would not be exact as `f64`, or there is an error to be met when it runs.
fn elements<T: Real>(node: &Node, inputs: &[&Node]) -> Option<Vec<f64>> {
    let mut graph = Graph { nodes: inputs.iter().map(|n| (*n).clone()).collect(), ..Graph::default() };
    let places = (0..inputs.len() as u32).map(NodeId).collect();
    graph.nodes.push(Node { inputs: places, ..node.clone() });
    let (values, out_of_range) =
        evaluate_nodes::<T>(&graph, &Values::new(), &Values::new(), &Symbols::new()).ok()?;
    let value = values.last().filter(|_| out_of_range.is_empty())?;
    let exact = match value {
        Value::Int(a) => a.iter().all(|v| v.unsigned_abs() < 1 << 53),
        _ => true,
    };
    exact.then(|| value.to_f64())
}
