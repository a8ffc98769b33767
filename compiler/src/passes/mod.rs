//! Optimisation, from graph to graph: what a compiler of tensors should do before it makes loops.
//!
//! Each pass is a function on one graph in one file, and does one kind of thing. They feed each other (moving a view past an
//! operation lets two operations meet that simplify), so [`optimize`] runs them in turn until nothing changes. They keep values as
//! IEEE arithmetic defines them, with four liberties that their docs name: the sign of a zero, the order of a sum, one rounding where
//! a power becomes products, and zeros that a loop begins with, which add nothing to a product over its steps. Names of outputs, updates, guards and inputs stay.
//!
//! The bodies of loops are graphs like any other, and go through the same passes; what may leave a loop does
//! ([`loop_before`], [`loop_behind`]), what a loop reads is made as it reads it ([`loop_inputs`]), and no state is kept twice
//! ([`loop_shift`]).
//!
//! Gradients are taken before: `Hold` means nothing after, and goes.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

pub mod attention;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod halves;
pub mod hoist;
pub mod layout;
pub mod loop_before;
pub mod loop_behind;
pub mod loop_inputs;
pub mod loop_narrow;
pub mod loop_prune;
pub mod loop_shift;
mod loops;
pub mod matter;
pub mod moments;
pub mod narrow;
pub mod pooling;
pub mod reductions;
mod rewrite;
pub mod rounded;
pub mod simplify;
#[cfg(test)]
mod tests;
pub mod views;

use crate::graph::{Graph, Op, verify};
use std::sync::Arc;

/// Changes a graph and says whether it did.
pub type Pass = fn(&mut Graph) -> bool;

/// In the order in which a round runs them.
pub const PASSES: &[(&str, Pass)] = &[
    ("halves", halves::run),
    ("attention", attention::run),
    ("views", views::run),
    ("simplify", simplify::run),
    ("reductions", reductions::run),
    ("pooling", pooling::run),
    ("layout", layout::run),
    ("hoist", hoist::run),
    ("loop_prune", loop_prune::run),
    ("loop_before", loop_before::run),
    ("loop_behind", loop_behind::run),
    ("loop_shift", loop_shift::run),
    ("loop_inputs", loop_inputs::run),
    ("fold", fold::run),
    ("cse", cse::run),
    ("dce", dce::run),
];

/// No graph needs this many runs of a pass; the bound is there so that two passes that disagree cannot hang the compiler.
const MOST_ROUNDS: usize = 32;

/// Runs the passes in turn until each has found nothing to do since the last change.
pub fn optimize(graph: &Graph) -> Graph {
    let sound = cfg!(debug_assertions) && verify(graph).is_ok();
    let mut graph = graph.clone();
    let mut idle = 0;
    for (name, pass) in PASSES.iter().cycle().take(MOST_ROUNDS * PASSES.len()) {
        let changed = within(*pass, &mut graph);
        debug_assert!(
            !(sound && changed) || verify(&graph).is_ok(),
            "{name} broke the graph: {:?}",
            verify(&graph)
        );
        idle = if changed { 0 } else { idle + 1 };
        if idle == PASSES.len() {
            break;
        }
    }
    graph
}

/// The pass on the graph, and on the bodies of its loops.
fn within(pass: Pass, graph: &mut Graph) -> bool {
    let mut changed = pass(graph);
    for node in &mut graph.nodes {
        if let Op::Scan(scan) = &mut node.op {
            changed |= within(pass, &mut Arc::make_mut(scan).body);
        }
    }
    changed
}
