//! One token after another: the best one, or one that is drawn.

use super::{Decoder, Observer, Plan, Written, log_sum_exp, penalise};
use crate::error::{Error, Result};
use crate::kernels::random;
use crate::program::Choice;

/// A row that is being written.
struct Row<'b> {
    begin: &'b [i32],
    number: usize,
    written: Written,
}

/// Writes each row until it ends; rows that ended leave, so that the others run alone.
pub fn write(
    decoder: &mut dyn Decoder,
    begin: &[&[i32]],
    numbers: &[usize],
    plan: &Plan<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Written>> {
    let rows = begin.iter().zip(numbers);
    let mut rows: Vec<Row<'_>> =
        rows.map(|(begin, &number)| Row { begin, number, written: Written::default() }).collect();
    // The rows that go on, in the decoder's order.
    let mut open: Vec<usize> = (0..rows.len()).collect();
    let mut tokens: Vec<i32> = begin.concat();
    let vocabulary = decoder.vocabulary();
    let key = random::key("generate");
    for place in 0..plan.max {
        if open.is_empty() || observer.interrupted() {
            break;
        }
        let logits = decoder.step(&tokens, open.len())?;
        tokens.clear();
        let mut kept = Vec::with_capacity(open.len());
        for (at, logits) in logits.chunks_exact(vocabulary.max(1)).enumerate().take(open.len()) {
            let row = &mut rows[open[at]];
            let draw = random::uniform(place as u64, [plan.seed as i64, row.number as i64], key);
            let so_far = [row.begin, &row.written.tokens].concat();
            let (token, score) = choose(logits, &so_far, plan, f64::from(draw))?;
            if let Some(score) = score {
                *row.written.score.get_or_insert(0.0) += score;
            }
            if plan.ends.is_end(token) {
                row.written.ended = true;
                continue;
            }
            row.written.tokens.push(token);
            observer.wrote(row.number, token)?;
            if plan.ends.text_ends(&row.written.tokens)? {
                row.written.ended = true;
                continue;
            }
            kept.push(at);
            tokens.push(token);
        }
        if kept.len() < open.len() && !kept.is_empty() {
            decoder.select(&kept)?;
        }
        open = kept.into_iter().map(|at| open[at]).collect();
    }
    Ok(rows.into_iter().map(|row| row.written).collect())
}

/// A token, and of a drawn one the log-probability that the model gives it. `draw`: a number from 0 to 1, without 1.
pub fn choose(logits: &[f32], row: &[i32], plan: &Plan<'_>, draw: f64) -> Result<(i32, Option<f64>)> {
    sound(logits)?;
    let (by, open) = (plan.by, plan.masked(logits));
    let Choice::Sample { temperature, top_k, top_p } = by.choice else {
        if by.repetition_penalty == 1.0 {
            return Ok((best(&open), None));
        }
        let scores = allowed(&open, row, by.repetition_penalty, 1.0, None, 1.0);
        return Ok((best(&scores), None));
    };
    let scores = allowed(&open, row, by.repetition_penalty, temperature, top_k, top_p);
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let mut left = draw * weights.iter().sum::<f64>();
    let mut token = 0;
    for (id, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        token = id;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    let wide = logits.iter().map(|&logit| f64::from(logit));
    let score = logits.get(token).map(|&logit| f64::from(logit) - log_sum_exp(wide));
    Ok((token as i32, score))
}

/// The scores that a token is drawn by: penalised, divided by the temperature, and minus infinity for tokens that may not come.
///
/// In the order of `transformers`: the penalty, the temperature, the `top_k` best (and those that equal the last of them), and of these the fewest
/// best whose probabilities add up to `top_p`, one at least.
pub fn allowed(
    logits: &[f32],
    row: &[i32],
    penalty: f64,
    temperature: f64,
    top_k: Option<usize>,
    top_p: f64,
) -> Vec<f64> {
    let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
    penalise(&mut scores, row, penalty);
    scores.iter_mut().for_each(|score| *score /= temperature);
    if let Some(k) = top_k.filter(|&k| k < scores.len()) {
        let mut ordered = scores.clone();
        let (_, &mut least, _) = ordered.select_nth_unstable_by(k.max(1) - 1, |a, b| b.total_cmp(a));
        scores.iter_mut().filter(|score| **score < least).for_each(|score| *score = f64::NEG_INFINITY);
    }
    if top_p < 1.0 {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let whole = log_sum_exp(scores.iter().copied());
        let mut together = 0.0;
        let mut reached = false;
        for id in order {
            if reached {
                scores[id] = f64::NEG_INFINITY;
                continue;
            }
            together += (scores[id] - whole).exp();
            reached = together >= top_p;
        }
    }
    scores
}

/// The place of the largest, the first of equal ones.
fn best<T: Copy + PartialOrd>(scores: &[T]) -> i32 {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = id;
        }
    }
    best as i32
}

/// Logits that are numbers.
pub fn sound(logits: &[f32]) -> Result<()> {
    if logits.iter().any(|logit| logit.is_nan()) {
        let message = "the model gives logits that are not a number; are these the weights of this spec?";
        return Err(Error::Generation { message: message.into() });
    }
    Ok(())
}
