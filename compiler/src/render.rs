//! A spec with every default written out: what `weft check --render` prints.
//!
//! Each call of a layer, function, loss, metric or optimizer shows all its arguments, each setting has its value as the
//! command line gave it, and a `train` block has all its keys. The result is a spec again, in canonical form, that checks to the
//! same graphs. It is made by inserting text into the author's, so that comments and grouping stay.
//!
//! A default is left out where its text would not mean the same in the user's file: when it reads a name that only its own
//! file knows, or one that the user gave another meaning.

use crate::check::filled::{Bound, Call, Calls};
use crate::check::{Checked, documentation, library};
use crate::diagnostics::Sources;
use std::collections::{HashMap, HashSet};
use weft_grammar::ast::*;
use weft_grammar::visit::{Visitor, visit};
use weft_grammar::{FileId, Span};

/// A spec with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub text: String,
    /// The settings of the command line that belong to files in use, so that the text cannot hold their values.
    pub elsewhere: Vec<String>,
}

/// The main file of a sound spec with its defaults; `settings` as the command line gives them.
pub fn render(checked: &Checked, calls: &Calls, settings: &[(String, String)]) -> Option<Rendered> {
    let place = checked.sources.files.iter().position(|file| !file.std)?;
    let file = FileId(u32::try_from(place).ok()?);
    let text = &checked.sources.get(file)?.text;
    let parsed = weft_grammar::parse(file, text);
    if !parsed.errors.is_empty() {
        return None;
    }
    let others = checked.sources.files.iter().filter(|file| !file.std);
    let others: Vec<SourceFile> = others.map(|other| weft_grammar::parse(file, &other.text).file).collect();
    let mut names = Names::default();
    others.iter().for_each(|other| visit(other, &mut names));
    let code = without_comments(text, &parsed.file.comments);
    let (sources, edits, elsewhere) = (&checked.sources, Vec::new(), settings.iter().collect());
    let renamed = renamed(&parsed.file);
    let mut filler = Filler { sources, code, calls, names, renamed, settings, elsewhere, owner: "", edits };
    if parsed.file.edition.is_none() {
        filler.edits.push((0..0, "edition 2026\n".to_owned()));
    }
    visit(&parsed.file, &mut filler);
    for item in &parsed.file.items {
        match &item.kind {
            ItemKind::Train(train) => filler.train(checked, train),
            ItemKind::Data(data) => filler.data(checked, data),
            _ => {}
        }
    }
    let mut text = text.clone();
    let mut edits = filler.edits;
    // What is replaced as a whole needs nothing inside.
    let replaced: Vec<_> =
        edits.iter().map(|(range, _)| range.clone()).filter(|range| !range.is_empty()).collect();
    edits.retain(|(range, _)| {
        !replaced.iter().any(|whole| whole.start < range.start && range.start <= whole.end)
    });
    // From the end to the start, so that places stay right; what is inserted at one place keeps its order.
    edits.sort_by_key(|(range, _)| range.start);
    for (range, new) in edits.into_iter().rev() {
        if text.get(range.clone()).is_some() {
            text.replace_range(range, &new);
        }
    }
    let parsed = weft_grammar::parse(file, &text);
    let elsewhere = filler.elsewhere.into_iter().map(|(name, _)| name.clone()).collect();
    let text = parsed.errors.is_empty().then(|| weft_grammar::format(&parsed.file, &text))?;
    Some(Rendered { text, elsewhere })
}

/// The names that the user's files give a meaning.
#[derive(Default)]
struct Names<'a>(HashSet<&'a str>);

impl<'a> Visitor<'a> for Names<'a> {
    fn declared(&mut self, name: &'a Name) {
        self.0.insert(&name.text);
    }

    fn ty(&mut self, ty: &'a Type) {
        // A dim binds its name.
        if let TypeKind::Tensor { dims: Some(dims), .. } = &ty.kind {
            self.0.extend(dims.iter().filter_map(|dim| match dim {
                DimSpec::Expr(Expr { kind: ExprKind::Name(name), .. }) => Some(name.as_str()),
                _ => None,
            }));
        }
    }
}

/// Collects what is to be inserted.
struct Filler<'a> {
    sources: &'a Sources,
    /// The user's text with blanks for comments.
    code: String,
    calls: &'a Calls,
    names: Names<'a>,
    /// What the items of other files are called here: (here, there).
    renamed: HashMap<&'a str, &'a str>,
    settings: &'a [(String, String)],
    /// Those of them that were not met yet.
    elsewhere: Vec<&'a (String, String)>,
    /// The item that is being visited.
    owner: &'a str,
    edits: Vec<(std::ops::Range<usize>, String)>,
}

impl<'a> Visitor<'a> for Filler<'a> {
    fn item(&mut self, item: &'a Item) {
        self.owner = match &item.kind {
            ItemKind::Callable(callable) => &callable.name.text,
            _ => "",
        };
        if let ItemKind::Setting(setting) = &item.kind {
            self.setting(setting, &setting.name.text);
        }
    }

    fn statement(&mut self, statement: &'a Statement) {
        if let StatementKind::Setting(setting) = &statement.kind {
            self.setting(setting, &format!("{}.{}", self.owner, setting.name.text));
        }
    }

    fn expr(&mut self, expr: &'a Expr) {
        let Some(call) = self.calls.get(&expr.span) else { return };
        match &expr.kind {
            // A stage of a pipe, or an optimizer.
            ExprKind::Name(name) if self.means(name, call) => {
                let filled = self.filled(call);
                if !filled.is_empty() {
                    self.insert(expr.span.end, format!("({})", filled.join(", ")));
                }
            }
            ExprKind::Call { callee, arguments } if matches!(&callee.kind, ExprKind::Name(name) if self.means(name, call)) =>
            {
                let filled = self.filled(call);
                if filled.is_empty() {
                    return;
                }
                // A layer that is applied at once: its arguments are its inputs.
                let at_once = !arguments.is_empty() && call.params.iter().all(|bound| bound.given.is_none());
                if at_once {
                    return self.insert(callee.span.end, format!("({})", filled.join(", ")));
                }
                // Between the last argument and the call's own bracket; more brackets may stand around the call.
                let last = arguments.last().map_or(callee.span.end, |argument| argument.value.span.end);
                let Some(rest) = self.code.get(last as usize..expr.span.end as usize) else { return };
                let Some(close) = rest.find(')') else { return };
                let separate =
                    !arguments.is_empty() && !rest.get(..close).is_some_and(|gap| gap.contains(','));
                let comma = if separate { ", " } else { "" };
                self.insert(last + close as u32, format!("{comma}{}", filled.join(", ")));
            }
            _ => {}
        }
    }
}

impl Filler<'_> {
    /// Is this the name of the item that is called? A parameter may stand for one too, and is left alone.
    fn means(&self, name: &str, call: &Call) -> bool {
        self.renamed.get(name).copied().unwrap_or(name) == call.callee
    }

    fn insert(&mut self, at: u32, text: String) {
        self.edits.push((at as usize..at as usize, text));
    }

    /// `name = default` for each argument that the call leaves out.
    fn filled(&self, call: &Call) -> Vec<String> {
        let mut known: HashMap<&str, String> = HashMap::new();
        let mut filled = Vec::new();
        for bound in &call.params {
            let text = match bound.given {
                Some(span) => Some(self.sources.text(span).to_owned()),
                None => self.default(bound, &known),
            };
            let Some(text) = text else { continue };
            if bound.given.is_none() {
                filled.push(format!("{} = {text}", bound.param));
            }
            known.insert(&bound.param, text);
        }
        filled
    }

    /// The default as it is to be written in the user's file, with earlier parameters replaced by what they are.
    fn default(&self, bound: &Bound, known: &HashMap<&str, String>) -> Option<String> {
        let default = bound.default.as_ref()?;
        if let ExprKind::Name(name) = &default.kind
            && bound.options.contains(name)
        {
            return Some(name.clone());
        }
        let mut read = Read { names: Vec::new(), opaque: false };
        read.of(default);
        if read.opaque {
            return None;
        }
        let mut text = self.sources.text(default.span).to_owned();
        for (name, span) in read.names.into_iter().rev() {
            if let Some(value) = known.get(name) {
                let range =
                    (span.start - default.span.start) as usize..(span.end - default.span.start) as usize;
                let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                text.get(range.clone())?;
                text.replace_range(range, &if plain { value.clone() } else { format!("({value})") });
            } else if self.names.0.contains(name) || !shared(name) {
                return None;
            }
        }
        Some(text)
    }

    fn setting(&mut self, setting: &Setting, name: &str) {
        let Some((_, value)) = self.settings.iter().rev().find(|(given, _)| given == name) else { return };
        self.elsewhere.retain(|(given, _)| given != name);
        let is_text = matches!(setting.value.kind, ExprKind::Text(_))
            || matches!(setting.ty.as_ref().map(|ty| &ty.kind), Some(TypeKind::Kind(kind)) if kind.text == "text");
        let value = if is_text { weft_grammar::quote(value) } else { value.clone() };
        let span = setting.value.span;
        self.edits.push((span.start as usize..span.end as usize, value));
    }

    /// The folder that a source reads when it is given none.
    fn data(&mut self, checked: &Checked, data: &Data) {
        let Some(typed) =
            checked.typed.as_ref().and_then(|t| t.data.iter().find(|d| d.name == data.name.text))
        else {
            return;
        };
        let plain = match &data.source.kind {
            ExprKind::Name(_) => true,
            ExprKind::Call { arguments, .. } => arguments.is_empty(),
            _ => false,
        };
        if plain {
            let span = data.source.span;
            self.edits.push((span.start as usize..span.end as usize, typed.source.clone()));
        }
    }

    /// The keys that a block leaves out.
    fn train(&mut self, checked: &Checked, train: &Train) {
        let name = train.name.as_ref().map_or("train", |name| name.text.as_str());
        let Some(typed) = checked.typed.as_ref().and_then(|t| t.trainings.iter().find(|t| t.name == name))
        else {
            return;
        };
        let has = |key: &str| {
            train
                .clauses
                .iter()
                .any(|c| matches!(&c.kind, TrainClauseKind::Key { name, .. } if name.text == key))
        };
        let keys = [
            ("batch", typed.batch.to_string()),
            ("accumulate", typed.accumulate.to_string()),
            ("epochs", typed.epochs.to_string()),
            ("seed", typed.seed.to_string()),
            ("shuffle", typed.shuffle.to_string()),
        ];
        let missing: String = keys
            .iter()
            .filter(|(key, _)| !has(key))
            .map(|(key, value)| format!("\n{key} = {value}"))
            .collect();
        // Before its first key, or after the data.
        let key = train.clauses.iter().find(|clause| matches!(clause.kind, TrainClauseKind::Key { .. }));
        let on = train.clauses.iter().find(|clause| matches!(clause.kind, TrainClauseKind::On { .. }));
        match (key, on) {
            _ if missing.is_empty() => {}
            (Some(key), _) => self.insert(key.span.start, missing.trim_start().to_owned() + "\n"),
            (None, Some(on)) => self.insert(on.span.end, missing + "\n"),
            (None, None) => {}
        }
        for clause in &train.clauses {
            if let TrainClauseKind::ReduceRate { options, .. } = &clause.kind {
                let given =
                    |key: &str| options.iter().any(|o| o.name.as_ref().is_some_and(|n| n.text == key));
                let missing: Vec<&str> = [("min_rate", "min_rate = 0.0"), ("cooldown", "cooldown = 0")]
                    .into_iter()
                    .filter_map(|(key, text)| (!given(key)).then_some(text))
                    .collect();
                if !missing.is_empty() {
                    let word = if options.is_empty() { " with " } else { ", " };
                    self.insert(clause.span.end, format!("{word}{}", missing.join(", ")));
                }
            }
        }
    }
}

/// What `use … { name as other }` brings: (other, name).
fn renamed(file: &SourceFile) -> HashMap<&str, &str> {
    let names = file.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Use { names, .. } => names.as_ref(),
        _ => None,
    });
    let pairs =
        names.flatten().filter_map(|(name, other)| Some((other.as_ref()?.text.as_str(), name.text.as_str())));
    pairs.collect()
}

/// The text with a blank for each byte of a comment, so that places stay.
fn without_comments(text: &str, comments: &[Comment]) -> String {
    let mut code = text.to_owned();
    for Span { start, end, .. } in comments.iter().map(|comment| comment.span) {
        let range = start as usize..end as usize;
        if code.get(range.clone()).is_some() {
            code.replace_range(range.clone(), &" ".repeat(range.len()));
        }
    }
    code
}

/// The names that a default reads.
struct Read<'a> {
    names: Vec<(&'a str, Span)>,
    /// It declares names of its own, so that a name in it may mean several things.
    opaque: bool,
}

impl<'a> Read<'a> {
    fn of(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Text(_)
            | ExprKind::None => {}
            ExprKind::Name(name) => self.names.push((name, expr.span)),
            ExprKind::Call { callee, arguments } => {
                self.of(callee);
                arguments.iter().for_each(|argument| self.of(&argument.value));
            }
            ExprKind::Unary { operand, .. } => self.of(operand),
            ExprKind::Binary { left, right, .. } => {
                self.of(left);
                self.of(right);
            }
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|item| self.of(item)),
            _ => self.opaque = true,
        }
    }
}

/// Does every file know this name: an item of the library, or a primitive?
fn shared(name: &str) -> bool {
    documentation().iter().any(|primitive| primitive.name == name)
        || library().iter().any(|(_, text)| crate::check::declared(text).any(|declared| declared == name))
}
