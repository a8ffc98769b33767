//! Texts and vocabularies: values that the compiler only passes around, until `tokenize` makes tensors of them.
//!
//! A text of a row, or the texts that a prediction is given, become an input of the entry: tokens that the runtime makes with a
//! tokenizer, and beside them how long each row is. In the graph there are no texts.

use super::value::{Tensor, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, nearest};
use crate::graph::{DType, Dim, NodeId, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast;
use weft_runtime::program::{Cell, Encoding, Field, InputSource, Vocabulary, VocabularySource};

/// Rows are planned to be so long where the spec doesn't say how long they may be; an entry takes any length.
const PLANNED_LENGTH: i64 = 512;

/// Texts whose letters the compiler never sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// The field of the row, or the input of the prediction.
    pub name: String,
    /// How many there are; none of the one text of a row.
    pub batch: Option<Dim>,
}

/// What is known of a vocabulary before it is trained or read.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub name: String,
    pub size: usize,
}

/// What a spec asks of `tokenize`.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub texts: Rc<Texts>,
    pub encoding: Encoding,
    pub size: usize,
}

impl Checker<'_> {
    /// The tokens of texts: `i32[t]` of the text of a row, `i32[n, t]` of n texts.
    pub(crate) fn tokens(&mut self, wanted: Wanted, span: Span) -> Result {
        let Wanted { texts, encoding, size } = wanted;
        let name = self.tokens_name(&texts.name, &encoding);
        let field = tokens_field(&name, &texts.name, &encoding);
        let axis = match field.ragged {
            Some(_) if !encoding.fixed => {
                let longest = encoding.max_length.map_or(PLANNED_LENGTH, |most| most as i64);
                self.ragged_axis(&name, longest, span)
            }
            _ => Dim::constant(
                encoding.max_length.or(encoding.window.map(|(window, _)| window)).unwrap_or(1) as i64,
            ),
        };
        let differ = field.ragged.is_some();
        let (source, lengths) = match &texts.batch {
            None => {
                self.made_field(field);
                if differ {
                    self.made_field(length_field(&name));
                }
                (InputSource::Caller, InputSource::Caller)
            }
            Some(_) => (
                InputSource::Tokens { text: texts.name.clone(), encoding: encoding.clone() },
                InputSource::Lengths { tokens: name.clone() },
            ),
        };
        let rows: Vec<Dim> = texts.batch.iter().cloned().collect();
        let tokens = self.text_input(&name, [rows.as_slice(), &[axis]].concat(), source, span)?;
        self.originate(tokens, format!("the tokens of `{}`", texts.name), span, None);
        self.context.vocabulary_sizes.insert(tokens, (encoding.vocabulary, size));
        if differ {
            let lengths = self.text_input(&Field::length_of(&name), rows, lengths, span)?;
            self.context.lengths.insert(tokens, lengths);
        }
        Ok(self.tensor(tokens))
    }

    fn text_input(&mut self, name: &str, shape: Vec<Dim>, source: InputSource, span: Span) -> Result<NodeId> {
        self.place(span);
        let node = self.context.input(name, TensorType::new(DType::I32, shape), source);
        self.built(node, span)
    }

    /// What the tokens of a text are called: those that are made in another way have a number.
    fn tokens_name(&mut self, text: &str, encoding: &Encoding) -> String {
        let known = &mut self.context.encodings;
        if let Some((name, _, _)) = known.iter().find(|(_, of, other)| of == text && other == encoding) {
            return name.clone();
        }
        let count = known.iter().filter(|(_, of, _)| of == text).count();
        let name = if count == 0 { format!("{text}.tokens") } else { format!("{text}.tokens_{}", count + 1) };
        known.push((name.clone(), text.to_owned(), encoding.clone()));
        name
    }

    /// The symbol of an axis that is as long as the longest row of a batch.
    pub(crate) fn ragged_axis(&mut self, symbol: &str, longest: i64, span: Span) -> Dim {
        let bounds = &mut self.context.builder.graph.bounds;
        if !bounds.iter().any(|(known, _)| **known == *symbol) {
            bounds.push((symbol.into(), longest));
        }
        let what = "the length of the longest row of a batch, known only when it runs".to_owned();
        self.context.symbols.entry(symbol.into()).or_insert((what, span));
        Dim::symbol(symbol)
    }

    fn made_field(&mut self, field: Field) {
        if self.made_fields.iter().all(|known| known.name != field.name) {
            self.made_fields.push(field);
        }
    }

    /// `tokens.length`: how long each row of a tensor is that is as long as the longest.
    pub(crate) fn length_of(&mut self, tensor: Tensor, field: &ast::Name) -> Result {
        match self.context.lengths.get(&tensor.node).copied() {
            Some(lengths) => Ok(self.tensor(lengths)),
            None => {
                let message = "only a field whose rows differ in length has a `length`, as it comes from the data or from `tokenize`";
                let hint = "name it before the field is changed: `let length = tokens.length`; the extent of an axis is `shape(x)[1]`";
                self.fail_hint(Code::UnknownField, field.span, message, hint)
            }
        }
    }

    /// Is it [the length](Self::length_of) of the rows that this name is near to: `tokens.len`?
    pub(crate) fn means_length(&self, tensor: Tensor, field: &ast::Name) -> bool {
        let is_near = field.text == "len" || nearest(&field.text, ["length"]).is_some();
        is_near && self.context.lengths.contains_key(&tensor.node)
    }

    /// A field of a vocabulary: `words.size`.
    pub(crate) fn vocabulary_field(&mut self, known: &Known, field: &ast::Name) -> Result {
        if field.text == "size" {
            return Ok(Value::Int(known.size as i64));
        }
        let hint = did_you_mean(&field.text, ["size"]).unwrap_or_else(|| "it has `size`".to_owned());
        let message = format!("a vocabulary has no `{}`", field.text);
        Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint(hint)))
    }

    /// A text that a prediction is given: `text: text[n]`.
    pub(crate) fn texts_input(&mut self, param: &ast::Param, batch: Dim) -> Value {
        self.context.texts.push(batch.clone());
        Value::Texts(Rc::new(Texts { name: param.name.text.clone(), batch: Some(batch) }))
    }

    /// A vocabulary without a name of its own is that of a file, or of bytes.
    pub(crate) fn named_vocabulary(&mut self, value: &Value, span: Span) -> Result<Known> {
        match value {
            Value::Vocabulary(vocabulary) if !vocabulary.name.is_empty() => {
                Ok(Known { name: vocabulary.name.clone(), size: vocabulary.size })
            }
            Value::Vocabulary(vocabulary) => {
                let name = match &vocabulary.source {
                    VocabularySource::File(file) => file.clone(),
                    VocabularySource::Bytes => "bytes".to_owned(),
                    _ => {
                        let message = "a vocabulary is trained once, from the training part";
                        let hint = "give it a name with `fit`: `fit words = word_level(text, size = 20000)`";
                        return self.fail_hint(Code::BadFit, span, message, hint);
                    }
                };
                let named = Vocabulary { name, ..Vocabulary::clone(vocabulary) };
                let known = Known { name: named.name.clone(), size: named.size };
                self.own_vocabulary(named);
                Ok(known)
            }
            other => {
                let message = format!("texts are cut by a vocabulary, not by {}", other.kind());
                let hint = "`fit words = word_level(text, size = 20000)` trains one, `tokenizer(\"tokenizer.json\", size = 30522)` reads one";
                self.fail_hint(Code::WrongKind, span, message, hint)
            }
        }
    }

    /// Keeps a vocabulary for the data set under construction, or for the predictions.
    fn own_vocabulary(&mut self, vocabulary: Vocabulary) {
        let kept = match &mut self.row_vocabularies {
            Some(of_row) => of_row,
            None => &mut self.module.vocabularies,
        };
        if kept.iter().all(|known| known.name != vocabulary.name) {
            kept.push(vocabulary);
        }
    }

    /// `fit words = word_level(text, size = 20000)`: gives the vocabulary its name.
    pub(crate) fn fitted_vocabulary(
        &mut self,
        data: &str,
        name: &ast::Name,
        value: &Vocabulary,
    ) -> Result<()> {
        let named = Vocabulary { name: format!("{data}.{}", name.text), ..value.clone() };
        self.own_vocabulary(named.clone());
        self.vocabularies.insert(named.name.clone(), Rc::new(named));
        Ok(())
    }

    /// Is this index among tokens of more kinds than a table has rows?
    pub(crate) fn check_vocabulary(&mut self, index: NodeId, rows: &Dim, span: Span) -> Result<()> {
        let Some((name, size)) = self.context.vocabulary_sizes.get(&index).cloned() else { return Ok(()) };
        match rows.as_constant().and_then(|rows| usize::try_from(rows).ok()) {
            Some(rows) if rows < size => {
                let message = format!(
                    "the vocabulary `{name}` has {size} tokens, but there are {rows} rows to look them up in"
                );
                let hint = match self.vocabularies.contains_key(&name) {
                    true => format!("write `embedding({name}.size, …)`"),
                    false => format!("write `embedding({size}, …)`"),
                };
                self.fail_hint(Code::BadIndex, span, message, hint)
            }
            _ => Ok(()),
        }
    }
}

/// The field of a row that is its text's tokens.
fn tokens_field(name: &str, text: &str, encoding: &Encoding) -> Field {
    let window: Vec<usize> = encoding.window.iter().map(|(window, _)| *window).collect();
    let ragged = window.is_empty().then(|| name.to_owned());
    let cell = Cell::Tokens { text: text.to_owned(), encoding: encoding.clone() };
    Field { cell, ragged, ..Field::new(name, DType::I32, window) }
}

/// A field that is a text of any length.
pub fn text_field(name: &str) -> Field {
    Field { cell: Cell::Text, ragged: Some(name.to_owned()), ..Field::new(name, DType::U8, []) }
}

/// The field that says how long each row of another is.
pub fn length_field(of: &str) -> Field {
    let cell = Cell::Length { of: of.to_owned() };
    Field { cell, ..Field::new(Field::length_of(of), DType::I32, []) }
}

/// The text fields of an argument: one, or a list of some.
pub fn text_fields(value: &Value) -> std::result::Result<Vec<String>, Reported> {
    let one = |value: &Value| match value {
        Value::Texts(texts) if texts.batch.is_none() => Ok(texts.name.clone()),
        _ => Err(Reported),
    };
    match value.elements() {
        Some(list) if !list.is_empty() => list.iter().map(one).collect(),
        _ => one(value).map(|name| vec![name]),
    }
}
