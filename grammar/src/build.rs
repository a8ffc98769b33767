//! pest's pairs → the syntax tree: items and statements. Expressions are in `build_expr.rs`.
//!
//! pest guarantees the shape of what comes here; where a child is missing all the same, a placeholder takes its place,
//! so that nothing can panic.

use crate::ast::*;
use crate::codes;
use crate::parse::{Rule, SyntaxError};
use crate::span::{FileId, Span};
use pest::iterators::{Pair, Pairs};

pub type Node<'i> = Pair<'i, Rule>;

pub struct Builder {
    file: FileId,
    /// Where the parsed text starts in the file.
    base: usize,
    pub errors: Vec<SyntaxError>,
}

/// Is this rule a mark or keyword that says nothing once the construct is known?
fn is_mark(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        eq | left_arrow
            | arrow
            | dot
            | colon
            | comma
            | semicolon
            | open_paren
            | close_paren
            | open_bracket
            | close_bracket
            | open_brace
            | close_brace
            | kw_let
            | kw_if
            | kw_else
            | kw_for
            | kw_in
            | kw_assert
            | kw_yield
            | kw_scan
            | kw_fresh
            | kw_map
            | kw_as
            | kw_with
            | kw_weight
            | kw_state
            | kw_over
            | kw_carrying
            | kw_where
            | kw_choice
            | kw_edition
            | kw_use
            | kw_setting
            | kw_metric
            | kw_better
            | kw_sum
            | kw_collect
            | kw_value
            | kw_data
            | kw_split
            | kw_fit
            | kw_augment
            | kw_batch
            | kw_host
            | kw_train
            | kw_on
            | kw_minimize
            | kw_using
            | kw_measure
            | kw_step
            | kw_keep
            | kw_best
            | kw_by
            | kw_stop
            | kw_after
            | kw_epochs
            | kw_without
            | kw_freeze
            | kw_predict
            | kw_generate
            | kw_load
            | kw_from
            | EOI
    )
}

/// The children of a node that carry meaning, with typed ways to take them in order.
pub struct Children<'i> {
    pairs: Pairs<'i, Rule>,
    parent: Node<'i>,
}

impl<'i> Children<'i> {
    pub fn of(parent: Node<'i>) -> Children<'i> {
        Children { pairs: parent.clone().into_inner(), parent }
    }

    pub fn next(&mut self) -> Option<Node<'i>> {
        self.pairs.by_ref().find(|pair| !is_mark(pair.as_rule()))
    }

    pub fn peek(&self) -> Option<Node<'i>> {
        self.pairs.clone().find(|pair| !is_mark(pair.as_rule()))
    }

    /// The next child if it is of this rule.
    pub fn take(&mut self, rule: Rule) -> Option<Node<'i>> {
        self.peek().filter(|pair| pair.as_rule() == rule)?;
        self.next()
    }
}

impl Builder {
    pub fn new(file: FileId) -> Builder {
        Builder { file, base: 0, errors: Vec::new() }
    }

    pub fn span(&self, node: &Node<'_>) -> Span {
        // pest lets a rule that ends in a repetition swallow the white space after it.
        let span = node.as_span();
        let start = self.base + span.start();
        Span::new(self.file, start, start + span.as_str().trim_end().len())
    }

    pub fn error(&mut self, code: &'static str, message: impl Into<String>, span: Span, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.errors.push(SyntaxError { code, message: message.into(), span, related: None, hint });
    }

    /// Adds the items in `pairs`, which were parsed from the text at `base`.
    pub fn file_items(&mut self, pairs: Pairs<'_, Rule>, base: usize, tree: &mut SourceFile) {
        self.base = base;
        for pair in pairs {
            self.item(pair, tree);
        }
    }

    fn item(&mut self, node: Node<'_>, tree: &mut SourceFile) {
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

    fn edition(&mut self, node: Node<'_>, tree: &mut SourceFile) {
        let span = self.span(&node);
        if tree.edition.is_some() || !tree.items.is_empty() {
            return self.error(
                codes::LATE_EDITION,
                "the edition must stand once, before all items",
                span,
                None,
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

    fn setting(&mut self, node: Node<'_>) -> Setting {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let ty = children.take(Rule::ty).map(|ty| self.ty(ty));
        let value = self.expr_of(&mut children);
        Setting { name, ty, value, span }
    }

    fn callable(&mut self, node: Node<'_>) -> Callable {
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

    fn result(&mut self, node: Node<'_>) -> Option<ResultType> {
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

    /// Builds every child of one rule.
    pub fn each<T>(
        &mut self,
        node: Node<'_>,
        rule: Rule,
        mut build: impl FnMut(&mut Self, Node<'_>) -> T,
    ) -> Vec<T> {
        node.into_inner().filter(|child| child.as_rule() == rule).map(|child| build(self, child)).collect()
    }

    pub fn exprs(&mut self, node: Node<'_>) -> Vec<Expr> {
        self.each(node, Rule::expr, Self::expr)
    }

    // ---- Types ----

    fn ty_of(&mut self, children: &mut Children<'_>) -> Type {
        match children.take(Rule::ty) {
            Some(node) => self.ty(node),
            None => {
                let name = self.name_of(children);
                Type { span: name.span, kind: TypeKind::Tensor { dtype: name, dims: None } }
            }
        }
    }

    fn ty(&mut self, node: Node<'_>) -> Type {
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
                    "int" | "float" | "bool" | "text" | "list" | "tuple" | "map" | "schedule"
                );
                match dims {
                    None if compile_time => TypeKind::Kind(dtype),
                    dims => TypeKind::Tensor { dtype, dims },
                }
            }
        };
        Type { kind, span }
    }

    fn dims(&mut self, node: Node<'_>) -> Vec<DimSpec> {
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

    // ---- Statements ----

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

    pub fn stray_comma(&mut self, span: Span) {
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
                let attributes = children.take(Rule::attributes).map(|node| self.carries_as_arguments(node));
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

    fn if_statement(&mut self, node: Node<'_>) -> StatementKind {
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

    fn pattern_of(&mut self, children: &mut Children<'_>) -> Pattern {
        match children.take(Rule::pattern) {
            Some(node) => self.pattern(node),
            None => Pattern::One(self.name_of(children)),
        }
    }

    fn pattern(&mut self, node: Node<'_>) -> Pattern {
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

    fn renamed_list(&mut self, node: Node<'_>) -> Vec<(Name, Option<Name>)> {
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

    fn carries_as_arguments(&mut self, node: Node<'_>) -> Vec<Argument> {
        self.each(node, Rule::carry, |builder, node| {
            let (name, value) = builder.carry(node);
            Argument { name: Some(name), value }
        })
    }

    // ---- Items with bodies of their own ----

    fn metric(&mut self, node: Node<'_>) -> Metric {
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

    fn data(&mut self, node: Node<'_>) -> Data {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let source = self.expr_of(&mut children);
        let mut clauses = Vec::new();
        let mut body = children.take(Rule::data_body).map(Children::of);
        while let Some(node) = body.as_mut().and_then(Children::next) {
            clauses.push(self.data_clause(node));
        }
        Data { name, source, clauses, span }
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
            Rule::host => DataClause::Host(self.block_of(&mut Children::of(node))),
            _ => DataClause::Statement(self.statement(node)),
        }
    }

    fn train(&mut self, node: Node<'_>) -> Train {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = children.take(Rule::name).map(|name| self.name(name));
        let clauses =
            children.take(Rule::train_body).map(|body| self.train_clauses(body)).unwrap_or_default();
        Train { name, clauses, span }
    }

    fn train_clauses(&mut self, body: Node<'_>) -> Vec<TrainClause> {
        let clauses = self.each(body, Rule::train_clause, |builder, node| {
            let span = builder.span(&node);
            let kind = Children::of(node).next().and_then(|inner| builder.train_clause(inner))?;
            Some(TrainClause { kind, span })
        });
        clauses.into_iter().flatten().collect()
    }

    fn train_clause(&mut self, node: Node<'_>) -> Option<TrainClauseKind> {
        let rule = node.as_rule();
        let mut children = Children::of(node);
        Some(match rule {
            Rule::let_ => {
                let pattern = self.pattern_of(&mut children);
                TrainClauseKind::Let { pattern, value: self.expr_of(&mut children) }
            }
            Rule::on => {
                let data = self.name_of(&mut children);
                let fields = children.take(Rule::pattern).map(|fields| self.pattern(fields));
                TrainClauseKind::On { data, fields }
            }
            Rule::minimize => {
                let loss = self.expr_of(&mut children);
                let over = children.take(Rule::over).map(|over| self.dotted_list(over)).unwrap_or_default();
                let optimizer = children.take(Rule::expr).map(|optimizer| self.expr(optimizer));
                let groups =
                    children.take(Rule::groups).map(|groups| self.groups(groups)).unwrap_or_default();
                TrainClauseKind::Minimize { loss, over, optimizer, groups }
            }
            Rule::measure => {
                let mut metrics = Vec::new();
                while let Some(node) = children.take(Rule::measured) {
                    let mut children = Children::of(node);
                    let name =
                        children.take(Rule::measured_as).map(|stage| self.name_of(&mut Children::of(stage)));
                    metrics.push((name, self.expr_of(&mut children)));
                }
                TrainClauseKind::Measure(metrics)
            }
            Rule::step => {
                let name = self.name_of(&mut children);
                let clauses = children.take(Rule::train_body).map(|body| self.train_clauses(body));
                TrainClauseKind::Step { name, clauses: clauses.unwrap_or_default() }
            }
            Rule::keep => TrainClauseKind::KeepBest(self.dotted_of(&mut children)),
            Rule::stop => {
                let epochs = self.expr_of(&mut children);
                TrainClauseKind::StopAfter { epochs, by: self.dotted_of(&mut children) }
            }
            Rule::freeze => TrainClauseKind::Freeze(self.dotted_list(children.parent)),
            Rule::key => {
                let name = self.name_of(&mut children);
                TrainClauseKind::Key { name, value: self.expr_of(&mut children) }
            }
            _ => return None,
        })
    }

    fn groups(&mut self, node: Node<'_>) -> Vec<GroupRule> {
        let rules = self.each(node, Rule::group, |builder, node| {
            let span = builder.span(&node);
            let mut children = Children::of(node.clone());
            if children.take(Rule::hole).is_some() {
                return None;
            }
            let key = builder.name_of(&mut children);
            let multiply = children.take(Rule::times_eq).is_some();
            let value = builder.expr_of(&mut children);
            let patterns = builder.each(node, Rule::path, |b, path| b.raw(path));
            Some(GroupRule { key, multiply, value, patterns, span })
        });
        rules.into_iter().flatten().collect()
    }

    fn predict(&mut self, node: Node<'_>) -> Predict {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let inputs = children.take(Rule::params).map(|params| self.params(params)).unwrap_or_default();
        let result =
            children.take(Rule::names).map(|names| self.each(names, Rule::name, |b, name| b.name(name)));
        Predict { name, inputs, result, body: self.block_of(&mut children), span }
    }

    fn generate(&mut self, node: Node<'_>) -> Generate {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = self.name_of(&mut children);
        let inputs = children.take(Rule::params).map(|params| self.params(params)).unwrap_or_default();
        Generate { name, inputs, body: self.block_of(&mut children), span }
    }

    fn load(&mut self, node: Node<'_>) -> Load {
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

    // ---- Names and texts ----

    pub fn name(&self, node: Node<'_>) -> Name {
        Name { text: node.as_str().to_owned(), span: self.span(&node) }
    }

    pub fn name_of(&self, children: &mut Children<'_>) -> Name {
        match children.take(Rule::name) {
            Some(node) => self.name(node),
            None => Name { text: String::new(), span: self.span(&children.parent) },
        }
    }

    fn dotted(&mut self, node: Node<'_>) -> DottedName {
        let span = self.span(&node);
        DottedName { parts: self.each(node, Rule::name, |b, name| b.name(name)), span }
    }

    fn dotted_of(&mut self, children: &mut Children<'_>) -> DottedName {
        match children.take(Rule::dotted) {
            Some(node) => self.dotted(node),
            None => DottedName { parts: Vec::new(), span: self.span(&children.parent) },
        }
    }

    fn dotted_list(&mut self, node: Node<'_>) -> Vec<DottedName> {
        self.each(node, Rule::dotted, Self::dotted)
    }

    fn raw(&self, node: Node<'_>) -> Text {
        Text { value: node.as_str().to_owned(), span: self.span(&node) }
    }

    fn text_of(&mut self, children: &mut Children<'_>) -> Text {
        match children.take(Rule::text) {
            Some(node) => self.text(node),
            None => Text { value: String::new(), span: self.span(&children.parent) },
        }
    }

    /// A text literal, unescaped.
    pub fn text(&mut self, node: Node<'_>) -> Text {
        let span = self.span(&node);
        let inside = node.as_str().trim_start_matches('"');
        let inside = inside.strip_suffix('"').unwrap_or(inside);
        if !inside.contains('\\') {
            return Text { value: inside.to_owned(), span };
        }
        let mut value = String::with_capacity(inside.len());
        let mut rest = inside;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            value.push_str(before);
            let (character, length) = unescape(escape);
            match character {
                Some(character) => value.push(character),
                None => {
                    let start = span.start as usize + 1 + (inside.len() - escape.len());
                    let place = Span::new(span.file, start, start + length);
                    let shown = escape.get(..length).unwrap_or("\\");
                    let hint = "escapes are \\n \\t \\\" \\\\ and \\u{…}; a backslash is `\\\\`";
                    self.error(codes::BAD_ESCAPE, format!("`{shown}` is not an escape"), place, Some(hint));
                }
            }
            rest = escape.get(length..).unwrap_or("");
        }
        value.push_str(rest);
        Text { value, span }
    }
}

/// What an escape at the start of `text` stands for, and how many bytes it takes.
fn unescape(text: &str) -> (Option<char>, usize) {
    let Some(kind) = text.chars().nth(1) else { return (None, text.len()) };
    let simple = match kind {
        'n' => Some('\n'),
        't' => Some('\t'),
        '"' => Some('"'),
        '\\' => Some('\\'),
        _ => None,
    };
    if simple.is_some() {
        return (simple, 2);
    }
    let digits = text.strip_prefix("\\u{").and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
    match digits {
        Some(digits) if digits.len() <= 6 => {
            let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            (character, "\\u{}".len() + digits.len())
        }
        _ => (None, 1 + kind.len_utf8()),
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
