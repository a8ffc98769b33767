//! What an operand is made of while a product loads it: the functions of a [`Source`](../memory.cuh) that are printed, not read from memory.
//!
//! `a_read(at)` reads what the neighbours from a place on need, in packs where these lie so, and `a_make(held, at, to)` makes the numbers of it: a
//! tile's loads are then all on their way before the first of them is waited for.

use super::nest::value::{Axis, Held, Scope, Writer, dependent};
use super::print::c_type;
use crate::graph::Dim;
use crate::plan::Prologue;
use crate::plan::nest::{ValueId, ValueOp};
use crate::plan::prologue::operations;

/// How many neighbours, of up to so many, a prologue makes at once.
pub fn width(prologue: &Prologue, most: i64) -> i64 {
    let divides = |by: &i64| match prologue.stage.kept.as_slice() {
        // What is there together is so in one line.
        [_] => true,
        kept => kept.last().is_some_and(|last| last.exact_div(&Dim::constant(*by)).is_some()),
    };
    [8, 4].into_iter().filter(|width| *width <= most).find(divides).unwrap_or(1)
}

/// Declares an operand's functions, and says what it is loaded from: an expression. `name` is the operand's, `begins` where its item begins, and
/// `width` how many neighbours are loaded at once.
pub fn print(
    w: &mut Writer<'_>,
    prologue: &Prologue,
    name: &str,
    begins: &str,
    width: i64,
) -> Result<String, String> {
    let stage = &prologue.stage;
    let last = stage.kept.len() - 1;
    let axis = (width > 1).then_some(Axis { variable: last, width, left: None });
    let along = dependent(stage, &|variable| variable == last);
    let loads: Vec<usize> =
        (0..stage.values.len()).filter(|at| matches!(stage.values[*at].op, ValueOp::Load { .. })).collect();
    let upper = name.to_uppercase();
    let (mut members, mut names) = (Vec::new(), Vec::new());
    for at in &loads {
        let ValueOp::Load { buffer, .. } = &stage.values[*at].op else { continue };
        let dtype = w.subject.dtype(w.subject.slot(*buffer));
        let kind = c_type(dtype);
        let many = width > 1 && along[*at];
        members.push(if many { format!("pack<{kind}, {width}> v{at};") } else { format!("{kind} v{at};") });
        let element = format!("held.v{at}{}", if many { "[k]" } else { "" });
        let half = matches!(kind, "half_t" | "bfloat_t");
        names.push((ValueId(*at as u32), if half { format!("widen({element})") } else { element }));
    }
    let kind = c_type(w.subject.plan.buffers[prologue.of.index()].dtype);
    w.line(format!("// {upper} is made with {} operations an element.", operations(stage)));
    w.line(format!("struct Held{upper} {{ {} }};", members.join(" ")));
    w.open(format!("auto {name}_read = [&](int at)"));
    // What is read, and what says whether it is.
    point(w, prologue, begins, &|op| matches!(op, ValueOp::Load { .. } | ValueOp::Inside(_)));
    w.line(format!("Held{upper} held;"));
    let mut scope = Scope::new(stage).along(axis.clone());
    for at in &loads {
        let ValueOp::Load { buffer, at: place, when } = &stage.values[*at].op else { continue };
        let slot = w.subject.slot(*buffer);
        let many = width > 1 && along[*at];
        let moves = width > 1 && place.depends_on(last);
        let asked = when.filter(|when| along[when.index()]);
        let mut text = String::new();
        let guard = |w: &mut Writer<'_>, scope: &Scope<'_>, inside: bool| -> Result<String, String> {
            let Some(when) = when else { return Ok(String::new()) };
            Ok(format!("if ({}) ", scope.expression(w, *when, &[], inside)?.text))
        };
        if many && asked.is_none() && moves && w.is_even(slot, place, last, width) {
            let from = scope.affine(w, place, false).text;
            let guard = guard(w, &scope, false)?;
            text.push_str(&format!("{guard}held.v{at} = load<{width}>({} + {from});", w.subject.name(slot)));
        } else if many {
            let from = scope.affine(w, place, true).text;
            let guard = guard(w, &scope, true)?;
            text.push_str("#pragma unroll\n");
            text.push_str(&format!(
                "for (int k = 0; k < {width}; ++k) {guard}held.v{at}[k] = {}[{from}];",
                w.subject.name(slot)
            ));
        } else {
            let from = scope.affine(w, place, false).text;
            let guard = guard(w, &scope, false)?;
            text.push_str(&format!("{guard}held.v{at} = {}[{from}];", w.subject.name(slot)));
        }
        // What is not there is never looked at, but must be something.
        if when.is_some() {
            w.line(format!("held.v{at} = {{}};"));
        }
        w.line(text);
    }
    w.line("return held;");
    w.lines.close_with(";");
    w.open(format!("auto {name}_make = [&](const Held{upper}& held, int at, {kind}* to)"));
    point(w, prologue, begins, &|op| !matches!(op, ValueOp::Load { .. }));
    for (id, text) in names {
        scope.give(id, &text);
    }
    let place = if width > 1 { "to".to_string() } else { "to[0]".into() };
    scope.held.insert(prologue.of, Held { place, stored: false });
    scope.point(w, false)?;
    w.lines.close_with(";");
    Ok(format!("mapped<{kind}, Held{upper}>({name}_read, {name}_make)"))
}

/// Declares those loop variables of the element at a place that these values ask for.
fn point(w: &mut Writer<'_>, prologue: &Prologue, begins: &str, asks: &dyn Fn(&ValueOp) -> bool) {
    let stage = &prologue.stage;
    let maps = || stage.values.iter().filter(|value| asks(&value.op)).flat_map(|value| value.op.maps());
    let used: Vec<usize> = (0..stage.kept.len()).filter(|at| maps().any(|map| map.depends_on(*at))).collect();
    if used.is_empty() {
        return;
    }
    let from = if begins == "0" { "at".to_string() } else { format!("{begins} + at") };
    w.line(format!("const unsigned point = {from};"));
    let mut inner = Dim::constant(1);
    for (at, extent) in stage.kept.iter().enumerate().rev() {
        // What is not known before is divided by as numbers with a sign are.
        let step = |w: &mut Writer<'_>, text: String, sign: &str, by: &Dim| {
            let by_number = by.as_constant().is_some();
            let text = match (by_number, text.as_str()) {
                (true, _) => text,
                (false, "point") => "(int)point".into(),
                (false, _) => format!("(int)({text})"),
            };
            format!("{text} {sign} {}", w.symbols.reciprocal(by))
        };
        if used.contains(&at) {
            let mut text = "point".to_string();
            if !inner.is(1) {
                text = step(w, text, "/", &inner);
            }
            if at > 0 {
                text = step(w, text, "%", extent);
            }
            w.line(format!("const int i{at} = {text};"));
        }
        inner = inner * extent.clone();
    }
}
