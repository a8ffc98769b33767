//! Beam search, step for step as `transformers` (5.x) does it, so that both find the same rows with the same scores.
//!
//! Each text has `width` *beginnings*, which go on, and up to `width` *finished* rows, the best so far. At each step the candidates are the best
//! continuations of all beginnings; those that end among the first `width` of them may become finished rows, the best of the others are the next
//! beginnings. A text is done when no beginning is expected to become better than what is finished ([`EarlyStopping`]), or at the most tokens.

use super::choose::sound;
use super::{Decoder, Observer, Plan, Written, log_sum_exp, penalise};
use crate::error::Result;
use crate::program::{Choice, EarlyStopping};

/// The score of a row that may not be chosen.
const NEVER: f64 = -1e9;

/// What a search is told.
#[derive(Clone, Copy)]
struct Search {
    width: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
}

/// A beginning, or a finished row.
#[derive(Clone)]
struct Row {
    /// The new tokens.
    tokens: Vec<i32>,
    score: f64,
    finished: bool,
}

/// A continuation of a beginning.
struct Candidate {
    /// The beginning, among those of its text.
    of: usize,
    token: i32,
    /// The sum of log-probabilities.
    sum: f64,
    ends: bool,
}

/// One text under way.
struct Beams<'b> {
    begin: &'b [i32],
    beginnings: Vec<Row>,
    /// By falling scores.
    finished: Vec<Row>,
    open: bool,
}

pub fn write(
    decoder: &mut dyn Decoder,
    begin: &[&[i32]],
    plan: &Plan<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Written>> {
    let Choice::Beam { width, length_penalty, early_stopping } = plan.by.choice else {
        return Ok(Vec::new());
    };
    let search = Search { width, length_penalty, early_stopping };
    let vocabulary = decoder.vocabulary();
    let mut texts: Vec<Beams<'_>> = begin.iter().map(|begin| Beams::new(begin, width)).collect();
    // Which text the decoder's rows belong to, `width` each; the first step has one row a text, since all beginnings are the same.
    let mut running: Vec<usize> = (0..texts.len()).collect();
    let mut tokens: Vec<i32> = begin.concat();
    let mut each = 1;
    for place in 0..plan.max {
        if running.is_empty() || observer.interrupted() {
            break;
        }
        let logits = decoder.step(&tokens, running.len() * each)?;
        tokens.clear();
        let (mut chosen, mut kept) = (Vec::new(), Vec::new());
        for (at, logits) in logits.chunks_exact((vocabulary * each).max(1)).enumerate().take(running.len()) {
            let text = &mut texts[running[at]];
            let candidates = text.candidates(logits, vocabulary, plan, search, place + 1 == plan.max)?;
            let from = text.advance(candidates, place, plan.max, search);
            if text.open {
                // At the first step the one row there is stands for all beginnings.
                chosen.extend(from.iter().map(|of| at * each + of.min(&(each - 1))));
                tokens.extend(text.beginnings.iter().filter_map(|row| row.tokens.last()));
                kept.push(running[at]);
            }
        }
        each = width;
        running = kept;
        if !running.is_empty() {
            decoder.select(&chosen)?;
        }
    }
    Ok(texts.into_iter().map(|text| text.written(plan)).collect())
}

impl<'b> Beams<'b> {
    fn new(begin: &'b [i32], width: usize) -> Beams<'b> {
        let row = |score: f64| Row { tokens: Vec::new(), score, finished: false };
        // All beginnings are the same at first: only one of them may go on.
        let beginnings = (0..width).map(|beam| row(if beam == 0 { 0.0 } else { NEVER })).collect();
        Beams { begin, beginnings, finished: vec![row(NEVER); width], open: true }
    }

    /// The best continuations by falling sums; of equal ones, that of the earlier beginning and the smaller token comes first.
    fn candidates(
        &self,
        logits: &[f32],
        vocabulary: usize,
        plan: &Plan<'_>,
        search: Search,
        last: bool,
    ) -> Result<Vec<Candidate>> {
        let count = search.width * (1 + plan.ends.tokens().len()).max(2);
        let mut found: Vec<(f64, usize, usize)> = Vec::new();
        for (of, (logits, row)) in logits.chunks_exact(vocabulary.max(1)).zip(&self.beginnings).enumerate() {
            sound(logits)?;
            let wide = logits.iter().map(|&logit| f64::from(logit));
            let whole = log_sum_exp(wide.clone());
            let mut scores: Vec<f64> = wide.map(|logit| logit - whole).collect();
            let so_far = [self.begin, &row.tokens].concat();
            penalise(&mut scores, &so_far, plan.by.repetition_penalty);
            let may = scores.iter().enumerate().filter(|(id, _)| plan.may(*id));
            found.extend(may.map(|(id, score)| (row.score + score, of, id)));
            let better = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
                b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
            };
            if found.len() > count {
                found.select_nth_unstable_by(count - 1, better);
                found.truncate(count);
            }
            found.sort_by(better);
        }
        let candidate = |(sum, of, id): (f64, usize, usize)| {
            let token = id as i32;
            let row = self.beginnings.get(of).map(|row| row.tokens.as_slice()).unwrap_or_default();
            let ends = last || plan.ends.is_end(token) || plan.ends.text_ends(&[row, &[token]].concat())?;
            Ok(Candidate { of, token, sum, ends })
        };
        found.into_iter().map(candidate).collect()
    }

    /// Takes in the candidates of the step at this place; which beginning each next one continues.
    fn advance(
        &mut self,
        candidates: Vec<Candidate>,
        place: usize,
        max: usize,
        search: Search,
    ) -> Vec<usize> {
        let Search { width, length_penalty, early_stopping } = search;
        let length = (place + 1) as f64;
        let longer = |candidate: &Candidate| {
            let row = self.beginnings.get(candidate.of).map(|row| row.tokens.as_slice());
            [row.unwrap_or_default(), &[candidate.token]].concat()
        };
        let full = early_stopping == EarlyStopping::Yes && self.finished.iter().all(|row| row.finished);
        let ended = candidates.iter().take(width).filter(|candidate| candidate.ends && !full);
        let ended: Vec<Row> = ended
            .map(|c| Row { tokens: longer(c), score: c.sum / length.powf(length_penalty), finished: true })
            .collect();
        let mut going: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.ends).collect();
        let none = going.is_empty();
        // Where too few go on, those that end fill the places, with scores that are never the best.
        going.extend(candidates.iter().filter(|candidate| candidate.ends));
        going.truncate(width);
        let mut from: Vec<usize> = going.iter().map(|candidate| candidate.of).collect();
        let score = |c: &Candidate| if c.ends { c.sum + NEVER } else { c.sum };
        let next = going.iter().map(|c| Row { tokens: longer(c), score: score(c), finished: false });
        let mut next: Vec<Row> = next.collect();
        // A vocabulary may be smaller than the search is wide.
        while let (Some(row), Some(&of), true) = (next.last().cloned(), from.last(), next.len() < width) {
            next.push(Row { score: NEVER, ..row });
            from.push(of);
        }
        self.beginnings = next;
        self.finished.extend(ended);
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(width);
        let all_finished = self.finished.iter().all(|row| row.finished);
        let judged = match early_stopping {
            EarlyStopping::Never if length_penalty > 0.0 => max as f64,
            _ => length,
        };
        let possible = self.beginnings.first().map_or(NEVER, |best| best.score / judged.powf(length_penalty));
        let worst = self.finished.iter().map(|row| row.score).fold(f64::INFINITY, f64::min);
        let better = self.finished.iter().any(|row| possible > if row.finished { worst } else { NEVER });
        self.open = better && !none && !(early_stopping == EarlyStopping::Yes && all_finished);
        from
    }

    /// The best finished row; of a search that was interrupted before there was one, the best beginning.
    fn written(self, plan: &Plan<'_>) -> Written {
        let best = self.finished.into_iter().find(|row| row.finished);
        let Some(mut row) = best.or_else(|| self.beginnings.into_iter().next()) else {
            return Written::default();
        };
        let by_token = row.tokens.last().is_some_and(|token| plan.ends.is_end(*token));
        let ended = row.finished && (by_token || plan.ends.text_ends(&row.tokens).unwrap_or(false));
        if by_token {
            row.tokens.pop();
        }
        Written { tokens: row.tokens, ended, score: Some(row.score) }
    }
}
