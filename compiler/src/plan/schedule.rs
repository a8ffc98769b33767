//! The order of kernels, and their segments.
//!
//! Kernels are listed as soon as what they read is there; what fills a loop's carries comes with the loop. A kernel joins the open segment
//! when its index space is cut along the segment's units and each unit touches only its own share of what the segment's other kernels
//! write; so the units may run in any order, and nothing waits. Kernels too small to be worth a second thread gather in segments of one
//! unit. A loop joins as a whole, if all its kernels could: each task then runs all turns of it for its own units. No segment has two
//! loops, and a loop that can run beside the one before comes right behind it.
//!
//! How many units make a task follows from dims alone: few enough that a task's data stays in cache, enough that dense
//! layers see a few rows and that a task is worth starting.

use super::affine::Affine;
use super::{
    Access, Buffer, BufferId, Built, Draft, Kernel, Launch, Loop, Machine, Segment, Step, Storage, Work,
    repeat,
};
use crate::graph::{Dim, Symbol};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use weft_runtime::program::Partition;

/// Less work than this (in elements or FLOPs) is not worth a second thread.
const SMALL: i64 = 16 << 10;
/// What a task should touch at most, so that it stays in a core's cache.
const CACHE: i64 = 512 << 10;
/// What a pack reads and writes, in bytes, from which it runs just before what it is for: in several times the near caches.
const PACKED: i64 = 2 << 20;
/// Rows that a dense layer should see at once.
const ROWS: i64 = 16;
/// Floating-point operations that make a task of a part of a batch's row worth starting.
const TASK: i64 = 512 << 10;
/// Tiles of a contraction that read an operand together, where there are many.
const TILES: i64 = 8;

/// Which kernels must run before which.
#[derive(Debug)]
pub struct Order {
    pub before: Vec<BTreeSet<usize>>,
}

impl Order {
    /// Who reads what others write.
    pub fn new(drafts: &[Draft]) -> Order {
        let mut writers: BTreeMap<BufferId, Vec<usize>> = BTreeMap::new();
        for (at, draft) in drafts.iter().enumerate() {
            for access in draft.accesses.iter().filter(|a| a.write) {
                writers.entry(access.buffer).or_default().push(at);
            }
        }
        let before = drafts
            .iter()
            .enumerate()
            .map(|(at, draft)| {
                let reads = draft.accesses.iter().filter(|a| !a.write);
                reads
                    .flat_map(|a| writers.get(&a.buffer).into_iter().flatten().copied())
                    .filter(|w| *w != at)
                    .collect()
            })
            .collect();
        Order { before }
    }

    /// Whether `late` must run after `early`, directly or through others.
    pub fn reaches(&self, early: usize, late: usize) -> bool {
        let mut seen = vec![false; self.before.len()];
        let mut open = vec![late];
        while let Some(at) = open.pop() {
            for &earlier in &self.before[at] {
                if earlier == early {
                    return true;
                }
                if !std::mem::replace(&mut seen[earlier], true) {
                    open.push(earlier);
                }
            }
        }
        false
    }
}

/// The segment that is being filled.
#[derive(Debug)]
struct Open {
    units: Dim,
    members: Vec<usize>,
    /// By storage.
    touched: BTreeMap<BufferId, Touch>,
    least: i64,
    most: i64,
    /// The units are parts of the batch's rows.
    fine: bool,
    /// A loop has kernels that run ahead.
    ahead: bool,
}

/// What the kernels of a segment do to some storage.
#[derive(Debug)]
struct Touch {
    written: bool,
    /// All accesses so far stay within their units' shares of the frame.
    within: bool,
    frame: Frame,
}

/// What the units have shares of: all of a storage, or of each row that a loop comes by, the part of so many elements that begins
/// at an offset and moves with the loops.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Whole,
    Rows(Dim, Dim, Vec<Dim>),
}

pub fn schedule(built: &mut Built) -> Vec<Segment> {
    let batches: Vec<Symbol> = built.batches().filter(|(_, few)| !few).map(|(symbol, _)| symbol).collect();
    let order = settle(built, &batches);
    let prepared = prepare(built);

    let fills = fills(built, &order);

    let count = built.drafts.len();
    let mut done = vec![false; count];
    let mut segments: Vec<Segment> = Vec::new();
    // The members of the last segment and of those that it follows, each in order.
    let mut chain: Vec<Vec<usize>> = Vec::new();
    loop {
        // What is prepared comes first, in segments of its own.
        let preparing = (0..count).any(|at| prepared[at] && !done[at]);
        let own_fill = |fill: usize, at: usize| fills[fill] == Some(at);
        let ready = |at: usize, done: &[bool]| {
            let before = |b: &usize| done[*b] || own_fill(*b, at);
            !done[at]
                && fills[at].is_none()
                && prepared[at] == preparing
                && order.before[at].iter().all(before)
        };
        // A loop that can run beside the last one comes next; else all in order.
        let beside = |at: usize| {
            let one_task = few(built, &built.drafts[at].space);
            one_task && chain.iter().all(|early| super::beside::may(built, early, &[at]))
        };
        let next = |at: &usize| ready(*at, &done);
        let found = (0..count).filter(next).find(|at| !chain.is_empty() && beside(*at));
        let Some(first) = found.or_else(|| (0..count).find(next)) else { break };
        let mut open = Open::new(built, first, &batches);
        // Each kernel that joins may make others ready, so the walk starts over until none joins.
        let mut joined = true;
        let mut walk: Vec<usize> = std::iter::once(first).chain(0..count).collect();
        while joined {
            joined = false;
            for &at in &walk {
                if !ready(at, &done) || !open.members.is_empty() && !open.admits(built, at) {
                    continue;
                }
                // What fills a loop's carries is done where it is needed, just before.
                let own: Vec<usize> = (0..count).filter(|fill| own_fill(*fill, at) && !done[*fill]).collect();
                for fill in own {
                    open.add(built, fill);
                    done[fill] = true;
                }
                open.add(built, at);
                done[at] = true;
                joined = true;
            }
            walk = (0..count).collect();
        }
        let mut open = open.finer(built);
        for at in &open.members {
            open.ahead |= super::ahead::arrange(built, *at, &open.units);
        }
        let follows = built.machine == Machine::Cpu
            && !chain.is_empty()
            && few(built, &open.units)
            && chain.iter().all(|early| super::beside::may(built, early, &open.members));
        if !follows {
            chain.clear();
        }
        chain.push(open.members.clone());
        let owned = open.owned(built);
        segments.push(Segment { follows, ..open.close(built) });
        built.owned.push(owned);
        built.prepares += usize::from(preparing);
    }
    segments
}

/// Whether a loop over so many rows may be one task. Loops that are sure to be several have no use of running side by side, which would
/// keep alive what lives in either of them.
fn few(built: &Built, rows: &Dim) -> bool {
    let mut known = true;
    rows.symbols(&mut |symbol| known &= built.sizes.iter().any(|(of, _)| of == symbol));
    !known || built.estimate(rows) < 2 * ROWS
}

/// For each draft that does nothing but fill a carry of a loop, and reads nothing, which loop that is.
fn fills(built: &Built, order: &Order) -> Vec<Option<usize>> {
    let count = built.drafts.len();
    let fill = |at: usize| {
        let draft = &built.drafts[at];
        let reads = |reader: &usize| order.before[*reader].contains(&at);
        let reader = (0..count).filter(reads).find(|at| matches!(built.drafts[*at].work, Work::Loop(_)))?;
        // Others see what the loop leaves there.
        let alone = (0..count).filter(reads).all(|other| other == reader || order.reaches(reader, other));
        let Work::Loop(repeat) = &built.drafts[reader].work else { return None };
        let carry =
            |access: &Access| access.write && repeat.updates.iter().any(|(_, carry)| *carry == access.buffer);
        // Each unit of the loop fills its own share.
        let open = Open::over(built.drafts[reader].space.clone());
        let own = |steps: &Dim| draft.accesses.iter().all(|access| open.owns(built, access, steps));
        let alike = !open.units.is(1) && open.steps(built, draft).as_ref().is_some_and(own);
        let fills = draft.as_nest().is_some() && draft.accesses.iter().all(carry);
        (fills && alone && alike && order.before[at].is_empty()).then_some(reader)
    };
    (0..count).map(fill).collect()
}

/// Which kernels need to run only when variables have changed: those that pack weights which this entry does not change itself, and on a GPU
/// those that round them or turn them around. What they write is kept, if that is no more than what they read.
fn prepare(built: &mut Built) -> Vec<bool> {
    let written: Vec<BufferId> = built
        .drafts
        .iter()
        .flat_map(|draft| draft.accesses.iter().filter(|access| access.write))
        .map(|access| root(built, access.buffer))
        .collect();
    // Nobody else writes there, and nobody takes it away.
    let fresh = |buffer: BufferId| {
        let Buffer { storage, elements, .. } = &built.buffers[buffer.index()];
        *storage == Storage::Unused
            && elements.as_constant().is_some()
            && written.iter().filter(|other| **other == buffer).count() == 1
            && built.outputs.iter().all(|output| root(built, output.3) != buffer)
    };
    let bytes = |all: BTreeSet<BufferId>| -> i64 {
        let size = |buffer: &BufferId| {
            let Buffer { elements, dtype, .. } = &built.buffers[buffer.index()];
            built.estimate(elements).saturating_mul(dtype.size() as i64)
        };
        all.iter().map(size).fold(0, i64::saturating_add)
    };
    let touched = |draft: &Draft, write: bool| -> BTreeSet<BufferId> {
        draft.accesses.iter().filter(|a| a.write == write).map(|a| a.buffer).collect()
    };
    let alike = |draft: &Draft| match &draft.work {
        Work::Kernel(Kernel::Pack { .. }) => true,
        Work::Kernel(Kernel::Nest(nest)) => {
            let (read, written) = (touched(draft, false), touched(draft, true));
            built.machine == Machine::Gpu
                && nest.is_fixed()
                && !read.is_empty()
                && bytes(written) <= bytes(read)
        }
        _ => false,
    };
    let mut kept: BTreeSet<BufferId> = BTreeSet::new();
    let mut prepared = vec![false; built.drafts.len()];
    // What is made of what is prepared is prepared too.
    while let Some(at) = (0..built.drafts.len()).find(|at| {
        let draft = &built.drafts[*at];
        let once = |access: &Access| match access.write {
            true => fresh(access.buffer),
            false => built.lasts(access.buffer) || kept.contains(&access.buffer),
        };
        !prepared[*at] && alike(draft) && draft.accesses.iter().all(once)
    }) {
        prepared[at] = true;
        kept.extend(touched(&built.drafts[at], true));
    }
    kept.into_iter().for_each(|buffer| built.buffers[buffer.index()].storage = Storage::Prepared);
    prepared
}

/// Brings all drafts into their final shape, those in loops in their order, and says which must run before which.
fn settle(built: &mut Built, batches: &[Symbol]) -> Order {
    for at in 0..built.drafts.len() {
        repeat::inside(built, at, &mut |built| {
            let order = settle(built, batches);
            repeat::sort(built, &order);
        });
        let units = match &built.drafts[at].work {
            Work::Loop(_) => cut(built, &built.drafts[at], batches),
            Work::Kernel(_) => None,
        };
        super::normal::finish(&mut built.drafts[at]);
        repeat::finish(&mut built.drafts[at], units);
    }
    let mut order = Order::new(&built.drafts);
    super::memory::place_updates(built, &mut order);
    order
}

/// A dim along which all kernels of a loop can be cut, so that each task runs all its turns without the others.
fn cut(built: &Built, draft: &Draft, batches: &[Symbol]) -> Option<Dim> {
    let kernels = draft.kernels();
    let leading = kernels.iter().filter_map(|kernel| kernel.loops.first().cloned());
    let mut candidates: Vec<Dim> = batches.iter().map(|b| Dim::symbol(b.clone())).chain(leading).collect();
    candidates.retain(|dim| !dim.is(1));
    candidates.dedup();
    candidates.into_iter().find(|units| {
        let mut open = Open::over(units.clone());
        let cuttable = |kernel: &&Draft| open.steps(built, kernel).is_some();
        if !kernels.iter().all(cuttable) {
            return false;
        }
        kernels.iter().for_each(|kernel| open.touch(built, kernel));
        open.touched.values().all(|touch| !touch.written || touch.within)
    })
}

impl Open {
    fn over(units: Dim) -> Open {
        Open {
            units,
            members: Vec::new(),
            touched: BTreeMap::new(),
            least: 1,
            most: i64::MAX,
            fine: false,
            ahead: false,
        }
    }

    fn new(built: &Built, first: usize, batches: &[Symbol]) -> Open {
        let draft = &built.drafts[first];
        let units = match draft.loops.first() {
            None => Dim::constant(1),
            Some(_) if small(built, draft) && !by_batch(draft, batches) => Dim::constant(1),
            Some(extent) => units_of(built, draft, extent, batches),
        };
        Open::over(units)
    }

    /// Steps of the kernel's outermost loop in one unit, if the kernel can be cut so.
    fn steps(&self, built: &Built, draft: &Draft) -> Option<Dim> {
        if self.units.is(1) {
            return small(built, draft).then(|| Dim::constant(1));
        }
        // Few units would be few tasks for a kernel that has work for more.
        if self.units.as_constant().is_some_and(|u| u < 8 && Some(u) != draft.space.as_constant()) {
            return None;
        }
        draft.loops.first()?.exact_div(&self.units)
    }

    fn admits(&self, built: &Built, at: usize) -> bool {
        let draft = &built.drafts[at];
        if self.steps(built, draft).is_none() {
            return false;
        }
        // Loops of their own segments can run side by side where the batch is small.
        let is_loop = |at: usize| matches!(built.drafts[at].work, Work::Loop(_));
        if !self.units.is(1) && is_loop(at) && self.members.iter().any(|member| is_loop(*member)) {
            return false;
        }
        // What is packed is to be met while it is in cache, and its place to be taken by the next, so nothing runs in between.
        if self.members.iter().copied().chain([at]).any(|at| is_large_pack(built, &built.drafts[at])) {
            return false;
        }
        let (least, most) = self.wishes(built, draft);
        if self.least.max(least) > self.most.min(most).saturating_mul(2) {
            return false;
        }
        draft.kernels().into_iter().all(|kernel| {
            let Some(steps) = self.steps(built, kernel) else { return false };
            kernel.accesses.iter().all(|access| {
                let Some(touch) = self.touched.get(&root(built, access.buffer)) else { return true };
                if !touch.written && !access.write {
                    return true;
                }
                let same = || touch.within && touch.frame == frame(built, access.buffer);
                self.units.is(1) || same() && self.owns(built, access, &steps)
            })
        })
    }

    /// Whether unit `u` touches only its own share of the buffer.
    fn owns(&self, built: &Built, access: &Access, steps: &Dim) -> bool {
        let Some(at) = &access.at else { return false };
        let Some(share) = built.buffers[access.buffer.index()].elements.exact_div(&self.units) else {
            return false;
        };
        let step = at.coefficient(0);
        if step.clone() * steps.clone() != share {
            return false;
        }
        let rest = at.substitute(&|v| if v == 0 { Affine::constant(0i64) } else { Affine::variable(v) });
        rest.within(&(step - access.reach.clone() + Dim::constant(1)), &access.extents)
    }

    /// The least units that a task of this kernel should have, and the most.
    fn wishes(&self, built: &Built, draft: &Draft) -> (i64, i64) {
        let units = built.estimate(&self.units).max(1);
        let again = matches!(draft.work, Work::Loop(_));
        let mut least = 1;
        for kernel in draft.kernels() {
            if let Work::Kernel(Kernel::Contraction { m, partition: Partition::Tiles, .. }) = &kernel.work {
                // Few rows read B in stretches as long as their columns.
                let rows: i64 = m.iter().map(|s| built.estimate(&s.extent).max(1)).product();
                let tasks = if rows <= super::contract::FEW { 2 } else { TILES };
                if units >= tasks * TILES {
                    least = least.max(TILES);
                }
            }
            if let Work::Kernel(Kernel::Contraction { batch, m, k, n, partition: Partition::Rows, .. }) =
                &kernel.work
            {
                let rows: i64 =
                    batch.iter().chain(m).map(|s| built.estimate(&s.extent).max(1)).product::<i64>().max(1);
                let weights: i64 = k.iter().map(|s| built.estimate(&s.extent)).product::<i64>()
                    * built.estimate(&n.extent)
                    * 4;
                // Small weights stay in cache from one task to the next; in a loop, all are read again at each turn.
                if (again || weights > CACHE / 8) && batch.is_empty() {
                    least = least.max(ROWS * units / rows);
                }
            }
        }
        (least, (CACHE / share_bytes(built, draft.kernels(), units).max(1)).max(1))
    }

    /// The same segment, cut along all rows of the contraction that opens it, where its other kernels can be cut so too: then a batch
    /// of one is work for several threads.
    fn finer(self, built: &Built) -> Open {
        let Some(first) = self.members.first().map(|at| &built.drafts[*at]) else { return self };
        let by_rows = Partition::Rows;
        let opens = matches!(&first.work, Work::Kernel(Kernel::Contraction { partition, .. }) if *partition == by_rows);
        let Some(rows) = first.loops.first().filter(|rows| opens && **rows != self.units) else {
            return self;
        };
        if self.units.is(1) || rows.exact_div(&self.units).is_none() {
            return self;
        }
        let mut finer = Open { fine: true, ..Open::over(rows.clone()) };
        for at in &self.members {
            let kernels = built.drafts[*at].kernels();
            if kernels.into_iter().any(|kernel| finer.steps(built, kernel).is_none()) {
                return self;
            }
            finer.add(built, *at);
        }
        let apart = finer.touched.values().all(|touch| !touch.written || touch.within);
        if apart { finer } else { self }
    }

    fn add(&mut self, built: &Built, at: usize) {
        let draft = &built.drafts[at];
        let (least, most) = self.wishes(built, draft);
        self.least = self.least.max(least);
        self.most = self.most.min(most);
        draft.kernels().into_iter().for_each(|kernel| self.touch(built, kernel));
        self.members.push(at);
    }

    /// Notes what one kernel does to storage.
    fn touch(&mut self, built: &Built, kernel: &Draft) {
        let steps = self.steps(built, kernel);
        for access in &kernel.accesses {
            let own = steps.as_ref().is_some_and(|steps| self.owns(built, access, steps));
            let frame = frame(built, access.buffer);
            match self.touched.entry(root(built, access.buffer)) {
                Entry::Occupied(entry) => {
                    let touch = entry.into_mut();
                    touch.written |= access.write;
                    touch.within &= own && touch.frame == frame;
                }
                Entry::Vacant(entry) => {
                    entry.insert(Touch { written: access.write, within: own, frame });
                }
            }
        }
    }

    /// The buffers that could be cut up among the units.
    fn owned(&self, built: &Built) -> BTreeSet<BufferId> {
        if self.units.is(1) {
            return BTreeSet::new();
        }
        let own = |buffer: &BufferId| {
            let touch = self.touched.get(&root(built, *buffer));
            touch.is_some_and(|touch| touch.written && touch.within && touch.frame == Frame::Whole)
        };
        (0..built.buffers.len() as u32).map(BufferId).filter(own).collect()
    }

    fn close(self, built: &Built) -> Segment {
        let units = built.estimate(&self.units).max(1);
        let work: i64 =
            self.members.iter().map(|at| self.work(built, &built.drafts[*at])).fold(0, i64::saturating_add);
        // A task worth starting, within what fits the cache; never so few tasks that cores idle.
        let worth = (2 * SMALL).saturating_mul(units).checked_div(work.max(1)).unwrap_or(units).max(1);
        let kernels = self.members.iter().flat_map(|at| built.drafts[*at].kernels());
        let bytes = share_bytes(built, kernels, units);
        let fitting = (CACHE / bytes.max(1)).max(1).min((units / 16).max(1));
        let enough = (TASK.saturating_mul(units) / work.max(1)).max(ROWS);
        let fitting = if self.fine { fitting.min(enough) } else { fitting };
        let mut grain = Dim::constant(fitting.max(worth).max(self.least));
        if self.fine {
            // Many rows are few tasks all the same, each of which reads all of the weights.
            grain = grain.larger(&self.units.floor_div(&Dim::constant(16)));
        }
        if self.ahead {
            grain = grain.larger(&Dim::constant(super::ahead::UNCUT));
        }
        let once = Dim::constant(1);
        let steps =
            self.members.iter().map(|at| step(built, &built.drafts[*at], &self.units, &once)).collect();
        Segment { units: self.units, grain, steps, follows: false }
    }

    fn work(&self, built: &Built, draft: &Draft) -> i64 {
        built.estimate(&draft.flops).max(total_elements(built, draft))
    }
}

/// Whether a kernel packs so much that it shares no segment.
fn is_large_pack(built: &Built, draft: &Draft) -> bool {
    matches!(draft.work, Work::Kernel(Kernel::Pack { .. })) && 4 * total_elements(built, draft) >= PACKED
}

/// Elements of all buffers that a kernel touches.
fn total_elements(built: &Built, draft: &Draft) -> i64 {
    let mut buffers: Vec<BufferId> = draft.accesses.iter().map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    buffers.iter().map(|b| built.estimate(&built.buffers[b.index()].elements)).fold(0, i64::saturating_add)
}

/// Bytes that one unit of some kernels touches, all together.
fn share_bytes<'a>(built: &Built, drafts: impl IntoIterator<Item = &'a Draft>, units: i64) -> i64 {
    let accesses = drafts.into_iter().flat_map(|draft| &draft.accesses);
    let mut buffers: Vec<BufferId> = accesses.filter(|a| a.at.is_some()).map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    let bytes = |b: &BufferId| {
        let buffer = &built.buffers[b.index()];
        built.estimate(&buffer.elements).saturating_mul(buffer.dtype.size() as i64)
    };
    buffers.iter().map(bytes).fold(0i64, i64::saturating_add) / units.max(1)
}

fn small(built: &Built, draft: &Draft) -> bool {
    built.estimate(&draft.flops).max(total_elements(built, draft)) <= SMALL
}

fn by_batch(draft: &Draft, batches: &[Symbol]) -> bool {
    draft
        .loops
        .first()
        .is_some_and(|extent| batches.iter().any(|b| extent.exact_div(&Dim::symbol(b.clone())).is_some()))
}

/// The units along which a segment that starts with this kernel is cut.
fn units_of(built: &Built, draft: &Draft, extent: &Dim, batches: &[Symbol]) -> Dim {
    for batch in batches {
        let batch = Dim::symbol(batch.clone());
        if extent.exact_div(&batch).is_some() {
            return batch;
        }
    }
    // Elements of weights: a number of equal parts that other weights may share.
    if let (Some(total), Some(_)) = (extent.as_constant(), draft.as_nest()) {
        for parts in [64, 32, 16, 8] {
            if total % parts == 0 && built.estimate(&draft.space) >= parts * 16 {
                return Dim::constant(parts);
            }
        }
    }
    extent.clone()
}

/// What a buffer's units have shares of.
pub(super) fn frame(built: &Built, buffer: BufferId) -> Frame {
    let (_, offset, moves) = super::resolve(&built.buffers, buffer);
    if offset.is(0) && moves.is_empty() {
        return Frame::Whole;
    }
    Frame::Rows(built.buffers[buffer.index()].elements.clone(), offset, moves)
}

/// The buffer whose storage this one uses.
pub fn root(built: &Built, mut buffer: BufferId) -> BufferId {
    while let Storage::Alias(of) | Storage::Row { of, .. } = built.buffers[buffer.index()].storage {
        buffer = of;
    }
    buffer
}

/// A draft as a step of a segment, which runs so many times.
fn step(built: &Built, draft: &Draft, units: &Dim, times: &Dim) -> Step {
    let kernel = match &draft.work {
        Work::Kernel(kernel) => kernel.clone(),
        Work::Loop(repeat) => {
            let times = times.clone() * repeat.trip.clone();
            let steps = repeat.drafts.iter().map(|inner| step(built, inner, units, &times)).collect();
            let (trip, block, rings) = (repeat.trip.clone(), repeat.block.clone(), repeat.rings.clone());
            return Step::Loop(Loop { trip, reversed: repeat.reversed, block, rings, steps });
        }
    };
    let mut buffers: Vec<BufferId> = draft.accesses.iter().map(|a| a.buffer).collect();
    buffers.sort();
    buffers.dedup();
    let bytes = buffers.iter().fold(Dim::constant(0), |sum, b| {
        let buffer = &built.buffers[b.index()];
        sum + buffer.elements.clone() * Dim::from(buffer.dtype.size())
    });
    // A kernel is only in a segment when the units divide its outermost loop.
    let per_unit = match draft.loops.split_first() {
        Some((first, inner)) if !units.is(1) => {
            first.exact_div(units).unwrap_or_else(|| first.clone()) * super::build::product(inner)
        }
        _ => draft.space.clone(),
    };
    Step::Launch(Box::new(Launch {
        kernel,
        buffers: draft.buffers.clone(),
        per_unit,
        path: draft.path.clone(),
        span: draft.span,
        flops: draft.flops.clone() * times.clone(),
        bytes: bytes * times.clone(),
        epilogue: None,
        prologues: Vec::new(),
    }))
}
