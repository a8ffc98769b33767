//! `weft train --resume`: a run goes on with the command line that began it, unless this one says otherwise.

use crate::args::Train;
use crate::failure::Failure;
use crate::output;
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};
use std::path::Path;
use weft_compiler::cuda::Math;
use weft_runtime::train;

/// What a command line said that decides about a run. Kept in its checkpoints.
#[derive(Default, Serialize, Deserialize)]
struct Arguments {
    set: Vec<(String, String)>,
    data: Vec<(String, String)>,
    block: Option<String>,
    epochs: Option<u32>,
    /// In what numbers its products were. Empty in checkpoints of before that was asked.
    #[serde(default)]
    math: String,
}

/// The arguments of a run whose products are in such numbers, as its checkpoints keep them.
pub fn arguments(args: &Train, math: Math) -> String {
    let (set, data) = (args.spec.set.clone(), args.run.data.clone());
    let math = math.name().to_owned();
    let arguments = Arguments { set, data, block: args.block.clone(), epochs: args.epochs, math };
    // Texts and numbers can always be written.
    serde_json::to_string(&arguments).unwrap_or_default()
}

/// What a run was when it was left; empty for one that begins.
#[derive(Default)]
pub struct Before {
    /// Its spec.
    text: String,
    math: String,
}

impl Before {
    /// Says line by line what is no longer in the spec that a run was left with.
    pub fn show_changes(&self, now: &str) {
        if self.text == now || self.text.is_empty() {
            return;
        }
        output::note("note: the spec has changed since the run was left:");
        for change in TextDiff::from_lines(self.text.as_str(), now).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => continue,
            };
            output::note(&format!("  {sign} {}", change.value().trim_end()));
        }
    }

    /// Says that products are in other numbers from now on.
    pub fn show_math(&self, now: Math) {
        let (before, now) = (&self.math, now.name());
        if !before.is_empty() && before != now {
            output::note(&format!(
                "note: the run multiplied in {before} so far and goes on in {now}; with --math {before} it would go on as it was",
            ));
        }
    }
}

/// This command line, with what it leaves out as the run had it; and what else the run was.
pub fn completed(args: &Train, folder: &Path) -> Result<(Train, Before), Failure> {
    let found = train::peek(folder)?;
    let (run, _) = found.ok_or_else(|| {
        Failure::input(format!("{} holds no checkpoint of a run to go on with", folder.display()))
            .help("name the folder of a run, as in `--resume runs/NAME`; or start one, without --resume")
    })?;
    let before: Arguments = serde_json::from_str(&run.arguments).unwrap_or_default();
    let mut args = args.clone();
    let merged = |now: &[(String, String)], before: Vec<(String, String)>| {
        let kept = before.into_iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name));
        kept.chain(now.iter().cloned()).collect()
    };
    args.spec.set = merged(&args.spec.set, before.set);
    args.run.data = merged(&args.run.data, before.data);
    args.block = args.block.or(before.block);
    args.epochs = args.epochs.or(before.epochs);
    args.run.seed = args.run.seed.or(Some(run.seed));
    args.run.batch = args.run.batch.or(u32::try_from(run.batch).ok());
    Ok((args, Before { text: run.text, math: before.math }))
}
