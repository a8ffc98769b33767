//! `train` blocks: what their clauses say, sorted and checked. `entries.rs` makes graphs of it: one entry per step, one for evaluation,
//! one for the report; `watching.rs` reads how often a run is looked at and what for.

mod entries;
mod gradients;
mod indices;
mod watching;

use self::entries::step_entry;
use super::names::{Global, ItemRef};
use super::scope::Scope;
use super::typed;
use super::update::{Clip, Plateau};
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, habits};
use crate::registry::train_keys;
use weft_grammar::Span;
use weft_grammar::ast::{self, DottedName, TrainClause, TrainClauseKind};
use weft_runtime::program::{Every, Figure, Indexed, ReduceRate, Training};

/// What the keys say.
#[derive(Clone, Debug)]
struct Keys {
    batch: usize,
    epochs: usize,
    seed: u64,
    shuffle: bool,
    bucket: bool,
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

/// What the entries of a block tell about it.
struct Entries {
    figures: Vec<Figure>,
    /// Each optimizer and how many weights it moves.
    optimizers: Vec<(String, usize)>,
    updates: Vec<String>,
    rates: Option<String>,
    averages: Vec<(String, String)>,
    gradients: Vec<String>,
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
        let mut keys = Keys { batch: 32, epochs: 1, seed: 0, shuffle: true, bucket: false, accumulate: 1 };
        let (mut seen, mut named): (Vec<&ast::Name>, Vec<&ast::Name>) = (Vec::new(), Vec::new());
        let (mut lets, mut measure, mut minimize) = (Vec::new(), Vec::new(), Vec::new());
        let (mut steps, mut frozen, mut watches) = (Vec::new(), Vec::new(), Vec::new());
        let (mut clips, mut average, mut plateau) = (Vec::new(), None, None);
        let (mut validate, mut checkpoint) = (Every::Epochs(1), None);
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
                    if let Some(earlier) = named.iter().find(|n| n.text == name.text) {
                        let message = format!("two steps are called `{}`", name.text);
                        let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                        self.report(diagnostic.related(earlier.span, "first here"));
                        failed = true;
                        continue;
                    }
                    named.push(name);
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
                TrainClauseKind::Validate(every) => match self.every("validate every", every, &scope) {
                    Ok(every) => validate = every,
                    Err(Reported) => failed = true,
                },
                TrainClauseKind::Checkpoint(every) => {
                    checkpoint = self.every("checkpoint every", every, &scope).ok();
                    failed |= checkpoint.is_none();
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
        self.lint_validate(&train.clauses, &plan);
        let Entries { figures, optimizers, updates, rates, averages, gradients } = self.entries(&plan)?;
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
            gradients,
            evaluate: format!("{}.evaluate", plan.name),
            report: format!("{}.report", plan.name),
            batch: plan.keys.batch,
            epochs: plan.keys.epochs,
            seed: plan.keys.seed,
            shuffle: plan.keys.shuffle,
            bucket: plan.keys.bucket,
            figures,
            keep_best: keep_best.transpose()?,
            stop_after: stop_after.transpose()?,
            reduce_rate: reduce_rate.transpose()?,
            validate,
            checkpoint,
            indexed: self.indexed(&plan.name),
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

    /// What fields of the data look up in the steps and the evaluation of a block.
    fn indexed(&self, name: &str) -> Vec<Indexed> {
        let of_block = |entry: &&crate::graph::Entry| {
            let rest = entry.graph.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(".step") || rest == ".evaluate")
        };
        let mut found: Vec<Indexed> = Vec::new();
        for indexed in
            self.module.entries.iter().filter(of_block).flat_map(|e| indices::indexed(e, &self.sources))
        {
            if !found.contains(&indexed) {
                found.push(indexed);
            }
        }
        found
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
                TrainClauseKind::Validate(_) => "validate every",
                TrainClauseKind::Checkpoint(_) => "checkpoint every",
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

    /// The clauses about updates and about how often a run is looked at, as they are written, for the typed spec.
    fn rules(&self, clauses: &[TrainClause]) -> Vec<String> {
        use TrainClauseKind::{Average, Checkpoint, Clip, ReduceRate, Validate};
        let is_rule = |c: &&TrainClause| {
            matches!(c.kind, Clip { .. } | Average(_) | ReduceRate { .. } | Validate(_) | Checkpoint(_))
        };
        let rules = clauses.iter().filter(is_rule);
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
            "bucket" => {
                next.bucket = matches!(given, Value::Bool(true));
                (matches!(given, Value::Bool(_)), "a bool")
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
}

/// The place that stands for a whole block: its name, or its first word.
fn train_word(train: &ast::Train) -> Span {
    train.name.as_ref().map_or(Span { end: train.span.start + 5, ..train.span }, |name| name.span)
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
