//! Blocks, statements and patterns.

use super::{Builder, Children, Node};
use crate::ast::*;
use crate::codes;
use crate::parse::Rule;
use crate::span::Span;

impl Builder {
    pub fn block_of(&mut self, children: &mut Children<'_>) -> Block {
        match children.take(Rule::block) {
            Some(block) => self.block(block),
            None => Block { statements: Vec::new(), span: self.span(&children.parent) },
        }
    }

    /// A `{ … }` that can only be a block.
    pub fn block(&mut self, node: Node<'_>) -> Block {
        let span = self.span(&node);
        let mut statements = Vec::new();
        let mut comma = None;
        for child in node.into_inner() {
            match child.as_rule() {
                Rule::statement => statements.push(self.statement(child)),
                Rule::comma => comma = comma.or(Some(self.span(&child))),
                _ => {}
            }
        }
        if let Some(span) = comma {
            self.stray_comma(span);
        }
        finish_block(statements, span)
    }

    fn stray_comma(&mut self, span: Span) {
        let hint = "statements simply follow each other; only the entries of a record take commas";
        self.error(codes::STRAY_COMMA, "a comma separates two statements", span, Some(hint));
    }

    /// A node of the rule `statement`.
    pub fn statement(&mut self, node: Node<'_>) -> Statement {
        let span = self.span(&node);
        let kind = match Children::of(node).next() {
            Some(inner) => self.statement_kind(inner),
            None => StatementKind::Expr(Expr { kind: ExprKind::Error, span }),
        };
        Statement { kind, span }
    }

    fn statement_kind(&mut self, node: Node<'_>) -> StatementKind {
        let rule = node.as_rule();
        if rule == Rule::setting {
            return StatementKind::Setting(self.setting(node));
        }
        if rule == Rule::expr {
            return StatementKind::Expr(self.expr(node));
        }
        if rule == Rule::yield_ {
            return StatementKind::Yield(self.exprs(node));
        }
        if rule == Rule::conditional {
            return self.if_statement(node);
        }
        let mut children = Children::of(node);
        match rule {
            Rule::let_ => {
                let pattern = self.pattern_of(&mut children);
                StatementKind::Let { pattern, value: self.expr_of(&mut children) }
            }
            Rule::assert_ => {
                let condition = self.expr_of(&mut children);
                let message = children.take(Rule::text).map(|text| self.text(text));
                StatementKind::Assert { condition, message }
            }
            Rule::for_ => {
                let pattern = self.pattern_of(&mut children);
                let over = self.expr_of(&mut children);
                StatementKind::For { pattern, over, body: self.block_of(&mut children) }
            }
            Rule::weight => {
                let name = self.name_of(&mut children);
                let ty = self.ty_of(&mut children);
                let value = self.expr_of(&mut children);
                let attributes = children.take(Rule::attributes).map(|node| self.attributes(node));
                StatementKind::Weight { name, ty, value, attributes: attributes.unwrap_or_default() }
            }
            Rule::state => {
                let name = self.name_of(&mut children);
                let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
                StatementKind::State { name, ty, value: self.expr_of(&mut children) }
            }
            Rule::update => {
                let target = self.name_of(&mut children);
                StatementKind::Update { target, value: self.expr_of(&mut children) }
            }
            _ => {
                let target = self.name_of(&mut children);
                StatementKind::Assign { target, value: self.expr_of(&mut children) }
            }
        }
    }

    pub fn if_statement(&mut self, node: Node<'_>) -> StatementKind {
        let mut children = Children::of(node);
        let condition = self.expr_of(&mut children);
        let then = self.block_of(&mut children);
        let otherwise = match children.peek().map(|child| child.as_rule()) {
            Some(Rule::conditional) => children.next().map(|node| {
                let span = self.span(&node);
                finish_block(vec![Statement { kind: self.if_statement(node), span }], span)
            }),
            Some(Rule::block) => Some(self.block_of(&mut children)),
            _ => None,
        };
        StatementKind::If { condition, then, otherwise }
    }

    pub fn pattern_of(&mut self, children: &mut Children<'_>) -> Pattern {
        match children.take(Rule::pattern) {
            Some(node) => self.pattern(node),
            None => Pattern::One(self.name_of(children)),
        }
    }

    pub fn pattern(&mut self, node: Node<'_>) -> Pattern {
        let span = self.span(&node);
        let mut children = Children::of(node.clone());
        if let Some(record) = children.take(Rule::record_pattern) {
            return Pattern::Record(self.renamed_list(record), span);
        }
        let names: Vec<Name> = self.each(node, Rule::name, |b, name| b.name(name));
        match <[Name; 1]>::try_from(names) {
            Ok([name]) => Pattern::One(name),
            Err(names) => Pattern::Tuple(names, span),
        }
    }

    pub fn renamed_list(&mut self, node: Node<'_>) -> Vec<(Name, Option<Name>)> {
        self.each(node, Rule::renamed, |builder, node| {
            let mut children = Children::of(node);
            let name = builder.name_of(&mut children);
            (name, children.take(Rule::name).map(|other| builder.name(other)))
        })
    }

    /// `name = value`
    pub fn carry(&mut self, node: Node<'_>) -> (Name, Expr) {
        let mut children = Children::of(node);
        (self.name_of(&mut children), self.expr_of(&mut children))
    }

    pub fn carries_as_arguments(&mut self, node: Node<'_>) -> Vec<Argument> {
        self.each(node, Rule::carry, Self::carry_as_argument)
    }

    fn carry_as_argument(&mut self, node: Node<'_>) -> Argument {
        let (name, value) = self.carry(node);
        Argument { name: Some(name), value }
    }

    /// `name = value`, or a name alone, whose value then is that of the same name.
    pub fn attributes(&mut self, node: Node<'_>) -> Vec<Argument> {
        let attribute = |child: Node<'_>| match child.as_rule() {
            Rule::carry => Some(self.carry_as_argument(child)),
            Rule::name => {
                let name = self.name(child);
                let value = Expr { kind: ExprKind::Name(name.text.clone()), span: name.span };
                Some(Argument { name: Some(name), value })
            }
            _ => None,
        };
        node.into_inner().filter_map(attribute).collect()
    }
}

/// An `if` with two values at the end of a block is the block's value.
fn finish_block(mut statements: Vec<Statement>, span: Span) -> Block {
    match statements.pop() {
        Some(Statement { kind: StatementKind::If { condition, then, otherwise: Some(otherwise) }, span })
            if has_value(&then) && has_value(&otherwise) =>
        {
            let kind = ExprKind::If { condition: Box::new(condition), then, otherwise };
            statements.push(Statement { kind: StatementKind::Expr(Expr { kind, span }), span });
        }
        Some(last) => statements.push(last),
        None => {}
    }
    Block { statements, span }
}

fn has_value(block: &Block) -> bool {
    matches!(block.statements.last(), Some(Statement { kind: StatementKind::Expr(_), .. }))
}
