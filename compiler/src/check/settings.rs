//! `setting`s: compile-time values that the command line may override.

use super::scope::Scope;
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast;

impl Checker<'_> {
    /// Evaluates every setting of the main file, so that a wrong override is reported even when nothing reads the setting.
    pub(crate) fn evaluate_settings(&mut self, home: usize) {
        for setting in self.items(home, |item| match item {
            super::names::ItemRef::Setting(s) => Some(s.clone()),
            _ => None,
        }) {
            if let Ok(value) = self.setting(home, &setting, setting.name.span) {
                self.typed.settings.push((setting.name.text.clone(), value.show()));
            }
        }
    }

    /// The value of a file-level setting, evaluated once.
    pub(crate) fn setting(&mut self, home: usize, setting: &Rc<ast::Setting>, span: Span) -> Result {
        let key = (home, setting.name.text.clone());
        match self.settings.get(&key) {
            Some(Some(Value::Error)) => return Err(Reported),
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => {
                let message = format!("the setting `{}` depends on itself", setting.name.text);
                return Err(self.report(
                    Diagnostic::error(Code::BadSetting, span, message)
                        .related(setting.name.span, "while its own value is computed")
                        .hint("give one of the settings on the way a value of its own"),
                ));
            }
            None => {}
        }
        self.settings.insert(key.clone(), None);
        let scope = Scope::of_file(home);
        let value = self.setting_value(setting, &scope, &setting.name.text);
        self.settings.insert(key, Some(value.clone().unwrap_or(Value::Error)));
        value
    }

    /// A setting inside a body; the command line calls it `LAYER.NAME`.
    pub(crate) fn local_setting(&mut self, setting: &ast::Setting, scope: &Scope) -> Result {
        let owner = self.calls.last().map(|c| c.name.clone()).unwrap_or_else(|| Rc::from(""));
        let name = format!("{owner}.{}", setting.name.text);
        self.setting_value(setting, scope, &name)
    }

    fn setting_value(&mut self, setting: &ast::Setting, scope: &Scope, name: &str) -> Result {
        let chosen = match (setting.ty.as_ref().map(|t| &t.kind), &setting.value.kind) {
            (Some(ast::TypeKind::Choice(options)), ast::ExprKind::Name(n)) => {
                options.iter().find(|o| o.text == *n)
            }
            _ => None,
        };
        let default = match (chosen, setting.ty.as_ref().map(|t| &t.kind), &setting.value.kind) {
            (Some(option), ..) => Value::Choice(Rc::from(option.text.as_str())),
            (None, Some(ast::TypeKind::Choice(options)), ast::ExprKind::Name(n))
                if !self.is_setting(scope.home(), n) && scope.find(n).is_none() =>
            {
                let options: Vec<&ast::Name> = options.iter().collect();
                return Err(self.no_option(n, setting.value.span, &options));
            }
            _ => self.expr(&setting.value, scope)?,
        };
        let what = format!("the setting `{name}`");
        let default = match &setting.ty {
            Some(ty) => self.of_kind(ty, default, setting.value.span, &what)?,
            None => default,
        };
        if matches!(default, Value::Tensor(_)) {
            return self.fail_hint(
                Code::NotCompileTime,
                setting.value.span,
                format!("{what} must be a compile-time value, not a tensor"),
                "`let` names what is computed",
            );
        }
        let given = self.options.settings.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let Some(text) = given else { return Ok(default) };
        self.used_settings.insert(name.to_owned());
        match self.override_value(&text, &default, setting) {
            Some(value) => Ok(value),
            None => {
                let kind = match setting.ty.as_ref().map(|t| &t.kind) {
                    Some(ast::TypeKind::Choice(options)) => {
                        options.iter().map(|o| o.text.as_str()).collect::<Vec<_>>().join(" or ")
                    }
                    _ => format!("{} ({})", default.kind(), default.show()),
                };
                let message = format!("`--set {name}={text}`: the setting `{name}` is {kind}");
                self.fail(Code::BadSetting, setting.value.span, message)
            }
        }
    }

    /// Reads the command line's text as a value of the setting's kind.
    fn override_value(&mut self, text: &str, default: &Value, setting: &ast::Setting) -> Option<Value> {
        if let Some(ast::TypeKind::Choice(options)) = setting.ty.as_ref().map(|t| &t.kind) {
            return options.iter().any(|o| o.text == text).then(|| Value::Choice(Rc::from(text)));
        }
        Some(match default {
            Value::Int(_) => Value::Int(text.replace('_', "").parse().ok()?),
            Value::Float(_) => {
                Value::Float(text.replace('_', "").parse::<f64>().ok().filter(|f| f.is_finite())?)
            }
            Value::Bool(_) => Value::Bool(text.parse().ok()?),
            Value::Text(_) => Value::text(text),
            // Lists, tuples and maps are written as in a spec.
            other => {
                let source = format!("setting value = {text}");
                let file = self.sources.add("--set", source.as_str(), false);
                let parsed = weft_grammar::parse(file, &source);
                let [ast::Item { kind: ast::ItemKind::Setting(parsed_setting), .. }] =
                    parsed.file.items.as_slice()
                else {
                    return None;
                };
                if !parsed.errors.is_empty() {
                    return None;
                }
                let value = self.expr(&parsed_setting.value, &Scope::of_file(usize::MAX)).ok()?;
                (value.kind() == other.kind()).then_some(value)?
            }
        })
    }

    /// `--set` of a name that no setting has.
    pub(crate) fn unused_overrides(&mut self) {
        let known: Vec<String> = self.typed.settings.iter().map(|(n, _)| n.clone()).collect();
        for (name, _) in &self.options.settings {
            if self.used_settings.contains(name) || known.contains(name) {
                continue;
            }
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            let message = format!("`--set {name}=…`: the spec has no setting `{name}`");
            self.report(Diagnostic::error(Code::BadSetting, Span::default(), message).hint_if(hint));
        }
    }
}
