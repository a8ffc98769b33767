//! The names of items: what they declare, and in which order.

use super::{Kind, Walk};
use crate::check::data;
use crate::check::generate;
use crate::check::names::ItemRef;
use crate::check::value::Item;
use crate::registry::train_keys;
use weft_grammar::Span;
use weft_grammar::ast::{
    self, CallableKind, ColumnKind, DataClause, DimSpec, Expr, ExprKind, MetricStatement, Name, Param,
    Pattern, ResultType, Statement, StatementKind, TrainClause, TrainClauseKind, Type, TypeKind,
};
use weft_runtime::program::Generation;

impl Walk<'_, '_> {
    pub(super) fn item(&mut self, item: &ItemRef, main: bool) {
        self.levels.push(Vec::new());
        match item {
            ItemRef::Callable(item) => {
                let model = item.callable.kind == CallableKind::Model;
                self.owner = (!(model && main)).then_some(item.callable.name.span);
                if model && main {
                    self.found.edges.push((None, item.callable.name.span));
                }
                self.callable(item);
            }
            ItemRef::Setting(setting) => {
                self.owner = Some(setting.name.span);
                self.setting(setting);
            }
            ItemRef::Metric(metric) => {
                self.owner = Some(metric.name.span);
                self.metric(metric);
            }
            ItemRef::Data(data) => self.data(data),
            ItemRef::Train(train) => self.train(train),
            ItemRef::Predict(predict) => {
                self.inputs(&predict.inputs, Kind::Parameter);
                self.block(&predict.body, true);
            }
            ItemRef::Load(load) => self.mention_path(&load.target),
            ItemRef::Generate(item) => self.generate(item),
            ItemRef::Lost => {}
        }
        self.levels.clear();
    }

    fn generate(&mut self, item: &ast::Generate) {
        self.inputs(&item.inputs, Kind::Parameter);
        self.levels.push(Vec::new());
        self.declare(&Name { text: Generation::TARGET.into(), span: item.name.span }, Kind::Quiet);
        for (at, statement) in item.body.statements.iter().enumerate() {
            match generate::expressions(statement) {
                Some(expressions) => expressions.into_iter().for_each(|expr| self.expr(expr)),
                None => self.statement(statement, at + 1 == item.body.statements.len()),
            }
        }
        self.levels.pop();
    }

    fn callable(&mut self, item: &Item) {
        let callable = &item.callable;
        let second = match callable.kind {
            // What an optimizer is run with, and a schedule asked with, is not chosen by its author.
            CallableKind::Optimizer | CallableKind::Fn => Kind::Quiet,
            CallableKind::Layer | CallableKind::Model => Kind::Parameter,
        };
        match &callable.inputs {
            None => self.inputs(&callable.params, Kind::Parameter),
            Some(inputs) => {
                self.configuration(&callable.params);
                self.inputs(inputs, second);
            }
        }
        match &callable.result {
            Some(ResultType::One(ty)) => self.ty(ty),
            Some(ResultType::Tuple(types, _)) => types.iter().for_each(|t| self.ty(t)),
            Some(ResultType::Record(fields, _)) => fields.iter().for_each(|(_, t)| self.ty(t)),
            None => {}
        }
        callable.facts.iter().for_each(|fact| self.expr(fact));
        self.block(&callable.body, true);
    }

    /// Parameters whose defaults may read those before them.
    fn configuration(&mut self, params: &[Param]) {
        for param in params {
            if let Some(ty) = &param.ty {
                self.kinds(ty);
            }
            self.default(param);
            self.parameter(param, Kind::Parameter);
        }
    }

    /// Tensor inputs: all dims bind before anything is read.
    pub(super) fn inputs(&mut self, params: &[Param], kind: Kind) {
        let mut places = Vec::new();
        for param in params {
            places.push(self.parameter(param, kind));
        }
        for (param, place) in params.iter().zip(places) {
            let Some(ty) = &param.ty else { continue };
            self.kinds(ty);
            // What stands around two `...` binds nothing.
            self.lenient |= rests(ty) > 1;
            for name in free_dims(ty) {
                if self.local(&name.0).is_none() && !self.checker.is_setting(self.home, &name.0) {
                    let at = self.declare(&Name { text: name.0, span: name.1 }, Kind::Quiet);
                    if let Some(dim) = self.found.declarations.get_mut(at) {
                        dim.of = Some(place);
                    }
                } else if self.local(&name.0).is_none() || self.declared_elsewhere(&name.0) {
                    self.name(&name.0, name.1);
                }
            }
        }
        for param in params {
            if let Some(Type { kind: TypeKind::Tensor { dims: Some(dims), .. }, .. }) = &param.ty {
                for spec in dims {
                    if let DimSpec::Expr(expr) = spec
                        && !matches!(expr.kind, ExprKind::Name(_))
                    {
                        self.expr(expr);
                    }
                }
            }
            self.default(param);
        }
    }

    /// Is this local name something else than a dim of these inputs? Then a type that states it uses it.
    fn declared_elsewhere(&self, name: &str) -> bool {
        self.local(name).and_then(|at| self.found.declarations.get(at)).is_some_and(|d| d.of.is_none())
    }

    fn parameter(&mut self, param: &Param, kind: Kind) -> usize {
        let clock = ["step", "epoch", "total"].contains(&param.name.text.as_str());
        let at = self.declare(&param.name, if clock { Kind::Quiet } else { kind });
        if let (Some(TypeKind::Choice(options)), Some(declaration)) =
            (param.ty.as_ref().map(|t| &t.kind), self.found.declarations.get_mut(at))
        {
            declaration.options = Some(options.iter().map(|o| o.text.clone()).collect());
        }
        at
    }

    fn default(&mut self, param: &Param) {
        if let Some(default) = &param.default {
            self.argument(default, &[param]);
        }
    }

    pub(super) fn setting(&mut self, setting: &ast::Setting) {
        if let Some(ty) = &setting.ty {
            self.kinds(ty);
        }
        let param =
            Param { name: setting.name.clone(), ty: setting.ty.clone(), default: None, span: setting.span };
        self.argument(&setting.value, &[&param]);
    }

    fn metric(&mut self, metric: &ast::Metric) {
        self.inputs(&metric.params, Kind::Parameter);
        self.levels.push(Vec::new());
        for statement in &metric.statements {
            match statement {
                MetricStatement::Sum { name, ty, value } => {
                    ty.iter().for_each(|t| self.ty(t));
                    self.expr(value);
                    self.declare(name, Kind::Let);
                }
                MetricStatement::Collect { name, ty, value } => {
                    ty.iter().for_each(|t| self.ty(t));
                    self.expr(value);
                    self.declare(name, Kind::Let);
                }
                MetricStatement::Value(value) => self.expr(value),
                MetricStatement::Statement(statement) => self.statement(statement, false),
            }
        }
    }

    fn data(&mut self, data: &ast::Data) {
        data::source_expressions(data).for_each(|value| self.expr(value));
        for column in data.row.iter().flat_map(|row| &row.columns) {
            if let ColumnKind::Type(ty) = &column.kind {
                // What can be read from a cell is for the row type to say.
                self.column_dims(ty);
            }
        }
        match data::source_fields(data) {
            Some(fields) => {
                for text in fields {
                    self.declare(&Name { text, span: data.source.span }, Kind::Quiet);
                }
            }
            None => self.lenient = true,
        }
        for clause in &data.clauses {
            match clause {
                DataClause::Statement(Statement {
                    kind: StatementKind::Assign { target, value }, ..
                }) => {
                    self.expr(value);
                    self.declare(target, Kind::Quiet);
                }
                DataClause::Statement(statement) => self.statement(statement, false),
                // What stands for a column or a field names nothing of the file.
                DataClause::Split(arguments, _) => arguments
                    .iter()
                    .filter(|a| !matches!(a.value.kind, ExprKind::Name(_)) || !data::names_column(a))
                    .for_each(|a| self.expr(&a.value)),
                DataClause::Fit { name, value, .. } => {
                    self.expr(value);
                    self.declare(name, Kind::Quiet);
                }
                DataClause::Augment(block) | DataClause::Batch(block) => {
                    let lenient = std::mem::replace(&mut self.lenient, true);
                    self.block(block, false);
                    self.lenient = lenient;
                }
            }
        }
    }

    /// The names in the shape of a column, but for the axis in which rows differ in length: that one is named here.
    fn column_dims(&mut self, ty: &Type) {
        let mut ty = ty.clone();
        if let TypeKind::Tensor { dims: Some(dims), .. } = &mut ty.kind
            && let Some(DimSpec::Expr(Expr { kind: ExprKind::Name(name), .. })) = dims.first()
            && self.checker.entry(self.home, name).is_none()
        {
            dims.remove(0);
        }
        self.dims(&ty);
    }

    // ---- trainings

    fn train(&mut self, train: &ast::Train) {
        // Without a data set, the names of its fields mean nothing.
        self.lenient |= !train.clauses.iter().any(|c| matches!(c.kind, TrainClauseKind::On { .. }));
        for clause in &train.clauses {
            if let TrainClauseKind::On { data, fields } = &clause.kind {
                self.on(data, fields.as_ref());
            }
        }
        self.clauses(&train.clauses);
    }

    /// The batch and its fields.
    fn on(&mut self, data: &Name, fields: Option<&Pattern>) {
        self.mention(&data.text);
        self.declare(&Name { text: "batch".into(), span: data.span }, Kind::Quiet);
        match fields {
            Some(pattern) => self.pattern(pattern, Kind::Quiet),
            None => {
                let fields = match self.checker.entry(self.home, &data.text).map(|e| e.item) {
                    Some(ItemRef::Data(item)) => row_fields(&item),
                    _ => None,
                };
                match fields {
                    Some(fields) => {
                        for text in fields {
                            self.declare(&Name { text, span: data.span }, Kind::Quiet);
                        }
                    }
                    None => self.lenient = true,
                }
            }
        }
    }

    /// All definitions come before what reads them, wherever they stand.
    fn clauses(&mut self, clauses: &[TrainClause]) {
        for clause in clauses {
            if let TrainClauseKind::Let { pattern, value } = &clause.kind {
                self.binding(pattern, value);
            }
        }
        for clause in clauses {
            self.clause(&clause.kind);
        }
    }

    fn clause(&mut self, clause: &TrainClauseKind) {
        match clause {
            TrainClauseKind::Minimize { loss, over, optimizer, groups } => {
                self.expr(loss);
                optimizer.iter().for_each(|o| self.expr(o));
                groups.iter().for_each(|g| self.expr(&g.value));
                over.iter().for_each(|p| self.mention_path(p));
            }
            TrainClauseKind::Measure(list) => list.iter().for_each(|(_, e)| self.expr(e)),
            TrainClauseKind::Step { clauses, .. } => {
                self.levels.push(Vec::new());
                self.clauses(clauses);
                self.levels.pop();
            }
            // What an unknown key is given says nothing.
            TrainClauseKind::Key { name, .. } if !train_keys().any(|key| key == name.text) => {}
            TrainClauseKind::Key { value, .. }
            | TrainClauseKind::StopAfter { epochs: value, .. }
            | TrainClauseKind::Clip { limit: value, .. }
            | TrainClauseKind::Average(value) => self.expr(value),
            TrainClauseKind::ReduceRate { factor, epochs, options, .. } => {
                self.expr(factor);
                self.expr(epochs);
                options.iter().for_each(|o| self.expr(&o.value));
            }
            TrainClauseKind::Validate(every) | TrainClauseKind::Checkpoint(every) => self.expr(&every.count),
            TrainClauseKind::Freeze(paths) => paths.iter().for_each(|p| self.mention_path(p)),
            TrainClauseKind::On { .. } | TrainClauseKind::Let { .. } | TrainClauseKind::KeepBest(_) => {}
        }
    }
}

/// How many `...` a type has.
fn rests(ty: &Type) -> usize {
    let TypeKind::Tensor { dims: Some(dims), .. } = &ty.kind else { return 0 };
    dims.iter().filter(|spec| matches!(spec, DimSpec::Rest(_))).count()
}

/// The bare names among the dims of an input's type.
fn free_dims(ty: &Type) -> Vec<(String, Span)> {
    let TypeKind::Tensor { dims: Some(dims), .. } = &ty.kind else { return Vec::new() };
    dims.iter()
        .filter_map(|spec| match spec {
            DimSpec::Expr(Expr { kind: ExprKind::Name(name), span }) => Some((name.clone(), *span)),
            _ => None,
        })
        .collect()
}

/// The fields of a row after the body; `None` when the source is unknown.
fn row_fields(data: &ast::Data) -> Option<Vec<String>> {
    let mut fields = data::source_fields(data)?;
    for clause in &data.clauses {
        if let DataClause::Statement(Statement { kind: StatementKind::Assign { target, .. }, .. }) = clause {
            fields.push(target.text.clone());
        }
    }
    Some(fields)
}
