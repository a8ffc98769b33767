//! `generate` items: text out of a model, token by token.
//!
//! An item's body holds keys (`begin = …`, `until = …`), `let`s, and last the logits after each token of `target`, which the item itself
//! binds: all tokens that there are so far, those that it began with among them. It is elaborated as one that goes on with a sequence
//! (`decode.rs`), and becomes two entries: what runs once, and what runs for new tokens and gives the logits after the last one. Which token
//! they lead to is chosen by the runtime (`weft_runtime::generate`), as the key `by` says (`strategy.rs`).

mod strategy;

use super::decode::Decoding;
use super::layer::Frame;
use super::names::ItemRef;
use super::scope::Scope;
use super::text::Known;
use super::value::{Tensor, Value};
use super::{Checker, Reported, Result};
use crate::decode::Parts;
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, TensorType};
use crate::registry::generate_keys;
use std::rc::Rc;
use weft_grammar::Span;
use weft_grammar::ast::{self, Expr, ExprKind, Statement, StatementKind};
use weft_runtime::program::{Begin, Generation, InputSource, Strategy, Token, VocabularySource};
use weft_runtime::text::SPECIAL;

/// So many tokens are written where the item doesn't say it.
const MAX: usize = 100;
/// More are none.
const MOST: i64 = 1 << 24;

/// What the keys of an item say.
#[derive(Default)]
struct Keys {
    vocabulary: Option<Known>,
    begin: Option<(Begin, Span)>,
    until: Vec<Token>,
    max: Option<usize>,
    by: Option<Strategy>,
}

/// What `target` is: its own dims are named as an author would, unless the inputs have these names already.
struct Target {
    node: Tensor,
    rows: Dim,
    steps: Dim,
}

impl Checker<'_> {
    pub(crate) fn generations(&mut self, home: usize) {
        let items = self.items(home, |item| match item {
            ItemRef::Generate(g) => Some(g.clone()),
            _ => None,
        });
        // Once for all items, whose own strategies it replaces.
        let Ok(by) = self.overriding_strategy(home) else {
            self.incomplete = true;
            return;
        };
        let mut seen: Vec<ast::Name> = Vec::new();
        for item in items {
            if let Some(earlier) = seen.iter().find(|n| n.text == item.name.text) {
                let message = format!("`generate {}` is declared twice", item.name.text);
                let diagnostic = Diagnostic::error(Code::Duplicate, item.name.span, message);
                self.report(diagnostic.related(earlier.span, "first here"));
                continue;
            }
            seen.push(item.name.clone());
            let name = format!("generate.{}", item.name.text);
            let outer = self.enter(&name, false);
            let why = Rc::from("a `generate` item");
            self.frames.push(Frame::new(Some(Rc::from(item.name.text.as_str())), "generate", Some(why)));
            let mut result = self.generation(home, &item, &name);
            if let (Ok(generation), Some(by)) = (&mut result, &by) {
                generation.by = by.clone();
            }
            self.frames.pop();
            let mut context = self.leave(outer);
            self.incomplete |= result.is_err();
            if let Ok(generation) = result {
                context.drop_unread_texts();
                let parts = self.decoded(context, Generation::TARGET, Generation::LOGITS);
                self.incomplete |= parts.is_err();
                if let Ok(Parts { start, step }) = parts {
                    self.module.entries.extend([start, step]);
                    self.module.generations.push(generation);
                }
            }
        }
    }

    fn generation(&mut self, home: usize, item: &ast::Generate, entry: &str) -> Result<Generation> {
        let scope = Scope::of_file(home);
        for argument in self.own_inputs(&item.inputs, &scope)? {
            let Some(name) = argument.name else { continue };
            if name.text == Generation::TARGET {
                let message = "`target` is what the item itself binds: the tokens so far";
                return self.fail_hint(Code::Duplicate, name.span, message, "give the input another name");
            }
            scope.bind(&name.text, argument.value, name.span);
        }
        let target = self.target(&item.name)?;
        let mut keys = Keys::default();
        let logits = self.generation_body(item, &mut keys, &target, &scope)?;
        let Some((begin, at)) = keys.begin else {
            let message = format!("`generate {}` has nothing to begin with", item.name.text);
            let hint = match item.inputs.first() {
                Some(input) => format!(
                    "write `begin = tokenize({}, VOCABULARY)` to go on with a text, or `begin = \"<s>\"` with a token of the vocabulary",
                    input.name.text
                ),
                None => "write `begin = \"<s>\"` with a token of the vocabulary, or its number".to_owned(),
            };
            return self.fail_hint(Code::IncompleteGeneration, item.name.span, message, hint);
        };
        let vocabulary = match (keys.vocabulary, &begin) {
            (Some(known), Begin::Text { encoding, .. }) if known.name != encoding.vocabulary => {
                let message = format!(
                    "the text is cut by `{}`, but what is written is of `{}`",
                    encoding.vocabulary, known.name
                );
                return self.fail_hint(
                    Code::BadKeyValue,
                    at,
                    message,
                    "both are the same tokens of one model",
                );
            }
            (Some(known), _) => Some(known.name),
            (None, Begin::Text { encoding, .. }) => Some(encoding.vocabulary.clone()),
            (None, _) => None,
        };
        let tokens = match &begin {
            Begin::Tokens(tokens) => tokens.as_slice(),
            _ => &[],
        };
        let named = |token: &Token| match token {
            Token::Name(name) => Some(name.clone()),
            Token::Id(_) => None,
        };
        if vocabulary.is_none()
            && let Some(name) = keys.until.iter().chain(tokens).find_map(named)
        {
            let message = format!("there is no vocabulary that {name:?} could be of");
            let hint = "write `vocabulary = …`, or the token's number";
            return self.fail_hint(Code::IncompleteGeneration, item.name.span, message, hint);
        }
        self.context.output(Generation::LOGITS, logits.node);
        Ok(Generation {
            name: item.name.text.clone(),
            start: format!("{entry}.start"),
            step: format!("{entry}.step"),
            vocabulary,
            begin,
            until: keys.until,
            max: keys.max.unwrap_or(MAX),
            by: keys.by.unwrap_or_else(strategy::greedy),
            doc: self.item_doc(home, &item.name.text),
        })
    }

    /// `target: i32[n, t]`, for as many rows as the inputs have.
    fn target(&mut self, item: &ast::Name) -> Result<Target> {
        let span = item.span;
        let free = |context: &super::context::Context, name: &str| {
            let taken = context.symbols.contains_key(name);
            Dim::symbol(if taken { format!("target.{name}") } else { name.to_owned() })
        };
        let first = self.context.rows();
        let rows = first.unwrap_or_else(|| free(&self.context, "n"));
        let steps = free(&self.context, "t");
        for (dim, what) in [(&rows, "the number of rows"), (&steps, "the number of tokens so far")] {
            if let Some(symbol) = dim.as_symbol() {
                let what = format!("{what}, known only when it runs");
                self.context.symbols.entry(symbol.clone()).or_insert((what, span));
            }
        }
        self.place(span);
        let ty = TensorType::new(DType::I32, vec![rows.clone(), steps.clone()]);
        let node = self.context.input(Generation::TARGET, ty, InputSource::Written);
        let node = self.built(node, span)?;
        self.originate(node, "`target`, the tokens so far".to_owned(), span, None);
        self.context.decoding = steps.as_symbol().cloned().map(Decoding::new);
        Ok(Target { node: self.context.tensor(node), rows, steps })
    }

    /// Reads the keys, evaluates everything else, and gives the logits after each token: `f32[n, t, vocab]`.
    fn generation_body(
        &mut self,
        item: &ast::Generate,
        keys: &mut Keys,
        target: &Target,
        scope: &Scope,
    ) -> Result<Tensor> {
        let body = scope.inner();
        body.bind(Generation::TARGET, Value::Tensor(target.node), item.name.span);
        let mut seen: Vec<&ast::Name> = Vec::new();
        let mut value = Ok(Value::None);
        let mut failed = false;
        for statement in &item.body.statements {
            value = match key_of(statement, &body) {
                Some((name, expr)) => {
                    if let Some(earlier) = seen.iter().find(|n| n.text == name.text) {
                        let message = format!("`{}` is given twice", name.text);
                        let diagnostic = Diagnostic::error(Code::Duplicate, name.span, message);
                        self.report(diagnostic.related(earlier.span, "first here"));
                    }
                    seen.push(name);
                    self.generation_key(keys, name, expr, &body, target).map(|()| Value::None)
                }
                None => self.statement(statement, &body),
            };
            failed |= value.is_err();
        }
        if failed {
            return Err(Reported);
        }
        self.lint_entry(None);
        let at = item.body.statements.last().map_or(item.name.span, |s| s.span);
        let wanted = "the last expression of a `generate` item is the logits after each token of `target`";
        let Value::Tensor(logits) = value? else {
            let hint = "end with the model: `Gpt(target)`";
            return self.fail_hint(Code::IncompleteGeneration, at, wanted, hint);
        };
        let ty = self.tensor_type(logits);
        let vocabulary = ty.shape.last().and_then(Dim::as_constant).and_then(|v| usize::try_from(v).ok());
        let shaped = ty.rank() == 3
            && ty.dtype.is_float()
            && ty.shape.iter().zip([&target.rows, &target.steps]).all(|(is, due)| self.same_dim(is, due));
        let Some(size) = vocabulary.filter(|_| shaped) else {
            let (n, t) = (&target.rows, &target.steps);
            let message = format!("{wanted}, f32[{n}, {t}, vocabulary], but this is {ty}");
            return self.fail(Code::IncompleteGeneration, at, message);
        };
        if let Some(known) = keys.vocabulary.as_ref().filter(|known| known.size > size) {
            let message = format!(
                "the vocabulary `{}` has {} tokens, but there are logits for {size}",
                known.name, known.size
            );
            return self.fail(Code::IncompleteGeneration, at, message);
        }
        self.place(at);
        let logits = self.context.builder.cast(logits.node, DType::F32);
        let logits = self.built(logits, at)?;
        Ok(self.context.tensor(logits))
    }

    fn same_dim(&self, a: &Dim, b: &Dim) -> bool {
        self.context.decide(a, b) == super::context::Decision::Equal
    }

    fn generation_key(
        &mut self,
        keys: &mut Keys,
        name: &ast::Name,
        expr: &Expr,
        scope: &Scope,
        target: &Target,
    ) -> Result<()> {
        match name.text.as_str() {
            "vocabulary" => {
                let value = self.expr(expr, scope)?;
                let known = self.named_vocabulary(&value, expr.span)?;
                self.context.vocabulary_sizes.insert(target.node.node, (known.name.clone(), known.size));
                keys.vocabulary = Some(known);
            }
            "begin" => keys.begin = Some((self.beginning(expr, scope, keys)?, expr.span)),
            "until" => {
                let value = self.expr(expr, scope)?;
                keys.until = self.token_list("until", &value, expr.span, keys)?;
            }
            "max" => {
                let value = self.expr(expr, scope)?;
                let most = self.value_int(&value, expr.span)?;
                if !(1..=MOST).contains(&most) {
                    let message = format!("`max` is an int, 1 or more, not {most}");
                    return self.fail(Code::BadKeyValue, expr.span, message);
                }
                keys.max = usize::try_from(most).ok();
            }
            "by" => keys.by = Some(self.strategy(expr, scope)?),
            other => {
                let hint = did_you_mean(other, generate_keys());
                let message = format!("`generate` has no key `{other}`");
                return Err(
                    self.report(Diagnostic::error(Code::UnknownKey, name.span, message).hint_if(hint))
                );
            }
        }
        Ok(())
    }

    /// The tokens of a text, those in an input, or some that are the same for every row.
    fn beginning(&mut self, expr: &Expr, scope: &Scope, keys: &Keys) -> Result<Begin> {
        let value = self.expr(expr, scope)?;
        let Value::Tensor(tensor) = value else {
            let tokens = self.token_list("begin", &value, expr.span, keys)?;
            if tokens.is_empty() {
                return self.fail(Code::BadKeyValue, expr.span, "`begin` names one token or more");
            }
            return Ok(Begin::Tokens(tokens));
        };
        match self.context.input_of(tensor.node) {
            Some((_, _, InputSource::Tokens { text, encoding })) => {
                Ok(Begin::Text { text: text.clone(), encoding: encoding.clone() })
            }
            Some((name, ty, InputSource::Caller)) if ty.dtype == DType::I32 && ty.rank() == 2 => {
                Ok(Begin::Input(name.clone()))
            }
            _ => {
                let message = "`begin` is the tokens that are given, as they are: what is computed from them is no beginning";
                let hint =
                    "write `begin = tokenize(prompt, VOCABULARY)`, or name an input that is `i32[n, p]`";
                self.fail_hint(Code::BadKeyValue, expr.span, message, hint)
            }
        }
    }

    /// One token or a list of some, by name or number.
    fn token_list(&mut self, key: &str, value: &Value, span: Span, keys: &Keys) -> Result<Vec<Token>> {
        let one = [value.clone()];
        let values = value.elements().map_or(&one[..], |list| list.as_slice());
        let mut tokens = Vec::new();
        for value in values {
            tokens.push(match value {
                Value::Int(id) => match i32::try_from(*id).ok().filter(|id| *id >= 0) {
                    Some(id) => Token::Id(id),
                    None => {
                        return self.fail(Code::BadKeyValue, span, format!("{id} is the number of no token"));
                    }
                },
                Value::Text(name) if name.is_empty() => {
                    return self.fail(Code::BadKeyValue, span, format!("`{key}` names no token"));
                }
                Value::Text(name) => {
                    self.special_token(name, span, keys)?;
                    Token::Name(name.to_string())
                }
                Value::None if key == "until" => continue,
                other => {
                    let message = format!(
                        "`{key}` is a token, by its name or its number, or a list of some, not {}",
                        other.shown()
                    );
                    return self.fail(Code::BadKeyValue, span, message);
                }
            });
        }
        Ok(tokens)
    }

    /// What a vocabulary is trained to is not known yet, but its special tokens are. Those of a file are looked up when it is read.
    fn special_token(&mut self, name: &str, span: Span, keys: &Keys) -> Result<()> {
        let Some(known) = keys.vocabulary.as_ref().filter(|_| weft_runtime::text::is_special(name)) else {
            return Ok(());
        };
        let of_file = |source: &VocabularySource| matches!(source, VocabularySource::File(_));
        let special: &[&str] = match self.vocabularies.get(&known.name) {
            Some(vocabulary) if of_file(&vocabulary.source) => return Ok(()),
            Some(_) => &SPECIAL,
            None => match self.module.vocabularies.iter().find(|vocabulary| vocabulary.name == known.name) {
                Some(vocabulary) if vocabulary.source == VocabularySource::Bytes => &[],
                _ => return Ok(()),
            },
        };
        if special.contains(&name) {
            return Ok(());
        }
        let message = format!("the vocabulary `{}` has no token `{name}`", known.name);
        let hint = did_you_mean(name, special.iter().copied());
        Err(self.report(Diagnostic::error(Code::BadKeyValue, span, message).hint_if(hint)))
    }
}

/// `key = value`: an assignment, unless its name is that of a `let` before.
fn key_of<'s>(statement: &'s Statement, scope: &Scope) -> Option<(&'s ast::Name, &'s Expr)> {
    match &statement.kind {
        StatementKind::Assign { target, value } => {
            let key = generate_keys().any(|key| key == target.text);
            (key || scope.find(&target.text).is_none()).then_some((target, value))
        }
        _ => None,
    }
}

/// What of a statement is an expression with names of the file: of `by`, only the arguments.
pub fn expressions(statement: &Statement) -> Option<Vec<&Expr>> {
    let StatementKind::Assign { target, value } = &statement.kind else { return None };
    if !generate_keys().any(|key| key == target.text) {
        return None;
    }
    Some(match (target.text.as_str(), &value.kind) {
        ("by", ExprKind::Call { arguments, .. }) => strategy::own_expressions(arguments),
        ("by", _) => Vec::new(),
        _ => vec![value],
    })
}
