//! How a training is shown to the one who started it, while it runs and at its end.

mod progress;
mod reading;
mod standing;
mod tables;

use serde_json::json;

use super::output;
use crate::train::{BEST_FILE, Ending, Figures, Point, Summary};

pub use progress::{Progress, figures_json, row};
pub use reading::ReadingBar;

/// How a training ended, as histories have it.
pub fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::StoppedEarly => "stopped_early",
        Ending::Interrupted => "interrupted",
    }
}

/// The file of the weights that a training keeps: the best, or else the last.
pub fn kept(summary: &Summary) -> Option<&std::path::PathBuf> {
    summary.saved.iter().find(|file| file.ends_with(BEST_FILE)).or(summary.saved.first())
}

/// Figures, and the tables of those that are no numbers, under a title.
pub fn figures(title: &str, figures: &Figures, of: &str) {
    output::line(&format!("{title:12}{}{of}", row(figures)));
    tables::lines(figures).iter().for_each(|line| output::line(line));
}

/// Tells how a training ended, what it reached and where its weights are.
pub fn tell(summary: &Summary, as_json: bool) {
    if as_json {
        output::json(&json!({
            "event": "end", "epochs": summary.epochs, "seconds": summary.seconds, "ending": word(summary.ending),
            "best_epoch": summary.best.map(Point::epoch), "best_batch": summary.best.and_then(Point::within),
            "train": figures_json(summary.train.as_ref()),
            "validation": figures_json(summary.validation.as_ref()),
            "test": figures_json(summary.test.as_ref()),
            "weights": summary.saved,
        }));
        return;
    }
    match summary.ending {
        Ending::Finished => {}
        Ending::StoppedEarly => output::line("stopped: no better epoch for as long as the spec allows"),
        Ending::Interrupted => output::line("interrupted: all so far is saved; go on with --resume"),
    }
    if let Some(test) = &summary.test {
        let of = summary.best.map_or(String::new(), |point| format!(" (weights of {point})"));
        figures("test", test, &of);
    }
    let saved: Vec<String> = summary.saved.iter().map(|path| path.display().to_string()).collect();
    output::line(&format!(
        "{} epoch{} in {:.1} s; weights in {}",
        summary.epochs,
        if summary.epochs == 1 { "" } else { "s" },
        summary.seconds,
        saved.join(", ")
    ));
}
