//! The registry of builtins: the only names that exist below the standard library.
//!
//! One line of the table gives a builtin's signature (from which names, defaults and "did you mean" follow), its documentation, how a
//! call that leaves out the first argument is told, and the code that runs it.

mod linear;
mod lists;
mod pointwise;
mod reduce;
mod steps;
mod views;

use super::value::{Argument, FunctionKind, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean_argument};
use crate::graph::{DType, TensorType};
use serde::Serialize;
use weft_grammar::Span;

/// No compile-time list may be longer.
pub const MAX_LIST: usize = 65_536;

/// What the first parameter of a builtin takes, which decides when a call is a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A tensor only: anything else in its place means that it was left out.
    Tensor,
    /// A tensor or a number: it was left out when too few arguments stand.
    Number,
    /// Something else: it is never left out.
    Plain,
}

type Run = fn(&mut Checker<'_>, &Call<'_>) -> Result;

/// One line of the registry.
#[derive(Debug)]
pub struct Builtin {
    /// `sum(x, axis = none, keep = false)`; a last parameter `…rest` takes any number of arguments.
    pub signature: &'static str,
    /// What it does, and ``Example: `…` `` paragraphs as in the standard library.
    pub doc: &'static str,
    first: First,
    run: Run,
}

impl Builtin {
    pub fn name(&self) -> &'static str {
        self.signature.split('(').next().unwrap_or(self.signature)
    }

    /// Names and whether they have a default.
    pub(crate) fn params(&self) -> Vec<(&'static str, bool)> {
        let inner =
            self.signature.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
        inner
            .split(", ")
            .filter(|p| !p.is_empty())
            .map(|p| match p.split_once(" = ") {
                Some((name, _)) => (name, true),
                None => (p, p.starts_with('…')),
            })
            .collect()
    }
}

/// The documentation of a builtin, for `weft explain` and the editor.
#[derive(Clone, Debug, Serialize)]
pub struct Documentation {
    pub name: &'static str,
    /// The family of the registry that its table stands for.
    pub family: &'static str,
    pub signature: &'static str,
    pub doc: &'static str,
}

pub fn documentation() -> Vec<Documentation> {
    let document = |family, b: &'static Builtin| Documentation {
        name: b.name(),
        family,
        signature: b.signature,
        doc: b.doc,
    };
    tables().flat_map(|(family, table)| table.iter().map(move |b| document(family, b))).collect()
}

/// (family, its builtins)
fn tables() -> impl Iterator<Item = (&'static str, &'static [Builtin])> {
    let others = [
        ("reduce", reduce::TABLE),
        ("linear", linear::TABLE),
        ("views", views::TABLE),
        ("steps", steps::TABLE),
        ("compile", lists::TABLE),
    ];
    pointwise::TABLES.iter().copied().chain(others)
}

fn all() -> impl Iterator<Item = &'static Builtin> {
    tables().flat_map(|(_, table)| table)
}

pub fn find(name: &str) -> Option<&'static Builtin> {
    all().find(|b| b.name() == name)
}

pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(Builtin::name)
}

/// A builtin under way: its arguments by parameter.
#[derive(Debug)]
pub struct Call<'b> {
    pub builtin: &'b Builtin,
    slots: Vec<(&'static str, Option<Argument>)>,
    pub rest: Vec<Argument>,
    pub span: Span,
}

pub fn call(
    checker: &mut Checker<'_>,
    builtin: &'static Builtin,
    given: &[Argument],
    arguments: Vec<Argument>,
    span: Span,
) -> Result {
    let params = builtin.params();
    let mut all = arguments;
    all.extend(given.iter().cloned());
    if left_out(builtin, &params, &all) {
        let mut place = 0;
        for argument in &mut all {
            if argument.name.is_none() {
                place += 1;
                if let Some((name, _)) = params.get(place) {
                    argument.name =
                        Some(weft_grammar::ast::Name { text: (*name).to_owned(), span: argument.span });
                }
            }
        }
        slots(checker, builtin, &params, all.clone(), span)?;
        return Ok(Value::function(FunctionKind::Builtin { builtin, given: all }));
    }
    let call = slots(checker, builtin, &params, all, span)?;
    for ((name, default), (_, slot)) in params.iter().zip(&call.slots) {
        if !default && slot.is_none() {
            return checker.fail_hint(
                Code::MissingArgument,
                span,
                format!("`{}` needs `{name}`", builtin.name()),
                format!("`{}`", builtin.signature),
            );
        }
    }
    for argument in call.slots.iter().filter_map(|(_, a)| a.as_ref()).chain(&call.rest) {
        checker.readable(argument.value.clone(), argument.span)?;
    }
    (builtin.run)(checker, &call)
}

fn left_out(builtin: &Builtin, params: &[(&'static str, bool)], arguments: &[Argument]) -> bool {
    let Some((first, _)) = params.first() else { return false };
    if builtin.first == First::Plain
        || arguments.iter().any(|a| a.name.as_ref().is_some_and(|n| n.text == *first))
    {
        return false;
    }
    let positional = arguments.iter().filter(|a| a.name.is_none()).count();
    let Some(given) = arguments.iter().find(|a| a.name.is_none()) else { return true };
    match builtin.first {
        First::Tensor => {
            !matches!(given.value, Value::Tensor(_) | Value::Elsewhere(_) | Value::Error)
                && positional < params.len()
        }
        _ => {
            let required = params.iter().filter(|(_, default)| !default).count();
            let named = arguments.len() - positional;
            positional + named.min(required) < required
        }
    }
}

fn slots<'b>(
    checker: &mut Checker<'_>,
    builtin: &'b Builtin,
    params: &[(&'static str, bool)],
    arguments: Vec<Argument>,
    span: Span,
) -> Result<Call<'b>> {
    let mut call =
        Call { builtin, slots: params.iter().map(|(n, _)| (*n, None)).collect(), rest: Vec::new(), span };
    let variadic = params.iter().position(|(n, _)| n.starts_with('…'));
    let mut next = 0;
    for argument in arguments {
        let place = match &argument.name {
            Some(name) => {
                let Some(place) = params.iter().position(|(n, _)| *n == name.text) else {
                    let message = format!("`{}` has no parameter `{}`", builtin.name(), name.text);
                    let hint = did_you_mean_argument(&name.text, params.iter().map(|(n, _)| *n));
                    return Err(checker
                        .report(Diagnostic::error(Code::UnknownArgument, name.span, message).hint_if(hint)));
                };
                place
            }
            None => {
                next += 1;
                next - 1
            }
        };
        if variadic.is_some_and(|v| place >= v) {
            call.rest.push(argument);
            continue;
        }
        match call.slots.get_mut(place) {
            Some((_, slot @ None)) => *slot = Some(argument),
            Some((name, Some(_))) => {
                let message = format!("`{name}` of `{}` is given twice", builtin.name());
                return checker.fail(Code::ExtraArgument, argument.span, message);
            }
            None => {
                let message = format!("`{}` has too many arguments here", builtin.name());
                return checker.fail_hint(
                    Code::ExtraArgument,
                    argument.span,
                    message,
                    format!("`{}`", builtin.signature),
                );
            }
        }
    }
    Ok(call)
}

// ---- reading arguments

impl Call<'_> {
    pub fn get(&self, name: &str) -> Option<&Argument> {
        self.slots.iter().find(|(n, _)| *n == name).and_then(|(_, a)| a.as_ref())
    }

    /// An argument that the signature requires.
    pub fn need(&self, name: &str) -> Result<&Argument> {
        self.get(name).ok_or(Reported)
    }

    pub fn operand(&self, name: &str) -> Result<(Value, Span)> {
        let argument = self.need(name)?;
        Ok((argument.value.clone(), argument.span))
    }

    /// `value` unless given.
    pub fn flag(&self, checker: &mut Checker<'_>, name: &str, value: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(value),
            Some(Argument { value: Value::Bool(b), .. }) => Ok(*b),
            Some(other) => checker.fail(
                Code::WrongKind,
                other.span,
                format!("`{name}` of `{}` is a bool, not {}", self.builtin.name(), other.value.kind()),
            ),
        }
    }

    pub fn int(&self, checker: &mut Checker<'_>, name: &str, default: i64) -> Result<i64> {
        match self.get(name) {
            None => Ok(default),
            Some(argument) => checker.value_int(&argument.value, argument.span),
        }
    }

    pub fn float(&self, checker: &mut Checker<'_>, name: &str, default: f64) -> Result<f64> {
        match self.get(name) {
            None => Ok(default),
            Some(argument) => match argument.value.as_float() {
                Some(f) => Ok(f),
                None => checker.fail(
                    Code::WrongKind,
                    argument.span,
                    format!(
                        "`{name}` of `{}` is a number, not {}",
                        self.builtin.name(),
                        argument.value.kind()
                    ),
                ),
            },
        }
    }

    /// A tensor; a number becomes one.
    pub fn tensor(&self, checker: &mut Checker<'_>, name: &str) -> Result<super::value::Tensor> {
        let argument = self.need(name)?;
        checker.as_tensor(&argument.value, DType::F32, argument.span)
    }

    pub fn typed(&self, checker: &mut Checker<'_>, name: &str) -> Result<(super::value::Tensor, TensorType)> {
        let tensor = self.tensor(checker, name)?;
        Ok((tensor, checker.tensor_type(tensor)))
    }

    /// An axis of a tensor of this rank; negative ones count from the end.
    pub fn axis(&self, checker: &mut Checker<'_>, name: &str, default: i64, rank: usize) -> Result<usize> {
        let axis = self.int(checker, name, default)?;
        let span = self.get(name).map_or(self.span, |a| a.span);
        checker.axis(axis, rank, span)
    }

    /// Axes to reduce: `none` means all.
    pub fn axes(&self, checker: &mut Checker<'_>, rank: usize) -> Result<Vec<usize>> {
        let Some(argument) = self.get("axis") else { return Ok((0..rank).collect()) };
        let values = match &argument.value {
            Value::None => return Ok((0..rank).collect()),
            other => match other.elements() {
                Some(list) => list.to_vec(),
                None => vec![other.clone()],
            },
        };
        let mut axes = Vec::new();
        for value in &values {
            let axis = checker.value_int(value, argument.span)?;
            let axis = checker.axis(axis, rank, argument.span)?;
            if axes.contains(&axis) {
                return checker.fail(Code::BadIndex, argument.span, format!("axis {axis} stands twice"));
            }
            axes.push(axis);
        }
        axes.sort_unstable();
        Ok(axes)
    }

    /// A list of positive ints, one for each of `count` axes; a single int stands for all.
    pub fn sizes(
        &self,
        checker: &mut Checker<'_>,
        name: &str,
        count: Option<usize>,
        default: usize,
    ) -> Result<Vec<usize>> {
        let Some(argument) = self.get(name) else { return Ok(vec![default; count.unwrap_or(1)]) };
        let values = match argument.value.elements() {
            Some(list) => list.to_vec(),
            None => vec![argument.value.clone(); count.unwrap_or(1)],
        };
        if count.is_some_and(|c| c != values.len()) {
            let message = format!(
                "`{name}` of `{}` needs {} numbers, not {}",
                self.builtin.name(),
                count.unwrap_or(1),
                values.len()
            );
            return checker.fail(Code::WrongKind, argument.span, message);
        }
        let mut sizes = Vec::new();
        for value in &values {
            let i = checker.value_int(value, argument.span)?;
            match usize::try_from(i).ok().filter(|i| (1..=1 << 24).contains(i)) {
                Some(size) => sizes.push(size),
                None => {
                    let message =
                        format!("`{name}` of `{}` must be at least 1, not {i}", self.builtin.name());
                    return checker.fail(Code::WrongKind, argument.span, message);
                }
            }
        }
        Ok(sizes)
    }
}

impl Checker<'_> {
    pub(crate) fn axis(&mut self, axis: i64, rank: usize, span: Span) -> Result<usize> {
        let place = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(place).ok().filter(|p| *p < rank) {
            Some(place) => Ok(place),
            None => {
                let axes = if rank == 1 { "1 axis".to_owned() } else { format!("{rank} axes") };
                self.fail(Code::BadIndex, span, format!("there is no axis {axis}: the tensor has {axes}"))
            }
        }
    }

    /// A list as a shape.
    pub(crate) fn shape_list(&mut self, value: &Value, span: Span) -> Result<Vec<crate::graph::Dim>> {
        let Some(items) = value.elements() else {
            return match value.as_dim() {
                Some(_) => Ok(vec![self.value_dim(value, span)?]),
                None => self.fail(
                    Code::WrongKind,
                    span,
                    format!("a shape is a list of dims, not {}", value.kind()),
                ),
            };
        };
        let items = items.clone();
        let mut shape = Vec::new();
        for item in items.iter() {
            shape.push(self.value_dim(item, span)?);
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_builtin_stands_once() {
        let mut names: Vec<&str> = super::names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn signatures_tell_names_and_defaults() {
        let sum = super::find("sum").map(super::Builtin::params);
        assert_eq!(sum, Some(vec![("x", false), ("axis", true), ("keep", true)]));
    }
}
