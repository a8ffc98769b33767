//! Rows as JSON gives them, an object with a value for each input, and the tensors that are made of them.
//!
//! Numbers go from the text straight into one list with a shape: no tree of values stands between, so a row takes a small multiple of
//! its text in memory, whatever it holds. How deep lists may be nested is limited by the parser.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Failure;
use super::inputs::{self, Texts};
use crate::generate::Given;
use crate::program::{DType, DimExpr, DimIndex, Entry, Input, InputSource, Program};
use crate::tensor::Tensor;
use crate::text::given::{self, Reader};

/// A value for each input, by name.
#[derive(Debug, Default)]
pub struct Row(Vec<(String, Value)>);

/// What a row gives one input.
#[derive(Debug)]
enum Value {
    /// A number or lists of them.
    Numbers(Numbers),
    Text(String),
}

/// Numbers in nested lists, in order.
#[derive(Debug, Default)]
struct Numbers {
    shape: Vec<usize>,
    values: Vec<f64>,
    /// Something stood among them that is no number, or lists of several lengths.
    uneven: bool,
}

impl Row {
    /// A row that is one text.
    pub fn of_text(name: &str, text: &str) -> Row {
        Row(vec![(name.to_owned(), Value::Text(text.to_owned()))])
    }

    /// The texts and the values of a row as the inputs of a generation have them.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        match self.0.iter().find(|(given, _)| given == name) {
            Some((_, Value::Text(text))) => Ok(text),
            Some(_) => Err(Failure::input(format!("`{name}` is no text"))),
            None => Err(Failure::input(format!("the input `{name}` is missing"))),
        }
    }

    /// Refuses what no input is called.
    pub fn check_names(&self, known: &[&str]) -> Result<(), Failure> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Failure::input(match known {
                [] => format!("there is no input `{name}`; nothing is to be given"),
                _ => format!("there is no input `{name}`; the inputs are {}", listed(known)),
            })),
            None => Ok(()),
        }
    }
}

/// One row, or several in a list.
#[derive(Debug)]
pub enum Rows {
    One(Row),
    Many(Vec<Row>),
}

impl Rows {
    /// Rows of one list at most.
    pub const MOST: usize = 1 << 16;
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Is the first axis of all that goes in and comes out that of the rows?
pub fn has_rows(entry: &Entry) -> bool {
    let first = |shape: &[DimIndex]| match shape.first().map(|dim| &entry.dims[dim.0 as usize]) {
        Some(DimExpr::Symbol(symbol)) => Some(*symbol),
        _ => None,
    };
    let given = entry.inputs.iter().filter(|input| !input.is_made()).map(|input| first(&input.shape));
    let mut all = given.chain(entry.outputs.iter().map(|output| first(&output.shape)));
    match all.next() {
        Some(Some(symbol)) => all.all(|other| other == Some(symbol)),
        _ => false,
    }
}

/// Makes the inputs of an entry from rows. Its tokenizers are read once.
#[derive(Debug)]
pub struct Maker<'p> {
    program: &'p Program,
    entry: &'p Entry,
    reader: Reader,
    /// A text may name a file. Who answers strangers reads none for them.
    files: bool,
}

impl<'p> Maker<'p> {
    pub fn new(entry: &'p Entry, texts: &Texts<'p>, files: bool) -> Result<Maker<'p>, Failure> {
        let reader = Reader::new(texts.program, entry, texts.kept, texts.base)?;
        Ok(Maker { program: texts.program, entry, reader, files })
    }

    pub fn program(&self) -> &'p Program {
        self.program
    }

    pub fn entry(&self) -> &'p Entry {
        self.entry
    }

    /// What is to be given: tensors, and texts.
    pub fn names(&self) -> Vec<&'p str> {
        let inputs = self.entry.inputs.iter().filter(|input| !input.is_made());
        inputs.map(|input| input.name.as_str()).chain(given::texts(self.entry)).collect()
    }

    /// The entry's inputs, in its order, for some rows. What is drawn depends on the seed alone.
    pub fn tensors(&self, rows: &[Row], seed: u64) -> Result<Vec<Tensor>, Failure> {
        let known = self.names();
        rows.iter().try_for_each(|row| row.check_names(&known))?;
        let missing = |name: &str| {
            Failure::input(format!("the input `{name}` is missing; the inputs are {}", listed(&known)))
        };
        let value = |row: &'_ Row, name: &str| row.0.iter().position(|(given, _)| given == name);
        let mut texts = Vec::new();
        for name in given::texts(self.entry) {
            let text = |row| value(row, name).map_or_else(|| Err(missing(name)), |_| row.text(name));
            texts.push((name, rows.iter().map(text).collect::<Result<Vec<&str>, Failure>>()?));
        }
        let made = self.reader.tensors(&texts)?;
        let mut tensors = Vec::new();
        for input in &self.entry.inputs {
            if input.source == InputSource::Random {
                tensors.push(Tensor::from_i64(&[2], &[seed as i64, 0]));
            } else if input.is_made() {
                let found = made.iter().find(|(name, _)| *name == input.name);
                let unmade = || Failure::input(format!("nothing gives the tokens `{}`", input.name));
                tensors.push(found.ok_or_else(unmade)?.1.clone());
            } else {
                let one = |row: &Row| match value(row, &input.name) {
                    Some(place) => self.tensor(input, &row.0[place].1),
                    None => Err(missing(&input.name)),
                };
                let each: Vec<Tensor> = rows.iter().map(one).collect::<Result<_, _>>()?;
                tensors.push(one_behind_the_other(&input.name, each, has_rows(self.entry))?);
            }
        }
        Ok(tensors)
    }

    /// What rows give a generation that takes these texts and tensors.
    pub fn generation<T: AsRef<str>>(
        &self,
        texts: &[T],
        tensors: &[&Input],
        rows: &[Row],
    ) -> Result<Given, Failure> {
        let tensor_names = tensors.iter().map(|input| input.name.as_str());
        let known: Vec<&str> = texts.iter().map(AsRef::as_ref).chain(tensor_names).collect();
        rows.iter().try_for_each(|row| row.check_names(&known))?;
        let texts = texts.iter().map(AsRef::as_ref).map(|name| {
            let each = rows.iter().map(|row| row.text(name).map(str::to_owned));
            Ok((name.to_owned(), each.collect::<Result<_, Failure>>()?))
        });
        let tensors = tensors.iter().map(|input| Ok((input.name.clone(), self.given(input, rows)?)));
        Ok(Given {
            texts: texts.collect::<Result<_, Failure>>()?,
            tensors: tensors.collect::<Result<_, Failure>>()?,
        })
    }

    /// The tensors of a generation's input that is the caller's, of all rows.
    fn given(&self, input: &Input, rows: &[Row]) -> Result<Tensor, Failure> {
        let one = |row: &Row| match row.0.iter().find(|(name, _)| *name == input.name) {
            Some((_, value)) => self.tensor(input, value),
            None => Err(Failure::input(format!("the input `{}` is missing", input.name))),
        };
        let each: Vec<Tensor> = rows.iter().map(one).collect::<Result<_, _>>()?;
        one_behind_the_other(&input.name, each, false)
    }

    /// A row's value for an input, with the axis of the rows.
    fn tensor(&self, input: &Input, value: &Value) -> Result<Tensor, Failure> {
        let numbers = match value {
            Value::Text(file) if self.files => {
                return inputs::read_one(self.program, self.entry, input, file);
            }
            Value::Numbers(numbers) if !numbers.uneven => numbers,
            _ => {
                let message = format!("`{}` is no number and no even list of numbers", input.name);
                return Err(Failure::input(message));
            }
        };
        self.check_shape(input, &numbers.shape)?;
        let data = numbers.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = Tensor { dtype: DType::F64, shape: numbers.shape.clone(), data };
        let takes = format!("`{}` takes {}, but these are", input.name, input.dtype.name());
        inputs::adapt(input, tensor, &takes)
    }
}

impl Maker<'_> {
    /// Refuses a value of a row that has another shape than the input's rows, as far as the spec says it.
    fn check_shape(&self, input: &Input, found: &[usize]) -> Result<(), Failure> {
        let in_rows = has_rows(self.entry);
        let wanted = if in_rows { &input.shape[1..] } else { &input.shape[..] };
        let fits = |found: &[usize], wanted: &[DimIndex]| {
            let fixed = |dim: &DimIndex| match self.entry.dims[dim.0 as usize] {
                DimExpr::Constant(extent) => usize::try_from(extent).ok(),
                _ => None,
            };
            let mut both = found.iter().zip(wanted);
            found.len() == wanted.len()
                && both.all(|(found, wanted)| fixed(wanted).is_none_or(|wanted| wanted == *found))
        };
        // An axis of the one row may be said, and a first axis of one left out.
        let but_for_an_axis = match found {
            [1, found @ ..] if in_rows => fits(found, wanted),
            _ => !in_rows && !wanted.is_empty() && fits(found, &wanted[1..]),
        };
        if fits(found, wanted) || but_for_an_axis {
            return Ok(());
        }
        let whose = if in_rows { " of one row" } else { "" };
        let found = match found {
            [] => "is a number".to_owned(),
            _ => format!("has the shape {found:?}"),
        };
        let wanted = match wanted {
            [] => "a number".to_owned(),
            _ => self.entry.shape(wanted),
        };
        let failure = Failure::input(format!("`{}`{whose} {found}, where {wanted} is wanted", input.name));
        Err(if in_rows {
            failure.help("give each row by itself, without an axis for the rows")
        } else {
            failure
        })
    }
}

/// Tensors of one row each as one of all rows.
fn one_behind_the_other(name: &str, each: Vec<Tensor>, single: bool) -> Result<Tensor, Failure> {
    // A value with an axis more than a row has would be several rows, of which all but one were lost.
    if let Some(wrong) = each.iter().find(|tensor| single && tensor.shape.first() != Some(&1)) {
        let message = format!("`{name}` of one row has the shape {:?}: give each row by itself", wrong.shape);
        return Err(Failure::input(message));
    }
    let mut each = each.into_iter();
    let Some(mut all) = each.next() else { return Err(Failure::input("there are no rows")) };
    for next in each {
        match (&mut all.shape[..], &next.shape[..]) {
            ([rows, inner @ ..], [more, others @ ..]) if inner == others => *rows += more,
            _ => {
                let (one, other) = (&all.shape[1..], &next.shape[1..]);
                let message = format!("the rows of `{name}` have several shapes: {one:?} and {other:?}");
                return Err(Failure::input(message));
            }
        }
        all.data.extend(next.data);
    }
    Ok(all)
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Row, D::Error> {
        from.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value for each input")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::default();
        while let Some(name) = map.next_key::<String>()? {
            if row.0.iter().any(|(given, _)| *given == name) {
                return Err(A::Error::custom(format_args!("`{name}` is given twice")));
            }
            let value = map.next_value::<Value>()?;
            row.0.push((name, value));
        }
        Ok(row)
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rows, D::Error> {
        from.deserialize_any(RowsVisitor)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value for each input, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rows, A::Error> {
        RowVisitor.visit_map(map).map(Rows::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element()? {
            if rows.len() == Rows::MOST {
                return Err(A::Error::custom(format_args!("a list has {} rows at most", Rows::MOST)));
            }
            rows.push(row);
        }
        Ok(Rows::Many(rows))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        let mut numbers = Numbers::default();
        let text = from.deserialize_any(Level { depth: 0, into: &mut numbers })?;
        numbers.values.shrink_to_fit();
        Ok(text.map_or(Value::Numbers(numbers), Value::Text))
    }
}

/// Reads what stands at one depth of nested lists; a text at the outermost is given back.
struct Level<'n> {
    depth: usize,
    into: &'n mut Numbers,
}

/// The length of a list that has not come to its end.
const OPEN: usize = usize::MAX;

impl Level<'_> {
    fn leaf(self, value: f64) {
        self.into.uneven |= self.depth < self.into.shape.len();
        self.into.values.push(value);
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, lists of numbers, or a text")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.leaf(f64::from(u8::from(value)));
        Ok(None)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        self.leaf(value as f64);
        Ok(None)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        self.leaf(value as f64);
        Ok(None)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        self.leaf(value);
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        self.into.uneven = true;
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        self.into.uneven = true;
        Ok((self.depth == 0).then(|| text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Level { depth, into } = self;
        if into.shape.len() == depth {
            // A list where numbers stood before.
            into.uneven |= !into.values.is_empty();
            into.shape.push(OPEN);
        }
        let mut length = 0;
        while list.next_element_seed(Level { depth: depth + 1, into: &mut *into })?.is_some() {
            length += 1;
        }
        match &mut into.shape[depth] {
            open if *open == OPEN => *open = length,
            known => into.uneven |= *known != length,
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        self.into.uneven = true;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<(Vec<usize>, Vec<f64>)> {
        match serde_json::from_str(text).unwrap() {
            Value::Numbers(Numbers { shape, values, uneven: false }) => Some((shape, values)),
            _ => None,
        }
    }

    #[test]
    fn lists_are_numbers_with_a_shape() {
        let whole = |shape: &[usize], values: &[f64]| Some((shape.to_vec(), values.to_vec()));
        assert_eq!(numbers("7"), whole(&[], &[7.0]));
        assert_eq!(numbers("[1, -2.5, true]"), whole(&[3], &[1.0, -2.5, 1.0]));
        assert_eq!(numbers("[[1, 2], [3, 4], [5, 6]]"), whole(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(numbers("[[[]], [[]]]"), whole(&[2, 1, 0], &[]));
        assert_eq!(numbers("[]"), whole(&[0], &[]));
    }

    #[test]
    fn what_is_not_even_is_none() {
        for text in [
            "[[1], 2]",
            "[1, [2]]",
            "[[1, 2], [3]]",
            "[[], [1]]",
            "[[], 1]",
            "[1, null]",
            "[\"a\"]",
            "null",
            "{}",
            "[[1, 2], {\"a\": [1]}]",
            "[[[1]], [2]]",
        ] {
            assert_eq!(numbers(text), None, "{text}");
        }
        assert!(matches!(serde_json::from_str("\"a\""), Ok(Value::Text(text)) if text == "a"));
    }

    #[test]
    fn depth_and_names_have_limits() {
        let deep = format!("{{\"x\": {}", "[".repeat(1_000_000));
        let error = serde_json::from_str::<Row>(&deep).unwrap_err().to_string();
        assert!(error.contains("recursion limit"), "{error}");
        let twice = serde_json::from_str::<Row>("{\"x\": 1, \"x\": 2}").unwrap_err().to_string();
        assert!(twice.contains("`x` is given twice"), "{twice}");
        let none = serde_json::from_str::<Row>("[1]").unwrap_err().to_string();
        assert!(none.contains("an object with a value for each input"), "{none}");
    }
}
