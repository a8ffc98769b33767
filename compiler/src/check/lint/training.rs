//! What a training moves and what it watches.

use super::super::{Checker, Declared};
use crate::check::names::ItemRef;
use crate::diagnostics::{Code, Diagnostic};
use crate::graph::{Graph, NodeId, Op};
use std::collections::{BTreeMap, BTreeSet};
use weft_grammar::Span;
use weft_grammar::ast::CallableKind;
use weft_runtime::program::VariableKind;

/// What the trainings so far did with each weight, by path.
#[derive(Debug, Default)]
pub struct Trained {
    /// Some step reads it.
    read: BTreeSet<String>,
    moved: BTreeSet<String>,
    /// It was left alone on purpose: behind `hold`, in a `freeze`, or not in `over`.
    excused: BTreeSet<String>,
    /// An operation without a gradient stands between it and the loss.
    blocked: BTreeSet<String>,
}

impl Trained {
    /// A weight that stays as it is on purpose.
    pub(crate) fn excuse(&mut self, path: &str) {
        self.excused.insert(path.to_owned());
    }
}

impl Checker<'_> {
    /// Notes what a loss moves. `weights` and their `gradients` are those that an optimizer gets.
    pub(crate) fn note_moved(&mut self, loss: NodeId, weights: &[(String, NodeId)], gradients: &[NodeId]) {
        let graph = &self.context.builder.graph;
        let asked: BTreeSet<&str> = weights.iter().map(|(path, _)| path.as_str()).collect();
        for path in behind(graph, loss) {
            if !asked.contains(path.as_str()) {
                self.trained.excused.insert(path);
            }
        }
        for ((path, _), gradient) in weights.iter().zip(gradients) {
            let set =
                if is_zero(graph, *gradient) { &mut self.trained.blocked } else { &mut self.trained.moved };
            set.insert(path.clone());
        }
    }

    /// Notes what the step under construction reads.
    pub(crate) fn note_read(&mut self) {
        self.trained.read.extend(self.context.reads.keys().cloned());
    }

    /// `stop after 20 epochs` of 10.
    pub(crate) fn lint_stop(&mut self, wait: i64, epochs: usize, span: Span) {
        if usize::try_from(wait).is_ok_and(|wait| wait >= epochs) && self.options.epochs.is_none() {
            let message = format!(
                "this can never stop the training: it waits {wait} epochs, and there are only {epochs}"
            );
            let doubt = Diagnostic::warning(Code::IdleRule, span, message);
            self.doubts.push(doubt.hint("wait fewer epochs, or set `epochs` higher"));
        }
    }

    /// `keep best by train.loss` where there is a validation part.
    pub(crate) fn lint_watch(&mut self, split: &str, figure: &str, validates: bool, span: Span) {
        if split == "train" && validates {
            let message = format!(
                "`train.{figure}` gets better as long as the model learns the training rows by heart"
            );
            let doubt = Diagnostic::warning(Code::WatchedTraining, span, message);
            self.doubts.push(doubt.hint(format!("watch `validation.{figure}`")));
        }
    }
}

/// The variables that a node depends on, `hold` or not.
fn behind(graph: &Graph, node: NodeId) -> BTreeSet<String> {
    let mut reached = vec![false; node.index() + 1];
    let mut found = BTreeSet::new();
    if let Some(last) = reached.last_mut() {
        *last = true;
    }
    for index in (0..reached.len()).rev() {
        let (Some(true), Some(node)) = (reached.get(index), graph.nodes.get(index)) else { continue };
        if let Op::Variable(path) = &node.op {
            found.insert(path.clone());
        }
        for input in &node.inputs {
            if let Some(slot) = reached.get_mut(input.index()) {
                *slot = true;
            }
        }
    }
    found
}

/// The constant 0, as the gradient of what a loss doesn't depend on.
fn is_zero(graph: &Graph, node: NodeId) -> bool {
    let node = graph.node(node);
    match (&node.op, node.inputs.first()) {
        (Op::Constant(value), _) => *value == 0.0,
        (Op::Broadcast { .. }, Some(input)) => matches!(graph.node(*input).op, Op::Constant(v) if v == 0.0),
        _ => false,
    }
}

/// Weights that a training computes with and never moves, one warning a place.
pub fn without_gradient(checker: &Checker<'_>) -> Vec<Diagnostic> {
    let trained = &checker.trained;
    let idle = |d: &&Declared| {
        let v = &d.variable;
        v.kind == VariableKind::Weight
            && v.trainable
            && trained.read.contains(&v.path)
            && !trained.moved.contains(&v.path)
            && !trained.excused.contains(&v.path)
    };
    let mut places: BTreeMap<(u32, u32), Vec<&Declared>> = BTreeMap::new();
    for declared in checker.variables.iter().filter(idle) {
        places.entry((declared.site.file.0, declared.site.start)).or_default().push(declared);
    }
    let doubt = |group: Vec<&Declared>| {
        let first = group.first()?;
        let paths: Vec<String> = group.iter().take(3).map(|d| format!("`{}`", d.variable.path)).collect();
        let more = if group.len() > 3 { format!(" and {} more", group.len() - 3) } else { String::new() };
        let verb = if group.len() == 1 { "gets" } else { "get" };
        let message = format!("{}{more} {verb} no gradient", paths.join(", "));
        let blocked = group.iter().any(|d| trained.blocked.contains(&d.variable.path));
        let doubt = Diagnostic::warning(Code::WeightWithoutGradient, first.site, message);
        Some(if blocked {
            doubt
                .note("between here and the loss stands something without a gradient: a comparison, an index such as `argmax`, a cast to integers, or `round`, `floor`, `sign`")
                .hint("let the loss see the numbers themselves; `freeze` says that it is meant")
        } else {
            doubt.note("no loss depends on it").hint(
                "let it lead to the result that is trained, or take it out; `freeze` says that it is meant",
            )
        })
    };
    places.into_values().filter_map(doubt).collect()
}

/// Models of the file that no training uses, when there is one.
pub fn untrained(checker: &Checker<'_>, main: usize) -> Vec<Diagnostic> {
    let Some(home) = checker.homes.get(main) else { return Vec::new() };
    let items = || home.items.iter().map(|(item, _, _)| item);
    if !items().any(|item| matches!(item, ItemRef::Train(_))) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for item in items() {
        let ItemRef::Callable(item) = item else { continue };
        let name = item.name();
        let loaded = items().any(|other| {
            matches!(other, ItemRef::Load(load) if load.target.parts.first().is_some_and(|p| p.text == name))
        });
        let inside = |path: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let own = checker
            .variables
            .iter()
            .any(|d| d.variable.kind == VariableKind::Weight && inside(&d.variable.path));
        let trained = checker.trained.read.iter().any(|path| inside(path));
        if item.callable.kind == CallableKind::Model && own && !trained && !loaded {
            found.push(
                Diagnostic::warning(
                    Code::UntrainedModel,
                    item.callable.name.span,
                    format!("the model `{name}` is never trained"),
                )
                .hint("use it in a `train` block, or give it weights with `load`"),
            );
        }
    }
    found
}
