//! Nodes as scalar values at an index.
//!
//! [`Reader::read`] gives the value of a node's element: a load when the node has a buffer, else its operation on the values of its
//! inputs at the indices that its views say.

use super::affine::{self, Affine};
use super::nest::{ValueId, ValueOp, Values};
use super::select::Selection;
use super::{BufferId, PlanError, Stop};
use crate::graph::op::{Binary, Op};
use crate::graph::{DType, Dim, Graph, NodeId};
use std::collections::HashMap;

/// Where the elements of a node are: in a buffer, row-major unless strides are given.
#[derive(Clone, Debug)]
pub struct Place {
    pub buffer: BufferId,
    pub strides: Option<Vec<Dim>>,
}

impl Place {
    /// A buffer that is the node and nothing else.
    pub fn of(buffer: BufferId) -> Place {
        Place { buffer, strides: None }
    }

    /// Where the element at an index lies in the buffer.
    pub fn at(&self, index: &[Affine], shape: &[Dim]) -> Affine {
        match &self.strides {
            None => affine::flatten(index, shape),
            Some(strides) => {
                index.iter().zip(strides).fold(Affine::constant(0i64), |sum, (i, s)| sum.plus(&i.scale(s)))
            }
        }
    }

    /// The buffer, if the elements lie in it one after another.
    fn row_major(&self) -> Option<BufferId> {
        self.strides.is_none().then_some(self.buffer)
    }
}

/// Builds the values of one stage.
#[derive(Debug)]
pub struct Reader<'a> {
    pub graph: &'a Graph,
    pub selection: &'a Selection,
    /// The places of materialised nodes.
    pub places: &'a [Option<Place>],
    /// Extents of the stage's loops.
    pub extents: Vec<Dim>,
    pub values: Values,
    /// True where the elements being read exist; loads are guarded by it.
    guard: Option<ValueId>,
    known: HashMap<(NodeId, Vec<Affine>, Option<ValueId>), ValueId>,
}

impl<'a> Reader<'a> {
    pub fn new(
        graph: &'a Graph,
        selection: &'a Selection,
        places: &'a [Option<Place>],
        extents: Vec<Dim>,
    ) -> Reader<'a> {
        let (values, known) = (Values::default(), HashMap::new());
        Reader { graph, selection, places, extents, values, guard: None, known }
    }

    /// The element of `id` at `index`, from memory where it is there.
    pub fn read(&mut self, id: NodeId, index: &[Affine]) -> Result<ValueId, Stop> {
        let node = self.graph.node(id);
        match &self.places[id.index()] {
            Some(place) => {
                let (buffer, at) = (place.buffer, place.at(index, &node.ty.shape));
                Ok(self.values.push(ValueOp::Load { buffer, at, when: self.guard }, node.ty.dtype))
            }
            None if self.selection.materialised[id.index()] => Err(Stop::Need(id)),
            None => {
                let key = (id, index.to_vec(), self.guard);
                if let Some(value) = self.known.get(&key) {
                    return Ok(*value);
                }
                let value = self.compute(id, index)?;
                self.known.insert(key, value);
                Ok(value)
            }
        }
    }

    /// The same, where the loads are only done when `guard` holds.
    pub fn read_guarded(&mut self, id: NodeId, index: &[Affine], guard: ValueId) -> Result<ValueId, Stop> {
        let outer = self.guard.replace(guard);
        let value = self.read(id, index);
        self.guard = outer;
        value
    }

    /// The element of `id` at `index`, from the elements of its inputs.
    pub fn compute(&mut self, id: NodeId, index: &[Affine]) -> Result<ValueId, Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        let dtype = node.ty.dtype;
        let input = |place: usize| node.inputs[place];
        if let Some(value) = self.elementwise(id, &|reader, x| reader.read(x, index))? {
            return Ok(value);
        }
        let op = match &node.op {
            Op::Iota { axis } => ValueOp::Index(index[*axis].clone()),
            Op::Input(_) | Op::Variable(_) | Op::Table(_) => return Err(Stop::Need(id)),
            Op::Hold => return self.read(input(0), index),
            Op::Reshape
            | Op::Transpose { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Window { .. } => {
                return match self.seen_through(id, index) {
                    Ok(Through::Index(index)) => self.read(input(0), &index),
                    Ok(Through::Flat(buffer, at)) => {
                        Ok(self.values.push(ValueOp::Load { buffer, at, when: self.guard }, dtype))
                    }
                    Err(Stop::Need(_)) if node.op == Op::Reshape => {
                        self.flat(input(0), &affine::flatten(index, &node.ty.shape))
                    }
                    Err(stop) => Err(stop),
                };
            }
            Op::Pad { amounts, value } => {
                let from = &graph.node(input(0)).ty.shape;
                let (mut inner, mut tests) = (Vec::new(), Vec::new());
                for (axis, (before, after)) in amounts.iter().enumerate() {
                    let at = index[axis].clone().plus(&Affine::constant(Dim::constant(0) - before.clone()));
                    let untouched = before.is(0) && after.is(0);
                    if !untouched && !at.within(&from[axis], &self.extents) {
                        tests.push((at.clone(), from[axis].clone()));
                    }
                    inner.push(at);
                }
                if tests.is_empty() {
                    return self.read(input(0), &inner);
                }
                let inside = self.values.push(ValueOp::Inside(tests), DType::Bool);
                let outer = self.guard;
                let guard = match outer {
                    Some(outer) => self.values.push(ValueOp::Binary(Binary::And, outer, inside), DType::Bool),
                    None => inside,
                };
                self.guard = Some(guard);
                let read = self.read(input(0), &inner);
                self.guard = outer;
                ValueOp::Select(inside, read?, self.values.constant(*value, dtype))
            }
            Op::Random { distribution, key } => {
                let (buffer, _) = self.locate(input(0), &[Affine::constant(0i64)])?;
                ValueOp::Random {
                    buffer,
                    distribution: *distribution,
                    key: weft_runtime::kernels::random::key(key),
                    index: affine::flatten(index, &node.ty.shape),
                }
            }
            _ => return Err(Stop::Error(PlanError::at(node, "cannot be part of an expression"))),
        };
        Ok(self.values.push(op, dtype))
    }

    /// The value of an operation that goes element by element (or is the same everywhere), given how to read its inputs.
    fn elementwise(
        &mut self,
        id: NodeId,
        read: &dyn Fn(&mut Self, NodeId) -> Result<ValueId, Stop>,
    ) -> Result<Option<ValueId>, Stop> {
        let graph = self.graph;
        let node = graph.node(id);
        let dtype = node.ty.dtype;
        let mut operand = |place: usize| read(self, node.inputs[place]);
        let op = match &node.op {
            Op::Constant(value) => return Ok(Some(self.values.constant(*value, dtype))),
            Op::DimValue(dim) => ValueOp::Dim(dim.clone()),
            Op::Unary(u) => ValueOp::Unary(*u, operand(0)?),
            Op::Binary(b) => ValueOp::Binary(*b, operand(0)?, operand(1)?),
            Op::Compare(c) => ValueOp::Compare(*c, operand(0)?, operand(1)?),
            Op::Select => ValueOp::Select(operand(0)?, operand(1)?, operand(2)?),
            Op::Cast => {
                let value = operand(0)?;
                if self.values.list[value.index()].dtype == dtype {
                    return Ok(Some(value));
                }
                ValueOp::Cast(value)
            }
            _ => return Ok(None),
        };
        Ok(Some(self.values.push(op, dtype)))
    }

    /// The element of `id` at a row-major place that is no index into its axes: elementwise operations do not care.
    fn flat(&mut self, id: NodeId, at: &Affine) -> Result<ValueId, Stop> {
        let node = self.graph.node(id);
        if let Some(buffer) = self.places[id.index()].as_ref().and_then(Place::row_major) {
            let load = ValueOp::Load { buffer, at: at.clone(), when: self.guard };
            return Ok(self.values.push(load, node.ty.dtype));
        }
        if self.selection.materialised[id.index()] {
            return Err(Stop::Need(id));
        }
        if let Some(value) = self.elementwise(id, &|reader, x| reader.flat(x, at))? {
            return Ok(value);
        }
        match (&node.op, node.inputs.as_slice()) {
            (Op::Reshape | Op::Hold, &[x]) => self.flat(x, at),
            (Op::Broadcast { .. }, &[x]) if self.graph.node(x).ty.elements().is(1) => {
                self.read(x, &vec![Affine::constant(0i64); self.graph.node(x).ty.rank()])
            }
            _ => Err(Stop::Need(id)),
        }
    }

    /// Where the element of `id` at `index` lies, looking through views; what is not there must be materialised.
    pub fn locate(&self, id: NodeId, index: &[Affine]) -> Result<(BufferId, Affine), Stop> {
        if let Some(place) = &self.places[id.index()] {
            return Ok((place.buffer, place.at(index, &self.graph.node(id).ty.shape)));
        }
        if super::select::class(&self.graph.node(id).op) != super::select::Class::View {
            return Err(Stop::Need(id));
        }
        match self.seen_through(id, index).map_err(|_| Stop::Need(id))? {
            Through::Index(inner) => match self.locate(self.graph.node(id).inputs[0], &inner) {
                // A view of something that cannot be located is copied itself, once.
                Err(Stop::Need(_)) => Err(Stop::Need(id)),
                found => found,
            },
            Through::Flat(buffer, at) => Ok((buffer, at)),
        }
    }

    /// Where the elements of a narrow weight lie that `id` widens, and scales where it is of i8: seen through views.
    pub fn locate_narrow(&self, id: NodeId, index: &[Affine]) -> Option<Narrow> {
        let node = self.graph.node(id);
        match (&node.op, node.inputs.as_slice()) {
            (Op::Binary(Binary::Mul), &[a, b]) => {
                let scaled = |weight: NodeId, scale: NodeId| {
                    let found = self.locate_narrow(weight, index).filter(|found| found.scale.is_none())?;
                    Some(Narrow { scale: Some(self.locate(scale, index).ok()?), ..found })
                };
                scaled(a, b).or_else(|| scaled(b, a))
            }
            (Op::Cast, &[from]) => {
                let dtype = self.graph.node(from).ty.dtype;
                if !matches!(dtype, DType::BF16 | DType::I8) {
                    return None;
                }
                let (buffer, at) = self.locate(from, index).ok()?;
                Some(Narrow { buffer, at, dtype, scale: None })
            }
            (op, &[from, ..]) if super::select::class(op) == super::select::Class::View => {
                match self.seen_through(id, index).ok()? {
                    Through::Index(inner) => self.locate_narrow(from, &inner),
                    Through::Flat(..) => None,
                }
            }
            _ => None,
        }
    }

    /// The index into a view's input.
    fn seen_through(&self, id: NodeId, index: &[Affine]) -> Result<Through, Stop> {
        let node = self.graph.node(id);
        let from = node.inputs[0];
        let shape = &self.graph.node(from).ty.shape;
        Ok(Through::Index(match &node.op {
            Op::Reshape => {
                if let Some(buffer) = self.places[from.index()].as_ref().and_then(Place::row_major) {
                    return Ok(Through::Flat(buffer, affine::flatten(index, &node.ty.shape)));
                }
                affine::reshape(index, &node.ty.shape, shape, &self.extents).ok_or(Stop::Need(from))?
            }
            Op::Transpose { permutation } => {
                let mut inner = vec![Affine::constant(0i64); shape.len()];
                for (to, from) in permutation.iter().enumerate() {
                    inner[*from] = index[to].clone();
                }
                inner
            }
            Op::Broadcast { axes } => axes
                .iter()
                .zip(shape)
                .map(|(to, extent)| if extent.is(1) { Affine::constant(0i64) } else { index[*to].clone() })
                .collect(),
            Op::Slice { axis, start, step } => {
                let mut inner = index.to_vec();
                inner[*axis] =
                    inner[*axis].scale(&Dim::constant(*step)).plus(&Affine::constant(start.clone()));
                inner
            }
            Op::Window { axis, size, stride, dilation } => {
                let spatial = size.len();
                let mut inner = index[..*axis].to_vec();
                for i in 0..spatial {
                    let place = index[axis + i].scale(&Dim::from(stride[i]));
                    inner.push(place.plus(&index[axis + spatial + i].scale(&Dim::from(dilation[i]))));
                }
                inner.extend_from_slice(&index[axis + 2 * spatial..]);
                inner
            }
            _ => return Err(Stop::Need(id)),
        }))
    }
}

/// See [`Reader::locate_narrow`].
#[derive(Clone, Debug)]
pub struct Narrow {
    pub buffer: BufferId,
    pub at: Affine,
    pub dtype: DType,
    pub scale: Option<(BufferId, Affine)>,
}

/// What a view shows.
enum Through {
    Index(Vec<Affine>),
    /// The input's buffer itself: a reshape of contiguous data.
    Flat(BufferId, Affine),
}

/// The identity map over a shape, from variable `first` on; axes of extent 1 need no variable.
pub fn identity(shape: &[Dim], first: usize) -> Vec<Affine> {
    shape
        .iter()
        .enumerate()
        .map(
            |(axis, extent)| {
                if extent.is(1) { Affine::constant(0i64) } else { Affine::variable(first + axis) }
            },
        )
        .collect()
}
