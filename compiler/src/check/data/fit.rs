//! `fit mean = mean(image, axis = 0)`: what is computed from the whole training part, once, before the first step.
//!
//! The expression sees what stands before it in the body, with all rows of the training part as the leading axis `n`: a field is
//! `f32[n, …]`, an earlier fit value is as it is. All fits of an item make one entry, `fit.NAME`, that updates a state `NAME.FIT` for each. So
//! they are saved with the weights, and an evaluation, a prediction or a resumed run reads them and never computes them again. The
//! state `NAME.rows` says from how many rows they were computed: 0 until then. Where the expressions allow it, entries `fit.NAME.1`,
//! `fit.NAME.2` … go over the rows before it, a chunk at a time (see `graph/chunks.rs`), so that the rows need not fit into memory.

use super::row::field_type;
use crate::check::context::Context;
use crate::check::names::ItemRef;
use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, INIT, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, Entry, Leaves, NodeId, Op, TensorType, chunked, vectorize_apart};
use crate::passes::dce;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, DataClause, Expr, ExprKind};
use weft_runtime::program::{Field, Fit, InputSource, Pass, VariableKind};

/// The rows of the training part, as a dim.
const ROWS: &str = "n";

/// The state that counts them.
const COUNT: &str = "rows";

/// So many rows are planned for; an entry takes any number.
const PLANNED_ROWS: i64 = 1 << 16;

/// Values of a chunk. The sums of a run depend on it, so it is the same on all machines.
const CHUNK: i64 = 1 << 20;

/// A fit value that is known to the rest of the spec.
#[derive(Clone, Debug)]
pub struct FitValue {
    pub name: String,
    pub ty: TensorType,
}

/// The entry of an item's fits while the item is checked.
pub(super) struct Fits {
    data: ast::Name,
    context: Context,
}

impl Fits {
    pub(super) fn new(checker: &mut Checker<'_>, data: &ast::Name) -> Fits {
        let outer = checker.enter(&format!("fit.{}", data.text), false);
        let mut context = checker.leave(outer);
        context.builder.graph.bounds.push((ROWS.into(), PLANNED_ROWS));
        let what = "the number of rows of the training part".to_owned();
        context.symbols.insert(ROWS.into(), (what, data.span));
        Fits { data: data.clone(), context }
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.data.text)
    }
}

impl Checker<'_> {
    /// A clause, in the graph of a row: its name stands for the state from here on. `after`: an `augment` that stands before it.
    pub(super) fn fit(
        &mut self,
        fits: &mut Fits,
        name: &ast::Name,
        value: &Expr,
        after: Option<Span>,
        row: &Scope,
        raw: &[Field],
    ) -> Result<()> {
        // The item is read once more for the steps of a training; by then all its fits are made.
        let made = match self.context.training {
            true => Ok(()),
            false => self.make_fit(fits, name, value, after, row, raw),
        };
        let read = made.and_then(|()| self.fit_value(&fits.data.text, &name.text, name.span));
        let result = read.as_ref().map(|_| ()).map_err(|reported| *reported);
        row.bind(&name.text, read.unwrap_or(Value::Error), name.span);
        result
    }

    fn make_fit(
        &mut self,
        fits: &mut Fits,
        name: &ast::Name,
        value: &Expr,
        after: Option<Span>,
        row: &Scope,
        raw: &[Field],
    ) -> Result<()> {
        if let Some(augment) = after {
            let message = format!("`{}` is fitted after `augment`", name.text);
            let diagnostic =
                Diagnostic::error(Code::BadFit, name.span, message).related(augment, "the `augment`");
            let hint = "a fit sees each row of the training part once, as it is: put it before the `augment`";
            return Err(self.report(diagnostic.hint(hint)));
        }
        if name.text == COUNT {
            let message =
                format!("`{}` is the number of rows that the fits were computed from", fits.path(COUNT));
            return self.fail_hint(Code::Duplicate, name.span, message, "give this fit another name");
        }
        if let Some((_, first)) = row.find(&name.text) {
            let message = format!("the row has a `{}` already", name.text);
            let diagnostic =
                Diagnostic::error(Code::Duplicate, name.span, message).related(first, "this one");
            return Err(self.report(diagnostic.hint("give this fit another name")));
        }
        let words = self.words(value.span);
        let seen: Vec<(Rc<str>, Value, Span)> = row
            .names()
            .into_iter()
            .filter(|name| words.contains(&**name))
            .filter_map(|name| row.find(&name).map(|(value, at)| (name, value, at)))
            .collect();
        // Of the row's graph so far, what the expression can see.
        let mut graph = self.context.builder.graph.clone();
        let mut nodes = Vec::new();
        seen.iter().for_each(|(_, value, _)| tensors(value, &mut nodes));
        graph.outputs = nodes.into_iter().enumerate().map(|(i, node)| (i.to_string(), node)).collect();
        dce::sweep(&mut graph, &|_| false);
        std::mem::swap(&mut self.context, &mut fits.context);
        let result = self.all_rows(&fits.data, &graph, raw, value.span).and_then(|nodes| {
            let scope = Scope::of_file(row.home()).inner();
            let mut nodes = nodes.into_iter();
            for (name, value, at) in &seen {
                let value = self.in_place(value, &mut nodes);
                if let Value::Tensor(tensor) = &value {
                    self.originate(tensor.node, format!("`{name}` of all rows"), *at, None);
                }
                scope.bind(name, value, *at);
            }
            self.fitted_value(&fits.data, name, value, &scope)
        });
        std::mem::swap(&mut self.context, &mut fits.context);
        let ty = result?;
        let known = self.fits.entry(fits.data.text.clone()).or_default();
        known.push(FitValue { name: name.text.clone(), ty });
        Ok(())
    }

    /// A row's graph with all rows in front, in the entry of the fits; what is the same for all rows stays as it is.
    fn all_rows(
        &mut self,
        data: &ast::Name,
        row: &crate::graph::Graph,
        raw: &[Field],
        span: Span,
    ) -> Result<Vec<NodeId>> {
        self.place(span);
        let mut leaves = Leaves::default();
        for node in &row.nodes {
            if let Op::Input(name) = &node.op
                && let Some(field) = raw.iter().find(|field| field.name == *name)
            {
                leaves.inputs.insert(name.clone(), self.all_of(data, field, span)?);
            }
        }
        self.variables_of(row, &mut leaves, span)?;
        match vectorize_apart(&mut self.context.builder, row, &Dim::symbol(ROWS), &leaves) {
            Ok(nodes) => Ok(nodes.into_iter().map(|(_, node)| node).collect()),
            Err(error) => {
                let message = format!("this cannot be done for all rows at once: {}", error.message);
                self.fail(Code::BadFit, error.span, message)
            }
        }
    }

    /// A field of the source, of all rows.
    fn all_of(&mut self, data: &ast::Name, field: &Field, span: Span) -> Result<NodeId> {
        let mut ty = field_type(field);
        ty.shape.insert(0, Dim::symbol(ROWS));
        // The item's own place: it is entered when it is whole.
        let source = InputSource::Field { data: self.module.data.len(), field: field.name.clone() };
        let node = self.context.input(&format!("{}.{}", data.text, field.name), ty, source);
        self.built(node, span)
    }

    /// Evaluates the expression in the entry of the fits, and gives the state that holds its value.
    fn fitted_value(
        &mut self,
        data: &ast::Name,
        name: &ast::Name,
        value: &Expr,
        scope: &Scope,
    ) -> Result<TensorType> {
        let given = self.expr(value, scope)?;
        let tensor = match given {
            Value::Tensor(_) | Value::Int(_) | Value::Float(_) | Value::Dim(_) => {
                self.as_tensor(&given, DType::F32, value.span)?
            }
            other => {
                let message = format!("a fit value is a tensor, not {}", other.kind());
                let hint = "several values are several fits; a later one may use those before it";
                return self.fail_hint(Code::BadFit, value.span, message, hint);
            }
        };
        let ty = self.tensor_type(tensor);
        if ty.shape.iter().any(|dim| dim.as_constant().is_none()) {
            let message = format!("a fit value has a constant shape, but this is {ty}");
            let hint =
                format!("`{ROWS}` is the number of rows: take a mean, a maximum, a sum … along `axis = 0`");
            return self.fail_hint(Code::BadFit, value.span, message, hint);
        }
        self.keep(&format!("{}.{}", data.text, name.text), &ty, tensor.node, name.span)?;
        Ok(ty)
    }

    /// Declares a state that the entry under construction gives its value.
    fn keep(&mut self, path: &str, ty: &TensorType, node: NodeId, span: Span) -> Result<()> {
        self.variable(path, VariableKind::State, ty, false, false, span, None)?;
        self.context.update(path, node);
        Ok(())
    }

    /// Makes the entry, if there are fits.
    pub(super) fn end_fits(&mut self, fits: Fits, raw: &[Field], span: Span) -> Result<Option<Fit>> {
        let Some(known) = self.fits.get(&fits.data.text) else { return Ok(None) };
        let values = known.iter().map(|fit| fits.path(&fit.name)).collect();
        let rows = fits.path(COUNT);
        let Fits { data, context } = fits;
        let outer = std::mem::replace(&mut self.context, context);
        let counted = self.count_rows(&data, &rows, raw, span);
        let context = std::mem::replace(&mut self.context, outer);
        let counter = counted?;
        let entry = context.finish(|_| true);
        let name = entry.graph.name.clone();
        let Some(chunked) = chunked(&entry.graph, ROWS, &format!("{}.fit", data.text)) else {
            self.module.entries.push(lean(entry, &counter));
            return Ok(Some(Fit { passes: Vec::new(), entry: name, rows, values }));
        };
        for (path, ty) in &chunked.totals {
            self.variable(path, VariableKind::Accumulator, ty, false, false, data.span, None)?;
        }
        let mut passes = Vec::new();
        for graph in chunked.passes {
            let mut pass = lean(Entry { graph, inputs: entry.inputs.clone() }, &counter);
            let elements = |ty: &TensorType| {
                ty.shape.iter().skip(1).map(|dim| dim.as_constant().unwrap_or(1)).product::<i64>()
            };
            let row = pass.inputs.iter().map(|(_, ty, _)| elements(ty)).sum::<i64>().max(1);
            let rows = (CHUNK / row).clamp(1, PLANNED_ROWS);
            pass.graph.bounds = vec![(ROWS.into(), rows)];
            passes.push(Pass { entry: pass.graph.name.clone(), rows: rows as usize });
            self.module.entries.push(pass);
        }
        let mut last = lean(Entry { graph: chunked.last, inputs: entry.inputs }, "");
        last.graph.bounds.clear();
        self.module.entries.push(last);
        Ok(Some(Fit { passes, entry: name, rows, values }))
    }

    /// Keeps the number of rows; gives the name of the input that would be read for it alone.
    fn count_rows(&mut self, data: &ast::Name, path: &str, raw: &[Field], span: Span) -> Result<String> {
        self.place(span);
        let bytes = |field: &&Field| field.shape.iter().product::<usize>() * field.dtype.size();
        let Some(field) = raw.iter().min_by_key(bytes) else { return Err(Reported) };
        self.all_of(data, field, span)?;
        let ty = TensorType::scalar(DType::I64);
        let count = self.emit(Op::DimValue(Dim::symbol(ROWS)), &[], Some(ty.clone()), span)?;
        self.keep(path, &ty, count, span)?;
        Ok(format!("{}.{}", data.text, field.name))
    }

    // ---- in the rest of the spec

    /// `digits.mean`, where `digits` is a data set; none where it is something else.
    pub(crate) fn fit_field(&mut self, base: &Expr, field: &ast::Name, scope: &Scope) -> Option<Result> {
        let ExprKind::Name(data) = &base.kind else { return None };
        if scope.find(data).is_some() {
            return None;
        }
        let ItemRef::Data(item) = self.entry(scope.home(), data)?.item else { return None };
        self.touched.insert(base.span);
        let names = item.clauses.iter().filter_map(|clause| match clause {
            DataClause::Fit { name, .. } => Some(name.text.as_str()),
            _ => None,
        });
        let names: Vec<&str> = names.collect();
        if names.contains(&field.text.as_str()) || (field.text == COUNT && !names.is_empty()) {
            return Some(self.fit_value(data, &field.text, field.span));
        }
        let hint = match names.is_empty() {
            true => Some(format!("write `fit {} = …` in its body", field.text)),
            false => did_you_mean(&field.text, names),
        };
        let message = format!("the data set `{data}` has no fit value `{}`", field.text);
        Some(Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint_if(hint))))
    }

    /// Reads a fit value in the entry under construction. An item with mistakes has told them.
    fn fit_value(&mut self, data: &str, name: &str, span: Span) -> Result {
        let ty = match name {
            COUNT => self.fits.contains_key(data).then(|| TensorType::scalar(DType::I64)),
            _ => self
                .fits
                .get(data)
                .and_then(|fits| fits.iter().find(|f| f.name == name))
                .map(|f| f.ty.clone()),
        };
        let ty = ty.ok_or(Reported)?;
        if self.context.id == INIT {
            let message = format!("`{data}.{name}` is computed from the data, after the first values");
            return self.fail(Code::ForeignTensor, span, message);
        }
        self.place(span);
        let read = self.context.read(&format!("{data}.{name}"), &ty);
        let node = self.built(read, span)?;
        Ok(self.tensor(node))
    }

    /// The value with these nodes, in order, in the place of its tensors.
    fn in_place(&self, value: &Value, nodes: &mut impl Iterator<Item = NodeId>) -> Value {
        match value {
            Value::Tensor(_) => nodes.next().map_or(Value::Error, |node| self.tensor(node)),
            Value::List(v) => Value::list(v.iter().map(|v| self.in_place(v, nodes)).collect()),
            Value::Tuple(v) => Value::tuple(v.iter().map(|v| self.in_place(v, nodes)).collect()),
            Value::Record(v) => {
                let fields = v.iter().map(|(name, v)| (name.clone(), self.in_place(v, nodes)));
                Value::Record(Rc::new(fields.collect()))
            }
            other => other.clone(),
        }
    }
}

/// The entry with the inputs that it reads. If it reads none, it has this one, which tells how many rows there are.
fn lean(mut entry: Entry, counter: &str) -> Entry {
    let mut bare = entry.graph.clone();
    dce::sweep(&mut bare, &|_| false);
    let reads_none = !bare.nodes.iter().any(|node| matches!(node.op, Op::Input(_)));
    dce::sweep(&mut entry.graph, &|input| reads_none && input == counter);
    let nodes = &entry.graph.nodes;
    entry
        .inputs
        .retain(|(name, ..)| nodes.iter().any(|node| matches!(&node.op, Op::Input(input) if input == name)));
    entry
}

/// The nodes of all tensors in a value, in order.
fn tensors(value: &Value, into: &mut Vec<NodeId>) {
    match value {
        Value::Tensor(tensor) => into.push(tensor.node),
        Value::List(v) | Value::Tuple(v) => v.iter().for_each(|v| tensors(v, into)),
        Value::Record(v) => v.iter().for_each(|(_, v)| tensors(v, into)),
        _ => {}
    }
}
