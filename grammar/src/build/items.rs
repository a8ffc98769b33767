//! Items and their signatures.

use super::{Builder, Children, Node};
use crate::ast::*;
use crate::codes;
use crate::parse::Rule;
use pest::iterators::Pairs;

impl Builder {
    /// Adds the items in `pairs`, which were parsed from the text at `base`.
    pub fn file_items(&mut self, pairs: Pairs<'_, Rule>, base: usize, tree: &mut SourceFile) {
        self.base = base;
        for pair in pairs {
            self.item(pair, tree);
        }
    }

    pub fn item(&mut self, node: Node<'_>, tree: &mut SourceFile) {
        let span = self.span(&node);
        let kind = match node.as_rule() {
            Rule::edition => return self.edition(node, tree),
            Rule::use_ => self.use_(node),
            Rule::setting => ItemKind::Setting(self.setting(node)),
            Rule::callable => ItemKind::Callable(self.callable(node)),
            Rule::metric => ItemKind::Metric(self.metric(node)),
            Rule::data => ItemKind::Data(self.data(node)),
            Rule::train => ItemKind::Train(self.train(node)),
            Rule::predict => ItemKind::Predict(self.predict(node)),
            Rule::generate => ItemKind::Generate(self.generate(node)),
            Rule::load => ItemKind::Load(self.load(node)),
            // The body of an item whose head is broken: built for its errors alone.
            Rule::block => {
                self.block(node);
                return;
            }
            _ => return,
        };
        tree.items.push(Item { doc: None, kind, span });
    }

    pub fn edition(&mut self, node: Node<'_>, tree: &mut SourceFile) {
        let span = self.span(&node);
        if tree.edition.is_some() || !tree.items.is_empty() {
            return self.error(
                codes::LATE_EDITION,
                "the edition must stand once, before all items",
                span,
                Some("write it on the file's first line"),
            );
        }
        tree.edition = Children::of(node).next().map(|year| self.name(year));
    }

    fn use_(&mut self, node: Node<'_>) -> ItemKind {
        let mut children = Children::of(node);
        let path = self.text_of(&mut children);
        let names = children.take(Rule::record_pattern).map(|names| self.renamed_list(names));
        ItemKind::Use { path, names }
    }

    pub fn setting(&mut self, node: Node<'_>) -> Setting {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
        let value = self.expr_of(&mut children);
        Setting { name, ty, value, span }
    }

    pub fn callable(&mut self, node: Node<'_>) -> Callable {
        let mut children = Children::of(node);
        let kind = match children.next().map(|kind| kind.as_str()) {
            Some("fn") => CallableKind::Fn,
            Some("layer") => CallableKind::Layer,
            Some("model") => CallableKind::Model,
            _ => CallableKind::Optimizer,
        };
        let name = self.name_of(&mut children);
        let mut lists: Vec<Vec<Param>> = Vec::new();
        while let Some(list) = children.take(Rule::params) {
            lists.push(self.params(list));
        }
        let mut lists = lists.into_iter();
        let (params, inputs) = match (kind, lists.next(), lists.next()) {
            (CallableKind::Fn, params, inputs) => (params.unwrap_or_default(), inputs),
            (_, params, Some(inputs)) => (params.unwrap_or_default(), Some(inputs)),
            (_, inputs, None) => (Vec::new(), inputs),
        };
        let result = children.take(Rule::result).and_then(|result| self.result(result));
        let facts = children.take(Rule::facts).map(|facts| self.exprs(facts)).unwrap_or_default();
        let body = self.block_of(&mut children);
        Callable { kind, name, params, inputs, result, facts, body }
    }

    pub fn params(&mut self, node: Node<'_>) -> Vec<Param> {
        let mut children = Children::of(node);
        let mut params = Vec::new();
        while let Some(node) = children.take(Rule::param) {
            let span = self.span(&node);
            let mut children = Children::of(node);
            let name = self.name_of(&mut children);
            let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
            let default = children.take(Rule::expr).map(|value| self.expr(value));
            params.push(Param { name, ty, default, span });
        }
        params
    }

    pub fn result(&mut self, node: Node<'_>) -> Option<ResultType> {
        let node = Children::of(node).next()?;
        let span = self.span(&node);
        Some(match node.as_rule() {
            Rule::result_tuple => {
                let types: Vec<Type> = self.each(node, Rule::ty, Self::ty);
                // Parentheses around one type are just parentheses.
                match <[Type; 1]>::try_from(types) {
                    Ok([ty]) => ResultType::One(ty),
                    Err(types) => ResultType::Tuple(types, span),
                }
            }
            Rule::result_record => {
                let members = self.each(node, Rule::member, |builder, member| {
                    let mut children = Children::of(member);
                    (builder.name_of(&mut children), builder.ty_of(&mut children))
                });
                ResultType::Record(members, span)
            }
            _ => ResultType::One(self.ty(node)),
        })
    }

    pub fn metric(&mut self, node: Node<'_>) -> Metric {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let params = children.take(Rule::params).map(|params| self.params(params)).unwrap_or_default();
        let better = children.take(Rule::better).map(|node| self.name_of(&mut Children::of(node)));
        let mut statements = Vec::new();
        let mut body = children.take(Rule::metric_body).map(Children::of);
        while let Some(node) = body.as_mut().and_then(Children::next) {
            statements.push(self.metric_statement(node));
        }
        Metric { name, params, better, statements, span }
    }

    fn metric_statement(&mut self, node: Node<'_>) -> MetricStatement {
        let rule = node.as_rule();
        if rule == Rule::statement {
            return MetricStatement::Statement(self.statement(node));
        }
        let mut children = Children::of(node);
        match rule {
            Rule::sum => {
                let name = self.name_of(&mut children);
                let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
                MetricStatement::Sum { name, ty, value: self.expr_of(&mut children) }
            }
            Rule::collect => {
                let name = self.name_of(&mut children);
                let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
                MetricStatement::Collect { name, ty, value: self.expr_of(&mut children) }
            }
            _ => MetricStatement::Value(self.expr_of(&mut children)),
        }
    }

    pub fn data(&mut self, node: Node<'_>) -> Data {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let source = self.expr_of(&mut children);
        let row = children.take(Rule::row_type).map(|row| {
            let span = self.span(&row);
            RowType { columns: self.each(row, Rule::column, Self::column), span }
        });
        let mut clauses = Vec::new();
        let mut body = children.take(Rule::data_body).map(Children::of);
        while let Some(node) = body.as_mut().and_then(Children::next) {
            clauses.push(self.data_clause(node));
        }
        Data { name, source, row, clauses, span }
    }

    fn column(&mut self, node: Node<'_>) -> Column {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let kind = match children.take(Rule::class) {
            Some(class) => {
                let span = self.span(&class);
                ColumnKind::Class(self.each(class, Rule::text, Self::text), span)
            }
            None => ColumnKind::Type(self.ty_of(&mut children)),
        };
        let optional = children.take(Rule::optional).is_some();
        let from = children.take(Rule::text).map(|text| self.text(text));
        Column { name, kind, optional, from, span }
    }

    fn data_clause(&mut self, node: Node<'_>) -> DataClause {
        let span = self.span(&node);
        match node.as_rule() {
            Rule::split => DataClause::Split(self.carries_as_arguments(node), span),
            Rule::fit => {
                let (name, value) = self.carry(node);
                DataClause::Fit { name, value, span }
            }
            Rule::augment => DataClause::Augment(self.block_of(&mut Children::of(node))),
            Rule::batch => DataClause::Batch(self.block_of(&mut Children::of(node))),
            _ => DataClause::Statement(self.statement(node)),
        }
    }

    pub fn predict(&mut self, node: Node<'_>) -> Predict {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let inputs = children.take(Rule::params).map(|params| self.params(params)).unwrap_or_default();
        let result =
            children.take(Rule::names).map(|names| self.each(names, Rule::name, |b, name| b.name(name)));
        Predict { name, inputs, result, body: self.block_of(&mut children), span }
    }

    pub fn generate(&mut self, node: Node<'_>) -> Generate {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let inputs = children.take(Rule::params).map(|params| self.params(params)).unwrap_or_default();
        Generate { name, inputs, body: self.block_of(&mut children), span }
    }

    pub fn load(&mut self, node: Node<'_>) -> Load {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let target = self.dotted_of(&mut children);
        let file = self.text_of(&mut children);
        let rules = children.take(Rule::load_body).map(|body| {
            self.each(body, Rule::load_rule, |builder, node| {
                let span = builder.span(&node);
                let mut children = Children::of(node);
                let from = builder.text(children.take(Rule::text)?);
                let to = builder.raw(children.take(Rule::path)?);
                Some(LoadRule { from, to, transposed: children.take(Rule::transposed).is_some(), span })
            })
        });
        Load { target, file, rules: rules.into_iter().flatten().flatten().collect(), span }
    }
}
