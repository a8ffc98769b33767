//! `scan`: a loop over the steps of a sequence.
//!
//! The body is elaborated once, in the graph of its entry, with placeholders for what one step is given. So every rule of the
//! language holds in it as it does outside: layers own their weights, guards are the entry's, gradients may be taken. Then what
//! depends on a placeholder is cut out and becomes the loop's body ([`outline`]); the rest (weights, what does not change from step to
//! step) stands before the loop already. The placeholders and what hung on them leave the graph with its entry
//! ([`super::context::Context::finish`]).
//!
//! Random elements drawn in the body are drawn outside for all steps at once, under the same key, and come in like any element.

use super::context::Decision;
use super::scope::Scope;
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::open::{OpenCarry, outline};
use crate::graph::{DType, Dim, NodeId, Op, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, ExprKind};

/// The body of a scan under elaboration.
#[derive(Debug)]
pub struct Turn {
    /// How many bodies of layers and fns are around it: a `yield` belongs to the scan that it is written in.
    frames: usize,
    yields: Option<(Vec<(Value, Span)>, Span)>,
}

/// The final carries of a scan, by name.
pub type Finals = Vec<(Rc<str>, NodeId)>;

/// A sequence and where its steps lie.
struct Element {
    /// With the steps on the first axis.
    operand: NodeId,
    place: NodeId,
    axis: usize,
}

/// A carry under its name.
struct Carry<'t> {
    name: &'t ast::Name,
    /// The text of its first value.
    at: Span,
    first: NodeId,
    place: NodeId,
    ty: TensorType,
}

impl Checker<'_> {
    pub(crate) fn scan(&mut self, scan: &ast::Scan, span: Span, scope: &Scope) -> Result {
        if scan.elements.len() != scan.sources.len() {
            let (names, sources) = (scan.elements.len(), scan.sources.len());
            let message = format!(
                "{}, but {}",
                counted(names, "name is bound", "names are bound"),
                counted(sources, "sequence stands after `in`", "sequences stand after `in`")
            );
            return self.fail_hint(
                Code::BadScan,
                span,
                message,
                "each name is a step of one sequence: `scan a, b in xs, ys over t`",
            );
        }
        let over = ast::Expr { kind: ExprKind::Name(scan.over.text.clone()), span: scan.over.span };
        let trip = self.dim(&over, scope);
        let sources: Vec<Result> = scan.sources.iter().map(|source| self.expr(source, scope)).collect();
        let firsts: Vec<Result> = scan.carries.iter().map(|(_, first)| self.expr(first, scope)).collect();
        let trip = trip?;
        let sources: Vec<Value> = sources.into_iter().collect::<Result<_>>()?;
        let firsts: Vec<Value> = firsts.into_iter().collect::<Result<_>>()?;

        let mut operands = Vec::new();
        for (source, at) in sources.iter().zip(&scan.sources) {
            operands.push(self.sequence(source, &trip, &scan.over, at.span)?);
        }
        let mut starts = Vec::new();
        for (first, (_, at)) in firsts.iter().zip(&scan.carries) {
            let dtype = if matches!(first, Value::Bool(_)) { DType::Bool } else { DType::F32 };
            starts.push(self.as_tensor(first, dtype, at.span)?.node);
        }

        let from = self.context.builder.graph.nodes.len();
        let inner = scope.body();
        let mut elements = Vec::new();
        for ((operand, axis), name) in operands.into_iter().zip(&scan.elements) {
            let mut ty = self.context.builder.ty(operand).clone();
            ty.shape.remove(0);
            let place = self.placeholder(&name.text, ty, name.span)?;
            inner.bind(&name.text, Value::Tensor(self.context.tensor(place)), name.span);
            elements.push(Element { operand, place, axis });
        }
        let mut carries: Vec<Carry<'_>> = Vec::new();
        for (first, (name, at)) in starts.into_iter().zip(&scan.carries) {
            if let Some(earlier) = carries.iter().find(|c| c.name.text == name.text) {
                let message = format!("two carries are called `{}`", name.text);
                let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                return Err(self.report(diagnostic.related(earlier.name.span, "first here")));
            }
            let ty = self.context.builder.ty(first).clone();
            let place = self.placeholder(&name.text, ty.clone(), name.span)?;
            inner.bind(&name.text, Value::Tensor(self.context.tensor(place)), name.span);
            carries.push(Carry { name, at: at.span, first, place, ty });
        }

        self.context.turns.push(Turn { frames: self.frames.len(), yields: None });
        let body = self.block(&scan.body, &inner);
        let turn = self.context.turns.pop();
        body?;

        let mut open = Vec::new();
        for carry in &carries {
            let next = self.next(carry, &inner)?;
            if next == carry.place && self.by_user(carry.name.span) {
                let message = format!("the carry `{}` never changes", carry.name.text);
                let doubt = Diagnostic::warning(Code::UnusedLet, carry.name.span, message);
                let hint =
                    "the body sees the names around the scan: take the carry out, or assign it in the body";
                self.doubts.push(doubt.hint(hint));
            }
            open.push(OpenCarry { place: carry.place, first: carry.first, next });
        }
        let mut yields = Vec::new();
        for (value, at) in turn.and_then(|t| t.yields).map(|(values, _)| values).unwrap_or_default() {
            let dtype = if matches!(value, Value::Bool(_)) { DType::Bool } else { DType::F32 };
            yields.push(self.as_tensor(&value, dtype, at)?.node);
        }
        if yields.is_empty() && carries.is_empty() {
            let hint = "`yield x` gives a value for each step, `carrying h = …` one for the last";
            return self.fail_hint(Code::BadScan, span, "this scan yields nothing and carries nothing", hint);
        }

        let mut pairs: Vec<(NodeId, NodeId)> = elements.iter().map(|e| (e.place, e.operand)).collect();
        pairs.extend(self.drawn_outside(from, &trip, span)?);
        let graph = &self.context.builder.graph;
        let (made, operands) = outline(graph, from, (trip, scan.reversed), &pairs, &open, &yields);
        self.place(span);
        let results = self.context.builder.scan(made, &operands);
        let results = self.built(results, span)?;
        let (finals, stacks) = results.split_at(carries.len().min(results.len()));
        let finals: Finals =
            carries.iter().zip(finals).map(|(c, id)| (Rc::from(&*c.name.text), *id)).collect();
        let axis = elements.first().map_or(0, |e| e.axis);
        let mut values = Vec::new();
        for stack in stacks {
            let rank = self.context.builder.ty(*stack).rank();
            let axis = axis.min(rank.saturating_sub(1));
            // The steps go back to where the first sequence had them.
            let order: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..rank).collect();
            let moved = self.context.builder.transpose(*stack, &order);
            values.push(self.built(moved, span)?);
        }
        for value in &values {
            self.context.finals.insert(*value, finals.clone());
        }
        let mut values: Vec<Value> = values.into_iter().map(|node| self.tensor(node)).collect();
        Ok(match (values.pop(), values.is_empty()) {
            (None, _) => {
                Value::Record(Rc::new(finals.into_iter().map(|(name, id)| (name, self.tensor(id))).collect()))
            }
            (Some(only), true) => only,
            (Some(last), false) => {
                values.push(last);
                Value::tuple(values)
            }
        })
    }

    /// `yield h, c`
    pub(crate) fn yields(&mut self, values: &[ast::Expr], span: Span, scope: &Scope) -> Result<()> {
        let mut given = Vec::new();
        for value in values {
            given.push((self.expr(value, scope), value.span));
        }
        let height = self.frames.len();
        let Some(turn) = self.context.turns.last_mut().filter(|turn| turn.frames == height) else {
            return self.fail(Code::BadStatement, span, "`yield` stands only inside a `scan`");
        };
        if let Some((_, first)) = &turn.yields {
            let message = "a scan yields once a step";
            let diagnostic =
                Diagnostic::error(Code::BadStatement, span, message).related(*first, "first here");
            return Err(self.report(diagnostic.hint("`yield a, b` gives two values a step")));
        }
        turn.yields = Some((Vec::new(), span));
        let mut values = Vec::new();
        for (value, at) in given {
            values.push((value?, at));
        }
        if let Some(turn) = self.context.turns.last_mut() {
            turn.yields = Some((values, span));
        }
        Ok(())
    }

    /// The final carry that `states.h` names, if the value is a scan's.
    pub(crate) fn final_carry(&mut self, base: &Value, field: &ast::Name) -> Option<Result> {
        let first = match base {
            Value::Tuple(values) => values.first()?,
            value => value,
        };
        let Value::Tensor(tensor) = first else { return None };
        let finals = self.context.finals.get(&tensor.node).filter(|_| tensor.graph == self.context.id)?;
        if let Some((_, node)) = finals.iter().find(|(name, _)| **name == *field.text) {
            return Some(Ok(self.tensor(*node)));
        }
        let hint = crate::diagnostics::did_you_mean(&field.text, finals.iter().map(|(name, _)| &**name));
        let message = format!("the scan carries no `{}`", field.text);
        Some(Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint_if(hint))))
    }

    fn placeholder(&mut self, name: &str, ty: TensorType, span: Span) -> Result<NodeId> {
        let op = Op::Input(format!("{name} of scan {}", self.context.places.len()));
        let node = self.emit(op, &[], Some(ty), span)?;
        self.context.places.push(node);
        self.originate(node, format!("`{name}`, one step"), span, None);
        Ok(node)
    }

    /// A sequence with its steps on the first axis, and where they were.
    fn sequence(
        &mut self,
        source: &Value,
        trip: &Dim,
        over: &ast::Name,
        span: Span,
    ) -> Result<(NodeId, usize)> {
        let tensor = self.as_tensor(source, DType::F32, span)?;
        let ty = self.tensor_type(tensor);
        let axes: Vec<usize> = (0..ty.rank())
            .filter(|axis| {
                let extent = ty.shape.get(*axis);
                extent.is_some_and(|extent| self.context.decide(extent, trip) == Decision::Equal)
            })
            .collect();
        let axis = match axes[..] {
            [axis] | [axis @ 0, ..] => axis,
            [] => {
                let message = format!("no axis of {ty} is `{}`", over.text);
                let diagnostic = Diagnostic::error(Code::BadScan, span, message);
                let given = format!("`{}` is {trip}", over.text);
                let mut diagnostic = diagnostic.related(over.span, given);
                self.name_symbols(&mut diagnostic, &[trip]);
                return Err(self.report(diagnostic));
            }
            [first, second, ..] => {
                let message =
                    format!("`{}` may be axis {first} or {second} of {ty}: both are {trip}", over.text);
                let order: Vec<String> = std::iter::once(first)
                    .chain((0..ty.rank()).filter(|a| *a != first))
                    .map(|a| a.to_string())
                    .collect();
                let hint = format!(
                    "put the steps on the first axis: `transpose({}, [{}])`",
                    self.sources.text(span),
                    order.join(", ")
                );
                return self.fail_hint(Code::BadScan, span, message, hint);
            }
        };
        let order: Vec<usize> = std::iter::once(axis).chain((0..ty.rank()).filter(|a| *a != axis)).collect();
        self.place(span);
        let moved = self.context.builder.transpose(tensor.node, &order);
        let moved = self.built(moved, span)?;
        let mut shape = self.context.builder.ty(moved).shape.clone();
        if let Some(lead) = shape.first_mut() {
            lead.clone_from(trip);
        }
        let moved = self.context.tensor(moved);
        Ok((self.retyped(moved, &shape, span)?.node, axis))
    }

    /// What a carry is at the end of a step, in the type that it starts with.
    fn next(&mut self, carry: &Carry<'_>, scope: &Scope) -> Result<NodeId> {
        let (value, at) = scope.find(&carry.name.text).ok_or(Reported)?;
        if value.is_number() {
            return self.fitted(&value, &carry.ty, at).map_err(|_| Reported);
        }
        let tensor = self.as_tensor(&value, carry.ty.dtype, at)?;
        let ty = self.tensor_type(tensor);
        let fits = ty.dtype == carry.ty.dtype && ty.rank() == carry.ty.rank();
        let pairs = || carry.ty.shape.iter().zip(&ty.shape);
        let differ = |checker: &Self| pairs().any(|(a, b)| checker.context.decide(a, b) == Decision::Differ);
        if !fits || differ(self) {
            let name = &carry.name.text;
            let message = format!("the carry `{name}` starts as {} but becomes {ty}", carry.ty);
            let mut diagnostic = Diagnostic::error(Code::CarryMismatch, at, message)
                .label(format!("{ty} here"))
                .related(carry.at, format!("`{name}` starts here as {}", carry.ty));
            if carry.ty.dtype == ty.dtype
                && ty.shape.iter().all(|d| d.as_constant().is_some() || d.as_symbol().is_some())
            {
                let shape: Vec<String> = ty.shape.iter().map(Dim::to_string).collect();
                diagnostic = diagnostic.hint(format!(
                    "a carry keeps its type: start it with a tensor of [{}]",
                    shape.join(", ")
                ));
            } else if carry.ty.dtype != ty.dtype {
                diagnostic = diagnostic
                    .hint(format!("a carry keeps its type: cast it, `{}(…)`", carry.ty.dtype.name()));
            }
            return Err(self.report(diagnostic));
        }
        let unknown: Vec<(Dim, Dim)> = pairs()
            .filter(|(a, b)| self.context.decide(a, b) == Decision::Unknown)
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        for (want, have) in unknown {
            let message = format!("the carry `{}` starts as {} but becomes {ty}", carry.name.text, carry.ty);
            let at = self.user_span(at);
            self.context.guard(want - have, message, at);
        }
        Ok(self.retyped(tensor, &carry.ty.shape, at)?.node)
    }

    /// Random elements of the body become elements of the loop: (what stood for a step's draw, all draws).
    fn drawn_outside(&mut self, from: usize, trip: &Dim, span: Span) -> Result<Vec<(NodeId, NodeId)>> {
        let nodes = self.context.builder.graph.nodes.iter().enumerate().skip(from);
        let draws: Vec<NodeId> = nodes
            .filter(|(_, node)| matches!(node.op, Op::Random { .. }))
            .map(|(at, _)| NodeId(at as u32))
            .filter(|id| !self.context.places.contains(id))
            .collect();
        let mut pairs = Vec::new();
        for draw in draws {
            let node = self.context.builder.graph.node(draw).clone();
            let shape: Vec<Dim> =
                std::iter::once(trip.clone()).chain(node.ty.shape.iter().cloned()).collect();
            self.place(span);
            self.context.builder.path = node.path.clone();
            let all =
                self.context.builder.push(node.op, &node.inputs, Some(TensorType::new(node.ty.dtype, shape)));
            pairs.push((draw, self.built(all, span)?));
            self.context.places.push(draw);
        }
        Ok(pairs)
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
