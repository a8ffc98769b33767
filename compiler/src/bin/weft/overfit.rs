//! `weft train --overfit-batch`: can the model learn one batch by heart? A model, a loss or a rate that is wrong mostly cannot.
//!
//! The steps are those of the training, with its dropout and augmentation; the batch is drawn once and stays, so that schedules, too,
//! run over these steps alone. No file is written, and the other parts of the data are not looked at.

use crate::args::Train;
use crate::compile;
use crate::failure::Failure;
use crate::spec::Spec;
use crate::{output, training};
use serde_json::json;
use std::sync::Arc;
use weft_runtime::program::{Program, VariableKind};
use weft_runtime::tensor::Tensor;
use weft_runtime::train::{Figures, Options, Trainer};

/// A loss that fell to this share of its first value is learned by heart; one that stays above the other did not fall.
const LEARNED: f32 = 0.05;
const FELL: f32 = 0.7;
/// The last steps, whose mean counts: dropout makes single ones jump.
const LAST: usize = 5;

pub fn run(
    args: &Train,
    spec: &Spec,
    program: Arc<Program>,
    training: usize,
    steps: usize,
) -> Result<(), Failure> {
    let options = Options {
        weights: args.weights.clone(),
        epochs: Some(steps),
        ..compile::run_options(&args.run, spec)?
    };
    let mut trainer = Trainer::new(program.clone(), training, &options)?;
    trainer.initialise(options.weights.as_deref())?;
    trainer.fit()?;
    trainer.keep_one_batch();
    let mut batches = trainer.batches(1)?;
    let Some(batch) = batches.next_batch()?.cloned() else {
        return Err(Failure::input("the training part has no rows"));
    };
    drop(batches);
    let before = weights(&mut trainer, &program);
    if !args.spec.json {
        output::line(&format!(
            "{steps} steps on one batch of {} rows, with the dropout and augmentation of the training; nothing is written",
            batch.rows
        ));
    }
    let mut losses = Vec::with_capacity(steps);
    for step in 1..=steps {
        let figures = trainer.step_alone(&batch, step - 1)?;
        losses.push(loss(&figures));
        if is_shown(step, steps) {
            show(args.spec.json, step, &figures);
        }
    }
    let still = Still::of(&before, &weights(&mut trainer, &program));
    conclude(args.spec.json, &losses, &still)
}

/// The first figure is the loss.
fn loss(figures: &Figures) -> f32 {
    figures.numbers().next().map_or(f32::NAN, |(_, value)| value)
}

/// 1, 2, 5, 10, 20, 50, … and the last.
fn is_shown(step: usize, steps: usize) -> bool {
    let mut lead = step;
    while lead >= 10 && lead.is_multiple_of(10) {
        lead /= 10;
    }
    matches!(lead, 1 | 2 | 5) || step == steps
}

fn show(as_json: bool, step: usize, figures: &Figures) {
    if as_json {
        output::json(
            &json!({ "event": "step", "step": step, "train": training::figures_json(Some(figures)) }),
        );
    } else {
        output::line(&format!("step {step:>6}  {}", training::row(figures)));
    }
}

/// Each trainable weight by its path.
fn weights(trainer: &mut Trainer, program: &Program) -> Vec<(String, Tensor)> {
    let session = trainer.session();
    let wanted = program.variables.iter().enumerate();
    let wanted = wanted.filter(|(_, v)| v.kind == VariableKind::Weight && v.trainable);
    wanted.map(|(index, v)| (v.path.clone(), session.variable(index).to_owned())).collect()
}

/// What the steps left as it was.
#[derive(Debug, Default)]
struct Still {
    /// Whole weights.
    weights: Vec<String>,
    /// Weights of which some units (places of the last axis) never moved: so many of so many.
    units: Vec<(String, usize, usize)>,
}

impl Still {
    fn of(before: &[(String, Tensor)], after: &[(String, Tensor)]) -> Still {
        let mut still = Still::default();
        for ((path, old), (_, new)) in before.iter().zip(after) {
            if old.data == new.data {
                still.weights.push(path.clone());
                continue;
            }
            let (Some(&units), true) = (old.shape.last(), old.shape.len() > 1) else { continue };
            let size = old.dtype.size();
            let mut moved = vec![false; units];
            for (place, (a, b)) in old.data.chunks(size).zip(new.data.chunks(size)).enumerate() {
                moved[place % units] |= a != b;
            }
            let dead = moved.iter().filter(|moved| !**moved).count();
            if dead > 0 {
                still.units.push((path.clone(), dead, units));
            }
        }
        still
    }
}

/// What came out of it: prints the verdict; a loss that did not fall is an error, for scripts.
fn conclude(as_json: bool, losses: &[f32], still: &Still) -> Result<(), Failure> {
    let first = losses.first().copied().unwrap_or(f32::NAN);
    let tail = &losses[losses.len().saturating_sub(LAST)..];
    let last = tail.iter().sum::<f32>() / tail.len().max(1) as f32;
    let verdict = verdict(first, last);
    let hints = hints(verdict, losses, last, still);
    if as_json {
        output::json(&json!({
            "event": "end", "verdict": verdict, "first_loss": first, "last_loss": last, "unmoved_weights": still.weights,
            "unmoved_units": still.units.iter().map(|(p, n, of)| json!({ "weight": p, "units": n, "of": of })).collect::<Vec<_>>(),
            "hints": hints,
        }));
    } else {
        let says = match verdict {
            "learned" => "the model learns the batch by heart: the way from the data to the update works",
            "fell" => "the loss falls, but not to nothing",
            _ => "the loss does not fall: something on the way from the data to the update is wrong",
        };
        output::line(&format!("loss {first:.4} → {last:.4}: {says}"));
        hints.iter().for_each(|hint| output::line(&format!("  - {hint}")));
    }
    if verdict == "stuck" { Err(Failure::reported()) } else { Ok(()) }
}

fn verdict(first: f32, last: f32) -> &'static str {
    match () {
        // Losses may be negative (log-likelihoods): then any clear fall counts.
        _ if first <= 0.0 && last < first - 0.1 * first.abs() => "fell",
        _ if first > 0.0 && last <= LEARNED * first => "learned",
        _ if first > 0.0 && last <= FELL * first => "fell",
        _ => "stuck",
    }
}

/// What to look at, the likeliest first.
fn hints(verdict: &str, losses: &[f32], last: f32, still: &Still) -> Vec<String> {
    let mut hints = Vec::new();
    if !still.weights.is_empty() {
        let names = list(still.weights.iter().map(String::as_str));
        hints.push(format!(
            "no step moved {names}: frozen by `freeze`, no part of the loss, or behind an activation that gives 0 for every row"
        ));
    }
    for (path, dead, units) in &still.units {
        if *dead * 2 > *units {
            hints.push(format!(
                "{dead} of {units} units of {path} never moved: dead activations; try `leaky_relu`, a smaller rate or another initialiser"
            ));
        }
    }
    if verdict == "learned" {
        return hints;
    }
    let least = losses.iter().copied().fold(f32::INFINITY, f32::min);
    let rises = losses.windows(2).filter(|pair| pair[1] > pair[0]).count();
    if verdict == "stuck" && (last > losses[0] || least < 0.7 * last) {
        hints.push("the loss rose again: the rate is too high; try a tenth of it, or `clip`".to_owned());
    } else if rises * 3 > losses.len() && verdict == "stuck" {
        hints.push(
            "the loss jumps up and down: try a tenth of the rate, and without dropout and augmentation"
                .to_owned(),
        );
    } else {
        hints.push(
            "still on its way: a rate ten times as high, or more steps (--overfit-batch 1000)".to_owned(),
        );
    }
    if verdict == "stuck" {
        hints.push(
            "labels: do they belong to their rows? `weft data` shows rows beside their labels, as the training sees them".to_owned(),
        );
        hints.push(
            "the loss: does it take logits where the model ends in `softmax`, or the other way round?"
                .to_owned(),
        );
    } else {
        hints.push(
            "some losses cannot reach 0: soft labels, grey pixels under a binary cross-entropy, regularisers, dropout".to_owned(),
        );
    }
    hints
}

/// Some names, and how many more there are.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_follows_the_fall() {
        assert_eq!(verdict(2.3, 0.01), "learned");
        assert_eq!(verdict(2.3, 0.9), "fell");
        assert_eq!(verdict(2.3, 2.2), "stuck");
        assert_eq!(verdict(2.3, f32::NAN), "stuck");
        assert_eq!(verdict(-1.0, -3.0), "fell");
        assert_eq!(verdict(-1.0, -1.0), "stuck");
    }

    #[test]
    fn what_stays_is_named() {
        let of = |path: &str, values: &[f32]| (path.to_owned(), Tensor::from_f32(&[2, 2], values));
        let before = [of("a", &[1.0; 4]), of("b", &[1.0; 4]), of("c", &[1.0; 4])];
        let after = [of("a", &[1.0; 4]), of("b", &[1.0, 2.0, 1.0, 2.0]), of("c", &[2.0; 4])];
        let still = Still::of(&before, &after);
        assert_eq!((still.weights, still.units), (vec!["a".to_owned()], vec![("b".to_owned(), 1, 2)]));
    }

    #[test]
    fn steps_are_shown_ever_more_rarely() {
        let shown: Vec<usize> = (1..=120).filter(|step| is_shown(*step, 120)).collect();
        assert_eq!(shown, [1, 2, 5, 10, 20, 50, 100, 120]);
    }
}
