//! Loops: a scan as one draft with drafts inside.
//!
//! The body is planned like a graph of its own, into the same buffers. Its inputs are where the outer graph has them, seen through
//! views: an element is a [`Storage::Row`] of its sequence, which moves with the loop, and a capture is read as it is. A stack is
//! a buffer with a row for each step, and whoever computes a yield writes it into its row. So nothing is copied but what has no
//! other place.
//!
//! A carry is one buffer. A nest fills it before the loop, and the step updates it in place where all readers of the old value
//! can run before, as variables are updated ([`super::memory::place_updates`]); the final carry is what is left in it.
//!
//! Kernels that read the same at every step, such as the packing of captured weights, leave the loop.

use super::affine::Affine;
use super::build::{Build, product};
use super::nest::{Stage, Store};
use super::schedule::Order;
use super::select::Selection;
use super::values::{Place, identity};
use super::{Access, Buffer, BufferId, Built, Draft, Kernel, PlanError, Stop, Storage, Work};
use crate::graph::{Dim, Graph, Node, NodeId, Op, Scan};
use std::collections::{BTreeMap, BTreeSet};

/// New carries, and the carries.
type Updates = Vec<(BufferId, BufferId)>;

/// Drafts that are done once for each step.
#[derive(Clone, Debug)]
pub struct Repeat {
    pub trip: Dim,
    pub reversed: bool,
    pub drafts: Vec<Draft>,
    pub updates: Updates,
    /// Steps that what runs ahead does at once, and the buffers that hold a block of them, each with the elements of a step; see
    /// [`super::ahead`].
    pub block: Dim,
    pub rings: Vec<(BufferId, Dim)>,
    /// What the drafts call parts of buffers outside: each part, and what it is a part of.
    rows: BTreeMap<BufferId, BufferId>,
}

/// Where the body of a scan finds its inputs and leaves its results.
#[derive(Debug)]
struct Sites {
    /// By node of the body.
    places: Vec<Option<Place>>,
    /// By output that is wanted: the node, and the buffer for it; for a carry the carry's own.
    outputs: Vec<(NodeId, BufferId, bool)>,
    invariant: BTreeSet<BufferId>,
    rows: BTreeMap<BufferId, BufferId>,
}

impl Build<'_> {
    /// A loop: what it needs before, itself, and the places of its results.
    pub fn scan(&mut self, id: NodeId, scan: &Scan) -> Result<(), Stop> {
        let node = self.graph.node(id);
        let mut body = scan.body.clone();
        let mut sites = self.sites(id, scan, &mut body)?;
        let mut selection = super::select::select(&body, self.built.machine);
        let (buffers, before) = (self.built.buffers.len(), self.built.drafts.len());
        let (drafts, updates) = loop {
            match self.body(&body, &selection, &sites) {
                Ok(made) => break made,
                Err(Stop::Error(error)) => return Err(Stop::Error(error)),
                Err(Stop::Need(inner)) => {
                    self.built.buffers.truncate(buffers);
                    self.built.drafts.truncate(before);
                    // What the body cannot read where it lies is arranged outside, for all steps at once.
                    if let Some(place) = scan.inputs().iter().position(|input| *input == inner) {
                        return Err(Stop::Need(node.inputs[place]));
                    }
                    if std::mem::replace(&mut selection.materialised[inner.index()], true) {
                        return Err(PlanError::at(body.node(inner), "cannot be read as it is").into());
                    }
                }
            }
        };
        let (outside, inside) = self.lift(drafts, &updates, &sites.rows);
        self.built.drafts.extend(outside);
        self.built.drafts.push(Draft {
            work: Work::Loop(Repeat {
                trip: scan.trip.clone(),
                reversed: scan.reversed,
                drafts: inside,
                updates,
                block: Dim::constant(1),
                rings: Vec::new(),
                rows: std::mem::take(&mut sites.rows),
            }),
            buffers: Vec::new(),
            accesses: Vec::new(),
            loops: Vec::new(),
            space: Dim::constant(1),
            path: node.path.clone(),
            span: node.span,
            flops: Dim::constant(0),
        });
        Ok(())
    }

    /// Finds places for all that goes into the body of a scan and comes out of it, fills the carries, and takes from the body what
    /// nobody reads.
    fn sites(&mut self, id: NodeId, scan: &Scan, body: &mut Graph) -> Result<Sites, Stop> {
        let node = self.graph.node(id);
        let mut sites = Sites {
            places: vec![None; body.nodes.len()],
            outputs: Vec::new(),
            invariant: BTreeSet::new(),
            rows: BTreeMap::new(),
        };
        let mut results: Vec<Option<(NodeId, BufferId)>> = vec![None; scan.results()];
        for user in self.graph.ids().filter(|user| self.selection.live[user.index()]) {
            if let (Op::ScanResult { index }, [of]) =
                (&self.graph.node(user).op, self.graph.node(user).inputs.as_slice())
                && *of == id
                && let Some(slot @ None) = results.get_mut(*index)
            {
                let ty = &self.graph.node(user).ty;
                *slot = Some((user, self.buffer(user, ty.dtype, ty.elements(), Storage::Unused)));
            }
        }
        for (place, input) in scan.inputs().into_iter().enumerate() {
            let (operand, inner) = (node.inputs[place], body.node(input));
            let shape = &inner.ty.shape;
            if place < scan.elements {
                let extents: Vec<Dim> = std::iter::once(&scan.trip).chain(shape).cloned().collect();
                let index: Vec<Affine> =
                    std::iter::once(Affine::variable(0)).chain(identity(shape, 1)).collect();
                let (buffer, at) = self.reader(extents).locate(operand, &index)?;
                sites.places[input.index()] = Some(self.part(id, inner, buffer, &at, true, &mut sites.rows));
            } else if let Some(result) =
                results.get(place - scan.elements).filter(|_| place < scan.elements + scan.carries)
            {
                let carry = match result {
                    Some((_, buffer)) => *buffer,
                    None => self.buffer(id, inner.ty.dtype, inner.ty.elements(), Storage::Unused),
                };
                self.fill(node, operand, carry)?;
                sites.places[input.index()] = Some(Place::of(carry));
            } else {
                let index = identity(shape, 0);
                let (buffer, at) = self.reader(shape.clone()).locate(operand, &index)?;
                let part = self.part(id, inner, buffer, &at, false, &mut sites.rows);
                sites.invariant.insert(part.buffer);
                sites.places[input.index()] = Some(part);
            }
        }
        let mut wanted = Vec::new();
        for (index, (name, output)) in scan.body.outputs.iter().enumerate() {
            if index < scan.carries {
                let carry = scan.inputs().get(scan.elements + index).copied();
                if let Some(place) = carry.and_then(|carry| sites.places[carry.index()].clone()) {
                    sites.outputs.push((*output, place.buffer, true));
                    wanted.push((name.clone(), *output));
                }
            } else if let Some((_, stack)) = results[index] {
                let ty = &body.node(*output).ty;
                let (name_of, elements) = (self.built.buffers[stack.index()].name.clone(), ty.elements());
                let advance = elements.clone();
                let storage =
                    Storage::Row { of: stack, offset: Dim::constant(0), level: self.level, advance };
                let row = self.new_buffer(Buffer { name: name_of, dtype: ty.dtype, elements, storage });
                sites.rows.insert(row, stack);
                sites.outputs.push((*output, row, false));
                wanted.push((name.clone(), *output));
            }
        }
        body.outputs = wanted;
        self.results.insert(id, results.into_iter().map(|r| r.map(|(_, buffer)| buffer)).collect());
        Ok(sites)
    }

    /// The place of an input of a body that lies in a buffer at `at`, where variable 0 is the step if it `moves`.
    fn part(
        &mut self,
        id: NodeId,
        inner: &Node,
        buffer: BufferId,
        at: &Affine,
        moves: bool,
        rows: &mut BTreeMap<BufferId, BufferId>,
    ) -> Place {
        let (shape, first) = (&inner.ty.shape, usize::from(moves));
        let strides: Vec<Dim> = (0..shape.len()).map(|axis| at.coefficient(first + axis)).collect();
        let even = shape.iter().zip(&strides).zip(super::affine::strides(shape));
        let row_major = even.into_iter().all(|((extent, stride), due)| extent.is(1) || *stride == due);
        let strides = (!row_major).then_some(strides);
        let advance = if moves { at.coefficient(0) } else { Dim::constant(0) };
        if at.constant.is(0) && advance.is(0) {
            return Place { buffer, strides };
        }
        let storage = Storage::Row { of: buffer, offset: at.constant.clone(), level: self.level, advance };
        let elements = product(shape);
        let row = self.buffer(id, inner.ty.dtype, elements, storage);
        self.built.buffers[row.index()].name = self.built.buffers[buffer.index()].name.clone();
        rows.insert(row, buffer);
        Place { buffer: row, strides }
    }

    /// A nest that writes a node's value into a buffer.
    fn fill(&mut self, path: &Node, from: NodeId, to: BufferId) -> Result<(), Stop> {
        let shape = self.graph.node(from).ty.shape.clone();
        let index = identity(&shape, 0);
        let mut reader = self.reader(shape.clone());
        let value = reader.read(from, &index)?;
        let at = super::affine::flatten(&index, &shape);
        let stage = Stage {
            kept: shape,
            values: reader.values.list,
            stores: vec![Store { buffer: to, at, value, accumulate: false, inner: false }],
            ..Stage::default()
        };
        self.nest(path, 0, vec![stage]);
        Ok(())
    }

    /// The drafts of one step, and the updates of the carries.
    fn body(
        &mut self,
        body: &Graph,
        selection: &Selection,
        sites: &Sites,
    ) -> Result<(Vec<Draft>, Updates), Stop> {
        let outer = std::mem::take(&mut self.built);
        let (drafts, others) = (outer.drafts, Built { drafts: Vec::new(), ..outer });
        let mut inner = Build::new(body, selection, others, self.level + 1);
        inner.places = sites.places.clone();
        inner.invariant = sites.invariant.clone();
        let made = inner.steps(sites);
        let inside = std::mem::take(&mut inner.built.drafts);
        self.built = Built { drafts, ..inner.built };
        made.map(|updates| (inside, updates))
    }

    /// The kernels of a body, each result in its place.
    fn steps(&mut self, sites: &Sites) -> Result<Vec<(BufferId, BufferId)>, Stop> {
        let (graph, mut updates) = (self.graph, Vec::new());
        let mut waiting = Vec::new();
        for (output, buffer, is_carry) in &sites.outputs {
            let mut to = *buffer;
            if *is_carry {
                // A carry that stays as it is needs nothing.
                if sites.places[output.index()].as_ref().is_some_and(|place| place.buffer == *buffer) {
                    continue;
                }
                let ty = &graph.node(*output).ty;
                to = self.buffer(*output, ty.dtype, ty.elements(), Storage::Unused);
                updates.push((to, *buffer));
            }
            // The first to ask for a value gets it as it is made; others get copies, which fusion makes stores of the same kernel.
            let own = sites.places[output.index()].is_none()
                && !matches!(graph.node(*output).op, Op::Table(_) | Op::ScanResult { .. })
                && !self.targets.contains_key(output);
            if own {
                self.targets.insert(*output, to);
            } else {
                waiting.push((*output, to));
            }
        }
        let selection = self.selection;
        for id in graph.ids().filter(|id| selection.live[id.index()] && selection.materialised[id.index()]) {
            match &graph.node(id).op {
                // What nobody has given a place is not there.
                Op::Input(_) => {}
                _ => self.node(id)?,
            }
        }
        for (output, to) in waiting {
            self.fill(graph.node(output), output, to)?;
        }
        Ok(updates)
    }

    /// Takes the kernels out of a loop that do the same at every step.
    fn lift(
        &self,
        drafts: Vec<Draft>,
        updates: &[(BufferId, BufferId)],
        rows: &BTreeMap<BufferId, BufferId>,
    ) -> (Vec<Draft>, Vec<Draft>) {
        let buffers = &self.built.buffers;
        // What changes from step to step, and what a step must write itself.
        let mut varies: BTreeSet<BufferId> = updates.iter().map(|(_, carry)| *carry).collect();
        let moves = |row: &&BufferId| matches!(&buffers[row.index()].storage, Storage::Row { advance, .. } if !advance.is(0));
        varies.extend(rows.keys().filter(moves));
        let mut writers: BTreeMap<BufferId, usize> = BTreeMap::new();
        for (buffer, _) in drafts.iter().flat_map(touched).filter(|(_, write)| *write) {
            *writers.entry(buffer).or_default() += 1;
        }
        let own = |buffer: &BufferId| {
            writers.get(buffer) == Some(&1)
                && !rows.contains_key(buffer)
                && updates.iter().all(|(new, _)| new != buffer)
        };
        let (mut outside, mut inside) = (Vec::new(), Vec::new());
        for mut draft in drafts {
            let touches = touched(&draft);
            let same = touches.iter().all(|(buffer, write)| match write {
                true => own(buffer),
                false => !varies.contains(buffer),
            });
            if same && rename(&mut draft, rows, buffers) {
                outside.push(draft);
            } else {
                varies.extend(touches.into_iter().filter(|(_, write)| *write).map(|(buffer, _)| buffer));
                inside.push(draft);
            }
        }
        (outside, inside)
    }
}

/// Calls buffers as they are called outside of a loop; false when the draft has no other names for them.
fn rename(draft: &mut Draft, rows: &BTreeMap<BufferId, BufferId>, buffers: &[Buffer]) -> bool {
    match &draft.work {
        Work::Loop(_) => return false,
        Work::Kernel(Kernel::Nest(_)) => return touched(draft).iter().all(|(b, _)| !rows.contains_key(b)),
        Work::Kernel(_) => {}
    }
    let whole = |buffer: BufferId| match (rows.get(&buffer), &buffers[buffer.index()].storage) {
        (Some(of), Storage::Row { offset, .. }) => (*of, offset.clone()),
        _ => (buffer, Dim::constant(0)),
    };
    for (buffer, offset) in &mut draft.buffers {
        let (of, more) = whole(*buffer);
        (*buffer, *offset) = (of, offset.clone() + more);
    }
    for access in &mut draft.accesses {
        let (of, more) = whole(access.buffer);
        access.buffer = of;
        access.at = access.at.take().map(|at| at.plus(&Affine::constant(more)));
    }
    true
}

/// What a draft reads and writes, each once, by the names that buffers have around it.
pub fn touched(draft: &Draft) -> Vec<(BufferId, bool)> {
    let mut list: Vec<(BufferId, bool)> = match &draft.work {
        Work::Kernel(Kernel::Nest(nest)) => {
            let stages = || nest.stages.iter();
            let reads = stages().flat_map(|s| s.reads().map(|(b, _)| (b, false)));
            reads.chain(stages().flat_map(|s| s.stores.iter().map(|s| (s.buffer, true)))).collect()
        }
        Work::Kernel(_) => draft.accesses.iter().map(|a| (a.buffer, a.write)).collect(),
        Work::Loop(repeat) => {
            let named = |(b, write): (BufferId, bool)| (repeat.rows.get(&b).copied().unwrap_or(b), write);
            let inside = repeat.drafts.iter().flat_map(touched).map(named);
            // A carry is there before the first step, even where no step reads it.
            inside
                .chain(repeat.updates.iter().flat_map(|(_, carry)| [(*carry, false), (*carry, true)]))
                .collect()
        }
    };
    list.sort_unstable();
    list.dedup();
    list
}

/// Does something with the drafts and updates inside of each loop in the place of those outside.
pub fn inside_each(built: &mut Built, act: &mut dyn FnMut(&mut Built)) {
    for at in 0..built.drafts.len() {
        inside(built, at, act);
    }
}

/// The same for one draft, if it is a loop.
pub fn inside(built: &mut Built, at: usize, act: &mut dyn FnMut(&mut Built)) {
    let Work::Loop(repeat) = &mut built.drafts[at].work else { return };
    let (drafts, updates) = (std::mem::take(&mut repeat.drafts), std::mem::take(&mut repeat.updates));
    let outer = std::mem::replace(&mut built.drafts, drafts);
    let outer_updates = std::mem::replace(&mut built.updates, updates);
    act(built);
    let drafts = std::mem::replace(&mut built.drafts, outer);
    let updates = std::mem::replace(&mut built.updates, outer_updates);
    if let Work::Loop(repeat) = &mut built.drafts[at].work {
        (repeat.drafts, repeat.updates) = (drafts, updates);
    }
}

/// Puts drafts into an order in which they can run.
pub fn sort(built: &mut Built, order: &Order) {
    let count = built.drafts.len();
    let mut done = vec![false; count];
    let mut list = Vec::with_capacity(count);
    while let Some(next) = (0..count).find(|at| !done[*at] && order.before[*at].iter().all(|b| done[*b])) {
        done[next] = true;
        list.push(next);
    }
    let mut drafts: Vec<Option<Draft>> = built.drafts.drain(..).map(Some).collect();
    built.drafts = list.into_iter().filter_map(|at| drafts[at].take()).collect();
}

/// Says how a loop whose inside is final touches memory, and along which dim it is cut.
pub fn finish(draft: &mut Draft, units: Option<Dim>) {
    let Work::Loop(repeat) = &draft.work else { return };
    let flops = repeat.drafts.iter().fold(Dim::constant(0), |sum, inner| sum + inner.flops.clone());
    draft.flops = flops * repeat.trip.clone();
    draft.accesses = touched(draft)
        .into_iter()
        .map(|(buffer, write)| Access {
            buffer,
            write,
            at: None,
            reach: Dim::constant(1),
            extents: Vec::new(),
        })
        .collect();
    draft.space = units.clone().unwrap_or(Dim::constant(1));
    draft.loops = units.into_iter().collect();
}
