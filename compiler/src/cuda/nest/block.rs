//! Blocks: each point of the index space belongs to one block, whose threads share what a stage does there. A stage sees what the one before
//! has stored.
//!
//! A store that adds to what is there must meet each element in a fixed order, one thread at a time. So its loops are sorted: those
//! whose points never meet in an element are shared out, the others are walked in order, by all threads together.

use super::value::{Axis, Scope, Writer};
use super::{Start, map, product, unflatten, walk, width};
use crate::graph::Dim;
use crate::plan::affine::Affine;
use crate::plan::nest::Stage;
use crate::plan::never_again;

/// Threads of a block, and of one that has much to do.
const THREADS: (i64, i64) = (256, 1024);
/// Points of a stage from which on that is much.
const MUCH: i64 = 16 << 10;

pub fn print(w: &mut Writer<'_>, space: usize, stages: &[Stage]) -> Result<Start, String> {
    let Some(first) = stages.first() else { return Err("a nest without stages".into()) };
    let inner = |stage: &Stage| product(&stage.kept[space..]).as_constant();
    let much = stages.iter().any(|stage| inner(stage).is_none_or(|points| points >= MUCH));
    let threads = if much { THREADS.1 } else { THREADS.0 };
    let kept: Vec<(usize, Dim)> = first.kept[..space].iter().cloned().enumerate().collect();
    unflatten(w, "blockIdx.x", &kept);
    for (at, stage) in stages.iter().enumerate() {
        if at > 0 {
            w.line("__syncthreads();");
        }
        print_stage(w, space, stage, threads)?;
    }
    Ok(Start { threads, blocks: product(&first.kept[..space]) })
}

fn print_stage(w: &mut Writer<'_>, space: usize, stage: &Stage, threads: i64) -> Result<(), String> {
    let shared = shared(space, stage);
    let ordered: Vec<usize> = (space..stage.kept.len()).filter(|v| !shared.contains(v)).collect();
    for variable in &ordered {
        let extent = w.dim(&stage.kept[*variable]);
        w.open(format!("for (int i{variable} = 0; i{variable} < {extent}; ++i{variable})"));
    }
    let adds = stage.stores.iter().any(|s| s.accumulate);
    let order: Vec<usize> = map::order(w, stage).into_iter().filter(|v| shared.contains(v)).collect();
    let mut scope = Scope::new(stage);
    match order.last() {
        None => w.open("if (threadIdx.x == 0)"),
        Some(last) => {
            let wide = if adds { 1 } else { width(w, stage, *last, &stage.kept[*last], false) };
            let variables: Vec<(usize, Dim)> = order.iter().map(|v| (*v, stage.kept[*v].clone())).collect();
            let total = product(&variables.iter().map(|(_, extent)| extent.clone()).collect::<Vec<_>>());
            let total = w.dim(&total);
            let first = if wide > 1 { format!("{wide} * threadIdx.x") } else { "threadIdx.x".into() };
            w.open(format!("for (unsigned step = {first}; step < {total}; step += {})", wide * threads));
            unflatten(w, "step", &variables);
            scope = scope.along((wide > 1).then_some(Axis { variable: *last, width: wide, left: None }));
        }
    }
    if !stage.reduced.is_empty() {
        scope.begin(w);
        scope.hoist(w)?;
        walk(w, &mut scope)?;
    }
    scope.point(w, false)?;
    w.close();
    if !ordered.is_empty() {
        w.line("__syncthreads();");
    }
    ordered.iter().for_each(|_| w.close());
    Ok(())
}

/// The kept loops inside of the index space that threads may share: whatever they are, no two of their points add to one element. The
/// longest come first.
fn shared(space: usize, stage: &Stage) -> Vec<usize> {
    let inner: Vec<usize> = (space..stage.kept.len()).collect();
    let adding: Vec<&Affine> = stage.stores.iter().filter(|s| s.accumulate).map(|s| &s.at).collect();
    if adding.is_empty() {
        return inner;
    }
    let mut longest = inner;
    longest.sort_by_key(|v| std::cmp::Reverse(stage.kept[*v].as_constant().unwrap_or(i64::MAX)));
    let mut shared: Vec<usize> = Vec::new();
    for variable in longest {
        let mut wanted = shared.clone();
        wanted.push(variable);
        // The others stand still.
        let extents: Vec<Dim> = stage
            .kept
            .iter()
            .enumerate()
            .map(|(v, extent)| if wanted.contains(&v) { extent.clone() } else { Dim::constant(1) })
            .collect();
        if adding.iter().all(|at| never_again(at, &extents)) {
            shared = wanted;
        }
    }
    shared
}
