//! What a graph costs, as a function of its symbols: arithmetic that the algorithm asks for, and bytes.
//!
//! These are the figures that a measurement is divided by. A multiply-add counts 2, any other operation on an element 1, views and
//! moves 0; a convolution counts all taps of its kernel, also those that lie in the padding, as the literature does.

use super::dim::Dim;
use super::op::Op;
use super::{Graph, NodeId, TensorType};

/// Operations and bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    pub flops: Dim,
    pub bytes: Dim,
}

/// The whole graph: the operations of all nodes; the bytes that must move in any case (each input and variable read once, each
/// output and update written once).
pub fn graph(graph: &Graph) -> Cost {
    let mut cost = Cost { flops: Dim::constant(0), bytes: Dim::constant(0) };
    for id in graph.ids() {
        let node = graph.node(id);
        cost.flops = cost.flops + flops(graph, id);
        if matches!(node.op, Op::Input(_) | Op::Variable(_)) {
            cost.bytes = cost.bytes + bytes_of(&node.ty);
        }
    }
    for (_, id) in graph.outputs.iter().chain(&graph.updates) {
        cost.bytes = cost.bytes + bytes_of(&graph.node(*id).ty);
    }
    cost
}

/// One node by itself: what it reads and writes when nothing is fused. Views cost nothing.
pub fn node(graph: &Graph, id: NodeId) -> Cost {
    let node = graph.node(id);
    let view = matches!(
        node.op,
        Op::Reshape
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Window { .. }
            | Op::Hold
    );
    let leaf = node.inputs.is_empty();
    let bytes = if view || leaf {
        Dim::constant(0)
    } else {
        node.inputs.iter().fold(bytes_of(&node.ty), |sum, i| sum + bytes_of(&graph.node(*i).ty))
    };
    Cost { flops: flops(graph, id), bytes }
}

/// The bytes of a tensor.
pub fn bytes_of(ty: &TensorType) -> Dim {
    ty.elements() * Dim::from(ty.dtype.size())
}

/// The operations of one node.
pub fn flops(graph: &Graph, id: NodeId) -> Dim {
    let node = graph.node(id);
    let ty = |place: usize| node.inputs.get(place).map_or(&node.ty, |i| &graph.node(*i).ty);
    let taps = |y: &TensorType, w: &TensorType| {
        // Every output element is a sum over the kernel and the input channels of its group: all of w but its last axis.
        let kernel = w.shape.iter().rev().skip(1).fold(Dim::constant(2), |a, b| a * b.clone());
        y.elements() * kernel
    };
    match &node.op {
        Op::Contract { sum, .. } => {
            let depth = sum.iter().filter_map(|(axis, _)| ty(0).shape.get(*axis));
            depth.fold(node.ty.elements() * Dim::constant(2), |a, b| a * b.clone())
        }
        Op::Attention(attention) => attention.flops(ty(0), ty(1), ty(2)),
        Op::Conv(_) => taps(&node.ty, ty(1)),
        Op::ConvData(_) => taps(ty(0), ty(1)),
        Op::ConvWeights(_) => taps(ty(1), &node.ty),
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast | Op::Random { .. } => {
            node.ty.elements()
        }
        Op::Reduce { .. } | Op::ArgReduce { .. } | Op::CumulativeSum { .. } | Op::Sort { .. } => {
            ty(0).elements()
        }
        Op::ScatterAdd { .. } | Op::Unwindow { .. } => ty(0).elements(),
        Op::Input(_)
        | Op::Variable(_)
        | Op::Constant(_)
        | Op::Table(_)
        | Op::Iota { .. }
        | Op::DimValue(_) => Dim::constant(0),
        Op::Hold | Op::Gather { .. } | Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } => {
            Dim::constant(0)
        }
        Op::Slice { .. } | Op::Window { .. } | Op::Pad { .. } | Op::Concat { .. } => Dim::constant(0),
        Op::Scan(scan) => {
            scan.body.ids().map(|id| flops(&scan.body, id)).fold(Dim::constant(0), |a, b| a + b)
                * scan.trip.clone()
        }
        Op::ScanResult { .. } => Dim::constant(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    #[test]
    fn a_small_network() {
        let g = parse(
            r#"%0 = input "x" : f32[n, 8, 8, 4]
            %1 = variable "w" : f32[3, 3, 2, 6]
            %2 = conv %0, %1 {stride=[1, 1], padding=[(1, 1), (1, 1)], dilation=[1, 1], groups=2} : f32[n, 8, 8, 6]
            %3 = reshape %2 : f32[n, 384]
            %4 = variable "v" : f32[384, 10]
            %5 = contract %3, %4 {batch=[], sum=[(1, 0)]} : f32[n, 10]
            %6 = exp %5 : f32[n, 10]
            output "y" = %6"#,
        )
        .unwrap();
        assert_eq!(flops(&g, NodeId(2)).to_string(), format!("{}*n", 2 * 64 * 6 * 9 * 2));
        assert_eq!(flops(&g, NodeId(5)).to_string(), format!("{}*n", 2 * 384 * 10));
        assert_eq!(flops(&g, NodeId(6)).to_string(), "10*n");
        assert_eq!(node(&g, NodeId(3)), Cost { flops: Dim::constant(0), bytes: Dim::constant(0) });
        let bytes = 4 * (8 * 8 * 4 + 10);
        assert_eq!(graph(&g).bytes.to_string(), format!("{bytes}*n + {}", 4 * (3 * 3 * 2 * 6 + 384 * 10)));
    }
}
