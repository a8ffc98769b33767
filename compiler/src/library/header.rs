//! The C header of a model: its functions, and of each argument what it is, what shape it has and what its numbers mean.

use std::fmt::Write;

use super::{Model, names};
use weft_runtime::library::signature::{self, Argument, Function};
use weft_runtime::program::{DType, DimExpr, DimIndex, Entry};

/// Columns of a line, as long as its words allow.
const WIDTH: usize = 100;

/// The text of the header.
pub fn header(model: &Model<'_>) -> String {
    let (prefix, upper) = (model.prefix, model.prefix.to_uppercase());
    let mut out = String::new();
    out += &comment(&about(model));
    let _ = write!(
        out,
        "#ifndef {upper}_H\n#define {upper}_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n"
    );
    out += &comment(
        "Why a function failed: what it was given is wrong; the call itself is (a null pointer, a negative size, a model that another thread \
         is using); or the machine failed (no memory, no threads, a processor that lacks instructions).",
    );
    let _ = write!(
        out,
        "enum {{ {upper}_OK = 0, {upper}_INPUT = 1, {upper}_USAGE = 2, {upper}_ENVIRONMENT = 3 }};\n\n"
    );
    let _ = writeln!(out, "/* A model, ready to answer. */\ntypedef struct {prefix} {prefix};\n");
    out += &comment(
        "Makes a model and points `model` at it; at NULL where that fails. A call runs on `threads` threads, the caller's included; 0: one \
         for each core. What it answers is the same, to the bit, for every number of threads.",
    );
    let _ = writeln!(out, "int {prefix}_create({prefix} **model, int threads);\n");
    if let Some(sizes) = signature::sizes(model.program) {
        let sizes: Vec<String> = names::sizes(&sizes).iter().map(|name| format!("int64_t {name}")).collect();
        out += &comment(
            "The same in memory of the caller, for calls of sizes up to those that are given; the other function tells how many bytes that \
             takes. Weights lie in the program, all that is computed in this memory, which must live as long as the model and begin anywhere. \
             Tables of some kilobytes, and texts, are asked for from malloc.",
        );
        let row =
            |first: &[&str]| first.iter().map(|p| (*p).to_owned()).chain(sizes.clone()).collect::<Vec<_>>();
        let memory = wrapped(&format!("int {prefix}_memory("), &row(&["size_t *bytes", "int threads"]));
        let model = format!("{prefix} **model");
        let create = row(&[&model, "int threads", "void *memory", "size_t bytes"]);
        let create = wrapped(&format!("int {prefix}_create_in("), &create);
        let _ = writeln!(out, "{memory};\n{create};\n");
    }
    out += &comment("Gives back what a model has. Nothing happens for NULL.");
    let _ = writeln!(out, "void {prefix}_destroy({prefix} *model);\n");
    out += &comment(
        "Why the last call that failed on this thread did, in words. The text is there until the next call fails.",
    );
    let _ = writeln!(out, "const char *{prefix}_last_error(void);\n");
    for (name, field) in names::classes(model.classes) {
        let text = format!(
            "The name of a class of `{field}`; NULL where there is no such class. It lives as long as the model."
        );
        out += &comment(&text);
        let _ = writeln!(out, "const char *{prefix}_{name}(const {prefix} *model, int64_t class_number);\n");
    }
    for function in model.functions() {
        out += &declaration(model, &function);
    }
    let _ = writeln!(out, "#ifdef __cplusplus\n}}\n#endif\n\n#endif");
    out
}

/// What stands at the top.
fn about(model: &Model<'_>) -> String {
    let (prefix, card) = (model.prefix, model.card);
    let mut text = format!(
        "{prefix}.h: the model `{}` for C and C++. Made by Weft {}.\n\n",
        model.program.name, card.weft
    );
    let _ = writeln!(text, "parameters  {}", card.parameters);
    let _ = writeln!(text, "processors  {}", card.target);
    let _ = writeln!(text, "spec        SHA-256 {}", card.spec_sha256);
    if let Some(sum) = &card.weights_sha256 {
        let _ = writeln!(text, "weights     SHA-256 {sum}");
    }
    let _ = write!(
        text,
        "\nArrays are the caller's: contiguous, the last axis first, each as large as its shape says. Results may not overlap what is given. \
         Once a model has seen a size, a prediction from arrays of that size asks for no memory and takes no lock.\n\n\
         A model is used by one thread at a time; threads that work side by side have one each. These share the machine code and the weights, \
         which lie in the program itself, and have memory of their own for what they compute."
    );
    text
}

fn declaration(model: &Model<'_>, function: &Function) -> String {
    let Some(entry) = names::entry(model.program, function) else { return String::new() };
    let names = names::arguments(model.program, function);
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut parameters = vec![format!("{} *model", model.prefix)];
    for (name, argument) in names.iter().zip(&function.arguments) {
        let (parameter, meaning) = parameter(model, entry, name, argument);
        parameters.push(parameter);
        rows.push((name, meaning));
    }
    let mut text = String::new();
    if let Some((_, doc)) = model.docs.iter().find(|(name, _)| *name == function.name) {
        let _ = writeln!(text, "{doc}\n");
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, meaning) in rows {
        let _ = writeln!(text, "{name:width$}  {meaning}");
    }
    let mut refused: Vec<&str> = entry.guards.iter().map(|guard| guard.message.as_str()).collect();
    refused.dedup();
    for message in refused {
        let _ = write!(text, "\nFails with {}_INPUT where: {message}", model.prefix.to_uppercase());
    }
    let head = format!("int {}_{}(", model.prefix, function.name);
    format!("{}{};\n\n", comment(text.trim_end()), wrapped(&head, &parameters))
}

/// An argument's declaration, and what it is.
fn parameter(model: &Model<'_>, entry: &Entry, name: &str, argument: &Argument) -> (String, String) {
    let array = |dtype: DType, dims: &[DimIndex]| format!("{}{}", shape(entry, dtype, dims), unit(dtype));
    match argument {
        Argument::Size(symbol) => (format!("int64_t {name}"), size(entry, *symbol)),
        Argument::Seed => {
            (format!("uint64_t {name}"), "what all that is random depends on, and nothing else".into())
        }
        Argument::Tensor(place) => {
            let input = &entry.inputs[*place];
            (format!("const {} *{name}", c_type(input.dtype)), format!("in: {}", array(input.dtype, &input.shape)))
        }
        Argument::Texts(_) => (format!("const char *const *{name}"), "in: a text for each row, UTF-8 that ends with a zero".into()),
        Argument::Text(_) => (format!("const char *{name}"), "in: a text, UTF-8 that ends with a zero".into()),
        Argument::Output(place) => {
            let output = &entry.outputs[*place];
            let mut meaning = format!("out: {}", array(output.dtype, &output.shape));
            let mut named = names::classes(model.classes).into_iter();
            if let Some((function, _)) = named.find(|(function, _)| *function == format!("{}_name", output.name)) {
                let _ = write!(meaning, "; {}_{function} has the names", model.prefix);
            }
            (format!("{} *{name}", c_type(output.dtype)), meaning)
        }
        Argument::Lent(place) => {
            let output = &entry.outputs[*place];
            let meaning =
                format!("out: is pointed at {}, which the next call writes over", array(output.dtype, &output.shape));
            (format!("const {} **{name}", c_type(output.dtype)), meaning)
        }
        Argument::Found(symbol) => {
            (format!("int64_t *{name}"), format!("out: the size `{}`, which comes from the texts", entry.symbols[*symbol]))
        }
        Argument::Max => (format!("int64_t {name}"), "the most tokens to write; 0: as many as the spec says".into()),
        Argument::Piece => (
            format!("int (*{name})(void *context, const char *text, size_t bytes)"),
            "is called with each piece of text as it is written, which lives during the call; it ends the text by returning anything but 0"
                .into(),
        ),
        Argument::Context => (format!("void *{name}"), "what `piece` is called with".into()),
    }
}

/// What a size counts: the axes that it is.
fn size(entry: &Entry, symbol: usize) -> String {
    let is = |dim: &DimIndex| matches!(entry.dims.get(dim.0 as usize), Some(DimExpr::Symbol(found)) if *found as usize == symbol);
    let first = entry.inputs.iter().any(|input| input.shape.first().is_some_and(is));
    if first { "how many rows".into() } else { format!("the size `{}`", entry.symbols[symbol]) }
}

/// `f32[n, 28, 28, 1]`
fn shape(entry: &Entry, dtype: DType, dims: &[DimIndex]) -> String {
    let dims: Vec<String> = dims.iter().map(|dim| extent(entry, *dim, false)).collect();
    format!("{}[{}]", dtype.name(), dims.join(", "))
}

/// A dim as its formula over the entry's symbols.
fn extent(entry: &Entry, dim: DimIndex, inner: bool) -> String {
    let (sign, a, b) = match &entry.dims[dim.0 as usize] {
        DimExpr::Constant(value) => return value.to_string(),
        DimExpr::Symbol(symbol) => return entry.symbols[*symbol as usize].clone(),
        DimExpr::Min(a, b) => {
            return format!("min({}, {})", extent(entry, *a, false), extent(entry, *b, false));
        }
        DimExpr::Max(a, b) => {
            return format!("max({}, {})", extent(entry, *a, false), extent(entry, *b, false));
        }
        DimExpr::CeilDiv(a, b) => {
            return format!("ceil({} / {})", extent(entry, *a, true), extent(entry, *b, true));
        }
        DimExpr::FloorDiv(a, b) => {
            return format!("floor({} / {})", extent(entry, *a, true), extent(entry, *b, true));
        }
        DimExpr::Add(a, b) => ("+", a, b),
        DimExpr::Sub(a, b) => ("-", a, b),
        DimExpr::Mul(a, b) => ("*", a, b),
        DimExpr::Rem(a, b) => ("%", a, b),
    };
    let text = format!("{} {sign} {}", extent(entry, *a, true), extent(entry, *b, true));
    if inner { format!("({text})") } else { text }
}

fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 | DType::BF16 => "uint16_t",
        DType::I8 => "int8_t",
        DType::U8 | DType::Bool => "uint8_t",
        DType::I32 => "int32_t",
        DType::I64 => "int64_t",
    }
}

/// What the numbers of a type are, where C's type doesn't say it.
fn unit(dtype: DType) -> &'static str {
    match dtype {
        DType::U8 => ", 0 to 255",
        DType::Bool => ", 0 or 1",
        DType::F16 => ", the bits of IEEE half precision",
        DType::BF16 => ", the upper half of the bits of a float",
        _ => "",
    }
}

/// A comment of some paragraphs. Lines that go on are indented as what they belong to.
fn comment(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        // `name  meaning`: what goes on stands under the meaning.
        let hanging =
            line.find("  ").map_or(0, |at| at + line[at..].chars().take_while(|c| *c == ' ').count());
        lines.extend(filled(line, WIDTH - 3, hanging));
    }
    if let [only] = lines.as_slice()
        && only.len() + 6 <= WIDTH
    {
        return format!("/* {} */\n", only.replace("*/", "* /"));
    }
    let mut out = String::new();
    for (place, line) in lines.iter().enumerate() {
        let line = line.replace("*/", "* /").replace("/*", "/ *");
        let start = if place == 0 { "/*" } else { " *" };
        let _ = writeln!(out, "{}", format!("{start} {line}").trim_end());
    }
    out + " */\n"
}

/// A line cut between words where it gets too long.
fn filled(line: &str, width: usize, hanging: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    loop {
        let too_long = rest.chars().count() > width;
        let place = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        let cut = rest[..place].rfind(' ').filter(|at| too_long && *at > hanging);
        let Some(cut) = cut else {
            lines.push(rest);
            return lines;
        };
        let next = format!("{}{}", " ".repeat(hanging), rest[cut..].trim_start());
        rest.truncate(cut);
        lines.push(std::mem::replace(&mut rest, next));
    }
}

/// A declaration, its parameters in lines of their own where one line is too short.
fn wrapped(head: &str, parameters: &[String]) -> String {
    let line = format!("{head}{})", parameters.join(", "));
    if line.len() < WIDTH { line } else { format!("{head}\n    {})", parameters.join(",\n    ")) }
}
