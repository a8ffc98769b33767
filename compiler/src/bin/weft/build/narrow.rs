//! What narrow weights cost: chosen and measured on the spec's own data, and refused where they cost too much.
//!
//! The wide weights are evaluated first. For weights of i8, that evaluation also gathers how much each value of them matters
//! ([`weft_compiler::passes::matter`]), by which their scales are chosen. Then the narrow weights are evaluated, by the same entry on the same
//! rows.

use crate::args::Build;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::spec::Spec;
use crate::training::Progress;
use crate::{download, train};
use serde_json::{Value, json};
use std::path::PathBuf;
use weft_compiler::passes::matter;
use weft_runtime::data::Split;
use weft_runtime::execute::Session;
use weft_runtime::program::{DType, Training, VariableKind};
use weft_runtime::train::{Options, Trainer, evaluator};
use weft_runtime::weights::put;

/// What narrow weights cost in one figure.
#[derive(Debug, Clone)]
pub struct Cost {
    /// `validation.accuracy`
    figure: String,
    before: f64,
    after: f64,
    /// How much worse it became: in points of a share, in percent of another figure.
    lost: f64,
    unit: &'static str,
}

impl Cost {
    fn new(figure: String, before: f32, after: f32, higher_is_better: bool) -> Cost {
        let (before, after) = (f64::from(before), f64::from(after));
        let worse = if higher_is_better { before - after } else { after - before };
        let share = higher_is_better && [before, after].iter().all(|value| (0.0..=1.0).contains(value));
        let (lost, unit) = match share {
            true => (100.0 * worse, "points"),
            false => (100.0 * worse / before.abs().max(f64::MIN_POSITIVE), "percent"),
        };
        Cost { figure, before, after, lost, unit }
    }

    /// A number that is none is worse than any.
    fn is_within(&self, allowed: f64) -> bool {
        self.lost <= allowed
    }

    pub fn json(&self) -> Value {
        let Cost { figure, before, after, lost, unit } = self;
        json!({ "figure": figure, "before": before, "after": after, "lost": lost, "unit": unit })
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: f64| match self.unit {
            "points" => format!("{:.2}%", 100.0 * value),
            _ => format!("{value:.4}"),
        };
        // What became better is a gain.
        let sign = if self.lost > 0.0 { "\u{2212}" } else { "+" };
        let (before, after) = (shown(self.before), shown(self.after));
        write!(f, "{} {before} \u{2192} {after} ({sign}{:.2} {})", self.figure, self.lost.abs(), self.unit)
    }
}

/// Chooses the narrow weights of a session, which has them as they come, and measures what they cost. `None` for weights of f32, and where
/// nobody wants to know.
pub fn chosen(
    args: &Build,
    wide: &Spec,
    narrow: &Spec,
    session: &mut Session,
) -> Result<Option<Cost>, Failure> {
    let Some(dtype) = args.kept.narrow().filter(|_| !args.unmeasured) else { return Ok(None) };
    let name = args.kept.name();
    let way_out = "--unmeasured builds without knowing what it costs";
    let module = wide.checked.module.as_ref().ok_or_else(Failure::reported)?;
    if module.trainings.is_empty() {
        let message = format!("the spec has no `train` block whose data could tell what {name} weights cost");
        return Err(Failure::usage(message).help(way_out));
    }
    let unmeasured = |failure: Failure| {
        let message = format!("what {name} weights cost cannot be measured: {}", failure.message);
        let help = failure.help.map_or(way_out.to_owned(), |help| format!("{help}; {way_out}"));
        Failure { message, help: Some(help), ..failure }
    };
    let options = options(args, wide).map_err(unmeasured)?;
    let observed = match dtype {
        DType::I8 => wide.with(matter::gathered(module)),
        _ => wide.with(module.clone()),
    };
    let mut before = trainer(args, &observed, &options).map_err(unmeasured)?;
    let split =
        if before.parts().get(Split::Validation).is_empty() { Split::Test } else { Split::Validation };
    if before.parts().get(split).is_empty() {
        let message = format!("the data has no validation and no test part to measure {name} weights on");
        return Err(Failure::usage(message).help(way_out));
    }
    let mut progress = Progress::new(args.spec.json).quiet(true);
    let interrupted = || Failure::input("interrupted");
    let wide_figures = before.evaluate(split, &mut progress)?.ok_or_else(interrupted)?;
    choose(before.session(), session);
    drop(before);

    let mut after = trainer(args, narrow, &options).map_err(unmeasured)?;
    copy(session, after.session());
    let narrow_figures = after.evaluate(split, &mut progress)?.ok_or_else(interrupted)?;
    let program = after.session().program();
    let (figure, higher) = judged(&program.trainings[train::block(program, None)?]);
    let number = |figures: &weft_runtime::train::Figures| figures.number(&figure).unwrap_or(f32::NAN);
    let (before, after) = (number(&wide_figures), number(&narrow_figures));
    let cost = Cost::new(format!("{}.{figure}", split.name()), before, after, higher);
    if !cost.is_within(args.allow_loss) && !args.force {
        let message = format!("{name} weights cost too much: {cost}; at most {} allowed", args.allow_loss);
        return Err(Failure::refused(message)
            .help("allow more with --allow-loss N, keep more of each weight with --dtype bf16, or build it all the same with --force"));
    }
    Ok(Some(cost))
}

fn options(args: &Build, spec: &Spec) -> Result<Options, Failure> {
    let mut data = args.data.iter().map(|(name, path)| (name.clone(), PathBuf::from(path))).collect();
    download::provide(spec, &mut data, args.offline)?;
    Ok(Options {
        data,
        base: spec.folder.clone(),
        threads: Some(compile::threads(None)),
        ..Options::default()
    })
}

fn trainer(args: &Build, spec: &Spec, options: &Options) -> Result<Trainer, Failure> {
    let program = compile::program(spec, Wanted::Training, None)?;
    let training = train::block(&program, None)?;
    Ok(evaluator(program, training, args.weights.as_deref(), options)?)
}

/// Puts the weights of an evaluated session into a narrow one, each with scales that fit what it was multiplied by; where that is not known,
/// all of its values matter alike.
fn choose(wide: &Session, narrow: &mut Session) {
    let at = |session: &Session, path: &str| session.program().variables.iter().position(|v| v.path == path);
    for index in 0..narrow.program().variables.len() {
        let variable = &narrow.program().variables[index];
        let Some(from) = at(wide, &variable.path).filter(|_| !variable.channels.is_empty()) else { continue };
        let shared = (0..variable.shape.len()).filter(|axis| !variable.channels.contains(axis));
        let count: usize = shared.map(|axis| variable.shape[axis]).product();
        let known = at(wide, &matter::path(&variable.path)).map(|at| wide.variable(at).to_f32());
        let matter =
            known.filter(|sums| sums.iter().any(|sum| *sum > 0.0)).unwrap_or_else(|| vec![1.0; count]);
        put(narrow, index, wide.variable(from).to_owned(), Some(&matter));
    }
}

/// Copies narrow weights and their scales to another session, by their paths.
fn copy(from: &Session, to: &mut Session) {
    for (index, variable) in from.program().variables.iter().enumerate() {
        let narrow = variable.kind == VariableKind::Scale || !variable.channels.is_empty();
        let place = to.program().variables.iter().position(|v| v.path == variable.path);
        if let Some(place) = place.filter(|_| narrow) {
            to.variable_bytes_mut(place).copy_from_slice(from.variable(index).data);
        }
    }
}

/// The figure that a training goes by, and whether a higher one is better: that of its best weights, else its first metric, else the loss.
fn judged(training: &Training) -> (String, bool) {
    let figure = |name: &String| training.figures.iter().find(|figure| figure.name == *name);
    let kept = training.keep_best.as_ref().and_then(|watch| figure(&watch.figure));
    let metric = training.figures.iter().find(|figure| figure.higher_is_better && figure.shape.is_empty());
    let share = metric.filter(|_| kept.is_none_or(|figure| !figure.higher_is_better));
    match share.or(kept).or(training.figures.first()) {
        Some(figure) => (figure.name.clone(), figure.higher_is_better),
        None => ("loss".into(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_in_points_and_a_loss_in_percent() {
        let cost = Cost::new("validation.accuracy".into(), 0.989, 0.9887, true);
        assert_eq!(cost.to_string(), "validation.accuracy 98.90% \u{2192} 98.87% (\u{2212}0.03 points)");
        assert!(cost.is_within(0.5) && !cost.is_within(0.02));
        let cost = Cost::new("test.loss".into(), 2.0, 1.99, false);
        assert_eq!(cost.to_string(), "test.loss 2.0000 \u{2192} 1.9900 (+0.50 percent)");
        assert!(cost.is_within(0.0));
        assert!(!Cost::new("test.loss".into(), 2.0, f32::NAN, false).is_within(1e9));
    }
}
