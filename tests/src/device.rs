//! One way to run an entry of a module, whatever runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use weft_compiler::cuda::Math;
use weft_compiler::evaluate::{self, Real, Value, Values};
use weft_compiler::graph::Module;
use weft_runtime::execute::Session;
use weft_runtime::program::{DType, VariableKind};
use weft_runtime::tensor::{Tensor, TensorView};

/// What runs a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The reference evaluator, every float as f64.
    Evaluator64,
    /// The reference evaluator in f32.
    Evaluator32,
    /// The CPU back end on so many threads.
    Cpu(usize),
    /// The CUDA back end on the interpreter of [`crate::cuda`].
    Cuda,
    /// The same with products in such numbers.
    CudaIn(Math),
}

impl Device {
    pub const ALL: [Device; 4] = [Device::Evaluator64, Device::Evaluator32, Device::Cpu(1), Device::Cpu(2)];

    /// All of them, and a GPU where kernels can be compiled.
    pub fn with_gpu() -> Vec<Device> {
        let gpu = crate::cuda::is_ready().then_some(Device::Cuda);
        Device::ALL.into_iter().chain(gpu).collect()
    }
}

/// Named tensors.
pub type Tensors = BTreeMap<String, Tensor>;

/// A module on a device, with its variables.
#[derive(Debug)]
pub struct Machine {
    module: Module,
    state: State,
}

#[derive(Debug)]
enum State {
    Evaluator64(Values<f64>),
    Evaluator32(Values<f32>),
    Compiled(Box<Session>),
}

impl Machine {
    /// Prepares a module. Variables are zero until `init` runs or they are set.
    pub fn new(module: Module, device: Device) -> Machine {
        let state = match device {
            Device::Evaluator64 => State::Evaluator64(zeros(&module)),
            Device::Evaluator32 => State::Evaluator32(zeros(&module)),
            Device::Cpu(threads) => {
                let program = weft_compiler::stages::compile(&module).unwrap_or_else(|e| panic!("{e}"));
                let session = Session::new(Arc::new(program), threads).unwrap_or_else(|e| panic!("{e}"));
                State::Compiled(Box::new(session))
            }
            Device::Cuda => on_gpu(&module, Math::F32),
            Device::CudaIn(math) => on_gpu(&module, math),
        };
        Machine { module, state }
    }

    pub fn module(&self) -> &Module {
        &self.module
    }

    pub fn set(&mut self, path: &str, tensor: &Tensor) {
        let index = self.index(path);
        match &mut self.state {
            State::Evaluator64(values) => drop(values.insert(path.to_owned(), value(tensor))),
            State::Evaluator32(values) => drop(values.insert(path.to_owned(), value(tensor))),
            State::Compiled(session) => session.variable_bytes_mut(index).copy_from_slice(&tensor.data),
        }
    }

    pub fn get(&self, path: &str) -> Vec<f64> {
        match &self.state {
            State::Evaluator64(values) => values[path].to_f64(),
            State::Evaluator32(values) => values[path].to_f64(),
            State::Compiled(session) => session.variable(self.index(path)).to_f64(),
        }
    }

    /// Zeroes the sums of an epoch.
    pub fn reset(&mut self) {
        let sums: Vec<(String, DType, Vec<usize>)> = self
            .module
            .variables
            .iter()
            .filter(|v| v.kind == VariableKind::Accumulator)
            .map(|v| (v.path.clone(), v.ty.dtype, extents(&v.ty)))
            .collect();
        for (path, dtype, shape) in sums {
            let bytes = shape.iter().product::<usize>() * dtype.size();
            self.set(&path, &Tensor { dtype, shape, data: vec![0; bytes] });
        }
    }

    /// Runs an entry and applies its updates; the outputs by name, as f64.
    pub fn run(&mut self, entry: &str, inputs: &Tensors) -> BTreeMap<String, Vec<f64>> {
        match &mut self.state {
            State::Evaluator64(values) => interpret(&self.module, entry, inputs, values),
            State::Evaluator32(values) => interpret(&self.module, entry, inputs, values),
            State::Compiled(session) => {
                let index = session.entry(entry).unwrap_or_else(|e| panic!("{e}"));
                let names: Vec<String> =
                    session.program().entries[index].inputs.iter().map(|i| i.name.clone()).collect();
                let views: Vec<TensorView<'_>> = names
                    .iter()
                    .map(|n| inputs.get(n).unwrap_or_else(|| panic!("`{entry}` needs `{n}`")).view())
                    .collect();
                let outputs = session.run(index, &views).unwrap_or_else(|e| panic!("{entry}: {e}"));
                outputs.iter().map(|(name, view)| (name.to_owned(), view.to_f64())).collect()
            }
        }
    }

    /// The session of a compiled module.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Compiled(session) => Some(session),
            _ => None,
        }
    }

    fn index(&self, path: &str) -> usize {
        let found = self.module.variables.iter().position(|v| v.path == path);
        found.unwrap_or_else(|| panic!("no variable `{path}`"))
    }
}

fn on_gpu(module: &Module, math: Math) -> State {
    let program = crate::cuda::program_in(module, math);
    State::Compiled(Box::new(Session::new(Arc::new(program), 1).unwrap_or_else(|e| panic!("{e}"))))
}

fn interpret<T: Real>(
    module: &Module,
    entry: &str,
    inputs: &Tensors,
    variables: &mut Values<T>,
) -> BTreeMap<String, Vec<f64>> {
    let entry =
        module.entries.iter().find(|e| e.graph.name == entry).unwrap_or_else(|| panic!("no `{entry}`"));
    let inputs: Values<T> = inputs.iter().map(|(n, t)| (n.clone(), value(t))).collect();
    let outcome = evaluate::evaluate(&entry.graph, &inputs, variables).unwrap_or_else(|e| panic!("{e}"));
    variables.extend(outcome.updates);
    outcome.outputs.into_iter().map(|(n, v)| (n, v.to_f64())).collect()
}

fn zeros<T: Real>(module: &Module) -> Values<T> {
    module
        .variables
        .iter()
        .map(|v| (v.path.clone(), Value::generate(v.ty.dtype, &extents(&v.ty), |_| 0.0)))
        .collect()
}

fn extents(ty: &weft_compiler::graph::TensorType) -> Vec<usize> {
    ty.shape
        .iter()
        .map(|d| d.as_constant().and_then(|c| usize::try_from(c).ok()).expect("constant"))
        .collect()
}

fn value<T: Real>(tensor: &Tensor) -> Value<T> {
    Value::from_f64(tensor.dtype, &tensor.shape, &tensor.view().to_f64())
        .expect("the elements fill the shape")
}
