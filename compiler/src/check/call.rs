//! Calls: binding arguments to parameters, telling maps from applications, running bodies.

use super::layer::Frame;
use super::names::Global;
use super::scope::Scope;
use super::shape::Signature;
use super::value::{Argument, Bound, Function, FunctionKind, Given, Instance, Item, Lambda, Value};
use super::{CallSite, Checker, MAX_CALLS, Reported, Result, builtins, trail};
use crate::diagnostics::{Code, Diagnostic, did_you_mean_argument, nearest};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, CallableKind, Expr, ExprKind, Param, TypeKind};

impl Checker<'_> {
    /// `callee(arguments)`. `name`: the name of a pipe's stage.
    pub(crate) fn call(
        &mut self,
        callee: &Expr,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
        name: Option<&ast::Name>,
    ) -> Result {
        let function = self.expr(callee, scope);
        // What stands on the next line is no argument when this cannot be called: its names may not even be bound yet.
        let grown = self.grown(callee.span, span);
        let function = match function {
            Ok(value) if grown && !matches!(value, Value::Function(_) | Value::Error) => {
                return self.fail_hint(
                    Code::NotCallable,
                    span,
                    format!("{} is applied to what stands on the next line", value.kind()),
                    "white space means nothing: end the statement before a `(` with `;`",
                );
            }
            Ok(value @ (Value::Function(_) | Value::Error)) => self.function(&value, callee.span),
            Ok(value) => self.not_callable(callee, &value, scope),
            Err(reported) if grown => return Err(reported),
            Err(reported) => Err(reported),
        };
        let empty = Vec::new();
        let params: &[Param] = match &function {
            Ok(f) => match &f.kind {
                FunctionKind::Item { item, given: Given::Configuration(_) } => {
                    item.callable.inputs.as_deref().unwrap_or(&[])
                }
                FunctionKind::Item { item, .. } if item.callable.params.is_empty() => {
                    item.callable.inputs.as_deref().unwrap_or(&[])
                }
                FunctionKind::Item { item, .. } => &item.callable.params,
                FunctionKind::Lambda(lambda) => &lambda.params,
                _ => &empty,
            },
            Err(_) => &empty,
        };
        // All arguments are evaluated, so that each reports its own errors.
        let values = self.arguments(arguments, params, scope);
        let function = function?;
        self.apply(&function, values?, span, name)
    }

    /// Says that this is no function, and when a local name hides one.
    fn not_callable(&mut self, callee: &Expr, value: &Value, scope: &Scope) -> Result<Rc<Function>> {
        let hidden = match &callee.kind {
            ExprKind::Name(name) if self.is_known(name) => scope.find(name).map(|(_, bound)| (name, bound)),
            _ => None,
        };
        let Some((name, bound)) = hidden else { return self.function(value, callee.span) };
        let message = format!("{} cannot be applied", value.kind());
        Err(self.report(
            Diagnostic::error(Code::NotCallable, callee.span, message)
                .related(bound, format!("this `{name}` hides the function of that name"))
                .hint(format!("give this one another name, so that `{name}(…)` is the function")),
        ))
    }

    /// Does the call's `(` stand on a line below its callee?
    fn grown(&self, callee: Span, call: Span) -> bool {
        let between = Span { start: callee.end, ..call };
        self.sources.text(between).split('(').next().is_some_and(|gap| gap.contains('\n'))
    }

    /// Where a value was given: what a parameter of the library brought is best named at the user's own argument.
    pub(crate) fn given_at(&self, expr: &Expr, scope: &Scope) -> Span {
        let bound = match &expr.kind {
            ExprKind::Name(name) if self.sources.is_std(expr.span.file) => scope.find(name).map(|(_, at)| at),
            _ => None,
        };
        bound.filter(|at| !self.sources.is_std(at.file)).unwrap_or(expr.span)
    }

    /// Evaluates arguments. A bare name that is an option of its parameter's `choice` is that option.
    pub(crate) fn arguments(
        &mut self,
        arguments: &[ast::Argument],
        params: &[Param],
        scope: &Scope,
    ) -> Result<Vec<Argument>> {
        let mut values = Vec::new();
        let mut failed = false;
        for (place, argument) in arguments.iter().enumerate() {
            let candidates: Vec<&Param> = match &argument.name {
                // A misspelt name may be of any parameter.
                Some(name) => match params.iter().find(|p| p.name.text == name.text) {
                    Some(param) => vec![param],
                    None => params.iter().collect(),
                },
                // In a map the first parameter is left out, so a positional argument may be for the next one.
                None => params.iter().skip(place).take(2).collect(),
            };
            if self.misplaced_option(argument, &candidates, params, scope).is_some() {
                failed = true;
                continue;
            }
            match self.argument(&argument.value, &candidates, scope) {
                Ok(value) => {
                    let tensor = value.is_tensor();
                    let span =
                        if tensor { argument.value.span } else { self.given_at(&argument.value, scope) };
                    values.push(Argument { name: argument.name.clone(), value, span })
                }
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(values) }
    }

    /// An option of a `choice` at the place of another parameter.
    fn misplaced_option(
        &mut self,
        argument: &ast::Argument,
        candidates: &[&Param],
        params: &[Param],
        scope: &Scope,
    ) -> Option<Reported> {
        let ExprKind::Name(name) = &argument.value.kind else { return None };
        let offers = |p: &&Param| match p.ty.as_ref().map(|t| &t.kind) {
            Some(TypeKind::Choice(options)) => options.iter().any(|o| o.text == *name),
            _ => false,
        };
        let owner = params.iter().find(offers)?;
        if candidates.iter().any(offers)
            || scope.find(name).is_some()
            || self.global(scope.home(), name, argument.value.span).is_some()
        {
            return None;
        }
        self.touched.insert(argument.value.span);
        let owner = &owner.name.text;
        let message = format!("`{name}` is an option of `{owner}`, not a value of its own");
        let hint = format!("write `{owner} = {name}`");
        Some(self.report(Diagnostic::error(Code::WrongKind, argument.value.span, message).hint(hint)))
    }

    fn argument(&mut self, expr: &Expr, candidates: &[&Param], scope: &Scope) -> Result {
        if let ExprKind::Name(name) = &expr.kind {
            let options = candidates.iter().filter_map(|p| match p.ty.as_ref().map(|t| &t.kind) {
                Some(TypeKind::Choice(options)) => Some(options),
                _ => None,
            });
            let options: Vec<&ast::Name> = options.flatten().collect();
            let local = scope.find(name);
            if options.iter().any(|o| o.text == *name) && !matches!(local, Some((Value::Choice(_), _))) {
                return Ok(Value::Choice(Rc::from(name.as_str())));
            }
            let known = match self.global(scope.home(), name, expr.span) {
                _ if local.is_some() || name == "training" => true,
                // A function may be meant for the other parameter, if there is one.
                Some(Ok(Global::Value(Value::Function(_)))) => candidates.len() > 1,
                global => global.is_some(),
            };
            if !options.is_empty() && !known && candidates.len() <= 2 {
                return Err(self.no_option(name, expr.span, &options));
            }
        }
        self.expr(expr, scope)
    }

    /// A bare name where one of a choice's options must stand.
    pub(crate) fn no_option(&mut self, name: &str, span: Span, options: &[&ast::Name]) -> Reported {
        self.touched.insert(span);
        let near = nearest(name, options.iter().map(|o| o.text.as_str()));
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        let list = options.iter().map(|o| format!("`{}`", o.text)).collect::<Vec<_>>().join(" or ");
        let message = format!("`{name}` is not one of {list}");
        self.report(Diagnostic::error(Code::WrongKind, span, message).hint_if(hint))
    }

    /// Applies a function to evaluated arguments.
    pub(crate) fn apply(
        &mut self,
        function: &Rc<Function>,
        arguments: Vec<Argument>,
        span: Span,
        name: Option<&ast::Name>,
    ) -> Result {
        if self.calls.len() >= MAX_CALLS {
            return self.fail_hint(
                Code::TooLarge,
                span,
                "calls are nested too deeply; does one call itself?",
                "copies one after another are written `repeat(3, block)`, or with `for`",
            );
        }
        self.calls.push(CallSite { span, name: Rc::from(function.name()) });
        let result = match self.by_user(span) {
            true => self.apply_in_sight(function, arguments, span, name),
            false => self.apply_inner(function, arguments, span, name),
        };
        self.calls.pop();
        result
    }

    /// An application that stands in the user's text: it leaves a step on the trail, or its error is told how its inputs came about.
    fn apply_in_sight(
        &mut self,
        function: &Rc<Function>,
        arguments: Vec<Argument>,
        span: Span,
        name: Option<&ast::Name>,
    ) -> Result {
        let before = self.diagnostics.len();
        let result = self.apply_inner(function, arguments.clone(), span, name);
        match &result {
            Ok(value) => {
                let inputs: Vec<Value> = arguments.iter().map(|a| a.value.clone()).collect();
                let call = trail::Call { function: function.clone(), arguments };
                self.tread(span, Some(call), &inputs, value);
            }
            Err(Reported) => self.explain_shapes(before, &Self::given_tensors(&arguments)),
        }
        result
    }

    fn apply_inner(
        &mut self,
        function: &Rc<Function>,
        arguments: Vec<Argument>,
        span: Span,
        name: Option<&ast::Name>,
    ) -> Result {
        match &function.kind {
            FunctionKind::Builtin { builtin, given } => builtins::call(self, builtin, given, arguments, span),
            FunctionKind::Repeat { count, inner, span: at } => {
                self.apply_repeat(function, *count, inner, *at, arguments, span, name)
            }
            FunctionKind::Lambda(lambda) => {
                let instance = self.instance_for(function, name.map(|n| n.text.as_str()));
                self.run_lambda(function, lambda, instance, arguments, span)
            }
            FunctionKind::Item { item, given } => {
                self.apply_item(function, item, given, arguments, span, name)
            }
        }
    }

    fn apply_item(
        &mut self,
        function: &Rc<Function>,
        item: &Rc<Item>,
        given: &Given,
        arguments: Vec<Argument>,
        span: Span,
        name: Option<&ast::Name>,
    ) -> Result {
        let callable = &item.callable;
        let with = |given: Given| {
            let kind = FunctionKind::Item { item: item.clone(), given };
            Value::Function(Rc::new(Function { kind, instance: function.instance.clone() }))
        };
        if callable.inputs.is_none() {
            let arguments = match given {
                Given::Waiting(kept) => join(arguments, kept),
                _ => arguments,
            };
            if waits(&callable.params, &arguments) {
                let kept = self.named(&callable.params, arguments, item.name())?;
                self.note_call(item.name(), &callable.params, &kept, true, span);
                return Ok(with(Given::Waiting(Rc::new(kept))));
            }
            self.note_call(item.name(), &callable.params, &arguments, false, span);
            let instance = function.instance.clone();
            return self.run_item(function, item, None, instance, arguments, span);
        }
        let configuration = match given {
            Given::Configuration(bound) => bound.clone(),
            _ => {
                let takes_tensors =
                    |p: &Param| matches!(&p.ty, Some(t) if matches!(t.kind, TypeKind::Tensor { .. }));
                let direct = callable.params.is_empty()
                    || (arguments.iter().any(|a| a.name.is_none() && a.value.is_tensor())
                        && !callable.params.iter().any(takes_tensors));
                let stated = if direct { Vec::new() } else { arguments.clone() };
                let bound = Rc::new(self.configure(item, stated, span)?);
                if !direct {
                    return Ok(with(Given::Configuration(bound)));
                }
                bound
            }
        };
        if callable.kind == CallableKind::Optimizer {
            return self.fail_hint(
                Code::NotCallable,
                span,
                format!("`{}` is an optimizer; it cannot be applied here", item.name()),
                "write `minimize … using …` in a `train` block",
            );
        }
        let instance = match callable.kind {
            CallableKind::Fn => function.instance.clone(),
            _ => Some(self.instance_for(function, name.map(|n| n.text.as_str()))),
        };
        self.run_item(function, item, Some(configuration), instance, arguments, span)
    }

    /// Evaluates a configuration: given arguments, then defaults, which may read earlier parameters.
    pub(crate) fn configure(
        &mut self,
        item: &Item,
        arguments: Vec<Argument>,
        span: Span,
    ) -> Result<Vec<Bound>> {
        let (scope, callee) = (&Scope::of_file(item.home), item.name());
        let params = &item.callable.params;
        self.note_call(callee, params, &arguments, false, span);
        let slots = self.slots(params, arguments, callee)?;
        self.need_all(params, &slots, callee, span)?;
        // Any number of an optimizer may follow a schedule.
        let schedules = item.callable.kind == CallableKind::Optimizer;
        let mut bound = Vec::new();
        let mut failed = false;
        for (param, slot) in params.iter().zip(slots) {
            let result = self.plain(param, slot, callee, scope, schedules);
            match &result {
                Ok(b) => scope.bind(&param.name.text, b.value.clone(), b.span),
                Err(Reported) => scope.bind(&param.name.text, Value::Error, param.name.span),
            }
            match result {
                Ok(b) => bound.push(b),
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(bound) }
    }

    fn plain(
        &mut self,
        param: &Param,
        slot: Option<Argument>,
        callee: &str,
        scope: &Scope,
        schedules: bool,
    ) -> Result<Bound> {
        let (value, at, default) = self.given_or_default(param, slot, scope)?;
        let optional = param.default.as_ref().is_some_and(|d| matches!(d.kind, ExprKind::None));
        if optional && matches!(value, Value::None) {
            return Ok(Bound { value, span: at, default });
        }
        let number = param.ty.as_ref().is_some_and(|ty| ty.is_kind("float"));
        if schedules && number && matches!(value, Value::Function(_)) {
            return Ok(Bound { value, span: at, default });
        }
        let what = format!("`{}` of `{callee}`", param.name.text);
        let value = match &param.ty {
            // Whoever takes a schedule, and is no optimizer, will ask it for its value: a number becomes one that never changes.
            Some(ty) if !schedules && value.is_number() && ty.is_kind("schedule") => {
                self.steady(value, at, scope)?
            }
            Some(ty) => self.of_kind(ty, value, at, &what)?,
            // Without a type, a fraction as the default says that the parameter is a float.
            None => match (&param.default, value) {
                (Some(Expr { kind: ExprKind::Float(_), .. }), Value::Int(i)) => Value::Float(i as f64),
                (_, value) => value,
            },
        };
        Ok(Bound { value, span: at, default })
    }

    /// `constant_rate(value)`
    fn steady(&mut self, value: Value, span: Span, scope: &Scope) -> Result {
        match self.global(scope.home(), "constant_rate", span) {
            Some(Ok(Global::Value(Value::Function(steady)))) => {
                self.apply(&steady, vec![Argument { name: None, value, span }], span, None)
            }
            _ => Ok(value),
        }
    }

    fn given_or_default(
        &mut self,
        param: &Param,
        slot: Option<Argument>,
        scope: &Scope,
    ) -> Result<(Value, Span, bool)> {
        match (slot, &param.default) {
            (Some(argument), _) => Ok((self.readable(argument.value, argument.span)?, argument.span, false)),
            (None, Some(default)) => Ok((self.argument(default, &[param], scope)?, default.span, true)),
            // It was reported with the others that are missing.
            (None, None) => Err(Reported),
        }
    }

    /// One slot a parameter, in order.
    fn slots(
        &mut self,
        params: &[Param],
        arguments: Vec<Argument>,
        callee: &str,
    ) -> Result<Vec<Option<Argument>>> {
        let mut slots: Vec<Option<Argument>> = params.iter().map(|_| None).collect();
        let mut next = 0;
        let mut failed = false;
        for argument in arguments {
            let place = match &argument.name {
                Some(name) => params.iter().position(|p| p.name.text == name.text),
                None => {
                    next += 1;
                    Some(next - 1)
                }
            };
            match (place.and_then(|p| slots.get_mut(p)), &argument.name) {
                (Some(slot @ None), _) => *slot = Some(argument),
                (Some(Some(earlier)), _) => {
                    let earlier = earlier.span;
                    let which = place.and_then(|p| params.get(p)).map_or("", |p| p.name.text.as_str());
                    let message = format!("`{which}` of `{callee}` is given twice");
                    self.report(
                        Diagnostic::error(Code::ExtraArgument, argument.span, message)
                            .related(earlier, "first here"),
                    );
                    failed = true;
                }
                (None, Some(name)) => {
                    let hint = did_you_mean_argument(&name.text, params.iter().map(|p| p.name.text.as_str()));
                    let message = format!("`{callee}` has no parameter `{}`", name.text);
                    self.report(Diagnostic::error(Code::UnknownArgument, name.span, message).hint_if(hint));
                    failed = true;
                }
                (None, None) => {
                    let count = match params.len() {
                        0 => "no arguments".to_owned(),
                        1 => "1 argument".to_owned(),
                        n => format!("{n} arguments"),
                    };
                    let message = format!("`{callee}` takes {count} here");
                    self.report(
                        Diagnostic::error(Code::ExtraArgument, argument.span, message).label("one too many"),
                    );
                    failed = true;
                }
            }
        }
        if failed { Err(Reported) } else { Ok(slots) }
    }

    /// Says what was not given, in one message.
    fn need_all(
        &mut self,
        params: &[Param],
        slots: &[Option<Argument>],
        callee: &str,
        span: Span,
    ) -> Result<()> {
        let missing: Vec<&Param> = params
            .iter()
            .zip(slots)
            .filter_map(|(param, slot)| (slot.is_none() && param.default.is_none()).then_some(param))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = missing.iter().map(|p| format!("`{}`", p.name.text)).collect();
        let mut diagnostic = Diagnostic::error(
            Code::MissingArgument,
            span,
            format!("`{callee}` needs {}", names.join(" and ")),
        );
        for param in missing {
            diagnostic = diagnostic.related(param.span, "declared here");
        }
        Err(self.report(diagnostic))
    }

    /// The arguments of a waiting `fn`: positional ones belong to the parameters after the first.
    fn named(&mut self, params: &[Param], arguments: Vec<Argument>, callee: &str) -> Result<Vec<Argument>> {
        let mut place = 0;
        let mut named: Vec<Argument> = Vec::new();
        for mut argument in arguments {
            if argument.name.is_none() {
                place += 1;
                match params.get(place) {
                    Some(param) => {
                        argument.name =
                            Some(ast::Name { text: param.name.text.clone(), span: argument.span });
                    }
                    None => {
                        let message = format!(
                            "`{callee}` takes {} arguments beside its first",
                            params.len().saturating_sub(1)
                        );
                        return self.fail(Code::ExtraArgument, argument.span, message);
                    }
                }
            }
            named.push(argument);
        }
        // Unknown and doubled names are errors here, where they stand, not at a later application.
        self.slots(params, named.clone(), callee)?;
        Ok(named)
    }

    // ---- bodies

    /// Binds tensor inputs: kinds and free dims first, then every dim is compared.
    pub(crate) fn bind_inputs(
        &mut self,
        params: &[Param],
        arguments: Vec<Argument>,
        callee: &str,
        span: Span,
        scope: &Scope,
        signature: &mut Signature,
    ) -> Result<Vec<Value>> {
        let slots = self.slots(params, arguments, callee)?;
        self.need_all(params, &slots, callee, span)?;
        let mut bound: Vec<Result<(Value, Span)>> = Vec::new();
        for (param, slot) in params.iter().zip(slots) {
            let result = self.bind_one(param, slot, callee, scope, signature);
            let value = match &result {
                Ok((value, _)) => value.clone(),
                Err(Reported) => Value::Error,
            };
            scope.bind(&param.name.text, value, param.name.span);
            bound.push(result);
        }
        let mut values = Vec::new();
        for (param, result) in params.iter().zip(bound) {
            let (value, at) = result?;
            let what = format!("`{}` of `{callee}`", param.name.text);
            let value = self.compare_input(param, value, at, scope, signature, &what)?;
            let value = self.instantiate(value, &param.name.text);
            scope.bind(&param.name.text, value.clone(), at);
            values.push(value);
        }
        Ok(values)
    }

    fn bind_one(
        &mut self,
        param: &Param,
        slot: Option<Argument>,
        callee: &str,
        scope: &Scope,
        signature: &mut Signature,
    ) -> Result<(Value, Span)> {
        let (value, at, default) = self.given_or_default(param, slot, scope)?;
        let optional = param.default.as_ref().is_some_and(|d| matches!(d.kind, ExprKind::None));
        if (default || optional) && matches!(value, Value::None) {
            return Ok((value, at));
        }
        let what = format!("`{}` of `{callee}`", param.name.text);
        let value = match (&param.ty, &param.default, value) {
            (None, Some(Expr { kind: ExprKind::Float(_), .. }), Value::Int(i)) => Value::Float(i as f64),
            (_, _, value) => self.bind_input(param, value, at, scope, signature, &what)?,
        };
        Ok((value, at))
    }

    fn run_item(
        &mut self,
        function: &Function,
        item: &Rc<Item>,
        configuration: Option<Rc<Vec<Bound>>>,
        instance: Option<Instance>,
        arguments: Vec<Argument>,
        span: Span,
    ) -> Result {
        let callable = &item.callable;
        let frame = match (&instance, callable.kind) {
            (Some(instance), CallableKind::Layer | CallableKind::Model) => {
                Frame::new(Some(instance.path.clone()), item.name(), instance.weightless.clone())
            }
            // A `fn` has a path only once it needs one, or when a `let` gave it one.
            (instance, _) => {
                let why = Rc::from(format!("the fn `{}`", item.name()));
                Frame::new(instance.as_ref().map(|i| i.path.clone()), item.name(), Some(why))
            }
        };
        self.frames.push(frame);
        let order = self.instances.len();
        let result = self.body(item, configuration, arguments, span);
        self.frames.pop();
        let (value, inputs) = result?;
        if item.owns()
            && let Some(instance) = &instance
        {
            self.note_instance(&instance.path, function, &inputs, &value, span, order);
        }
        Ok(value)
    }

    fn body(
        &mut self,
        item: &Rc<Item>,
        configuration: Option<Rc<Vec<Bound>>>,
        arguments: Vec<Argument>,
        span: Span,
    ) -> Result<(Value, Vec<Value>)> {
        let callable = &item.callable;
        let scope = Scope::of_file(item.home);
        let inputs = match (&configuration, &callable.inputs) {
            (Some(bound), Some(inputs)) => {
                for (param, bound) in callable.params.iter().zip(bound.iter()) {
                    let value = self.instantiate(bound.value.clone(), &param.name.text);
                    scope.bind(&param.name.text, value, bound.span);
                }
                inputs
            }
            _ => &callable.params,
        };
        let mut signature = Signature::default();
        let values = self.bind_inputs(inputs, arguments, item.name(), span, &scope, &mut signature)?;
        for fact in &callable.facts {
            self.fact(fact, &scope, item.name(), span)?;
        }
        let value = self.block(&callable.body, &scope.inner())?;
        let value = match &callable.result {
            Some(result) => {
                let at = callable.body.statements.last().map_or(callable.body.span, |s| s.span);
                let tensor = match value {
                    Value::Tensor(t) => Some((t, at)),
                    _ => None,
                };
                let before = self.diagnostics.len();
                let checked = self.check_result(result, value, at, &scope, &signature, item.name());
                if checked.is_err() && self.by_user(at) {
                    self.explain_shapes(before, tensor.as_slice());
                }
                checked?
            }
            None => value,
        };
        if callable.kind != CallableKind::Optimizer
            && matches!(value, Value::None)
            && !ends_in_none(&callable.body)
        {
            let message = format!("the body of `{}` has no value", item.name());
            let before = self.diagnostics.len();
            let result = self.fail_hint(
                Code::ResultMismatch,
                callable.name.span,
                message,
                "the last statement of a body is its value",
            );
            self.explain_shapes(before, &[]);
            return result;
        }
        Ok((value, values))
    }

    fn run_lambda(
        &mut self,
        function: &Function,
        lambda: &Rc<Lambda>,
        instance: Instance,
        arguments: Vec<Argument>,
        span: Span,
    ) -> Result {
        self.frames.push(Frame::new(Some(instance.path.clone()), "lambda", instance.weightless.clone()));
        let order = self.instances.len();
        let scope = lambda.scope.body();
        let mut signature = Signature::default();
        let result = match self.bind_inputs(&lambda.params, arguments, "fn", span, &scope, &mut signature) {
            Ok(inputs) => self.block(&lambda.body, &scope.inner()).map(|value| (value, inputs)),
            Err(reported) => Err(reported),
        };
        self.frames.pop();
        let (value, inputs) = result?;
        // A lambda without weights or layers is plain computation and would only lengthen the summary.
        let prefix = format!("{}.", instance.path);
        if self.instances.iter().any(|i| i.path.starts_with(&prefix)) {
            self.note_instance(&instance.path, function, &inputs, &value, span, order);
        }
        Ok(value)
    }

    /// `repeat(k, layer)(x, extras…)`: the copies stand one after another, the extras go to each.
    fn apply_repeat(
        &mut self,
        function: &Rc<Function>,
        count: i64,
        inner: &Rc<Function>,
        at: Span,
        arguments: Vec<Argument>,
        span: Span,
        name: Option<&ast::Name>,
    ) -> Result {
        let instance = self.instance_for(function, name.map(|n| n.text.as_str()));
        let mut arguments = arguments;
        if arguments.first().is_none_or(|a| a.name.is_some()) {
            return self.fail(Code::MissingArgument, span, "the copies of `repeat` need an input");
        }
        if inner.instance.is_some() {
            let message = format!("all {count} copies of `{}` share one instance", inner.name());
            self.report(
                Diagnostic::warning(Code::SharedRepeat, at, message)
                    .hint("give `repeat` the layer expression itself, or `fresh …`, for independent copies"),
            );
        }
        for i in 0..count {
            self.burn(span)?;
            let copy = match (&inner.instance, inner.is_template()) {
                (None, true) => {
                    let path = Rc::from(format!("{}.{i}", instance.path));
                    let instance = Instance { path, weightless: instance.weightless.clone() };
                    Rc::new(Function { kind: inner.kind.clone(), instance: Some(instance) })
                }
                _ => inner.clone(),
            };
            let value = self.apply(&copy, arguments.clone(), span, None)?;
            if let Some(first) = arguments.first_mut() {
                first.value = value;
            }
        }
        match arguments.into_iter().next() {
            Some(first) => Ok(first.value),
            None => Err(Reported),
        }
    }
}

/// Is the value of this body a stated `none`?
fn ends_in_none(body: &ast::Block) -> bool {
    matches!(body.statements.last().map(|s| &s.kind), Some(ast::StatementKind::Expr(_)))
}

/// A map's kept arguments after the new ones.
pub fn join(mut arguments: Vec<Argument>, kept: &[Argument]) -> Vec<Argument> {
    arguments.extend(kept.iter().cloned());
    arguments
}

/// Does this call of a `fn` leave out its first parameter? See the module doc of [`super`].
pub fn waits(params: &[Param], arguments: &[Argument]) -> bool {
    let Some(first) = params.first() else { return false };
    if arguments.iter().any(|a| a.name.as_ref().is_some_and(|n| n.text == first.name.text)) {
        return false;
    }
    let positional = arguments.iter().filter(|a| a.name.is_none()).count();
    let Some(given) = arguments.iter().find(|a| a.name.is_none()) else { return first.default.is_none() };
    let required = params.iter().filter(|p| p.default.is_none()).count();
    let provided = params.iter().enumerate().filter(|(i, p)| {
        p.default.is_none()
            && (*i < positional
                || arguments.iter().any(|a| a.name.as_ref().is_some_and(|n| n.text == p.name.text)))
    });
    let short = provided.count() < required;
    match first.ty.as_ref().map(|t| &t.kind) {
        Some(TypeKind::Tensor { .. }) => {
            !matches!(given.value, Value::Tensor(_) | Value::None | Value::Error | Value::Elsewhere(_))
                && positional < params.len()
        }
        Some(TypeKind::Kind(kind)) if kind.text == "list" => given.value.elements().is_none(),
        _ => short,
    }
}
