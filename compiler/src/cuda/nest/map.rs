//! Maps: a thread for each point, or for a few points side by side.

use super::tile::Tile;
use super::value::{Axis, Scope, Writer};
use super::{Start, THREADS, accesses, product, unflatten, walk, width};
use crate::graph::Dim;
use crate::plan::affine::Affine;
use crate::plan::nest::Stage;

/// What a map has of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Alone,
    /// The block of number `block` of its own, and `total` points.
    Part,
}

/// Gives each point, or each few points along the last variable, to a thread.
pub fn print(w: &mut Writer<'_>, stage: &Stage, place: &Place) -> Result<Start, String> {
    if stage.kept.is_empty() {
        if *place == Place::Part {
            w.line("if (threadIdx.x > 0) return;");
        }
        body(w, Scope::new(stage))?;
        return Ok(Start { threads: 1, blocks: Dim::constant(1) });
    }
    if let Some(tile) = Tile::of(w, stage) {
        return tile.print(w, stage, place);
    }
    let order = order(w, stage);
    let last = order[order.len() - 1];
    let wide = points_of_a_thread(w, stage);
    let points = product(&stage.kept);
    let each = Dim::constant(wide);
    let mut threads = match points.ceil_div(&each).as_constant() {
        Some(wanted) if *place == Place::Alone => ((wanted + 31) / 32 * 32).clamp(32, THREADS),
        _ => THREADS,
    };
    let (block, total) = match place {
        Place::Alone => ("blockIdx.x", w.dim(&points)),
        Place::Part => ("block", "total".into()),
    };
    let thread = format!("{block} * {threads} + threadIdx.x");
    let mut blocks = points.ceil_div(&Dim::constant(wide * threads));
    let rows = points.exact_div(&stage.kept[last]).filter(|_| *place == Place::Alone);
    match rows.filter(|rows| !rows.is(1)).zip(blocks_of_row(stage, last, wide * threads)) {
        // Neighbouring blocks have the same part of all rows, so that what these read alike is in a cache.
        Some((rows, each_row)) => {
            blocks = rows.clone() * Dim::constant(each_row);
            threads = stage.kept[last].as_constant().map_or(threads, |row| even(row / wide, each_row));
            let (row, rows) = (w.dim(&stage.kept[last]), w.symbols.divisor(&rows));
            let thread = format!("{threads} * (blockIdx.x / {rows}) + threadIdx.x");
            let at = if wide > 1 { format!("{wide} * ({thread})") } else { thread };
            w.line(format!("const unsigned at = {at};"));
            if !stage.kept[last].is(each_row * wide * threads) {
                w.line(format!("if (at >= {row}) return;"));
            }
            w.line(format!("const unsigned point = blockIdx.x % {rows} * {row} + at;"));
        }
        None => {
            let first = if wide > 1 { format!("{wide} * ({thread})") } else { thread };
            w.line(format!("const unsigned point = {first};"));
            w.line(format!("if (point >= {total}) return;"));
        }
    }
    let variables: Vec<(usize, Dim)> = order.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
    unflatten(w, "point", &variables);
    let uneven = points.exact_div(&each).is_none();
    let left = uneven.then(|| {
        w.line(format!("const int left = {total} - i{last};"));
        "left".to_string()
    });
    let axis = (wide > 1).then_some(Axis { variable: last, width: wide, left });
    body(w, Scope::new(stage).along(axis))?;
    Ok(Start { threads, blocks })
}

/// Blocks of a map that is a part of a kernel.
pub fn blocks_of_part(w: &Writer<'_>, stage: &Stage) -> Dim {
    match Tile::of(w, stage) {
        Some(tile) => tile.blocks(stage),
        None => product(&stage.kept).ceil_div(&Dim::constant(points_of_a_thread(w, stage) * THREADS)),
    }
}

/// How many points along the last variable a thread computes.
pub fn points_of_a_thread(w: &Writer<'_>, stage: &Stage) -> i64 {
    let Some(last) = order(w, stage).last().copied() else { return 1 };
    // A flat space may end within a pack.
    let flat = stage.kept.len() == 1 && stage.reduced.is_empty();
    width(w, stage, last, &stage.kept[last], flat)
}

/// The threads of each of some blocks that share the work of so many: whole warps.
fn even(work: i64, blocks: i64) -> i64 {
    ((work + blocks - 1) / blocks + 31) / 32 * 32
}

/// How many blocks the last loop makes, if they are several and there is something as long as it that all steps of the others read alike.
fn blocks_of_row(stage: &Stage, last: usize, block: i64) -> Option<i64> {
    let alone = |at: &Affine| matches!(at.terms.as_slice(), [(variable, _)] if *variable == last);
    let blocks = (stage.kept[last].as_constant()? + block - 1) / block;
    let again = || stage.reads().filter_map(|(_, at)| at).any(alone);
    (blocks > 1 && stage.reduced.is_empty() && again()).then_some(blocks)
}

fn body(w: &mut Writer<'_>, mut scope: Scope<'_>) -> Result<(), String> {
    if !scope.stage.reduced.is_empty() {
        scope.begin(w);
        scope.hoist(w)?;
        walk(w, &mut scope)?;
    }
    scope.point(w, false)
}

/// The kept variables, of which the last is the one that neighbouring threads take: along which more accesses move by one.
pub fn order(w: &Writer<'_>, stage: &Stage) -> Vec<usize> {
    let score = |variable: usize| -> i64 {
        let of = |access: super::Access<'_>| {
            // What is read in pieces may come from a cache; what is written in pieces is written several times.
            let weight = if access.is_store { 2 } else { 1 };
            match access.at.coefficient(variable) {
                by if by.is(1) => weight,
                by if by.is(0) => 0,
                _ => -weight,
            }
        };
        accesses(w, stage).map(of).sum()
    };
    let mut order: Vec<usize> = (0..stage.kept.len()).collect();
    // Of equals, the last.
    if let Some(best) = order.iter().copied().max_by_key(|v| score(*v)) {
        order.retain(|v| *v != best);
        order.push(best);
    }
    order
}
