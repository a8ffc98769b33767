//! The graph that is being built, and what belongs to it alone: inputs, the variables it reads, the new values they get.

use super::decode::Decoding;
use super::scan::{Finals, Turn};
use super::trail::Trail;
use super::value::Tensor;
use crate::graph::dim::Atom;
use crate::graph::{Builder, DType, Dim, Entry, Graph, NodeId, Op, Symbol, TensorType};
use std::collections::{BTreeMap, HashMap};
use weft_grammar::Span;
use weft_runtime::program::{Encoding, InputSource};

/// Everything about the entry under construction.
#[derive(Debug)]
pub struct Context {
    /// Tells its tensors from those of other graphs.
    pub id: u32,
    pub builder: Builder,
    /// The compile-time `training`.
    pub training: bool,
    inputs: Vec<(String, TensorType, InputSource)>,
    nodes: HashMap<String, NodeId>,
    /// Variables read so far.
    pub reads: BTreeMap<String, NodeId>,
    /// The newest value of each variable that got one, in order of the first update.
    updates: Vec<(String, NodeId)>,
    /// Facts: symbols that are known to be multiples of a number.
    pub multiples: BTreeMap<Symbol, i64>,
    /// What each symbol is, in words, and the place that bound it.
    pub symbols: BTreeMap<Symbol, (String, Span)>,
    /// What the user's text made so far.
    pub trail: Trail,
    /// How long each row of an input is that is as long as the longest row of a batch.
    pub lengths: HashMap<NodeId, NodeId>,
    /// The vocabulary of inputs that are tokens, and how many tokens it has.
    pub vocabulary_sizes: HashMap<NodeId, (String, usize)>,
    /// Inputs that are tokens, with the text that each is made of and how.
    pub encodings: Vec<(String, String, Encoding)>,
    /// How many texts each input of texts has.
    pub texts: Vec<Dim>,
    /// How often each random stream was drawn from, so that no two draws of one entry are the same.
    streams: HashMap<String, u32>,
    /// The scans whose bodies are under elaboration, from the outermost.
    pub turns: Vec<Turn>,
    /// What stood for a step's values in the bodies of scans.
    pub places: Vec<NodeId>,
    /// The final carries of the scan that gave a tensor.
    pub finals: HashMap<NodeId, Finals>,
    /// The sequence that is written step by step, if one is.
    pub decoding: Option<Decoding>,
}

/// What is known about the equality of two dims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Equal,
    Differ,
    Unknown,
}

impl Context {
    pub fn new(id: u32, name: impl Into<String>, training: bool) -> Context {
        Context {
            id,
            builder: Builder::new(name),
            training,
            inputs: Vec::new(),
            nodes: HashMap::new(),
            reads: BTreeMap::new(),
            updates: Vec::new(),
            multiples: BTreeMap::new(),
            symbols: BTreeMap::new(),
            trail: Trail::default(),
            lengths: HashMap::new(),
            vocabulary_sizes: HashMap::new(),
            encodings: Vec::new(),
            texts: Vec::new(),
            streams: HashMap::new(),
            turns: Vec::new(),
            places: Vec::new(),
            finals: HashMap::new(),
            decoding: None,
        }
    }

    pub fn tensor(&self, node: NodeId) -> Tensor {
        Tensor { graph: self.id, node }
    }

    /// The node of an input, made at its first use.
    pub fn input(
        &mut self,
        name: &str,
        ty: TensorType,
        source: InputSource,
    ) -> Result<NodeId, crate::graph::TypeError> {
        if let Some(node) = self.nodes.get(name) {
            return Ok(*node);
        }
        let node = self.builder.input(name, ty.clone())?;
        self.inputs.push((name.to_owned(), ty, source));
        self.nodes.insert(name.to_owned(), node);
        Ok(node)
    }

    /// The input that a node is: name, type, source.
    pub fn input_of(&self, node: NodeId) -> Option<&(String, TensorType, InputSource)> {
        let (name, _) = self.nodes.iter().find(|(_, input)| **input == node)?;
        self.inputs.iter().find(|(input, ..)| input == name)
    }

    /// Takes the tokens of texts that no output depends on out of the inputs: somebody else reads these texts.
    pub fn drop_unread_texts(&mut self) {
        let graph = &mut self.builder.graph;
        let mut read = vec![false; graph.nodes.len()];
        for (_, id) in &graph.outputs {
            if let Some(slot) = read.get_mut(id.index()) {
                *slot = true;
            }
        }
        let mut symbols: Vec<Symbol> = Vec::new();
        for (at, node) in
            graph.nodes.iter().enumerate().rev().filter(|(_, node)| !matches!(node.op, Op::Input(_)))
        {
            if read.get(at) != Some(&true) {
                continue;
            }
            node.ty.shape.iter().for_each(|dim| dim.symbols(&mut |symbol| symbols.push(symbol.clone())));
            for input in &node.inputs {
                if let Some(slot) = read.get_mut(input.index()) {
                    *slot = true;
                }
            }
        }
        let nodes = &self.nodes;
        let places = &mut self.places;
        let bounds = &mut graph.bounds;
        self.inputs.retain(|(name, ty, source)| {
            let of_text = matches!(source, InputSource::Tokens { .. } | InputSource::Lengths { .. });
            let node = nodes.get(name).filter(|node| of_text && read.get(node.index()) == Some(&false));
            let length = ty.shape.get(1).and_then(Dim::as_symbol);
            let Some(node) = node.filter(|_| length.is_none_or(|length| !symbols.contains(length))) else {
                return true;
            };
            places.push(*node);
            bounds.retain(|(symbol, _)| Some(symbol) != length);
            false
        });
    }

    /// The number of rows, as the first input says it that has some.
    pub fn rows(&self) -> Option<Dim> {
        let texts = self.texts.first().cloned();
        let tensors = || {
            self.inputs
                .iter()
                .find_map(|(_, ty, _)| ty.shape.first().filter(|d| d.as_symbol().is_some()).cloned())
        };
        texts.or_else(tensors)
    }

    /// The seed and batch number that all random streams start from.
    pub fn random(&mut self) -> Result<NodeId, crate::graph::TypeError> {
        self.input("random", TensorType::new(DType::I64, vec![Dim::constant(2)]), InputSource::Random)
    }

    /// A key that no other draw of this entry has: the path, and a number from the second draw on.
    pub fn stream(&mut self, key: String) -> String {
        let count = self.streams.entry(key.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { key } else { format!("{key}#{count}") }
    }

    /// A variable's newest value: what an update gave it, else what it had when the entry started.
    pub fn read(&mut self, path: &str, ty: &TensorType) -> Result<NodeId, crate::graph::TypeError> {
        if let Some((_, node)) = self.updates.iter().find(|(p, _)| p == path) {
            return Ok(*node);
        }
        if let Some(node) = self.reads.get(path) {
            return Ok(*node);
        }
        let node = self.builder.push(Op::Variable(path.to_owned()), &[], Some(ty.clone()))?;
        self.reads.insert(path.to_owned(), node);
        Ok(node)
    }

    pub fn update(&mut self, path: &str, node: NodeId) {
        match self.updates.iter_mut().find(|(p, _)| p == path) {
            Some(slot) => slot.1 = node,
            None => self.updates.push((path.to_owned(), node)),
        }
    }

    pub fn updated(&self, path: &str) -> Option<NodeId> {
        self.updates.iter().find(|(p, _)| p == path).map(|(_, n)| *n)
    }

    pub fn output(&mut self, name: impl Into<String>, node: NodeId) {
        self.builder.graph.outputs.push((name.into(), node));
    }

    /// Must be 0 when dims bind.
    pub fn guard(&mut self, value: Dim, message: String, span: Span) {
        let guards = &mut self.builder.graph.guards;
        if !guards.iter().any(|(v, _, _)| *v == value) {
            guards.push((value, message, span));
        }
    }

    /// Must be 0 or more when dims bind. `what` says what for, as the end of a sentence: "for this slice of f32[n, t]".
    pub fn guard_not_negative(&mut self, dim: &Dim, what: &str, span: Span) {
        if self.simplify(dim).least().is_some_and(|least| least >= 0) {
            return;
        }
        let constant: i64 = dim.terms().filter(|(monomial, _)| monomial.is_empty()).map(|(_, c)| c).sum();
        let rest = dim.clone() - Dim::constant(constant);
        let message = match rest.as_symbol() {
            Some(symbol) => format!("`{symbol}` must be {} or more {what}", constant.saturating_neg()),
            None => format!("`{dim}` must be 0 or more {what}"),
        };
        self.guard(dim.shortfall(), message, span);
    }

    pub fn decide(&self, a: &Dim, b: &Dim) -> Decision {
        if a == b {
            return Decision::Equal;
        }
        let difference = self.simplify(&(a.clone() - b.clone()));
        match difference.as_constant() {
            Some(0) => Decision::Equal,
            Some(_) => Decision::Differ,
            None if self.never_zero(&difference) => Decision::Differ,
            None => Decision::Unknown,
        }
    }

    /// As [`Context::decide`], of an axis and what it is declared as: 1 is written for an axis that may be stretched, so a symbol beside it is
    /// never meant to be 1. (`f32[n, 1]` minus `f32[n]` is `f32[n, n]`: far from what its author wants, and no matter for the first batch.)
    pub fn decide_axis(&self, a: &Dim, b: &Dim) -> Decision {
        let stretched = |x: &Dim, y: &Dim| x.is(1) && y.as_symbol().is_some();
        match self.decide(a, b) {
            Decision::Unknown if stretched(a, b) || stretched(b, a) => Decision::Differ,
            decision => decision,
        }
    }

    /// Symbols are 1 or more, so that a sum whose terms have one sign is never 0. And a batch has as many rows as are left, so its
    /// number of rows is never a number that the spec states.
    fn never_zero(&self, difference: &Dim) -> bool {
        let symbols = |monomial: &[Atom]| monomial.iter().all(|atom| matches!(atom, Atom::Symbol(_)));
        let batch = |monomial: &[Atom]| match monomial {
            [] => true,
            [Atom::Symbol(name)] => self.builder.graph.bounds.iter().any(|(bounded, _)| bounded == name),
            _ => false,
        };
        let one_sign = |sign: i64| difference.terms().all(|(m, c)| symbols(m) && c.signum() == sign);
        one_sign(1) || one_sign(-1) || difference.terms().all(|(monomial, _)| batch(monomial))
    }

    /// The dim under the facts: each symbol that is a multiple of `k` is written as `k * …`.
    pub fn simplify(&self, dim: &Dim) -> Dim {
        if self.multiples.is_empty() {
            return dim.clone();
        }
        dim.substitute(&|name| {
            let k = self.multiples.get(name)?;
            Some(Dim::constant(*k) * Dim::symbol(format!("{name}/{k}")))
        })
    }

    /// Does a node depend on what stands for a step's values in the body of a scan?
    pub fn in_turn(&self, node: NodeId) -> bool {
        let graph = &self.builder.graph;
        let mut wanted = vec![false; node.index() + 1];
        wanted[node.index()] = true;
        for at in (0..=node.index()).rev() {
            if wanted[at] {
                if self.places.contains(&NodeId(at as u32)) {
                    return true;
                }
                graph.nodes[at].inputs.iter().for_each(|input| wanted[input.index()] = true);
            }
        }
        false
    }

    /// The finished entry. `keeps` tells which variables it may write.
    pub fn finish(self, keeps: impl Fn(&str) -> bool) -> Entry {
        let mut graph = self.builder.graph;
        graph.updates = self.updates.into_iter().filter(|(path, _)| keeps(path)).collect();
        drop_with_users(&mut graph, &self.places);
        Entry { graph, inputs: self.inputs }
    }
}

/// Takes these nodes out of the graph, with all that depends on them; no output does.
fn drop_with_users(graph: &mut Graph, nodes: &[NodeId]) {
    if nodes.is_empty() {
        return;
    }
    let mut dropped = vec![false; graph.nodes.len()];
    for id in nodes {
        if let Some(slot) = dropped.get_mut(id.index()) {
            *slot = true;
        }
    }
    let mut map = Vec::with_capacity(dropped.len());
    let mut next = 0;
    for (at, node) in graph.nodes.iter().enumerate() {
        let inherited = node.inputs.iter().any(|input| dropped.get(input.index()) == Some(&true));
        if let Some(slot) = dropped.get_mut(at) {
            *slot |= inherited;
            map.push(NodeId(next));
            next += u32::from(!*slot);
        }
    }
    let mut dropped = dropped.into_iter();
    graph.nodes.retain(|_| !dropped.next().unwrap_or(false));
    let inputs = graph.nodes.iter_mut().flat_map(|n| &mut n.inputs);
    let named = graph.outputs.iter_mut().chain(&mut graph.updates).map(|(_, id)| id);
    inputs.chain(named).for_each(|id| *id = map.get(id.index()).copied().unwrap_or(*id));
}
