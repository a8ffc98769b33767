//! What newcomers write from habit, and how the same is written here.

/// How each item, statement and clause is written, by its first word.
const FORMS: &[(&str, &str)] = &[
    ("use", "use \"FILE.weft\" { NAME, NAME as OTHER }"),
    ("setting", "setting NAME = VALUE"),
    ("fn", "fn NAME(x: f32[n, d]) -> f32[n, d] { … }"),
    ("layer", "layer NAME(units: int)(x: f32[n, d]) -> f32[n, units] { … }"),
    ("model", "model NAME(x: f32[n, 8]) -> f32[n, 4] { … }"),
    ("optimizer", "optimizer NAME(rate: schedule)(w, g, step) { … }"),
    ("metric", "metric NAME(p: f32[n]) better higher { … }"),
    ("data", "data NAME = SOURCE(\"FOLDER\") { … }"),
    ("train", "train { on DATA as { FIELD } … }"),
    ("predict", "predict NAME(x: f32[n, 8]) -> { FIELD } { … }"),
    ("load", "load MODEL from \"FILE.safetensors\" { \"NAME\" -> PATH }"),
    ("let", "let NAME = VALUE"),
    ("for", "for NAME in LIST { … }"),
    ("weight", "weight NAME: f32[d] = zeros()"),
    ("state", "state NAME: f32[d] = zeros()"),
    ("assert", "assert CONDITION : \"MESSAGE\""),
    ("split", "split validation = 0.1, test = 0.1"),
    ("on", "on DATA as { FIELD, FIELD }"),
    ("minimize", "minimize LOSS over MODEL using OPTIMIZER"),
    ("step", "step NAME { minimize … }"),
    ("keep", "keep best by validation.FIGURE"),
    ("stop", "stop after 3 epochs without better validation.FIGURE"),
    ("freeze", "freeze MODEL.LAYER"),
    ("clip", "clip gradients by global norm 1.0"),
    ("average", "average weights by 0.999"),
    ("reduce", "reduce rate by 0.5 after 3 epochs without better validation.FIGURE"),
    ("validate", "validate every 500 batches"),
    ("checkpoint", "checkpoint every 10 minutes"),
    ("sum", "sum NAME: f32[] = VALUE"),
    ("collect", "collect NAME: f32[n] = VALUE"),
    ("rate", "rate *= 0.1 for MODEL.LAYER"),
    ("decay", "decay = 0 for *.bias"),
];

/// Words that start no item, and what does.
const ITEMS: &[(&[&str], &str)] = &[
    (
        &["class", "struct", "module", "network", "type", "interface"],
        "a network is `model NAME(x: f32[n, 8]) -> f32[n, 4] { … }`; a part of one is a `layer`",
    ),
    (
        &["def", "function", "func", "proc", "sub", "lambda"],
        "a function is `fn NAME(x: f32[n, d]) { … }`; with weights of its own it is a `layer`",
    ),
    (
        &["import", "from", "include", "require", "using", "package"],
        "the standard library needs no import; another file's items are taken with `use \"FILE.weft\" { NAME }`",
    ),
    (
        &["let", "const", "var", "val", "param", "define", "static", "config", "hyperparameter"],
        "a value of the whole file is `setting NAME = VALUE`",
    ),
    (&["weight", "state"], "weights and states are declared in the body of a `layer`"),
    (
        &[
            "minimize",
            "measure",
            "on",
            "batch",
            "epochs",
            "step",
            "keep",
            "stop",
            "freeze",
            "clip",
            "loss",
            "seed",
            "validate",
            "checkpoint",
        ],
        "this stands in a `train { … }` block",
    ),
    (&["dataset", "dataloader", "loader"], "a data set is `data NAME = SOURCE(\"FOLDER\") { … }`"),
    (&["fit", "training", "run"], "a training is `train { on DATA as { FIELD } … }`"),
    (&["assert", "for", "if", "while", "return", "print"], "statements stand in the body of an item"),
];

/// How what starts with this word is written.
pub fn form(word: &str) -> Option<&'static str> {
    FORMS.iter().find(|(first, _)| *first == word).map(|(_, form)| *form)
}

/// What to write in place of text that starts with a word of another language.
pub fn item(word: &str) -> Option<&'static str> {
    ITEMS.iter().find(|(words, _)| words.contains(&word)).map(|(_, hint)| *hint)
}

/// What stands for a character that means nothing here.
pub fn character(text: &str) -> Option<&'static str> {
    Some(match text {
        "&" | "&&" => "write `and`",
        "|" | "||" => "write `or`, or `|>` for a pipe",
        "!" | "~" => "write `not`",
        "'" => "texts stand in double quotes: `\"…\"`",
        "^" => "a power is `**`",
        "?" => "a choice is written `if c { a } else { b }`",
        "\\" => "a line goes on without a mark: white space means nothing",
        "$" | "`" => "names are written plainly, from letters, digits and `_`",
        _ if text.chars().all(char::is_alphabetic) => "names are written with a to z, digits and `_`",
        _ => return None,
    })
}
