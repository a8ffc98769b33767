//! Of the logits, those after the last token alone: what only they need is computed for one place.

use super::axes::Steps;
use super::{Sequence, needed};
use crate::graph::op::Op;
use crate::graph::{Builder, Dim, Graph, Node, NodeId, TensorType, TypeError};

/// The graph with the logits `[n, …]` in place of `[n, steps, …]`. What other outputs need at all places is computed there once.
pub fn last(graph: &Graph, sequence: &Sequence, places: &[Option<Steps>]) -> Result<Graph, TypeError> {
    let Some((place, &(_, logits))) =
        graph.outputs.iter().enumerate().find(|(_, (name, _))| *name == sequence.logits)
    else {
        return Ok(graph.clone());
    };
    let others = graph.outputs.iter().filter(|(name, _)| *name != sequence.logits).map(|(_, id)| *id);
    let whole = needed(graph, others);
    // From the end: which nodes are asked for at the last place.
    let mut asked = vec![false; graph.nodes.len()];
    asked[logits.index()] = true;
    for id in graph.ids().rev() {
        let at = id.index();
        if asked[at]
            && (!whole[at] || still(graph.node(id), places))
            && goes_through(graph.node(id), places, id)
        {
            let inputs = &graph.node(id).inputs;
            inputs.iter().filter(|x| places[x.index()].is_some()).for_each(|x| asked[x.index()] = true);
        }
    }
    let mut b = Builder::new("");
    b.graph = graph.clone();
    let mut at_last: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    for id in graph.ids().filter(|id| asked[id.index()]) {
        let (node, Some(steps)) = (graph.node(id), &places[id.index()]) else { continue };
        (b.span, b.path) = (node.span, node.path.clone());
        let through = (!whole[id.index()] || still(node, places)) && goes_through(node, places, id);
        let one = one(&node.ty, steps, sequence);
        at_last[id.index()] = Some(if through {
            let inputs: Vec<NodeId> = node.inputs.iter().map(|x| at_last[x.index()].unwrap_or(*x)).collect();
            let op = match &node.op {
                // The newest of all places.
                Op::Slice { axis, start, step } if *axis == steps.axis => {
                    let start = start.clone() + node.ty.shape[*axis].clone() - Dim::constant(1);
                    Op::Slice { axis: *axis, start, step: *step }
                }
                op => op.clone(),
            };
            b.push(op, &inputs, Some(one))?
        } else {
            cut(&mut b, id, steps, one, sequence)?
        });
    }
    let id = at_last[logits.index()].unwrap_or(logits);
    let mut shape = b.ty(id).shape.clone();
    if let Some(steps) = &places[logits.index()] {
        shape.remove(steps.axis);
    }
    (b.span, b.path) = (graph.node(logits).span, graph.node(logits).path.clone());
    b.graph.outputs[place].1 = b.reshape(id, &shape)?;
    Ok(b.graph)
}

/// Is it made of what has no places, at no cost? Then it is made for the last place, whoever needs it for all.
fn still(node: &Node, places: &[Option<Steps>]) -> bool {
    matches!(node.op, Op::Broadcast { .. } | Op::Slice { .. } | Op::Iota { .. })
        && node.inputs.iter().all(|x| places[x.index()].is_none())
}

/// Is the result at the last place that of the same operation on inputs at the last place?
fn goes_through(node: &Node, places: &[Option<Steps>], id: NodeId) -> bool {
    let Some(steps) = &places[id.index()] else { return false };
    let first = node.inputs.first().and_then(|x| places[x.index()].as_ref());
    match &node.op {
        Op::Input(_) | Op::Random { .. } | Op::Scan(_) | Op::ScanResult { .. } => false,
        Op::Attention(_) | Op::ConvData(_) | Op::ConvWeights(_) | Op::Unwindow { .. } => false,
        Op::Conv(_) => steps.axis == 0,
        // Where it is no place of the input that is cut out, the operation is the same.
        Op::Slice { axis, .. } => *axis != steps.axis || first.is_none(),
        Op::Window { axis, size, .. } => !(*axis..axis + size.len()).contains(&steps.axis),
        Op::Pad { amounts, .. } => {
            amounts.get(steps.axis).is_some_and(|(before, after)| before.is(0) && after.is(0))
        }
        Op::Concat { axis } => *axis != steps.axis,
        _ => true,
    }
}

/// The type with one token.
fn one(ty: &TensorType, steps: &Steps, sequence: &Sequence) -> TensorType {
    let mut one = ty.clone();
    if let Some(extent) = one.shape.get_mut(steps.axis) {
        // Where other axes were joined to that of the tokens, they are left.
        let joined = extent.exact_div(&sequence.steps()).filter(|_| steps.behind == 0);
        *extent = joined.unwrap_or(Dim::constant(1));
    }
    one
}

/// A node that is there at all places, at the last one.
fn cut(
    b: &mut Builder,
    id: NodeId,
    steps: &Steps,
    one: TensorType,
    sequence: &Sequence,
) -> Result<NodeId, TypeError> {
    let ty = b.ty(id).clone();
    let extent = ty.shape[steps.axis].clone();
    let slice = |axis: usize, extent: Dim| Op::Slice { axis, start: extent - Dim::constant(1), step: 1 };
    if one.shape[steps.axis].is(1) {
        return b.push(slice(steps.axis, extent), &[id], Some(one));
    }
    let inner = steps.inner.clone().unwrap_or(Dim::constant(1));
    let outer = extent.exact_div(&(sequence.steps() * inner.clone())).unwrap_or(Dim::constant(1));
    let apart = |count: Dim| {
        let mut shape = ty.shape.clone();
        shape.splice(steps.axis..=steps.axis, [outer.clone(), count, inner.clone()]);
        shape
    };
    let apart_all = b.reshape(id, &apart(sequence.steps()))?;
    let cut = TensorType::new(ty.dtype, apart(Dim::constant(1)));
    let cut = b.push(slice(steps.axis + 1, sequence.steps()), &[apart_all], Some(cut))?;
    b.reshape(cut, &one.shape)
}
