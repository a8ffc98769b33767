//! `train` blocks: one entry per step, one for evaluation, one for the report.
//!
//! All entries are elaborated from the same text: `training` is true in the steps and false in the evaluation, so a mode never
//! duplicates a model. Losses and metrics are added to accumulators in each, and the report reads them.

use super::context::Context;
use super::layer::Frame;
use super::loss::Loss;
use super::metric::{BATCH, Measured};
use super::names::{Global, ItemRef};
use super::scope::Scope;
use super::typed;
use super::update::{Clip, Move, Plateau};
use super::value::Value;
use super::weight::{Penalties, WeightMap};
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, habits};
use crate::graph::{Dim, NodeId};
use crate::registry::train_keys;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, DottedName, TrainClause, TrainClauseKind};
use weft_runtime::program::{Figure, ReduceRate, Training, VariableKind, Watch};

/// What the keys say.
#[derive(Clone, Debug)]
struct Keys {
    batch: usize,
    epochs: usize,
    seed: u64,
    shuffle: bool,
    accumulate: usize,
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
    clips: Vec<Clip>,
    /// The share of the past in averages of weights, and where it is asked for.
    average: Option<(f64, Span)>,
    plateau: Option<Plateau<'t>>,
}

/// A `step` block, or the whole of a block without any.
struct Step<'t> {
    /// `None`: the block itself.
    name: Option<&'t ast::Name>,
    lets: Vec<&'t TrainClause>,
    minimize: Vec<&'t TrainClause>,
    measure: Vec<&'t (Option<ast::Name>, ast::Expr)>,
    clips: Vec<Clip>,
}

/// Each optimizer, as it is shown, with the weights that it moved.
type Moved = Vec<(String, Vec<String>)>;

/// What a step's entry does with its gradients.
enum StepOutcome<'t> {
    Moved(Moved),
    /// They wait for the update's entry.
    Gathered(Vec<Move<'t>>),
}

/// A loss of a step, and what it moves.
struct StepLoss<'t> {
    loss: Loss,
    using: &'t ast::Expr,
    groups: &'t [ast::GroupRule],
    weights: Vec<(String, NodeId)>,
    penalties: Penalties,
    constraints: Vec<Option<WeightMap>>,
}

/// What the entries of a block tell about it.
struct Entries {
    figures: Vec<Figure>,
    /// Each optimizer and how many weights it moves.
    optimizers: Vec<(String, usize)>,
    updates: Vec<String>,
    rates: Option<String>,
    averages: Vec<(String, String)>,
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
            let at = train_word(&train);
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
        let at = train_word(train);
        let mut keys = Keys { batch: 32, epochs: 1, seed: 0, shuffle: true, accumulate: 1 };
        let mut seen: Vec<&ast::Name> = Vec::new();
        let (mut lets, mut measure, mut minimize) = (Vec::new(), Vec::new(), Vec::new());
        let (mut steps, mut frozen, mut watches) = (Vec::new(), Vec::new(), Vec::new());
        let (mut clips, mut average, mut plateau) = (Vec::new(), None, None);
        let mut on = None;
        let mut failed = self.repeated(&train.clauses).is_err();
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
                TrainClauseKind::Step { name, clauses } => {
                    let step = self.step_block(name, clauses, &scope);
                    failed |= step.is_err();
                    steps.extend(step);
                }
                TrainClauseKind::KeepBest(_) | TrainClauseKind::StopAfter { .. } => watches.push(clause),
                TrainClauseKind::Freeze(names) => frozen.extend(names),
                TrainClauseKind::Clip { by, limit } => {
                    let clip = self.clip(*by, limit, &scope);
                    failed |= clip.is_err();
                    clips.extend(clip);
                }
                TrainClauseKind::Average(share) => {
                    average = self.average_share(share, &scope).ok().map(|share| (share, clause.span));
                    failed |= average.is_none();
                }
                TrainClauseKind::ReduceRate { factor, epochs, by, options } => {
                    plateau = self.plateau(factor, epochs, by, options, clause.span, &scope).ok();
                    failed |= plateau.is_none();
                }
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
            steps.push(Step { name: None, lets: Vec::new(), minimize, measure, clips: Vec::new() });
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
            // A `loss = …` was told already how it is written.
            if steps.len() == 1 && seen.iter().any(|key| says_minimize(&key.text)) {
                return Err(Reported);
            }
            let at = step.name.map_or(at, |n| n.span);
            return self.fail_hint(
                Code::IncompleteTrain,
                at,
                "nothing is minimized here",
                "write `minimize LOSS using adam(rate = 1e-3)`",
            );
        }
        let plan = Plan { name, home, data, fields, keys, lets, steps, frozen, clips, average, plateau };
        self.check_data(&plan)?;
        let Entries { figures, optimizers, updates, rates, averages } = self.entries(&plan)?;
        if failed {
            return Err(Reported);
        }
        let keep_best = watches.iter().rev().find_map(|c| match &c.kind {
            TrainClauseKind::KeepBest(by) => Some(self.watch(by, &figures, &plan)),
            _ => None,
        });
        let stop_after = watches.iter().rev().find_map(|c| match &c.kind {
            TrainClauseKind::StopAfter { epochs, by } => Some(self.stop(epochs, by, &figures, &plan, &scope)),
            _ => None,
        });
        let reduce_rate = plan.plateau.map(|plateau| {
            let watch = self.watch(plateau.by, &figures, &plan)?;
            let Plateau { factor, epochs, cooldown, .. } = plateau;
            Ok(ReduceRate { factor, epochs, watch, cooldown })
        });
        let entry = |step: &Step<'_>| step_entry(&plan.name, "step", step.name);
        let training = Training {
            name: plan.name.clone(),
            data: self.data_index(&plan.data.text).ok_or(Reported)?,
            steps: plan.steps.iter().map(entry).collect(),
            accumulate: plan.keys.accumulate,
            updates,
            rates,
            averages,
            evaluate: format!("{}.evaluate", plan.name),
            report: format!("{}.report", plan.name),
            batch: plan.keys.batch,
            epochs: plan.keys.epochs,
            seed: plan.keys.seed,
            shuffle: plan.keys.shuffle,
            figures,
            keep_best: keep_best.transpose()?,
            stop_after: stop_after.transpose()?,
            reduce_rate: reduce_rate.transpose()?,
        };
        self.typed.trainings.push(typed::Training {
            name: plan.name.clone(),
            data: plan.data.text.clone(),
            batch: plan.keys.batch,
            epochs: plan.keys.epochs,
            seed: plan.keys.seed,
            shuffle: plan.keys.shuffle,
            accumulate: plan.keys.accumulate,
            rules: self.rules(&train.clauses),
            optimizers,
            figures: training.figures.iter().map(|f| f.name.clone()).collect(),
        });
        self.module.trainings.push(training);
        Ok(())
    }

    /// A block says each of these things once.
    fn repeated(&mut self, clauses: &[TrainClause]) -> Result<()> {
        let mut seen: Vec<(&str, Span)> = Vec::new();
        let mut result = Ok(());
        for clause in clauses {
            let words = match &clause.kind {
                TrainClauseKind::On { .. } => "on",
                TrainClauseKind::KeepBest(_) => "keep best",
                TrainClauseKind::StopAfter { .. } => "stop after",
                TrainClauseKind::Average(_) => "average weights",
                TrainClauseKind::ReduceRate { .. } => "reduce rate",
                _ => continue,
            };
            match seen.iter().find(|(other, _)| *other == words) {
                Some((_, first)) => {
                    let message = format!("`{words}` stands twice in this block");
                    let diagnostic = Diagnostic::error(Code::Duplicate, clause.span, message);
                    let hint =
                        (words == "on").then(|| "another `train NAME { … }` can read other data".to_owned());
                    result = Err(self.report(diagnostic.related(*first, "first here").hint_if(hint)));
                }
                None => seen.push((words, clause.span)),
            }
        }
        result
    }

    /// The clauses about updates as they are written, for the typed spec.
    fn rules(&self, clauses: &[TrainClause]) -> Vec<String> {
        use TrainClauseKind::{Average, Clip, ReduceRate};
        let rules = clauses.iter().filter(|c| matches!(c.kind, Clip { .. } | Average(_) | ReduceRate { .. }));
        rules.map(|c| self.sources.text(c.span).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn step_block<'t>(
        &mut self,
        name: &'t ast::Name,
        clauses: &'t [TrainClause],
        scope: &Scope,
    ) -> Result<Step<'t>> {
        let (lets, minimize, measure, clips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut step = Step { name: Some(name), lets, minimize, measure, clips };
        let mut result = Ok(());
        for clause in clauses {
            match &clause.kind {
                TrainClauseKind::Let { .. } => step.lets.push(clause),
                TrainClauseKind::Minimize { .. } => step.minimize.push(clause),
                TrainClauseKind::Measure(list) => step.measure.extend(list),
                TrainClauseKind::Clip { by, limit } => match self.clip(*by, limit, scope) {
                    Ok(clip) => step.clips.push(clip),
                    Err(reported) => result = Err(reported),
                },
                _ => {
                    let message = "a `step` holds `let`, `minimize`, `measure` and `clip`";
                    self.report(
                        Diagnostic::error(Code::BadStatement, clause.span, message)
                            .hint("put this beside the steps, in the `train` block itself"),
                    );
                }
            }
        }
        result.map(|()| step)
    }

    fn key(&mut self, keys: &mut Keys, name: &ast::Name, value: &ast::Expr, scope: &Scope) -> Result<()> {
        if !train_keys().any(|key| key == name.text) {
            let hint = habits::clause(&name.text)
                .map(|clause| format!("write `{clause}`"))
                .or_else(|| habits::argument(&name.text).map(str::to_owned))
                .or_else(|| did_you_mean(&name.text, train_keys()));
            let message = format!("`train` has no key `{}`", name.text);
            return Err(self.report(Diagnostic::error(Code::UnknownKey, name.span, message).hint_if(hint)));
        }
        let given = self.expr(value, scope)?;
        let int = match given {
            Value::Int(i) => u64::try_from(i).ok(),
            _ => None,
        };
        let positive = int.and_then(|i| usize::try_from(i).ok()).filter(|i| *i >= 1);
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
            "accumulate" => {
                next.accumulate = positive.unwrap_or(1);
                (positive.is_some(), "an int, 1 or more")
            }
            _ => {
                next.shuffle = matches!(given, Value::Bool(true));
                (matches!(given, Value::Bool(_)), "a bool")
            }
        };
        if !fits {
            let message = format!("`{}` is {needed}, not {}", name.text, given.shown());
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
    fn entries(&mut self, plan: &Plan<'_>) -> Result<Entries> {
        let mut optimizers = Vec::new();
        let mut failed = false;
        // The regularisers of each loss, by its figure: an evaluation counts them too.
        let mut penalised = BTreeMap::new();
        // Entries that gather gradients, and those that move weights.
        let (mut gathering, mut moving) = (Vec::new(), Vec::new());
        let mut updates = Vec::new();
        for step in &plan.steps {
            let outer = self.open(&step_entry(&plan.name, "step", step.name), true);
            let result = self.step_body(plan, step, &mut penalised);
            let context = self.close(outer);
            match result {
                Ok(StepOutcome::Moved(moved)) => moving.push((context, moved)),
                Ok(StepOutcome::Gathered(moves)) => {
                    gathering.push(context);
                    let name = step_entry(&plan.name, "update", step.name);
                    let outer = self.open(&name, true);
                    let result = self.update_body(plan, step, &moves);
                    let context = self.close(outer);
                    match result {
                        Ok(moved) => moving.push((context, moved)),
                        Err(Reported) => failed = true,
                    }
                    updates.push(name);
                }
                Err(Reported) => failed = true,
            }
        }
        let mut entries: Vec<(Context, Vec<String>)> = Vec::new();
        for (context, moved) in moving {
            let mut paths = Vec::new();
            for (shown, weights) in moved {
                optimizers.push((shown, weights.len()));
                paths.extend(weights);
            }
            entries.push((context, paths));
        }
        let averages = match plan.average {
            Some((share, span)) => self.averages(&plan.name, share, &mut entries, span)?,
            None => Vec::new(),
        };
        for context in gathering.into_iter().chain(entries.into_iter().map(|(context, _)| context)) {
            self.module.entries.push(context.finish(|_| true));
        }
        let name = format!("{}.evaluate", plan.name);
        let outer = self.open(&name, false);
        let result = self.evaluate_body(plan, &penalised);
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
        if failed {
            return Err(Reported);
        }
        let name = format!("{}.rates", plan.name);
        let outer = self.open(&name, true);
        self.rates_body(plan);
        let context = self.close(outer);
        let mut rates = None;
        if !context.builder.graph.outputs.is_empty() {
            self.module.entries.push(context.finish(|_| false));
            rates = Some(name);
        }
        Ok(Entries { figures, optimizers, updates, rates, averages })
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
        let batch = Dim::symbol(BATCH);
        self.context.builder.graph.bounds.push((BATCH.into(), plan.keys.batch as i64));
        batch.symbols(&mut |s| {
            let what = "the number of rows of a batch, known only when it runs".to_owned();
            self.context.symbols.insert(s.clone(), (what, plan.data.span));
        });
        scope.bind(BATCH, Value::Dim(batch.clone()), plan.data.span);
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

    /// Those `let`s that `needed` words reach, in order.
    fn reached<'t>(
        &self,
        lets: &[&'t TrainClause],
        needed: &HashSet<String>,
    ) -> Vec<(Span, &'t ast::Pattern, &'t ast::Expr)> {
        let mut needed = needed.clone();
        let mut reached = Vec::new();
        for clause in lets.iter().rev() {
            if let TrainClauseKind::Let { pattern, value } = &clause.kind
                && names_of(pattern).iter().any(|n| needed.contains(n.as_str()))
            {
                needed.extend(self.words(value.span));
                reached.push((clause.span, pattern, value));
            }
        }
        reached.reverse();
        reached
    }

    /// Evaluates those `let`s that `needed` words reach, in order.
    fn lets(&mut self, lets: &[&TrainClause], needed: &HashSet<String>, scope: &Scope) -> Result<()> {
        let mut failed = false;
        for (span, pattern, value) in self.reached(lets, needed) {
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

    fn step_body<'t>(
        &mut self,
        plan: &Plan<'t>,
        step: &Step<'t>,
        penalised: &mut BTreeMap<String, Penalties>,
    ) -> Result<StepOutcome<'t>> {
        let scope = self.batch_scope(plan)?;
        let words = self.step_words(step);
        let failed = self.lets(&plan.lets, &words, &scope).is_err();
        let scope = scope.inner();
        let failed = self.lets(&step.lets, &words, &scope).is_err() || failed;
        // All losses first, then all gradients, then all updates: no loss of a step sees its own updates.
        let mut losses: Vec<StepLoss<'_>> = Vec::new();
        let mut taken = Vec::new();
        let base = format!("{}/", plan.name);
        let mut complete = !failed;
        for &clause in &step.minimize {
            let loss = self.step_loss(plan, step, clause, &scope, &mut taken);
            complete &= loss.is_ok();
            losses.extend(loss.ok());
        }
        for (alias, expr) in &step.measure {
            match self.measure(alias.as_ref(), expr, &scope, &base, &taken) {
                Ok(measured) => taken.push(measured.name),
                Err(Reported) => complete = false,
            }
        }
        let (mut moves, mut known) = (Vec::new(), Vec::new());
        let gathers = plan.keys.accumulate > 1;
        for StepLoss { loss, using, groups, weights, penalties, constraints } in losses {
            let nodes: Vec<NodeId> = weights.iter().map(|(_, n)| *n).collect();
            let gradients = self.gradients(loss.mean, gathers.then_some(loss.count), &nodes, loss.span)?;
            self.note_moved(loss.mean, &weights, &gradients);
            self.context.output(loss.figure.clone(), loss.mean);
            let (figure, span) = (loss.figure.clone(), loss.span);
            penalised.insert(figure.clone(), penalties);
            moves.push(Move { using, groups, figure, span, weights, constraints, gradients });
            known.push(loss);
        }
        if !complete {
            return Err(Reported);
        }
        self.note_read();
        self.lint_entry(Some((plan.keys.batch, plan.data.span)));
        match gathers {
            true => self.gather(&plan.name, &moves, &known).map(|()| StepOutcome::Gathered(moves)),
            false => self.move_weights(plan, step, moves, &scope).map(StepOutcome::Moved),
        }
    }

    /// The entry that moves weights by what a step has gathered.
    fn update_body<'t>(&mut self, plan: &Plan<'t>, step: &Step<'t>, moves: &[Move<'t>]) -> Result<Moved> {
        let scope = self.still_scope(plan, step);
        let mut mean = Vec::new();
        for gathered in moves {
            mean.push(self.gathered(&plan.name, gathered)?);
        }
        self.move_weights(plan, step, mean, &scope)
    }

    /// Clips gradients and runs the optimizers: all gradients are clipped before any weight moves.
    fn move_weights(
        &mut self,
        plan: &Plan<'_>,
        step: &Step<'_>,
        moves: Vec<Move<'_>>,
        scope: &Scope,
    ) -> Result<Moved> {
        let clips = if step.clips.is_empty() { &plan.clips } else { &step.clips };
        let mut ready = Vec::new();
        let mut failed = false;
        for Move { using, groups, span, weights, constraints, gradients, .. } in moves {
            let optimizer = self.optimizer(using, groups, plan.plateau.as_ref(), scope);
            failed |= optimizer.is_err();
            let gradients = self.clipped(gradients, clips, span)?;
            ready.extend(optimizer.map(|optimizer| (optimizer, weights, gradients, constraints)));
        }
        let mut moved = Vec::new();
        for (mut optimizer, weights, gradients, constraints) in ready {
            failed |= self.optimize(&mut optimizer, &weights, &gradients, &constraints).is_err();
            moved.push((optimizer.shown, weights.into_iter().map(|(path, _)| path).collect()));
        }
        if failed { Err(Reported) } else { Ok(moved) }
    }

    /// The rates that may change from step to step, as outputs. What is wrong with an optimizer was reported where it is used.
    fn rates_body(&mut self, plan: &Plan<'_>) {
        self.muted += 1;
        for step in &plan.steps {
            let scope = self.still_scope(plan, step);
            for (place, clause) in step.minimize.iter().enumerate() {
                let TrainClauseKind::Minimize { optimizer: Some(using), .. } = &clause.kind else { continue };
                let rate =
                    self.optimizer(using, &[], plan.plateau.as_ref(), &scope).and_then(|o| self.rate(o));
                let Ok(Some(rate)) = rate else { continue };
                let number = if place == 0 { String::new() } else { format!("_{}", place + 1) };
                let of = step.name.map_or(String::new(), |name| format!("{}.", name.text));
                self.context.output(format!("{of}rate{number}"), rate);
            }
        }
        self.muted -= 1;
    }

    /// The scope of an entry that sees no batch: for what optimizers are configured with.
    fn still_scope(&mut self, plan: &Plan<'_>, step: &Step<'_>) -> Scope {
        let scope = Scope::of_file(plan.home);
        let elsewhere = |name: &str| Value::Elsewhere(Rc::from(name));
        scope.bind("batch", elsewhere("batch"), plan.data.span);
        let scope = scope.inner();
        let fields = plan.fields.map_or_else(|| self.field_names(&plan.data.text), names_of);
        fields.iter().for_each(|name| scope.bind(name, elsewhere(name), plan.data.span));
        let scope = scope.inner();
        let mut words = HashSet::new();
        for clause in &step.minimize {
            if let TrainClauseKind::Minimize { optimizer: Some(using), groups, .. } = &clause.kind {
                words.extend(self.words(using.span));
                groups.iter().for_each(|group| words.extend(self.words(group.span)));
            }
        }
        let lets: Vec<&TrainClause> = plan.lets.iter().chain(&step.lets).copied().collect();
        for (span, pattern, value) in self.reached(&lets, &words) {
            // What needs the batch is an error only where an optimizer asks for it.
            self.muted += 1;
            let value = self.expr(value, &scope);
            let bound = value.and_then(|value| self.bind_pattern(pattern, value, span, &scope, true)).is_ok();
            self.muted -= 1;
            for name in names_of(pattern).iter().filter(|_| !bound) {
                scope.bind(name, elsewhere(name), span);
            }
        }
        scope.inner()
    }

    /// A loss of a step, with the weights that it moves and what is asked of them.
    fn step_loss<'t>(
        &mut self,
        plan: &Plan<'_>,
        step: &Step<'_>,
        clause: &'t TrainClause,
        scope: &Scope,
        taken: &mut Vec<String>,
    ) -> Result<StepLoss<'t>> {
        let TrainClauseKind::Minimize { loss, over, optimizer, groups } = &clause.kind else {
            return Err(Reported);
        };
        let draft = self.loss(step.name, loss, scope, taken);
        let Some(using) = optimizer else {
            return self.fail_hint(
                Code::IncompleteTrain,
                clause.span,
                "`minimize` has no optimizer",
                "end it with `using adam(rate = 1e-3)`",
            );
        };
        let Ok(draft) = draft else {
            // The optimizer's own mistakes are told all the same.
            let _ = self.optimizer(using, groups, plan.plateau.as_ref(), scope);
            return Err(Reported);
        };
        let weights = self.moved(&draft, over, &plan.frozen)?;
        let rules = self.weight_rules(groups, scope)?;
        let (penalties, constraints) = self.wishes(&weights, &rules);
        let loss = self.settled(&plan.name, draft, &penalties)?;
        Ok(StepLoss { loss, using, groups, weights, penalties, constraints })
    }

    fn evaluate_body(
        &mut self,
        plan: &Plan<'_>,
        penalised: &BTreeMap<String, Penalties>,
    ) -> Result<Vec<Reporting>> {
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
                let TrainClauseKind::Minimize { loss, .. } = &clause.kind else { continue };
                let draft = self.loss(step.name, loss, &scope, &mut taken);
                let none = Penalties::new();
                let loss = draft.and_then(|draft| {
                    let penalties = penalised.get(&draft.figure).unwrap_or(&none);
                    self.settled(&plan.name, draft, penalties)
                });
                match loss {
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
            let (higher, values) = match figure {
                Reporting::Loss { sum, count, span } => {
                    let name = sum.split_once('/').map_or(sum.as_str(), |(_, rest)| rest);
                    let name = name.strip_suffix(".sum").unwrap_or(name).to_owned();
                    let Value::Tensor(mean) = self.ratio(sum, count, *span)? else { return Err(Reported) };
                    (false, vec![(name, mean.node)])
                }
                Reporting::Measured(measured) => (measured.higher, self.figure(measured)?),
            };
            for (name, node) in values {
                let dims = &self.context.builder.ty(node).shape;
                let extent = |dim: &Dim| dim.as_constant().and_then(|d| usize::try_from(d).ok());
                let shape = dims.iter().filter_map(extent).collect();
                self.context.output(name.clone(), node);
                figures.push(Figure { name, shape, higher_is_better: higher });
            }
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
                let name = by.parts.first().map_or("", |name| name.text.as_str());
                let figure = name.strip_prefix("val_").unwrap_or(name);
                let known = figures.iter().any(|f| f.name == figure);
                let meant = if known { figure } else { "loss" };
                let hint = format!("write `validation.{meant}` or `train.{meant}`");
                let message = format!("`{name}` names no split: a figure is watched on one");
                return self.fail_hint(Code::UnknownFigure, by.span, message, hint);
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
            Some(found) if !found.shape.is_empty() => {
                let extents: Vec<String> = found.shape.iter().map(usize::to_string).collect();
                let message =
                    format!("only a number can be watched, but `{figure}` is f32[{}]", extents.join(", "));
                let hint = "most metrics of classes give one number with `average = macro`";
                self.fail_hint(Code::UnknownFigure, by.span, message, hint)
            }
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

/// The place that stands for a whole block: its name, or its first word.
fn train_word(train: &ast::Train) -> Span {
    train.name.as_ref().map_or(Span { end: train.span.start + 5, ..train.span }, |name| name.span)
}

/// `train.step`, or `train.step.discriminator`
fn step_entry(training: &str, what: &str, step: Option<&ast::Name>) -> String {
    match step {
        None => format!("{training}.{what}"),
        Some(name) => format!("{training}.{what}.{}", name.text),
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

/// Is this, elsewhere, the key for what `minimize` says here?
fn says_minimize(key: &str) -> bool {
    habits::clause(key).is_some_and(|clause| clause.starts_with("minimize"))
}
