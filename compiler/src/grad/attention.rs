//! The gradient of attention as a whole: from its result and the sums of its rows, without the weights.

use super::tape::Tape;
use crate::graph::attention::{Found, Part};
use crate::graph::{Graph, NodeId, TypeError};

/// The attention that ends at `id`, unless a gradient is wanted of something inside it.
pub(super) fn find(graph: &Graph, id: NodeId, uses: &[usize], wrt: &[NodeId]) -> Option<Found> {
    let found = crate::graph::attention::find(graph, id, uses)?;
    let inside = |wanted: &NodeId| *wanted != id && found.interior.contains(wanted);
    (!wrt.iter().any(inside)).then_some(found)
}

/// What the adjoint `g` of the result `id` contributes to the adjoints of those inputs that want one.
pub(super) fn pull_back(
    t: &mut Tape<'_>,
    found: &Found,
    id: NodeId,
    g: NodeId,
    depends: &[bool],
) -> Result<Vec<(NodeId, NodeId)>, TypeError> {
    let b = &mut *t.builder;
    let result = found.result_in(b, id)?;
    let sums = found.push(b, Part::Sums, &[])?;
    let g = found.result_in(b, g)?;
    let inputs = [(found.queries, Part::Queries), (found.keys, Part::Keys), (found.values, Part::Values)];
    // What is added to the scores has their adjoint, whichever of several it is.
    let biases = found.biases.iter().map(|bias| (*bias, Part::Bias));
    let mut made = Vec::new();
    for (input, part) in inputs.into_iter().chain(biases) {
        if depends.get(input.index()) == Some(&true) {
            let adjoint = found.push(b, part, &[result, sums, g])?;
            made.push((input, found.adjoint_out(b, part, adjoint)?));
        }
    }
    Ok(made)
}
