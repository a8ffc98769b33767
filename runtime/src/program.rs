//! The wall between compiler and runtime: one plain value that says everything about a compiled spec.
//!
//! A [`Program`] holds tables only: variables, entries, machine code, descriptors of data and training. It is made by the
//! compiler, run by [`crate::execute`], and is what an executable embeds. An [`Entry`] is one schedule (a training step, an
//! evaluation, a prediction): a flat list of [`Segment`]s over buffers whose sizes are functions of the entry's dims.
//!
//! **Index spaces.** Every kernel is a function of a half-open range of its own one-dimensional index space (the flattened
//! leading dims of what it writes), so that ranges may run in any order, on any thread, and give the same bits.
//! A segment is a list of steps that are cut along one common leading dim (mostly the batch) and run chunk by chunk with
//! no barrier between them; there is a barrier between segments. How a segment is cut depends on dims alone, never on threads.
//!
//! **Loops.** A step is a launch, or a loop around steps. Each task runs all turns of a loop by itself, so that a recurrent
//! layer has no barrier inside and its carries stay in the memory of one thread. What a launch sees of a buffer may move on by
//! a number of elements with each step of the loops around it ([`BufferSlice::advance`]): so it reads the elements of a
//! sequence where they lie, and writes its results where they belong.

use serde::{Deserialize, Serialize};
use std::time::Duration;

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
        [
            DType::F32,
            DType::F64,
            DType::F16,
            DType::BF16,
            DType::I8,
            DType::U8,
            DType::I32,
            DType::I64,
            DType::Bool,
        ]
        .into_iter()
        .find(|d| d.name() == name)
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
}

/// A tensor that outlives a run. Its shape is constant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variable {
    /// `Cnn.conv2d.weight`; a slot is `WEIGHT/adam.m`.
    pub path: String,
    pub kind: VariableKind,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// False for weights that no optimizer moves.
    pub trainable: bool,
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
    /// At least so many units a task; tasks = clamp(units / grain, 1, [`MAX_TASKS`]). Task `t` of `T` owns the units
    /// `units * t / T .. units * (t + 1) / T`.
    pub grain: DimIndex,
    pub steps: Vec<Step>,
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
    pub partition: Partition,
    /// Cuts k into this many equal parts whose sums are written one after another: C has a leading axis of this extent (its
    /// stride is the whole of C). 1 for none. Used when the output has too few tiles; a nest adds the parts up.
    pub splits: u32,
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

/// Buffers: source, panels. `source[k, n]` with any strides becomes `[taps, ceil(n / PANEL), k, PANEL]`, zero-padded.
/// Index space: taps × ceil(n / PANEL).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pack {
    /// An outer axis (the taps of a convolution's weights); extent 1 for a contraction. Stride in `a`.
    pub taps: Stride,
    /// Strides in `a`.
    pub k: Stride,
    pub n: Stride,
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
    pub bytes: Vec<u8>,
    /// Start of each function in `bytes`, 16-byte aligned.
    pub functions: Vec<u32>,
}

/// A data set as the spec declares it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSet {
    pub name: String,
    pub source: DataSource,
    pub fields: Vec<Field>,
    pub splits: Splits,
    /// What is computed from the training part before the first step.
    pub fit: Option<Fit>,
    /// What the texts of its rows are cut into.
    pub vocabularies: Vec<Vocabulary>,
}

/// How the rows of a data set become parts. What the source itself has a part for is left whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Splits {
    pub validation: Held,
    pub test: Held,
    /// A field of the row: each of its values is held out in the same share.
    pub stratify: Option<String>,
    /// A column of the source that says of each row whether it is of `train`, `validation` or `test`.
    pub column: Option<String>,
    /// A field of which each value stands once in all parts; of several rows, one of the test part is left, or else the first.
    pub distinct: Option<String>,
}

impl Splits {
    /// Does the spec ask for rows to validate on?
    pub fn validates(&self) -> bool {
        self.validation != Held::Nothing || self.column.is_some()
    }
}

/// Which rows a part takes from the training rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Held {
    #[default]
    Nothing,
    Share(f64),
    Rows(u64),
    /// The rows of another file of the same kind, relative to the spec.
    File(String),
}

/// The fit values of a data set: states, so that they are saved with the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// What is run over the rows of the training part before the entry, one after another.
    pub passes: Vec<Pass>,
    /// The entry that computes them. Without passes, its inputs are fields of all rows of the training part.
    pub entry: String,
    /// Path of the `i64[]` variable that says from how many rows they were computed; 0: not yet.
    pub rows: String,
    /// Paths of the variables.
    pub values: Vec<String>,
}

/// An entry whose inputs are fields of some rows at a time, in order, and which adds up what it finds in accumulators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub entry: String,
    /// Rows at a time.
    pub rows: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DataSource {
    /// idx files (`train-images-idx3-ubyte[.gz]`, …) in a folder, relative to the spec.
    Idx { folder: String },
    /// CIFAR-10's binary batches in a folder, relative to the spec.
    Cifar10 { folder: String },
    /// A folder with a folder of pictures for each class.
    Images { folder: String, height: usize, width: usize, channels: usize, skip_unreadable: bool },
    /// Lines of cells.
    Csv { file: String, separator: u8, header: bool, quotes: bool },
    /// A JSON object a line.
    JsonLines { file: String },
    /// Columns in groups of rows.
    Parquet { file: String },
    /// Fields with their `.npy` files, in a folder.
    Arrays { folder: String, files: Vec<(String, String)> },
    /// Arrays in one `.npz` file.
    Npz { file: String },
    /// Windows of bytes, one beginning every `stride` bytes.
    Text { file: String, window: usize, stride: usize },
    /// The texts of files, each cut into rows.
    Documents { file: String, rows: Rows },
    /// Fields with their files of lines, in a folder; lines of one number are of one row.
    Lines { folder: String, files: Vec<(String, String)> },
    /// Reviews in the folders of the IMDB data set.
    Imdb { folder: String },
    /// Time series in the format of the archives of sktime and aeon.
    Series { file: String },
}

/// What of a file of text is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// A line with its end.
    Line,
    /// Lines up to an empty one, with it.
    Paragraph,
    /// All of it.
    File,
}

impl DataSource {
    /// Where the rows are: a file or a folder, relative to the spec.
    pub fn path(&self) -> &str {
        match self {
            DataSource::Idx { folder }
            | DataSource::Cifar10 { folder }
            | DataSource::Images { folder, .. }
            | DataSource::Arrays { folder, .. }
            | DataSource::Lines { folder, .. }
            | DataSource::Imdb { folder } => folder,
            DataSource::Csv { file, .. }
            | DataSource::JsonLines { file }
            | DataSource::Parquet { file }
            | DataSource::Npz { file }
            | DataSource::Text { file, .. }
            | DataSource::Documents { file, .. }
            | DataSource::Series { file } => file,
        }
    }

    /// Does it read a file, rather than a folder of files with names of their own?
    pub fn is_file(&self) -> bool {
        self.has_columns()
            || matches!(
                self,
                DataSource::Npz { .. }
                    | DataSource::Text { .. }
                    | DataSource::Documents { .. }
                    | DataSource::Series { .. }
            )
    }

    /// Are its rows made of columns with names?
    pub fn has_columns(&self) -> bool {
        matches!(self, DataSource::Csv { .. } | DataSource::JsonLines { .. } | DataSource::Parquet { .. })
    }
}

/// One field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub cell: Cell,
    /// It may be missing: NaN, or -1 for a class.
    pub optional: bool,
    /// The name that the source has for it. `*` stands for any letters: then each number is a column of its own.
    pub from: String,
    /// Rows differ in length: there is one more axis, in front of `shape`, whose extent in a batch is that of its longest row. In
    /// every entry that reads the field, it is this symbol.
    pub ragged: Option<String>,
}

impl Field {
    /// A field that is in the source as it is in the row.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> Field {
        let name = name.into();
        Field {
            from: name.clone(),
            name,
            dtype,
            shape: shape.into(),
            cell: Cell::Numbers,
            optional: false,
            ragged: None,
        }
    }

    /// Is it read from the source, rather than made of another field?
    pub fn is_read(&self) -> bool {
        !matches!(self.cell, Cell::Tokens { .. } | Cell::Length { .. })
    }

    /// What the field is called that says how long each row of a field is.
    pub fn length_of(name: &str) -> String {
        format!("{name}.length")
    }
}

/// How a source holds a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    Numbers,
    /// One of some values, which becomes its place among them. Without names, those of the training rows, sorted.
    Class(Vec<String>),
    /// Text, as its bytes; cut or filled up with zeros where rows don't differ in length.
    Text,
    /// The tokens of a field of texts.
    Tokens {
        text: String,
        encoding: Encoding,
    },
    /// How long each row of another field is.
    Length {
        of: String,
    },
}

/// How texts become tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoding {
    /// A [`Vocabulary`], by its name.
    pub vocabulary: String,
    /// The most tokens of a row; of a longer text, one end goes.
    pub max_length: Option<usize>,
    pub keep_end: bool,
    /// Every row is filled up to `max_length`, rather than to the longest row of its batch.
    pub fixed: bool,
    /// The tokens that the tokenizer itself puts around a text are added.
    pub special: bool,
    /// Tokens that stand before and after each text.
    pub begin: Option<String>,
    pub end: Option<String>,
    /// The texts stand one after another, and rows are windows of so many tokens, one beginning every so many.
    pub window: Option<(usize, usize)>,
}

/// What texts are cut into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// `reviews.words`; also what weights files call it.
    pub name: String,
    pub source: VocabularySource,
    /// At most so many tokens.
    pub size: usize,
}

/// Where a vocabulary comes from: a file, relative to the spec, or the texts of fields of the training part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VocabularySource {
    /// A `tokenizer.json`.
    File(String),
    /// The 256 bytes of UTF-8, each by its own number.
    Bytes,
    /// The most frequent words.
    WordLevel {
        texts: Vec<String>,
        lowercase: bool,
    },
    /// The most frequent letters.
    Characters {
        texts: Vec<String>,
    },
    /// Byte pair encoding of UTF-8.
    Bpe {
        texts: Vec<String>,
    },
    Unigram {
        texts: Vec<String>,
    },
}

impl VocabularySource {
    /// The fields that it is trained on.
    pub fn texts(&self) -> &[String] {
        match self {
            VocabularySource::File(_) | VocabularySource::Bytes => &[],
            VocabularySource::WordLevel { texts, .. }
            | VocabularySource::Characters { texts }
            | VocabularySource::Bpe { texts }
            | VocabularySource::Unigram { texts } => texts,
        }
    }
}

/// A `train` block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Training {
    /// `train` or the block's own name.
    pub name: String,
    /// Index into [`Program::data`].
    pub data: usize,
    /// Names of entries: steps in order, the evaluation, the report.
    pub steps: Vec<String>,
    /// So many batches make one update.
    pub accumulate: usize,
    /// Where batches are accumulated: for each step the entry that moves the weights by what the step has gathered, and
    /// forgets it. Empty where each step moves them itself.
    pub updates: Vec<String>,
    /// Gives the rates at a moment, named by its outputs; none where no rate ever changes.
    pub rates: Option<String>,
    /// Paths of weights and of their moving averages, which evaluations and the best weights have in their place.
    pub averages: Vec<(String, String)>,
    /// Entries that give the length of each weight's gradient on a batch, in the outputs of the weights' paths; empty where nobody asks.
    pub gradients: Vec<String>,
    pub evaluate: String,
    /// Reads accumulators and collected rows and returns the figures of [`Training::figures`] as f32 outputs in order.
    pub report: String,
    pub batch: usize,
    pub epochs: usize,
    pub seed: u64,
    pub shuffle: bool,
    /// Batches are of rows of similar length.
    pub bucket: bool,
    pub figures: Vec<Figure>,
    pub keep_best: Option<Watch>,
    pub stop_after: Option<(usize, Watch)>,
    pub reduce_rate: Option<ReduceRate>,
    /// Between validations; in epochs or batches.
    pub validate: Every,
    /// Between checkpoints, where the spec says so.
    pub checkpoint: Option<Every>,
    pub indexed: Vec<Indexed>,
}

/// A field of the data whose values look something up: those that are out of range can be told before the first step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    pub field: String,
    /// How many rows there are to look up.
    pub rows: usize,
    /// Where the spec asks for it.
    pub file: String,
    pub line: u32,
}

/// How much of a training lies between two times that something is done. Batches are counted from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Every {
    Epochs(usize),
    Batches(usize),
    Time(Duration),
}

/// `reduce rate by 0.5 after 3 epochs without better validation.loss with cooldown = 2`. The least rate is in the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReduceRate {
    pub factor: f64,
    pub epochs: usize,
    pub watch: Watch,
    /// Epochs after a reduction that do not count.
    pub cooldown: usize,
}

/// What is reported: the loss first, then each metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// None of a number; one extent of a vector (a number for each class), two of a table.
    pub shape: Vec<usize>,
    pub higher_is_better: bool,
}

/// `validation.accuracy`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    pub split: String,
    pub figure: String,
    pub higher_is_better: bool,
}

/// A `load` item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The model, or a part of one, by its path: `Classifier.bert`.
    pub target: String,
    /// A file of weights, relative to the spec.
    pub file: String,
    pub rules: Vec<LoadRule>,
}

/// `"encoder.{i}.q.weight" -> block.{i}.query.weight transposed`: the file's name of a weight, and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRule {
    pub from: String,
    /// `None`: the file's tensors of this name, and below it, are left out.
    pub to: Option<String>,
    pub transposed: bool,
}

/// A `predict` item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prediction {
    pub name: String,
    pub entry: String,
    /// It is a model's own signature, since the spec has no `predict` item.
    pub of_model: bool,
}

/// A `generate` item: text out of a model, token by token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    pub name: String,
    /// The entry that is run once, on what the caller gives.
    pub start: String,
    /// The entry that goes on with new tokens: its input [`Generation::TARGET`] holds them ([`InputSource::Written`]), its output
    /// [`Generation::LOGITS`], `f32[n, vocab]`, says of each token how well it follows the last one.
    pub step: String,
    /// What texts are made of, by its name; without one, tokens are numbers.
    pub vocabulary: Option<String>,
    pub begin: Begin,
    /// Where a row ends before [`Generation::max`].
    pub until: Vec<Token>,
    /// So many tokens are written at most.
    pub max: usize,
    pub by: Strategy,
}

impl Generation {
    pub const TARGET: &str = "target";
    pub const LOGITS: &str = "logits";
}

/// The tokens that stand in front of what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begin {
    /// The same ones for every row.
    Tokens(Vec<Token>),
    /// Those of a text that the caller gives.
    Text { text: String, encoding: Encoding },
    /// The numbers in an input of the entry.
    Input(String),
}

/// A token, by its number or its name; where a generation ends, also a text of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Token {
    Id(i32),
    Name(String),
}

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    pub choice: Choice,
    /// Scores of tokens that stand in the row already are divided by it where they are positive, else multiplied (Keskar et al. 2019);
    /// 1 changes nothing.
    pub repetition_penalty: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Choice {
    /// The best token, always.
    Greedy,
    /// Drawn by their probabilities: after division of the logits by `temperature`, among the `top_k` best, and among the fewest best
    /// that together have the probability `top_p` (Holtzman et al. 2020).
    Sample { temperature: f64, top_k: Option<usize>, top_p: f64 },
    /// The row with the best sum of log-probabilities divided by its length to the power of `length_penalty`, among those that keeping the
    /// `width` best beginnings finds.
    Beam { width: usize, length_penalty: f64, early_stopping: EarlyStopping },
}

/// When a beam search ends, as `transformers` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlyStopping {
    /// As soon as there are as many finished rows as beams.
    Yes,
    /// When the best beginning, at its present length, is worse than all finished rows.
    No,
    /// When no beginning can become better, at any length.
    Never,
}
