//! What entries prepare from variables alone, such as packed or rounded weights: made once, and again only when one of them has changed.
//!
//! Entries that make the same of the same variables have it once: the predictions of a model, say, or the start and the steps of a sequence. The
//! same it is where the same kernel is run at the same dims on the same operands, which is found out once for a program. So
//! whoever comes first makes it for all, and who makes it again makes it for all again.

use std::sync::Arc;

use crate::error::Result;
use crate::memory::{self, Block, Room};
use crate::program::{
    BufferSlice, DType, DimExpr, DimIndex, Entry, Kernel, Launch, Program, Step, Storage, Stride,
};

use super::{sound, stack};

/// All that the entries of a program prepare. It has memory of its own, which nothing else touches.
#[derive(Debug)]
pub struct Prepared {
    things: Vec<Thing>,
    entries: Vec<Uses>,
}

/// The contents of a prepared buffer, which entries may share.
#[derive(Debug, Default)]
struct Thing {
    /// The variables that it is made of, in order.
    sources: Vec<u32>,
    /// When it was made last, on the clock of [`Changes`].
    made: Option<u64>,
    /// Its bytes, and where they begin in a block that it may share with others.
    place: Option<(Arc<Block>, usize, usize)>,
}

/// What one entry prepares.
#[derive(Debug)]
struct Uses {
    /// How many segments fill its prepared buffers.
    segments: usize,
    /// Its prepared buffers, and what each of them holds.
    buffers: Vec<(usize, usize)>,
    /// It has asked for room.
    active: bool,
}

/// When each variable has changed last.
#[derive(Debug)]
pub struct Changes {
    now: u64,
    last: Vec<u64>,
}

impl Prepared {
    pub fn new(program: &Program) -> Prepared {
        let mut prepared = Prepared { things: Vec::new(), entries: Vec::new() };
        let mut known = Vec::new();
        for entry in &program.entries {
            let uses = prepared.uses(entry, &mut known);
            prepared.entries.push(uses);
        }
        prepared
    }

    /// What an entry prepares, where `known` says what other launches make.
    fn uses(&mut self, entry: &Entry, known: &mut Vec<(Recipe, Vec<usize>)>) -> Uses {
        let segments = entry.prepares as usize;
        // By buffer: what it holds. A buffer is first named by the launch that fills it.
        let mut holds: Vec<Option<usize>> = vec![None; entry.buffers.len()];
        for segment in entry.segments.iter().take(segments) {
            let straight = segment.steps.iter().all(|step| matches!(step, Step::Launch(_)));
            for launch in segment.launches() {
                let (mut sources, mut made) = (Vec::new(), Vec::new());
                for slice in &launch.buffers {
                    let Some(root) = sound::root(entry, slice.buffer.0 as usize) else { continue };
                    match (&entry.buffers[root].storage, holds[root]) {
                        (Storage::Variable(variable), _) => sources.push(*variable),
                        (_, Some(thing)) => sources.extend(&self.things[thing].sources),
                        (_, None) if !made.contains(&root) => made.push(root),
                        _ => {}
                    }
                }
                sources.sort_unstable();
                sources.dedup();
                let recipe = Recipe::of(entry, launch, &holds, &made).filter(|_| straight);
                let first = self.things.len();
                let found = known.iter().find(|(other, _)| recipe.as_ref() == Some(other));
                let things = match found {
                    Some((_, things)) => things.clone(),
                    None => (first..first + made.len()).collect(),
                };
                if things.first().is_some_and(|thing| *thing >= first) {
                    let thing = || Thing { sources: sources.clone(), ..Thing::default() };
                    self.things.extend(made.iter().map(|_| thing()));
                    known.extend(recipe.map(|recipe| (recipe, things.clone())));
                }
                made.into_iter().zip(things).for_each(|(root, thing)| holds[root] = Some(thing));
            }
        }
        let buffers = entry.buffers.iter().enumerate();
        let prepared = buffers.filter(|(_, buffer)| matches!(buffer.storage, Storage::Prepared));
        let buffers = prepared.map(|(buffer, _)| {
            let thing = holds[buffer].unwrap_or(self.things.len());
            self.things.resize_with(self.things.len().max(thing + 1), Thing::default);
            (buffer, thing)
        });
        Uses { segments, buffers: buffers.collect(), active: false }
    }

    /// Makes room for an entry's buffers of these sizes, where there is too little. True when something has moved: pointers to what is
    /// prepared are void then.
    pub fn make_room(&mut self, entry: usize, sizes: &[usize], room: &mut Room) -> Result<bool> {
        let uses = &mut self.entries[entry];
        uses.active = true;
        let bytes = |thing: usize| self.things[thing].place.as_ref().map_or(0, |(_, _, bytes)| *bytes);
        let small: Vec<(usize, usize)> = uses
            .buffers
            .iter()
            .map(|(buffer, thing)| (*thing, sizes[*buffer]))
            .filter(|(thing, size)| bytes(*thing) < *size)
            .collect();
        if small.is_empty() {
            return Ok(false);
        }
        let (offsets, total) = stack(&small.iter().map(|(_, size)| *size).collect::<Vec<_>>());
        let block = Arc::new(room.block(total)?);
        let mut moved = false;
        for ((thing, size), offset) in small.into_iter().zip(offsets) {
            let thing = &mut self.things[thing];
            moved |= thing.place.replace((Arc::clone(&block), offset, size)).is_some();
            thing.made = None;
        }
        Ok(moved)
    }

    /// Gives back the room of what no other entry needs.
    pub fn release(&mut self, entry: usize) {
        self.entries[entry].active = false;
        let active = self.entries.iter().filter(|uses| uses.active);
        let needed: Vec<usize> = active.flat_map(|uses| &uses.buffers).map(|(_, thing)| *thing).collect();
        for (_, thing) in &self.entries[entry].buffers {
            if !needed.contains(thing) {
                (self.things[*thing].place, self.things[*thing].made) = (None, None);
            }
        }
    }

    /// Bytes of what an entry has prepared.
    pub fn bytes(&self, entry: usize) -> usize {
        let places =
            self.entries[entry].buffers.iter().filter_map(|(_, thing)| self.things[*thing].place.as_ref());
        places.map(|(_, _, bytes)| memory::align(*bytes)).sum()
    }

    /// Where an entry's prepared buffer lies, and its bytes.
    pub fn place(&self, entry: usize, buffer: usize) -> (*mut u8, usize) {
        let found = self.entries[entry].buffers.iter().find(|(other, _)| *other == buffer);
        let place = found.and_then(|(_, thing)| self.things[*thing].place.as_ref());
        place.map_or((std::ptr::null_mut(), 0), |(block, start, bytes)| {
            (block.pointer().wrapping_add(*start), *bytes)
        })
    }

    /// The segment that a run of an entry begins with: the first one, or, as long as what was prepared is still right, the one behind those
    /// that prepare.
    pub fn first(&mut self, entry: usize, changes: &Changes) -> usize {
        let uses = &self.entries[entry];
        let right = |thing: &Thing| {
            let since = |made| thing.sources.iter().all(|source| changes.last[*source as usize] <= made);
            thing.made.is_some_and(since)
        };
        if uses.buffers.iter().all(|(_, thing)| right(&self.things[*thing])) {
            return uses.segments;
        }
        for (_, thing) in &uses.buffers {
            self.things[*thing].made = Some(changes.now);
        }
        0
    }
}

/// What a launch makes follows from this alone.
#[derive(Debug, PartialEq, Eq)]
struct Recipe {
    kernel: Form,
    /// The dims that the kernel reads.
    dims: Vec<i64>,
    operands: Vec<Operand>,
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// Of which type, and which strides there are.
    Pack(DType, [[bool; 3]; 3]),
    /// A function of the GPU's code.
    Device(u32),
}

/// What a launch sees of a buffer: whose it is, and its type, its elements, and the first one of them that is seen.
#[derive(Debug, PartialEq, Eq)]
struct Operand {
    of: Origin,
    dtype: DType,
    elements: i64,
    offset: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Variable(u32),
    /// Made before.
    Thing(usize),
    /// The launch makes it: so many others came before.
    Made(usize),
}

impl Recipe {
    /// That of a launch outside of loops; none where the dims are not known before, or its kernel is none that prepares.
    fn of(entry: &Entry, launch: &Launch, holds: &[Option<usize>], made: &[usize]) -> Option<Recipe> {
        let there = |stride: &Stride| [stride.a, stride.b, stride.c].map(|dim| dim.is_some());
        let kernel = match &launch.kernel {
            Kernel::Pack(pack) => Form::Pack(pack.kept, [&pack.taps, &pack.k, &pack.n].map(there)),
            Kernel::Device(start) if start.indexed.is_none() => Form::Device(start.function),
            _ => return None,
        };
        let mut dims = Vec::new();
        sound::kernel_dims(&launch.kernel, &mut dims);
        let dims = dims.into_iter().map(|dim| constant(entry, dim)).collect::<Option<_>>()?;
        let operand = |slice: &BufferSlice| {
            let (buffer, root) =
                (&entry.buffers[slice.buffer.0 as usize], sound::root(entry, slice.buffer.0 as usize)?);
            let of = match (&entry.buffers[root].storage, holds[root]) {
                (Storage::Variable(variable), _) => Origin::Variable(*variable),
                (_, Some(thing)) => Origin::Thing(thing),
                (_, None) => Origin::Made(made.iter().position(|other| *other == root)?),
            };
            let offset = slice.offset.map_or(Some(0), |offset| constant(entry, offset))?;
            Some(Operand { of, dtype: buffer.dtype, elements: constant(entry, buffer.elements)?, offset })
        };
        let operands = launch.buffers.iter().map(operand).collect::<Option<_>>()?;
        Some(Recipe { kernel, dims, operands })
    }
}

/// A dim that is the same at all values of symbols.
fn constant(entry: &Entry, dim: DimIndex) -> Option<i64> {
    match entry.dims[dim.0 as usize] {
        DimExpr::Constant(value) => Some(value),
        _ => None,
    }
}

impl Changes {
    pub fn new(variables: usize) -> Changes {
        Changes { now: 0, last: vec![0; variables] }
    }

    /// Notes that a variable changes.
    pub fn note(&mut self, variable: usize) {
        self.now += 1;
        self.last[variable] = self.now;
    }
}
