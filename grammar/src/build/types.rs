//! Types and their dims.

use super::{Builder, Children, Node};
use crate::ast::*;
use crate::parse::Rule;

impl Builder {
    pub fn ty_of(&mut self, children: &mut Children<'_>) -> Type {
        match children.take(Rule::ty) {
            Some(node) => self.ty(node),
            None => {
                let name = self.name_of(children);
                Type { span: name.span, kind: TypeKind::Tensor { dtype: name, dims: None } }
            }
        }
    }

    pub fn ty(&mut self, node: Node<'_>) -> Type {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let kind = match children.peek().map(|child| child.as_rule()) {
            Some(Rule::choice) => {
                let names =
                    children.next().map(|choice| self.each(choice, Rule::name, |b, name| b.name(name)));
                TypeKind::Choice(names.unwrap_or_default())
            }
            Some(Rule::kw_fn) => TypeKind::Kind(Name { text: "fn".into(), span }),
            _ => {
                let dtype = self.name_of(&mut children);
                let dims = children.take(Rule::dims).map(|dims| self.dims(dims));
                let compile_time = matches!(
                    dtype.text.as_str(),
                    "int" | "float" | "bool" | "text" | "list" | "tuple" | "map" | "schedule" | "sizes"
                );
                match dims {
                    None if compile_time => TypeKind::Kind(dtype),
                    dims => TypeKind::Tensor { dtype, dims },
                }
            }
        };
        Type { kind, span }
    }

    pub fn dims(&mut self, node: Node<'_>) -> Vec<DimSpec> {
        let mut dims = Vec::new();
        let mut children = Children::of(node);
        while let Some(dim) = children.next() {
            dims.push(match dim.as_rule() {
                Rule::rest => DimSpec::Rest(self.span(&dim)),
                _ => DimSpec::Expr(self.expr(dim)),
            });
        }
        dims
    }
}
