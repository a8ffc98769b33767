//! Loop nests: what a generated kernel computes, free of any target.
//!
//! A [`Nest`] runs its stages, in order, for each point of its index space (its leading loops, flattened). A [`Stage`] is one loop
//! nest over kept and reduced variables around a small graph of scalar [`Value`]s: loads through affine maps, arithmetic,
//! reductions, stores. How it is vectorised is the target's business, except that the plan says along which variable.
//!
//! Variables are numbered within a stage: the kept loops first (the first [`Nest::space`] of them are the index space, common to
//! all stages), then the reduced ones.

use super::BufferId;
use super::affine::Affine;
use crate::graph::op::{Binary, Compare, Distribution, Reduction, Unary};
use crate::graph::{DType, Dim};
use std::collections::HashMap;
use std::sync::Arc;

/// A generated kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nest {
    /// How many leading kept loops of every stage make the index space.
    pub space: usize,
    pub stages: Vec<Stage>,
    /// Of a nest whose stages go over one row after another; see [`super::rows`].
    pub row: Option<Row>,
}

/// What stages that go over the same row hand on to one another. Each keeps the index space alone and, unless it does something once for each
/// row, runs over the row in its reduced loops; elements are read only where, and only as, an earlier stage has stored them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// Buffers that are in registers alone: loads of them are what an earlier stage stores there, which never is in memory.
    pub passed: Vec<BufferId>,
    /// By stage: where it comes from.
    pub paths: Vec<Arc<str>>,
}

impl Nest {
    pub fn new(space: usize, stages: Vec<Stage>) -> Nest {
        Nest { space, stages, row: None }
    }

    /// Is it the same for all values of symbols?
    pub fn is_fixed(&self) -> bool {
        let fixed = |dim: &Dim| dim.as_constant().is_some();
        let at = |map: &Affine| fixed(&map.constant) && map.terms.iter().all(|(_, step)| fixed(step));
        let value = |value: &Value| match &value.op {
            ValueOp::Dim(dim) => fixed(dim),
            ValueOp::Inside(tests) => tests.iter().all(|(map, limit)| at(map) && fixed(limit)),
            op => op.maps().into_iter().all(at),
        };
        self.stages.iter().all(|stage| {
            stage.kept.iter().chain(&stage.reduced).all(fixed)
                && stage.values.iter().all(value)
                && stage.stores.iter().all(|store| at(&store.at))
        })
    }

    /// Is it a buffer that is in registers alone?
    pub fn passes(&self, buffer: BufferId) -> bool {
        self.row.as_ref().is_some_and(|row| row.passed.contains(&buffer))
    }
}

/// One loop nest. Loops run in order: kept, then reduced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stage {
    pub kept: Vec<Dim>,
    pub reduced: Vec<Dim>,
    /// In topological order, each once.
    pub values: Vec<Value>,
    pub reductions: Vec<Reduce>,
    pub stores: Vec<Store>,
    /// The variable along which the stage is vectorised: the last kept or the last reduced one.
    pub vector: Option<usize>,
}

/// A place in [`Stage::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub op: ValueOp,
    pub dtype: DType,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueOp {
    /// The bits of an f64.
    Constant(u64),
    Dim(Dim),
    /// The number itself.
    Index(Affine),
    /// An element; not read when `when` is given and false (the value is then arbitrary).
    Load {
        buffer: BufferId,
        at: Affine,
        when: Option<ValueId>,
    },
    Unary(Unary, ValueId),
    Binary(Binary, ValueId, ValueId),
    Compare(Compare, ValueId, ValueId),
    Select(ValueId, ValueId, ValueId),
    Cast(ValueId),
    /// Whether `0 <= map < limit` for each.
    Inside(Vec<(Affine, Dim)>),
    /// Element `index` of the random stream `key`; `buffer` holds seed and batch number.
    Random {
        buffer: BufferId,
        distribution: Distribution,
        key: u64,
        index: Affine,
    },
    /// The result of a reduction of this stage.
    Reduced(usize),
}

impl ValueOp {
    pub fn operands(&self) -> Vec<ValueId> {
        match self {
            ValueOp::Constant(_)
            | ValueOp::Dim(_)
            | ValueOp::Index(_)
            | ValueOp::Inside(_)
            | ValueOp::Random { .. }
            | ValueOp::Reduced(_) => Vec::new(),
            ValueOp::Load { when, .. } => when.iter().copied().collect(),
            ValueOp::Unary(_, x) | ValueOp::Cast(x) => vec![*x],
            ValueOp::Binary(_, x, y) | ValueOp::Compare(_, x, y) => vec![*x, *y],
            ValueOp::Select(c, x, y) => vec![*c, *x, *y],
        }
    }

    /// The same operation with other operands, maps and reductions.
    pub fn map(
        &self,
        value: &dyn Fn(ValueId) -> ValueId,
        affine: &dyn Fn(&Affine) -> Affine,
        reduction: &dyn Fn(usize) -> usize,
    ) -> ValueOp {
        match self {
            ValueOp::Constant(_) | ValueOp::Dim(_) => self.clone(),
            ValueOp::Index(at) => ValueOp::Index(affine(at)),
            ValueOp::Load { buffer, at, when } => {
                ValueOp::Load { buffer: *buffer, at: affine(at), when: when.map(value) }
            }
            ValueOp::Unary(op, x) => ValueOp::Unary(*op, value(*x)),
            ValueOp::Binary(op, x, y) => ValueOp::Binary(*op, value(*x), value(*y)),
            ValueOp::Compare(op, x, y) => ValueOp::Compare(*op, value(*x), value(*y)),
            ValueOp::Select(c, x, y) => ValueOp::Select(value(*c), value(*x), value(*y)),
            ValueOp::Cast(x) => ValueOp::Cast(value(*x)),
            ValueOp::Inside(tests) => {
                ValueOp::Inside(tests.iter().map(|(a, d)| (affine(a), d.clone())).collect())
            }
            ValueOp::Random { buffer, distribution, key, index } => ValueOp::Random {
                buffer: *buffer,
                distribution: *distribution,
                key: *key,
                index: affine(index),
            },
            ValueOp::Reduced(place) => ValueOp::Reduced(reduction(*place)),
        }
    }

    /// The maps of this operation alone.
    pub fn maps(&self) -> Vec<&Affine> {
        match self {
            ValueOp::Index(at) | ValueOp::Load { at, .. } | ValueOp::Random { index: at, .. } => vec![at],
            ValueOp::Inside(tests) => tests.iter().map(|(a, _)| a).collect(),
            _ => Vec::new(),
        }
    }
}

/// A reduction over the stage's reduced loops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    pub how: How,
    pub of: ValueId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    Fold(Reduction),
    /// The i32 row-major index over the reduced loops of the largest (smallest) element.
    Arg {
        largest: bool,
    },
}

/// A store inside all loops that its value and map depend on: inside the reduced ones when `at` runs over them, else after them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub buffer: BufferId,
    pub at: Affine,
    pub value: ValueId,
    /// Adds to what is there. The loops then run in order, and only the index space may be cut.
    pub accumulate: bool,
    /// Inside the reduced loops.
    pub inner: bool,
}

impl Stage {
    /// The extents of all variables.
    pub fn extents(&self) -> Vec<Dim> {
        self.kept.iter().chain(&self.reduced).cloned().collect()
    }

    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Of a division of numbers of 8 bits by a constant: the number, and two by which it is multiplied instead, `fma(x, first, x * second)`. That is the
    /// quotient to the last bit for all of them, at a fourth of its price.
    pub fn quotient(&self, op: &ValueOp) -> Option<(ValueId, f32, f32)> {
        let ValueOp::Binary(Binary::Div, x, by) = op else { return None };
        let (number, ValueOp::Constant(bits)) = (self.value(*x), &self.value(*by).op) else { return None };
        let ValueOp::Cast(from) = number.op else { return None };
        let small = matches!(self.value(from).dtype, DType::Bool | DType::I8 | DType::U8);
        let by = f64::from_bits(*bits) as f32;
        let first = 1.0 / by;
        let second = ((-f64::from(first)).mul_add(f64::from(by), 1.0) / f64::from(by)) as f32;
        let same = |x: f32| x.mul_add(first, x * second).to_bits() == (x / by).to_bits();
        let all = || (-128i16..256).all(|x| same(f32::from(x)));
        (number.dtype == DType::F32 && small && first.is_normal() && all()).then_some((*x, first, second))
    }

    /// Every mention of a buffer, to be changed.
    pub fn each_buffer(&mut self, change: &mut dyn FnMut(&mut BufferId)) {
        for value in &mut self.values {
            if let ValueOp::Load { buffer, .. } | ValueOp::Random { buffer, .. } = &mut value.op {
                change(buffer);
            }
        }
        self.stores.iter_mut().for_each(|store| change(&mut store.buffer));
    }

    /// Every buffer that is read, with its map (`None` when the address depends on data).
    pub fn reads(&self) -> impl Iterator<Item = (BufferId, Option<&Affine>)> {
        self.values.iter().filter_map(|v| match &v.op {
            ValueOp::Load { buffer, at, .. } => Some((*buffer, Some(at))),
            ValueOp::Random { buffer, .. } => Some((*buffer, None)),
            _ => None,
        })
    }

    /// Drops values that nothing uses, and gives each operation one place.
    pub fn tidy(&mut self) {
        let mut needed = vec![false; self.values.len()];
        for id in self.stores.iter().map(|s| s.value).chain(self.reductions.iter().map(|r| r.of)) {
            needed[id.index()] = true;
        }
        for at in (0..self.values.len()).rev() {
            if needed[at] {
                for operand in self.values[at].op.operands() {
                    needed[operand.index()] = true;
                }
            }
        }
        let mut values = Values::default();
        let mut places = vec![ValueId(0); self.values.len()];
        for (at, value) in self.values.iter().enumerate() {
            if needed[at] {
                let op = value.op.map(&|v| places[v.index()], &Affine::clone, &|r| r);
                places[at] = values.push(op, value.dtype);
            }
        }
        for store in &mut self.stores {
            store.value = places[store.value.index()];
        }
        for reduce in &mut self.reductions {
            reduce.of = places[reduce.of.index()];
        }
        self.values = values.list;
    }
}

/// Values under construction: equal operations are one value.
#[derive(Clone, Debug, Default)]
pub struct Values {
    pub list: Vec<Value>,
    known: HashMap<Value, ValueId>,
}

impl Values {
    pub fn from(list: Vec<Value>) -> Values {
        let known = list.iter().enumerate().map(|(i, v)| (v.clone(), ValueId(i as u32))).collect();
        Values { list, known }
    }

    pub fn push(&mut self, op: ValueOp, dtype: DType) -> ValueId {
        let value = Value { op, dtype };
        if let Some(id) = self.known.get(&value) {
            return *id;
        }
        let id = ValueId(self.list.len() as u32);
        self.known.insert(value.clone(), id);
        self.list.push(value);
        id
    }

    pub fn constant(&mut self, value: f64, dtype: DType) -> ValueId {
        self.push(ValueOp::Constant(value.to_bits()), dtype)
    }
}
