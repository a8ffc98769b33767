//! What a spec leaves to defaults: noted call by call while the checker binds arguments, for `weft check --render`.

use super::Checker;
use super::value::Argument;
use std::collections::HashMap;
use weft_grammar::Span;
use weft_grammar::ast::{Expr, Param};

/// The calls of the user's own files, by their place.
pub type Calls = HashMap<Span, Call>;

/// How a call binds the parameters of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub callee: String,
    pub params: Vec<Bound>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub param: String,
    /// Where the call gives it.
    pub given: Option<Span>,
    /// What it is otherwise.
    pub default: Option<Expr>,
    /// Options that a bare name may mean here.
    pub options: Vec<String>,
}

impl Checker<'_> {
    /// Notes how a call of `callee` at `span` binds its parameters. `waits`: the first one comes later.
    pub(crate) fn note_call(
        &mut self,
        callee: &str,
        params: &[Param],
        arguments: &[Argument],
        waits: bool,
        span: Span,
    ) {
        if self.sources.is_std(span.file) {
            return;
        }
        let Some(calls) = &mut self.calls_noted else { return };
        calls.entry(span).or_insert_with(|| {
            let mut places = 0..;
            let mut given: Vec<Option<Span>> = params.iter().map(|_| None).collect();
            for argument in arguments {
                let place = match &argument.name {
                    Some(name) => params.iter().position(|p| p.name.text == name.text),
                    None => places.next(),
                };
                if let Some(slot) = place.and_then(|place| given.get_mut(place)) {
                    *slot = Some(argument.span);
                }
            }
            let bound = params.iter().zip(given).map(|(param, given)| Bound {
                param: param.name.text.clone(),
                given,
                default: param.default.clone(),
                options: options(param),
            });
            Call { callee: callee.to_owned(), params: bound.skip(usize::from(waits)).collect() }
        });
    }
}

fn options(param: &Param) -> Vec<String> {
    use weft_grammar::ast::TypeKind::Choice;
    match param.ty.as_ref().map(|ty| &ty.kind) {
        Some(Choice(options)) => options.iter().map(|option| option.text.clone()).collect(),
        _ => Vec::new(),
    }
}
