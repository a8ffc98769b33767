//! Running programs.
//!
//! A [`Session`] owns what a program needs to run: its variables, its machine code, a thread pool, and one arena that all
//! entries use in turn. Running an entry at dims that it has not seen *binds* it: dims are evaluated, guards checked, buffers
//! placed, kernels bound, pointers resolved. Bound entries are kept by their input shapes, so from then on a run is: copy the
//! inputs in, walk a flat list of segments, read the error words.
//!
//! What entries make from variables alone, such as packed weights, is kept until one of them changes, and once for all that make
//! the same (`prepared`).
//!
//! An entry that goes on with a sequence keeps some inputs from run to run in blocks of their own ([`Session::begin`]).
//!
//! The arena is planned once at the largest sizes seen ([`Session::reserve`] announces them); smaller dims use the same
//! offsets. When a larger dim comes, the plan is made anew and entries are bound again.

mod bind;
mod code;
mod device;
mod dims;
mod prepared;
mod reserve;
mod run;
mod sequence;
mod sound;
mod variables;
// Tests need generated code, and what they have is written for x86-64.
#[cfg(all(test, target_arch = "x86_64"))]
mod loop_tests;
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) mod testing;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::cuda::Device;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::memory::{self, Block, Room};
use crate::pool::{FlushDenormals, Pool};
use crate::program::{Buffer, Entry, Input, Launch, Output, Program, Storage};
use crate::tensor::TensorView;

use bind::{BoundEntry, Layout, Unbound};
use code::{Loaded, MappedCode};
use prepared::{Changes, Prepared};
use run::Scratch;
use sequence::{Memory, is_kept};
use variables::Variables;

/// An entry keeps at most so many bindings; the oldest goes first.
const MAX_BINDINGS: usize = 64;

/// A program with its memory and threads.
#[derive(Debug)]
pub struct Session {
    // Bound entries point into the blocks and the code below, all of which live as long as the session.
    entries: Vec<EntryState>,
    program: Arc<Program>,
    pool: Pool,
    code: Loaded,
    variables: Variables,
    prepared: Prepared,
    changes: Changes,
    arena: Block,
    scratch: Block,
    scratch_stride: usize,
    room: Room,
    /// An entry's plan takes so many bytes at most.
    limit: usize,
}

/// The values of all variables of a program, for sessions that only read them.
#[derive(Clone, Debug)]
pub struct Weights(Arc<Block>);

/// What a session knows about one entry.
#[derive(Debug)]
struct EntryState {
    layout: Layout,
    constants: Block,
    /// Start of each constant buffer in `constants`.
    constant_offsets: Vec<usize>,
    /// The largest sizes seen of each root buffer, and the plan for them.
    sizes: Vec<usize>,
    plan: memory::Plan,
    bindings: Vec<BoundEntry>,
    /// Inputs that live on from run to run.
    memory: Memory,
    /// The binding that is replaced next once there are too many.
    oldest: usize,
}

/// What an entry gave. The tensors lie in the session's memory until its next run.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    entry: &'a Entry,
    bound: &'a BoundEntry,
}

/// Nanoseconds of each launch of one run, and what it gave.
#[derive(Debug)]
pub struct Profile<'a> {
    pub launches: Vec<LaunchTime<'a>>,
    pub outputs: Outputs<'a>,
}

/// One launch's time, with the work that the program says it does at these dims.
#[derive(Clone, Debug)]
pub struct LaunchTime<'a> {
    pub launch: &'a Launch,
    pub nanoseconds: u64,
    pub flops: i64,
    pub bytes: i64,
}

pub use dims::evaluate_into;

/// The values of an entry's dim table when its symbols have the given values.
pub fn dims_at(entry: &Entry, symbols: &[(&str, usize)]) -> Result<Vec<i64>> {
    let value = |symbol: &String| {
        let given = symbols.iter().find(|(name, _)| name == symbol);
        let (_, value) = given.ok_or_else(|| Error::Dim {
            entry: entry.name.clone(),
            message: format!("no value is given for `{symbol}`"),
        })?;
        Ok(i64::try_from(*value).unwrap_or(i64::MAX))
    };
    dims::evaluate(entry, &entry.symbols.iter().map(value).collect::<Result<Vec<_>>>()?)
}

impl Session {
    /// Prepares a program to be run by so many threads, the caller's included. Variables are zero until an entry or
    /// [`Session::variable_bytes_mut`] fills them.
    pub fn new(program: Arc<Program>, threads: usize) -> Result<Session> {
        sound::check(&program)?;
        let variables = Block::new(variables::places(&program).1)?;
        if !program.device.is_empty() {
            return Session::on_device(program, threads, variables);
        }
        let code = Loaded::Process(MappedCode::map(&program.code)?);
        Session::over(program, threads, code, variables, Room::default())
    }

    /// A session that holds the variables of a program and can run none of it, on a machine that may be another than the program's.
    pub fn holding(program: Arc<Program>) -> Result<Session> {
        sound::check(&program)?;
        let variables = Block::new(variables::places(&program).1)?;
        Session::over(program, 1, Loaded::Process(MappedCode::nothing()), variables, Room::default())
    }

    /// A session of a program for GPUs.
    fn on_device(program: Arc<Program>, threads: usize, variables: Block) -> Result<Session> {
        let device = Device::open()?;
        let code = Loaded::Device(device.clone(), device.load(&program.device)?);
        Session::over(program, threads, code, variables, Room::at(Home::Device(device)))
    }

    /// The same for a program whose code and variables lie in a file, the latter as [`Session::all_variables`] has them. They are
    /// read there: no entry that changes one may be run.
    pub fn of_file(
        program: Arc<Program>,
        threads: usize,
        file: &File,
        code: &Range<u64>,
        variables: &Range<u64>,
    ) -> Result<Session> {
        sound::check(&program)?;
        let size = |range: &Range<u64>| usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        if size(variables) != variables::places(&program).1 {
            return Err(Error::Unsound("its weights have another size than it says".into()));
        }
        let variables = Block::of_file(file, variables.start, size(variables))?;
        if !program.device.is_empty() {
            return Session::on_device(program, threads, variables);
        }
        let mapped = MappedCode::of_file(&program.code, file, code.start, size(code))?;
        Session::over(program, threads, Loaded::Process(mapped), variables, Room::default())
    }

    /// The same over the weights of another session of the program, which no entry changes.
    pub fn over_weights(program: Arc<Program>, threads: usize, weights: &Weights) -> Result<Session> {
        sound::check(&program)?;
        if weights.0.len() != variables::places(&program).1 {
            return Err(Error::Unsound("its weights have another size than it says".into()));
        }
        if let Some(entry) = program.entries.iter().find(|entry| !entry.changes.is_empty()) {
            return Err(Error::Unsound(format!("`{}` changes weights that others read", entry.name)));
        }
        let shared = Block::shared(&weights.0);
        if !program.device.is_empty() {
            return Session::on_device(program, threads, shared);
        }
        let code = Loaded::Process(MappedCode::map(&program.code)?);
        Session::over(program, threads, code, shared, Room::default())
    }

    /// Gives its weights to sessions that read them, [`Session::over_weights`].
    pub fn into_weights(self) -> Result<Weights> {
        self.settle()?;
        Ok(Weights(Arc::new(self.variables.into_block())))
    }

    /// The same for a program that was linked into this process.
    ///
    /// # Safety
    /// The code must be mapped executable, and be what the compiler made for the program.
    pub unsafe fn linked(
        program: Arc<Program>,
        threads: usize,
        code: &'static [u8],
        variables: &'static [u8],
        room: Room,
    ) -> Result<Session> {
        sound::check(&program)?;
        if variables.len() != variables::places(&program).1 {
            return Err(Error::Unsound("its weights have another size than it says".into()));
        }
        // SAFETY: as this function's.
        let code = unsafe { MappedCode::linked(&program.code, code)? };
        Session::over(program, threads, Loaded::Process(code), Block::linked(variables)?, room)
    }

    fn over(
        program: Arc<Program>,
        threads: usize,
        code: Loaded,
        variables: Block,
        mut room: Room,
    ) -> Result<Session> {
        let entries =
            program.entries.iter().map(|entry| EntryState::new(entry, &mut room)).collect::<Result<_>>()?;
        Ok(Session {
            entries,
            pool: Pool::new(threads)?,
            code,
            variables: Variables::new(&program, variables, room.home())?,
            prepared: Prepared::new(&program),
            changes: Changes::new(program.variables.len()),
            arena: Block::empty(),
            scratch: Block::empty(),
            scratch_stride: 0,
            room,
            limit: usize::MAX,
            program,
        })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The name of the GPU that runs the program, where one does.
    pub fn device(&self) -> Option<&str> {
        match &self.code {
            Loaded::Process(_) => None,
            Loaded::Device(device, _) => Some(device.name()),
        }
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The index of an entry by its name.
    pub fn entry(&self, name: &str) -> Result<usize> {
        self.program.entries.iter().position(|entry| entry.name == name).ok_or_else(|| Error::Unknown {
            what: "entry",
            name: name.to_string(),
            candidates: self.program.entries.iter().map(|entry| entry.name.clone()).collect(),
        })
    }

    /// Bytes that the entry's plan takes, in the arena and of what is prepared, at the largest dims seen so far.
    pub fn planned_bytes(&self, entry: usize) -> usize {
        self.entries[entry].plan.bytes + self.prepared.bytes(entry)
    }

    /// The most of them that is needed at once: no plan can do with fewer.
    pub fn live_bytes(&self, entry: usize) -> usize {
        self.entries[entry].plan.live
    }

    /// Bytes that all threads together have for their tasks beside the arena, for the largest task bound so far: what lives in one task alone,
    /// and operands that are packed as they are needed.
    pub fn task_bytes(&self) -> usize {
        self.scratch_stride * self.pool.threads()
    }

    /// Fills the arena with a pattern that is NaN in every float type, so that a test finds who reads what nobody wrote.
    pub fn scribble(&mut self) -> Result<()> {
        self.room.home().fill(&mut self.arena, 0xff)
    }

    /// Refuses, from now on, inputs of which a run would take more than so many bytes beside the weights. Who runs what strangers give
    /// would else have no memory left for a text that is long enough.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Makes room for an entry at the given symbols, so that smaller dims need no new plan.
    pub fn reserve(&mut self, entry: usize, symbols: &[(&str, usize)]) -> Result<()> {
        let dims = dims_at(&self.program.entries[entry], symbols)?;
        self.make_room(entry, &dims)
    }

    /// Gives an entry's room back, where no other entry needs as much.
    pub fn release(&mut self, entry: usize) -> Result<()> {
        let state = &mut self.entries[entry];
        state.bindings.clear();
        state.sizes.fill(0);
        state.plan.bytes = 0;
        self.prepared.release(entry);
        let needed = self.entries.iter().map(|state| state.plan.bytes).max().unwrap_or(0);
        if needed < self.arena.len() {
            self.entries.iter_mut().for_each(|state| {
                state.bindings.clear();
                state.oldest = 0;
            });
            self.arena = Block::empty();
            self.arena = self.room.block(needed)?;
        }
        Ok(())
    }

    /// Puts inputs that were given by name into the order of the entry's, for [`Session::run`].
    pub fn arrange<'t>(&self, entry: usize, named: &[(&str, TensorView<'t>)]) -> Result<Vec<TensorView<'t>>> {
        let description = &self.program.entries[entry];
        let candidates = || description.inputs.iter().map(|input| input.name.clone()).collect();
        let unknown =
            |name: &str| Error::Unknown { what: "input", name: name.to_string(), candidates: candidates() };
        if let Some((name, _)) =
            named.iter().find(|(name, _)| description.inputs.iter().all(|i| i.name != *name))
        {
            return Err(unknown(name));
        }
        let given = |input: &Input| {
            let found = named.iter().rfind(|(name, _)| *name == input.name).map(|(_, view)| *view);
            found.ok_or_else(|| Error::MissingInput {
                entry: description.name.clone(),
                input: input.name.clone(),
            })
        };
        description.inputs.iter().map(given).collect()
    }

    /// Runs an entry. The inputs are given in the order of [`Entry::inputs`].
    pub fn run(&mut self, entry: usize, inputs: &[TensorView<'_>]) -> Result<Outputs<'_>> {
        let binding = self.execute(entry, inputs)?;
        self.fetch(entry, binding, |_| true)?;
        self.finish(entry, binding)
    }

    /// Runs an entry, and says in which of its bindings.
    fn execute(&mut self, entry: usize, inputs: &[TensorView<'_>]) -> Result<usize> {
        let binding = self.load(entry, inputs)?;
        let first = self.begin_run(entry)?;
        let scratch = self.scratch();
        let bound = &mut self.entries[entry].bindings[binding];
        match &self.code {
            Loaded::Process(_) => {
                let _mode = FlushDenormals::enter();
                bound.run(first, &mut self.pool, scratch);
            }
            Loaded::Device(..) => bound.start(first, scratch)?,
        }
        self.variables.changed(&self.program.entries[entry].changes);
        Ok(binding)
    }

    /// Brings the wanted outputs of a run to the process, where a GPU has them.
    fn fetch(&mut self, entry: usize, binding: usize, wanted: impl Fn(&Output) -> bool) -> Result<()> {
        let outputs = &self.program.entries[entry].outputs;
        self.entries[entry].bindings[binding].fetch(|number| wanted(&outputs[number]))
    }

    /// Runs an entry and measures each launch.
    pub fn run_profiled(&mut self, entry: usize, inputs: &[TensorView<'_>]) -> Result<Profile<'_>> {
        let binding = self.load(entry, inputs)?;
        let first = self.begin_run(entry)?;
        let (bound, scratch) = (&self.entries[entry].bindings[binding], self.scratch());
        let times = match &self.code {
            Loaded::Process(_) => {
                let _mode = FlushDenormals::enter();
                bound.run_profiled(first, &mut self.pool, scratch)
            }
            Loaded::Device(..) => bound.start_profiled(first, scratch)?,
        };
        self.variables.changed(&self.program.entries[entry].changes);
        self.fetch(entry, binding, |_| true)?;
        let outputs = self.finish(entry, binding)?;
        let at = |dim: crate::program::DimIndex| outputs.bound.dims[dim.0 as usize];
        let launches = outputs
            .entry
            .segments
            .iter()
            .flat_map(|segment| segment.launches())
            .zip(times)
            .map(|(launch, nanoseconds)| LaunchTime {
                launch,
                nanoseconds,
                flops: at(launch.flops),
                bytes: at(launch.bytes),
            })
            .collect();
        Ok(Profile { launches, outputs })
    }

    /// The segment with which a run of an entry begins; notes what the run changes.
    fn begin_run(&mut self, entry: usize) -> Result<usize> {
        self.variables.send(self.room.home())?;
        let first = self.prepared.first(entry, &self.changes);
        let changed = &self.program.entries[entry].changes;
        changed.iter().for_each(|variable| self.changes.note(*variable as usize));
        Ok(first)
    }

    fn scratch(&self) -> Scratch {
        Scratch { pointer: self.scratch.pointer(), stride: self.scratch_stride }
    }

    /// Checks inputs, finds or makes the binding for their shapes, and copies them in.
    fn load(&mut self, entry: usize, inputs: &[TensorView<'_>]) -> Result<usize> {
        let program = Arc::clone(&self.program);
        let description = &program.entries[entry];
        dims::check_types(description, inputs)?;
        let fits = |bound: &BoundEntry| {
            bound.inputs.iter().zip(inputs).all(|(port, given)| port.shape == given.shape)
        };
        let binding = match self.entries[entry].bindings.iter().position(fits) {
            Some(binding) => {
                for (input, given) in
                    description.inputs.iter().zip(inputs).filter(|(input, given)| !lies_there(input, given))
                {
                    dims::check_bytes(description, &input.name, given)?;
                }
                binding
            }
            None => self.bind(&program, entry, inputs)?,
        };
        let bound = &mut self.entries[entry].bindings[binding];
        let given = bound.inputs.iter().zip(inputs).zip(&description.inputs);
        let given = given.filter(|((_, given), input)| !lies_there(input, given)).map(|(pair, _)| pair);
        if let Some(device) = &mut bound.device {
            let given: Vec<_> = given.map(|(port, given)| (port.pointer, *given)).collect();
            device.give(&given)?;
            return Ok(binding);
        }
        for (port, given) in given {
            // SAFETY: the port's buffer holds `port.bytes` bytes (checked when it was bound), which is what the shape asks
            // for and what `given` holds; the arena is the session's own, and `&mut self` makes this the only access.
            unsafe { port.pointer.copy_from_nonoverlapping(given.data.as_ptr(), port.bytes) };
        }
        Ok(binding)
    }

    fn finish(&self, entry: usize, binding: usize) -> Result<Outputs<'_>> {
        let (description, bound) = (&self.program.entries[entry], &self.entries[entry].bindings[binding]);
        match bound.take_stray() {
            None => Ok(Outputs { entry: description, bound }),
            Some((call, stray)) => {
                let launch = description.segments.iter().flat_map(|segment| segment.launches()).nth(call);
                let (path, place) = launch.map(|l| (l.path.clone(), l.place)).unwrap_or_default();
                let file = dims::source_name(&self.program, place.file);
                Err(Error::IndexOutOfRange { path, file, line: place.line, stray, row: None })
            }
        }
    }

    /// Binds an entry to the inputs' shapes.
    fn bind(&mut self, program: &Program, entry: usize, inputs: &[TensorView<'_>]) -> Result<usize> {
        let description = &program.entries[entry];
        let symbols = dims::bind_symbols(description, inputs)?;
        let dims = dims::evaluate(description, &symbols)?;
        dims::check_inputs(description, &dims, &symbols, inputs)?;
        dims::check_guards(program, description, &dims)?;
        self.make_room(entry, &dims)?;

        let bound = self.bound(description, entry, dims)?;
        let stride = memory::align(bound.scratch_bytes);
        if stride > self.scratch_stride {
            let bytes = stride.saturating_mul(self.pool.threads());
            self.scratch = self.room.own_block(bytes)?;
            self.scratch_stride = stride;
        }
        let state = &mut self.entries[entry];
        if state.bindings.len() < MAX_BINDINGS {
            state.bindings.push(bound);
            return Ok(state.bindings.len() - 1);
        }
        let binding = state.oldest;
        state.oldest = (binding + 1) % MAX_BINDINGS;
        state.bindings[binding] = bound;
        Ok(binding)
    }

    /// An entry at dims that there is room for.
    fn bound(&self, description: &Entry, entry: usize, dims: Vec<i64>) -> Result<BoundEntry> {
        let state = &self.entries[entry];
        let bases: Vec<(*mut u8, usize)> = description
            .buffers
            .iter()
            .enumerate()
            .map(|(index, buffer)| match &buffer.storage {
                Storage::Arena { .. } => {
                    (self.arena.pointer().wrapping_add(state.plan.offsets[index]), state.sizes[index])
                }
                Storage::Variable(variable) => self.variables.pointer(*variable as usize),
                Storage::Constant(bytes) => {
                    (state.constants.pointer().wrapping_add(state.constant_offsets[index]), bytes.len())
                }
                Storage::Kept(input) => {
                    let block = &state.memory.blocks[*input as usize];
                    (block.pointer(), block.len())
                }
                Storage::Prepared => self.prepared.place(entry, index),
                Storage::Local => (std::ptr::null_mut(), state.sizes[index]),
                Storage::Alias(_) => (std::ptr::null_mut(), 0),
            })
            .collect();
        let bound = BoundEntry::bind(
            description,
            &state.layout,
            dims,
            &bases,
            &self.code,
            self.pool.threads(),
            state.bindings.last(),
        );
        let mut bound = bound.map_err(|why| match why {
            Unbound::Unsound(message) => Error::Unsound(format!("entry `{}`: {message}", description.name)),
            Unbound::TooLarge { path, place, message } => {
                let file = dims::source_name(&self.program, place.file);
                Error::DeviceSize { path, file, line: place.line, message }
            }
        })?;
        if let Some(device) = &mut bound.device {
            device.finish(&bound.outputs)?;
        }
        Ok(bound)
    }

    /// Plans an entry anew when some buffer is larger at these dims than ever before.
    fn make_room(&mut self, entry: usize, dims: &[i64]) -> Result<()> {
        let description = &self.program.entries[entry];
        let state = &mut self.entries[entry];
        let mut sizes = state
            .layout
            .sizes(description, dims)
            .map_err(|message| Error::Dim { entry: description.name.clone(), message })?;
        if sizes.iter().zip(&state.sizes).all(|(needed, planned)| needed <= planned) {
            return Ok(());
        }
        // What goes on with a sequence grows with every run: it is given twice as much each time.
        let ahead = if description.inputs.iter().any(|input| is_kept(&input.source)) { 2 } else { 1 };
        for (size, &planned) in sizes.iter_mut().zip(&state.sizes) {
            *size = if *size > planned { (*size).max(planned.saturating_mul(ahead)) } else { planned };
        }
        let sum = sizes.iter().fold(0usize, |sum, &bytes| sum.saturating_add(memory::align(bytes)));
        if isize::try_from(sum).is_err() {
            return Err(Error::Memory { bytes: sum, source: std::io::ErrorKind::OutOfMemory.into() });
        }
        let plan = state.layout.plan(&sizes);
        let kept = |buffer: &Buffer| matches!(buffer.storage, Storage::Kept(_));
        let kept = description.buffers.iter().zip(&sizes).filter(|(buffer, _)| kept(buffer));
        let bytes = kept.fold(plan.bytes, |sum, (_, &bytes)| sum.saturating_add(bytes));
        if bytes > self.limit {
            return Err(Error::TooLarge { entry: description.name.clone(), bytes, limit: self.limit });
        }
        for (index, buffer) in description.buffers.iter().enumerate() {
            if let Storage::Kept(input) = buffer.storage {
                state.memory.make_room(input as usize, sizes[index], self.room.home())?;
            }
        }
        let larger = if plan.bytes > self.arena.len() { Some(self.room.block(plan.bytes)?) } else { None };
        let moved = self.prepared.make_room(entry, &sizes, &mut self.room)?;
        state.bindings.clear();
        state.oldest = 0;
        state.sizes = sizes;
        state.plan = plan;
        if moved || larger.is_some() {
            // What was there goes, and with it every pointer into it.
            self.entries.iter_mut().for_each(|state| {
                state.bindings.clear();
                state.oldest = 0;
            });
        }
        if let Some(arena) = larger {
            self.arena = arena;
        }
        Ok(())
    }
}

impl EntryState {
    fn new(entry: &Entry, room: &mut Room) -> Result<EntryState> {
        let sizes: Vec<usize> = entry
            .buffers
            .iter()
            .map(|buffer| match &buffer.storage {
                Storage::Constant(bytes) => bytes.len(),
                _ => 0,
            })
            .collect();
        let (constant_offsets, total) = stack(&sizes);
        let constants = room.block(total)?;
        for (buffer, &start) in entry.buffers.iter().zip(&constant_offsets) {
            if let Storage::Constant(bytes) = &buffer.storage {
                // SAFETY: the block was just made, and has room for all constants at their offsets.
                unsafe { room.home().write(constants.pointer().wrapping_add(start), bytes)? };
            }
        }
        Ok(EntryState {
            layout: Layout::new(entry),
            constants,
            constant_offsets,
            sizes: vec![0; entry.buffers.len()],
            plan: memory::Plan { offsets: vec![0; entry.buffers.len()], ..memory::Plan::default() },
            bindings: Vec::new(),
            memory: Memory::new(entry),
            oldest: 0,
        })
    }
}

/// Is an input there already, in the session's own memory? Then what is given shows its shape alone.
fn lies_there(input: &Input, given: &TensorView<'_>) -> bool {
    is_kept(&input.source) && given.data.is_empty()
}

/// Places sizes one after another, aligned.
fn stack(sizes: &[usize]) -> (Vec<usize>, usize) {
    let mut total = 0usize;
    let offsets = sizes
        .iter()
        .map(|&size| {
            let offset = total;
            total = total.saturating_add(memory::align(size));
            offset
        })
        .collect();
    (offsets, total)
}

impl<'a> Outputs<'a> {
    pub fn len(&self) -> usize {
        self.bound.outputs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bound.outputs.is_empty()
    }

    /// An output by its place in [`Entry::outputs`].
    pub fn get(&self, index: usize) -> TensorView<'a> {
        let port = &self.bound.outputs[index];
        if let Some(device) = &self.bound.device {
            let data = device.answer(index, port.bytes);
            return TensorView { dtype: self.entry.outputs[index].dtype, shape: &port.shape, data };
        }
        // SAFETY: the buffer holds `port.bytes` bytes (checked when it was bound) and lives to the end of the entry's plan;
        // the session is borrowed as long as this view, so nothing writes.
        let data = unsafe { std::slice::from_raw_parts(port.pointer.cast_const(), port.bytes) };
        TensorView { dtype: self.entry.outputs[index].dtype, shape: &port.shape, data }
    }

    /// An output by its name.
    pub fn named(&self, name: &str) -> Option<TensorView<'a>> {
        self.entry.outputs.iter().position(|output| output.name == name).map(|index| self.get(index))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, TensorView<'a>)> + use<'a> {
        let outputs = *self;
        (0..outputs.len()).map(move |index| (outputs.entry.outputs[index].name.as_str(), outputs.get(index)))
    }
}
