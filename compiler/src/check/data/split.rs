//! `split`: which rows are held out to validate and to test.

use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use weft_grammar::Span;
use weft_grammar::ast::{self, ExprKind};
use weft_runtime::program::{Cell, DataSource, Field, Held, Splits};

/// What can be said of a split.
const KEYS: [&str; 5] = ["validation", "test", "stratify", "column", "distinct"];

/// Does an argument of `split` name a column or a field, rather than a value?
pub fn names_column(argument: &ast::Argument) -> bool {
    argument
        .name
        .as_ref()
        .is_some_and(|name| ["stratify", "column", "distinct"].contains(&name.text.as_str()))
}

impl Checker<'_> {
    pub(super) fn split(
        &mut self,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
        (source, fields): (&DataSource, &[Field]),
        splits: &mut Splits,
    ) -> Result<()> {
        for argument in arguments {
            let Some(name) = &argument.name else { continue };
            match name.text.as_str() {
                "validation" => splits.validation = self.held(name, &argument.value, scope, source)?,
                "test" => splits.test = self.held(name, &argument.value, scope, source)?,
                "stratify" => splits.stratify = Some(self.stratified(&argument.value, fields)?),
                "distinct" => splits.distinct = Some(self.distinct(&argument.value, fields)?),
                "column" => splits.column = Some(self.part_column(&argument.value, source)?),
                other => {
                    let hint = did_you_mean(other, KEYS).unwrap_or_else(|| {
                        format!("a split has {}", KEYS.map(|k| format!("`{k}`")).join(", "))
                    });
                    return self.fail_hint(
                        Code::BadSplit,
                        name.span,
                        format!("there is no split `{other}`"),
                        hint,
                    );
                }
            }
        }
        let share = |held: &Held| if let Held::Share(share) = held { *share } else { 0.0 };
        if share(&splits.validation) + share(&splits.test) >= 1.0 {
            return self.fail(Code::BadSplit, span, "these shares leave nothing to train on");
        }
        let counted = [&splits.validation, &splits.test]
            .into_iter()
            .any(|held| matches!(held, Held::Share(_) | Held::Rows(_)));
        if splits.column.is_some() && counted {
            let message = "a column says the part of each row, so none is left to hold out";
            return self.fail_hint(Code::BadSplit, span, message, "leave out either `column` or the shares");
        }
        if splits.stratify.is_some() && !counted {
            let hint = "`split validation = 0.2, stratify = label` holds out the same share of each value";
            return self.fail_hint(Code::BadSplit, span, "`stratify` needs a share to hold out", hint);
        }
        Ok(())
    }

    /// A share, a number of rows, or a file.
    fn held(
        &mut self,
        part: &ast::Name,
        value: &ast::Expr,
        scope: &Scope,
        source: &DataSource,
    ) -> Result<Held> {
        let given = self.expr(value, scope)?;
        match given {
            Value::Int(0) => Ok(Held::Nothing),
            Value::Float(share) if (0.0..1.0).contains(&share) => Ok(Held::Share(share)),
            Value::Int(rows) if rows > 1 => Ok(Held::Rows(rows as u64)),
            Value::Text(file) if source.is_file() => Ok(Held::File(file.to_string())),
            Value::Text(_) => {
                let message = format!(
                    "the rows of this source lie in a folder, which has its own files for `{}`",
                    part.text
                );
                self.fail_hint(Code::BadSplit, value.span, message, "leave it out, or give a share: `0.1`")
            }
            other => {
                let message = format!("`{}` cannot be {}", part.text, other.show());
                let hint =
                    "`0.1` is a share of the rows, `5000` a number of rows, `\"more.csv\"` another file";
                self.fail_hint(Code::BadSplit, value.span, message, hint)
            }
        }
    }

    fn stratified(&mut self, value: &ast::Expr, fields: &[Field]) -> Result<String> {
        let text = self.sources.text(value.span).to_owned();
        let fits = |field: &&Field| {
            field.shape.is_empty() && (matches!(field.cell, Cell::Class(_)) || !field.dtype.is_float())
        };
        let names: Vec<&str> = fields.iter().filter(fits).map(|f| f.name.as_str()).collect();
        if matches!(value.kind, ExprKind::Name(_)) && names.contains(&text.as_str()) {
            return Ok(text);
        }
        let message = match fields.iter().find(|field| field.name == text) {
            Some(field) => format!(
                "`{text}` is {}{:?}; rows are held out evenly by a class or a whole number",
                field.dtype.name(),
                field.shape
            ),
            None => format!("a row of this source has no `{text}`"),
        };
        let hint = did_you_mean(&text, names.iter().copied());
        let hint = hint.or_else(|| (!names.is_empty()).then(|| format!("it can be {}", names.join(", "))));
        Err(self.report(Diagnostic::error(Code::BadSplit, value.span, message).hint_if(hint)))
    }

    /// A field of the source of which each value is to stand once.
    fn distinct(&mut self, value: &ast::Expr, fields: &[Field]) -> Result<String> {
        let text = self.sources.text(value.span).to_owned();
        let names: Vec<&str> = fields.iter().filter(|f| f.is_read()).map(|f| f.name.as_str()).collect();
        if matches!(value.kind, ExprKind::Name(_)) && names.contains(&text.as_str()) {
            return Ok(text);
        }
        let hint = did_you_mean(&text, names.iter().copied())
            .unwrap_or_else(|| format!("it can be {}", names.join(", ")));
        let message = format!("a row of this source has no `{text}`");
        self.fail_hint(Code::BadSplit, value.span, message, hint)
    }

    fn part_column(&mut self, value: &ast::Expr, source: &DataSource) -> Result<String> {
        if !source.has_columns() {
            return self.fail(Code::BadSplit, value.span, "the rows of this source have no columns");
        }
        match &value.kind {
            ExprKind::Name(name) => Ok(name.clone()),
            ExprKind::Text(text) => Ok(text.clone()),
            _ => {
                let message = "the column that says the part of a row is a name or a text";
                self.fail_hint(Code::BadSplit, value.span, message, "write `column = part`")
            }
        }
    }
}
