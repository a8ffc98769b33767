//! Expressions and statements.

use super::scope::Scope;
use super::value::{Argument, Function, FunctionKind, Lambda, Value};
use super::{Checker, MAX_DEPTH, Reported, Result, arith};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, habits};
use crate::graph::op::Unary;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{
    self, BinaryOperator, Block, Expr, ExprKind, Pattern, Statement, StatementKind, UnaryOperator,
};

impl Checker<'_> {
    pub(crate) fn expr(&mut self, expr: &Expr, scope: &Scope) -> Result {
        self.burn(expr.span)?;
        if self.depth > MAX_DEPTH {
            return self.fail(Code::TooLarge, expr.span, "calls and expressions are nested too deeply");
        }
        self.depth += 1;
        let result = self.expr_inner(expr, scope);
        self.depth -= 1;
        result
    }

    fn expr_inner(&mut self, expr: &Expr, scope: &Scope) -> Result {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(text) => match text.replace('_', "").parse() {
                Ok(i) => Ok(Value::Int(i)),
                Err(_) => self.fail(Code::BadArithmetic, span, format!("{text} is too large for an int")),
            },
            ExprKind::Float(text) => match text.replace('_', "").parse::<f64>() {
                Ok(f) if f.is_finite() => Ok(Value::Float(f)),
                _ => self.fail(Code::BadArithmetic, span, format!("{text} is too large for a float")),
            },
            ExprKind::Bool(b) => Ok(Value::Bool(*b)),
            ExprKind::Text(text) => Ok(Value::text(text)),
            ExprKind::None => Ok(Value::None),
            ExprKind::Name(name) => self.name(name, span, scope),
            ExprKind::Field { base, field } => {
                if let Some(fitted) = self.fit_field(base, field, scope) {
                    return fitted;
                }
                let base = self.expr(base, scope)?;
                self.field(&base, field)
            }
            ExprKind::Call { callee, arguments } => self.call(callee, arguments, span, scope, None),
            ExprKind::Pipe { value, name, map } => self.pipe(value, name.as_ref(), map, scope),
            ExprKind::Unary { operator, operand } => {
                let value = self.expr(operand, scope)?;
                let op = match operator {
                    UnaryOperator::Neg => Unary::Neg,
                    UnaryOperator::Not => Unary::Not,
                };
                self.unary(op, (value, operand.span), span)
            }
            ExprKind::Binary { operator, left, right } => {
                self.binary_expr(*operator, left, right, expr, scope)
            }
            ExprKind::Index { base, indices } => {
                let value = self.expr(base, scope)?;
                let before = self.diagnostics.len();
                let result = self.index(value.clone(), base.span, indices, span, scope);
                self.trailed(expr, &[(&value, base.span)], before, &result);
                result
            }
            ExprKind::List(items) => {
                let values = self.exprs(items, scope)?;
                self.limited_list(values, span)
            }
            ExprKind::Tuple(items) => Ok(Value::tuple(self.exprs(items, scope)?)),
            ExprKind::Record(fields) => self.record(fields, scope),
            ExprKind::Map(entries) => {
                let mut map: Vec<(Value, Value)> = Vec::new();
                for (key, value) in entries {
                    let key_value = self.expr(key, scope)?;
                    if map.iter().any(|(k, _)| k.equals(&key_value) == Some(true)) {
                        return self.fail(Code::Duplicate, key.span, "this key stands twice");
                    }
                    map.push((key_value, self.expr(value, scope)?));
                }
                Ok(Value::Map(Rc::new(map)))
            }
            ExprKind::If { condition, then, otherwise } => {
                let branch = if self.condition(condition, scope)? { then } else { otherwise };
                self.block(branch, &scope.inner())
            }
            ExprKind::Block(block) => self.block(block, &scope.inner()),
            ExprKind::Lambda { params, body } => {
                let lambda = Lambda { params: params.clone(), body: body.clone(), scope: scope.clone() };
                Ok(Value::function(FunctionKind::Lambda(Rc::new(lambda))))
            }
            ExprKind::Fresh(inner) => {
                let value = self.expr(inner, scope)?;
                self.fresh(value, inner.span)
            }
            ExprKind::Scan(scan) => self.scan(scan, span, scope),
            ExprKind::Error => Err(Reported),
        }
    }

    /// Several expressions; all are evaluated, so that each reports its own errors.
    fn exprs(&mut self, items: &[Expr], scope: &Scope) -> Result<Vec<Value>> {
        let results: Vec<Result> = items.iter().map(|e| self.expr(e, scope)).collect();
        results.into_iter().collect()
    }

    fn record(&mut self, fields: &[(ast::Name, Expr)], scope: &Scope) -> Result {
        let mut record: Vec<(Rc<str>, Value)> = Vec::new();
        let mut failed = false;
        for (name, value) in fields {
            if record.iter().any(|(n, _)| **n == *name.text) {
                self.report(Diagnostic::error(
                    Code::Duplicate,
                    name.span,
                    format!("the field `{}` stands twice", name.text),
                ));
            }
            match self.expr(value, scope) {
                Ok(value) => record.push((Rc::from(name.text.as_str()), value)),
                Err(Reported) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(Value::Record(Rc::new(record))) }
    }

    fn field(&mut self, base: &Value, field: &ast::Name) -> Result {
        if let Some(carry) = self.final_carry(base, field) {
            return carry;
        }
        match base {
            Value::Record(fields) => match fields.iter().find(|(n, _)| **n == *field.text) {
                Some((_, value)) => self.readable(value.clone(), field.span),
                None => {
                    let hint = did_you_mean(&field.text, fields.iter().map(|(n, _)| n.as_ref()));
                    let message = format!("the record has no field `{}`", field.text);
                    Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint_if(hint)))
                }
            },
            Value::Tensor(tensor) if field.text == "length" => self.length_of(*tensor, field),
            Value::Vocabulary(vocabulary) => {
                let known = super::text::Known { name: vocabulary.name.clone(), size: vocabulary.size };
                self.vocabulary_field(&known, field)
            }
            Value::Function(function) if function.instance.is_some() => self.weight_of(function, field),
            Value::Tensor(tensor) if self.means_length(*tensor, field) => {
                let message = format!("rows that differ in length have no `{}`", field.text);
                let hint = "did you mean `length`, which says how long each of them is?";
                self.fail_hint(Code::UnknownField, field.span, message, hint)
            }
            other => {
                let message = format!("{} has no fields", other.kind());
                let hint = match other.is_tensor() {
                    true => Some(habits::method(&field.text)),
                    false => habits::member(&field.text).map(str::to_owned),
                };
                Err(self.report(Diagnostic::error(Code::UnknownField, field.span, message).hint_if(hint)))
            }
        }
    }

    fn binary_expr(
        &mut self,
        operator: BinaryOperator,
        left: &Expr,
        right: &Expr,
        whole: &Expr,
        scope: &Scope,
    ) -> Result {
        // `padding == same`: a bare name beside a choice is one of its options.
        if matches!(operator, BinaryOperator::Eq | BinaryOperator::Ne) {
            for (known, bare) in [(left, right), (right, left)] {
                let ExprKind::Name(option) = &bare.kind else { continue };
                if scope.find(option).is_some() || !matches!(known.kind, ExprKind::Name(_)) {
                    continue;
                }
                self.muted += 1;
                let value = self.expr(known, scope);
                self.muted -= 1;
                if value.is_err() && self.global(scope.home(), option, bare.span).is_none() {
                    // Whether it is an option cannot be said.
                    self.touched.insert(bare.span);
                    return self.expr(known, scope);
                }
                if let Ok(Value::Choice(chosen)) = value {
                    return Ok(Value::Bool((*chosen == **option) == (operator == BinaryOperator::Eq)));
                }
            }
        }
        let l = self.expr(left, scope);
        // Beside a setting with a mistake of its own, a bare name may be one of its options.
        let compares = matches!(operator, BinaryOperator::Eq | BinaryOperator::Ne);
        if compares && l.is_err() && matches!(right.kind, ExprKind::Name(_)) {
            return l;
        }
        // `and` and `or` of compile-time bools look at the right side only when it matters.
        if let (BinaryOperator::And, Ok(Value::Bool(false))) | (BinaryOperator::Or, Ok(Value::Bool(true))) =
            (operator, &l)
        {
            return l;
        }
        let r = self.expr(right, scope);
        let (l, r) = (l?, r?);
        let before = self.diagnostics.len();
        let result = self.binary(operator, (l.clone(), left.span), (r.clone(), right.span), whole.span);
        self.trailed(whole, &[(&l, left.span), (&r, right.span)], before, &result);
        result
    }

    /// A compile-time bool.
    pub(crate) fn condition(&mut self, expr: &Expr, scope: &Scope) -> Result<bool> {
        match self.expr(expr, scope)? {
            Value::Bool(b) => Ok(b),
            Value::Tensor(_) => self.fail_hint(
                Code::NotCompileTime,
                expr.span,
                "a condition is decided by the compiler, but this is a tensor",
                "`where(c, a, b)` chooses element by element",
            ),
            other => {
                let hint = match &other {
                    Value::Int(_) => Some(format!("compare it: `{} > 0`", self.sources.text(expr.span))),
                    other => self.kind_hint("bool", other),
                };
                let message = format!("a condition is a bool, not {}", other.kind());
                Err(self.report(Diagnostic::error(Code::WrongKind, expr.span, message).hint_if(hint)))
            }
        }
    }

    fn pipe(&mut self, value: &Expr, name: Option<&ast::Name>, map: &Expr, scope: &Scope) -> Result {
        let input = self.expr(value, scope);
        let function = self.expr(map, scope);
        let (input, function) = (input?, function?);
        let Value::Function(function) = function else {
            let message = format!("after `|>` stands a map, but this is {}", function.kind());
            let called = matches!(map.kind, ExprKind::Call { .. });
            let hint = match called {
                true => Some("leave the first tensor out: the pipe passes it".to_owned()),
                false => self.kind_hint("fn", &function).or(Some("a layer or a fn can stand here".into())),
            };
            return Err(self.report(Diagnostic::error(Code::NotCallable, map.span, message).hint_if(hint)));
        };
        // In a chain, the stage before is what gave the tensor.
        let span = match &value.kind {
            ExprKind::Pipe { map, .. } => map.span,
            _ => value.span,
        };
        let argument = Argument { name: None, value: input, span };
        self.apply(&function, vec![argument], map.span, name)
    }

    // ---- blocks

    /// The value of a block: that of its last statement, if it is an expression. Every statement is looked at, even after an error.
    pub(crate) fn block(&mut self, block: &Block, scope: &Scope) -> Result {
        let mut value = Ok(Value::None);
        let mut failed = false;
        for statement in &block.statements {
            value = self.statement(statement, scope);
            failed |= value.is_err();
            // What an assertion rules out would only fail again below.
            if failed && matches!(statement.kind, StatementKind::Assert { .. }) {
                return Err(Reported);
            }
        }
        if failed { Err(Reported) } else { value }
    }

    pub(crate) fn statement(&mut self, statement: &Statement, scope: &Scope) -> Result {
        match &statement.kind {
            StatementKind::Let { pattern, value } => {
                let value = self.within_let(pattern, value.span, |checker| checker.expr(value, scope));
                let failed = value.is_err();
                self.bind_pattern(pattern, value.unwrap_or(Value::Error), statement.span, scope, true)?;
                if failed {
                    return Err(Reported);
                }
            }
            StatementKind::Weight { name, ty, value, attributes } => {
                let result = self.weight(name, ty, value, attributes, scope);
                self.bind_failed(name, &result, scope);
                result?;
            }
            StatementKind::State { name, ty, value } => {
                let result = self.state(name, ty.as_ref(), value, scope);
                self.bind_failed(name, &result, scope);
                result?;
            }
            StatementKind::Update { target, value } => self.update(target, value, scope)?,
            StatementKind::Assign { target, value } => {
                let new = self.expr(value, scope);
                let failed = new.is_err();
                if self.frame().is_some_and(|frame| frame.states.contains_key(&target.text)) {
                    return self.fail_hint(
                        Code::BadUpdate,
                        target.span,
                        format!("`{}` changes by `<-`; `=` would only name another value", target.text),
                        format!("write `{} <- …`", target.text),
                    );
                }
                let new = new.unwrap_or(Value::Error);
                let outside = scope.find(&target.text).is_some();
                if !scope.assign(&target.text, new.clone(), target.span) {
                    // Its uses are no further mistakes.
                    scope.bind(&target.text, new, target.span);
                    let names = scope.names();
                    let hint = crate::diagnostics::nearest(&target.text, names.iter().map(|n| n.as_ref()));
                    let hint = match hint {
                        _ if outside && !self.context.turns.is_empty() => {
                            format!("a scan changes what it carries: `carrying {0} = {0}`", target.text)
                        }
                        _ if self.is_setting(scope.home(), &target.text) => {
                            "a setting has one value everywhere; `let` binds another name".to_owned()
                        }
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("write `let {} = …` to make it", target.text),
                    };
                    return self.fail_hint(
                        Code::UnknownName,
                        target.span,
                        format!("nothing called `{}` can be assigned here", target.text),
                        hint,
                    );
                }
                if failed {
                    return Err(Reported);
                }
            }
            StatementKind::Assert { condition, message } => {
                self.assertion(condition, message.as_ref(), scope)?;
            }
            StatementKind::For { pattern, over, body } => self.for_loop(pattern, over, body, scope)?,
            StatementKind::If { condition, then, otherwise } => {
                if self.condition(condition, scope)? {
                    self.block(then, &scope.inner())?;
                } else if let Some(otherwise) = otherwise {
                    self.block(otherwise, &scope.inner())?;
                }
            }
            StatementKind::Setting(setting) => {
                let result = self.local_setting(setting, scope);
                let failed = result.is_err();
                scope.bind(&setting.name.text, result.unwrap_or(Value::Error), setting.name.span);
                if failed {
                    return Err(Reported);
                }
            }
            StatementKind::Yield(values) => self.yields(values, statement.span, scope)?,
            StatementKind::Expr(expr) => return self.expr(expr, scope),
        }
        Ok(Value::None)
    }

    fn bind_failed(&mut self, name: &ast::Name, result: &Result<()>, scope: &Scope) {
        if result.is_err() {
            scope.bind(&name.text, Value::Error, name.span);
        }
    }

    /// Binds names; `instantiate`: templates become instances of these names.
    pub(crate) fn bind_pattern(
        &mut self,
        pattern: &Pattern,
        value: Value,
        span: Span,
        scope: &Scope,
        instantiate: bool,
    ) -> Result<()> {
        match pattern {
            Pattern::One(name) => {
                let value = if instantiate { self.instantiate(value, &name.text) } else { value };
                if name.text != "_" {
                    scope.bind(&name.text, value, name.span);
                }
                Ok(())
            }
            Pattern::Tuple(names, at) => {
                let values: Option<Vec<Value>> = match &value {
                    Value::Error => Some(vec![Value::Error; names.len()]),
                    other => other.elements().map(|v| v.to_vec()),
                };
                let fits = values.as_ref().is_some_and(|v| v.len() == names.len());
                let values = match values {
                    Some(values) if fits => values,
                    other => {
                        let has = match other {
                            Some(values) => format!("{} values", values.len()),
                            None => value.kind().to_owned(),
                        };
                        self.report(
                            Diagnostic::error(
                                Code::WrongKind,
                                span,
                                format!("{} names are bound, but there is {has}", names.len()),
                            )
                            .related(*at, format!("{} names", names.len())),
                        );
                        vec![Value::Error; names.len()]
                    }
                };
                for (name, value) in names.iter().zip(values) {
                    self.bind_pattern(&Pattern::One(name.clone()), value, span, scope, instantiate)?;
                }
                if fits { Ok(()) } else { Err(Reported) }
            }
            Pattern::Record(names, _) => {
                let mut failed = false;
                for (field, alias) in names {
                    let found = match &value {
                        Value::Error => Ok(Value::Error),
                        other => self.field(other, field),
                    };
                    failed |= found.is_err();
                    let target = alias.as_ref().unwrap_or(field).clone();
                    let found = found.unwrap_or(Value::Error);
                    self.bind_pattern(&Pattern::One(target), found, span, scope, instantiate)?;
                }
                if failed { Err(Reported) } else { Ok(()) }
            }
        }
    }

    fn for_loop(&mut self, pattern: &Pattern, over: &Expr, body: &Block, scope: &Scope) -> Result<()> {
        let list = self.expr(over, scope)?;
        let items: Rc<Vec<Value>> = match &list {
            Value::Map(entries) => {
                Rc::new(entries.iter().map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()])).collect())
            }
            other => match other.elements() {
                Some(items) => items.clone(),
                None => {
                    let hint = if matches!(other, Value::Int(_)) { "`range(n)` counts from 0" } else { "" };
                    let message = format!("`for` runs over a list, not {}", other.kind());
                    let hint = (!hint.is_empty()).then(|| hint.to_owned());
                    return Err(self
                        .report(Diagnostic::error(Code::NotCompileTime, over.span, message).hint_if(hint)));
                }
            },
        };
        let before = self.frame().map(|f| f.claimed.clone()).unwrap_or_default();
        let mut claimed = before.clone();
        for (turn, item) in items.iter().enumerate() {
            self.burn(over.span)?;
            if let Some(frame) = self.frame() {
                frame.loops.push(turn);
                frame.claimed.clone_from(&before);
            }
            let inner = scope.inner();
            let result = match self.bind_pattern(pattern, item.clone(), over.span, &inner, false) {
                Ok(()) => self.block(body, &inner).map(|_| ()),
                Err(reported) => Err(reported),
            };
            if let Some(frame) = self.frame() {
                frame.loops.pop();
                claimed.extend(frame.claimed.drain());
            }
            // One turn's errors are enough.
            result?;
        }
        if let Some(frame) = self.frame() {
            frame.claimed = claimed;
        }
        Ok(())
    }

    fn assertion(&mut self, condition: &Expr, message: Option<&ast::Text>, scope: &Scope) -> Result<()> {
        // What depends on a symbol is checked when dims bind.
        if let ExprKind::Binary { operator: BinaryOperator::Eq, left, right } = &condition.kind {
            let (l, r) = (self.expr(left, scope)?, self.expr(right, scope)?);
            if let (Some(a), Some(b)) = (l.as_dim(), r.as_dim()) {
                let difference = self.context.simplify(&(a - b));
                if difference.as_constant().is_none() {
                    let text = self.assertion_text(condition, message, scope);
                    let at = self.user_span(condition.span);
                    self.context.guard(difference, text, at);
                    return Ok(());
                }
            }
        }
        if self.condition(condition, scope)? {
            return Ok(());
        }
        let text = self.assertion_text(condition, message, scope);
        let source = self.sources.text(condition.span).to_owned();
        Err(self.report(
            Diagnostic::error(Code::AssertionFailed, condition.span, text)
                .label(format!("`{source}` is false")),
        ))
    }

    fn assertion_text(&mut self, condition: &Expr, message: Option<&ast::Text>, scope: &Scope) -> String {
        match message {
            Some(text) => self.interpolate(text, scope),
            None => format!("`{}` does not hold", self.sources.text(condition.span)),
        }
    }

    /// `{name}` in a text becomes the name's value; `{{` is a brace.
    pub(crate) fn interpolate(&mut self, text: &ast::Text, scope: &Scope) -> String {
        let mut result = String::new();
        let mut rest = text.value.as_str();
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            result.push_str(before);
            let after = after.strip_prefix('{').unwrap_or(after);
            if let Some(escaped) = after.strip_prefix('{') {
                result.push('{');
                rest = escaped;
                continue;
            }
            let Some(close) = after.find('}') else {
                result.push('{');
                rest = after;
                break;
            };
            let (name, after) = after.split_at(close);
            match self.name(name.trim(), text.span, scope) {
                Ok(value) => result.push_str(&value.show()),
                Err(Reported) => result.push('?'),
            }
            rest = after.strip_prefix('}').unwrap_or(after);
        }
        result.push_str(rest);
        result
    }

    // ---- indexing

    fn index(
        &mut self,
        base: Value,
        base_span: Span,
        indices: &[ast::Index],
        span: Span,
        scope: &Scope,
    ) -> Result {
        match &base {
            Value::Tensor(tensor) => self.slice(*tensor, indices, span, scope),
            Value::Map(entries) => {
                let [ast::Index::At(key)] = indices else {
                    return self.fail(Code::BadIndex, span, "a map is indexed by one key");
                };
                let key_value = self.expr(key, scope)?;
                match entries.iter().find(|(k, _)| k.equals(&key_value) == Some(true)) {
                    Some((_, value)) => self.readable(value.clone(), span),
                    None => {
                        let keys: Vec<String> = entries.iter().map(|(k, _)| k.show()).collect();
                        let hint = did_you_mean(&key_value.show(), keys.iter().map(String::as_str));
                        let message = format!("the map has no key {}", key_value.show());
                        Err(self.report(Diagnostic::error(Code::BadIndex, key.span, message).hint_if(hint)))
                    }
                }
            }
            other => match other.elements() {
                Some(items) => {
                    let list = matches!(other, Value::List(_));
                    let items = items.clone();
                    self.list_index(&items, list, indices, span, scope)
                }
                None => self.fail(Code::WrongKind, base_span, format!("{} cannot be indexed", other.kind())),
            },
        }
    }

    fn list_index(
        &mut self,
        items: &[Value],
        list: bool,
        indices: &[ast::Index],
        span: Span,
        scope: &Scope,
    ) -> Result {
        let length = items.len() as i64;
        match indices {
            [ast::Index::At(at)] => {
                let i = self.int(at, scope)?;
                let place = if i < 0 { i.saturating_add(length) } else { i };
                match usize::try_from(place).ok().and_then(|p| items.get(p)) {
                    Some(value) => self.readable(value.clone(), span),
                    None => {
                        let elements = if length == 1 { "1 element" } else { &format!("{length} elements") };
                        let message =
                            format!("there is no element {i}: the list has {elements}, counted from 0");
                        self.fail(Code::BadIndex, at.span, message)
                    }
                }
            }
            [ast::Index::Range { start, end, step, .. }] => {
                let step = match step {
                    Some(e) => self.int(e, scope)?,
                    None => 1,
                };
                if step == 0 {
                    return self.fail(Code::BadIndex, span, "a slice cannot have step 0");
                }
                let bound = |checker: &mut Self, e: &Option<Expr>, default: i64| match e {
                    Some(e) => {
                        let i = checker.int(e, scope)?;
                        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
                        Ok((if i < 0 { i.saturating_add(length) } else { i }).clamp(low, high))
                    }
                    None => Ok(default),
                };
                let (first, last) = if step > 0 { (0, length) } else { (length - 1, -1) };
                let mut i = bound(self, start, first)?;
                let end = bound(self, end, last)?;
                let mut picked = Vec::new();
                while (step > 0 && i < end) || (step < 0 && i > end) {
                    picked.extend(usize::try_from(i).ok().and_then(|p| items.get(p)).cloned());
                    i = i.saturating_add(step);
                }
                Ok(if list { Value::list(picked) } else { Value::tuple(picked) })
            }
            _ => self.fail(Code::BadIndex, span, "a list is indexed by one number or one range"),
        }
    }

    /// A compile-time int.
    pub(crate) fn int(&mut self, expr: &Expr, scope: &Scope) -> Result<i64> {
        let value = self.expr(expr, scope)?;
        self.value_int(&value, expr.span)
    }

    pub(crate) fn value_int(&mut self, value: &Value, span: Span) -> Result<i64> {
        match value {
            Value::Int(i) => Ok(*i),
            Value::Error => Err(Reported),
            Value::Dim(d) => self.fail_hint(
                Code::NotCompileTime,
                span,
                format!("`{d}` is known only when it runs; a constant is needed"),
                "operations on tensors work on all of their elements at once, without a loop",
            ),
            other => {
                let hint = self.kind_hint("int", other);
                let message = format!("an int is needed here, not {}", other.kind());
                Err(self.report(Diagnostic::error(Code::WrongKind, span, message).hint_if(hint)))
            }
        }
    }

    /// The function that a value is.
    pub(crate) fn function(&mut self, value: &Value, span: Span) -> Result<Rc<Function>> {
        match value {
            Value::Function(f) => Ok(f.clone()),
            Value::Error => Err(Reported),
            other => {
                let message = format!("{} cannot be applied", other.kind());
                let operator = arith::symbol(BinaryOperator::Mul);
                let number = other.is_number() || other.is_tensor();
                let hint = number.then(|| format!("multiply with `{operator}`"));
                Err(self.report(Diagnostic::error(Code::NotCallable, span, message).hint_if(hint)))
            }
        }
    }
}
