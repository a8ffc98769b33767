//! Sources: where the rows of a data set come from, what each takes, and the fields that its rows have of themselves.

use super::row::is_text;
use super::schema::Schema;
use crate::check::scope::Scope;
use crate::check::text::{length_field, text_field};
use crate::check::value::Value;
use crate::check::{Checker, Reported, Result};
use crate::diagnostics::{Code, Diagnostic, did_you_mean};
use crate::graph::{DType, Dim, TensorType};
use weft_grammar::Span;
use weft_grammar::ast::{self, ExprKind};
use weft_runtime::program::{Cell, DataSource, Field, Rows};

/// A source that the runtime can read.
pub(super) struct Source {
    pub(super) name: &'static str,
    /// What its rows are and where they come from, with an ``Example: `…` ``.
    doc: &'static str,
    /// What its first argument is, and its value when there is none.
    place: (&'static str, Option<&'static str>),
    options: &'static [SourceOption],
    row: RowOf,
    make: fn(&Given) -> DataSource,
}

/// An argument by name.
struct SourceOption {
    name: &'static str,
    kind: OptionKind,
    /// Its value when it isn't given, as a spec would write it; none where it must be.
    default: Option<&'static str>,
}

enum OptionKind {
    /// A whole number within bounds.
    Count(i64, i64),
    /// `(height, width)`, or a number for both.
    Size,
    Truth,
    Word(&'static [&'static str]),
    /// A text of the one letter that stands between two cells.
    Letter,
}

/// Who says what a row is.
enum RowOf {
    /// The source.
    Source(fn(&Given) -> Vec<Field>),
    /// The source, by its arguments; documents show it as the text says.
    Arguments(&'static str, fn(&Given) -> Vec<Field>),
    /// The spec, after `->`.
    Spec,
}

/// The arguments of a source.
pub(super) struct Given {
    place: String,
    options: Vec<(&'static str, Setting)>,
    /// Of `npy`: fields with their files.
    files: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Setting {
    Count(usize),
    Size(usize, usize),
    Truth(bool),
    Word(&'static str),
    Letter(u8),
}

impl Given {
    fn find(&self, name: &str) -> Option<Setting> {
        self.options.iter().find(|(option, _)| *option == name).map(|(_, setting)| *setting)
    }

    fn count(&self, name: &str) -> usize {
        if let Some(Setting::Count(count)) = self.find(name) { count } else { 0 }
    }

    fn size(&self, name: &str) -> (usize, usize) {
        if let Some(Setting::Size(height, width)) = self.find(name) { (height, width) } else { (0, 0) }
    }

    fn truth(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Setting::Truth(true)))
    }

    fn letter(&self, name: &str) -> u8 {
        if let Some(Setting::Letter(letter)) = self.find(name) { letter } else { b',' }
    }

    fn word(&self, name: &str) -> &'static str {
        if let Some(Setting::Word(word)) = self.find(name) { word } else { "" }
    }
}

/// A side of a picture, a window of text: more than anyone means.
const MANY: i64 = 1 << 24;

fn pictures(height: usize, width: usize, channels: usize) -> [Field; 2] {
    [Field::new("image", DType::U8, [height, width, channels]), Field::new("label", DType::I32, [])]
}

const HEADER: SourceOption = SourceOption { name: "header", kind: OptionKind::Truth, default: Some("true") };
const QUOTES: SourceOption = SourceOption { name: "quotes", kind: OptionKind::Truth, default: Some("true") };
const SEPARATOR: SourceOption =
    SourceOption { name: "separator", kind: OptionKind::Letter, default: Some(",") };

const SOURCES: &[Source] = &[
    Source {
        name: "mnist",
        doc: "Handwritten digits as grey images of 28×28 bytes with their class, 0 to 9 (LeCun et al. 1998), from the files `*-ubyte` or `*-ubyte.gz` of the folder. A part without files of its own is cut off the training rows: see `split`.\n\nExample: `data digits = mnist(\"data/mnist\") { split validation = 0.1 }`",
        place: ("folder", Some("data/mnist")),
        options: &[],
        row: RowOf::Source(|_| pictures(28, 28, 1).into()),
        make: |given| DataSource::Idx { folder: given.place.clone() },
    },
    Source {
        name: "fashion_mnist",
        doc: "Pictures of clothes in ten classes, in the same form as `mnist` (Xiao et al. 2017).\n\nExample: `data clothes = fashion_mnist() { image = f32(image) / 255 }`",
        place: ("folder", Some("data/fashion_mnist")),
        options: &[],
        row: RowOf::Source(|_| pictures(28, 28, 1).into()),
        make: |given| DataSource::Idx { folder: given.place.clone() },
    },
    Source {
        name: "cifar10",
        doc: "Colour photos of 32×32 bytes in ten classes (Krizhevsky 2009), from the binary version's batches `data_batch_*.bin` and `test_batch.bin`.\n\nExample: `data photos = cifar10(\"data/cifar10\") { image = f32(image) / 255 }`",
        place: ("folder", Some("data/cifar10")),
        options: &[],
        row: RowOf::Source(|_| pictures(32, 32, 3).into()),
        make: |given| DataSource::Cifar10 { folder: given.place.clone() },
    },
    Source {
        name: "images",
        doc: "A folder of PNG and JPEG pictures with a folder for each class, in the order of their names; folders `train`, `validation` and `test` with such folders in them are the parts. Each picture is turned upright and brought to `size`, a height and a width; 1 channel is grey, 3 are colours, 4 have alpha. One that cannot be read is an error, or is passed over with `unreadable = skip`.\n\nExample: `data pets = images(\"pets\", size = (32, 32)) { image = f32(image) / 255 split validation = 0.1, stratify = label }`",
        place: ("folder", None),
        options: &[
            SourceOption { name: "size", kind: OptionKind::Size, default: None },
            SourceOption { name: "channels", kind: OptionKind::Count(1, 4), default: Some("3") },
            SourceOption {
                name: "unreadable",
                kind: OptionKind::Word(&["error", "skip"]),
                default: Some("error"),
            },
        ],
        row: RowOf::Arguments("image: u8[height, width, channels], label: i32[]", |given| {
            let (height, width) = given.size("size");
            let [image, label] = pictures(height, width, given.count("channels"));
            vec![image, Field { cell: Cell::Class(Vec::new()), ..label }]
        }),
        make: |given| {
            let (height, width) = given.size("size");
            DataSource::Images {
                folder: given.place.clone(),
                height,
                width,
                channels: given.count("channels"),
                skip_unreadable: given.word("unreadable") == "skip",
            }
        },
    },
    Source {
        name: "csv",
        doc: "A file of lines of cells between commas, or another `separator`, whose first line names the columns; `header = false` says that it doesn't, then the fields are the columns in order. `\"data/*.csv\"` reads several files one after another. A cell may stand in quotation marks, unless `quotes = false`. What a row is stands after `->`; columns that it doesn't name are not read.\n\nExample: `data flowers = csv(\"iris.csv\") -> { petal_width: f32, species: class } { split validation = 0.2, stratify = species }`",
        place: ("file", None),
        options: &[SEPARATOR, HEADER, QUOTES],
        row: RowOf::Spec,
        make: |given| DataSource::Csv {
            file: given.place.clone(),
            separator: given.letter("separator"),
            header: given.truth("header"),
            quotes: given.truth("quotes"),
        },
    },
    Source {
        name: "tsv",
        doc: "As `csv`, with tabs between the cells.\n\nExample: `data words = tsv(\"words.tsv\") -> { length: i32, kind: class? }`",
        place: ("file", None),
        options: &[HEADER, QUOTES],
        row: RowOf::Spec,
        make: |given| DataSource::Csv {
            file: given.place.clone(),
            separator: b'\t',
            header: given.truth("header"),
            quotes: given.truth("quotes"),
        },
    },
    Source {
        name: "jsonl",
        doc: "A file with a JSON object on each line. What a row is stands after `->`: numbers, texts, lists of numbers; a key that is absent or `null` is missing.\n\nExample: `data reviews = jsonl(\"reviews.jsonl\") -> { text: text[256], stars: f32?, kind: class }`",
        place: ("file", None),
        options: &[],
        row: RowOf::Spec,
        make: |given| DataSource::JsonLines { file: given.place.clone() },
    },
    Source {
        name: "parquet",
        doc: "A Parquet file, or several, as `\"data/*.parquet\"` or a folder; only the columns that the row names are read. A column of lists is a field of so many numbers.\n\nExample: `data trips = parquet(\"trips.parquet\") -> { distance: f32, minutes: f32?, kind: class }`",
        place: ("file", None),
        options: &[],
        row: RowOf::Spec,
        make: |given| DataSource::Parquet { file: given.place.clone() },
    },
    Source {
        name: "npy",
        doc: "NumPy arrays of one first extent, which is the rows; each file has the name of a field. Numbers become the type that the spec gives them, when they fit.\n\nExample: `data digits = npy(image = \"x.npy\", label = \"y.npy\") -> { image: u8[28, 28], label: i32 }`",
        place: ("folder", Some("")),
        options: &[],
        row: RowOf::Spec,
        make: |given| DataSource::Arrays { folder: given.place.clone(), files: given.files.clone() },
    },
    Source {
        name: "npz",
        doc: "As `npy`, with all arrays in one file, where they have the fields' names.\n\nExample: `data digits = npz(\"digits.npz\") -> { image: u8[28, 28] from \"x\", label: i32 from \"y\" }`",
        place: ("file", None),
        options: &[],
        row: RowOf::Spec,
        make: |given| DataSource::Npz { file: given.place.clone() },
    },
    Source {
        name: "text",
        doc: "Plain text. A row is a text: a line with its end, or with `rows = paragraph` or `rows = file` all up to an empty line, or a whole file; together they are the text. With `window`, rows are so many bytes of UTF-8, one beginning every `stride` bytes, which is the window's length unless it is given, and the end of a file that fills no window is left out. The rows of several files (`\"books/*.txt\"`, or a folder) come one after another.\n\nExample: `data book = text(\"book.txt\", window = 128) { split validation = 0.1 }`",
        place: ("file", None),
        options: &[
            SourceOption { name: "window", kind: OptionKind::Count(0, MANY), default: Some("0") },
            SourceOption { name: "stride", kind: OptionKind::Count(0, MANY), default: Some("0") },
            SourceOption {
                name: "rows",
                kind: OptionKind::Word(&["line", "paragraph", "file"]),
                default: Some("line"),
            },
        ],
        row: RowOf::Arguments("text: text, or text: u8[window]", |given| match given.count("window") {
            0 => vec![text_field("text")],
            window => vec![Field::new("text", DType::U8, [window])],
        }),
        make: |given| match (given.count("window"), given.count("stride")) {
            (0, _) => DataSource::Documents {
                file: given.place.clone(),
                rows: match given.word("rows") {
                    "paragraph" => Rows::Paragraph,
                    "file" => Rows::File,
                    _ => Rows::Line,
                },
            },
            (window, stride) => DataSource::Text {
                file: given.place.clone(),
                window,
                stride: if stride == 0 { window } else { stride },
            },
        },
    },
    Source {
        name: "lines",
        doc: "Files of text whose lines of one number belong together, as translations do; each file has the name of a field.\n\nExample: `data verses = lines(english = \"kjv.txt\", spanish = \"sparv.txt\") { fit pieces = bpe([english, spanish], size = 8000)  source = tokenize(english, pieces)  target = tokenize(spanish, pieces) }`",
        place: ("folder", Some("")),
        options: &[],
        row: RowOf::Arguments("FIELD: text", |given| {
            given.files.iter().map(|(name, _)| text_field(name)).collect()
        }),
        make: |given| DataSource::Lines { folder: given.place.clone(), files: given.files.clone() },
    },
    Source {
        name: "imdb",
        doc: "Reviews of films with their sentiment, 0 for negative and 1 for positive, and the rating that they come from (Maas et al. 2011), in the folders of the data set itself: `train/pos/0_9.txt`. It has a training and a test part.\n\nExample: `data reviews = imdb(\"aclImdb\") { fit words = word_level(text, size = 20000)  tokens = tokenize(text, words, max_length = 400) }`",
        place: ("folder", Some("data/aclImdb")),
        options: &[],
        row: RowOf::Source(|_| {
            let label = Field::new("label", DType::I32, []);
            vec![
                text_field("text"),
                Field { cell: Cell::Class(Vec::new()), ..label },
                Field::new("rating", DType::I32, []),
            ]
        }),
        make: |given| DataSource::Imdb { folder: given.place.clone() },
    },
    Source {
        name: "ts",
        doc: "Time series in the `.ts` format of the archives of sktime and aeon. A row has a series, `f32[t, channels]` or, where all are as long, `f32[steps, channels]`, and beside it the case's class or its target, `f32`. Where steps are missing (`?`), the type has a `?` and they are NaN.\n\nExample: `data motions = ts(\"Motions_TRAIN.ts\") -> { series: f32[t, 6], label: class } { split test = \"Motions_TEST.ts\" }`",
        place: ("file", None),
        options: &[],
        row: RowOf::Spec,
        make: |given| DataSource::Series { file: given.place.clone() },
    },
];

/// The documentation of a source, for the registry.
#[derive(Clone, Debug)]
pub struct SourceDocumentation {
    pub name: &'static str,
    /// The folder or file that it reads without one given.
    pub place: Option<&'static str>,
    /// Its arguments: name, type, and value without one.
    pub parameters: Vec<(&'static str, String, Option<String>)>,
    /// The fields of a row with their types, where the source says them.
    pub row: Option<String>,
    pub doc: &'static str,
}

pub fn sources() -> impl Iterator<Item = SourceDocumentation> {
    SOURCES.iter().map(|source| {
        let (place, default) = source.place;
        let mut parameters = vec![(place, "text".to_owned(), default.map(|d| format!("{d:?}")))];
        parameters.extend(source.options.iter().map(|option| {
            let kind = match option.kind {
                OptionKind::Count(..) => "int".to_owned(),
                OptionKind::Size => "(int, int)".to_owned(),
                OptionKind::Truth => "bool".to_owned(),
                OptionKind::Word(words) => format!("choice({})", words.join(", ")),
                OptionKind::Letter => "text".to_owned(),
            };
            let default = option.default.map(|default| match option.kind {
                OptionKind::Letter => format!("{default:?}"),
                _ => default.to_owned(),
            });
            (option.name, kind, default)
        }));
        let row = source.documented_row();
        SourceDocumentation { name: source.name, place: default, parameters, row, doc: source.doc }
    })
}

impl Source {
    fn documented_row(&self) -> Option<String> {
        let row = match self.row {
            RowOf::Source(row) => row,
            RowOf::Arguments(text, _) => return Some(text.to_owned()),
            RowOf::Spec => return None,
        };
        let field = |field: &Field| {
            let ty =
                TensorType::new(field.dtype, field.shape.iter().map(|d| Dim::from(*d)).collect::<Vec<_>>());
            format!("{}: {ty}", field.name)
        };
        let none = Given { place: String::new(), options: Vec::new(), files: Vec::new() };
        Some(row(&none).iter().map(field).collect::<Vec<_>>().join(", "))
    }

    /// Is each of its arguments a field's file?
    fn takes_files(&self) -> bool {
        matches!(self.name, "npy" | "lines")
    }

    /// How it is called.
    fn usage(&self) -> String {
        let example = match self.place {
            (_, Some(default)) => default,
            ("folder", None) => "photos",
            _ => "rows.csv",
        };
        format!("{}({example:?})", self.name)
    }
}

/// A checked source: what the runtime reads, its fields, and the call with all that it leaves out.
pub(super) struct Checked {
    pub(super) source: DataSource,
    pub(super) fields: Vec<Field>,
    pub(super) text: String,
}

impl Checker<'_> {
    /// `mnist("data/mnist")`, `mnist`, or `csv("iris.csv", header = false) -> { width: f32 }`.
    pub(super) fn source(&mut self, data: &ast::Data, scope: &Scope) -> Result<Checked> {
        let expr = &data.source;
        let (callee, arguments) = called(expr);
        if matches!(callee.kind, ExprKind::Error) {
            return Err(Reported);
        }
        let Some(source) = named(callee) else {
            let name = self.sources.text(callee.span).to_owned();
            let hint = did_you_mean(&name, SOURCES.iter().map(|s| s.name)).or_else(|| {
                Some(format!("there are {}", SOURCES.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")))
            });
            let message = format!("no data source is called `{name}`");
            return Err(
                self.report(Diagnostic::error(Code::UnknownSource, callee.span, message).hint_if(hint))
            );
        };
        let given = self.source_arguments(source, arguments, expr.span, scope)?;
        let schema = match &data.row {
            Some(row) => Some(self.schema(row, scope)?),
            None => None,
        };
        let fields = match (&source.row, schema) {
            (RowOf::Source(row) | RowOf::Arguments(_, row), None) => row(&given),
            (RowOf::Source(row) | RowOf::Arguments(_, row), Some(schema)) => {
                self.narrowed(source.name, row(&given), schema)?
            }
            (RowOf::Spec, Some(schema)) => schema.into_fields(),
            (RowOf::Spec, None) => {
                let message = format!("`{}` does not say what its rows are", source.name);
                let hint = format!(
                    "say it after `->`: `{} -> {{ width: f32, kind: class }}`",
                    self.sources.text(expr.span)
                );
                return self.fail_hint(Code::BadRow, expr.span, message, hint);
            }
        };
        let lengths: Vec<Field> = fields
            .iter()
            .filter(|f| f.ragged.is_some() && !is_text(f))
            .map(|f| length_field(&f.name))
            .collect();
        let fields: Vec<Field> = fields.into_iter().chain(lengths).collect();
        if source.name == "ts" && !weft_runtime::data::fits_series(&fields) {
            let at = data.row.as_ref().map_or(expr.span, |row| row.span);
            let message = "a case of `ts` is one series, and perhaps a class or a number";
            let hint = "write `-> { series: f32[t, 6], label: class }`";
            return self.fail_hint(Code::BadRow, at, message, hint);
        }
        let text = written(source, &given);
        Ok(Checked { source: (source.make)(&given), fields, text })
    }

    fn source_arguments(
        &mut self,
        source: &'static Source,
        arguments: &[ast::Argument],
        span: Span,
        scope: &Scope,
    ) -> Result<Given> {
        let (place_name, default) = source.place;
        let mut files = Vec::new();
        let mut place = default.map(str::to_owned);
        let mut options: Vec<(&'static str, Setting)> = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let named = argument.name.as_ref().map(|n| n.text.as_str());
            let at = argument.name.as_ref().map_or(argument.value.span, |n| n.span);
            if named == Some(place_name) || (named.is_none() && index == 0) {
                place = Some(self.source_place(source, &argument.value, scope)?);
                continue;
            }
            if let (true, Some(name)) = (source.takes_files(), named) {
                let file = self.source_place(source, &argument.value, scope)?;
                files.push((name.to_owned(), file));
                continue;
            }
            let Some(option) = source.options.iter().find(|option| named == Some(option.name)) else {
                let message = match named {
                    Some(name) => format!("`{}` has no argument `{name}`", source.name),
                    None => {
                        format!("`{}` takes one argument without a name, its `{place_name}`", source.name)
                    }
                };
                let names: Vec<&str> =
                    std::iter::once(place_name).chain(source.options.iter().map(|o| o.name)).collect();
                let hint = named.and_then(|name| did_you_mean(name, names.iter().copied()));
                let hint = hint.unwrap_or_else(|| match source.options {
                    [] => format!("write `{}`", source.usage()),
                    _ => format!("its arguments are `{}`", names.join("`, `")),
                });
                return self.fail_hint(Code::UnknownArgument, at, message, hint);
            };
            if options.iter().any(|(name, _)| *name == option.name) {
                return self.fail(Code::ExtraArgument, at, format!("`{}` is given twice", option.name));
            }
            let setting = self.source_option(option, &argument.value, scope)?;
            options.push((option.name, setting));
        }
        for option in source.options {
            let missing = options.iter().all(|(name, _)| *name != option.name);
            match option.default.and_then(|default| option.kind.default(default)) {
                Some(setting) if missing => options.push((option.name, setting)),
                None if missing => {
                    let message = format!("`{}` needs its `{}`", source.name, option.name);
                    return self.fail(Code::MissingArgument, span, message);
                }
                _ => {}
            }
        }
        let Some(place) = place else {
            let message = format!("`{}` needs its `{place_name}`", source.name);
            return self.fail_hint(
                Code::MissingArgument,
                span,
                message,
                format!("write `{}`", source.usage()),
            );
        };
        if source.takes_files() && files.is_empty() {
            let hint = match source.name {
                "lines" => "write `lines(english = \"en.txt\", spanish = \"es.txt\")`",
                _ => "write `npy(image = \"x.npy\", label = \"y.npy\")`",
            };
            let message = format!("`{}` needs a file for each field", source.name);
            return self.fail_hint(Code::MissingArgument, span, message, hint);
        }
        Ok(Given { place, options, files })
    }

    fn source_place(&mut self, source: &Source, value: &ast::Expr, scope: &Scope) -> Result<String> {
        let words = self.sources.text(value.span).to_owned();
        match self.expr(value, scope)? {
            Value::Text(text) => Ok(text.to_string()),
            other => {
                let message =
                    format!("the {} of `{}` is a text, not {}", source.place.0, source.name, other.kind());
                let hint = format!("a text stands in quotes: `\"{words}\"`");
                self.fail_hint(Code::WrongKind, value.span, message, hint)
            }
        }
    }

    fn source_option(&mut self, option: &SourceOption, value: &ast::Expr, scope: &Scope) -> Result<Setting> {
        let name = option.name;
        if let OptionKind::Word(words) = option.kind {
            let text = self.sources.text(value.span).to_owned();
            if let Some(word) = words.iter().find(|word| **word == text.trim_matches('"')) {
                return Ok(Setting::Word(word));
            }
            let hint = did_you_mean(&text, words.iter().copied())
                .unwrap_or_else(|| format!("it is one of {}", words.join(", ")));
            return self.fail_hint(Code::WrongKind, value.span, format!("`{name}` cannot be `{text}`"), hint);
        }
        let given = self.expr(value, scope)?;
        let within = |value: &Value, least: i64, most: i64| match value {
            Value::Int(count) if (least..=most).contains(count) => usize::try_from(*count).ok(),
            _ => None,
        };
        let (setting, wanted) = match option.kind {
            OptionKind::Count(least, most) => (
                within(&given, least, most).map(Setting::Count),
                format!("a whole number from {least} to {most}"),
            ),
            OptionKind::Size => {
                let side = |value: &Value| within(value, 1, MANY);
                let size = match given.elements().map(|e| e.as_slice()) {
                    Some([height, width]) => side(height).zip(side(width)),
                    _ => side(&given).map(|side| (side, side)),
                };
                (size.map(|(h, w)| Setting::Size(h, w)), "`(height, width)`, or a number for both".to_owned())
            }
            OptionKind::Truth => {
                let truth = if let Value::Bool(truth) = given { Some(Setting::Truth(truth)) } else { None };
                (truth, "`true` or `false`".to_owned())
            }
            OptionKind::Letter => {
                let text = if let Value::Text(text) = &given { text.as_bytes() } else { &[] };
                let letter = match text {
                    [letter @ (b'\t' | b' '..=b'~')]
                        if !letter.is_ascii_alphanumeric() && *letter != b'"' =>
                    {
                        Some(Setting::Letter(*letter))
                    }
                    _ => None,
                };
                (letter, "a text of one mark, such as `\";\"` or `\"\\t\"`".to_owned())
            }
            OptionKind::Word(_) => (None, String::new()),
        };
        match setting {
            Some(setting) => Ok(setting),
            None => {
                self.fail(Code::WrongKind, value.span, format!("`{name}` is {wanted}, not {}", given.show()))
            }
        }
    }

    /// Some fields of those that a source has of itself.
    fn narrowed(&mut self, source: &str, own: Vec<Field>, schema: Schema) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        for (wanted, span) in schema.columns {
            let Some(field) = own.iter().find(|field| field.name == wanted.from) else {
                let message = format!("a row of `{source}` has no `{}`", wanted.from);
                let names: Vec<&str> = own.iter().map(|f| f.name.as_str()).collect();
                let hint = did_you_mean(&wanted.from, names.iter().copied())
                    .unwrap_or_else(|| format!("it has `{}`", names.join("`, `")));
                return self.fail_hint(Code::UnknownField, span, message, hint);
            };
            let same_cell = match (&field.cell, &wanted.cell) {
                (Cell::Class(_), Cell::Class(_)) => true,
                (own, wanted) => own == wanted,
            };
            if !same_cell || (field.dtype, &field.shape) != (wanted.dtype, &wanted.shape) {
                let ty = TensorType::new(
                    field.dtype,
                    field.shape.iter().map(|d| Dim::from(*d)).collect::<Vec<_>>(),
                );
                let message = format!("`{}` of `{source}` is {ty}", field.name);
                return self.fail_hint(
                    Code::BadRow,
                    span,
                    message,
                    "the arrow may be left out: the source knows its rows",
                );
            }
            fields.push(Field { name: wanted.name, ..field.clone() });
        }
        Ok(fields)
    }
}

impl OptionKind {
    fn default(&self, text: &str) -> Option<Setting> {
        Some(match self {
            OptionKind::Count(..) => Setting::Count(text.parse().ok()?),
            OptionKind::Size => return None,
            OptionKind::Truth => Setting::Truth(text == "true"),
            OptionKind::Word(words) => Setting::Word(words.iter().find(|word| **word == text)?),
            OptionKind::Letter => Setting::Letter(*text.as_bytes().first()?),
        })
    }
}

/// The call with every argument.
fn written(source: &Source, given: &Given) -> String {
    if source.takes_files() {
        let files: Vec<String> =
            given.files.iter().map(|(name, file)| format!("{name} = {file:?}")).collect();
        return format!("{}({})", source.name, files.join(", "));
    }
    let mut text = format!("{}({:?}", source.name, given.place);
    for option in source.options {
        let value = match given.find(option.name) {
            // None was given, and there is none.
            Some(Setting::Count(0)) => continue,
            Some(Setting::Count(count)) => count.to_string(),
            Some(Setting::Size(height, width)) => format!("({height}, {width})"),
            Some(Setting::Truth(truth)) => truth.to_string(),
            Some(Setting::Word(word)) => word.to_owned(),
            Some(Setting::Letter(letter)) => format!("{:?}", char::from(letter).to_string()),
            None => continue,
        };
        text += &format!(", {} = {value}", option.name);
    }
    text + ")"
}

fn called(expr: &ast::Expr) -> (&ast::Expr, &[ast::Argument]) {
    match &expr.kind {
        ExprKind::Call { callee, arguments } => (callee, arguments),
        _ => (expr, &[]),
    }
}

fn named(callee: &ast::Expr) -> Option<&'static Source> {
    let ExprKind::Name(name) = &callee.kind else { return None };
    SOURCES.iter().find(|source| source.name == name)
}

/// The fields that a source gives, as far as the text tells.
pub fn source_fields(data: &ast::Data) -> Option<Vec<String>> {
    if let Some(row) = &data.row {
        return Some(row.columns.iter().map(|column| column.name.text.clone()).collect());
    }
    let (callee, arguments) = called(&data.source);
    let (RowOf::Source(row) | RowOf::Arguments(_, row)) = named(callee)?.row else {
        return None;
    };
    let names = arguments.iter().filter_map(|argument| argument.name.as_ref());
    let files = names.map(|name| (name.text.clone(), String::new())).collect();
    let none = Given { place: String::new(), options: Vec::new(), files };
    Some(row(&none).into_iter().map(|field| field.name).collect())
}

/// The arguments of a source that are expressions: a choice's word names nothing.
pub fn source_expressions(data: &ast::Data) -> impl Iterator<Item = &ast::Expr> {
    let (callee, arguments) = called(&data.source);
    let source = named(callee);
    arguments.iter().filter_map(move |argument| {
        let is_word = |name: &ast::Name| {
            let option = source.and_then(|source| source.options.iter().find(|o| o.name == name.text));
            matches!(option, Some(SourceOption { kind: OptionKind::Word(_), .. }))
        };
        (!argument.name.as_ref().is_some_and(is_word)).then_some(&argument.value)
    })
}
