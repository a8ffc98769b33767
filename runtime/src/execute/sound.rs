//! Soundness: every index in a program points at something, so that nothing after this check can step outside a table.
//!
//! A program may come from a file, so this is not an assertion. What generated code and kernels do with their pointers cannot
//! be checked here; that is the compiler's plan verifier's duty.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::program::{
    Contraction, Convolution, DeviceLaunch, DimExpr, DimIndex, Entry, InputSource, Kernel, Pack, Program,
    Segment, Step, Storage, Stride,
};
use crate::tensor::byte_count;

/// Checks a whole program.
pub fn check(program: &Program) -> Result<()> {
    let mut paths = HashSet::new();
    for variable in &program.variables {
        if byte_count(variable.dtype, &variable.shape).is_none() {
            return Err(unsound(format!("variable `{}` is larger than memory", variable.path)));
        }
        if !paths.insert(&variable.path) {
            return Err(unsound(format!("two variables are called `{}`", variable.path)));
        }
    }
    let mut names = HashSet::new();
    for entry in &program.entries {
        if !names.insert(&entry.name) {
            return Err(unsound(format!("two entries are called `{}`", entry.name)));
        }
        check_entry(program, entry)
            .map_err(|message| unsound(format!("entry `{}`: {message}", entry.name)))?;
    }
    for training in &program.trainings {
        if training.data >= program.data.len() {
            return Err(unsound(format!(
                "training `{}` reads a data set that does not exist",
                training.name
            )));
        }
    }
    Ok(())
}

fn unsound(message: String) -> Error {
    Error::Unsound(message)
}

fn check_entry(program: &Program, entry: &Entry) -> Result<(), String> {
    for (place, expr) in entry.dims.iter().enumerate() {
        let earlier = |d: DimIndex| (d.0 as usize) < place;
        let sound = match *expr {
            DimExpr::Constant(_) => true,
            DimExpr::Symbol(symbol) => (symbol as usize) < entry.symbols.len(),
            DimExpr::Add(a, b)
            | DimExpr::Sub(a, b)
            | DimExpr::Mul(a, b)
            | DimExpr::FloorDiv(a, b)
            | DimExpr::CeilDiv(a, b)
            | DimExpr::Rem(a, b)
            | DimExpr::Min(a, b)
            | DimExpr::Max(a, b) => earlier(a) && earlier(b),
        };
        if !sound {
            return Err(format!("dim {place} reads what is not before it: {expr:?}"));
        }
    }
    let mut dims = Vec::new();
    dims.extend(entry.guards.iter().map(|guard| guard.value));
    dims.extend(entry.inputs.iter().flat_map(|input| input.shape.iter().copied()));
    dims.extend(entry.outputs.iter().flat_map(|output| output.shape.iter().copied()));
    dims.extend(entry.buffers.iter().map(|buffer| buffer.elements));
    dims.extend(entry.flops);
    for (index, segment) in entry.segments.iter().enumerate() {
        dims.extend([segment.units, segment.grain]);
        check_loops(&segment.steps, 0, &mut dims)?;
        let paired = index > 0 && one_loop(segment) && one_loop(&entry.segments[index - 1]);
        if segment.follows && !paired {
            return Err(format!("segment {index} follows, but there are no two loops"));
        }
        for launch in segment.launches() {
            dims.extend([launch.per_unit, launch.flops, launch.bytes]);
            dims.extend(launch.buffers.iter().flat_map(|slice| slice.offset.iter().chain(&slice.advance)));
            kernel_dims(&launch.kernel, &mut dims);
            if let Kernel::Nest { function, .. } = launch.kernel
                && function as usize >= program.code.functions.len()
            {
                return Err(format!("`{}` calls function {function}, which does not exist", launch.path));
            }
            if let Kernel::Device(DeviceLaunch { function, .. }) = launch.kernel
                && function as usize >= program.device.functions.len()
            {
                return Err(format!("`{}` starts function {function}, which does not exist", launch.path));
            }
            let of_device = matches!(launch.kernel, Kernel::Device(_));
            if of_device == program.device.is_empty() {
                return Err(format!("`{}` runs on another machine than the program's code", launch.path));
            }
        }
    }
    if let Some(dim) = dims.iter().find(|dim| dim.0 as usize >= entry.dims.len()) {
        return Err(format!("dim {} does not exist", dim.0));
    }

    let launched =
        entry.segments.iter().flat_map(|s| s.launches()).flat_map(|l| &l.buffers).map(|slice| slice.buffer);
    let named = entry.inputs.iter().map(|i| i.buffer).chain(entry.outputs.iter().map(|o| o.buffer));
    if let Some(buffer) = launched.chain(named).find(|buffer| buffer.0 as usize >= entry.buffers.len()) {
        return Err(format!("buffer {} does not exist", buffer.0));
    }
    for (index, buffer) in entry.buffers.iter().enumerate() {
        match buffer.storage {
            Storage::Variable(variable) if variable as usize >= program.variables.len() => {
                return Err(format!("buffer {index} is variable {variable}, which does not exist"));
            }
            Storage::Kept(input) if input as usize >= entry.inputs.len() => {
                return Err(format!("buffer {index} is kept for input {input}, which does not exist"));
            }
            Storage::Arena { first, last } if first > last => {
                return Err(format!("buffer {index} lives from segment {first} to {last}"));
            }
            Storage::Alias(_) if root(entry, index).is_none() => {
                return Err(format!("buffer {index} is an alias that leads nowhere"));
            }
            _ => {}
        }
    }
    check_prepared(program, entry)?;
    let local = |buffer: usize| {
        root(entry, buffer).filter(|root| matches!(entry.buffers[*root].storage, Storage::Local))
    };
    let mut users: HashMap<usize, usize> = HashMap::new();
    for (index, segment) in entry.segments.iter().enumerate() {
        for slice in segment.launches().into_iter().flat_map(|launch| &launch.buffers) {
            let Some(root) = local(slice.buffer.0 as usize) else { continue };
            if *users.entry(root).or_insert(index) != index {
                return Err(format!("buffer {root} is local to more than one segment"));
            }
            if !slice.advance.is_empty() && !slice.block {
                return Err(format!("buffer {root} is local to a task but moves with a loop"));
            }
        }
    }
    if let Some(output) = entry.outputs.iter().find(|output| local(output.buffer.0 as usize).is_some()) {
        return Err(format!("output `{}` is local to a task", output.name));
    }
    for (number, input) in entry.inputs.iter().enumerate() {
        let buffer = &entry.buffers[input.buffer.0 as usize];
        let kept = matches!(input.source, InputSource::Kept | InputSource::Carried { .. });
        let own = match buffer.storage {
            Storage::Arena { .. } => !kept,
            Storage::Kept(of) => kept && of as usize == number,
            _ => false,
        };
        if !own {
            return Err(format!("input `{}` has no buffer of its own", input.name));
        }
        if buffer.dtype != input.dtype {
            return Err(format!("input `{}` and its buffer differ in type", input.name));
        }
        if let InputSource::Field { data, .. } = input.source
            && data >= program.data.len()
        {
            return Err(format!("input `{}` reads data set {data}, which does not exist", input.name));
        }
    }
    Ok(())
}

/// Checks that what is prepared comes from variables alone, so that it stays right as long as they do.
fn check_prepared(program: &Program, entry: &Entry) -> Result<(), String> {
    if let Some(variable) = entry.changes.iter().find(|v| **v as usize >= program.variables.len()) {
        return Err(format!("variable {variable} is changed, but does not exist"));
    }
    let Some(first) = entry.segments.get(..entry.prepares as usize) else {
        return Err(format!("{} of {} segments prepare", entry.prepares, entry.segments.len()));
    };
    for slice in first.iter().flat_map(|s| s.launches()).flat_map(|l| &l.buffers) {
        let storage = root(entry, slice.buffer.0 as usize).map(|root| &entry.buffers[root].storage);
        if !matches!(storage, Some(Storage::Variable(_) | Storage::Prepared)) {
            return Err(format!("buffer {} is neither prepared nor a variable", slice.buffer.0));
        }
    }
    Ok(())
}

/// Loops are nested so deeply at most: each level is a call in what walks them.
const DEEPEST: usize = 64;

/// Checks the loops among some steps, and that no slice moves with a loop that is not there.
fn check_loops(steps: &[Step], depth: usize, dims: &mut Vec<DimIndex>) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Launch(launch) if launch.buffers.iter().any(|slice| slice.advance.len() > depth) => {
                return Err(format!("`{}` moves with a loop that it is not in", launch.path));
            }
            Step::Launch(launch)
                if depth == 0 && (launch.ahead || launch.buffers.iter().any(|s| s.block)) =>
            {
                return Err(format!("`{}` belongs to blocks of a loop that it is not in", launch.path));
            }
            Step::Launch(_) => {}
            Step::Loop(_) if depth == DEEPEST => return Err("loops are nested too deeply".into()),
            Step::Loop(inner) => {
                dims.extend([inner.trip, inner.block]);
                let ahead = |step: &Step| matches!(step, Step::Launch(launch) if launch.ahead);
                let first = inner.steps.iter().take_while(|step| ahead(step)).count();
                if inner.steps[first..].iter().any(ahead) {
                    return Err("what a loop does ahead does not come first".into());
                }
                check_loops(&inner.steps, depth + 1, dims)?;
            }
        }
    }
    Ok(())
}

/// Whether a segment has one loop, so that it has a pace.
fn one_loop(segment: &Segment) -> bool {
    segment.steps.iter().filter(|step| matches!(step, Step::Loop(_))).count() == 1
}

/// The buffer that an alias finally stands for; none when the chain has no end.
pub fn root(entry: &Entry, index: usize) -> Option<usize> {
    let mut at = index;
    for _ in 0..=entry.buffers.len() {
        match entry.buffers.get(at)?.storage {
            Storage::Alias(next) => at = next.0 as usize,
            _ => return Some(at),
        }
    }
    None
}

/// Every dim that a kernel reads.
pub fn kernel_dims(kernel: &Kernel, dims: &mut Vec<DimIndex>) {
    let stride = |stride: &Stride, dims: &mut Vec<DimIndex>| {
        dims.push(stride.extent);
        dims.extend([stride.a, stride.b, stride.c].into_iter().flatten());
    };
    match kernel {
        Kernel::Nest { dims: passed, .. } => dims.extend(passed),
        Kernel::Contraction(Contraction { batch, m, k, n, .. }) => {
            for axis in batch.iter().chain(m).chain(k).chain([n]) {
                stride(axis, dims);
            }
        }
        Kernel::Convolution(convolution) => {
            let Convolution {
                n,
                input,
                output,
                input_channels,
                output_channels,
                kernel,
                padding,
                groups,
                splits,
                ..
            } = convolution;
            dims.extend([n, input_channels, output_channels, groups, splits]);
            dims.extend(input.iter().chain(output).chain(kernel).chain(padding));
        }
        Kernel::Pack(Pack { taps, k, n, .. }) => [taps, k, n].into_iter().for_each(|axis| stride(axis, dims)),
        Kernel::Attention(attention) => {
            attention.map(|dim| dims.push(*dim));
        }
        Kernel::CumulativeSum { axis, inner, .. } => dims.extend([axis, inner]),
        Kernel::Gather { axis, count, inner, .. } | Kernel::ScatterAdd { axis, count, inner } => {
            dims.extend([axis, count, inner]);
        }
        Kernel::Sort { axis, count, .. } => dims.extend([axis, count]),
        Kernel::Device(launch) => {
            dims.extend(launch.grid.iter().chain(&launch.dims).chain(&launch.counts));
            dims.extend(launch.indexed.iter().flat_map(|strays| [strays.rows, strays.count]));
        }
    }
}
