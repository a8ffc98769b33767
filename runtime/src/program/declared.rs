//! What a spec declares and the runtime carries out by itself: data sets, vocabularies, trainings, loads, predictions, generations.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::DType;

/// A data set as the spec declares it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSet {
    pub name: String,
    pub source: DataSource,
    pub fields: Vec<Field>,
    pub splits: Splits,
    /// What is computed from the training part before the first step.
    pub fit: Option<Fit>,
    /// What the texts of its rows are cut into.
    pub vocabularies: Vec<Vocabulary>,
}

/// How the rows of a data set become parts. What the source itself has a part for is left whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Splits {
    pub validation: Held,
    pub test: Held,
    /// A field of the row: each of its values is held out in the same share.
    pub stratify: Option<String>,
    /// A column of the source that says of each row whether it is of `train`, `validation` or `test`.
    pub column: Option<String>,
    /// A field of which each value stands once in all parts; of several rows, one of the test part is left, or else the first.
    pub distinct: Option<String>,
}

impl Splits {
    /// Does the spec ask for rows to validate on?
    pub fn validates(&self) -> bool {
        self.validation != Held::Nothing || self.column.is_some()
    }
}

/// Which rows a part takes from the training rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Held {
    #[default]
    Nothing,
    Share(f64),
    Rows(u64),
    /// The rows of another file of the same kind, relative to the spec.
    File(String),
}

/// The fit values of a data set: states, so that they are saved with the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// What is run over the rows of the training part before the entry, one after another.
    pub passes: Vec<Pass>,
    /// The entry that computes them. Without passes, its inputs are fields of all rows of the training part.
    pub entry: String,
    /// Path of the `i64[]` variable that says from how many rows they were computed; 0: not yet.
    pub rows: String,
    /// Paths of the variables.
    pub values: Vec<String>,
}

/// An entry whose inputs are fields of some rows at a time, in order, and which adds up what it finds in accumulators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub entry: String,
    /// Rows at a time.
    pub rows: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DataSource {
    /// idx files (`train-images-idx3-ubyte[.gz]`, …) in a folder, relative to the spec.
    Idx { folder: String },
    /// CIFAR-10's binary batches in a folder, relative to the spec.
    Cifar10 { folder: String },
    /// A folder with a folder of pictures for each class.
    Images { folder: String, height: usize, width: usize, channels: usize, skip_unreadable: bool },
    /// Lines of cells.
    Csv { file: String, separator: u8, header: bool, quotes: bool },
    /// A JSON object a line.
    JsonLines { file: String },
    /// Columns in groups of rows.
    Parquet { file: String },
    /// Fields with their `.npy` files, in a folder.
    Arrays { folder: String, files: Vec<(String, String)> },
    /// Arrays in one `.npz` file.
    Npz { file: String },
    /// Windows of bytes, one beginning every `stride` bytes.
    Text { file: String, window: usize, stride: usize },
    /// The texts of files, each cut into rows.
    Documents { file: String, rows: Rows },
    /// Fields with their files of lines, in a folder; lines of one number are of one row.
    Lines { folder: String, files: Vec<(String, String)> },
    /// Reviews in the folders of the IMDB data set.
    Imdb { folder: String },
    /// Time series in the format of the archives of sktime and aeon.
    Series { file: String },
}

/// What of a file of text is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// A line with its end.
    Line,
    /// Lines up to an empty one, with it.
    Paragraph,
    /// All of it.
    File,
}

impl DataSource {
    /// Where the rows are: a file or a folder, relative to the spec.
    pub fn path(&self) -> &str {
        match self {
            DataSource::Idx { folder }
            | DataSource::Cifar10 { folder }
            | DataSource::Images { folder, .. }
            | DataSource::Arrays { folder, .. }
            | DataSource::Lines { folder, .. }
            | DataSource::Imdb { folder } => folder,
            DataSource::Csv { file, .. }
            | DataSource::JsonLines { file }
            | DataSource::Parquet { file }
            | DataSource::Npz { file }
            | DataSource::Text { file, .. }
            | DataSource::Documents { file, .. }
            | DataSource::Series { file } => file,
        }
    }

    /// Does it read a file, rather than a folder of files with names of their own?
    pub fn is_file(&self) -> bool {
        self.has_columns()
            || matches!(
                self,
                DataSource::Npz { .. }
                    | DataSource::Text { .. }
                    | DataSource::Documents { .. }
                    | DataSource::Series { .. }
            )
    }

    /// Are its rows made of columns with names?
    pub fn has_columns(&self) -> bool {
        matches!(self, DataSource::Csv { .. } | DataSource::JsonLines { .. } | DataSource::Parquet { .. })
    }
}

/// One field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub cell: Cell,
    /// It may be missing: NaN, or -1 for a class.
    pub optional: bool,
    /// The name that the source has for it. `*` stands for any letters: then each number is a column of its own.
    pub from: String,
    /// Rows differ in length: there is one more axis, in front of `shape`, whose extent in a batch is that of its longest row. In
    /// every entry that reads the field, it is this symbol.
    pub ragged: Option<String>,
}

impl Field {
    /// A field that is in the source as it is in the row.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>) -> Field {
        let name = name.into();
        Field {
            from: name.clone(),
            name,
            dtype,
            shape: shape.into(),
            cell: Cell::Numbers,
            optional: false,
            ragged: None,
        }
    }

    /// Is it read from the source, rather than made of another field?
    pub fn is_read(&self) -> bool {
        !matches!(self.cell, Cell::Tokens { .. } | Cell::Length { .. })
    }

    /// What the field is called that says how long each row of a field is.
    pub fn length_of(name: &str) -> String {
        format!("{name}.length")
    }
}

/// How a source holds a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    Numbers,
    /// One of some values, which becomes its place among them. Without names, those of the training rows, sorted.
    Class(Vec<String>),
    /// Text, as its bytes; cut or filled up with zeros where rows don't differ in length.
    Text,
    /// The tokens of a field of texts.
    Tokens {
        text: String,
        encoding: Encoding,
    },
    /// How long each row of another field is.
    Length {
        of: String,
    },
}

/// How texts become tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoding {
    /// A [`Vocabulary`], by its name.
    pub vocabulary: String,
    /// The most tokens of a row; of a longer text, one end goes.
    pub max_length: Option<usize>,
    pub keep_end: bool,
    /// Every row is filled up to `max_length`, rather than to the longest row of its batch.
    pub fixed: bool,
    /// The tokens that the tokenizer itself puts around a text are added.
    pub special: bool,
    /// Tokens that stand before and after each text.
    pub begin: Option<String>,
    pub end: Option<String>,
    /// The texts stand one after another, and rows are windows of so many tokens, one beginning every so many.
    pub window: Option<(usize, usize)>,
}

/// What texts are cut into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// `reviews.words`; also what weights files call it.
    pub name: String,
    pub source: VocabularySource,
    /// At most so many tokens.
    pub size: usize,
}

/// Where a vocabulary comes from: a file, relative to the spec, or the texts of fields of the training part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VocabularySource {
    /// A `tokenizer.json`.
    File(String),
    /// The 256 bytes of UTF-8, each by its own number.
    Bytes,
    /// The most frequent words.
    WordLevel {
        texts: Vec<String>,
        lowercase: bool,
    },
    /// The most frequent letters.
    Characters {
        texts: Vec<String>,
    },
    /// Byte pair encoding of UTF-8.
    Bpe {
        texts: Vec<String>,
    },
    Unigram {
        texts: Vec<String>,
    },
}

impl VocabularySource {
    /// The fields that it is trained on.
    pub fn texts(&self) -> &[String] {
        match self {
            VocabularySource::File(_) | VocabularySource::Bytes => &[],
            VocabularySource::WordLevel { texts, .. }
            | VocabularySource::Characters { texts }
            | VocabularySource::Bpe { texts }
            | VocabularySource::Unigram { texts } => texts,
        }
    }
}

/// A `train` block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Training {
    /// `train` or the block's own name.
    pub name: String,
    /// Index into [`super::Program::data`].
    pub data: usize,
    /// Names of entries: steps in order, the evaluation, the report.
    pub steps: Vec<String>,
    /// So many batches make one update.
    pub accumulate: usize,
    /// Where batches are accumulated: for each step the entry that moves the weights by what the step has gathered, and
    /// forgets it. Empty where each step moves them itself.
    pub updates: Vec<String>,
    /// Gives the rates at a moment, named by its outputs; none where no rate ever changes.
    pub rates: Option<String>,
    /// Paths of weights and of their moving averages, which evaluations and the best weights have in their place.
    pub averages: Vec<(String, String)>,
    /// Entries that give the length of each weight's gradient on a batch, in the outputs of the weights' paths; empty where nobody asks.
    pub gradients: Vec<String>,
    pub evaluate: String,
    /// Reads accumulators and collected rows and returns the figures of [`Training::figures`] as f32 outputs in order.
    pub report: String,
    pub batch: usize,
    pub epochs: usize,
    pub seed: u64,
    pub shuffle: bool,
    /// Batches are of rows of similar length.
    pub bucket: bool,
    pub figures: Vec<Figure>,
    pub keep_best: Option<Watch>,
    pub stop_after: Option<(usize, Watch)>,
    pub reduce_rate: Option<ReduceRate>,
    /// Between validations; in epochs or batches.
    pub validate: Every,
    /// Between checkpoints, where the spec says so.
    pub checkpoint: Option<Every>,
    pub indexed: Vec<Indexed>,
}

/// A field of the data whose values look something up: those that are out of range can be told before the first step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    pub field: String,
    /// How many rows there are to look up.
    pub rows: usize,
    /// Where the spec asks for it.
    pub file: String,
    pub line: u32,
}

/// How much of a training lies between two times that something is done. Batches are counted from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Every {
    Epochs(usize),
    Batches(usize),
    Time(Duration),
}

/// `reduce rate by 0.5 after 3 epochs without better validation.loss with cooldown = 2`. The least rate is in the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReduceRate {
    pub factor: f64,
    pub epochs: usize,
    pub watch: Watch,
    /// Epochs after a reduction that do not count.
    pub cooldown: usize,
}

/// What is reported: the losses first, then each metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// A training ends where a loss is no finite number; a metric may well be without a value, such as a precision of nothing.
    pub is_loss: bool,
    /// None of a number; one extent of a vector (a number for each class), two of a table.
    pub shape: Vec<usize>,
    pub higher_is_better: bool,
}

/// `validation.accuracy`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    pub split: String,
    pub figure: String,
    pub higher_is_better: bool,
}

/// A `load` item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The model, or a part of one, by its path: `Classifier.bert`.
    pub target: String,
    /// A file of weights, relative to the spec.
    pub file: String,
    pub rules: Vec<LoadRule>,
}

/// `"encoder.{i}.q.weight" -> block.{i}.query.weight transposed`: the file's name of a weight, and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRule {
    pub from: String,
    /// `None`: the file's tensors of this name, and below it, are left out.
    pub to: Option<String>,
    pub transposed: bool,
}

/// A `predict` item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prediction {
    pub name: String,
    pub entry: String,
    /// It is a model's own signature, since the spec has no `predict` item.
    pub of_model: bool,
    /// What the spec says of it.
    pub doc: String,
}

/// A `generate` item: text out of a model, token by token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    pub name: String,
    /// The entry that is run once, on what the caller gives.
    pub start: String,
    /// The entry that goes on with new tokens: its input [`Generation::TARGET`] holds them ([`super::InputSource::Written`]), its output
    /// [`Generation::LOGITS`], `f32[n, vocab]`, says of each token how well it follows the last one.
    pub step: String,
    /// What texts are made of, by its name; without one, tokens are numbers.
    pub vocabulary: Option<String>,
    pub begin: Begin,
    /// Where a row ends before [`Generation::max`].
    pub until: Vec<Token>,
    /// So many tokens are written at most.
    pub max: usize,
    pub by: Strategy,
    /// What the spec says of it.
    pub doc: String,
}

impl Generation {
    pub const TARGET: &str = "target";
    pub const LOGITS: &str = "logits";
}

/// The tokens that stand in front of what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begin {
    /// The same ones for every row.
    Tokens(Vec<Token>),
    /// Those of a text that the caller gives.
    Text { text: String, encoding: Encoding },
    /// The numbers in an input of the entry.
    Input(String),
}

/// A token, by its number or its name; where a generation ends, also a text of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Token {
    Id(i32),
    Name(String),
}

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    pub choice: Choice,
    /// Scores of tokens that stand in the row already are divided by it where they are positive, else multiplied (Keskar et al. 2019);
    /// 1 changes nothing.
    pub repetition_penalty: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Choice {
    /// The best token, always.
    Greedy,
    /// Drawn by their probabilities: after division of the logits by `temperature`, among the `top_k` best, and among the fewest best
    /// that together have the probability `top_p` (Holtzman et al. 2020).
    Sample { temperature: f64, top_k: Option<usize>, top_p: f64 },
    /// The row with the best sum of log-probabilities divided by its length to the power of `length_penalty`, among those that keeping the
    /// `width` best beginnings finds.
    Beam { width: usize, length_penalty: f64, early_stopping: EarlyStopping },
}

/// When a beam search ends, as `transformers` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlyStopping {
    /// As soon as there are as many finished rows as beams.
    Yes,
    /// When the best beginning, at its present length, is worse than all finished rows.
    No,
    /// When no beginning can become better, at any length.
    Never,
}
