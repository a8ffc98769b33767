//! Plans → CUDA C++: every launch becomes one kernel of a GPU.
//!
//! [`compile`] takes a module to a [`Program`] whose launches all run on a GPU; its source is compiled by NVRTC when the program is loaded, or
//! when an executable is built. Nothing here needs CUDA to be there. The kernels are printed from the same plans as the CPU's, made for
//! [`Machine::Gpu`](plan::Machine::Gpu): [`nest`] prints loop nests, [`contraction`] and [`convolution`] say what a [`product`] is of, [`attention`] and [`index`]
//! print the rest. Their loops are C++ templates in [`Library`] files, which stand before those kernels alone that call them. What
//! they have in common is in [`mod@print`] and [`names`], and in `prelude.cuh`, which stands before every kernel.
//!
//! **Conventions.** A kernel's parameters are its buffers, in the launch's order, then the symbols that its text names, as `int`. Buffers have
//! fewer than 2³¹ elements, and so has all else that a kernel counts ([`counts`]; the runtime refuses others), so all index arithmetic is of
//! `int`. One launch is one start of a kernel over the whole index space; kernels of one entry run one after another. Equal kernels are one
//! function, printed with the names of the first launch that needs it.

mod attention;
mod contraction;
mod convolution;
mod counts;
mod index;
pub mod names;
mod nest;
pub mod print;
mod product;
mod prologue;
#[cfg(test)]
mod tests;

use crate::assemble;
use crate::graph::{Dim, Entry, Module, Symbol, Variable};
use crate::passes::{layout, loop_narrow, moments, rounded};
use crate::plan::nest::{Row, Stage};
use crate::plan::{self, BufferId, Kernel, Launch, Plan, PlanError};
use print::Subject;
use std::collections::{BTreeSet, HashMap, HashSet};
use weft_grammar::Span;
use weft_runtime::program::{DType, DeviceCode, DeviceFunction, DeviceLaunch, Program, Strays};

/// What stands before every kernel.
pub const PRELUDE: &str = include_str!("prelude.cuh");

/// A kernel in CUDA C++ without its head, and how it is started.
#[derive(Clone, Debug)]
pub struct Printed {
    /// What stands between the braces.
    pub body: String,
    /// Declarations of the parameters for the buffers, in order: `const float* __restrict__ x`.
    pub parameters: Vec<String>,
    /// The symbols that the body names, in the order in which they are passed.
    pub symbols: Vec<Symbol>,
    /// Threads of a block, along x alone.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Blocks.
    pub grid: [Dim; 3],
    /// The device functions that it calls, each behind those that it needs itself.
    pub libraries: Vec<Library>,
    /// Of a kernel that notes indices out of range in its last parameter, `unsigned long long* stray`: the rows that an index can name,
    /// and how many indices there are.
    pub indexed: Option<(Dim, Dim)>,
}

/// Device functions that stand between the prelude and those kernels that call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Library {
    Memory,
    Matrix,
    Tensor,
    Few,
    Flash,
    FlashTensor,
    Index,
    Sort,
}

impl Library {
    /// All of them, each behind those that it needs.
    pub const ALL: [Library; 8] = [
        Library::Memory,
        Library::Matrix,
        Library::Tensor,
        Library::Few,
        Library::Flash,
        Library::FlashTensor,
        Library::Index,
        Library::Sort,
    ];

    pub const fn text(self) -> &'static str {
        match self {
            Library::Memory => include_str!("memory.cuh"),
            Library::Matrix => include_str!("matrix.cuh"),
            Library::Tensor => include_str!("tensor.cuh"),
            Library::Few => include_str!("few.cuh"),
            Library::Flash => include_str!("flash.cuh"),
            Library::FlashTensor => include_str!("flash_tensor.cuh"),
            Library::Index => include_str!("index.cuh"),
            Library::Sort => include_str!("sort.cuh"),
        }
    }
}

/// In what numbers contractions and convolutions multiply. Their sums are of f32 in any case, and so is all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Math {
    /// As they are.
    #[default]
    F32,
    /// Cut to tf32 (10 bits behind the point), on tensor cores: these take the upper 19 bits of what they are given.
    Tf32,
    /// Rounded to bf16 (7 bits), on tensor cores.
    Bf16,
    /// Rounded to f16 (10 bits, and numbers up to 65,504; larger ones are infinite), on tensor cores.
    F16,
}

impl Math {
    /// All of them.
    pub const ALL: [Math; 4] = [Math::F32, Math::Tf32, Math::Bf16, Math::F16];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Math::F32 => "f32",
            Math::Tf32 => "tf32",
            Math::Bf16 => "bf16",
            Math::F16 => "f16",
        }
    }

    /// The type that the operands of products are rounded to in the graph itself.
    pub const fn operands(self) -> Option<DType> {
        match self {
            Math::F32 | Math::Tf32 => None,
            Math::Bf16 => Some(DType::BF16),
            Math::F16 => Some(DType::F16),
        }
    }
}

/// The plan of an optimised entry for a GPU with products in such numbers.
pub fn plan_in(entry: &Entry, variables: &[Variable], math: Math) -> Result<Plan, PlanError> {
    let mut entry = entry.clone();
    layout::turned(&mut entry.graph);
    moments::run(&mut entry.graph);
    loop_narrow::run(&mut entry.graph);
    if let Some(dtype) = math.operands() {
        rounded::operands(&mut entry.graph, dtype);
    }
    plan::plan_in_tiles(&entry, variables, &|shape| product::tile(shape, math))
}

/// Where a span stands, for comments: `mnist_cnn.weft: x |> dense(10)`. Empty where that is not known.
pub type Places<'a> = dyn Fn(Span) -> String + 'a;

/// All kernels of some plans.
#[derive(Debug)]
pub struct Compilation {
    pub plans: Vec<Plan>,
    functions: Vec<DeviceFunction>,
    libraries: BTreeSet<Library>,
    /// By launch, over all plans, in order.
    launches: Vec<Started>,
}

/// How a launch starts its function.
#[derive(Clone, Debug)]
struct Started {
    function: u32,
    symbols: Vec<Symbol>,
    grid: [Dim; 3],
    indexed: Option<(Dim, Dim)>,
    /// See [`counts`].
    counts: Vec<Dim>,
}

/// What a kernel's text follows from: equal ones are one function. Buffers are slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kernel: Kernel,
    epilogue: Option<Stage>,
    prologues: Vec<(usize, Stage)>,
    /// By slot: its type, whether it is only read, its offset, and of how many elements what it sees begins at a multiple.
    slots: Vec<(DType, bool, Dim, i64)>,
    extent: Dim,
}

/// A program of an optimised module for a GPU, with products in such numbers.
pub fn compile(module: &Module, math: Math, places: &Places<'_>) -> Result<Program, PlanError> {
    let mut plans = Vec::new();
    for entry in &module.entries {
        plans.push(plan_in(entry, &module.variables, math)?);
    }
    Ok(Compilation::of(plans, math, places)?.finish(module))
}

/// The kernels of a plan that was made by [`plan_in`], in the order of their first use.
pub fn text(plan: &Plan, math: Math, places: &Places<'_>) -> Result<String, PlanError> {
    Ok(Compilation::of(vec![plan.clone()], math, places)?.text())
}

/// The same behind all that they use: one source that NVRTC, or any compiler of CUDA C++, takes as it is.
pub fn source(plan: &Plan, math: Math, places: &Places<'_>) -> Result<String, PlanError> {
    let compilation = Compilation::of(vec![plan.clone()], math, places)?;
    let libraries = compilation.libraries.iter().map(|library| library.text());
    let before: Vec<&str> = std::iter::once(PRELUDE).chain(libraries).collect();
    Ok(format!("{}\n{}", before.join("\n"), compilation.text()))
}

impl Compilation {
    /// Prints all kernels of these plans, which were made for [`Machine::Gpu`](plan::Machine::Gpu).
    pub fn of(plans: Vec<Plan>, math: Math, places: &Places<'_>) -> Result<Compilation, PlanError> {
        let mut known: HashMap<Key, Started> = HashMap::new();
        let (mut functions, mut launches) = (Vec::<DeviceFunction>::new(), Vec::new());
        let mut taken = HashSet::new();
        let mut libraries = BTreeSet::new();
        for plan in &plans {
            let all = plan.segments.iter().flat_map(|s| s.launches().into_iter().map(move |l| (&s.units, l)));
            for (units, launch) in all {
                let subject = Subject::new(plan, units, launch, math);
                let key = subject.key();
                let started = match known.get(&key) {
                    Some(started) => started.clone(),
                    None => {
                        let printed = lower(&subject).map_err(|message| PlanError {
                            message,
                            path: launch.path.clone(),
                            span: launch.span,
                        })?;
                        libraries.extend(&printed.libraries);
                        let name = names::unique(&mut taken, names::kernel(&launch.path));
                        functions.push(function(name, launch, &printed, places));
                        let started = Started {
                            function: functions.len() as u32 - 1,
                            symbols: printed.symbols,
                            grid: printed.grid,
                            indexed: printed.indexed,
                            counts: Vec::new(),
                        };
                        known.insert(key, started.clone());
                        started
                    }
                };
                launches.push(Started { counts: counts::of(&subject), ..started });
            }
        }
        Ok(Compilation { plans, functions, libraries, launches })
    }

    /// All kernels, without what stands before them.
    fn text(&self) -> String {
        self.functions.iter().map(|function| format!("{}\n", function.source)).collect()
    }

    /// The program.
    pub fn finish(self, module: &Module) -> Program {
        let mut launches = self.launches.into_iter();
        let mut program = assemble::assemble(module, &self.plans, &mut |dims, _, _| {
            let Some(started) = launches.next() else {
                return weft_runtime::program::Kernel::Nest { function: u32::MAX, dims: Vec::new() };
            };
            let symbols: Vec<Dim> = started.symbols.iter().cloned().map(Dim::symbol).collect();
            weft_runtime::program::Kernel::Device(DeviceLaunch {
                function: started.function,
                grid: started.grid.map(|extent| dims.dim(&extent)),
                dims: dims.shape(&symbols),
                indexed: started
                    .indexed
                    .map(|(rows, count)| Strays { rows: dims.dim(&rows), count: dims.dim(&count) }),
                counts: dims.shape(&started.counts),
            })
        });
        program.device = DeviceCode {
            prelude: PRELUDE.into(),
            libraries: Library::ALL
                .iter()
                .map(|library| if self.libraries.contains(library) { library.text() } else { "" }.into())
                .collect(),
            functions: self.functions,
            images: Vec::new(),
        };
        program
    }
}

/// One kernel.
fn lower(subject: &Subject<'_>) -> Result<Printed, String> {
    match &subject.launch.kernel {
        Kernel::Nest(nest) => nest::lower(subject, nest),
        Kernel::Parts(parts) => nest::lower_parts(subject, parts),
        Kernel::Contraction { .. } => contraction::lower(subject),
        Kernel::Convolution { .. } => convolution::lower(subject),
        Kernel::Attention(attention) => attention::lower(subject, attention),
        Kernel::Pack { .. } => Err("nothing is packed for a GPU".into()),
        Kernel::CumulativeSum { .. }
        | Kernel::Gather { .. }
        | Kernel::ScatterAdd { .. }
        | Kernel::Sort { .. } => index::lower(subject),
    }
}

/// The whole text of a kernel.
fn function(name: String, launch: &Launch, printed: &Printed, places: &Places<'_>) -> DeviceFunction {
    let symbols = printed.symbols.iter().map(|symbol| format!("int {}", names::identifier(symbol)));
    let stray = printed.indexed.is_some().then(|| "unsigned long long* stray".to_string());
    let parameters: Vec<String> = printed.parameters.iter().cloned().chain(symbols).chain(stray).collect();
    let line = |of: Span| Some(places(of)).filter(|place| !place.is_empty());
    let mut place = line(launch.span).map_or(String::new(), |place| format!("\n// {place}"));
    for prologue in &launch.prologues {
        let operand = ["A", "B"].get(prologue.slot).copied().unwrap_or_default();
        place.push_str(&format!("\n// with {} as {operand}", prologue.path));
        place.extend(line(prologue.span).map(|of| format!(": {of}")));
    }
    // Two blocks of up to 256 threads are on a processor at once, so that one works while the other waits for memory. Threads that hold a tile
    // have work of their own meanwhile, and need their registers.
    let holds_tile =
        printed.libraries.iter().any(|l| matches!(l, Library::Matrix | Library::Tensor | Library::Flash));
    let least = if printed.threads <= 256 && !holds_tile { 2 } else { 1 };
    let source = format!(
        "// {}{place}\nextern \"C\" __global__ void __launch_bounds__({}, {least}) {name}(\n    {})\n{{\n{}}}\n",
        launch.path,
        printed.threads,
        parameters.join(",\n    "),
        printed.body,
    );
    let libraries = printed.libraries.iter().map(|library| *library as u32).collect();
    DeviceFunction { name, source, libraries, threads: printed.threads, shared: printed.shared }
}

impl Subject<'_> {
    fn key(&self) -> Key {
        let mut kernel = self.launch.kernel.clone();
        let nests = match &mut kernel {
            Kernel::Nest(nest) => vec![nest],
            Kernel::Parts(parts) => parts.iter_mut().map(|part| &mut part.nest).collect(),
            _ => Vec::new(),
        };
        for nest in nests {
            // What passes in registers is no slot, and where a stage comes from changes nothing but a comment.
            let row = nest.row.take();
            let passed = row.as_ref().map_or(&[][..], |row| &row.passed);
            let number = |buffer: BufferId| match passed.iter().position(|other| *other == buffer) {
                Some(place) => BufferId(u32::MAX - place as u32),
                None => BufferId(self.slot(buffer) as u32),
            };
            nest.stages
                .iter_mut()
                .for_each(|stage| stage.each_buffer(&mut |buffer| *buffer = number(*buffer)));
            let passed = passed.iter().map(|buffer| number(*buffer)).collect();
            nest.row = row.as_ref().map(|_| Row { passed, paths: Vec::new() });
        }
        let slots = (0..self.launch.buffers.len())
            .map(|at| {
                (self.dtype(at), self.is_readonly(at), self.launch.buffers[at].1.clone(), self.grain(at))
            })
            .collect();
        // A product's own result is no slot, unless it is stored too.
        let slot = |buffer: BufferId| {
            let place = self.launch.buffers.iter().position(|(other, _)| *other == buffer);
            BufferId(place.map_or(u32::MAX, |place| place as u32))
        };
        let epilogue = self.launch.epilogue.as_ref().map(|epilogue| {
            let mut stage = epilogue.stage.clone();
            stage.each_buffer(&mut |buffer| *buffer = slot(*buffer));
            stage
        });
        let prologues = self.launch.prologues.iter().map(|prologue| {
            let mut stage = prologue.stage.clone();
            stage.each_buffer(&mut |buffer| *buffer = slot(*buffer));
            (prologue.slot, stage)
        });
        let prologues = prologues.collect();
        Key { kernel, epilogue, prologues, slots, extent: self.extent.clone() }
    }
}
