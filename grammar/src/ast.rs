//! The syntax tree. It keeps everything that a reader wrote (names, order, literals as written, comments), and nothing
//! that only a checker could know.

use crate::span::Span;
use serde::Serialize;

/// One `*.weft` file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceFile {
    /// `edition 2026`, when the file states one.
    pub edition: Option<Name>,
    pub items: Vec<Item>,
    /// Every comment that is not a doc comment, in order: the formatter puts them back.
    pub comments: Vec<Comment>,
}

/// A `// …` comment. `own_line`: nothing but white space stands before it on its line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comment {
    pub text: String,
    pub own_line: bool,
    pub span: Span,
}

/// An identifier with its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// `a.b.c`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DottedName {
    pub parts: Vec<Name>,
    pub span: Span,
}

/// A top-level declaration; each starts with its keyword.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The text of its `///` lines, joined by newlines, without the slashes.
    pub doc: Option<String>,
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ItemKind {
    /// `use "layers.weft"` or `use "layers.weft" { residual, gate as highway }`
    Use {
        path: Text,
        names: Option<Vec<(Name, Option<Name>)>>,
    },
    Setting(Setting),
    /// `fn`, `layer`, `model`, `optimizer`: a name, parameters, perhaps tensor inputs, and a body.
    Callable(Callable),
    Metric(Metric),
    Data(Data),
    Train(Train),
    Predict(Predict),
    Generate(Generate),
    Load(Load),
}

/// `setting units: int = 64`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    pub name: Name,
    pub ty: Option<Type>,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum CallableKind {
    Fn,
    Layer,
    Model,
    Optimizer,
}

/// A `fn`, `layer`, `model` or `optimizer`.
///
/// `fn f(x: f32[...], slope: float = 0.2) -> f32[...] { … }` has one list (`inputs` is `None`): tensors first.
/// `layer dense(units: int)(x: f32[..., d]) { … }` has two: `params` are configuration, `inputs` are tensors.
/// `model Cnn(image: f32[n, 28, 28, 1]) { … }` with one list: that list is its *inputs* (`params` is empty), put there by
/// the parser; `model Vit(depth: int = 6)(image: …)` has both. A `layer` with one list has no configuration: likewise inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Callable {
    pub kind: CallableKind,
    pub name: Name,
    pub params: Vec<Param>,
    pub inputs: Option<Vec<Param>>,
    pub result: Option<ResultType>,
    /// `where h % 16 == 0, d > 0`
    pub facts: Vec<Expr>,
    pub body: Block,
}

/// `name: type = default`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    pub name: Name,
    pub ty: Option<Type>,
    pub default: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ResultType {
    One(Type),
    Tuple(Vec<Type>, Span),
    Record(Vec<(Name, Type)>, Span),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

impl Type {
    /// Is it the compile-time kind of this name?
    pub fn is_kind(&self, name: &str) -> bool {
        matches!(&self.kind, TypeKind::Kind(kind) if kind.text == name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TypeKind {
    /// `f32[n, t, d / heads]`; `float[...]` means any float type. A bare `f32` is a scalar tensor.
    Tensor { dtype: Name, dims: Option<Vec<DimSpec>> },
    /// `int`, `float`, `bool`, `text`, `fn`, `list`, `tuple`, `map`, `schedule`: a compile-time kind.
    /// (`bool` alone is compile-time; `bool[...]` is a tensor.)
    Kind(Name),
    /// `choice(same, valid)`
    Choice(Vec<Name>),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DimSpec {
    /// `n`, `28`, `d / heads`, `(n + 1) // 2`
    Expr(Expr),
    /// `...`
    Rest(Span),
}

/// `{ statement* }`. The value is the last statement if that is an expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Block {
    pub statements: Vec<Statement>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    pub kind: StatementKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum StatementKind {
    /// `let pattern = value`
    Let {
        pattern: Pattern,
        value: Expr,
    },
    /// `weight w: f32[d, units] = glorot_uniform()`; attributes follow as `with trainable = false, constrain`,
    /// where a name alone has the value of the same name.
    Weight {
        name: Name,
        ty: Type,
        value: Expr,
        attributes: Vec<Argument>,
    },
    /// `state mean: f32[c] = zeros()`; an optimizer's may leave the type out.
    State {
        name: Name,
        ty: Option<Type>,
        value: Expr,
    },
    /// `mean <- expr`: the new value of a state (or, in an optimizer, of the weight).
    Update {
        target: Name,
        value: Expr,
    },
    /// `c = expr`: a carry of the enclosing `scan`, a data field, or a `let` of the enclosing compile-time loop.
    Assign {
        target: Name,
        value: Expr,
    },
    /// `assert d % heads == 0 : "the heads ({heads}) must divide d ({d})"`
    Assert {
        condition: Expr,
        message: Option<Text>,
    },
    /// `for width, stride in [(64, 1), (128, 2)] { … }`, over compile-time values.
    For {
        pattern: Pattern,
        over: Expr,
        body: Block,
    },
    /// `if … { … } else { … }` in statement position (an `if` with a value at the end of a block is `Expr`).
    If {
        condition: Expr,
        then: Block,
        otherwise: Option<Block>,
    },
    Setting(Setting),
    /// `yield h` or `yield h, c` inside a scan.
    Yield(Vec<Expr>),
    Expr(Expr),
}

/// `x`, `a, b`, `{ image, label as target }`, `_`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Pattern {
    One(Name),
    Tuple(Vec<Name>, Span),
    Record(Vec<(Name, Option<Name>)>, Span),
}

impl Pattern {
    /// The names that it binds.
    pub fn names(&self) -> Vec<&Name> {
        match self {
            Pattern::One(name) => vec![name],
            Pattern::Tuple(names, _) => names.iter().collect(),
            Pattern::Record(fields, _) => {
                fields.iter().map(|(field, alias)| alias.as_ref().unwrap_or(field)).collect()
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum BinaryOperator {
    Add,
    Sub,
    Mul,
    /// `/`
    Div,
    /// `//`
    FloorDiv,
    /// `%`
    Rem,
    /// `**`
    Pow,
    /// `@`: contracts the last axis of the left with the last but one (or only) axis of the right.
    MatMul,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum UnaryOperator {
    Neg,
    Not,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ExprKind {
    /// The literal as written: `64`, `1_000`.
    Int(String),
    /// `0.5`, `1e-3`
    Float(String),
    Bool(bool),
    /// A text literal, unescaped.
    Text(String),
    /// `none`
    None,
    Name(String),
    /// `base.field`, one step: `states.h`, `validation.accuracy`
    Field {
        base: Box<Expr>,
        field: Name,
    },
    /// `callee(arguments)`
    Call {
        callee: Box<Expr>,
        arguments: Vec<Argument>,
    },
    /// `value |> map`, `value |> stem: map`
    Pipe {
        value: Box<Expr>,
        name: Option<Name>,
        map: Box<Expr>,
    },
    Unary {
        operator: UnaryOperator,
        operand: Box<Expr>,
    },
    Binary {
        operator: BinaryOperator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `x[0]`, `x[:, 1:-1:2]`, `x[..., 0]`
    Index {
        base: Box<Expr>,
        indices: Vec<Index>,
    },
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    /// `{ label = argmax(p), confidence = max(p, axis = -1) }`; `{ label, confidence }` is short for each by its own name.
    Record(Vec<(Name, Expr)>),
    /// `map { "a": 1 }`
    Map(Vec<(Expr, Expr)>),
    /// `if c { a } else { b }`; `c` is a compile-time bool.
    If {
        condition: Box<Expr>,
        then: Block,
        otherwise: Block,
    },
    Block(Block),
    /// `fn(x, y) { … }`, a nameless function.
    Lambda {
        params: Vec<Param>,
        body: Block,
    },
    /// `fresh m`: instantiates a bound layer again.
    Fresh(Box<Expr>),
    Scan(Box<Scan>),
    /// A piece that could not be parsed; an error was reported for it.
    Error,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Expr,
}

// Ranges are as common as plain indices, and neither is common enough for its size to matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Index {
    At(Expr),
    Range { start: Option<Expr>, end: Option<Expr>, step: Option<Expr>, span: Span },
    Rest(Span),
}

/// `scan a, m in xs, mask over t reversed carrying h = …, c = … { …; yield h }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scan {
    pub elements: Vec<Name>,
    pub sources: Vec<Expr>,
    pub over: Name,
    pub reversed: bool,
    pub carries: Vec<(Name, Expr)>,
    pub body: Block,
}

/// A text literal with its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Text {
    pub value: String,
    pub span: Span,
}

/// `metric f1(logits, label, average: choice(macro, micro) = macro) better higher { sum counts: i64[k, k] = … collect s = … value = … }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metric {
    pub name: Name,
    pub params: Vec<Param>,
    /// `better higher` or `better lower`
    pub better: Option<Name>,
    pub statements: Vec<MetricStatement>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum MetricStatement {
    /// `sum counts: i64[k, k] = expr`: this batch's part; parts are added up over the epoch.
    Sum { name: Name, ty: Option<Type>, value: Expr },
    /// `collect scores: f32[n] = expr`: this batch's rows; the rows of all batches of the epoch stand one after another.
    Collect { name: Name, ty: Option<Type>, value: Expr },
    /// `value = expr` of sums and collected rows, once at the end.
    Value(Expr),
    /// `let`, `assert`, `if`, …
    Statement(Statement),
}

/// `data digits = mnist("data/mnist") { image = f32(image) / 255  augment { … } batch { … } }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    pub name: Name,
    pub source: Expr,
    /// `-> { width: f32, species: class }`
    pub row: Option<RowType>,
    pub clauses: Vec<DataClause>,
    pub span: Span,
}

/// What a row of a source is: `{ width: f32 from "petal width", age: f32?, species: class }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowType {
    pub columns: Vec<Column>,
    pub span: Span,
}

/// A field of a row, as its source holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    pub name: Name,
    pub kind: ColumnKind,
    /// `?`: it may be missing.
    pub optional: bool,
    /// The name in the source, where it is another one.
    pub from: Option<Text>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ColumnKind {
    /// `f32`, `u8[28, 28]`, `text[256]`
    Type(Type),
    /// `class`, `class("setosa", "virginica")`: one of some values; without names, of those that the training rows have.
    Class(Vec<Text>, Span),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DataClause {
    /// `image = f32(image) / 255`, `let …`, `assert …`: per row.
    Statement(Statement),
    /// `split validation = 0.1, test = 0.1`
    Split(Vec<Argument>, Span),
    /// `fit mean = mean(image)`: computed once from the training split.
    Fit {
        name: Name,
        value: Expr,
        span: Span,
    },
    Augment(Block),
    Batch(Block),
}

/// `train { … }` or `train finetune { … }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    pub name: Option<Name>,
    pub clauses: Vec<TrainClause>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainClause {
    pub kind: TrainClauseKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TrainClauseKind {
    /// `on digits as { image, label }`
    On {
        data: Name,
        fields: Option<Pattern>,
    },
    /// `batch = 64`, `epochs = 5`, `seed = 1`, `accumulate = 4`, …: a closed set, known to the checker.
    Key {
        name: Name,
        value: Expr,
    },
    Let {
        pattern: Pattern,
        value: Expr,
    },
    /// `minimize loss [over A, B] using adam(rate = 1e-3) [{ decay = 0 for *.bias, *.norm.*  rate *= 0.1 for bert.* }]`
    Minimize {
        loss: Expr,
        over: Vec<DottedName>,
        optimizer: Option<Expr>,
        groups: Vec<GroupRule>,
    },
    /// `measure accuracy(logits, label), f1(logits, label)`, each perhaps named: `measure top5: top_k(logits, label, k = 5)`
    Measure(Vec<(Option<Name>, Expr)>),
    /// `step discriminator { … }`
    Step {
        name: Name,
        clauses: Vec<TrainClause>,
    },
    /// `keep best by validation.accuracy`
    KeepBest(DottedName),
    /// `stop after 3 epochs without better validation.loss`
    StopAfter {
        epochs: Expr,
        by: DottedName,
    },
    /// `freeze Classifier.bert`
    Freeze(Vec<DottedName>),
    /// `clip gradients by global norm 1.0`
    Clip {
        by: Clipping,
        limit: Expr,
    },
    /// `average weights by 0.999`
    Average(Expr),
    /// `reduce rate by 0.5 after 3 epochs without better validation.loss with min_rate = 1e-5, cooldown = 2`
    ReduceRate {
        factor: Expr,
        epochs: Expr,
        by: DottedName,
        options: Vec<Argument>,
    },
    /// `validate every 500 batches`
    Validate(Interval),
    /// `checkpoint every 10 minutes`
    Checkpoint(Interval),
}

/// `2 epochs`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub count: Expr,
    pub unit: IntervalUnit,
}

/// What an interval is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum IntervalUnit {
    Epochs,
    Batches,
    Minutes,
}

impl IntervalUnit {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            IntervalUnit::Epochs => "epochs",
            IntervalUnit::Batches => "batches",
            IntervalUnit::Minutes => "minutes",
        }
    }
}

/// What of a gradient is kept within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Clipping {
    /// `value`: each element.
    Value,
    /// `norm`: the norm of each weight's gradient.
    Norm,
    /// `global norm`: the norm of all gradients together.
    GlobalNorm,
}

impl Clipping {
    /// As it is written.
    pub const fn words(self) -> &'static str {
        match self {
            Clipping::Value => "value",
            Clipping::Norm => "norm",
            Clipping::GlobalNorm => "global norm",
        }
    }
}

/// `decay = 0 for *.bias, *.norm.*` (`operator` is `=` or `*=`)
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRule {
    pub key: Name,
    pub multiply: bool,
    pub value: Expr,
    /// Path patterns, as written.
    pub patterns: Vec<Text>,
    pub span: Span,
}

/// `predict digit(image: u8[n, 28, 28, 1]) -> { label, confidence } { … }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Predict {
    pub name: Name,
    pub inputs: Vec<Param>,
    /// The names of the result record, when stated.
    pub result: Option<Vec<Name>>,
    pub body: Block,
    pub span: Span,
}

/// `generate translate(text) { key = value … }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generate {
    pub name: Name,
    pub inputs: Vec<Param>,
    pub body: Block,
    pub span: Span,
}

/// `load T5 from "model.safetensors" { "a.{i}.b" -> c.{i}.d transposed }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    pub target: DottedName,
    pub file: Text,
    pub rules: Vec<LoadRule>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadRule {
    pub from: Text,
    /// The path pattern on our side, as written.
    pub to: Text,
    pub transposed: bool,
    pub span: Span,
}
