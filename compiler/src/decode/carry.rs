//! What goes from one step to the next beside caches: where loops over the tokens ended, the last places that a window or a shift looks back
//! to, and the sum of all places.

use super::axes::{Shift, Steps, shift};
use super::{Names, Sequence, dims_of, needed};
use crate::graph::op::{Binary, Conv, Op};
use crate::graph::{Builder, DType, Dim, Graph, Node, NodeId, TensorType, TypeError};

/// A value that goes from step to step: an input and an output of this name.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    pub name: String,
    /// What the first step is given; none for what grows from nothing.
    pub first: Option<NodeId>,
}

/// The graph of a step, with what it carries.
#[derive(Debug)]
pub struct Carried {
    pub graph: Graph,
    pub places: Vec<Option<Steps>>,
    pub carries: Vec<Carry>,
}

/// Types stay as they are, and with them the axes of tokens.
pub fn carry(graph: &Graph, sequence: &Sequence, places: &[Option<Steps>]) -> Result<Carried, TypeError> {
    let mut b = Builder::new(graph.name.clone());
    b.graph.bounds.clone_from(&graph.bounds);
    // A slice along the tokens is a shift here, which looks back to earlier steps: how many tokens a step has is no matter for it.
    let of_slice = |dim: &Dim| {
        let mut along = false;
        dim.symbols(&mut |symbol| along |= *symbol == sequence.steps);
        along && dim.is_shortfall()
    };
    b.graph.guards = graph.guards.iter().filter(|(dim, ..)| !of_slice(dim)).cloned().collect();
    let carries = sequence.caches.iter().map(|name| Carry { name: name.clone(), first: None }).collect();
    let mut made = Made { b, sequence, names: Names::of(graph), carries, outputs: Vec::new() };
    let mut map: Vec<NodeId> = vec![NodeId(0); graph.nodes.len()];
    // Inputs stay: their shapes say what symbols are.
    let inputs = graph.ids().filter(|id| matches!(graph.node(*id).op, Op::Input(_)));
    let wanted = needed(graph, graph.outputs.iter().map(|(_, id)| *id).chain(inputs));
    for id in graph.ids().filter(|id| wanted[id.index()]) {
        let mut node = graph.node(id).clone();
        (made.b.span, made.b.path) = (node.span, node.path.clone());
        let steps = node.inputs.first().and_then(|x| places[x.index()].clone());
        let shift = shift(graph, &node, sequence);
        let shift =
            shift.filter(|shift| places[shift.from.index()].as_ref().is_some_and(|s| s.axis == shift.axis));
        let shift = shift.map(|shift| Shift { from: map[shift.from.index()], ..shift });
        node.inputs.iter_mut().for_each(|input| *input = map[input.index()]);
        map[id.index()] = made.node(node, steps, shift)?;
    }
    let old = graph.outputs.iter().map(|(name, id)| (name.clone(), map[id.index()]));
    let outputs: Vec<(String, NodeId)> = old.chain(std::mem::take(&mut made.outputs)).collect();
    made.b.graph.outputs = outputs;
    made.count()?;
    let mut moved = vec![None; made.b.graph.nodes.len()];
    for id in graph.ids().filter(|id| wanted[id.index()]) {
        moved[map[id.index()].index()].clone_from(&places[id.index()]);
    }
    Ok(Carried { graph: made.b.graph, places: moved, carries: made.carries })
}

struct Made<'s> {
    b: Builder,
    sequence: &'s Sequence,
    names: Names,
    carries: Vec<Carry>,
    outputs: Vec<(String, NodeId)>,
}

impl Made<'_> {
    /// The node as a step has it; `steps` is the axis of its first input, `shift` what it does to that.
    fn node(&mut self, node: Node, steps: Option<Steps>, shift: Option<Shift>) -> Result<NodeId, TypeError> {
        match &node.op {
            Op::Scan(scan) if scan.trip == self.sequence.steps() => {
                let mut operands = node.inputs.clone();
                let mut names = Vec::new();
                for operand in operands.iter_mut().skip(scan.elements).take(scan.carries) {
                    let name = self.names.fresh(format!("{}.carry", self.b.path));
                    let input = self.b.input(&name, self.b.ty(*operand).clone())?;
                    let first = std::mem::replace(operand, input);
                    self.carries.push(Carry { name: name.clone(), first: Some(first) });
                    names.push(name);
                }
                let made = self.b.push(node.op.clone(), &operands, None)?;
                for (index, name) in names.into_iter().enumerate() {
                    let last = self.b.push(Op::ScanResult { index }, &[made], scan.result_type(index))?;
                    self.outputs.push((name, last));
                }
                Ok(made)
            }
            Op::Pad { amounts, value } => {
                let axis = shift.map(|shift| shift.axis).or(steps.map(|steps| steps.axis));
                let before = axis.and_then(|axis| Some((axis, amounts.get(axis)?.0.as_constant()?)));
                let (Some((axis, before @ 1..)), &[x]) = (before, node.inputs.as_slice()) else {
                    return self.same(node);
                };
                let mut rest = amounts.clone();
                rest[axis].0 = Dim::constant(0);
                let x = shift.map_or(x, |shift| shift.from);
                let x = self.b.push(Op::Pad { amounts: rest, value: *value }, &[x], None)?;
                let all = self.behind(x, axis, before, *value)?;
                if shift.is_none() {
                    return Ok(all);
                }
                // What the next step needs lies among the last places, which are left out here.
                let kept = Op::Slice { axis, start: Dim::constant(0), step: 1 };
                self.b.push(kept, &[all], Some(node.ty))
            }
            Op::CumulativeSum { axis, exclusive, .. } => match (steps, node.inputs.as_slice()) {
                (Some(steps), &[x]) if steps.axis == *axis => self.summed(&node, x, *axis, *exclusive),
                _ => self.same(node),
            },
            Op::Conv(conv) => {
                let before = steps.and_then(|s| {
                    let at = s.axis.checked_sub(1)?;
                    Some((s.axis, at, conv.padding.get(at)?.0.as_constant()?))
                });
                let (Some((axis, at, before @ 1..)), &[x, w]) = (before, node.inputs.as_slice()) else {
                    return self.same(node);
                };
                let x = self.behind(x, axis, before, 0.0)?;
                let mut padding = conv.padding.clone();
                padding[at].0 = Dim::constant(0);
                self.b.push(Op::Conv(Conv { padding, ..conv.clone() }), &[x, w], Some(node.ty))
            }
            _ => self.same(node),
        }
    }

    fn same(&mut self, node: Node) -> Result<NodeId, TypeError> {
        self.b.push(node.op, &node.inputs, Some(node.ty))
    }

    /// `x` with so many earlier places in front: at first they are all `value`, then what the step before had last.
    fn behind(&mut self, x: NodeId, axis: usize, count: i64, value: f64) -> Result<NodeId, TypeError> {
        let mut ty = self.b.ty(x).clone();
        ty.shape[axis] = Dim::constant(count);
        let first = self.b.full(value, &ty)?;
        let name = self.names.fresh(format!("{}.before", self.b.path));
        let before = self.b.input(&name, ty.clone())?;
        let all = self.b.push(Op::Concat { axis }, &[before, x], None)?;
        // The next step's first place comes after as many places as are new.
        let next = Op::Slice { axis, start: self.sequence.steps(), step: 1 };
        let next = self.b.push(next, &[all], Some(ty))?;
        self.outputs.push((name.clone(), next));
        self.carries.push(Carry { name, first: Some(first) });
        Ok(all)
    }

    /// Sums that go on from that of all earlier places.
    fn summed(&mut self, node: &Node, x: NodeId, axis: usize, exclusive: bool) -> Result<NodeId, TypeError> {
        let mut ty = node.ty.clone();
        ty.shape[axis] = Dim::constant(1);
        let first = self.b.full(0.0, &ty)?;
        let name = self.names.fresh(format!("{}.sum", self.b.path));
        let before = self.b.input(&name, ty.clone())?;
        let new = self.b.push(node.op.clone(), &[x], Some(node.ty.clone()))?;
        let stretch = Op::Broadcast { axes: (0..node.ty.rank()).collect() };
        let stretched = self.b.push(stretch, &[before], Some(node.ty.clone()))?;
        let sums = self.b.push(Op::Binary(Binary::Add), &[stretched, new], None)?;
        let last = Op::Slice { axis, start: self.sequence.steps() - Dim::constant(1), step: 1 };
        let mut next = self.b.push(last.clone(), &[sums], Some(ty.clone()))?;
        if exclusive {
            // The last place's own element is in no sum yet.
            let own = self.b.push(last, &[x], Some(ty))?;
            next = self.b.push(Op::Binary(Binary::Add), &[next, own], None)?;
        }
        self.outputs.push((name.clone(), next));
        self.carries.push(Carry { name, first: Some(first) });
        Ok(sums)
    }

    /// Where nothing that grows tells how many tokens came before, but somebody asks, their places are carried.
    fn count(&mut self) -> Result<(), TypeError> {
        let past = Dim::symbol(self.sequence.past.clone());
        let nodes = &self.b.graph.nodes;
        let told = nodes.iter().any(|n| matches!(n.op, Op::Input(_)) && n.ty.shape.contains(&past));
        let mut asked = false;
        for node in nodes {
            dims_of(node, &mut |dim| dim.symbols(&mut |s| asked |= *s == self.sequence.past));
        }
        if told || !asked {
            return Ok(());
        }
        let vector = |extent: Dim| TensorType::new(DType::I32, [extent]);
        let all = past.clone() + self.sequence.steps();
        let name = self.names.fresh("positions".to_owned());
        let before = self.b.input(&name, vector(past.clone()))?;
        let count = self.b.push(Op::Iota { axis: 0 }, &[], Some(vector(all)))?;
        let new = Op::Slice { axis: 0, start: past, step: 1 };
        let new = self.b.push(new, &[count], Some(vector(self.sequence.steps())))?;
        let grown = self.b.push(Op::Concat { axis: 0 }, &[before, new], None)?;
        self.b.graph.outputs.push((name.clone(), grown));
        self.carries.push(Carry { name, first: None });
        Ok(())
    }
}
