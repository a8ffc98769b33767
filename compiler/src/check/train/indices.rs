//! Fields of the data that look something up: labels that a loss picks a class by, tokens of an embedding. Where a field reaches a lookup as it
//! is, the runtime can tell a row that names nothing before the first step.

use crate::diagnostics::Sources;
use crate::graph::op::Op;
use crate::graph::{Entry, NodeId};
use weft_runtime::program::{Indexed, InputSource};

/// The lookups of an entry whose index is a field of the data, and which have a constant number of rows.
pub fn indexed(entry: &Entry, sources: &Sources) -> Vec<Indexed> {
    let graph = &entry.graph;
    let mut found: Vec<Indexed> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let (Op::Gather { axis }, [table, index]) = (&node.op, node.inputs.as_slice()) else { continue };
        let rows = graph.node(*table).ty.shape.get(*axis).and_then(|rows| rows.as_constant());
        let (Some(rows), Some(field)) = (rows.and_then(|r| usize::try_from(r).ok()), field(entry, *index))
        else {
            continue;
        };
        // Of several lookups by one field the one with the fewest rows counts.
        if found.iter().any(|known| known.field == field && known.rows <= rows) {
            continue;
        }
        found.retain(|known| known.field != field);
        let file = sources.get(node.span.file).map_or(String::new(), |source| source.name.clone());
        let line = u32::try_from(sources.position(node.span).0).unwrap_or(u32::MAX);
        found.push(Indexed { field: field.to_owned(), rows, file, line });
    }
    found
}

/// The field whose values a node has, in whatever shape.
fn field(entry: &Entry, id: NodeId) -> Option<&str> {
    let node = entry.graph.node(id);
    match &node.op {
        Op::Input(name) => {
            entry.inputs.iter().find(|(own, ..)| own == name).and_then(|(.., source)| match source {
                InputSource::Field { field, .. } => Some(field.as_str()),
                _ => None,
            })
        }
        // A cast between whole numbers leaves them as they are, or they are out of range anyway.
        Op::Cast if !entry.graph.node(*node.inputs.first()?).ty.dtype.is_float() => {
            field(entry, *node.inputs.first()?)
        }
        Op::Hold | Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } => {
            field(entry, *node.inputs.first()?)
        }
        _ => None,
    }
}
