//! Graphs that a test writes down, as modules.

use weft_compiler::graph::{Entry, Graph, Module, Op};
use weft_runtime::program::InputSource;

/// A graph as the only entry of a module, its inputs given by the caller.
pub fn alone(graph: Graph) -> Module {
    let inputs = graph
        .ids()
        .filter_map(|id| match &graph.node(id).op {
            Op::Input(name) => Some((name.clone(), graph.node(id).ty.clone(), InputSource::Caller)),
            _ => None,
        })
        .collect();
    Module { name: graph.name.clone(), entries: vec![Entry { graph, inputs }], ..Module::default() }
}
