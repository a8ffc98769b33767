//! A loop for each row becomes one loop for all rows: the steps stay, each of them is batched.

use super::{Leaves, Made, Mapped, Rows, refuse};
use crate::graph::open::{OpenCarry, OpenScan};
use crate::graph::{Builder, Node, NodeId, Op, Scan};
use std::sync::Arc;

impl Rows<'_> {
    /// The token of the batched loop. Every carry and every stack has the rows, behind the steps.
    pub(super) fn scan(&mut self, scan: &Scan, args: &[Mapped]) -> Made {
        let mut inner = Builder::new("");
        let (mut elements, mut carried, mut captures) = (Vec::new(), Vec::new(), Vec::new());
        let mut map: Vec<Mapped> = Vec::new();
        for (at, (id, arg)) in scan.inputs().into_iter().zip(args).enumerate() {
            let node = scan.body.node(id);
            (inner.span, inner.path) = (node.span, node.path.clone());
            let (element, carry) =
                (at < scan.elements, at >= scan.elements && at < scan.elements + scan.carries);
            let batched = arg.batched || carry;
            let ty = if batched { self.lifted(&node.ty) } else { node.ty.clone() };
            let place = inner.push(node.op.clone(), &[], Some(ty))?;
            map.push(Mapped { id: place, batched });
            match (element, carry) {
                (true, _) if arg.batched => elements.push((place, self.lead_with(arg.id, 1)?)),
                (true, _) => elements.push((place, arg.id)),
                (_, true) => carried.push((place, self.spread(*arg)?)),
                _ => captures.push((place, arg.id)),
            }
        }
        let leaves = Leaves::default();
        let mut rows = Rows { b: &mut inner, batch: self.batch };
        for node in scan.body.nodes.iter().skip(map.len()) {
            (rows.b.span, rows.b.path) = (node.span, node.path.clone());
            let args: Vec<Mapped> = node.inputs.iter().filter_map(|i| map.get(i.index()).copied()).collect();
            map.push(rows.node(node, &args, &leaves)?);
        }
        let mut outputs = Vec::new();
        for (_, id) in &scan.body.outputs {
            outputs.push(rows.spread(map[id.index()])?);
        }
        let yields = outputs.split_off(scan.carries.min(outputs.len()));
        let carries = carried.into_iter().zip(outputs);
        let carries = carries.map(|((place, first), next)| OpenCarry { place, first, next }).collect();
        let (trip, reversed, nodes) = (scan.trip.clone(), scan.reversed, inner.graph.nodes);
        let open = OpenScan { trip, reversed, nodes, elements, carries, captures, yields };
        let (scan, operands) = open.close();
        self.b.push(Op::Scan(Arc::new(scan)), &operands, None)
    }

    /// A result of a batched loop, with the rows first.
    pub(super) fn scan_result(&mut self, node: &Node, index: usize, token: NodeId) -> Made {
        let Op::Scan(scan) = &self.b.graph.node(token).op else {
            return refuse("this is no result of a loop");
        };
        let (ty, stacked) = (scan.result_type(index), index >= scan.carries);
        let result = self.b.push(Op::ScanResult { index }, &[token], ty)?;
        debug_assert!(self.b.ty(result).rank() == node.ty.rank() + 1);
        if stacked { self.lead_with(result, 1) } else { Ok(result) }
    }
}
