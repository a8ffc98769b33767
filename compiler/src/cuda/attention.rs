//! Attention as a kernel, forward or backward: which tiles, where the heads lie, and what a score is; the loops are those of `flash.cuh`, or, on
//! tensor cores, of `flash_tensor.cuh`.
//!
//! The backward form is one launch of two kinds of blocks: some have queries and go through the keys, some have keys and go through the
//! queries, so that each sum has its owner and a fixed order.

use super::print::{Lines, Subject, Symbols};
use super::product::{constant, is_multiple, offset, together};
use super::{Library, Math, Printed};
use crate::graph::{DType, Dim};
use crate::plan::halves::WIDEST;
use weft_runtime::program::Attention;

/// Threads of a block, as in the library.
const THREADS: u32 = 128;
/// Rows of the side that a block goes through, at a time.
const COLS: i64 = 32;
/// Rows that are wider than [`WIDEST`] come in pieces.
const PIECE: i64 = 64;
/// Rows of a block's own side on tensor cores.
const ROWS: i64 = 64;

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

    /// Bytes of shared memory on tensor cores, of numbers of so many bytes: one side's rows, two tiles of the other, and sums and means.
    fn shared_by_tensors(self, backward: bool, size: i64) -> i64 {
        let tile = |rows: i64, width: i64| rows * (width * size + 16);
        let both = |rows: i64| tile(rows, self.width) + tile(rows, self.depth);
        if backward {
            both(ROWS) + 2 * both(COLS) + 4 * COLS * 4
        } else {
            tile(ROWS, self.width) + 2 * both(COLS)
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
    let mut form = Form::of(attention);
    let number = match subject.dtype(0) {
        DType::BF16 => Some("bfloat_t"),
        DType::F16 => Some("half_t"),
        _ => (subject.math == Math::Tf32 && form.whole).then_some("float"),
    };
    if number.is_some() {
        form.rows = ROWS;
    }
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let beside = usize::from(attention.bias.is_some()) + usize::from(attention.mask.is_some());
    let mask_at = 3 + usize::from(attention.bias.is_some());
    let name = |slot: usize| subject.name(slot);
    let together = |slot: usize, strides: &[Dim; 3], width: &Dim| {
        let most = if subject.dtype(slot) == DType::F32 { 4 } else { 8 };
        let even =
            |number| is_multiple(width, number) && strides.iter().all(|stride| is_multiple(stride, number));
        together(subject, slot, even).min(most)
    };
    let gradient_at = 3 + beside + 2;
    let runs = [
        together(0, &attention.q, &attention.width),
        together(1, &attention.k, &attention.width),
        together(2, &attention.v, &attention.depth),
        if attention.backward { together(gradient_at, &attention.gradient, &attention.depth) } else { 1 },
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
    out.line(match number {
        Some(number) => {
            let [q, k, v, g] = runs;
            format!("typedef FlashMma<{number}, {}, {}, {q}, {k}, {v}, {g}> Form;", form.width, form.depth)
        }
        None => {
            let [q, k, v, g] = runs.map(|run| run > 1);
            format!(
                "typedef Flash<{}, {COLS}, {}, {}, {}, {q}, {k}, {v}, {g}> Form;",
                form.rows, form.width, form.depth, form.whole
            )
        }
    });
    // Rows of the operands, and of what is in f32 whatever they are; where a piece of the columns begins, for those that have pieces.
    let rows_of = number.map_or("Head".to_string(), |number| format!("HeadOf<{number}>"));
    let plain = if number.is_some() { "HeadOf<float>" } else { "Head" };
    let piece = |width: &str| match number {
        Some(_) => String::new(),
        None => format!(" blockIdx.y * Form::{width},"),
    };
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
        score.push(format!("    if (key > query{before}) return -INF;"));
    }
    let at = |symbols: &mut Symbols, strides: &[Dim; 4]| {
        place(
            symbols,
            &[("item", &strides[0]), ("head", &strides[1]), ("query", &strides[2]), ("key", &strides[3])],
        )
    };
    if let Some(strides) = &attention.mask {
        score.push(format!("    if (!{}[{}]) return -INF;", name(mask_at), at(&mut symbols, strides)));
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
        out.line(format!("    shared_memory, {rows_of}{q}, {rows_of}{k}, {rows_of}{v}, {rows_of}{g},"));
        out.line(format!("    {plain}{results}, {row_sums},"));
        out.line(format!("    row0,{} {key_end}, {scale}, {to_q} + (item * QUERIES * HEADS + head) * WIDTH, HEADS * WIDTH,", piece("WIDTH")));
        out.line("    score, slope);");
        out.line("return;");
        out.close();
        out.line("const int tiles = (KEYS + Form::ROWS - 1) / Form::ROWS, at = blockIdx.x - query_blocks;");
        out.line("const int row0 = at % tiles * Form::ROWS, group = at / tiles % GROUPS, item = at / tiles / GROUPS;");
        for (sums, width) in [("of_k", "WIDTH"), ("of_v", "DEPTH")] {
            out.line(match number {
                Some(_) => {
                    format!("Sums<{}> {sums};", if width == "WIDTH" { form.width } else { form.depth })
                }
                None => format!("Results<Form::ROWS, Form::{width}> {sums};"),
            });
        }
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
        inner.line(format!("    shared_memory, {rows_of}{q}, {rows_of}{k}, {rows_of}{v}, {rows_of}{g},"));
        inner.line(format!("    {plain}{results}, {row_sums},"));
        inner.line(format!("    row0,{} {first}, of_k, of_v, score);", piece("WIDTH")));
        out.line(inner.finish().trim_end());
        out.line("}");
        let own_row = if number.is_some() { "row0 + Form::part()" } else { "row0" };
        for (sums, to, width, by) in
            [("of_k", to_k, "WIDTH", scale.as_str()), ("of_v", to_v, "DEPTH", "1.0f")]
        {
            let at = piece(width);
            out.line(format!(
                "{sums}.put({to} + (item * KEYS * GROUPS + group) * {width}, GROUPS * {width}, {own_row}, KEYS,{at} {width}, [](int) {{ return {by}; }});"
            ));
        }
        let across = pieces(&attention.width, form.width).larger(&pieces(&attention.depth, form.depth));
        [query_blocks + key_blocks, across, Dim::constant(1)]
    } else {
        let [result, sums] = [3 + beside, 4 + beside].map(name);
        out.line("const int tiles = (QUERIES + Form::ROWS - 1) / Form::ROWS;");
        out.line("const int row0 = blockIdx.x % tiles * Form::ROWS, head = blockIdx.x / tiles % HEADS;");
        out.line("const int item = blockIdx.x / tiles / HEADS, group = head / (HEADS / GROUPS);");
        out.line(score.join("\n"));
        out.line("Form::forward(");
        out.line(format!("    shared_memory, {rows_of}{q}, {rows_of}{k}, {rows_of}{v},"));
        out.line(format!(
            "    row0,{} {key_end}, {result} + (item * QUERIES * HEADS + head) * DEPTH, HEADS * DEPTH,",
            piece("DEPTH")
        ));
        out.line(format!("    {sums} + (item * HEADS + head) * QUERIES, score);"));
        [query_blocks, pieces(&attention.depth, form.depth), Dim::constant(1)]
    };
    Ok(Printed {
        body: out.finish(),
        parameters: subject.parameters(),
        symbols: symbols.list,
        threads: THREADS,
        shared: match number {
            Some("float") => form.shared_by_tensors(attention.backward, 4) as u32,
            Some(_) => form.shared_by_tensors(attention.backward, 2) as u32,
            None => form.shared(attention.backward) as u32,
        },
        grid,
        indexed: None,
        libraries: match number {
            Some(_) => vec![Library::Memory, Library::Matrix, Library::Tensor, Library::FlashTensor],
            None => vec![Library::Memory, Library::Flash],
        },
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
