//! graph → plan: which values are kept in memory, which kernels compute them, when, and where.
//!
//! A [`Plan`] is a plain value with a stable text form ([`text`]). It knows no machine: kernels are loop nests over symbolic
//! dims, or one of the runtime's contraction, convolution and indexing kernels. [`plan`] makes it in five steps, one file each:
//!
//! 1. [`select`] decides which nodes are *materialised* (have a buffer); the others are expressions or index maps inside
//!    their users.
//! 2. [`build`] makes one kernel per materialised node: a loop nest ([`values`] turns nodes into scalar values at an index), or a
//!    runtime kernel ([`contract`], [`conv`], [`attention`]); [`windows`] has the adjoints of pooling. A loop of the graph becomes one kernel with kernels inside ([`repeat`]).
//! 3. [`fuse`] merges loop nests ([`merge`] says how two become one): a producer with consumers that read it point by point, siblings that read the same, maps that
//!    run over a row with the reduction of that row. Stores that nobody reads any more vanish. For a GPU, [`rows`] makes one kernel of
//!    all that goes over the same rows.
//! 4. [`schedule`] orders the kernels into segments: a segment is cut along one leading dim and runs chunk by chunk with no
//!    barrier, so what one kernel writes is in cache when the next one reads it. In loops, [`ahead`] says what is done for several steps at
//!    once, and [`beside`] which loops run side by side. For a GPU, [`epilogue`] lets products do what is done to their elements
//!    alone, [`prologue`] what their operands are made of, and [`together`] makes one launch of many small kernels.
//! 5. [`memory`] gives each buffer its lifetime, lets updates and last readers write in place, and keeps what one segment alone
//!    uses in the memory of its threads.

pub mod affine;
mod ahead;
mod attention;
mod beside;
mod build;
mod concat;
pub use build::neutral;
use contract::is_nest;
pub use merge::never_again;
mod contract;
mod conv;
mod epilogue;
mod fuse;
pub mod halves;
mod memory;
mod merge;
pub mod nest;
mod normal;
pub mod prologue;
mod repeat;
mod rows;
pub use rows::{COLUMNS, Columns, are_columns};
mod schedule;
mod select;
mod sums;
pub mod text;
mod together;
mod values;
mod windows;

use crate::graph::{DType, Dim, Entry, Node, NodeId, Symbol, Variable};
use affine::Affine;
use nest::Nest;
use std::collections::BTreeSet;
use std::sync::Arc;
use weft_grammar::Span;
use weft_runtime::program::{Attention, ConvolutionKind, InputSource, Partition};

/// What cannot be planned, and where it stands in the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanError {
    pub message: String,
    pub path: Arc<str>,
    pub span: Span,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for PlanError {}

impl PlanError {
    fn at(node: &Node, message: impl Into<String>) -> PlanError {
        PlanError { message: message.into(), path: node.path.clone(), span: node.span }
    }
}

/// Why a kernel could not be built.
#[derive(Debug)]
enum Stop {
    /// The node must be in memory first.
    Need(NodeId),
    Error(PlanError),
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Stop {
        Stop::Error(error)
    }
}

/// A place in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

impl BufferId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The schedule of one entry.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub symbols: Vec<Symbol>,
    pub inputs: Vec<(String, DType, Vec<Dim>, InputSource, BufferId)>,
    pub outputs: Vec<(String, DType, Vec<Dim>, BufferId)>,
    pub guards: Vec<(Dim, String, Span)>,
    pub buffers: Vec<Buffer>,
    pub segments: Vec<Segment>,
    /// The first so many segments only fill prepared buffers.
    pub prepares: usize,
    /// The variables that a run changes.
    pub changes: Vec<usize>,
    /// Likely values of symbols, for costs alone.
    pub sizes: Vec<(Symbol, i64)>,
}

#[derive(Clone, Debug)]
pub struct Buffer {
    pub name: String,
    pub dtype: DType,
    pub elements: Dim,
    pub storage: Storage,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// Live from the first to the last of these segments.
    Arena {
        first: usize,
        last: usize,
    },
    /// Index into the module's variables.
    Variable(usize),
    Constant(Vec<u8>),
    /// What a sequence keeps between its steps for this input.
    Kept(usize),
    /// Made from variables alone, and kept until one of them changes.
    Prepared,
    /// The storage of another buffer.
    Alias(BufferId),
    /// What one step of a loop sees of another buffer, which may be such a part itself: from `offset` on, and `advance` elements
    /// further with each number of the loop. `level` loops stand around that loop.
    Row {
        of: BufferId,
        offset: Dim,
        level: usize,
        advance: Dim,
    },
    /// Only the units of one task at a time, in memory of its thread.
    Local,
    /// No kernel uses it any more.
    Unused,
}

/// Kernels that run chunk by chunk along `units` with no barrier between them.
#[derive(Clone, Debug)]
pub struct Segment {
    pub units: Dim,
    pub grain: Dim,
    pub steps: Vec<Step>,
    /// Its loop may run beside that of the segment before, and of those that this one follows; see [`beside`].
    pub follows: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Launch(Box<Launch>),
    Loop(Loop),
}

/// Steps that each task repeats by itself.
#[derive(Clone, Debug)]
pub struct Loop {
    pub trip: Dim,
    pub reversed: bool,
    /// Turns that the launches that fill `rings`, which come first, do at once.
    pub block: Dim,
    /// Buffers that hold a block of turns, and the elements of a turn.
    pub rings: Vec<(BufferId, Dim)>,
    pub steps: Vec<Step>,
}

impl Loop {
    /// How many of its steps, the first ones, are done for a block of turns at once: each fills a ring.
    pub fn ahead(&self) -> usize {
        self.rings.len()
    }
}

impl Step {
    /// All launches, those in loops once.
    pub fn launches(&self) -> Vec<&Launch> {
        match self {
            Step::Launch(launch) => vec![launch],
            Step::Loop(inner) => inner.steps.iter().flat_map(Step::launches).collect(),
        }
    }
}

impl Segment {
    /// All launches, those in loops once, in the order in which they first run.
    pub fn launches(&self) -> Vec<&Launch> {
        self.launches_in_loops().into_iter().map(|(launch, _)| launch).collect()
    }

    /// The same, each with the loops around it, numbered within the segment from the outermost in.
    fn launches_in_loops(&self) -> Vec<(&Launch, Vec<usize>)> {
        fn collect<'a>(
            steps: &'a [Step],
            around: &mut Vec<usize>,
            loops: &mut usize,
            list: &mut Vec<(&'a Launch, Vec<usize>)>,
        ) {
            for step in steps {
                match step {
                    Step::Launch(launch) => list.push((launch, around.clone())),
                    Step::Loop(inner) => {
                        around.push(*loops);
                        *loops += 1;
                        collect(&inner.steps, around, loops, list);
                        around.pop();
                    }
                }
            }
        }
        let mut list = Vec::new();
        collect(&self.steps, &mut Vec::new(), &mut 0, &mut list);
        list
    }
}

impl Plan {
    /// The buffer whose storage a buffer is in.
    pub fn root(&self, mut buffer: BufferId) -> BufferId {
        while let Storage::Alias(of) | Storage::Row { of, .. } = self.buffers[buffer.index()].storage {
            buffer = of;
        }
        buffer
    }

    /// By slot of a launch: its kernel writes neither to the buffer nor to what shares its storage.
    pub fn readonly(&self, launch: &Launch) -> Vec<bool> {
        let written: Vec<BufferId> = launch.written().into_iter().map(|buffer| self.root(buffer)).collect();
        launch.buffers.iter().map(|(buffer, _)| !written.contains(&self.root(*buffer))).collect()
    }

    /// A likely value of a dim, for decisions about speed. Never for decisions about meaning.
    pub fn estimate(&self, dim: &Dim) -> i64 {
        estimate(dim, &self.sizes)
    }

    /// Where a buffer begins: the buffer with storage of its own that it is a part of, the offset there, and by how much it moves
    /// with each of the loops around it.
    pub fn resolve(&self, buffer: BufferId) -> (BufferId, Dim, Vec<Dim>) {
        resolve(&self.buffers, buffer)
    }
}

/// See [`Plan::resolve`].
fn resolve(buffers: &[Buffer], mut buffer: BufferId) -> (BufferId, Dim, Vec<Dim>) {
    let (mut start, mut moves) = (Dim::constant(0), Vec::new());
    while let Storage::Row { of, offset, level, advance } = &buffers[buffer.index()].storage {
        start = start + offset.clone();
        if !advance.is(0) {
            if moves.len() <= *level {
                moves.resize(level + 1, Dim::constant(0));
            }
            moves[*level] = moves[*level].clone() + advance.clone();
        }
        buffer = *of;
    }
    (buffer, start, moves)
}

#[derive(Clone, Debug)]
pub struct Launch {
    pub kernel: Kernel,
    /// In the kernel's order, with an offset in elements. For a nest: by slot.
    pub buffers: Vec<(BufferId, Dim)>,
    pub per_unit: Dim,
    pub path: Arc<str>,
    pub span: Span,
    pub flops: Dim,
    pub bytes: Dim,
    /// What a product does to each element before it is stored. The product's own result is then no buffer of the launch, unless
    /// the epilogue stores it.
    pub epilogue: Option<Epilogue>,
    /// What a product does to elements of its operands as it loads them. Such an operand is no buffer of the launch: in its slot stands the first of
    /// those that the prologue reads.
    pub prologues: Vec<Prologue>,
}

/// A map that makes a product's operand of a slot: it stores the elements of the buffer `of` in their order, which never are there. See [`prologue`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prologue {
    pub slot: usize,
    pub stage: nest::Stage,
    pub of: BufferId,
    pub path: Arc<str>,
    pub span: Span,
}

/// A map over a product's result: loads of the buffer `of` are the product's elements, which never were there. See [`epilogue`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    pub stage: nest::Stage,
    pub of: BufferId,
}

impl Launch {
    /// What a product multiplies: the buffer in a slot, or what a prologue makes there.
    pub fn operand(&self, slot: usize) -> BufferId {
        let made = self.prologues.iter().find(|prologue| prologue.slot == slot);
        made.map_or(self.buffers[slot].0, |prologue| prologue.of)
    }

    /// The buffers that its kernel writes.
    pub fn written(&self) -> Vec<BufferId> {
        if let Some(epilogue) = &self.epilogue {
            return epilogue.stage.stores.iter().map(|store| store.buffer).collect();
        }
        // How many of a runtime kernel's buffers, the last ones, are results.
        let stored = |nest: &Nest| -> Vec<BufferId> {
            nest.stages.iter().flat_map(|stage| &stage.stores).map(|store| store.buffer).collect()
        };
        let results = match &self.kernel {
            Kernel::Nest(nest) => return stored(nest),
            Kernel::Parts(parts) => return parts.iter().flat_map(|part| stored(&part.nest)).collect(),
            Kernel::Attention(attention) if attention.backward => 3 + usize::from(attention.bias_gradient),
            Kernel::Attention(_) | Kernel::Sort { .. } => 2,
            _ => 1,
        };
        self.buffers.iter().rev().take(results).map(|(buffer, _)| *buffer).collect()
    }
}

/// One axis of a runtime kernel; see `weft_runtime::program::Stride`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stride {
    pub extent: Dim,
    pub a: Option<Dim>,
    pub b: Option<Dim>,
    pub c: Option<Dim>,
}

/// A nest of a launch of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    pub path: Arc<str>,
    pub nest: Nest,
}

/// The kernels of `weft_runtime::program::Kernel`, over symbolic dims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    Nest(Nest),
    /// Several that touch nothing that another one writes; see [`together`].
    Parts(Vec<Part>),
    Contraction {
        batch: Vec<Stride>,
        m: Vec<Stride>,
        k: Vec<Stride>,
        n: Stride,
        packed: bool,
        kept: DType,
        partition: Partition,
        splits: u32,
        /// To what C holds; see [`sums`].
        adds: bool,
    },
    Convolution {
        kind: ConvolutionKind,
        n: Dim,
        input: [Dim; 2],
        output: [Dim; 2],
        input_channels: Dim,
        output_channels: Dim,
        kernel: [Dim; 2],
        stride: [u32; 2],
        padding: [Dim; 2],
        dilation: [u32; 2],
        groups: Dim,
        splits: Dim,
    },
    Attention(Box<Attention<Dim>>),
    Pack {
        taps: Stride,
        k: Stride,
        n: Stride,
        kept: DType,
    },
    CumulativeSum {
        axis: Dim,
        inner: Dim,
        reverse: bool,
        exclusive: bool,
    },
    Gather {
        dtype: DType,
        axis: Dim,
        count: Dim,
        inner: Dim,
    },
    ScatterAdd {
        axis: Dim,
        count: Dim,
        inner: Dim,
    },
    Sort {
        dtype: DType,
        axis: Dim,
        count: Dim,
        falling: bool,
    },
}

/// What a draft does: a kernel, or a loop around drafts.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all drafts are kernels")]
enum Work {
    Kernel(Kernel),
    Loop(repeat::Repeat),
}

/// A kernel before it has a place in the schedule.
#[derive(Clone, Debug)]
struct Draft {
    work: Work,
    buffers: Vec<(BufferId, Dim)>,
    /// How the kernel touches memory, for fusion and scheduling. For nests this follows from the stages, for loops from what is
    /// inside.
    accesses: Vec<Access>,
    /// Extents of the loops that `accesses` speak of; the leading ones make the index space.
    loops: Vec<Dim>,
    /// The whole index space; it is `loops[0]` times what belongs to one step of it, unless the kernel cannot be cut.
    space: Dim,
    path: Arc<str>,
    span: Span,
    flops: Dim,
}

impl Draft {
    fn as_nest(&self) -> Option<&Nest> {
        match &self.work {
            Work::Kernel(Kernel::Nest(nest)) => Some(nest),
            _ => None,
        }
    }

    /// The kernels: itself, or all those inside.
    fn kernels(&self) -> Vec<&Draft> {
        match &self.work {
            Work::Kernel(_) => vec![self],
            Work::Loop(repeat) => repeat.drafts.iter().flat_map(Draft::kernels).collect(),
        }
    }
}

/// A buffer read or written by a kernel.
#[derive(Clone, Debug)]
struct Access {
    buffer: BufferId,
    write: bool,
    /// The map over the kernel's loops; `None` when any element may be touched.
    at: Option<Affine>,
    /// How many elements from there on.
    reach: Dim,
    /// Extents of the variables of `at`.
    extents: Vec<Dim>,
}

/// For what kind of machine a plan is. It changes how work is laid out, never what is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// A few cores with large caches: weights are packed into panels, small batches run side by side, and a task's buffers stay with its thread.
    #[default]
    Cpu,
    /// Thousands of threads before one memory: every launch is the whole of its index space, operands are read where they lie, and sums are
    /// cut into as many parts as fill the machine.
    Gpu,
}

impl Machine {
    /// Tiles of an output (of [`weft_runtime::program::TILE_ROWS`] × [`weft_runtime::program::PANEL`]) that keep it busy.
    fn tiles_wanted(self) -> i64 {
        match self {
            Machine::Cpu => 16,
            Machine::Gpu => 512,
        }
    }
}

/// The graph of one entry as a schedule of kernels for a few cores.
pub fn plan(entry: &Entry, variables: &[Variable]) -> Result<Plan, PlanError> {
    plan_for(entry, variables, Machine::Cpu)
}

/// The graph of one entry as a schedule of kernels.
pub fn plan_for(entry: &Entry, variables: &[Variable], machine: Machine) -> Result<Plan, PlanError> {
    planned(entry, variables, machine, None)
}

/// The same for a GPU that does products in such tiles.
pub fn plan_in_tiles(
    entry: &Entry,
    variables: &[Variable],
    tiles: &prologue::Tiles<'_>,
) -> Result<Plan, PlanError> {
    planned(entry, variables, Machine::Gpu, Some(tiles))
}

fn planned(
    entry: &Entry,
    variables: &[Variable],
    machine: Machine,
    tiles: Option<&prologue::Tiles<'_>>,
) -> Result<Plan, PlanError> {
    let mut selection = select::select(&entry.graph, machine);
    let mut built = loop {
        match build::build(entry, variables, &selection, machine) {
            Ok(built) => break built,
            Err(Stop::Error(error)) => return Err(error),
            // Each round materialises one node more, so this ends.
            Err(Stop::Need(id)) if !selection.materialised[id.index()] => {
                selection.materialised[id.index()] = true
            }
            Err(Stop::Need(id)) => {
                return Err(PlanError::at(entry.graph.node(id), "cannot be read as it is"));
            }
        }
    };
    fuse::fuse(&mut built);
    if machine == Machine::Gpu {
        rows::join(&mut built);
    }
    let mut segments = schedule::schedule(&mut built);
    match machine {
        Machine::Cpu => sums::join(&built, &mut segments),
        Machine::Gpu => {
            epilogue::attach(&mut built, &mut segments);
            if let Some(tiles) = tiles {
                prologue::attach(&mut built, &mut segments, tiles);
            }
            together::gather(&mut built, &mut segments);
        }
    }
    Ok(memory::finish(entry, variables, built, segments))
}

/// What [`build`] makes and the later steps refine.
#[derive(Debug, Default)]
struct Built {
    machine: Machine,
    buffers: Vec<Buffer>,
    drafts: Vec<Draft>,
    inputs: Vec<(String, DType, Vec<Dim>, InputSource, BufferId)>,
    outputs: Vec<(String, DType, Vec<Dim>, BufferId)>,
    /// New values of variables: the buffer that holds one, the variable's own.
    updates: Vec<(BufferId, BufferId)>,
    /// By segment: storage of which each unit touches its own share alone.
    owned: Vec<BTreeSet<BufferId>>,
    /// The variables that the entry changes.
    changed: BTreeSet<usize>,
    /// How many segments, the first ones, fill prepared buffers.
    prepares: usize,
    /// Likely values of symbols, for costs alone.
    sizes: Vec<(Symbol, i64)>,
}

impl Built {
    /// A likely value of a dim, for decisions about speed. Never for decisions about meaning.
    fn estimate(&self, dim: &Dim) -> i64 {
        estimate(dim, &self.sizes)
    }

    /// Whether it is a variable that the entry does not change.
    fn lasts(&self, buffer: BufferId) -> bool {
        memory::variable(self, buffer).is_some_and(|variable| !self.changed.contains(&variable))
    }

    /// The symbols that count rows of inputs, and whether they are mostly few: too few to be cut among threads.
    fn batches(&self) -> impl Iterator<Item = (Symbol, bool)> {
        let symbols = self.inputs.iter().filter_map(|input| input.2.first()?.as_symbol());
        symbols.map(|symbol| (symbol.clone(), self.estimate(&Dim::symbol(symbol.clone())) <= contract::FEW))
    }
}

fn estimate(dim: &Dim, sizes: &[(Symbol, i64)]) -> i64 {
    let bind = |name: &str| Some(sizes.iter().find(|(s, _)| **s == *name).map_or(64, |(_, v)| *v));
    dim.evaluate(&bind).unwrap_or(i64::MAX / 4).max(0)
}
