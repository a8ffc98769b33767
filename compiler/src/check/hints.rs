//! The way out of common mistakes: what a message adds when the wrong value tells what was meant.

use super::value::Value;
use super::{Checker, builtins};
use crate::graph::{DType, TensorType};

impl Checker<'_> {
    /// When a value of another kind stands where one of kind `wanted` is needed.
    pub(crate) fn kind_hint(&self, wanted: &str, value: &Value) -> Option<String> {
        match (wanted, value) {
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

    /// The data set that has a field of this name, while a training is under way that did not take it.
    pub(crate) fn field_hint(&self, name: &str) -> Option<String> {
        let in_train = self.frames.last().is_some_and(|frame| frame.is_train());
        let data = self.rows.iter().find(|(_, row)| row.has(name)).map(|(data, _)| data);
        data.filter(|_| in_train)
            .map(|data| format!("`{data}` has this field: write `on {data} as {{ …, {name} }}`"))
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
