//! `train` blocks: one entry per step, one for evaluation, one for the report.
//!
//! All entries are elaborated from the same text: `training` is true in the steps and false in the evaluation, so a mode never
//! duplicates a model. Losses and metrics are added to accumulators in each, and the report reads them.

use super::context::Context;
use super::layer::Frame;
use super::loss::Loss;
use super::metric::Measured;
use super::names::{Global, ItemRef};
use super::scope::Scope;
use super::typed;
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{Dim, NodeId};
use std::collections::HashSet;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, DottedName, TrainClause, TrainClauseKind};
use weft_runtime::program::{Figure, Training, VariableKind, Watch};

/// The keys of a `train` block.
const KEYS: &[&str] = &["batch", "epochs", "seed", "shuffle", "clip_norm", "clip_value"];

/// What the keys say.
#[derive(Clone, Debug)]
struct Keys {
    batch: usize,
    epochs: usize,
    seed: u64,
    shuffle: bool,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
}

/// A block, sorted by what its clauses are.
struct Plan<'t> {
    name: String,
    home: usize,
    data: &'t ast::Name,
    fields: Option<&'t ast::Pattern>,
    keys: Keys,
    lets: Vec<&'t TrainClause>,
    steps: Vec<Step<'t>>,
    frozen: Vec<&'t DottedName>,
}

/// A `step` block, or the whole of a block without any.
struct Step<'t> {
    /// `None`: the block itself.
    name: Option<&'t ast::Name>,
    lets: Vec<&'t TrainClause>,
    minimize: Vec<&'t TrainClause>,
    measure: Vec<&'t (Option<ast::Name>, ast::Expr)>,
}

/// One figure of the report.
enum Reporting {
    Loss { sum: String, count: String, span: Span },
    Measured(Measured),
}

impl Checker<'_> {
    pub(crate) fn trainings(&mut self, home: usize) {
        let trains = self.items(home, |item| match item {
            ItemRef::Train(train) => Some(train.clone()),
            _ => None,
        });
        let mut names: Vec<(String, Span)> = Vec::new();
        for train in trains {
            let name = train.name.as_ref().map_or("train", |n| n.text.as_str()).to_owned();
            let at = train.name.as_ref().map_or(train.span, |n| n.span);
            if let Some((_, earlier)) = names.iter().find(|(n, _)| *n == name) {
                let message = format!("there are two trainings `{name}`");
                self.report(
                    Diagnostic::error(Code::Duplicate, at, message)
                        .related(*earlier, "first here")
                        .hint("give one a name: `train finetune { … }`"),
                );
                continue;
            }
            names.push((name.clone(), at));
            self.incomplete |= self.training(home, &train, name).is_err();
        }
    }

    fn training(&mut self, home: usize, train: &ast::Train, name: String) -> Result<()> {
        let scope = Scope::of_file(home);
        let at = train.name.as_ref().map_or(Span { end: train.span.start + 5, ..train.span }, |n| n.span);
        let mut keys =
            Keys { batch: 32, epochs: 1, seed: 0, shuffle: true, clip_norm: None, clip_value: None };
        let mut seen: Vec<&ast::Name> = Vec::new();
        let (mut lets, mut measure, mut minimize) = (Vec::new(), Vec::new(), Vec::new());
        let (mut steps, mut frozen, mut watches) = (Vec::new(), Vec::new(), Vec::new());
        let mut on = None;
        for clause in &train.clauses {
            match &clause.kind {
                TrainClauseKind::On { data, fields } => on = Some((data, fields.as_ref())),
                TrainClauseKind::Key { name, value } => {
                    if let Some(earlier) = seen.iter().find(|n| n.text == name.text) {
                        let message = format!("`{}` is given twice", name.text);
                        let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                        self.report(diagnostic.related(earlier.span, "first here"));
                    }
                    seen.push(name);
                    let _ = self.key(&mut keys, name, value, &scope);
                }
                TrainClauseKind::Let { .. } => lets.push(clause),
                TrainClauseKind::Minimize { .. } => minimize.push(clause),
                TrainClauseKind::Measure(list) => measure.extend(list),
                TrainClauseKind::Step { name, clauses } => steps.push(self.step_block(name, clauses)),
                TrainClauseKind::KeepBest(_) | TrainClauseKind::StopAfter { .. } => watches.push(clause),
                TrainClauseKind::Freeze(names) => frozen.extend(names),
            }
        }
        keys.batch = self.options.batch.unwrap_or(keys.batch).max(1);
        keys.epochs = self.options.epochs.unwrap_or(keys.epochs);
        keys.seed = self.options.seed.unwrap_or(keys.seed);
        let Some((data, fields)) = on else {
            return self.fail_hint(
                Code::IncompleteTrain,
                at,
                format!("`{name}` has no data"),
                "write `on DATA as { … }`",
            );
        };
        if steps.is_empty() {
            steps.push(Step { name: None, lets: Vec::new(), minimize, measure });
        } else {
            if let Some(clause) = minimize.first() {
                let message = "`minimize` stands beside `step` blocks";
                return self.fail_hint(
                    Code::IncompleteTrain,
                    clause.span,
                    message,
                    "put it into a `step` of its own",
                );
            }
            // What is measured beside the steps is measured after the last of them.
            if let Some(last) = steps.last_mut() {
                last.measure.extend(measure);
            }
        }
        if let Some(step) = steps.iter().find(|s| s.minimize.is_empty()) {
            let at = step.name.map_or(at, |n| n.span);
            return self.fail_hint(
                Code::IncompleteTrain,
                at,
                "nothing is minimized here",
                "write `minimize LOSS using adam(rate = 1e-3)`",
            );
        }
        let plan = Plan { name, home, data, fields, keys, lets, steps, frozen };
        self.check_data(&plan)?;
        let result = self.entries(&plan);
        let (figures, optimizers) = result?;
        let keep_best = watches.iter().rev().find_map(|c| match &c.kind {
            TrainClauseKind::KeepBest(by) => Some(self.watch(by, &figures, &plan)),
            _ => None,
        });
        let stop_after = watches.iter().rev().find_map(|c| match &c.kind {
            TrainClauseKind::StopAfter { epochs, by } => Some(self.stop(epochs, by, &figures, &plan, &scope)),
            _ => None,
        });
        let entry = |step: &Step<'_>| step_entry(&plan.name, step.name);
        let training = Training {
            name: plan.name.clone(),
            data: self.data_index(&plan.data.text).ok_or(Reported)?,
            steps: plan.steps.iter().map(entry).collect(),
            evaluate: format!("{}.evaluate", plan.name),
            report: format!("{}.report", plan.name),
            batch: plan.keys.batch,
            epochs: plan.keys.epochs,
            seed: plan.keys.seed,
            shuffle: plan.keys.shuffle,
            figures,
            keep_best: keep_best.transpose()?,
            stop_after: stop_after.transpose()?,
        };
        self.typed.trainings.push(typed::Training {
            name: plan.name.clone(),
            data: plan.data.text.clone(),
            batch: plan.keys.batch,
            epochs: plan.keys.epochs,
            seed: plan.keys.seed,
            shuffle: plan.keys.shuffle,
            clip_norm: plan.keys.clip_norm,
            clip_value: plan.keys.clip_value,
            optimizers,
            figures: training.figures.iter().map(|f| f.name.clone()).collect(),
        });
        self.module.trainings.push(training);
        Ok(())
    }

    fn step_block<'t>(&mut self, name: &'t ast::Name, clauses: &'t [TrainClause]) -> Step<'t> {
        let mut step = Step { name: Some(name), lets: Vec::new(), minimize: Vec::new(), measure: Vec::new() };
        for clause in clauses {
            match &clause.kind {
                TrainClauseKind::Let { .. } => step.lets.push(clause),
                TrainClauseKind::Minimize { .. } => step.minimize.push(clause),
                TrainClauseKind::Measure(list) => step.measure.extend(list),
                _ => {
                    let message = "a `step` holds `let`, `minimize` and `measure`";
                    self.report(
                        Diagnostic::error(Code::BadStatement, clause.span, message)
                            .hint("put this beside the steps, in the `train` block itself"),
                    );
                }
            }
        }
        step
    }

    fn key(&mut self, keys: &mut Keys, name: &ast::Name, value: &ast::Expr, scope: &Scope) -> Result<()> {
        if !KEYS.contains(&name.text.as_str()) {
            let hint = did_you_mean(&name.text, KEYS.iter().copied());
            let message = format!("`train` has no key `{}`", name.text);
            return Err(self.report(Diagnostic::error(Code::UnknownKey, name.span, message).hint_if(hint)));
        }
        let given = self.expr(value, scope)?;
        let number = given.as_float();
        let int = match given {
            Value::Int(i) => u64::try_from(i).ok(),
            _ => None,
        };
        let positive = int.and_then(|i| usize::try_from(i).ok()).filter(|i| *i >= 1);
        let above = number.filter(|f| *f > 0.0);
        // The new value of the key, or what it must be.
        let mut next = keys.clone();
        let (fits, needed) = match name.text.as_str() {
            "batch" => {
                next.batch = positive.unwrap_or(1);
                (positive.is_some(), "an int, 1 or more")
            }
            "epochs" => {
                next.epochs = positive.unwrap_or(1);
                (positive.is_some(), "an int, 1 or more")
            }
            "seed" => {
                next.seed = int.unwrap_or(0);
                (int.is_some(), "an int, 0 or more")
            }
            "shuffle" => {
                next.shuffle = matches!(given, Value::Bool(true));
                (matches!(given, Value::Bool(_)), "a bool")
            }
            "clip_norm" => {
                next.clip_norm = above;
                (above.is_some(), "a number above 0")
            }
            _ => {
                next.clip_value = above;
                (above.is_some(), "a number above 0")
            }
        };
        if !fits {
            let message = format!("`{}` is {needed}, not {} ({})", name.text, given.kind(), given.show());
            return self.fail(Code::BadKeyValue, value.span, message);
        }
        *keys = next;
        Ok(())
    }

    fn check_data(&mut self, plan: &Plan<'_>) -> Result<()> {
        if self.data_index(&plan.data.text).is_some() {
            return Ok(());
        }
        match self.global(plan.home, &plan.data.text, plan.data.span) {
            // It has errors of its own, which were reported.
            Some(Ok(Global::Data)) | Some(Err(_)) => Err(Reported),
            _ => {
                let names: Vec<String> = self.items(plan.home, |item| match item {
                    ItemRef::Data(d) => Some(d.name.text.clone()),
                    _ => None,
                });
                let hint = did_you_mean(&plan.data.text, names.iter().map(String::as_str));
                let message = format!("no data set is called `{}`", plan.data.text);
                Err(self.report(Diagnostic::error(Code::UnknownName, plan.data.span, message).hint_if(hint)))
            }
        }
    }

    /// Elaborates every entry of the block.
    #[allow(clippy::type_complexity)]
    fn entries(&mut self, plan: &Plan<'_>) -> Result<(Vec<Figure>, Vec<(String, usize)>)> {
        let mut optimizers = Vec::new();
        let mut failed = false;
        for step in &plan.steps {
            let name = step_entry(&plan.name, step.name);
            let outer = self.open(&name, true);
            let result = self.step_body(plan, step);
            let context = self.close(outer);
            match result {
                Ok(moved) => {
                    optimizers.extend(moved);
                    let entry = context.finish(|_| true);
                    self.module.entries.push(entry);
                }
                Err(Reported) => failed = true,
            }
        }
        let name = format!("{}.evaluate", plan.name);
        let outer = self.open(&name, false);
        let result = self.evaluate_body(plan);
        let context = self.close(outer);
        let accumulators: HashSet<String> = self
            .variables
            .iter()
            .filter(|v| v.variable.kind == VariableKind::Accumulator)
            .map(|v| v.variable.path.clone())
            .collect();
        let reporting = result?;
        self.module.entries.push(context.finish(|path| accumulators.contains(path)));
        let name = format!("{}.report", plan.name);
        let outer = self.open(&name, false);
        let figures = self.report_body(&reporting);
        let context = self.close(outer);
        let figures = figures?;
        self.module.entries.push(context.finish(|_| false));
        if failed { Err(Reported) } else { Ok((figures, optimizers)) }
    }

    fn open(&mut self, name: &str, training: bool) -> Context {
        let outer = self.enter(name, training);
        let why = Rc::from("a `train` block");
        self.frames.push(Frame::new(Some(Rc::from("train")), "train", Some(why)));
        outer
    }

    fn close(&mut self, outer: Context) -> Context {
        self.frames.pop();
        self.leave(outer)
    }

    /// Binds the batch and the data's fields.
    fn batch_scope(&mut self, plan: &Plan<'_>) -> Result<Scope> {
        let scope = Scope::of_file(plan.home);
        let batch = Dim::symbol("batch");
        self.context.builder.graph.bounds.push(("batch".into(), plan.keys.batch as i64));
        batch.symbols(&mut |s| {
            let what = "the number of rows of a batch, known only when it runs".to_owned();
            self.context.symbols.insert(s.clone(), (what, plan.data.span));
        });
        scope.bind("batch", Value::Dim(batch.clone()), plan.data.span);
        let fields = self.batched(&plan.data.text, &batch, plan.data.span)?;
        let scope = scope.inner();
        match plan.fields {
            // Without `as`, all fields by their names.
            None => {
                for (name, value) in fields {
                    scope.bind(&name, value, plan.data.span);
                }
            }
            Some(pattern) => {
                let record = Value::Record(Rc::new(fields));
                self.bind_pattern(pattern, record, plan.data.span, &scope, false)?;
            }
        }
        Ok(scope)
    }

    /// Evaluates those `let`s that `needed` words reach, in order.
    fn lets(&mut self, lets: &[&TrainClause], needed: &HashSet<String>, scope: &Scope) -> Result<()> {
        let mut needed = needed.clone();
        let mut wanted = Vec::new();
        for clause in lets.iter().rev() {
            if let TrainClauseKind::Let { pattern, value } = &clause.kind
                && names_of(pattern).iter().any(|n| needed.contains(n.as_str()))
            {
                needed.extend(self.words(value.span));
                wanted.push((clause.span, pattern, value));
            }
        }
        let mut failed = false;
        for (span, pattern, value) in wanted.into_iter().rev() {
            let value = self.expr(value, scope);
            failed |= value.is_err();
            failed |= self.bind_pattern(pattern, value.unwrap_or(Value::Error), span, scope, true).is_err();
        }
        if failed { Err(Reported) } else { Ok(()) }
    }

    /// The words of a piece of the spec: what it could mention.
    fn words(&self, span: Span) -> HashSet<String> {
        let text = self.sources.text(span);
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The words of a step's clauses.
    fn step_words(&self, step: &Step<'_>) -> HashSet<String> {
        let mut words = HashSet::new();
        for clause in step.lets.iter().chain(&step.minimize) {
            words.extend(self.words(clause.span));
        }
        for (_, expr) in &step.measure {
            words.extend(self.words(expr.span));
        }
        words
    }

    fn step_body(&mut self, plan: &Plan<'_>, step: &Step<'_>) -> Result<Vec<(String, usize)>> {
        let scope = self.batch_scope(plan)?;
        let words = self.step_words(step);
        let failed = self.lets(&plan.lets, &words, &scope).is_err();
        let scope = scope.inner();
        let failed = self.lets(&step.lets, &words, &scope).is_err() || failed;
        // All losses first, then all gradients, then all updates: no loss of a step sees its own updates.
        let mut losses = Vec::new();
        let mut taken = Vec::new();
        let base = format!("{}/", plan.name);
        let mut complete = !failed;
        for clause in &step.minimize {
            let loss = self.step_loss(plan, step, clause, &scope, &mut taken);
            complete &= loss.is_ok();
            losses.push((clause, loss));
        }
        for (alias, expr) in &step.measure {
            match self.measure(alias.as_ref(), expr, &scope, &base, &taken) {
                Ok(measured) => taken.push(measured.name),
                Err(Reported) => complete = false,
            }
        }
        let mut moves = Vec::new();
        for (clause, loss) in losses {
            let TrainClauseKind::Minimize { over, optimizer, groups, .. } = &clause.kind else { continue };
            let Some(using) = optimizer else {
                self.report(
                    Diagnostic::error(Code::IncompleteTrain, clause.span, "`minimize` has no optimizer")
                        .hint("end it with `using adam(rate = 1e-3)`"),
                );
                complete = false;
                continue;
            };
            let optimizer = self.optimizer(using, groups, &scope);
            let (Ok(loss), Ok(optimizer)) = (loss, optimizer) else {
                complete = false;
                continue;
            };
            let weights = self.moved(&loss, over, &plan.frozen)?;
            let nodes: Vec<NodeId> = weights.iter().map(|(_, n)| *n).collect();
            let gradients = self.gradients(loss.mean, &nodes, loss.span)?;
            self.note_moved(loss.mean, &weights, &gradients);
            let gradients = self.clipped(gradients, plan.keys.clip_value, plan.keys.clip_norm, loss.span)?;
            self.context.output(loss.figure, loss.mean);
            moves.push((optimizer, weights, gradients));
        }
        let mut moved = Vec::new();
        for (mut optimizer, weights, gradients) in moves {
            complete &= self.optimize(&mut optimizer, &weights, &gradients).is_ok();
            moved.push((optimizer.shown, weights.len()));
        }
        self.note_read();
        self.lint_entry();
        self.lint_batch(plan.keys.batch, plan.data.span);
        if complete { Ok(moved) } else { Err(Reported) }
    }

    fn step_loss(
        &mut self,
        plan: &Plan<'_>,
        step: &Step<'_>,
        clause: &TrainClause,
        scope: &Scope,
        taken: &mut Vec<String>,
    ) -> Result<Loss> {
        match &clause.kind {
            TrainClauseKind::Minimize { loss, .. } => self.loss(&plan.name, step.name, loss, scope, taken),
            _ => Err(Reported),
        }
    }

    fn evaluate_body(&mut self, plan: &Plan<'_>) -> Result<Vec<Reporting>> {
        let scope = self.batch_scope(plan)?;
        let mut words = HashSet::new();
        for step in &plan.steps {
            words.extend(self.step_words(step));
        }
        let mut complete = self.lets(&plan.lets, &words, &scope).is_ok();
        let base = format!("{}/", plan.name);
        let (mut taken, mut losses, mut measured) = (Vec::new(), Vec::new(), Vec::new());
        for step in &plan.steps {
            let scope = scope.inner();
            complete &= self.lets(&step.lets, &words, &scope).is_ok();
            for clause in &step.minimize {
                match self.step_loss(plan, step, clause, &scope, &mut taken) {
                    Ok(loss) => {
                        let path = |part: &str| format!("{base}{}.{part}", loss.figure);
                        losses.push((loss.figure.clone(), path("sum"), path("count"), loss.span));
                        self.context.output(loss.figure, loss.mean);
                    }
                    Err(Reported) => complete = false,
                }
            }
            let mut own = taken.clone();
            for (alias, expr) in &step.measure {
                match self.measure(alias.as_ref(), expr, &scope, &base, &own) {
                    Ok(m) => {
                        own.push(m.name.clone());
                        measured.push(m);
                    }
                    Err(Reported) => complete = false,
                }
            }
            taken = own;
        }
        if !complete {
            return Err(Reported);
        }
        let losses =
            losses.into_iter().map(|(name, sum, count, span)| (name, Reporting::Loss { sum, count, span }));
        let measured = measured.into_iter().map(|m| (m.name.clone(), Reporting::Measured(m)));
        Ok(losses.chain(measured).map(|(_, r)| r).collect())
    }

    /// The figures in order, as outputs of the report entry.
    fn report_body(&mut self, reporting: &[Reporting]) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for figure in reporting {
            let (name, higher, value) = match figure {
                Reporting::Loss { sum, count, span } => {
                    let name = sum.split_once('/').map_or(sum.as_str(), |(_, rest)| rest);
                    let name = name.strip_suffix(".sum").unwrap_or(name).to_owned();
                    (name, false, self.ratio(sum, count, *span)?)
                }
                Reporting::Measured(measured) => {
                    (measured.name.clone(), measured.higher, self.figure(measured)?)
                }
            };
            let Value::Tensor(tensor) = value else { return Err(Reported) };
            self.context.output(name.clone(), tensor.node);
            figures.push(Figure { name, higher_is_better: higher });
        }
        Ok(figures)
    }

    /// `validation.accuracy`
    fn watch(&mut self, by: &DottedName, figures: &[Figure], plan: &Plan<'_>) -> Result<Watch> {
        let (split, figure) = match by.parts.split_first() {
            Some((split, rest)) if !rest.is_empty() => {
                (split, rest.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join("."))
            }
            _ => {
                let message = "a figure is watched on a split: `validation.loss`";
                return self.fail(Code::UnknownFigure, by.span, message);
            }
        };
        if !["train", "validation"].contains(&split.text.as_str()) {
            let hint = did_you_mean(&split.text, ["train", "validation"]);
            let message = format!("`{}` is no split that is watched", split.text);
            return Err(
                self.report(Diagnostic::error(Code::UnknownFigure, split.span, message).hint_if(hint))
            );
        }
        let data = self.data_index(&plan.data.text).and_then(|i| self.module.data.get(i));
        let validates = data.is_some_and(|d| d.validation > 0.0);
        match figures.iter().find(|f| f.name == figure) {
            Some(found) => {
                self.lint_watch(&split.text, &figure, validates, by.span);
                Ok(Watch { split: split.text.clone(), figure, higher_is_better: found.higher_is_better })
            }
            None => {
                let hint = did_you_mean(&figure, figures.iter().map(|f| f.name.as_str()));
                let message = format!("this training has no figure `{figure}`");
                Err(self.report(Diagnostic::error(Code::UnknownFigure, by.span, message).hint_if(hint)))
            }
        }
    }

    fn stop(
        &mut self,
        epochs: &ast::Expr,
        by: &DottedName,
        figures: &[Figure],
        plan: &Plan<'_>,
        scope: &Scope,
    ) -> Result<(usize, Watch)> {
        let count = self.int(epochs, scope)?;
        let watch = self.watch(by, figures, plan)?;
        self.lint_stop(count, plan.keys.epochs, epochs.span);
        match usize::try_from(count).ok().filter(|c| *c >= 1) {
            Some(count) => Ok((count, watch)),
            None => self.fail(
                Code::BadKeyValue,
                epochs.span,
                format!("the epochs to wait are 1 or more, not {count}"),
            ),
        }
    }
}

fn step_entry(training: &str, step: Option<&ast::Name>) -> String {
    match step {
        None => format!("{training}.step"),
        Some(name) => format!("{training}.step.{}", name.text),
    }
}

fn names_of(pattern: &ast::Pattern) -> Vec<String> {
    match pattern {
        ast::Pattern::One(name) => vec![name.text.clone()],
        ast::Pattern::Tuple(names, _) => names.iter().map(|n| n.text.clone()).collect(),
        ast::Pattern::Record(names, _) => {
            names.iter().map(|(n, alias)| alias.as_ref().unwrap_or(n).text.clone()).collect()
        }
    }
}
