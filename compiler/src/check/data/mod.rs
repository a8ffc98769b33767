//! `data` items: a source, its row type, and the body that makes the row's fields.
//!
//! The body is written for one row. It is elaborated into a graph of its own, which `row.rs` puts into each entry with the batch as a new
//! leading axis: once as evaluations and predictions see the rows, and once more, where the item has an `augment` (`augment.rs`), as the
//! steps of a training see them. `fit` values (`fit.rs`) are computed from the whole training part before the first step.

mod augment;
mod fit;
mod row;
mod schema;
mod source;
mod split;

pub use fit::FitValue;
pub use row::Row;
pub use source::{SourceDocumentation, source_expressions, source_fields, sources};
pub use split::names_column;

use self::fit::Fits;
use self::row::{Body, Fields, field_type, is_text};
use crate::check::layer::Frame;
use crate::check::names::ItemRef;
use crate::check::scope::Scope;
use crate::check::text::{Texts, length_field};
use crate::check::typed;
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::TensorType;
use std::rc::Rc;
use weft_grammar::ast::{self, DataClause, StatementKind};
use weft_runtime::program::{Cell, DataSet, Field, InputSource, Splits};

/// Rows of a file that differ in length are planned to be so long; an entry takes any length.
const PLANNED_STEPS: i64 = 256;

/// What an item says beside its body.
struct Declared {
    set: DataSet,
    /// The source as it is shown.
    text: String,
}

impl Checker<'_> {
    pub(crate) fn data_items(&mut self, home: usize) {
        for (declared, data) in self.data_of(home) {
            self.incomplete |= self.data_item(declared, &data).is_err();
        }
    }

    /// The entries that only give rows, of all items without mistakes.
    pub(crate) fn data_entries(&mut self, home: usize) {
        for (_, data) in self.data_of(home) {
            if self.rows.contains_key(&data.name.text) {
                self.incomplete |= self.row_entries(&data).is_err();
            }
        }
    }

    /// The items that a file can name, each with the file that declares it: its own in their order, then those that it
    /// uses, as it calls them.
    fn data_of(&self, home: usize) -> Vec<(usize, Rc<ast::Data>)> {
        let own = self.items(home, |item| match item {
            ItemRef::Data(data) => Some((home, data.clone())),
            _ => None,
        });
        let names = self.homes.get(home).map(|home| &home.names).into_iter().flatten();
        let used = names.filter_map(|(name, entry)| match &entry.item {
            ItemRef::Data(data) if entry.home != home => {
                let own = ast::Name { text: name.clone(), span: data.name.span };
                Some((entry.home, Rc::new(ast::Data { name: own, ..(**data).clone() })))
            }
            _ => None,
        });
        let mut used: Vec<_> = used.collect();
        used.sort_by(|(_, a), (_, b)| a.name.text.cmp(&b.name.text));
        own.into_iter().chain(used).collect()
    }

    fn data_item(&mut self, home: usize, data: &Rc<ast::Data>) -> Result<()> {
        let mut fits = Fits::new(self, &data.name);
        self.row_vocabularies = Some(Vec::new());
        self.made_fields.clear();
        let checked = self.data_row(home, data, &mut fits);
        let vocabularies = self.row_vocabularies.take().unwrap_or_default();
        let (Declared { mut set, text }, plain, augmented) = checked?;
        set.vocabularies = vocabularies;
        self.windows(data, &mut set)?;
        set.fit = self.end_fits(fits, &set.fields, data.source.span)?;
        let shown = |ty: &TensorType| ty.to_string();
        let raw = set.fields.iter().filter(|field| !matches!(field.cell, Cell::Length { .. }));
        let raw = raw.map(|field| {
            (field.name.clone(), if is_text(field) { "text".to_owned() } else { shown(&field_type(field)) })
        });
        let fits =
            self.fits.get(&data.name.text).into_iter().flatten().map(|f| (f.name.clone(), f.ty.to_string()));
        let own = format!("{}.", data.name.text);
        let words = set.vocabularies.iter().filter_map(|v| {
            Some((v.name.strip_prefix(&own)?.to_owned(), format!("a vocabulary of {} tokens", v.size)))
        });
        self.typed.data.push(typed::DataSet {
            name: data.name.text.clone(),
            source: text,
            raw: raw.collect(),
            fit: fits.chain(words).collect(),
            row: plain.types().map(|(name, ty)| (name.to_owned(), shown(ty))).collect(),
        });
        let index = self.module.data.len();
        let row = Row { index, home, item: data.clone(), raw: set.fields.clone(), plain, augmented };
        self.module.data.push(set);
        self.rows.insert(data.name.text.clone(), row);
        Ok(())
    }

    /// The row of an item, as evaluations see it and, where that differs, as the steps of a training do.
    fn data_row(
        &mut self,
        home: usize,
        data: &Rc<ast::Data>,
        fits: &mut Fits,
    ) -> Result<(Declared, Body, Option<Body>)> {
        let mut declared = None;
        let plain = self.in_row(data, false, |checker| {
            let mut known = checker.declared(home, data)?;
            let fields = checker.row_body(home, data, &mut known.set, fits)?;
            declared = Some(known);
            Ok(fields)
        });
        let (Some(Declared { mut set, text }), Ok(plain)) = (declared, plain) else { return Err(Reported) };
        self.no_chance(&plain)?;
        let augmented = match data.clauses.iter().any(|c| matches!(c, DataClause::Augment(_))) {
            true => Some(self.in_row(data, true, |checker| checker.row_body(home, data, &mut set, fits))?),
            false => None,
        };
        Ok((Declared { set, text }, plain, augmented))
    }

    /// Where rows are windows of the texts of all rows, no other field goes with a window.
    fn windows(&mut self, data: &ast::Data, set: &mut DataSet) -> Result<()> {
        let windowed =
            |field: &Field| matches!(&field.cell, Cell::Tokens { encoding, .. } if encoding.window.is_some());
        let Some(window) = set.fields.iter().find(|field| windowed(field)) else { return Ok(()) };
        let other = set.fields.iter().find(|field| !is_text(field) && field.name != window.name);
        let Some(other) = other else { return Ok(()) };
        let message = format!("a row is a window of the texts of all rows, so it has no `{}`", other.name);
        let columns = data.row.iter().flat_map(|row| &row.columns);
        let at = columns.into_iter().find(|column| column.name.text == other.name);
        let hint = "leave the other fields out, or let each text be a row with `max_length`";
        self.fail_hint(Code::BadRow, at.map_or(data.source.span, |column| column.span), message, hint)
    }

    /// Elaborates something about one row into a graph of its own.
    fn in_row(
        &mut self,
        data: &ast::Data,
        training: bool,
        work: impl FnOnce(&mut Self) -> Result<Fields>,
    ) -> Result<Body> {
        let outer = self.enter("row", training);
        let name = Rc::from(data.name.text.as_str());
        self.frames.push(Frame::new(Some(name), "data", Some(Rc::from("a `data` item"))));
        let fields = work(self);
        self.frames.pop();
        let context = self.leave(outer);
        Ok(Body::new(context, fields?))
    }

    /// The source with the fields that it gives.
    fn declared(&mut self, home: usize, data: &ast::Data) -> Result<Declared> {
        let source::Checked { source, fields, text } = self.source(data, &Scope::of_file(home))?;
        let set = DataSet {
            name: data.name.text.clone(),
            source,
            fields,
            splits: Splits::default(),
            fit: None,
            vocabularies: Vec::new(),
        };
        Ok(Declared { set, text })
    }

    /// The clauses in their order: each sees what those before it made of the fields. Only a training's steps augment.
    fn row_body(
        &mut self,
        home: usize,
        data: &ast::Data,
        set: &mut DataSet,
        fits: &mut Fits,
    ) -> Result<Fields> {
        let row = Scope::of_file(home).inner();
        let mut fields: Vec<Rc<str>> = Vec::new();
        for field in set.fields.iter().filter(|field| field.is_read()) {
            self.place(data.source.span);
            let columns = data.row.iter().flat_map(|row| &row.columns);
            let declared = columns.into_iter().find(|column| column.name.text == field.name);
            let place = declared.map_or(data.source.span, |column| column.name.span);
            fields.push(Rc::from(field.name.as_str()));
            if is_text(field) {
                let texts = Texts { name: field.name.clone(), batch: None };
                row.bind(&field.name, Value::Texts(Rc::new(texts)), place);
                continue;
            }
            if let Some(symbol) = &field.ragged {
                self.ragged_axis(symbol, PLANNED_STEPS, place);
            }
            let node = self.context.input(&field.name, field_type(field), InputSource::Caller);
            let node = self.built(node, data.source.span)?;
            let tensor = self.tensor(node);
            if field.ragged.is_some() {
                let length = length_field(&field.name);
                let lengths = self.context.input(&length.name, field_type(&length), InputSource::Caller);
                let lengths = self.built(lengths, data.source.span)?;
                self.context.lengths.insert(node, lengths);
            }
            self.originate(node, format!("`{}` of `{}`", field.name, data.name.text), place, None);
            row.bind(&field.name, tensor, place);
        }
        let training = self.context.training;
        let mut augmented = None;
        let mut failed = false;
        for clause in &data.clauses {
            let result = match clause {
                DataClause::Statement(statement) => self.row_statement(statement, &row, &mut fields),
                DataClause::Split(arguments, span) => {
                    let columns = (&set.source, set.fields.as_slice());
                    self.split(arguments, *span, &row, columns, &mut set.splits)
                }
                DataClause::Fit { name, value, .. } => {
                    let after = augmented.map(|block: &ast::Block| block.span);
                    self.fit(fits, name, value, after, &row, &set.fields)
                }
                DataClause::Augment(block) => {
                    augmented = Some(block);
                    if training { self.augment(block, &row, &fields) } else { Ok(()) }
                }
                // It is elaborated in each entry that reads a batch.
                DataClause::Batch(_) => Ok(()),
            };
            failed |= result.is_err();
        }
        let made = std::mem::take(&mut self.made_fields);
        for field in made {
            if set.fields.iter().all(|known| known.name != field.name) {
                set.fields.push(field);
            }
        }
        if failed { Err(Reported) } else { self.row_fields(fields, &row) }
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

    /// Rows are the same in every epoch, unless a training's steps augment them.
    fn no_chance(&mut self, plain: &Body) -> Result<()> {
        match plain.chance() {
            Some(span) => self.fail_hint(
                Code::BadRow,
                span,
                "a row is the same each time it is read, but this draws random numbers",
                "what differs from epoch to epoch stands in `augment { … }`, which the steps of a training alone see",
            ),
            None => Ok(()),
        }
    }
}
