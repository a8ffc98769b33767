//! How far a kernel counts, beside the elements of its buffers.
//!
//! Kernels count in numbers of 32 bits, which are fast. What they have in memory says by itself that it is not too large; but what a kernel makes
//! on its way is in memory nowhere (the terms of a sum, an operand of a product, the numbers of a random stream), and may be more. So a
//! launch lists all that it counts, and where one of these numbers is larger than [`LARGEST_COUNT`] it is refused when dims are bound. What
//! is counted follows from the plan alone: no printer has to think of it.

use super::print::Subject;
use crate::graph::Dim;
use crate::plan::affine::{Affine, is_nonnegative};
use crate::plan::nest::{Stage, ValueOp};
use crate::plan::{Kernel, Stride};
use weft_runtime::program::LARGEST_COUNT;

/// The numbers of things that a launch counts, but for those that are in its buffers, or are few at any dims.
pub fn of(subject: &Subject<'_>) -> Vec<Dim> {
    let launch = subject.launch;
    let mut all = Vec::new();
    match &launch.kernel {
        Kernel::Nest(nest) => nest.stages.iter().for_each(|stage| of_stage(stage, &mut all)),
        Kernel::Parts(parts) => {
            parts.iter().flat_map(|part| &part.nest.stages).for_each(|stage| of_stage(stage, &mut all));
        }
        Kernel::Contraction { batch, m, k, n, .. } => {
            let extents = |axes: &[Stride]| axes.iter().map(|axis| axis.extent.clone()).collect::<Vec<_>>();
            all.extend([batch, m, k].map(|axes| product(&extents(axes))));
            all.push(n.extent.clone());
        }
        Kernel::Convolution { n, input, output, input_channels, output_channels, kernel, .. } => {
            let of_pixels = |pixels: &[Dim; 2]| n.clone() * product(pixels);
            let of_taps = |channels: &Dim| product(kernel) * channels.clone();
            all.extend([of_pixels(input), of_pixels(output)]);
            all.extend([of_taps(input_channels), of_taps(output_channels)]);
        }
        // All that these count is in their buffers.
        Kernel::Attention(_)
        | Kernel::Pack { .. }
        | Kernel::CumulativeSum { .. }
        | Kernel::Gather { .. }
        | Kernel::ScatterAdd { .. }
        | Kernel::Sort { .. } => {}
    }
    launch.epilogue.iter().for_each(|epilogue| of_stage(&epilogue.stage, &mut all));
    launch.prologues.iter().for_each(|prologue| of_stage(&prologue.stage, &mut all));
    let few = |count: &Dim| count.as_constant().is_some_and(|count| count <= LARGEST_COUNT);
    let in_memory =
        |count: &Dim| launch.buffers.iter().any(|(b, _)| subject.plan.buffers[b.index()].elements == *count);
    let mut counts: Vec<Dim> = Vec::new();
    for count in all {
        if !few(&count) && !in_memory(&count) && !counts.contains(&count) {
            counts.push(count);
        }
    }
    counts
}

/// Points, the steps of each, and numbers of what is found by an expression but not read.
fn of_stage(stage: &Stage, all: &mut Vec<Dim>) {
    all.extend([product(&stage.kept), product(&stage.reduced)]);
    let extents: Vec<&Dim> = stage.kept.iter().chain(&stage.reduced).collect();
    for value in &stage.values {
        match &value.op {
            ValueOp::Index(at) | ValueOp::Random { index: at, .. } => all.extend(reach(at, &extents)),
            ValueOp::Inside(tests) => all.extend(tests.iter().flat_map(|(at, _)| reach(at, &extents))),
            // What is read is there.
            _ => {}
        }
    }
}

/// How many numbers a map has from 0 on, and how many down from there.
fn reach(at: &Affine, extents: &[&Dim]) -> [Dim; 2] {
    let one = Dim::constant(1);
    let negative = |dim: &Dim| Dim::constant(0) - dim.clone();
    let (mut up, mut down) = (one.clone(), one.clone());
    let mut add = |by: &Dim, times: Dim| match (is_nonnegative(by), is_nonnegative(&negative(by))) {
        (true, _) => up = up.clone() + by.clone() * times,
        (_, true) => down = down.clone() + negative(by) * times,
        _ => {
            let most = by.larger(&negative(by)) * times;
            (up, down) = (up.clone() + most.clone(), down.clone() + most);
        }
    };
    add(&at.constant, one.clone());
    for (variable, by) in &at.terms {
        if let Some(extent) = extents.get(*variable) {
            add(by, (*extent).clone() - one.clone());
        }
    }
    [up, down]
}

fn product(dims: &[Dim]) -> Dim {
    dims.iter().cloned().fold(Dim::constant(1), |a, b| a * b)
}
