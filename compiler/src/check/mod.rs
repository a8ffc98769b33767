//! Spec text → diagnostics, graphs and the typed spec.
//!
//! The checker is an *elaborator*: it evaluates the syntax tree with values. Compile-time values are computed, tensors are nodes of
//! the graph that is being built, layers and fns are maps. A type is a pattern that is matched against a value: it binds and
//! compares named dims. So there is one mechanism for checking and for making graphs, and every shape error is born at the
//! place that the author wrote.
//!
//! # What authors of specs and of the standard library can rely on
//!
//! **Maps.** A layer is configured, then applied. A `fn` call that leaves out its first tensor is a map; so is a builtin's. It *leaves out*
//! its first parameter when no argument names it and the first positional argument is missing, or cannot be it: it is no
//! tensor where the parameter's type is a tensor type (and fewer positional arguments stand than parameters), no list where
//! the type is `list`, or, for an untyped first parameter, when fewer arguments stand than are required.
//! A map's other arguments are kept by name. A layer without configuration given is applied with its defaults: `x |> prelu`.
//!
//! **Instances.** An instance is a path. `let`, a parameter, or an application instantiates a template; a *bare* name of a layer that
//! takes configuration is a factory and stays one: `norm: fn = layer_norm`, used as `norm()`. A lambda is a layer without configuration:
//! `let f = fn(x) { x |> dense(8) }` owns one `f.dense`. Anonymous layers of a body are numbered by name: `conv2d`, `conv2d_2`. In a
//! compile-time `for`, the turn is appended: `c.0`, `c.1`; in `repeat` too, and an anonymous `repeat` takes its layer's name: `block.0`.
//! A template given to a parameter lives under the callee: `residual.inner`. A `fn` has no path of its own until something in it
//! needs one (a random stream, a parameter's template).
//!
//! **Numbers.** `int / int` is an int when exact, else a float; in a shape only whole numbers fit. A dim that is not constant divides
//! with a run-time guard that it is exact. Ints and dims widen to floats and take any tensor's dtype; a fraction never becomes an
//! integer. `/` of integer tensors is an error (`//` or a cast). Two numbers in a builtin give a number, not a tensor.
//!
//! **Types.** `float[...]` is any float type, `int[...]` any integer type, `any[...]` any; a bare dtype is a scalar tensor. Kinds: `int`
//! (also a dim), `float`, `bool`, `text`, `fn`, `list` (also a tuple), `tuple`, `map`, `schedule` (a number or a fn), `any`. Names in
//! input types bind before anything is compared, whatever their order. `...` of the result is that of the first input with one.
//! A number given to a tensor input is a scalar of the declared dtype (f32 for `float`).
//!
//! **First values.** The value of `weight` and `state` is evaluated in the `init` entry: a map is called with the shape (a list), a number or
//! a scalar fills it, a tensor must fit. It may read a weight or a state that was declared before it, and sees that one's first
//! value. An optimizer's `state` without a type takes that of its first value; it can read `w`.
//!
//! **Weights** have attributes: `with trainable = false, decay = false, regularise = l2(1e-4), constrain = max_norm(2), reparametrise =
//! weight_norm`; a name alone has the value of the same name, and `none` asks for nothing. What the regularisers of the weights that a
//! loss moves give is added to that loss and to its figure, in evaluations too; constraints come after each update. Rules of a `minimize`
//! go before attributes: `using adam() { regularise = l2(1e-4) for *.weight }`. A reparametrisation is instantiated for each weight.
//!
//! **States** are written by training steps only: an evaluation or a prediction changes nothing, but a read after `<-` sees the new
//! value everywhere.
//!
//! **Optimizers** run per weight with `w`, `g` and `step` (f32, 1 at the first). A numeric parameter may be given a schedule, a fn of
//! `(step, epoch, total)`: f32 scalars, `step` from 1, `epoch` with the fraction of the current one. Clipping comes before, in the
//! order in which it is written; a `step` block's own replaces the whole block's. Group rules come after schedules, `reduce rate` after
//! group rules; it multiplies the parameter `rate`. Numbers called `rate`, `decay`, `eps`, `momentum`, `beta1`, `beta2` and `smoothing` are
//! bounded in every optimizer.
//!
//! **Losses** are per element: `minimize` takes the mean of all elements; a record `{ loss, weight }` gives the weighted mean. The figure is
//! the mean over the epoch. `measure` takes a metric call, or any tensor expression (or such a record), whose mean is reported.
//!
//! **Metrics.** Parts that `sum` names are added up over the epoch. `collect` gathers rows: its first axis runs over the batch (a constant
//! number of rows for each of its rows), the others are constant. In `value` what is collected has all rows of the epoch, and `batch`, with
//! every dim that follows from it, is their count. The value is a number, a vector or a table of constant extents, in any dtype,
//! or a record of such, each a figure `METRIC.FIELD` of its own. Only a number can be watched.
//!
//! **Trains.** A `let` is evaluated in each entry that needs it. `batch` in expressions is the batch's row count. Entries: `NAME.step` (with
//! `step` blocks `NAME.step.STEP`), `NAME.evaluate`, `NAME.report`, and where
//! they are needed `NAME.update` (see `update.rs`) and `NAME.rates`; `NAME` is `train` unless the block is named. Accumulators are
//! `NAME/loss.sum`, `NAME/METRIC.PART`. With several steps, figures are `STEP.loss`, and what is measured beside the steps is added in the
//! last one. All losses and gradients of a step come before its updates. A step's loss is also its output, under the figure's name.
//!
//! **Scans.** The axis of a sequence whose extent is that of the dim after `over` is its steps; where two are, the first one when it is
//! axis 0, else it is an error. The stack of what is yielded has the steps where the first sequence has them; `states.h` is the last
//! `h`. Without `yield`, the value is the record of the last carries. A carry keeps its type; a number starts a carry as an f32 scalar.
//! Random elements are others at each step. States cannot change in the body.
//!
//! **Statements** are not ended by a line: `let y = f(x)` before a line that starts with `(`, `[` or `-` needs a `;`.

mod arith;
mod builtins;
mod call;
mod context;
mod data;
mod decode;
mod expr;
pub mod filled;
mod generate;
mod hints;
mod layer;
mod lint;
mod loss;
mod metric;
mod model;
mod names;
mod optimizer;
mod predict;
mod report;
mod resolve;
mod scan;
mod scope;
mod settings;
mod shape;
mod std;
mod text;
mod trail;
mod train;
pub mod typed;
mod update;
mod value;
mod weight;

#[cfg(test)]
mod tests;

pub use builtins::{Documentation, documentation};
pub use data::{SourceDocumentation, sources};
pub use std::{declared, library};
pub use typed::TypedSpec;

use crate::diagnostics::{Code, Diagnostic, Severity, Sources};
use crate::graph::{Module, NodeId, Op, TensorType, Variable};
use ::std::collections::{BTreeMap, HashMap, HashSet};
use ::std::rc::Rc;
use context::Context;
use names::Home;
use value::{Tensor, Value};
use weft_grammar::Span;
use weft_runtime::program::{Field, Vocabulary};

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--set NAME=VALUE`
    pub settings: Vec<(String, String)>,
    pub batch: Option<usize>,
    pub epochs: Option<usize>,
    pub seed: Option<u64>,
    /// `--by "beam(4)"`: how `generate` items choose tokens, in place of what they say.
    pub strategy: Option<String>,
    /// Elaborates a model's own entry (`predict`) as a training step would apply it: with dropout, with the statistics of the
    /// batch, and with the states that it changes. For tests of layers; a `predict` item never trains.
    pub training: bool,
    /// Also makes entries that give the length of each weight's gradient, for the record of a run.
    pub gradient_norms: bool,
}

/// All that checking gives.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    /// The graphs; `None` when there was an error.
    pub module: Option<Module>,
    pub typed: Option<TypedSpec>,
}

impl Checked {
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Checks the spec of this name. `loader` gives the text of a file: of `main` itself and of each `use`, by its path joined to that of the
/// using file.
pub fn check(
    main: &str,
    loader: &mut dyn FnMut(&str) -> ::std::result::Result<String, String>,
    options: &Options,
) -> Checked {
    let mut checker = Checker::new(loader, options);
    checker.spec(main);
    checker.finish(main)
}

/// [`check`], and how each call of the user's own files bound its parameters.
pub fn check_noting_calls(
    main: &str,
    loader: &mut dyn FnMut(&str) -> ::std::result::Result<String, String>,
    options: &Options,
) -> (Checked, filled::Calls) {
    let mut checker = Checker::new(loader, options);
    checker.calls_noted = Some(filled::Calls::new());
    checker.spec(main);
    let calls = checker.calls_noted.take().unwrap_or_default();
    (checker.finish(main), calls)
}

/// An error was reported; whoever gets this stays silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported;

pub(crate) type Result<T = Value> = ::std::result::Result<T, Reported>;

/// No computation of the checker may be longer or deeper than this.
const MAX_CALLS: usize = 48;
const MAX_DEPTH: usize = 400;
const MAX_FUEL: u64 = 3_000_000;
const MAX_DIAGNOSTICS: usize = 100;

/// The entry and the call in which something was reported.
type Occasion = (u32, Option<Span>);

/// A call under way, for error messages and for the user's place.
#[derive(Clone, Debug)]
struct CallSite {
    span: Span,
    name: Rc<str>,
}

/// The number of the graph of first values.
const INIT: u32 = 1;

impl Declared {
    fn new(variable: Variable, decay: bool, statement: Span) -> Declared {
        let site = variable.span;
        Declared { variable, decay, regularise: None, constrain: None, site, calls: Vec::new(), statement }
    }
}

/// A weight, state, slot or accumulator, with what only the checker needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub variable: Variable,
    /// `with decay = false`
    pub decay: bool,
    /// `with regularise = l2(1e-4)`
    pub regularise: Option<weight::WeightMap>,
    /// `with constrain = max_norm(2)`
    pub constrain: Option<weight::WeightMap>,
    /// The user's text that led to it first.
    pub site: Span,
    /// The calls that led to it first, from the outermost.
    pub calls: Vec<Span>,
    /// The statement that declares it, be it in the library.
    pub statement: Span,
}

pub(crate) struct Checker<'a> {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    reported: HashMap<(&'static str, Span), (Occasion, Vec<String>)>,
    /// The `let`s under way: their names, which are not known yet, and the text of their values.
    lets: Vec<(Vec<String>, Span)>,
    /// How many of the diagnostics were told the way of their shapes; see [`trail`].
    explained: usize,
    /// Above 0, nothing is reported: a trial.
    muted: usize,
    loader: &'a mut dyn FnMut(&str) -> ::std::result::Result<String, String>,
    options: &'a Options,
    used_settings: HashSet<String>,
    homes: Vec<Home>,
    std_homes: HashMap<&'static str, usize>,
    settings: HashMap<(usize, String), Option<Value>>,
    context: Context,
    init: Context,
    graphs: u32,
    frames: Vec<layer::Frame>,
    calls: Vec<CallSite>,
    /// How calls bind their parameters, where somebody wants to know.
    calls_noted: Option<filled::Calls>,
    depth: usize,
    fuel: u64,
    variables: Vec<Declared>,
    by_path: HashMap<String, usize>,
    instances: Vec<typed::Instance>,
    instance_places: HashMap<Rc<str>, usize>,
    module: Module,
    typed: TypedSpec,
    rows: BTreeMap<String, data::Row>,
    /// The fit values of each data set that has some.
    fits: BTreeMap<String, Vec<data::FitValue>>,
    /// The vocabularies that data sets fit, by `reviews.words`.
    vocabularies: BTreeMap<String, Rc<Vocabulary>>,
    /// Those of the `data` item under construction, and the fields that are made of its texts.
    row_vocabularies: Option<Vec<Vocabulary>>,
    made_fields: Vec<Field>,
    /// Some item could not be elaborated; its errors were reported.
    incomplete: bool,
    /// Names of the user's text that were evaluated: the rest is looked at by [`resolve`] alone.
    touched: HashSet<Span>,
    /// Warnings that wait for the end: they are given when nothing is wrong.
    doubts: Vec<Diagnostic>,
    /// What the trainings did with each weight, for the lints.
    trained: lint::Trained,
    /// The first loss of the training under way that moves a weight by an optimizer: its figure, by the path of the weight's states.
    slot_owners: HashMap<String, String>,
}

impl<'a> Checker<'a> {
    fn new(
        loader: &'a mut dyn FnMut(&str) -> ::std::result::Result<String, String>,
        options: &'a Options,
    ) -> Checker<'a> {
        Checker {
            sources: Sources::default(),
            diagnostics: Vec::new(),
            reported: HashMap::new(),
            lets: Vec::new(),
            explained: 0,
            muted: 0,
            loader,
            options,
            used_settings: HashSet::new(),
            homes: Vec::new(),
            std_homes: HashMap::new(),
            settings: HashMap::new(),
            context: Context::new(0, "", false),
            init: Context::new(INIT, "init", false),
            graphs: 2,
            frames: Vec::new(),
            calls: Vec::new(),
            calls_noted: None,
            depth: 0,
            fuel: 0,
            variables: Vec::new(),
            by_path: HashMap::new(),
            instances: Vec::new(),
            instance_places: HashMap::new(),
            module: Module::default(),
            typed: TypedSpec::default(),
            rows: BTreeMap::new(),
            fits: BTreeMap::new(),
            vocabularies: BTreeMap::new(),
            row_vocabularies: None,
            made_fields: Vec::new(),
            incomplete: false,
            touched: HashSet::new(),
            doubts: Vec::new(),
            trained: lint::Trained::default(),
            slot_owners: HashMap::new(),
        }
    }

    /// The whole way, in the order in which things depend on each other. Each part reports its own errors and the next goes on.
    fn spec(&mut self, main: &str) {
        let Some(home) = self.load_main(main) else { return };
        self.evaluate_settings(home);
        // Before the models, which may read what is fitted to the data.
        self.data_items(home);
        self.models(home);
        self.trainings(home);
        self.predictions(home);
        self.generations(home);
        self.data_entries(home);
        self.loads(home);
        self.unused_overrides();
        let resolution = self.resolve(home);
        self.lint_items(home, &resolution);
        self.settle_doubts();
    }

    fn finish(mut self, main: &str) -> Checked {
        if self.incomplete && self.error_count() == 0 {
            let message = "the checker gave up without saying why; this is a fault of the compiler";
            self.report(Diagnostic::error(Code::BadOperation, Span::default(), message));
        }
        self.diagnostics.sort_by_key(|d| (d.primary.span.file, d.primary.span.start, d.primary.span.end));
        let failed = self.diagnostics.iter().any(|d| d.severity == Severity::Error);
        let stem = main.rsplit(['/', '\\']).next().unwrap_or(main);
        self.module.name = stem.strip_suffix(".weft").unwrap_or(stem).to_owned();
        self.module.variables = self.variables.iter().map(|d| d.variable.clone()).collect();
        self.module.entries.insert(0, self.init.finish(|_| true));
        self.typed.fill(&self.module, ::std::mem::take(&mut self.instances));
        Checked {
            sources: self.sources,
            diagnostics: self.diagnostics,
            module: (!failed).then_some(self.module),
            typed: (!failed).then_some(self.typed),
        }
    }

    // ---- diagnostics

    /// Reports once. A place in the standard library moves to a note, the user's call that led there is shown first.
    pub(crate) fn report(&mut self, mut diagnostic: Diagnostic) -> Reported {
        if self.muted > 0 {
            return Reported;
        }
        let at = diagnostic.primary.span;
        if self.sources.is_std(at.file)
            && let Some(site) = self.user_call()
        {
            let inner = ::std::mem::replace(
                &mut diagnostic.primary,
                crate::diagnostics::Label {
                    span: site.span,
                    text: format!("in this use of `{}`", site.name),
                },
            );
            diagnostic.related.insert(0, inner);
        }
        // The same text is elaborated again by each entry and each call; its mistake stays one mistake, whatever the shapes are then.
        let occasion = (self.context.id, self.calls.last().map(|c| c.span));
        let key = (diagnostic.code, diagnostic.primary.span);
        let (first, messages) = self.reported.entry(key).or_insert((occasion, Vec::new()));
        let known = *first != occasion || messages.contains(&diagnostic.message);
        if self.diagnostics.len() < MAX_DIAGNOSTICS && !known {
            messages.push(diagnostic.message.clone());
            self.diagnostics.push(diagnostic);
        }
        Reported
    }

    pub(crate) fn fail<T>(&mut self, code: Code, span: Span, message: impl Into<String>) -> Result<T> {
        Err(self.report(Diagnostic::error(code, span, message)))
    }

    pub(crate) fn fail_hint<T>(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Result<T> {
        Err(self.report(Diagnostic::error(code, span, message).hint(hint)))
    }

    /// The innermost call that stands in a file of the user.
    fn user_call(&self) -> Option<CallSite> {
        self.calls.iter().rev().find(|c| !self.sources.is_std(c.span.file)).cloned()
    }

    /// The user's text that asked for what stands at `span`.
    pub(crate) fn user_span(&self, span: Span) -> Span {
        if self.sources.is_std(span.file) { self.user_call().map_or(span, |c| c.span) } else { span }
    }

    // ---- limits

    /// One step of work; an error when the spec asks for far more than any real one.
    pub(crate) fn burn(&mut self, span: Span) -> Result<()> {
        self.fuel += 1;
        if self.fuel > MAX_FUEL || self.context.builder.graph.nodes.len() > 1_000_000 {
            return self.fail(Code::TooLarge, span, "the spec unfolds to more than the compiler takes");
        }
        Ok(())
    }

    // ---- graphs

    /// Appends a node for the user's text at `span`.
    pub(crate) fn emit(
        &mut self,
        op: Op,
        inputs: &[NodeId],
        given: Option<TensorType>,
        span: Span,
    ) -> Result<NodeId> {
        self.place(span);
        match self.context.builder.push(op, inputs, given) {
            Ok(node) => Ok(node),
            Err(error) => self.fail(Code::BadOperation, span, error.message),
        }
    }

    /// What the builder's helpers make next belongs to `span` and to the current instance.
    pub(crate) fn place(&mut self, span: Span) {
        self.context.builder.span = self.user_span(span);
        self.context.builder.path = ::std::sync::Arc::from(self.node_path());
    }

    /// Turns a builder's error into a diagnostic.
    pub(crate) fn built<T>(
        &mut self,
        result: ::std::result::Result<T, crate::graph::TypeError>,
        span: Span,
    ) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.fail(Code::BadOperation, span, error.message),
        }
    }

    pub(crate) fn tensor_type(&self, tensor: Tensor) -> TensorType {
        self.context.builder.ty(tensor.node).clone()
    }

    pub(crate) fn tensor(&self, node: NodeId) -> Value {
        Value::Tensor(self.context.tensor(node))
    }

    /// Starts a new entry; the old context comes back from [`Checker::leave`].
    pub(crate) fn enter(&mut self, name: &str, training: bool) -> Context {
        self.graphs += 1;
        let context = Context::new(self.graphs, name, training);
        ::std::mem::replace(&mut self.context, context)
    }

    /// Ends the entry under way.
    pub(crate) fn leave(&mut self, outer: Context) -> Context {
        ::std::mem::replace(&mut self.context, outer)
    }

    /// How many errors there are, to see whether a part added some.
    pub(crate) fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }
}
