//! `data` items: a source, its row type, and the body that makes the row's fields.
//!
//! The body is written for one row. It is elaborated once, into a graph of its own, and put into each entry with the batch as a new
//! leading axis.

use super::context::Context;
use super::layer::Frame;
use super::names::ItemRef;
use super::scope::Scope;
use super::typed;
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, Graph, NodeId, TensorType, vectorize};
use std::collections::BTreeMap;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, DataClause, ExprKind, StatementKind};
use weft_runtime::program::{DataSet, DataSource, Field, InputSource};

/// A source that the runtime can read.
struct Source {
    name: &'static str,
    /// What its rows are and where they come from, with an ``Example: `…` ``.
    doc: &'static str,
    folder: &'static str,
    make: fn(String) -> DataSource,
    fields: &'static [(&'static str, DType, &'static [usize])],
}

const IMAGE_28: &[(&str, DType, &[usize])] =
    &[("image", DType::U8, &[28, 28, 1]), ("label", DType::I32, &[])];
const IMAGE_32: &[(&str, DType, &[usize])] =
    &[("image", DType::U8, &[32, 32, 3]), ("label", DType::I32, &[])];

const SOURCES: &[Source] = &[
    Source {
        name: "mnist",
        doc: "Handwritten digits as grey images of 28×28 bytes with their class, 0 to 9 (LeCun et al. 1998), from the files `*-ubyte` or `*-ubyte.gz` of the folder. A part without files of its own is cut off the training rows: see `split`.\n\nExample: `data digits = mnist(\"data/mnist\") { split validation = 0.1 }`",
        folder: "data/mnist",
        make: |folder| DataSource::Idx { folder },
        fields: IMAGE_28,
    },
    Source {
        name: "fashion_mnist",
        doc: "Pictures of clothes in ten classes, in the same form as `mnist` (Xiao et al. 2017).\n\nExample: `data clothes = fashion_mnist() { image = f32(image) / 255 }`",
        folder: "data/fashion_mnist",
        make: |folder| DataSource::Idx { folder },
        fields: IMAGE_28,
    },
    Source {
        name: "cifar10",
        doc: "Colour photos of 32×32 bytes in ten classes (Krizhevsky 2009), from the binary version's batches `data_batch_*.bin` and `test_batch.bin`.\n\nExample: `data photos = cifar10(\"data/cifar10\") { image = f32(image) / 255 }`",
        folder: "data/cifar10",
        make: |folder| DataSource::Cifar10 { folder },
        fields: IMAGE_32,
    },
];

/// The documentation of a source, for the registry.
#[derive(Clone, Debug)]
pub struct SourceDocumentation {
    pub name: &'static str,
    /// The folder it reads without one given.
    pub folder: &'static str,
    /// The fields of a row with their types.
    pub row: String,
    pub doc: &'static str,
}

pub fn sources() -> impl Iterator<Item = SourceDocumentation> {
    SOURCES.iter().map(|s| {
        let field = |(name, dtype, shape): &(&str, DType, &[usize])| {
            let ty = TensorType::new(*dtype, shape.iter().map(|d| Dim::from(*d)).collect::<Vec<_>>());
            format!("{name}: {ty}")
        };
        let row = s.fields.iter().map(field).collect::<Vec<_>>().join(", ");
        SourceDocumentation { name: s.name, folder: s.folder, row, doc: s.doc }
    })
}

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
        let (source, folder) = self.source(&data.source, &scope)?;
        let raw: Vec<Field> = source
            .fields
            .iter()
            .map(|(name, dtype, shape)| Field {
                name: (*name).to_owned(),
                dtype: *dtype,
                shape: shape.to_vec(),
            })
            .collect();
        let mut fields: Vec<Rc<str>> = Vec::new();
        let row = scope.inner();
        for field in &raw {
            self.place(data.source.span);
            let node = self.context.input(&field.name, field_type(field), InputSource::Caller);
            let node = self.built(node, data.source.span)?;
            let tensor = self.tensor(node);
            self.originate(node, format!("`{}` of `{}`", field.name, data.name.text), data.source.span, None);
            row.bind(&field.name, tensor, data.source.span);
            fields.push(Rc::from(field.name.as_str()));
        }
        let (mut validation, mut test) = (0.0, 0.0);
        let mut failed = false;
        for clause in &data.clauses {
            let result = match clause {
                DataClause::Statement(statement) => self.row_statement(statement, &row, &mut fields),
                DataClause::Split(arguments, span) => {
                    self.split(arguments, *span, &row, &mut validation, &mut test)
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
        let text = format!("{}({folder:?})", source.name);
        let set = DataSet {
            name: data.name.text.clone(),
            source: (source.make)(folder),
            fields: raw,
            validation,
            test,
        };
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

    fn split(
        &mut self,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
        validation: &mut f64,
        test: &mut f64,
    ) -> Result<()> {
        for argument in arguments {
            let Some(name) = &argument.name else { continue };
            let slot = match name.text.as_str() {
                "validation" => &mut *validation,
                "test" => &mut *test,
                other => {
                    let hint = did_you_mean(other, ["validation", "test"]);
                    return Err(self.report(
                        Diagnostic::error(Code::BadSplit, name.span, format!("there is no split `{other}`"))
                            .hint_if(hint),
                    ));
                }
            };
            let share = self.expr(&argument.value, scope)?.as_float().filter(|f| (0.0..1.0).contains(f));
            match share {
                Some(share) => *slot = share,
                None => {
                    let message = format!("the share of `{}` is a number from 0 to less than 1", name.text);
                    return self.fail(Code::BadSplit, argument.value.span, message);
                }
            }
        }
        if *validation + *test >= 1.0 {
            return self.fail(Code::BadSplit, span, "these shares leave nothing to train on");
        }
        Ok(())
    }

    /// `mnist("data/mnist")`, or `mnist`.
    fn source(&mut self, expr: &ast::Expr, scope: &Scope) -> Result<(&'static Source, String)> {
        let (callee, arguments): (&ast::Expr, &[ast::Argument]) = match &expr.kind {
            ExprKind::Call { callee, arguments } => (callee, arguments),
            ExprKind::Error => return Err(Reported),
            _ => (expr, &[]),
        };
        let name = match &callee.kind {
            ExprKind::Name(name) => name.as_str(),
            _ => "",
        };
        let Some(source) = SOURCES.iter().find(|s| s.name == name) else {
            let hint = did_you_mean(name, SOURCES.iter().map(|s| s.name));
            let message = format!("no data source is called `{}`", self.sources.text(callee.span));
            return Err(
                self.report(Diagnostic::error(Code::UnknownSource, callee.span, message).hint_if(hint))
            );
        };
        let mut folder = source.folder.to_owned();
        for (place, argument) in arguments.iter().enumerate() {
            let named = argument.name.as_ref().map(|n| n.text.as_str());
            if place > 0 || named.is_some_and(|n| n != "folder") {
                let span = argument.name.as_ref().map_or(argument.value.span, |n| n.span);
                let message = format!("`{name}` takes one argument, its `folder`");
                let hint = format!("write `{name}(\"{}\")`", source.folder);
                return self.fail_hint(Code::UnknownArgument, span, message, hint);
            }
            let words = self.sources.text(argument.value.span).to_owned();
            match self.expr(&argument.value, scope)? {
                Value::Text(text) => folder = text.to_string(),
                other => {
                    let message = format!("the folder of `{name}` is a text, not {}", other.kind());
                    let hint = format!("a text stands in quotes: `\"{words}\"`");
                    return self.fail_hint(Code::WrongKind, argument.value.span, message, hint);
                }
            }
        }
        Ok((source, folder))
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

/// The fields that a source gives, when the text tells which source it is.
pub fn source_fields(source: &ast::Expr) -> Option<Vec<&'static str>> {
    let callee = match &source.kind {
        ExprKind::Call { callee, .. } => &**callee,
        _ => source,
    };
    let ExprKind::Name(name) = &callee.kind else { return None };
    let source = SOURCES.iter().find(|s| s.name == name)?;
    Some(source.fields.iter().map(|(field, _, _)| *field).collect())
}

fn field_type(field: &Field) -> TensorType {
    TensorType::new(field.dtype, field.shape.iter().map(|s| Dim::from(*s)).collect::<Vec<_>>())
}
