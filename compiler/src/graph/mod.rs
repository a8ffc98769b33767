//! The graph: the one intermediate representation between the checked spec and the plan.
//!
//! A [`Graph`] is the computation of one entry: nodes in topological order, each with an operation ([`op::Op`]), inputs that stand
//! before it, a type (dtype and symbolic shape), the span of the spec's text that it comes from, and a path made of the names that
//! the author wrote. Outputs are named nodes; updates say which variables get which new values when the entry has run (all reads
//! of a variable see the old value). A [`Module`] is all of a spec's graphs with the variables that they share.
//!
//! Invariants, checked by [`verify()`] after every pass in tests and debug builds:
//! - inputs stand before their users; every type follows from the op's type rule ([`build`]);
//! - every symbol of a shape is bound by an input's shape (or is an entry symbol of the caller);
//! - `Input` and `Variable` names are known, each at most once per graph, with the declared types;
//! - a scan is read by its results alone, and what its body holds is sound by itself ([`scan`]);
//! - an update has its variable's type; each variable is updated at most once.
//!
//! The only node with a graph inside is a loop, [`Scan`]; [`OpenScan`] is one that is being made or changed.
//!
//! Around it: [`build`] makes graphs, [`attention`] finds attention in them, [`text`] prints them and reads them back, [`vectorize()`]
//! batches a graph of one row, [`chunked()`] takes all rows a chunk at a time, [`cost`]
//! counts operations and bytes, [`export`] draws, [`diff`] compares two, [`random`] makes graphs for tests. [`crate::grad`] differentiates,
//! [`crate::passes`] optimises, [`crate::evaluate`] runs.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

pub mod attention;
pub mod build;
mod chunks;
pub mod cost;
pub mod diff;
pub mod dim;
pub mod export;
pub mod op;
pub mod open;
#[doc(hidden)]
pub mod random;
pub mod scan;
mod terms;
#[cfg(test)]
mod tests;
pub mod text;
mod vectorize;
mod verify;

use weft_grammar::Span;
pub use weft_runtime::program::DType;

pub use build::{Builder, TypeError};
pub use chunks::{Chunked, chunked};
pub use dim::{Dim, Symbol};
pub use op::Op;
pub use open::{OpenCarry, OpenScan};
pub use scan::Scan;
pub use vectorize::{Leaves, VectorizeError, vectorize, vectorize_apart};
pub(crate) use vectorize::{Mapped, Rows};
pub use verify::{known_symbols, verify, verify_module};

/// A node's place in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// dtype and shape of a tensor; rank 0 is a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<Dim>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    pub fn scalar(dtype: DType) -> TensorType {
        TensorType { dtype, shape: Vec::new() }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn elements(&self) -> Dim {
        self.shape.iter().cloned().fold(Dim::constant(1), |a, b| a * b)
    }
}

/// `f32[n, 28, 28, 1]`
impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[", self.dtype.name())?;
        for (i, d) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub op: Op,
    pub inputs: Vec<NodeId>,
    pub ty: TensorType,
    /// The user's text that asked for this node (for a node made inside the standard library: the user's call).
    pub span: Span,
    /// `Cnn.conv2d_2`: instance path. Nodes of a gradient end in `'`, of an optimizer start with its weight's path.
    pub path: std::sync::Arc<str>,
}

/// The computation of one entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// `init`, `train.step`, `train.evaluate`, `train.report`, `predict.digit`
    pub name: String,
    pub nodes: Vec<Node>,
    pub outputs: Vec<(String, NodeId)>,
    /// New values of variables, by path.
    pub updates: Vec<(String, NodeId)>,
    /// What must be 0 when dims bind, else this message at this span.
    pub guards: Vec<(Dim, String, Span)>,
    /// Upper bounds that symbols have by declaration (`batch`), for planning and costs.
    pub bounds: Vec<(Symbol, i64)>,
}

impl Graph {
    /// The node. Ids come from this graph, so the place exists.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }
}

/// A weight, state, optimizer slot or accumulator, or the scales of a narrow weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    pub path: String,
    pub kind: weft_runtime::program::VariableKind,
    pub ty: TensorType,
    pub trainable: bool,
    /// See `weft_runtime::program::Variable`.
    pub channels: Vec<usize>,
    pub span: Span,
}

/// All graphs of a spec. Entry `init` updates every variable with its first value.
#[derive(Clone, Debug, Default)]
pub struct Module {
    pub name: String,
    pub variables: Vec<Variable>,
    pub entries: Vec<Entry>,
    pub data: Vec<weft_runtime::program::DataSet>,
    pub trainings: Vec<weft_runtime::program::Training>,
    pub predictions: Vec<weft_runtime::program::Prediction>,
    pub generations: Vec<weft_runtime::program::Generation>,
    pub vocabularies: Vec<weft_runtime::program::Vocabulary>,
    pub loads: Vec<weft_runtime::program::Load>,
}

/// A graph and where its inputs come from.
#[derive(Clone, Debug)]
pub struct Entry {
    pub graph: Graph,
    /// In the order in which the runtime passes them: name, type, source.
    pub inputs: Vec<(String, TensorType, weft_runtime::program::InputSource)>,
}
