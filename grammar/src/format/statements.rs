//! Blocks, statements and patterns → canonical text.

use super::layout::{Doc, concat, indent, tail, text};
use super::{Printer, Rows, quoted};
use crate::ast::*;

impl<'a> Printer<'a> {
    /// A body that always takes lines of its own.
    pub fn block(&mut self, block: &'a Block) -> Doc {
        let rows = self.block_rows(block);
        self.braces(rows)
    }

    pub fn block_rows(&mut self, block: &'a Block) -> Rows {
        let mut rows = Rows::default();
        for (index, statement) in block.statements.iter().enumerate() {
            let last = index + 1 == block.statements.len();
            self.row(&mut rows, statement.span, |p| p.statement(statement, last));
        }
        self.comments_before(&mut rows, block.span.end, false);
        rows
    }

    /// A body that may stand on one line when it is one expression.
    pub fn short_block(&mut self, block: &'a Block) -> Doc {
        match block.statements.as_slice() {
            [Statement { kind: StatementKind::Expr(expr), span }]
                if !self.has_comment(block.span) && !self.opens_lines(span.start) =>
            {
                let value = self.last_expr(expr);
                tail(concat([text("{"), indent(concat([Doc::Line, value])), Doc::Line, text("}")]))
            }
            _ => self.block(block),
        }
    }

    pub fn statement(&mut self, statement: &'a Statement, last: bool) -> Doc {
        match &statement.kind {
            StatementKind::Let { pattern, value } => self.let_(pattern, value),
            StatementKind::Weight { name, ty, value, attributes } => {
                let mut parts = vec![text("weight "), self.name(name), text(": "), self.ty(ty), text(" = ")];
                if attributes.is_empty() {
                    parts.push(self.value(value));
                } else {
                    parts.push(self.before_word(value));
                    let attributes = self.separated(attributes, Self::attribute);
                    parts.push(tail(indent(concat([Doc::Line, text("with "), attributes]))));
                }
                concat(parts)
            }
            StatementKind::State { name, ty, value } => {
                let ty = self.annotation(ty.as_ref());
                concat([text("state "), self.name(name), ty, text(" = "), self.value(value)])
            }
            StatementKind::Update { target, value } => {
                concat([self.name(target), text(" <- "), self.value(value)])
            }
            StatementKind::Assign { target, value } => {
                concat([self.name(target), text(" = "), self.value(value)])
            }
            StatementKind::Assert { condition, message } => {
                let mut parts = vec![text("assert "), self.expr(condition)];
                if let Some(message) = message {
                    let message = concat([Doc::Line, quoted(&message.value)]);
                    parts.extend([text(" :"), tail(indent(message))]);
                }
                concat(parts)
            }
            StatementKind::For { pattern, over, body } => {
                let head = [text("for "), self.pattern(pattern), text(" in "), self.expr(over), text(" ")];
                concat(head.into_iter().chain([self.block(body)]))
            }
            StatementKind::If { condition, then, otherwise } => {
                self.if_statement(condition, then, otherwise.as_ref())
            }
            StatementKind::Setting(setting) => self.setting(setting),
            StatementKind::Yield(values) => {
                concat([text("yield "), self.separated(values, |p, v| p.expr(v))])
            }
            StatementKind::Expr(expr) if last => self.last_expr(expr),
            StatementKind::Expr(expr) => self.middle_expr(expr),
        }
    }

    pub fn let_(&mut self, pattern: &'a Pattern, value: &'a Expr) -> Doc {
        concat([text("let "), self.pattern(pattern), text(" = "), self.value(value)])
    }

    fn if_statement(&mut self, condition: &'a Expr, then: &'a Block, otherwise: Option<&'a Block>) -> Doc {
        let mut parts = vec![text("if "), self.expr(condition), text(" "), self.block(then)];
        if let Some(otherwise) = otherwise {
            parts.push(text(" else "));
            parts.push(match otherwise.statements.as_slice() {
                [Statement { kind: StatementKind::If { condition, then, otherwise }, .. }] => {
                    self.if_statement(condition, then, otherwise.as_ref())
                }
                [
                    Statement {
                        kind:
                            StatementKind::Expr(Expr {
                                kind: ExprKind::If { condition, then, otherwise }, ..
                            }),
                        ..
                    },
                ] => self.if_statement(condition, then, Some(otherwise)),
                _ => self.block(otherwise),
            });
        }
        concat(parts)
    }

    pub fn pattern(&mut self, pattern: &'a Pattern) -> Doc {
        match pattern {
            Pattern::One(name) => self.name(name),
            Pattern::Tuple(names, _) => {
                text(names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", "))
            }
            Pattern::Record(names, _) => self.renamed(names),
        }
    }

    pub fn renamed(&mut self, names: &'a [(Name, Option<Name>)]) -> Doc {
        if names.is_empty() {
            return text("{}");
        }
        let end = names.last().map_or(0, |(name, other)| other.as_ref().unwrap_or(name).span.end);
        let print = |p: &mut Self, (name, other): &'a (Name, Option<Name>)| match other {
            Some(other) => concat([p.name(name), text(" as "), p.name(other)]),
            None => p.name(name),
        };
        self.delimited("{ ", names, print, " }", end)
    }
}
