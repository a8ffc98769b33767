//! Contractions as strides of the runtime's kernel.
//!
//! Axes are sorted into batch, m (free in a), k (summed) and n (free in b), and neighbours that lie evenly in every operand become
//! one axis. Views of the operands are absorbed as strides. What the kernel has no form for is arranged by a copy first; what
//! has no m or no n axis (dot products, matrix times vector) or is not f32 is a loop nest.

use super::affine::{Affine, is_nonnegative};
use super::build::{Build, fold_leading, product};
use super::nest::{Stage, Store, ValueOp, Values};
use super::values::identity;
use super::{Access, BufferId, Draft, Kernel, Machine, Stop, Storage, Stride, Work};
use crate::graph::op::{Op, Reduction};
use crate::graph::{DType, Dim, Graph, Node, NodeId};
use weft_runtime::program::{PANEL, Partition, TILE_ROWS};

/// So many times as many rows as columns are cut by rows.
const TALL: i64 = 8;
/// A contraction of so few rows reads B once, where it lies.
pub(super) const FEW: i64 = 4;
/// So many rows pay for packing B, whose rows may lie in few sets of the first cache where they are long.
const ROWS_PACKED: i64 = 512;

/// Whether a contraction is better off as a loop nest.
pub fn is_nest(graph: &Graph, node: &Node) -> bool {
    let Op::Contract { batch, sum } = &node.op else { return false };
    let free = |input: usize, used: &dyn Fn(&(usize, usize)) -> usize| {
        let ty = &graph.node(node.inputs[input]).ty;
        let free = |axis: &usize| batch.iter().chain(sum).all(|pair| used(pair) != *axis);
        (0..ty.rank()).filter(free).any(|axis| !ty.shape[axis].is(1))
    };
    node.ty.dtype != DType::F32 || sum.is_empty() || !free(0, &|p| p.0) || !free(1, &|p| p.1)
}

/// An operand in memory: the stride of each of its axes.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub buffer: BufferId,
    pub offset: Dim,
    pub strides: Vec<Dim>,
}

/// How B is kept.
#[derive(Clone, Debug)]
struct Kept {
    dtype: DType,
    /// Of its columns, where it is of i8.
    scales: Option<(BufferId, Dim)>,
}

/// How a contraction reads its operands.
#[derive(Clone, Debug)]
enum Operands {
    Wide,
    /// Both as floats of 16 bits.
    Halves(DType),
    /// B: where a weight lies, its type, and its scales. A is read as a float of 16 bits where it is widened from one and the weight is of i8, which
    /// are such floats too.
    Narrow((Operand, DType, Option<Operand>)),
}

impl Build<'_> {
    pub fn contract(
        &mut self,
        id: NodeId,
        out: BufferId,
        batch: &[(usize, usize)],
        sum: &[(usize, usize)],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        if let Some(dtype) = super::halves::of(self.graph, node, self.built.machine) {
            return self.contract_with(id, out, batch, sum, Operands::Halves(dtype)).map(|_| ());
        }
        let narrow = self.narrow(node.inputs[1]).map(Operands::Narrow);
        if let Some(narrow) = narrow
            && self.contract_with(id, out, batch, sum, narrow)?
        {
            return Ok(());
        }
        self.contract_with(id, out, batch, sum, Operands::Wide).map(|_| ())
    }

    /// False, and nothing is done, where the kernel cannot read this narrow weight.
    fn contract_with(
        &mut self,
        id: NodeId,
        out: BufferId,
        batch: &[(usize, usize)],
        sum: &[(usize, usize)],
        operands: Operands,
    ) -> Result<bool, Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        let (a_type, b_type) = (&graph.node(node.inputs[0]).ty, &graph.node(node.inputs[1]).ty);
        let halves = matches!(operands, Operands::Halves(_));
        let gpu = self.built.machine == Machine::Gpu;
        let beside = gpu
            && matches!(operands, Operands::Narrow((_, DType::I8, _)))
            && super::halves::behind(graph, node.inputs[0]).is_some();
        let a = if halves || beside { self.half(node.inputs[0])? } else { self.operand(node.inputs[0])? };
        let b = match &operands {
            Operands::Narrow((operand, _, _)) => operand.clone(),
            Operands::Halves(_) => self.half(node.inputs[1])?,
            Operands::Wide => self.operand(node.inputs[1])?,
        };
        let free = |rank: usize, used: &dyn Fn(&(usize, usize)) -> usize| -> Vec<usize> {
            (0..rank).filter(|axis| batch.iter().chain(sum).all(|pair| used(pair) != *axis)).collect()
        };
        let (free_a, free_b) = (free(a_type.rank(), &|p| p.0), free(b_type.rank(), &|p| p.1));
        let c = super::affine::strides(&node.ty.shape);
        let stride = |extent: &Dim, a: Option<&Dim>, b: Option<&Dim>, c: Option<&Dim>| Stride {
            extent: extent.clone(),
            a: a.cloned(),
            b: b.cloned(),
            c: c.cloned(),
        };
        let mut batches = Vec::new();
        for (place, (i, j)) in batch.iter().enumerate() {
            batches.push(stride(
                &a_type.shape[*i],
                Some(&a.strides[*i]),
                Some(&b.strides[*j]),
                Some(&c[place]),
            ));
        }
        let (mut m, mut n, mut k) = (Vec::new(), Vec::new(), Vec::new());
        for (place, i) in free_a.iter().enumerate() {
            m.push(stride(&a_type.shape[*i], Some(&a.strides[*i]), None, Some(&c[batch.len() + place])));
        }
        for (place, j) in free_b.iter().enumerate() {
            let c = &c[batch.len() + free_a.len() + place];
            n.push(stride(&b_type.shape[*j], None, Some(&b.strides[*j]), Some(c)));
        }
        for (i, j) in sum {
            k.push(stride(&a_type.shape[*i], Some(&a.strides[*i]), Some(&b.strides[*j]), None));
        }
        // The scale of a narrow weight belongs to a column of C: it moves with C's columns and with nothing else.
        let kept = match operands {
            Operands::Wide => Kept { dtype: DType::F32, scales: None },
            Operands::Halves(dtype) => Kept { dtype, scales: None },
            Operands::Narrow((_, dtype, scales)) => {
                let columns = |strides: &[Dim]| {
                    strides.iter().enumerate().all(|(axis, step)| {
                        let place = free_b.iter().position(|j| *j == axis);
                        let wanted = place.map(|place| c[batch.len() + free_a.len() + place].clone());
                        b_type.shape[axis].is(1) || *step == wanted.unwrap_or(Dim::constant(0))
                    })
                };
                if scales.as_ref().is_some_and(|scales| !columns(&scales.strides)) {
                    return Ok(false);
                }
                Kept { dtype, scales: scales.map(|scales| (scales.buffer, scales.offset)) }
            }
        };
        let is_narrow = kept.dtype != DType::F32 && !halves;
        // Weights that stay as they are are packed once for many runs; between the steps of a training they change. A loop has packed ones before it.
        let anywhere = self.built.machine == Machine::Gpu;
        let reads =
            (self.level == 0 || anywhere) && self.built.changed.is_empty() && self.built.lasts(b.buffer);

        // A sum may run in any order: that of memory makes long runs, or even one axis.
        k.sort_by_key(|axis| {
            let step = |stride: &Option<Dim>| stride.as_ref().map_or(0, |dim| self.built.estimate(dim));
            std::cmp::Reverse(step(&axis.a).saturating_add(step(&axis.b)))
        });
        let (mut batches, mut m, mut k, mut n) = (collapse(batches), collapse(m), collapse(k), collapse(n));
        if is_narrow && !(reads && batches.is_empty() && n.len() == 1 && k.len() == 1) {
            return Ok(false);
        }
        let (mut a_place, mut b_place) = ((a.buffer, a.offset), (b.buffer, b.offset));

        let unit = |n: &[Stride]| n.len() == 1 && n[0].b.as_ref().is_some_and(|s| s.is(1));
        let mut packed = false;
        if k.len() > 2 || m.len() > 2 {
            a_place = self.arrange(id, &mut batches, &mut m, &mut k, a_place, true);
        }
        // What many rows read is packed, and once before a loop what all its steps read.
        let rows: Vec<Dim> = m.iter().map(|s| s.extent.clone()).collect();
        let long = n.first().is_some_and(|n| self.built.estimate(&n.extent) > PANEL as i64);
        let height = self.built.estimate(&product(&rows));
        let again = self.invariant.contains(&b_place.0) || long && height >= ROWS_PACKED;
        let along = k.len() == 1 && k[0].b.as_ref().is_some_and(|s| s.is(1));
        let few = self.few(&batches, height) && n.len() == 1 && (unit(&n) || along);
        let matrix = batches.is_empty() && n.len() == 1 && k.len() == 1;
        let lasting = matrix && (long || is_narrow) && reads;
        let anywhere = anywhere && n.len() == 1 && k.len() <= 2;
        if anywhere || few && (along || !lasting) {
            // The kernel reads it as it is.
        } else if matrix && (again || lasting || !unit(&n)) {
            b_place = self.pack(id, &k[0], &n[0], b_place, kept.dtype);
            packed = true;
        } else if !unit(&n) || k.len() > 2 {
            b_place = self.arrange(id, &mut batches, &mut k, &mut n, b_place, false);
            n = collapse(n);
        }
        k = collapse(k);
        m = collapse(m);
        if k.len() > 2 {
            // The two operands' own orders of k do not fit together; after this both are row-major in it.
            a_place = self.arrange(id, &mut batches, &mut m, &mut k, a_place, true);
            k = collapse(k);
            m = collapse(m);
        }
        batches = collapse(batches);
        if m.is_empty() {
            m.push(unit_axis());
        }
        if k.is_empty() {
            k.push(Stride { extent: Dim::constant(1), a: Some(0i64.into()), b: Some(0i64.into()), c: None });
        }
        let [n] = n.as_slice() else { return Err(Stop::Need(node.inputs[1])) };
        self.contraction(node, id, out, (batches, m, k, n.clone()), (a_place, b_place), packed, kept);
        Ok(true)
    }

    fn contraction(
        &mut self,
        node: &Node,
        id: NodeId,
        out: BufferId,
        (batch, m, k, n): (Vec<Stride>, Vec<Stride>, Vec<Stride>, Stride),
        (a, b): ((BufferId, Dim), (BufferId, Dim)),
        packed: bool,
        kept: Kept,
    ) {
        let extents = |axes: &[Stride]| product(&axes.iter().map(|s| s.extent.clone()).collect::<Vec<_>>());
        let rows = extents(&batch) * extents(&m);
        let depth = extents(&k);
        let leading = batch.iter().chain(&m).next().map(|s| s.extent.clone());
        let flops = Dim::constant(2) * rows.clone() * n.extent.clone() * depth.clone();
        // Each task of rows reads all of B: too often where B is about as large as A, as in the gradient of a layer's weights.
        let (height, width) = (self.built.estimate(&rows), self.built.estimate(&n.extent));
        let tall = height >= 1024 && height >= TALL * width;
        // In a loop it is the loop that is cut into tasks.
        // Few rows would be few tasks.
        let of_few = |extent: &Dim| {
            self.built.batches().any(|(batch, few)| few && extent.exact_div(&Dim::symbol(batch)).is_some())
        };
        let symbolic = leading.is_some_and(|e| e.as_constant().is_none() && !of_few(&e));
        let by_rows = symbolic && !self.few(&batch, height) || tall || self.level > 0;
        if by_rows {
            let loops: Vec<Dim> = batch.iter().chain(&m).map(|s| s.extent.clone()).collect();
            let map = |offset: &Dim, of: &dyn Fn(&Stride) -> Option<Dim>| {
                let mut at = Affine::constant(offset.clone());
                for (variable, axis) in batch.iter().chain(&m).enumerate() {
                    if let Some(stride) = of(axis) {
                        at = at.plus(&Affine::variable(variable).scale(&stride));
                    }
                }
                at
            };
            let reach = |axes: &[&Stride], of: &dyn Fn(&Stride) -> Option<Dim>| {
                axes.iter().fold(Dim::constant(1), |sum, axis| {
                    sum + (axis.extent.clone() - Dim::constant(1)) * of(axis).unwrap_or(Dim::constant(0))
                })
            };
            let (of_a, of_b, of_c) =
                (|s: &Stride| s.a.clone(), |s: &Stride| s.b.clone(), |s: &Stride| s.c.clone());
            let inner_k: Vec<&Stride> = k.iter().collect();
            let mut inner_b = inner_k.clone();
            inner_b.push(&n);
            let access = |buffer, write, at, reach| Access {
                buffer,
                write,
                at: Some(at),
                reach,
                extents: loops.clone(),
            };
            let mut accesses = vec![
                access(a.0, false, map(&a.1, &of_a), reach(&inner_k, &of_a)),
                access(b.0, false, map(&b.1, &of_b), reach(&inner_b, &of_b)),
                access(out, true, map(&Dim::constant(0), &of_c), n.extent.clone()),
            ];
            if packed {
                accesses[1].at = None;
            }
            let mut buffers = vec![a, b, (out, Dim::constant(0))];
            if let Some(scales) = kept.scales {
                let scale = access(scales.0, false, Affine::constant(0i64), Dim::constant(1));
                accesses.insert(2, Access { at: None, ..scale });
                buffers.insert(2, scales);
            }
            let partition = Partition::Rows;
            let kernel = Kernel::Contraction {
                batch,
                m,
                k,
                n,
                packed,
                kept: kept.dtype,
                partition,
                splits: 1,
                adds: false,
            };
            self.built.drafts.push(Draft {
                work: Work::Kernel(kernel),
                buffers,
                accesses,
                loops,
                space: rows,
                path: node.path.clone(),
                span: node.span,
                flops,
            });
            return;
        }
        let tiles = extents(&batch)
            * extents(&m).ceil_div(&Dim::from(TILE_ROWS))
            * n.extent.ceil_div(&Dim::from(PANEL));
        let wanted = self.built.machine.tiles_wanted();
        let splits = splits(wanted, self.built.estimate(&tiles), self.built.estimate(&depth) / 256);
        let space = Dim::constant(splits) * tiles;
        let kernel = Kernel::Contraction {
            batch,
            m,
            k,
            n,
            packed,
            kept: kept.dtype,
            partition: Partition::Tiles,
            splits: splits as u32,
            adds: false,
        };
        let place = self.parts(node, id, out, &Dim::constant(splits));
        let ins = [a, b].into_iter().chain(kept.scales).collect();
        self.runtime_kernel(node, kernel, ins, vec![place], space, flops);
        self.add_parts(node, place, out, &Dim::constant(splits));
    }

    /// Whether all that counts is how fast B is read. (In a loop it stays in cache.)
    fn few(&self, batch: &[Stride], rows: i64) -> bool {
        batch.is_empty() && rows <= FEW && self.level == 0
    }

    /// Where a kernel writes whose sum is cut into parts: `out` itself when there is but one.
    pub fn parts(&mut self, node: &Node, id: NodeId, out: BufferId, splits: &Dim) -> BufferId {
        if splits.is(1) {
            return out;
        }
        self.buffer(id, node.ty.dtype, splits.clone() * node.ty.elements(), Storage::Unused)
    }

    /// The nest that adds the parts up, if there are any.
    pub fn add_parts(&mut self, node: &Node, parts: BufferId, out: BufferId, splits: &Dim) {
        if parts != out {
            let from = [splits.clone(), node.ty.elements()];
            let stage = fold_leading(Reduction::Sum, node.ty.dtype, parts, out, &from);
            self.nest(node, 0, vec![stage]);
        }
    }

    /// Where an operand lies, with a stride for each of its axes.
    pub(super) fn operand(&self, id: NodeId) -> Result<Operand, Stop> {
        let shape = &self.graph.node(id).ty.shape;
        let (buffer, at) = self.reader(shape.clone()).locate(id, &identity(shape, 0))?;
        let strides: Vec<Dim> = (0..shape.len()).map(|axis| at.coefficient(axis)).collect();
        if !strides.iter().chain([&at.constant]).all(is_nonnegative) {
            return Err(Stop::Need(id));
        }
        Ok(Operand { buffer, offset: at.constant, strides })
    }

    /// Where an operand lies before it is widened.
    pub(super) fn half(&self, id: NodeId) -> Result<Operand, Stop> {
        super::halves::behind(self.graph, id).map_or(Err(Stop::Need(id)), |(narrow, _)| self.operand(narrow))
    }

    /// The narrow weight that an operand is, its type, and where its scales lie.
    fn narrow(&self, id: NodeId) -> Option<(Operand, DType, Option<Operand>)> {
        let shape = &self.graph.node(id).ty.shape;
        let found = self.reader(shape.clone()).locate_narrow(id, &identity(shape, 0))?;
        let operand = |buffer: BufferId, at: Affine| {
            let strides: Vec<Dim> = (0..shape.len()).map(|axis| at.coefficient(axis)).collect();
            let sound = strides.iter().chain([&at.constant]).all(is_nonnegative);
            sound.then_some(Operand { buffer, offset: at.constant, strides })
        };
        let scales = match found.scale {
            Some((buffer, at)) => Some(operand(buffer, at)?),
            None => None,
        };
        // Values of i8 without scales are a spec's own numbers.
        if (found.dtype == DType::I8) != scales.is_some() {
            return None;
        }
        Some((operand(found.buffer, found.at)?, found.dtype, scales))
    }

    /// Packs B, given by its k and n axes, into panels.
    fn pack(
        &mut self,
        id: NodeId,
        k: &Stride,
        n: &Stride,
        from: (BufferId, Dim),
        kept: DType,
    ) -> (BufferId, Dim) {
        let node = self.graph.node(id);
        let panels = n.extent.ceil_div(&Dim::from(PANEL));
        let elements = panels.clone() * k.extent.clone() * Dim::from(PANEL);
        let to = self.buffer(id, kept, elements, Storage::Unused);
        let side = |s: &Stride| Stride { extent: s.extent.clone(), a: s.b.clone(), b: None, c: None };
        let taps = Stride { extent: Dim::constant(1), a: Some(Dim::constant(0)), b: None, c: None };
        let kernel = Kernel::Pack { taps, k: side(k), n: side(n), kept };
        // It moves numbers and computes none.
        self.runtime_kernel(node, kernel, vec![from], vec![to], panels, Dim::constant(0));
        (to, Dim::constant(0))
    }

    /// Copies an operand into the order batch, outer, inner, row-major, and sets its strides accordingly: a (`of_a`: outer is m,
    /// inner is k) or b (outer is k, inner is n).
    fn arrange(
        &mut self,
        id: NodeId,
        batch: &mut [Stride],
        outer: &mut [Stride],
        inner: &mut [Stride],
        from: (BufferId, Dim),
        of_a: bool,
    ) -> (BufferId, Dim) {
        let node = self.graph.node(id);
        let mut axes: Vec<&mut Stride> =
            batch.iter_mut().chain(outer.iter_mut()).chain(inner.iter_mut()).collect();
        let shape: Vec<Dim> = axes.iter().map(|s| s.extent.clone()).collect();
        let mut load = Affine::constant(from.1);
        for ((variable, axis), stride) in axes.iter_mut().enumerate().zip(super::affine::strides(&shape)) {
            let slot = if of_a { &mut axis.a } else { &mut axis.b };
            let old = slot.replace(stride).unwrap_or(Dim::constant(0));
            load = load.plus(&Affine::variable(variable).scale(&old));
        }
        let dtype = self.built.buffers[from.0.index()].dtype;
        let to = self.buffer(id, dtype, product(&shape), Storage::Unused);
        let mut values = Values::default();
        let value = values.push(ValueOp::Load { buffer: from.0, at: load, when: None }, dtype);
        let at = super::affine::flatten(&identity(&shape, 0), &shape);
        let stage = Stage {
            kept: shape,
            values: values.list,
            stores: vec![Store { buffer: to, at, value, accumulate: false, inner: false }],
            ..Stage::default()
        };
        self.nest(node, 0, vec![stage]);
        (to, Dim::constant(0))
    }
}

/// Into how many parts to cut a sum of so many tiles, at most, so that there is work for all.
pub fn splits(wanted: i64, tiles: i64, most: i64) -> i64 {
    if tiles >= wanted { 1 } else { (wanted / tiles.max(1)).min(most).max(1) }
}

fn unit_axis() -> Stride {
    Stride { extent: Dim::constant(1), a: Some(Dim::constant(0)), b: None, c: Some(Dim::constant(0)) }
}

/// Drops axes of extent 1 and merges neighbours that are one axis in every operand.
fn collapse(axes: Vec<Stride>) -> Vec<Stride> {
    let mut merged: Vec<Stride> = Vec::new();
    for axis in axes {
        if axis.extent.is(1) {
            continue;
        }
        let even = |outer: &Option<Dim>, inner: &Option<Dim>| match (outer, inner) {
            (Some(outer), Some(inner)) => *outer == inner.clone() * axis.extent.clone(),
            (None, None) => true,
            _ => false,
        };
        match merged.last_mut() {
            Some(last) if even(&last.a, &axis.a) && even(&last.b, &axis.b) && even(&last.c, &axis.c) => {
                let extent = last.extent.clone() * axis.extent.clone();
                *last = Stride { extent, ..axis };
            }
            _ => merged.push(axis),
        }
    }
    merged
}
