//! Puts the graph of one row into an entry, with the batch as a new leading axis.

use crate::graph::{Builder, Dim, Graph, NodeId, Op, TensorType, TypeError};

/// A row's node in the batched graph: with the batch axis, or the same for all rows.
#[derive(Clone, Copy)]
struct Lifted {
    node: NodeId,
    batched: bool,
}

/// Appends `row` to the builder's graph. `inputs`: the batched node of each of its inputs. Gives the batched nodes of `outputs`.
pub fn vectorize(
    builder: &mut Builder,
    row: &Graph,
    batch: &Dim,
    inputs: &[(String, NodeId)],
    outputs: &[NodeId],
) -> Result<Vec<NodeId>, TypeError> {
    let mut lifted: Vec<Lifted> = Vec::new();
    for node in &row.nodes {
        let mut parts: Vec<Lifted> = node.inputs.iter().filter_map(|i| lifted.get(i.index()).copied()).collect();
        (builder.span, builder.path) = (node.span, node.path.clone());
        if let Op::Input(name) = &node.op {
            let found = inputs.iter().find(|(n, _)| n == name).map(|(_, node)| *node);
            let Some(node) = found else { return Err(refuse(&node.op)) };
            lifted.push(Lifted { node, batched: true });
            continue;
        }
        let batched = parts.iter().any(|p| p.batched);
        if !batched {
            let ids: Vec<NodeId> = parts.iter().map(|p| p.node).collect();
            let node = builder.push(node.op.clone(), &ids, Some(node.ty.clone()))?;
            lifted.push(Lifted { node, batched });
            continue;
        }
        // What is the same for all rows gets the batch axis too where it meets what is not.
        for part in &mut parts {
            if !part.batched {
                let mut ty = builder.ty(part.node).clone();
                ty.shape.insert(0, batch.clone());
                let axes = (1..ty.rank()).collect();
                *part = Lifted { node: builder.push(Op::Broadcast { axes }, &[part.node], Some(ty))?, batched };
            }
        }
        let mut ty = node.ty.clone();
        ty.shape.insert(0, batch.clone());
        let ids: Vec<NodeId> = parts.iter().map(|p| p.node).collect();
        let node = builder.push(shifted(&node.op)?, &ids, Some(TensorType::new(ty.dtype, ty.shape)))?;
        lifted.push(Lifted { node, batched });
    }
    let mut nodes = Vec::new();
    for output in outputs {
        let Some(mut part) = lifted.get(output.index()).copied() else { continue };
        if !part.batched {
            let mut ty = builder.ty(part.node).clone();
            ty.shape.insert(0, batch.clone());
            let axes = (1..ty.rank()).collect();
            part.node = builder.push(Op::Broadcast { axes }, &[part.node], Some(ty))?;
        }
        nodes.push(part.node);
    }
    Ok(nodes)
}

/// The operation on tensors with one more leading axis.
fn shifted(op: &Op) -> Result<Op, TypeError> {
    let up = |axes: &[usize]| axes.iter().map(|a| a + 1).collect::<Vec<_>>();
    let with_first = |axes: &[usize]| [0].into_iter().chain(axes.iter().map(|a| a + 1)).collect::<Vec<_>>();
    Ok(match op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Hold | Op::Reshape | Op::TopK { .. } => {
            op.clone()
        }
        Op::Reduce { reduction, axes } => Op::Reduce { reduction: *reduction, axes: up(axes) },
        Op::ArgReduce { largest, axes } => Op::ArgReduce { largest: *largest, axes: up(axes) },
        Op::CumulativeSum { axis, reverse, exclusive } => {
            Op::CumulativeSum { axis: axis + 1, reverse: *reverse, exclusive: *exclusive }
        }
        Op::Transpose { permutation } => Op::Transpose { permutation: with_first(permutation) },
        Op::Broadcast { axes } => Op::Broadcast { axes: with_first(axes) },
        Op::Slice { axis, start, step } => Op::Slice { axis: axis + 1, start: start.clone(), step: *step },
        Op::Window { axis, size, stride, dilation } => Op::Window {
            axis: axis + 1,
            size: size.clone(),
            stride: stride.clone(),
            dilation: dilation.clone(),
        },
        Op::Pad { amounts, value } => {
            let none = (Dim::constant(0), Dim::constant(0));
            Op::Pad { amounts: [none].into_iter().chain(amounts.iter().cloned()).collect(), value: *value }
        }
        Op::Concat { axis } => Op::Concat { axis: axis + 1 },
        other => return Err(refuse(other)),
    })
}

fn refuse(op: &Op) -> TypeError {
    let text = format!("{op:?}");
    let name = text.split(['(', ' ', '{']).next().unwrap_or("this").to_owned();
    TypeError { message: format!("`{name}` cannot stand in a `data` body"), input: None, axis: None }
}
