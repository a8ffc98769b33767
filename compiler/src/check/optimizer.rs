//! Optimizers: one run of the body for each weight, with schedules and group rules.

use super::layer::{Frame, Slots};
use super::scope::Scope;
use super::update::Plateau;
use super::value::{Argument, Bound, Function, FunctionKind, Given, Item, Value};
use super::weight::{WEIGHT_RULES, WeightMap};
use super::{CallSite, Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, did_you_mean_path};
use crate::graph::op::Binary;
use crate::graph::{DType, NodeId, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator, CallableKind};
use weft_runtime::program::{InputSource, VariableKind};

/// A configured optimizer of one `minimize`.
#[derive(Debug)]
pub struct Optimizer {
    item: Rc<Item>,
    bound: Vec<Bound>,
    rules: Vec<Rule>,
    /// The least rate, where the training reduces rates.
    reduced: Option<f64>,
    pub shown: String,
    span: Span,
}

/// The parameter that `reduce rate` reduces.
const RATE: &str = "rate";

#[derive(Debug)]
struct Rule {
    /// The parameter's place.
    place: usize,
    value: Value,
    multiply: bool,
    patterns: Vec<String>,
    span: Span,
    matched: bool,
}

impl Checker<'_> {
    /// `using adam(rate = 1e-3) { decay = 0 for *.bias }`
    pub(crate) fn optimizer(
        &mut self,
        using: &ast::Expr,
        groups: &[ast::GroupRule],
        plateau: Option<&Plateau<'_>>,
        scope: &Scope,
    ) -> Result<Optimizer> {
        let value = self.expr(using, scope)?;
        let function: Option<&Rc<Function>> = match &value {
            Value::Function(f) => Some(f),
            _ => None,
        };
        let (item, given) = match function.map(|f| &f.kind) {
            Some(FunctionKind::Item { item, given }) if item.callable.kind == CallableKind::Optimizer => {
                (item.clone(), given.clone())
            }
            _ => {
                let message = format!("`using` needs an optimizer, not {}", value.kind());
                return self.fail_hint(
                    Code::BadOptimizer,
                    using.span,
                    message,
                    "for example `using adam(rate = 1e-3)`",
                );
            }
        };
        let shown = value.show();
        let bound = match given {
            Given::Configuration(bound) => bound.to_vec(),
            _ => self.configure(&item, Vec::new(), using.span)?,
        };
        let params = &item.callable.params;
        if let Some(plateau) = plateau
            && !params.iter().any(|p| p.name.text == RATE)
        {
            let message = format!("`{}` has no parameter `rate` that could be reduced", item.name());
            self.report(
                Diagnostic::error(Code::BadOptimizer, using.span, message)
                    .related(plateau.span, "asked for here"),
            );
            return Err(Reported);
        }
        for (param, bound) in params.iter().zip(&bound) {
            self.sound_number(param, &bound.value, bound.span)?;
        }
        let mut rules = Vec::new();
        let mut failed = false;
        for group in groups.iter().filter(|g| !WEIGHT_RULES.contains(&g.key.text.as_str())) {
            let Some(place) = item.callable.params.iter().position(|p| p.name.text == group.key.text) else {
                let known = item.callable.params.iter().map(|p| p.name.text.as_str()).chain(WEIGHT_RULES);
                let hint = did_you_mean(&group.key.text, known);
                let message = format!("`{}` has no parameter `{}`", item.name(), group.key.text);
                self.report(Diagnostic::error(Code::BadGroup, group.key.span, message).hint_if(hint));
                failed = true;
                continue;
            };
            let value = self.expr(&group.value, scope);
            let Ok(value) = value.and_then(|value| self.group_value(&item, place, value, group)) else {
                failed = true;
                continue;
            };
            rules.push(Rule {
                place,
                value,
                multiply: group.multiply,
                patterns: group.patterns.iter().map(|p| p.value.clone()).collect(),
                span: group.span,
                matched: false,
            });
        }
        if failed {
            return Err(Reported);
        }
        let reduced = plateau.map(|plateau| plateau.min_rate);
        Ok(Optimizer { item, bound, rules, reduced, shown, span: using.span })
    }

    /// A rule's value is of the parameter's kind, or a schedule where a number is.
    fn group_value(
        &mut self,
        item: &Item,
        place: usize,
        value: Value,
        group: &ast::GroupRule,
    ) -> Result<Value> {
        let (Some(param), at) = (item.callable.params.get(place), group.value.span) else {
            return Err(Reported);
        };
        let what = format!("`{}` of `{}`", param.name.text, item.name());
        if group.multiply && !value.is_number() && !matches!(value, Value::Function(_)) {
            let message = format!("{what} is multiplied by a number, not {}", value.kind());
            return self.fail(Code::BadGroup, at, message);
        }
        let numeric = param.ty.as_ref().is_some_and(|ty| ty.is_kind("float") || ty.is_kind("schedule"));
        let value = match &param.ty {
            Some(ty) if !(numeric && matches!(value, Value::Function(_))) => {
                self.of_kind(ty, value, at, &what)?
            }
            _ => value,
        };
        self.sound_number(param, &value, at)?;
        Ok(value)
    }

    /// Numbers that go by these names have bounds in every optimizer.
    fn sound_number(&mut self, param: &ast::Param, value: &Value, at: Span) -> Result<()> {
        let Some(number) = value.as_float() else { return Ok(()) };
        let (fits, needed) = match param.name.text.as_str() {
            RATE | "decay" | "eps" => (number >= 0.0 && number.is_finite(), "0 or more"),
            "momentum" | "beta1" | "beta2" | "smoothing" => {
                ((0.0..1.0).contains(&number), "a share: 0 or more, and less than 1")
            }
            _ => return Ok(()),
        };
        match fits {
            true => Ok(()),
            false => {
                let message = format!("`{}` is {needed}, not {}", param.name.text, value.show());
                self.fail(Code::BadKeyValue, at, message)
            }
        }
    }

    /// The rate at this step before group rules, if it is one that changes.
    pub(crate) fn rate(&mut self, mut optimizer: Optimizer) -> Result<Option<NodeId>> {
        let place = optimizer.item.callable.params.iter().position(|p| p.name.text == RATE);
        let Some(place) = place else { return Ok(None) };
        let constant = optimizer.bound.get(place).is_none_or(|bound| bound.value.is_number());
        if constant && optimizer.reduced.is_none() {
            return Ok(None);
        }
        optimizer.rules.clear();
        self.schedules(&mut optimizer)?;
        let values = self.grouped(&mut optimizer, "")?;
        let Some((value, span)) = values.get(place) else { return Ok(None) };
        let rate = self.as_tensor(value, DType::F32, *span)?;
        Ok(Some(rate.node))
    }

    /// Moves every weight by its gradient of a loss, to where its constraint allows. Where another loss of the step has moved it before, it goes on from
    /// there.
    pub(crate) fn optimize(
        &mut self,
        optimizer: &mut Optimizer,
        figure: &str,
        weights: &[(String, NodeId)],
        gradients: &[NodeId],
        constraints: &[Option<WeightMap>],
    ) -> Result<()> {
        self.schedules(optimizer)?;
        let step = self.step_number(optimizer.span)?;
        let mut failed = false;
        for (((path, node), gradient), constraint) in weights.iter().zip(gradients).zip(constraints) {
            let moved = self.optimize_one(optimizer, figure, path, *node, *gradient, &step);
            failed |= moved.and_then(|()| self.constrain(path, constraint.as_ref())).is_err();
        }
        for rule in optimizer.rules.iter().filter(|r| !r.matched) {
            self.idle_group(&rule.patterns, rule.span);
        }
        if failed { Err(Reported) } else { Ok(()) }
    }

    pub(crate) fn idle_group(&mut self, patterns: &[String], span: Span) {
        let message = format!("no trained weight has a path like {}", patterns.join(", "));
        let weights = self.variables.iter().filter(|v| v.variable.kind == VariableKind::Weight);
        let paths: Vec<&str> = weights.map(|v| v.variable.path.as_str()).collect();
        let hint = patterns.iter().find_map(|pattern| did_you_mean_path(pattern, paths.iter().copied()));
        self.report(Diagnostic::warning(Code::IdleGroup, span, message).hint_if(hint));
    }

    fn constrain(&mut self, path: &str, constraint: Option<&WeightMap>) -> Result<()> {
        if let (Some(map), Some(new)) = (constraint, self.context.updated(path)) {
            let kept = self.mapped_weight(map, new, "a constraint")?;
            self.context.update(path, kept);
        }
        Ok(())
    }

    /// f32 scalars: the number of this step from 1, the epoch, the steps of the whole training.
    fn step_number(&mut self, span: Span) -> Result {
        let step = self.clock("step", DType::I64, InputSource::Step, span)?;
        self.binary(BinaryOperator::Add, (step, span), (Value::Int(1), span), span)
    }

    fn clock(&mut self, name: &str, dtype: DType, source: InputSource, span: Span) -> Result {
        self.place(span);
        let node = self.context.input(name, TensorType::scalar(dtype), source);
        let node = self.built(node, span)?;
        let cast = self.context.builder.cast(node, DType::F32);
        let cast = self.built(cast, span)?;
        Ok(self.tensor(cast))
    }

    /// Asks each parameter that is a schedule for its value at this step; once for all weights.
    fn schedules(&mut self, optimizer: &mut Optimizer) -> Result<()> {
        let bound = optimizer.bound.iter_mut().map(|bound| (&mut bound.value, bound.span));
        let rules = optimizer.rules.iter_mut().map(|rule| (&mut rule.value, rule.span));
        for (value, span) in bound.chain(rules) {
            let Value::Function(schedule) = &*value else { continue };
            let schedule = schedule.clone();
            let step = self.step_number(span)?;
            let epoch = self.clock("epoch", DType::F32, InputSource::Epoch, span)?;
            let total = self.clock("total", DType::I64, InputSource::TotalSteps, span)?;
            let arguments = [step, epoch, total].map(|value| Argument { name: None, value, span }).to_vec();
            let now = self.apply(&schedule, arguments, span, None)?;
            let fits = match &now {
                Value::Tensor(t) => {
                    let ty = self.tensor_type(*t);
                    ty.rank() == 0 && ty.dtype.is_float()
                }
                other => other.is_number(),
            };
            if !fits {
                let message = format!("the schedule `{}` must give a float scalar", schedule.name());
                return self.fail(Code::BadOptimizer, span, message);
            }
            *value = now;
        }
        Ok(())
    }

    /// rate · factor, but no less than the least rate, unless the rate is below that anyway.
    fn reduced(&mut self, rate: &(Value, Span), least: f64) -> Result {
        let (_, span) = *rate;
        let factor = self.clock("rate_factor", DType::F32, InputSource::RateFactor, span)?;
        let lower = self.binary(BinaryOperator::Mul, rate.clone(), (factor, span), span)?;
        if least == 0.0 {
            return Ok(lower);
        }
        let (lower, rate) =
            (self.as_tensor(&lower, DType::F32, span)?, self.as_tensor(&rate.0, DType::F32, span)?);
        self.place(span);
        let b = &mut self.context.builder;
        let bounded = b.constant(least, DType::F32).and_then(|least| {
            let floor = b.binary(Binary::Min, rate.node, least)?;
            b.binary(Binary::Max, lower.node, floor)
        });
        let bounded = self.built(bounded, span)?;
        Ok(self.tensor(bounded))
    }

    fn optimize_one(
        &mut self,
        optimizer: &mut Optimizer,
        figure: &str,
        path: &str,
        node: NodeId,
        gradient: NodeId,
        step: &Value,
    ) -> Result<()> {
        let before = self.context.updated(path);
        let item = optimizer.item.clone();
        let inputs = item.callable.inputs.as_deref().unwrap_or(&[]);
        let Some(weight) = inputs.first() else {
            return self.fail(
                Code::BadOptimizer,
                item.callable.name.span,
                "an optimizer's second list names the weight, its gradient and the step: `(w, g, step)`",
            );
        };
        let scope = Scope::of_file(item.home);
        let bound = self.grouped(optimizer, path)?;
        for (param, (value, span)) in item.callable.params.iter().zip(bound) {
            scope.bind(&param.name.text, value, span);
        }
        let values = [self.tensor(before.unwrap_or(node)), self.tensor(gradient), step.clone()];
        if inputs.len() > values.len() {
            let message = "an optimizer takes the weight, its gradient and the step";
            let hint = format!("write `{0} <- {0} - …`", weight.name.text);
            return self.fail_hint(Code::BadOptimizer, item.callable.name.span, message, hint);
        }
        for (param, value) in inputs.iter().zip(values) {
            scope.bind(&param.name.text, value, optimizer.span);
        }
        let mut frame = Frame::new(Some(Rc::from(path)), item.name(), Some(Rc::from("an optimizer")));
        frame.states.insert(weight.name.text.clone(), path.to_owned());
        frame.slots = Some(Slots {
            name: weight.name.text.clone(),
            weight: path.to_owned(),
            prefix: self.slots_of(&format!("{path}/{}", item.name()), figure),
        });
        self.calls.push(CallSite { span: optimizer.span, name: Rc::from(item.name()) });
        self.frames.push(frame);
        let result = self.block(&item.callable.body, &scope.inner());
        self.frames.pop();
        self.calls.pop();
        result?;
        if self.context.updated(path) == before {
            let message = format!("`{}` never gives `{}` a new value", item.name(), weight.name.text);
            return self.fail(Code::BadOptimizer, item.callable.name.span, message);
        }
        Ok(())
    }

    /// What the paths of an optimizer's states for a weight start with. Where several losses of a training move a weight by the same optimizer, each
    /// has states of its own, and those after the first bear its figure's name.
    fn slots_of(&mut self, prefix: &str, figure: &str) -> String {
        let first = self.slot_owners.entry(prefix.to_owned()).or_insert_with(|| figure.to_owned());
        if first == figure { prefix.to_owned() } else { format!("{prefix}.{figure}") }
    }

    /// The parameters for one weight: group rules in order, then `with decay = false`, then what reduces the rate.
    fn grouped(&mut self, optimizer: &mut Optimizer, path: &str) -> Result<Vec<(Value, Span)>> {
        let mut values: Vec<(Value, Span)> =
            optimizer.bound.iter().map(|b| (b.value.clone(), b.span)).collect();
        for rule in &mut optimizer.rules {
            if !rule.patterns.iter().any(|pattern| matches_path(pattern, path)) {
                continue;
            }
            rule.matched = true;
            if let Some(slot) = values.get_mut(rule.place) {
                let new = if rule.multiply {
                    self.binary(
                        BinaryOperator::Mul,
                        slot.clone(),
                        (rule.value.clone(), rule.span),
                        rule.span,
                    )?
                } else {
                    rule.value.clone()
                };
                *slot = (new, rule.span);
            }
        }
        let decays = self.by_path.get(path).and_then(|i| self.variables.get(*i)).is_none_or(|d| d.decay);
        if !decays {
            let params = &optimizer.item.callable.params;
            for (param, slot) in params.iter().zip(&mut values) {
                if param.name.text == "decay" {
                    slot.0 = Value::Float(0.0);
                }
            }
        }
        if let Some(least) = optimizer.reduced
            && let Some(place) = optimizer.item.callable.params.iter().position(|p| p.name.text == RATE)
            && let Some(slot) = values.get_mut(place)
        {
            slot.0 = self.reduced(slot, least)?;
        }
        Ok(values)
    }
}

/// Does a path match a pattern, whole or from the part after a dot on? `*` stands for any run of characters.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let starts = std::iter::once(0).chain(path.match_indices('.').map(|(i, _)| i + 1));
    starts
        .into_iter()
        .any(|start| path.get(start..).is_some_and(|rest| glob(pattern.as_bytes(), rest.as_bytes())))
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or(&[]).iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches_path;

    #[test]
    fn patterns_match_paths() {
        assert!(matches_path("*.bias", "Cnn.conv2d.bias"));
        assert!(!matches_path("*.bias", "Cnn.conv2d.weight"));
        assert!(matches_path("*.norm.*", "Net.block.0.norm.scale"));
        assert!(matches_path("bert.*", "Classifier.bert.layer.0.weight"));
        assert!(!matches_path("bert.*", "Classifier.albert.weight"));
        assert!(matches_path("*", "a"));
    }
}
