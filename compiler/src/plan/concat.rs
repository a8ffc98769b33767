//! Concatenations: each input is copied to its place, by a nest of its own, which what computes the input may become part of.
//!
//! **On a GPU** memory moves 32 bytes at once. Where inputs lie side by side in short pieces that begin in the midst of these (5 features and 3 others
//! of each row), a nest for each would move most of the result twice. So there one nest stores them all: inputs of one shape each from the same
//! point, others as one map that asks for each element which input it is of. What a product makes is stored into its place by the product
//! itself, whatever the pieces.

use super::affine::{self, Affine};
use super::build::{Build, product};
use super::nest::{Stage, Store, ValueOp};
use super::values::identity;
use super::{BufferId, Machine, Stop};
use crate::graph::{DType, Dim, NodeId, Op};

/// Bytes that memory moves at once, and of pieces of which the ends weigh little.
const SECTOR: i64 = 32;
const LONG: i64 = 512;
/// More inputs than this are stored one by one.
const MOST: usize = 8;

impl Build<'_> {
    /// Fills a concatenation along an axis.
    pub fn concat(&mut self, id: NodeId, out: BufferId, axis: usize) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let mut start = Dim::constant(0);
        let mut parts = Vec::new();
        for input in &node.inputs {
            let extent = self.graph.node(*input).ty.shape[axis].clone();
            parts.push((*input, start.clone()));
            start = start + extent;
        }
        // What a step carries on has been there before.
        parts.drain(..usize::from(self.grown(id).is_some()));
        let shape = |part: &(NodeId, Dim)| self.graph.node(part.0).ty.shape.clone();
        let alike = parts.iter().all(|part| shape(part) == shape(&parts[0]));
        if !self.in_short_pieces(id, &parts, axis) {
            for part in parts {
                self.side_by_side(id, out, axis, &[part])?;
            }
            Ok(())
        } else if alike {
            self.side_by_side(id, out, axis, &parts)
        } else {
            self.chosen(id, out, axis, &parts)
        }
    }

    /// Do inputs begin or end in the midst of what a GPU's memory moves at once, again and again?
    fn in_short_pieces(&self, id: NodeId, parts: &[(NodeId, Dim)], axis: usize) -> bool {
        let node = self.graph.node(id);
        let size = node.ty.dtype.size() as i64;
        let is_short = |part: &(NodeId, Dim)| {
            let piece = product(&self.graph.node(part.0).ty.shape[axis..]).as_constant();
            piece.is_some_and(|piece| piece * size % SECTOR != 0 && piece * size < LONG)
        };
        let apart = node.ty.shape[..axis].iter().any(|extent| !extent.is(1));
        self.built.machine == Machine::Gpu
            && apart
            && (2..=MOST).contains(&parts.len())
            && parts.iter().any(is_short)
            && !parts.iter().any(|part| self.is_product(part.0))
    }

    /// Is it made by a product, but for what is done to each of its elements on the way?
    fn is_product(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        let on_its_way = || match &node.op {
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Reshape | Op::Transpose { .. } => {
                node.inputs.iter().any(|input| self.is_product(*input))
            }
            _ => false,
        };
        let multiplies =
            matches!(node.op, Op::Contract { .. } | Op::Conv(_) | Op::ConvData(_) | Op::ConvWeights(_));
        multiplies || !self.selection.materialised[id.index()] && on_its_way()
    }

    /// A nest over the shape of some inputs, which stores each in its place.
    fn side_by_side(
        &mut self,
        id: NodeId,
        out: BufferId,
        axis: usize,
        parts: &[(NodeId, Dim)],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let Some((first, _)) = parts.first() else { return Ok(()) };
        let shape = &self.graph.node(*first).ty.shape;
        let index = identity(shape, 0);
        let mut reader = self.reader(shape.clone());
        let mut stores = Vec::new();
        for (input, start) in parts {
            let value = reader.read(*input, &index)?;
            let mut at = index.clone();
            at[axis] = at[axis].clone().plus(&Affine::constant(start.clone()));
            let at = affine::flatten(&at, &node.ty.shape);
            stores.push(Store { buffer: out, at, value, accumulate: false, inner: false });
        }
        let values = reader.values.list;
        self.nest(node, 0, vec![Stage { kept: shape.clone(), values, stores, ..Stage::default() }]);
        Ok(())
    }

    /// A nest over the result, which takes each element from the input that it is of.
    fn chosen(
        &mut self,
        id: NodeId,
        out: BufferId,
        axis: usize,
        parts: &[(NodeId, Dim)],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let shape = &node.ty.shape;
        let index = identity(shape, 0);
        let mut reader = self.reader(shape.clone());
        let mut chosen = reader.values.constant(0.0, node.ty.dtype);
        for (input, start) in parts {
            let mut at = index.clone();
            at[axis] = at[axis].clone().plus(&Affine::constant(Dim::constant(0) - start.clone()));
            let extent = self.graph.node(*input).ty.shape[axis].clone();
            let inside = reader.values.push(ValueOp::Inside(vec![(at[axis].clone(), extent)]), DType::Bool);
            let value = reader.read_guarded(*input, &at, inside)?;
            chosen = reader.values.push(ValueOp::Select(inside, value, chosen), node.ty.dtype);
        }
        let at = affine::flatten(&index, shape);
        let stores = vec![Store { buffer: out, at, value: chosen, accumulate: false, inner: false }];
        let values = reader.values.list;
        self.nest(node, 0, vec![Stage { kept: shape.clone(), values, stores, ..Stage::default() }]);
        Ok(())
    }
}
