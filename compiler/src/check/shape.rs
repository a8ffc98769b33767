//! Types are patterns: matched against a value, they bind named dims and compare the rest.

use super::context::Decision;
use super::hints::cast_hint;
use super::scope::Scope;
use super::value::{Tensor, Value};
use super::{Checker, Reported, Result};
use crate::diagnostics::{self, Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, Op, TensorType};
use weft_grammar::Span;
use weft_grammar::ast::{self, DimSpec, ExprKind, TypeKind};

/// The compile-time kinds that a parameter's type may name.
pub const KINDS: &[&str] =
    &["int", "float", "bool", "text", "fn", "list", "tuple", "map", "schedule", "sizes", "dim", "any"];

/// What may stand before the `[` of a tensor's type.
const DTYPES: &[&str] =
    &["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "bool", "float", "int", "any"];

/// What one signature has bound beside the names in scope.
#[derive(Debug, Default)]
pub struct Signature {
    /// What `...` stands for: that of the first input with one.
    pub rest: Option<Vec<Dim>>,
    binders: Vec<Binder>,
}

/// Who gave a named dim its value.
#[derive(Clone, Debug)]
struct Binder {
    name: String,
    /// "`x` of `dense`"
    what: String,
    /// The place that gave the tensor.
    span: Span,
    axis: usize,
    ty: String,
}

/// What a type says at one axis, and who gave the names in it their values.
#[derive(Clone, Copy)]
struct Declared<'t> {
    span: Span,
    text: &'t str,
    names: &'t [Named<'t>],
}

/// A name in a dim, with its value and the place that gave it: the tensor that bound it, or the text that states it.
struct Named<'t> {
    name: String,
    value: Dim,
    at: Span,
    binder: Option<&'t Binder>,
}

impl<'t> Declared<'t> {
    /// The name that the dim consists of.
    fn alone(&self) -> Option<&'t Named<'t>> {
        self.names.first().filter(|n| n.name == self.text)
    }
}

/// The names in a dim.
fn names_in(spec: &ast::Expr) -> Vec<(&str, Span)> {
    match &spec.kind {
        ExprKind::Name(name) => vec![(name, spec.span)],
        ExprKind::Binary { left, right, .. } => [names_in(left), names_in(right)].concat(),
        ExprKind::Unary { operand, .. } => names_in(operand),
        _ => Vec::new(),
    }
}

/// One tensor that is matched, for messages.
#[derive(Clone, Copy)]
struct Subject<'t> {
    ty: &'t ast::Type,
    /// The place that gave the tensor.
    span: Span,
    /// "`x` of `dense`", "the result of `dense`"
    what: &'t str,
    code: Code,
}

impl Checker<'_> {
    // ---- dims

    /// A dim from an expression in a type or a shape.
    pub(crate) fn dim(&mut self, expr: &ast::Expr, scope: &Scope) -> Result<Dim> {
        if let ExprKind::Name(name) = &expr.kind
            && self.dim_name(name, expr.span, scope)?.is_none()
        {
            let names: Vec<_> = scope
                .names()
                .into_iter()
                .filter(|n| matches!(scope.find(n), Some((v, _)) if v.as_dim().is_some()))
                .collect();
            let hint = did_you_mean(name, names.iter().map(|n| n.as_ref()));
            return Err(self.report(
                Diagnostic::error(
                    Code::UnknownDim,
                    expr.span,
                    format!("no dim or setting is called `{name}` here"),
                )
                .hint_if(hint.or(Some("dims bind in the types of inputs".into()))),
            ));
        }
        let value = self.expr(expr, scope)?;
        self.value_dim(&value, expr.span)
    }

    /// A value where a dim must stand.
    pub(crate) fn value_dim(&mut self, value: &Value, span: Span) -> Result<Dim> {
        match value {
            Value::Int(-1) => self.fail_hint(
                Code::InexactDim,
                span,
                "a dim cannot be -1",
                "no dim is guessed here: name the unknown one, as `n`, or write it out; `flatten(x)` joins all axes but the first",
            ),
            Value::Int(i) if *i < 0 => self.fail(Code::InexactDim, span, format!("a dim cannot be {i}")),
            Value::Int(_) | Value::Dim(_) => value.as_dim().ok_or(Reported),
            Value::Float(f) => self.fail_hint(
                Code::InexactDim,
                span,
                format!("a dim must be a whole number, not {}", super::value::show_float(*f)),
                match f.fract() == 0.0 {
                    true => "a product with a float is a float: `int(…)` makes it whole",
                    false => "`/` must divide exactly here; `//` rounds down",
                },
            ),
            Value::Error => Err(Reported),
            other => self.fail(Code::WrongKind, span, format!("a dim must be an int, not {}", other.kind())),
        }
    }

    /// What a bare name means as a dim, and the place that bound it: a local int or dim, else a setting; `None` when it is free to bind.
    pub(crate) fn dim_name(&mut self, name: &str, span: Span, scope: &Scope) -> Result<Option<(Dim, Span)>> {
        if let Some((value, at)) = scope.find(name) {
            return Ok(match value {
                Value::Error => return Err(Reported),
                Value::Float(_) => return self.value_dim(&value, span).map(|d| Some((d, at))),
                other => other.as_dim().map(|d| (d, at)),
            });
        }
        if self.is_setting(scope.home(), name) {
            let value = self.name(name, span, scope)?;
            let at = self.item_span(scope.home(), name).unwrap_or(span);
            return Ok(value.as_dim().map(|d| (d, at)));
        }
        if name == "None" {
            let hint = "give the unknown size a name of its own: `n`";
            return self.fail_hint(Code::UnknownDim, span, "`None` is no dim", hint);
        }
        Ok(None)
    }

    /// Binds the free names of an input's type to the extents that the tensor has there.
    fn bind_dims(
        &mut self,
        subject: Subject<'_>,
        actual: &TensorType,
        scope: &Scope,
        signature: &mut Signature,
    ) -> Result<()> {
        let Some((before, rest, after)) = self.aligned(subject, actual)? else { return Ok(()) };
        if let Some(rest) = rest
            && signature.rest.is_none()
        {
            signature.rest = Some(rest);
        }
        let back = actual.rank() - after.len();
        let axes = (0..before.len()).chain(back..actual.rank());
        for ((spec, extent), axis) in before.into_iter().chain(after).zip(axes) {
            if let ExprKind::Name(name) = &spec.kind
                && self.dim_name(name, spec.span, scope)?.is_none()
            {
                scope.bind(name, Value::dim(extent), subject.span);
                let (name, what) = (name.clone(), subject.what.to_owned());
                let ty = actual.to_string();
                signature.binders.push(Binder { name, what, span: subject.span, axis, ty });
            }
        }
        Ok(())
    }

    /// Pairs the type's dims with the tensor's; `None` when the type states no dims (a scalar of that dtype was checked).
    #[allow(clippy::type_complexity)]
    fn aligned<'t>(
        &mut self,
        subject: Subject<'t>,
        actual: &TensorType,
    ) -> Result<Option<(Vec<(&'t ast::Expr, Dim)>, Option<Vec<Dim>>, Vec<(&'t ast::Expr, Dim)>)>> {
        let TypeKind::Tensor { dims, .. } = &subject.ty.kind else { return Ok(None) };
        let no_dims = Vec::new();
        let dims = dims.as_ref().unwrap_or(&no_dims);
        let rests = dims.iter().filter(|d| matches!(d, DimSpec::Rest(_))).count();
        if rests > 1 {
            return self.fail(Code::RankMismatch, subject.ty.span, "a type has at most one `...`");
        }
        let named = dims.len() - rests;
        let rank = actual.rank();
        if rank < named || (rests == 0 && rank != named) {
            let axes = |n: usize| if n == 1 { "1 axis".to_owned() } else { format!("{n} axes") };
            let least = if rests == 1 { "at least " } else { "" };
            let diagnostic = Diagnostic::error(
                subject.code_for(Code::RankMismatch),
                subject.span,
                format!("{} has {least}{}, but this is {actual}", subject.what, axes(named)),
            )
            .label(format!("{actual}"))
            .related(subject.ty.span, format!("declared with {least}{}", axes(named)));
            let hint = match (named, rank) {
                (2, 3..) => "`flatten` joins all axes but the first",
                _ if rank < named => "`expand` adds an axis of one, `reshape(x, […])` gives others",
                _ => "`reshape(x, […])` gives it other axes; `mean(x, axis = …)` takes one away",
            };
            return Err(self.report(diagnostic.hint(hint)));
        }
        let split = dims.iter().position(|d| matches!(d, DimSpec::Rest(_)));
        let front = split.unwrap_or(dims.len());
        let back = dims.len() - front - rests;
        let exprs = |specs: &'t [DimSpec]| {
            specs.iter().filter_map(|d| match d {
                DimSpec::Expr(e) => Some(e),
                DimSpec::Rest(_) => None,
            })
        };
        let TypeKind::Tensor { dims: Some(dims), .. } = &subject.ty.kind else {
            return Ok(Some((Vec::new(), None, Vec::new())));
        };
        let first: Vec<_> =
            exprs(dims.get(..front).unwrap_or(&[])).zip(actual.shape.iter().cloned()).collect();
        let last: Vec<_> = exprs(dims.get(dims.len() - back..).unwrap_or(&[]))
            .zip(actual.shape.iter().skip(rank - back).cloned())
            .collect();
        let rest = split.map(|_| actual.shape.get(front..rank - back).unwrap_or(&[]).to_vec());
        Ok(Some((first, rest, last)))
    }

    /// Compares every dim of a type whose names are all bound. Gives the tensor, retyped where a guard makes two dims equal.
    fn compare_dims(
        &mut self,
        subject: Subject<'_>,
        tensor: Tensor,
        scope: &Scope,
        signature: &Signature,
        rest: Option<&[Dim]>,
    ) -> Result<Tensor> {
        let actual = self.tensor_type(tensor);
        let Some((before, own_rest, after)) = self.aligned(subject, &actual)? else { return Ok(tensor) };
        let mut shape = Vec::new();
        for (spec, extent) in before {
            shape.push(self.compare_dim(subject, spec, &extent, &actual, shape.len(), scope, signature)?);
        }
        if let Some(own) = own_rest {
            match rest {
                Some(rest) if rest.len() == own.len() => {
                    for (want, have) in rest.iter().zip(&own) {
                        let axis = shape.len();
                        let declared = Declared { span: subject.ty.span, text: "...", names: &[] };
                        shape.push(self.agree(subject, declared, want, have, &actual, axis)?);
                    }
                }
                Some(rest) => {
                    let list = rest.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
                    return Err(self.report(
                        Diagnostic::error(
                            subject.code_for(Code::RankMismatch),
                            subject.span,
                            format!("{} is {actual}, but `...` is [{list}]", subject.what),
                        )
                        .related(subject.ty.span, "declared here"),
                    ));
                }
                None => shape.extend(own),
            }
        }
        for (spec, extent) in after {
            shape.push(self.compare_dim(subject, spec, &extent, &actual, shape.len(), scope, signature)?);
        }
        self.retyped(tensor, &shape, subject.span)
    }

    #[allow(clippy::too_many_arguments)]
    fn compare_dim(
        &mut self,
        subject: Subject<'_>,
        spec: &ast::Expr,
        extent: &Dim,
        actual: &TensorType,
        axis: usize,
        scope: &Scope,
        signature: &Signature,
    ) -> Result<Dim> {
        let want = self.dim(spec, scope)?;
        if matches!(self.context.decide(&want, extent), Decision::Equal) {
            return Ok(want);
        }
        let mut names = Vec::new();
        for (name, span) in names_in(spec) {
            let Some((value, at)) = self.dim_name(name, span, scope)? else { continue };
            let binder = signature.binders.iter().find(|b| b.name == name && b.span == at);
            names.push(Named { name: name.to_owned(), value, at, binder });
        }
        let text = self.sources.text(spec.span).to_owned();
        let declared = Declared { span: spec.span, text: &text, names: &names };
        self.agree(subject, declared, &want, extent, actual, axis)
    }

    /// Two dims that must be one: equal, guarded when only the run can tell, or an error that names who gave each.
    fn agree(
        &mut self,
        subject: Subject<'_>,
        declared: Declared<'_>,
        want: &Dim,
        have: &Dim,
        actual: &TensorType,
        axis: usize,
    ) -> Result<Dim> {
        let (text, what) = (declared.text, subject.what);
        match self.context.decide_axis(want, have) {
            Decision::Equal => {}
            Decision::Unknown => {
                let binder = declared.alone().and_then(|n| n.binder);
                let given = binder.map_or(String::new(), |b| format!(" by {}", b.what));
                let message = format!("`{text}` is {want}{given}, but {what} has {have} there ({actual})");
                let span = self.user_span(subject.span);
                self.context.guard(want.clone() - have.clone(), message, span);
            }
            Decision::Differ => {
                let message = match declared.alone() {
                    Some(Named { at, binder: Some(_), .. }) if *at != subject.span => {
                        let (here, there) = self.lines(*at, subject.span);
                        format!("`{text}` is {want} here{here} but {have} there{there}")
                    }
                    _ if want.to_string() == text => format!("axis {axis} must be {want}, but it is {have}"),
                    _ if text == "..." => {
                        format!("axis {axis} of {what} is {have}, that of its input is {want}")
                    }
                    _ => format!("`{text}` is {want}, but axis {axis} is {have}"),
                };
                let code = subject.code_for(Code::DimMismatch);
                let mut diagnostic = Diagnostic::error(code, subject.span, message)
                    .label(format!("{have} here: axis {axis} of {actual}"));
                for named in declared.names.iter().filter(|n| n.at != subject.span) {
                    let binding = match named.binder {
                        Some(b) if b.what != what => format!(": axis {} of {}, {}", b.axis, b.ty, b.what),
                        Some(b) => format!(": axis {} of {}", b.axis, b.ty),
                        None => String::new(),
                    };
                    let label = format!("`{}` is {} here{binding}", named.name, named.value);
                    if !diagnostic.related.iter().any(|l| l.span == named.at && l.text == label) {
                        diagnostic = diagnostic.related(named.at, label);
                    }
                }
                diagnostic =
                    diagnostic.related(declared.span, format!("{what} is declared with `{text}` here"));
                if text == "..." && (want.is(1) || have.is(1)) {
                    diagnostic = diagnostic.hint(
                        "`f32[n, 1]` beside `f32[n]` is stretched to `f32[n, n]`: drop an axis with `squeeze(-1)`, or add one with `expand(x, -1)`",
                    );
                }
                self.name_symbols(&mut diagnostic, &[want, have]);
                return Err(self.report(diagnostic));
            }
        }
        Ok(want.clone())
    }

    /// " (line 4)" and " (line 9)"; nothing when the lines don't tell the places apart.
    fn lines(&self, here: Span, there: Span) -> (String, String) {
        let (a, b) = (self.sources.position(here).0, self.sources.position(there).0);
        if here.file != there.file || a == b || self.sources.is_std(here.file) {
            return Default::default();
        }
        (format!(" (line {a})"), format!(" (line {b})"))
    }

    /// Says what the symbols in these dims are, and where they come from.
    pub(crate) fn name_symbols(&self, diagnostic: &mut Diagnostic, dims: &[&Dim]) {
        let mut symbols = Vec::new();
        dims.iter().for_each(|dim| dim.symbols(&mut |s| symbols.push(s.clone())));
        symbols.sort();
        symbols.dedup();
        for symbol in symbols {
            if let Some((what, span)) = self.context.symbols.get(&symbol) {
                let (line, _) = self.sources.position(*span);
                diagnostic.notes.push(format!("`{symbol}` is {what} (line {line})"));
            }
        }
    }

    /// The tensor with this shape, which is known (or guarded) to be its own: a view for each axis that is written otherwise.
    pub(crate) fn retyped(&mut self, tensor: Tensor, shape: &[Dim], span: Span) -> Result<Tensor> {
        let mut node = tensor.node;
        for (axis, want) in shape.iter().enumerate() {
            let mut ty = self.context.builder.ty(node).clone();
            match ty.shape.get_mut(axis) {
                Some(extent) if extent != want => *extent = want.clone(),
                _ => continue,
            }
            node =
                self.emit(Op::Slice { axis, start: Dim::constant(0), step: 1 }, &[node], Some(ty), span)?;
        }
        Ok(self.context.tensor(node))
    }

    // ---- types against values

    /// Does the dtype name of a type take this dtype?
    fn takes(&mut self, name: &ast::Name, dtype: DType) -> Result<bool> {
        Ok(match name.text.as_str() {
            "float" => dtype.is_float(),
            "int" => matches!(dtype, DType::I8 | DType::U8 | DType::I32 | DType::I64),
            "any" => true,
            text => self.dtype(text, name.span)? == dtype,
        })
    }

    pub(crate) fn dtype(&mut self, text: &str, span: Span) -> Result<DType> {
        if let Some(dtype) = DType::from_name(text) {
            return Ok(dtype);
        }
        let hint = did_you_mean(text, DTYPES.iter().copied());
        Err(self.report(
            Diagnostic::error(Code::UnknownName, span, format!("no element type is called `{text}`"))
                .hint_if(hint),
        ))
    }

    /// Matches an input against its type, first half: kinds and element types are checked, and free dim names bind.
    pub(crate) fn bind_input(
        &mut self,
        param: &ast::Param,
        value: Value,
        span: Span,
        scope: &Scope,
        signature: &mut Signature,
        what: &str,
    ) -> Result {
        let Some(ty) = &param.ty else { return Ok(value) };
        let TypeKind::Tensor { dtype, .. } = &ty.kind else { return self.of_kind(ty, value, span, what) };
        let optional = param.default.as_ref().is_some_and(|d| matches!(d.kind, ExprKind::None));
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::None if optional => return Ok(Value::None),
            Value::Int(_) | Value::Float(_) | Value::Dim(_) | Value::Bool(_) => {
                let concrete = DType::from_name(&dtype.text).unwrap_or(match dtype.text.as_str() {
                    "int" => DType::I32,
                    _ => DType::F32,
                });
                self.as_tensor(&value, concrete, span)?
            }
            other => {
                let message = format!("{what} is a tensor, not {}", other.kind());
                let hint = self.kind_hint("tensor", &other);
                return Err(self.report(
                    Diagnostic::error(Code::WrongKind, span, message)
                        .related(ty.span, "declared here")
                        .hint_if(hint),
                ));
            }
        };
        let actual = self.tensor_type(tensor);
        if !self.takes(dtype, actual.dtype)? {
            let message = format!("{what} is {}, but this is {actual}", dtype.text);
            let hint = cast_hint(&dtype.text, &actual);
            return Err(self.report(
                Diagnostic::error(Code::DTypeMismatch, span, message)
                    .label(format!("{actual}"))
                    .related(dtype.span, "declared here")
                    .hint_if(hint),
            ));
        }
        let subject = Subject { ty, span, what, code: Code::DimMismatch };
        self.bind_dims(subject, &actual, scope, signature)?;
        Ok(Value::Tensor(tensor))
    }

    /// The second half: every dim is compared.
    pub(crate) fn compare_input(
        &mut self,
        param: &ast::Param,
        value: Value,
        span: Span,
        scope: &Scope,
        signature: &Signature,
        what: &str,
    ) -> Result {
        match (&param.ty, value) {
            (Some(ty), Value::Tensor(tensor)) if matches!(ty.kind, TypeKind::Tensor { .. }) => {
                let subject = Subject { ty, span, what, code: Code::DimMismatch };
                self.compare_dims(subject, tensor, scope, signature, None).map(Value::Tensor)
            }
            (_, value) => Ok(value),
        }
    }

    /// Checks a body's value against the type after `->`.
    pub(crate) fn check_result(
        &mut self,
        result: &ast::ResultType,
        value: Value,
        span: Span,
        scope: &Scope,
        signature: &Signature,
        name: &str,
    ) -> Result {
        let what = format!("the result of `{name}`");
        match (result, value) {
            (ast::ResultType::One(ty), value) => self.check_one(ty, value, span, scope, signature, &what),
            (ast::ResultType::Tuple(types, at), Value::Tuple(values)) => {
                if types.len() != values.len() {
                    let message =
                        format!("{what} has {} parts, but {} were given", types.len(), values.len());
                    return Err(self.report(
                        Diagnostic::error(Code::ResultMismatch, span, message).related(*at, "declared here"),
                    ));
                }
                let mut checked = Vec::new();
                for (ty, value) in types.iter().zip(values.iter()) {
                    checked.push(self.check_one(ty, value.clone(), span, scope, signature, &what)?);
                }
                Ok(Value::tuple(checked))
            }
            (ast::ResultType::Record(types, at), Value::Record(values)) => {
                let names = |names: &mut dyn Iterator<Item = &str>| {
                    let mut names: Vec<&str> = names.collect();
                    names.sort_unstable();
                    names.join(", ")
                };
                let want = names(&mut types.iter().map(|(n, _)| n.text.as_str()));
                let have = names(&mut values.iter().map(|(n, _)| n.as_ref()));
                if want != have {
                    let message = format!("{what} has the fields {want}, but {have} were given");
                    return Err(self.report(
                        Diagnostic::error(Code::ResultMismatch, span, message).related(*at, "declared here"),
                    ));
                }
                let mut checked = Vec::new();
                for (field, ty) in types {
                    for (name, value) in values.iter().filter(|(n, _)| **n == *field.text) {
                        let value = self.check_one(ty, value.clone(), span, scope, signature, &what)?;
                        checked.push((name.clone(), value));
                    }
                }
                Ok(Value::Record(std::rc::Rc::new(checked)))
            }
            (ast::ResultType::Tuple(_, at), other) | (ast::ResultType::Record(_, at), other) => {
                let kind = if matches!(result, ast::ResultType::Tuple(..)) { "a tuple" } else { "a record" };
                let message = format!("{what} is {kind}, but this is {}", other.kind());
                Err(self.report(
                    Diagnostic::error(Code::ResultMismatch, span, message).related(*at, "declared here"),
                ))
            }
        }
    }

    fn check_one(
        &mut self,
        ty: &ast::Type,
        value: Value,
        span: Span,
        scope: &Scope,
        signature: &Signature,
        what: &str,
    ) -> Result {
        let TypeKind::Tensor { dtype, .. } = &ty.kind else { return self.of_kind(ty, value, span, what) };
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::Error => return Err(Reported),
            // A fn of tensors may also be asked about numbers; its result is then one.
            Value::Int(_) | Value::Float(_) | Value::Dim(_) => {
                let dtype = DType::from_name(&dtype.text).unwrap_or(DType::F32);
                self.as_tensor(&value, dtype, span)?
            }
            other => {
                let message = format!("{what} is a tensor, but this is {}", other.kind());
                let hint = match other {
                    Value::None => Some("the last statement of a body is its value".to_owned()),
                    _ => self.kind_hint("tensor", &other),
                };
                return Err(self.report(
                    Diagnostic::error(Code::ResultMismatch, span, message)
                        .related(ty.span, "declared here")
                        .hint_if(hint),
                ));
            }
        };
        let actual = self.tensor_type(tensor);
        if !self.takes(dtype, actual.dtype)? {
            let message = format!("{what} is {}, but this is {actual}", dtype.text);
            return Err(self.report(
                Diagnostic::error(Code::ResultMismatch, span, message).related(dtype.span, "declared here"),
            ));
        }
        let subject = Subject { ty, span, what, code: Code::ResultMismatch };
        self.compare_dims(subject, tensor, scope, signature, signature.rest.as_deref()).map(Value::Tensor)
    }

    /// Checks (and widens) a compile-time value against a kind.
    pub(crate) fn of_kind(&mut self, ty: &ast::Type, value: Value, span: Span, what: &str) -> Result {
        let (kind, fits) = match &ty.kind {
            TypeKind::Choice(options) => {
                let fits = matches!(&value, Value::Choice(c) | Value::Text(c) if options.iter().any(|o| *o.text == **c));
                if let (true, Value::Text(text)) = (fits, &value) {
                    return Ok(Value::Choice(text.clone()));
                }
                (options.iter().map(|o| format!("`{}`", o.text)).collect::<Vec<_>>().join(" or "), fits)
            }
            TypeKind::Kind(name) => {
                let fits = match name.text.as_str() {
                    "int" | "dim" => value.as_dim().is_some(),
                    "float" => match value {
                        Value::Int(i) => return Ok(Value::Float(i as f64)),
                        Value::Float(_) | Value::Dim(_) => true,
                        _ => false,
                    },
                    "bool" => matches!(value, Value::Bool(_)),
                    "text" => matches!(value, Value::Text(_) | Value::Choice(_)),
                    "fn" => matches!(value, Value::Function(_)),
                    "list" => value.elements().is_some(),
                    "tuple" => matches!(value, Value::Tuple(_)),
                    "map" => matches!(value, Value::Map(_)),
                    "schedule" => {
                        value.is_number() || matches!(value, Value::Function(_)) || value.is_tensor()
                    }
                    "sizes" => is_sizes(&value),
                    "any" => true,
                    _ => return Err(self.unknown_kind(name)),
                };
                (with_article(&name.text), fits)
            }
            TypeKind::Tensor { dtype, dims: None } => {
                // A bare element type is that of a number; anything else was meant as a kind.
                let known =
                    DType::from_name(&dtype.text).is_some() || dtype.text == "any" || dtype.text == "dim";
                return if known { Ok(value) } else { Err(self.unknown_kind(dtype)) };
            }
            TypeKind::Tensor { .. } => return Ok(value),
        };
        if fits {
            return Ok(value);
        }
        if matches!(value, Value::Error) {
            return Err(Reported);
        }
        let shown = match &value {
            Value::Function(_) | Value::Tensor(_) | Value::None => String::new(),
            other => format!(" ({})", other.show()),
        };
        let message = format!("{what} is {kind}, not {}{shown}", value.kind());
        let hint = match &ty.kind {
            TypeKind::Kind(name) => self.kind_hint(&name.text, &value),
            TypeKind::Choice(options) => match &value {
                Value::Text(text) => did_you_mean(text, options.iter().map(|o| o.text.as_str())),
                _ => None,
            },
            _ => None,
        };
        Err(self.report(
            Diagnostic::error(Code::WrongKind, span, message).related(ty.span, "declared here").hint_if(hint),
        ))
    }

    /// No compile-time kind and no element type has this name.
    pub(crate) fn unknown_kind(&mut self, name: &ast::Name) -> Reported {
        let meant = [KINDS, DTYPES].iter().find_map(|known| diagnostics::meant(&name.text, known));
        let hint = match meant {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => did_you_mean(&name.text, KINDS.iter().copied()),
        };
        let message = format!("no type is called `{}`", name.text);
        self.report(Diagnostic::error(Code::UnknownName, name.span, message).hint_if(hint))
    }

    /// The type of a weight or state: every dim constant.
    pub(crate) fn constant_type(&mut self, ty: &ast::Type, scope: &Scope, name: &str) -> Result<TensorType> {
        let concrete = self.stated_type(ty, scope)?;
        for (axis, dim) in concrete.shape.iter().enumerate() {
            if dim.as_constant().is_none() {
                let mut diagnostic = Diagnostic::error(
                    Code::DynamicWeight,
                    ty.span,
                    format!("the shape of `{name}` must be constant, but axis {axis} is `{dim}`"),
                )
                .hint("weights have fixed shapes: write a number for this dim in the input's type, or reduce the axis first");
                let mut symbols = Vec::new();
                dim.symbols(&mut |s| symbols.push(s.clone()));
                if let Some((_, at)) = symbols.first().and_then(|s| scope.find(s)) {
                    diagnostic = diagnostic.related(at, format!("`{dim}` is known only when it runs"));
                }
                return Err(self.report(diagnostic));
            }
            if dim.is(0) {
                let message = format!("`{name}` would be {concrete}, which holds nothing: axis {axis} is 0");
                return self.fail(Code::InexactDim, ty.span, message);
            }
        }
        if concrete.elements().as_constant().is_none_or(|n| n > 1 << 40) {
            return self.fail(Code::TooLarge, ty.span, format!("`{name}` would be {concrete}"));
        }
        Ok(concrete)
    }

    /// A tensor type whose names are all known.
    pub(crate) fn stated_type(&mut self, ty: &ast::Type, scope: &Scope) -> Result<TensorType> {
        let TypeKind::Tensor { dtype, dims } = &ty.kind else {
            return self.fail(Code::WrongKind, ty.span, "a tensor type is needed, such as `f32[64]`");
        };
        let dtype = self.dtype(&dtype.text, dtype.span)?;
        let rests = dims.iter().flatten().filter(|d| matches!(d, DimSpec::Rest(_))).count();
        if rests > 1 {
            return self.fail(Code::RankMismatch, ty.span, "a type has at most one `...`");
        }
        let mut shape = Vec::new();
        for spec in dims.iter().flatten() {
            match spec {
                DimSpec::Expr(e) => shape.push(self.dim(e, scope)?),
                DimSpec::Rest(span) => {
                    return self.fail_hint(
                        Code::UnknownDim,
                        *span,
                        "`...` needs an input to tell what it stands for",
                        "write every dim out: `f32[n, 28, 28, 1]`",
                    );
                }
            }
        }
        Ok(TensorType { dtype, shape })
    }

    /// The type of an entry's own input: names that are not settings are the entry's symbols.
    pub(crate) fn symbolic_type(&mut self, param: &str, ty: &ast::Type, scope: &Scope) -> Result<TensorType> {
        let TypeKind::Tensor { dims, .. } = &ty.kind else {
            return self.fail(
                Code::WrongKind,
                ty.span,
                "an input needs a tensor type, such as `f32[n, 28, 28, 1]`, or texts: `text[n]`",
            );
        };
        for (axis, spec) in dims.iter().flatten().enumerate() {
            if let DimSpec::Expr(expr) = spec
                && let ExprKind::Name(name) = &expr.kind
                && self.dim_name(name, expr.span, scope)?.is_none()
            {
                let symbol = Dim::symbol(name.as_str());
                let what = format!("axis {axis} of the input `{param}`, known only when it runs");
                symbol.symbols(&mut |s| {
                    self.context.symbols.entry(s.clone()).or_insert((what.clone(), expr.span));
                });
                scope.bind(name, Value::Dim(symbol), expr.span);
            }
        }
        self.stated_type(ty, scope)
    }

    /// `where h % 16 == 0`: what is decided is checked; a multiple of a symbol is remembered; the rest is guarded.
    pub(crate) fn fact(&mut self, fact: &ast::Expr, scope: &Scope, name: &str, at: Span) -> Result<()> {
        use ast::BinaryOperator as B;
        if let ExprKind::Binary { operator: B::Eq, left, right } = &fact.kind {
            let (left, right) = (self.expr(left, scope)?, self.expr(right, scope)?);
            if let (Some(l), Some(r)) = (left.as_dim(), right.as_dim()) {
                let text = self.sources.text(fact.span).to_owned();
                return match self.context.decide(&l, &r) {
                    Decision::Equal => Ok(()),
                    Decision::Differ => self.false_fact(fact, &text, name, at, scope),
                    Decision::Unknown => {
                        let difference = l - r;
                        self.remember(&difference);
                        let span = self.user_span(at);
                        self.context.guard(difference, format!("`{name}` needs `{text}`"), span);
                        Ok(())
                    }
                };
            }
        }
        let value = self.expr(fact, scope)?;
        match value {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => {
                let text = self.sources.text(fact.span).to_owned();
                self.false_fact(fact, &text, name, at, scope)
            }
            other => self.fail(Code::WrongKind, fact.span, format!("a fact is a bool, not {}", other.kind())),
        }
    }

    fn false_fact(
        &mut self,
        fact: &ast::Expr,
        text: &str,
        name: &str,
        at: Span,
        scope: &Scope,
    ) -> Result<()> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let known = words.filter_map(|word| Some((word, scope.find(word)?.0.as_dim()?)));
        let known: Vec<String> = known.map(|(word, dim)| format!("`{word}` is {dim}")).collect();
        let values = known.join(" and ");
        Err(self.report(
            Diagnostic::error(
                Code::FactFails,
                at,
                format!("`{name}` needs `{text}`, which does not hold here"),
            )
            .related(fact.span, "stated here")
            .label(values),
        ))
    }

    /// Learns from `symbol % k == 0`.
    fn remember(&mut self, zero: &Dim) {
        use crate::graph::dim::Atom;
        let mut terms = zero.terms();
        if let (Some(([Atom::Rem(pair)], _)), None) = (terms.next(), terms.next())
            && let (Some(symbol), Some(k)) = (pair.0.as_symbol(), pair.1.as_constant())
            && k > 1
        {
            let known = self.context.multiples.get(symbol).copied().unwrap_or(1);
            // The least common multiple; both facts hold.
            let (mut a, mut b) = (known, k);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            if let Some(both) = (known / a.max(1)).checked_mul(k) {
                self.context.multiples.insert(symbol.clone(), both);
            }
        }
    }
}

impl Subject<'_> {
    /// A result that does not fit has one code, whatever the reason.
    fn code_for(&self, usual: Code) -> Code {
        if self.code == Code::ResultMismatch { Code::ResultMismatch } else { usual }
    }
}

/// One number for all axes, or a list with one, or a pair, for each.
fn is_sizes(value: &Value) -> bool {
    let numbers = |v: &Value| v.elements().is_some_and(|v| v.iter().all(|v| v.as_dim().is_some()));
    let one = |v: &Value| v.as_dim().is_some() || numbers(v);
    value.as_dim().is_some() || value.elements().is_some_and(|v| v.iter().all(one))
}

fn with_article(kind: &str) -> String {
    match kind {
        "any" => "anything".into(),
        "int" => "an int".into(),
        "sizes" => "an int, or a list of ints for each axis".into(),
        other => format!("a {other}"),
    }
}
