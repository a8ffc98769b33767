//! `bench`: how long a prediction takes on this machine.

use std::time::{Duration, Instant};

use clap::ArgMatches;
use serde_json::json;

use super::{arguments, model};
use crate::command::{Failure, output, sample};
use crate::payload::Payload;
use crate::tensor::{Tensor, TensorView};

/// Repeats at most, and for how long once there are enough.
const REPEATS: usize = 1000;
const ENOUGH: usize = 20;
const BUDGET: Duration = Duration::from_secs(3);
/// Different inputs that the repeats cycle through.
const INPUTS: u64 = 16;
/// Runs before the first timed one.
const WARM_UP: usize = 10;

pub fn run(payload: &Payload, given: &ArgMatches) -> Result<(), Failure> {
    let program = &payload.manifest.program;
    let Some((prediction, given)) = arguments::chosen(&program.predictions, |p| &p.name, given) else {
        return Err(Failure::usage("say which prediction"));
    };
    let batch = given.try_get_one::<u32>("batch").ok().flatten().map_or(1, |batch| *batch as usize);
    let mut session = model(payload, given)?.session;
    let entry = session.entry(&prediction.entry)?;
    let inputs: Vec<Vec<Tensor>> = (0..INPUTS)
        .map(|number| sample::inputs(&program.entries[entry], batch, arguments::seed(given) + number))
        .collect::<Result<_, _>>()?;
    let mut once = |number: usize| {
        let views: Vec<TensorView<'_>> = inputs[number % inputs.len()].iter().map(Tensor::view).collect();
        let before = Instant::now();
        session.run(entry, &views).map(|_| before.elapsed().as_secs_f64() * 1e3)
    };
    for number in 0..WARM_UP {
        once(number)?;
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < REPEATS && (times.len() < ENOUGH || began.elapsed() < BUDGET) {
        times.push(once(times.len())?);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let (median, p10, p90) = (at(0.5), at(0.1), at(0.9));
    let (planned, resident) = (session.planned_bytes(entry), sample::peak_rss());
    if given.get_flag("json") {
        output::json(&json!({
            "prediction": prediction.name, "batch": batch, "threads": session.threads(), "repeats": times.len(),
            "median_ms": median, "p10_ms": p10, "p90_ms": p90,
            "planned_bytes": planned, "variable_bytes": session.variable_bytes(), "peak_rss_bytes": resident,
        }));
        return Ok(());
    }
    output::line(&format!(
        "{}, batch {batch}, {} threads, {} repeats",
        prediction.name,
        session.threads(),
        times.len()
    ));
    output::line(&format!("  median {median:.3} ms   p10 {p10:.3}   p90 {p90:.3}"));
    output::line(&format!(
        "  planned memory {}, {} of weights, peak resident {}",
        output::bytes(planned as u64),
        output::bytes(session.variable_bytes() as u64),
        output::bytes(resident)
    ));
    Ok(())
}
