//! `by = greedy`, `by = sample(top_k = 40)`, `by = beam(4)`: how tokens are chosen.
//!
//! The three words mean this in the key `by` alone, so that models and functions may have the same names.

use crate::check::scope::Scope;
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean, did_you_mean_argument};
use weft_grammar::Span;
use weft_grammar::ast::{self, Argument, Expr, ExprKind, Item, ItemKind};
use weft_runtime::program::{Choice, EarlyStopping, Strategy};

/// The words, each with its parameters in order.
const STRATEGIES: [(&str, &[&str]); 3] = [
    ("greedy", &["repetition_penalty"]),
    ("sample", &["temperature", "top_k", "top_p", "repetition_penalty"]),
    ("beam", &["width", "length_penalty", "early_stopping", "repetition_penalty"]),
];

/// More beams are none.
const MOST_BEAMS: i64 = 1024;

pub fn greedy() -> Strategy {
    Strategy { choice: Choice::Greedy, repetition_penalty: 1.0 }
}

/// The arguments that are expressions, and no word of the strategy's own.
pub fn own_expressions(arguments: &[Argument]) -> Vec<&Expr> {
    let word = |value: &Expr| matches!(&value.kind, ExprKind::Name(name) if name == "never");
    arguments.iter().map(|argument| &argument.value).filter(|value| !word(value)).collect()
}

/// An argument, evaluated.
struct Given {
    name: &'static str,
    value: Value,
    span: Span,
}

impl Checker<'_> {
    /// The strategy that the command line asks for, in place of each item's own.
    pub(crate) fn overriding_strategy(&mut self, home: usize) -> Result<Option<Strategy>> {
        let Some(text) = &self.options.strategy else { return Ok(None) };
        let source = format!("setting by = {text}");
        let file = self.sources.add("--by", source.as_str(), false);
        let parsed = weft_grammar::parse(file, &source);
        for error in parsed.errors {
            self.report(error.into());
        }
        match parsed.file.items.as_slice() {
            [Item { kind: ItemKind::Setting(setting), .. }] => {
                self.strategy(&setting.value, &Scope::of_file(home)).map(Some)
            }
            _ => Err(Reported),
        }
    }

    pub(crate) fn strategy(&mut self, expr: &Expr, scope: &Scope) -> Result<Strategy> {
        let (word, span, arguments): (&str, Span, &[Argument]) = match &expr.kind {
            ExprKind::Name(name) => (name, expr.span, &[]),
            ExprKind::Call { callee, arguments } => match &callee.kind {
                ExprKind::Name(name) => (name, callee.span, arguments),
                _ => ("", expr.span, &[]),
            },
            _ => ("", expr.span, &[]),
        };
        let words = || STRATEGIES.iter().map(|(word, _)| *word);
        let Some((word, params)) = STRATEGIES.iter().find(|(known, _)| *known == word).copied() else {
            let hint = did_you_mean(word, words());
            let message = match word {
                "" => "tokens are chosen by `greedy`, by `sample(…)` or by `beam(…)`".to_owned(),
                word => format!("there is no way to choose tokens called `{word}`"),
            };
            return Err(self.report(Diagnostic::error(Code::BadKeyValue, span, message).hint_if(hint)));
        };
        let given = self.strategy_arguments(word, params, arguments, scope)?;
        let find = |name: &str| given.iter().find(|argument| argument.name == name);
        let repetition_penalty = self.number(find("repetition_penalty"), 1.0, "above 0", |v| v > 0.0)?;
        let choice = match word {
            "sample" => Choice::Sample {
                temperature: self.number(find("temperature"), 1.0, "above 0", |v| v > 0.0)?,
                top_k: self.count(find("top_k"), i64::from(i32::MAX))?,
                top_p: self.number(find("top_p"), 1.0, "above 0 and at most 1", |v| v > 0.0 && v <= 1.0)?,
            },
            "beam" => {
                let Some(width) = self.count(find("width"), MOST_BEAMS)? else {
                    let message = "`beam` needs `width`, how many rows it follows";
                    return self.fail_hint(Code::MissingArgument, expr.span, message, "write `beam(4)`");
                };
                Choice::Beam {
                    width,
                    length_penalty: self.number(find("length_penalty"), 1.0, "a number", |_| true)?,
                    early_stopping: self.early_stopping(find("early_stopping"))?,
                }
            }
            _ => Choice::Greedy,
        };
        Ok(Strategy { choice, repetition_penalty })
    }

    /// The arguments by their names; each evaluated, so that each reports its own errors.
    fn strategy_arguments(
        &mut self,
        word: &str,
        params: &'static [&'static str],
        arguments: &[Argument],
        scope: &Scope,
    ) -> Result<Vec<Given>> {
        let mut given: Vec<Given> = Vec::new();
        let mut failed = false;
        let mut place = 0;
        for argument in arguments {
            let name = match &argument.name {
                Some(name) => params.iter().find(|param| **param == name.text),
                None => {
                    place += 1;
                    params.get(place - 1)
                }
            };
            let Some(name) = name else {
                failed = true;
                self.unknown_parameter(word, params, argument);
                continue;
            };
            if let Some(earlier) = given.iter().find(|other| other.name == *name) {
                let message = format!("`{name}` of `{word}` is given twice");
                let diagnostic = Diagnostic::error(Code::ExtraArgument, argument.value.span, message);
                self.report(diagnostic.related(earlier.span, "first here"));
                failed = true;
                continue;
            }
            let span = argument.value.span;
            let value = match &argument.value.kind {
                ExprKind::Name(bare) if *name == "early_stopping" && bare == "never" => Ok(Value::text(bare)),
                _ => self.expr(&argument.value, scope),
            };
            failed |= value.is_err();
            given.extend(value.ok().map(|value| Given { name, value, span }));
        }
        if failed { Err(Reported) } else { Ok(given) }
    }

    fn unknown_parameter(&mut self, word: &str, params: &[&str], argument: &ast::Argument) {
        let diagnostic = match &argument.name {
            Some(name) => {
                let hint = did_you_mean_argument(&name.text, params.iter().copied());
                let message = format!("`{word}` has no parameter `{}`", name.text);
                Diagnostic::error(Code::UnknownArgument, name.span, message).hint_if(hint)
            }
            None => {
                let message = format!("`{word}` takes {} at most", counted(params.len()));
                Diagnostic::error(Code::ExtraArgument, argument.value.span, message).label("one too many")
            }
        };
        self.report(diagnostic);
    }

    fn number(
        &mut self,
        given: Option<&Given>,
        default: f64,
        range: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        let Some(Given { name, value, span }) = given else { return Ok(default) };
        match value.as_float().filter(|v| v.is_finite() && fits(*v)) {
            Some(value) => Ok(value),
            None => {
                let message = format!("`{name}` is {range}, not {}", value.shown());
                let hint = (*name == "temperature" && value.as_float() == Some(0.0))
                    .then(|| "the best token, always, is `by = greedy`".to_owned());
                Err(self.report(Diagnostic::error(Code::BadKeyValue, *span, message).hint_if(hint)))
            }
        }
    }

    /// A count of 1 or more; none where it is not given, or `none`.
    fn count(&mut self, given: Option<&Given>, most: i64) -> Result<Option<usize>> {
        let Some(Given { name, value, span }) = given else { return Ok(None) };
        match value {
            Value::None => Ok(None),
            Value::Int(count) if (1..=most).contains(count) => Ok(usize::try_from(*count).ok()),
            other => {
                let message = match other {
                    Value::Int(count) if *count > most => format!("`{name}` is {most} at most, not {count}"),
                    other => format!("`{name}` is an int, 1 or more, not {}", other.shown()),
                };
                self.fail(Code::BadKeyValue, *span, message)
            }
        }
    }

    fn early_stopping(&mut self, given: Option<&Given>) -> Result<EarlyStopping> {
        match given.map(|given| (&given.value, given.span)) {
            None | Some((Value::Bool(false), _)) => Ok(EarlyStopping::No),
            Some((Value::Bool(true), _)) => Ok(EarlyStopping::Yes),
            Some((Value::Text(word), _)) if **word == *"never" => Ok(EarlyStopping::Never),
            Some((other, span)) => {
                let message = format!("`early_stopping` is true, false or `never`, not {}", other.shown());
                self.fail(Code::BadKeyValue, span, message)
            }
        }
    }
}

fn counted(arguments: usize) -> String {
    if arguments == 1 { "1 argument".to_owned() } else { format!("{arguments} arguments") }
}
