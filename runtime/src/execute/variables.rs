//! A session's variables: where each one lies, and, where a GPU works on them, which of its two copies is the newer one.
//!
//! The process always has room for all of them. What a GPU has changed is brought back when somebody asks for it, and what the process has
//! changed is sent before the next run. A GPU that fails to give something back fails for good: the next run says so, and so does
//! [`Session::settle`], which whoever keeps values asks before.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::{Session, stack};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::memory::Block;
use crate::program::{Program, VariableKind};
use crate::tensor::{TensorView, byte_count};

/// Bytes of variables that one thread copies before it takes the next.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Both copies are the same, or there is but one.
const SAME: u8 = 0;
/// The process has changed it.
const OURS: u8 = 1;
/// The GPU has changed it.
const THEIRS: u8 = 2;

#[derive(Debug)]
pub(super) struct Variables {
    block: Block,
    /// Start and bytes of each variable.
    places: Vec<(usize, usize)>,
    /// Those of a GPU, at the same offsets.
    device: Option<Block>,
    newer: Vec<AtomicU8>,
    /// Held while a copy is brought up to date; what failed then.
    fetching: Mutex<Option<Error>>,
}

/// Start and bytes of each variable, and the bytes of all.
pub(super) fn places(program: &Program) -> (Vec<(usize, usize)>, usize) {
    let sizes: Vec<usize> =
        program.variables.iter().map(|v| byte_count(v.dtype, &v.shape).unwrap_or(usize::MAX)).collect();
    let (offsets, total) = stack(&sizes);
    (offsets.into_iter().zip(sizes).collect(), total)
}

impl Variables {
    pub fn new(program: &Program, block: Block, home: &Home) -> Result<Variables> {
        let device = match home {
            Home::Process => None,
            Home::Device(_) => Some(home.block(block.len())?),
        };
        let newer = if device.is_some() { OURS } else { SAME };
        Ok(Variables {
            block,
            places: places(program).0,
            device,
            newer: program.variables.iter().map(|_| AtomicU8::new(newer)).collect(),
            fetching: Mutex::new(None),
        })
    }

    /// What the process has of them.
    pub fn into_block(self) -> Block {
        self.block
    }

    /// Where programs find a variable, and its bytes.
    pub fn pointer(&self, index: usize) -> (*mut u8, usize) {
        let (start, bytes) = self.places[index];
        (self.device.as_ref().unwrap_or(&self.block).pointer().wrapping_add(start), bytes)
    }

    /// Sends what the process has changed to where programs find it.
    pub fn send(&mut self, home: &Home) -> Result<()> {
        let Some(device) = &self.device else { return Ok(()) };
        self.failure()?;
        for (newer, &(start, bytes)) in self.newer.iter_mut().zip(&self.places) {
            if *newer.get_mut() == OURS {
                let from = &self.block.bytes()[start..start + bytes];
                // SAFETY: the device's block is as large as ours, and has the same offsets.
                unsafe { home.write(device.pointer().wrapping_add(start), from)? };
                *newer.get_mut() = SAME;
            }
        }
        Ok(())
    }

    /// Notes that a run has changed these.
    pub fn changed(&mut self, variables: &[u32]) {
        if self.device.is_some() {
            variables.iter().for_each(|variable| *self.newer[*variable as usize].get_mut() = THEIRS);
        }
    }

    /// Brings a variable to the process, where that of the GPU is newer.
    fn fetch(&self, index: usize, home: &Home) {
        let Some(device) = self.device.as_ref().filter(|_| self.newer[index].load(Relaxed) == THEIRS) else {
            return;
        };
        let mut failure = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if self.newer[index].load(Relaxed) == THEIRS {
            let (start, bytes) = self.places[index];
            // SAFETY: the place is within our block. Nobody has seen these bytes since the GPU changed the variable, which takes `&mut`:
            // whoever asks for them comes by here first, and one at a time.
            let read = unsafe {
                let to = std::slice::from_raw_parts_mut(self.block.pointer().wrapping_add(start), bytes);
                home.read(device.pointer().wrapping_add(start), to)
            };
            match read {
                Ok(()) => self.newer[index].store(SAME, Relaxed),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
    }

    /// What failed when variables were brought back.
    fn failure(&self) -> Result<()> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Session {
    /// Brings all variables to the process. Values that are kept must be asked for after this.
    ///
    /// # Errors
    /// A GPU does not give back what it has.
    pub fn settle(&self) -> Result<()> {
        (0..self.program.variables.len()).for_each(|index| self.variables.fetch(index, self.room.home()));
        self.variables.failure()
    }

    /// A variable's value, by its index in [`Program::variables`].
    pub fn variable(&self, index: usize) -> TensorView<'_> {
        self.variables.fetch(index, self.room.home());
        let (variable, (start, bytes)) = (&self.program.variables[index], self.variables.places[index]);
        let data = &self.variables.block.bytes()[start..start + bytes];
        TensorView { dtype: variable.dtype, shape: &variable.shape, data }
    }

    /// The bytes of a variable, to be changed.
    pub fn variable_bytes_mut(&mut self, index: usize) -> &mut [u8] {
        self.variables.fetch(index, self.room.home());
        self.overwrite(index)
    }

    /// The same, whatever the variable was.
    fn overwrite(&mut self, index: usize) -> &mut [u8] {
        let (start, bytes) = self.variables.places[index];
        self.changes.note(index);
        if self.variables.device.is_some() {
            *self.variables.newer[index].get_mut() = OURS;
        }
        &mut self.variables.block.bytes_mut()[start..start + bytes]
    }

    /// The bytes of all variables; [`Session::variable_places`] says where each one lies.
    pub fn all_variables(&self) -> &[u8] {
        (0..self.program.variables.len()).for_each(|index| self.variables.fetch(index, self.room.home()));
        self.variables.block.bytes()
    }

    /// Copies all variables, on all threads; [`Session::variable_places`] says where each one lies.
    pub fn copy_variables(&mut self, copy: &mut Vec<u8>) {
        self.all_variables();
        let from = self.variables.block.bytes();
        if copy.len() != from.len() {
            *copy = vec![0; from.len()];
        }
        let chunks: Vec<_> = copy.chunks_mut(COPIED_AT_ONCE).map(Mutex::new).collect();
        self.pool.run(chunks.len(), &|task, _| {
            // Each chunk has one task, so that nobody waits.
            if let Ok(mut to) = chunks[task].lock() {
                let (start, bytes) = (task * COPIED_AT_ONCE, to.len());
                to.copy_from_slice(&from[start..start + bytes]);
            }
        });
    }

    /// Where in a copy of all variables each one lies: start and bytes.
    pub fn variable_places(&self) -> &[(usize, usize)] {
        &self.variables.places
    }

    /// Zeroes all variables of one kind.
    pub fn zero(&mut self, kind: VariableKind) {
        for index in 0..self.program.variables.len() {
            if self.program.variables[index].kind == kind {
                self.overwrite(index).fill(0);
            }
        }
    }

    /// Bytes of all variables.
    pub fn variable_bytes(&self) -> usize {
        self.variables.block.len()
    }
}
