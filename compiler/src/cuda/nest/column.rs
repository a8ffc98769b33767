//! Columns: threads side by side along the kept loops walk the reduced ones, each group of threads a part of them.
//!
//! A block has as many columns as make a line of memory. Where fewer lie side by side, and those of the next step behind them (the colours of a
//! picture's pixels), it has all of these, and its threads stand along steps and columns alike, so that what they read at once is one piece of
//! memory. They are as many as make whole steps and whole sectors: then each stays with its column, and where the first of them begins with
//! a sector, so does every warp. Which sector a picture begins in is asked when the kernel runs.
//!
//! Where longer rows begin in the midst of a sector, what is read at the ends of a block's columns is read by its neighbours too. So a block has more
//! of them, or all, and its warps stay together: what two of them read is still in a cache when the second one comes.

use super::row::gather;
use super::spell::Level;
use super::value::{Scope, Writer};
use super::{SECTOR, Start, THREADS, TOGETHER, accesses, map, product, unflatten};
use crate::graph::Dim;
use crate::plan::affine::Affine;
use crate::plan::nest::Stage;

/// Columns of a block: as many as make whole lines of memory.
const COLUMNS: i64 = 32;
/// Elements that are worth a thread.
const EACH: i64 = 4;
/// Bytes of a row that begins anywhere in a sector: of so many the ends weigh little.
const UNEVEN: i64 = 512;
/// Threads of a block where blocks are fewer than so many.
const MOST: i64 = 512;
const FEW_BLOCKS: i64 = 64;

/// How the threads of a block stand.
struct Block {
    columns: i64,
    threads: i64,
    blocks: Dim,
    /// Who of them has columns, where some may have none.
    there: Option<String>,
    /// The number of a thread in the order of what they read, where that is another than its own.
    place: &'static str,
    /// Steps after which warps wait for each other.
    together: Option<i64>,
}

pub fn print(w: &mut Writer<'_>, stage: &Stage) -> Result<Start, String> {
    let order = map::order(w, stage);
    let block = if let Some(narrow) = Narrow::of(w, stage, &order) {
        narrow.print(w, stage, &order)
    } else if let Some(uneven) = Uneven::of(w, stage, &order) {
        uneven.print(w, stage, &order)
    } else {
        lines(w, stage, &order)
    };
    let Block { columns, threads, .. } = block;
    let groups = threads / columns;
    let mut scope = Scope::new(stage);
    scope.begin(w);
    if let Some(there) = &block.there {
        w.open(format!("if ({there})"));
    }
    let outside = scope.clone();
    scope.hoist(w)?;
    let name = if let [_] = stage.reduced[..] { format!("i{}", stage.kept.len()) } else { "step".into() };
    let steps = w.dim(&product(&stage.reduced));
    match block.together {
        Some(together) => {
            let many = together * groups;
            w.open(format!("for (int first = 0; first < {steps}; first += {many})"));
            w.line("__syncthreads();");
            let end = format!("min(first + {many}, {steps})");
            w.open(format!("for (int {name} = first + group; {name} < {end}; {name} += {groups})"));
        }
        None => w.open(format!("for (int {name} = group; {name} < {steps}; {name} += {groups})")),
    }
    if stage.reduced.len() > 1 {
        let reduced: Vec<(usize, Dim)> =
            stage.reduced.iter().cloned().enumerate().map(|(at, e)| (stage.kept.len() + at, e)).collect();
        unflatten(w, "step", &reduced);
    }
    scope.step = Some(name);
    scope.point(w, true)?;
    w.close();
    if block.together.is_some() || block.there.is_some() {
        w.close();
    }
    gather(w, stage, "columns", &format!("{columns}, {groups}"), block.place);
    if stage.stores.iter().any(|s| !s.inner) {
        let mut scope = outside;
        let there = block.there.map_or(String::new(), |there| format!(" && {there}"));
        w.open(format!("if (group == 0{there})"));
        scope.point(w, false)?;
        w.close();
    }
    Ok(Start { threads, blocks: block.blocks })
}

/// Do rows of at least as many columns as make a line begin in the midst of sectors?
pub fn are_uneven(w: &Writer<'_>, stage: &Stage) -> bool {
    let order = map::order(w, stage);
    let line = |v: &usize| stage.kept[*v].as_constant().is_none_or(|columns| columns >= COLUMNS);
    order.last().is_some_and(line) && Uneven::of(w, stage, &order).is_some()
}

/// Blocks of as many columns as make a line, of all columns one after another.
fn lines(w: &mut Writer<'_>, stage: &Stage, order: &[usize]) -> Block {
    let all = product(&stage.kept);
    let columns = match all.as_constant() {
        Some(count) => [1, 2, 4, 8, 16].into_iter().find(|columns| *columns >= count).unwrap_or(COLUMNS),
        None => COLUMNS,
    };
    w.line(format!("const unsigned column = blockIdx.x * {columns} + threadIdx.x % {columns};"));
    w.line(format!("const int group = threadIdx.x / {columns};"));
    let kept: Vec<(usize, Dim)> = order.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
    unflatten(w, "column", &kept);
    let there = Some(format!("column < {}", w.dim(&all)));
    let blocks = all.ceil_div(&Dim::constant(columns));
    Block { columns, threads: THREADS, blocks, there, place: "", together: None }
}

/// Fewer columns than make a line, and the next step's behind them.
struct Narrow<'a> {
    columns: i64,
    threads: i64,
    /// What is read so, of the smallest elements: its slot and map.
    read: (usize, &'a Affine),
    sector: i64,
}

impl<'a> Narrow<'a> {
    fn of(w: &Writer<'a>, stage: &'a Stage, order: &[usize]) -> Option<Narrow<'a>> {
        let last = *order.last()?;
        let columns = stage.kept[last].as_constant().filter(|columns| (1..COLUMNS).contains(columns))?;
        let step = stage.kept.len() + stage.reduced.iter().rposition(|extent| !extent.is(1))?;
        let behind = |at: &Affine| at.coefficient(last).is(1) && at.coefficient(step).is(columns);
        let read = accesses(w, stage).filter(|access| behind(access.at)).min_by_key(|a| a.dtype.size())?;
        let sector = SECTOR / read.dtype.size() as i64;
        let least = columns * sector / gcd(columns, sector);
        let most = (THREADS / least).max(1);
        // Short columns keep fewer threads busy.
        let wanted = |steps: i64| (steps * columns / (least * EACH)).clamp(1, most);
        let threads = least * product(&stage.reduced).as_constant().map_or(most, wanted);
        Some(Narrow { columns, threads, read: (read.slot, read.at), sector })
    }

    fn print(&self, w: &mut Writer<'_>, stage: &Stage, order: &[usize]) -> Block {
        let Narrow { columns, threads, read: (slot, at), sector } = *self;
        let (last, outer) = order.split_last().unwrap_or((&0, &[]));
        let kept: Vec<(usize, Dim)> = outer.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
        unflatten(w, "blockIdx.x", &kept);
        // Where the block's first element is.
        let outside =
            |v: usize| if outer.contains(&v) { Affine::variable(v) } else { Affine::constant(0i64) };
        let first = at.substitute(&outside);
        let place = if w.is_even(slot, &first.clone().plus(&Affine::variable(*last)), *last, sector) {
            ""
        } else {
            let (from, first) = (w.subject.name(slot), Scope::new(stage).affine(w, &first, false));
            w.line(format!("const int before = before_in_sector({from} + {});", first.at(Level::Sum)));
            w.line(format!("const int place = (threadIdx.x + {threads} - before) % {threads};"));
            "place"
        };
        let thread = if place.is_empty() { "threadIdx.x" } else { place };
        w.line(format!("const int i{last} = {thread} % {columns}, group = {thread} / {columns};"));
        let blocks = product(&kept.into_iter().map(|(_, extent)| extent).collect::<Vec<_>>());
        Block { columns, threads, blocks, there: None, place, together: None }
    }
}

/// Rows that begin anywhere in a sector: a block has all of their columns, or so many that the ends weigh little.
struct Uneven {
    columns: i64,
    groups: i64,
    /// Blocks of a row, if there are several.
    across: Option<Dim>,
    together: i64,
}

impl Uneven {
    fn of(w: &Writer<'_>, stage: &Stage, order: &[usize]) -> Option<Uneven> {
        let last = *order.last()?;
        let sector = |size: usize| (SECTOR / size as i64).max(1);
        let rows = || accesses(w, stage).filter(|a| a.at.coefficient(last).is(1) && !a.is_store);
        let uneven = rows().filter(|a| !w.is_even(a.slot, a.at, last, sector(a.dtype.size())));
        let least = uneven.map(|access| access.dtype.size() as i64).min()?;
        let most = UNEVEN / least;
        let (columns, across) = match stage.kept[last].as_constant() {
            Some(all) if all <= most => (all, None),
            Some(all) => {
                let blocks = (all + most - 1) / most;
                let columns = (all + blocks - 1) / blocks;
                ((columns + 31) / 32 * 32, Some(Dim::constant(blocks)))
            }
            None => (most, Some(stage.kept[last].ceil_div(&Dim::constant(most)))),
        };
        let outer: Vec<Dim> =
            stage.kept.iter().enumerate().filter(|(v, _)| *v != last).map(|(_, e)| e.clone()).collect();
        let blocks = product(&outer) * across.clone().unwrap_or_else(|| Dim::constant(1));
        let few = blocks.as_constant().is_some_and(|blocks| blocks < FEW_BLOCKS);
        let most = (if few { MOST } else { THREADS } / columns).max(1);
        let groups =
            product(&stage.reduced).as_constant().map_or(most, |steps| (steps / EACH).clamp(1, most));
        let stored =
            stage.stores.iter().filter(|store| store.inner).map(|store| stage.value(store.value).dtype);
        let moved = rows().map(|access| access.dtype).chain(stored);
        let bytes: i64 = moved.map(|dtype| dtype.size() as i64).sum();
        let together = (TOGETHER / (bytes * columns * groups)).max(1);
        Some(Uneven { columns, groups, across, together })
    }

    fn print(self, w: &mut Writer<'_>, stage: &Stage, order: &[usize]) -> Block {
        let Uneven { columns, groups, across, together } = self;
        let (last, outer) = order.split_last().unwrap_or((&0, &[]));
        w.line(format!("const int group = threadIdx.x / {columns};"));
        let own = format!("threadIdx.x % {columns}");
        let kept: Vec<(usize, Dim)> = outer.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
        let mut blocks = product(&kept.iter().map(|(_, extent)| extent.clone()).collect::<Vec<_>>());
        match across {
            None => {
                w.line(format!("const int i{last} = {own};"));
                unflatten(w, "blockIdx.x", &kept);
            }
            Some(across) => {
                let (extent, count) = (w.dim(&stage.kept[*last]), w.symbols.divisor(&across));
                let tile =
                    if kept.is_empty() { "blockIdx.x".into() } else { format!("(blockIdx.x % {count})") };
                w.line(format!("const int i{last} = {columns} * {tile} + {own};"));
                w.line(format!("if (i{last} >= {extent}) return;"));
                unflatten(w, &format!("(blockIdx.x / {count})"), &kept);
                blocks = blocks * across;
            }
        }
        Block { columns, threads: columns * groups, blocks, there: None, place: "", together: Some(together) }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
