//! How each tensor of the entry under construction came about, in the author's words.
//!
//! An application or an operator that stands in a file of the user leaves a [`Step`]; an input leaves an [`Origin`]. Two readers
//! follow the trail: messages about shapes, which tell the way from the input to the fault, and the lints, which look at what
//! stands directly after what. What the library does inside is no step: its users didn't write it.

use super::value::{Argument, Function, FunctionKind, Given, Item, Tensor, Value};
use super::{Checker, call};
use crate::diagnostics::{Code, Diagnostic, Label};
use crate::graph::{Graph, NodeId, TensorType};
use std::collections::HashMap;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{CallableKind, Expr, ExprKind, Param};

/// The steps and origins of one entry.
#[derive(Debug, Default)]
pub struct Trail {
    /// In the order in which they ended, so that what makes a step's inputs stands before it.
    pub steps: Vec<Step>,
    /// The steps that gave each node, in order.
    made: HashMap<NodeId, Vec<usize>>,
    pub origins: Vec<Origin>,
}

/// One application or operator in the user's text.
#[derive(Clone, Debug)]
pub struct Step {
    pub span: Span,
    /// `None`: an operator or an index.
    pub call: Option<Call>,
    pub inputs: Vec<NodeId>,
    pub outputs: Vec<NodeId>,
}

/// What was applied, and to what.
#[derive(Clone, Debug)]
pub struct Call {
    pub function: Rc<Function>,
    pub arguments: Vec<Argument>,
}

/// A tensor that the entry is given.
#[derive(Clone, Debug)]
pub struct Origin {
    pub node: NodeId,
    /// `image`, or `image` of a data set
    pub what: String,
    pub span: Span,
    /// It is a field of a data set, whose row has this type.
    pub row: Option<TensorType>,
}

/// One station on the way to a tensor.
struct Stop {
    text: String,
    ty: String,
    span: Span,
}

/// A way with more stations is shown with its middle left out.
const LONGEST: usize = 9;
/// A station's text is cut after this many characters.
const WIDEST: usize = 44;
/// What a note about the way of a shape starts with.
const WAY: &str = "how the shape came about";

/// The codes of errors that a chain of shapes helps to understand.
const SHAPES: &[Code] = &[
    Code::ShapeMismatch,
    Code::DimMismatch,
    Code::DTypeMismatch,
    Code::RankMismatch,
    Code::BadOperation,
    Code::BadIndex,
    Code::AssertionFailed,
    Code::ResultMismatch,
    Code::InexactDim,
    Code::FactFails,
    Code::SharedClash,
];

impl Trail {
    fn push(&mut self, step: Step) {
        for output in &step.outputs {
            let all = self.made.entry(*output).or_default();
            if all.last() != Some(&self.steps.len()) {
                all.push(self.steps.len());
            }
        }
        self.steps.push(step);
    }

    /// The last step before `before` that gave this node.
    pub fn maker(&self, node: NodeId, before: usize) -> Option<usize> {
        let all = self.made.get(&node)?;
        all.get(all.partition_point(|at| *at < before).checked_sub(1)?).copied()
    }

    pub fn origin(&self, node: NodeId) -> Option<&Origin> {
        self.origins.iter().find(|o| o.node == node)
    }
}

impl Step {
    /// The item that was applied.
    pub fn item(&self) -> Option<&Rc<Item>> {
        match &self.call.as_ref()?.function.kind {
            FunctionKind::Item { item, .. } => Some(item),
            _ => None,
        }
    }

    /// What was applied by name, as its declaration calls it.
    pub fn name(&self) -> &str {
        self.call.as_ref().map_or("", |c| c.function.name())
    }

    /// The value of a parameter: of the configuration or of the inputs, given or by a literal default.
    pub fn value(&self, name: &str) -> Option<Value> {
        let call = self.call.as_ref()?;
        let FunctionKind::Item { item, given } = &call.function.kind else { return None };
        let (params, inputs) = (&item.callable.params, item.callable.inputs.as_deref());
        let place = |list: &[Param]| list.iter().position(|p| p.name.text == name);
        let literal = |param: Option<&Param>| match &param?.default.as_ref()?.kind {
            ExprKind::Bool(b) => Some(Value::Bool(*b)),
            ExprKind::Int(text) => text.parse().ok().map(Value::Int),
            ExprKind::Float(text) => text.parse().ok().map(Value::Float),
            _ => None,
        };
        let argument = |list: &[Param]| {
            let named = call.arguments.iter().find(|a| a.name.as_ref().is_some_and(|n| n.text == name));
            let positional = || {
                let at = place(list)?;
                call.arguments.iter().filter(|a| a.name.is_none()).nth(at)
            };
            named.or_else(positional).map(|a| a.value.clone())
        };
        match (inputs, given) {
            (Some(inputs), _) if place(inputs).is_some() => {
                argument(inputs).or_else(|| literal(inputs.get(place(inputs)?)))
            }
            (Some(_), Given::Configuration(bound)) => Some(bound.get(place(params)?)?.value.clone()),
            (Some(_), _) => literal(params.get(place(params)?)),
            (None, Given::Waiting(kept)) => {
                let all = Step { call: Some(joined(call, kept)), ..self.clone() };
                all.value(name)
            }
            (None, _) => argument(params).or_else(|| literal(params.get(place(params)?))),
        }
    }

    /// The node of an input of this name.
    pub fn input(&self, name: &str) -> Option<NodeId> {
        match self.value(name)? {
            Value::Tensor(t) => Some(t.node),
            _ => None,
        }
    }
}

/// The call of a map with the arguments that it kept.
fn joined(call: &Call, kept: &[Argument]) -> Call {
    let kind = match &call.function.kind {
        FunctionKind::Item { item, .. } => FunctionKind::Item { item: item.clone(), given: Given::Nothing },
        other => other.clone(),
    };
    let function = Rc::new(Function { kind, instance: None });
    Call { function, arguments: call::join(call.arguments.clone(), kept) }
}

/// Every tensor in a value.
pub fn tensors(value: &Value, found: &mut Vec<Tensor>) {
    match value {
        Value::Tensor(t) => found.push(*t),
        Value::List(v) | Value::Tuple(v) => v.iter().for_each(|v| tensors(v, found)),
        Value::Record(v) => v.iter().for_each(|(_, v)| tensors(v, found)),
        _ => {}
    }
}

impl Checker<'_> {
    /// Does this text stand in a file of the user?
    pub(crate) fn by_user(&self, span: Span) -> bool {
        !self.sources.is_std(span.file)
    }

    fn own_nodes(&self, value: &Value, nodes: &mut Vec<NodeId>) {
        let mut found = Vec::new();
        tensors(value, &mut found);
        nodes.extend(found.into_iter().filter(|t| t.graph == self.context.id).map(|t| t.node));
    }

    /// Notes what the user's text at `span` made.
    pub(crate) fn tread<'v>(
        &mut self,
        span: Span,
        call: Option<Call>,
        inputs: impl IntoIterator<Item = &'v Value>,
        output: &Value,
    ) {
        let mut outputs = Vec::new();
        self.own_nodes(output, &mut outputs);
        if self.muted > 0 || outputs.is_empty() {
            return;
        }
        let mut nodes = Vec::new();
        inputs.into_iter().for_each(|v| self.own_nodes(v, &mut nodes));
        self.context.trail.push(Step { span, call, inputs: nodes, outputs });
    }

    pub(crate) fn originate(&mut self, node: NodeId, what: String, span: Span, row: Option<TensorType>) {
        self.context.trail.origins.push(Origin { node, what, span, row });
    }

    // ---- the way of a shape, for messages

    /// Tells the shape errors from `before` on how the tensors came about that were given to the failing text, and where they stand.
    pub(crate) fn explain_shapes(&mut self, before: usize, given: &[(Tensor, Span)]) {
        let wanted = |d: &Diagnostic| {
            SHAPES.iter().any(|c| c.id() == d.code) && !d.notes.iter().any(|n| n.starts_with(WAY))
        };
        let last = self.diagnostics.len();
        // An error is explained by the innermost text alone.
        let first = before.max(self.explained);
        self.explained = last;
        for at in first..last {
            let Some(true) = self.diagnostics.get(at).map(wanted) else { continue };
            let Some(mut diagnostic) = self.diagnostics.get(at).cloned() else { continue };
            self.tell_ways(&mut diagnostic, given);
            if let Some(slot) = self.diagnostics.get_mut(at) {
                *slot = diagnostic;
            }
        }
    }

    fn tell_ways(&self, diagnostic: &mut Diagnostic, given: &[(Tensor, Span)]) {
        let graph = &self.context.builder.graph;
        let own = given.iter().filter(|(t, _)| t.graph == self.context.id);
        let mut own: Vec<(NodeId, Span)> = own.map(|(t, span)| (t.node, *span)).collect();
        // A message about one of them is about those that it shows.
        let shown: Vec<Span> =
            std::iter::once(&diagnostic.primary).chain(&diagnostic.related).map(|l| l.span).collect();
        if own.iter().any(|(_, span)| *span == diagnostic.primary.span) {
            own.retain(|(_, span)| shown.contains(span));
        }
        let several = own.len() > 1;
        let mut told: Vec<String> = Vec::new();
        for (node, span) in &own {
            let ty = graph.node(*node).ty.to_string();
            let shown = std::iter::once(&diagnostic.primary).chain(&diagnostic.related);
            if self.by_user(*span) && !shown.into_iter().any(|l| l.span == *span) {
                diagnostic.related.push(Label { span: *span, text: ty.clone() });
            }
            let (way, origin) = self.way(*node);
            let shown = std::iter::once(&diagnostic.primary).chain(&diagnostic.related);
            if let Some(origin) = origin.filter(|o| !shown.into_iter().any(|l| l.span == o.span)) {
                let text = match &origin.row {
                    Some(row) => Some(format!("a row's {} is {row}", origin.what)),
                    None => (way.len() < 2).then(|| format!("{} comes from here", origin.what)),
                };
                diagnostic.related.extend(text.map(|text| Label { span: origin.span, text }));
            }
            if way.len() < 2 {
                continue;
            }
            let whose = if several { format!(" ({ty})") } else { String::new() };
            let lines = shortened(&way, &ty, |span| self.line(span, diagnostic.primary.span));
            let note = format!("{WAY}{whose}:\n{lines}");
            if !told.contains(&lines) {
                diagnostic.notes.push(note);
                told.push(lines);
            }
        }
    }

    /// The stations from an origin to this node, and the origin.
    fn way(&self, node: NodeId) -> (Vec<Stop>, Option<&Origin>) {
        let graph = &self.context.builder.graph;
        let trail = &self.context.trail;
        let mut stops = Vec::new();
        let (mut at, mut before) = (node, trail.steps.len());
        let mut first = None;
        loop {
            let ty = graph.node(at).ty.to_string();
            if let Some(index) = trail.maker(at, before)
                && let Some(step) = trail.steps.get(index)
            {
                before = index;
                let text = clipped(self.sources.text(step.span));
                stops.push(Stop { text, ty, span: step.span });
                let Some(input) = step.inputs.first() else { break };
                at = *input;
            } else if let Some(origin) = trail.origin(at) {
                stops.push(Stop { text: origin.what.clone(), ty, span: origin.span });
                first = Some(origin);
                break;
            } else {
                // Made by an operation that is no step of its own, such as a view between two of them.
                let Some(input) = graph.node(at).inputs.first() else { break };
                at = *input;
            }
        }
        stops.reverse();
        // Operators that keep the shape say nothing.
        let mut previous = String::new();
        stops.retain(|stop| {
            let operator = trail.steps.iter().any(|s| s.call.is_none() && s.span == stop.span);
            let same = stop.ty == previous;
            previous.clone_from(&stop.ty);
            !(operator && same)
        });
        (stops, first)
    }

    /// `line 7`, with the file's name when it isn't that of the message.
    fn line(&self, span: Span, primary: Span) -> String {
        let (line, _) = self.sources.position(span);
        match self.sources.get(span.file) {
            Some(source) if span.file != primary.file => format!("{} line {line}", source.name),
            _ => format!("line {line}"),
        }
    }

    /// `given` for [`Checker::explain_shapes`]: the tensors among arguments.
    pub(crate) fn given_tensors(arguments: &[Argument]) -> Vec<(Tensor, Span)> {
        let mut given = Vec::new();
        for argument in arguments {
            let mut found = Vec::new();
            tensors(&argument.value, &mut found);
            given.extend(found.into_iter().map(|t| (t, argument.span)));
        }
        given
    }

    /// An operator or index in the user's text: its result leaves a step, its error is told the ways of its operands.
    pub(crate) fn trailed(
        &mut self,
        expr: &Expr,
        operands: &[(&Value, Span)],
        before: usize,
        result: &super::Result,
    ) {
        if !self.by_user(expr.span) {
            return;
        }
        match result {
            Ok(value) => {
                self.tread(expr.span, None, operands.iter().map(|(v, _)| *v), value);
            }
            Err(_) => {
                let tensor = |(v, span): &(&Value, Span)| match v {
                    Value::Tensor(t) => Some((*t, *span)),
                    _ => None,
                };
                let given: Vec<(Tensor, Span)> = operands.iter().filter_map(tensor).collect();
                self.explain_shapes(before, &given);
            }
        }
    }
}

/// The stations as aligned lines; of a long way, the ends.
fn shortened(way: &[Stop], ty: &str, line: impl Fn(Span) -> String) -> String {
    let width = |cell: fn(&Stop) -> &str| way.iter().map(|s| cell(s).chars().count()).max().unwrap_or(0);
    let (texts, types) = (width(|s| &s.text), width(|s| &s.ty).max(ty.chars().count()));
    let show = |stop: &Stop| {
        format!(
            "{:<texts$}  {:<types$}  {}",
            stop.text,
            stop.ty,
            line(stop.span),
            texts = texts,
            types = types
        )
    };
    let mut lines: Vec<String> = Vec::new();
    if way.len() <= LONGEST {
        lines.extend(way.iter().map(show));
    } else {
        let (head, tail) = (3, LONGEST - 4);
        lines.extend(way.iter().take(head).map(show));
        lines.push(format!("… {} more", way.len() - head - tail));
        lines.extend(way.iter().skip(way.len() - tail).map(show));
    }
    lines.join("\n")
}

/// A piece of the spec on one line, cut when it is long.
pub fn clipped(text: &str) -> String {
    let short = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if short.chars().count() <= WIDEST {
        return short;
    }
    let kept: String = short.chars().take(WIDEST - 1).collect();
    format!("{kept}…")
}

/// The nodes that a node is a mere view, cast or copy of, itself first.
pub fn seen_through(graph: &Graph, node: NodeId) -> Vec<NodeId> {
    use crate::graph::Op;
    let mut nodes = vec![node];
    let mut at = node;
    loop {
        let here = graph.node(at);
        let view = matches!(
            here.op,
            Op::Reshape | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. } | Op::Cast
        );
        match here.inputs.first() {
            Some(input) if view => at = *input,
            _ => return nodes,
        }
        nodes.push(at);
    }
}

/// Is this a model's application?
pub fn is_model(step: &Step) -> bool {
    step.item().is_some_and(|i| i.callable.kind == CallableKind::Model)
}
