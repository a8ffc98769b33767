//! Names in scope: a chain of local bindings that ends at a file's items.

use super::value::Value;
use std::cell::RefCell;
use std::rc::Rc;
use weft_grammar::Span;

/// One level of names. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Scope(Rc<Level>);

#[derive(Debug)]
struct Level {
    names: RefCell<Vec<Name>>,
    parent: Option<Scope>,
    /// The file whose items are in scope at the end of the chain.
    home: usize,
    /// Assignments do not reach beyond it: the body of a callable.
    body: bool,
}

#[derive(Debug)]
struct Name {
    name: Rc<str>,
    value: Value,
    /// What bound it, to be shown when it disagrees with something.
    span: Span,
}

impl Scope {
    /// The outermost level of a body in this file.
    pub fn of_file(home: usize) -> Scope {
        Scope(Rc::new(Level { names: RefCell::default(), parent: None, home, body: true }))
    }

    /// A block inside this scope.
    pub fn inner(&self) -> Scope {
        self.child(false)
    }

    /// The body of a lambda written in this scope.
    pub fn body(&self) -> Scope {
        self.child(true)
    }

    fn child(&self, body: bool) -> Scope {
        let level = Level { names: RefCell::default(), parent: Some(self.clone()), home: self.0.home, body };
        Scope(Rc::new(level))
    }

    pub fn home(&self) -> usize {
        self.0.home
    }

    /// Binds a name on this level; a later binding hides an earlier one.
    pub fn bind(&self, name: &str, value: Value, span: Span) {
        let mut names = self.0.names.borrow_mut();
        match names.iter_mut().find(|n| &*n.name == name) {
            Some(existing) => (existing.value, existing.span) = (value, span),
            None => names.push(Name { name: Rc::from(name), value, span }),
        }
    }

    /// The nearest local binding.
    pub fn find(&self, name: &str) -> Option<(Value, Span)> {
        let mut scope = self;
        loop {
            if let Some(found) = scope.0.names.borrow().iter().find(|n| &*n.name == name) {
                return Some((found.value.clone(), found.span));
            }
            scope = scope.0.parent.as_ref()?;
        }
    }

    /// Gives a bound name of this body a new value. `false`: this body binds no such name.
    pub fn assign(&self, name: &str, value: Value, span: Span) -> bool {
        let mut scope = self;
        loop {
            if let Some(found) = scope.0.names.borrow_mut().iter_mut().find(|n| &*n.name == name) {
                (found.value, found.span) = (value, span);
                return true;
            }
            match (&scope.0.parent, scope.0.body) {
                (Some(parent), false) => scope = parent,
                _ => return false,
            }
        }
    }

    /// Every local name, for "did you mean".
    pub fn names(&self) -> Vec<Rc<str>> {
        let mut all = Vec::new();
        let mut scope = Some(self);
        while let Some(level) = scope {
            all.extend(level.0.names.borrow().iter().map(|n| n.name.clone()));
            scope = level.0.parent.as_ref();
        }
        all
    }
}
