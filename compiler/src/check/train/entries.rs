//! The entries of a `train` block: its steps, their updates, the rates, the evaluation, the report.
//!
//! All are elaborated from the same text, each in a graph of its own and with only the `let`s that it needs: `training` is true in the
//! steps and false in the evaluation, so a mode never duplicates a model. Losses and metrics are added to accumulators in each, and the
//! report reads them.

use super::{Entries, Plan, Step, names_of};
use crate::check::context::Context;
use crate::check::layer::Frame;
use crate::check::loss::Loss;
use crate::check::metric::{BATCH, Measured};
use crate::check::scope::Scope;
use crate::check::update::Move;
use crate::check::value::Value;
use crate::check::weight::{Penalties, WeightMap};
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::Code;
use crate::graph::{Dim, NodeId};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, TrainClause, TrainClauseKind};
use weft_runtime::program::{Figure, VariableKind};

/// Each optimizer, as it is shown, with the weights that it moved.
type Moved = Vec<(String, Vec<String>)>;

/// What a step's entry does with its gradients.
enum StepOutcome<'t> {
    Moved(Moved),
    /// They wait for the update's entry.
    Gathered(Vec<Move<'t>>),
}

/// A loss of a step, and what it moves.
pub(super) struct StepLoss<'t> {
    pub(super) loss: Loss,
    using: &'t ast::Expr,
    groups: &'t [ast::GroupRule],
    pub(super) weights: Vec<(String, NodeId)>,
    penalties: Penalties,
    constraints: Vec<Option<WeightMap>>,
}

/// One figure of the report.
enum Reporting {
    Loss { sum: String, count: String, span: Span },
    Measured(Measured),
}

impl Checker<'_> {
    /// Elaborates every entry of the block.
    pub(super) fn entries(&mut self, plan: &Plan<'_>) -> Result<Entries> {
        let mut optimizers = Vec::new();
        let mut failed = false;
        self.slot_owners.clear();
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
        let gradients = match self.options.gradient_norms && !failed {
            true => self.gradient_entries(plan),
            false => Vec::new(),
        };
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
        Ok(Entries { figures, optimizers, updates, rates, averages, gradients })
    }

    pub(super) fn open(&mut self, name: &str, training: bool) -> Context {
        let outer = self.enter(name, training);
        let why = Rc::from("a `train` block");
        self.frames.push(Frame::new(Some(Rc::from("train")), "train", Some(why)));
        outer
    }

    pub(super) fn close(&mut self, outer: Context) -> Context {
        self.frames.pop();
        self.leave(outer)
    }

    /// Binds the batch and the data's fields.
    pub(super) fn batch_scope(&mut self, plan: &Plan<'_>) -> Result<Scope> {
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
    pub(super) fn lets(
        &mut self,
        lets: &[&TrainClause],
        needed: &HashSet<String>,
        scope: &Scope,
    ) -> Result<()> {
        let mut failed = false;
        for (span, pattern, value) in self.reached(lets, needed) {
            let value = self.expr(value, scope);
            failed |= value.is_err();
            failed |= self.bind_pattern(pattern, value.unwrap_or(Value::Error), span, scope, true).is_err();
        }
        if failed { Err(Reported) } else { Ok(()) }
    }

    /// The words of a piece of the spec: what it could mention.
    pub(in crate::check) fn words(&self, span: Span) -> HashSet<String> {
        let text = self.sources.text(span);
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The words of a step's clauses.
    pub(super) fn step_words(&self, step: &Step<'_>) -> HashSet<String> {
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
            let seed = gathers.then_some(loss.count);
            let gradients = self.gradients(loss.mean, seed, &nodes, true, loss.span)?;
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
        for Move { using, groups, figure, span, weights, constraints, gradients } in moves {
            let optimizer = self.optimizer(using, groups, plan.plateau.as_ref(), scope);
            failed |= optimizer.is_err();
            let gradients = self.clipped(gradients, clips, span)?;
            ready.extend(optimizer.map(|optimizer| (optimizer, figure, weights, gradients, constraints)));
        }
        let mut moved = Vec::new();
        for (mut optimizer, figure, weights, gradients, constraints) in ready {
            failed |= self.optimize(&mut optimizer, &figure, &weights, &gradients, &constraints).is_err();
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
    pub(super) fn step_loss<'t>(
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
            let is_loss = matches!(figure, Reporting::Loss { .. });
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
                figures.push(Figure { name, is_loss, shape, higher_is_better: higher });
            }
        }
        Ok(figures)
    }
}

/// `train.step`, or `train.step.discriminator`
pub(super) fn step_entry(training: &str, what: &str, step: Option<&ast::Name>) -> String {
    match step {
        None => format!("{training}.{what}"),
        Some(name) => format!("{training}.{what}.{}", name.text),
    }
}
