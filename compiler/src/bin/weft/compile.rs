//! From a checked spec to a program, on as many threads as there are; and what all running commands share.

use crate::args::{Device, DeviceArgs, RunArgs};
use crate::download;
use crate::failure::Failure;
use crate::spec::Spec;
use crate::training::ReadingBar;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weft_compiler::assemble;
use weft_compiler::cpu::{Compilation, Target};
use weft_compiler::cuda::Math;
use weft_compiler::graph::{Entry, Module};
use weft_compiler::passes;
use weft_compiler::plan::PlanError;
use weft_runtime::cuda;
use weft_runtime::data::{CACHE_SIZE, bytes};
use weft_runtime::error::Error;
use weft_runtime::execute::Session;
use weft_runtime::parallel;
use weft_runtime::pool::Pool;
use weft_runtime::program::{Program, Storage};
use weft_runtime::train::Options;

/// How much of a data set is held in memory where the command line doesn't say it.
const DATA_MEMORY: &str = "WEFT_DATA_MEMORY";

/// Which entries a command will run; the others are not compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Training,
    Prediction,
    Generation,
    /// What an executable can do: predictions and generations.
    Executable,
    /// Predictions, and the rows of a data set as models see them.
    Answers,
    /// Rows as they are after the body of their `data` item, and the fit values that they need.
    Data,
}

/// What a program is compiled for.
#[derive(Clone, Copy, Debug)]
pub enum Machine {
    Cpu(Target),
    /// With products in such numbers.
    Gpu(Math),
}

impl Machine {
    /// The numbers that its products are in.
    pub fn math(self) -> Math {
        match self {
            Machine::Cpu(_) => Math::F32,
            Machine::Gpu(math) => math,
        }
    }

    /// The machine that the command line names. A GPU is opened here, so that one that cannot be used is known before anything is compiled.
    pub fn of(given: DeviceArgs) -> Result<Machine, Failure> {
        let cpu = Machine::Cpu(Target::default());
        let math = Math::from(given.math.math);
        match given.device {
            Device::Cpu if math != Math::F32 => Err(Failure::usage(format!(
                "--math {} is for a GPU; this processor multiplies in f32",
                math.name()
            ))
            .help("add --device cuda, or leave --math out")),
            Device::Cpu => Ok(cpu),
            Device::Cuda => {
                let way_out =
                    "use --device cpu, or --device auto, which takes the processor where there is no GPU";
                let opened = gpu().map_err(|error| Failure::from(error).help(way_out));
                opened.map(|_| Machine::Gpu(math))
            }
            Device::Auto => Ok(gpu().map_or_else(
                |error| {
                    let number = if math == Math::F32 { "" } else { ", in f32" };
                    eprintln!("running on this processor{number}: {error}");
                    cpu
                },
                |device| {
                    eprintln!("running on {}", device.name());
                    Machine::Gpu(math)
                },
            )),
        }
    }
}

/// The GPU, where there is also what compiles kernels for it.
fn gpu() -> Result<cuda::Device, Error> {
    let device = cuda::Device::open()?;
    cuda::open_nvrtc().map(|()| device)
}

/// Compiles the wanted entries of a spec for this processor.
pub fn program(spec: &Spec, wanted: Wanted, threads: Option<u16>) -> Result<Arc<Program>, Failure> {
    program_for(Machine::Cpu(Target::default()), spec, wanted, threads)
}

/// The same for the device that the command line names.
pub fn program_on(
    device: DeviceArgs,
    spec: &Spec,
    wanted: Wanted,
    threads: Option<u16>,
) -> Result<Arc<Program>, Failure> {
    program_for(Machine::of(device)?, spec, wanted, threads)
}

/// The same for a certain machine.
pub fn program_for(
    machine: Machine,
    spec: &Spec,
    wanted: Wanted,
    threads: Option<u16>,
) -> Result<Arc<Program>, Failure> {
    let module = spec.checked.module.as_ref().ok_or_else(Failure::reported)?;
    let keep = |entry: &Entry| {
        let name = &entry.graph.name;
        let predicts = module.predictions.iter().any(|p| p.entry == *name);
        let generates = module.generations.iter().any(|g| g.start == *name || g.step == *name);
        let (rows, fits) = (name.starts_with("data."), name.starts_with("fit."));
        match wanted {
            Wanted::Executable => predicts || generates,
            _ if name == "init" => true,
            Wanted::Training => !predicts && !generates && !rows,
            Wanted::Prediction => predicts,
            Wanted::Generation => generates,
            Wanted::Answers => predicts || rows && !name.ends_with(".train"),
            Wanted::Data => rows || fits,
        }
    };
    compiled(spec, module.entries.iter().filter(|e| keep(e)).collect(), machine, threads)
}

/// Compiles these entries, which may be others than those of the spec's own module, beside its variables.
pub fn of_entries(spec: &Spec, entries: Vec<&Entry>, threads: Option<u16>) -> Result<Arc<Program>, Failure> {
    compiled(spec, entries, Machine::Cpu(Target::default()), threads)
}

fn compiled(
    spec: &Spec,
    entries: Vec<&Entry>,
    machine: Machine,
    threads: Option<u16>,
) -> Result<Arc<Program>, Failure> {
    let module = spec.checked.module.as_ref().ok_or_else(Failure::reported)?;
    let threads = self::threads(threads);
    let optimized = parallel::map(threads, &entries, |entry| Entry {
        graph: passes::optimize(&entry.graph),
        inputs: entry.inputs.clone(),
    });
    let internal = |error: PlanError| {
        let (line, _) = spec.checked.sources.position(error.span);
        Failure::input(format!("line {line}: {error}"))
    };
    let module = Module { entries: optimized, ..module.clone() };
    let mut program = match machine {
        Machine::Cpu(target) => {
            let compilation = Compilation::new(&module, target).map_err(internal)?;
            let jobs: Vec<usize> = (0..compilation.jobs.len()).collect();
            let code = parallel::map(threads, &jobs, |job| compilation.compile(*job));
            let code: Result<_, PlanError> = code.into_iter().collect();
            compilation.finish(&module, code.map_err(internal)?)
        }
        Machine::Gpu(math) => {
            let places = |span| spec.checked.sources.line(span);
            weft_compiler::cuda::compile(&module, math, &places).map_err(internal)?
        }
    };
    let sources = spec.checked.sources.files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
    assemble::locate(&mut program, sources);
    Ok(Arc::new(program))
}

/// The number of threads to run on.
pub fn threads(given: Option<u16>) -> usize {
    given.map_or_else(Pool::default_threads, usize::from)
}

/// What the command line says of a run, for the runtime. A named data set that is absent is fetched.
pub fn run_options(given: &RunArgs, spec: &Spec) -> Result<Options, Failure> {
    let mut data = given.data.iter().map(|(name, path)| (name.clone(), PathBuf::from(path))).collect();
    download::provide(spec, &mut data, given.offline)?;
    let memory = given.data_memory.or(bytes_of(DATA_MEMORY)?);
    // The runtime takes this one from the environment itself, where it means nothing when it is wrong.
    bytes_of(CACHE_SIZE)?;
    Ok(Options {
        batch: given.batch.map(|b| b as usize),
        seed: given.seed,
        data,
        data_memory: memory,
        reading: Some(Arc::new(ReadingBar::default())),
        base: spec.folder.clone(),
        threads: Some(threads(given.threads)),
        ..Options::default()
    })
}

/// A number of bytes that the environment gives.
fn bytes_of(name: &str) -> Result<Option<u64>, Failure> {
    let Some(text) = std::env::var(name).ok().filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let wrong = |message| Failure::input(format!("{name} is `{text}`: {message}"));
    bytes(&text).map(Some).map_err(wrong)
}

/// Fills the variables with fresh values.
pub fn fresh_weights(session: &mut Session, seed: u64) -> Result<(), Error> {
    use weft_runtime::program::InputSource;
    use weft_runtime::tensor::{Tensor, TensorView};
    let init = session.entry(weft_runtime::train::INIT)?;
    let inputs: Vec<Tensor> = session.program().entries[init]
        .inputs
        .iter()
        .map(|input| match input.source {
            InputSource::Random => Tensor::from_i64(&[2], &[seed as i64, 0]),
            InputSource::Epoch | InputSource::RateFactor => Tensor::from_f32(&[], &[0.0]),
            _ => Tensor::from_i64(&[], &[0]),
        })
        .collect();
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    session.run(init, &views).map(|_| ())
}

/// Gives an entry its weights: those of a file, or else what the spec's `load` items say.
pub fn weights(
    session: &mut Session,
    entries: &[usize],
    file: Option<&Path>,
    spec: &Spec,
) -> Result<(), Failure> {
    if let Some(file) = file {
        return weft_runtime::weights::load_weights(session, file).map_err(Failure::from);
    }
    let program = session.program();
    let loaded = |path: &str| {
        program.loads.iter().any(|load| {
            path.strip_prefix(&load.target).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let buffers = entries.iter().flat_map(|entry| &program.entries[*entry].buffers);
    let read = buffers.filter_map(|buffer| match buffer.storage {
        Storage::Variable(variable) => Some(program.variables[variable as usize].path.as_str()),
        _ => None,
    });
    if let Some(path) = read.into_iter().find(|path| !loaded(path)) {
        let message = match program.loads.is_empty() {
            true => "there are no weights to predict with".to_owned(),
            false => format!("no `load` of the spec gives `{path}` its value"),
        };
        return Err(Failure::usage(message).help("name trained weights with --weights FILE"));
    }
    weft_runtime::weights::load_items(session, &spec.folder).map_err(Failure::from)
}
