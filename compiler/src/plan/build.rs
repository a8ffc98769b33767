//! One kernel (or a few) per materialised node.

use super::affine::{self, Affine};
use super::nest::{How, Nest, Reduce, Stage, Store, ValueOp, Values};
use super::select::Selection;
use super::values::{Place, Reader, identity};
use super::{Access, Buffer, BufferId, Built, Draft, Kernel, Machine, PlanError, Stop, Storage, Work};
use crate::graph::op::{Op, Reduction};
use crate::graph::text::names;
use crate::graph::{DType, Dim, Entry, Graph, Node, NodeId, Variable};
use std::collections::{BTreeMap, BTreeSet};
use weft_runtime::program::InputSource;

/// Reductions over more rows than this are done in blocks, then over the blocks.
const LONG: i64 = 4096;
const BLOCKS: i64 = 64;

/// The state of building: buffers and drafts so far.
#[derive(Debug)]
pub struct Build<'a> {
    pub graph: &'a Graph,
    pub selection: &'a Selection,
    /// What the graph's text calls each node; buffers are called after them.
    names: Vec<String>,
    /// Where each materialised node is.
    pub places: Vec<Option<Place>>,
    /// Buffers that wait for the value of a node.
    pub targets: BTreeMap<NodeId, BufferId>,
    /// The results of each scan that somebody reads, by number.
    pub results: BTreeMap<NodeId, Vec<Option<BufferId>>>,
    /// How many loops stand around the graph.
    pub level: usize,
    /// Buffers that are the same for all steps of the innermost of them.
    pub invariant: BTreeSet<BufferId>,
    pub built: Built,
}

pub fn build(
    entry: &Entry,
    variables: &[Variable],
    selection: &Selection,
    machine: Machine,
) -> Result<Built, Stop> {
    let graph = &entry.graph;
    let changed = graph.updates.iter().filter_map(|(path, _)| variable(variables, path)).collect();
    let built = Built { machine, sizes: graph.bounds.clone(), changed, ..Built::default() };
    let mut build = Build::new(graph, selection, built, 0);
    build.inputs(entry)?;
    let mut variable_places = vec![None; variables.len()];
    for id in graph.ids().filter(|id| selection.live[id.index()] && selection.materialised[id.index()]) {
        let node = graph.node(id);
        let place = match &node.op {
            Op::Input(name) => {
                let place = build.built.inputs.iter().find(|i| i.0 == *name).map(|i| i.4);
                place.ok_or_else(|| PlanError::at(node, format!("there is no input `{name}`")))?
            }
            Op::Variable(path) => {
                let place = variable(variables, path)
                    .ok_or_else(|| PlanError::at(node, format!("there is no variable `{path}`")))?;
                build.variable(variables, place, &mut variable_places)
            }
            _ => {
                build.node(id)?;
                continue;
            }
        };
        build.places[id.index()] = Some(Place::of(place));
    }
    for (name, id) in &graph.outputs {
        let node = graph.node(*id);
        let mut place = build.place(*id)?;
        // What the caller gets is no input or variable itself, which may change.
        if matches!(build.built.buffers[place.index()].storage, Storage::Variable(_))
            || build.built.inputs.iter().any(|i| i.4 == place)
        {
            place = build.copy(*id, place, None);
        }
        build.built.outputs.push((name.clone(), node.ty.dtype, node.ty.shape.clone(), place));
    }
    for (path, id) in &graph.updates {
        let node = graph.node(*id);
        let at = variable(variables, path)
            .ok_or_else(|| PlanError::at(node, format!("there is no variable `{path}`")))?;
        let target = build.variable(variables, at, &mut variable_places);
        let mut place = build.place(*id)?;
        // Another variable's old value is read before any variable changes.
        if matches!(build.built.buffers[place.index()].storage, Storage::Variable(_)) {
            place = build.copy(*id, place, None);
        }
        build.built.updates.push((place, target));
    }
    Ok(build.built)
}

fn variable(variables: &[Variable], path: &str) -> Option<usize> {
    variables.iter().position(|v| v.path == path)
}

/// Constant elements as bytes.
fn bytes_of(values: &[f64], dtype: DType) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() * dtype.size());
    for v in values {
        match dtype {
            DType::F32 => bytes.extend((*v as f32).to_le_bytes()),
            DType::F64 => bytes.extend(v.to_le_bytes()),
            DType::I8 => bytes.extend((*v as i8).to_le_bytes()),
            DType::U8 => bytes.push(*v as u8),
            DType::I32 => bytes.extend((*v as i32).to_le_bytes()),
            DType::I64 => bytes.extend((*v as i64).to_le_bytes()),
            DType::Bool => bytes.push(u8::from(*v != 0.0)),
            // The evaluator and a cast round them; a table that a pass or a spec makes holds numbers of its type.
            DType::F16 => bytes.extend(half::f16::from_f64(*v).to_le_bytes()),
            DType::BF16 => bytes.extend(half::bf16::from_f64(*v).to_le_bytes()),
        }
    }
    Some(bytes)
}

impl<'a> Build<'a> {
    pub fn new(graph: &'a Graph, selection: &'a Selection, built: Built, level: usize) -> Build<'a> {
        Build {
            graph,
            selection,
            names: names(graph),
            places: vec![None; graph.nodes.len()],
            targets: BTreeMap::new(),
            results: BTreeMap::new(),
            level,
            invariant: BTreeSet::new(),
            built,
        }
    }

    /// Gives a node that is no leaf its place, and the kernels that fill it.
    pub fn node(&mut self, id: NodeId) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let place = match &node.op {
            Op::Table(values) => {
                let bytes = bytes_of(values, node.ty.dtype)
                    .ok_or_else(|| PlanError::at(node, "has no constant form for this type"))?;
                self.buffer(id, node.ty.dtype, node.ty.elements(), Storage::Constant(bytes))
            }
            // Another part of the same attention has computed it.
            Op::Attention(_) if self.places[id.index()].is_some() => return Ok(()),
            Op::Scan(scan) => return self.scan(id, scan),
            Op::ScanResult { index } => {
                let results = node.inputs.first().and_then(|scan| self.results.get(scan));
                let place = results.and_then(|list| list.get(*index).copied().flatten());
                place.ok_or_else(|| PlanError::at(node, "is no result of a scan"))?
            }
            _ => {
                let place = match (self.targets.get(&id), self.grown(id)) {
                    (Some(target), _) => *target,
                    // New rows are written behind those that are there.
                    (None, Some(before)) => {
                        self.buffer(id, node.ty.dtype, node.ty.elements(), Storage::Alias(before))
                    }
                    (None, None) => self.buffer(id, node.ty.dtype, node.ty.elements(), Storage::Unused),
                };
                self.kernel(id, place)?;
                place
            }
        };
        self.places[id.index()] = Some(Place::of(place));
        Ok(())
    }

    fn inputs(&mut self, entry: &Entry) -> Result<(), Stop> {
        for (number, (name, ty, source)) in entry.inputs.iter().enumerate() {
            let kept = matches!(source, InputSource::Kept | InputSource::Carried { .. });
            let place = BufferId(self.built.buffers.len() as u32);
            self.built.buffers.push(Buffer {
                name: name.clone(),
                dtype: ty.dtype,
                elements: ty.elements(),
                storage: if kept { Storage::Kept(number) } else { Storage::Unused },
            });
            self.built.inputs.push((name.clone(), ty.dtype, ty.shape.clone(), source.clone(), place));
        }
        Ok(())
    }

    /// The memory that this node makes longer: it is what a step carries on, and begins with what it was given.
    pub fn grown(&self, id: NodeId) -> Option<BufferId> {
        let graph = self.graph;
        let (Op::Concat { axis: 0 }, &[before, _]) = (&graph.node(id).op, graph.node(id).inputs.as_slice())
        else {
            return None;
        };
        let Op::Input(name) = &graph.node(before).op else { return None };
        let input = self.built.inputs.iter().find(|input| input.0 == *name)?;
        let carried = input.3 == InputSource::Carried { grows: true }
            && graph.outputs.iter().any(|output| output.0 == *name && output.1 == id);
        // Whoever else reads it would see what is written.
        let readers =
            graph.nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == before).count();
        (carried && readers == 1).then_some(input.4)
    }

    fn place(&self, id: NodeId) -> Result<BufferId, Stop> {
        self.places[id.index()].as_ref().map(|place| place.buffer).ok_or(Stop::Need(id))
    }

    fn variable(&mut self, variables: &[Variable], at: usize, places: &mut [Option<BufferId>]) -> BufferId {
        if let Some(place) = places[at] {
            return place;
        }
        let v = &variables[at];
        let place = BufferId(self.built.buffers.len() as u32);
        self.built.buffers.push(Buffer {
            name: v.path.clone(),
            dtype: v.ty.dtype,
            elements: v.ty.elements(),
            storage: Storage::Variable(at),
        });
        places[at] = Some(place);
        place
    }

    /// A new buffer, named for a node.
    pub fn buffer(&mut self, id: NodeId, dtype: DType, elements: Dim, storage: Storage) -> BufferId {
        let name = format!("%{}", self.names[id.index()]);
        self.new_buffer(Buffer { name, dtype, elements, storage })
    }

    pub fn new_buffer(&mut self, buffer: Buffer) -> BufferId {
        self.built.buffers.push(buffer);
        BufferId(self.built.buffers.len() as u32 - 1)
    }

    pub fn reader(&self, extents: Vec<Dim>) -> Reader<'_> {
        Reader::new(self.graph, self.selection, &self.places, extents)
    }

    /// A kernel that copies a buffer.
    fn copy(&mut self, id: NodeId, from: BufferId, to: Option<BufferId>) -> BufferId {
        let ty = &self.graph.node(id).ty;
        let to = to.unwrap_or_else(|| self.buffer(id, ty.dtype, ty.elements(), Storage::Unused));
        let draft = copy(self.graph.node(id), from, to);
        self.built.drafts.push(draft);
        to
    }

    /// The kernels that compute `id` into `out`.
    fn kernel(&mut self, id: NodeId, out: BufferId) -> Result<(), Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        match &node.op {
            Op::Reduce { reduction, axes } => self.reduce(id, out, *reduction, axes),
            Op::ArgReduce { largest, axes } => {
                let stage = self.reduction(id, out, How::Arg { largest: *largest }, axes)?;
                self.nest(node, 0, vec![stage]);
                Ok(())
            }
            Op::Contract { batch, sum } => {
                if super::contract::is_nest(graph, node) {
                    self.product(id, out, batch, sum)
                } else {
                    self.contract(id, out, batch, sum)
                }
            }
            Op::Attention(attention) => self.attention(id, out, attention),
            Op::Conv(conv) | Op::ConvData(conv) | Op::ConvWeights(conv) => self.convolution(id, out, conv),
            Op::ScatterAdd { axis } => {
                let shape = &node.ty.shape;
                let count = graph.node(node.inputs[1]).ty.elements();
                self.float(node)?;
                let updates = self.contiguous(node.inputs[0])?;
                let indices = self.contiguous(node.inputs[1])?;
                let (outer, inner) = (product(&shape[..*axis]), product(&shape[axis + 1..]));
                let kernel = Kernel::ScatterAdd {
                    axis: shape[*axis].clone(),
                    count: count.clone(),
                    inner: inner.clone(),
                };
                let space = outer.clone() * shape[*axis].clone();
                let flops = outer * count * inner;
                self.runtime_kernel(node, kernel, vec![updates, indices], vec![out], space, flops);
                Ok(())
            }
            Op::CumulativeSum { axis, reverse, exclusive } => {
                let shape = &node.ty.shape;
                self.float(node)?;
                let x = self.contiguous(node.inputs[0])?;
                let kernel = Kernel::CumulativeSum {
                    axis: shape[*axis].clone(),
                    inner: product(&shape[axis + 1..]),
                    reverse: *reverse,
                    exclusive: *exclusive,
                };
                let space = product(&shape[..*axis]);
                let rows = product(&shape[*axis..]);
                self.rows_kernel(node, kernel, x, vec![(out, rows.clone())], rows, space);
                Ok(())
            }
            Op::Sort { falling, indices } => {
                let from = graph.node(node.inputs[0]);
                let dtype = from.ty.dtype;
                if matches!(dtype, DType::F16 | DType::BF16) {
                    self.float(from)?;
                }
                let x = self.contiguous(node.inputs[0])?;
                let axis = from.ty.shape.last().cloned().unwrap_or(Dim::constant(1));
                let space = product(&from.ty.shape[..from.ty.rank().saturating_sub(1)]);
                let count = node.ty.shape.last().cloned().unwrap_or(Dim::constant(1));
                let other = if *indices { dtype } else { DType::I32 };
                let other = self.buffer(id, other, space.clone() * count.clone(), Storage::Unused);
                let (values, places) = if *indices { (other, out) } else { (out, other) };
                let kernel =
                    Kernel::Sort { dtype, axis: axis.clone(), count: count.clone(), falling: *falling };
                let outs = vec![(values, count.clone()), (places, count)];
                self.rows_kernel(node, kernel, x, outs, axis, space);
                Ok(())
            }
            Op::Gather { axis } => self.gather(id, out, *axis),
            Op::Unwindow { axis, size, stride, dilation } => {
                self.unwindow(id, out, *axis, size, stride, dilation)
            }
            Op::Concat { axis } => self.concat(id, out, *axis),
            _ => {
                let shape = &node.ty.shape;
                let index = identity(shape, 0);
                let mut reader = self.reader(shape.clone());
                let value = reader.compute(id, &index)?;
                let store = Store {
                    buffer: out,
                    at: affine::flatten(&index, shape),
                    value,
                    accumulate: false,
                    inner: false,
                };
                let stage = Stage {
                    kept: shape.clone(),
                    values: reader.values.list,
                    stores: vec![store],
                    ..Stage::default()
                };
                self.nest(node, 0, vec![stage]);
                Ok(())
            }
        }
    }

    /// Adds a nest. `fixed` > 0 fixes the index space to that many leading loops; 0 leaves it open (see [`super::normal`]).
    pub fn nest(&mut self, node: &Node, fixed: usize, stages: Vec<Stage>) {
        let mut stages = stages;
        for stage in &mut stages {
            stage.tidy();
            if stage.reduced.is_empty() {
                super::normal::pass_through(stage);
            }
        }
        self.built.drafts.push(Draft::nest(node, Nest::new(fixed, stages)));
    }

    fn float(&self, node: &Node) -> Result<(), PlanError> {
        if node.ty.dtype == DType::F32 {
            return Ok(());
        }
        Err(PlanError::at(node, format!("runs on f32 only, not {}", node.ty.dtype.name())))
    }

    /// A buffer (and offset) that holds `id` row-major.
    pub fn contiguous(&self, id: NodeId) -> Result<(BufferId, Dim), Stop> {
        let shape = &self.graph.node(id).ty.shape;
        let index = identity(shape, 0);
        let (buffer, at) = self.reader(shape.clone()).locate(id, &index)?;
        let plain = affine::flatten(&index, shape);
        if at.terms == plain.terms { Ok((buffer, at.constant)) } else { Err(Stop::Need(id)) }
    }

    fn reduce(
        &mut self,
        id: NodeId,
        out: BufferId,
        reduction: Reduction,
        axes: &[usize],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let from = &self.graph.node(node.inputs[0]).ty.shape;
        let whole = axes.first() == Some(&0) && !from[0].is(1);
        let others: Vec<usize> = axes.iter().copied().filter(|a| *a != 0).collect();
        // For a GPU, sums over columns have been cut in the graph ([`crate::passes::moments`]).
        let cut = self.built.machine == Machine::Gpu
            && reduction == Reduction::Sum
            && !axes.contains(&(from.len() - 1));
        if whole && !cut && others.iter().any(|a| !from[*a].is(1)) {
            // First within each step of the leading axis, so that the work can be cut along it; then along it.
            let kept: Vec<Dim> =
                (0..from.len()).filter(|a| !others.contains(a)).map(|a| from[a].clone()).collect();
            let partial = self.buffer(id, node.ty.dtype, product(&kept), Storage::Unused);
            let stage = self.reduction(id, partial, How::Fold(reduction), &others)?;
            self.nest(node, 0, vec![stage]);
            let stage = fold_leading(reduction, node.ty.dtype, partial, out, &kept);
            self.nest(node, 0, vec![stage]);
            return Ok(());
        }
        if whole && from.len() > 1 && self.built.estimate(&from[0]) >= LONG {
            let (stage, partial) = self.blocks(id, reduction)?;
            self.nest(node, 0, vec![stage]);
            let mut kept = vec![Dim::constant(BLOCKS)];
            kept.extend_from_slice(&from[1..]);
            let stage = fold_leading(reduction, node.ty.dtype, partial, out, &kept);
            self.nest(node, 0, vec![stage]);
            return Ok(());
        }
        let stage = self.reduction(id, out, How::Fold(reduction), axes)?;
        self.nest(node, 0, vec![stage]);
        Ok(())
    }

    /// The leading axis in [`BLOCKS`] equal blocks; the last one is cut by a guard.
    fn blocks(&mut self, id: NodeId, reduction: Reduction) -> Result<(Stage, BufferId), Stop> {
        let node = self.graph.node(id);
        let from = &self.graph.node(node.inputs[0]).ty.shape;
        let block = from[0].ceil_div(&Dim::constant(BLOCKS));
        let mut kept = vec![Dim::constant(BLOCKS)];
        kept.extend_from_slice(&from[1..]);
        let partial = self.buffer(id, node.ty.dtype, product(&kept), Storage::Unused);
        let row = Affine::variable(0).scale(&block).plus(&Affine::variable(kept.len()));
        let mut index = vec![row.clone()];
        index.extend(identity(&from[1..], 1));
        let mut extents = kept.clone();
        extents.push(block.clone());
        let mut reader = self.reader(extents);
        let inside = reader.values.push(ValueOp::Inside(vec![(row, from[0].clone())]), DType::Bool);
        let value = reader.read_guarded(node.inputs[0], &index, inside)?;
        let neutral = reader.values.constant(neutral(reduction, node.ty.dtype), node.ty.dtype);
        let of = reader.values.push(ValueOp::Select(inside, value, neutral), node.ty.dtype);
        let result = reader.values.push(ValueOp::Reduced(0), node.ty.dtype);
        let at = affine::flatten(&identity(&kept, 0), &kept);
        Ok((
            Stage {
                kept,
                reduced: vec![block],
                values: reader.values.list,
                reductions: vec![Reduce { how: How::Fold(reduction), of }],
                stores: vec![Store { buffer: partial, at, value: result, accumulate: false, inner: false }],
                vector: None,
            },
            partial,
        ))
    }

    /// A reduction of input 0 over `axes` into `out`.
    fn reduction(&mut self, id: NodeId, out: BufferId, how: How, axes: &[usize]) -> Result<Stage, Stop> {
        let node = self.graph.node(id);
        let from = &self.graph.node(node.inputs[0]).ty.shape;
        let kept_axes: Vec<usize> = (0..from.len()).filter(|a| !axes.contains(a)).collect();
        let order: Vec<usize> = kept_axes.iter().chain(axes).copied().collect();
        let mut index = vec![Affine::constant(0i64); from.len()];
        for (place, axis) in order.iter().enumerate() {
            if !from[*axis].is(1) {
                index[*axis] = Affine::variable(place);
            }
        }
        let extents: Vec<Dim> = order.iter().map(|a| from[*a].clone()).collect();
        let (kept, reduced) = extents.split_at(kept_axes.len());
        let (kept, reduced) = (kept.to_vec(), reduced.to_vec());
        let mut reader = self.reader(extents);
        let of = reader.read(node.inputs[0], &index)?;
        let value = reader.values.push(ValueOp::Reduced(0), node.ty.dtype);
        let at = affine::flatten(&identity(&kept, 0), &kept);
        Ok(Stage {
            kept,
            reduced,
            values: reader.values.list,
            reductions: vec![Reduce { how, of }],
            stores: vec![Store { buffer: out, at, value, accumulate: false, inner: false }],
            vector: None,
        })
    }

    /// A contraction as a sum of products, for shapes that the contraction kernel has no form for.
    fn product(
        &mut self,
        id: NodeId,
        out: BufferId,
        batch: &[(usize, usize)],
        sum: &[(usize, usize)],
    ) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let (a, b) = (&self.graph.node(node.inputs[0]).ty, &self.graph.node(node.inputs[1]).ty);
        let mut index_a = vec![Affine::constant(0i64); a.rank()];
        let mut index_b = vec![Affine::constant(0i64); b.rank()];
        let (mut kept, mut reduced) = (Vec::new(), Vec::new());
        for (i, j) in batch {
            index_a[*i] = Affine::variable(kept.len());
            index_b[*j] = Affine::variable(kept.len());
            kept.push(a.shape[*i].clone());
        }
        for i in (0..a.rank()).filter(|i| batch.iter().chain(sum).all(|(a, _)| a != i)) {
            index_a[i] = Affine::variable(kept.len());
            kept.push(a.shape[i].clone());
        }
        for j in (0..b.rank()).filter(|j| batch.iter().chain(sum).all(|(_, b)| b != j)) {
            index_b[j] = Affine::variable(kept.len());
            kept.push(b.shape[j].clone());
        }
        for (i, j) in sum {
            index_a[*i] = Affine::variable(kept.len() + reduced.len());
            index_b[*j] = Affine::variable(kept.len() + reduced.len());
            reduced.push(a.shape[*i].clone());
        }
        let mut reader = self.reader(kept.iter().chain(&reduced).cloned().collect());
        let x = reader.read(node.inputs[0], &index_a)?;
        let y = reader.read(node.inputs[1], &index_b)?;
        let dtype = node.ty.dtype;
        let of = reader.values.push(ValueOp::Binary(crate::graph::op::Binary::Mul, x, y), dtype);
        let value = reader.values.push(ValueOp::Reduced(0), dtype);
        let at = affine::flatten(&identity(&kept, 0), &kept);
        let stage = Stage {
            kept,
            reduced,
            values: reader.values.list,
            reductions: vec![Reduce { how: How::Fold(Reduction::Sum), of }],
            stores: vec![Store { buffer: out, at, value, accumulate: false, inner: false }],
            vector: None,
        };
        self.nest(node, 0, vec![stage]);
        Ok(())
    }

    /// Rows of a table, by the runtime's kernel, which reports an index out of range.
    fn gather(&mut self, id: NodeId, out: BufferId, axis: usize) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let shape = &self.graph.node(node.inputs[0]).ty.shape;
        let count = self.graph.node(node.inputs[1]).ty.elements();
        let table = self.contiguous(node.inputs[0])?;
        let indices = self.contiguous(node.inputs[1])?;
        let (outer, inner) = (product(&shape[..axis]), product(&shape[axis + 1..]));
        let kernel = Kernel::Gather {
            dtype: node.ty.dtype,
            axis: shape[axis].clone(),
            count: count.clone(),
            inner: inner.clone(),
        };
        let space = outer.clone() * count.clone();
        self.runtime_kernel(
            node,
            kernel,
            vec![table, indices],
            vec![out],
            space.clone(),
            space.clone() * inner.clone(),
        );
        if let (true, Some(draft)) = (outer.is(1), self.built.drafts.last_mut()) {
            // One row of the result for each index: cut along with what reads it.
            let row = |offset: Dim, size: &Dim| {
                Some(Affine::variable(0).scale(size).plus(&Affine::constant(offset)))
            };
            draft.accesses[1].at = row(draft.buffers[1].1.clone(), &Dim::constant(1));
            draft.accesses[2].at = row(Dim::constant(0), &inner);
            draft.accesses[2].reach = inner;
            draft.accesses[1].extents = vec![space.clone()];
            draft.accesses[2].extents = vec![space];
        }
        Ok(())
    }

    /// A kernel over rows: `space` rows of `reach` elements in, and of the given lengths out.
    fn rows_kernel(
        &mut self,
        node: &Node,
        kernel: Kernel,
        input: (BufferId, Dim),
        outs: Vec<(BufferId, Dim)>,
        reach: Dim,
        space: Dim,
    ) {
        let access = |buffer, offset: &Dim, row: &Dim, write| Access {
            buffer,
            write,
            at: Some(Affine::variable(0).scale(row).plus(&Affine::constant(offset.clone()))),
            reach: row.clone(),
            extents: vec![space.clone()],
        };
        let mut accesses = vec![access(input.0, &input.1, &reach, false)];
        let mut buffers = vec![input];
        for (buffer, row) in outs {
            accesses.push(access(buffer, &Dim::constant(0), &row, true));
            buffers.push((buffer, Dim::constant(0)));
        }
        self.built.drafts.push(Draft {
            work: Work::Kernel(kernel),
            buffers,
            accesses,
            loops: vec![space.clone()],
            flops: space.clone() * reach,
            space,
            path: node.path.clone(),
            span: node.span,
        });
    }

    /// A runtime kernel that is not cut along with others.
    pub fn runtime_kernel(
        &mut self,
        node: &Node,
        kernel: Kernel,
        ins: Vec<(BufferId, Dim)>,
        outs: Vec<BufferId>,
        space: Dim,
        flops: Dim,
    ) {
        let access =
            |buffer, write| Access { buffer, write, at: None, reach: Dim::constant(1), extents: Vec::new() };
        let accesses =
            ins.iter().map(|(b, _)| access(*b, false)).chain(outs.iter().map(|b| access(*b, true))).collect();
        let buffers = ins.into_iter().chain(outs.into_iter().map(|b| (b, Dim::constant(0)))).collect();
        self.built.drafts.push(Draft {
            work: Work::Kernel(kernel),
            buffers,
            accesses,
            loops: vec![space.clone()],
            space,
            path: node.path.clone(),
            span: node.span,
            flops,
        });
    }
}

impl Draft {
    /// A loop nest for a node; its accesses follow when its loops are final.
    pub fn nest(node: &Node, nest: Nest) -> Draft {
        Draft {
            work: Work::Kernel(Kernel::Nest(nest)),
            buffers: Vec::new(),
            accesses: Vec::new(),
            loops: Vec::new(),
            space: Dim::constant(1),
            path: node.path.clone(),
            span: node.span,
            flops: Dim::constant(0),
        }
    }
}

/// A nest that copies one buffer of a node's type to another.
pub fn copy(node: &Node, from: BufferId, to: BufferId) -> Draft {
    let shape = &node.ty.shape;
    let at = affine::flatten(&identity(shape, 0), shape);
    let mut values = Values::default();
    let value = values.push(ValueOp::Load { buffer: from, at: at.clone(), when: None }, node.ty.dtype);
    let stage = Stage {
        kept: shape.clone(),
        values: values.list,
        stores: vec![Store { buffer: to, at, value, accumulate: false, inner: false }],
        ..Stage::default()
    };
    Draft::nest(node, Nest::new(0, vec![stage]))
}

/// Folds the leading axis of a buffer of shape `from`.
pub fn fold_leading(
    reduction: Reduction,
    dtype: DType,
    buffer: BufferId,
    out: BufferId,
    from: &[Dim],
) -> Stage {
    let kept = from[1..].to_vec();
    let mut values = Values::default();
    let mut index = vec![Affine::variable(kept.len())];
    index.extend(identity(&kept, 0));
    let at = affine::flatten(&index, from);
    let of = values.push(ValueOp::Load { buffer, at, when: None }, dtype);
    let value = values.push(ValueOp::Reduced(0), dtype);
    let at = affine::flatten(&identity(&kept, 0), &kept);
    Stage {
        kept,
        reduced: vec![from[0].clone()],
        values: values.list,
        reductions: vec![Reduce { how: How::Fold(reduction), of }],
        stores: vec![Store { buffer: out, at, value, accumulate: false, inner: false }],
        vector: None,
    }
}

/// What a reduction starts from.
pub fn neutral(reduction: Reduction, dtype: DType) -> f64 {
    let (low, high) = match dtype {
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DType::I64 => (i64::MIN as f64, i64::MAX as f64),
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    match reduction {
        Reduction::Sum | Reduction::Any => 0.0,
        Reduction::Prod | Reduction::All => 1.0,
        Reduction::Max => low,
        Reduction::Min => high,
    }
}

pub fn product(dims: &[Dim]) -> Dim {
    dims.iter().cloned().fold(Dim::constant(1), |a, b| a * b)
}
