//! The way out of common mistakes: what a message adds when the wrong value tells what was meant.

use super::names::ItemRef;
use super::value::Value;
use super::{Checker, builtins};
use crate::graph::{DType, TensorType};
use weft_grammar::Span;
use weft_grammar::ast::{Block, Name, Pattern, StatementKind};

impl Checker<'_> {
    /// When a value of another kind stands where one of kind `wanted` is needed.
    pub(crate) fn kind_hint(&self, wanted: &str, value: &Value) -> Option<String> {
        match (wanted, value) {
            ("int" | "dim" | "float", Value::Text(text)) if text.parse::<f64>().is_ok() => {
                Some(format!("numbers stand without quotes: `{text}`"))
            }
            ("int" | "dim" | "float", Value::List(_)) => Some("`list[0]` is the first of a list".into()),
            ("fn", Value::Int(units)) => Some(format!("a layer of {units} units is `dense({units})`")),
            ("int" | "dim", Value::Float(_)) => {
                Some("`int(…)` drops the fraction; `//` divides to an int".into())
            }
            ("fn" | "schedule" | "tensor" | "optimizer", Value::Text(name)) if self.is_known(name) => {
                Some(format!("names stand without quotes: `{name}`"))
            }
            ("tensor", Value::Function(f)) => {
                Some(format!("apply it to a tensor first: `x |> {}`", f.name()))
            }
            ("tensor", Value::List(_) | Value::Tuple(_)) => {
                Some("`table([…])` makes a tensor of numbers".into())
            }
            ("tensor", Value::Record(fields))
                if ["loss", "weight"].iter().all(|name| fields.iter().any(|(field, _)| &**field == *name)) =>
            {
                Some("a loss with weights is a record: `let e = …`, and `{ loss = e.loss + …, weight = e.weight }`".into())
            }
            ("tensor", Value::Record(fields)) => {
                let names: Vec<String> = fields.iter().map(|(name, _)| format!("`.{name}`")).collect();
                Some(format!("the record has {}: name the field that you mean", names.join(", ")))
            }
            ("bool", Value::Int(0 | 1)) => Some("write `true` or `false`".into()),
            ("bool", Value::Int(_)) => {
                Some("it is given by name; the size of a layer's input is that of the tensor".into())
            }
            _ => None,
        }
    }

    /// Does the standard library or the compiler know this name?
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.std_homes.contains_key(name) || builtins::find(name).is_some()
    }

    /// The item that a place is in.
    fn item_around(&self, span: Span, home: usize) -> Option<&ItemRef> {
        let around = |at: &Span| at.file == span.file && (at.start..at.end).contains(&span.start);
        let items = &self.homes.get(home)?.items;
        items.iter().find(|(_, at, _)| around(at)).map(|(item, ..)| item)
    }

    /// The line of the same body that binds this name where it cannot be seen from here.
    pub(crate) fn bound_elsewhere(&self, name: &str, span: Span, home: usize) -> Option<String> {
        let body = match self.item_around(span, home)? {
            ItemRef::Callable(item) => &item.callable.body,
            ItemRef::Predict(predict) => &predict.body,
            _ => return None,
        };
        let found = binding(body, name)?.span;
        let (line, _) = self.sources.position(found);
        Some(match found.start > span.start {
            true => format!("it is bound later, in line {line}: a `let` is known from its line on"),
            false => format!("it is bound in line {line}, within braces that end before this"),
        })
    }

    /// For the name of a data set's field, in a training that did not take it or in an item that has inputs of its own.
    pub(crate) fn field_hint(&self, name: &str, span: Span, home: usize) -> Option<String> {
        let (data, _) = self.rows.iter().find(|(_, row)| row.has(name))?;
        match self.item_around(span, home)? {
            ItemRef::Train(_) => {
                Some(format!("`{data}` has this field: write `on {data} as {{ …, {name} }}`"))
            }
            ItemRef::Predict(predict) => {
                let item = &predict.name.text;
                Some(format!("a `predict` item has inputs of its own: `predict {item}({name}: …)`"))
            }
            _ => None,
        }
    }
}

/// The last place in a body that binds this name.
fn binding<'b>(body: &'b Block, name: &str) -> Option<&'b Name> {
    body.statements.iter().rev().find_map(|statement| match &statement.kind {
        StatementKind::Let { pattern, .. } => bound(pattern, name),
        StatementKind::For { pattern, body, .. } => binding(body, name).or_else(|| bound(pattern, name)),
        StatementKind::If { then, otherwise, .. } => {
            otherwise.as_ref().and_then(|body| binding(body, name)).or_else(|| binding(then, name))
        }
        _ => None,
    })
}

fn bound<'p>(pattern: &'p Pattern, name: &str) -> Option<&'p Name> {
    match pattern {
        Pattern::One(one) => Some(one).filter(|n| n.text == name),
        Pattern::Tuple(names, _) => names.iter().find(|n| n.text == name),
        Pattern::Record(names, _) => {
            names.iter().map(|(field, alias)| alias.as_ref().unwrap_or(field)).find(|n| n.text == name)
        }
    }
}

/// How a tensor of this type becomes one of the wanted element type.
pub fn cast_hint(wanted: &str, have: &TensorType) -> Option<String> {
    let wanted = DType::from_name(wanted)?;
    let cast = format!("cast it: `{}(…)`", wanted.name());
    Some(match (wanted.is_float(), have.dtype) {
        (true, DType::I32 | DType::I64) => {
            format!("{cast}; numbers of words or classes go through `embedding` or `one_hot`")
        }
        (false, dtype) if dtype.is_float() => {
            format!("{cast}; `argmax(…)` makes class numbers of one-hot rows")
        }
        _ => cast,
    })
}
