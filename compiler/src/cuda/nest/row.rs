//! Rows: the lanes of a warp, or the threads of a block, walk the reduced loops of a point side by side.
//!
//! Where the rows are columns ([`crate::plan`]), neighbouring threads have neighbouring columns, and groups of them walk these.
//!
//! Several stages may go over the same row. What an earlier one reduced all threads know; elements that a later stage reads again, from memory or
//! from what an earlier one made, each thread keeps in registers, where the length of the row is known; as many of them as fit.

use super::spell::{is_half, register};
use super::value::{Axis, Held, Scope, Writer, twin};
use super::{FEW, LONG, MANY, SOME, Start, THREADS, TOGETHER, accesses, product, unflatten, width};
use crate::cuda::names::{identifier, unique};
use crate::cuda::print::c_type;
use crate::graph::{DType, Dim};
use crate::plan::affine::Affine;
use crate::plan::nest::{How, Row, Stage, ValueId, ValueOp};
use crate::plan::{self, BufferId, Columns};
use std::collections::{BTreeMap, HashSet};

/// A thread keeps at most so many elements of its row, and of one that is kept in part.
const KEPT: i64 = 64;
const PART: i64 = 80;
/// Threads of a block that has one row: as many as it takes to keep it.
const MOST: i64 = 512;
/// Rows of so many elements are whole lines of memory.
const LINE: i64 = 32;
/// From so many columns on, blocks of whole lines of memory keep a machine busy.
const MANY_COLUMNS: i64 = 4096;

/// How the threads walk a row.
struct Walk {
    /// The first variable of the row, and their extents.
    first: usize,
    extents: Vec<Dim>,
    /// Elements that a thread takes side by side, and threads.
    wide: i64,
    lanes: i64,
    /// Columns that a block computes together; for rows 1. And into how many parts those are cut that lie side by side, where blocks have
    /// no columns of several.
    columns: i64,
    parts: Option<i64>,
    /// How often each thread takes some that it keeps, where elements are kept.
    items: Option<i64>,
    /// The elements that it keeps: those that several stages read from memory, and those that a stage makes.
    again: Vec<(BufferId, Affine)>,
    made: Vec<BufferId>,
}

/// What a row is kept in.
#[derive(Default)]
struct Kept {
    /// By buffer and place: elements that several stages read.
    elements: Vec<(BufferId, Affine, String)>,
    /// What is one for each row.
    results: BTreeMap<BufferId, String>,
    /// Elements that a stage makes.
    made: BTreeMap<BufferId, String>,
}

/// What earlier stages have done.
#[derive(Default)]
struct SoFar {
    /// How often the row was walked.
    walks: usize,
    /// What of its elements is kept already.
    loaded: HashSet<String>,
}

pub fn print(w: &mut Writer<'_>, stages: &[Stage], row: Option<&Row>) -> Result<Start, String> {
    let Some(longest) = stages.iter().max_by_key(|stage| stage.reduced.len()) else {
        return Err("a nest without stages".into());
    };
    let (points, steps) = (product(&longest.kept), product(&longest.reduced));
    let passed = row.map_or(&[][..], |row| &row.passed);
    let walk = walk(w, longest, stages, passed);
    let (lanes, columns) = (walk.lanes, walk.columns);
    let whole = lanes > 32;
    let kept = order(longest, stages, columns);
    let mut blocks = points.ceil_div(&Dim::constant(columns));
    if let Some(parts) = walk.parts {
        blocks = beside(w, &kept, columns, parts);
    } else if columns > 1 {
        w.line(format!("const int lane = threadIdx.x / {columns};"));
        w.line(format!("const unsigned point = blockIdx.x * {columns} + threadIdx.x % {columns};"));
        if lanes == 1 {
            let total = w.dim(&points);
            w.line(format!("if (point >= {total}) return;"));
        }
        unflatten(w, "point", &kept);
    } else if whole {
        w.line("const int lane = threadIdx.x;");
        unflatten(w, "blockIdx.x", &kept);
    } else {
        w.line(format!("const int lane = threadIdx.x % {lanes};"));
        if !kept.is_empty() {
            let each = THREADS / lanes;
            w.line(format!("const unsigned point = blockIdx.x * {each} + threadIdx.x / {lanes};"));
            let total = w.dim(&points);
            w.line(format!("if (point >= {total}) return;"));
            unflatten(w, "point", &kept);
        }
    }
    let total = w.dim(&steps);
    let held = declare(w, stages, &walk);
    let mut so_far = SoFar::default();
    let mut path = None;
    for (at, stage) in stages.iter().enumerate() {
        if let Some(here) =
            row.and_then(|row| row.paths.get(at)).filter(|here| !here.is_empty() && path != Some(*here))
        {
            w.line(format!("// {here}"));
            path = Some(here);
        }
        if stages.len() > 1 {
            w.open("");
        }
        print_stage(w, stage, &walk, &total, &held, passed, &mut so_far)?;
        if stages.len() > 1 {
            w.close();
        }
    }
    if columns > 1 {
        return Ok(Start { threads: lanes * columns, blocks });
    }
    let blocks = match (whole, kept.is_empty()) {
        (_, true) => Dim::constant(1),
        (true, false) => points,
        (false, false) => points.ceil_div(&Dim::constant(THREADS / lanes)),
    };
    let threads = if !whole && kept.is_empty() { lanes } else { lanes.max(THREADS) };
    Ok(Start { threads, blocks })
}

/// Says which of the columns that lie side by side a thread has, and in how many blocks these all are.
fn beside(w: &mut Writer<'_>, kept: &[(usize, Dim)], columns: i64, parts: i64) -> Dim {
    let (outer, last) = kept.split_at(kept.len() - 1);
    w.line(format!("const int lane = threadIdx.x / {columns};"));
    for (variable, extent) in last {
        let part = match (parts, outer.is_empty()) {
            (1, _) => String::new(),
            (_, true) => format!("{columns} * blockIdx.x + "),
            _ => format!("{columns} * (blockIdx.x % {parts}) + "),
        };
        w.line(format!("const int i{variable} = {part}threadIdx.x % {columns};"));
        if !extent.is(columns * parts) {
            let extent = w.dim(extent);
            w.line(format!("if (i{variable} >= {extent}) return;"));
        }
    }
    unflatten(w, &if parts > 1 { format!("(blockIdx.x / {parts})") } else { "blockIdx.x".into() }, outer);
    product(&outer.iter().map(|(_, extent)| extent.clone()).collect::<Vec<_>>()) * Dim::constant(parts)
}

fn print_stage(
    w: &mut Writer<'_>,
    stage: &Stage,
    walk: &Walk,
    total: &str,
    held: &Kept,
    passed: &[BufferId],
    so_far: &mut SoFar,
) -> Result<(), String> {
    let mut scope = Scope::new(stage);
    let is_stored = |buffer: &BufferId| !passed.contains(buffer);
    for (at, value) in stage.values.iter().enumerate() {
        if let ValueOp::Load { buffer, .. } = &value.op
            && let Some(name) = held.results.get(buffer)
        {
            let name = if is_half(value.dtype) { format!("widen({name})") } else { name.clone() };
            scope.give(ValueId(at as u32), &name);
        }
    }
    if !stage.reduced.is_empty() {
        scope.begin(w);
        scope.hoist(w)?;
        let axis = (walk.wide > 1).then_some(Axis {
            variable: walk.first + walk.extents.len() - 1,
            width: walk.wide,
            left: None,
        });
        let step = if walk.extents.len() > 1 { "step".into() } else { format!("i{}", walk.first) };
        scope.step = Some(step.clone());
        scope = scope.along(axis);
        let mut beyond = scope.clone();
        for (buffer, name) in &held.made {
            let place = item(walk, name);
            scope.held.insert(*buffer, Held { place, stored: is_stored(buffer) });
        }
        // What is not kept is read again from a cache, from where the walk before has ended; all threads read it last at first.
        let first = so_far.walks == 0;
        for kept in [first, !first] {
            if kept {
                open_row(w, stage, walk, &step, total);
                keep(w, &mut scope, walk, held, &mut so_far.loaded);
                scope.point(w, true)?;
                close_row(w, walk);
                if first && walk.left().is_some() && walk.lanes > 32 {
                    w.line("__syncthreads();");
                }
            } else if let Some(left) = walk.left() {
                open_left(w, walk, &step, left, so_far.walks % 2 == 1);
                beyond.point(w, true)?;
                close_left(w, walk, left);
            }
        }
        so_far.walks += 1;
        match (walk.columns, walk.lanes) {
            (1, lanes) if lanes > 32 => gather(w, stage, "block", &lanes.to_string(), ""),
            (1, lanes) => gather(w, stage, "lanes", &lanes.to_string(), ""),
            (_, 1) => {}
            (columns, lanes) => gather(w, stage, "columns", &format!("{columns}, {lanes}"), ""),
        }
        scope.axis = None;
    }
    let results: Vec<_> = stage.stores.iter().filter(|store| !store.inner).collect();
    let read: Vec<_> = results.iter().filter(|store| held.results.contains_key(&store.buffer)).collect();
    if !read.is_empty() {
        // All threads need these.
        let values: Vec<_> = read.iter().map(|store| store.value).collect();
        scope.section(w, &values, false)?;
        for store in read {
            let (value, name) = (scope.stored(w, store, false)?, &held.results[&store.buffer]);
            w.line(format!("{name} = {value};"));
            let wide = is_half(stage.value(store.value).dtype);
            scope.give(store.value, &if wide { format!("widen({name})") } else { name.clone() });
        }
    }
    let stored: Vec<_> = results.into_iter().filter(|store| is_stored(&store.buffer)).collect();
    if !stored.is_empty() {
        w.open("if (lane == 0)");
        let values: Vec<_> = stored.iter().map(|store| store.value).collect();
        scope.section(w, &values, values.len() > 1)?;
        for store in stored {
            scope.store(w, store, false)?;
        }
        w.close();
    }
    Ok(())
}

/// Opens the loop of a thread over its elements of the row, or over those of them that it keeps.
fn open_row(w: &mut Writer<'_>, stage: &Stage, walk: &Walk, step: &str, total: &str) {
    let (first, by) = (walk.first_of_lane(), walk.wide * walk.lanes);
    let together = walk.together(w, stage);
    match walk.turns() {
        None => w.open(format!("for (int {step} = {first}; {step} < {total}; {step} += {by})")),
        Some(1) => w.line(format!("const int {step} = {first};")),
        Some(turns) => {
            w.line(if walk.items.is_some() { "#pragma unroll" } else { "#pragma unroll 1" });
            w.open(format!("for (int item = 0; item < {turns}; ++item)"));
            if let Some(together) = together {
                w.line(format!("if (item % {together} == 0) __syncthreads();"));
            }
            w.line(format!("const int {step} = {first} + {by} * item;"));
        }
    }
    if walk.turns().is_some() && !walk.is_full() {
        w.open(format!("if ({step} < {total})"));
    }
    walk.unflatten(w);
}

/// Opens that over the elements from `from` on, which it does not keep; from the last one on, if `back`.
fn open_left(w: &mut Writer<'_>, walk: &Walk, step: &str, from: i64, back: bool) {
    let (first, by) = (walk.first_of_lane(), walk.wide * walk.lanes);
    let left = walk.length().unwrap_or(from) - from;
    let turns = (left + by - 1) / by;
    if back {
        w.open(format!("for (int turn = {}; turn >= 0; --turn)", turns - 1));
    } else {
        w.open(format!("for (int turn = 0; turn < {turns}; ++turn)"));
    }
    w.line(format!("const int {step} = {from} + {first} + {by} * turn;"));
    if left % by != 0 {
        w.open(format!("if ({step} < {})", from + left));
    }
    walk.unflatten(w);
}

fn close_left(w: &mut Writer<'_>, walk: &Walk, from: i64) {
    let left = walk.length().unwrap_or(from) - from;
    if left % (walk.wide * walk.lanes) != 0 {
        w.close();
    }
    w.close();
}

fn close_row(w: &mut Writer<'_>, walk: &Walk) {
    if walk.turns().is_some() && !walk.is_full() {
        w.close();
    }
    if walk.turns() != Some(1) {
        w.close();
    }
}

impl Walk {
    fn length(&self) -> Option<i64> {
        product(&self.extents).as_constant()
    }

    /// How many elements of a row its threads have room for.
    fn kept(&self) -> Option<i64> {
        self.items.map(|items| items * self.lanes * self.wide)
    }

    /// How often each thread takes some, where all threads do so equally often: those of columns wait for each other.
    fn turns(&self) -> Option<i64> {
        self.items.or_else(|| self.parts.and_then(|_| self.each(self.lanes)))
    }

    /// Turns after which threads wait for each other, where rows begin in the midst of sectors, so that what two warps read is in a cache.
    fn together(&self, w: &Writer<'_>, stage: &Stage) -> Option<i64> {
        let along = |v: usize| v >= self.first;
        let moved = accesses(w, stage).filter(|access| access.at.terms.iter().any(|(v, _)| along(*v)));
        let bytes: i64 = moved.map(|access| access.dtype.size() as i64).sum();
        let turns = (TOGETHER / (bytes * self.columns * self.lanes).max(1)).max(1);
        (self.parts.is_some() && self.turns().is_some_and(|all| all > turns)).then_some(turns)
    }

    /// Is there an element for each turn of all threads?
    fn is_full(&self) -> bool {
        let taken = self.turns().map(|turns| turns * self.lanes * self.wide);
        taken.zip(self.length()).is_some_and(|(taken, length)| taken <= length)
    }

    /// The first element that is not kept, if some are.
    fn left(&self) -> Option<i64> {
        self.kept().filter(|kept| self.length().is_some_and(|length| *kept < length))
    }

    /// The first of the elements that a thread takes at once.
    fn first_of_lane(&self) -> String {
        if self.wide > 1 { format!("{} * lane", self.wide) } else { "lane".into() }
    }

    /// Elements of a thread with so many lanes.
    fn each(&self, lanes: i64) -> Option<i64> {
        Some((self.length()? + lanes * self.wide - 1) / (lanes * self.wide) * self.wide)
    }

    /// Declares the loop variables of the current point.
    fn unflatten(&self, w: &mut Writer<'_>) {
        if self.extents.len() > 1 {
            let reduced: Vec<(usize, Dim)> =
                self.extents.iter().cloned().enumerate().map(|(at, e)| (self.first + at, e)).collect();
            unflatten(w, "step", &reduced);
        }
    }
}

/// What a thread keeps at the current point.
fn item(walk: &Walk, name: &str) -> String {
    if walk.items.is_some_and(|items| items > 1) { format!("{name}[item]") } else { name.into() }
}

/// Loads what is kept and not there yet, and says what is.
fn keep(w: &mut Writer<'_>, scope: &mut Scope<'_>, walk: &Walk, held: &Kept, loaded: &mut HashSet<String>) {
    let stage = scope.stage;
    let pack = if walk.wide > 1 { "[k]" } else { "" };
    for (at, value) in stage.values.iter().enumerate() {
        let ValueOp::Load { buffer, at: address, .. } = &value.op else { continue };
        let element = held.elements.iter().find(|(b, a, _)| b == buffer && a == address);
        let Some(name) = held.made.get(buffer).or_else(|| element.map(|(_, _, name)| name)) else { continue };
        let place = item(walk, name);
        if element.is_some() && !held.made.contains_key(buffer) && loaded.insert(name.clone()) {
            let from = w.subject.name(w.subject.slot(*buffer));
            let address = scope.affine(w, address, false);
            w.line(match walk.wide {
                1 => format!("{place} = {from}[{}];", address.text),
                wide => format!("{place} = load<{wide}>({from} + {});", address.at(super::spell::Level::Sum)),
            });
        }
        let name = format!("{place}{pack}");
        let name = if is_half(value.dtype) { format!("widen({name})") } else { name };
        scope.give(ValueId(at as u32), &name);
    }
}

/// The elements of a row that several stages read from memory, those that most stages read first. What is one for all that the row's last loop goes
/// through, variable `last`, is no such: a thread has as many elements at once as it takes side by side.
fn read_again(stages: &[Stage], last: usize) -> Vec<(BufferId, Affine)> {
    let stored: Vec<BufferId> =
        stages.iter().flat_map(|stage| stage.stores.iter().map(|store| store.buffer)).collect();
    let mut count: Vec<((BufferId, Affine), usize)> = Vec::new();
    for stage in stages {
        let mut seen = HashSet::new();
        for value in &stage.values {
            let ValueOp::Load { buffer, at, when: None } = &value.op else { continue };
            if !at.depends_on(last) || stored.contains(buffer) || !seen.insert((*buffer, at)) {
                continue;
            }
            match count.iter_mut().find(|((b, a), _)| b == buffer && a == at) {
                Some((_, count)) => *count += 1,
                None => count.push(((*buffer, at.clone()), 1)),
            }
        }
    }
    count.retain(|(_, count)| *count > 1);
    count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    count.into_iter().map(|(read, _)| read).collect()
}

/// The buffers of these stages whose elements, or results (`inner`: false), a later stage reads.
fn made(stages: &[Stage], inner: bool) -> Vec<BufferId> {
    let read = |buffer: BufferId| stages.iter().any(|stage| stage.reads().any(|(other, _)| other == buffer));
    let stores = stages.iter().flat_map(|stage| &stage.stores).filter(|store| store.inner == inner);
    stores.map(|store| store.buffer).filter(|buffer| read(*buffer)).collect()
}

/// How many of these are kept at once: what is read only later takes no place yet, and what has been read for the last time none any more.
fn at_once(stages: &[Stage], again: &[(BufferId, Affine)], made: &[BufferId]) -> i64 {
    let reads = |at: usize, buffer: BufferId| stages[at].reads().any(|(other, _)| other == buffer);
    let stores = |at: usize, buffer: BufferId| stages[at].stores.iter().any(|store| store.buffer == buffer);
    let is_kept = |at: usize, buffer: BufferId| {
        (0..=at).any(|at| reads(at, buffer) || stores(at, buffer))
            && (at + 1..stages.len()).any(|later| reads(later, buffer))
    };
    let all = || again.iter().map(|(buffer, _)| *buffer).chain(made.iter().copied());
    let counts = (0..stages.len()).map(|at| all().filter(|buffer| is_kept(at, *buffer)).count());
    counts.max().unwrap_or(0).max(1) as i64
}

/// How a row is walked, and what of it is kept.
fn walk(w: &Writer<'_>, longest: &Stage, stages: &[Stage], passed: &[BufferId]) -> Walk {
    let (points, steps) = (product(&longest.kept), product(&longest.reduced));
    let (first, extents) = (longest.kept.len(), longest.reduced.clone());
    let last = first + extents.len() - 1;
    let along = |stage: &&Stage| accesses(w, stage).any(|access| access.at.depends_on(last));
    let walked = stages.iter().filter(|stage| !stage.reduced.is_empty());
    let widths = walked.filter(along).map(|stage| width(w, stage, last, &extents[extents.len() - 1], false));
    // What passes in registers alone comes first.
    let (mut made, others): (Vec<BufferId>, Vec<BufferId>) =
        made(stages, true).into_iter().partition(|buffer| passed.contains(buffer));
    let must = made.len();
    made.extend(others);
    let mut again = read_again(stages, last);
    let mut rows = at_once(stages, &again, &made);
    let (columns, parts) = columns(stages, longest, &points, rows);
    let wide = if columns > 1 { 1 } else { widths.min().unwrap_or(1) };
    let lanes = match steps.as_constant() {
        _ if columns == 1 => lanes(&points, &steps, wide),
        Some(steps) => (steps.max(1) as u64).next_power_of_two().min((THREADS / columns) as u64) as i64,
        None => MOST / columns,
    };
    let mut walk = Walk {
        first,
        extents,
        wide,
        // A block has whole warps.
        lanes: lanes.max(if columns > 1 && parts.is_none() { 32 / columns } else { 1 }),
        columns,
        parts,
        items: None,
        again: Vec::new(),
        made: Vec::new(),
    };
    if stages.len() < 2 || steps.as_constant().is_none() {
        return walk;
    }
    let fits = |walk: &Walk, lanes: i64, rows: i64| walk.each(lanes).is_some_and(|each| each * rows <= KEPT);
    for (threads, rows) in [(THREADS, (made.len() + again.len()) as i64), (MOST, rows)] {
        let lanes = threads / columns;
        if walk.lanes < lanes
            && columns < THREADS
            && !fits(&walk, walk.lanes, rows)
            && (fits(&walk, lanes, rows) || threads == MOST && walk.lanes == THREADS / columns)
        {
            walk.lanes = lanes;
        }
    }
    while rows > 1 && made.len() + again.len() > must && !fits(&walk, walk.lanes, rows) {
        if again.pop().is_none() {
            made.pop();
        }
        rows = at_once(stages, &again, &made);
    }
    if made.len() + again.len() > 0 {
        // What passes in registers alone is all there, and fits.
        let most = match (must, rows) {
            (0, 1) => PART,
            (0, _) => KEPT / rows,
            _ => i64::MAX,
        };
        walk.items = walk.each(walk.lanes).map(|each| each.min(most) / walk.wide);
    }
    (walk.again, walk.made) = (again, made);
    walk
}

/// The loops over rows, of which the last is the one that neighbouring rows differ in. What many rows read alike is read by one after another:
/// then it is in a cache.
fn order(longest: &Stage, stages: &[Stage], columns: i64) -> Vec<(usize, Dim)> {
    let mut kept: Vec<(usize, Dim)> = longest.kept.iter().cloned().enumerate().collect();
    let whole = product(&longest.reduced).as_constant().is_none_or(|steps| steps >= LINE);
    if columns > 1 || !whole || kept.len() < 2 {
        return kept;
    }
    let first = kept.len();
    let maps: Vec<&Affine> = stages.iter().flat_map(Stage::reads).filter_map(|(_, at)| at).collect();
    let along = |at: &Affine| at.terms.iter().any(|(variable, _)| *variable >= first);
    // A part of a row's size for each step of some loops, and the same for all steps of another one.
    let again = |variable: usize| {
        let other = |at: &Affine| (0..first).any(|v| v != variable && at.depends_on(v));
        maps.iter().any(|at| along(at) && other(at) && !at.depends_on(variable))
    };
    if let Some(place) = (0..first).find(|variable| again(*variable)) {
        let same = kept.remove(place);
        kept.push(same);
    }
    kept
}

/// How many columns a block computes together, of rows 1; and into how many parts those are cut that lie side by side, where they must be.
/// `rows`: how many rows are kept at once.
fn columns(stages: &[Stage], longest: &Stage, points: &Dim, rows: i64) -> (i64, Option<i64>) {
    if stages.len() < 2 || !plan::are_columns(stages.iter()) {
        return (1, None);
    }
    let (points, steps) = (points.as_constant(), product(&longest.reduced).as_constant());
    // A thread for each, where they are short, or there are many.
    let many = points.is_none_or(|points| points >= MANY);
    let short = if many { SOME } else { FEW };
    if steps.is_some_and(|steps| steps <= short && steps * rows <= KEPT) {
        return (THREADS, None);
    }
    // Few columns are shared out among as many blocks as can be.
    let few = points.is_some_and(|points| points < MANY_COLUMNS);
    match Columns::of(&longest.kept) {
        Some(Columns::Evenly(_)) if few => (plan::COLUMNS.0, None),
        Some(Columns::Evenly(columns)) => (columns, None),
        Some(Columns::Beside { columns, parts }) if columns > 1 => (columns, Some(parts)),
        _ => (1, None),
    }
}

/// Declares what is kept, of names that tell what it is.
fn declare(w: &mut Writer<'_>, stages: &[Stage], walk: &Walk) -> Kept {
    let mut kept = Kept::default();
    let slots = 0..w.subject.launch.buffers.len();
    let symbols = w.subject.plan.symbols.iter().map(|symbol| identifier(symbol));
    let mut taken: HashSet<String> =
        slots.map(|slot| w.subject.name(slot).to_owned()).chain(symbols).collect();
    let mut unique = |wanted: String| unique(&mut taken, wanted);
    if stages.len() < 2 {
        return kept;
    }
    let plan = w.subject.plan;
    let of = |buffer: BufferId| -> (&str, DType) {
        let buffer = &plan.buffers[buffer.index()];
        (&buffer.name, buffer.dtype)
    };
    let mut rows = Vec::new();
    if walk.items.is_some() {
        for (buffer, at) in &walk.again {
            let name = unique(identifier(&format!("row_{}", short(of(*buffer).0))));
            rows.push((name.clone(), of(*buffer).1));
            kept.elements.push((*buffer, at.clone(), name));
        }
        for buffer in &walk.made {
            let name = unique(identifier(&format!("row_{}", short(of(*buffer).0))));
            rows.push((name.clone(), of(*buffer).1));
            kept.made.insert(*buffer, name);
        }
    }
    for (name, dtype) in rows {
        let kind = c_type(dtype);
        let kind = if walk.wide > 1 { format!("pack<{kind}, {}>", walk.wide) } else { kind.into() };
        let many = walk.items.filter(|items| *items > 1).map_or(String::new(), |items| format!("[{items}]"));
        w.line(format!("{kind} {name}{many};"));
    }
    for buffer in made(stages, false) {
        let (name, dtype) = of(buffer);
        let name = unique(identifier(&format!("{}_of_row", short(name))));
        let kind = if is_half(dtype) { c_type(dtype) } else { register(dtype) };
        w.line(format!("{kind} {name};"));
        kept.results.insert(buffer, name);
    }
    kept
}

/// The last part of a path that is a name: `reduce_sum_2` of `%Gpt.norm.reduce_sum_2`.
fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let from = parts.iter().rposition(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
    parts[from.unwrap_or(0)..].join(".")
}

/// The results of all threads together, which all of them then have. `place`: the number of a thread among columns, where that is another than
/// its own.
pub fn gather(w: &mut Writer<'_>, stage: &Stage, over: &str, sizes: &str, place: &str) {
    let place = if place.is_empty() { String::new() } else { format!(", {place}") };
    for (at, reduce) in stage.reductions.iter().enumerate() {
        if twin(stage, reduce).is_some() {
            continue;
        }
        let functor = super::spell::functor(reduce.how);
        w.line(match reduce.how {
            How::Fold(_) => format!("r{at} = fold_{over}<{functor}, {sizes}>(r{at}{place});"),
            How::Arg { .. } => format!("arg_{over}<{functor}, {sizes}>(r{at}, t{at}{place});"),
        });
    }
}

/// How many threads walk a row: a part of a warp for short rows, a warp for many rows, a block for long ones or few.
fn lanes(points: &Dim, steps: &Dim, wide: i64) -> i64 {
    let few = points.as_constant().is_some_and(|points| points < 64);
    match steps.as_constant() {
        Some(steps) if steps > LONG => THREADS,
        Some(steps) => [1, 2, 4, 8, 16].into_iter().find(|lanes| lanes * wide >= steps).unwrap_or(32),
        None if few => THREADS,
        None => 32,
    }
}
