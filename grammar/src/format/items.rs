//! Items, their signatures and types → canonical text.

use super::layout::{Doc, WIDTH, concat, nothing, text};
use super::train::dotted;
use super::{Printer, quoted};
use crate::ast::*;

impl<'a> Printer<'a> {
    pub fn item(&mut self, item: &'a Item) -> Doc {
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

    pub fn setting(&mut self, setting: &'a Setting) -> Doc {
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
        let facts = callable.facts.first().map(|first| {
            let mut clause = self.own_lines(first.span.start);
            clause.extend([text("where "), self.separated(&callable.facts, |p, fact| p.expr(fact))]);
            concat(clause)
        });
        // A head of several lines is followed by a body of several lines.
        let width = concat(parts.iter().chain(&facts).cloned()).width();
        let one_line = width.is_some_and(|width| width + 1 < WIDTH);
        let short = matches!(callable.kind, CallableKind::Fn | CallableKind::Layer) && one_line;
        match facts {
            Some(facts) if !short => {
                let rows = self.block_rows(&callable.body);
                parts.push(self.clause_and_braces(facts, rows));
            }
            facts => {
                parts.extend(facts.into_iter().flat_map(|facts| [text(" "), facts]));
                parts.push(text(" "));
                parts.push(if short { self.short_block(&callable.body) } else { self.block(&callable.body) });
            }
        }
        concat(parts)
    }

    pub fn params(&mut self, params: &'a [Param]) -> Doc {
        let end = params.last().map_or(0, |param| param.span.end);
        self.delimited("(", params, Self::param, ")", end)
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
            ResultType::Tuple(types, span) => self.delimited("(", types, Self::ty, ")", span.end),
            ResultType::Record(members, _) if members.is_empty() => text("{}"),
            ResultType::Record(members, span) => self.delimited(
                "{ ",
                members,
                |p, (name, ty)| concat([p.name(name), text(": "), p.ty(ty)]),
                " }",
                span.end,
            ),
        }
    }

    pub fn annotation(&mut self, ty: Option<&'a Type>) -> Doc {
        match ty {
            Some(ty) => concat([text(": "), self.ty(ty)]),
            None => nothing(),
        }
    }

    pub fn ty(&mut self, ty: &'a Type) -> Doc {
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

    fn column(&mut self, column: &'a Column) -> Doc {
        let mut parts = vec![self.name(&column.name), text(": ")];
        parts.push(match &column.kind {
            ColumnKind::Type(ty) => self.ty(ty),
            ColumnKind::Class(names, _) if names.is_empty() => text("class"),
            ColumnKind::Class(names, span) => {
                let names = self.delimited("(", names, |_, name| quoted(&name.value), ")", span.end);
                concat([text("class"), names])
            }
        });
        if column.optional {
            parts.push(text("?"));
        }
        if let Some(from) = &column.from {
            parts.push(concat([text(" from "), quoted(&from.value)]));
        }
        concat(parts)
    }

    pub fn data(&mut self, data: &'a Data) -> Doc {
        let mut parts = vec![text("data "), self.name(&data.name), text(" = "), self.expr(&data.source)];
        if let Some(row) = &data.row {
            parts.push(text(" -> "));
            parts.push(self.delimited("{ ", &row.columns, Self::column, " }", row.span.end));
        }
        if data.clauses.is_empty() && !self.has_comment(data.span) {
            return concat(parts);
        }
        parts.push(text(" "));
        let span = |clause: &DataClause| match clause {
            DataClause::Statement(statement) => statement.span,
            DataClause::Split(_, span) | DataClause::Fit { span, .. } => *span,
            DataClause::Augment(block) | DataClause::Batch(block) => block.span,
        };
        parts.push(self.body(&data.clauses, data.span, span, |p, clause| match clause {
            DataClause::Statement(statement) => p.statement(statement, false),
            DataClause::Split(parts, _) => concat([text("split "), p.separated(parts, Self::argument)]),
            DataClause::Fit { name, value, .. } => {
                concat([text("fit "), p.name(name), text(" = "), p.value(value)])
            }
            DataClause::Augment(block) => concat([text("augment "), p.block(block)]),
            DataClause::Batch(block) => concat([text("batch "), p.block(block)]),
        }));
        concat(parts)
    }
}
