//! `-> { width: f32?, species: class, note: text[256] }`: what a row of a source is, said by the spec.

use crate::check::metric::BATCH;
use crate::check::scope::Scope;
use crate::check::text::text_field;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::DType;
use weft_grammar::Span;
use weft_grammar::ast::{Column, ColumnKind, DimSpec, ExprKind, RowType, Type, TypeKind};
use weft_runtime::program::{Cell, Field};

/// What a cell can be read as.
const CELL_TYPES: &[&str] = &["f32", "f64", "i8", "u8", "i32", "i64", "bool"];
/// A field of one row has at most so many bytes: more is a slip of the pen.
const LARGEST_FIELD: usize = 1 << 30;

/// The fields of a row with the places that declare them.
pub(super) struct Schema {
    pub(super) columns: Vec<(Field, Span)>,
}

impl Schema {
    pub(super) fn into_fields(self) -> Vec<Field> {
        self.columns.into_iter().map(|(field, _)| field).collect()
    }
}

impl Checker<'_> {
    pub(super) fn schema(&mut self, row: &RowType, scope: &Scope) -> Result<Schema> {
        let mut columns: Vec<(Field, Span)> = Vec::new();
        let mut failed = false;
        for column in &row.columns {
            match self.column(column, scope) {
                Ok(field) => columns.push((field, column.name.span)),
                Err(Reported) => failed = true,
            }
            let earlier = row.columns.iter().find(|c| c.name.text == column.name.text);
            if let Some(earlier) = earlier.filter(|earlier| earlier.span != column.span) {
                let message = format!("the row has `{}` twice", column.name.text);
                failed = true;
                self.report(
                    Diagnostic::error(Code::Duplicate, column.name.span, message)
                        .related(earlier.name.span, "first here")
                        .hint("two fields of one column have two names: `other: f32 from \"width\"`"),
                );
            }
        }
        if failed {
            return Err(Reported);
        }
        if columns.is_empty() {
            return self.fail_hint(Code::BadRow, row.span, "a row needs a field", "write `{ width: f32 }`");
        }
        Ok(Schema { columns })
    }

    fn column(&mut self, column: &Column, scope: &Scope) -> Result<Field> {
        let name = column.name.text.clone();
        let from = column.from.as_ref().map_or_else(|| name.clone(), |from| from.value.clone());
        let (dtype, shape, cell) = match &column.kind {
            ColumnKind::Class(names, _) => {
                let mut seen = Vec::new();
                for text in names {
                    if seen.contains(&text.value) {
                        let message = format!("the class {:?} stands here twice", text.value);
                        return self.fail(Code::Duplicate, text.span, message);
                    }
                    seen.push(text.value.clone());
                }
                (DType::I32, Vec::new(), Cell::Class(seen))
            }
            ColumnKind::Type(ty) if says_text(ty) => {
                return Ok(Field { optional: column.optional, from, ..text_field(&name) });
            }
            ColumnKind::Type(ty) => {
                if let Some((symbol, rest)) = self.free_axis(ty, scope)? {
                    let ty = Type { kind: rest, span: ty.span };
                    let (dtype, shape, cell) = self.cell_type(&name, &ty, scope)?;
                    if column.optional && !matches!(dtype, DType::F32 | DType::F64) {
                        let message = format!(
                            "steps of `{name}` may be missing, but {} has no value that says so",
                            dtype.name()
                        );
                        return self.fail(Code::BadRow, column.span, message);
                    }
                    return Ok(Field {
                        name,
                        dtype,
                        shape,
                        cell,
                        optional: column.optional,
                        from,
                        ragged: Some(symbol),
                    });
                }
                self.cell_type(&name, ty, scope)?
            }
        };
        let has_nothing = cell == Cell::Numbers && !matches!(dtype, DType::F32 | DType::F64);
        if column.optional && has_nothing {
            let message = format!("`{name}` may be missing, but {} has no value that says so", dtype.name());
            let hint = format!("`{name}: f32?` is NaN where it is missing, `{name}: class?` is -1");
            return self.fail_hint(Code::BadRow, column.span, message, hint);
        }
        Ok(Field { name, dtype, shape, cell, optional: column.optional, from, ragged: None })
    }

    /// `f32[t, 6]`, where `t` is the name of nothing else: rows differ in length, and so is called the axis. With it, the type of a step.
    fn free_axis(&mut self, ty: &Type, scope: &Scope) -> Result<Option<(String, TypeKind)>> {
        let TypeKind::Tensor { dtype, dims: Some(dims) } = &ty.kind else { return Ok(None) };
        let Some((DimSpec::Expr(first), rest)) = dims.split_first() else { return Ok(None) };
        let ExprKind::Name(name) = &first.kind else { return Ok(None) };
        if scope.find(name).is_some() || self.entry(0, name).is_some() || dtype.text == "text" {
            return Ok(None);
        }
        if name == BATCH {
            let hint = "give the axis of a row another name, such as `t`";
            return self.fail_hint(
                Code::BadRow,
                first.span,
                "`batch` is the number of rows of a batch",
                hint,
            );
        }
        // A step of one number is a number.
        let rest = if rest.is_empty() { None } else { Some(rest.to_vec()) };
        Ok(Some((name.clone(), TypeKind::Tensor { dtype: dtype.clone(), dims: rest })))
    }

    fn cell_type(&mut self, name: &str, ty: &Type, scope: &Scope) -> Result<(DType, Vec<usize>, Cell)> {
        let (word, dims) = match &ty.kind {
            TypeKind::Tensor { dtype, dims } => (dtype.text.as_str(), dims.as_deref().unwrap_or_default()),
            TypeKind::Kind(kind) => (kind.text.as_str(), &[][..]),
            TypeKind::Choice(_) => ("choice", &[][..]),
        };
        let mut shape = Vec::new();
        for dim in dims {
            shape.push(self.constant_dim(name, dim, scope)?);
        }
        if word == "text" {
            let [length] = shape[..] else {
                let message = format!("`{name}` is text of how many bytes?");
                let hint = format!("`{name}: text` is a text of any length, `text[256]` its first 256 bytes");
                return self.fail_hint(Code::BadRow, ty.span, message, hint);
            };
            return Ok((DType::U8, vec![length], Cell::Text));
        }
        let Some(dtype) = DType::from_name(word).filter(|_| CELL_TYPES.contains(&word)) else {
            let hint = match word {
                "int" => Some("write `i32`, or `i64` for large numbers".to_owned()),
                "float" => Some("write `f32`".to_owned()),
                "str" | "string" | "choice" | "category" => {
                    Some("one of some values is a `class`; text to be read is `text[256]`".to_owned())
                }
                _ => did_you_mean(word, CELL_TYPES.iter().copied().chain(["class", "text"])),
            };
            let hint = hint.unwrap_or_else(|| format!("it is one of {}, class, text", CELL_TYPES.join(", ")));
            return self.fail_hint(
                Code::BadRow,
                ty.span,
                format!("a field cannot be read as `{word}`"),
                hint,
            );
        };
        let bytes = shape.iter().try_fold(dtype.size(), |product, extent| product.checked_mul(*extent));
        if bytes.is_none_or(|bytes| bytes > LARGEST_FIELD) {
            return self.fail(
                Code::TooLarge,
                ty.span,
                format!("`{name}` is larger than {LARGEST_FIELD} bytes a row"),
            );
        }
        Ok((dtype, shape, Cell::Numbers))
    }

    fn constant_dim(&mut self, name: &str, dim: &DimSpec, scope: &Scope) -> Result<usize> {
        let (span, value) = match dim {
            DimSpec::Rest(span) => (*span, None),
            DimSpec::Expr(expr) => {
                // A free name would be an unknown one; what is wrong is that it is none of the file's numbers.
                let free = matches!(&expr.kind, ExprKind::Name(name) if scope.find(name).is_none() && self.entry(0, name).is_none());
                (expr.span, if free { None } else { self.expr(expr, scope)?.as_dim() })
            }
        };
        match value.and_then(|dim| dim.as_constant()).and_then(|extent| usize::try_from(extent).ok()) {
            Some(extent) if extent > 0 => Ok(extent),
            _ => {
                let message =
                    format!("the shape of `{name}` is made of whole numbers above 0: rows are all alike");
                let hint = "a setting is one too; only the first axis may have a name, `f32[t, 6]`, where rows differ in length";
                self.fail_hint(Code::BadRow, span, message, hint)
            }
        }
    }
}

/// `note: text`, of any length.
fn says_text(ty: &Type) -> bool {
    match &ty.kind {
        TypeKind::Kind(word) | TypeKind::Tensor { dtype: word, dims: None } => word.text == "text",
        _ => false,
    }
}
