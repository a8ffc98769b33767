//! Tree → canonical text.
//!
//! The text depends on the tree alone, but for two things that the tree's spans tell: where comments stand, and where
//! a writer left a blank line between two statements. `format_expr.rs` prints expressions, `layout.rs` breaks lines.

use crate::ast::*;
use crate::layout::{Doc, concat, group, indent, nothing, text};
use crate::scan;
use crate::span::Span;

/// The canonical text of a file: idempotent, keeps comments and the grouping by blank lines.
pub fn format(file: &SourceFile, source: &str) -> String {
    let mut printer = Printer { source, comments: &file.comments, next: 0 };
    let mut rows = Rows::default();
    if let Some(edition) = &file.edition {
        printer.row(&mut rows, edition.span, |p| concat([text("edition "), p.name(edition)]));
    }
    let mut previous: Option<&ItemKind> = None;
    for item in &file.items {
        // Items are set apart, but short ones of a kind may stand together.
        let together =
            previous.is_some_and(|previous| stand_together(previous, &item.kind)) && item.doc.is_none();
        let apart = !together && (previous.is_some() || file.edition.is_some());
        printer.comments_before(&mut rows, item.span.start, apart);
        if apart && !rows.comment_last {
            rows.blank();
        }
        for line in item.doc.iter().flat_map(|doc| doc.split('\n')) {
            let line = if line.is_empty() { "///".to_owned() } else { format!("/// {line}") };
            rows.push(text(line));
            rows.end = None;
        }
        printer.row(&mut rows, item.span, |p| p.item(item));
        previous = Some(&item.kind);
    }
    printer.comments_before(&mut rows, u32::MAX, false);
    rows.finish().render()
}

fn stand_together(a: &ItemKind, b: &ItemKind) -> bool {
    use ItemKind::*;
    match (a, b) {
        (Use { .. }, Use { .. }) | (Setting(_), Setting(_)) => true,
        (Load(a), Load(b)) => a.rules.is_empty() && b.rules.is_empty(),
        _ => false,
    }
}

pub(crate) struct Printer<'a> {
    source: &'a str,
    comments: &'a [Comment],
    /// The first comment that is not printed yet.
    next: usize,
}

/// Lines of a body, one a statement or comment.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Vec<Doc>,
    /// Where the last row ended in the source.
    end: Option<u32>,
    comment_last: bool,
    suffixed: bool,
}

impl Rows {
    fn push(&mut self, doc: Doc) {
        if !self.rows.is_empty() {
            self.rows.push(Doc::Hard);
        }
        self.rows.push(doc);
        self.comment_last = false;
        self.suffixed = false;
    }

    fn blank(&mut self) {
        if !self.rows.is_empty() && !matches!(self.rows.last(), Some(Doc::Blank)) {
            self.rows.push(Doc::Blank);
        }
    }

    fn finish(self) -> Doc {
        concat(self.rows)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<'a> Printer<'a> {
    fn gap(&self, start: u32, end: u32) -> &'a str {
        self.source.get(start as usize..end as usize).unwrap_or("")
    }

    /// Keeps one blank line where the writer left some between the last row and `start`.
    fn keep_blank(&self, rows: &mut Rows, start: u32) {
        let Some(end) = rows.end.filter(|end| *end <= start) else { return };
        // What stands between two line ends and is empty; a doc comment may stand there too.
        let mut lines = self.gap(end, start).split('\n').skip(1).peekable();
        while let Some(line) = lines.next() {
            if line.trim().is_empty() && lines.peek().is_some() {
                return rows.blank();
            }
        }
    }

    /// Takes the next comment if it stands before the byte `end`.
    pub(crate) fn comment_before(&mut self, end: u32) -> Option<&'a Comment> {
        let comment = self.comments.get(self.next).filter(|comment| comment.span.start < end)?;
        self.next += 1;
        Some(comment)
    }

    /// Is there a comment within the span that is not printed yet?
    pub(crate) fn has_comment(&self, span: Span) -> bool {
        self.comments.get(self.next).is_some_and(|comment| comment.span.start < span.end)
    }

    /// A comment may follow code on its line, unless it would then be read as a floor division.
    pub(crate) fn can_follow(comment: &Comment) -> bool {
        !comment.own_line && !comment.text.strip_prefix("//").is_some_and(scan::reads_as_divisor)
    }

    fn comments_before(&mut self, rows: &mut Rows, end: u32, apart: bool) {
        let mut first = true;
        while let Some(comment) = self.comment_before(end) {
            let same_line = rows.end.is_some_and(|end| !self.gap(end, comment.span.start).contains('\n'));
            if Self::can_follow(comment)
                && same_line
                && !rows.suffixed
                && !rows.is_empty()
                && !rows.comment_last
            {
                rows.rows.push(Doc::Suffix(comment.text.clone()));
                rows.suffixed = true;
            } else {
                match apart && first {
                    true => rows.blank(),
                    false => self.keep_blank(rows, comment.span.start),
                }
                first = false;
                rows.push(text(comment.text.clone()));
                rows.comment_last = true;
            }
            rows.end = Some(comment.span.end);
        }
        if !first {
            self.keep_blank(rows, end);
        }
    }

    /// Adds a row with the comments before and inside it.
    fn row(&mut self, rows: &mut Rows, span: Span, print: impl FnOnce(&mut Self) -> Doc) {
        let previous = rows.rows.len().checked_sub(1);
        self.comments_before(rows, span.start, false);
        self.keep_blank(rows, span.start);
        let doc = print(self);
        // Statements simply follow each other; where two would grow together, a `;` keeps them apart.
        if matches!(doc.first_char(), Some('(' | '[' | '-'))
            && let Some(slot) = previous.and_then(|index| rows.rows.get_mut(index))
        {
            let statement = std::mem::replace(slot, nothing());
            *slot = concat([statement, text(";")]);
        }
        // Comments at places where none can be kept go before the statement.
        while let Some(comment) = self.comment_before(span.end) {
            rows.push(text(comment.text.clone()));
        }
        rows.push(doc);
        rows.end = Some(span.end);
    }

    /// `{ … }` around rows, each on a line of its own.
    fn braces(&mut self, rows: Rows) -> Doc {
        if rows.is_empty() {
            return text("{}");
        }
        concat([text("{"), indent(concat([Doc::Hard, rows.finish()])), Doc::Hard, text("}")])
    }

    /// A body of clauses that follow each other, with the comments up to the end of `whole`.
    fn body<T>(
        &mut self,
        clauses: &'a [T],
        whole: Span,
        span: fn(&T) -> Span,
        print: fn(&mut Self, &'a T) -> Doc,
    ) -> Doc {
        let mut rows = Rows::default();
        for clause in clauses {
            self.row(&mut rows, span(clause), |p| print(p, clause));
        }
        self.comments_before(&mut rows, whole.end, false);
        self.braces(rows)
    }

    // ---- Items ----

    fn item(&mut self, item: &'a Item) -> Doc {
        match &item.kind {
            ItemKind::Use { path, names } => {
                let mut parts = vec![text("use "), quoted(&path.value)];
                if let Some(names) = names {
                    parts.push(text(" "));
                    parts.push(self.renamed(names));
                }
                concat(parts)
            }
            ItemKind::Setting(setting) => self.setting(setting),
            ItemKind::Callable(callable) => self.callable(callable),
            ItemKind::Metric(metric) => self.metric(metric),
            ItemKind::Data(data) => self.data(data),
            ItemKind::Train(train) => {
                let name =
                    train.name.iter().flat_map(|name| [text(" "), self.name(name)]).collect::<Vec<_>>();
                let body = self.body(&train.clauses, train.span, |c| c.span, Self::train_clause);
                concat([text("train"), concat(name), text(" "), body])
            }
            ItemKind::Predict(predict) => {
                let mut parts =
                    vec![text("predict "), self.name(&predict.name), self.params(&predict.inputs)];
                if let Some(names) = &predict.result {
                    let names = names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", ");
                    parts.push(text(if names.is_empty() {
                        " -> {}".into()
                    } else {
                        format!(" -> {{ {names} }}")
                    }));
                }
                parts.push(text(" "));
                parts.push(self.block(&predict.body));
                concat(parts)
            }
            ItemKind::Generate(generate) => {
                let head =
                    [text("generate "), self.name(&generate.name), self.params(&generate.inputs), text(" ")];
                concat(head.into_iter().chain([self.block(&generate.body)]))
            }
            ItemKind::Load(load) => {
                let mut parts =
                    vec![text("load "), dotted(&load.target), text(" from "), quoted(&load.file.value)];
                if !load.rules.is_empty() || self.has_comment(load.span) {
                    parts.push(text(" "));
                    parts.push(self.body(
                        &load.rules,
                        load.span,
                        |r| r.span,
                        |_, rule| {
                            let transposed = if rule.transposed { " transposed" } else { "" };
                            concat([
                                quoted(&rule.from.value),
                                text(format!(" -> {}{transposed}", rule.to.value)),
                            ])
                        },
                    ));
                }
                concat(parts)
            }
        }
    }

    fn setting(&mut self, setting: &'a Setting) -> Doc {
        let ty = self.annotation(setting.ty.as_ref());
        concat([text("setting "), self.name(&setting.name), ty, text(" = "), self.value(&setting.value)])
    }

    fn callable(&mut self, callable: &'a Callable) -> Doc {
        let word = match callable.kind {
            CallableKind::Fn => "fn ",
            CallableKind::Layer => "layer ",
            CallableKind::Model => "model ",
            CallableKind::Optimizer => "optimizer ",
        };
        let mut parts = vec![text(word), self.name(&callable.name)];
        if !callable.params.is_empty() || callable.inputs.is_none() || callable.kind == CallableKind::Fn {
            parts.push(self.params(&callable.params));
        }
        if let Some(inputs) = &callable.inputs {
            parts.push(self.params(inputs));
        }
        if let Some(result) = &callable.result {
            parts.push(text(" -> "));
            parts.push(self.result(result));
        }
        if !callable.facts.is_empty() {
            let facts = self.separated(&callable.facts, |p, fact| p.expr(fact));
            parts.push(group(indent(concat([Doc::Line, text("where "), facts]))));
        }
        parts.push(text(" "));
        let short = matches!(callable.kind, CallableKind::Fn | CallableKind::Layer);
        parts.push(if short { self.short_block(&callable.body) } else { self.block(&callable.body) });
        concat(parts)
    }

    pub(crate) fn params(&mut self, params: &'a [Param]) -> Doc {
        let end = params.last().map_or(0, |param| param.span.end);
        self.delimited("(", params, |param| param.span, Self::param, ")", end)
    }

    fn param(&mut self, param: &'a Param) -> Doc {
        let mut parts = vec![self.name(&param.name), self.annotation(param.ty.as_ref())];
        if let Some(default) = &param.default {
            parts.push(text(" = "));
            parts.push(self.expr(default));
        }
        concat(parts)
    }

    fn result(&mut self, result: &'a ResultType) -> Doc {
        match result {
            ResultType::One(ty) => self.ty(ty),
            ResultType::Tuple(types, span) => {
                self.delimited("(", types, |ty| ty.span, Self::ty, ")", span.end)
            }
            ResultType::Record(members, _) if members.is_empty() => text("{}"),
            ResultType::Record(members, span) => self.delimited(
                "{ ",
                members,
                |(name, ty)| name.span.to(ty.span),
                |p, (name, ty)| concat([p.name(name), text(": "), p.ty(ty)]),
                " }",
                span.end,
            ),
        }
    }

    fn annotation(&mut self, ty: Option<&'a Type>) -> Doc {
        match ty {
            Some(ty) => concat([text(": "), self.ty(ty)]),
            None => nothing(),
        }
    }

    fn ty(&mut self, ty: &'a Type) -> Doc {
        match &ty.kind {
            TypeKind::Kind(name) | TypeKind::Tensor { dtype: name, dims: None } => self.name(name),
            TypeKind::Choice(names) => {
                let names = names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", ");
                text(format!("choice({names})"))
            }
            TypeKind::Tensor { dtype, dims: Some(dims) } => {
                let mut parts = vec![self.name(dtype), text("[")];
                for (index, dim) in dims.iter().enumerate() {
                    if index > 0 {
                        parts.push(text(", "));
                    }
                    parts.push(match dim {
                        DimSpec::Rest(_) => text("..."),
                        DimSpec::Expr(expr) => self.expr(expr),
                    });
                }
                parts.push(text("]"));
                concat(parts)
            }
        }
    }

    fn metric(&mut self, metric: &'a Metric) -> Doc {
        let mut parts =
            vec![text("metric "), self.name(&metric.name), self.params(&metric.params), text(" ")];
        if let Some(better) = &metric.better {
            parts.push(text(format!("better {} ", better.text)));
        }
        let span = |statement: &MetricStatement| match statement {
            MetricStatement::Sum { name, value, .. } | MetricStatement::Collect { name, value, .. } => {
                name.span.to(value.span)
            }
            MetricStatement::Value(value) => value.span,
            MetricStatement::Statement(statement) => statement.span,
        };
        parts.push(self.body(&metric.statements, metric.span, span, |p, statement| match statement {
            MetricStatement::Sum { name, ty, value } => {
                let ty = p.annotation(ty.as_ref());
                concat([text("sum "), p.name(name), ty, text(" = "), p.value(value)])
            }
            MetricStatement::Collect { name, ty, value } => {
                let ty = p.annotation(ty.as_ref());
                concat([text("collect "), p.name(name), ty, text(" = "), p.value(value)])
            }
            MetricStatement::Value(value) => concat([text("value = "), p.value(value)]),
            MetricStatement::Statement(statement) => p.statement(statement, false),
        }));
        concat(parts)
    }

    fn data(&mut self, data: &'a Data) -> Doc {
        let mut parts = vec![text("data "), self.name(&data.name), text(" = "), self.expr(&data.source)];
        if data.clauses.is_empty() && !self.has_comment(data.span) {
            return concat(parts);
        }
        parts.push(text(" "));
        let span = |clause: &DataClause| match clause {
            DataClause::Statement(statement) => statement.span,
            DataClause::Split(_, span) | DataClause::Fit { span, .. } => *span,
            DataClause::Augment(block) | DataClause::Batch(block) | DataClause::Host(block) => block.span,
        };
        parts.push(self.body(&data.clauses, data.span, span, |p, clause| match clause {
            DataClause::Statement(statement) => p.statement(statement, false),
            DataClause::Split(parts, _) => concat([text("split "), p.separated(parts, Self::argument)]),
            DataClause::Fit { name, value, .. } => {
                concat([text("fit "), p.name(name), text(" = "), p.value(value)])
            }
            DataClause::Augment(block) => concat([text("augment "), p.block(block)]),
            DataClause::Batch(block) => concat([text("batch "), p.block(block)]),
            DataClause::Host(block) => concat([text("host "), p.block(block)]),
        }));
        concat(parts)
    }

    fn train_clause(&mut self, clause: &'a TrainClause) -> Doc {
        match &clause.kind {
            TrainClauseKind::On { data, fields } => {
                let mut parts = vec![text("on "), self.name(data)];
                if let Some(fields) = fields {
                    parts.push(text(" as "));
                    parts.push(self.pattern(fields));
                }
                concat(parts)
            }
            TrainClauseKind::Key { name, value } => concat([self.name(name), text(" = "), self.value(value)]),
            TrainClauseKind::Let { pattern, value } => self.let_(pattern, value),
            TrainClauseKind::Minimize { loss, over, optimizer, groups } => {
                let mut parts = vec![text("minimize "), self.before_word(loss)];
                let mut tail = Vec::new();
                if !over.is_empty() {
                    tail.extend([Doc::Line, text(format!("over {}", dotted_list(over)))]);
                }
                if let Some(optimizer) = optimizer {
                    tail.extend([Doc::Line, text("using "), self.expr(optimizer)]);
                }
                parts.push(indent(concat(tail)));
                let mut parts = vec![group(concat(parts))];
                if !groups.is_empty() {
                    parts.push(text(" "));
                    parts.push(self.body(groups, clause.span, |group| group.span, Self::group_rule));
                }
                concat(parts)
            }
            TrainClauseKind::Measure(metrics) => {
                let metrics = self.separated(metrics, |p, (name, value)| {
                    let name = name.iter().flat_map(|name| [p.name(name), text(": ")]).collect::<Vec<_>>();
                    concat([concat(name), p.expr(value)])
                });
                concat([text("measure "), metrics])
            }
            TrainClauseKind::Step { name, clauses } => {
                let body = self.body(clauses, clause.span, |c| c.span, Self::train_clause);
                concat([text("step "), self.name(name), text(" "), body])
            }
            TrainClauseKind::KeepBest(by) => concat([text("keep best by "), dotted(by)]),
            TrainClauseKind::StopAfter { epochs, by } => {
                let epochs = self.before_word(epochs);
                concat([text("stop after "), epochs, text(" epochs without better "), dotted(by)])
            }
            TrainClauseKind::Freeze(paths) => text(format!("freeze {}", dotted_list(paths))),
        }
    }

    fn group_rule(&mut self, rule: &'a GroupRule) -> Doc {
        let operator = if rule.multiply { " *= " } else { " = " };
        let patterns = rule.patterns.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(", ");
        concat([
            self.name(&rule.key),
            text(operator),
            self.before_word(&rule.value),
            text(format!(" for {patterns}")),
        ])
    }

    // ---- Statements ----

    /// A body that always takes lines of its own.
    pub(crate) fn block(&mut self, block: &'a Block) -> Doc {
        let mut rows = Rows::default();
        for (index, statement) in block.statements.iter().enumerate() {
            let last = index + 1 == block.statements.len();
            self.row(&mut rows, statement.span, |p| p.statement(statement, last));
        }
        self.comments_before(&mut rows, block.span.end, false);
        self.braces(rows)
    }

    /// A body that may stand on one line when it is one expression.
    pub(crate) fn short_block(&mut self, block: &'a Block) -> Doc {
        match block.statements.as_slice() {
            [Statement { kind: StatementKind::Expr(expr), .. }] if !self.has_comment(block.span) => {
                let value = self.last_expr(expr);
                group(concat([text("{"), indent(concat([Doc::Line, value])), Doc::Line, text("}")]))
            }
            _ => self.block(block),
        }
    }

    pub(crate) fn statement(&mut self, statement: &'a Statement, last: bool) -> Doc {
        match &statement.kind {
            StatementKind::Let { pattern, value } => self.let_(pattern, value),
            StatementKind::Weight { name, ty, value, attributes } => {
                let mut parts = vec![text("weight "), self.name(name), text(": "), self.ty(ty), text(" = ")];
                if attributes.is_empty() {
                    parts.push(self.value(value));
                } else {
                    parts.extend([
                        self.before_word(value),
                        text(" with "),
                        self.separated(attributes, Self::argument),
                    ]);
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
                    parts.extend([text(" : "), quoted(&message.value)]);
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

    fn let_(&mut self, pattern: &'a Pattern, value: &'a Expr) -> Doc {
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

    fn pattern(&mut self, pattern: &'a Pattern) -> Doc {
        match pattern {
            Pattern::One(name) => self.name(name),
            Pattern::Tuple(names, _) => {
                text(names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", "))
            }
            Pattern::Record(names, _) => self.renamed(names),
        }
    }

    fn renamed(&mut self, names: &'a [(Name, Option<Name>)]) -> Doc {
        if names.is_empty() {
            return text("{}");
        }
        let end = names.last().map_or(0, |(name, other)| other.as_ref().unwrap_or(name).span.end);
        let print = |p: &mut Self, (name, other): &'a (Name, Option<Name>)| match other {
            Some(other) => concat([p.name(name), text(" as "), p.name(other)]),
            None => p.name(name),
        };
        self.delimited("{ ", names, |(name, _)| name.span, print, " }", end)
    }

    // ---- Lists ----

    pub(crate) fn name(&self, name: &Name) -> Doc {
        text(name.text.clone())
    }

    /// `a, b, c` in a place without brackets: breaks after commas.
    pub(crate) fn separated<T>(&mut self, all: &'a [T], print: impl Fn(&mut Self, &'a T) -> Doc) -> Doc {
        let mut parts = Vec::new();
        for (index, one) in all.iter().enumerate() {
            if index > 0 {
                parts.extend([text(","), Doc::Line]);
            }
            parts.push(print(self, one));
        }
        group(indent(concat(parts)))
    }

    /// `(a, b, c)`: on one line, or one a line with a comma after each. A bracket with a space inside, `{ `, is a brace.
    pub(crate) fn delimited<T>(
        &mut self,
        open: &'static str,
        all: &'a [T],
        span: fn(&T) -> Span,
        print: impl Fn(&mut Self, &'a T) -> Doc,
        close: &'static str,
        end: u32,
    ) -> Doc {
        let edge = || if open.ends_with(' ') { Doc::Line } else { Doc::Soft };
        if all.is_empty() {
            return text(format!("{}{}", open.trim_end(), close.trim_start()));
        }
        let mut parts = Vec::new();
        for (index, one) in all.iter().enumerate() {
            self.element_comments(&mut parts, span(one).start);
            parts.push(if index == 0 { edge() } else { Doc::Line });
            // Comments were put before the line they belong to.
            parts.append(&mut self.own_lines(span(one).start));
            parts.push(print(self, one));
            parts.push(if index + 1 < all.len() { text(",") } else { Doc::Broken(",") });
        }
        self.element_comments(&mut parts, end);
        let rest = self.own_lines(end);
        if !rest.is_empty() {
            parts.push(Doc::Hard);
            parts.extend(rest);
            // The last comment's own new line is the one before the bracket.
            parts.pop();
        }
        group(concat([text(open.trim_end()), indent(concat(parts)), edge(), text(close.trim_start())]))
    }

    /// Puts a comment that follows an element on its line.
    fn element_comments(&mut self, parts: &mut Vec<Doc>, end: u32) {
        let follows = self
            .comments
            .get(self.next)
            .is_some_and(|comment| comment.span.start < end && Self::can_follow(comment));
        if follows && let Some(comment) = self.comment_before(end) {
            parts.push(Doc::Suffix(comment.text.clone()));
        }
    }

    /// The comments before the byte `end`, each with its new line.
    pub(crate) fn own_lines(&mut self, end: u32) -> Vec<Doc> {
        let mut lines = Vec::new();
        while let Some(comment) = self.comment_before(end) {
            lines.extend([text(comment.text.clone()), Doc::Hard]);
        }
        lines
    }

    /// The comment that ends the line before the byte `end`, if one does.
    pub(crate) fn line_end(&mut self, end: u32) -> Doc {
        let mut parts = Vec::new();
        self.element_comments(&mut parts, end);
        concat(parts)
    }
}

fn dotted(name: &DottedName) -> Doc {
    text(dotted_text(name))
}

fn dotted_text(name: &DottedName) -> String {
    name.parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(".")
}

fn dotted_list(names: &[DottedName]) -> String {
    names.iter().map(dotted_text).collect::<Vec<_>>().join(", ")
}

/// A text literal.
pub(crate) fn quoted(value: &str) -> Doc {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    text(out)
}
