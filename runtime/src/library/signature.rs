//! What the C functions of a program take.
//!
//! A prediction takes the sizes of its inputs, the inputs in the order of the spec, and where each result goes. Every argument is one word:
//! a whole number or a pointer.

use crate::program::{Begin, DimExpr, Entry, Generation, InputSource, Program};
use crate::text::given::texts;

/// A function that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Behind the model's name: `predict_digit`.
    pub name: String,
    pub item: Item,
    pub arguments: Vec<Argument>,
}

/// What a function runs, by its place among the predictions or generations of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Predict(usize),
    Generate(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// `int64_t`: the value of a symbol of the entry, by its place.
    Size(usize),
    /// `uint64_t`: what all that is random depends on.
    Seed,
    /// `const T *`: an input of the entry, by its place.
    Tensor(usize),
    /// `const char *const *`: texts by their name, one for each row.
    Texts(String),
    /// `const char *`: a text by its name.
    Text(String),
    /// `T *`: where an output of the entry is copied to, by its place.
    Output(usize),
    /// `const T **`: is pointed at an output, whose size only the model knows.
    Lent(usize),
    /// `int64_t *`: is told the value of a symbol that only the texts know.
    Found(usize),
    /// `int64_t`: the most tokens to write; 0: what the spec says.
    Max,
    /// `int (*)(void *, const char *, size_t)`: is told each piece of text; anything but 0 ends it.
    Piece,
    /// `void *`: the first argument of that.
    Context,
}

/// The functions of a program: predictions, then generations.
pub fn functions(program: &Program) -> Vec<Function> {
    let entry = |name: &str| program.entries.iter().find(|entry| entry.name == name);
    let predictions = program.predictions.iter().enumerate().filter_map(|(place, prediction)| {
        let arguments = predict(entry(&prediction.entry)?);
        Some(Function { name: format!("predict_{}", prediction.name), item: Item::Predict(place), arguments })
    });
    let generations = program.generations.iter().enumerate().filter_map(|(place, generation)| {
        let arguments = generate(generation, entry(&generation.start)?, entry(&generation.step)?);
        Some(Function {
            name: format!("generate_{}", generation.name),
            item: Item::Generate(place),
            arguments,
        })
    });
    predictions.chain(generations).collect()
}

/// The sizes that decide how much memory predictions need: the symbols of all of them, each name once. There are none where texts are
/// written, since those grow.
pub fn sizes(program: &Program) -> Option<Vec<String>> {
    if !program.generations.is_empty() || program.predictions.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for prediction in &program.predictions {
        let entry = program.entries.iter().find(|entry| entry.name == prediction.entry)?;
        let new = entry.symbols.iter().filter(|symbol| !names.contains(symbol)).cloned().collect::<Vec<_>>();
        names.extend(new);
    }
    Some(names)
}

/// The symbol that an entry's dim is, where it is one alone.
pub fn symbol(entry: &Entry, dim: crate::program::DimIndex) -> Option<usize> {
    match entry.dims.get(dim.0 as usize) {
        Some(DimExpr::Symbol(symbol)) => Some(*symbol as usize),
        _ => None,
    }
}

/// Does a dim depend on a symbol?
fn depends(entry: &Entry, dim: crate::program::DimIndex, on: usize) -> bool {
    match entry.dims.get(dim.0 as usize) {
        Some(DimExpr::Symbol(symbol)) => *symbol as usize == on,
        Some(
            DimExpr::Add(a, b)
            | DimExpr::Sub(a, b)
            | DimExpr::Mul(a, b)
            | DimExpr::FloorDiv(a, b)
            | DimExpr::CeilDiv(a, b)
            | DimExpr::Rem(a, b)
            | DimExpr::Min(a, b)
            | DimExpr::Max(a, b),
        ) => depends(entry, *a, on) || depends(entry, *b, on),
        Some(DimExpr::Constant(_)) | None => false,
    }
}

fn predict(entry: &Entry) -> Vec<Argument> {
    let mut arguments = Vec::new();
    // The caller gives a size that one of its arrays has, or that counts its texts; the others come out of the texts.
    let counts = |symbol: usize| {
        entry.inputs.iter().any(|input| match input.source {
            InputSource::Caller => input.shape.iter().any(|dim| self::symbol(entry, *dim) == Some(symbol)),
            InputSource::Tokens { .. } => {
                input.shape.first().and_then(|dim| self::symbol(entry, *dim)) == Some(symbol)
            }
            _ => false,
        })
    };
    let (given, found): (Vec<usize>, Vec<usize>) = (0..entry.symbols.len()).partition(|s| counts(*s));
    arguments.extend(given.into_iter().map(Argument::Size));
    arguments.extend(texts(entry).into_iter().map(|name| Argument::Texts(name.to_owned())));
    for (place, input) in entry.inputs.iter().enumerate() {
        match input.source {
            InputSource::Caller => arguments.push(Argument::Tensor(place)),
            InputSource::Random if !arguments.contains(&Argument::Seed) => arguments.push(Argument::Seed),
            _ => {}
        }
    }
    let open = |output: &crate::program::Output, symbol: usize| {
        output.shape.iter().any(|dim| depends(entry, *dim, symbol))
    };
    for symbol in &found {
        if entry.outputs.iter().any(|output| open(output, *symbol)) {
            arguments.push(Argument::Found(*symbol));
        }
    }
    for (place, output) in entry.outputs.iter().enumerate() {
        let lent = found.iter().any(|symbol| open(output, *symbol));
        arguments.push(if lent { Argument::Lent(place) } else { Argument::Output(place) });
    }
    arguments
}

/// One text is written a call, so the rows of all that is given are one.
fn generate(generation: &Generation, start: &Entry, step: &Entry) -> Vec<Argument> {
    let inputs = || {
        let given = start.inputs.iter().enumerate();
        given.filter(|(_, i)| i.source == InputSource::Caller && i.name != Generation::TARGET)
    };
    let written = step.inputs.iter().find(|input| input.source == InputSource::Written);
    let rows = written.and_then(|input| step.symbols.get(symbol(step, *input.shape.first()?)?));
    let sized = |symbol: usize| {
        start.symbols.get(symbol) != rows
            && inputs().any(|(_, i)| i.shape.iter().any(|dim| self::symbol(start, *dim) == Some(symbol)))
    };
    let mut arguments: Vec<Argument> =
        (0..start.symbols.len()).filter(|s| sized(*s)).map(Argument::Size).collect();
    let mut names: Vec<&str> = texts(start);
    if let Begin::Text { text, .. } = &generation.begin
        && !names.contains(&text.as_str())
    {
        names.push(text);
    }
    arguments.extend(names.into_iter().map(|name| Argument::Text(name.to_owned())));
    arguments.extend(inputs().map(|(place, _)| Argument::Tensor(place)));
    arguments.extend([Argument::Max, Argument::Seed, Argument::Piece, Argument::Context]);
    arguments
}
