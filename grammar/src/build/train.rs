//! The clauses of a `train` block.

use super::{Builder, Children, Node};
use crate::ast::*;
use crate::parse::Rule;

impl Builder {
    pub fn train(&mut self, node: Node<'_>) -> Train {
        let span = self.span(&node);
        let mut children = Children::of(node);
        let name = children.take(Rule::name).map(|name| self.name(name));
        let clauses =
            children.take(Rule::train_body).map(|body| self.train_clauses(body)).unwrap_or_default();
        Train { name, clauses, span }
    }

    fn train_clauses(&mut self, body: Node<'_>) -> Vec<TrainClause> {
        let clauses = self.each(body, Rule::train_clause, |builder, node| {
            let span = builder.span(&node);
            let kind = Children::of(node).next().and_then(|inner| builder.train_clause(inner))?;
            Some(TrainClause { kind, span })
        });
        clauses.into_iter().flatten().collect()
    }

    pub fn train_clause(&mut self, node: Node<'_>) -> Option<TrainClauseKind> {
        let rule = node.as_rule();
        let mut children = Children::of(node);
        Some(match rule {
            Rule::let_ => {
                let pattern = self.pattern_of(&mut children);
                TrainClauseKind::Let { pattern, value: self.expr_of(&mut children) }
            }
            Rule::on => {
                let data = self.name_of(&mut children);
                let fields = children.take(Rule::pattern).map(|fields| self.pattern(fields));
                TrainClauseKind::On { data, fields }
            }
            Rule::minimize => {
                let loss = self.expr_of(&mut children);
                let over = children.take(Rule::over).map(|over| self.dotted_list(over)).unwrap_or_default();
                let optimizer = children.take(Rule::expr).map(|optimizer| self.expr(optimizer));
                let groups =
                    children.take(Rule::groups).map(|groups| self.groups(groups)).unwrap_or_default();
                TrainClauseKind::Minimize { loss, over, optimizer, groups }
            }
            Rule::measure => {
                let mut metrics = Vec::new();
                while let Some(node) = children.take(Rule::measured) {
                    let mut children = Children::of(node);
                    let name =
                        children.take(Rule::measured_as).map(|stage| self.name_of(&mut Children::of(stage)));
                    metrics.push((name, self.expr_of(&mut children)));
                }
                TrainClauseKind::Measure(metrics)
            }
            Rule::step => {
                let name = self.name_of(&mut children);
                let clauses = children.take(Rule::train_body).map(|body| self.train_clauses(body));
                TrainClauseKind::Step { name, clauses: clauses.unwrap_or_default() }
            }
            Rule::keep => TrainClauseKind::KeepBest(self.dotted_of(&mut children)),
            Rule::stop => {
                let epochs = self.expr_of(&mut children);
                TrainClauseKind::StopAfter { epochs, by: self.dotted_of(&mut children) }
            }
            Rule::freeze => TrainClauseKind::Freeze(self.dotted_list(children.parent)),
            Rule::clip => {
                let by = match children.next().map(|by| by.as_rule()) {
                    Some(Rule::by_value) => Clipping::Value,
                    Some(Rule::by_norm) => Clipping::Norm,
                    _ => Clipping::GlobalNorm,
                };
                TrainClauseKind::Clip { by, limit: self.expr_of(&mut children) }
            }
            Rule::average => TrainClauseKind::Average(self.expr_of(&mut children)),
            Rule::reduce => {
                let factor = self.expr_of(&mut children);
                let epochs = self.expr_of(&mut children);
                let by = self.dotted_of(&mut children);
                let options = children.take(Rule::attributes).map(|node| self.attributes(node));
                TrainClauseKind::ReduceRate { factor, epochs, by, options: options.unwrap_or_default() }
            }
            Rule::validate => TrainClauseKind::Validate(self.interval(&mut children)),
            Rule::checkpoint => TrainClauseKind::Checkpoint(self.interval(&mut children)),
            Rule::key => {
                let name = self.name_of(&mut children);
                TrainClauseKind::Key { name, value: self.expr_of(&mut children) }
            }
            _ => return None,
        })
    }

    fn interval(&mut self, children: &mut Children<'_>) -> Interval {
        let count = self.expr_of(children);
        let unit = match children.next().map(|unit| unit.as_rule()) {
            Some(Rule::in_batches) => IntervalUnit::Batches,
            Some(Rule::in_minutes) => IntervalUnit::Minutes,
            _ => IntervalUnit::Epochs,
        };
        Interval { count, unit }
    }

    pub fn groups(&mut self, node: Node<'_>) -> Vec<GroupRule> {
        let rules = self.each(node, Rule::group, |builder, node| {
            let span = builder.span(&node);
            let mut children = Children::of(node.clone());
            if children.take(Rule::hole).is_some() {
                return None;
            }
            let key = builder.name_of(&mut children);
            let multiply = children.take(Rule::times_eq).is_some();
            let value = builder.expr_of(&mut children);
            let patterns = builder.each(node, Rule::path, |b, path| b.raw(path));
            Some(GroupRule { key, multiply, value, patterns, span })
        });
        rules.into_iter().flatten().collect()
    }
}
