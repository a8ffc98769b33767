//! Decoding: the graph of a whole sequence becomes one that goes on with it, a few tokens at a time.
//!
//! A spec says what a model makes of a whole sequence. Whoever writes the sequence token by token needs each time the logits after the last
//! one alone, and must not compute again what the earlier tokens gave. The checker elaborates the text with that in mind (`cached(x, over = t)`
//! joins `x` to what earlier steps gave, `position(t)` counts on); [`split`] does the rest, on the graph:
//!
//! 1. [`axes`] follows the axis of the new tokens through every operation and finds those that mix its places: they would need tokens that
//!    are not there.
//! 2. [`carry`] lets loops over the tokens start from where they ended, and gives whatever looks back a few places (a causal convolution) the
//!    last inputs of the step before. Such values, like caches, are *carried*: an input and an output of one name.
//! 3. [`last`] computes of the logits those after the last token alone.
//! 4. [`cut`] takes out what depends neither on the tokens nor on what is carried: the *start*, which runs once. What it gives the step is
//!    *kept*: an output of the start and an input of the step of one name.
//!
//! All are pure functions of graphs, and the evaluator runs what they give like any graph. A first prompt is a step of many tokens.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod axes;
mod carry;
mod cut;
mod last;

use crate::graph::{Dim, Entry, Graph, Node, NodeId, Op, Symbol, TypeError};
use std::collections::BTreeSet;
use weft_grammar::Span;

/// The sequence that is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// The input that holds the new tokens, `i32[n, steps]`.
    pub tokens: String,
    /// How many tokens are new.
    pub steps: Symbol,
    /// How many came before.
    pub past: Symbol,
    /// The output that holds the logits, `[n, steps, …]`.
    pub logits: String,
    /// Values that grow by the new tokens along their first axis: each an input `[past, …]` and an output `[past + steps, …]` of this name.
    pub caches: Vec<String>,
}

/// The two entries that a sequence is written with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Runs once for a sequence. Its outputs are kept values, and the first of carried ones. The first tokens are an input of it only
    /// where nothing else tells it how many rows there are.
    pub start: Entry,
    /// Runs for the first tokens, and then for each new one. Outputs: the logits `[n, …]`, then what is carried on.
    pub step: Entry,
}

/// What cannot go token by token, and what to do instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    pub message: String,
    pub hint: String,
    pub span: Span,
}

/// Why there are no [`Parts`].
#[derive(Clone, Debug, PartialEq)]
pub enum SplitError {
    Mixed(Vec<Mixed>),
    /// A rewrite gave what does not fit: a mistake of this module.
    Type(TypeError),
}

impl From<TypeError> for SplitError {
    fn from(error: TypeError) -> SplitError {
        SplitError::Type(error)
    }
}

/// See the module.
pub fn split(entry: Entry, sequence: &Sequence) -> Result<Parts, SplitError> {
    let mut graph = entry.graph.clone();
    // What is written twice is computed, carried and kept once.
    while crate::passes::cse::run(&mut graph) {}
    crate::passes::dce::run(&mut graph);
    let places = axes::follow(&graph, sequence).map_err(SplitError::Mixed)?;
    let carried = carry::carry(&graph, sequence, &places)?;
    let graph = last::last(&carried.graph, sequence, &carried.places)?;
    Ok(cut::cut(&Entry { graph, inputs: entry.inputs }, sequence, &carried.carries)?)
}

/// How a dim goes with the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// It is the same at every step.
    Still,
    /// It counts new tokens.
    Steps,
    /// It counts all tokens so far.
    All,
    /// Both, tangled.
    Both,
}

impl Sequence {
    fn extent(&self, dim: &Dim) -> Extent {
        // In the number of all tokens and that of the new ones, the earlier ones are their difference.
        let all = format!("{}+{}", self.past, self.steps);
        let steps = Dim::symbol(self.steps.clone());
        let dim =
            dim.substitute(&|name| (*name == *self.past).then(|| Dim::symbol(all.as_str()) - steps.clone()));
        let (mut counts_steps, mut counts_all) = (false, false);
        dim.symbols(&mut |symbol| {
            counts_steps |= *symbol == self.steps;
            counts_all |= **symbol == *all;
        });
        match (counts_steps, counts_all) {
            (false, false) => Extent::Still,
            (true, false) => Extent::Steps,
            (false, true) => Extent::All,
            (true, true) => Extent::Both,
        }
    }

    fn steps(&self) -> Dim {
        Dim::symbol(self.steps.clone())
    }
}

/// What the outputs need.
fn needed(graph: &Graph, from: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    from.into_iter().for_each(|id| needed[id.index()] = true);
    for id in graph.ids().rev() {
        if needed[id.index()] {
            graph.node(id).inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    needed
}

/// Every dim that a node states: of its type, its operation, and the bodies of loops.
fn dims_of(node: &Node, visit: &mut dyn FnMut(&Dim)) {
    node.ty.shape.iter().for_each(&mut *visit);
    match &node.op {
        Op::DimValue(dim) => visit(dim),
        Op::Slice { start, .. } => visit(start),
        Op::Pad { amounts, .. } => amounts.iter().for_each(|(before, after)| {
            visit(before);
            visit(after);
        }),
        Op::Conv(c) | Op::ConvData(c) | Op::ConvWeights(c) => c.padding.iter().for_each(|(before, after)| {
            visit(before);
            visit(after);
        }),
        Op::Scan(scan) => {
            visit(&scan.trip);
            scan.body.nodes.iter().for_each(|node| dims_of(node, visit));
        }
        _ => {}
    }
}

/// Names that no two values share.
#[derive(Debug, Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn of(graph: &Graph) -> Names {
        let inputs = graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Input(name) => Some(name.clone()),
            _ => None,
        });
        Names(inputs.chain(graph.outputs.iter().map(|(name, _)| name.clone())).collect())
    }

    /// This name, with a number if it is taken.
    fn fresh(&mut self, name: String) -> String {
        let numbered = |count: usize| if count == 1 { name.clone() } else { format!("{name}_{count}") };
        let mut count = 1;
        while !self.0.insert(numbered(count)) {
            count += 1;
        }
        numbered(count)
    }
}
