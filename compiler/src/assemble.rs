//! Plan → program: the tables around the code. A plan's symbolic dims become places in an entry's table of dims; what a launch runs is
//! the target's affair.

use crate::graph::dim::Atom;
use crate::graph::{Dim, Module, Symbol};
use crate::plan::{self, BufferId, Plan};
use std::collections::HashMap;
use weft_grammar::Span;
use weft_runtime::program::{
    Buffer, BufferIndex, BufferSlice, Contraction, Convolution, DimExpr, DimIndex, Entry, Guard, Input,
    Kernel, Launch, Loop, Output, Pack, Place, Program, Segment, Step, Storage, Stride, Variable,
};

/// What a launch of a plan runs, as the program says it.
pub type Choose<'a> = dyn FnMut(&mut Dims, &Plan, &plan::Launch) -> Kernel + 'a;

/// The program of a module, without code; `choose` is asked for the launches of all plans, in order.
pub fn assemble(module: &Module, plans: &[Plan], choose: &mut Choose<'_>) -> Program {
    Program {
        name: module.name.clone(),
        variables: module
            .variables
            .iter()
            .map(|v| Variable {
                path: v.path.clone(),
                kind: v.kind,
                dtype: v.ty.dtype,
                shape: v
                    .ty
                    .shape
                    .iter()
                    .map(|d| d.as_constant().and_then(|c| usize::try_from(c).ok()).unwrap_or(0))
                    .collect(),
                trainable: v.trainable,
                channels: v.channels.clone(),
            })
            .collect(),
        entries: plans.iter().map(|plan| entry(plan, choose)).collect(),
        data: module.data.clone(),
        trainings: module.trainings.clone(),
        predictions: module.predictions.clone(),
        generations: module.generations.clone(),
        vocabularies: module.vocabularies.clone(),
        loads: module.loads.clone(),
        ..Program::default()
    }
}

/// The table of dims under construction: equal expressions are one place.
#[derive(Debug)]
pub struct Dims {
    symbols: Vec<Symbol>,
    list: Vec<DimExpr>,
    known: HashMap<DimExpr, DimIndex>,
    dims: HashMap<Dim, DimIndex>,
}

impl Dims {
    fn push(&mut self, expr: DimExpr) -> DimIndex {
        if let Some(index) = self.known.get(&expr) {
            return *index;
        }
        let index = DimIndex(self.list.len() as u32);
        self.list.push(expr.clone());
        self.known.insert(expr, index);
        index
    }

    pub fn dim(&mut self, dim: &Dim) -> DimIndex {
        if let Some(index) = self.dims.get(dim) {
            return *index;
        }
        let mut sum: Option<DimIndex> = None;
        for (atoms, coefficient) in dim.terms() {
            let mut product: Option<DimIndex> = None;
            if coefficient != 1 || atoms.is_empty() {
                product = Some(self.push(DimExpr::Constant(coefficient)));
            }
            for atom in atoms {
                let factor = self.atom(atom);
                product = Some(match product {
                    Some(product) => self.push(DimExpr::Mul(product, factor)),
                    None => factor,
                });
            }
            sum = match (sum, product) {
                (Some(sum), Some(product)) => Some(self.push(DimExpr::Add(sum, product))),
                (sum, product) => sum.or(product),
            };
        }
        let index = match sum {
            Some(sum) => sum,
            None => self.push(DimExpr::Constant(0)),
        };
        self.dims.insert(dim.clone(), index);
        index
    }

    fn atom(&mut self, atom: &Atom) -> DimIndex {
        match atom {
            Atom::Symbol(symbol) => {
                let place = self.symbols.iter().position(|s| s == symbol).unwrap_or_else(|| {
                    self.symbols.push(symbol.clone());
                    self.symbols.len() - 1
                });
                self.push(DimExpr::Symbol(place as u32))
            }
            Atom::FloorDiv(p) => {
                let (a, b) = (self.dim(&p.0), self.dim(&p.1));
                self.push(DimExpr::FloorDiv(a, b))
            }
            Atom::Rem(p) => {
                let (a, b) = (self.dim(&p.0), self.dim(&p.1));
                self.push(DimExpr::Rem(a, b))
            }
            Atom::Max(p) => {
                let (a, b) = (self.dim(&p.0), self.dim(&p.1));
                self.push(DimExpr::Max(a, b))
            }
            Atom::Min(p) => {
                let (a, b) = (self.dim(&p.0), self.dim(&p.1));
                self.push(DimExpr::Min(a, b))
            }
        }
    }

    pub fn shape(&mut self, shape: &[Dim]) -> Vec<DimIndex> {
        shape.iter().map(|d| self.dim(d)).collect()
    }

    fn stride(&mut self, stride: &plan::Stride) -> Stride {
        let mut side = |dim: &Option<Dim>| dim.as_ref().map(|d| self.dim(d));
        let (a, b, c) = (side(&stride.a), side(&stride.b), side(&stride.c));
        Stride { extent: self.dim(&stride.extent), a, b, c }
    }

    fn strides(&mut self, strides: &[plan::Stride]) -> Vec<Stride> {
        strides.iter().map(|s| self.stride(s)).collect()
    }

    fn pair(&mut self, pair: &[Dim; 2]) -> [DimIndex; 2] {
        [self.dim(&pair[0]), self.dim(&pair[1])]
    }
}

/// Gives a program its sources, by file, and every place its line.
pub fn locate(program: &mut Program, sources: Vec<(String, String)>) {
    let breaks: Vec<Vec<u32>> = sources
        .iter()
        .map(|(_, text)| text.bytes().zip(0..).filter(|(byte, _)| *byte == b'\n').map(|(_, at)| at).collect())
        .collect();
    let line = |place: &mut Place| {
        if let Some(breaks) = breaks.get(place.file as usize) {
            place.line = 1 + breaks.partition_point(|at| *at < place.start) as u32;
        }
    };
    for entry in &mut program.entries {
        entry.guards.iter_mut().for_each(|guard| line(&mut guard.place));
        entry.segments.iter_mut().for_each(|s| each_launch(&mut s.steps, &mut |l| line(&mut l.place)));
    }
    program.sources = sources;
}

/// Visits all launches of some steps.
fn each_launch(steps: &mut [Step], visit: &mut dyn FnMut(&mut Launch)) {
    for step in steps {
        match step {
            Step::Launch(launch) => visit(launch),
            Step::Loop(inner) => each_launch(&mut inner.steps, visit),
        }
    }
}

/// Bytes of text only: lines come with the sources, by [`locate`].
fn place(span: Span) -> Place {
    Place { file: span.file.0, start: span.start, end: span.end, line: 0 }
}

fn entry(plan: &Plan, choose: &mut Choose<'_>) -> Entry {
    let mut dims =
        Dims { symbols: plan.symbols.clone(), list: Vec::new(), known: HashMap::new(), dims: HashMap::new() };
    // Buffers that no kernel uses are left out, and so are parts of others, which launches name by the whole.
    let there = |b: &plan::Buffer| !matches!(b.storage, plan::Storage::Unused | plan::Storage::Row { .. });
    let mut places: Vec<Option<BufferIndex>> = vec![None; plan.buffers.len()];
    let mut count = 0;
    for (at, buffer) in plan.buffers.iter().enumerate() {
        if there(buffer) {
            places[at] = Some(BufferIndex(count));
            count += 1;
        }
    }
    let index = |buffer: BufferId| places[buffer.index()].unwrap_or(BufferIndex(0));
    let buffers = plan
        .buffers
        .iter()
        .filter(|b| there(b))
        .map(|b| Buffer {
            dtype: b.dtype,
            elements: dims.dim(&b.elements),
            storage: match &b.storage {
                plan::Storage::Arena { first, last } => {
                    Storage::Arena { first: *first as u32, last: *last as u32 }
                }
                plan::Storage::Variable(at) => Storage::Variable(*at as u32),
                plan::Storage::Constant(bytes) => Storage::Constant(bytes.clone()),
                plan::Storage::Kept(input) => Storage::Kept(*input as u32),
                plan::Storage::Prepared => Storage::Prepared,
                plan::Storage::Alias(of) => Storage::Alias(index(*of)),
                plan::Storage::Local => Storage::Local,
                plan::Storage::Unused | plan::Storage::Row { .. } => Storage::Arena { first: 0, last: 0 },
            },
        })
        .collect();
    let guards = plan
        .guards
        .iter()
        .map(|(dim, message, span)| Guard {
            value: dims.dim(dim),
            message: message.clone(),
            place: place(*span),
        })
        .collect();
    let inputs = plan
        .inputs
        .iter()
        .map(|(name, dtype, shape, source, buffer)| Input {
            name: name.clone(),
            dtype: *dtype,
            shape: dims.shape(shape),
            source: source.clone(),
            buffer: index(*buffer),
        })
        .collect();
    let outputs = plan
        .outputs
        .iter()
        .map(|(name, dtype, shape, buffer)| Output {
            name: name.clone(),
            dtype: *dtype,
            shape: dims.shape(shape),
            buffer: index(*buffer),
        })
        .collect();
    let mut segments = Vec::new();
    for segment in &plan.segments {
        let steps = steps(&mut dims, plan, &segment.steps, choose, &index, None);
        let (units, grain) = (dims.dim(&segment.units), dims.dim(&segment.grain));
        segments.push(Segment { units, grain, steps, follows: segment.follows });
    }
    let launches = plan.segments.iter().flat_map(plan::Segment::launches);
    let total = launches.fold(Dim::constant(0), |sum, launch| sum + launch.flops.clone());
    let flops = Some(dims.dim(&total));
    Entry {
        name: plan.name.clone(),
        symbols: dims.symbols.iter().map(|s| s.to_string()).collect(),
        dims: dims.list,
        guards,
        inputs,
        outputs,
        buffers,
        segments,
        prepares: plan.prepares as u32,
        changes: plan.changes.iter().map(|variable| *variable as u32).collect(),
        flops,
    }
}

/// Some steps, in a loop at a level.
fn steps(
    dims: &mut Dims,
    plan: &Plan,
    list: &[plan::Step],
    choose: &mut Choose<'_>,
    index: &dyn Fn(BufferId) -> BufferIndex,
    around: Option<(&plan::Loop, usize)>,
) -> Vec<Step> {
    let mut made = Vec::with_capacity(list.len());
    for (number, step) in list.iter().enumerate() {
        let ahead = around.is_some_and(|(inner, _)| number < inner.ahead());
        made.push(match step {
            plan::Step::Launch(launch) => {
                let buffers = launch.buffers.iter().map(|(buffer, offset)| {
                    let (whole, start, mut moves) = plan.resolve(*buffer);
                    let offset = offset.clone() + start;
                    // A step reads its part of what was done ahead.
                    let ring = around.filter(|_| !ahead).and_then(|(inner, level)| {
                        let ring = inner.rings.iter().find(|(ring, _)| *ring == whole);
                        ring.map(|(_, step)| (step, level))
                    });
                    if let Some((step, level)) = ring {
                        moves = vec![Dim::constant(0); level];
                        moves.push(step.clone());
                    }
                    BufferSlice {
                        buffer: index(whole),
                        offset: (!offset.is(0)).then(|| dims.dim(&offset)),
                        advance: dims.shape(&moves),
                        block: ring.is_some(),
                    }
                });
                let buffers = buffers.collect();
                Step::Launch(Launch {
                    kernel: choose(dims, plan, launch),
                    per_unit: dims.dim(&launch.per_unit),
                    buffers,
                    ahead,
                    path: launch.path.to_string(),
                    place: place(launch.span),
                    flops: dims.dim(&launch.flops),
                    bytes: dims.dim(&launch.bytes),
                })
            }
            plan::Step::Loop(inner) => Step::Loop(Loop {
                trip: dims.dim(&inner.trip),
                reversed: inner.reversed,
                block: dims.dim(&inner.block),
                steps: {
                    let level = around.map_or(0, |(_, level)| level + 1);
                    steps(dims, plan, &inner.steps, choose, index, Some((inner, level)))
                },
            }),
        });
    }
    made
}

/// A kernel of the runtime; none for a loop nest.
pub fn native(dims: &mut Dims, kernel: &plan::Kernel) -> Option<Kernel> {
    Some(match kernel {
        plan::Kernel::Nest(_) | plan::Kernel::Parts(_) => return None,
        plan::Kernel::Contraction { batch, m, k, n, packed, kept, partition, splits, adds } => {
            Kernel::Contraction(Contraction {
                batch: dims.strides(batch),
                m: dims.strides(m),
                k: dims.strides(k),
                n: dims.stride(n),
                packed: *packed,
                kept: *kept,
                partition: *partition,
                splits: *splits,
                adds: *adds,
            })
        }
        plan::Kernel::Convolution {
            kind,
            n,
            input,
            output,
            input_channels,
            output_channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            splits,
        } => Kernel::Convolution(Convolution {
            kind: *kind,
            n: dims.dim(n),
            input: dims.pair(input),
            output: dims.pair(output),
            input_channels: dims.dim(input_channels),
            output_channels: dims.dim(output_channels),
            kernel: dims.pair(kernel),
            stride: *stride,
            padding: dims.pair(padding),
            dilation: *dilation,
            groups: dims.dim(groups),
            splits: dims.dim(splits),
        }),
        plan::Kernel::Attention(attention) => Kernel::Attention(attention.map(|dim| dims.dim(dim))),
        plan::Kernel::Pack { taps, k, n, kept } => {
            Kernel::Pack(Pack { taps: dims.stride(taps), k: dims.stride(k), n: dims.stride(n), kept: *kept })
        }
        plan::Kernel::CumulativeSum { axis, inner, reverse, exclusive } => Kernel::CumulativeSum {
            axis: dims.dim(axis),
            inner: dims.dim(inner),
            reverse: *reverse,
            exclusive: *exclusive,
        },
        plan::Kernel::Gather { dtype, axis, count, inner } => Kernel::Gather {
            dtype: *dtype,
            axis: dims.dim(axis),
            count: dims.dim(count),
            inner: dims.dim(inner),
        },
        plan::Kernel::ScatterAdd { axis, count, inner } => {
            Kernel::ScatterAdd { axis: dims.dim(axis), count: dims.dim(count), inner: dims.dim(inner) }
        }
        plan::Kernel::Sort { dtype, axis, count, falling } => {
            Kernel::Sort { dtype: *dtype, axis: dims.dim(axis), count: dims.dim(count), falling: *falling }
        }
    })
}
