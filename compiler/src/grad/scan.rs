//! The reverse rule of a loop: a loop in the other direction that carries adjoints.
//!
//! The adjoint of one step is made in the loop's own body by the ordinary rules, with placeholders for the adjoints of what the
//! step gives. This joint graph is then cut in two. What depends on a placeholder of an adjoint is the body of the new loop: it
//! carries the adjoints of the carries, adds up those of the captures, and yields those of the elements. Where it reads the forward
//! half, cheap arithmetic is done again, and what is not cheap (contractions, `exp`, the results of inner loops; see [`is_dear`]) is
//! kept: the forward loop yields it, and the new loop reads the stack. What a step was given is kept in any case: an element lies in
//! the operand, a carry is yielded.
//!
//! The forward loop is changed in place: its new stacks come after its results, whose numbers stay. So the gradient of a
//! gradient, and a second gradient of the same loop, are nothing special.

use super::tape::Contribution;
use super::{GradientError, flows, place, sweep_from};
use crate::graph::op::{Binary, Op};
use crate::graph::open::{OpenCarry, OpenScan, copy_constant, is_constant};
use crate::graph::{Builder, Graph, Node, NodeId, Scan, TypeError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which results of a scan depend differentiably on operands of which these are known to be `wanted`; and, for each operand, whether
/// it is wanted or comes to depend on one that is.
pub(super) fn reach(scan: &Scan, wanted: &[bool]) -> (Vec<bool>, Vec<bool>) {
    let inputs = scan.inputs();
    let mut given = wanted.to_vec();
    loop {
        let mut depends = vec![false; scan.body.nodes.len()];
        for (id, wanted) in inputs.iter().zip(&given) {
            depends[id.index()] = *wanted;
        }
        flows(&scan.body, &mut depends);
        let results: Vec<bool> = scan.body.outputs.iter().map(|(_, id)| depends[id.index()]).collect();
        let mut changed = false;
        for carry in 0..scan.carries {
            if results[carry] && !given[scan.elements + carry] {
                given[scan.elements + carry] = true;
                changed = true;
            }
        }
        if !changed {
            // A carry that starts as something wanted is wanted at the end of a trip of 0.
            let results = results
                .iter()
                .enumerate()
                .map(|(at, depends)| *depends || at < scan.carries && given[scan.elements + at]);
            return (results.collect(), given);
        }
    }
}

/// What the adjoints of a scan's results, by number, contribute to its operands: (place of the operand, contribution).
pub(super) fn pull_back(
    builder: &mut Builder,
    id: NodeId,
    adjoints: &BTreeMap<usize, NodeId>,
    wanted: &[bool],
) -> Result<Vec<(usize, Contribution)>, GradientError> {
    let node = builder.graph.node(id).clone();
    let Op::Scan(scan) = &node.op else { return Ok(Vec::new()) };
    let failed = |e: TypeError| GradientError::at(&node, e.message);
    let (results, given) = reach(scan, wanted);
    let step = Step::of(scan, &results, &given, adjoints)?;

    // The forward loop yields what the reverse one reads.
    let (forward, kept) = step.forward(scan);
    builder.graph.nodes[id.index()].op = Op::Scan(Arc::new(forward.clone()));
    let mut stacks: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for (value, index) in kept {
        let ty = forward.result_type(index);
        let stack = builder.push(Op::ScanResult { index }, &[id], ty).map_err(failed)?;
        stacks.insert(value, stack);
    }

    place(builder, id);
    let (reverse, operands, grads) = step.reverse(builder, scan, &node, adjoints, &stacks).map_err(failed)?;
    let made = builder.scan(reverse, &operands).map_err(failed)?;
    Ok(grads
        .into_iter()
        .zip(made)
        .filter(|(operand, _)| wanted.get(*operand) == Some(&true))
        .map(|(operand, g)| (operand, Contribution::Whole(g)))
        .collect())
}

/// One step and its adjoint in one graph.
struct Step {
    graph: Graph,
    /// The body's inputs.
    inputs: Vec<NodeId>,
    /// Placeholders of the adjoints: (result, node).
    seeds: Vec<(usize, NodeId)>,
    /// The adjoints of the inputs: (place among the operands, node).
    adjoints: Vec<(usize, NodeId)>,
    /// Which nodes depend on a placeholder of an adjoint.
    reverse: Vec<bool>,
    /// The forward nodes that the adjoint half reads, in order, that are no constants: those that stand in the forward body.
    kept: Vec<NodeId>,
}

impl Step {
    fn of(
        scan: &Scan,
        results: &[bool],
        given: &[bool],
        adjoints: &BTreeMap<usize, NodeId>,
    ) -> Result<Step, GradientError> {
        let mut b = Builder { graph: scan.body.clone(), ..Builder::new("") };
        let inputs = scan.inputs();
        let mut seeds = Vec::new();
        for (index, (_, output)) in scan.body.outputs.iter().enumerate() {
            // A carry's adjoint comes from the next step, whether or not the last one is read.
            let read = index < scan.carries || adjoints.contains_key(&index);
            if !results[index] || !read {
                continue;
            }
            let node = b.graph.node(*output).clone();
            (b.span, b.path) = (node.span, node.path.clone());
            let name = format!("adjoint.{index}");
            let seed = b.push(Op::Input(name), &[], Some(node.ty.clone()));
            seeds.push((index, seed.map_err(|e| GradientError::at(&node, e.message))?));
        }
        let wrt: Vec<usize> = (0..inputs.len()).filter(|place| given[*place]).collect();
        let roots: Vec<(NodeId, NodeId)> =
            seeds.iter().map(|(index, seed)| (scan.body.outputs[*index].1, *seed)).collect();
        let nodes: Vec<NodeId> = wrt.iter().map(|place| inputs[*place]).collect();
        let made = sweep_from(&mut b, &roots, &nodes, false)?;
        let adjoints: Vec<(usize, NodeId)> = wrt.into_iter().zip(made).collect();

        let graph = b.graph;
        let mut reverse = vec![false; graph.nodes.len()];
        seeds.iter().for_each(|(_, seed)| reverse[seed.index()] = true);
        for (at, node) in graph.nodes.iter().enumerate() {
            reverse[at] = reverse[at] || node.inputs.iter().any(|input| reverse[input.index()]);
        }
        let mut step = Step { graph, inputs, seeds, adjoints, reverse, kept: Vec::new() };
        step.kept = step.cut();
        Ok(step)
    }

    /// Where the adjoint half is cut from the forward one.
    fn cut(&self) -> Vec<NodeId> {
        let mut needed = vec![false; self.graph.nodes.len()];
        self.adjoints.iter().for_each(|(_, g)| needed[g.index()] = true);
        let mut kept = Vec::new();
        for id in self.graph.ids().rev() {
            if !needed[id.index()] {
                continue;
            }
            let node = self.graph.node(id);
            if !self.reverse[id.index()] && self.is_kept(id) {
                kept.push(id);
            } else if !is_constant(&self.graph, id) {
                node.inputs.iter().for_each(|input| needed[input.index()] = true);
            }
        }
        kept.reverse();
        kept
    }

    /// Does the adjoint half read this forward node from outside rather than computing it?
    fn is_kept(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        !is_constant(&self.graph, id) && (matches!(node.op, Op::Input(_)) || is_dear(&node.op))
    }

    fn place_of(&self, id: NodeId) -> Option<usize> {
        self.inputs.iter().position(|input| *input == id)
    }

    /// The forward loop with a stack of each kept value that is no element and no capture: (value, number of its result).
    fn forward(&self, scan: &Scan) -> (Scan, Vec<(NodeId, usize)>) {
        let mut body = self.graph.clone();
        body.outputs = scan.body.outputs.clone();
        let mut kept = Vec::new();
        for id in &self.kept {
            let carry = scan.elements..scan.elements + scan.carries;
            if self.place_of(*id).is_some_and(|place| !carry.contains(&place)) {
                continue;
            }
            let known = body.outputs.iter().skip(scan.carries).position(|(_, output)| output == id);
            let index = match known {
                Some(at) => scan.carries + at,
                None => {
                    let index = body.outputs.len();
                    body.outputs.push((crate::graph::scan::output_name(scan.carries, index), *id));
                    index
                }
            };
            kept.push((*id, index));
        }
        // The adjoint half goes.
        let inputs = scan.inputs().len();
        crate::passes::dce::sweep(&mut body, &|name| !name.starts_with("adjoint."));
        debug_assert_eq!(body.ids().filter(|id| matches!(body.node(*id).op, Op::Input(_))).count(), inputs);
        (Scan { body, ..scan.clone() }, kept)
    }

    /// The reverse loop, its operands, and for each of its results the operand of the forward loop whose adjoint it is.
    fn reverse(
        &self,
        builder: &mut Builder,
        scan: &Scan,
        node: &Node,
        adjoints: &BTreeMap<usize, NodeId>,
        stacks: &BTreeMap<NodeId, NodeId>,
    ) -> Result<(Scan, Vec<NodeId>, Vec<usize>), TypeError> {
        let mut open = OpenScan {
            trip: scan.trip.clone(),
            reversed: !scan.reversed,
            nodes: Vec::new(),
            elements: Vec::new(),
            carries: Vec::new(),
            captures: Vec::new(),
            yields: Vec::new(),
        };
        let mut map: Vec<Option<NodeId>> = vec![None; self.graph.nodes.len()];
        let mut firsts: BTreeMap<usize, NodeId> = BTreeMap::new();
        for (index, seed) in &self.seeds {
            let like = self.graph.node(*seed);
            let place = open.placeholder(like.ty.clone(), like);
            map[seed.index()] = Some(place);
            match adjoints.get(index) {
                Some(g) if *index >= scan.carries => open.elements.push((place, *g)),
                Some(g) => drop(firsts.insert(*index, *g)),
                None => drop(firsts.insert(*index, builder.full(0.0, &like.ty)?)),
            }
        }
        for id in &self.kept {
            let like = self.graph.node(*id);
            let place = open.placeholder(like.ty.clone(), like);
            map[id.index()] = Some(place);
            let operand = self.place_of(*id).and_then(|at| node.inputs.get(at).map(|operand| (at, *operand)));
            match (stacks.get(id), operand) {
                (Some(stack), _) => open.elements.push((place, *stack)),
                (None, Some((at, operand))) if at < scan.elements => open.elements.push((place, operand)),
                (None, Some((_, operand))) => open.captures.push((place, operand)),
                (None, None) => {}
            }
        }
        // What is not kept is computed here: the adjoints, and the cheap part of the forward half.
        let mut needed = vec![false; self.graph.nodes.len()];
        self.adjoints.iter().for_each(|(_, g)| needed[g.index()] = true);
        for at in (0..self.graph.nodes.len()).rev().filter(|at| map[*at].is_none()).collect::<Vec<_>>() {
            if needed[at] {
                self.graph.nodes[at].inputs.iter().for_each(|input| needed[input.index()] = true);
            }
        }
        for at in 0..self.graph.nodes.len() {
            if !needed[at] || map[at].is_some() {
                continue;
            }
            let id = NodeId(at as u32);
            map[at] = Some(if is_constant(&self.graph, id) {
                copy_constant(&self.graph, id, &mut open.nodes)
            } else {
                let mut inner = self.graph.nodes[at].clone();
                inner.inputs = inner.inputs.iter().filter_map(|input| map[input.index()]).collect();
                open.nodes.push(inner);
                NodeId(open.nodes.len() as u32 - 1)
            });
        }
        let mapped = |id: NodeId| map[id.index()].unwrap_or(id);

        // Carries first: the adjoints of the carries, then sums for the captures.
        let mut operands = Vec::new();
        for (operand, g) in &self.adjoints {
            let Some(carry) = operand.checked_sub(scan.elements).filter(|c| *c < scan.carries) else {
                continue;
            };
            let seed = self.seeds.iter().find(|(index, _)| *index == carry);
            let (Some((_, seed)), Some(first)) = (seed, firsts.get(&carry)) else { continue };
            open.carries.push(OpenCarry { place: mapped(*seed), first: *first, next: mapped(*g) });
            operands.push(*operand);
        }
        for (operand, g) in self.adjoints.iter().filter(|(at, _)| *at >= scan.elements + scan.carries) {
            let like = self.graph.node(*g).clone();
            let place = open.placeholder(like.ty.clone(), &like);
            let next = NodeId(open.nodes.len() as u32);
            let op = Op::Binary(Binary::Add);
            open.nodes.push(Node { op, inputs: vec![place, mapped(*g)], ..like.clone() });
            open.carries.push(OpenCarry { place, first: builder.full(0.0, &like.ty)?, next });
            operands.push(*operand);
        }
        for (operand, g) in self.adjoints.iter().filter(|(at, _)| *at < scan.elements) {
            open.yields.push(mapped(*g));
            operands.push(*operand);
        }
        let (reverse, inputs) = open.close();
        Ok((reverse, inputs, operands))
    }
}

/// Is it better kept than computed again?
pub(crate) fn is_dear(op: &Op) -> bool {
    match op {
        op if op.is_call() => true,
        Op::Contract { .. } | Op::Conv(_) | Op::ConvData(_) | Op::ConvWeights(_) => true,
        Op::Reduce { .. } | Op::ArgReduce { .. } | Op::CumulativeSum { .. } | Op::Sort { .. } => true,
        Op::ScatterAdd { .. } | Op::Unwindow { .. } | Op::ScanResult { .. } | Op::Attention(_) => true,
        _ => false,
    }
}
