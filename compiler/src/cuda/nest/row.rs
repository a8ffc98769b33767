//! Rows: the lanes of a warp, or the threads of a block, walk the reduced loops of a point side by side.

use super::value::{Axis, Scope, Writer, twin};
use super::{LONG, Start, THREADS, product, unflatten, width};
use crate::graph::Dim;
use crate::plan::nest::{How, Stage};

pub fn print(w: &mut Writer<'_>, stage: &Stage) -> Result<Start, String> {
    let points = product(&stage.kept);
    let steps = product(&stage.reduced);
    let last = stage.reduced.len() - 1;
    let variable = stage.kept.len() + last;
    let wide = width(w, stage, variable, &stage.reduced[last], false);
    let lanes = lanes(&points, &steps, wide);
    let whole = lanes > 32;
    let mut scope = Scope::new(stage);
    let kept: Vec<(usize, Dim)> = stage.kept.iter().cloned().enumerate().collect();
    if whole {
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
    scope.begin(w);
    scope.hoist(w)?;
    let first = if wide > 1 { format!("{wide} * lane") } else { "lane".into() };
    let (by, total) = (wide * lanes, w.dim(&steps));
    let name = if last == 0 { format!("i{variable}") } else { "step".into() };
    w.open(format!("for (int {name} = {first}; {name} < {total}; {name} += {by})"));
    if last > 0 {
        let reduced: Vec<(usize, Dim)> =
            stage.reduced.iter().cloned().enumerate().map(|(at, e)| (stage.kept.len() + at, e)).collect();
        unflatten(w, "step", &reduced);
    }
    scope.step = Some(name);
    let mut scope = scope.along((wide > 1).then_some(Axis { variable, width: wide, left: None }));
    scope.point(w, true)?;
    w.close();
    let over = if whole { "block" } else { "lanes" };
    gather(w, stage, over, &lanes.to_string());
    if stage.stores.iter().any(|s| !s.inner) {
        w.open("if (lane == 0)");
        scope.point(w, false)?;
        w.close();
    }
    let blocks = match (whole, kept.is_empty()) {
        (_, true) => Dim::constant(1),
        (true, false) => points,
        (false, false) => points.ceil_div(&Dim::constant(THREADS / lanes)),
    };
    let threads = if !whole && kept.is_empty() { lanes } else { lanes.max(THREADS) };
    Ok(Start { threads, blocks })
}

/// The results of all threads together, which all of them then have.
pub fn gather(w: &mut Writer<'_>, stage: &Stage, over: &str, sizes: &str) {
    for (place, reduce) in stage.reductions.iter().enumerate() {
        if twin(stage, reduce).is_some() {
            continue;
        }
        let functor = super::spell::functor(reduce.how);
        w.line(match reduce.how {
            How::Fold(_) => format!("r{place} = fold_{over}<{functor}, {sizes}>(r{place});"),
            How::Arg { .. } => format!("arg_{over}<{functor}, {sizes}>(r{place}, t{place});"),
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
