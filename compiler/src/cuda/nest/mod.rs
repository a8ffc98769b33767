//! Loop nests as kernels.
//!
//! The plan says what is computed at each point; here it is decided which thread computes which points. All index spaces are flat: a
//! thread finds its loop variables in the number of its point. There are five forms, chosen from the shape of the nest alone:
//!
//! | form | a point is computed by | when |
//! |---|---|---|
//! | map | one thread, which walks the reduced loops | nothing is reduced, or little: at most [`FEW`] elements, or at most [`SOME`] for many points |
//! | tile | as a map's, behind pieces of what it reads in shared memory | it reads along other loops than it stores along |
//! | row | some lanes of a warp, a warp, or a block | the reduced loops run along memory; several stages that go over the same row are one kernel |
//! | column | groups of threads, each of which walks a part of the rows | the kept loops run along memory |
//! | block | one block, stage by stage | there are several stages, or stores that add up |
//!
//! Small maps that may run side by side are one kernel ([`parts`]).
//!
//! **What this costs.** All of these are bound by memory: a kernel is as good as its lines of memory are used whole and often asked for at
//! once. So neighbouring threads take neighbouring elements: a map's last variable is the one along which most accesses, and above all
//! the stores, move by one ([`map::order`]); a row's lanes walk its elements; a column's threads stand side by side along the row. Where the
//! elements that a thread reads and writes side by side lie evenly, it moves 16 bytes at once ([`width`]). A reduction is cut among as
//! many threads as keep the machine busy: with few points a block for each, with many a warp, with many short ones a part of a warp.
//!
//! **Order.** Which thread adds what follows from the form alone, partial sums are added in one fixed tree, and no atomic operation is used: so
//! the same bits come out every time.

mod block;
mod column;
mod map;
mod parts;
mod point;
mod row;
mod spell;
#[cfg(test)]
mod tests;
mod tile;
pub mod value;

use super::Printed;
use super::print::Subject;
use crate::graph::{DType, Dim};
use crate::plan::Part;
use crate::plan::affine::Affine;
use crate::plan::nest::{Nest, Stage, ValueOp};
use value::{Scope, Writer};

/// Threads of a block.
const THREADS: i64 = 256;
/// A thread walks a reduction over so few elements by itself.
const FEW: i64 = 8;
/// And over so many, when other threads have as much to do.
const SOME: i64 = 64;
/// So many points keep a machine busy with a thread for each.
const MANY: i64 = 16 << 10;
/// A row that is longer than this is work for a whole block.
const LONG: i64 = 1024;
/// A loop of at most so many steps is unrolled.
const UNROLLED: i64 = 16;
/// A longer one whose step makes more accesses than this is not, whatever the compiler would like: enough is on its way, and more would not fit
/// registers.
const BUSY: usize = 5;
/// Bytes that memory moves at once.
const SECTOR: i64 = 32;
/// Bytes that a block moves until its warps wait for each other, where they share sectors.
const TOGETHER: i64 = 16 << 10;
/// With more results than this, a thread computes one point at a time.
const MANY_RESULTS: usize = 8;

/// What a kernel is started with.
#[derive(Clone, Debug)]
struct Start {
    threads: i64,
    blocks: Dim,
}

pub fn lower(subject: &Subject<'_>, nest: &Nest) -> Result<Printed, String> {
    let mut writer = Writer::new(subject);
    let start = match nest.stages.as_slice() {
        stages if nest.row.is_some() => row::print(&mut writer, stages, nest.row.as_ref())?,
        [stage] if stage.stores.iter().all(|s| !s.accumulate) => single(&mut writer, stage)?,
        stages => block::print(&mut writer, nest.space, stages)?,
    };
    Ok(printed(writer, start))
}

/// Nests that touch nothing that another one writes, as one kernel.
pub fn lower_parts(subject: &Subject<'_>, parts: &[Part]) -> Result<Printed, String> {
    let mut writer = Writer::new(subject);
    let start = parts::print(&mut writer, parts)?;
    Ok(printed(writer, start))
}

fn printed(writer: Writer<'_>, start: Start) -> Printed {
    Printed {
        body: writer.lines.finish(),
        parameters: writer.subject.parameters(),
        symbols: writer.symbols.list,
        threads: start.threads as u32,
        shared: 0,
        grid: [start.blocks, Dim::constant(1), Dim::constant(1)],
        libraries: Vec::new(),
        indexed: None,
    }
}

/// A nest of one stage whose points are independent.
fn single(w: &mut Writer<'_>, stage: &Stage) -> Result<Start, String> {
    let points = product(&stage.kept);
    let steps = product(&stage.reduced);
    // A symbol may be anything; all that is known is that it is worth a loop.
    let few = |limit: i64| steps.as_constant().is_some_and(|steps| steps <= limit);
    let many = points.as_constant().is_none_or(|points| points >= MANY);
    let by_row = stage.vector.is_none_or(|v| v >= stage.kept.len());
    if few(FEW) || !by_row && many && few(SOME) && !column::are_uneven(w, stage) {
        return map::print(w, stage, &map::Place::Alone);
    }
    if by_row || stage.kept.is_empty() {
        row::print(w, std::slice::from_ref(stage), None)
    } else {
        column::print(w, stage)
    }
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().cloned().fold(Dim::constant(1), |a, b| a * b)
}

/// Declares loop variables, given by place and extent from the outermost in, from the number `from` of a point.
pub fn unflatten(w: &mut Writer<'_>, from: &str, variables: &[(usize, Dim)]) {
    let mut inner = Dim::constant(1);
    for (at, (variable, extent)) in variables.iter().enumerate().rev() {
        let mut text = from.to_string();
        if !inner.is(1) {
            text = format!("{text} / {}", w.symbols.divisor(&inner));
        }
        if at > 0 {
            text = format!("{text} % {}", w.symbols.divisor(extent));
        }
        w.line(format!("const int i{variable} = {text};"));
        inner = inner * extent.clone();
    }
}

/// How many points along a variable a thread computes side by side: as many as make accesses of 16 bytes, when all that changes
/// along it is read and written in whole packs.
fn width(w: &Writer<'_>, stage: &Stage, variable: usize, extent: &Dim, tail: bool) -> i64 {
    let sizes = accesses(w, stage).filter(|a| a.at.depends_on(variable)).map(|a| a.dtype.size() as i64);
    let Some(least) = sizes.min() else { return 1 };
    // Each point costs registers, and each result of it: all are there before the first one is stored.
    let most = match (stage.stores.len(), stage.values.len()) {
        (stores, _) if stores > MANY_RESULTS => 1,
        (_, values) if values > 48 => 4,
        _ => 8,
    };
    let mut width = (16 / least).min(most);
    while width > 1 {
        let even = |a: &Access<'_>| {
            !a.at.depends_on(variable)
                || w.is_even(a.slot, a.at, variable, width) && !a.guarded_along(stage, variable)
        };
        let divides = extent.exact_div(&Dim::constant(width)).is_some();
        if (divides || tail) && accesses(w, stage).all(|a| even(&a)) {
            return width;
        }
        width /= 2;
    }
    1
}

/// One load or store of a stage.
struct Access<'a> {
    slot: usize,
    at: &'a Affine,
    dtype: DType,
    when: Option<crate::plan::nest::ValueId>,
    is_store: bool,
}

impl Access<'_> {
    /// Is it read or not as a variable says?
    fn guarded_along(&self, stage: &Stage, variable: usize) -> bool {
        self.when.is_some_and(|when| value::dependent(stage, &|v| v == variable)[when.index()])
    }
}

fn accesses<'a>(w: &Writer<'a>, stage: &'a Stage) -> impl Iterator<Item = Access<'a>> {
    let subject = w.subject;
    let loads = stage.values.iter().filter_map(move |value| match &value.op {
        ValueOp::Load { buffer, at, when } if subject.is_slot(*buffer) => {
            let slot = subject.slot(*buffer);
            Some(Access { slot, at, dtype: subject.dtype(slot), when: *when, is_store: false })
        }
        _ => None,
    });
    let stores = stage.stores.iter().filter(|store| subject.is_slot(store.buffer)).map(move |store| {
        let slot = subject.slot(store.buffer);
        Access { slot, at: &store.at, dtype: subject.dtype(slot), when: None, is_store: true }
    });
    loads.chain(stores)
}

/// Walks reduced loops one inside of the other, and does what a stage does inside of them all.
fn walk(w: &mut Writer<'_>, scope: &mut Scope<'_>) -> Result<(), String> {
    let stage = scope.stage;
    let steps = product(&stage.reduced).as_constant();
    for (at, extent) in stage.reduced.iter().enumerate() {
        let variable = stage.kept.len() + at;
        if steps.is_some_and(|steps| steps <= UNROLLED) {
            w.line("#pragma unroll");
        } else if accesses(w, stage).count() > BUSY {
            w.line("#pragma unroll 1");
        }
        let extent = w.dim(extent);
        w.open(format!("for (int i{variable} = 0; i{variable} < {extent}; ++i{variable})"));
    }
    scope.point(w, true)?;
    stage.reduced.iter().for_each(|_| w.close());
    Ok(())
}
