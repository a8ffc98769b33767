//! Rows: the graph that makes one row's fields, and how entries read batches of them.

use crate::check::context::Context;
use crate::check::layer::Frame;
use crate::check::metric::BATCH;
use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::op::Op;
use crate::graph::{DType, Dim, Graph, Leaves, NodeId, TensorType, vectorize};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast;
use weft_runtime::program::{Cell, Encoding, Field, InputSource};

/// A checked `data` item.
#[derive(Debug)]
pub struct Row {
    /// Its place in the module.
    pub index: usize,
    pub(super) home: usize,
    pub(super) item: Rc<ast::Data>,
    pub(super) raw: Vec<Field>,
    /// As evaluations see a row.
    pub(super) plain: Body,
    /// As the steps of a training see it, where that differs.
    pub(super) augmented: Option<Body>,
}

/// The body for one row; the graph's inputs are the source's fields, its outputs those of the row after the body.
#[derive(Debug)]
pub(super) struct Body {
    graph: Graph,
    /// The place that gives each field.
    places: Vec<(Rc<str>, Span)>,
}

/// The fields of a row after the body.
pub(super) type Fields = Vec<Made>;

/// A field of the row after the body.
pub(super) struct Made {
    name: Rc<str>,
    node: NodeId,
    span: Span,
}

/// So many rows make a batch of an entry that belongs to no training.
const SHOWN_BATCH: i64 = 64;

impl Body {
    pub(super) fn new(context: Context, fields: Fields) -> Body {
        let mut graph = context.finish(|_| false).graph;
        graph.outputs = fields.iter().map(|f| (f.name.to_string(), f.node)).collect();
        Body { graph, places: fields.into_iter().map(|f| (f.name, f.span)).collect() }
    }

    /// The type of each field.
    pub(super) fn types(&self) -> impl Iterator<Item = (&str, &TensorType)> {
        self.graph.outputs.iter().map(|(name, node)| (name.as_str(), &self.graph.node(*node).ty))
    }

    /// Where it draws random numbers, if it does.
    pub(super) fn chance(&self) -> Option<Span> {
        self.graph.nodes.iter().find(|node| matches!(node.op, Op::Random { .. })).map(|node| node.span)
    }
}

impl Row {
    /// Has the row, after the body, a field of this name?
    pub fn has(&self, name: &str) -> bool {
        self.plain.types().any(|(field, _)| field == name)
    }
}

impl Checker<'_> {
    /// What the row's names stand for after the body.
    pub(super) fn row_fields(&mut self, fields: Vec<Rc<str>>, row: &Scope) -> Result<Fields> {
        let mut made = Vec::new();
        for field in fields {
            let Some((value, at)) = row.find(&field) else { continue };
            let tensor = match value {
                Value::Tensor(t) => t,
                Value::Int(_) | Value::Float(_) => self.as_tensor(&value, DType::F32, at)?,
                // It is there for what is made of it, and for people.
                Value::Texts(_) => continue,
                other => {
                    return self.fail(
                        Code::BadRow,
                        at,
                        format!("the field `{field}` of a row is a tensor, not {}", other.kind()),
                    );
                }
            };
            made.push(Made { name: field, node: tensor.node, span: at });
        }
        Ok(made)
    }

    /// The fields of a data set in the entry under construction, each with the batch as its leading axis: (name, tensor).
    pub(crate) fn batched(&mut self, data: &str, batch: &Dim, span: Span) -> Result<Vec<(Rc<str>, Value)>> {
        let Some(row) = self.rows.remove(data) else { return Err(Reported) };
        let result = self.batch_row(&row, data, batch, span);
        let result = match (result, self.context.training) {
            (Ok(fields), true) => self.batch_blocks(&row, fields, batch),
            (result, _) => result,
        };
        self.rows.insert(data.to_owned(), row);
        result
    }

    fn batch_row(&mut self, row: &Row, data: &str, batch: &Dim, span: Span) -> Result<Vec<(Rc<str>, Value)>> {
        self.place(span);
        let body = row.augmented.as_ref().filter(|_| self.context.training).unwrap_or(&row.plain);
        let mut leaves = Leaves::default();
        for field in row.raw.iter().filter(|field| !is_text(field)) {
            let mut ty = field_type(field);
            ty.shape.insert(0, batch.clone());
            let source = InputSource::Field { data: row.index, field: field.name.clone() };
            let node = self.context.input(&format!("{data}.{}", field.name), ty, source);
            leaves.inputs.insert(field.name.clone(), self.built(node, span)?);
        }
        self.know_tokens(row, &leaves, span);
        self.variables_of(&body.graph, &mut leaves, span)?;
        match vectorize(&mut self.context.builder, &body.graph, batch, &leaves) {
            Ok(nodes) => {
                let mut fields = Vec::new();
                for (name, node) in nodes {
                    let place = body.places.iter().find(|(n, _)| **n == *name).map_or(span, |(_, at)| *at);
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

    /// What is known of inputs that are tokens, or whose rows differ in length.
    fn know_tokens(&mut self, row: &Row, leaves: &Leaves, span: Span) {
        for field in &row.raw {
            let Some(node) = leaves.inputs.get(&field.name).copied() else { continue };
            if let Some(lengths) = leaves.inputs.get(&Field::length_of(&field.name)) {
                self.context.lengths.insert(node, *lengths);
            }
            if let Some(symbol) = &field.ragged {
                let what = "the length of the longest row of a batch, known only when it runs".to_owned();
                self.context.symbols.entry(symbol.as_str().into()).or_insert((what, span));
            }
            if let Cell::Tokens { encoding, .. } = &field.cell {
                let vocabularies = self.module.data.get(row.index).map(|set| &set.vocabularies);
                let known = vocabularies.into_iter().flatten().find(|v| v.name == encoding.vocabulary);
                let size = known.map(|vocabulary| (vocabulary.name.clone(), vocabulary.size));
                self.context.vocabulary_sizes.extend(size.map(|size| (node, size)));
            }
        }
    }

    /// What the entry under construction gives a row's graph: the variables that it reads, and the state of random numbers.
    pub(super) fn variables_of(&mut self, row: &Graph, leaves: &mut Leaves, span: Span) -> Result<()> {
        for node in &row.nodes {
            match &node.op {
                Op::Variable(path) => {
                    let read = self.context.read(path, &node.ty);
                    leaves.variables.insert(path.clone(), self.built(read, span)?);
                }
                // The state is shared by all rows, so it is found by its name.
                Op::Random { .. } => {
                    let state = self.context.random();
                    self.built(state, span)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The entries that only give rows: `data.NAME` as evaluations see them, and `data.NAME.train` where the steps of a training see
    /// them otherwise.
    pub(super) fn row_entries(&mut self, data: &ast::Data) -> Result<()> {
        let name = &data.name.text;
        let differs =
            data.clauses.iter().any(|c| matches!(c, ast::DataClause::Augment(_) | ast::DataClause::Batch(_)));
        let train = format!("data.{name}.train");
        for (entry, training) in [(format!("data.{name}"), false), (train, true)] {
            if training && !differs {
                continue;
            }
            let outer = self.enter(&entry, training);
            let path = Some(Rc::from(name.as_str()));
            self.frames.push(Frame::new(path, "data", Some(Rc::from("a `data` item"))));
            self.context.builder.graph.bounds.push((BATCH.into(), SHOWN_BATCH));
            let fields = self.batched(name, &Dim::symbol(BATCH), data.source.span);
            for (field, value) in fields.iter().flatten() {
                if let Value::Tensor(tensor) = value {
                    self.context.output(field.to_string(), tensor.node);
                }
            }
            self.frames.pop();
            let context = self.leave(outer);
            fields?;
            self.module.entries.push(context.finish(|_| false));
        }
        Ok(())
    }

    /// The names of a row's fields.
    pub(crate) fn field_names(&self, data: &str) -> Vec<String> {
        let fields = self.rows.get(data).map(|row| row.plain.types());
        fields.into_iter().flatten().map(|(name, _)| name.to_owned()).collect()
    }

    pub(crate) fn data_index(&self, data: &str) -> Option<usize> {
        self.rows.get(data).map(|r| r.index)
    }
}

/// The type of a field of one row. An axis that is as long as the longest row of a batch is a symbol.
pub(super) fn field_type(field: &Field) -> TensorType {
    let axis = field.ragged.as_ref().map(|symbol| match &field.cell {
        Cell::Tokens { encoding: Encoding { fixed: true, max_length: Some(most), .. }, .. } => {
            Dim::from(*most)
        }
        _ => Dim::symbol(symbol.as_str()),
    });
    let shape = axis.into_iter().chain(field.shape.iter().map(|extent| Dim::from(*extent)));
    TensorType::new(field.dtype, shape.collect::<Vec<_>>())
}

/// Is it text of any length, which is no tensor?
pub(super) fn is_text(field: &Field) -> bool {
    field.cell == Cell::Text && field.ragged.is_some()
}
