//! `weft compare`: two runs side by side, in text, as JSON or on a page.

use crate::args::Compare;
use crate::failure::Failure;
use crate::output;
use crate::report::{self, Run};
use crate::run::SPEC_FILE;
use crate::run::about::About;
use crate::run::history::{Epoch, History};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use std::path::Path;
use weft_runtime::io;
use weft_runtime::train::Figures;

/// Lines of a spec that stay, around those that changed.
const CONTEXT: usize = 2;
/// How many marks a curve has in a terminal.
const CURVE: usize = 48;

pub fn run(args: &Compare) -> Result<(), Failure> {
    let [a, b] = [read(&args.first)?, read(&args.second)?];
    let changes = changes(&a.spec, &b.spec);
    if let Some(path) = &args.html {
        let page = report::comparison(&a, &b, &changes);
        io::write_atomically(path, &[page.as_bytes()])?;
    }
    if args.json {
        output::json(&object(&a, &b, &changes));
        return Ok(());
    }
    let name = |path: &Path| path.display().to_string();
    output::write(&output::table(
        &["", &name(&args.first), &name(&args.second), "difference"],
        &rows(&a, &b),
    ));
    for line in curves(&a, &b) {
        output::line(&line);
    }
    match changes.is_empty() {
        true => output::line("\nthe specs are the same"),
        false => output::line("\nthe specs differ:"),
    }
    for (tag, line) in &changes {
        output::line(&format!("{}{line}", sign(*tag)));
    }
    if let Some(path) = &args.html {
        output::line(&format!("\nboth on one page: {}", path.display()));
    }
    Ok(())
}

/// A run's folder.
fn read(folder: &Path) -> Result<Run, Failure> {
    let history = History::read(folder).map_err(|error| {
        Failure::input(error.to_string())
            .help("give the folder of a run, as `weft train` leaves one: runs/NAME, with its metrics.jsonl")
    })?;
    let spec = std::fs::read_to_string(folder.join(SPEC_FILE)).unwrap_or_default();
    Ok(Run { name: folder.display().to_string(), about: About::read(folder), history, spec })
}

/// One figure of both runs, and whether more of it is better.
pub struct Pair {
    pub name: String,
    pub values: [Option<f32>; 2],
    pub higher_is_better: bool,
}

/// The figures of the test part and of the kept epochs.
pub fn pairs(a: &Run, b: &Run) -> Vec<Pair> {
    let parts = [a, b].map(|run| {
        let kept = run.history.kept();
        let test = run.history.end.as_ref().map(|end| end.test.clone()).unwrap_or_default();
        let of = |part: fn(&Epoch) -> &Figures| kept.map(|epoch| part(epoch).clone()).unwrap_or_default();
        [("test", test), ("validation", of(|epoch| &epoch.validation)), ("train", of(|epoch| &epoch.train))]
    });
    let mut pairs = Vec::new();
    for ((part, one), (_, other)) in parts[0].iter().zip(&parts[1]) {
        let mut names: Vec<&str> = one.numbers().map(|(name, _)| name).collect();
        names.extend(other.numbers().map(|(name, _)| name).filter(|name| one.number(name).is_none()));
        for name in names {
            let higher_is_better =
                [a, b].iter().any(|run| run.about.higher_is_better.iter().any(|n| n == name));
            let values = [one.number(name), other.number(name)];
            pairs.push(Pair { name: format!("{part} {name}"), values, higher_is_better });
        }
    }
    pairs
}

/// What is no figure: name, one, other, difference.
pub fn facts(a: &Run, b: &Run) -> Vec<[String; 4]> {
    let of = |f: &dyn Fn(&Run) -> Option<f64>, name: &str, places: usize| {
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.places$}"));
        let difference = f(a).zip(f(b)).map_or(String::new(), |(a, b)| format!("{:+.places$}", b - a));
        [name.to_owned(), shown(f(a)), shown(f(b)), difference]
    };
    let text = |name: &str, f: &dyn Fn(&Run) -> String| [name.to_owned(), f(a), f(b), String::new()];
    vec![
        text("spec", &|run| run.about.spec.clone()),
        text("ended", &|run| {
            run.history.end.as_ref().map_or("running".into(), |end| end.ending.replace('_', " "))
        }),
        of(&|run| Some(run.history.epochs_done() as f64), "epochs", 0),
        text("best epoch", &|run| {
            let best = run.history.best().map(Epoch::name);
            best.map_or("–".to_owned(), |name| name.trim_start_matches("epoch ").to_owned())
        }),
        of(&|run| Some(run.history.seconds()), "seconds", 1),
        of(&|run| Some(run.about.parameters as f64), "parameters", 0),
        of(&|run| Some(run.about.seed as f64), "seed", 0),
        of(&|run| Some(run.about.batch as f64), "batch", 0),
    ]
}

fn rows(a: &Run, b: &Run) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = facts(a, b).into_iter().map(Vec::from).collect();
    for Pair { name, values: [one, other], higher_is_better } in pairs(a, b) {
        let shown = |value: Option<f32>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        let difference = one.zip(other).map_or(String::new(), |(one, other)| {
            let word = match (other > one) == higher_is_better {
                _ if other == one => "",
                true => "  better",
                false => "  worse",
            };
            format!("{:+.4}{word}", other - one)
        });
        rows.push(vec![name, shown(one), shown(other), difference]);
    }
    rows
}

/// Each figure over the epochs as two lines of marks under one scale: of validation, where anything was validated.
fn curves(a: &Run, b: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for figure in a.history.figures() {
        let values = |run: &Run| -> Vec<(f64, f64)> {
            let of = |part: fn(&Epoch) -> &Figures| -> Vec<(f64, f64)> {
                let value = |epoch: &Epoch| Some((epoch.place(), part(epoch).number(figure)?.into()));
                run.history.epochs.iter().filter_map(value).collect()
            };
            let validation = of(|epoch| &epoch.validation);
            if validation.is_empty() { of(|epoch| &epoch.train) } else { validation }
        };
        let both = [values(a), values(b)];
        let finite = || both.iter().flatten().map(|(_, value)| *value).filter(|v| v.is_finite());
        let (low, high) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        // A table has no curve, and one point is none.
        if low > high || both.iter().all(|values| values.len() < 2) {
            continue;
        }
        let width = both.iter().map(Vec::len).max().unwrap_or_default().clamp(1, CURVE);
        let end = both.iter().flatten().map(|(place, _)| *place).fold(0.0, f64::max);
        lines.push(format!("\n{figure}, {low:.4} to {high:.4}"));
        for (run, values) in [a, b].into_iter().zip(&both) {
            lines.push(format!("  {}  {}", marks(values, low, high, end, width), run.name));
        }
    }
    lines
}

/// A mark for each place, low or high; both runs have the same epochs under each other. Of several values in one place the last is shown.
fn marks(values: &[(f64, f64)], low: f64, high: f64, end: f64, width: usize) -> String {
    let mark = |value: f64| match value.is_finite() {
        true => {
            let share = if high > low { (value - low) / (high - low) } else { 0.0 };
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][((share * 7.0).round() as usize).min(7)]
        }
        false => '×',
    };
    let mut marks = vec![' '; width];
    for (place, value) in values {
        let column = (place / end * width as f64).ceil().max(1.0) as usize - 1;
        marks[column.min(width - 1)] = mark(*value);
    }
    marks.into_iter().collect()
}

/// The lines that changed, with some around them; none where nothing did.
pub fn changes(a: &str, b: &str) -> Vec<(ChangeTag, String)> {
    let diff = TextDiff::from_lines(a, b);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        if !lines.is_empty() {
            lines.push((ChangeTag::Equal, "…".to_owned()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            lines.push((change.tag(), change.value().trim_end().to_owned()));
        }
    }
    lines
}

pub fn sign(tag: ChangeTag) -> &'static str {
    match tag {
        ChangeTag::Equal => "  ",
        ChangeTag::Delete => "- ",
        ChangeTag::Insert => "+ ",
    }
}

fn object(a: &Run, b: &Run, changes: &[(ChangeTag, String)]) -> Value {
    let number = |value: Option<f32>| json!(value.and_then(|value| value.to_string().parse::<f64>().ok()));
    let run = |run: &Run| {
        json!({
            "run": run.name, "spec": run.about.spec, "seed": run.about.seed, "batch": run.about.batch,
            "parameters": run.about.parameters, "epochs": run.history.epochs_done(),
            "best_epoch": run.history.best().map(|epoch| epoch.epoch), "seconds": run.history.seconds(),
            "ending": run.history.end.as_ref().map(|end| &end.ending),
        })
    };
    let figures: Vec<Value> = pairs(a, b)
        .iter()
        .map(|pair| {
            let [one, other] = pair.values;
            json!({
                "figure": pair.name, "values": [number(one), number(other)],
                "difference": number(one.zip(other).map(|(one, other)| other - one)),
                "higher_is_better": pair.higher_is_better,
            })
        })
        .collect();
    let changes: Vec<String> = changes.iter().map(|(tag, line)| format!("{}{line}", sign(*tag))).collect();
    json!({ "runs": [run(a), run(b)], "figures": figures, "spec_changes": changes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_both_runs_have_one_scale() {
        let each = [(1.0, 0.0), (2.0, 1.0), (3.0, f64::NAN)];
        assert_eq!(marks(&each, 0.0, 2.0, 4.0, 4), "▁▅× ");
        // Once in two epochs; and twice in each, where there is room for half of it.
        assert_eq!(marks(&[(2.0, 0.0), (4.0, 2.0)], 0.0, 2.0, 4.0, 4), " ▁ █");
        assert_eq!(marks(&[(0.5, 2.0), (1.0, 0.0), (1.5, 0.0), (2.0, 2.0)], 0.0, 2.0, 2.0, 2), "▁█");
    }

    #[test]
    fn what_changed_in_a_spec_is_shown_with_its_neighbours() {
        let lines = changes("a\nb\nc\nd\ne\n", "a\nb\nc\nx\ne\n");
        let text: Vec<String> = lines.iter().map(|(tag, line)| format!("{}{line}", sign(*tag))).collect();
        assert_eq!(text, ["  b", "  c", "- d", "+ x", "  e"]);
        assert!(changes("same\n", "same\n").is_empty());
    }
}
