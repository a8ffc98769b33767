//! The command line, as clap reads it. One struct a command; what several commands share stands in one place.

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use weft_compiler::cuda::Math;
use weft_compiler::stages::Stage;
use weft_runtime::program::{Arch, DType, Every};

/// Weft compiles model specs: it checks them, trains them and runs them as fused native code.
#[derive(Debug, Parser)]
#[command(name = "weft", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 fine, 1 the input is wrong, 2 wrong usage, 3 the environment failed, 4 refused (see build).\n\n\
    Start with:  weft new cnn digits && weft train digits.weft"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a spec and report every mistake with its place, its cause and a way out
    Check(Check),
    /// Rewrite specs in their canonical form
    Fmt(Fmt),
    /// Print what the compiler makes of a spec, at any stage
    Emit(Emit),
    /// Keep the graphs of specs in files beside them, and see every change of them
    Snapshot(Snapshot),
    /// Show a model's layers, shapes, parameters, FLOPs, bytes and planned memory
    Summary(Summary),
    /// Train a spec's model on its data; leaves the best and the last weights behind
    Train(Train),
    /// Measure trained weights on the test part of the data
    Eval(Eval),
    /// Show two runs side by side: figures, curves, and what differs between their specs
    Compare(Compare),
    /// Run a model on your own input
    Predict(Predict),
    /// Write text with a model, token by token
    Generate(Generate),
    /// Make one file of a spec and its weights that runs by itself, on any machine
    Build(Build),
    /// Show a spec's data: fields, parts, classes, ranges, fit values and pictures
    Data(Data),
    /// Show which parts of an input a prediction comes from, and what a layer makes of it
    Inspect(Inspect),
    /// Time a training step or a prediction against this machine's limits
    Bench(Bench),
    /// Explain an error's code, or anything that a spec can name
    Explain(Explain),
    /// Write a commented spec to start from, and digits to train it on
    New(New),
    /// Print a script that completes this command in your shell
    Completions(Completions),
}

/// The spec, and what a command line may change in it.
#[derive(Debug, Clone, Args)]
pub struct SpecArgs {
    /// The spec, a .weft file
    pub spec: PathBuf,
    /// Give a setting of the spec another value (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Print one JSON object a line, for scripts
    #[arg(long)]
    pub json: bool,
}

/// Where and how a program runs.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Threads to run on [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub machine: DeviceArgs,
    /// Take a data set of the spec from another folder (may be repeated)
    #[arg(long = "data", value_name = "NAME=PATH", value_parser = pair)]
    pub data: Vec<(String, String)>,
    /// Fetch no data set that is absent; say which files to put where
    #[arg(long)]
    pub offline: bool,
    /// Hold so much of a data set's rows in memory, such as 512MB or 8GB; what is more is paged from the cache [default:
    /// WEFT_DATA_MEMORY, else a quarter of the machine's memory]
    #[arg(long, value_name = "BYTES", value_parser = weft_runtime::data::bytes)]
    pub data_memory: Option<u64>,
    /// The seed of initial weights, shuffling and random numbers [default: the spec's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Rows in a batch [default: the spec's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch: Option<u32>,
}

/// Which `predict` item runs, and where.
#[derive(Debug, Clone, Args)]
pub struct ItemArgs {
    /// The predict item, by name, when the spec has several
    #[arg(long, value_name = "NAME")]
    pub predict: Option<String>,
    /// Threads to run on [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub machine: DeviceArgs,
    #[command(flatten)]
    pub kept: KeptArgs,
}

/// How weights are kept that are only read.
#[derive(Debug, Clone, Args)]
pub struct KeptArgs {
    /// Keep large weights as this type, and read them so; sums stay f32. As i8, what products read; as f16 or bf16, convolutions' kernels too
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    pub dtype: Kept,
}

/// What runs a program, and in what numbers it multiplies.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// The device to run on
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    #[command(flatten)]
    pub math: MathArgs,
}

/// In what numbers a GPU multiplies.
#[derive(Debug, Clone, Copy, Args)]
pub struct MathArgs {
    /// The numbers in which a GPU multiplies matrices: all but f32 are for its tensor cores. Sums, and all else, stay f32
    #[arg(long, value_enum, default_value_t = MathArg::F32)]
    pub math: MathArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MathArg {
    /// As they are
    F32,
    /// Cut to 10 bits behind the point; for training and for answers
    Tf32,
    /// Rounded to bf16: 7 bits behind the point, and half the bytes; for training and for answers
    Bf16,
    /// Rounded to f16: 10 bits behind the point, half the bytes, and infinite beyond 65,504; for answers
    F16,
}

impl From<MathArg> for Math {
    fn from(math: MathArg) -> Math {
        match math {
            MathArg::F32 => Math::F32,
            MathArg::Tf32 => Math::Tf32,
            MathArg::Bf16 => Math::Bf16,
            MathArg::F16 => Math::F16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// This processor
    Cpu,
    /// The first NVIDIA GPU, through CUDA's driver
    Cuda,
    /// A GPU where there is one, else this processor
    Auto,
}

/// The type that large weights are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kept {
    F32,
    F16,
    Bf16,
    Int8,
}

impl KeptArgs {
    /// As the command line has it.
    pub fn name(&self) -> &'static str {
        match self.dtype {
            Kept::F32 => "f32",
            Kept::F16 => "f16",
            Kept::Bf16 => "bf16",
            Kept::Int8 => "int8",
        }
    }

    /// The type, where it is another than the spec's.
    pub fn narrow(&self) -> Option<DType> {
        match self.dtype {
            Kept::F32 => None,
            Kept::F16 => Some(DType::F16),
            Kept::Bf16 => Some(DType::BF16),
            Kept::Int8 => Some(DType::I8),
        }
    }
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Treat warnings as errors
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    pub deny: Option<String>,
    /// Print the spec with every default written out and every setting as it is
    #[arg(long)]
    pub render: bool,
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Specs, and folders to search for them; `-` reads standard input and writes standard output [default: this folder]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Change nothing; show what would change, and end with 1 if anything would
    #[arg(long)]
    pub check: bool,
    /// Print one JSON object a line, for scripts
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct New {
    /// What to start from
    #[arg(value_name = "FAMILY", value_parser = families())]
    pub family: String,
    /// The spec's name, perhaps with a folder before it
    pub name: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

fn families() -> PossibleValuesParser {
    PossibleValuesParser::new(crate::new::STARTERS.iter().map(|starter| starter.family))
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Emit {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The stage to show
    #[arg(long, value_enum)]
    pub stage: StageArg,
    /// Which schedule to show: train, predict, or an entry by its full name (train.step, train.evaluate, init, …)
    #[arg(long, value_name = "ENTRY")]
    pub entry: Option<String>,
    /// The form to print it in (dot and svg: the graph stages)
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    pub format: FormatArg,
    #[command(flatten)]
    pub math: MathArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageArg {
    /// The syntax tree: the canonical text of the spec
    Ast,
    /// The checked spec: instances, shapes, data and training
    Typed,
    /// The graph as the spec says it
    Graph,
    /// The graph after all passes
    Optimized,
    /// Fused kernels as loop nests, schedule and buffers
    Loops,
    /// Cranelift's intermediate form of each generated kernel
    Clif,
    /// Machine code of each generated kernel
    Asm,
    /// Each kernel in CUDA C++, for GPUs
    Cuda,
    /// The same behind all that they are written in terms of: what NVRTC compiles
    CudaSource,
}

impl From<StageArg> for Stage {
    fn from(stage: StageArg) -> Stage {
        match stage {
            StageArg::Ast => Stage::Ast,
            StageArg::Typed => Stage::Typed,
            StageArg::Graph => Stage::Graph,
            StageArg::Optimized => Stage::Optimized,
            StageArg::Loops => Stage::Loops,
            StageArg::Clif => Stage::Clif,
            StageArg::Asm => Stage::Asm,
            StageArg::Cuda => Stage::Cuda,
            StageArg::CudaSource => Stage::CudaSource,
        }
    }
}

/// What differs from the kept snapshots is shown, and waits beside them as `.snap.new`; then the exit code is 1.
#[derive(Debug, Args)]
pub struct Snapshot {
    /// Specs, or folders that hold some [default: the current folder]
    pub specs: Vec<PathBuf>,
    /// A stage to keep (may be repeated) [default: those that the spec has snapshots of, else graph]
    #[arg(long, value_enum, value_name = "STAGE")]
    pub stage: Vec<StageArg>,
    /// An entry to keep (may be repeated): train, predict, or its full name [default: all training steps and predictions]
    #[arg(long, value_name = "ENTRY")]
    pub entry: Vec<String>,
    /// Give a setting of the spec another value (may be repeated); such snapshots have files of their own
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Only compare: write nothing, and fail when something is new, changed or orphaned
    #[arg(long, conflicts_with_all = ["accept", "review"])]
    pub check: bool,
    /// Keep everything as it is now, and remove snapshots of what is gone
    #[arg(long, conflicts_with = "review")]
    pub accept: bool,
    /// Decide one by one
    #[arg(long, conflicts_with = "json")]
    pub review: bool,
    /// Print one JSON object a line, for scripts
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    Text,
    Json,
    Dot,
    Svg,
}

#[derive(Debug, Args)]
pub struct Summary {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Batch size for FLOPs and memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch: u32,
}

#[derive(Debug, Clone, Args)]
pub struct Train {
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// Passes over the training data [default: the spec's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub epochs: Option<u32>,
    /// The folder for weights [default: runs/SPEC]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print nothing but what is wrong
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Start from these weights instead of fresh ones
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Go on with a run that was left, from its latest checkpoint [default RUN: the folder of --out]
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with = "weights")]
    #[expect(clippy::option_option, reason = "absent, without a folder, with a folder")]
    pub resume: Option<Option<PathBuf>>,
    /// Start anew in a folder that holds an unfinished run, and lose that run (else it is moved aside)
    #[arg(long, conflicts_with = "resume")]
    pub fresh: bool,
    /// Save a checkpoint not only after each epoch but every so often: `90s`, `5m`, `1h`, or so many batches: `500`
    /// [default: what the spec says, else 5m, and less often where that takes a tenth of the time]
    #[arg(long, value_name = "TIME|BATCHES", value_parser = every)]
    pub checkpoint_every: Option<Every>,
    /// How many checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_checkpoints: u16,
    /// Look at all weights and states after every step; costs a copy of them a step. Without it, a loss that is NaN or infinite is
    /// noticed, and the steps since the last checkpoint are taken again to find its origin
    #[arg(long)]
    pub check_numerics: bool,
    /// The train block to run, by name, when the spec has several
    #[arg(long = "train", value_name = "NAME")]
    pub block: Option<String>,
    /// A first sanity check: train on a single batch again and again, so many times [default: 200], show whether its loss falls,
    /// and write nothing
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "200")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with_all = ["epochs", "out", "resume"])]
    pub overfit_batch: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// The trained weights, a .safetensors file [default: those that the spec loads]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// The train block whose loss and metrics are measured, by name, when the spec has several
    #[arg(long = "train", value_name = "NAME")]
    pub block: Option<String>,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(Debug, Args)]
pub struct Compare {
    /// The folder of a run
    #[arg(value_name = "RUN")]
    pub first: PathBuf,
    /// The folder of another; differences are from the first to this
    #[arg(value_name = "OTHER")]
    pub second: PathBuf,
    /// Also write a page with the curves of both
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Predict {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The trained weights, a .safetensors file [default: what the spec's `load` items name]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// An input by name: a .npy array, a .csv table of numbers, a .png or .jpg picture for an image, numbers (x=1.5,2), rows of noise (z=normal(16),
    /// z=uniform(16)), or a text, a .txt or .jsonl file of texts
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = pair, required = true)]
    pub inputs: Vec<(String, String)>,
    /// Write the (first) result here instead of printing it: as an array, or images as a picture
    #[arg(long, value_name = "FILE.npy|FILE.png")]
    pub output: Option<PathBuf>,
    /// The seed of all that is random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub item: ItemArgs,
}

/// The file holds machine code, weights and tokenizers, and needs nothing else: no Weft, no compiler, no network. It answers with `predict` (and
/// `generate`), and tells what it is with `info`.
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The trained weights, a .safetensors file [default: what the spec's `load` items name]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Where to write it [default: the spec's name, as files of its kind are called: libNAME.a, NAME.h]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to make of the model
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Product::Exe)]
    pub emit: Product,
    /// Put the training in too: the executable then has a command `train`, which goes on from its weights with other data
    #[arg(long)]
    pub train: bool,
    /// What it is to run on; with auto, on a GPU where there is one, else on the processor. Kernels for GPUs are compiled by NVRTC
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub device: Device,
    /// The GPUs that it is to run on: sm_80,sm_90a,… Later ones compile what is there for the earliest of these when it starts [default:
    /// sm_80,sm_90a,sm_100]
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    pub arch: Vec<Arch>,
    #[command(flatten)]
    pub math: MathArgs,
    /// The processors that it is to run on
    #[arg(long, value_enum, default_value_t = Target::V3)]
    pub target: Target,
    #[command(flatten)]
    pub kept: KeptArgs,
    /// How much narrow weights may cost on the validation data: in points of a share such as the accuracy, in percent of another figure. More
    /// is refused with exit code 4
    #[arg(long, value_name = "N", default_value_t = 0.5)]
    pub allow_loss: f64,
    /// Write the file whatever narrow weights cost
    #[arg(long)]
    pub force: bool,
    /// Don't measure what narrow weights cost, where there is no data to measure it on
    #[arg(long, conflicts_with = "force")]
    pub unmeasured: bool,
    /// Measure on a data set from another folder (may be repeated)
    #[arg(long = "data", value_name = "NAME=PATH", value_parser = pair)]
    pub data: Vec<(String, String)>,
    /// Fetch no data set that is absent; say which files to put where
    #[arg(long)]
    pub offline: bool,
}

/// What `weft build` makes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Product {
    /// A file that runs by itself
    Exe,
    /// An object of machine code and weights, beside the runtime libweft.a and the header
    Object,
    /// A static library with the runtime, and its header
    Staticlib,
    /// A shared library with the runtime, and its header; no linker is needed
    Sharedlib,
    /// A C header, for which no weights are needed
    Header,
    /// Program, machine code and weights alone, for a host that holds the runtime
    Payload,
}

/// Which processors code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Nearly all since 2015: with AVX2 and FMA
    #[value(name = "x86-64-v3")]
    V3,
    /// Those that have all that this one has
    Native,
    /// All since about 2009, x86-64-v2: the same results, slower
    Baseline,
}

/// On a terminal the text of one row is shown as it is written. Else, and for several rows, a row is printed when it is whole. Ctrl-C ends a
/// text where it is.
#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The generate item, by name, when the spec has several
    pub name: Option<String>,
    /// The trained weights, a .safetensors file [default: what the spec's `load` items name]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// An input by name: a text, a file with a text a line (prompt=@FILE) or a JSON object a line (prompt=@FILE.jsonl), or - for the lines of
    /// standard input; where it takes no text, as for predict
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = pair)]
    pub inputs: Vec<(String, String)>,
    /// Write for the rows of a part of the data (pairs.test), whose fields are the inputs of the same names, and print BLEU and chrF against
    /// another field of theirs, beside those of the given text itself and of the nearest training row
    #[arg(long, value_name = "DATA.PART", requires = "against")]
    pub on: Option<String>,
    /// The field of the rows that what is written is held against
    #[arg(long, value_name = "FIELD", requires = "on")]
    pub against: Option<String>,
    /// Only so many rows of the part
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// Take a data set of the spec from another folder (may be repeated)
    #[arg(long = "data", value_name = "NAME=PATH", requires = "on", value_parser = pair)]
    pub data: Vec<(String, String)>,
    /// Fetch no data set that is absent; say which files to put where
    #[arg(long, requires = "on")]
    pub offline: bool,
    /// Write so many tokens at most [default: the spec's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max: Option<u32>,
    /// How each token is chosen: greedy, "sample(temperature = 0.8)", "beam(4)" [default: the spec's]
    #[arg(long, value_name = "STRATEGY")]
    pub by: Option<String>,
    /// The seed of all that is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads to run on [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub machine: DeviceArgs,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(Debug, Args)]
pub struct Data {
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// Draw so many rows of the training part [default: 16], each beside what a training's steps see of it; rows without a
    /// picture are printed
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "16")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub show: Option<u32>,
    /// The picture's file [default: runs/SPEC/data.NAME.png]
    #[arg(long, value_name = "FILE.png", requires = "show")]
    pub out: Option<PathBuf>,
}

/// Writes saliency (the slope of the top class's score in each number of the input), integrated gradients (what each number adds to the
/// score, from a baseline on), Grad-CAM where there are convolutions in two axes, and attention's maps where there is attention: each as
/// a picture beside the input and as an array. For inputs that are no pictures it prints tables.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The trained weights, a .safetensors file
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// An input by name: a .npy array, a .png or .jpg picture for an image, or numbers (x=1.5,2)
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = pair, required_unless_present = "paths")]
    pub inputs: Vec<(String, String)>,
    /// Also write the weights below this path, and what they make of the input: Cnn.conv2d (may be repeated)
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
    /// The class whose score is explained [default: the one with the highest]
    #[arg(long, value_name = "N")]
    pub class: Option<u32>,
    /// The result that is explained, by name, when the predict item has several
    #[arg(long, value_name = "NAME")]
    pub result: Option<String>,
    /// The number that stands for "nothing there" where integrated gradients start
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, allow_negative_numbers = true)]
    pub baseline: f64,
    /// Points between the baseline and the input
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: u32,
    /// The folder for pictures and arrays [default: inspect, beside the weights]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub item: ItemArgs,
}

#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub run: RunArgs,
    /// What to time: train, predict, generate, or an item by its full name (predict.NAME, generate.NAME)
    #[arg(long, value_name = "ENTRY", default_value = "train")]
    pub entry: String,
    /// How many timed repeats at most
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(5..=1_000_000))]
    pub repeats: u32,
    /// Of a generation: tokens of a text that it begins with, and of one that the model reads beside
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub given: u32,
    /// Also show a row per kernel: time, GFLOP/s, GB/s, distance from its floor, and the spec's line
    #[arg(long)]
    pub profile: bool,
    /// Run nothing: show for each kernel of a GPU what it does, what it needs, and how long it takes at best on an A100 and an H100. Needs NVRTC
    #[arg(long, conflicts_with = "profile")]
    pub dry: bool,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A code (E0203, W0401), a name (a layer, function, loss, optimizer, metric, key, data source, …), or a family of names; without
    /// it, an overview
    #[arg(conflicts_with = "list")]
    pub name: Option<String>,
    /// List all names by family, each with its first sentence; and all codes
    #[arg(long)]
    pub list: bool,
    /// Print one JSON object a line, for scripts
    #[arg(long)]
    pub json: bool,
}

/// `90s`, `5m`, `1h`, or a number of batches.
fn every(text: &str) -> Result<Every, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let seconds = match unit {
        "" => 0,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ if number.is_empty() => 0,
        _ => {
            let letter = unit.chars().next().filter(|letter| "smh".contains(*letter));
            let way_out = letter.map_or("they are s, m and h".to_owned(), |letter| {
                format!("did you mean `{number}{letter}`?")
            });
            return Err(format!("`{unit}` is no unit of time; {way_out}"));
        }
    };
    match number.parse::<u32>() {
        Ok(count @ 1..) if seconds == 0 => Ok(Every::Batches(count as usize)),
        Ok(count @ 1..) => Ok(Every::Time(Duration::from_secs(u64::from(count) * seconds))),
        _ => Err("expected a time such as 90s, 5m or 1h, or a number of batches".to_owned()),
    }
}

/// `NAME=VALUE`
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
