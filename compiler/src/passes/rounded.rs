//! Operands of products rounded to a float of 16 bits, for processors that multiply such numbers faster than f32 (tensor cores). Sums stay in
//! f32, and so does all else.
//!
//! ```text
//! contract x, transpose(y)  →  contract cast(cast(x : bf16) : f32), cast(transpose(cast(y : bf16)) : f32)
//! ```
//!
//! The rounded number stands below all views, so that all products that read it share it: it is rounded once, by the kernel that makes it
//! where there is one, and is half as many bytes to read. What a loop's products read of what comes in from outside is rounded there. So the
//! graph says what is computed, the evaluator computes just that, and the planner finds the narrow operands behind their casts
//! ([`crate::plan`]).
//!
//! Sums of no product of matrices (one element, one row) and convolutions of single channels are left as they are: no tensor core does them. A weight
//! of i8 is one of these floats already, so what is multiplied with it is rounded, and the weight is not.

use super::loops::{Results, close_sorted, rewrite_loops};
use super::rewrite::{Rewritten, rewrite};
use super::{cse, dce};
use crate::graph::op::Binary;
use crate::graph::{Builder, DType, Graph, Node, NodeId, Op, OpenScan, TensorType, TypeError};
use crate::plan;
use std::sync::Arc;

/// Rounds the operands of an optimised graph. Passes that move views or simplify arithmetic are for before.
pub fn operands(graph: &mut Graph, dtype: DType) {
    for node in &mut graph.nodes {
        if let Op::Scan(scan) = &mut node.op {
            operands(&mut Arc::make_mut(scan).body, dtype);
        }
    }
    rewrite_loops(graph, |b, open, _| outside(b, open, dtype));
    rewrite(graph, |b, node| product(b, node, dtype));
    cse::run(graph);
    dce::run(graph);
}

/// The product of rounded operands.
fn product(b: &mut Builder, node: &Node, dtype: DType) -> Rewritten {
    let mut places = plan::halves::places(&b.graph, node);
    if matches!(node.op, Op::Contract { .. }) {
        places.retain(|place| *place != 1 || !is_quantised(&b.graph, node.inputs[1]));
    }
    if places.is_empty() {
        return Ok(None);
    }
    let mut inputs = node.inputs.clone();
    for place in places {
        let narrow = rounded(b, inputs[place], dtype)?;
        inputs[place] = b.cast(narrow, DType::F32)?;
    }
    b.push(node.op.clone(), &inputs, Some(node.ty.clone())).map(Some)
}

/// A weight of i8 with scales, seen through views.
fn is_quantised(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::Mul), &[a, b]) => is_quantised(graph, a) || is_quantised(graph, b),
        (Op::Cast, &[from]) => graph.node(from).ty.dtype == DType::I8,
        (Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. }, &[from]) => is_quantised(graph, from),
        _ => false,
    }
}

/// The node in the narrow type: what views show is rounded, and then shown.
fn rounded(b: &mut Builder, id: NodeId, dtype: DType) -> Result<NodeId, TypeError> {
    let node = b.graph.node(id).clone();
    match (&node.op, node.inputs.as_slice()) {
        (
            Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Slice { .. } | Op::Window { .. },
            &[from],
        ) => {
            let from = rounded(b, from, dtype)?;
            b.push(node.op.clone(), &[from], Some(TensorType::new(dtype, node.ty.shape.clone())))
        }
        (Op::Cast, &[from]) if b.ty(from).dtype == dtype => Ok(from),
        _ => b.cast(id, dtype),
    }
}

/// What a step rounds of what it is given is given to it rounded.
fn outside(b: &mut Builder, mut open: OpenScan, dtype: DType) -> Results {
    let mut changed = false;
    for elements in [true, false] {
        let given = if elements { open.elements.clone() } else { open.captures.clone() };
        for (place, operand) in given {
            let rounds =
                |node: &Node| node.op == Op::Cast && node.inputs == [place] && node.ty.dtype == dtype;
            let Some(at) = open.nodes.iter().position(rounds) else { continue };
            let like = open.nodes[at].clone();
            let narrow = open.placeholder(like.ty.clone(), &like);
            open.replace(NodeId(at as u32), narrow);
            let operand = b.cast(operand, dtype)?;
            if elements {
                open.elements.push((narrow, operand))
            } else {
                open.captures.push((narrow, operand))
            }
            changed = true;
        }
    }
    if changed { close_sorted(b, open) } else { Ok(None) }
}
