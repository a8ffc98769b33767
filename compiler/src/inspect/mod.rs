//! Looking into a prediction: which inputs a result comes from, what a layer made of them, where attention looked.
//!
//! All is made from the prediction's own graph. [`inspect`] gives two entries. The *forward* one is the prediction with more outputs: the
//! scores, the numbers that the inputs became, the attention maps, and what was asked for by path. The *gradient* one begins at those
//! numbers (so that its caller may move them between a baseline and the input, as integrated gradients do) and gives the score of one
//! class, its derivative in each of the numbers, and the Grad-CAM map of the last convolution.
//!
//! Where an input is made of integers, the derivative is taken where they first become floats ([`leaves`]): after the cast of a byte, after
//! the look-up of an embedding. What is explained is a score before the last softmax or sigmoid ([`score`]), because behind them a model
//! that is sure has no slope left.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

mod leaves;
mod maps;
mod score;
#[cfg(test)]
mod tests;

use crate::grad::{self, GradientError};
use crate::graph::op::Compare;
use crate::graph::{Builder, DType, Dim, Entry, Graph, NodeId, Op, TensorType, TypeError};
use std::collections::HashMap;
use weft_runtime::program::InputSource;

pub use score::Scores;

/// The two entries' names.
pub const FORWARD: &str = "inspect.forward";
pub const GRADIENT: &str = "inspect.gradient";
/// The input of the gradient's entry that chooses a class, one for each row.
pub const CLASS: &str = "inspect.class";
/// The output of both entries: all scores, and that of the class.
pub const SCORE: &str = "inspect.score";
/// The output of the gradient's entry with the map of Grad-CAM, `[n, height, width]`.
pub const CAM: &str = "inspect.cam";

/// What can be asked of a prediction.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub forward: Entry,
    pub gradient: Entry,
    pub leaves: Vec<Leaf>,
    pub scores: Scores,
    /// The name of the output that is explained.
    pub explained: String,
    /// The path of the convolution that Grad-CAM looks at.
    pub cam: Option<String>,
    /// Each attention's path, and its output of the forward entry.
    pub attention: Vec<(String, String)>,
    /// Each path that was asked for and computes something, and its output of the forward entry.
    pub activations: Vec<(String, String)>,
    /// Is the leading axis of inputs and scores the same, so that each row has a result of its own?
    pub rows: bool,
}

/// Where an input becomes numbers that have a derivative.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The prediction's input.
    pub input: String,
    /// The input of the gradient's entry that takes its numbers.
    pub name: String,
    /// Is it a table's rows, so that its last axis is no part of the input?
    pub embedded: bool,
}

impl Leaf {
    /// The output of the forward entry with the numbers.
    pub fn value(&self) -> String {
        format!("{}=", self.name)
    }

    /// The output of the gradient entry with the derivative.
    pub fn gradient(&self) -> String {
        format!("{}'", self.name)
    }
}

/// Why a prediction cannot be looked into.
#[derive(Clone, Debug, PartialEq)]
pub enum InspectError {
    /// No number that comes from an input reaches the result by operations with a derivative.
    NoSlope,
    /// There is no such result; these there are.
    NoOutput(Vec<String>),
    Gradient(GradientError),
    Graph(TypeError),
}

impl From<TypeError> for InspectError {
    fn from(error: TypeError) -> InspectError {
        InspectError::Graph(error)
    }
}

impl std::fmt::Display for InspectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InspectError::NoSlope => {
                f.write_str("no result has a derivative in any input: between them stand only integers, comparisons or roundings")
            }
            InspectError::NoOutput(names) => write!(f, "there is no such result; there are: {}", names.join(", ")),
            InspectError::Gradient(error) => write!(f, "{error}"),
            InspectError::Graph(error) => f.write_str(&error.message),
        }
    }
}

/// Makes the entries that look into a prediction. `output` names the result to explain (else the one that reads best as scores),
/// `paths` are instances whose results the forward entry gives too; a path that computes nothing is left out.
pub fn inspect(
    prediction: &Entry,
    output: Option<&str>,
    paths: &[String],
) -> Result<Inspection, InspectError> {
    let graph = &prediction.graph;
    let (explained, score) = score::find(graph, output)?;
    let found = leaves::find(graph, &prediction.inputs, score);
    if found.is_empty() {
        return Err(InspectError::NoSlope);
    }
    let batch = graph.node(score).ty.shape.first().cloned().filter(|d| d.as_symbol().is_some());
    let rows =
        batch.is_some_and(|n| found.iter().all(|(_, id)| graph.node(*id).ty.shape.first() == Some(&n)));
    let cam = maps::last_convolution(graph, score).filter(|_| rows);
    let attention = named("attention", maps::attention(graph));
    let asked = paths.iter().filter_map(|path| Some((path.clone(), last_of(graph, path)?))).collect();
    let activations = named("activation", asked);
    let leaves: Vec<Leaf> = found.iter().map(|(leaf, _)| leaf.clone()).collect();
    let (gradient, scores) = gradient_entry(prediction, score, rows, &found, cam.as_ref().map(|c| c.1))?;

    let mut forward = prediction.clone();
    forward.graph.name = FORWARD.to_owned();
    let outputs = &mut forward.graph.outputs;
    outputs.push((SCORE.to_owned(), score));
    outputs.extend(found.iter().map(|(leaf, id)| (leaf.value(), *id)));
    outputs.extend(attention.iter().chain(&activations).map(|(_, name, id)| (name.clone(), *id)));
    let shown =
        |list: Vec<(String, String, NodeId)>| list.into_iter().map(|(path, name, _)| (path, name)).collect();
    Ok(Inspection {
        forward,
        gradient,
        leaves,
        scores,
        explained,
        cam: cam.map(|(path, _)| path),
        attention: shown(attention),
        activations: shown(activations),
        rows,
    })
}

/// Paths and nodes with names for outputs.
fn named(kind: &str, found: Vec<(String, NodeId)>) -> Vec<(String, String, NodeId)> {
    found.into_iter().enumerate().map(|(i, (path, id))| (path, format!("inspect.{kind}.{i}"), id)).collect()
}

/// The last node of an instance: its result, where it is applied once.
fn last_of(graph: &Graph, path: &str) -> Option<NodeId> {
    let within =
        |node: &str| node.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    graph.ids().rev().find(|id| {
        let node = graph.node(*id);
        within(&node.path) && !matches!(node.op, Op::Variable(_) | Op::Constant(_) | Op::Table(_))
    })
}

/// The prediction from its leaves on, and the derivative of one score in them.
fn gradient_entry(
    prediction: &Entry,
    score: NodeId,
    rows: bool,
    leaves: &[(Leaf, NodeId)],
    cam: Option<NodeId>,
) -> Result<(Entry, Scores), InspectError> {
    let graph = &prediction.graph;
    let mut builder = Builder::new(GRADIENT);
    builder.graph.guards.clone_from(&graph.guards);
    builder.graph.bounds.clone_from(&graph.bounds);
    let mut inputs = prediction.inputs.clone();
    let mut places: HashMap<NodeId, NodeId> = HashMap::new();
    for id in graph.ids() {
        let node = graph.node(id);
        (builder.span, builder.path) = (node.span, node.path.clone());
        let leaf = leaves.iter().find(|(_, at)| *at == id).map(|(leaf, _)| leaf);
        let op = match leaf {
            Some(leaf) => Op::Input(leaf.name.clone()),
            None => node.op.clone(),
        };
        let from = if leaf.is_some() { &[][..] } else { &node.inputs[..] };
        let from: Vec<NodeId> = from.iter().filter_map(|id| places.get(id).copied()).collect();
        places.insert(id, builder.push(op, &from, Some(node.ty.clone()))?);
        if let Some(leaf) = leaf
            && !inputs.iter().any(|(name, _, _)| *name == leaf.name)
        {
            inputs.push((leaf.name.clone(), node.ty.clone(), InputSource::Caller));
        }
    }
    let at = |id: NodeId| places.get(&id).copied().ok_or(InspectError::NoSlope);
    let (y, scores) = one_score(&mut builder, at(score)?, rows, &mut inputs)?;
    builder.graph.outputs.push((SCORE.to_owned(), y));
    let mut wrt = leaves.iter().map(|(_, id)| at(*id)).collect::<Result<Vec<_>, _>>()?;
    let activation = cam.map(at).transpose()?;
    wrt.extend(activation);
    let gradients = grad::last_gradient(&mut builder, y, None, &wrt).map_err(InspectError::Gradient)?;
    for ((leaf, _), gradient) in leaves.iter().zip(&gradients) {
        builder.graph.outputs.push((leaf.gradient(), *gradient));
    }
    if let (Some(activation), Some(gradient)) = (activation, gradients.get(leaves.len())) {
        let map = maps::grad_cam(&mut builder, activation, *gradient)?;
        builder.graph.outputs.push((CAM.to_owned(), map));
    }
    Ok((Entry { graph: builder.graph, inputs }, scores))
}

/// One number a row of the scores (of all, without rows): the class's that the new input `inspect.class` names, or the sum of what is no
/// list of scores.
fn one_score(
    builder: &mut Builder,
    score: NodeId,
    rows: bool,
    inputs: &mut Vec<(String, TensorType, InputSource)>,
) -> Result<(NodeId, Scores), TypeError> {
    let ty = builder.ty(score).clone();
    let lead = usize::from(rows);
    let scores = Scores::of(&ty, lead);
    let all: Vec<usize> = (lead..ty.rank()).collect();
    if !matches!(scores, Scores::Classes(_)) {
        let sum = builder.reduce(crate::graph::op::Reduction::Sum, score, &all)?;
        return Ok((sum, scores));
    }
    let class_type = TensorType::new(DType::I32, ty.shape.get(..lead).unwrap_or_default());
    let class = builder.input(CLASS, class_type.clone())?;
    inputs.push((CLASS.to_owned(), class_type, InputSource::Caller));
    let places = TensorType::new(DType::I32, ty.shape.clone());
    let class = builder.push(Op::Broadcast { axes: (0..lead).collect() }, &[class], Some(places.clone()))?;
    let place = builder.push(Op::Iota { axis: lead }, &[], Some(places))?;
    let chosen = builder.compare(Compare::Eq, place, class)?;
    let nothing = builder.full(0.0, &ty)?;
    let kept = builder.select(chosen, score, nothing)?;
    Ok((builder.reduce(crate::graph::op::Reduction::Sum, kept, &all)?, scores))
}

/// Does an axis have this extent for every batch?
fn is_extent(dim: &Dim, test: impl Fn(i64) -> bool) -> bool {
    dim.as_constant().is_none_or(test)
}
