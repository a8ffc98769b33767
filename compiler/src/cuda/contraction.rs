//! Contractions as kernels: the axes of rows, columns and steps become expressions of their numbers.

use super::Printed;
use super::print::{Subject, Symbols};
use super::product::{Lie, Operand, Product, by_four, is_multiple, offset, starts_by_four, together};
use crate::graph::{DType, Dim};
use crate::plan::{Kernel, Stride};

/// Extents and strides of some axes in one operand.
fn axes<'a>(
    list: &'a [Stride],
    of: &dyn Fn(&'a Stride) -> &'a Option<Dim>,
    zero: &'a Dim,
) -> Vec<(&'a Dim, &'a Dim)> {
    list.iter().map(|axis| (&axis.extent, of(axis).as_ref().unwrap_or(zero))).collect()
}

/// How the operand in a slot lies whose axes are these.
fn lie(
    subject: &Subject<'_>,
    slot: usize,
    free: &[(&Dim, &Dim)],
    steps: &[(&Dim, &Dim)],
    items: &[(&Dim, &Dim)],
) -> Lie {
    let near =
        |axes: &[(&Dim, &Dim)]| axes.last().is_some_and(|(extent, stride)| stride.is(1) && !extent.is(1));
    let along = near(steps) || !near(free);
    let (run, other) = if along { (steps, free) } else { (free, steps) };
    let inner = run.len().saturating_sub(1);
    let together = together(subject, slot, |number| {
        let even = |axes: &[(&Dim, &Dim)]| {
            axes.iter().all(|(extent, stride)| is_multiple(stride, number) || extent.is(1))
        };
        let whole = run.last().is_some_and(|(extent, _)| is_multiple(extent, number));
        near(run) && whole && even(&run[..inner]) && even(other) && even(items)
    });
    Lie { along, near: near(run), together }
}

pub fn lower(subject: &Subject<'_>) -> Result<Printed, String> {
    let Kernel::Contraction { batch, m, k, n, packed, kept, splits, .. } = &subject.launch.kernel else {
        return Err("no contraction".into());
    };
    if *packed {
        return Err("nothing is packed for a GPU".into());
    }
    let mut symbols = Symbols::default();
    let zero = Dim::constant(0);
    let scaled = *kept == DType::I8;
    // Results come last.
    let out = subject.launch.buffers.len() - 1;
    let stored = subject.launch.epilogue.is_none();
    let columns = std::slice::from_ref(n);
    let begins = |symbols: &mut Symbols, of: &dyn for<'a> Fn(&'a Stride) -> &'a Option<Dim>| {
        let place = offset(symbols, "item", &axes(batch, of, &zero));
        if place == "0" { place } else { format!("({place})") }
    };
    let sum = |rows: String, steps: String| match (rows.as_str(), steps.as_str()) {
        ("0", only) | (only, "0") => format!("return Place{{{only}, true}};"),
        (rows, steps) => format!("return Place{{{rows} + {steps}, true}};"),
    };
    let operand = |slot: usize,
                   index: &str,
                   free: &[Stride],
                   symbols: &mut Symbols,
                   of: &dyn for<'a> Fn(&'a Stride) -> &'a Option<Dim>| {
        let (free, steps, items) = (axes(free, of, &zero), axes(k, of, &zero), axes(batch, of, &zero));
        Operand {
            begins: begins(symbols, of),
            at: vec![sum(offset(symbols, index, &free), offset(symbols, "step", &steps))],
            lie: lie(subject, slot, &free, &steps, &items),
        }
    };
    let a = operand(0, "row", m, &mut symbols, &|axis| &axis.a);
    let b = operand(1, "col", columns, &mut symbols, &|axis| &axis.b);
    let c = if stored { subject.name(out).to_string() } else { String::new() };
    let c_item = offset(&mut symbols, "item", &axes(batch, &|axis| &axis.c, &zero));
    let c_row = vec![offset(&mut symbols, "row", &axes(m, &|axis| &axis.c, &zero))];
    let product =
        |axes: &[Stride]| axes.iter().fold(Dim::constant(1), |size, axis| size * axis.extent.clone());
    let (items, rows, steps, cols) = (product(batch), product(m), product(k), n.extent.clone());
    let c_size = items.clone() * rows.clone() * cols.clone();
    let c_fours = (!stored || starts_by_four(subject, out))
        && by_four(&cols)
        && m.iter().chain(batch).all(|axis| axis.extent.is(1) || axis.c.as_ref().is_none_or(by_four));
    let narrow = match (subject.operand(0), subject.operand(1)) {
        (DType::F32, DType::F32) => String::new(),
        (DType::F32, narrow) => format!(", B of {}", narrow.name()),
        (both, other) if both == other => format!(", of {}", both.name()),
        (a, b) => format!(", of {} and {}", a.name(), b.name()),
    };
    let product = Product {
        about: format!("C[row, col] = sum over step of A[row, step] * B[col, step]{narrow}."),
        names: Vec::new(),
        rows,
        cols,
        steps,
        items,
        of_item: Vec::new(),
        own: None,
        a,
        b,
        c,
        c_item,
        c_size,
        parts: Dim::from(i64::from(*splits)),
        c_row,
        c_fours,
        scales: scaled.then(|| subject.name(2).to_string()),
    };
    product.print(subject, symbols)
}
