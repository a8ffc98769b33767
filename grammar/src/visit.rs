//! Walking the syntax tree: every statement, expression and declared name of a file, in the order in which they are written.
//!
//! A visitor says what it wants to see; each method is called for a node before what is inside it.

use crate::ast::*;

pub trait Visitor<'a> {
    fn item(&mut self, _: &'a Item) {}
    fn statement(&mut self, _: &'a Statement) {}
    fn expr(&mut self, _: &'a Expr) {}
    /// A name that is declared here: of an item, a parameter, a `let`, a carry, a weight, a state or a field.
    fn declared(&mut self, _: &'a Name) {}
    /// A type; its dims are visited as expressions after it.
    fn ty(&mut self, _: &'a Type) {}
}

/// Shows a whole file to the visitor.
pub fn visit<'a>(file: &'a SourceFile, visitor: &mut dyn Visitor<'a>) {
    let mut walk = Walk(visitor);
    file.items.iter().for_each(|item| walk.item(item));
}

struct Walk<'v, 'a>(&'v mut dyn Visitor<'a>);

impl<'a> Walk<'_, 'a> {
    fn item(&mut self, item: &'a Item) {
        self.0.item(item);
        match &item.kind {
            ItemKind::Use { names, .. } => names.iter().flatten().for_each(|name| self.renamed(name)),
            ItemKind::Setting(setting) => self.setting(setting),
            ItemKind::Callable(callable) => {
                self.0.declared(&callable.name);
                callable.params.iter().chain(callable.inputs.iter().flatten()).for_each(|p| self.param(p));
                match &callable.result {
                    Some(ResultType::One(ty)) => self.ty(ty),
                    Some(ResultType::Tuple(types, _)) => types.iter().for_each(|ty| self.ty(ty)),
                    Some(ResultType::Record(members, _)) => members.iter().for_each(|(_, ty)| self.ty(ty)),
                    None => {}
                }
                self.exprs(&callable.facts);
                self.block(&callable.body);
            }
            ItemKind::Metric(metric) => {
                self.0.declared(&metric.name);
                metric.params.iter().for_each(|param| self.param(param));
                metric.statements.iter().for_each(|statement| self.metric_statement(statement));
            }
            ItemKind::Data(data) => {
                self.0.declared(&data.name);
                self.expr(&data.source);
                for column in data.row.iter().flat_map(|row| &row.columns) {
                    self.0.declared(&column.name);
                    if let ColumnKind::Type(ty) = &column.kind {
                        self.ty(ty);
                    }
                }
                data.clauses.iter().for_each(|clause| self.data_clause(clause));
            }
            ItemKind::Train(train) => {
                train.name.iter().for_each(|name| self.0.declared(name));
                train.clauses.iter().for_each(|clause| self.train_clause(clause));
            }
            ItemKind::Predict(Predict { name, inputs, body, .. })
            | ItemKind::Generate(Generate { name, inputs, body, .. }) => {
                self.0.declared(name);
                inputs.iter().for_each(|param| self.param(param));
                self.block(body);
            }
            ItemKind::Load(_) => {}
        }
    }

    fn setting(&mut self, setting: &'a Setting) {
        self.0.declared(&setting.name);
        setting.ty.iter().for_each(|ty| self.ty(ty));
        self.expr(&setting.value);
    }

    fn param(&mut self, param: &'a Param) {
        self.0.declared(&param.name);
        param.ty.iter().for_each(|ty| self.ty(ty));
        param.default.iter().for_each(|default| self.expr(default));
    }

    fn ty(&mut self, ty: &'a Type) {
        self.0.ty(ty);
        if let TypeKind::Tensor { dims: Some(dims), .. } = &ty.kind {
            for dim in dims {
                if let DimSpec::Expr(expr) = dim {
                    self.expr(expr);
                }
            }
        }
    }

    fn metric_statement(&mut self, statement: &'a MetricStatement) {
        match statement {
            MetricStatement::Sum { name, ty, value } | MetricStatement::Collect { name, ty, value } => {
                self.binding(name, ty.as_ref(), value);
            }
            MetricStatement::Value(value) => self.expr(value),
            MetricStatement::Statement(statement) => self.statement(statement),
        }
    }

    fn data_clause(&mut self, clause: &'a DataClause) {
        match clause {
            DataClause::Statement(statement) => self.statement(statement),
            DataClause::Split(parts, _) => self.arguments(parts),
            DataClause::Fit { name, value, .. } => self.binding(name, None, value),
            DataClause::Augment(block) | DataClause::Batch(block) => self.block(block),
        }
    }

    fn train_clause(&mut self, clause: &'a TrainClause) {
        match &clause.kind {
            TrainClauseKind::On { fields, .. } => fields.iter().for_each(|fields| self.pattern(fields)),
            TrainClauseKind::Key { value, .. } | TrainClauseKind::Average(value) => self.expr(value),
            TrainClauseKind::Let { pattern, value } => {
                self.pattern(pattern);
                self.expr(value);
            }
            TrainClauseKind::Minimize { loss, optimizer, groups, .. } => {
                self.expr(loss);
                optimizer.iter().for_each(|optimizer| self.expr(optimizer));
                groups.iter().for_each(|group| self.expr(&group.value));
            }
            TrainClauseKind::Measure(metrics) => {
                metrics.iter().for_each(|(_, metric)| self.expr(metric));
            }
            TrainClauseKind::Step { clauses, .. } => clauses.iter().for_each(|c| self.train_clause(c)),
            TrainClauseKind::StopAfter { epochs, .. } => self.expr(epochs),
            TrainClauseKind::Clip { limit, .. } => self.expr(limit),
            TrainClauseKind::ReduceRate { factor, epochs, options, .. } => {
                self.expr(factor);
                self.expr(epochs);
                self.arguments(options);
            }
            TrainClauseKind::Validate(every) | TrainClauseKind::Checkpoint(every) => self.expr(&every.count),
            TrainClauseKind::KeepBest(_) | TrainClauseKind::Freeze(_) => {}
        }
    }

    fn block(&mut self, block: &'a Block) {
        block.statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'a Statement) {
        self.0.statement(statement);
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                self.pattern(pattern);
                self.expr(value);
            }
            StatementKind::Weight { name, ty, value, attributes } => {
                self.binding(name, Some(ty), value);
                self.arguments(attributes);
            }
            StatementKind::State { name, ty, value } => self.binding(name, ty.as_ref(), value),
            StatementKind::Update { value, .. } => self.expr(value),
            StatementKind::Assign { target, value } => self.binding(target, None, value),
            StatementKind::Assert { condition, .. } => self.expr(condition),
            StatementKind::For { pattern, over, body } => {
                self.pattern(pattern);
                self.expr(over);
                self.block(body);
            }
            StatementKind::If { condition, then, otherwise } => {
                self.expr(condition);
                self.block(then);
                otherwise.iter().for_each(|block| self.block(block));
            }
            StatementKind::Setting(setting) => self.setting(setting),
            StatementKind::Yield(values) => self.exprs(values),
            StatementKind::Expr(expr) => self.expr(expr),
        }
    }

    fn binding(&mut self, name: &'a Name, ty: Option<&'a Type>, value: &'a Expr) {
        self.0.declared(name);
        ty.iter().for_each(|ty| self.ty(ty));
        self.expr(value);
    }

    fn pattern(&mut self, pattern: &'a Pattern) {
        match pattern {
            Pattern::One(name) => self.0.declared(name),
            Pattern::Tuple(names, _) => names.iter().for_each(|name| self.0.declared(name)),
            Pattern::Record(names, _) => names.iter().for_each(|name| self.renamed(name)),
        }
    }

    fn renamed(&mut self, (name, other): &'a (Name, Option<Name>)) {
        self.0.declared(other.as_ref().unwrap_or(name));
    }

    fn arguments(&mut self, arguments: &'a [Argument]) {
        arguments.iter().for_each(|argument| self.expr(&argument.value));
    }

    fn exprs(&mut self, exprs: &'a [Expr]) {
        exprs.iter().for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &'a Expr) {
        self.0.expr(expr);
        match &expr.kind {
            ExprKind::Field { base, .. } => self.expr(base),
            ExprKind::Call { callee, arguments } => {
                self.expr(callee);
                self.arguments(arguments);
            }
            ExprKind::Pipe { value, map, .. } => {
                self.expr(value);
                self.expr(map);
            }
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Index { base, indices } => {
                self.expr(base);
                for index in indices {
                    match index {
                        Index::At(expr) => self.expr(expr),
                        Index::Range { start, end, step, .. } => {
                            [start, end, step].into_iter().flatten().for_each(|e| self.expr(e));
                        }
                        Index::Rest(_) => {}
                    }
                }
            }
            ExprKind::List(items) | ExprKind::Tuple(items) => self.exprs(items),
            ExprKind::Record(fields) => fields.iter().for_each(|(_, value)| self.expr(value)),
            ExprKind::Map(entries) => {
                for (key, value) in entries {
                    self.expr(key);
                    self.expr(value);
                }
            }
            ExprKind::If { condition, then, otherwise } => {
                self.expr(condition);
                self.block(then);
                self.block(otherwise);
            }
            ExprKind::Block(block) => self.block(block),
            ExprKind::Lambda { params, body } => {
                params.iter().for_each(|param| self.param(param));
                self.block(body);
            }
            ExprKind::Fresh(layer) => self.expr(layer),
            ExprKind::Scan(scan) => {
                scan.elements.iter().for_each(|name| self.0.declared(name));
                self.exprs(&scan.sources);
                for (name, value) in &scan.carries {
                    self.binding(name, None, value);
                }
                self.block(&scan.body);
            }
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Text(_)
            | ExprKind::None
            | ExprKind::Name(_)
            | ExprKind::Error => {}
        }
    }
}
