//! The plan as text: buffers, then segments with their kernels as pseudo code. Deterministic, no machine facts.

use super::nest::{How, Nest, Stage, ValueId, ValueOp};
use super::{BufferId, Kernel, Launch, Plan, Step, Storage, Stride};
use crate::graph::{DType, Dim};
use std::fmt::Write;

/// The whole plan.
pub fn print(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(plan, &mut out);
    out
}

fn write(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let symbols: Vec<&str> = plan.symbols.iter().map(|s| &**s).collect();
    writeln!(out, "plan {} ({})", plan.name, symbols.join(", "))?;
    for (name, dtype, shape, _, buffer) in &plan.inputs {
        writeln!(out, "input {name}: {}[{}] = {}", dtype.name(), join(shape), buffer_name(plan, *buffer))?;
    }
    for (name, dtype, shape, buffer) in &plan.outputs {
        writeln!(out, "output {name}: {}[{}] = {}", dtype.name(), join(shape), buffer_name(plan, *buffer))?;
    }
    for (at, buffer) in plan.buffers.iter().enumerate() {
        let storage = match &buffer.storage {
            Storage::Arena { first, last } => format!("segments {first} to {last}"),
            Storage::Variable(_) => "variable".to_string(),
            Storage::Constant(bytes) => format!("constant of {} bytes", bytes.len()),
            Storage::Kept(_) => "kept".to_string(),
            Storage::Prepared => "prepared".to_string(),
            Storage::Alias(of) => format!("over {}", buffer_name(plan, *of)),
            Storage::Row { of, offset, level, advance } => {
                let mut at = super::affine::Affine::constant(offset.clone());
                if !advance.is(0) {
                    at = at.plus(&super::affine::Affine::variable(0).scale(advance));
                }
                format!("{}[{}]", buffer_name(plan, *of), at.to_string().replace("i0", &format!("t{level}")))
            }
            Storage::Local => "local".to_string(),
            Storage::Unused => continue,
        };
        let id = BufferId(at as u32);
        writeln!(
            out,
            "buffer {}: {}[{}], {storage}",
            buffer_name(plan, id),
            buffer.dtype.name(),
            buffer.elements
        )?;
    }
    for (at, segment) in plan.segments.iter().enumerate() {
        let when = if at < plan.prepares { ", when variables have changed" } else { "" };
        let beside = if segment.follows { ", beside the one before" } else { "" };
        let (units, grain) = (&segment.units, &segment.grain);
        writeln!(out, "\nsegment {at}: units {units}, at least {grain} a task{when}{beside}")?;
        write_steps(plan, &segment.steps, 0, out)?;
    }
    Ok(())
}

/// The steps of a segment, inside of so many loops.
fn write_steps(plan: &Plan, steps: &[Step], level: usize, out: &mut String) -> std::fmt::Result {
    for step in steps {
        let mut text = String::new();
        match step {
            Step::Launch(launch) => write_launch(plan, launch, &mut text)?,
            Step::Loop(inner) => {
                let order = if inner.reversed { ", last first" } else { "" };
                writeln!(text, "  loop t{level} < {}{order}", inner.trip)?;
                let (ahead, steps) = inner.steps.split_at(inner.ahead());
                if !ahead.is_empty() {
                    writeln!(text, "    ahead, for {} steps at once:", inner.block)?;
                }
                write_steps(plan, ahead, level + 1, &mut text)?;
                if !ahead.is_empty() {
                    writeln!(text, "    at each step:")?;
                }
                write_steps(plan, steps, level + 1, &mut text)?;
            }
        }
        // What is in a loop stands further in.
        let margin = if level > 0 { "  " } else { "" };
        text.lines().try_for_each(|line| writeln!(out, "{margin}{line}"))?;
    }
    Ok(())
}

/// A node's buffer by its node, with its place when a node has several.
fn buffer_name(plan: &Plan, id: BufferId) -> String {
    let name = &plan.buffers[id.index()].name;
    let twin = plan.buffers[..id.index()].iter().filter(|b| b.name == *name).count();
    if twin == 0 { name.clone() } else { format!("{name}.{twin}") }
}

fn join(dims: &[Dim]) -> String {
    dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ")
}

fn write_launch(plan: &Plan, launch: &Launch, out: &mut String) -> std::fmt::Result {
    let buffers: Vec<String> = launch
        .buffers
        .iter()
        .map(|(b, offset)| {
            let name = buffer_name(plan, *b);
            if offset.is(0) { name } else { format!("{name} + {offset}") }
        })
        .collect();
    let buffers = buffers.join(", ");
    let axis = |s: &Stride| {
        let mut text = s.extent.to_string();
        for (name, stride) in [("a", &s.a), ("b", &s.b), ("c", &s.c)] {
            if let Some(stride) = stride {
                text += &format!(" {name}:{stride}");
            }
        }
        format!("({text})")
    };
    let axes = |list: &[Stride]| list.iter().map(axis).collect::<String>();
    let path = if launch.path.is_empty() { String::new() } else { format!("  // {}", launch.path) };
    match &launch.kernel {
        Kernel::Nest(nest) => {
            let rows = if nest.row.is_some() { " by rows" } else { "" };
            writeln!(out, "  nest {} a unit{rows}{path}", launch.per_unit)?;
            if let Some(row) = nest.row.as_ref().filter(|row| !row.passed.is_empty()) {
                let passed: Vec<String> = row.passed.iter().map(|b| buffer_name(plan, *b)).collect();
                writeln!(out, "    in registers: {}", passed.join(", "))?;
            }
            write_nest(plan, nest, out)
        }
        Kernel::Parts(parts) => {
            writeln!(out, "  {} nests at once", parts.len())?;
            parts.iter().try_for_each(|part| {
                writeln!(out, "  nest  // {}", part.path)?;
                write_nest(plan, &part.nest, out)
            })
        }
        Kernel::Contraction { batch, m, k, n, packed, kept, partition, splits, adds } => {
            let kept = if *kept == DType::F32 { String::new() } else { format!(" of {}", kept.name()) };
            let packed = if *packed { " packed" } else { "" };
            let batch = if batch.is_empty() { String::new() } else { format!(" batch {}", axes(batch)) };
            let splits = if *splits > 1 { format!(" in {splits} parts") } else { String::new() };
            let partition = format!("{partition:?}").to_lowercase();
            let adds = if *adds { ", added" } else { "" };
            writeln!(
                out,
                "  contract{batch} m {} k {} n {}{packed}{kept} by {partition}{splits}{adds}: {buffers}{path}",
                axes(m),
                axes(k),
                axis(n)
            )
        }
        Kernel::Convolution {
            kind,
            n,
            input,
            output,
            input_channels,
            output_channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            splits,
        } => {
            let kind = format!("{kind:?}").to_lowercase();
            let splits = if !splits.is(1) { format!(" in {splits} parts") } else { String::new() };
            writeln!(
                out,
                "  convolution {kind} {n} x [{}]x{input_channels} -> [{}]x{output_channels} kernel [{}] \
                 stride {stride:?} padding [{}] dilation {dilation:?} groups {groups}{splits}: {buffers}{path}",
                join(input),
                join(output),
                join(kernel),
                join(padding)
            )
        }
        Kernel::Attention(a) => {
            let form = if a.backward { "attention backward" } else { "attention" };
            let marks =
                [(a.causal.is_some(), " causal"), (a.bias.is_some(), " bias"), (a.mask.is_some(), " mask")];
            let marks: String = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
            let heads = if a.heads == a.groups {
                format!("{}", a.heads)
            } else {
                format!("{}/{}", a.heads, a.groups)
            };
            writeln!(
                out,
                "  {form} {} x {heads} heads, {} queries of {} keys, width {} depth {}{marks}: {buffers}{path}",
                a.n, a.queries, a.keys, a.width, a.depth
            )
        }
        Kernel::Pack { taps, k, n, kept: _ } => {
            writeln!(out, "  pack taps {} k {} n {}: {buffers}{path}", axis(taps), axis(k), axis(n))
        }
        Kernel::CumulativeSum { axis, inner, reverse, exclusive } => {
            let reverse = if *reverse { " reverse" } else { "" };
            let exclusive = if *exclusive { " exclusive" } else { "" };
            writeln!(out, "  cumulative sum {axis} x {inner}{reverse}{exclusive}: {buffers}{path}")
        }
        Kernel::Gather { dtype: _, axis, count, inner } => {
            writeln!(out, "  gather {count} of {axis} x {inner}: {buffers}{path}")
        }
        Kernel::ScatterAdd { axis, count, inner } => {
            writeln!(out, "  scatter add {count} to {axis} x {inner}: {buffers}{path}")
        }
        Kernel::Sort { axis, count, falling, .. } => {
            let order = if *falling { "falling" } else { "rising" };
            writeln!(out, "  sort {axis} {order}, first {count}: {buffers}{path}")
        }
    }
}

fn write_nest(plan: &Plan, nest: &Nest, out: &mut String) -> std::fmt::Result {
    for (place, stage) in nest.stages.iter().enumerate() {
        let mut depth = 2;
        for (variable, extent) in stage.kept.iter().enumerate() {
            if variable < nest.space && place > 0 {
                depth += 1;
                continue;
            }
            let how = if stage.vector == Some(variable) { "vector" } else { "for" };
            let cut = if variable < nest.space { " cut" } else { "" };
            writeln!(out, "{}{how} i{variable} < {extent}{cut}", "  ".repeat(depth))?;
            depth += 1;
        }
        let inside = Printer { plan, stage };
        if !stage.reduced.is_empty() {
            for (at, reduce) in stage.reductions.iter().enumerate() {
                let how = how(reduce.how);
                writeln!(out, "{}r{at} = {how} {}", "  ".repeat(depth), inside.dtype(reduce.of))?;
            }
        }
        let outer = depth;
        for (at, extent) in stage.reduced.iter().enumerate() {
            let variable = stage.kept.len() + at;
            let how = if stage.vector == Some(variable) { "vector" } else { "for" };
            writeln!(out, "{}{how} i{variable} < {extent}", "  ".repeat(depth))?;
            depth += 1;
        }
        let shared = inside.shared();
        let mut named = vec![false; stage.values.len()];
        let needs = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..stage.values.len()).filter(|v| shared[*v] && wanted(*v)).collect()
        };
        let late = inside.late();
        for value in needs(&|v| !late[v]) {
            named[value] = true;
            writeln!(
                out,
                "{}v{value} = {}",
                "  ".repeat(depth),
                inside.expression(ValueId(value as u32), &named, true)
            )?;
        }
        for store in stage.stores.iter().filter(|s| s.inner || stage.reduced.is_empty()) {
            write_store(&inside, store, &named, depth, out)?;
        }
        for (at, reduce) in stage.reductions.iter().enumerate() {
            let value = inside.expression(reduce.of, &named, false);
            writeln!(out, "{}r{at} {}= {value}", "  ".repeat(depth), how(reduce.how))?;
        }
        if !stage.reduced.is_empty() {
            for value in needs(&|v| late[v]) {
                named[value] = true;
                let expression = inside.expression(ValueId(value as u32), &named, true);
                writeln!(out, "{}v{value} = {expression}", "  ".repeat(outer))?;
            }
            for store in stage.stores.iter().filter(|s| !s.inner) {
                write_store(&inside, store, &named, outer, out)?;
            }
        }
    }
    Ok(())
}

fn how(how: How) -> &'static str {
    match how {
        How::Fold(reduction) => reduction.name(),
        How::Arg { largest: true } => "arg max",
        How::Arg { largest: false } => "arg min",
    }
}

fn write_store(
    inside: &Printer<'_>,
    store: &super::nest::Store,
    named: &[bool],
    depth: usize,
    out: &mut String,
) -> std::fmt::Result {
    let equals = if store.accumulate { "+=" } else { "=" };
    let value = inside.expression(store.value, named, false);
    let buffer = buffer_name(inside.plan, store.buffer);
    writeln!(out, "{}{buffer}[{}] {equals} {value}", "  ".repeat(depth), store.at)
}

/// A number as its type holds it, in the fewest digits: `0.1`, `1e-8`, `255`.
fn number(value: f64, dtype: DType) -> String {
    let text = if dtype == DType::F32 { format!("{:?}", value as f32) } else { format!("{value:?}") };
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

struct Printer<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
}

impl Printer<'_> {
    fn dtype(&self, id: ValueId) -> &'static str {
        self.stage.value(id).dtype.name()
    }

    /// Values that are read more than once and are worth a name.
    fn shared(&self) -> Vec<bool> {
        let mut uses = vec![0; self.stage.values.len()];
        let roots = self.stage.stores.iter().map(|s| s.value);
        for id in roots.chain(self.stage.reductions.iter().map(|r| r.of)) {
            uses[id.index()] += 1;
        }
        for value in &self.stage.values {
            for operand in value.op.operands() {
                uses[operand.index()] += 1;
            }
        }
        let plain = |op: &ValueOp| {
            matches!(op, ValueOp::Constant(_) | ValueOp::Dim(_) | ValueOp::Index(_) | ValueOp::Reduced(_))
        };
        self.stage.values.iter().zip(uses).map(|(v, count)| count > 1 && !plain(&v.op)).collect()
    }

    /// Values that follow from results of reductions.
    fn late(&self) -> Vec<bool> {
        let mut late = vec![false; self.stage.values.len()];
        for (at, value) in self.stage.values.iter().enumerate() {
            late[at] = matches!(value.op, ValueOp::Reduced(_))
                || value.op.operands().iter().any(|o| late[o.index()]);
        }
        late
    }

    fn expression(&self, id: ValueId, named: &[bool], definition: bool) -> String {
        if named[id.index()] && !definition {
            return format!("v{}", id.0);
        }
        let value = self.stage.value(id);
        let inner = |x: &ValueId| self.expression(*x, named, false);
        let guarded = |text: String, when: &Option<ValueId>| match when {
            Some(when) => format!("{text} if {}", inner(when)),
            None => text,
        };
        match &value.op {
            ValueOp::Constant(bits) => number(f64::from_bits(*bits), value.dtype),
            ValueOp::Dim(dim) => format!("{}({dim})", value.dtype.name()),
            ValueOp::Index(at) => format!("{}({at})", value.dtype.name()),
            ValueOp::Load { buffer, at, when } => {
                guarded(format!("{}[{at}]", buffer_name(self.plan, *buffer)), when)
            }
            ValueOp::Unary(op, x) => format!("{}({})", op.name(), inner(x)),
            ValueOp::Binary(op, x, y) => format!("{}({}, {})", op.name(), inner(x), inner(y)),
            ValueOp::Compare(op, x, y) => format!("{}({}, {})", op.name(), inner(x), inner(y)),
            ValueOp::Select(c, x, y) => format!("select({}, {}, {})", inner(c), inner(x), inner(y)),
            ValueOp::Cast(x) => format!("{}({})", value.dtype.name(), inner(x)),
            ValueOp::Inside(tests) => {
                let tests: Vec<String> =
                    tests.iter().map(|(at, limit)| format!("0 <= {at} < {limit}")).collect();
                tests.join(" and ")
            }
            ValueOp::Random { buffer, distribution, key, index } => format!(
                "random.{}(#{key:016x}, {}, {index})",
                format!("{distribution:?}").to_lowercase(),
                buffer_name(self.plan, *buffer)
            ),
            ValueOp::Reduced(place) => format!("r{place}"),
        }
    }
}
