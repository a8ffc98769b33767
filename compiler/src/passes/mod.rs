//! Optimisation, from graph to graph: what a compiler of tensors should do before it makes loops.
//!
//! Each pass is a function of one graph in one file, and does one kind of thing. They feed each other (moving a view past an
//! operation lets two operations meet that simplify), so [`optimize`] runs them in turn until nothing changes. They keep values as
//! IEEE arithmetic defines them, with three liberties that their docs name: the sign of a zero, the order of a sum, and one rounding
//! where a power becomes products. Names of outputs, updates, guards and inputs stay.
//!
//! Gradients are taken before: `Hold` means nothing after, and goes.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::todo)
)]

pub mod cse;
pub mod dce;
pub mod fold;
pub mod hoist;
pub mod layout;
pub mod reductions;
mod rewrite;
pub mod simplify;
#[cfg(test)]
mod tests;
pub mod views;

use crate::graph::{Graph, verify};

type Pass = fn(&Graph) -> Graph;

/// In the order in which a round runs them.
pub const PASSES: &[(&str, Pass)] = &[
    ("views", views::run),
    ("simplify", simplify::run),
    ("reductions", reductions::run),
    ("layout", layout::run),
    ("hoist", hoist::run),
    ("fold", fold::run),
    ("cse", cse::run),
    ("dce", dce::run),
];

/// No graph needs this many rounds; the bound is there so that two passes that disagree cannot hang the compiler.
const MOST_ROUNDS: usize = 32;

/// Runs all passes until the graph stays the same.
pub fn optimize(graph: &Graph) -> Graph {
    let sound = cfg!(debug_assertions) && verify(graph).is_ok();
    let mut graph = graph.clone();
    for _ in 0..MOST_ROUNDS {
        let before = graph.clone();
        for (name, pass) in PASSES {
            graph = pass(&graph);
            debug_assert!(!sound || verify(&graph).is_ok(), "{name} broke the graph: {:?}", verify(&graph));
        }
        if graph == before {
            break;
        }
    }
    graph
}
