//! The words and marks of the language itself: one line each, in the order of their families.

use super::{Entry, Kind};

/// (family, name, how it is written, what it means with an ``Example: `…` ``)
type Word = (&'static str, &'static str, &'static str, &'static str);

pub fn entries() -> impl Iterator<Item = Entry> {
    WORDS.iter().map(|(family, name, form, doc)| {
        let kind = if ["dtypes", "kinds"].contains(family) { Kind::Type } else { Kind::Word };
        Entry::described(kind, family, name, (*form).to_owned(), doc)
    })
}

/// The keys of a `train` block, `NAME = VALUE`: the closed set that the checker knows.
pub fn train_keys() -> impl Iterator<Item = &'static str> {
    keys("train")
}

/// The keys of a `generate` item.
pub fn generate_keys() -> impl Iterator<Item = &'static str> {
    keys("generate")
}

fn keys(of: &str) -> impl Iterator<Item = &'static str> {
    let is_key = |form: &str, name: &str| form.strip_prefix(name).is_some_and(|rest| rest.starts_with(" = "));
    WORDS.iter().filter(move |(family, name, form, _)| *family == of && is_key(form, name)).map(|w| w.1)
}

const WORDS: &[Word] = &[
    // ---- items
    (
        "items",
        "edition",
        "edition 2026",
        "The edition of the language that the file is written in. It stands once, before all items; without it the newest is meant.\n\n\
         Example: `edition 2026`",
    ),
    (
        "items",
        "use",
        "use \"FILE\" { NAME, NAME as OTHER }",
        "Takes items of another file, by its path seen from this one. Without the braces, all of them.\n\n\
         Example: `use \"blocks.weft\" { residual, gate as highway }`",
    ),
    (
        "items",
        "setting",
        "setting NAME: KIND = VALUE",
        "A value that is known when the spec is compiled, and that `--set NAME=VALUE` changes. The kind may be left out.\n\n\
         Example: `setting width = 32`\n\n\
         Example: `setting padding: choice(valid, same) = same`",
    ),
    (
        "items",
        "fn",
        "fn NAME(PARAMETERS) -> TYPE { … }",
        "A function: tensors first, then what configures it. It owns no weights. A call that leaves out the first tensor is a map, for a \
         pipe. Without a name, an expression: `fn(x) { x * x }`.\n\n\
         Example: `fn scaled(image: u8[...]) { f32(image) / 255 }`",
    ),
    (
        "items",
        "layer",
        "layer NAME(CONFIGURATION)(INPUTS) -> TYPE { … }",
        "A part of a model that may own weights and state. It is configured first and applied to tensors second: `dense(64)(x)`, or \
         `x |> dense(64)`. With one list of parameters, that list is its inputs.\n\n\
         Example: `layer block(units: int)(x: f32[n, d]) -> f32[n, units] { x |> dense(units) |> relu }`",
    ),
    (
        "items",
        "model",
        "model NAME(INPUTS) -> TYPE { … }",
        "A layer that is one instance: wherever it is applied, the same weights. What is trained, saved, summarised and run.\n\n\
         Example: `model Mlp(x: f32[n, 64]) -> f32[n, 10] { x |> dense(32) |> relu |> dense(10) }`",
    ),
    (
        "items",
        "optimizer",
        "optimizer NAME(CONFIGURATION)(w, g, step) { … }",
        "How one weight `w` moves by its gradient `g`. The body runs for each weight; `step` counts from 1.\n\n\
         Example: `optimizer plain(rate: schedule = 0.01)(w, g, step) { w <- w - rate * g }`",
    ),
    (
        "items",
        "metric",
        "metric NAME(PARAMETERS) better higher { … }",
        "A figure of an epoch: each batch adds to `sum`s, and `value` is computed once from the totals.\n\n\
         Example: `metric share(p: f32[n]) better higher { sum above: f32[] = sum(f32(p > 0.5)) sum count: f32[] = f32(size(p)) value = above / count }`",
    ),
    (
        "items",
        "data",
        "data NAME = SOURCE { … }",
        "A data set: a source, and a body that makes a row's fields from those of the source.\n\n\
         Example: `data digits = mnist(\"data/mnist\") { image = f32(image) / 255 }`",
    ),
    (
        "items",
        "train",
        "train NAME { … }",
        "A training: on which data, what is minimized and how, what is measured and kept. The name is needed only when there are several.\n\n\
         Example: `train { on digits as { image, label } epochs = 5 minimize cross_entropy(Cnn(image), label) using adam() }`",
    ),
    (
        "items",
        "predict",
        "predict NAME(INPUTS) -> { FIELDS } { … }",
        "What `weft predict` runs: raw inputs, the same preparation as in the training, and results by name. Without one, each model's own \
         signature is offered.\n\n\
         Example: `predict digit(image: f32[n, 28, 28, 1]) -> { label } { { label = argmax(Cnn(image)) } }`",
    ),
    (
        "items",
        "load",
        "load MODEL from \"FILE\" { \"NAME\" -> PATH }",
        "Starts from weights of a safetensors file, or of one that Keras wrote. Rules map the file's names to paths of the model; `{i}` stands for the same text on both \
         sides, `transposed` brings the axes of PyTorch's layers into our order, and leaves vectors as they are.\n\n\
         Example: `load Cnn from \"old.safetensors\" { \"head.{part}\" -> dense.{part} }`",
    ),
    (
        "items",
        "generate",
        "generate NAME(INPUTS) { … }",
        "What `weft generate` runs: text out of a model, token by token. Keys say what the text is made of, with which tokens it begins and \
         where it ends, and how each token is chosen. The last expression is the logits after each token of `target`, all tokens so far, which \
         the item binds itself.\n\n\
         Example: `generate story(prompt: text[n]) { begin = tokenize(prompt, tokenizer(\"t.json\", size = 100)) until = \"</s>\" Gpt(target) }`",
    ),
    // ---- statements and expressions
    (
        "statements",
        "let",
        "let NAME = EXPRESSION",
        "Names a value. A layer that is bound is instantiated once: its uses share its weights. Several names take a tuple apart.\n\n\
         Example: `let value, gate = split(x, 2)`",
    ),
    (
        "statements",
        "|>",
        "VALUE |> MAP, VALUE |> NAME: MAP",
        "Applies a layer or a function to what stands before it. A name gives the layer's weights their path.\n\n\
         Example: `x |> hidden: dense(64) |> relu`",
    ),
    (
        "statements",
        "weight",
        "weight NAME: TYPE = FIRST_VALUE with ATTRIBUTE = VALUE, …",
        "A tensor that is learned. Its shape is constant; its first value is an initialiser, a number or a tensor. `trainable = false` keeps it \
         as it is, `decay = false` keeps an optimizer's decay from it. `regularise` is a penalty on it that joins the loss, `constrain` is \
         applied after each update, and `reparametrise` makes what the layer computes with. An attribute without a value has that of \
         the same name.\n\n\
         Example: `weight scale: f32[d] = ones() with decay = false`\n\n\
         Example: `weight w: f32[d, 64] = glorot_uniform() with regularise = l2(1e-4), constrain = max_norm(2)`",
    ),
    (
        "statements",
        "state",
        "state NAME: TYPE = FIRST_VALUE",
        "A tensor that is saved like a weight but gets no gradient; it changes only by `<-`, and only while training.\n\n\
         Example: `state mean: f32[d] = zeros()`",
    ),
    (
        "statements",
        "<-",
        "STATE <- EXPRESSION",
        "The new value of a state, or in an optimizer of the weight. A read after it sees the new value.\n\n\
         Example: `state seen: f32[] = zeros() seen <- seen + 1`",
    ),
    (
        "statements",
        "if",
        "if CONDITION { … } else { … }",
        "Chooses when the spec is compiled. As an operand it stands in parentheses. Between elements of tensors, `where(c, a, b)` chooses.\n\n\
         Example: `(if rank(x) == 2 { x } else { flatten(x) }) |> dense(10)`",
    ),
    (
        "statements",
        "for",
        "for NAMES in LIST { … }",
        "Runs its body for each element of a list known when the spec is compiled. `x = …` in it changes an outer `let`. Each turn has its \
         own layers: `dense.0`, `dense.1`.\n\n\
         Example: `let y = x for units in [64, 32] { y = y |> dense(units) |> relu } y`",
    ),
    (
        "statements",
        "assert",
        "assert CONDITION : \"MESSAGE\"",
        "Stops the compilation with this message when the condition is false; `{name}` puts a value into it.\n\n\
         Example: `assert rank(x) == 2 : \"a matrix is needed, not {x}\"`",
    ),
    (
        "statements",
        "fresh",
        "fresh NAME",
        "Another instance of a layer that is bound to a name, or of a model: the same parts, weights of its own.\n\n\
         Example: `let d = dense(64) x |> d |> relu |> fresh d`",
    ),
    (
        "statements",
        "training",
        "training",
        "True in a training step, false in an evaluation or a prediction; known when each is compiled.\n\n\
         Example: `if training { x + 0.1 * normal(shape(x)) } else { x }`",
    ),
    (
        "statements",
        "where (facts)",
        "layer NAME(…)(…) where FACT { … }",
        "What must hold of the dims of a signature; the caller is told when it does not.\n\n\
         Example: `layer halved(x: f32[n, d]) where d % 2 == 0 { split(x, 2)[0] }`",
    ),
    (
        "statements",
        "scan",
        "scan x in xs over t carrying h = FIRST { …; yield h }",
        "A loop over the steps of a sequence that carries values along; its result holds what was yielded, and the last carries by name \
         (`states.h`). Several sequences are read side by side (`scan a, m in xs, mask over t`); `reversed` starts at the end. The body is \
         never unrolled, and layers in it have one set of weights.\n\n\
         Example: `scan step in x over t carrying h = zeros(n, d) { h = tanh(h + step) yield h }`",
    ),
    // ---- train
    (
        "train",
        "on",
        "on DATA as { FIELDS }",
        "The data set, and which of its fields stand for a batch. Without `as`, all of them.\n\n\
         Example: `on digits as { image, label as target }`",
    ),
    (
        "train",
        "batch",
        "batch = 32",
        "Rows in a batch, at most; the last one of an epoch may be smaller. In expressions, `batch` is this batch's number of rows.\n\n\
         Example: `batch = 64`",
    ),
    ("train", "epochs", "epochs = 1", "Passes over the training rows.\n\nExample: `epochs = 15`"),
    (
        "train",
        "seed",
        "seed = 0",
        "What first values, the order of rows and all random numbers start from. The same seed gives the same weights, bit for bit.\n\n\
         Example: `seed = 1`",
    ),
    (
        "train",
        "shuffle",
        "shuffle = true",
        "Whether each epoch takes the training rows in a new order.\n\nExample: `shuffle = false`",
    ),
    (
        "train",
        "bucket",
        "bucket = false",
        "Whether a batch is made of rows of similar length, so that little of it is filled up. Each epoch still takes every row once, in an order \
         that follows from the seed.\n\n\
         Example: `bucket = true`",
    ),
    (
        "train",
        "accumulate",
        "accumulate = 1",
        "Moves the weights once every so many batches, by the gradient of all their rows together: a batch as many times as large, in the \
         memory of one.\n\n\
         Example: `accumulate = 4`",
    ),
    (
        "train",
        "clip",
        "clip gradients by value LIMIT, by norm LIMIT, by global norm LIMIT",
        "Keeps gradients within a limit before the optimizer sees them: each element (`value`), the norm of each weight's gradient (`norm`), or \
         the norm of all of them together (`global norm`; Pascanu et al. 2013). Several clips run in order.\n\n\
         Example: `clip gradients by global norm 1.0`",
    ),
    (
        "train",
        "average",
        "average weights by SHARE",
        "Keeps an average of each weight beside it, of which every update leaves this share (an exponential moving average). Validations, tests \
         and the best weights use the average; the training goes on from the weights themselves.\n\n\
         Example: `average weights by 0.999`",
    ),
    (
        "train",
        "reduce",
        "reduce rate by FACTOR after N epochs without better SPLIT.FIGURE with min_rate = RATE, cooldown = EPOCHS",
        "Multiplies the optimizers' rates by the factor whenever a figure has not become better for N epochs. The rate doesn't fall below \
         `min_rate`, and after a reduction `cooldown` epochs don't count.\n\n\
         Example: `reduce rate by 0.5 after 3 epochs without better validation.loss`",
    ),
    (
        "train",
        "minimize",
        "minimize LOSS over MODELS using OPTIMIZER { RULES }",
        "What the training makes small: the mean of a tensor, or of `{ loss, weight }` the weighted mean. `over` names the models or layers \
         whose weights move; without it, all that the loss depends on.\n\n\
         Example: `minimize cross_entropy(logits, label) using adam(rate = 1e-3)`\n\n\
         Example: `minimize { loss = cross_entropy(logits, label), weight = f32(label != 0) } using sgd()`",
    ),
    (
        "train",
        "using",
        "using OPTIMIZER { KEY = VALUE for PATTERN }",
        "The optimizer of a `minimize`. Rules in braces change its parameters for the weights whose paths match: `=` replaces, `*=` \
         multiplies. `regularise` and `constrain` go before what the layers ask for, and `none` takes it away.\n\n\
         Example: `minimize loss using adamw(rate = 1e-3) { decay = 0 for *.bias, *.norm.*  rate *= 0.1 for dense.* }`\n\n\
         Example: `minimize loss using adam() { regularise = l2(1e-4) for *.weight }`",
    ),
    (
        "train",
        "over",
        "minimize LOSS over MODEL using …",
        "Whose weights a loss moves; those of all others are held.\n\n\
         Example: `minimize mean(Given(image)) over Given using sgd()`",
    ),
    (
        "train",
        "measure",
        "measure METRIC, NAME: METRIC",
        "Figures beside the loss: metrics, or any expression, whose mean is shown. A name gives the figure another one.\n\n\
         Example: `measure accuracy(logits, label), top5: top_k_accuracy(logits, label, k = 5)`",
    ),
    (
        "train",
        "step",
        "step NAME { … }",
        "One of several steps of a batch, each with its own losses: they run in order, and each sees what the earlier ones moved. \
         For models that are trained against each other.\n\n\
         Example: `step critic { minimize mean(Given(image)) over Given using adam() }`",
    ),
    (
        "train",
        "keep",
        "keep best by SPLIT.FIGURE",
        "Saves the weights of the epoch whose figure was best as `best.safetensors`. SPLIT is `train` or `validation`.\n\n\
         Example: `keep best by validation.loss`",
    ),
    (
        "train",
        "stop",
        "stop after N epochs without better SPLIT.FIGURE",
        "Ends the training early when a figure has not become better for N epochs.\n\n\
         Example: `stop after 3 epochs without better validation.loss`",
    ),
    (
        "train",
        "validate",
        "validate every N epochs, every N batches",
        "How often the validation part is looked at: without this clause after each epoch. Batches are counted from the start of the run, so that \
         an epoch may be validated many times, with the training's figures of its rows so far beside. `keep best`, `stop after` and `reduce rate` \
         look at each validation; the end of the run is always one. It changes no bit of the weights.\n\n\
         Example: `validate every 500 batches`",
    ),
    (
        "train",
        "checkpoint",
        "checkpoint every N epochs, every N batches, every N minutes",
        "How often the run is saved, so that `--resume` can go on with it. Batches and minutes are beside the ends of epochs; epochs say which \
         ends. Without this clause: each epoch, and each five minutes. `--checkpoint-every` overrides it.\n\n\
         Example: `checkpoint every 10 minutes`",
    ),
    (
        "train",
        "freeze",
        "freeze PATH, PATH",
        "Holds the weights of models or layers during this training.\n\nExample: `freeze Given.dense`",
    ),
    // ---- generate
    (
        "generate",
        "target",
        "target",
        "The tokens so far of each row, `i32[n, t]`: those that it began with, and those written since. A decoder reads them.\n\n\
         Example: `generate story(prompt: text[n]) { begin = tokenize(prompt, tokenizer(\"t.json\", size = 100)) Gpt(target) }`",
    ),
    (
        "generate",
        "vocabulary",
        "vocabulary = VOCABULARY",
        "What texts are made of: a `fit` of a data set, or a `tokenizer`. Without it, that of `begin`; where there is none, tokens are numbers.\n\n\
         Example: `vocabulary = book.letters`",
    ),
    (
        "generate",
        "begin",
        "begin = tokenize(TEXT, VOCABULARY), begin = \"TOKEN\", begin = INPUT",
        "The first tokens of `target`: those of a text, which is then gone on with; one token (or a list) by its name or number, for a decoder \
         that starts with one; or an input of numbers, `i32[n, p]`.\n\n\
         Example: `begin = tokenize(prompt, book.letters)`\n\n\
         Example: `begin = \"<s>\"`",
    ),
    (
        "generate",
        "until",
        "until = \"TOKEN\"",
        "Where a text ends: at a token of the vocabulary, by its name or number, or before a piece of text; a list names several. A name in \
         `<…>` or `[…]` must be a token. Without it, only `max` ends a text.\n\n\
         Example: `until = \"</s>\"`\n\n\
         Example: `until = [\"</s>\", \"THE END\"]`",
    ),
    (
        "generate",
        "max",
        "max = 100",
        "So many tokens are written at most; `--max` overrides it. A text that is gone on with doesn't count.\n\nExample: `max = 200`",
    ),
    (
        "generate",
        "by",
        "by = greedy",
        "How each token is chosen: `greedy`, `sample(…)` or `beam(…)`; `--by` overrides it.\n\nExample: `by = beam(4)`",
    ),
    (
        "generate",
        "greedy",
        "greedy(repetition_penalty = 1.0)",
        "Always the best token.\n\nExample: `by = greedy`",
    ),
    (
        "generate",
        "sample",
        "sample(temperature = 1.0, top_k = none, top_p = 1.0, repetition_penalty = 1.0)",
        "Tokens are drawn by their probabilities. The logits are divided by `temperature` first: below 1 makes likely tokens likelier. Only the \
         `top_k` best may be drawn, and of these only the fewest that together have the probability `top_p` (Holtzman et al. 2020). With \
         `repetition_penalty` above 1, tokens that stand in the text already are less likely (Keskar et al. 2019). What is drawn depends on the \
         seed, the row and the place alone.\n\n\
         Example: `by = sample(temperature = 0.8, top_k = 40, top_p = 0.95)`",
    ),
    (
        "generate",
        "beam",
        "beam(width, length_penalty = 1.0, early_stopping = false, repetition_penalty = 1.0)",
        "Follows the `width` best beginnings at once and gives the text with the best sum of log-probabilities, divided by its length to the power \
         of `length_penalty`: above 0 favours long texts. `early_stopping = true` ends as soon as `width` texts are finished, `never` only when \
         no beginning can become better at any length; `false` judges beginnings by their present length. All as `transformers` has it.\n\n\
         Example: `by = beam(4, length_penalty = 0.6)`",
    ),
    // ---- data
    (
        "data",
        "split",
        "split validation = ROWS, test = ROWS, stratify = FIELD, distinct = FIELD, column = NAME",
        "Which rows are held out, drawn by the seed: a share (`0.1`), a number of rows (`5000`), or another file (`\"test.csv\"`). \
         `stratify` holds out each value of a field in the same share; with `distinct`, a row whose field stands in another row as well is \
         left out, so that nothing that is held out was trained on; `column` takes the parts from a column of the source. A part that \
         the source has files for is left alone.\n\n\
         Example: `data digits = mnist() { split validation = 0.1, test = 500, stratify = label }`",
    ),
    (
        "data",
        "->",
        "SOURCE -> { FIELD: TYPE, FIELD: class, FIELD: text, FIELD: text[N] from \"COLUMN\" }",
        "What a row of a file is. Numbers have a type and a shape; a `class` is one of some values, and becomes its place among those that the \
         training rows have, or among the names given: `class(\"no\", \"yes\")`. A `text` is for `tokenize`; `text[N]` is the first N bytes. Where the first axis has a name, `f32[t, 6]`, rows \
         differ in length: a batch is filled up to its longest, and `FIELD.length` says how long each is. With `?` a value may be missing: \
         a float is NaN then, a class -1, and so is a class that training has not seen.\n\n\
         Example: `data flowers = csv(\"iris.csv\") -> { width: f32? from \"petal width\", species: class } { split test = 0.2 }`",
    ),
    (
        "data",
        "FIELD = …",
        "FIELD = EXPRESSION",
        "Replaces a field of a row, or adds one. The expression sees the fields of one row, and the settings and functions of the file.\n\n\
         Example: `data digits = mnist() { image = f32(image) / 255 }`",
    ),
    (
        "data",
        "fit",
        "fit NAME = EXPRESSION",
        "A tensor that is computed once, from all rows of the training part, and saved with the weights. The expression sees what stands before \
         it with the rows as the first axis, `n`. The body goes on with it as `NAME`, the rest of the spec as `DATA.NAME`. A vocabulary is \
         fitted likewise: `fit words = word_level(text, size = 20000)`.\n\n\
         Example: `data digits = mnist() { image = f32(image) / 255  fit centre = mean(image)  image = image - centre }`",
    ),
    (
        "data",
        "augment",
        "augment { FIELD = EXPRESSION }",
        "What the steps of a training do to each row beside, otherwise in each epoch: random numbers may be drawn here. Evaluations and predictions \
         leave it out.\n\n\
         Example: `data photos = cifar10() { image = f32(image) / 255  augment { image = image + 0.05 * normal(shape(image)) } }`",
    ),
    (
        "data",
        "batch",
        "batch { FIELD = EXPRESSION }",
        "As `augment`, for what mixes rows: each field has the batch as its first axis, and `batch` is the number of its rows.\n\n\
         Example: `data photos = cifar10() { image = f32(image) / 255  batch { image = image - mean(image, axis = 0) } }`",
    ),
    // ---- metric and optimizer
    (
        "metric",
        "sum",
        "sum NAME: TYPE = EXPRESSION",
        "This batch's part of a total; the parts are added up over the epoch.\n\n\
         Example: `metric rows(x: f32[n, 10]) better higher { sum count: f32[] = f32(n) value = count }`",
    ),
    (
        "metric",
        "collect",
        "collect NAME: TYPE = EXPRESSION",
        "This batch's rows of a tensor; at the end of the epoch, those of all batches in order. For figures that no sums can give, such as the \
         area under a curve.\n\n\
         Example: `metric middle(x: f32[n]) better lower { collect all: f32[n] = x value = sort(all)[0] }`",
    ),
    (
        "metric",
        "value",
        "value = EXPRESSION",
        "The figure, from the totals, once at the end of an epoch.\n\n\
         Example: `metric rows(x: f32[n, 10]) better higher { sum count: f32[] = f32(n) value = count }`",
    ),
    (
        "metric",
        "better",
        "better higher, better lower",
        "Which way a metric gets better: what `keep best` and `stop after` go by.\n\n\
         Example: `metric rows(x: f32[n, 10]) better higher { sum count: f32[] = f32(n) value = count }`",
    ),
    // ---- element types
    (
        "dtypes",
        "f32",
        "f32[DIMS]",
        "32-bit floats, the type of weights and most tensors. `f32[]` is a single number.\n\nExample: `f32(label)`",
    ),
    ("dtypes", "f64", "f64[DIMS]", "64-bit floats.\n\nExample: `f64(x)`"),
    ("dtypes", "f16", "f16[DIMS]", "16-bit floats of IEEE 754.\n\nExample: `f16(x)`"),
    ("dtypes", "bf16", "bf16[DIMS]", "16-bit floats with the range of f32.\n\nExample: `bf16(x)`"),
    ("dtypes", "i8", "i8[DIMS]", "8-bit integers with a sign.\n\nExample: `i8(label)`"),
    ("dtypes", "u8", "u8[DIMS]", "Bytes: the type of stored images.\n\nExample: `u8(label)`"),
    ("dtypes", "i32", "i32[DIMS]", "32-bit integers: labels, tokens, indices.\n\nExample: `i32(x)`"),
    ("dtypes", "i64", "i64[DIMS]", "64-bit integers.\n\nExample: `i64(label)`"),
    (
        "dtypes",
        "bool",
        "bool[DIMS]",
        "Truth values: masks and comparisons. Without brackets, a compile-time bool.\n\nExample: `x > 0`",
    ),
    (
        "dtypes",
        "float",
        "float[DIMS]",
        "Any float type, the same in the whole signature. Without brackets, a compile-time number.\n\n\
         Example: `fn twice(x: float[...]) -> float[...] { 2 * x }`",
    ),
    (
        "dtypes",
        "any",
        "any[DIMS]",
        "Any element type. Without brackets, any value.\n\n\
         Example: `fn first(x: any[n, ...]) { x[0] }`",
    ),
    // ---- kinds
    (
        "kinds",
        "int",
        "NAME: int",
        "A whole number, or a dim.\n\nExample: `layer wide(units: int = 64)(x: f32[n, d]) { x |> dense(units) }`",
    ),
    (
        "kinds",
        "float",
        "NAME: float",
        "A number. An int fits; a float never becomes an int.\n\n\
         Example: `fn scaled_by(x: f32[...], factor: float = 0.5) { x * factor }`",
    ),
    (
        "kinds",
        "bool",
        "NAME: bool",
        "`true` or `false`.\n\n\
         Example: `fn maybe_relu(x: f32[...], on: bool = true) { if on { relu(x) } else { x } }`",
    ),
    (
        "kinds",
        "text",
        "NAME: text",
        "A text in double quotes.\n\nExample: `setting folder: text = \"data/mnist\"`",
    ),
    (
        "kinds",
        "choice",
        "NAME: choice(WORD, WORD)",
        "One of some words, given without quotes.\n\n\
         Example: `fn act(x: f32[...], with: choice(rectified, smooth) = smooth) { if with == smooth { gelu(x) } else { relu(x) } }`",
    ),
    (
        "kinds",
        "fn",
        "NAME: fn",
        "A function, a layer or a configured layer: anything that can be applied.\n\n\
         Example: `layer twice(inner: fn)(x) { inner(inner(x)) }`",
    ),
    (
        "kinds",
        "list",
        "NAME: list",
        "A list or a tuple of compile-time values; a shape is one.\n\nExample: `setting widths: list = [64, 32]`",
    ),
    (
        "kinds",
        "tuple",
        "NAME: tuple",
        "A tuple of compile-time values.\n\nExample: `setting window: tuple = (3, 5)`",
    ),
    (
        "kinds",
        "map",
        "NAME: map",
        "Compile-time values by key.\n\nExample: `setting widths: map = map { \"small\": 32, \"large\": 128 }`",
    ),
    (
        "kinds",
        "schedule",
        "NAME: schedule",
        "A number, or a function of `(step, epoch, total)` that gives one: a rate of an optimizer.\n\n\
         Example: `fn halving(first: float)(step, epoch, total) { first * 0.5 ** floor(epoch) }`",
    ),
    (
        "kinds",
        "sizes",
        "NAME: sizes",
        "A number for all axes alike, or a list or tuple with one for each: a kernel, a stride. `per_axis(NAME, 2)` makes a list of both \
         forms.\n\nExample: `image |> conv2d(8, kernel = (3, 5), stride = 2)`",
    ),
    // ---- operators
    (
        "operators",
        "or",
        "a or b",
        "Is one of the two true? Of compile-time bools or, element by element, of bool tensors.\n\nExample: `(x < 0) or (x > 1)`",
    ),
    ("operators", "and", "a and b", "Are both true?\n\nExample: `(x > 0) and (x < 1)`"),
    ("operators", "not", "not a", "The opposite.\n\nExample: `not (x > 0)`"),
    (
        "operators",
        "==",
        "a == b, a != b, a < b, a <= b, a > b, a >= b",
        "Comparisons: a bool, or a bool tensor. They don't chain: `a < b and b < c`.\n\nExample: `f32(label == 3)`",
    ),
    (
        "operators",
        "+",
        "a + b, a - b",
        "Sums and differences. Tensors broadcast: leading axes are added, and a literal 1 is stretched.\n\nExample: `x + 1`",
    ),
    (
        "operators",
        "*",
        "a * b, a / b",
        "Products and quotients. `/` of ints is an int where it is exact; in a shape it must be.\n\nExample: `x * 2 / 3`",
    ),
    (
        "operators",
        "//",
        "a // b",
        "Division rounded down, of ints, dims and integer tensors.\n\nExample: `label // 2`",
    ),
    ("operators", "%", "a % b", "What a division rounded down leaves.\n\nExample: `label % 2`"),
    (
        "operators",
        "@",
        "a @ b",
        "The matrix product: the last axis of `a` with the last but one (or only) axis of `b`.\n\nExample: `a @ transpose(b)`",
    ),
    ("operators", "**", "a ** b", "Powers.\n\nExample: `x ** 2`"),
    (
        "operators",
        "[]",
        "x[i], x[a:b:step], x[..., 0]",
        "Elements and ranges of tensors and lists; negative numbers count from the end.\n\nExample: `x[:, 0:8]`",
    ),
];
