//! `augment { … }` and `batch { … }`: what the steps of a training alone see.
//!
//! Both change fields and keep their types, so that the model meets in a step what it meets in an evaluation. `augment` is written for one
//! row; its random numbers follow from the seed, the batch's number and the row's place in the batch. `batch` sees the whole
//! batch, for what mixes rows.

use super::row::Row;
use crate::check::layer::Frame;
use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::{Dim, TensorType};
use std::rc::Rc;
use weft_grammar::ast::{self, DataClause};

impl Checker<'_> {
    /// Runs the block on the fields of one row.
    pub(super) fn augment(&mut self, block: &ast::Block, row: &Scope, fields: &[Rc<str>]) -> Result<()> {
        self.changing("augment", block, row, fields)
    }

    /// Runs the `batch` blocks of an item on the fields of a batch.
    pub(super) fn batch_blocks(
        &mut self,
        row: &Row,
        fields: Vec<(Rc<str>, Value)>,
        batch: &Dim,
    ) -> Result<Vec<(Rc<str>, Value)>> {
        let at = row.item.source.span;
        let scope = Scope::of_file(row.home);
        scope.bind(crate::check::metric::BATCH, Value::Dim(batch.clone()), at);
        let scope = scope.inner();
        let names: Vec<Rc<str>> = fields.iter().map(|(name, _)| name.clone()).collect();
        for (name, value) in &fields {
            scope.bind(name, value.clone(), at);
        }
        // The streams of random numbers are the block's own, the same in every entry that reads the batch.
        let path = format!("{}.batch", row.item.name.text);
        self.frames.push(Frame::new(Some(Rc::from(path)), "batch", Some(Rc::from("a `data` item"))));
        let mut blocks = row.item.clauses.iter().filter_map(|clause| match clause {
            DataClause::Batch(block) => Some(block),
            _ => None,
        });
        let result = blocks.try_for_each(|block| self.changing("batch", block, &scope, &names));
        self.frames.pop();
        result?;
        let value = |name: Rc<str>| scope.find(&name).map(|(value, _)| (name, value));
        Ok(names.into_iter().filter_map(value).collect())
    }

    /// Runs a block that may give the fields in `scope` new values of the same types.
    fn changing(&mut self, what: &str, block: &ast::Block, scope: &Scope, fields: &[Rc<str>]) -> Result<()> {
        let before = self.field_types(scope, fields);
        self.block(block, &scope.inner())?;
        let after = self.field_types(scope, fields);
        let mut result = Ok(());
        for ((field, old), (_, new)) in before.into_iter().zip(after) {
            let (Some(old), at) = (old, scope.find(&field).map_or(block.span, |(_, at)| at)) else {
                continue;
            };
            let made = match new {
                Some(new) if new == old => continue,
                Some(new) => new.to_string(),
                None => scope.find(&field).map_or("nothing", |(value, _)| value.kind()).to_owned(),
            };
            let message =
                format!("`{what}` keeps the type of each field, but `{field}` was {old} and becomes {made}");
            let hint =
                "evaluations and predictions see the fields without this block: change their type before it";
            result = Err(self.report(Diagnostic::error(Code::BadRow, at, message).hint(hint)));
        }
        result
    }

    fn field_types(&mut self, scope: &Scope, fields: &[Rc<str>]) -> Vec<(Rc<str>, Option<TensorType>)> {
        let ty = |field: &Rc<str>| {
            let ty = match scope.find(field) {
                Some((Value::Tensor(tensor), _)) => Some(self.tensor_type(tensor)),
                _ => None,
            };
            (field.clone(), ty)
        };
        fields.iter().map(ty).collect()
    }
}
