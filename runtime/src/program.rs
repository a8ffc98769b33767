//! The wall between compiler and runtime: one plain value that says everything about a compiled spec.
//!
//! A [`Program`] holds tables only: variables, entries, machine code, descriptors of data and training. It is made by the
//! compiler, run by [`crate::execute`], and is what an executable embeds. An [`Entry`] is one schedule (a training step, an
//! evaluation, a prediction): a flat list of [`Segment`]s over buffers whose sizes are functions of the entry's dims. What the spec
//! declares beside its entries is in `declared.rs`.
//!
//! **Index spaces.** Every kernel is a function of a half-open range of its own one-dimensional index space (the flattened
//! leading dims of what it writes), so that ranges may run in any order, on any thread, and give the same bits.
//! A segment is a list of steps that are cut along one common leading dim (mostly the batch) and run chunk by chunk with
//! no barrier between them; there is a barrier between segments. How a segment is cut depends on dims alone, but for loops, whose
//! tasks are larger where threads are few.
//!
//! **Loops.** A step is a launch, or a loop around steps. Each task runs all turns of a loop by itself, so that a recurrent
//! layer has no barrier inside and its carries stay in the memory of one thread. What a launch sees of a buffer may move on by
//! a number of elements with each step of the loops around it ([`BufferSlice::advance`]): so it reads the elements of a
//! sequence where they lie, and writes its results where they belong. What needs a sequence alone may be computed for a block of
//! turns at once ([`Launch::ahead`]).
//!
//! A loop that reads what another one yields need not wait for its end: where each is one task, they run side by side on two
//! threads, turn by turn ([`Segment::follows`]).

mod declared;
mod device;

use serde::{Deserialize, Serialize};

pub use declared::*;
pub use device::*;

/// Element types of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    U8,
    I32,
    I64,
    Bool,
}

impl DType {
    pub const ALL: [DType; 9] = [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I8,
        DType::U8,
        DType::I32,
        DType::I64,
        DType::Bool,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::F16 | DType::BF16 => 2,
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    /// The name in specs: `f32`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// A compiled spec.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// The spec's name (its file stem).
    pub name: String,
    /// Weights, states, optimizer slots and accumulators, shared by all entries.
    pub variables: Vec<Variable>,
    pub entries: Vec<Entry>,
    pub code: Code,
    pub device: DeviceCode,
    pub data: Vec<DataSet>,
    pub trainings: Vec<Training>,
    pub predictions: Vec<Prediction>,
    pub generations: Vec<Generation>,
    /// Those that predictions and generations read from files of their own; others belong to data sets.
    pub vocabularies: Vec<Vocabulary>,
    /// Carried out in order when a training starts, before weights that the user names.
    pub loads: Vec<Load>,
    /// Source files by [`Place::file`], for profiles and errors: (name, text).
    pub sources: Vec<(String, String)>,
}

/// What a variable is for, which decides who resets and saves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VariableKind {
    /// Learned; saved.
    Weight,
    /// Changed by `<-` in a layer; saved.
    State,
    /// An optimizer's state for one weight; saved in checkpoints only.
    Slot,
    /// A sum over an epoch (loss, metrics): zeroed by the runtime before each epoch and each evaluation.
    Accumulator,
    /// What the values of an i8 weight are multiplied by; made with them, from the weight in f32.
    Scale,
}

/// A tensor that outlives a run. Its shape is constant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variable {
    /// `Cnn.conv2d.weight`; a slot is `WEIGHT/adam.m`, the scales of a weight are `WEIGHT/scale`.
    pub path: String,
    pub kind: VariableKind,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// False for weights that no optimizer moves.
    pub trainable: bool,
    /// Of an i8 weight: the axes each index of which has a scale of its own. Others have none.
    pub channels: Vec<usize>,
}

/// The path of the scales of an i8 weight.
pub fn scale_path(weight: &str) -> String {
    format!("{weight}/scale")
}

/// Index into [`Entry::dims`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DimIndex(pub u32);

/// A dim as a function of the entry's symbols. Operands are earlier places of the table, so one pass evaluates it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DimExpr {
    Constant(i64),
    /// Index into [`Entry::symbols`].
    Symbol(u32),
    Add(DimIndex, DimIndex),
    Sub(DimIndex, DimIndex),
    Mul(DimIndex, DimIndex),
    FloorDiv(DimIndex, DimIndex),
    CeilDiv(DimIndex, DimIndex),
    Rem(DimIndex, DimIndex),
    Min(DimIndex, DimIndex),
    Max(DimIndex, DimIndex),
}

/// Something that must hold when dims bind: `value == 0` where `value` is a dim, else `message`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Guard {
    pub value: DimIndex,
    pub message: String,
    pub place: Place,
}

/// A place in the spec's sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    pub file: u32,
    pub start: u32,
    pub end: u32,
    /// 1-based line of `start`.
    pub line: u32,
}

/// One schedule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// `init`, `train.step`, `train.evaluate`, `train.report`, `predict.digit`, …
    pub name: String,
    /// Names of the dim symbols, bound by the inputs' shapes: `n`, `batch`.
    pub symbols: Vec<String>,
    pub dims: Vec<DimExpr>,
    pub guards: Vec<Guard>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub buffers: Vec<Buffer>,
    pub segments: Vec<Segment>,
    /// The first so many segments fill the prepared buffers, and nothing else: they run when a variable that they read has changed.
    pub prepares: u32,
    /// The variables that a run changes.
    pub changes: Vec<u32>,
    /// Algorithmic FLOPs of one run (multiply-add = 2), a dim.
    pub flops: Option<DimIndex>,
}

impl Entry {
    /// A shape for people: `[n, 28, 28, 1]`, with `…` for what is computed.
    pub fn shape(&self, dims: &[DimIndex]) -> String {
        let extent = |dim: &DimIndex| match &self.dims[dim.0 as usize] {
            DimExpr::Constant(extent) => extent.to_string(),
            DimExpr::Symbol(symbol) => self.symbols[*symbol as usize].clone(),
            _ => "…".to_owned(),
        };
        format!("[{}]", dims.iter().map(extent).collect::<Vec<_>>().join(", "))
    }
}

/// Where a run's input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputSource {
    /// Given by the caller, by name.
    Caller,
    /// A field of a data set's row, batched: index into [`Program::data`], field name.
    Field { data: usize, field: String },
    /// `i64[2]`: the run's seed and the number of this batch since the start of training.
    Random,
    /// `i64[]`: steps done before this one (0 at the first). Batches that are accumulated make one step.
    Step,
    /// `f32[]`: epochs done, with the fraction of the current one.
    Epoch,
    /// `i64[]`: steps that the whole training will take.
    TotalSteps,
    /// All rows that an epoch's steps, or its evaluation, gave in the output of this input's name, in order.
    Collected,
    /// `f32[]`: what the training's [`ReduceRate`] has multiplied rates by so far; 1 at the start.
    RateFactor,
    /// `i32[n, t]`: the tokens of the texts that the caller gives, by the name of the texts.
    Tokens { text: String, encoding: Encoding },
    /// `i32[n]`: how many tokens each text has, by the name of the input that holds them.
    Lengths { tokens: String },
    /// `i32[n, t]`: the new tokens of a generation; in its first step, and in its start, those that it begins with.
    Written,
    /// Of the step of a sequence: what its start gave in the output of this input's name.
    Kept,
    /// Of the step of a sequence: what the step before gave in the output of this input's name. The first step has it from the start,
    /// but what grows by the new tokens along its first axis begins empty.
    Carried { grows: bool },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    pub name: String,
    pub dtype: DType,
    /// Dims of the shape; where one is a bare symbol, the given shape binds it.
    pub shape: Vec<DimIndex>,
    pub source: InputSource,
    pub buffer: BufferIndex,
}

impl Input {
    /// Is it made by the runtime, rather than given by the caller of a prediction as it is?
    pub fn is_made(&self) -> bool {
        matches!(self.source, InputSource::Tokens { .. } | InputSource::Lengths { .. } | InputSource::Random)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<DimIndex>,
    pub buffer: BufferIndex,
}

/// Index into [`Entry::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BufferIndex(pub u32);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Buffer {
    pub dtype: DType,
    /// Number of elements.
    pub elements: DimIndex,
    pub storage: Storage,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Storage {
    /// In the entry's arena, live from the first to the last of these segments (inclusive). Inputs live from segment 0,
    /// outputs to the last segment. The runtime gives offsets at the dims' upper bounds, by deterministic best fit.
    Arena { first: u32, last: u32 },
    /// A variable itself; written in place.
    Variable(u32),
    /// Constant bytes.
    Constant(Vec<u8>),
    /// What a sequence keeps between its steps for the input of this number; see [`crate::execute::Session::begin`].
    Kept(u32),
    /// Made from variables alone, such as packed weights, and kept from run to run until one of them changes.
    Prepared,
    /// The same storage as another buffer (in-place update, reshape), from its start.
    Alias(BufferIndex),
    /// Memory of the thread that runs a task, which stays in its cache: only the task's units are there. One segment alone uses
    /// it, each unit its own share of the elements: those from `unit · elements / units` on.
    Local,
}

/// Steps that run chunk by chunk with no barrier between them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Extent of the common leading dim along which the segment is cut.
    pub units: DimIndex,
    /// At least so many units a task; tasks = clamp(units / grain, 1, [`MAX_TASKS`]), or fewer where there is a loop. Task `t` of `T` owns the units
    /// `units * t / T .. units * (t + 1) / T`.
    pub grain: DimIndex,
    pub steps: Vec<Step>,
    /// Its loop may run beside that of the segment before, of as many turns: up to the end of its own turn of a number, it needs of
    /// what is done there the turns up to the same number, and it touches nothing that later ones touch. Its steps behind the loop
    /// need all of it. So too for the segments before, as far as these follow one another.
    pub follows: bool,
}

/// What a task does, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Launch(Launch),
    Loop(Loop),
}

/// Steps that are done again and again, for the numbers from 0 to `trip - 1`, or down from there to 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loop {
    pub trip: DimIndex,
    pub reversed: bool,
    /// Launches that run ahead do so many turns at once. The last block ends with the loop, and has turns of the one before where
    /// the turns are no multiple. More than one only where the segment is one task.
    pub block: DimIndex,
    pub steps: Vec<Step>,
}

impl Segment {
    /// All launches, those in loops once, in the order in which they first run.
    pub fn launches(&self) -> Vec<&Launch> {
        fn collect<'a>(steps: &'a [Step], list: &mut Vec<&'a Launch>) {
            for step in steps {
                match step {
                    Step::Launch(launch) => list.push(launch),
                    Step::Loop(inner) => collect(&inner.steps, list),
                }
            }
        }
        let mut list = Vec::new();
        collect(&self.steps, &mut list);
        list
    }
}

/// No segment is cut into more tasks than this.
pub const MAX_TASKS: usize = 64;

/// One kernel over one range. For the units `u0..u1` it runs its index range `u0 * per_unit .. u1 * per_unit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    pub kernel: Kernel,
    pub per_unit: DimIndex,
    pub buffers: Vec<BufferSlice>,
    /// It is done for a whole block of turns of the loop around it, before the first of them; so are all launches of the loop before it.
    /// What it reads moves on with the loop, and is seen as at the lowest number of the block.
    pub ahead: bool,
    /// Path of the graph node that this kernel computes (the last one, when several are fused), for profiles and errors.
    pub path: String,
    pub place: Place,
    /// Algorithmic FLOPs and the bytes that must move, of the whole launch; in a loop, of all its turns.
    pub flops: DimIndex,
    pub bytes: DimIndex,
}

/// A buffer from an element offset on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BufferSlice {
    pub buffer: BufferIndex,
    /// In elements.
    pub offset: Option<DimIndex>,
    /// For each loop around the launch, from the outermost in: so many elements further for each number of the loop. Loops that
    /// are not listed move nothing.
    pub advance: Vec<DimIndex>,
    /// The innermost loop's advance counts from the lowest number of a block: the buffer holds one block of turns.
    pub block: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Kernel {
    /// Generated code: see [`NestFunction`]. `dims` are passed by value in this order.
    Nest {
        function: u32,
        dims: Vec<DimIndex>,
    },
    Contraction(Contraction),
    Convolution(Convolution),
    /// Packs the B of a contraction into panels.
    Pack(Pack),
    /// Softmax attention, or its gradients.
    Attention(Attention),
    /// Buffers: x, out. Inclusive or exclusive cumulative sum over the middle of `outer × axis × inner`; index space: outer.
    CumulativeSum {
        axis: DimIndex,
        inner: DimIndex,
        reverse: bool,
        exclusive: bool,
    },
    /// Buffers: table (of `dtype`), indices (i32), out. `out[o, i, :] = table[o, indices[i], :]`; index space: outer × count.
    Gather {
        dtype: DType,
        axis: DimIndex,
        count: DimIndex,
        inner: DimIndex,
    },
    /// Buffers: updates, indices (i32), out. `out[o, indices[i], :] += updates[o, i, :]` from zero; index space: the
    /// destination rows (outer × axis), each of which one task owns.
    ScatterAdd {
        axis: DimIndex,
        count: DimIndex,
        inner: DimIndex,
    },
    /// Buffers: x, values (both of `dtype`), indices (i32). The first `count` of each row in rising (falling) order; equal
    /// elements keep their order, not-a-number is the largest; index space: rows.
    Sort {
        dtype: DType,
        axis: DimIndex,
        count: DimIndex,
        falling: bool,
    },
    /// A kernel that runs on a GPU.
    Device(DeviceLaunch),
}

/// `fn(buffers, dims, table, begin, end)`: generated code for the range `begin..end` of its index space.
/// `buffers`: base pointers in the order of [`Launch::buffers`] (those of local buffers lie before the range's own part); `dims`: values in the order of [`Kernel::Nest::dims`];
/// `table`: the function pointers of [`crate::kernels::math::table`].
pub type NestFunction = unsafe extern "C" fn(
    buffers: *const *mut u8,
    dims: *const i64,
    table: *const *const (),
    begin: i64,
    end: i64,
);

/// One axis of a contraction: its extent and its stride, in elements, in each operand that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stride {
    pub extent: DimIndex,
    pub a: Option<DimIndex>,
    pub b: Option<DimIndex>,
    pub c: Option<DimIndex>,
}

/// `C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n]`, f32. Buffers: a, b, c.
///
/// B may be kept narrower than f32, as bf16, or as i8 with a scale for each column of C; then the buffers are a, b, scales `[n]`, c. It is
/// widened in registers, and a column's scale multiplies its sums.
///
/// `c`'s n stride is 1. `b`'s n stride is 1 unless `packed`, when B was laid out by [`Pack`] (one panel set, no batch axes);
/// with any other stride each range packs what it reads of B, which pays off when a range has many rows for each batch index.
/// Two axes may stand for m and two for k where strides do not collapse (outer first).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contraction {
    pub batch: Vec<Stride>,
    pub m: Vec<Stride>,
    pub k: Vec<Stride>,
    pub n: Stride,
    pub packed: bool,
    /// Of B's elements: f32, bf16 or i8.
    pub kept: DType,
    pub partition: Partition,
    /// Cuts k into this many equal parts whose sums are written one after another: C has a leading axis of this extent (its
    /// stride is the whole of C). 1 for none. Used when the output has too few tiles; a nest adds the parts up.
    pub splits: u32,
    /// Adds to what C holds instead of overwriting it. B is then packed.
    pub adds: bool,
}

/// The index space of a contraction or of a convolution's weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Partition {
    /// Rows: batch × m. (A contraction only; a segment may cut it along the batch.)
    Rows,
    /// Output tiles: splits × batch × ceil(m / [`TILE_ROWS`]) × ceil(n / [`PANEL`]). (Which tiles of a contraction follow one another is its
    /// own affair.)
    Tiles,
}

/// Width of a panel of packed weights, in columns; and of a tile.
pub const PANEL: usize = 32;
/// Rows of one tile in [`Partition::Tiles`] (several register tiles high).
pub const TILE_ROWS: usize = 48;

/// Buffers: source, panels, both of `kept`. `source[k, n]` with any strides becomes `[taps, ceil(n / PANEL), k, PANEL]`, zero-padded.
/// Index space: taps × ceil(n / PANEL).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pack {
    /// An outer axis (the taps of a convolution's weights); extent 1 for a contraction. Stride in `a`.
    pub taps: Stride,
    /// Strides in `a`.
    pub k: Stride,
    pub n: Stride,
    /// Of the elements: f32, bf16 or i8.
    pub kept: DType,
}

/// Softmax attention whose scores are never in memory as a whole, f32. Each head of the keys serves `heads / groups` neighbouring heads of
/// the queries. A query that sees no key has the result 0.
///
/// Buffers of the forward form: q `[n, queries, heads, width]`, k `[n, keys, groups, width]`, v `[n, keys, groups, depth]`, then `bias`
/// `[n, heads, queries, keys]` (f32, added to the scaled scores) and `mask` of the same shape (bool, false where a query doesn't look)
/// where their strides are given; the result `[n, queries, heads, depth]` and the logarithms of the rows' sums `[n, heads, queries]`, both
/// contiguous. Index space: n × heads.
///
/// Buffers of the backward form: the same up to the logarithms, all of them read; the result's adjoint; then the adjoints of q, k and v, and
/// of `bias` where `bias_gradient` is set, contiguous. Index space: n × groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attention<D = DimIndex> {
    pub backward: bool,
    pub n: D,
    pub queries: D,
    pub keys: D,
    pub heads: D,
    pub groups: D,
    pub width: D,
    pub depth: D,
    /// The bits of the f32 that the products are scaled by.
    pub scale: u32,
    /// A query sees the keys up to its own place, before which so many stand for the first query.
    pub causal: Option<D>,
    /// Strides of n, step and head; those of the last axis are 1.
    pub q: [D; 3],
    pub k: [D; 3],
    pub v: [D; 3],
    /// Of the result's adjoint, in the backward form.
    pub gradient: [D; 3],
    /// Strides of n, head, query and key.
    pub bias: Option<[D; 4]>,
    pub mask: Option<[D; 4]>,
    pub bias_gradient: bool,
}

impl<D> Attention<D> {
    /// The same with each dim mapped.
    pub fn map<E>(&self, mut dim: impl FnMut(&D) -> E) -> Attention<E> {
        Attention {
            backward: self.backward,
            n: dim(&self.n),
            queries: dim(&self.queries),
            keys: dim(&self.keys),
            heads: dim(&self.heads),
            groups: dim(&self.groups),
            width: dim(&self.width),
            depth: dim(&self.depth),
            scale: self.scale,
            causal: self.causal.as_ref().map(&mut dim),
            q: self.q.each_ref().map(&mut dim),
            k: self.k.each_ref().map(&mut dim),
            v: self.v.each_ref().map(&mut dim),
            gradient: self.gradient.each_ref().map(&mut dim),
            bias: self.bias.as_ref().map(|strides| strides.each_ref().map(&mut dim)),
            mask: self.mask.as_ref().map(|strides| strides.each_ref().map(&mut dim)),
            bias_gradient: self.bias_gradient,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConvolutionKind {
    /// Buffers: x, w, y. Index space: n × oh.
    Forward,
    /// Buffers: dy, w, dx, where w was packed tap by tap with k = output channels, n = input channels (see [`Pack`]; grouped
    /// convolutions pass plain w). Only valid taps are computed. Index space: n × ih. Also the forward of a transposed one.
    Data,
    /// Buffers: x, dy, dw. Index space: see [`Partition::Tiles`] with m = kh × kw × (ci / groups), n = co; `splits` cut the
    /// batch.
    Weights,
}

/// A convolution in two spatial dims (one dim: h = 1), channels last, f32: x `[n, ih, iw, ci]`, w `[kh, kw, ci / groups, co]`,
/// y `[n, oh, ow, co]`; `y[n, oy, ox, :] += x[n, oy·sh + ky·dh - ph, ox·sw + kx·dw - pw, :] · w[ky, kx]` where that is inside x.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Convolution {
    pub kind: ConvolutionKind,
    pub n: DimIndex,
    pub input: [DimIndex; 2],
    pub output: [DimIndex; 2],
    pub input_channels: DimIndex,
    pub output_channels: DimIndex,
    pub kernel: [DimIndex; 2],
    pub stride: [u32; 2],
    /// Zeros before the first row and column (those after follow from the output's size).
    pub padding: [DimIndex; 2],
    pub dilation: [u32; 2],
    pub groups: DimIndex,
    /// Parts that the batch is cut into for a weight gradient: `dw` has a leading axis of this extent.
    pub splits: DimIndex,
}

/// Machine code: relocation-free functions, one after another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Code {
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// What of the processor it uses beside its architecture's oldest form: `avx2`, `fma`, …
    pub features: Vec<String>,
    pub bytes: Vec<u8>,
    /// Start of each function in `bytes`, 16-byte aligned.
    pub functions: Vec<u32>,
}
