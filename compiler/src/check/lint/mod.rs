//! Lints: what is right by the rules, but hardly what its author meant.
//!
//! A lint has a code, speaks of a place in the user's text, and tells the way out. There are two kinds: those of [`unused`] and
//! [`conditions`] read what [`super::resolve`] found in the text; the others look at an entry when it has been elaborated: at the trail of
//! applications ([`super::trail`]) and at the graph. What they find are *doubts*, which wait until the end: a spec with errors gets no
//! warnings, for they might only be the errors' consequences. A name that starts with `_` is never unused.
//!
//! The names of the library's layers that lints know stand here. A user's own item of such a name is another thing and is left alone.

mod axes;
mod conditions;
mod layers;
mod losses;
mod rows;
mod training;
mod unused;

pub use training::Trained;

use super::Checker;
use super::names::Home;
use super::resolve::Resolution;
use super::trail::{Step, Trail};
use super::value::FunctionKind;
use crate::diagnostics::{Diagnostic, Sources};
use crate::graph::{Graph, NodeId};
use weft_grammar::Span;

/// A lint of one entry: reads it, and notes what it doubts.
type Lint = fn(&View<'_>, &mut Vec<Diagnostic>);

const LINTS: &[Lint] = &[
    layers::repeated_activation,
    layers::bias_before_norm,
    layers::linear_after_linear,
    losses::ended_before_logits,
    losses::not_probabilities,
    losses::dropout_at_the_end,
    axes::one_choice,
    rows::raw_bytes,
    rows::single_row_norm,
];

/// An elaborated entry, as the lints look at it.
pub struct View<'v> {
    homes: &'v [Home],
    sources: &'v Sources,
    trail: &'v Trail,
    graph: &'v Graph,
    training: bool,
    /// The rows of a batch, and the training that has them.
    batch: Option<(usize, Span)>,
}

impl Checker<'_> {
    /// Looks at the entry under construction, when it is whole. `batch`: the rows of a training's batch, and its place.
    pub(crate) fn lint_entry(&mut self, batch: Option<(usize, Span)>) {
        let context = &self.context;
        let view = View {
            homes: &self.homes,
            sources: &self.sources,
            trail: &context.trail,
            graph: &context.builder.graph,
            training: context.training,
            batch,
        };
        let mut found = Vec::new();
        for lint in LINTS {
            lint(&view, &mut found);
        }
        self.doubts.extend(found);
    }

    /// Looks at the text of the whole spec.
    pub(crate) fn lint_items(&mut self, main: usize, resolution: &Resolution) {
        let mut found = unused::unused(self, main, resolution);
        found.extend(conditions::constant(resolution));
        found.extend(training::untrained(self, main));
        // A weight whose layer is used for nothing has no gradient; that it is used for nothing says it all.
        let idle = unused::idle_text(resolution);
        let used = |d: &Diagnostic| !idle.iter().any(|text| text.holds(d.primary.span));
        found.extend(training::without_gradient(self).into_iter().filter(used));
        self.doubts.extend(found);
    }

    /// Gives the warnings, if nothing is wrong.
    pub(crate) fn settle_doubts(&mut self) {
        let doubts = std::mem::take(&mut self.doubts);
        if self.error_count() == 0 {
            for doubt in doubts {
                self.report(doubt);
            }
        }
    }
}

impl<'v> View<'v> {
    /// What a step applied, when it belongs to the library: its name, else nothing.
    fn library(&self, step: &'v Step) -> &'v str {
        match step.call.as_ref().map(|c| &c.function.kind) {
            Some(FunctionKind::Item { item, .. }) => {
                let std = self.homes.get(item.home).is_some_and(|h| self.sources.is_std(h.file));
                if std { item.name() } else { "" }
            }
            Some(FunctionKind::Builtin { builtin, .. }) => builtin.name(),
            _ => "",
        }
    }

    /// The steps before `before` that gave this node, the outermost first: a user's layer, then its last layer. `through`: names
    /// whose input is looked at instead.
    fn makers(&self, node: NodeId, before: usize, through: &[&str]) -> Vec<&'v Step> {
        let (mut found, mut at, mut end) = (Vec::new(), node, before);
        while let Some(index) = self.trail.maker(at, end) {
            let Some(step) = self.trail.steps.get(index) else { break };
            end = index;
            match step.inputs.first() {
                Some(input) if through.contains(&self.library(step)) => at = *input,
                _ => found.push(step),
            }
        }
        found
    }

    /// Each library step with its place in the trail, its name and its first input.
    fn library_steps(&self) -> impl Iterator<Item = (usize, &'v Step, &'v str, NodeId)> + '_ {
        self.trail.steps.iter().enumerate().filter_map(|(at, step)| {
            let name = self.library(step);
            Some((at, step, name, *step.inputs.first()?)).filter(|_| !name.is_empty())
        })
    }
}

/// Is this a layer that only adds up weighted inputs?
fn linear(name: &str) -> bool {
    name == "dense" || name.contains("conv")
}

/// What changes no number's meaning, only its place or, now and then, whether it is there.
const PASSING: &[&str] = &["flatten", "reshape", "dropout", "spatial_dropout1d", "spatial_dropout2d"];
