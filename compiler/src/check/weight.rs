//! What is asked of a weight beside its first value: `with trainable = false, regularise = l2(1e-4), constrain = max_norm(2)`.
//!
//! A *regulariser* maps a weight to a number that is added to the loss of each step that moves the weight. A *constraint* maps the
//! new value of a weight to the one that is kept, after each update. Both may be given, or taken away, by the rules of a `minimize`:
//! `using adam() { regularise = l2(1e-4) for *.weight }`. A *reparametrisation* maps the weight to what the layer computes with; it
//! may be a layer, with weights and states of its own.

use super::optimizer::matches_path;
use super::scope::Scope;
use super::value::{Argument, Function, Tensor, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, NodeId, Op, TensorType};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, BinaryOperator};

/// A map that a weight is given to, and the place that names it.
#[derive(Clone, Debug)]
pub struct WeightMap {
    pub function: Rc<Function>,
    pub span: Span,
}

/// The attributes of a weight.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub trainable: bool,
    pub decay: bool,
    pub regularise: Option<WeightMap>,
    pub constrain: Option<WeightMap>,
    pub reparametrise: Option<WeightMap>,
}

/// The weights with regularisers that a loss moves.
pub type Penalties = Vec<(String, WeightMap)>;

/// `regularise = l2(1e-4) for *.weight` of a `minimize`.
#[derive(Debug)]
pub struct WeightRule {
    regularise: bool,
    map: Option<WeightMap>,
    patterns: Vec<String>,
    span: Span,
}

/// What may stand behind `with`.
const ATTRIBUTES: [&str; 5] = ["trainable", "decay", "regularise", "constrain", "reparametrise"];

/// The keys of group rules that are about weights themselves, not about the optimizer.
pub const WEIGHT_RULES: [&str; 2] = ["regularise", "constrain"];

impl Checker<'_> {
    pub(crate) fn attributes(&mut self, list: &[ast::Argument], scope: &Scope) -> Result<Attributes> {
        let mut all = Attributes {
            trainable: true,
            decay: true,
            regularise: None,
            constrain: None,
            reparametrise: None,
        };
        let mut failed = false;
        let mut seen: Vec<&ast::Name> = Vec::new();
        for attribute in list {
            let Some(key) = &attribute.name else { continue };
            if !ATTRIBUTES.contains(&key.text.as_str()) {
                let hint = did_you_mean(&key.text, ATTRIBUTES);
                let message = format!("a weight has no attribute `{}`", key.text);
                self.report(Diagnostic::error(Code::UnknownArgument, key.span, message).hint_if(hint));
                continue;
            }
            if let Some(first) = seen.iter().find(|n| n.text == key.text) {
                let message = format!("`{}` is given twice", key.text);
                let diagnostic = Diagnostic::error(Code::ExtraArgument, key.span, message);
                self.report(diagnostic.related(first.span, "first here"));
                failed = true;
            }
            seen.push(key);
            let Ok(value) = self.expr(&attribute.value, scope) else {
                failed = true;
                continue;
            };
            let span = self.given_at(&attribute.value, scope);
            let result = match key.text.as_str() {
                "trainable" => self.flag(key, value, span).map(|flag| all.trainable = flag),
                "decay" => self.flag(key, value, span).map(|flag| all.decay = flag),
                "regularise" => self.weight_map(key, value, span).map(|map| all.regularise = map),
                "constrain" => self.weight_map(key, value, span).map(|map| all.constrain = map),
                _ => self.weight_map(key, value, span).map(|map| all.reparametrise = map),
            };
            failed |= result.is_err();
        }
        if failed { Err(Reported) } else { Ok(all) }
    }

    fn flag(&mut self, key: &ast::Name, value: Value, span: Span) -> Result<bool> {
        match value {
            Value::Bool(flag) => Ok(flag),
            other => {
                let hint = self.kind_hint("bool", &other);
                let message = format!("`{}` is a bool, not {}", key.text, other.kind());
                Err(self.report(Diagnostic::error(Code::WrongKind, span, message).hint_if(hint)))
            }
        }
    }

    /// A map of weights, or `none`.
    fn weight_map(&mut self, key: &ast::Name, value: Value, span: Span) -> Result<Option<WeightMap>> {
        match value {
            Value::None => Ok(None),
            Value::Function(function) => Ok(Some(WeightMap { function, span })),
            other => {
                let hint = match key.text.as_str() {
                    "regularise" => "for example `regularise = l2(1e-4)`",
                    "constrain" => "for example `constrain = max_norm(2)`",
                    _ => "for example `reparametrise = weight_norm`",
                };
                let message = format!("`{}` is a fn of the weight, not {}", key.text, other.kind());
                self.fail_hint(Code::WrongKind, span, message, hint)
            }
        }
    }

    fn apply_to_weight(&mut self, map: &WeightMap, weight: NodeId) -> Result {
        let value = self.tensor(weight);
        let argument = Argument { name: None, value, span: map.span };
        self.apply(&map.function, vec![argument], map.span, None)
    }

    /// What a map makes of a weight, which keeps its type.
    pub(crate) fn mapped_weight(&mut self, map: &WeightMap, weight: NodeId, what: &str) -> Result<NodeId> {
        let ty = self.context.builder.ty(weight).clone();
        let value = self.apply_to_weight(map, weight)?;
        let made = match value {
            Value::Tensor(tensor) if self.tensor_type(tensor) == ty => return Ok(tensor.node),
            Value::Tensor(tensor) => self.tensor_type(tensor).to_string(),
            other => other.kind().to_owned(),
        };
        let message = format!("{what} gives a tensor like the weight, {ty}, but this gives {made}");
        self.fail(Code::WrongKind, map.span, message)
    }

    // ---- first values

    /// The first value of a weight that was declared before the one whose first value is being computed.
    pub(crate) fn first_value_of(&self, tensor: Tensor) -> Option<Tensor> {
        // While a first value is computed, `init` holds the entry that it was needed for.
        if self.context.id != super::INIT || tensor.graph != self.init.id {
            return None;
        }
        match &self.init.builder.graph.nodes.get(tensor.node.index())?.op {
            Op::Variable(path) => self.context.updated(path).map(|node| self.context.tensor(node)),
            _ => None,
        }
    }

    // ---- in trainings

    /// The rules of a `minimize` that are about weights.
    pub(crate) fn weight_rules(
        &mut self,
        groups: &[ast::GroupRule],
        scope: &Scope,
    ) -> Result<Vec<WeightRule>> {
        let mut rules = Vec::new();
        for group in groups.iter().filter(|g| WEIGHT_RULES.contains(&g.key.text.as_str())) {
            if group.multiply {
                let message = format!("`{}` is no number that could be multiplied", group.key.text);
                let hint = format!("write `{} = …`", group.key.text);
                return self.fail_hint(Code::BadGroup, group.span, message, hint);
            }
            let value = self.expr(&group.value, scope)?;
            let map = self.weight_map(&group.key, value, group.value.span)?;
            let patterns = group.patterns.iter().map(|p| p.value.clone()).collect();
            rules.push(WeightRule {
                regularise: group.key.text == "regularise",
                map,
                patterns,
                span: group.span,
            });
        }
        Ok(rules)
    }

    /// The regularisers of those weights, and the constraint of each.
    pub(crate) fn wishes(
        &mut self,
        weights: &[(String, NodeId)],
        rules: &[WeightRule],
    ) -> (Penalties, Vec<Option<WeightMap>>) {
        for rule in rules {
            let idle = |p: &String| !weights.iter().any(|(path, _)| matches_path(p, path));
            if rule.patterns.iter().all(idle) {
                self.idle_group(&rule.patterns, rule.span);
            }
        }
        let (mut penalties, mut constraints) = (Penalties::new(), Vec::new());
        for (path, _) in weights {
            let declared = self.by_path.get(path).and_then(|i| self.variables.get(*i));
            let ruled = |regularise: bool, own: Option<&WeightMap>| {
                let mut rules = rules.iter().rev().filter(|r| r.regularise == regularise);
                let last = rules.find(|r| r.patterns.iter().any(|p| matches_path(p, path)));
                last.map_or(own.cloned(), |rule| rule.map.clone())
            };
            let regularise = ruled(true, declared.and_then(|d| d.regularise.as_ref()));
            penalties.extend(regularise.map(|map| (path.clone(), map)));
            constraints.push(ruled(false, declared.and_then(|d| d.constrain.as_ref())));
        }
        (penalties, constraints)
    }

    /// The sum of all penalties, an f32 scalar.
    pub(crate) fn penalty(&mut self, penalties: &Penalties) -> Result<Option<(Value, Span)>> {
        let mut total: Option<(Value, Span)> = None;
        for (path, map) in penalties {
            let declared = self.by_path.get(path).and_then(|i| self.variables.get(*i)).ok_or(Reported)?;
            let ty = declared.variable.ty.clone();
            self.place(map.span);
            let weight = self.context.read(path, &ty);
            let weight = self.built(weight, map.span)?;
            let value = self.apply_to_weight(map, weight)?;
            let made = match &value {
                Value::Tensor(tensor) => self.tensor_type(*tensor).to_string(),
                other => other.kind().to_owned(),
            };
            if made != TensorType::scalar(DType::F32).to_string() {
                let message = format!("a regulariser gives one number, f32[], but this gives {made}");
                return self.fail(Code::WrongKind, map.span, message);
            }
            let own = (value, map.span);
            total = Some(match total {
                None => own,
                Some(total) => (self.binary(BinaryOperator::Add, total, own, map.span)?, map.span),
            });
        }
        Ok(total)
    }
}
