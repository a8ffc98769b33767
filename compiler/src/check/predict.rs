//! `predict` and `load` items.

use super::layer::Frame;
use super::names::{Global, ItemRef};
use super::scope::Scope;
use super::value::Value;
use super::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, did_you_mean_path};
use std::rc::Rc;
use weft_grammar::ast;
use weft_runtime::program::{Load, LoadRule, Prediction};

impl Checker<'_> {
    pub(crate) fn predictions(&mut self, home: usize) {
        let items = self.items(home, |item| match item {
            ItemRef::Predict(p) => Some(p.clone()),
            _ => None,
        });
        let mut seen: Vec<ast::Name> = Vec::new();
        for predict in items {
            if let Some(earlier) = seen.iter().find(|n| n.text == predict.name.text) {
                let earlier = earlier.span;
                self.report(
                    Diagnostic::error(
                        Code::Duplicate,
                        predict.name.span,
                        format!("`predict {}` is declared twice", predict.name.text),
                    )
                    .related(earlier, "first here"),
                );
                continue;
            }
            seen.push(predict.name.clone());
            let name = format!("predict.{}", predict.name.text);
            let outer = self.enter(&name, false);
            let why = Rc::from("a `predict` item");
            self.frames.push(Frame::new(Some(Rc::from(predict.name.text.as_str())), "predict", Some(why)));
            let result = self.predict_body(home, &predict);
            self.frames.pop();
            let context = self.leave(outer);
            self.incomplete |= result.is_err();
            if result.is_ok() {
                self.module.entries.push(context.finish(|_| false));
                self.module.predictions.push(Prediction {
                    name: predict.name.text.clone(),
                    entry: name,
                    of_model: false,
                    doc: self.item_doc(home, &predict.name.text),
                });
            }
        }
    }

    fn predict_body(&mut self, home: usize, predict: &ast::Predict) -> Result<()> {
        let scope = Scope::of_file(home);
        let arguments = self.own_inputs(&predict.inputs, &scope)?;
        for argument in arguments {
            if let Some(name) = &argument.name {
                scope.bind(&name.text, argument.value.clone(), name.span);
            }
        }
        let value = self.block(&predict.body, &scope.inner())?;
        self.lint_entry(None);
        let at = predict.body.statements.last().map_or(predict.body.span, |s| s.span);
        if let Some(names) = &predict.result {
            let Value::Record(fields) = &value else {
                let message = format!("`{}` gives a record, but this is {}", predict.name.text, value.kind());
                let fields: Vec<String> = names.iter().map(|n| format!("{} = …", n.text)).collect();
                let hint = format!("write `{{ {} }}`", fields.join(", "));
                return self.fail_hint(Code::ResultMismatch, at, message, hint);
            };
            let undeclared: Vec<&str> = fields
                .iter()
                .map(|(field, _)| field.as_ref())
                .filter(|field| !names.iter().any(|n| n.text == **field))
                .collect();
            let mut misspelt: Vec<&str> = Vec::new();
            for name in names {
                if fields.iter().any(|(f, _)| **f == *name.text) {
                    continue;
                }
                let near = crate::diagnostics::nearest(&name.text, undeclared.iter().copied());
                misspelt.extend(near);
                let message = match near {
                    Some(field) => format!("the result has `{field}` where `{}` is declared", name.text),
                    None => format!("the result has no field `{}`", name.text),
                };
                self.report(
                    Diagnostic::error(Code::ResultMismatch, name.span, message)
                        .label("declared here")
                        .related(at, "the result"),
                );
            }
            for field in undeclared.into_iter().filter(|field| !misspelt.contains(field)) {
                let message = format!("the field `{field}` is not declared");
                self.report(
                    Diagnostic::error(Code::ResultMismatch, at, message)
                        .related(predict.name.span, "the fields are declared here"),
                );
            }
        }
        self.outputs(&value, at, "output")
    }

    /// `load` items: names and captures. The files themselves are read by the runtime.
    pub(crate) fn loads(&mut self, home: usize) {
        for load in self.items(home, |item| match item {
            ItemRef::Load(l) => Some(l.clone()),
            _ => None,
        }) {
            let _ = self.load_item(home, &load);
        }
    }

    /// Each rule leads to weights that the model has.
    fn rule_targets(&mut self, load: &ast::Load, model: &str) {
        if self.error_count() > 0 {
            return;
        }
        let prefix = format!("{model}.");
        let paths = self.variables.iter().map(|v| v.variable.path.as_str());
        let paths: Vec<String> = paths.filter_map(|p| p.strip_prefix(&prefix)).map(str::to_owned).collect();
        for rule in load.rules.iter().filter(|rule| !leaves_out(rule)) {
            let target = rule.to.value.as_str();
            if paths.iter().any(|path| covers(target, path) || covers(target, &format!("{prefix}{path}"))) {
                continue;
            }
            let message = format!("`{model}` has no weight `{target}`");
            let hint = did_you_mean_path(target, paths.iter().map(String::as_str))
                .unwrap_or_else(|| "`weft summary` lists every weight's path".to_owned());
            self.report(Diagnostic::error(Code::BadLoad, rule.to.span, message).hint(hint));
        }
    }

    fn load_item(&mut self, home: usize, load: &ast::Load) -> Result<()> {
        let Some(model) = load.target.parts.first() else { return Err(Reported) };
        match self.global(home, &model.text, model.span) {
            Some(Ok(Global::Value(Value::Function(f)))) if f.instance.is_some() => {}
            Some(Err(reported)) => return Err(reported),
            _ => {
                let models: Vec<String> = self.items(home, |item| match item {
                    ItemRef::Callable(item) if item.callable.kind == ast::CallableKind::Model => {
                        Some(item.name().to_owned())
                    }
                    _ => None,
                });
                let hint = did_you_mean(&model.text, models.iter().map(String::as_str));
                let message = format!("no model is called `{}`", model.text);
                return Err(self.report(Diagnostic::error(Code::BadLoad, model.span, message).hint_if(hint)));
            }
        }
        let path: Vec<&str> = load.target.parts.iter().map(|p| p.text.as_str()).collect();
        let path = path.join(".");
        let prefix = format!("{path}.");
        let any =
            self.variables.iter().any(|v| v.variable.path.starts_with(&prefix) || v.variable.path == path);
        if !any && self.error_count() == 0 {
            let hint = did_you_mean_path(&path, self.variables.iter().map(|v| v.variable.path.as_str()));
            let message = format!("`{path}` has no weights");
            let diagnostic = Diagnostic::error(Code::BadLoad, load.target.span, message);
            return Err(self.report(diagnostic.hint_if(hint)));
        }
        for rule in &load.rules {
            for capture in captures(&rule.to.value) {
                if !captures(&rule.from.value).contains(&capture) {
                    let message = format!("`{{{capture}}}` stands in the target but not in the file's name");
                    self.report(
                        Diagnostic::error(Code::BadLoad, rule.to.span, message)
                            .related(rule.from.span, "the file's name"),
                    );
                }
            }
        }
        self.rule_targets(load, &path);
        let rule = |rule: &ast::LoadRule| LoadRule {
            from: rule.from.value.clone(),
            to: (!leaves_out(rule)).then(|| rule.to.value.clone()),
            transposed: rule.transposed,
        };
        let rules = load.rules.iter().map(rule).collect();
        self.module.loads.push(Load { target: path, file: load.file.value.clone(), rules });
        Ok(())
    }
}

/// `"NAME" -> none`
fn leaves_out(rule: &ast::LoadRule) -> bool {
    rule.to.value == "none"
}

/// Could a target with captures be this path? A capture is one step of a path, or part of one.
fn covers(target: &str, path: &str) -> bool {
    let Some((literal, rest)) = target.split_once('{') else { return target == path };
    let (Some(path), Some((_, rest))) = (path.strip_prefix(literal), rest.split_once('}')) else {
        return false;
    };
    let step = path.find('.').unwrap_or(path.len());
    (1..=step).any(|end| path.get(end..).is_some_and(|tail| covers(rest, tail)))
}

/// The names in braces.
fn captures(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name)).collect()
}
