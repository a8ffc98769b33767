//! The values that the checker computes with: compile-time values, tensors (nodes of a graph) and maps.

use super::builtins::Builtin;
use super::scope::Scope;
use crate::graph::{Dim, NodeId};
use std::fmt::Write as _;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast;

/// What an expression of a spec is.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Rc<str>),
    /// One of a parameter's `choice(…)`.
    Choice(Rc<str>),
    /// A dim that is not constant (a constant one is an `Int`).
    Dim(Dim),
    List(Rc<Vec<Value>>),
    Tuple(Rc<Vec<Value>>),
    Record(Rc<Vec<(Rc<str>, Value)>>),
    Map(Rc<Vec<(Value, Value)>>),
    Tensor(Tensor),
    Function(Rc<Function>),
    /// An error was reported for it: whoever reads it stays silent.
    Error,
    /// A tensor that another entry computes: reading it is an error. Holds what it is called.
    Elsewhere(Rc<str>),
}

/// A node of the graph with this number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor {
    pub graph: u32,
    pub node: NodeId,
}

/// Something that can be applied.
#[derive(Clone, Debug)]
pub struct Function {
    pub kind: FunctionKind,
    /// Where it lives once it is instantiated: a template has none and is instantiated by each application.
    pub instance: Option<Instance>,
}

/// An instance *is* its path: applying it again elaborates the same body at the same path, so that the weights are the same.
#[derive(Clone, Debug)]
pub struct Instance {
    pub path: Rc<str>,
    /// Why no weights may be made in it, when that is so (it was born in a `fn`).
    pub weightless: Option<Rc<str>>,
}

#[derive(Clone, Debug)]
pub enum FunctionKind {
    /// A `fn`, `layer`, `model` or `optimizer`. `given`: its configuration, one value a parameter; for a `fn` with one list that was
    /// called without its first tensor, the other arguments.
    Item {
        item: Rc<Item>,
        given: Given,
    },
    Lambda(Rc<Lambda>),
    Builtin {
        builtin: &'static Builtin,
        given: Vec<Argument>,
    },
    /// `repeat(count, inner)`
    Repeat {
        count: i64,
        inner: Rc<Function>,
        span: Span,
    },
}

#[derive(Clone, Debug)]
pub enum Given {
    Nothing,
    /// The values of all configuration parameters.
    Configuration(Rc<Vec<Bound>>),
    /// The arguments of a `fn` that waits for its first.
    Waiting(Rc<Vec<Argument>>),
}

/// A parameter's value, and the place that gave it.
#[derive(Clone, Debug)]
pub struct Bound {
    pub value: Value,
    pub span: Span,
    /// No argument was given: this is the default.
    pub default: bool,
}

/// An evaluated argument.
#[derive(Clone, Debug)]
pub struct Argument {
    pub name: Option<ast::Name>,
    pub value: Value,
    pub span: Span,
}

/// A callable item and the file that it stands in.
#[derive(Debug)]
pub struct Item {
    pub callable: ast::Callable,
    pub home: usize,
    pub doc: Option<String>,
}

impl Item {
    pub fn name(&self) -> &str {
        &self.callable.name.text
    }

    /// Does an application of it have a body of its own, with a path?
    pub fn owns(&self) -> bool {
        matches!(self.callable.kind, ast::CallableKind::Layer | ast::CallableKind::Model)
    }
}

#[derive(Debug)]
pub struct Lambda {
    pub params: Vec<ast::Param>,
    pub body: ast::Block,
    pub scope: Scope,
}

impl Value {
    pub fn list(values: Vec<Value>) -> Value {
        Value::List(Rc::new(values))
    }

    pub fn tuple(values: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(values))
    }

    pub fn function(kind: FunctionKind) -> Value {
        Value::Function(Rc::new(Function { kind, instance: None }))
    }

    pub fn text(text: &str) -> Value {
        Value::Text(Rc::from(text))
    }

    /// A dim as a value: an int when it is constant.
    pub fn dim(dim: Dim) -> Value {
        dim.as_constant().map_or(Value::Dim(dim), Value::Int)
    }

    /// An int or a dim, as a dim.
    pub fn as_dim(&self) -> Option<Dim> {
        match self {
            Value::Int(i) => Some(Dim::constant(*i)),
            Value::Dim(d) => Some(d.clone()),
            _ => None,
        }
    }

    /// An int or a float, as a float.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// The elements of a list or a tuple.
    pub fn elements(&self) -> Option<&Rc<Vec<Value>>> {
        match self {
            Value::List(v) | Value::Tuple(v) => Some(v),
            _ => None,
        }
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Float(_) | Value::Dim(_))
    }

    pub fn is_tensor(&self) -> bool {
        matches!(self, Value::Tensor(_))
    }

    /// The kind in words, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "none",
            Value::Int(_) => "an int",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a bool",
            Value::Text(_) => "a text",
            Value::Choice(_) => "a choice",
            Value::Dim(_) => "a dim",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Record(_) => "a record",
            Value::Map(_) => "a map",
            Value::Tensor(_) => "a tensor",
            Value::Function(f) => f.what(),
            Value::Error => "an error",
            Value::Elsewhere(_) => "a tensor of another computation",
        }
    }

    /// Is there a template in it, which binding must instantiate?
    pub fn holds_template(&self) -> bool {
        match self {
            Value::Function(f) => f.is_template(),
            Value::List(v) | Value::Tuple(v) => v.iter().any(Value::holds_template),
            Value::Record(v) => v.iter().any(|(_, v)| v.holds_template()),
            Value::Map(v) => v.iter().any(|(_, v)| v.holds_template()),
            _ => false,
        }
    }

    /// Whether two compile-time values are equal; `None` when they cannot be compared.
    pub fn equals(&self, other: &Value) -> Option<bool> {
        Some(match (self, other) {
            (Value::None, Value::None) => true,
            (Value::None, _) | (_, Value::None) => false,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a) | Value::Choice(a), Value::Text(b) | Value::Choice(b)) => a == b,
            (Value::List(a) | Value::Tuple(a), Value::List(b) | Value::Tuple(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                let mut same = true;
                for (a, b) in a.iter().zip(b.iter()) {
                    same &= a.equals(b)?;
                }
                same
            }
            (Value::Dim(a), Value::Dim(b)) if a == b => true,
            _ => {
                if let (Some(a), Some(b)) = (self.as_dim(), other.as_dim()) {
                    return (a - b).as_constant().map(|d| d == 0);
                }
                self.as_float()? == other.as_float()?
            }
        })
    }

    /// What it is, within a sentence: `-1`, `a text ("4")`.
    pub fn shown(&self) -> String {
        match self {
            Value::Int(_) | Value::Float(_) => self.show(),
            other => format!("{} ({})", other.kind(), other.show()),
        }
    }

    /// The value as a spec would write it, for messages and for `typed`.
    pub fn show(&self) -> String {
        let join = |values: &[Value]| values.iter().map(Value::show).collect::<Vec<_>>().join(", ");
        match self {
            Value::None => "none".into(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => show_float(*f),
            Value::Bool(b) => b.to_string(),
            Value::Text(t) => format!("{t:?}"),
            Value::Choice(c) => c.to_string(),
            Value::Dim(d) => d.to_string(),
            Value::List(v) => format!("[{}]", join(v)),
            Value::Tuple(v) => format!("({})", join(v)),
            Value::Record(v) => {
                let fields =
                    v.iter().map(|(n, v)| format!("{n} = {}", v.show())).collect::<Vec<_>>().join(", ");
                format!("{{ {fields} }}")
            }
            Value::Map(v) => {
                let entries = v
                    .iter()
                    .map(|(k, v)| format!("{}: {}", k.show(), v.show()))
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("map {{ {entries} }}")
            }
            Value::Tensor(_) => "tensor".into(),
            Value::Function(f) => f.show(),
            Value::Error => "error".into(),
            Value::Elsewhere(name) => name.to_string(),
        }
    }
}

/// A float as a literal that reads back as a float.
pub fn show_float(f: f64) -> String {
    // Twelve digits: what arithmetic leaves behind them (0.2 + 0.1) is of no interest to a reader.
    let f = format!("{f:.11e}").parse().unwrap_or(f);
    if f != 0.0 && (f.abs() >= 1e16 || f.abs() < 1e-4) { format!("{f:e}") } else { format!("{f:?}") }
}

impl Function {
    /// The name an anonymous instance gets, and the name for messages.
    pub fn name(&self) -> &str {
        match &self.kind {
            FunctionKind::Item { item, .. } => item.name(),
            FunctionKind::Lambda(_) => "lambda",
            FunctionKind::Builtin { builtin, .. } => builtin.name(),
            FunctionKind::Repeat { inner, .. } => inner.name(),
        }
    }

    fn what(&self) -> &'static str {
        match &self.kind {
            FunctionKind::Item { item, .. } => match item.callable.kind {
                ast::CallableKind::Fn => "a fn",
                ast::CallableKind::Layer => "a layer",
                ast::CallableKind::Model => "a model",
                ast::CallableKind::Optimizer => "an optimizer",
            },
            FunctionKind::Lambda(_) | FunctionKind::Builtin { .. } => "a fn",
            FunctionKind::Repeat { .. } => "a layer",
        }
    }

    /// Would binding it to a name make an instance? A configured layer, a lambda, a repeat; and a `fn` that waits for its first tensor
    /// with such a thing among its arguments. The bare name of a layer that takes configuration is not one: it is a *factory*.
    pub fn is_template(&self) -> bool {
        if self.instance.is_some() {
            return false;
        }
        match &self.kind {
            FunctionKind::Item { item, given } => match item.callable.kind {
                ast::CallableKind::Layer => {
                    matches!(given, Given::Configuration(_)) || item.callable.params.is_empty()
                }
                ast::CallableKind::Fn => match given {
                    Given::Nothing => false,
                    Given::Configuration(bound) => bound.iter().any(|b| b.value.holds_template()),
                    Given::Waiting(arguments) => arguments.iter().any(|a| a.value.holds_template()),
                },
                ast::CallableKind::Model | ast::CallableKind::Optimizer => false,
            },
            FunctionKind::Lambda(_) | FunctionKind::Repeat { .. } => true,
            FunctionKind::Builtin { .. } => false,
        }
    }

    /// Is it the bare name of a layer that takes configuration? Each use of it makes a layer.
    pub fn is_factory(&self) -> bool {
        match &self.kind {
            FunctionKind::Item { item, given: Given::Nothing } => {
                item.callable.kind == ast::CallableKind::Layer && !item.callable.params.is_empty()
            }
            _ => false,
        }
    }

    /// `dense(64, bias = false)`
    pub fn show(&self) -> String {
        let mut text = self.name().to_owned();
        match &self.kind {
            FunctionKind::Item { item, given: Given::Configuration(bound) } => {
                let stated: Vec<String> = item
                    .callable
                    .params
                    .iter()
                    .zip(bound.iter())
                    .filter(|(_, bound)| !bound.default)
                    .map(|(param, bound)| format!("{} = {}", param.name.text, bound.value.show()))
                    .collect();
                let _ = write!(text, "({})", stated.join(", "));
            }
            FunctionKind::Item { given: Given::Waiting(arguments), .. } => {
                show_arguments(arguments, &mut text)
            }
            FunctionKind::Builtin { given, .. } => show_arguments(given, &mut text),
            FunctionKind::Repeat { count, inner, .. } => text = format!("repeat({count}, {})", inner.show()),
            _ => {}
        }
        text
    }
}

fn show_arguments(arguments: &[Argument], text: &mut String) {
    if arguments.is_empty() {
        return;
    }
    let stated: Vec<String> = arguments
        .iter()
        .map(|a| match &a.name {
            Some(name) => format!("{} = {}", name.text, a.value.show()),
            None => a.value.show(),
        })
        .collect();
    let _ = write!(text, "({})", stated.join(", "));
}
