//! Columns: threads side by side along the kept loops walk the reduced ones, each group of threads a part of them.

use super::row::gather;
use super::value::{Scope, Writer};
use super::{Start, THREADS, map, product, unflatten};
use crate::graph::Dim;
use crate::plan::nest::Stage;

/// Columns of a block: as many as make whole lines of memory.
const COLUMNS: i64 = 32;

pub fn print(w: &mut Writer<'_>, stage: &Stage) -> Result<Start, String> {
    let columns = product(&stage.kept);
    let steps = product(&stage.reduced);
    let width = match columns.as_constant() {
        Some(count) => [1, 2, 4, 8, 16].into_iter().find(|width| *width >= count).unwrap_or(COLUMNS),
        None => COLUMNS,
    };
    let groups = THREADS / width;
    let total = w.dim(&columns);
    w.line(format!("const unsigned column = blockIdx.x * {width} + threadIdx.x % {width};"));
    w.line(format!("const int group = threadIdx.x / {width};"));
    let order = map::order(w, stage);
    let kept: Vec<(usize, Dim)> = order.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
    unflatten(w, "column", &kept);
    let mut scope = Scope::new(stage);
    scope.begin(w);
    w.open(format!("if (column < {total})"));
    let outside = scope.clone();
    scope.hoist(w)?;
    let name = if let [_] = stage.reduced[..] { format!("i{}", stage.kept.len()) } else { "step".into() };
    let steps = w.dim(&steps);
    w.open(format!("for (int {name} = group; {name} < {steps}; {name} += {groups})"));
    if stage.reduced.len() > 1 {
        let reduced: Vec<(usize, Dim)> =
            stage.reduced.iter().cloned().enumerate().map(|(at, e)| (stage.kept.len() + at, e)).collect();
        unflatten(w, "step", &reduced);
    }
    scope.step = Some(name);
    scope.point(w, true)?;
    w.close();
    w.close();
    gather(w, stage, "columns", &format!("{width}, {groups}"));
    if stage.stores.iter().any(|s| !s.inner) {
        let mut scope = outside;
        w.open(format!("if (group == 0 && column < {total})"));
        scope.point(w, false)?;
        w.close();
    }
    Ok(Start { threads: THREADS, blocks: columns.ceil_div(&Dim::constant(width)) })
}
