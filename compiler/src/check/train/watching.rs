//! How often a run is looked at, and what for: `validate every`, `checkpoint every`, and the figures that `keep best`, `stop after` and
//! `reduce rate` watch.

use super::Plan;
use crate::check::scope::Scope;
use crate::check::{Checker, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use std::time::Duration;
use weft_grammar::ast::{self, DottedName, Interval, IntervalUnit, TrainClause, TrainClauseKind};
use weft_runtime::program::{DataSource, Every, Figure, Watch};

/// More minutes than this are no interval.
const MAX_MINUTES: f64 = 1e6;

impl Checker<'_> {
    /// `2 epochs`, `500 batches`, `10 minutes`
    pub(super) fn every(&mut self, words: &str, interval: &Interval, scope: &Scope) -> Result<Every> {
        let what = format!("the number of {} of `{words}`", interval.unit.word());
        let count = &interval.count;
        Ok(match interval.unit {
            IntervalUnit::Epochs => Every::Epochs(self.clause_count(count, scope, &what, 1)?),
            IntervalUnit::Batches => Every::Batches(self.clause_count(count, scope, &what, 1)?),
            IntervalUnit::Minutes => {
                let needed = "a number above 0";
                let minutes =
                    self.clause_number(count, scope, &what, needed, |m| m > 0.0 && m <= MAX_MINUTES)?;
                Every::Time(Duration::from_secs_f64(60.0 * minutes))
            }
        })
    }

    /// `validate every 2 epochs` where nothing is held out. (Some folders hold a part for validation themselves.)
    pub(super) fn lint_validate(&mut self, clauses: &[TrainClause], plan: &Plan<'_>) {
        let clause = clauses.iter().find(|c| matches!(c.kind, TrainClauseKind::Validate(_)));
        let data = self.data_index(&plan.data.text).and_then(|i| self.module.data.get(i));
        let own =
            data.is_some_and(|d| matches!(d.source, DataSource::Idx { .. } | DataSource::Images { .. }));
        let Some(clause) = clause.filter(|_| !own && !self.validates(plan)) else { return };
        let name = &plan.data.text;
        let message = format!("there is nothing to validate on: `{name}` holds no rows out");
        let doubt = Diagnostic::warning(Code::IdleRule, clause.span, message);
        self.doubts.push(doubt.hint(format!("add `split validation = 0.1` to `data {name}`")));
    }

    /// Does the plan's data hold rows out for validation?
    fn validates(&self, plan: &Plan<'_>) -> bool {
        let data = self.data_index(&plan.data.text).and_then(|i| self.module.data.get(i));
        data.is_some_and(|d| d.splits.validates())
    }

    /// `validation.accuracy`
    pub(super) fn watch(&mut self, by: &DottedName, figures: &[Figure], plan: &Plan<'_>) -> Result<Watch> {
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
        let validates = self.validates(plan);
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

    pub(super) fn stop(
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
