//! A loop taken apart, to be changed and put together again.
//!
//! A [`Scan`] has its inputs and outputs in a fixed order and under fixed names. Whoever makes or changes one works on an
//! [`OpenScan`] instead: nodes in any order, among them *placeholders* that stand for what a step is given, each beside the outer
//! node that gives it. [`OpenScan::close`] brings this into form and leaves out what nothing needs.

use super::dim::Dim;
use super::op::Op;
use super::scan::{input_name, output_name};
use super::{Graph, Node, NodeId, Scan, TensorType};
use std::sync::Arc;

/// See the module. The first id of each pair, and [`OpenCarry::place`], are of [`OpenScan::nodes`]; operands are of the outer graph.
#[derive(Clone, Debug)]
pub struct OpenScan {
    pub trip: Dim,
    pub reversed: bool,
    /// Placeholders, and what they are made of, with inputs before their users.
    pub nodes: Vec<Node>,
    /// (placeholder, operand)
    pub elements: Vec<(NodeId, NodeId)>,
    pub carries: Vec<OpenCarry>,
    /// (placeholder, operand)
    pub captures: Vec<(NodeId, NodeId)>,
    pub yields: Vec<NodeId>,
}

/// A value that goes from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCarry {
    /// What stands for it within a step.
    pub place: NodeId,
    /// The operand that it starts with.
    pub first: NodeId,
    /// What it is at the end of a step.
    pub next: NodeId,
}

impl OpenScan {
    /// Takes a scan on these operands apart.
    pub fn of(scan: &Scan, operands: &[NodeId]) -> OpenScan {
        let mut given = scan.inputs().into_iter().zip(operands.iter().copied());
        let elements = given.by_ref().take(scan.elements).collect();
        let mut results = scan.body.outputs.iter().map(|(_, id)| *id);
        let firsts = given.by_ref().take(scan.carries);
        let carries =
            firsts.zip(results.by_ref()).map(|((place, first), next)| OpenCarry { place, first, next });
        let carries = carries.collect();
        let (captures, yields) = (given.collect(), results.collect());
        let (trip, reversed, nodes) = (scan.trip.clone(), scan.reversed, scan.body.nodes.clone());
        OpenScan { trip, reversed, nodes, elements, carries, captures, yields }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// A new placeholder of this type.
    pub fn placeholder(&mut self, ty: TensorType, like: &Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let op = Op::Input(format!("place.{}", id.0));
        self.nodes.push(Node { op, inputs: Vec::new(), ty, span: like.span, path: like.path.clone() });
        id
    }

    /// Another node takes the place of one, wherever that is read.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        let swap = |id: &mut NodeId| {
            if *id == old {
                *id = new;
            }
        };
        self.nodes.iter_mut().flat_map(|n| &mut n.inputs).for_each(swap);
        self.carries.iter_mut().map(|c| &mut c.next).for_each(swap);
        self.yields.iter_mut().for_each(swap);
    }

    /// Puts inputs before their users again, after [`OpenScan::replace`].
    pub fn sort(&mut self) {
        let mut map: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        let mut order: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for root in 0..self.nodes.len() {
            let mut stack = vec![root];
            while let Some(&at) = stack.last() {
                let waits = self.nodes[at].inputs.iter().find(|input| map[input.index()].is_none());
                match waits {
                    Some(input) if map[at].is_none() => stack.push(input.index()),
                    _ => {
                        stack.pop();
                        if map[at].is_none() {
                            map[at] = Some(NodeId(order.len() as u32));
                            order.push(at);
                        }
                    }
                }
            }
        }
        let mapped = |id: &mut NodeId| *id = map[id.index()].unwrap_or(*id);
        let mut nodes: Vec<Node> = order.iter().map(|at| self.nodes[*at].clone()).collect();
        nodes.iter_mut().flat_map(|n| &mut n.inputs).for_each(mapped);
        self.nodes = nodes;
        self.elements.iter_mut().chain(&mut self.captures).for_each(|pair| mapped(&mut pair.0));
        self.carries.iter_mut().flat_map(|c| [&mut c.place, &mut c.next]).for_each(mapped);
        self.yields.iter_mut().for_each(mapped);
    }

    /// What depends on one of these nodes, and they themselves.
    pub fn dependents(&self, of: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
        let mut depends = vec![false; self.nodes.len()];
        of.into_iter().for_each(|id| depends[id.index()] = true);
        for (at, node) in self.nodes.iter().enumerate() {
            depends[at] = depends[at] || node.inputs.iter().any(|input| depends[input.index()]);
        }
        depends
    }

    /// What these nodes need, and they themselves.
    pub fn needs(&self, of: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        of.into_iter().for_each(|id| needed[id.index()] = true);
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if needed[at] {
                node.inputs.iter().for_each(|input| needed[input.index()] = true);
            }
        }
        needed
    }

    /// The scan in its form, and its operands. Elements and captures that no carry and no yield needs are left out.
    pub fn close(self) -> (Scan, Vec<NodeId>) {
        let outputs: Vec<NodeId> = self.carries.iter().map(|c| c.next).chain(self.yields.clone()).collect();
        let needed = self.needs(outputs.iter().copied());
        let used = |pairs: &[(NodeId, NodeId)]| -> Vec<(NodeId, NodeId)> {
            pairs.iter().copied().filter(|(place, _)| needed[place.index()]).collect()
        };
        let (elements, captures) = (used(&self.elements), used(&self.captures));
        let carried = self.carries.iter().map(|c| (c.place, c.first));
        let given: Vec<(NodeId, NodeId)> = elements.iter().copied().chain(carried).chain(captures).collect();
        let mut map: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        let mut body = Graph::default();
        for (at, (place, _)) in given.iter().enumerate() {
            let mut node = self.nodes[place.index()].clone();
            node.op = Op::Input(input_name(elements.len(), self.carries.len(), at));
            map[place.index()] = Some(NodeId(at as u32));
            body.nodes.push(node);
        }
        for (at, mut node) in self.nodes.into_iter().enumerate() {
            if needed[at] && map[at].is_none() {
                let inputs = node.inputs.iter().filter_map(|input| map[input.index()]).collect();
                node.inputs = inputs;
                map[at] = Some(NodeId(body.nodes.len() as u32));
                body.nodes.push(node);
            }
        }
        let named =
            |(at, id): (usize, &NodeId)| map[id.index()].map(|id| (output_name(self.carries.len(), at), id));
        body.outputs = outputs.iter().enumerate().filter_map(named).collect();
        let operands = given.into_iter().map(|(_, operand)| operand).collect();
        let (elements, carries) = (elements.len(), self.carries.len());
        (Scan { trip: self.trip, reversed: self.reversed, elements, carries, body }, operands)
    }
}

/// The part of a graph that becomes a loop's body: the nodes from `from` on that depend on a placeholder. What they read besides is
/// captured, each node once; constants are copied.
///
/// `elements` and `carries` are placeholders in the graph with their operands; the operands, and all outputs, are of the same graph.
pub fn outline(
    graph: &Graph,
    from: usize,
    (trip, reversed): (Dim, bool),
    elements: &[(NodeId, NodeId)],
    carries: &[OpenCarry],
    yields: &[NodeId],
) -> (Scan, Vec<NodeId>) {
    let mut inside = vec![false; graph.nodes.len()];
    let mut stands = vec![false; graph.nodes.len()];
    for place in elements.iter().map(|e| e.0).chain(carries.iter().map(|c| c.place)) {
        inside[place.index()] = true;
        stands[place.index()] = true;
    }
    for at in from..graph.nodes.len() {
        inside[at] = inside[at] || graph.nodes[at].inputs.iter().any(|input| inside[input.index()]);
    }
    let mut open = OpenScan {
        trip,
        reversed,
        nodes: Vec::new(),
        elements: Vec::new(),
        carries: Vec::new(),
        captures: Vec::new(),
        yields: Vec::new(),
    };
    let mut map: Vec<Option<NodeId>> = vec![None; graph.nodes.len()];
    let roots: Vec<NodeId> = carries.iter().map(|c| c.next).chain(yields.iter().copied()).collect();
    // What the roots need, seen from the end; only it is looked at.
    let mut wanted = vec![false; graph.nodes.len()];
    roots.iter().for_each(|id| wanted[id.index()] = true);
    elements.iter().for_each(|e| wanted[e.0.index()] = true);
    carries.iter().for_each(|c| wanted[c.place.index()] = true);
    for at in (from..graph.nodes.len()).rev() {
        if wanted[at] && inside[at] && !stands[at] {
            graph.nodes[at].inputs.iter().for_each(|input| wanted[input.index()] = true);
        }
    }
    for at in (0..graph.nodes.len()).filter(|at| wanted[*at]) {
        if inside[at] {
            let mut node = graph.nodes[at].clone();
            // Whatever a placeholder is in the graph, a step is given it.
            node.inputs.retain(|_| !stands[at]);
            node.inputs = node.inputs.iter().filter_map(|input| map[input.index()]).collect();
            map[at] = Some(NodeId(open.nodes.len() as u32));
            open.nodes.push(node);
        } else if is_constant(graph, NodeId(at as u32)) {
            map[at] = Some(copy_constant(graph, NodeId(at as u32), &mut open.nodes));
        } else {
            let node = graph.nodes[at].clone();
            let place = open.placeholder(node.ty.clone(), &node);
            open.captures.push((place, NodeId(at as u32)));
            map[at] = Some(place);
        }
    }
    let mapped = |id: NodeId| map[id.index()].unwrap_or(id);
    open.elements = elements.iter().map(|(place, operand)| (mapped(*place), *operand)).collect();
    open.carries = carries
        .iter()
        .map(|c| OpenCarry { place: mapped(c.place), first: c.first, next: mapped(c.next) })
        .collect();
    open.yields = yields.iter().map(|id| mapped(*id)).collect();
    open.close()
}

/// Is it made of constants alone by operations that cost nothing? Such a value is better made where it is read.
pub fn is_constant(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match node.op {
        Op::Constant(_) | Op::DimValue(_) | Op::Iota { .. } => true,
        Op::Table(ref values) => values.len() <= 16,
        Op::Broadcast { .. } | Op::Reshape | Op::Cast => node.inputs.iter().all(|x| is_constant(graph, *x)),
        _ => false,
    }
}

/// Copies such a value, with what it is made of.
pub fn copy_constant(graph: &Graph, id: NodeId, into: &mut Vec<Node>) -> NodeId {
    let mut node = graph.node(id).clone();
    node.inputs = node.inputs.iter().map(|input| copy_constant(graph, *input, into)).collect();
    into.push(node);
    NodeId(into.len() as u32 - 1)
}

/// The scan that a node is.
pub fn scan_of(graph: &Graph, id: NodeId) -> Option<Arc<Scan>> {
    match &graph.nodes.get(id.index())?.op {
        Op::Scan(scan) => Some(scan.clone()),
        _ => None,
    }
}
