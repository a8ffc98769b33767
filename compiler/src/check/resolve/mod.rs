//! Names without values: a walk over the user's syntax trees that tells what each name means.
//!
//! The elaborator sees only what it runs. An item that nothing calls, the branch of an `if` that is not taken and a `let` that no entry
//! needs would keep their mistakes to themselves; here their names, arguments and element types are looked up all the same. What
//! the elaborator did evaluate is left to it, since it knows more.
//!
//! The lints about what is unused read the declarations that the walk finds, with their uses.

mod expressions;
mod items;

use super::{Checker, builtins};
use std::collections::HashSet;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, Expr, Name, Pattern};

/// What the walk found.
#[derive(Debug, Default)]
pub struct Resolution {
    pub declarations: Vec<Declaration>,
    /// Expressions that stand as statements, so that nothing takes their value.
    pub dropped: Vec<Span>,
    /// Conditions that no setting can change, and what they always are.
    pub constant: Vec<(Span, bool)>,
    /// File-level names that are mentioned: (file, name as written there).
    pub mentioned: HashSet<(usize, String)>,
    /// What mentions which item (by the span of its name); `None`: something that runs by itself.
    edges: Vec<(Option<Span>, Span)>,
}

#[derive(Debug)]
pub struct Declaration {
    pub kind: Kind,
    pub name: String,
    pub span: Span,
    pub used: bool,
    /// What a `let` binds it to.
    pub value: Option<Span>,
    /// The options of a choice.
    options: Option<Vec<String>>,
    /// The parameter whose type binds this dim.
    of: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Let,
    Setting,
    Weight,
    /// A parameter or an input; the callee's name is for messages.
    Parameter,
    /// What may stay unused: loop variables, states, dims, the fields that a training takes, the inputs of optimizers and schedules.
    Quiet,
}

impl Resolution {
    /// Does another item mention this one?
    pub fn mentioned_by_another(&self, item: Span) -> bool {
        self.edges.iter().any(|(from, to)| *to == item && *from != Some(item))
    }

    /// The items that what runs by itself leads to.
    pub fn reached(&self) -> HashSet<Span> {
        let mut reached: HashSet<Span> = HashSet::new();
        let mut next: Vec<Span> = self.edges.iter().filter(|e| e.0.is_none()).map(|e| e.1).collect();
        while let Some(item) = next.pop() {
            if reached.insert(item) {
                next.extend(self.edges.iter().filter(|e| e.0 == Some(item)).map(|e| e.1));
            }
        }
        reached
    }
}

impl Checker<'_> {
    /// Walks over every file of the user. `main`: the file whose models run by themselves.
    pub(crate) fn resolve(&mut self, main: usize) -> Resolution {
        let homes: Vec<usize> = (0..self.homes.len())
            .filter(|h| self.homes.get(*h).is_some_and(|h| !self.sources.is_std(h.file)))
            .collect();
        let mut found = Resolution::default();
        for home in homes {
            let lenient = self.homes.get(home).is_some_and(|h| h.lenient);
            for item in self.items(home, |item| Some(item.clone())) {
                let mut walk = Walk { checker: self, found, home, levels: Vec::new(), owner: None, lenient };
                walk.item(&item, home == main);
                found = walk.found;
            }
        }
        for at in 0..found.declarations.len() {
            let param = found.declarations.get(at).filter(|d| d.used).and_then(|d| d.of);
            if let Some(param) = param.and_then(|p| found.declarations.get_mut(p)) {
                param.used = true;
            }
        }
        found
    }
}

/// One item under way.
struct Walk<'w, 'a> {
    checker: &'w mut Checker<'a>,
    found: Resolution,
    home: usize,
    /// Declarations in scope, innermost last.
    levels: Vec<Vec<usize>>,
    /// The item's name; `None` when it runs by itself.
    owner: Option<Span>,
    /// Some name here comes from something that could not be read: unknown names are no further mistakes.
    lenient: bool,
}

impl Walk<'_, '_> {
    fn declare(&mut self, name: &Name, kind: Kind) -> usize {
        let at = self.found.declarations.len();
        self.found.declarations.push(Declaration {
            kind,
            name: name.text.clone(),
            span: name.span,
            used: false,
            value: None,
            options: None,
            of: None,
        });
        if let Some(level) = self.levels.last_mut() {
            level.push(at);
        }
        at
    }

    /// `let pattern = value`
    fn binding(&mut self, pattern: &Pattern, value: &Expr) {
        let names = pattern.names().into_iter().map(|n| n.text.clone()).collect();
        self.checker.lets.push((names, value.span));
        self.expr(value);
        self.checker.lets.pop();
        let first = self.found.declarations.len();
        self.pattern(pattern, Kind::Let);
        for declaration in self.found.declarations.iter_mut().skip(first) {
            declaration.value = Some(value.span);
        }
    }

    fn pattern(&mut self, pattern: &Pattern, kind: Kind) {
        for name in pattern.names() {
            self.declare(name, kind);
        }
    }

    fn local(&self, name: &str) -> Option<usize> {
        let mut all = self.levels.iter().rev().flat_map(|level| level.iter().rev());
        all.find(|at| self.found.declarations.get(**at).is_some_and(|d| d.name == name)).copied()
    }

    fn use_local(&mut self, name: &str) -> bool {
        let found = self.local(name);
        if let Some(declaration) = found.and_then(|at| self.found.declarations.get_mut(at)) {
            declaration.used = true;
        }
        found.is_some()
    }

    /// Notes that an item is mentioned; `false` when there is none of this name.
    fn mention(&mut self, name: &str) -> bool {
        let Some(entry) = self.checker.entry(self.home, name) else { return builtins::find(name).is_some() };
        self.found.mentioned.insert((self.home, name.to_owned()));
        self.found.edges.push((self.owner, entry.span));
        true
    }

    /// `Classifier.bert`
    fn mention_path(&mut self, path: &ast::DottedName) {
        if let Some(first) = path.parts.first() {
            self.mention(&first.text);
        }
    }

    fn name(&mut self, name: &str, span: Span) {
        if self.use_local(name) || self.mention(name) || name == "training" {
            return;
        }
        let told = || self.checker.diagnostics.iter().any(|d| d.primary.span == span);
        if self.lenient || self.checker.touched.contains(&span) || told() {
            return;
        }
        let mut names: Vec<Rc<str>> = self.local_names().iter().map(|n| Rc::from(n.as_str())).collect();
        names.extend(self.checker.visible_items(self.home));
        self.checker.unknown_name(name, span, self.home, &names);
    }

    fn local_names(&self) -> Vec<String> {
        let all = self.levels.iter().flatten().filter_map(|at| self.found.declarations.get(*at));
        all.map(|d| d.name.clone()).collect()
    }
}
