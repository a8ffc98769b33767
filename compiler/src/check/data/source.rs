//! Sources: where the rows of a data set come from, and the fields that each row has.

use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, TensorType};
use weft_grammar::ast::{self, ExprKind};
use weft_runtime::program::DataSource;

/// A source that the runtime can read.
pub(super) struct Source {
    pub(super) name: &'static str,
    /// What its rows are and where they come from, with an ``Example: `…` ``.
    doc: &'static str,
    pub(super) folder: &'static str,
    pub(super) make: fn(String) -> DataSource,
    pub(super) fields: &'static [(&'static str, DType, &'static [usize])],
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

impl Checker<'_> {
    /// `mnist("data/mnist")`, or `mnist`.
    pub(super) fn source(&mut self, expr: &ast::Expr, scope: &Scope) -> Result<(&'static Source, String)> {
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
