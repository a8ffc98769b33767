//! Instances: paths, weights and states.
//!
//! A [`Frame`] is a body under elaboration. Its path is that of its instance; names claimed in it are numbered from 1 each time the body
//! runs, so that the same body gives the same paths in every entry, and applying an instance again finds its weights again.

use super::scope::Scope;
use super::typed;
use super::value::{Argument, Function, FunctionKind, Given, Instance, Value};
use super::weight::{Attributes, WeightMap};
use super::{Checker, Declared, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, habits};
use crate::graph::{DType, NodeId, TensorType, Variable};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast;
use weft_runtime::program::VariableKind;

/// A body under elaboration.
#[derive(Debug)]
pub struct Frame {
    /// `None`: a `fn`, which claims its own name in the frame below once something in it needs a path.
    path: Option<Rc<str>>,
    name: Rc<str>,
    /// Names given so far. Each turn of a loop starts with those from before the loop.
    pub claimed: HashSet<String>,
    /// The turns of the compile-time loops around the current statement.
    pub loops: Vec<usize>,
    /// Why no weight may be made here.
    pub weightless: Option<Rc<str>>,
    /// Names that `<-` may update, with the paths of their variables.
    pub states: HashMap<String, String>,
    /// Is this the body of an optimizer?
    pub slots: Option<Slots>,
    /// A first value: calls inside it add nothing to the path, so that the stream is that of the weight.
    flat: bool,
}

/// The weight that an optimizer's body runs for.
#[derive(Clone, Debug)]
pub struct Slots {
    /// The optimizer's name for the weight.
    pub name: String,
    pub weight: String,
    /// What the paths of its states start with: `Cnn.dense.weight/adam`.
    pub prefix: String,
}

impl Frame {
    pub fn new(path: Option<Rc<str>>, name: &str, weightless: Option<Rc<str>>) -> Frame {
        Frame {
            path,
            name: Rc::from(name),
            claimed: HashSet::new(),
            loops: Vec::new(),
            weightless,
            states: HashMap::new(),
            slots: None,
            flat: false,
        }
    }
}

impl Checker<'_> {
    pub(crate) fn frame(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    /// The path of the innermost body, claimed if need be.
    pub(crate) fn path(&mut self) -> Rc<str> {
        self.path_of(self.frames.len())
    }

    fn path_of(&mut self, height: usize) -> Rc<str> {
        let Some(frame) = height.checked_sub(1).and_then(|i| self.frames.get(i)) else { return Rc::from("") };
        if let Some(path) = &frame.path {
            return path.clone();
        }
        let name = frame.name.clone();
        let flat = height.checked_sub(2).and_then(|i| self.frames.get(i)).is_some_and(|f| f.flat);
        let path = if flat { self.path_of(height - 1) } else { self.claim_in(height - 1, &name) };
        if let Some(frame) = self.frames.get_mut(height - 1) {
            frame.path = Some(path.clone());
            frame.flat = flat;
        }
        path
    }

    /// The path of a node made here: that of the innermost instance, and the `fn` that it calls, `Cnn.relu`. A `fn` within a `fn`
    /// adds nothing.
    pub(crate) fn node_path(&self) -> String {
        let known = self.frames.iter().rposition(|f| f.path.is_some());
        let called = self.frames.get(known.map_or(0, |i| i + 1)).map(|f| &*f.name);
        let instance = known.and_then(|i| self.frames.get(i));
        match (instance.and_then(|f| f.path.as_deref()), called) {
            (Some(path), Some(_)) if instance.is_some_and(|f| f.flat) => path.to_owned(),
            (Some(""), Some(called)) | (None, Some(called)) => called.to_owned(),
            (Some(path), Some(called)) => format!("{path}.{called}"),
            (path, None) => path.unwrap_or_default().to_owned(),
        }
    }

    /// A fresh path in the innermost body: `name`, `name_2`, … with the turns of the loops around it.
    pub(crate) fn claim(&mut self, name: &str) -> Rc<str> {
        self.claim_in(self.frames.len(), name)
    }

    fn claim_in(&mut self, height: usize, name: &str) -> Rc<str> {
        let base = self.path_of(height);
        let Some(frame) = height.checked_sub(1).and_then(|i| self.frames.get_mut(i)) else {
            return Rc::from(name);
        };
        let turns: String = frame.loops.iter().map(|i| format!(".{i}")).collect();
        let numbered = (1..).map(|i| if i == 1 { name.to_owned() } else { format!("{name}_{i}") });
        let free = numbered.into_iter().find(|n| !frame.claimed.contains(n)).unwrap_or_default();
        frame.claimed.insert(free.clone());
        let dot = if base.is_empty() { "" } else { "." };
        Rc::from(format!("{base}{dot}{free}{turns}"))
    }

    fn weightless(&self) -> Option<Rc<str>> {
        self.frames.last().and_then(|f| f.weightless.clone())
    }

    /// Binding a value to a name makes its templates instances.
    pub(crate) fn instantiate(&mut self, value: Value, name: &str) -> Value {
        if !value.holds_template() {
            return value;
        }
        let path = self.claim(name);
        self.instantiate_at(value, &path)
    }

    fn instantiate_at(&mut self, value: Value, path: &Rc<str>) -> Value {
        let place = |i: usize| -> Rc<str> { Rc::from(format!("{path}.{i}")) };
        match value {
            Value::Function(f) if f.is_template() => {
                let instance = Instance { path: path.clone(), weightless: self.weightless() };
                Value::Function(Rc::new(Function { kind: f.kind.clone(), instance: Some(instance) }))
            }
            Value::List(v) => Value::list(
                v.iter().cloned().enumerate().map(|(i, v)| self.instantiate_at(v, &place(i))).collect(),
            ),
            Value::Tuple(v) => Value::tuple(
                v.iter().cloned().enumerate().map(|(i, v)| self.instantiate_at(v, &place(i))).collect(),
            ),
            Value::Record(v) => Value::Record(Rc::new(
                v.iter()
                    .cloned()
                    .map(|(n, v)| {
                        let v = self.instantiate_at(v, &Rc::from(format!("{path}.{n}")));
                        (n, v)
                    })
                    .collect(),
            )),
            other => other,
        }
    }

    /// The instance that an application runs at: the function's own, or a new one.
    pub(crate) fn instance_for(&mut self, function: &Function, name: Option<&str>) -> Instance {
        match &function.instance {
            Some(instance) => instance.clone(),
            None => {
                let path = self.claim(name.unwrap_or_else(|| function.name()));
                Instance { path, weightless: self.weightless() }
            }
        }
    }

    /// `fresh m`
    pub(crate) fn fresh(&mut self, value: Value, span: Span) -> Result {
        match value {
            Value::Function(f) if f.instance.is_some() || f.is_template() => {
                let kind = f.kind.clone();
                Ok(Value::Function(Rc::new(Function { kind, instance: None })))
            }
            // The bare name of a layer: with its defaults.
            Value::Function(f) if f.is_factory() => {
                let FunctionKind::Item { item, .. } = &f.kind else { return Err(Reported) };
                let given = Given::Configuration(Rc::new(self.configure(item, Vec::new(), span)?));
                Ok(Value::function(FunctionKind::Item { item: item.clone(), given }))
            }
            Value::List(v) => {
                let mut fresh = Vec::new();
                for v in v.iter() {
                    fresh.push(self.fresh(v.clone(), span)?);
                }
                Ok(Value::list(fresh))
            }
            other => self.fail(
                Code::BadFresh,
                span,
                format!("`fresh` needs a layer or a model, not {}", other.kind()),
            ),
        }
    }

    // ---- weights and states

    /// Says that a weight or state has no instance to belong to. Of a library's layer its use is the mistake, whatever it declares.
    fn homeless(&mut self, what: &str, name: &ast::Name, why: &str) -> Result<()> {
        let message = match self.user_span(name.span) == name.span {
            true => format!("`{what} {}` cannot be made in {why}", name.text),
            false => format!("a layer with weights cannot be made in {why}"),
        };
        let hint = match why.strip_prefix("the fn ") {
            Some(_) => "make it a `layer`, or take the layer as a parameter",
            None => "make it in the body of a `model` or a `layer`, and use that here",
        };
        self.fail_hint(Code::WeightInFn, name.span, message, hint)
    }

    /// `weight name: type = value with attributes`
    pub(crate) fn weight(
        &mut self,
        name: &ast::Name,
        ty: &ast::Type,
        value: &ast::Expr,
        attributes: &[ast::Argument],
        scope: &Scope,
    ) -> Result<()> {
        if let Some(why) = self.weightless() {
            return self.homeless("weight", name, &why);
        }
        let attributes = self.attributes(attributes, scope)?;
        let path = self.claim(&name.text).to_string();
        let ty = self.constant_type(ty, scope, &name.text)?;
        let kind = VariableKind::Weight;
        let Attributes { trainable, decay, regularise, constrain, reparametrise } = attributes;
        let mut node = self.variable(&path, kind, &ty, trainable, decay, name.span, Some((value, scope)))?;
        if let Some(declared) = self.by_path.get(&path).and_then(|i| self.variables.get_mut(*i)) {
            (declared.regularise, declared.constrain) = (regularise, constrain);
        }
        if let Some(WeightMap { function, span }) = reparametrise {
            // Each weight has an instance of its own.
            let function = Rc::new(Function { kind: function.kind.clone(), instance: None });
            node = self.mapped_weight(&WeightMap { function, span }, node, "`reparametrise`")?;
        }
        let tensor = self.tensor(node);
        scope.bind(&name.text, tensor, name.span);
        Ok(())
    }

    /// `tokens.table`: a weight of a layer with a name, as it stands. It exists from the layer's first use on.
    pub(crate) fn weight_of(&mut self, function: &Function, field: &ast::Name) -> Result {
        let Some(instance) = &function.instance else { return Err(Reported) };
        let prefix = format!("{}.", instance.path);
        if let Some(declared) = self.by_path.get(&format!("{prefix}{}", field.text)) {
            let declared = self.variables.get(*declared).map(|d| d.variable.clone());
            let variable = declared.ok_or(Reported)?;
            self.place(field.span);
            let node = self.context.read(&variable.path, &variable.ty);
            let node = self.built(node, field.span)?;
            return Ok(self.tensor(node));
        }
        let paths = self.variables.iter().filter(|d| d.variable.kind == VariableKind::Weight);
        let own =
            paths.filter_map(|d| d.variable.path.strip_prefix(&prefix).filter(|name| !name.contains('.')));
        let own: Vec<String> = own.map(str::to_owned).collect();
        let first =
            || format!("`{}` has its weights from its first use on: apply it before", function.name());
        let hint = match (habits::member(&field.text), own.is_empty()) {
            (Some(habit), _) => habit.to_owned(),
            (None, true) => first(),
            (None, false) => did_you_mean(&field.text, own.iter().map(String::as_str))
                .unwrap_or_else(|| format!("it has: {}", own.join(", "))),
        };
        let kind = Value::Function(Rc::new(function.clone())).kind();
        let message = format!("{kind} has no weight `{}`", field.text);
        Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint(hint)))
    }

    /// `state name: type = value`
    pub(crate) fn state(
        &mut self,
        name: &ast::Name,
        ty: Option<&ast::Type>,
        value: &ast::Expr,
        scope: &Scope,
    ) -> Result<()> {
        let slots = self.frames.last().and_then(|f| f.slots.clone());
        if slots.is_none()
            && let Some(why) = self.weightless()
        {
            return self.homeless("state", name, &why);
        }
        let ty = match ty {
            Some(ty) => Some(self.constant_type(ty, scope, &name.text)?),
            None => None,
        };
        let mut first_scope = scope.clone();
        let (path, kind) = match slots {
            Some(slots) => {
                // The first value may read the weight: in the `init` entry that is the weight's own first value.
                let Some(node) = self.init.updated(&slots.weight) else { return Err(Reported) };
                first_scope = scope.inner();
                first_scope.bind(&slots.name, Value::Tensor(self.init.tensor(node)), name.span);
                (format!("{}.{}", slots.prefix, name.text), VariableKind::Slot)
            }
            None => (self.claim(&name.text).to_string(), VariableKind::State),
        };
        let known =
            self.by_path.get(&path).and_then(|i| self.variables.get(*i)).map(|d| d.variable.ty.clone());
        let node = match ty.or(known) {
            Some(ty) => {
                self.variable(&path, kind, &ty, false, false, name.span, Some((value, &first_scope)))?
            }
            None => {
                let ty = self.state_by_value(&path, kind, name.span, value, &first_scope)?;
                self.place(name.span);
                let node = self.context.read(&path, &ty);
                self.built(node, name.span)?
            }
        };
        let tensor = self.tensor(node);
        if let Some(frame) = self.frame() {
            frame.states.insert(name.text.clone(), path);
        }
        scope.bind(&name.text, tensor, name.span);
        Ok(())
    }

    /// Declares a state that states no type: it takes that of its first value.
    fn state_by_value(
        &mut self,
        path: &str,
        kind: VariableKind,
        span: Span,
        value: &ast::Expr,
        scope: &Scope,
    ) -> Result<TensorType> {
        let ty = self.in_init(path, |checker| {
            let first = checker.expr(value, scope)?;
            let tensor = checker.as_tensor(&first, DType::F32, value.span)?;
            let ty = checker.tensor_type(tensor);
            if let Some(dim) = ty.shape.iter().find(|d| d.as_constant().is_none()) {
                let message = format!("the shape of a state must be constant, but `{dim}` is not");
                return checker.fail(Code::DynamicWeight, value.span, message);
            }
            checker.context.update(path, tensor.node);
            Ok(ty)
        })?;
        let site = self.user_span(span);
        let (path_of, channels) = (path.to_owned(), Vec::new());
        let variable =
            Variable { path: path_of, kind, ty: ty.clone(), trainable: false, channels, span: site };
        self.by_path.insert(path.to_owned(), self.variables.len());
        self.variables.push(Declared::new(variable, false, span));
        Ok(ty)
    }

    /// `name <- value`
    pub(crate) fn update(&mut self, target: &ast::Name, value: &ast::Expr, scope: &Scope) -> Result<()> {
        if !self.context.turns.is_empty() {
            let name = &target.text;
            return self.fail_hint(
                Code::BadUpdate,
                target.span,
                format!("`{name}` cannot change inside a `scan`, which runs its body for every step"),
                format!("carry it, `carrying now = {name}`, and write `{name} <- states.now` behind the scan; a layer that changes a state, such as `batch_norm`, stands before or behind it"),
            );
        }
        let path = self.frames.last().and_then(|f| f.states.get(&target.text)).cloned();
        let Some(path) = path else {
            if matches!(scope.find(&target.text), Some((Value::Error, _))) {
                return Err(Reported);
            }
            let names: Vec<String> =
                self.frames.last().map(|f| f.states.keys().cloned().collect()).unwrap_or_default();
            let hint = did_you_mean(&target.text, names.iter().map(String::as_str));
            let message = format!("`{}` is no state of this body", target.text);
            return Err(self.report(Diagnostic::error(Code::BadUpdate, target.span, message).hint_if(hint)));
        };
        let new = self.expr(value, scope)?;
        let Some(declared) = self.by_path.get(&path).and_then(|i| self.variables.get(*i)) else {
            return Err(Reported);
        };
        let (ty, declared_at) = (declared.variable.ty.clone(), declared.variable.span);
        let node = self.fitted(&new, &ty, value.span).map_err(|message| match message {
            None => Reported,
            Some(message) => self.report(
                Diagnostic::error(
                    Code::ResultMismatch,
                    value.span,
                    format!("`{}` is {ty}; {message}", target.text),
                )
                .related(declared_at, "declared here"),
            ),
        })?;
        self.context.update(&path, node);
        let tensor = self.tensor(node);
        scope.assign(&target.text, tensor, target.span);
        Ok(())
    }

    /// A value as a tensor of exactly this type; numbers and scalars fill it. `Err(Some(why))` when it does not fit.
    pub(crate) fn fitted(
        &mut self,
        value: &Value,
        ty: &TensorType,
        span: Span,
    ) -> std::result::Result<NodeId, Option<String>> {
        let tensor = self.as_tensor(value, ty.dtype, span).map_err(|_| None)?;
        let mut node = tensor.node;
        self.place(span);
        let has = self.context.builder.ty(node).clone();
        if has.dtype != ty.dtype {
            return Err(Some(format!("the new value is {has}")));
        }
        if has.rank() == 0 {
            node = self.context.builder.broadcast_to(node, &ty.shape).map_err(|e| Some(e.message))?;
        }
        if *self.context.builder.ty(node) != *ty {
            return Err(Some(format!("the new value is {has}")));
        }
        Ok(node)
    }

    /// Declares a variable at its first use, with its first value; gives the node that reads it.
    pub(crate) fn variable(
        &mut self,
        path: &str,
        kind: VariableKind,
        ty: &TensorType,
        trainable: bool,
        decay: bool,
        span: Span,
        first: Option<(&ast::Expr, &Scope)>,
    ) -> Result<NodeId> {
        match self.by_path.get(path).and_then(|i| self.variables.get(*i)) {
            Some(declared) if declared.variable.ty != *ty => {
                let was = declared.variable.ty.clone();
                // The two uses part where the calls that led to them do.
                let calls = self.calls.iter().map(|call| call.span).zip(declared.calls.iter().copied());
                let parted = calls.into_iter().find(|(here, site)| here != site);
                let (here, site) = parted
                    .filter(|(here, site)| [here, site].iter().all(|at| !self.sources.is_std(at.file)))
                    .unwrap_or((self.user_span(span), declared.site));
                return Err(self.report(
                    Diagnostic::error(
                        Code::SharedClash,
                        here,
                        format!("`{path}` is {was} from its first use, but this use needs {ty}"),
                    )
                    .label(format!("needs {ty}"))
                    .related(site, format!("first used as {was}"))
                    .hint("one name is one instance; write a second layer, or `fresh`"),
                ));
            }
            Some(declared) if declared.statement != span => {
                let (statement, message) =
                    (declared.statement, format!("two weights have the path `{path}`"));
                return Err(self.report(
                    Diagnostic::error(Code::SharedClash, span, message).related(statement, "the other one"),
                ));
            }
            Some(_) => {}
            None => {
                let variable = Variable {
                    path: path.to_owned(),
                    kind,
                    ty: ty.clone(),
                    trainable,
                    channels: Vec::new(),
                    span: self.user_span(span),
                };
                self.by_path.insert(path.to_owned(), self.variables.len());
                let calls = self.calls.iter().map(|call| call.span).collect();
                self.variables.push(Declared { calls, ..Declared::new(variable, decay, span) });
                if let Some((value, scope)) = first {
                    self.first_value(path, ty, value, scope)?;
                } else {
                    let node = self.init.builder.full(0.0, ty);
                    let node = self.built(node, span)?;
                    self.init.update(path, node);
                }
            }
        }
        self.place(span);
        let node = self.context.read(path, ty);
        self.built(node, span)
    }

    fn first_value(&mut self, path: &str, ty: &TensorType, value: &ast::Expr, scope: &Scope) -> Result<()> {
        self.in_init(path, |checker| {
            let mut first = checker.expr(value, scope)?;
            if let Value::Function(f) = &first {
                let shape = Value::list(ty.shape.iter().cloned().map(Value::dim).collect());
                let argument = Argument { name: None, value: shape, span: value.span };
                first = checker.apply(&f.clone(), vec![argument], value.span, None)?;
            }
            let tensor = checker.as_tensor(&first, ty.dtype, value.span)?;
            checker.place(value.span);
            let cast = checker.context.builder.cast(tensor.node, ty.dtype);
            let cast = checker.built(cast, value.span)?;
            let cast = checker.tensor(cast);
            match checker.fitted(&cast, ty, value.span) {
                Ok(node) => {
                    checker.context.update(path, node);
                    Ok(())
                }
                Err(None) => Err(Reported),
                Err(Some(message)) => checker.fail(
                    Code::ResultMismatch,
                    value.span,
                    format!("the first value must be {ty}, like what is declared; {message}"),
                ),
            }
        })
    }

    /// Runs `work` with the `init` entry as the graph under construction and `path` as the path of streams.
    fn in_init<T>(&mut self, path: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        std::mem::swap(&mut self.context, &mut self.init);
        let why = Rc::from("a first value");
        self.frames.push(Frame { flat: true, ..Frame::new(Some(Rc::from(path)), "init", Some(why)) });
        let result = work(self);
        self.frames.pop();
        std::mem::swap(&mut self.context, &mut self.init);
        result
    }

    // ---- the tree of instances, for the summary

    /// Notes an application of an instance; the first one stands in the summary.
    pub(crate) fn note_instance(
        &mut self,
        path: &Rc<str>,
        function: &Function,
        inputs: &[Value],
        output: &Value,
        span: Span,
        order: usize,
    ) {
        if self.muted > 0 || self.instance_places.contains_key(path) {
            return;
        }
        let inputs = inputs.iter().filter_map(|v| self.show_type(v)).collect();
        let output = self.show_type(output).unwrap_or_default();
        let (line, _) = self.sources.position(self.user_span(span));
        self.instance_places.insert(path.clone(), order);
        let (layer, doc) = (Self::layer_text(function), Self::layer_doc(function));
        self.instances.push(typed::Instance {
            path: path.to_string(),
            layer,
            doc,
            inputs,
            output,
            line,
            order,
        });
    }

    /// The type of a value with tensors in it: `f32[n, 10]`, `(f32[n, 8], f32[n, 8])`.
    pub(crate) fn show_type(&self, value: &Value) -> Option<String> {
        match value {
            Value::Tensor(t) if t.graph == self.context.id => Some(self.tensor_type(*t).to_string()),
            Value::Tuple(v) | Value::List(v) => {
                let parts: Vec<String> = v.iter().filter_map(|v| self.show_type(v)).collect();
                (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
            }
            Value::Record(v) => {
                let parts: Vec<String> =
                    v.iter().filter_map(|(n, v)| Some(format!("{n}: {}", self.show_type(v)?))).collect();
                (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
            }
            _ => None,
        }
    }

    fn layer_doc(function: &Function) -> Option<String> {
        match &function.kind {
            FunctionKind::Item { item, .. } => item.doc.as_ref()?.lines().next().map(str::to_owned),
            _ => None,
        }
    }

    /// The name of the layer kind of an instance: `conv2d(filters = 32, kernel = 3)`.
    fn layer_text(function: &Function) -> String {
        match &function.kind {
            FunctionKind::Lambda(_) => "fn".into(),
            _ => function.show(),
        }
    }
}
