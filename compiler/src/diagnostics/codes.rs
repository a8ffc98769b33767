//! The table of codes. A code never changes its meaning; a retired one is never used again.
//!
//! Syntax errors (`E0001` … `E0099`) belong to the grammar; what the checker finds stands here.

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    pub code: Code,
    pub id: &'static str,
    pub title: &'static str,
    /// What it means and what to do; shown by `weft explain`.
    pub explanation: &'static str,
}

macro_rules! codes {
    ($($variant:ident = $id:literal, $title:literal, $explanation:literal;)*) => {
        /// What can be wrong with a spec that parses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant),* }

        impl Code {
            pub const fn id(self) -> &'static str { match self { $(Code::$variant => $id),* } }
        }

        /// Every code of the checker, in order.
        pub const CODES: &[CodeInfo] = &[
            $(CodeInfo { code: Code::$variant, id: $id, title: $title, explanation: $explanation }),*
        ];
    };
}

codes! {
    // ---- names
    UnknownName = "E0101", "unknown name",
        "Nothing of this name is in scope: no parameter, `let`, setting, item of this file or of a file it uses, standard layer or primitive.";
    UnknownArgument = "E0102", "unknown argument",
        "The thing that is called has no parameter of this name. Every key set is closed: a misspelt argument is never ignored.";
    MissingArgument = "E0103", "missing argument",
        "A parameter without a default was not given.";
    ExtraArgument = "E0104", "too many arguments",
        "More arguments stand here than there are parameters, or one parameter is given twice.";
    Duplicate = "E0105", "name declared twice",
        "Two items of one file, two parameters of one list or two fields of one record have the same name.";
    BadUse = "E0106", "a used file cannot be had",
        "`use` names a file that cannot be read, that uses itself in a circle, or that lacks the item asked for.";
    UnknownField = "E0107", "unknown field",
        "A record, a data row or a scan's result has no field of this name, or a layer no weight.";
    BadSetting = "E0108", "a setting cannot have this value",
        "`--set NAME=VALUE` names no setting, or a value of another kind than the setting's default.";
    // ---- types and shapes
    WrongKind = "E0201", "wrong kind of value",
        "A number, text, list, tensor or map stands where something of another kind is needed. An int widens to float, never the reverse.";
    ShapeMismatch = "E0202", "shapes do not fit each other",
        "Two tensors meet elementwise whose shapes do not broadcast. Broadcasting adds leading axes or stretches a literal 1, never a symbol that happens to be 1.";
    DimMismatch = "E0203", "a dim has two values",
        "A named dim must be the same everywhere in one signature. Both places are shown.";
    DTypeMismatch = "E0204", "element types do not mix",
        "Tensors never promote implicitly: cast one side, for example `f32(x)`. A literal takes the tensor's type, but a fraction cannot become an integer.";
    RankMismatch = "E0205", "wrong number of axes",
        "A tensor has more or fewer axes than its declared type.";
    BadOperation = "E0206", "an operation does not fit its operands",
        "A primitive was given tensors that it does not take.";
    NotCallable = "E0207", "this cannot be called",
        "Only layers, models, fns, maps and primitives can be applied.";
    BadIndex = "E0208", "no such axis or element",
        "An axis or an index lies outside of what the tensor or list has.";
    NotCompileTime = "E0209", "a compile-time value is needed",
        "`if`, `for`, `assert`, axes and shapes are decided by the compiler, so they cannot depend on a tensor's elements. Use `where(c, a, b)` to choose by elements.";
    TooLarge = "E0210", "the spec asks for too much",
        "A loop, list, graph or nesting of calls exceeds the compiler's limits.";
    AssertionFailed = "E0211", "an assertion failed",
        "An `assert` of the spec, or of the library, does not hold for these values.";
    ResultMismatch = "E0212", "the result is not what was declared",
        "The body's value does not fit the type after `->`.";
    ForeignTensor = "E0213", "a tensor of another computation",
        "First values, metric values and schedules are computed at other times than the step, so they cannot read its tensors.";
    BadArithmetic = "E0215", "arithmetic cannot be done",
        "A division by zero, an overflow, or operands that have no such operation.";
    BadStatement = "E0216", "a statement cannot stand here",
        "For example `weight` outside a layer, or `yield` outside a `scan`.";
    BadScan = "E0217", "a scan that does not fit its sequences",
        "Each name after `scan` is a step of one sequence, which has one axis of the dim after `over`; the body yields or carries something.";
    CarryMismatch = "E0218", "a carry changes its type",
        "What a scan carries has the same element type and shape after each step as before it.";
    // ---- dims
    UnknownDim = "E0301", "unknown dim",
        "A name in a type is neither a setting nor a dim that an input's type binds. Dims bind in input types only.";
    DynamicWeight = "E0302", "a weight's shape must be constant",
        "The shape of a weight or state depends on a symbolic dim, such as the batch; its storage could not be laid out.";
    InexactDim = "E0303", "not a whole dim",
        "A dim must be a whole number, 0 or more. `/` must divide exactly; `//` rounds down.";
    FactFails = "E0306", "a stated fact does not hold",
        "A `where` clause of the callee is false for these inputs.";
    // ---- sharing and layers
    WeightInFn = "E0401", "a fn owns no weights",
        "A `fn` is an ordinary call without an instance, so nothing in it can own weights. Make it a `layer`, or take the layer as a parameter.";
    SharedClash = "E0402", "one instance, two shapes",
        "A layer bound to a name is one instance with one set of weights, but two of its uses need different weight shapes.";
    BadUpdate = "E0403", "only a state can be updated",
        "`<-` gives a new value to a `state` of this layer, or to the weight or a state of an optimizer.";
    BadFresh = "E0404", "`fresh` needs a layer",
        "`fresh` instantiates a bound layer or a model again; nothing else has instances.";
    // ---- train
    UnknownKey = "E0501", "unknown key",
        "A `train` block has a closed set of keys, and so has a `generate` item.";
    IncompleteTrain = "E0502", "an incomplete training",
        "A `train` block needs `on`, at least one `minimize`, and an optimizer for each.";
    BadKeyValue = "E0503", "a key cannot have this value",
        "The value of a key in `train` or `generate` has the wrong kind or lies outside its range.";
    BadLoss = "E0504", "not a loss",
        "`minimize` takes a float tensor: a value per element (it takes their mean) or a scalar.";
    UnknownFigure = "E0505", "unknown figure",
        "`keep` and `stop` watch `SPLIT.FIGURE`, where the split is `train` or `validation` and the figure is `loss` or a metric of this block.";
    NoSuchWeights = "E0506", "no weights of this name",
        "`over` and `freeze` name models or paths of weights.";
    NothingToTrain = "E0507", "nothing to train",
        "The loss depends on no weight that may move.";
    NoGradient = "E0508", "no gradient",
        "The reverse rule of an operation between the loss and a weight is missing, or the gradient is asked with respect to something it cannot be.";
    BadOptimizer = "E0509", "not an optimizer",
        "`using` takes an `optimizer` item with its configuration: `using adam(rate = 1e-3)`.";
    BadGroup = "E0510", "a group rule cannot be applied",
        "A rule `key = value for pattern` names no parameter of the optimizer.";
    // ---- data
    UnknownSource = "E0601", "unknown data source",
        "A `data` item reads one of the sources that the compiler knows, such as `mnist`.";
    BadSplit = "E0602", "a split cannot be made",
        "What `split` holds out is a share of the rows, a number of rows or another file, and leaves something to train on.";
    BadRow = "E0603", "a row cannot be made",
        "A row's field must be a tensor with a constant shape, and what a file holds must be said in types that can be read from it.";
    BadFit = "E0604", "not a fit value",
        "A `fit` computes a tensor of constant shape from all rows of the training part, before anything is augmented.";
    // ---- load
    BadLoad = "E0701", "a load cannot be made",
        "`load` names a model of this file, and each rule's captures must stand on both sides.";
    // ---- generate
    IncompleteGeneration = "E0801", "an incomplete generation",
        "A `generate` item needs tokens to begin with, a vocabulary for the names of tokens, and last the logits after each token of `target`.";
    StepMixed = "E0802", "a step that needs all of its sequence",
        "A `generate` item goes on with a sequence a few tokens at a time. An operation along its axis that makes one of all places, moves them, or sees later ones has not all it needs there.";
    // ---- warnings
    UnusedLet = "W0101", "unused name",
        "A `let`, a weight or a sum is used by nothing. A name that starts with `_` may stay unused.";
    UnusedParameter = "W0102", "unused parameter",
        "A parameter or input is read by nothing in its body, so that a caller's value is ignored. A name that starts with `_` may stay unused.";
    UnusedSetting = "W0103", "unused setting",
        "A setting is read by nothing, so that `--set` would change nothing.";
    UnusedItem = "W0104", "unused item",
        "Nothing that is trained, predicted or loaded leads to this item. Items of a file that neither trains nor predicts are there to be used by others, and are not looked at.";
    UnusedImport = "W0105", "unused import",
        "`use` brings in a name that nothing in this file mentions.";
    DroppedValue = "W0106", "a value that nothing takes",
        "An expression stands as a statement. Expressions change nothing, so that without a name its value is lost; only the last one of a body is the body's value.";
    ConstantCondition = "W0201", "a condition that is always the same",
        "A condition compares things that no setting or parameter can change.";
    SharedRepeat = "W0401", "every copy shares one instance",
        "`repeat` was given a layer that is bound to a name, so all copies share its weights. Give it the layer expression itself for independent copies, or `fresh m`.";
    RepeatedActivation = "W0402", "an activation after an activation",
        "Two activations stand directly one after the other, and the second one changes nothing or squeezes what is squeezed already.";
    BiasBeforeNorm = "W0403", "a bias that the norm takes away",
        "A layer adds a bias for each channel, and the norm after it subtracts the mean of each channel, and the bias with it. The weights are learned for nothing.";
    LinearAfterLinear = "W0404", "two linear layers in a row",
        "Two linear layers with nothing between can be one linear layer: the model learns no more for the second one. Layers that go through fewer channels, or work channel by channel, are made of two on purpose and are not meant.";
    IdleGroup = "W0501", "a group rule matches no weight",
        "No path of a trained weight matches the rule's patterns.";
    WeightWithoutGradient = "W0502", "a weight without a gradient",
        "A training computes with a weight and never moves it, because no loss depends on it or because an operation without a gradient stands between. What is behind `hold`, frozen, or left out of `over` is meant so.";
    UntrainedModel = "W0503", "a model that is never trained",
        "The file trains, but no training uses this model, and no `load` gives it weights: it stays as it was drawn.";
    EndedBeforeLogits = "W0504", "logits that went through an activation",
        "A loss from logits applies the softmax or sigmoid itself. Done twice, the gradients are small and the model learns slowly or not at all; `relu` before it lets no logit be negative.";
    NotProbabilities = "W0505", "no probabilities",
        "A loss from probabilities is given what a linear layer, `relu` or `tanh` made, which can be below 0 or above 1.";
    DropoutAtTheEnd = "W0506", "dropout on the result",
        "Dropout after the last layer sets some of the answers to 0 while training, and the loss punishes the model for it.";
    OneChoice = "W0507", "a choice among one",
        "A softmax, a classification loss or a metric chooses along an axis that has one element, or looks for the `k` best of no more than `k`: it is always the same.";
    IdleRule = "W0508", "a rule that never applies",
        "`stop after` waits for as many epochs as the training has, or more.";
    WatchedTraining = "W0509", "the training part is watched",
        "`keep best` or `stop after` watches a figure of the training part although the data has a validation part. It gets better even when the model only learns the rows by heart.";
    SingleRowNorm = "W0510", "batch norm of one row",
        "`batch_norm` takes its statistics from the batch; from one row they are no statistics.";
    RawBytes = "W0601", "bytes as they are",
        "Bytes from 0 to 255 reach the first weights of a model without being scaled. It learns badly or not at all.";
    UnknownEdition = "W0901", "unknown edition",
        "The `edition` line names an edition that this compiler does not know; the newest one is used.";
}

/// The line of a code, checker's or grammar's: (title or meaning, explanation).
pub fn explain(id: &str) -> Option<(&'static str, &'static str)> {
    if let Some(info) = CODES.iter().find(|c| c.id == id) {
        return Some((info.title, info.explanation));
    }
    weft_grammar::codes::CODES.iter().find(|(code, _)| *code == id).map(|(_, text)| ("syntax error", *text))
}
