//! Products of matrices as kernels: what contractions and convolutions have in common.
//!
//! A [`Product`] says what the rows, the columns and the steps of a sum are, and where operands lie; the loops are those of `matrix.cuh` and
//! `few.cuh`, or `tensor.cuh`: operands of 16 bits are for tensor cores, and so are those of f32 where the math is tf32. What is done to each
//! element of C before it is stored is printed as the loop nests are, and so is what an operand is made of while it is loaded ([`prologue`]). Which of their forms is taken follows from a small model of their costs
//! ([`choose`]), at the likely values of symbols.

use super::nest::unflatten;
use super::nest::value::{Axis, Scope, Writer};
use super::print::{Lines, Subject, Symbols};
use super::{Library, Math, Printed, prologue};
use crate::graph::{DType, Dim};
use crate::plan::Epilogue;
use crate::plan::nest::{ValueId, ValueOp};
use crate::plan::prologue::Shape;
use weft_runtime::program::LARGEST_GRID;

/// How neighbours in an operand's tile lie in memory; see `matrix.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lie {
    /// Along the sum, or else across it.
    pub along: bool,
    /// Whether these neighbours have a stride of 1.
    pub near: bool,
    /// So many of them (1, 4 or 8), from a multiple on, are there together or not at all, and aligned.
    pub together: i64,
}

impl Lie {
    /// Its name, where a thread moves no more than `most` elements at once.
    fn name(self, most: i64) -> String {
        let together = self.together.min(most);
        let number = if together == 1 { String::new() } else { format!("_{together}") };
        format!("{}{number}", if self.along { "ALONG_K" } else { "ACROSS_K" })
    }
}

/// A, whose elements are named by `row` and `step`, or B, by `col` and `step`.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Where it begins for this `item`: elements behind the first, an expression.
    pub begins: String,
    /// Statements that end by returning the `Place` of an element.
    pub at: Vec<String>,
    pub lie: Lie,
}

/// Products of the same form side by side, in a kernel whose text names `row`, `col`, `step` and `item`.
#[derive(Debug)]
pub struct Product {
    /// What it computes, in words.
    pub about: String,
    /// Names of dims; those are declared that a text below mentions.
    pub names: Vec<(&'static str, Dim)>,
    pub rows: Dim,
    pub cols: Dim,
    pub steps: Dim,
    /// How many products there are, and what a block does that knows its `item`.
    pub items: Dim,
    pub of_item: Vec<String>,
    /// Rows and steps of an item where not all have as many (those above are then the most), as expressions.
    pub own: Option<(String, String)>,
    pub a: Operand,
    pub b: Operand,
    /// C's name, where it begins for this item, and the elements of one part of it.
    pub c: String,
    pub c_item: String,
    pub c_size: Dim,
    /// The sum is cut into so many parts, written one after another.
    pub parts: Dim,
    /// An expression of the place in C of the first column of `row`.
    pub c_row: Vec<String>,
    /// Whether four columns of C that begin at a multiple of four lie together, at a place that is one too.
    pub c_fours: bool,
    /// A pointer to what the columns are multiplied by.
    pub scales: Option<String>,
}

/// One of the ways to compute a tile.
#[derive(Debug)]
struct Form {
    /// The numbers of its template.
    name: &'static str,
    rows: i64,
    cols: i64,
    threads: u32,
    /// What part of its processor's multiply-adds it does when nothing else holds it up, in percent.
    rate: i64,
}

/// Tiles of each kind of units; the first ones for large products.
const PLAIN: &[Form] = &[
    Form { name: "2, 2, 4, 2, 8", rows: 128, cols: 128, threads: 256, rate: 90 },
    Form { name: "2, 1, 4, 2, 16", rows: 128, cols: 64, threads: 256, rate: 75 },
    Form { name: "2, 1, 2, 2, 16", rows: 64, cols: 64, threads: 128, rate: 75 },
    Form { name: "2, 1, 4, 1, 16", rows: 128, cols: 32, threads: 128, rate: 75 },
    Form { name: "1, 1, 2, 2, 16", rows: 32, cols: 64, threads: 128, rate: 50 },
    Form { name: "1, 1, 2, 1, 16", rows: 32, cols: 32, threads: 64, rate: 50 },
    Form { name: "1, 1, 1, 4, 16", rows: 16, cols: 128, threads: 128, rate: 50 },
];
const TENSOR: &[Form] = &[
    Form { name: "4, 2, 2, 4", rows: 128, cols: 128, threads: 256, rate: 60 },
    Form { name: "4, 2, 2, 2", rows: 128, cols: 64, threads: 128, rate: 50 },
    Form { name: "2, 2, 2, 2", rows: 64, cols: 64, threads: 128, rate: 40 },
    Form { name: "2, 1, 2, 2", rows: 64, cols: 32, threads: 128, rate: 25 },
    Form { name: "1, 2, 2, 2", rows: 32, cols: 64, threads: 128, rate: 25 },
];
/// Stages of tiles in shared memory, each of so many bytes along the sum, and the elements by which lines across it are longer.
const STAGES: i64 = 3;
const LINE: i64 = 64;
const APART: i64 = 8;

/// Processors of the GPU that forms are chosen for, and the threads that keep one busy: those of an A100.
const PROCESSORS: i64 = 108;
const BUSY: i64 = 256;

/// The form of tile that is done first, by the model: blocks are dealt out evenly to processors, each does theirs at the form's rate, or
/// slower with too few threads.
fn choose(forms: &'static [Form], rows: i64, cols: i64, products: i64) -> &'static Form {
    let cost = |form: &&Form| {
        let up = |of: i64, by: i64| of.max(1).saturating_add(by - 1) / by;
        let blocks = products.saturating_mul(up(rows, form.rows)).saturating_mul(up(cols, form.cols));
        let of_one = up(blocks, PROCESSORS).min(i64::MAX >> 40);
        let busy = (of_one * i64::from(form.threads)).min(BUSY);
        of_one * form.rows * form.cols * BUSY * 1000 / (busy * form.rate)
    };
    forms.iter().min_by_key(cost).unwrap_or(&forms[0])
}

/// Rows that are few: each element of B is read once for all of them.
const FEW: i64 = 4;
/// Loads of a prologue for which the largest tile has registers.
const READS: usize = 2;
/// Columns that are enough for reading four of them at once, where few rows give little work.
const MANY: i64 = 8192;

/// What tensor cores multiply of operands of these types, if they do. Numbers of i8 are widened to what the other operand is of.
fn number(types: [DType; 2], math: Math) -> Option<&'static str> {
    match types {
        [DType::BF16, DType::BF16 | DType::I8] => Some("bfloat_t"),
        [DType::F16, DType::F16 | DType::I8] => Some("half_t"),
        _ if math == Math::Tf32 => Some("float"),
        _ => None,
    }
}

/// Rows and columns of the tiles in which a product with a prologue is done, as far as that is known before it is printed.
pub fn tile(shape: &Shape, math: Math) -> (i64, i64) {
    if shape.rows <= FEW {
        return (FEW, 8);
    }
    let forms = if number(shape.types, math).is_some() { TENSOR } else { PLAIN };
    let form = choose(&forms[usize::from(shape.reads > READS)..], shape.rows, shape.cols, shape.products);
    (form.rows, form.cols)
}

impl Product {
    /// The kernel.
    pub fn print(mut self, subject: &Subject<'_>, mut symbols: Symbols) -> Result<Printed, String> {
        for (slot, operand) in [&mut self.a, &mut self.b].into_iter().enumerate() {
            if let Some(prologue) = subject.launch.prologues.iter().find(|prologue| prologue.slot == slot) {
                operand.lie.together = prologue::width(prologue, operand.lie.together);
            }
        }
        let estimate = |dim: &Dim| subject.plan.estimate(dim);
        let (rows, cols) = (estimate(&self.rows), estimate(&self.cols));
        let few = rows <= FEW && self.own.is_none() && self.b.lie.near;
        let number = number([0, 1].map(|slot| subject.operand(slot)), subject.math);
        let halves = number.is_some_and(|number| number != "float");
        let most = if halves { 8 } else { 4 };
        let (name, tile, threads, library, tile_width) = match (few, self.b.lie.along && self.a.lie.along) {
            (true, true) if self.a.lie.near => {
                let width = self.a.lie.together.min(self.b.lie.together).min(most);
                (format!("FewAlong<4, {width}, 8>"), (FEW, 8), 256, Library::Few, width)
            }
            (true, _) if !self.b.lie.along => {
                let width = if cols >= MANY { self.b.lie.together.min(4) } else { 1 };
                (format!("FewAcross<4, {width}, 8>"), (FEW, 32 * width), 256, Library::Few, width)
            }
            _ => {
                let products = estimate(&self.items).saturating_mul(estimate(&self.parts));
                // The places of single elements, and much that a prologue reads, take the registers that the largest tile has not.
                let single = self.a.lie.together == 1 || self.b.lie.together == 1;
                let reads = subject.launch.prologues.iter().map(|prologue| prologue.stage.reads().count());
                let least = usize::from(single || reads.sum::<usize>() > READS);
                let forms = if number.is_some() { TENSOR } else { PLAIN };
                let form = choose(&forms[least..], rows, cols, products);
                let (name, library) = match number {
                    Some(number) => (format!("TileMma<{number}, {}>", form.name), Library::Tensor),
                    None => (format!("TileF32<{}>", form.name), Library::Matrix),
                };
                (name, (form.rows, form.cols), form.threads, library, 1)
            }
        };
        let few = library == Library::Few;
        let (tile_rows, tile_cols) = tile;
        // What operands are made of, while they are loaded.
        let (mut made, mut sources) = (Lines::new(), Vec::new());
        for (slot, (letter, operand)) in [("a", &self.a), ("b", &self.b)].into_iter().enumerate() {
            let Some(prologue) = subject.launch.prologues.iter().find(|prologue| prologue.slot == slot)
            else {
                let name = subject.name(slot);
                sources.push(match operand.begins.as_str() {
                    "0" => name.to_string(),
                    begins => format!("{name} + {begins}"),
                });
                continue;
            };
            let width = match (library, slot) {
                // One element of A is for several of B.
                (Library::Few, 0) if name.starts_with("FewAcross") => 1,
                (Library::Few, _) => tile_width,
                _ => operand.lie.together.min(most),
            };
            let mut writer = Writer { subject, symbols, lines: made };
            sources.push(prologue::print(&mut writer, prologue, letter, &operand.begins, width)?);
            (symbols, made) = (writer.symbols, writer.lines);
        }
        let mut out = Lines::new();
        out.line(format!("// {}", self.about));
        let texts = self.of_item.iter().chain(&self.a.at).chain(&self.b.at).chain(&self.c_row);
        for line in constants(&self.names, &texts.cloned().collect::<Vec<_>>(), &mut symbols) {
            out.line(line);
        }
        for (name, dim) in std::mem::take(&mut symbols.reciprocals) {
            out.line(format!("const Divisor {name}({});", symbols.dim(&dim)));
        }
        out.line(constant("COLS", &self.cols, &mut symbols));
        let tiles = self.rows.ceil_div(&Dim::constant(tile.0));
        let (own_rows, own_steps) = self.own.clone().unzip();
        if own_rows.is_none() {
            out.line(constant("ROWS", &self.rows, &mut symbols));
        }
        if own_steps.is_none() {
            out.line(constant("STEPS", &self.steps, &mut symbols));
        }
        out.line(format!("typedef {name} Tile;  // {} x {} of C a block", tile.0, tile.1));
        let across = self.cols.ceil_div(&Dim::constant(tile.1));
        let along_y = fits_y(&across);
        if self.items.is(1) && along_y {
            out.line("const int row0 = blockIdx.x * Tile::M, col0 = blockIdx.y * Tile::N;");
        } else {
            out.line(constant("TILES", &tiles, &mut symbols));
            let (mut item, mut col) = ("blockIdx.x / TILES", "blockIdx.y");
            if !along_y {
                // Columns come last, so that blocks are done in the same order.
                (item, col) = ("blockIdx.x / TILES % ITEMS", "blockIdx.x / TILES / ITEMS");
                if self.items.is(1) {
                    col = "blockIdx.x / TILES";
                } else {
                    out.line(constant("ITEMS", &self.items, &mut symbols));
                }
            }
            if !self.items.is(1) {
                out.line(format!("const int item = {item};"));
            }
            out.line(format!("const int row0 = blockIdx.x % TILES * Tile::M, col0 = {col} * Tile::N;"));
        }
        for line in &self.of_item {
            out.line(line);
        }
        if let (Some(rows), Some(steps)) = (own_rows, own_steps) {
            out.line(format!("const int ROWS = {rows}, STEPS = {steps};"));
            out.line("if (row0 >= ROWS) return;");
        }
        let mut place: Vec<String> = vec![self.c_item.clone()];
        let range = if self.parts.is(1) {
            ("0", "STEPS")
        } else {
            out.line("// The sum is cut into parts, one for each z.");
            out.line(constant("PARTS", &self.parts, &mut symbols));
            out.line("const int PART = (STEPS + PARTS * 16 - 1) / (PARTS * 16) * 16;");
            out.line("const int first = blockIdx.z * PART, last = min(first + PART, STEPS);");
            place.push(format!("blockIdx.z * {}", symbols.factor(&self.c_size)));
            ("first", "last")
        };
        for (name, index, operand) in [("a_at", "row", &self.a), ("b_at", "col", &self.b)] {
            if let [at] = operand.at.as_slice() {
                out.line(format!("auto {name} = [&](int {index}, int step) {{ {at} }};"));
            } else {
                out.line(format!("auto {name} = [&](int {index}, int step) {{"));
                for line in &operand.at {
                    out.line(format!("    {line}"));
                }
                out.line("};");
            }
        }
        if !few && subject.operand(1) == DType::I8 {
            // Two neighbours of 16 bits at once, or a single one, and whether it is there; see memory.cuh.
            let operations = match (halves, self.b.lie.together) {
                (true, 1) => "2",
                (true, _) => "0.5",
                _ => "1",
            };
            out.line(format!("// B is made with {operations} operations an element, of i8."));
        }
        let made = made.finish();
        if !made.is_empty() {
            out.append(&made);
        }
        let epilogue = subject.launch.epilogue.as_ref();
        // A thread has four columns of the map's last axis, or one.
        let even = epilogue.is_none_or(|epilogue| epilogue.stage.kept.last().is_some_and(by_four));
        let width = if self.c_fours && even && !few { 4 } else { 1 };
        let mut put = Lines::new();
        for line in &self.c_row[..self.c_row.len().saturating_sub(1)] {
            put.line(line);
        }
        place.extend(self.c_row.last().cloned());
        place.push("col".into());
        place.retain(|term| term != "0");
        let place = place.join(" + ");
        let values = if self.scales.is_some() { "scaled" } else { "values" };
        if let Some(scales) = &self.scales {
            put.line(format!("float scaled[{width}];"));
            put.line("#pragma unroll");
            put.line(format!("for (int i = 0; i < {width}; ++i) scaled[i] = values[i] * {scales}[col + i];"));
        }
        out.line("auto put = [&](int row, int col, const float* values) {");
        match epilogue {
            None => put.line(format!("store<{width}>({} + {place}, {values});", self.c)),
            Some(epilogue) => {
                let mut writer = Writer { subject, symbols, lines: put };
                map(&mut writer, epilogue, width, &place, values)?;
                (symbols, put) = (writer.symbols, writer.lines);
            }
        }
        out.line(put.finish().trim_end());
        out.line("};");
        let (a, b) = (&sources[0], &sources[1]);
        let operands = format!("{a}, a_at, row0, ROWS, {b}, b_at, col0, COLS, {}, {}", range.0, range.1);
        if few {
            out.line(format!("Tile::multiply({operands}, put);"));
        } else {
            out.line("Tile tile;");
            let (a, b) = (self.a.lie.name(most), self.b.lie.name(most));
            out.line(format!("tile.multiply<{a}, {b}>({operands});"));
            out.line(format!("tile.store<{width}>(row0, ROWS, col0, COLS, put);"));
        }
        let of_items = self.items.clone() * tiles;
        Ok(Printed {
            body: out.finish(),
            parameters: subject.parameters(),
            symbols: symbols.list,
            threads,
            shared: if library == Library::Tensor {
                let size = if halves { 2 } else { 4 };
                let tile =
                    |extent: i64, lie: Lie| (extent + if lie.along { 0 } else { APART }) * LINE / size * size;
                (STAGES * (tile(tile_rows, self.a.lie) + tile(tile_cols, self.b.lie))) as u32
            } else {
                0
            },
            grid: match along_y {
                true => [of_items, across, self.parts.clone()],
                false => [of_items * across, Dim::constant(1), self.parts.clone()],
            },
            indexed: None,
            // Those of tensor cores are written in terms of the plain ones.
            libraries: match library {
                Library::Tensor => vec![Library::Memory, Library::Matrix, Library::Tensor],
                other => vec![Library::Memory, other],
            },
        })
    }
}

/// Are blocks along y always as few as a grid can have there? Of those along x there may be as many as anybody counts.
pub fn fits_y(blocks: &Dim) -> bool {
    blocks.as_constant().is_some_and(|blocks| blocks <= LARGEST_GRID[1])
}

/// What a product's epilogue does at a place of C, `width` neighbours at once.
fn map(w: &mut Writer<'_>, epilogue: &Epilogue, width: i64, place: &str, values: &str) -> Result<(), String> {
    let stage = &epilogue.stage;
    w.line(format!("const unsigned point = {place};"));
    let variables: Vec<(usize, Dim)> = stage.kept.iter().cloned().enumerate().collect();
    unflatten(w, "point", &variables);
    let axis = (width > 1).then(|| Axis { variable: stage.kept.len() - 1, width, left: None });
    let element = if width > 1 { format!("{values}[k]") } else { format!("{values}[0]") };
    let mut scope = Scope::new(stage).along(axis);
    for (at, value) in stage.values.iter().enumerate() {
        if matches!(value.op, ValueOp::Load { buffer, .. } if buffer == epilogue.of) {
            scope.give(ValueId(at as u32), &element);
        }
    }
    scope.point(w, false)
}

/// The declaration of a dim under a name.
pub fn constant(name: &str, dim: &Dim, symbols: &mut Symbols) -> String {
    let kind = if dim.as_constant().is_some() { "constexpr" } else { "const" };
    format!("{kind} int {name} = {};", symbols.dim(dim))
}

/// The declarations of those names that some texts mention, several in a line.
pub fn constants(names: &[(&'static str, Dim)], texts: &[String], symbols: &mut Symbols) -> Vec<String> {
    let mentions = |name: &str, text: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
    };
    let (mut fixed, mut lines) = (Vec::new(), Vec::new());
    for (name, dim) in names.iter().filter(|(name, _)| texts.iter().any(|text| mentions(name, text))) {
        let divides = || texts.iter().any(|text| divides(name, text));
        match dim.as_constant() {
            Some(value) => fixed.push(format!("{name} = {value}")),
            None if divides() => lines.push(format!("const Divisor {name}({});", symbols.dim(dim))),
            None => lines.push(constant(name, dim, symbols)),
        }
    }
    if !fixed.is_empty() {
        lines.insert(0, format!("constexpr int {};", fixed.join(", ")));
    }
    lines
}

/// Is something divided by what has this name?
fn divides(name: &str, text: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let (before, behind) = (text[..at].trim_end(), &text[at + name.len()..]);
        before.ends_with(['/', '%']) && !behind.starts_with(word)
    })
}

/// The offset of an index that runs over axes of these extents and strides, the first outermost: `row / 5 * 40 + row % 5`.
pub fn offset(symbols: &mut Symbols, index: &str, axes: &[(&Dim, &Dim)]) -> String {
    let mut terms = Vec::new();
    let mut inside = Dim::constant(1);
    for (place, (extent, stride)) in axes.iter().enumerate().rev() {
        let mut term = index.to_string();
        if !inside.is(1) {
            term = format!("{term} / {}", symbols.reciprocal(&inside));
        }
        if place > 0 {
            term = format!("{term} % {}", symbols.reciprocal(extent));
        }
        inside = inside * (*extent).clone();
        if stride.is(0) || extent.is(1) {
            continue;
        }
        if !stride.is(1) {
            term = format!("{term} * {}", symbols.factor(stride));
        }
        terms.push(term);
    }
    terms.reverse();
    if terms.is_empty() { "0".into() } else { terms.join(" + ") }
}

/// Whether a dim is a multiple of 4 whatever its symbols are.
pub fn by_four(dim: &Dim) -> bool {
    is_multiple(dim, 4)
}

/// Whether a dim is a multiple of a number whatever its symbols are.
pub fn is_multiple(dim: &Dim, of: i64) -> bool {
    dim.exact_div(&Dim::constant(of)).is_some()
}

/// Whether what a launch sees of a slot begins at a multiple of 4 elements.
pub fn starts_by_four(subject: &Subject<'_>, slot: usize) -> bool {
    subject.grain(slot) >= 4
}

/// How many elements of a slot (8, 4 or 1) can be moved at once, where runs of a number of them are asked about.
pub fn together(subject: &Subject<'_>, slot: usize, lie_by: impl Fn(i64) -> bool) -> i64 {
    // What is in memory nowhere begins with its first element.
    let made = subject.launch.prologues.iter().any(|prologue| prologue.slot == slot);
    [8, 4].into_iter().find(|number| (made || subject.grain(slot) >= *number) && lie_by(*number)).unwrap_or(1)
}
