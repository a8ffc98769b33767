//! A stack of what a carry was is the stack of what it became, a step later.
//!
//! The gradient of a recurrent weight is a product of the states that the steps began with, over all steps. A loop that yields both these and
//! the states that the steps end with stores each twice, and the former in a kernel of their own, because nothing else makes them. Where the
//! loop begins with zeros, the product needs no more than the latter: the first step adds nothing to it.
//!
//! The liberty: a zero times what is no number, or infinite, is left out of the sum.

use super::rewrite::{Rewritten, rewrite};
use crate::graph::scan::output_name;
use crate::graph::{Builder, Dim, Graph, NodeId, Op, Scan};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A product over the steps of a loop that reads what a carry was.
#[derive(Clone, Copy)]
struct Product {
    /// Which operand that is.
    side: usize,
    /// The axis of the other operand that goes with the steps.
    other: usize,
}

/// A result of a loop: the loop, and the number of the result.
type Stack = (NodeId, usize);

pub fn run(graph: &mut Graph) -> bool {
    let mut readers: BTreeMap<Stack, Option<Vec<(NodeId, Product)>>> = BTreeMap::new();
    for id in graph.ids() {
        for (side, input) in graph.node(id).inputs.iter().enumerate() {
            let Some(stack) = old_values(graph, *input) else { continue };
            let product = product(graph, id, side).map(|product| (id, product));
            let list = readers.entry(stack).or_insert_with(|| Some(Vec::new()));
            // Who else reads it needs it as it is, and then nothing is won.
            *list = list.take().zip(product).map(|(list, product)| [list, vec![product]].concat());
        }
    }
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        if let Some(stack) = old_values(graph, *id) {
            readers.insert(stack, None);
        }
    }
    let mut products: BTreeMap<NodeId, (Product, usize)> = BTreeMap::new();
    for ((id, index), list) in readers {
        let (Some(list), Op::Scan(scan)) = (list, &mut graph.nodes[id.index()].op) else { continue };
        let Some(carry) = carry_of(scan, index) else { continue };
        let after = yielded(Arc::make_mut(scan), carry);
        products.extend(list.into_iter().map(|(contraction, product)| (contraction, (product, after))));
    }
    let mut old = 0;
    !products.is_empty()
        && rewrite(graph, |b, node| {
            let found = products.get(&NodeId(old)).copied();
            old += 1;
            found.map_or(Ok(None), |(product, after)| {
                shifted(b, &node.op, [node.inputs[0], node.inputs[1]], product, after)
            })
        })
}

/// The loop and the result that a node is, if that is the stack of the old values of a carry that begins with zeros.
fn old_values(graph: &Graph, id: NodeId) -> Option<Stack> {
    let node = graph.node(id);
    let (Op::ScanResult { index }, &[of]) = (&node.op, node.inputs.as_slice()) else { return None };
    let Op::Scan(scan) = &graph.node(of).op else { return None };
    let carry = carry_of(scan, *index)?;
    let first = *graph.node(of).inputs.get(scan.elements + carry)?;
    let steps = scan.trip.as_constant()?;
    (node.ty.dtype.is_float() && steps > 1 && is_zero(graph, first)).then_some((of, *index))
}

/// The carry whose old values a result stacks.
fn carry_of(scan: &Scan, index: usize) -> Option<usize> {
    let (_, value) = scan.body.outputs.get(index).filter(|_| index >= scan.carries)?;
    let place = scan.inputs().iter().position(|input| input == value)?;
    place.checked_sub(scan.elements).filter(|carry| *carry < scan.carries)
}

fn is_zero(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match (&node.op, node.inputs.first()) {
        (Op::Constant(value), _) => *value == 0.0,
        (Op::Broadcast { .. } | Op::Reshape | Op::Transpose { .. }, Some(from)) => is_zero(graph, *from),
        _ => false,
    }
}

/// How a node sums over the leading axis of an operand, if it is a contraction that does.
fn product(graph: &Graph, id: NodeId, side: usize) -> Option<Product> {
    let node = graph.node(id);
    let Op::Contract { sum, .. } = &node.op else { return None };
    let of = |pair: &(usize, usize)| if side == 0 { *pair } else { (pair.1, pair.0) };
    let other = sum.iter().map(of).find(|(axis, _)| *axis == 0)?.1;
    (node.inputs.first() != node.inputs.last()).then_some(Product { side, other })
}

/// The number of the result that stacks what a carry becomes.
fn yielded(scan: &mut Scan, carry: usize) -> usize {
    let outputs = &mut scan.body.outputs;
    let next = outputs[carry].1;
    let known = outputs.iter().skip(scan.carries).position(|(_, value)| *value == next);
    known.map_or_else(
        || {
            outputs.push((output_name(scan.carries, outputs.len()), next));
            outputs.len() - 1
        },
        |at| scan.carries + at,
    )
}

/// The same product of what the carry became in all steps but the last, with the other operand from the second step on.
fn shifted(b: &mut Builder, op: &Op, operands: [NodeId; 2], product: Product, after: usize) -> Rewritten {
    let Some(&of) = b.graph.node(operands[product.side]).inputs.first() else { return Ok(None) };
    let Op::Scan(scan) = &b.graph.node(of).op else { return Ok(None) };
    let (ty, backwards, steps) =
        (scan.result_type(after), scan.reversed, scan.trip.clone() - Dim::constant(1));
    let stack = b.push(Op::ScanResult { index: after }, &[of], ty)?;
    // In a loop that goes backwards, the step before is the next row.
    let (was, now) = if backwards { (1, 0) } else { (0, 1) };
    let mut cut = |id: NodeId, axis: usize, start: i64| {
        let mut ty = b.ty(id).clone();
        ty.shape[axis] = steps.clone();
        b.push(Op::Slice { axis, start: Dim::constant(start), step: 1 }, &[id], Some(ty))
    };
    let (stack, other) = (cut(stack, 0, was)?, cut(operands[1 - product.side], product.other, now)?);
    let operands = if product.side == 0 { [stack, other] } else { [other, stack] };
    b.push(op.clone(), &operands, None).map(Some)
}
