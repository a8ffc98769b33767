//! Binding: an entry at given dims becomes a flat list of steps with all pointers and ranges resolved. [`super::run`] walks it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::StrayIndex;
use crate::kernels::index::Stray;
use crate::kernels::{self, Bound};
use crate::memory::{self, Request};
use crate::program::{
    Buffer, BufferSlice, DimIndex, Entry, Kernel, Launch, MAX_TASKS, NestFunction, Place, Step, Storage,
};
use crate::tensor::byte_count;

use super::code::Loaded;
use super::device::{BoundStart, OnDevice, countable};
use super::run::Pace;
use super::sound;

/// A loop reads its weights at each turn, so its tasks have up to so many times the least units, as long as every thread has a task. An element's bits
/// are the same in any task.
const TOGETHER: usize = 2;

/// Why an entry is not bound.
#[derive(Debug)]
pub enum Unbound {
    /// It contradicts itself.
    Unsound(String),
    /// At these dims a launch, of this path and place, is more than a GPU's kernel can be.
    TooLarge { path: String, place: Place, message: String },
}

impl From<String> for Unbound {
    fn from(message: String) -> Unbound {
        Unbound::Unsound(message)
    }
}

/// What an entry needs from the arena, independent of dims: who shares storage with whom, and who lives when.
#[derive(Debug)]
pub struct Layout {
    /// For each buffer, the one whose storage it uses (itself, mostly).
    pub roots: Vec<usize>,
    /// For each root in the arena, its first and last segment.
    lifetimes: Vec<Option<(u32, u32)>>,
}

impl Layout {
    /// An alias keeps its base alive, so lifetimes are widened to every use of every alias; inputs live from the start, and
    /// outputs to the end.
    pub fn new(entry: &Entry) -> Layout {
        let roots: Vec<usize> =
            (0..entry.buffers.len()).map(|index| sound::root(entry, index).unwrap_or(index)).collect();
        let mut lifetimes: Vec<Option<(u32, u32)>> = entry
            .buffers
            .iter()
            .map(|buffer| match buffer.storage {
                Storage::Arena { first, last } => Some((first, last)),
                _ => None,
            })
            .collect();
        let mut widen = |buffer: usize, segment: u32| {
            if let Some((first, last)) = &mut lifetimes[roots[buffer]] {
                *first = (*first).min(segment);
                *last = (*last).max(segment);
            }
        };
        for input in &entry.inputs {
            widen(input.buffer.0 as usize, 0);
        }
        for (index, segment) in entry.segments.iter().enumerate() {
            for slice in segment.launches().into_iter().flat_map(|launch| &launch.buffers) {
                widen(slice.buffer.0 as usize, index as u32);
            }
        }
        for output in &entry.outputs {
            widen(output.buffer.0 as usize, entry.segments.len() as u32);
        }
        Layout { roots, lifetimes }
    }

    /// Bytes that each root needs at these dims: the largest of itself and its aliases. Zero for buffers that are no roots.
    pub fn sizes(&self, entry: &Entry, dims: &[i64]) -> Result<Vec<usize>, String> {
        let mut sizes = vec![0; entry.buffers.len()];
        for (index, buffer) in entry.buffers.iter().enumerate() {
            let bytes = buffer_bytes(buffer, dims).ok_or_else(|| {
                format!("buffer {index} cannot have {} elements", dims[buffer.elements.0 as usize])
            })?;
            let size = &mut sizes[self.roots[index]];
            *size = bytes.max(*size);
        }
        Ok(sizes)
    }

    /// Plans the arena for these sizes. The offsets are those of the buffers; zero where a buffer is not in the arena.
    pub fn plan(&self, sizes: &[usize]) -> memory::Plan {
        let requests: Vec<Request> = self
            .lifetimes
            .iter()
            .zip(sizes)
            .map(|(lifetime, &bytes)| match *lifetime {
                Some((first, last)) => Request { bytes, first, last },
                None => Request { bytes: 0, first: 0, last: 0 },
            })
            .collect();
        memory::plan(&requests)
    }
}

fn buffer_bytes(buffer: &Buffer, dims: &[i64]) -> Option<usize> {
    usize::try_from(dims[buffer.elements.0 as usize]).ok()?.checked_mul(buffer.dtype.size())
}

/// One call: a kernel with its pointers, and how much of its index space a unit is.
#[derive(Debug)]
pub(super) struct Call {
    pub kernel: BoundKernel,
    pub per_unit: usize,
    /// Places among the pointers of the section.
    pub pointers: Range<usize>,
}

/// A pointer that leads into the memory of the thread that runs a task.
#[derive(Debug)]
pub(super) struct Local {
    /// Which of the section's pointers.
    pub place: usize,
    /// Bytes from the start of that memory to the task's first unit, and from one unit to the next.
    pub start: usize,
    pub unit: usize,
}

#[derive(Debug)]
pub(super) enum BoundKernel {
    Nest {
        function: NestFunction,
        dims: Range<usize>,
    },
    /// Bindings whose dims differ elsewhere share it.
    Native(Arc<Bound>),
    /// Of a GPU.
    Device(BoundStart),
}

/// A step of a task; the steps inside of a loop follow it.
#[derive(Debug)]
pub(super) enum BoundStep {
    Call(usize),
    /// Contractions of which the second goes on with the sums of the first.
    Pair(usize, usize),
    /// The first of a pair, which is done with the second.
    Nothing,
    Loop(Turns),
}

/// A loop: how often, up to which step, and what moves from turn to turn.
#[derive(Debug)]
pub(super) struct Turns {
    pub trip: usize,
    /// Of the steps inside, those up to here are done for a block of so many turns at once.
    pub ahead: usize,
    pub block: usize,
    pub end: usize,
    /// What moves with every turn; the pointers of what is done ahead come first, up to `back`.
    pub moves: Range<usize>,
    pub back: usize,
    /// What goes back to where it was with each block.
    pub within: Range<usize>,
    /// It stands in another loop, and begins anew each time.
    pub again: bool,
}

/// A pointer that moves by so many bytes from one turn of a loop to the next.
#[derive(Debug)]
pub(super) struct Move {
    /// Which of the section's pointers.
    pub place: usize,
    pub by: isize,
}

/// A segment: its steps, and how it is cut.
#[derive(Debug)]
pub(super) struct Section {
    pub units: usize,
    pub tasks: usize,
    pub calls: Range<usize>,
    pub steps: Range<usize>,
    pub pointers: Range<usize>,
    pub locals: Range<usize>,
    /// Each task has pointers of its own: some are local or move.
    pub own: bool,
    /// So many sections, this one first, run side by side, one task each.
    pub beside: usize,
    /// How many turns of its loop are done, where it runs beside others.
    pub pace: Pace,
}

/// An input or output at these dims.
#[derive(Debug)]
pub struct Port {
    pub shape: Vec<usize>,
    pub bytes: usize,
    pub pointer: *mut u8,
}

/// An entry at given dims, ready to run.
#[derive(Debug)]
pub struct BoundEntry {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub(super) sections: Vec<Section>,
    pub(super) steps: Vec<BoundStep>,
    pub(super) calls: Vec<Call>,
    /// At the first turn of every loop.
    pub(super) pointers: Vec<*mut u8>,
    pub(super) locals: Vec<Local>,
    pub(super) moves: Vec<Move>,
    /// Where in a thread's memory, behind the kernels' scratch, a task's pointers are put together, and where local buffers lie.
    pub(super) table_start: usize,
    pub(super) local_start: usize,
    /// The functions that generated code may call.
    pub(super) table: *const *const (),
    /// Values that generated code takes, back to back.
    pub(super) values: Vec<i64>,
    /// One of each call, set by kernels that meet an index out of range.
    pub(super) strays: Vec<Stray>,
    pub scratch_bytes: usize,
    /// All dims, and those that are reported.
    pub dims: Vec<i64>,
    /// Where a GPU runs it, what it has there.
    pub(super) device: Option<OnDevice>,
}

// SAFETY: the pointers lead into blocks owned by the session that also owns this value; it moves with them, and the blocks'
// memory does not move. Threads that share it write disjoint ranges (the contract of `Segment`).
unsafe impl Send for BoundEntry {}
// SAFETY: as above.
unsafe impl Sync for BoundEntry {}

impl BoundEntry {
    /// Resolves an entry. `bases` holds each root's start and how many bytes are there. Kernels whose dims are those of `like`, another
    /// binding of the entry, are taken from there: from one token of a sequence to the next, few are others.
    pub fn bind(
        entry: &Entry,
        layout: &Layout,
        dims: Vec<i64>,
        bases: &[(*mut u8, usize)],
        code: &Loaded,
        threads: usize,
        like: Option<&BoundEntry>,
    ) -> Result<BoundEntry, Unbound> {
        let mut bound = BoundEntry {
            inputs: Vec::new(),
            outputs: Vec::new(),
            sections: Vec::with_capacity(entry.segments.len()),
            steps: Vec::new(),
            calls: Vec::new(),
            pointers: Vec::new(),
            locals: Vec::new(),
            moves: Vec::new(),
            table_start: 0,
            local_start: 0,
            table: kernels::math::table().as_ptr(),
            values: Vec::new(),
            strays: Vec::new(),
            scratch_bytes: 0,
            dims: Vec::new(),
            device: code.on_device().map(OnDevice::new),
        };
        let source = Source { entry, layout, dims: &dims, bases, code, like };
        for (index, buffer) in entry.buffers.iter().enumerate() {
            if buffer_bytes(buffer, &dims).is_none_or(|bytes| bytes > source.base(index).1) {
                return Err(format!("buffer {index} is larger than its storage").into());
            }
        }
        for input in &entry.inputs {
            bound.inputs.push(source.port(&input.name, &input.shape, input.buffer.0 as usize)?);
        }
        for output in &entry.outputs {
            bound.outputs.push(source.port(&output.name, &output.shape, output.buffer.0 as usize)?);
        }

        let (mut longest_table, mut local_bytes) = (0, 0);
        for segment in &entry.segments {
            let units = source.size(segment.units, "the extent of a segment")?;
            let grain = source.size(segment.grain, "the grain of a segment")?.max(1);
            let loops = segment.steps.iter().any(|step| matches!(step, Step::Loop(_)));
            let most = if loops { (units / grain / TOGETHER).max(threads) } else { MAX_TASKS };
            // On a GPU a launch is the whole of its index space.
            let on_gpu = bound.device.is_some();
            let tasks = if on_gpu { 1 } else { (units / grain).min(most).clamp(1, MAX_TASKS) };
            let (call, step) = (bound.calls.len(), bound.steps.len());
            let (pointer, local) = (bound.pointers.len(), bound.locals.len());
            let mut filling = Filling {
                source: &source,
                first_pointer: pointer,
                room: LocalRoom { units, most: units.div_ceil(tasks), starts: BTreeMap::new(), bytes: 0 },
                loops: Vec::new(),
                last: None,
            };
            filling.steps(&mut bound, &segment.steps)?;
            local_bytes = filling.room.bytes.max(local_bytes);
            longest_table = longest_table.max(bound.pointers.len() - pointer);
            bound.sections.push(Section {
                units,
                tasks,
                calls: call..bound.calls.len(),
                steps: step..bound.steps.len(),
                pointers: pointer..bound.pointers.len(),
                locals: local..bound.locals.len(),
                own: loops || bound.locals.len() > local,
                beside: 1,
                pace: Pace::default(),
            });
        }
        bound.beside(entry);
        bound.table_start = memory::align(bound.scratch_bytes);
        bound.local_start = bound.table_start + memory::align(longest_table * size_of::<*mut u8>());
        bound.scratch_bytes = bound.local_start.saturating_add(local_bytes);
        bound.strays.resize_with(bound.calls.len(), Stray::default);
        bound.dims = dims;
        Ok(bound)
    }

    /// Finds the sections that may run beside those before them.
    fn beside(&mut self, entry: &Entry) {
        let mut first = 0;
        for (at, segment) in entry.segments.iter().enumerate() {
            let alone = |section: &Section| section.tasks == 1 && section.units > 0;
            if !(segment.follows && at > 0 && alone(&self.sections[at]) && alone(&self.sections[at - 1])) {
                first = at;
            }
            self.sections[first].beside = at - first + 1;
        }
    }

    /// The first call that met an index out of range, and what it met; all of it is forgotten.
    pub fn take_stray(&self) -> Option<(usize, StrayIndex)> {
        let mut found = None;
        for (number, stray) in self.strays.iter().enumerate() {
            let Some((place, index)) = stray.take() else { continue };
            let (rows, count) = match &self.calls[number].kernel {
                BoundKernel::Native(kernel) => kernel.indexed().unwrap_or_default(),
                BoundKernel::Device(start) => start.stray.map_or((0, 0), |(_, indexed)| indexed),
                BoundKernel::Nest { .. } => (0, 0),
            };
            found = found.or(Some((number, StrayIndex { index, place, count, rows })));
        }
        found
    }
}

/// What an entry is bound from.
#[derive(Debug)]
struct Source<'a> {
    entry: &'a Entry,
    layout: &'a Layout,
    dims: &'a [i64],
    bases: &'a [(*mut u8, usize)],
    code: &'a Loaded,
    like: Option<&'a BoundEntry>,
}

impl Source<'_> {
    fn at(&self, dim: DimIndex) -> i64 {
        self.dims[dim.0 as usize]
    }

    fn size(&self, dim: DimIndex, what: &str) -> Result<usize, String> {
        usize::try_from(self.at(dim)).map_err(|_| format!("{what} is {}, which is no size", self.at(dim)))
    }

    /// The kernel of this call where its dims are those of the other binding.
    fn bound_before(&self, call: usize, kernel: &Kernel) -> Option<Arc<Bound>> {
        let like = self.like?;
        let BoundKernel::Native(native) = &like.calls.get(call)?.kernel else { return None };
        let mut dims = Vec::with_capacity(32);
        sound::kernel_dims(kernel, &mut dims);
        let same = dims.into_iter().all(|dim| self.at(dim) == like.dims[dim.0 as usize]);
        same.then(|| Arc::clone(native))
    }

    fn base(&self, buffer: usize) -> (*mut u8, usize) {
        self.bases[self.layout.roots[buffer]]
    }

    fn port(&self, name: &str, shape: &[DimIndex], buffer: usize) -> Result<Port, String> {
        let shape: Vec<usize> = shape.iter().map(|&dim| self.size(dim, name)).collect::<Result<_, _>>()?;
        let bytes = byte_count(self.entry.buffers[buffer].dtype, &shape).unwrap_or(usize::MAX);
        if bytes > self.base(buffer).1 {
            return Err(format!("`{name}` is larger than its buffer"));
        }
        Ok(Port { shape, bytes, pointer: self.base(buffer).0 })
    }
}

/// A section that is being filled.
#[derive(Debug)]
struct Filling<'a> {
    source: &'a Source<'a>,
    first_pointer: usize,
    room: LocalRoom,
    /// The loops around the step at hand, from the outermost in.
    loops: Vec<OpenLoop>,
    /// The launch just before, of the same loop.
    last: Option<&'a Launch>,
}

#[derive(Debug)]
struct OpenLoop {
    trip: usize,
    block: usize,
    reversed: bool,
    /// Of launches that run ahead, of all others, and of slices that hold a block.
    ahead: Vec<Move>,
    moves: Vec<Move>,
    within: Vec<Move>,
}

impl<'a> Filling<'a> {
    fn steps(&mut self, bound: &mut BoundEntry, steps: &'a [Step]) -> Result<(), Unbound> {
        for step in steps {
            match step {
                Step::Launch(launch) => self.launch(bound, launch)?,
                Step::Loop(inner) => {
                    let (place, again) = (bound.steps.len(), !self.loops.is_empty());
                    let trip = self.source.size(inner.trip, "the number of a loop's turns")?;
                    let block = self.source.size(inner.block, "a block of turns")?.max(1);
                    if block > trip.max(1) || block > 1 && self.room.most < self.room.units {
                        return Err(
                            format!("a block of {block} turns of {trip}, in parts of its rows").into()
                        );
                    }
                    let (ahead, moves, within) = (Vec::new(), Vec::new(), Vec::new());
                    self.loops.push(OpenLoop { trip, block, reversed: inner.reversed, ahead, moves, within });
                    let ahead = |step: &&Step| matches!(step, Step::Launch(launch) if launch.ahead);
                    let ahead = place + 1 + inner.steps.iter().take_while(ahead).count();
                    let (moves, within) = (0..0, 0..0);
                    let turns = Turns { trip, ahead, block, end: 0, moves, back: 0, within, again };
                    bound.steps.push(BoundStep::Loop(turns));
                    self.last = None;
                    self.steps(bound, &inner.steps)?;
                    self.last = None;
                    let end = bound.steps.len();
                    let Some(open) = self.loops.pop() else {
                        return Err("a loop is not open".to_string().into());
                    };
                    let first = bound.moves.len();
                    bound.moves.extend(open.ahead);
                    let back = bound.moves.len();
                    bound.moves.extend(open.moves);
                    let moves = first..bound.moves.len();
                    bound.moves.extend(open.within);
                    let within = moves.end..bound.moves.len();
                    let turns = Turns { trip, ahead, block, end, moves, back, within, again };
                    bound.steps[place] = BoundStep::Loop(turns);
                }
            }
        }
        Ok(())
    }

    fn launch(&mut self, bound: &mut BoundEntry, launch: &'a Launch) -> Result<(), Unbound> {
        let (source, units) = (self.source, self.room.units);
        let per_unit = source.size(launch.per_unit, "the share of a unit")?;
        if units.checked_mul(per_unit).is_none_or(|extent| i64::try_from(extent).is_err()) {
            return Err(format!("`{}` has too large an index space", launch.path).into());
        }
        let first = bound.pointers.len() - self.first_pointer;
        for slice in &launch.buffers {
            let place = bound.pointers.len() - self.first_pointer;
            let (pointer, local) = self.pointer(launch, slice, place)?;
            bound.locals.extend(local);
            bound.pointers.push(pointer);
        }
        let kernel = match &launch.kernel {
            Kernel::Nest { function, dims: passed } => {
                let first = bound.values.len();
                bound.values.extend(passed.iter().map(|&dim| source.at(dim)));
                let function = source
                    .code
                    .function(*function)
                    .ok_or_else(|| format!("function {function} is not there"))?;
                BoundKernel::Nest { function, dims: first..bound.values.len() }
            }
            Kernel::Device(start) => {
                let on = bound
                    .device
                    .as_mut()
                    .ok_or_else(|| "a kernel of a GPU, and there is none".to_string())?;
                for slice in &launch.buffers {
                    let elements = source.entry.buffers[slice.buffer.0 as usize].elements;
                    countable(launch, source.at(elements))?;
                }
                BoundKernel::Device(on.bind(launch, start, source.code.kernels(), &|dim| source.at(dim))?)
            }
            kernel => {
                let native = match source.bound_before(bound.calls.len(), kernel) {
                    Some(native) => native,
                    None => Arc::new(
                        Bound::bind(kernel, source.dims)
                            .map_err(|message| format!("`{}`: {message}", launch.path))?,
                    ),
                };
                // An index kernel does not know its outermost count; its extent is open.
                let extent = native.extent();
                if units * per_unit != extent && extent != usize::MAX {
                    return Err(format!(
                        "`{}` runs {} of an index space of {}",
                        launch.path,
                        units * per_unit,
                        extent
                    )
                    .into());
                }
                bound.scratch_bytes = bound.scratch_bytes.max(native.scratch_bytes());
                BoundKernel::Native(native)
            }
        };
        let call = bound.calls.len();
        let pointers = first..bound.pointers.len() - self.first_pointer;
        bound.calls.push(Call { kernel, per_unit, pointers });
        let step = match self.last.replace(launch) {
            Some(before) if self.goes_on(bound, before, launch) => {
                // Both are done where the later one is.
                bound.steps.pop();
                bound.steps.push(BoundStep::Nothing);
                BoundStep::Pair(call - 1, call)
            }
            _ => BoundStep::Call(call),
        };
        bound.steps.push(step);
        Ok(())
    }

    /// Whether the last two calls are contractions of which the second can go on with the sums of the first: each turn of a loop has both, and
    /// their results are one place.
    fn goes_on(&self, bound: &BoundEntry, before: &Launch, launch: &Launch) -> bool {
        let [.., first, late] = bound.calls.as_slice() else { return false };
        let (BoundKernel::Native(first_kernel), BoundKernel::Native(kernel)) = (&first.kernel, &late.kernel)
        else {
            return false;
        };
        let singly = self.loops.last().is_some_and(|open| open.block == 1);
        // Of a block of one turn there is one place.
        let place = |slice: &BufferSlice| {
            let moves = if slice.block { &[][..] } else { &slice.advance[..] };
            let moves: Vec<i64> = moves.iter().map(|dim| self.source.at(*dim)).collect();
            (slice.buffer, slice.offset.map_or(0, |dim| self.source.at(dim)), moves)
        };
        let ends = before.buffers.last().map(place) == launch.buffers.last().map(place);
        let called =
            matches!(bound.steps.last(), Some(BoundStep::Call(call)) if call + 2 == bound.calls.len());
        singly && called && ends && first.per_unit == late.per_unit && first_kernel.can_go_on(kernel)
    }

    /// Where a slice lies at the first turns of the loops around it, and its place in a thread's memory if it is there. Its start
    /// must stay within the buffer at all turns.
    fn pointer(
        &mut self,
        launch: &Launch,
        slice: &BufferSlice,
        place: usize,
    ) -> Result<(*mut u8, Option<Local>), String> {
        let source = self.source;
        let buffer = slice.buffer.0 as usize;
        let (pointer, bytes) = source.base(buffer);
        let size = source.entry.buffers[buffer].dtype.size() as i64;
        let outside = || format!("`{}` starts outside of buffer {buffer}", launch.path);
        let in_bytes = |elements: i64| elements.checked_mul(size).ok_or_else(outside);
        let offset = in_bytes(slice.offset.map_or(0, |dim| source.at(dim)))?;
        let (mut start, mut lowest, mut highest) = (offset, offset, offset);
        let innermost = self.loops.len().wrapping_sub(1);
        for (level, (open, advance)) in self.loops.iter_mut().zip(&slice.advance).enumerate() {
            let by = in_bytes(source.at(*advance))?;
            let (within, ahead) = (slice.block && level == innermost, launch.ahead && level == innermost);
            let turns = if within { open.block } else { open.trip } as i64;
            let last = (turns - 1).max(0).checked_mul(by).ok_or_else(outside)?;
            lowest = lowest.checked_add(last.min(0)).ok_or_else(outside)?;
            highest = highest.checked_add(last.max(0)).ok_or_else(outside)?;
            if open.reversed {
                // What runs ahead sees the lowest number of the first block.
                start += if ahead { (turns - open.block as i64).max(0) * by } else { last };
            }
            if by != 0 && turns > 1 {
                let list = match (within, ahead) {
                    (true, _) => &mut open.within,
                    (_, true) => &mut open.ahead,
                    _ => &mut open.moves,
                };
                list.push(Move { place, by: if open.reversed { -by } else { by } as isize });
            }
        }
        let runs = self.loops.iter().all(|open| open.trip > 0);
        if runs && (lowest < 0 || usize::try_from(highest).is_ok_and(|highest| highest > bytes)) {
            return Err(outside());
        }
        let root = source.layout.roots[buffer];
        let Storage::Local = source.entry.buffers[root].storage else {
            return Ok((pointer.wrapping_offset(start as isize), None));
        };
        let (first, unit) = self.room.place(root, buffer_bytes(&source.entry.buffers[root], source.dims))?;
        Ok((pointer, Some(Local { place, start: first + start as usize, unit })))
    }
}

/// Where the local buffers of a segment lie in a thread's memory.
#[derive(Debug)]
struct LocalRoom {
    /// Units of the segment, and those of its longest task.
    units: usize,
    most: usize,
    /// By root: its start and the bytes of a unit.
    starts: BTreeMap<usize, (usize, usize)>,
    bytes: usize,
}

impl LocalRoom {
    /// The start of a buffer of so many bytes in all, and the bytes of a unit.
    fn place(&mut self, root: usize, bytes: Option<usize>) -> Result<(usize, usize), String> {
        if let Some(found) = self.starts.get(&root) {
            return Ok(*found);
        }
        let bytes = bytes.filter(|bytes| self.units == 0 || bytes % self.units == 0);
        let unit = bytes.ok_or_else(|| format!("buffer {root} has no equal shares"))? / self.units.max(1);
        let place = (self.bytes, unit);
        self.bytes = self.bytes.saturating_add(memory::align(unit.saturating_mul(self.most)));
        self.starts.insert(root, place);
        Ok(place)
    }
}
