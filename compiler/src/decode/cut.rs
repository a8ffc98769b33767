//! What runs once: all that depends neither on the tokens nor on what is carried.
//!
//! What the step reads of it is *kept*: an output of the start and an input of the step. Views of it are made where they are read, and so are
//! constants and the model's own weights; what is computed of weights alone is computed once.

use super::carry::Carry;
use super::{Names, Parts, Sequence, dims_of, needed};
use crate::graph::op::Op;
use crate::graph::{Builder, Dim, Entry, Graph, NodeId, Symbol, TensorType, TypeError};
use std::collections::BTreeSet;
use weft_runtime::program::InputSource;

/// Both are planned for so many rows, and take any number.
const ROWS: i64 = 4;

pub fn cut(entry: &Entry, sequence: &Sequence, carries: &[Carry]) -> Result<Parts, TypeError> {
    let graph = &entry.graph;
    let late = late(graph, sequence, carries);
    let outputs = graph.outputs.iter().map(|(_, id)| *id);
    // From the end: what a step needs, and what of it is kept.
    let mut here = vec![false; graph.nodes.len()];
    // The tokens are always given: their shape says how many there are.
    let tokens = graph.ids().filter(|id| graph.node(*id).op == Op::Input(sequence.tokens.clone()));
    outputs.chain(tokens).for_each(|id| here[id.index()] = true);
    for id in graph.ids().rev().filter(|id| late[id.index()] || made_where_read(&graph.node(*id).op)) {
        if here[id.index()] {
            graph.node(id).inputs.iter().for_each(|input| here[input.index()] = true);
        }
    }
    let kept = |id: &NodeId| here[id.index()] && !late[id.index()] && !made_where_read(&graph.node(*id).op);

    let mut names = Names::of(graph);
    let mut start = Half::new(graph, "start");
    let mut step = Half::new(graph, "step");
    let mut kept_values: Vec<(String, NodeId)> = Vec::new();
    for id in graph.ids().filter(kept) {
        let node = graph.node(id);
        let name = match &node.op {
            Op::Input(name) => name.clone(),
            _ => names.fresh(node.path.to_string()),
        };
        kept_values.push((name, id));
    }
    // Symbols that only the start's inputs would tell the step.
    let mut known: BTreeSet<Symbol> = BTreeSet::new();
    let mut asked: BTreeSet<Symbol> = BTreeSet::new();
    for id in graph.ids().filter(|id| here[id.index()]) {
        let node = graph.node(id);
        let given = kept(&id) || matches!(node.op, Op::Input(_));
        if given {
            known.extend(node.ty.shape.iter().filter_map(Dim::as_symbol).cloned());
        }
        let mut ask = |dim: &Dim| {
            dim.symbols(&mut |s| {
                asked.insert(s.clone());
            });
        };
        if kept(&id) { node.ty.shape.iter().for_each(&mut ask) } else { dims_of(node, &mut ask) }
    }
    for id in graph.ids() {
        let node = graph.node(id);
        let Op::Input(name) = &node.op else { continue };
        let tells = |dim: &Dim| dim.as_symbol().is_some_and(|s| asked.contains(s) && !known.contains(s));
        if !late[id.index()] && node.ty.shape.iter().any(tells) {
            known.extend(node.ty.shape.iter().filter_map(Dim::as_symbol).cloned());
            kept_values.push((name.clone(), id));
        }
    }

    // The start: kept values, and the first of carried ones.
    let firsts = carries.iter().filter_map(|c| Some((c.name.clone(), c.first?)));
    let given: Vec<(String, NodeId)> = kept_values.iter().cloned().chain(firsts).collect();
    let inputs = graph
        .ids()
        .filter(|id| matches!(&graph.node(*id).op, Op::Input(name) if own(name, sequence, carries)));
    let before = needed(graph, given.iter().map(|(_, id)| *id).chain(inputs));
    for id in graph.ids().filter(|id| before[id.index()]) {
        start.copy(graph, id)?;
    }
    start.b.graph.outputs = given.iter().map(|(name, id)| (name.clone(), start.at(*id))).collect();
    start.inputs = entry.inputs.iter().filter(|(name, _, _)| own(name, sequence, carries)).cloned().collect();
    start.tell_rows(graph, entry, sequence)?;

    // The step: the new tokens, what is kept, what is carried.
    for id in graph.ids().filter(|id| here[id.index()]) {
        match kept_values.iter().find(|(_, kept)| *kept == id) {
            Some((name, _)) => step.input(graph, id, name, InputSource::Kept)?,
            None => match &graph.node(id).op {
                Op::Input(name) if carries.iter().any(|c| c.name == *name) => {
                    let grows = carries.iter().any(|c| c.name == *name && c.first.is_none());
                    step.input(graph, id, name, InputSource::Carried { grows })?;
                }
                Op::Input(name) => {
                    let source = entry.inputs.iter().find(|i| i.0 == *name).map(|i| i.2.clone());
                    step.input(graph, id, name, source.unwrap_or(InputSource::Caller))?;
                }
                _ => step.copy(graph, id)?,
            },
        }
    }
    for (name, id) in kept_values.iter().filter(|(_, id)| !here[id.index()]) {
        step.input(graph, *id, name, InputSource::Kept)?;
    }
    // Nearly all steps are of one token; a search follows a few rows.
    let tokens = entry.inputs.iter().find(|input| input.0 == sequence.tokens);
    if let Some(rows) = tokens.and_then(|(_, ty, _)| ty.shape.first()?.as_symbol()) {
        start.likely(rows, ROWS);
        step.likely(rows, ROWS);
    }
    step.likely(&sequence.steps, 1);
    step.b.graph.outputs = graph.outputs.iter().map(|(name, id)| (name.clone(), step.at(*id))).collect();
    for guard in &graph.guards {
        let mut of_start = true;
        let symbols_of_start = crate::graph::known_symbols(&start.b.graph);
        guard.0.symbols(&mut |s| of_start &= symbols_of_start.contains(s));
        let half = if of_start { &mut start } else { &mut step };
        half.b.graph.guards.push(guard.clone());
    }
    Ok(Parts { start: start.finish(), step: step.finish() })
}

/// Is this an input of the item itself?
fn own(name: &str, sequence: &Sequence, carries: &[Carry]) -> bool {
    name != sequence.tokens && carries.iter().all(|c| c.name != name)
}

/// What depends on the tokens, on how many there are, or on what is carried.
fn late(graph: &Graph, sequence: &Sequence, carries: &[Carry]) -> Vec<bool> {
    let mut late = vec![false; graph.nodes.len()];
    for id in graph.ids() {
        let node = graph.node(id);
        let mut depends = node.inputs.iter().any(|input| late[input.index()]);
        depends |= matches!(&node.op, Op::Input(name) if !own(name, sequence, carries));
        dims_of(node, &mut |dim| {
            dim.symbols(&mut |s| depends |= *s == sequence.steps || *s == sequence.past);
        });
        late[id.index()] = depends;
    }
    late
}

/// What costs nothing is made again, of what it is made of.
fn made_where_read(op: &Op) -> bool {
    matches!(
        op,
        Op::Variable(_)
            | Op::Constant(_)
            | Op::Table(_)
            | Op::Iota { .. }
            | Op::DimValue(_)
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Window { .. }
            | Op::Hold
    )
}

/// The symbols of inputs' shapes.
fn symbols_of(inputs: &[(String, TensorType, InputSource)]) -> BTreeSet<Symbol> {
    let mut known = BTreeSet::new();
    let mut note = |dim: &Dim| {
        dim.symbols(&mut |s| {
            known.insert(s.clone());
        });
    };
    inputs.iter().flat_map(|(_, ty, _)| &ty.shape).for_each(&mut note);
    known
}

/// One of the two entries under construction.
struct Half {
    b: Builder,
    map: Vec<Option<NodeId>>,
    inputs: Vec<(String, TensorType, InputSource)>,
}

impl Half {
    fn new(graph: &Graph, name: &str) -> Half {
        let mut b = Builder::new(format!("{}.{name}", graph.name));
        b.graph.bounds.clone_from(&graph.bounds);
        Half { b, map: vec![None; graph.nodes.len()], inputs: Vec::new() }
    }

    fn at(&self, id: NodeId) -> NodeId {
        self.map[id.index()].unwrap_or(id)
    }

    fn copy(&mut self, graph: &Graph, id: NodeId) -> Result<(), TypeError> {
        let node = graph.node(id);
        (self.b.span, self.b.path) = (node.span, node.path.clone());
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| self.at(*input)).collect();
        self.map[id.index()] = Some(self.b.push(node.op.clone(), &inputs, Some(node.ty.clone()))?);
        Ok(())
    }

    fn input(&mut self, graph: &Graph, id: NodeId, name: &str, source: InputSource) -> Result<(), TypeError> {
        let node = graph.node(id);
        (self.b.span, self.b.path) = (node.span, node.path.clone());
        self.map[id.index()] = Some(self.b.input(name, node.ty.clone())?);
        self.inputs.push((name.to_owned(), node.ty.clone(), source));
        Ok(())
    }

    /// Where nothing else says how many rows there are, the first tokens do.
    fn tell_rows(&mut self, graph: &Graph, entry: &Entry, sequence: &Sequence) -> Result<(), TypeError> {
        let known = symbols_of(&self.inputs);
        let mut told = true;
        for node in &self.b.graph.nodes {
            dims_of(node, &mut |dim| dim.symbols(&mut |s| told &= known.contains(s)));
        }
        let tokens = graph.ids().find(|id| graph.node(*id).op == Op::Input(sequence.tokens.clone()));
        let source =
            entry.inputs.iter().find(|input| input.0 == sequence.tokens).map(|input| input.2.clone());
        match (tokens, source) {
            (Some(id), Some(source)) if !told => self.input(graph, id, &sequence.tokens, source),
            _ => Ok(()),
        }
    }

    /// What a symbol mostly is, for planning.
    fn likely(&mut self, symbol: &Symbol, count: i64) {
        let bounds = &mut self.b.graph.bounds;
        if bounds.iter().all(|(known, _)| known != symbol) {
            bounds.push((symbol.clone(), count));
        }
    }

    fn finish(mut self) -> Entry {
        let known = symbols_of(&self.inputs);
        self.b.graph.bounds.retain(|(symbol, _)| known.contains(symbol));
        Entry { graph: self.b.graph, inputs: self.inputs }
    }
}
