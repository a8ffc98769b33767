//! The names of expressions, types and statements.

use super::{Kind, Walk};
use crate::check::builtins;
use crate::check::names::ItemRef;
use crate::check::shape::KINDS;
use crate::check::value::Item;
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::DType;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{
    self, Argument, BinaryOperator, Block, DimSpec, Expr, ExprKind, Index, Name, Param, Statement,
    StatementKind, Type, TypeKind,
};

/// What a call calls, as far as the text tells.
enum Callee {
    Item(Rc<Item>),
    Metric(Rc<ast::Metric>),
    Builtin(&'static builtins::Builtin),
    Unknown,
}

impl Callee {
    fn params(&self) -> Vec<Param> {
        match self {
            Callee::Item(item) => {
                let inputs = item.callable.inputs.iter().flatten();
                item.callable.params.iter().chain(inputs).cloned().collect()
            }
            Callee::Metric(metric) => metric.params.clone(),
            Callee::Builtin(_) | Callee::Unknown => Vec::new(),
        }
    }
}

impl Walk<'_, '_> {
    /// A type whose names must all be known.
    pub(super) fn ty(&mut self, ty: &Type) {
        self.kinds(ty);
        self.dims(ty);
    }

    /// The names in a type's shape.
    pub(super) fn dims(&mut self, ty: &Type) {
        let TypeKind::Tensor { dims: Some(dims), .. } = &ty.kind else { return };
        for spec in dims {
            let DimSpec::Expr(expr) = spec else { continue };
            let ExprKind::Name(name) = &expr.kind else {
                self.expr(expr);
                continue;
            };
            match self.local(name) {
                // A dim that a result repeats is not used by that.
                Some(at) => {
                    if let Some(declaration) = self.found.declarations.get_mut(at).filter(|d| d.of.is_none())
                    {
                        declaration.used = true;
                    }
                }
                None if self.checker.is_setting(self.home, name) => {
                    self.mention(name);
                }
                None if self.lenient => {}
                None => {
                    let names = self.local_names();
                    let hint = did_you_mean(name, names.iter().map(String::as_str));
                    let message = format!("no dim or setting is called `{name}` here");
                    self.checker
                        .report(Diagnostic::error(Code::UnknownDim, expr.span, message).hint_if(hint));
                }
            }
        }
    }

    /// The element type or kind that a type names.
    pub(super) fn kinds(&mut self, ty: &Type) {
        match &ty.kind {
            TypeKind::Tensor { dtype, dims } => {
                // A prediction may be given texts.
                let any = ["float", "int", "any", "text"].contains(&dtype.text.as_str());
                match dims {
                    _ if any || DType::from_name(&dtype.text).is_some() => {}
                    Some(_) => drop(self.checker.dtype(&dtype.text, dtype.span)),
                    None => drop(self.checker.unknown_kind(dtype)),
                }
            }
            TypeKind::Kind(name) if !KINDS.contains(&name.text.as_str()) => {
                self.checker.unknown_kind(name);
            }
            TypeKind::Kind(_) | TypeKind::Choice(_) => {}
        }
    }

    // ---- expressions

    pub(super) fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::Field { base, .. } => self.expr(base),
            ExprKind::Call { callee, arguments } => self.call(callee, arguments),
            ExprKind::Pipe { value, map, .. } => {
                self.expr(value);
                self.expr(map);
            }
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { operator, left, right } => self.binary(*operator, left, right),
            ExprKind::Index { base, indices } => {
                self.expr(base);
                for index in indices {
                    match index {
                        Index::At(e) => self.expr(e),
                        Index::Range { start, end, step, .. } => {
                            [start, end, step].into_iter().flatten().for_each(|e| self.expr(e));
                        }
                        Index::Rest(_) => {}
                    }
                }
            }
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|e| self.expr(e)),
            ExprKind::Record(fields) => fields.iter().for_each(|(_, e)| self.expr(e)),
            ExprKind::Map(entries) => entries.iter().for_each(|(k, v)| {
                self.expr(k);
                self.expr(v);
            }),
            ExprKind::If { condition, then, otherwise } => {
                self.condition(condition);
                self.block(then, true);
                self.block(otherwise, true);
            }
            ExprKind::Block(block) => self.block(block, true),
            ExprKind::Lambda { params, body } => {
                self.levels.push(Vec::new());
                self.inputs(params, Kind::Quiet);
                self.block(body, true);
                self.levels.pop();
            }
            ExprKind::Fresh(inner) => self.expr(inner),
            ExprKind::Scan(scan) => self.scan(scan),
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Text(_)
            | ExprKind::None
            | ExprKind::Error => {}
        }
    }

    fn scan(&mut self, scan: &ast::Scan) {
        scan.sources.iter().for_each(|e| self.expr(e));
        self.use_local(&scan.over.text);
        scan.carries.iter().for_each(|(_, e)| self.expr(e));
        self.levels.push(Vec::new());
        for name in &scan.elements {
            self.declare(name, Kind::Let);
        }
        for (name, _) in &scan.carries {
            self.declare(name, Kind::Quiet);
        }
        self.block(&scan.body, true);
        self.levels.pop();
    }

    fn call(&mut self, callee: &Expr, arguments: &[Argument]) {
        self.expr(callee);
        let target = self.target(callee);
        let params = target.params();
        for (place, argument) in arguments.iter().enumerate() {
            let candidates: Vec<&Param> = match &argument.name {
                Some(name) => params.iter().filter(|p| p.name.text == name.text).collect(),
                None => params.iter().skip(place).take(2).collect(),
            };
            match target {
                Callee::Unknown => self.bare(&argument.value),
                // A misspelt name is mistake enough: its value may be an option of the one that was meant.
                _ if argument.name.is_some() && candidates.is_empty() && !params.is_empty() => {
                    self.bare(&argument.value)
                }
                _ => self.argument(&argument.value, &candidates),
            }
        }
        if !self.checker.touched.contains(&callee.span) {
            self.argument_names(&target, &params, arguments);
        }
    }

    /// What the text says is called: an item under its own name, not a local map.
    fn target(&mut self, callee: &Expr) -> Callee {
        let ExprKind::Name(name) = &callee.kind else { return Callee::Unknown };
        if self.local(name).is_some() {
            return Callee::Unknown;
        }
        match self.checker.entry(self.home, name).map(|e| e.item) {
            Some(ItemRef::Callable(item)) => Callee::Item(item),
            Some(ItemRef::Metric(metric)) => Callee::Metric(metric),
            Some(_) => Callee::Unknown,
            None => builtins::find(name).map_or(Callee::Unknown, Callee::Builtin),
        }
    }

    fn argument_names(&mut self, target: &Callee, params: &[Param], arguments: &[Argument]) {
        let (callee, known): (String, Vec<&str>) = match target {
            Callee::Item(item) => {
                (item.name().to_owned(), params.iter().map(|p| p.name.text.as_str()).collect())
            }
            Callee::Metric(m) => (m.name.text.clone(), params.iter().map(|p| p.name.text.as_str()).collect()),
            Callee::Builtin(b) => (b.name().to_owned(), b.params().into_iter().map(|(n, _)| n).collect()),
            Callee::Unknown => return,
        };
        for name in arguments.iter().filter_map(|a| a.name.as_ref()) {
            if !known.contains(&name.text.as_str()) {
                let message = format!("`{callee}` has no parameter `{}`", name.text);
                let hint = did_you_mean(&name.text, known.iter().copied());
                let diagnostic = Diagnostic::error(Code::UnknownArgument, name.span, message);
                self.checker.report(diagnostic.hint_if(hint));
            }
        }
    }

    /// A value for one of these parameters: a bare name may be an option of a choice.
    pub(super) fn argument(&mut self, value: &Expr, candidates: &[&Param]) {
        let options: Vec<&Name> = candidates
            .iter()
            .filter_map(|p| match p.ty.as_ref().map(|t| &t.kind) {
                Some(TypeKind::Choice(options)) => Some(options),
                _ => None,
            })
            .flatten()
            .collect();
        match &value.kind {
            ExprKind::Name(name) if self.local(name).is_none() && !options.is_empty() => {
                let known = options.iter().any(|o| o.text == *name) || self.mention(name);
                if !known && !self.lenient && !self.checker.touched.contains(&value.span) {
                    let options: Vec<&str> = options.iter().map(|o| o.text.as_str()).collect();
                    self.no_option(name, &options, value.span);
                }
            }
            _ => self.expr(value),
        }
    }

    fn no_option(&mut self, name: &str, options: &[&str], span: Span) {
        let list = options.iter().map(|o| format!("`{o}`")).collect::<Vec<_>>().join(" or ");
        let hint = did_you_mean(name, options.iter().copied());
        let message = format!("`{name}` is not one of {list}");
        self.checker.report(Diagnostic::error(Code::WrongKind, span, message).hint_if(hint));
    }

    /// A value for a parameter that nothing is known about: a bare name may be an option.
    fn bare(&mut self, value: &Expr) {
        match &value.kind {
            ExprKind::Name(name) => {
                let _ = self.use_local(name) || self.mention(name);
            }
            _ => self.expr(value),
        }
    }

    fn binary(&mut self, operator: BinaryOperator, left: &Expr, right: &Expr) {
        if matches!(operator, BinaryOperator::Eq | BinaryOperator::Ne) {
            for (known, bare) in [(left, right), (right, left)] {
                let (ExprKind::Name(known), ExprKind::Name(option)) = (&known.kind, &bare.kind) else {
                    continue;
                };
                if self.local(option).is_some() {
                    continue;
                }
                let Some(options) = self.options(known) else { continue };
                if !(self.use_local(known) || self.mention(known)) || options.contains(option) {
                    return;
                }
                // A misspelt option would never be chosen.
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                return self.no_option(option, &options, bare.span);
            }
        }
        self.expr(left);
        self.expr(right);
    }

    /// The options of a local or file-level choice.
    fn options(&mut self, name: &str) -> Option<Vec<String>> {
        if let Some(at) = self.local(name) {
            return self.found.declarations.get(at)?.options.clone();
        }
        let ItemRef::Setting(setting) = self.checker.entry(self.home, name)?.item else { return None };
        match &setting.ty.as_ref()?.kind {
            TypeKind::Choice(options) => Some(options.iter().map(|o| o.text.clone()).collect()),
            _ => None,
        }
    }

    fn condition(&mut self, condition: &Expr) {
        if let Some(truth) = self.truth(condition) {
            self.found.constant.push((condition.span, truth));
        }
        self.expr(condition);
    }

    /// What a condition is whatever the settings are, if the text alone tells.
    fn truth(&self, condition: &Expr) -> Option<bool> {
        use BinaryOperator as B;
        let ExprKind::Binary { operator, left, right } = &condition.kind else {
            return match condition.kind {
                ExprKind::Bool(truth) => Some(truth),
                _ => None,
            };
        };
        if let (Some(a), Some(b)) = (literal(left), literal(right)) {
            return Some(match operator {
                B::Eq => a == b,
                B::Ne => a != b,
                B::Lt => a < b,
                B::Le => a <= b,
                B::Gt => a > b,
                B::Ge => a >= b,
                _ => return None,
            });
        }
        let text = |e: &Expr| self.checker.sources.text(e.span).split_whitespace().collect::<String>();
        if text(left) != text(right) {
            return None;
        }
        match operator {
            B::Eq | B::Le | B::Ge => Some(true),
            B::Ne | B::Lt | B::Gt => Some(false),
            _ => None,
        }
    }

    // ---- statements

    /// `valued`: something takes the value of the last statement.
    pub(super) fn block(&mut self, block: &Block, valued: bool) {
        self.levels.push(Vec::new());
        for (at, statement) in block.statements.iter().enumerate() {
            self.statement(statement, valued && at + 1 == block.statements.len());
        }
        self.levels.pop();
    }

    pub(super) fn statement(&mut self, statement: &Statement, valued: bool) {
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                self.binding(pattern, value);
            }
            StatementKind::Weight { name, ty, value, attributes } => {
                self.ty(ty);
                self.expr(value);
                attributes.iter().for_each(|a| self.expr(&a.value));
                self.declare(name, Kind::Weight);
            }
            StatementKind::State { name, ty, value } => {
                ty.iter().for_each(|t| self.ty(t));
                self.expr(value);
                self.declare(name, Kind::Quiet);
            }
            StatementKind::Update { target, value } => {
                self.expr(value);
                self.use_local(&target.text);
            }
            StatementKind::Assign { value, .. } => self.expr(value),
            StatementKind::Assert { condition, message } => {
                self.condition(condition);
                for name in message.iter().flat_map(|m| braced(&m.value)) {
                    let _ = self.use_local(name) || self.mention(name);
                }
            }
            StatementKind::For { pattern, over, body } => {
                self.expr(over);
                self.levels.push(Vec::new());
                self.pattern(pattern, Kind::Quiet);
                self.block(body, false);
                self.levels.pop();
            }
            StatementKind::If { condition, then, otherwise } => {
                self.condition(condition);
                self.block(then, valued);
                otherwise.iter().for_each(|b| self.block(b, valued));
            }
            StatementKind::Setting(setting) => {
                self.setting(setting);
                self.declare(&setting.name, Kind::Setting);
            }
            StatementKind::Yield(values) => values.iter().for_each(|e| self.expr(e)),
            StatementKind::Expr(expr) => {
                self.expr(expr);
                let failing = matches!(&expr.kind, ExprKind::Call { callee, .. }
                    if matches!(&callee.kind, ExprKind::Name(n) if n == "fail"));
                let branches =
                    matches!(expr.kind, ExprKind::If { .. } | ExprKind::Block(_) | ExprKind::Error);
                if !valued && !failing && !branches {
                    self.found.dropped.push(expr.span);
                }
            }
        }
    }
}

/// A number as written.
fn literal(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Int(text) | ExprKind::Float(text) => text.replace('_', "").parse().ok(),
        _ => None,
    }
}

/// The names in braces of a message.
fn braced(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name.trim()))
}
