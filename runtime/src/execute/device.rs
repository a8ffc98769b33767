//! A bound entry on a GPU: the same walk over the same steps, where each call starts a kernel.
//!
//! The first run of a binding starts kernel after kernel; the second one is captured into a graph, which all later ones replay with one call.
//! Addresses and dims are those of the binding, so a graph is right as long as the binding is there.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;

use crate::cuda::{Device, Function, Graph, Staging};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::memory::{self, Block};
use crate::program::{DeviceLaunch, DimIndex, LARGEST_COUNT, LARGEST_GRID, Launch};
use crate::tensor::TensorView;

use super::bind::{BoundEntry, BoundKernel, Port, Unbound};
use super::run::Scratch;

/// A kernel's start at given dims.
#[derive(Debug)]
pub(super) struct BoundStart {
    pub function: Function,
    pub grid: [u32; 3],
    /// Its dims among [`OnDevice::ints`].
    ints: Range<usize>,
    /// Its word among [`OnDevice::strays`], and how many rows and indices there are.
    pub stray: Option<(usize, (usize, usize))>,
}

/// What a bound entry has on a GPU beside its buffers.
#[derive(Debug)]
pub(super) struct OnDevice {
    device: Device,
    /// Dims that kernels take, back to back.
    ints: Vec<i32>,
    /// A word for each call that moves by index, all bits set where no index was out of range.
    strays: Block,
    words: usize,
    /// Inputs wait here for the device in turns, so that the next run's can come while it reads the last one's.
    staging: [Option<Staging>; 2],
    turn: usize,
    /// By the first segment of a run, none or behind what prepares: whether it has run, and its graph.
    runs: [(bool, Option<Graph>); 2],
    /// What outputs are brought to, and where each lies there.
    answers: Block,
    places: Vec<usize>,
}

/// A walk over calls that are started on a GPU.
#[derive(Debug)]
pub(super) struct Starter<'a> {
    on: &'a OnDevice,
    state: RefCell<(Vec<*mut c_void>, Result<()>)>,
}

/// Whether the kernel of a launch can count so many things.
pub(super) fn countable(launch: &Launch, count: i64) -> Result<(), Unbound> {
    if count <= LARGEST_COUNT {
        return Ok(());
    }
    let message = format!("goes through {count} elements, and a GPU's kernels count to {LARGEST_COUNT}");
    Err(too_large(launch, message))
}

fn too_large(launch: &Launch, message: String) -> Unbound {
    Unbound::TooLarge { path: launch.path.clone(), place: launch.place, message }
}

impl OnDevice {
    pub fn new(device: Device) -> OnDevice {
        OnDevice {
            device,
            ints: Vec::new(),
            strays: Block::empty(),
            words: 0,
            staging: [None, None],
            turn: 0,
            runs: [(false, None), (false, None)],
            answers: Block::empty(),
            places: Vec::new(),
        }
    }

    /// A kernel's start where dims have these values, and all that it counts with them is not too much.
    pub fn bind(
        &mut self,
        launch: &Launch,
        start: &DeviceLaunch,
        functions: &[Function],
        at: &dyn Fn(DimIndex) -> i64,
    ) -> Result<BoundStart, Unbound> {
        let unsound = |message: String| format!("`{}`: {message}", launch.path);
        let function = functions.get(start.function as usize);
        let function =
            function.ok_or_else(|| unsound(format!("function {} is not there", start.function)))?.clone();
        let mut grid = [0; 3];
        for ((blocks, dim), most) in grid.iter_mut().zip(start.grid).zip(LARGEST_GRID) {
            let wanted = at(dim);
            if wanted > most {
                let message = format!("takes {wanted} blocks of threads, and a GPU starts {most} at most");
                return Err(too_large(launch, message));
            }
            *blocks = u32::try_from(wanted).map_err(|_| unsound(format!("{wanted} blocks are no grid")))?;
        }
        let first = self.ints.len();
        start.counts.iter().try_for_each(|dim| countable(launch, at(*dim)))?;
        for dim in &start.dims {
            countable(launch, at(*dim))?;
            let value = i32::try_from(at(*dim));
            self.ints.push(value.map_err(|_| unsound(format!("{} is no dim", at(*dim))))?);
        }
        let size = |dim: DimIndex| usize::try_from(at(dim)).unwrap_or(0);
        let stray = start.indexed.map(|strays| {
            self.words += 1;
            (self.words - 1, (size(strays.rows), size(strays.count)))
        });
        Ok(BoundStart { function, grid, ints: first..self.ints.len(), stray })
    }

    /// Makes room for what comes back.
    pub fn finish(&mut self, outputs: &[Port]) -> Result<()> {
        let home = Home::Device(self.device.clone());
        self.strays = home.block(self.words * size_of::<u64>())?;
        home.fill(&mut self.strays, 0xff)?;
        let mut bytes = 0;
        for output in outputs {
            self.places.push(bytes);
            bytes += memory::align(output.bytes);
        }
        self.answers = Block::new(bytes)?;
        Ok(())
    }

    /// What an output holds, once it was fetched.
    pub fn answer(&self, output: usize, bytes: usize) -> &[u8] {
        &self.answers.bytes()[self.places[output]..][..bytes]
    }

    /// Brings inputs to their buffers, through memory that the device reads by itself.
    pub fn give(&mut self, inputs: &[(*mut u8, TensorView<'_>)]) -> Result<()> {
        let bytes = inputs.iter().map(|(_, given)| memory::align(given.data.len())).sum();
        let staging = &mut self.staging[self.turn % 2];
        self.turn += 1;
        let staging = match staging {
            Some(staging) if staging.len() >= bytes => staging,
            none => none.insert(self.device.staging(bytes)?),
        };
        let room = staging.bytes_mut()?;
        let mut at = 0;
        for (_, given) in inputs {
            room[at..at + given.data.len()].copy_from_slice(given.data);
            at += memory::align(given.data.len());
        }
        at = 0;
        for (to, given) in inputs {
            // SAFETY: the port's buffer holds as many bytes, checked when it was bound, and its kernels start behind this.
            unsafe { staging.send(*to, at..at + given.data.len())? };
            at += memory::align(given.data.len());
        }
        staging.sent()
    }
}

impl Starter<'_> {
    /// Starts a call's kernel, unless something has failed before.
    pub fn start(&self, kernel: &BoundStart, pointers: &[*mut u8]) {
        let (arguments, outcome) = &mut *self.state.borrow_mut();
        if outcome.is_err() || kernel.grid.contains(&0) {
            return;
        }
        let word =
            kernel.stray.map(|(word, _)| self.on.strays.pointer().wrapping_add(word * size_of::<u64>()));
        arguments.clear();
        arguments.extend(pointers.iter().map(|pointer| std::ptr::from_ref(pointer).cast_mut().cast()));
        let ints = &self.on.ints[kernel.ints.clone()];
        arguments.extend(ints.iter().map(|int| std::ptr::from_ref(int).cast_mut().cast()));
        arguments.extend(word.as_ref().map(|word| std::ptr::from_ref(word).cast_mut().cast::<c_void>()));
        // SAFETY: the compiler made the kernel for these buffers and dims; addresses and numbers are read before the call returns.
        let started = unsafe { self.on.device.launch(&kernel.function, kernel.grid, arguments) };
        *outcome = started.and_then(|()| self.on.device.wait_for(&kernel.function));
    }
}

impl BoundEntry {
    /// Starts all segments from a first one on.
    pub(super) fn start(&mut self, first: usize, scratch: Scratch) -> Result<()> {
        let Some(on) = &self.device else { return Ok(()) };
        let (device, kind) = (on.device.clone(), usize::from(first > 0));
        device.begin()?;
        match &on.runs[kind] {
            (_, Some(graph)) => graph.launch(),
            (ran, None) if !ran || !device.captures() => {
                self.walk_all(first, scratch)?;
                self.ran(kind, None);
                Ok(())
            }
            (_, None) => {
                let graph = device.capture(|| self.walk_all(first, scratch))?;
                graph.launch()?;
                self.ran(kind, Some(graph));
                Ok(())
            }
        }
    }

    fn ran(&mut self, kind: usize, graph: Option<Graph>) {
        if let Some(on) = &mut self.device {
            on.runs[kind] = (true, graph);
        }
    }

    fn walk_all(&self, first: usize, scratch: Scratch) -> Result<()> {
        let Some(on) = &self.device else { return Ok(()) };
        let starter = Starter { on, state: RefCell::new((Vec::new(), Ok(()))) };
        self.walk_on_device(first, scratch, &starter, None);
        starter.state.into_inner().1
    }

    /// The same, and the nanoseconds of each call.
    pub(super) fn start_profiled(&self, first: usize, scratch: Scratch) -> Result<Vec<u64>> {
        let Some(on) = &self.device else { return Ok(Vec::new()) };
        on.device.begin()?;
        let times = RefCell::new(vec![0u64; self.calls.len()]);
        let starter = Starter { on, state: RefCell::new((Vec::new(), Ok(()))) };
        let timed = |call: usize, work: &dyn Fn()| {
            let time = on.device.time(|| {
                work();
                Ok(())
            });
            match time {
                Ok(time) => times.borrow_mut()[call] += time,
                Err(error) => starter.fail(error),
            }
        };
        self.walk_on_device(first, scratch, &starter, Some(&timed));
        starter.state.into_inner().1?;
        Ok(times.into_inner())
    }

    /// Brings outputs to the process, and what kernels noted of indices.
    pub(super) fn fetch(&mut self, wanted: impl Fn(usize) -> bool) -> Result<()> {
        let Some(on) = &mut self.device else { return Ok(()) };
        let home = Home::Device(on.device.clone());
        for (number, output) in self.outputs.iter().enumerate().filter(|(number, _)| wanted(*number)) {
            let to = &mut on.answers.bytes_mut()[on.places[number]..][..output.bytes];
            // SAFETY: the port's buffer holds as many bytes, checked when it was bound.
            unsafe { home.read(output.pointer, to)? };
        }
        if on.words == 0 {
            return Ok(());
        }
        let mut words = vec![0u8; on.words * size_of::<u64>()];
        // SAFETY: the block has so many words.
        unsafe { home.read(on.strays.pointer(), &mut words)? };
        let words: Vec<u64> = words.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        if words.iter().all(|word| *word == u64::MAX) {
            return Ok(());
        }
        home.fill(&mut on.strays, 0xff)?;
        for (call, stray) in self.calls.iter().zip(&self.strays) {
            if let BoundKernel::Device(BoundStart { stray: Some((word, _)), .. }) = &call.kernel
                && words[*word] != u64::MAX
            {
                stray.note((words[*word] >> 32) as usize, words[*word] as u32 as i32);
            }
        }
        Ok(())
    }
}

impl Starter<'_> {
    fn fail(&self, error: Error) {
        let outcome = &mut self.state.borrow_mut().1;
        if outcome.is_ok() {
            *outcome = Err(error);
        }
    }
}
