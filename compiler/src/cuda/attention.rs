//! Attention as a kernel, forward or backward: which tiles, where the heads lie, and what a score is; the loops are those of `flash.cuh`.
//!
//! The backward form is one launch of two kinds of blocks: some have queries and go through the keys, some have keys and go through the
//! queries, so that each sum has its owner and a fixed order.

use super::print::{Lines, Subject, Symbols};
use super::product::{by_four, constant, offset, starts_by_four};
use super::{Library, Printed};
use crate::graph::Dim;
use weft_runtime::program::Attention;

/// Threads of a block, as in the library.
const THREADS: u32 = 128;
/// Rows of the side that a block goes through, at a time.
const COLS: i64 = 32;
/// Rows that are wider come in pieces of [`PIECE`].
const WIDEST: i64 = 128;
const PIECE: i64 = 64;

/// Sizes of tiles.
#[derive(Clone, Copy, Debug)]
struct Form {
    rows: i64,
    width: i64,
    depth: i64,
    whole: bool,
}

impl Form {
    fn of(attention: &Attention<Dim>) -> Form {
        let held = |dim: &Dim| {
            let size = dim.as_constant().filter(|size| (0..=WIDEST).contains(size))?;
            Some((size as u64).next_power_of_two().max(16) as i64)
        };
        match (held(&attention.width), held(&attention.depth)) {
            // Wide rows are fewer: the results are in registers.
            (Some(width), Some(depth)) => {
                Form { rows: if width.max(depth) > PIECE { 32 } else { 64 }, width, depth, whole: true }
            }
            _ => Form { rows: 32, width: PIECE, depth: PIECE, whole: false },
        }
    }

    /// Bytes of shared memory.
    fn shared(self, backward: bool) -> i64 {
        let tile = |rows: i64, width: i64| rows * (width + 4) * 4;
        let (own_k, own_v) = (tile(self.rows, self.width), tile(self.rows, self.depth));
        let other = tile(COLS, self.width) + tile(COLS, self.depth);
        let weights = tile(self.rows, COLS);
        if backward { own_k + own_v + other + 2 * weights + 8 * COLS } else { own_k + other + weights }
    }
}

pub fn lower(subject: &Subject<'_>, attention: &Attention<Dim>) -> Result<Printed, String> {
    let form = Form::of(attention);
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let beside = usize::from(attention.bias.is_some()) + usize::from(attention.mask.is_some());
    let mask_at = 3 + usize::from(attention.bias.is_some());
    let name = |slot: usize| subject.name(slot);
    let fours = |slot: usize, strides: &[Dim; 3], width: &Dim| {
        starts_by_four(subject, slot) && by_four(width) && strides.iter().all(by_four)
    };
    let gradient_at = 3 + beside + 2;
    let of_four = [
        fours(0, &attention.q, &attention.width),
        fours(1, &attention.k, &attention.width),
        fours(2, &attention.v, &attention.depth),
        attention.backward && fours(gradient_at, &attention.gradient, &attention.depth),
    ];
    out.line(if attention.backward {
        "// The adjoints of q, k and v, whose weights are computed again from the rows' sums: the first blocks have queries, the others keys."
    } else {
        "// softmax(scale * q k^T) v, and the logarithms of the rows' sums."
    });
    let dims = [
        ("QUERIES", &attention.queries),
        ("KEYS", &attention.keys),
        ("HEADS", &attention.heads),
        ("GROUPS", &attention.groups),
        ("WIDTH", &attention.width),
        ("DEPTH", &attention.depth),
    ];
    for (name, dim) in dims {
        out.line(constant(name, dim, &mut symbols));
    }
    out.line(format!(
        "typedef Flash<{}, {COLS}, {}, {}, {}, {}, {}, {}, {}> Form;",
        form.rows, form.width, form.depth, form.whole, of_four[0], of_four[1], of_four[2], of_four[3]
    ));
    out.line("extern __shared__ __align__(16) char shared_memory[];");
    let scale = float(f32::from_bits(attention.scale));
    // With so many keys before the first query's own place, as what is added to a query's number.
    let before = attention.causal.as_ref().map(|before| {
        if before.is(0) { String::new() } else { format!(" + max({}, 0)", symbols.dim(before)) }
    });

    // What a block of queries, or of keys, is of.
    let head =
        |symbols: &mut Symbols, slot: usize, strides: &[Dim; 3], head: &str, rows: &str, width: &str| {
            let at = place(symbols, &[("item", &strides[0]), (head, &strides[2])]);
            format!("{{{} + {at}, {}, {rows}, {width}}}", name(slot), symbols.dim(&strides[1]))
        };
    let q = head(&mut symbols, 0, &attention.q, "head", "QUERIES", "WIDTH");
    let k = head(&mut symbols, 1, &attention.k, "group", "KEYS", "WIDTH");
    let v = head(&mut symbols, 2, &attention.v, "group", "KEYS", "DEPTH");
    let mut score = vec!["auto score = [&](int query, int key, float product) {".to_string()];
    if let Some(before) = &before {
        score.push(format!("    if (key > query{before}) return -infinite();"));
    }
    let at = |symbols: &mut Symbols, strides: &[Dim; 4]| {
        place(
            symbols,
            &[("item", &strides[0]), ("head", &strides[1]), ("query", &strides[2]), ("key", &strides[3])],
        )
    };
    if let Some(strides) = &attention.mask {
        score.push(format!("    if (!{}[{}]) return -infinite();", name(mask_at), at(&mut symbols, strides)));
    }
    score.push(match &attention.bias {
        Some(strides) => {
            format!("    return product * {scale} + {}[{}];", name(3), at(&mut symbols, strides))
        }
        None => format!("    return product * {scale};"),
    });
    score.push("};".into());
    let key_end = match &before {
        Some(before) => format!("min(KEYS, row0 + Form::ROWS{before})"),
        None => "KEYS".into(),
    };
    let pieces = |dim: &Dim, by: i64| dim.ceil_div(&Dim::constant(by));
    let tiles = |rows: &Dim| rows.ceil_div(&Dim::constant(form.rows));
    let query_blocks = attention.n.clone() * attention.heads.clone() * tiles(&attention.queries);
    let grid = if attention.backward {
        let key_blocks = attention.n.clone() * attention.groups.clone() * tiles(&attention.keys);
        let [result, sums] = [gradient_at - 2, gradient_at - 1].map(name);
        let [to_q, to_k, to_v] = [gradient_at + 1, gradient_at + 2, gradient_at + 3].map(name);
        let g = head(&mut symbols, gradient_at, &attention.gradient, "head", "QUERIES", "DEPTH");
        let results =
            format!("{{{result} + (item * QUERIES * HEADS + head) * DEPTH, HEADS * DEPTH, QUERIES, DEPTH}}");
        let row_sums = format!("{sums} + (item * HEADS + head) * QUERIES");
        out.line(format!("const int query_blocks = {};", symbols.dim(&query_blocks)));
        out.open("if (blockIdx.x < query_blocks)");
        out.line("const int tiles = (QUERIES + Form::ROWS - 1) / Form::ROWS;");
        out.line("const int row0 = blockIdx.x % tiles * Form::ROWS, head = blockIdx.x / tiles % HEADS;");
        out.line("const int item = blockIdx.x / tiles / HEADS, group = head / (HEADS / GROUPS);");
        out.line(score.join("\n"));
        if attention.bias_gradient {
            let to_bias = name(gradient_at + 4);
            out.line("auto slope = [&](int query, int key, float x) {");
            out.line(format!("    {to_bias}[((item * HEADS + head) * QUERIES + query) * KEYS + key] = x;"));
            out.line("};");
        } else {
            out.line("auto slope = [](int, int, float) {};");
        }
        // Where each slope is asked for, those of keys that are not seen are too.
        let key_end = if attention.bias_gradient { "KEYS".into() } else { key_end };
        out.line("Form::of_queries(");
        out.line(format!("    shared_memory, Head{q}, Head{k}, Head{v}, Head{g},"));
        out.line(format!("    Head{results}, {row_sums},"));
        out.line(format!("    row0, blockIdx.y * Form::WIDTH, {key_end}, {scale}, {to_q} + (item * QUERIES * HEADS + head) * WIDTH, HEADS * WIDTH,"));
        out.line("    score, slope);");
        out.line("return;");
        out.close();
        out.line("const int tiles = (KEYS + Form::ROWS - 1) / Form::ROWS, at = blockIdx.x - query_blocks;");
        out.line("const int row0 = at % tiles * Form::ROWS, group = at / tiles % GROUPS, item = at / tiles / GROUPS;");
        out.line("Results<Form::ROWS, Form::WIDTH> of_k;");
        out.line("Results<Form::ROWS, Form::DEPTH> of_v;");
        out.line(
            "for (int head = group * (HEADS / GROUPS); head < (group + 1) * (HEADS / GROUPS); ++head) {",
        );
        let mut inner = Lines::new();
        inner.line(score.join("\n"));
        // Queries before these see none of the keys.
        let first = match &before {
            Some(before) if before.is_empty() => "row0".into(),
            Some(before) => format!("max(row0 - {}, 0)", before.trim_start_matches(" + ")),
            None => "0".into(),
        };
        inner.line("Form::of_keys(");
        inner.line(format!("    shared_memory, Head{q}, Head{k}, Head{v}, Head{g},"));
        inner.line(format!("    Head{results}, {row_sums},"));
        inner.line(format!("    row0, blockIdx.y * {}, {first}, of_k, of_v, score);", form.width));
        out.line(inner.finish().trim_end());
        out.line("}");
        out.line(format!(
            "of_k.put({to_k} + (item * KEYS * GROUPS + group) * WIDTH, GROUPS * WIDTH, row0, KEYS, blockIdx.y * Form::WIDTH, WIDTH, [](int) {{ return {scale}; }});"
        ));
        out.line(format!(
            "of_v.put({to_v} + (item * KEYS * GROUPS + group) * DEPTH, GROUPS * DEPTH, row0, KEYS, blockIdx.y * Form::DEPTH, DEPTH, [](int) {{ return 1.0f; }});"
        ));
        let across = pieces(&attention.width, form.width).larger(&pieces(&attention.depth, form.depth));
        [query_blocks + key_blocks, across, Dim::constant(1)]
    } else {
        let [result, sums] = [3 + beside, 4 + beside].map(name);
        out.line("const int tiles = (QUERIES + Form::ROWS - 1) / Form::ROWS;");
        out.line("const int row0 = blockIdx.x % tiles * Form::ROWS, head = blockIdx.x / tiles % HEADS;");
        out.line("const int item = blockIdx.x / tiles / HEADS, group = head / (HEADS / GROUPS);");
        out.line(score.join("\n"));
        out.line("Form::forward(");
        out.line(format!("    shared_memory, Head{q}, Head{k}, Head{v},"));
        out.line(format!("    row0, blockIdx.y * Form::DEPTH, {key_end}, {result} + (item * QUERIES * HEADS + head) * DEPTH, HEADS * DEPTH,"));
        out.line(format!("    {sums} + (item * HEADS + head) * QUERIES, score);"));
        [query_blocks, pieces(&attention.depth, form.depth), Dim::constant(1)]
    };
    Ok(Printed {
        body: out.finish(),
        parameters: subject.parameters(),
        symbols: symbols.0,
        threads: THREADS,
        shared: form.shared(attention.backward) as u32,
        grid,
        indexed: None,
        libraries: vec![Library::Memory, Library::Flash],
    })
}

/// The sum of numbers times strides.
fn place(symbols: &mut Symbols, terms: &[(&str, &Dim)]) -> String {
    let list: Vec<String> = terms
        .iter()
        .map(|(index, stride)| offset(symbols, index, &[(&Dim::constant(2), stride)]))
        .filter(|term| term != "0")
        .collect();
    if list.is_empty() { "0".into() } else { list.join(" + ") }
}

/// A constant of C.
fn float(value: f32) -> String {
    if value.is_finite() { format!("{value:?}f") } else { format!("__int_as_float({:#x})", value.to_bits()) }
}
