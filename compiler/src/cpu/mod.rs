//! Plans → machine code: loop nests become functions by Cranelift.
//!
//! [`compile`] takes a module all the way to a [`Program`]; [`Compilation`] is the same in parts, for callers that compile
//! functions on several threads: each [`Job`] is a pure function of one nest ([`Job::compile`]), and equal nests are one job.
//!
//! Functions are free of relocations (asserted): they reach the runtime through the table of math functions that they are
//! passed, and their constants lie behind their code. See [`nest`] for the loops, [`value`] for what is inside them, [`fold`]
//! for reductions, [`access`] for loads and stores, [`strip`] for calls.

mod access;
mod arithmetic;
mod fma;
mod fold;
mod half;
pub mod isa;
mod nest;
mod strip;
#[cfg(test)]
mod tests;
mod value;

use crate::assemble;
use crate::graph::{DType, Dim, Module};
use crate::plan::affine::Affine;
use crate::plan::nest::{Nest, ValueOp};
use crate::plan::{self, BufferId, Launch, Plan, PlanError};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{Context, ir};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::collections::HashMap;
use weft_runtime::program::{Code, Kernel, Program};

pub use isa::Target;

/// One function to compile: a nest whose buffers are slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    pub nest: Nest,
    /// By slot.
    pub dtypes: Vec<DType>,
    /// By slot: no store of this nest touches it.
    pub readonly: Vec<bool>,
    /// What is passed as dims, in order.
    pub dims: Vec<Dim>,
}

/// A module's plans, with the functions that they need.
#[derive(Debug)]
pub struct Compilation {
    pub plans: Vec<Plan>,
    pub jobs: Vec<Job>,
    /// By plan, segment and launch: the function of a nest.
    functions: Vec<Vec<Vec<Option<u32>>>>,
    target: Target,
}

/// Compiles a module, one function after another.
pub fn compile(module: &Module, target: Target) -> Result<Program, PlanError> {
    let compilation = Compilation::new(module, target)?;
    let mut code = Vec::with_capacity(compilation.jobs.len());
    for job in 0..compilation.jobs.len() {
        code.push(compilation.compile(job)?);
    }
    Ok(compilation.finish(module, code))
}

impl Compilation {
    /// Plans every entry and finds the distinct functions.
    pub fn new(module: &Module, target: Target) -> Result<Compilation, PlanError> {
        let mut plans = Vec::new();
        for entry in &module.entries {
            plans.push(plan::plan(entry, &module.variables)?);
        }
        Ok(Compilation::of(plans, target))
    }

    /// The functions of these plans.
    pub fn of(plans: Vec<Plan>, target: Target) -> Compilation {
        let mut jobs = Vec::new();
        let mut known: HashMap<Job, u32> = HashMap::new();
        let mut functions = Vec::new();
        for plan in &plans {
            let mut segments = Vec::new();
            for segment in &plan.segments {
                let mut launches = Vec::new();
                for launch in segment.launches() {
                    launches.push(Job::of(plan, launch).map(|job| {
                        *known.entry(job).or_insert_with_key(|job| {
                            jobs.push(job.clone());
                            jobs.len() as u32 - 1
                        })
                    }));
                }
                segments.push(launches);
            }
            functions.push(segments);
        }
        Compilation { plans, jobs, functions, target }
    }

    /// The machine code of one job. Pure, so that jobs may be compiled on any thread.
    pub fn compile(&self, job: usize) -> Result<Vec<u8>, PlanError> {
        let job = self.jobs.get(job).ok_or_else(|| self.error(job, "there is no such job"))?;
        job.compile(self.target).map_err(|message| {
            let place = self.jobs.iter().position(|j| j == job).unwrap_or(0);
            self.error(place, &message)
        })
    }

    /// An error at the node of the first launch of a job.
    fn error(&self, job: usize, message: &str) -> PlanError {
        for (plan, segments) in self.plans.iter().zip(&self.functions) {
            for (segment, launches) in plan.segments.iter().zip(segments) {
                for (launch, function) in segment.launches().into_iter().zip(launches) {
                    if *function == Some(job as u32) {
                        let (path, span) = (launch.path.clone(), launch.span);
                        return PlanError { message: message.into(), path, span };
                    }
                }
            }
        }
        PlanError { message: message.into(), path: "".into(), span: Default::default() }
    }

    /// The program, given the code of each job in order.
    pub fn finish(self, module: &Module, code: Vec<Vec<u8>>) -> Program {
        let mut functions = self.functions.iter().flatten().flatten();
        let mut program = assemble::assemble(module, &self.plans, &mut |dims, plan, launch| {
            let function = functions.next().copied().flatten();
            assemble::native(dims, &launch.kernel).unwrap_or_else(|| Kernel::Nest {
                function: function.unwrap_or(u32::MAX),
                dims: Job::of(plan, launch).map_or_else(Vec::new, |job| dims.shape(&job.dims)),
            })
        });
        program.code = joined(self.target, code);
        program
    }
}

impl Job {
    /// The function of a launch, when it is a nest.
    pub fn of(plan: &Plan, launch: &Launch) -> Option<Job> {
        let plan::Kernel::Nest(nest) = &launch.kernel else { return None };
        let slot = |buffer: BufferId| {
            BufferId(launch.buffers.iter().position(|(b, _)| *b == buffer).unwrap_or(0) as u32)
        };
        let mut nest = nest.clone();
        for stage in &mut nest.stages {
            stage.each_buffer(&mut |buffer| *buffer = slot(*buffer));
        }
        let dtypes = launch.buffers.iter().map(|(b, _)| plan.buffers[b.index()].dtype).collect();
        let readonly = plan.readonly(launch);
        let dims = dims(&nest);
        Some(Job { nest, dtypes, readonly, dims })
    }

    /// The machine code.
    pub fn compile(&self, target: Target) -> Result<Vec<u8>, String> {
        let isa = isa::isa(target)?;
        let mut context = Context::for_function(self.clif(isa.as_ref())?);
        let code = context
            .compile(isa.as_ref(), &mut ControlPlane::default())
            .map_err(|e| format!("the code generator failed: {:?}", e.inner))?;
        if !code.buffer.relocs().is_empty() {
            return Err(format!("the code has relocations: {:?}", code.buffer.relocs()));
        }
        Ok(code.buffer.data().to_vec())
    }

    /// Cranelift's form of the function.
    fn clif(&self, isa: &dyn TargetIsa) -> Result<ir::Function, String> {
        let mut function = ir::Function::new();
        function.signature = nest::signature(isa);
        let mut context = FunctionBuilderContext::new();
        let builder = FunctionBuilder::new(&mut function, &mut context);
        nest::lower(self, builder, isa)?;
        Ok(function)
    }

    /// The function as Cranelift's text.
    pub fn clif_text(&self, target: Target) -> Result<String, String> {
        let isa = isa::isa(target)?;
        Ok(self.clif(isa.as_ref())?.display().to_string())
    }

    /// The function as assembly.
    pub fn asm_text(&self, target: Target) -> Result<String, String> {
        let isa = isa::isa(target)?;
        let mut context = Context::for_function(self.clif(isa.as_ref())?);
        context.set_disasm(true);
        let code = context
            .compile(isa.as_ref(), &mut ControlPlane::default())
            .map_err(|e| format!("the code generator failed: {:?}", e.inner))?;
        Ok(code.vcode.clone().unwrap_or_default())
    }
}

/// Functions one after another.
fn joined(target: Target, code: Vec<Vec<u8>>) -> Code {
    let (mut bytes, mut functions) = (Vec::new(), Vec::new());
    for function in code {
        // Padding that traps, should anything run into it.
        let pad = if target.arch() == "x86_64" { 0xcc } else { 0 };
        bytes.resize(bytes.len().next_multiple_of(64), pad);
        functions.push(bytes.len() as u32);
        bytes.extend(function);
    }
    let features = target.features().into_iter().map(String::from).collect();
    Code { arch: target.arch().into(), features, bytes, functions }
}

/// Every dim with a symbol that a nest's code needs, each once.
fn dims(nest: &Nest) -> Vec<Dim> {
    let mut list: Vec<Dim> = Vec::new();
    let mut note = |dim: &Dim| {
        if dim.as_constant().is_none() && !list.contains(dim) {
            list.push(dim.clone());
        }
    };
    let affine = |at: &Affine, note: &mut dyn FnMut(&Dim)| {
        at.terms.iter().for_each(|(_, c)| note(c));
        note(&at.constant);
    };
    for stage in &nest.stages {
        stage.extents().iter().for_each(&mut note);
        for value in &stage.values {
            for at in value.op.maps() {
                affine(at, &mut note);
            }
            match &value.op {
                ValueOp::Dim(dim) => note(dim),
                ValueOp::Inside(tests) => tests.iter().for_each(|(_, limit)| note(limit)),
                _ => {}
            }
        }
        for store in &stage.stores {
            affine(&store.at, &mut note);
        }
    }
    list
}

/// Every function of a plan as Cranelift's text, in the order of their first use.
pub fn clif_text(plan: &Plan, target: Target) -> Result<String, String> {
    each(plan, |job| job.clif_text(target))
}

/// Every function of a plan as assembly, in the order of their first use.
pub fn asm_text(plan: &Plan, target: Target) -> Result<String, String> {
    each(plan, |job| job.asm_text(target))
}

fn each(plan: &Plan, text: impl Fn(&Job) -> Result<String, String>) -> Result<String, String> {
    use std::fmt::Write;
    let mut out = String::new();
    let compilation = Compilation::of(vec![plan.clone()], Target::Host);
    for (place, job) in compilation.jobs.iter().enumerate() {
        let _ = writeln!(out, "; function {place}\n{}", text(job)?);
    }
    Ok(out)
}
