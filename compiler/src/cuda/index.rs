//! Kernels that move by index or along an axis: gather, scatter-add, cumulative sum, sorting. See `index.cuh` and `sort.cuh`.

use super::print::{Lines, Subject, Symbols};
use super::product::{constant, fits_y, is_multiple};
use super::{Library, Printed};
use crate::graph::{DType, Dim};
use crate::plan::Kernel;

/// Threads of a block, except where a library says otherwise.
const THREADS: i64 = 256;

pub fn lower(subject: &Subject<'_>) -> Result<Printed, String> {
    match &subject.launch.kernel {
        Kernel::Gather { dtype, axis, count, inner } => Ok(gather(subject, *dtype, axis, count, inner)),
        Kernel::ScatterAdd { axis, count, inner } => Ok(scatter_add(subject, axis, count, inner)),
        Kernel::CumulativeSum { axis, inner, reverse, exclusive } => {
            Ok(cumulative_sum(subject, axis, inner, *reverse, *exclusive))
        }
        Kernel::Sort { dtype, axis, count, falling } => sort(subject, *dtype, axis, count, *falling),
        _ => Err("this kernel does not move by index".into()),
    }
}

/// A kernel of one block for each step of x, without the rest.
fn printed(
    subject: &Subject<'_>,
    out: Lines,
    symbols: Symbols,
    blocks: Dim,
    libraries: &[Library],
) -> Printed {
    Printed {
        body: out.finish(),
        parameters: subject.parameters(),
        symbols: symbols.list,
        threads: THREADS as u32,
        shared: 0,
        grid: [blocks, Dim::constant(1), Dim::constant(1)],
        indexed: None,
        libraries: libraries.to_vec(),
    }
}

/// Rows are moved in the largest pieces that they are made of.
fn gather(subject: &Subject<'_>, dtype: DType, axis: &Dim, count: &Dim, inner: &Dim) -> Printed {
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let (table, indices, to) = (subject.name(0), subject.name(1), subject.name(2));
    let size = dtype.size() as i64;
    let grain = subject.grain(0).min(subject.grain(2));
    let fits = |piece: i64| {
        let elements = piece / size;
        let whole = elements > 0 && inner.exact_div(&Dim::constant(elements)).is_some();
        whole && elements <= grain
    };
    let piece = [16, 8, 4, 2].into_iter().find(|piece| fits(*piece)).unwrap_or(1);
    let kind = match piece {
        16 => "uint4",
        8 => "uint2",
        4 => "unsigned",
        2 => "unsigned short",
        _ => "unsigned char",
    };
    let pieces = inner.exact_div(&Dim::constant((piece / size).max(1))).unwrap_or_else(|| inner.clone());
    let total = subject.extent.clone() * pieces.clone();
    out.line("// out[outer, i, :] = table[outer, indices[i], :], a piece of a row a thread.");
    out.line(constant("AXIS", axis, &mut symbols));
    out.line(constant("COUNT", count, &mut symbols));
    out.line(constant("PIECES", &pieces, &mut symbols));
    out.line(format!("typedef {kind} Piece;"));
    out.line(format!("const int at = blockIdx.x * {THREADS} + threadIdx.x;"));
    out.line(format!("if (at >= {}) return;", symbols.dim(&total)));
    out.line("const int piece = at % PIECES, i = at / PIECES % COUNT, outer = at / PIECES / COUNT;");
    out.line(format!("const int row = row_of({indices}[i], AXIS, i, stray, piece == 0 && outer == 0);"));
    out.line("Piece moved = {};");
    out.line(format!(
        "if (AXIS > 0) moved = ((const Piece*){table})[(outer * AXIS + row) * PIECES + piece];"
    ));
    out.line(format!("((Piece*){to})[at] = moved;"));
    let blocks = total.ceil_div(&Dim::constant(THREADS));
    Printed {
        indexed: Some((axis.clone(), count.clone())),
        ..printed(subject, out, symbols, blocks, &[Library::Index])
    }
}

/// Elements of the result that a block keeps in shared memory, and blocks that are enough.
const KEPT: i64 = 4096;
const ENOUGH: i64 = 256;

fn scatter_add(subject: &Subject<'_>, axis: &Dim, count: &Dim, inner: &Dim) -> Printed {
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let (updates, indices, to) = (subject.name(0), subject.name(1), subject.name(2));
    let estimate = |dim: &Dim| subject.plan.estimate(dim).max(1);
    let outer = subject.extent.exact_div(axis).unwrap_or_else(|| subject.extent.floor_div(axis));
    let cols = u64::try_from(estimate(inner)).unwrap_or(1).next_power_of_two().min(128) as i64;
    // Few rows a block where that makes more blocks; but at least one for each thread's group.
    let mut rows = KEPT / cols;
    let blocks = |rows: i64| {
        estimate(&outer) * (estimate(axis) + rows - 1) / rows * (estimate(inner) + cols - 1) / cols
    };
    while rows > 128 / cols && blocks(rows) < ENOUGH {
        rows /= 2;
    }
    out.line("// out[outer, indices[i], :] += updates[outer, i, :], from zero.");
    out.line(constant("AXIS", axis, &mut symbols));
    out.line(constant("COUNT", count, &mut symbols));
    out.line(constant("INNER", inner, &mut symbols));
    out.line(format!("constexpr int ROWS = {rows}, COLS = {cols};  // of a block"));
    let (of_axis, of_inner) = (axis.ceil_div(&Dim::constant(rows)), inner.ceil_div(&Dim::constant(cols)));
    let blocks = outer * of_axis;
    let (grid, [rows_at, cols_at]) = if fits_y(&of_inner) {
        ([blocks, of_inner, Dim::constant(1)], ["blockIdx.x", "blockIdx.y"])
    } else {
        out.line(constant("ACROSS", &of_inner, &mut symbols));
        let one = Dim::constant(1);
        ([blocks * of_inner, one.clone(), one], ["blockIdx.x / ACROSS", "blockIdx.x % ACROSS"])
    };
    out.line(format!("const int CHUNKS = (AXIS + ROWS - 1) / ROWS, outer = {rows_at} / CHUNKS;"));
    out.line(format!("const int row0 = {rows_at} % CHUNKS * ROWS, col0 = {cols_at} * COLS;"));
    out.line("ScatterAdd<ROWS, COLS>::run(");
    out.line(format!(
        "    {updates} + outer * COUNT * INNER, {indices}, COUNT, {to} + outer * AXIS * INNER, AXIS, INNER, row0, col0,"
    ));
    out.line("    stray, blockIdx.x == 0 && blockIdx.y == 0);");
    Printed {
        indexed: Some((axis.clone(), count.clone())),
        threads: 128,
        grid,
        ..printed(subject, out, symbols, Dim::constant(1), &[Library::Index])
    }
}

/// Columns that are enough for a thread to have one by itself.
const COLUMNS: i64 = 32;
/// Bytes that memory moves at once, and steps in which warps do not lose one another: what they move meanwhile is in a cache.
const SECTOR: i64 = 32;
const TOGETHER: i64 = 16;

fn cumulative_sum(subject: &Subject<'_>, axis: &Dim, inner: &Dim, reverse: bool, exclusive: bool) -> Printed {
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let (x, to) = (subject.name(0), subject.name(1));
    let lines = subject.extent.clone() * inner.clone();
    if subject.plan.estimate(inner) < COLUMNS {
        out.line("// Sums along an axis: a line of it a block.");
        out.line(constant("AXIS", axis, &mut symbols));
        out.line(constant("INNER", inner, &mut symbols));
        out.line("const int at = blockIdx.x / INNER * AXIS * INNER + blockIdx.x % INNER;");
        out.line(format!("sums_of_row({x} + at, {to} + at, AXIS, INNER, {reverse}, {exclusive});"));
        return printed(subject, out, symbols, lines, &[Library::Index]);
    }
    out.line("// Sums along an axis: a line of it a thread, whose neighbours have those beside it.");
    out.line(constant("AXIS", axis, &mut symbols));
    out.line(constant("INNER", inner, &mut symbols));
    out.line(format!("const int line = blockIdx.x * {THREADS} + threadIdx.x;"));
    // Where lines begin in the midst of a sector, what one warp reads of it the next one does too.
    let uneven = !is_multiple(inner, SECTOR / 4);
    if uneven {
        out.line(format!("const bool there = line < {};", symbols.dim(&lines)));
    } else {
        out.line(format!("if (line >= {}) return;", symbols.dim(&lines)));
    }
    out.line("int at = line / INNER * AXIS * INNER + line % INNER;");
    let step = if reverse {
        out.line("at += (AXIS - 1) * INNER;");
        "at -= INNER"
    } else {
        "at += INNER"
    };
    out.line("float sum = 0.0f;");
    if uneven {
        out.line("// The warps of a block stay together, for neighbours share the sectors at their ends.");
        out.open(format!("for (int first = 0; first < AXIS; first += {TOGETHER})"));
        out.line("__syncthreads();");
        out.open(format!("for (int i = first; there && i < min(first + {TOGETHER}, AXIS); ++i, {step})"));
    } else {
        out.open(format!("for (int i = 0; i < AXIS; ++i, {step})"));
    }
    out.line(format!("const float before = sum, value = {x}[at];"));
    out.line("sum += value;");
    out.line(format!("{to}[at] = {};", if exclusive { "before" } else { "sum" }));
    out.close();
    if uneven {
        out.close();
    }
    let blocks = lines.ceil_div(&Dim::constant(THREADS));
    printed(subject, out, symbols, blocks, &[])
}

/// A row of so few elements is sorted by counting.
const SHORT: i64 = 128;
/// Keys that fit into shared memory: narrow and wide ones.
const NARROW_KEYS: i64 = 4096;
const WIDE_KEYS: i64 = 2048;

fn sort(
    subject: &Subject<'_>,
    dtype: DType,
    axis: &Dim,
    count: &Dim,
    falling: bool,
) -> Result<Printed, String> {
    if matches!(dtype, DType::F16 | DType::BF16 | DType::Bool) {
        return Err(format!("{} is not sorted", dtype.name()));
    }
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let (x, values, places) = (subject.name(0), subject.name(1), subject.name(2));
    let (key, room) = if dtype.size() > 4 { ("WideKey", WIDE_KEYS) } else { ("NarrowKey", NARROW_KEYS) };
    let order = if falling { "falling" } else { "rising" };
    out.line(format!(
        "// The first {} of {} of each row, in {order} order.",
        symbols.dim(count),
        symbols.dim(axis)
    ));
    out.line(constant("COUNT", count, &mut symbols));
    out.line(constant("AXIS", axis, &mut symbols));
    if let Some(short) = axis.as_constant().filter(|axis| (1..=SHORT).contains(axis)) {
        let held = THREADS / short;
        let rows = symbols.divisor(&subject.extent);
        out.line(format!("rank_rows<{key}, AXIS, {falling}>({x}, {values}, {places}, {rows}, COUNT);"));
        let blocks = subject.extent.ceil_div(&Dim::constant(held));
        return Ok(printed(subject, out, symbols, blocks, &[Library::Sort]));
    }
    // Half of the room, or as much as is asked for; the rest is for what is gathered.
    let wanted = count.as_constant().and_then(|count| u64::try_from(count).ok()).unwrap_or(u64::MAX / 4);
    let keep = (wanted.next_power_of_two() as i64).clamp(1, room / 2);
    let size = (keep * 2).max(1024).min(room);
    out.line(format!(
        "sort_row<{key}, {size}, {keep}, {falling}>(\n    {x} + blockIdx.x * AXIS, {values} + blockIdx.x * COUNT, {places} + blockIdx.x * COUNT, AXIS, COUNT);"
    ));
    Ok(printed(subject, out, symbols, subject.extent.clone(), &[Library::Sort]))
}
