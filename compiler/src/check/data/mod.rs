//! `data` items: a source, its row type, and the body that makes the row's fields.
//!
//! The body is written for one row. It is elaborated once, into a graph of its own, and put into each entry with the batch as a new
//! leading axis.

mod schema;
mod source;
mod split;

pub use source::{SourceDocumentation, source_expressions, source_fields, sources};
pub use split::names_column;

use crate::check::context::Context;
use crate::check::layer::Frame;
use crate::check::names::ItemRef;
use crate::check::scope::Scope;
use crate::check::typed;
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::{DType, Dim, Graph, NodeId, TensorType, vectorize};
use std::collections::BTreeMap;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, DataClause, StatementKind};
use weft_runtime::program::{DataSet, Field, InputSource, Splits};

/// A checked `data` item.
#[derive(Debug)]
pub struct Row {
    /// Its place in the module.
    pub index: usize,
    /// The body for one row; its inputs are the source's fields, its outputs those of the row after the body.
    graph: Graph,
    raw: Vec<Field>,
    /// The place that gives each field.
    places: Vec<(Rc<str>, Span)>,
}

/// A field of the row after the body.
struct Made {
    name: Rc<str>,
    node: NodeId,
    span: Span,
}

impl Row {
    /// Has the row, after the body, a field of this name?
    pub fn has(&self, name: &str) -> bool {
        self.graph.outputs.iter().any(|(field, _)| field == name)
    }
}

impl Checker<'_> {
    pub(crate) fn data_items(&mut self, home: usize) {
        let items = self.items(home, |item| match item {
            ItemRef::Data(data) => Some(data.clone()),
            _ => None,
        });
        for data in items {
            let outer = self.enter("row", false);
            self.frames.push(Frame::new(
                Some(Rc::from(data.name.text.as_str())),
                "data",
                Some(Rc::from("a `data` item")),
            ));
            let result = self.data_item(home, &data);
            self.frames.pop();
            let context = self.leave(outer);
            self.incomplete |= result.is_err();
            if let Ok((source, fields)) = result {
                self.add_row(&data, source, fields, context);
            }
        }
    }

    fn add_row(
        &mut self,
        data: &ast::Data,
        (set, text): (DataSet, String),
        fields: Vec<Made>,
        context: Context,
    ) {
        let types = |ty: &TensorType| ty.to_string();
        let mut graph = context.finish(|_| false).graph;
        graph.outputs = fields.iter().map(|f| (f.name.to_string(), f.node)).collect();
        self.typed.data.push(typed::DataSet {
            name: data.name.text.clone(),
            source: text,
            raw: set.fields.iter().map(|f| (f.name.clone(), types(&field_type(f)))).collect(),
            row: fields.iter().map(|f| (f.name.to_string(), types(&graph.node(f.node).ty))).collect(),
        });
        let places = fields.into_iter().map(|f| (f.name, f.span)).collect();
        let row = Row { index: self.module.data.len(), graph, raw: set.fields.clone(), places };
        self.module.data.push(set);
        self.rows.insert(data.name.text.clone(), row);
    }

    fn data_item(&mut self, home: usize, data: &ast::Data) -> Result<((DataSet, String), Vec<Made>)> {
        let scope = Scope::of_file(home);
        let source::Checked { source, fields: raw, text } = self.source(data, &scope)?;
        let mut fields: Vec<Rc<str>> = Vec::new();
        let row = scope.inner();
        for field in &raw {
            self.place(data.source.span);
            let node = self.context.input(&field.name, field_type(field), InputSource::Caller);
            let node = self.built(node, data.source.span)?;
            let tensor = self.tensor(node);
            let columns = data.row.iter().flat_map(|row| &row.columns);
            let declared = columns.into_iter().find(|column| column.name.text == field.name);
            let place = declared.map_or(data.source.span, |column| column.name.span);
            self.originate(node, format!("`{}` of `{}`", field.name, data.name.text), place, None);
            row.bind(&field.name, tensor, place);
            fields.push(Rc::from(field.name.as_str()));
        }
        let mut splits = Splits::default();
        let mut failed = false;
        for clause in &data.clauses {
            let result = match clause {
                DataClause::Statement(statement) => self.row_statement(statement, &row, &mut fields),
                DataClause::Split(arguments, span) => {
                    self.split(arguments, *span, &row, (&source, &raw), &mut splits)
                }
                DataClause::Fit { name, span, .. } => self.later("fit", *span, &row, Some(name)),
                DataClause::Augment(block) => self.later("augment", block.span, &row, None),
                DataClause::Batch(block) => self.later("batch", block.span, &row, None),
                DataClause::Host(block) => self.later("host", block.span, &row, None),
            };
            failed |= result.is_err();
        }
        if failed {
            return Err(Reported);
        }
        let mut nodes = Vec::new();
        for field in fields {
            let Some((value, at)) = row.find(&field) else { continue };
            let tensor = match value {
                Value::Tensor(t) => t,
                Value::Int(_) | Value::Float(_) => self.as_tensor(&value, DType::F32, at)?,
                other => {
                    return self.fail(
                        Code::BadRow,
                        at,
                        format!("the field `{field}` of a row is a tensor, not {}", other.kind()),
                    );
                }
            };
            let ty = self.tensor_type(tensor);
            if ty.shape.iter().any(|d| d.as_constant().is_none()) {
                return self.fail(
                    Code::BadRow,
                    at,
                    format!("the field `{field}` must have a constant shape, not {ty}"),
                );
            }
            nodes.push(Made { name: field, node: tensor.node, span: at });
        }
        let set = DataSet { name: data.name.text.clone(), source, fields: raw, splits };
        Ok(((set, text), nodes))
    }

    fn later(&mut self, what: &str, span: Span, row: &Scope, name: Option<&ast::Name>) -> Result<()> {
        if let Some(name) = name {
            row.bind(&name.text, Value::Error, name.span);
        }
        let message = format!("`{what}` in `data` comes in a later edition");
        let hint =
            "dropout and noise in the model, as `gaussian_noise(0.1)`, keep it from learning rows by heart";
        self.fail_hint(Code::LaterEdition, span, message, hint)
    }

    /// `image = …` replaces or adds a field; everything else is an ordinary statement.
    fn row_statement(
        &mut self,
        statement: &ast::Statement,
        row: &Scope,
        fields: &mut Vec<Rc<str>>,
    ) -> Result<()> {
        let StatementKind::Assign { target, value } = &statement.kind else {
            return self.statement(statement, row).map(|_| ());
        };
        let new = self.expr(value, row);
        let failed = new.is_err();
        row.bind(&target.text, new.unwrap_or(Value::Error), target.span);
        if !fields.iter().any(|f| **f == *target.text) {
            fields.push(Rc::from(target.text.as_str()));
        }
        if failed { Err(Reported) } else { Ok(()) }
    }

    /// The fields of a data set in the entry under construction, each with the batch as its leading axis: (name, tensor).
    pub(crate) fn batched(&mut self, data: &str, batch: &Dim, span: Span) -> Result<Vec<(Rc<str>, Value)>> {
        let Some(row) = self.rows.remove(data) else { return Err(Reported) };
        let result = self.batch_row(&row, data, batch, span);
        self.rows.insert(data.to_owned(), row);
        result
    }

    fn batch_row(&mut self, row: &Row, data: &str, batch: &Dim, span: Span) -> Result<Vec<(Rc<str>, Value)>> {
        self.place(span);
        let mut inputs = BTreeMap::new();
        for field in &row.raw {
            let mut ty = field_type(field);
            ty.shape.insert(0, batch.clone());
            let source = InputSource::Field { data: row.index, field: field.name.clone() };
            let node = self.context.input(&format!("{data}.{}", field.name), ty, source);
            inputs.insert(field.name.clone(), self.built(node, span)?);
        }
        match vectorize(&mut self.context.builder, &row.graph, batch, &inputs) {
            Ok(nodes) => {
                let mut fields = Vec::new();
                for (name, node) in nodes {
                    let place = row.places.iter().find(|(n, _)| **n == *name).map_or(span, |(_, at)| *at);
                    let mut ty = self.context.builder.ty(node).clone();
                    ty.shape.drain(..1.min(ty.rank()));
                    self.originate(node, format!("`{name}` of `{data}`"), place, Some(ty));
                    fields.push((Rc::from(name.as_str()), self.tensor(node)));
                }
                Ok(fields)
            }
            Err(error) => {
                let message = format!("this cannot be done for a batch of rows: {}", error.message);
                self.fail(Code::BadRow, error.span, message)
            }
        }
    }

    /// The names of a row's fields.
    pub(crate) fn field_names(&self, data: &str) -> Vec<String> {
        let outputs = self.rows.get(data).map(|row| &row.graph.outputs);
        outputs.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn data_index(&self, data: &str) -> Option<usize> {
        self.rows.get(data).map(|r| r.index)
    }
}

fn field_type(field: &Field) -> TensorType {
    TensorType::new(field.dtype, field.shape.iter().map(|s| Dim::from(*s)).collect::<Vec<_>>())
}
