//! Binding: an entry at given dims becomes a flat list of calls with all pointers and ranges resolved.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::StrayIndex;
use crate::kernels::index::Stray;
use crate::kernels::{self, Bound};
use crate::memory::{self, Request};
use crate::pool::Pool;
use crate::program::{Buffer, DimIndex, Entry, Kernel, MAX_TASKS, NestFunction, Storage};
use crate::tensor::byte_count;

use super::code::MappedCode;
use super::sound;

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
            for slice in segment.launches.iter().flat_map(|launch| &launch.buffers) {
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
struct Call {
    kernel: BoundKernel,
    per_unit: usize,
    pointers: Range<usize>,
    locals: Range<usize>,
}

/// A pointer of a call that leads into the memory of the thread that runs it.
#[derive(Debug)]
struct Local {
    /// Which of the call's pointers.
    place: usize,
    /// Bytes from the start of that memory to the task's first unit, and from one unit to the next.
    start: usize,
    unit: usize,
}

#[derive(Debug)]
enum BoundKernel {
    Nest { function: NestFunction, dims: Range<usize> },
    Native(Box<Bound>),
}

/// A segment: its calls, and how it is cut.
#[derive(Debug)]
struct Section {
    units: usize,
    tasks: usize,
    calls: Range<usize>,
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
    sections: Vec<Section>,
    calls: Vec<Call>,
    pointers: Vec<*mut u8>,
    locals: Vec<Local>,
    /// Where in a thread's memory, behind the kernels' scratch, a call's pointers are put together, and where local buffers lie.
    table_start: usize,
    local_start: usize,
    /// The functions that generated code may call.
    table: *const *const (),
    /// Values that generated code takes, back to back.
    values: Vec<i64>,
    /// One of each call, set by kernels that meet an index out of range.
    strays: Vec<Stray>,
    pub scratch_bytes: usize,
    /// All dims, and those that are reported.
    pub dims: Vec<i64>,
}

// SAFETY: the pointers lead into blocks owned by the session that also owns this value; it moves with them, and the blocks'
// memory does not move. Threads that share it write disjoint ranges (the contract of `Segment`).
unsafe impl Send for BoundEntry {}
// SAFETY: as above.
unsafe impl Sync for BoundEntry {}

/// Scratch memory, one part for each thread.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    pub pointer: *mut u8,
    pub stride: usize,
}

// SAFETY: thread t touches only the bytes `t * stride .. (t + 1) * stride`.
unsafe impl Send for Scratch {}
// SAFETY: as above.
unsafe impl Sync for Scratch {}

impl BoundEntry {
    /// Resolves an entry. `bases` holds each root's start and how many bytes are there.
    pub fn bind(
        entry: &Entry,
        layout: &Layout,
        dims: Vec<i64>,
        bases: &[(*mut u8, usize)],
        code: &MappedCode,
    ) -> Result<BoundEntry, String> {
        let at = |dim: DimIndex| dims[dim.0 as usize];
        let size = |dim: DimIndex, what: &str| {
            usize::try_from(at(dim)).map_err(|_| format!("{what} is {}, which is no size", at(dim)))
        };
        let base = |buffer: usize| bases[layout.roots[buffer]];
        let mut bound = BoundEntry {
            inputs: Vec::new(),
            outputs: Vec::new(),
            sections: Vec::with_capacity(entry.segments.len()),
            calls: Vec::new(),
            pointers: Vec::new(),
            locals: Vec::new(),
            table_start: 0,
            local_start: 0,
            table: kernels::math::table().as_ptr(),
            values: Vec::new(),
            strays: Vec::new(),
            scratch_bytes: 0,
            dims: Vec::new(),
        };

        for (index, buffer) in entry.buffers.iter().enumerate() {
            if buffer_bytes(buffer, &dims).is_none_or(|bytes| bytes > base(index).1) {
                return Err(format!("buffer {index} is larger than its storage"));
            }
        }
        let port = |name: &str, shape: &[DimIndex], buffer: usize| {
            let shape: Vec<usize> = shape.iter().map(|&dim| size(dim, name)).collect::<Result<_, _>>()?;
            let bytes = byte_count(entry.buffers[buffer].dtype, &shape).unwrap_or(usize::MAX);
            if bytes > base(buffer).1 {
                return Err(format!("`{name}` is larger than its buffer"));
            }
            Ok(Port { shape, bytes, pointer: base(buffer).0 })
        };
        for input in &entry.inputs {
            bound.inputs.push(port(&input.name, &input.shape, input.buffer.0 as usize)?);
        }
        for output in &entry.outputs {
            bound.outputs.push(port(&output.name, &output.shape, output.buffer.0 as usize)?);
        }

        let (mut longest_table, mut local_bytes) = (0, 0);
        for segment in &entry.segments {
            let units = size(segment.units, "the extent of a segment")?;
            let grain = size(segment.grain, "the grain of a segment")?.max(1);
            let tasks = (units / grain).clamp(1, MAX_TASKS);
            let first_call = bound.calls.len();
            let mut room =
                LocalRoom { units, most: units.div_ceil(tasks), starts: BTreeMap::new(), bytes: 0 };
            for launch in &segment.launches {
                let per_unit = size(launch.per_unit, "the share of a unit")?;
                if units.checked_mul(per_unit).is_none_or(|extent| i64::try_from(extent).is_err()) {
                    return Err(format!("`{}` has too large an index space", launch.path));
                }
                let (first_pointer, first_local) = (bound.pointers.len(), bound.locals.len());
                for slice in &launch.buffers {
                    let buffer = slice.buffer.0 as usize;
                    let offset = match slice.offset {
                        Some(dim) => {
                            size(dim, "an offset")?.saturating_mul(entry.buffers[buffer].dtype.size())
                        }
                        None => 0,
                    };
                    let (pointer, bytes) = base(buffer);
                    if offset > bytes {
                        return Err(format!("`{}` starts outside of buffer {buffer}", launch.path));
                    }
                    let root = layout.roots[buffer];
                    if let Storage::Local = entry.buffers[root].storage {
                        let (start, unit) = room.place(root, buffer_bytes(&entry.buffers[root], &dims))?;
                        let place = bound.pointers.len() - first_pointer;
                        bound.locals.push(Local { place, start: start + offset, unit });
                    }
                    bound.pointers.push(pointer.wrapping_add(offset));
                }
                longest_table = longest_table.max(bound.pointers.len() - first_pointer);
                let kernel = match &launch.kernel {
                    Kernel::Nest { function, dims: passed } => {
                        let first = bound.values.len();
                        bound.values.extend(passed.iter().map(|&dim| at(dim)));
                        let function = code
                            .function(*function)
                            .ok_or_else(|| format!("function {function} is not there"))?;
                        BoundKernel::Nest { function, dims: first..bound.values.len() }
                    }
                    kernel => {
                        let native = Bound::bind(kernel, &dims)
                            .map_err(|message| format!("`{}`: {message}", launch.path))?;
                        // An index kernel does not know its outermost count; its extent is open.
                        let extent = native.extent();
                        if units * per_unit != extent && extent != usize::MAX {
                            return Err(format!(
                                "`{}` runs {} of an index space of {}",
                                launch.path,
                                units * per_unit,
                                extent
                            ));
                        }
                        bound.scratch_bytes = bound.scratch_bytes.max(native.scratch_bytes());
                        BoundKernel::Native(Box::new(native))
                    }
                };
                bound.calls.push(Call {
                    kernel,
                    per_unit,
                    pointers: first_pointer..bound.pointers.len(),
                    locals: first_local..bound.locals.len(),
                });
            }
            local_bytes = room.bytes.max(local_bytes);
            bound.sections.push(Section { units, tasks, calls: first_call..bound.calls.len() });
        }
        bound.table_start = memory::align(bound.scratch_bytes);
        bound.local_start = bound.table_start + memory::align(longest_table * size_of::<*mut u8>());
        bound.scratch_bytes = bound.local_start.saturating_add(local_bytes);
        bound.strays.resize_with(bound.calls.len(), Stray::default);
        bound.dims = dims;
        Ok(bound)
    }

    /// Runs all segments: the hot path. No allocation, no lock, no look-up.
    pub fn run(&self, pool: &mut Pool, scratch: Scratch) {
        for section in &self.sections {
            pool.run(section.tasks, &|task, thread| {
                let (begin, end) = section.share(task);
                for call in section.calls.clone() {
                    self.call(call, begin, end, scratch, thread);
                }
            });
        }
    }

    /// Runs all segments and gives the nanoseconds of each call, in order. Calls of one segment run interleaved, so a
    /// segment's time on the clock is divided among them by the time that they took on all threads.
    pub fn run_profiled(&self, pool: &mut Pool, scratch: Scratch) -> Vec<u64> {
        let clocks: Vec<AtomicU64> = self.calls.iter().map(|_| AtomicU64::new(0)).collect();
        for section in &self.sections {
            let start = Instant::now();
            pool.run(section.tasks, &|task, thread| {
                let (begin, end) = section.share(task);
                for call in section.calls.clone() {
                    let start = Instant::now();
                    self.call(call, begin, end, scratch, thread);
                    clocks[call].fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                }
            });
            let elapsed = start.elapsed().as_nanos() as u64;
            let clocks = &clocks[section.calls.clone()];
            let busy: u64 = clocks.iter().map(|clock| clock.load(Ordering::Relaxed)).sum();
            for clock in clocks {
                let share = clock.load(Ordering::Relaxed) as f64 / busy.max(1) as f64;
                clock.store((elapsed as f64 * share) as u64, Ordering::Relaxed);
            }
        }
        clocks.into_iter().map(AtomicU64::into_inner).collect()
    }

    /// Runs one call for the units `begin..end`.
    #[inline]
    fn call(&self, index: usize, begin: usize, end: usize, scratch: Scratch, thread: usize) {
        let call = &self.calls[index];
        let own = scratch.pointer.wrapping_add(thread * scratch.stride);
        let mut pointers = &self.pointers[call.pointers.clone()];
        if !call.locals.is_empty() {
            let table = own.wrapping_add(self.table_start).cast::<*mut u8>();
            // SAFETY: the thread's own memory has room for the longest table; nothing else uses it during the call.
            pointers = unsafe {
                table.copy_from_nonoverlapping(pointers.as_ptr(), pointers.len());
                for local in &self.locals[call.locals.clone()] {
                    // Kernels count units from the segment's first one; those before the task's are not there, and not touched.
                    let first = own.wrapping_add(self.local_start + local.start);
                    *table.add(local.place) = first.wrapping_sub(begin * local.unit);
                }
                std::slice::from_raw_parts(table, pointers.len())
            };
        }
        let (begin, end) = (begin * call.per_unit, end * call.per_unit);
        if begin == end {
            return;
        }
        match &call.kernel {
            BoundKernel::Nest { function, dims } => {
                let dims = self.values[dims.clone()].as_ptr();
                // SAFETY: the compiler made this function for these buffers and dims; the code is mapped as long as the
                // session lives, and no other thread runs this range.
                unsafe { function(pointers.as_ptr(), dims, self.table, begin as i64, end as i64) }
            }
            BoundKernel::Native(kernel) => {
                // SAFETY: the kernel was bound to these dims, its buffers hold what the program says they hold, the range
                // lies in its index space and no other thread runs it; scratch is this thread's own and large enough.
                unsafe { kernel.run(pointers, begin, end, own, &self.strays[index]) }
            }
        }
    }

    /// The first call that met an index out of range, and what it met; all of it is forgotten.
    pub fn take_stray(&self) -> Option<(usize, StrayIndex)> {
        let mut found = None;
        for (number, stray) in self.strays.iter().enumerate() {
            let Some((place, index)) = stray.take() else { continue };
            let (rows, count) = match &self.calls[number].kernel {
                BoundKernel::Native(kernel) => kernel.indexed().unwrap_or_default(),
                BoundKernel::Nest { .. } => (0, 0),
            };
            found = found.or(Some((number, StrayIndex { index, place, count, rows })));
        }
        found
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

impl Section {
    /// The units of one task.
    #[inline]
    fn share(&self, task: usize) -> (usize, usize) {
        (self.units * task / self.tasks, self.units * (task + 1) / self.tasks)
    }
}
