//! Names without values: a walk over the user's syntax trees that tells what each name means.
//!
//! The elaborator sees only what it runs. An item that nothing calls, the branch of an `if` that is not taken and a `let` that no entry
//! needs would keep their mistakes to themselves; here their names, arguments and element types are looked up all the same. What
//! the elaborator did evaluate is left to it, since it knows more.
//!
//! The lints about what is unused read the declarations that the walk finds, with their uses.

use super::names::ItemRef;
use super::value::Item;
use super::{Checker, builtins, data};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::DType;
use std::collections::HashSet;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{
    self, Argument, BinaryOperator, Block, CallableKind, DataClause, DimSpec, Expr, ExprKind, Index,
    MetricStatement, Name, Param, Pattern, ResultType, Statement, StatementKind, TrainClause, TrainClauseKind,
    Type, TypeKind,
};

/// What the walk found.
#[derive(Debug, Default)]
pub struct Resolution {
    pub declarations: Vec<Declaration>,
    /// Expressions that stand as statements, so that nothing takes their value.
    pub dropped: Vec<Span>,
    /// Conditions that no setting can change, and what they always are.
    pub constant: Vec<(Span, bool)>,
    /// File-level names that are mentioned: (file, name as written there).
    pub mentioned: HashSet<(usize, String)>,
    /// What mentions which item (by the span of its name); `None`: something that runs by itself.
    edges: Vec<(Option<Span>, Span)>,
}

#[derive(Debug)]
pub struct Declaration {
    pub kind: Kind,
    pub name: String,
    pub span: Span,
    pub used: bool,
    /// The options of a choice.
    options: Option<Vec<String>>,
    /// The parameter whose type binds this dim.
    of: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Let,
    Setting,
    Weight,
    /// A parameter or an input; the callee's name is for messages.
    Parameter,
    /// A field that `on … as { … }` takes.
    Field,
    /// What may stay unused: loop variables, states, dims, the inputs of optimizers and schedules.
    Quiet,
}

impl Resolution {
    /// The items that what runs by itself leads to.
    pub fn reached(&self) -> HashSet<Span> {
        let mut reached: HashSet<Span> = HashSet::new();
        let mut next: Vec<Span> = self.edges.iter().filter(|e| e.0.is_none()).map(|e| e.1).collect();
        while let Some(item) = next.pop() {
            if reached.insert(item) {
                next.extend(self.edges.iter().filter(|e| e.0 == Some(item)).map(|e| e.1));
            }
        }
        reached
    }
}

impl Checker<'_> {
    /// Walks over every file of the user. `main`: the file whose models run by themselves.
    pub(crate) fn resolve(&mut self, main: usize) -> Resolution {
        let homes: Vec<usize> = (0..self.homes.len())
            .filter(|h| self.homes.get(*h).is_some_and(|h| !self.sources.is_std(h.file)))
            .collect();
        let mut found = Resolution::default();
        for home in homes {
            for item in self.items(home, |item| Some(item.clone())) {
                let mut walk = Walk { checker: self, found, home, levels: Vec::new(), owner: None, lenient: false };
                walk.item(&item, home == main);
                found = walk.found;
            }
        }
        for at in 0..found.declarations.len() {
            let param = found.declarations.get(at).filter(|d| d.used).and_then(|d| d.of);
            if let Some(param) = param.and_then(|p| found.declarations.get_mut(p)) {
                param.used = true;
            }
        }
        found
    }
}

/// One item under way.
struct Walk<'w, 'a> {
    checker: &'w mut Checker<'a>,
    found: Resolution,
    home: usize,
    /// Declarations in scope, innermost last.
    levels: Vec<Vec<usize>>,
    /// The item's name; `None` when it runs by itself.
    owner: Option<Span>,
    /// Some name here comes from something that could not be read: unknown names are no further mistakes.
    lenient: bool,
}

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
    fn item(&mut self, item: &ItemRef, main: bool) {
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
            ItemRef::Generate(_) | ItemRef::Lost => {}
        }
        self.levels.clear();
    }

    fn callable(&mut self, item: &Item) {
        let callable = &item.callable;
        let second = match callable.kind {
            // What an optimizer is run with, and a schedule asked with, is not chosen by its author.
            CallableKind::Optimizer | CallableKind::Fn => Kind::Quiet,
            CallableKind::Layer | CallableKind::Model => Kind::Parameter,
        };
        self.once(callable.params.iter().chain(callable.inputs.iter().flatten()).map(|p| &p.name));
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
    fn inputs(&mut self, params: &[Param], kind: Kind) {
        let mut places = Vec::new();
        for param in params {
            places.push(self.parameter(param, kind));
        }
        for (param, place) in params.iter().zip(places) {
            let Some(ty) = &param.ty else { continue };
            self.kinds(ty);
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

    /// No two of these names may be the same.
    fn once<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        let mut seen: Vec<&Name> = Vec::new();
        for name in names {
            match seen.iter().find(|n| n.text == name.text) {
                Some(earlier) => {
                    let message = format!("two parameters are called `{}`", name.text);
                    let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                    self.checker.report(diagnostic.label("again here").related(earlier.span, "first here"));
                }
                None => seen.push(name),
            }
        }
    }

    fn setting(&mut self, setting: &ast::Setting) {
        if let Some(ty) = &setting.ty {
            self.kinds(ty);
        }
        let param = Param {
            name: setting.name.clone(),
            ty: setting.ty.clone(),
            default: None,
            span: setting.span,
        };
        self.argument(&setting.value, &[&param]);
    }

    fn metric(&mut self, metric: &ast::Metric) {
        self.once(metric.params.iter().map(|p| &p.name));
        self.inputs(&metric.params, Kind::Parameter);
        self.levels.push(Vec::new());
        for statement in &metric.statements {
            match statement {
                MetricStatement::Sum { name, ty, value } => {
                    ty.iter().for_each(|t| self.ty(t));
                    self.expr(value);
                    self.declare(name, Kind::Let);
                }
                MetricStatement::Collect { name, value } => {
                    self.expr(value);
                    self.declare(name, Kind::Let);
                }
                MetricStatement::Value(value) => self.expr(value),
                MetricStatement::Statement(statement) => self.statement(statement, false),
            }
        }
    }

    fn data(&mut self, data: &ast::Data) {
        if let ExprKind::Call { arguments, .. } = &data.source.kind {
            arguments.iter().for_each(|a| self.expr(&a.value));
        }
        match data::source_fields(&data.source) {
            Some(fields) => {
                for field in fields {
                    self.declare(&Name { text: field.to_owned(), span: data.source.span }, Kind::Quiet);
                }
            }
            None => self.lenient = true,
        }
        for clause in &data.clauses {
            match clause {
                DataClause::Statement(Statement { kind: StatementKind::Assign { target, value }, .. }) => {
                    self.expr(value);
                    self.declare(target, Kind::Quiet);
                }
                DataClause::Statement(statement) => self.statement(statement, false),
                DataClause::Split(arguments, _) => arguments.iter().for_each(|a| self.expr(&a.value)),
                DataClause::Fit { name, value, .. } => {
                    self.expr(value);
                    self.declare(name, Kind::Quiet);
                }
                DataClause::Augment(block) | DataClause::Batch(block) | DataClause::Host(block) => {
                    let lenient = std::mem::replace(&mut self.lenient, true);
                    self.block(block, false);
                    self.lenient = lenient;
                }
            }
        }
    }

    // ---- trainings

    fn train(&mut self, train: &ast::Train) {
        for clause in &train.clauses {
            match &clause.kind {
                TrainClauseKind::On { data, fields } => self.on(data, fields.as_ref()),
                TrainClauseKind::Key { value, .. } => self.expr(value),
                TrainClauseKind::StopAfter { epochs, .. } => self.expr(epochs),
                TrainClauseKind::Freeze(paths) => paths.iter().for_each(|p| self.mention_path(p)),
                _ => {}
            }
        }
        self.clauses(&train.clauses);
    }

    /// The batch and its fields.
    fn on(&mut self, data: &Name, fields: Option<&Pattern>) {
        self.mention(&data.text);
        self.declare(&Name { text: "batch".into(), span: data.span }, Kind::Quiet);
        match fields {
            Some(pattern) => self.pattern(pattern, Kind::Field),
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

    /// All definitions come before what is minimized and measured, wherever they stand.
    fn clauses(&mut self, clauses: &[TrainClause]) {
        for clause in clauses {
            if let TrainClauseKind::Let { pattern, value } = &clause.kind {
                self.expr(value);
                self.pattern(pattern, Kind::Let);
            }
        }
        for clause in clauses {
            match &clause.kind {
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
                _ => {}
            }
        }
    }

    // ---- names

    fn declare(&mut self, name: &Name, kind: Kind) -> usize {
        let at = self.found.declarations.len();
        self.found.declarations.push(Declaration {
            kind,
            name: name.text.clone(),
            span: name.span,
            used: false,
            options: None,
            of: None,
        });
        if let Some(level) = self.levels.last_mut() {
            level.push(at);
        }
        at
    }

    fn pattern(&mut self, pattern: &Pattern, kind: Kind) {
        match pattern {
            Pattern::One(name) => {
                self.declare(name, kind);
            }
            Pattern::Tuple(names, _) => names.iter().for_each(|n| {
                self.declare(n, kind);
            }),
            Pattern::Record(names, _) => names.iter().for_each(|(field, alias)| {
                self.declare(alias.as_ref().unwrap_or(field), kind);
            }),
        }
    }

    fn local(&self, name: &str) -> Option<usize> {
        let mut all = self.levels.iter().rev().flat_map(|level| level.iter().rev());
        all.find(|at| self.found.declarations.get(**at).is_some_and(|d| d.name == name)).copied()
    }

    fn use_local(&mut self, name: &str) -> bool {
        let found = self.local(name);
        if let Some(declaration) = found.and_then(|at| self.found.declarations.get_mut(at)) {
            declaration.used = true;
        }
        found.is_some()
    }

    /// Notes that an item is mentioned; `false` when there is none of this name.
    fn mention(&mut self, name: &str) -> bool {
        let Some(entry) = self.checker.entry(self.home, name) else { return builtins::find(name).is_some() };
        self.found.mentioned.insert((self.home, name.to_owned()));
        self.found.edges.push((self.owner, entry.span));
        true
    }

    /// `Classifier.bert`
    fn mention_path(&mut self, path: &ast::DottedName) {
        if let Some(first) = path.parts.first() {
            self.mention(&first.text);
        }
    }

    fn name(&mut self, name: &str, span: Span) {
        if self.use_local(name) || self.mention(name) || name == "training" {
            return;
        }
        if self.lenient || self.checker.touched.contains(&span) {
            return;
        }
        let mut names = self.local_names();
        names.extend(self.checker.visible_items(self.home).iter().map(|n| n.to_string()));
        let hint = did_you_mean(name, names.iter().map(String::as_str)).filter(|h| h.starts_with("did"));
        let message = format!("nothing is called `{name}` here");
        self.checker.report(Diagnostic::error(Code::UnknownName, span, message).hint_if(hint));
    }

    fn local_names(&self) -> Vec<String> {
        let all = self.levels.iter().flatten().filter_map(|at| self.found.declarations.get(*at));
        all.map(|d| d.name.clone()).collect()
    }

    // ---- types

    /// A type whose names must all be known.
    fn ty(&mut self, ty: &Type) {
        self.kinds(ty);
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
                    if let Some(declaration) = self.found.declarations.get_mut(at).filter(|d| d.of.is_none()) {
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
                    self.checker.report(Diagnostic::error(Code::UnknownDim, expr.span, message).hint_if(hint));
                }
            }
        }
    }

    /// The element type or kind that a type names.
    fn kinds(&mut self, ty: &Type) {
        match &ty.kind {
            TypeKind::Tensor { dtype, .. } => {
                let any = ["float", "int", "any"].contains(&dtype.text.as_str());
                if !any && DType::from_name(&dtype.text).is_none() {
                    let _ = self.checker.dtype(&dtype.text, dtype.span);
                }
            }
            TypeKind::Kind(name) if !super::shape::KINDS.contains(&name.text.as_str()) => {
                self.checker.unknown_kind(name);
            }
            TypeKind::Kind(_) | TypeKind::Choice(_) => {}
        }
    }

    // ---- expressions

    fn expr(&mut self, expr: &Expr) {
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
        for name in scan.elements.iter().chain(scan.carries.iter().map(|(n, _)| n)) {
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
            Callee::Item(item) => (item.name().to_owned(), params.iter().map(|p| p.name.text.as_str()).collect()),
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
    fn argument(&mut self, value: &Expr, candidates: &[&Param]) {
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
                let (ExprKind::Name(known), ExprKind::Name(option)) = (&known.kind, &bare.kind) else { continue };
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
    fn block(&mut self, block: &Block, valued: bool) {
        self.levels.push(Vec::new());
        for (at, statement) in block.statements.iter().enumerate() {
            self.statement(statement, valued && at + 1 == block.statements.len());
        }
        self.levels.pop();
    }

    fn statement(&mut self, statement: &Statement, valued: bool) {
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                self.expr(value);
                self.pattern(pattern, Kind::Let);
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
                let branches = matches!(expr.kind, ExprKind::If { .. } | ExprKind::Block(_) | ExprKind::Error);
                if !valued && !failing && !branches {
                    self.found.dropped.push(expr.span);
                }
            }
        }
    }
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
    let mut fields: Vec<String> = data::source_fields(&data.source)?.into_iter().map(str::to_owned).collect();
    for clause in &data.clauses {
        if let DataClause::Statement(Statement { kind: StatementKind::Assign { target, .. }, .. }) = clause {
            fields.push(target.text.clone());
        }
    }
    Some(fields)
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
