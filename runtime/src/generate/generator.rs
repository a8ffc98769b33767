//! A `generate` item with its weights: texts in, texts out.

use std::collections::BTreeMap;
use std::path::Path;

use super::ends::id_of;
use super::{Cached, Decoder, Ends, Observer, Plan, Written, write};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::program::{Begin, Choice, DimExpr, Entry, Generation, Input, InputSource, Program, Strategy};
use crate::tensor::Tensor;
use crate::text::given::{self, Reader};
use crate::text::{Encoder, Piece, Tokenizer};

/// Sequences that run side by side.
const SIDE_BY_SIDE: usize = 32;

/// A generation, ready to write.
#[derive(Debug)]
pub struct Generator {
    session: Session,
    start: usize,
    step: usize,
    generation: Generation,
    reader: Reader,
    tokenizer: Option<Tokenizer>,
    beginning: Beginning,
    ends: Ends,
}

/// The tokens to begin with.
#[derive(Debug)]
enum Beginning {
    Same(Vec<i32>),
    Text(String, Encoder),
    Input(String),
}

/// What a generation is given: texts and tensors by the names of its inputs, each with a row for each text that is to be written.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub texts: Vec<(String, Vec<String>)>,
    pub tensors: Vec<(String, Tensor)>,
}

/// How it is to be written, where that differs from what the item says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub max: Option<usize>,
    pub by: Option<Strategy>,
    pub seed: u64,
}

/// A text that was written, in a row of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// Empty where tokens are numbers.
    pub text: String,
    pub written: Written,
}

/// Is told the text of each row as soon as it is whole.
pub trait Reading {
    /// A piece of a row's text, or where tokens are numbers a token.
    fn wrote(&mut self, row: usize, piece: &str);

    /// All of a row was written.
    fn done(&mut self, row: usize, text: &Text);

    fn interrupted(&self) -> bool {
        false
    }
}

impl Generator {
    /// `kept` are the vocabularies that the weights hold, `base` is the spec's folder.
    pub fn new(
        session: Session,
        generation: &Generation,
        kept: &[(String, String)],
        base: &Path,
    ) -> Result<Generator> {
        let program = session.program();
        let (start, step) = (session.entry(&generation.start)?, session.entry(&generation.step)?);
        let reader = Reader::new(program, &program.entries[start], kept, base)?;
        let tokenizer = match &generation.vocabulary {
            Some(name) => Some(given::tokenizer(program, name, kept, base)?),
            None => None,
        };
        let beginning = match (&generation.begin, &tokenizer) {
            (Begin::Tokens(tokens), tokenizer) => {
                let ids = tokens.iter().map(|token| id_of(token, tokenizer.as_ref()));
                Beginning::Same(ids.collect::<Result<_>>()?)
            }
            (Begin::Text { text, encoding }, Some(tokenizer)) => {
                Beginning::Text(text.clone(), Encoder::new(tokenizer, encoding)?)
            }
            (Begin::Text { text, .. }, None) => {
                return Err(Error::Unsound(format!("the text `{text}` has no vocabulary")));
            }
            (Begin::Input(name), _) => Beginning::Input(name.clone()),
        };
        let ends = Ends::new(&generation.until, tokenizer.as_ref())?;
        let generation = generation.clone();
        Ok(Generator { session, start, step, generation, reader, tokenizer, beginning, ends })
    }

    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The entry whose inputs are given.
    pub fn entry(&self) -> &Entry {
        &self.session.program().entries[self.start]
    }

    /// Which of the program's entries that is.
    pub fn entry_index(&self) -> usize {
        self.start
    }

    pub fn program(&self) -> &Program {
        self.session.program()
    }

    /// The names of the texts that it takes.
    pub fn texts(&self) -> Vec<&str> {
        let mut names = given::texts(self.entry());
        if let Beginning::Text(name, _) = &self.beginning
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
        names
    }

    /// The names of all that it takes.
    pub fn known(&self) -> Vec<String> {
        let tensors = self.tensors().into_iter().map(|input| input.name.as_str());
        self.texts().into_iter().chain(tensors).map(str::to_owned).collect()
    }

    /// The inputs that are tensors of the caller.
    pub fn tensors(&self) -> Vec<&Input> {
        self.entry().inputs.iter().filter(|input| input.source == InputSource::Caller).collect()
    }

    /// Writes a text for each row that is given. Rows whose texts have equally many tokens run side by side, so that nothing is filled up and
    /// each is written as if it were alone.
    pub fn write(&mut self, given: &Given, asked: &Asked, reading: &mut dyn Reading) -> Result<Vec<Text>> {
        let rows = self.rows(given)?;
        let begins = (0..rows).map(|row| self.begin(given, row)).collect::<Result<Vec<_>>>()?;
        // Rows by the shapes of what they are given, in the order of their first ones.
        let mut alike: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut known: Vec<(Vec<usize>, usize)> = Vec::new();
        for (row, begin) in begins.iter().enumerate() {
            let mut lengths = self.reader.lengths(&given.texts, row)?;
            lengths.push(begin.len());
            let first = match known.iter().find(|(other, _)| *other == lengths) {
                Some((_, first)) => *first,
                None => {
                    known.push((lengths, row));
                    row
                }
            };
            alike.entry(first).or_default().push(row);
        }
        let width = match asked.by.as_ref().unwrap_or(&self.generation.by).choice {
            Choice::Beam { width, .. } => width,
            _ => 1,
        };
        let mut texts = vec![Text::default(); rows];
        for group in alike.values() {
            for side_by_side in group.chunks((SIDE_BY_SIDE / width).max(1)) {
                if reading.interrupted() {
                    return Ok(texts);
                }
                let begins: Vec<&[i32]> = side_by_side.iter().map(|&row| begins[row].as_slice()).collect();
                let written = self.write_rows(given, asked, side_by_side, &begins, reading)?;
                for (&row, text) in side_by_side.iter().zip(written) {
                    texts[row] = text;
                }
            }
        }
        Ok(texts)
    }

    /// How many rows there are: all that is given says the same.
    fn rows(&self, given: &Given) -> Result<usize> {
        let texts = given.texts.iter().map(|(name, texts)| (name.as_str(), texts.len()));
        let by_row = |name: &str| self.entry().inputs.iter().any(|i| i.name == name && self.by_row(i));
        let tensors = given.tensors.iter().filter(|(name, _)| by_row(name));
        let tensors =
            tensors.map(|(name, tensor)| (name.as_str(), tensor.shape.first().copied().unwrap_or(0)));
        let mut counts = texts.chain(tensors);
        let Some((first, rows)) = counts.next() else { return Ok(1) };
        match counts.find(|(_, count)| *count != rows) {
            Some((name, count)) => {
                let message = format!("`{first}` has {rows} rows, but `{name}` has {count}");
                Err(Error::Generation { message })
            }
            None => Ok(rows),
        }
    }

    /// Has an input a row for each text, as the tokens that are written have?
    fn by_row(&self, input: &Input) -> bool {
        let step = &self.session.program().entries[self.step];
        let target = step.inputs.iter().find(|input| input.source == InputSource::Written);
        let symbol = |entry: &Entry, input: &Input| match entry.dims.get(input.shape.first()?.0 as usize) {
            Some(DimExpr::Symbol(symbol)) => entry.symbols.get(*symbol as usize).cloned(),
            _ => None,
        };
        target.is_some_and(|target| {
            let rows = symbol(step, target);
            rows.is_some() && symbol(self.entry(), input) == rows
        })
    }

    fn begin(&self, given: &Given, row: usize) -> Result<Vec<i32>> {
        let absent =
            |name: &str| Error::MissingInput { entry: self.generation.name.clone(), input: name.into() };
        let tokens = match &self.beginning {
            Beginning::Same(tokens) => tokens.clone(),
            Beginning::Text(name, encoder) => {
                let texts = given.texts.iter().find(|(given, _)| given == name);
                let text = texts.and_then(|(_, texts)| texts.get(row)).ok_or_else(|| absent(name))?;
                encoder.encode(text)?
            }
            Beginning::Input(name) => {
                let tensor = given.tensors.iter().find(|(given, _)| given == name);
                tensor.map(|(_, tensor)| tensor.rows(&[row]).to_i32()).ok_or_else(|| absent(name))?
            }
        };
        if tokens.is_empty() {
            let message = match &self.beginning {
                Beginning::Text(name, _) => {
                    let rows = given
                        .texts
                        .iter()
                        .find(|(given, _)| given == name)
                        .map_or(0, |(_, texts)| texts.len());
                    let at = if rows > 1 { format!(" in row {}", row + 1) } else { String::new() };
                    format!(
                        "the text of `{name}`{at} has no token to begin with; give it one letter at least"
                    )
                }
                _ => "there is no token to begin with".to_owned(),
            };
            return Err(Error::Generation { message });
        }
        Ok(tokens)
    }

    fn write_rows(
        &mut self,
        given: &Given,
        asked: &Asked,
        rows: &[usize],
        begins: &[&[i32]],
        reading: &mut dyn Reading,
    ) -> Result<Vec<Text>> {
        let inputs = self.inputs(given, asked, rows)?;
        let plan = Plan {
            by: asked.by.as_ref().unwrap_or(&self.generation.by),
            ends: &self.ends,
            tokens: self.tokenizer.as_ref().map_or(usize::MAX, Tokenizer::size),
            max: asked.max.unwrap_or(self.generation.max),
            seed: asked.seed,
        };
        let piece = |begin: &[i32]| Piece::new(self.tokenizer.as_ref(), begin, self.ends.texts());
        let mut page = Page { rows, pieces: begins.iter().map(|b| piece(b)).collect(), reading };
        let mut decoder = decoder(&mut self.session, &self.generation, &inputs)?;
        let written = write(decoder.as_mut(), begins, rows, &plan, &mut page)?;
        // What was told already is not told again; a beam search tells nothing before its end.
        let told = !matches!(plan.by.choice, Choice::Beam { .. });
        let mut texts = Vec::new();
        for ((mut piece, &row), written) in page.pieces.into_iter().zip(rows).zip(written) {
            if !told {
                for &token in &written.tokens {
                    let new = piece.push(token)?;
                    if !new.is_empty() {
                        page.reading.wrote(row, &new);
                    }
                }
            }
            let rest = piece.end()?;
            if !rest.is_empty() {
                page.reading.wrote(row, &rest);
            }
            let text = Text { text: piece.into_text(), written };
            page.reading.done(row, &text);
            texts.push(text);
        }
        Ok(texts)
    }

    /// The entry's inputs for some of the rows.
    fn inputs(&self, given: &Given, asked: &Asked, rows: &[usize]) -> Result<Vec<(String, Tensor)>> {
        let some = |texts: &'_ Vec<String>| -> Vec<String> {
            rows.iter().filter_map(|&row| texts.get(row).cloned()).collect()
        };
        let texts: Vec<(&str, Vec<String>)> =
            given.texts.iter().map(|(name, texts)| (name.as_str(), some(texts))).collect();
        let texts: Vec<(&str, Vec<&str>)> =
            texts.iter().map(|(name, texts)| (*name, texts.iter().map(String::as_str).collect())).collect();
        let mut inputs = self.reader.tensors(&texts)?;
        for input in &self.entry().inputs {
            match input.source {
                InputSource::Random => {
                    inputs.push((input.name.clone(), Tensor::from_i64(&[2], &[asked.seed as i64, 0])));
                }
                InputSource::Caller => {
                    let Some((name, tensor)) = given.tensors.iter().find(|(name, _)| *name == input.name)
                    else {
                        continue;
                    };
                    let by_row = self.by_row(input);
                    inputs.push((name.clone(), if by_row { tensor.rows(rows) } else { tensor.clone() }));
                }
                _ => {}
            }
        }
        Ok(inputs)
    }
}

/// The decoder of a generation for rows with these inputs, which are all of its start's but the tokens.
pub fn decoder<'s>(
    session: &'s mut Session,
    generation: &Generation,
    inputs: &[(String, Tensor)],
) -> Result<Box<dyn Decoder + 's>> {
    Ok(Box::new(Cached::new(session, generation, inputs)?))
}

/// Makes pieces of text of the tokens, row by row.
struct Page<'p, 'r> {
    rows: &'p [usize],
    pieces: Vec<Piece<'p>>,
    reading: &'r mut dyn Reading,
}

impl Observer for Page<'_, '_> {
    fn wrote(&mut self, row: usize, token: i32) -> Result<()> {
        let place = self.rows.iter().position(|other| *other == row);
        if let Some(piece) = place.and_then(|place| self.pieces.get_mut(place)) {
            let new = piece.push(token)?;
            if !new.is_empty() {
                self.reading.wrote(row, &new);
            }
        }
        Ok(())
    }

    fn interrupted(&self) -> bool {
        self.reading.interrupted()
    }
}
