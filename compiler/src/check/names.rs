//! Files and their items: what a name means at the end of the chain of local scopes.
//!
//! Order: the file's own items, the names that it `use`s, the standard library, the builtins. A library file sees the library and the
//! builtins only.

use super::scope::Scope;
use super::value::{Function, FunctionKind, Given, Instance, Item, Value};
use super::{Checker, Reported, Result, builtins, std};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, did_you_mean_name};
use ::std::collections::HashMap;
use ::std::rc::Rc;
use weft_grammar::ast::{self, CallableKind, ItemKind};
use weft_grammar::{FileId, Span};

/// A file and what it declares.
#[derive(Debug)]
pub struct Home {
    pub file: FileId,
    pub name: String,
    pub(crate) names: HashMap<String, Entry>,
    /// The names that `use … { … }` brings in.
    pub imports: Vec<ast::Name>,
    /// A file that it uses could not be had, so that a name unknown here may be one of that file's.
    pub lenient: bool,
    /// Every item, in order, for the passes over models, data and trainings.
    pub items: Vec<(ItemRef, Span, Option<String>)>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub item: ItemRef,
    pub home: usize,
    /// The name in its declaration.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ItemRef {
    Callable(Rc<Item>),
    Setting(Rc<ast::Setting>),
    Metric(Rc<ast::Metric>),
    Data(Rc<ast::Data>),
    Train(Rc<ast::Train>),
    Predict(Rc<ast::Predict>),
    Generate(Rc<ast::Generate>),
    Load(Rc<ast::Load>),
    /// It could not be parsed.
    Lost,
}

/// What a name outside all local scopes stands for.
pub enum Global {
    Value(Value),
    Metric(Rc<ast::Metric>, usize),
    Data,
}

impl Checker<'_> {
    pub(crate) fn load_main(&mut self, main: &str) -> Option<usize> {
        for (place, (_, text)) in std::FILES.iter().enumerate() {
            for name in std::declared(text) {
                self.std_homes.entry(name).or_insert(place);
            }
        }
        match (self.loader)(main) {
            Ok(text) => Some(self.load(main, &text, false, &mut vec![main.to_owned()])),
            Err(error) => {
                self.sources.add(main, "", false);
                let message = format!("`{main}` cannot be read: {error}");
                self.report(Diagnostic::error(Code::BadUse, Span::default(), message));
                None
            }
        }
    }

    /// Parses a file and takes in what it declares. `chain`: the files that use each other down to this one.
    fn load(&mut self, name: &str, text: &str, std: bool, chain: &mut Vec<String>) -> usize {
        let file = self.sources.add(name, text, std);
        let parsed = weft_grammar::parse(file, text);
        for error in parsed.errors {
            self.report(error.into());
        }
        let place = self.homes.len();
        self.homes.push(Home {
            file,
            name: name.to_owned(),
            names: HashMap::new(),
            imports: Vec::new(),
            lenient: false,
            items: Vec::new(),
        });
        if let Some(edition) = &parsed.file.edition
            && edition.text != "2026"
        {
            let message = format!("edition {} is not known to this compiler", edition.text);
            self.report(
                Diagnostic::warning(Code::UnknownEdition, edition.span, message).hint("write `edition 2026`"),
            );
        }
        let mut uses = Vec::new();
        for item in parsed.file.items {
            if let Some(used) = self.declare(place, item) {
                uses.push(used);
            }
        }
        if let Some(home) = self.homes.get_mut(place) {
            for name in parsed.lost {
                let entry = Entry { item: ItemRef::Lost, home: place, span: Span::default() };
                home.names.entry(name).or_insert(entry);
            }
        }
        for (path, names) in uses {
            self.use_file(place, &path, names, chain);
        }
        place
    }

    /// Enters one item; gives back a `use` for later.
    #[allow(clippy::type_complexity)]
    fn declare(
        &mut self,
        home: usize,
        item: ast::Item,
    ) -> Option<(ast::Text, Option<Vec<(ast::Name, Option<ast::Name>)>>)> {
        let (name, reference) = match item.kind {
            ItemKind::Use { path, names } => return Some((path, names)),
            ItemKind::Setting(s) => (Some(s.name.clone()), ItemRef::Setting(Rc::new(s))),
            ItemKind::Callable(callable) => {
                let name = callable.name.clone();
                let params = callable.params.iter().chain(callable.inputs.iter().flatten());
                let clear = self.each_once(params.map(|p| &p.name));
                let item = Item { callable, home, doc: item.doc.clone() };
                (Some(name), if clear { ItemRef::Callable(Rc::new(item)) } else { ItemRef::Lost })
            }
            ItemKind::Metric(m) => {
                let clear = self.each_once(m.params.iter().map(|p| &p.name));
                (Some(m.name.clone()), if clear { ItemRef::Metric(Rc::new(m)) } else { ItemRef::Lost })
            }
            ItemKind::Data(d) => (Some(d.name.clone()), ItemRef::Data(Rc::new(d))),
            ItemKind::Train(t) => (None, ItemRef::Train(Rc::new(t))),
            ItemKind::Predict(p) => (None, ItemRef::Predict(Rc::new(p))),
            ItemKind::Generate(g) => (None, ItemRef::Generate(Rc::new(g))),
            ItemKind::Load(l) => (None, ItemRef::Load(Rc::new(l))),
        };
        if let Some(name) = name {
            self.enter_name(home, &name, Entry { item: reference.clone(), home, span: name.span });
        }
        if let Some(home) = self.homes.get_mut(home) {
            home.items.push((reference, item.span, item.doc));
        }
        None
    }

    /// No two of these parameters may have the same name.
    fn each_once<'n>(&mut self, names: impl Iterator<Item = &'n ast::Name>) -> bool {
        let mut seen: Vec<&ast::Name> = Vec::new();
        let mut clear = true;
        for name in names {
            match seen.iter().find(|n| n.text == name.text) {
                Some(earlier) => {
                    let message = format!("two parameters are called `{}`", name.text);
                    let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                    self.report(diagnostic.label("again here").related(earlier.span, "first here"));
                    clear = false;
                }
                None => seen.push(name),
            }
        }
        clear
    }

    fn enter_name(&mut self, home: usize, name: &ast::Name, entry: Entry) {
        let Some(target) = self.homes.get_mut(home) else { return };
        match target.names.get(&name.text) {
            Some(earlier) => {
                let (earlier, used) = (earlier.span, entry.home != home);
                let message = format!("`{}` is declared twice", name.text);
                let hint = used.then(|| format!("use it under another name: `{{ {} as … }}`", name.text));
                self.report(
                    Diagnostic::error(Code::Duplicate, name.span, message)
                        .label("again here")
                        .related(earlier, "first here")
                        .hint_if(hint),
                );
            }
            None => {
                target.names.insert(name.text.clone(), entry);
            }
        }
    }

    fn use_file(
        &mut self,
        home: usize,
        path: &ast::Text,
        names: Option<Vec<(ast::Name, Option<ast::Name>)>>,
        chain: &mut Vec<String>,
    ) {
        let base = self.homes.get(home).map(|h| h.name.clone()).unwrap_or_default();
        let full = join(&base, &path.value);
        if chain.contains(&full) {
            let circle = format!("{} → {full}", chain.join(" → "));
            self.report(
                Diagnostic::error(
                    Code::BadUse,
                    path.span,
                    format!("`{}` uses itself in a circle", path.value),
                )
                .note(circle),
            );
            return self.lose(home, names);
        }
        let known = self.homes.iter().position(|h| h.name == full);
        let place = match known {
            Some(place) => place,
            None => match (self.loader)(&full) {
                Ok(text) => {
                    chain.push(full.clone());
                    let place = self.load(&full, &text, false, chain);
                    chain.pop();
                    place
                }
                Err(error) => {
                    let message = format!("`{}` cannot be read: {error}", path.value);
                    let hint = "the path is that from this file's folder";
                    self.report(Diagnostic::error(Code::BadUse, path.span, message).hint(hint));
                    return self.lose(home, names);
                }
            },
        };
        let available: Vec<(String, Entry)> = match self.homes.get(place) {
            Some(h) => h.names.iter().map(|(n, e)| (n.clone(), e.clone())).collect(),
            None => return,
        };
        match names {
            None => {
                let mut all = available;
                all.sort_by(|a, b| a.0.cmp(&b.0));
                for (text, entry) in all.into_iter().filter(|(_, e)| e.home == place) {
                    self.enter_name(home, &ast::Name { text, span: path.span }, entry);
                }
            }
            Some(names) => {
                for (name, alias) in names {
                    match available.iter().find(|(n, _)| *n == name.text) {
                        Some((_, entry)) => {
                            let entry = entry.clone();
                            let own = alias.as_ref().unwrap_or(&name);
                            self.enter_name(home, own, entry);
                            if let Some(home) = self.homes.get_mut(home) {
                                home.imports.push(own.clone());
                            }
                        }
                        None => {
                            let message = format!("`{}` has no item `{}`", path.value, name.text);
                            let hint = did_you_mean(&name.text, available.iter().map(|(n, _)| n.as_str()));
                            self.report(Diagnostic::error(Code::BadUse, name.span, message).hint_if(hint));
                            self.lose(home, Some(vec![(name, alias)]));
                        }
                    }
                }
            }
        }
    }

    /// Notes the names that a failed `use` would have brought in: their uses are no further mistakes.
    fn lose(&mut self, home: usize, names: Option<Vec<(ast::Name, Option<ast::Name>)>>) {
        let Some(target) = self.homes.get_mut(home) else { return };
        match names {
            None => target.lenient = true,
            Some(names) => {
                for (name, alias) in names {
                    let own = alias.unwrap_or(name);
                    let entry = Entry { item: ItemRef::Lost, home, span: own.span };
                    target.names.entry(own.text).or_insert(entry);
                }
            }
        }
    }

    /// The parsed library file at this place of [`std::FILES`].
    fn std_home(&mut self, place: usize) -> Option<usize> {
        let (name, text) = std::FILES.get(place)?;
        if let Some(at) = self.homes.iter().position(|h| h.name == *name && self.sources.is_std(h.file)) {
            return Some(at);
        }
        Some(self.load(name, text, true, &mut Vec::new()))
    }

    /// The item of a name: of the file, of one that it uses, or of the library.
    pub(crate) fn entry(&mut self, home: usize, name: &str) -> Option<Entry> {
        let own = self.homes.get(home).and_then(|h| h.names.get(name)).cloned();
        own.or_else(|| {
            let home = self.std_home(self.std_homes.get(name).copied()?)?;
            self.homes.get(home)?.names.get(name).cloned()
        })
    }

    /// What a name means outside all local scopes.
    pub(crate) fn global(&mut self, home: usize, name: &str, span: Span) -> Option<Result<Global>> {
        if let Some(entry) = self.entry(home, name) {
            return Some(self.global_value(&entry, name, span));
        }
        let builtin = builtins::find(name)?;
        Some(Ok(Global::Value(Value::function(FunctionKind::Builtin { builtin, given: Vec::new() }))))
    }

    fn global_value(&mut self, entry: &Entry, name: &str, span: Span) -> Result<Global> {
        Ok(match &entry.item {
            ItemRef::Callable(item) => {
                let instance = (item.callable.kind == CallableKind::Model)
                    .then(|| Instance { path: Rc::from(item.name()), weightless: None });
                let kind = FunctionKind::Item { item: item.clone(), given: Given::Nothing };
                Global::Value(Value::Function(Rc::new(Function { kind, instance })))
            }
            ItemRef::Setting(setting) => Global::Value(self.setting(entry.home, setting, span)?),
            ItemRef::Metric(metric) => Global::Metric(metric.clone(), entry.home),
            ItemRef::Data(_) => Global::Data,
            ItemRef::Lost => return Err(super::Reported),
            _ => return self.fail(Code::UnknownName, span, format!("`{name}` is not a value")),
        })
    }

    /// The items of a file that `pick` takes, in order.
    pub(crate) fn items<T>(&self, home: usize, pick: impl Fn(&ItemRef) -> Option<T>) -> Vec<T> {
        self.homes
            .get(home)
            .map(|h| h.items.iter().filter_map(|(item, _, _)| pick(item)).collect())
            .unwrap_or_default()
    }

    /// What a file says of its `predict` or `generate` item of this name, in the `///` lines before it.
    pub(crate) fn item_doc(&self, home: usize, name: &str) -> String {
        let named = |item: &ItemRef| match item {
            ItemRef::Predict(item) => item.name.text == name,
            ItemRef::Generate(item) => item.name.text == name,
            _ => false,
        };
        let items = self.homes.get(home).map_or(&[][..], |home| &home.items);
        let found = items.iter().find(|(item, _, _)| named(item));
        found.and_then(|(_, _, doc)| doc.clone()).unwrap_or_default()
    }

    /// Is there a file-level setting of this name?
    pub(crate) fn is_setting(&self, home: usize, name: &str) -> bool {
        let entry = self.homes.get(home).and_then(|h| h.names.get(name));
        entry.is_some_and(|e| matches!(e.item, ItemRef::Setting(_)))
    }

    /// The place that declares an item of a file.
    pub(crate) fn item_span(&self, home: usize, name: &str) -> Option<Span> {
        self.homes.get(home)?.names.get(name).map(|e| e.span)
    }

    /// A name in an expression.
    pub(crate) fn name(&mut self, name: &str, span: Span, scope: &Scope) -> Result {
        if self.by_user(span) {
            self.touched.insert(span);
        }
        if let Some((value, _)) = scope.find(name) {
            return self.readable(value, span);
        }
        if name == "training" {
            return Ok(Value::Bool(self.context.training));
        }
        match self.global(scope.home(), name, span) {
            Some(Ok(Global::Value(value))) => Ok(value),
            Some(Ok(Global::Metric(..))) => self.fail_hint(
                Code::WrongKind,
                span,
                format!("`{name}` is a metric, not a value"),
                "metrics stand after `measure` in a `train` block",
            ),
            Some(Ok(Global::Data)) => self.fail_hint(
                Code::WrongKind,
                span,
                format!("`{name}` is a data set, not a value"),
                format!("write `on {name} as {{ … }}` in a `train` block"),
            ),
            Some(Err(reported)) => Err(reported),
            None => {
                let names = self.visible(scope);
                Err(self.unknown_name(name, span, scope.home(), &names))
            }
        }
    }

    /// Does something in the value of a `let`, whose names are not known there.
    pub(crate) fn within_let<T>(
        &mut self,
        pattern: &ast::Pattern,
        value: Span,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if !self.by_user(value) {
            return act(self);
        }
        self.lets.push((pattern.names().into_iter().map(|n| n.text.clone()).collect(), value));
        let result = act(self);
        self.lets.pop();
        result
    }

    /// Says that nothing is called so, and what was probably meant.
    pub(crate) fn unknown_name(
        &mut self,
        name: &str,
        span: Span,
        home: usize,
        names: &[Rc<str>],
    ) -> Reported {
        if self.homes.get(home).is_some_and(|h| h.lenient) {
            return Reported;
        }
        let own = self
            .lets
            .iter()
            .rev()
            .find(|(names, value)| value.holds(span) && names.iter().any(|n| n == name));
        if let Some((_, value)) = own.cloned() {
            // A value that goes on to the next line was an error already.
            if self.diagnostics.iter().any(|d| value.holds(d.primary.span)) {
                return Reported;
            }
            let message = format!("`{name}` is known only after its own `let`");
            let diagnostic = Diagnostic::error(Code::UnknownName, span, message);
            let hint = "where the next line starts with `(`, `[` or `-`, a `let` goes on: end it with `;`";
            return self.report(diagnostic.related(value, "this is its value").hint(hint));
        }
        let divides = self.sources.line_before(span).trim_end().ends_with("//");
        let comment = "`//` after a value divides; a comment of one word stands on a line of its own";
        let hint = divides
            .then(|| comment.to_owned())
            .or_else(|| self.field_hint(name, span, home))
            .or_else(|| self.bound_elsewhere(name, span, home))
            .or_else(|| did_you_mean_name(name, names.iter().map(|n| n.as_ref())));
        self.report(
            Diagnostic::error(Code::UnknownName, span, format!("nothing is called `{name}` here"))
                .hint_if(hint),
        )
    }

    /// A value that may be read here: errors stay silent, tensors must be of this graph.
    pub(crate) fn readable(&mut self, value: Value, span: Span) -> Result {
        match value {
            Value::Error => Err(super::Reported),
            Value::Elsewhere(name) => self.fail(
                Code::ForeignTensor,
                span,
                format!("`{name}` is computed by another entry, so it cannot be read here"),
            ),
            Value::Tensor(t) if t.graph != self.context.id => match self.first_value_of(t) {
                Some(first) => Ok(Value::Tensor(first)),
                None if &*self.context.builder.graph.name == "init" => self.fail_hint(
                    Code::ForeignTensor,
                    span,
                    "a first value is computed before there is a batch, so it cannot read this tensor",
                    "begin with `zeros()`, `ones()` or `glorot_uniform()`; what follows the batches is a `state`",
                ),
                None => self.fail(
                    Code::ForeignTensor,
                    span,
                    "this tensor is computed by another entry, so it cannot be read here",
                ),
            },
            value => Ok(value),
        }
    }

    /// All names that could be meant here.
    pub(crate) fn visible(&self, scope: &Scope) -> Vec<Rc<str>> {
        let mut names = scope.names();
        names.extend(self.visible_items(scope.home()));
        names
    }

    /// The names outside all local scopes of a file.
    pub(crate) fn visible_items(&self, home: usize) -> Vec<Rc<str>> {
        let mut names: Vec<Rc<str>> = Vec::new();
        if let Some(home) = self.homes.get(home) {
            names.extend(home.names.keys().map(|n| Rc::from(n.as_str())));
        }
        names.extend(self.std_homes.keys().map(|n| Rc::from(*n)));
        names.extend(builtins::names().map(Rc::from));
        names
    }

    /// The metrics that could be meant here.
    pub(crate) fn metric_names(&mut self, home: usize) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let all: Vec<String> = self.std_homes.keys().map(|n| (*n).to_owned()).collect();
        for name in all {
            if let Some(Ok(Global::Metric(..))) = self.global(home, &name, Span::default()) {
                names.push(name);
            }
        }
        if let Some(home) = self.homes.get(home) {
            names.extend(
                home.names
                    .iter()
                    .filter(|(_, e)| matches!(e.item, ItemRef::Metric(_)))
                    .map(|(n, _)| n.clone()),
            );
        }
        names
    }
}

/// The path of a used file, seen from the using one.
fn join(base: &str, path: &str) -> String {
    let folder = base.rfind('/').map_or("", |at| base.get(..=at).unwrap_or(""));
    let mut parts: Vec<&str> = Vec::new();
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}{path}") };
    for part in whole.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|p| !p.is_empty() && *p != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn used_files_are_found_from_the_using_one() {
        assert_eq!(join("specs/a.weft", "b.weft"), "specs/b.weft");
        assert_eq!(join("specs/models/a.weft", "../b.weft"), "specs/b.weft");
        assert_eq!(join("a.weft", "../b.weft"), "../b.weft");
        assert_eq!(join("a.weft", "/x/b.weft"), "/x/b.weft");
    }
}
