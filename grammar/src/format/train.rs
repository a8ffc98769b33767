//! The clauses of a `train` block → canonical text.

use super::Printer;
use super::layout::{Doc, concat, group, indent, tail, text};
use crate::ast::*;

impl<'a> Printer<'a> {
    pub fn train_clause(&mut self, clause: &'a TrainClause) -> Doc {
        match &clause.kind {
            TrainClauseKind::On { data, fields } => {
                let mut parts = vec![text("on "), self.name(data)];
                if let Some(fields) = fields {
                    parts.push(text(" as "));
                    parts.push(self.pattern(fields));
                }
                concat(parts)
            }
            TrainClauseKind::Key { name, value } => concat([self.name(name), text(" = "), self.value(value)]),
            TrainClauseKind::Let { pattern, value } => self.let_(pattern, value),
            TrainClauseKind::Minimize { loss, over, optimizer, groups } => {
                let mut parts = vec![text("minimize "), self.before_word(loss)];
                let over = (!over.is_empty()).then(|| text(format!("over {}", dotted_list(over))));
                let optimizer = optimizer.as_ref().map(|o| concat([text("using "), self.expr(o)]));
                let rest: Vec<Doc> =
                    over.into_iter().chain(optimizer).flat_map(|part| [Doc::Line, part]).collect();
                if !rest.is_empty() {
                    // On the loss's line, else together on a line of their own, else on a line each.
                    let rest = group(concat(rest.into_iter().skip(1)));
                    parts.push(match groups.is_empty() {
                        true => tail(indent(concat([Doc::Line, rest]))),
                        false => {
                            let groups = self.rows(groups, clause.span, |group| group.span, Self::group_rule);
                            self.clause_and_braces(rest, groups)
                        }
                    });
                }
                concat(parts)
            }
            TrainClauseKind::Measure(metrics) => {
                let metrics = self.separated(metrics, |p, (name, value)| {
                    let name = name.iter().flat_map(|name| [p.name(name), text(": ")]).collect::<Vec<_>>();
                    concat([concat(name), p.expr(value)])
                });
                concat([text("measure "), metrics])
            }
            TrainClauseKind::Step { name, clauses } => {
                let body = self.body(clauses, clause.span, |c| c.span, Self::train_clause);
                concat([text("step "), self.name(name), text(" "), body])
            }
            TrainClauseKind::KeepBest(by) => concat([text("keep best by "), dotted(by)]),
            TrainClauseKind::StopAfter { epochs, by } => {
                let epochs = self.before_word(epochs);
                concat([text("stop after "), epochs, text(" epochs without better "), dotted(by)])
            }
            TrainClauseKind::Freeze(paths) => text(format!("freeze {}", dotted_list(paths))),
            TrainClauseKind::Clip { by, limit } => {
                concat([text(format!("clip gradients by {} ", by.words())), self.value(limit)])
            }
            TrainClauseKind::Average(share) => concat([text("average weights by "), self.value(share)]),
            TrainClauseKind::ReduceRate { factor, epochs, by, options } => {
                let (factor, epochs) = (self.before_word(factor), self.before_word(epochs));
                let watched = [text(" epochs without better "), dotted(by)];
                let mut parts = vec![text("reduce rate by "), factor, text(" after "), epochs];
                parts.extend(watched);
                if !options.is_empty() {
                    parts.extend([text(" with "), self.separated(options, Self::argument)]);
                }
                concat(parts)
            }
            TrainClauseKind::Validate(every) => self.interval("validate every ", every),
            TrainClauseKind::Checkpoint(every) => self.interval("checkpoint every ", every),
        }
    }

    fn interval(&mut self, words: &'static str, every: &'a Interval) -> Doc {
        concat([text(words), self.before_word(&every.count), text(format!(" {}", every.unit.word()))])
    }

    fn group_rule(&mut self, rule: &'a GroupRule) -> Doc {
        let operator = if rule.multiply { " *= " } else { " = " };
        let patterns = rule.patterns.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(", ");
        concat([
            self.name(&rule.key),
            text(operator),
            self.before_word(&rule.value),
            text(format!(" for {patterns}")),
        ])
    }
}

pub fn dotted(name: &DottedName) -> Doc {
    text(dotted_text(name))
}

fn dotted_text(name: &DottedName) -> String {
    name.parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(".")
}

fn dotted_list(names: &[DottedName]) -> String {
    names.iter().map(dotted_text).collect::<Vec<_>>().join(", ")
}
