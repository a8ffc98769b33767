//! The whole way as functions: from a checked spec to a program, and the text of every stage on the way.
//!
//! `weft emit` prints what [`emit`] returns, and snapshot tests compare it; [`snapshot`] gives it from a spec's name alone. All of
//! it is deterministic: nodes are named by their path and operation, and nothing depends on the machine, on hash order or on
//! time, nor on the line that something stands on.

use crate::check::{self, Checked};
use crate::cpu::{self, Target};
use crate::cuda::{self, Math};
use crate::diagnostics::{self, Color, Severity};
use crate::graph::{Entry, Graph, Module, export, text};
use crate::passes;
use crate::plan::{self, Machine, PlanError};
use serde_json::json;
use weft_grammar::FileId;
use weft_runtime::program::Program;

/// A door between two stages; in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Ast,
    Typed,
    Graph,
    Optimized,
    Loops,
    Clif,
    Asm,
    /// CUDA C++: the kernels of a plan that is made for GPUs.
    Cuda,
    /// The same with all that stands before them, as it is compiled.
    CudaSource,
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Ast,
        Stage::Typed,
        Stage::Graph,
        Stage::Optimized,
        Stage::Loops,
        Stage::Clif,
        Stage::Asm,
        Stage::Cuda,
        Stage::CudaSource,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Typed => "typed",
            Stage::Graph => "graph",
            Stage::Optimized => "optimized",
            Stage::Loops => "loops",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
            Stage::Cuda => "cuda",
            Stage::CudaSource => "cuda-source",
        }
    }

    /// Is it of kernels for a GPU?
    pub const fn of_gpu(self) -> bool {
        matches!(self, Stage::Cuda | Stage::CudaSource)
    }

    /// Is it of one entry, and not of the whole spec?
    pub const fn of_entry(self) -> bool {
        !matches!(self, Stage::Ast | Stage::Typed)
    }
}

/// How a stage is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    /// Graph stages only.
    Dot,
    /// Graph stages only.
    Svg,
}

/// Why a stage cannot be shown.
#[derive(Clone, Debug)]
pub enum EmitError {
    /// The spec has errors; they are in its diagnostics.
    Unsound,
    /// There is no such entry, or the format does not fit the stage.
    Request(String),
    Plan(PlanError),
}

impl From<PlanError> for EmitError {
    fn from(error: PlanError) -> EmitError {
        EmitError::Plan(error)
    }
}

/// The module with every graph optimised.
pub fn optimized(module: &Module) -> Module {
    let optimize =
        |entry: &Entry| Entry { graph: passes::optimize(&entry.graph), inputs: entry.inputs.clone() };
    Module { entries: module.entries.iter().map(optimize).collect(), ..module.clone() }
}

/// A module all the way to a program, on this thread. A caller with threads uses [`cpu::Compilation`] on the [`optimized`] module.
pub fn compile(module: &Module) -> Result<Program, PlanError> {
    cpu::compile(&optimized(module), Target::default())
}

/// The same for a GPU, with products in such numbers.
pub fn compile_cuda(module: &Module, math: Math) -> Result<Program, PlanError> {
    cuda::compile(&optimized(module), math, &|_| String::new())
}

/// The full name of the entry that a short one means: `train` is the first training's first step, `predict` the first predict item,
/// `generate` the first generate item; no name means the training, or the prediction where there is none.
pub fn entry_name(module: &Module, name: Option<&str>) -> Result<String, EmitError> {
    let train = || module.trainings.first().and_then(|t| t.steps.first()).cloned();
    let predict = || module.predictions.first().map(|p| p.entry.clone());
    let generate = || module.generations.first().map(|g| g.step.clone());
    let exact =
        |name: &str| module.entries.iter().find(|e| e.graph.name == name).map(|e| e.graph.name.clone());
    let found = match name {
        None => train().or_else(predict).or_else(generate),
        Some(name) => exact(name).or_else(|| match name {
            "train" => train(),
            "predict" => predict(),
            "generate" => generate(),
            _ => None,
        }),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = module.entries.iter().map(|e| e.graph.name.as_str()).collect();
        let wanted = name.map_or(String::new(), |n| format!(" `{n}`"));
        EmitError::Request(format!("the spec has no entry{wanted}; it has: {}", names.join(", ")))
    })
}

fn find<'a>(module: &'a Module, entry: Option<&str>) -> Result<&'a Entry, EmitError> {
    let name = entry_name(module, entry)?;
    module.entries.iter().find(|e| e.graph.name == name).ok_or(EmitError::Unsound)
}

/// The graph of an entry at a stage: as the spec says it, or optimised. `None` for the stages that are no graphs.
pub fn graph_of(checked: &Checked, stage: Stage, entry: Option<&str>) -> Result<Option<Graph>, EmitError> {
    let module = checked.module.as_ref().ok_or(EmitError::Unsound)?;
    Ok(match stage {
        Stage::Graph => Some(find(module, entry)?.graph.clone()),
        Stage::Optimized => Some(passes::optimize(&find(module, entry)?.graph)),
        _ => None,
    })
}

/// The text of a stage of a spec, for a snapshot test of it: one call from the spec's name to what a test compares.
///
/// `read` gives the text of a file, of the spec itself and of those that it uses: `|name| std::fs::read_to_string(name)`, say. `entry`
/// is as in [`entry_name`]. The error is what `weft check` would print, or why there is no such stage. With other settings than the
/// spec's own, [`check::check`] takes them in its options, and [`emit`] gives the text.
///
/// ```
/// use weft_compiler::stages::{Stage, snapshot};
/// let spec = "model Net(x: f32[n, 4]) -> f32[n, 2] { x |> dense(2) }  predict net(x: f32[n, 4]) { Net(x) }";
/// let text = snapshot("net.weft", |_| Ok::<_, String>(spec.to_string()), Stage::Graph, Some("predict")).unwrap();
/// assert!(text.contains("%Net.dense.contract = contract %x, %Net.dense.weight"));
/// ```
pub fn snapshot<E: std::fmt::Display>(
    spec: &str,
    read: impl Fn(&str) -> Result<String, E>,
    stage: Stage,
    entry: Option<&str>,
) -> Result<String, String> {
    let mut loader = |name: &str| read(name).map_err(|e| e.to_string());
    let checked = check::check(spec, &mut loader, &check::Options::default());
    emit(&checked, stage, entry, Format::Text).map_err(|error| match error {
        EmitError::Unsound => {
            let errors = checked.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            let texts: Vec<String> =
                errors.map(|d| diagnostics::render(d, &checked.sources, Color::Never)).collect();
            texts.join("\n")
        }
        EmitError::Request(why) => why,
        EmitError::Plan(error) => {
            let (line, _) = checked.sources.position(error.span);
            format!("{spec}:{line}: {error}")
        }
    })
}

/// A stage of a checked spec as text. `entry` chooses the schedule (see [`entry_name`]); `ast` and `typed` are of the whole spec.
pub fn emit(
    checked: &Checked,
    stage: Stage,
    entry: Option<&str>,
    format: Format,
) -> Result<String, EmitError> {
    emit_in(checked, stage, entry, format, Math::F32)
}

/// The same, where a GPU's products are in such numbers.
pub fn emit_in(
    checked: &Checked,
    stage: Stage,
    entry: Option<&str>,
    format: Format,
    math: Math,
) -> Result<String, EmitError> {
    if stage == Stage::Ast {
        return syntax(checked, format);
    }
    let module = checked.module.as_ref().ok_or(EmitError::Unsound)?;
    if stage == Stage::Typed {
        let typed = checked.typed.as_ref().ok_or(EmitError::Unsound)?;
        return match format {
            Format::Text => Ok(typed.to_string()),
            Format::Json => pretty(typed),
            Format::Dot | Format::Svg => Err(unfit(stage, format)),
        };
    }
    let entry = find(module, entry)?;
    if stage == Stage::Graph {
        return drawn(&entry.graph, format);
    }
    let graph = passes::optimize(&entry.graph);
    if stage == Stage::Optimized {
        return drawn(&graph, format);
    }
    let name = &entry.graph.name;
    let entry = Entry { graph, inputs: entry.inputs.clone() };
    let plan = match stage {
        Stage::Cuda | Stage::CudaSource => cuda::plan_in(&entry, &module.variables, math)?,
        _ => plan::plan_for(&entry, &module.variables, Machine::Cpu)?,
    };
    let text = match stage {
        Stage::Cuda => cuda::text(&plan, math, &|span| checked.sources.line(span))?,
        Stage::CudaSource => cuda::source(&plan, math, &|span| checked.sources.line(span))?,
        Stage::Loops => plan::text::print(&plan),
        Stage::Clif => cpu::clif_text(&plan, Target::default()).map_err(EmitError::Request)?,
        _ => cpu::asm_text(&plan, Target::default()).map_err(EmitError::Request)?,
    };
    match format {
        Format::Text => Ok(text),
        Format::Json => pretty(
            &json!({ "entry": name, "stage": stage.name(), "lines": text.lines().collect::<Vec<_>>() }),
        ),
        Format::Dot | Format::Svg => Err(unfit(stage, format)),
    }
}

/// The main file's tree: canonical text, or the tree itself.
fn syntax(checked: &Checked, format: Format) -> Result<String, EmitError> {
    let source = checked.sources.files.iter().find(|f| !f.std).ok_or(EmitError::Unsound)?;
    let parsed = weft_grammar::parse(FileId(0), &source.text);
    if !parsed.errors.is_empty() {
        return Err(EmitError::Unsound);
    }
    match format {
        Format::Text => Ok(weft_grammar::format::format(&parsed.file, &source.text)),
        Format::Json => pretty(&parsed.file),
        Format::Dot | Format::Svg => Err(unfit(Stage::Ast, format)),
    }
}

fn drawn(graph: &Graph, format: Format) -> Result<String, EmitError> {
    Ok(match format {
        Format::Text => text::print(graph),
        Format::Json => export::json(graph),
        Format::Dot => export::dot(graph),
        Format::Svg => export::svg(graph),
    })
}

fn pretty(value: &impl serde::Serialize) -> Result<String, EmitError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| EmitError::Request(e.to_string()))?;
    Ok(text + "\n")
}

fn unfit(stage: Stage, format: Format) -> EmitError {
    let format = if format == Format::Dot { "dot" } else { "svg" };
    EmitError::Request(format!("`{}` has no {format} form; only `graph` and `optimized` have", stage.name()))
}
