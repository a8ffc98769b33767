//! Builtins of texts: vocabularies, and what cuts texts into tokens.

use super::{Builtin, Call, First};
use crate::check::text::{Wanted, text_fields};
use crate::check::value::Value;
use crate::check::{Checker, Result};
use crate::diagnostics::Code;
use std::rc::Rc;
use weft_runtime::program::{Encoding, Vocabulary, VocabularySource};

/// The special tokens that trained vocabularies begin with, and a token to learn.
const LEAST: i64 = 5;
/// More tokens are none.
const MOST: i64 = 1 << 24;
/// The special tokens and the 256 bytes.
const BYTES: i64 = 260;

pub const TABLE: &[Builtin] = &[
    Builtin {
        signature: "word_level(text, size, lowercase = true)",
        doc: "A vocabulary of the most frequent words of the training part, `size` tokens with `<pad>`, `<unk>`, `<s>` and `</s>` before them. Punctuation marks are words of their own; a word that is not among them is `<unk>`. Several fields are given as a list.\n\nExample: `data reviews = csv(\"reviews.csv\") -> { text: text, label: class } { fit words = word_level(text, size = 20000)  tokens = tokenize(text, words, max_length = 400) }`",
        first: First::Plain,
        run: |c, call| {
            let lowercase = call.flag(c, "lowercase", true)?;
            trained(c, call, LEAST, |texts| VocabularySource::WordLevel { texts, lowercase })
        },
    },
    Builtin {
        signature: "bpe(text, size)",
        doc: "A vocabulary of byte pairs, learned from the training part (Sennrich et al. 2016, on bytes as in GPT-2): every text can be written in it, and read again exactly. The smallest `size` is 260: the special tokens and all bytes.\n\nExample: `data book = text(\"book.txt\") { fit pieces = bpe(text, size = 4096)  tokens = tokenize(text, pieces, window = 129) }`",
        first: First::Plain,
        run: |c, call| trained(c, call, BYTES, |texts| VocabularySource::Bpe { texts }),
    },
    Builtin {
        signature: "unigram(text, size)",
        doc: "A vocabulary of pieces that make the training part most likely (Kudo 2018), as SentencePiece and T5 use it. Letters that hardly stand in it are `<unk>`.\n\nExample: `data pairs = tsv(\"pairs.tsv\") -> { english: text, spanish: text } { fit pieces = unigram([english, spanish], size = 8000)  source = tokenize(english, pieces)  target = tokenize(spanish, pieces, end = \"</s>\") }`",
        first: First::Plain,
        run: |c, call| trained(c, call, LEAST, |texts| VocabularySource::Unigram { texts }),
    },
    Builtin {
        signature: "characters(text, size = 256)",
        doc: "A vocabulary of the most frequent letters of the training part, at most `size` tokens.\n\nExample: `data book = text(\"book.txt\") { fit letters = characters(text, size = 128)  tokens = tokenize(text, letters, window = 257) }`",
        first: First::Plain,
        run: |c, call| trained(c, call, LEAST, |texts| VocabularySource::Characters { texts }),
    },
    Builtin {
        signature: "bytes()",
        doc: "The 256 bytes of UTF-8 as a vocabulary, each by its own number: every text can be written in it, nothing is learned, and there are no special tokens.\n\nExample: `predict ids(text: text[n]) { tokenize(text, bytes()) }`",
        first: First::Plain,
        run: |_, _| Ok(vocabulary(VocabularySource::Bytes, 256)),
    },
    Builtin {
        signature: "tokenizer(file, size)",
        doc: "A tokenizer in the form of Hugging Face's `tokenizer.json`. `size` is the number of its tokens, which a model must know before the file is read. With `fit` it is kept with the weights, so that they need no file beside them.\n\nExample: `predict ids(text: text[n]) { tokenize(text, tokenizer(\"tokenizer.json\", size = 30522), max_length = 128) }`",
        first: First::Plain,
        run: |c, call| {
            let (file, span) = call.operand("file")?;
            let Value::Text(file) = file else {
                return c.fail(
                    Code::WrongKind,
                    span,
                    format!("a tokenizer is a file's name, not {}", file.kind()),
                );
            };
            let size = size(c, call, 1)?;
            Ok(vocabulary(VocabularySource::File(file.to_string()), size))
        },
    },
    Builtin {
        signature: "tokens_of(text, vocabulary, max_length, keep_end, fixed, special, begin, end, window, stride)",
        doc: "What `tokenize` is made of.\n\nExample: `predict ids(text: text[n]) { tokens_of(text, tokenizer(\"t.json\", size = 100), none, false, false, true, none, none, none, none) }`",
        first: First::Plain,
        run: tokens_of,
    },
];

fn vocabulary(source: VocabularySource, size: usize) -> Value {
    Value::Vocabulary(Rc::new(Vocabulary { name: String::new(), source, size }))
}

/// How many tokens a vocabulary may have.
fn size(c: &mut Checker<'_>, call: &Call<'_>, least: i64) -> Result<usize> {
    let size = call.int(c, "size", 256)?;
    match usize::try_from(size).ok().filter(|_| (least..=MOST).contains(&size)) {
        Some(size) => Ok(size),
        None => {
            let span = call.get("size").map_or(call.span, |argument| argument.span);
            let message =
                format!("the size of `{}` is {least} tokens or more, not {size}", call.builtin.name());
            c.fail(Code::WrongKind, span, message)
        }
    }
}

fn trained(
    c: &mut Checker<'_>,
    call: &Call<'_>,
    least: i64,
    source: impl FnOnce(Vec<String>) -> VocabularySource,
) -> Result {
    let (text, span) = call.operand("text")?;
    let Ok(fields) = text_fields(&text) else {
        let message = format!(
            "`{}` is trained on the texts of a data set, not on {}",
            call.builtin.name(),
            text.kind()
        );
        let hint = "it stands in a `data` item whose row has a `text: text`: `fit words = word_level(text, size = 20000)`";
        return c.fail_hint(Code::WrongKind, span, message, hint);
    };
    let size = size(c, call, least)?;
    Ok(vocabulary(source(fields), size))
}

fn tokens_of(c: &mut Checker<'_>, call: &Call<'_>) -> Result {
    let (text, text_span) = call.operand("text")?;
    let Value::Texts(texts) = text else {
        let message = format!("`tokenize` cuts a text into tokens, not {}", text.kind());
        let hint = "a row has texts where it says so: `-> { text: text }`; a prediction is given them: `predict p(text: text[n])`";
        return c.fail_hint(Code::WrongKind, text_span, message, hint);
    };
    let (words, span) = call.operand("vocabulary")?;
    let known = c.named_vocabulary(&words, span)?;
    let count = |c: &mut Checker<'_>, name: &str| match call
        .get(name)
        .map(|argument| (&argument.value, argument.span))
    {
        None | Some((Value::None, _)) => Ok(None),
        Some((value, span)) => match usize::try_from(c.value_int(value, span)?).ok().filter(|n| *n > 0) {
            Some(count) => Ok(Some(count)),
            None => c.fail(Code::WrongKind, span, format!("`{name}` is 1 or more, not {}", value.show())),
        },
    };
    let max_length = count(c, "max_length")?;
    let window = count(c, "window")?;
    let stride = count(c, "stride")?;
    let (keep_end, fixed) = (call.flag(c, "keep_end", false)?, call.flag(c, "fixed", false)?);
    let special = call.flag(c, "special", true)?;
    let token = |name: &str| match call.get(name).map(|argument| &argument.value) {
        Some(Value::Text(token)) => Some(token.to_string()),
        _ => None,
    };
    if fixed && max_length.is_none() {
        let hint = "write `tokenize(text, words, max_length = 128, fixed = true)`";
        return c.fail_hint(
            Code::MissingArgument,
            call.span,
            "rows are filled up to `max_length`, which is not given",
            hint,
        );
    }
    if let Some(window) = window
        && (max_length.is_some() || texts.batch.is_some())
    {
        let message = match texts.batch {
            Some(_) => format!(
                "windows of {window} tokens are rows of a data set; a prediction's texts are rows of their own"
            ),
            None => {
                "a row is either a text of at most `max_length` tokens or a window of all texts".to_owned()
            }
        };
        return c.fail_hint(Code::ExtraArgument, call.span, message, "leave `window` out");
    }
    let encoding = Encoding {
        vocabulary: known.name,
        max_length,
        keep_end,
        fixed,
        special,
        begin: token("begin"),
        end: token("end"),
        window: window.map(|window| (window, stride.unwrap_or(window))),
    };
    c.tokens(Wanted { texts, encoding, size: known.size }, call.span)
}
