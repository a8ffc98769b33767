//! Adjoints of windows: each element of a tensor is the sum of what the windows over it have for it.
//!
//! **In scatter form** the windows are walked in order, and each element is added to its place, after zeros have been stored there. So a processor
//! does it, which has a few windows for each of its cores. **In gather form** each place collects what is its own: place `q * stride + r` is at `r` of
//! window `q`, at `r + stride` of window `q - 1`, and so on. So a GPU does it, where each place has a thread of its own, no two threads meet, and
//! nothing is stored twice.
//!
//! Windows that lie side by side without a gap are neither: each place is in one window, and is stored from there.

use super::affine::{self, Affine};
use super::build::Build;
use super::nest::{How, Nest, Reduce, Stage, Store, ValueOp, Values};
use super::values::identity;
use super::{BufferId, Draft, Machine, Stop};
use crate::graph::op::Reduction;
use crate::graph::{DType, Dim, NodeId};

/// Some of the places along one axis of windows: `first + q * stride + r`.
#[derive(Clone, Debug)]
struct Places {
    first: Dim,
    q: Dim,
    r: Dim,
}

/// What a window is along one axis.
#[derive(Clone, Copy, Debug)]
struct Window {
    size: usize,
    stride: usize,
    dilation: usize,
}

impl Window {
    /// All places of an axis, each of which the same elements of a window meet; none where what meets follows from more than a step of the
    /// windows and a rest.
    fn places(self, extent: &Dim) -> Option<Vec<Places>> {
        let (stride, one) = (Dim::from(self.stride), Dim::constant(1));
        if self.stride == 1 {
            return Some(vec![Places { first: Dim::constant(0), q: extent.clone(), r: one }]);
        }
        if self.dilation > 1 && self.size > 1 {
            return None;
        }
        if let Some(q) = extent.exact_div(&stride) {
            return Some(vec![Places { first: Dim::constant(0), q, r: stride }]);
        }
        let extent = extent.as_constant()?;
        let (whole, rest) = (extent / self.stride as i64, extent % self.stride as i64);
        let first = Dim::constant(whole * self.stride as i64);
        let rest = Places { first, q: one, r: Dim::constant(rest) };
        let whole = Places { first: Dim::constant(0), q: Dim::constant(whole), r: stride };
        Some(if whole.q.is(0) { vec![rest] } else { vec![whole, rest] })
    }

    /// How many windows a place can be in.
    fn meets(self) -> usize {
        if self.stride == 1 { self.size } else { self.size.div_ceil(self.stride) }
    }
}

impl Build<'_> {
    /// The adjoint of windows over the axes from `axis` on.
    pub fn unwindow(
        &mut self,
        id: NodeId,
        out: BufferId,
        axis: usize,
        size: &[usize],
        stride: &[usize],
        dilation: &[usize],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let to = &node.ty.shape;
        let from = &self.graph.node(node.inputs[0]).ty.shape;
        let spatial = size.len();
        let apart = (0..spatial).all(|i| size[i] == 1 || dilation[i] == 1 && stride[i] >= size[i]);
        let covered = (0..spatial)
            .all(|i| size[i] == stride[i] && from[axis + i].clone() * Dim::from(size[i]) == to[axis + i]);
        if self.built.machine == Machine::Gpu && !(apart && covered) {
            let windows: Vec<Window> = (0..spatial)
                .map(|i| Window { size: size[i], stride: stride[i], dilation: dilation[i] })
                .collect();
            let places: Option<Vec<Vec<Places>>> =
                windows.iter().zip(&to[axis..]).map(|(window, extent)| window.places(extent)).collect();
            if let Some(places) = places {
                for part in combined(&places) {
                    let stage = self.collected(id, out, axis, &windows, &part)?;
                    self.nest(node, 0, vec![stage]);
                }
                return Ok(());
            }
        }
        let index = identity(from, 0);
        let mut reader = self.reader(from.clone());
        let value = reader.read(node.inputs[0], &index)?;
        let mut place = index[..axis].to_vec();
        for i in 0..spatial {
            let start = index[axis + i].scale(&Dim::from(stride[i]));
            place.push(start.plus(&index[axis + spatial + i].scale(&Dim::from(dilation[i]))));
        }
        place.extend_from_slice(&index[axis + 2 * spatial..]);
        let at = affine::flatten(&place, to);
        let store = Store { buffer: out, at, value, accumulate: !apart, inner: false };
        let scatter =
            Stage { kept: from.clone(), values: reader.values.list, stores: vec![store], ..Stage::default() };
        if apart && covered {
            self.nest(node, 0, vec![scatter]);
            return Ok(());
        }
        // Windows that touch one another leave only a margin bare; else zeros come first everywhere.
        let side_by_side = apart && (0..spatial).all(|i| size[i] == stride[i]);
        let mut stages = Vec::new();
        for i in 0..if side_by_side { spatial } else { 1 } {
            let (mut extents, mut index) = (to.clone(), identity(to, 0));
            if side_by_side {
                let covered = from[axis + i].clone() * Dim::from(size[i]);
                extents[axis + i] = to[axis + i].clone() - covered.clone();
                index[axis + i] = index[axis + i].clone().plus(&Affine::constant(covered));
            }
            if extents[axis + i].is(0) {
                continue;
            }
            let mut values = Values::default();
            let value = values.constant(0.0, node.ty.dtype);
            let at = affine::flatten(&index, to);
            stages.push(Stage {
                kept: extents,
                values: values.list,
                stores: vec![Store { buffer: out, at, value, accumulate: false, inner: false }],
                ..Stage::default()
            });
        }
        // All stages run for each step of the axes before the windows.
        stages.push(scatter);
        stages.iter_mut().for_each(Stage::tidy);
        let draft = Draft::nest(node, Nest::new(axis, stages));
        self.built.drafts.push(draft);
        Ok(())
    }

    /// Some of the places, each of which collects what windows have for it.
    fn collected(
        &self,
        id: NodeId,
        out: BufferId,
        axis: usize,
        windows: &[Window],
        places: &[Places],
    ) -> Result<Stage, Stop> {
        let node = self.graph.node(id);
        let to = &node.ty.shape;
        let from = &self.graph.node(node.inputs[0]).ty.shape;
        // A loop for each variable that is more than one number.
        let variable = |loops: &mut Vec<Dim>, before: usize, extent: &Dim| {
            if extent.is(1) {
                return Affine::constant(0i64);
            }
            loops.push(extent.clone());
            Affine::variable(before + loops.len() - 1)
        };
        let mut kept = to[..axis].to_vec();
        let outer = identity(&to[..axis], 0);
        let mut rests = Vec::new();
        for part in places {
            let q = variable(&mut kept, 0, &part.q);
            rests.push((q, variable(&mut kept, 0, &part.r)));
        }
        let inner = identity(&to[axis + windows.len()..], kept.len());
        kept.extend_from_slice(&to[axis + windows.len()..]);
        let (mut reduced, mut place) = (Vec::new(), outer.clone());
        let (mut numbers, mut taps, mut maps) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (window, part)) in windows.iter().zip(places).enumerate() {
            let (q, r) = &rests[i];
            let stride = Dim::from(window.stride);
            place.push(q.scale(&stride).plus(r).plus(&Affine::constant(part.first.clone())));
            let back = variable(&mut reduced, kept.len(), &Dim::from(window.meets()));
            // A step back is one window; with a stride of 1, it is as many as a step from tap to tap is wide.
            let (by, along) = if window.stride == 1 { (window.dilation, 1) } else { (1, window.stride) };
            let first = Affine::constant(part.first.floor_div(&stride));
            let number = q.clone().plus(&first).plus(&back.scale(&Dim::constant(-(by as i64))));
            let tap = r.clone().plus(&back.scale(&Dim::from(along)));
            maps.push((number.clone(), from[axis + i].clone()));
            maps.push((tap.clone(), Dim::from(window.size)));
            numbers.push(number);
            taps.push(tap);
        }
        place.extend_from_slice(&inner);
        let index: Vec<Affine> = outer.into_iter().chain(numbers).chain(taps).chain(inner).collect();
        let extents: Vec<Dim> = kept.iter().chain(&reduced).cloned().collect();
        maps.retain(|(at, limit)| !at.within(limit, &extents));
        let dtype = node.ty.dtype;
        let mut reader = self.reader(extents);
        let mut value = if maps.is_empty() {
            reader.read(node.inputs[0], &index)?
        } else {
            let inside = reader.values.push(ValueOp::Inside(maps), DType::Bool);
            let read = reader.read_guarded(node.inputs[0], &index, inside)?;
            let zero = reader.values.constant(0.0, dtype);
            reader.values.push(ValueOp::Select(inside, read, zero), dtype)
        };
        let mut reductions = Vec::new();
        if !reduced.is_empty() {
            reductions.push(Reduce { how: How::Fold(Reduction::Sum), of: value });
            value = reader.values.push(ValueOp::Reduced(0), dtype);
        }
        let at = affine::flatten(&place, to);
        let stores = vec![Store { buffer: out, at, value, accumulate: false, inner: false }];
        Ok(Stage { kept, reduced, values: reader.values.list, reductions, stores, vector: None })
    }
}

/// One of the places of each axis, in every combination.
fn combined(places: &[Vec<Places>]) -> Vec<Vec<Places>> {
    places.iter().fold(vec![Vec::new()], |all, of_axis| {
        let with = |before: &Vec<Places>| -> Vec<Vec<Places>> {
            of_axis.iter().map(|part| before.iter().chain([part]).cloned().collect()).collect()
        };
        all.iter().flat_map(with).collect()
    })
}
