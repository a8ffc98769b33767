//! Names for C: of a model, of its functions' arguments, of what names its classes.

use weft_runtime::library::signature::{Argument, Function, Item};
use weft_runtime::program::{Entry, Program};
use weft_runtime::weights::{CLASSES_KEY, Classes};

/// Words of C and C++ that no argument may have.
const WORDS: &str = "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval \
    constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit \
    export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private \
    protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch \
    template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void volatile wchar_t while xor \
    xor_eq int8_t uint8_t uint16_t int32_t int64_t uint64_t size_t main NULL";

fn is_word(name: &str) -> bool {
    WORDS.split_whitespace().any(|word| word == name)
}

/// What the C names of a model begin with, by the name of a file without its ending. A hyphen becomes `_`, as in Rust's names of crates.
pub fn prefix(stem: &str) -> Result<String, String> {
    let name = stem.replace('-', "_");
    let wrong = |why: &str| Err(format!("`{stem}` cannot begin the names of C functions: {why}"));
    match name.chars().next() {
        None => return wrong("it is empty"),
        Some('0'..='9') => return wrong("it begins with a digit"),
        _ => {}
    }
    if let Some(letter) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        return wrong(&format!("`{letter}` stands in no name of C"));
    }
    if is_word(&name) {
        return wrong("it is a word of C");
    }
    if name.starts_with('_') || name.starts_with("weft_") {
        return wrong("names that begin so are others' (the compiler's, or the runtime's)");
    }
    Ok(name)
}

/// The function that names the classes of each field, behind the model's name: `label_name`, or `reviews_label_name` where several data
/// sets have such a field.
pub fn classes(classes: &Classes) -> Vec<(String, String)> {
    let path = |key: &str| key.strip_prefix(CLASSES_KEY).unwrap_or(key).to_owned();
    let field = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let name = |key: &String| {
        let alone = classes.iter().filter(|(other, _)| field(other) == field(key)).count() == 1;
        let name = if alone { field(key) } else { path(key).replace('.', "_") };
        (format!("{name}_name"), path(key))
    };
    classes.iter().map(|(key, _)| name(key)).collect()
}

/// The names of a function's arguments, in order; each differs from the others.
pub fn arguments(program: &Program, function: &Function) -> Vec<String> {
    let Some(entry) = entry(program, function) else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for argument in &function.arguments {
        let (name, otherwise) = match argument {
            Argument::Size(symbol) | Argument::Found(symbol) => (entry.symbols[*symbol].as_str(), "size"),
            Argument::Seed => ("seed", "of"),
            Argument::Tensor(place) => (entry.inputs[*place].name.as_str(), "in"),
            Argument::Texts(name) | Argument::Text(name) => (name.as_str(), "in"),
            Argument::Output(place) | Argument::Lent(place) => (entry.outputs[*place].name.as_str(), "out"),
            Argument::Max => ("max", "tokens"),
            Argument::Piece => ("piece", "told"),
            Argument::Context => ("context", "of"),
        };
        let mut name = plain(name);
        let taken = |name: &String| is_word(name) || name == "model" || names.contains(name);
        while taken(&name) {
            name = format!("{name}_{otherwise}");
        }
        names.push(name);
    }
    names
}

/// A name of the spec's or the compiler's as one of C: `text.tokens` is `text_tokens`.
fn plain(name: &str) -> String {
    name.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_', "_")
}

/// The names of the sizes that decide how much memory is needed, beside the other arguments of who asks.
pub fn sizes(symbols: &[String]) -> Vec<String> {
    let taken = |name: &str| is_word(name) || ["model", "threads", "memory", "bytes"].contains(&name);
    let named = |name: String| if taken(&name) { format!("{name}_size") } else { name };
    symbols.iter().map(|symbol| named(plain(symbol))).collect()
}

/// The entry whose inputs a function is given.
pub fn entry<'p>(program: &'p Program, function: &Function) -> Option<&'p Entry> {
    let name = match function.item {
        Item::Predict(place) => &program.predictions.get(place)?.entry,
        Item::Generate(place) => &program.generations.get(place)?.start,
    };
    program.entries.iter().find(|entry| entry.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_by_its_file() {
        assert_eq!(prefix("en-es").as_deref(), Ok("en_es"));
        for (stem, why) in [
            ("", "empty"),
            ("3d", "a digit"),
            ("größe", "`ö`"),
            ("a.b", "`.`"),
            ("int", "a word of C"),
            ("class", "a word of C"),
            ("weft_x", "others'"),
            ("_x", "others'"),
        ] {
            assert!(prefix(stem).is_err_and(|error| error.contains(why)), "{stem}");
        }
    }

    #[test]
    fn fields_of_one_name_are_told_apart() {
        let key = |set: &str| (format!("classes.{set}.label"), vec!["a".to_owned()]);
        assert_eq!(classes(&vec![key("x")]), [("label_name".to_owned(), "x.label".to_owned())]);
        let both: Vec<String> =
            classes(&vec![key("x"), key("y")]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(both, ["x_label_name", "y_label_name"]);
    }
}
