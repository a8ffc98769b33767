//! `weft snapshot`: the generated graphs of specs are kept in files beside them, and every change of them is seen.
//!
//! For each spec there is a file `snapshots/SPEC__STAGE_ENTRY.snap`, with `@NAME=VALUE` at its end where settings were given
//! ([`name`]). What is compared without `--stage` are the stages that a spec has files of, and its graph when it has none; without
//! `--entry` its training steps and predictions, and whatever else it has files of; without `--set` all settings that it has files
//! of. A change waits as `.snap.new` until it is accepted.

mod ask;
mod file;
mod name;
mod orphans;
mod show;

use crate::args::{Snapshot, SpecArgs};
use crate::failure::Failure;
use crate::spec::{self, Spec};
use crate::{emit, output};
use ask::Answer;
use name::{FOLDER, Known, Name, Settings};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use weft_compiler::graph::{Graph, Module};
use weft_compiler::stages::{self, EmitError, Format, Stage};

/// What becomes of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are written beside the kept ones, to be decided.
    Compare,
    Check,
    Accept,
    Review,
}

/// What a spec gives now, and what was kept of it.
struct Shot {
    name: Name,
    path: PathBuf,
    text: String,
    graph: Option<Graph>,
    kept: Option<String>,
}

#[derive(Default)]
struct Counts {
    same: usize,
    new: usize,
    changed: usize,
    orphaned: usize,
    /// Of the new, changed and orphaned ones: how many are settled now.
    settled: usize,
}

impl Counts {
    fn compared(&self) -> usize {
        self.same + self.new + self.changed
    }
}

struct Run<'a> {
    args: &'a Snapshot,
    mode: Mode,
    counts: Counts,
    /// Specs with errors.
    broken: usize,
    /// Why a spec that was found in a folder was passed over.
    missing: Option<Failure>,
}

pub fn run(args: &Snapshot) -> Result<(), Failure> {
    let mode = match args {
        Snapshot { check: true, .. } => Mode::Check,
        Snapshot { accept: true, .. } => Mode::Accept,
        Snapshot { review: true, .. } => Mode::Review,
        _ => Mode::Compare,
    };
    let (specs, folders) = targets(&args.specs)?;
    let mut run = Run { args, mode, counts: Counts::default(), broken: 0, missing: None };
    let mut checked = BTreeMap::new();
    for (path, named) in specs {
        let known = run.spec(&path, named)?;
        checked.insert(path, known);
    }
    run.orphans(&checked, &folders)?;
    match run.missing.take() {
        Some(failure) if run.counts.compared() == 0 && run.broken == 0 => Err(failure),
        _ => run.finish(),
    }
}

/// Specs, each with whether it was named on the command line, and the folders that are covered whole.
type Targets = (Vec<(PathBuf, bool)>, BTreeSet<PathBuf>);

fn targets(given: &[PathBuf]) -> Result<Targets, Failure> {
    let (mut specs, mut folders) = (Vec::new(), BTreeSet::new());
    let here = [PathBuf::new()];
    for path in if given.is_empty() { &here[..] } else { given } {
        if !path.as_os_str().is_empty() && !path.is_dir() {
            specs.push((path.clone(), true));
            continue;
        }
        let folder = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let entries = std::fs::read_dir(folder).map_err(|e| Failure::reading(folder, &e))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| path.join(entry.file_name()))
            .filter(|p| p.extension().is_some_and(|e| e == "weft") && p.is_file())
            .collect();
        found.sort();
        specs.extend(found.into_iter().map(|p| (p, false)));
        folders.insert(path.clone());
    }
    let mut seen = BTreeSet::new();
    specs.retain(|(path, _)| seen.insert(path.clone()));
    let none = |folder: &PathBuf| file::all(&folder.join(FOLDER)).is_ok_and(|all| all.is_empty());
    if specs.is_empty() && folders.iter().all(none) {
        let place = if given.is_empty() { "here" } else { "there" };
        return Err(Failure::input(format!("there is no .weft file {place}"))
            .help("name specs, or folders that hold some"));
    }
    Ok((specs, folders))
}

impl Run<'_> {
    /// Compares all that is wanted of a spec. Gives what its snapshots can be of; `None` when it has errors.
    fn spec(&mut self, path: &Path, named: bool) -> Result<Option<Known>, Failure> {
        let mut given: Settings = self.args.set.clone();
        given.sort_by(|(a, _), (b, _)| a.cmp(b));
        let spec = self.read(path, &given)?;
        let errors = spec::show(&spec.checked, self.args.json);
        let Some(module) = spec.checked.module.as_ref().filter(|_| errors == 0) else {
            self.broken += 1;
            return Ok(None);
        };
        let known = Known::of(&spec.checked);
        let entries = match self.entries(path, module) {
            // Of several specs not each has to have it.
            Err(failure) if !named => {
                self.missing.get_or_insert(failure);
                return Ok(Some(known));
            }
            entries => entries?,
        };
        let kept = kept(path, &known)?;
        let mut settings: BTreeSet<&Settings> = kept.iter().map(|name| &name.settings).collect();
        if settings.is_empty() || !given.is_empty() {
            settings = [&given].into();
        }
        let wanted: BTreeSet<Name> =
            settings.into_iter().flat_map(|settings| self.wanted(&entries, &kept, settings)).collect();
        if wanted.is_empty() && named && !self.args.json {
            let path = path.display();
            output::note(&format!("{path}: neither trains nor predicts, so there is nothing to keep"));
        }
        let mut other: Option<(Settings, Spec)> = None;
        for name in wanted {
            if name.settings == given {
                self.judge(path, &spec, name)?;
                continue;
            }
            if other.as_ref().is_none_or(|(settings, _)| *settings != name.settings) {
                let read = self.read(path, &name.settings)?;
                if read.checked.module.is_none() {
                    spec::show(&read.checked, self.args.json);
                    self.broken += 1;
                }
                other = Some((name.settings.clone(), read));
            }
            if let Some((_, spec)) = other.as_ref().filter(|(_, spec)| spec.checked.module.is_some()) {
                self.judge(path, spec, name)?;
            }
        }
        Ok(Some(known))
    }

    fn read(&self, path: &Path, settings: &Settings) -> Result<Spec, Failure> {
        let args = SpecArgs { spec: path.to_path_buf(), set: settings.clone(), json: self.args.json };
        spec::read(&args, None, None)
    }

    /// The entries to compare of a spec: those that were named, else its training steps, predictions and generations.
    fn entries(&self, path: &Path, module: &Module) -> Result<BTreeSet<String>, Failure> {
        if self.args.entry.is_empty() {
            let steps = module.trainings.iter().flat_map(|t| t.steps.iter().cloned());
            let predictions = module.predictions.iter().map(|p| p.entry.clone());
            return Ok(steps
                .chain(predictions)
                .chain(module.generations.iter().flat_map(|g| [g.start.clone(), g.step.clone()]))
                .collect());
        }
        let found = self.args.entry.iter().map(|name| stages::entry_name(module, Some(name)));
        found.collect::<Result<_, _>>().map_err(|error| match error {
            EmitError::Request(why) => Failure::usage(format!("{}: {why}", path.display())),
            _ => Failure::reported(),
        })
    }

    /// What to compare of a spec with some settings, of which it keeps some snapshots already.
    fn wanted(&self, entries: &BTreeSet<String>, kept: &[Name], settings: &Settings) -> BTreeSet<Name> {
        let kept: Vec<&Name> = kept.iter().filter(|name| name.settings == *settings).collect();
        let mut stages: Vec<Stage> = self.args.stage.iter().map(|s| Stage::from(*s)).collect();
        if stages.is_empty() {
            stages = Stage::ALL.into_iter().filter(|s| kept.iter().any(|name| name.stage == *s)).collect();
        }
        if stages.is_empty() {
            stages.push(Stage::Graph);
        }
        let mut wanted = BTreeSet::new();
        for stage in stages {
            let name = |entry: Option<&String>| {
                let entry = entry.cloned();
                Name { settings: settings.clone(), stage, entry }
            };
            if !stage.of_entry() {
                wanted.insert(name(None));
                continue;
            }
            wanted.extend(entries.iter().map(|entry| name(Some(entry))));
            if self.args.entry.is_empty() {
                wanted.extend(kept.iter().filter(|name| name.stage == stage).map(|name| (*name).clone()));
            }
        }
        wanted
    }

    /// Compares, tells, and does what the mode asks.
    fn judge(&mut self, path: &Path, spec: &Spec, name: Name) -> Result<(), Failure> {
        let shot = shoot(path, spec, name)?;
        let pending = file::pending(&shot.path);
        if shot.kept.as_ref().is_some_and(|kept| file::same(kept, &shot.text)) {
            self.counts.same += 1;
            self.object(path, &shot, "same", json!({}));
            return if self.mode == Mode::Check { Ok(()) } else { file::remove(&pending) };
        }
        let status = if shot.kept.is_some() { "changed" } else { "new" };
        match status {
            "new" => self.counts.new += 1,
            _ => self.counts.changed += 1,
        }
        let compared = show::compare(&shot, &spec.checked.sources);
        let detail = compared.as_ref().map_or_else(|| json!({}), show::Compared::json);
        self.object(path, &shot, status, detail);
        if !self.args.json {
            output::write(&show::described(path, &shot, compared.as_ref()));
        }
        let answer = match self.mode {
            Mode::Accept => Answer::Accept,
            Mode::Check => return Ok(()),
            Mode::Compare => Answer::Skip,
            Mode::Review => ask::change(shot.kept.as_deref(), &shot.text)?,
        };
        match answer {
            Answer::Accept => {
                keep(path, &shot, &shot.path)?;
                self.counts.settled += 1;
                file::remove(&pending)
            }
            Answer::Reject => file::remove(&pending),
            Answer::Skip => keep(path, &shot, &pending),
        }
    }

    fn object(&self, path: &Path, shot: &Shot, status: &str, detail: Value) {
        if !self.args.json {
            return;
        }
        let Name { settings, stage, entry } = &shot.name;
        let settings: serde_json::Map<String, Value> =
            settings.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let mut object = json!({
            "spec": path.display().to_string(), "stage": stage.name(), "entry": entry, "settings": settings,
            "status": status, "snapshot": shot.path.display().to_string(),
        });
        if let (Some(object), Value::Object(detail)) = (object.as_object_mut(), detail) {
            object.extend(detail);
        }
        output::json(&object);
    }

    fn finish(self) -> Result<(), Failure> {
        let Counts { same, new, changed, orphaned, settled } = self.counts;
        let found = new + changed + orphaned;
        let counts: Vec<String> =
            [(same, "the same"), (new, "new"), (changed, "changed"), (orphaned, "orphaned")]
                .into_iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, what)| format!("{n} {what}"))
                .collect();
        if self.args.json {
            output::json(&json!({
                "same": same, "new": new, "changed": changed, "orphaned": orphaned, "settled": settled, "broken": self.broken,
            }));
        } else if !counts.is_empty() {
            let next = match (self.mode, found - settled) {
                (_, 0) if settled > 0 => "; all settled",
                (Mode::Compare, open) if open > 0 => {
                    "; `weft snapshot --accept` keeps what is new, `--review` asks one by one"
                }
                (Mode::Check, open) if open > 0 => "; `weft snapshot --review` decides what to keep",
                _ => "",
            };
            output::line(&format!("snapshots: {}{next}", counts.join(", ")));
        }
        // An orphan fails only where someone asked for everything to be in order.
        let open = match self.mode {
            Mode::Check => found,
            Mode::Compare => new + changed,
            Mode::Accept | Mode::Review => found - settled,
        };
        if open > 0 || self.broken > 0 { Err(Failure::reported()) } else { Ok(()) }
    }
}

/// The decided snapshots that there are of a spec, and can be.
fn kept(spec: &Path, known: &Known) -> Result<Vec<Name>, Failure> {
    let mut names = Vec::new();
    for path in file::all(&name::folder(spec))? {
        let Some(name) = Name::of(&path, spec).filter(|name| known.lacks(name).is_none()) else { continue };
        if file::read(&path)?.is_some() {
            names.push(name);
        }
    }
    Ok(names)
}

fn shoot(path: &Path, spec: &Spec, name: Name) -> Result<Shot, Failure> {
    let entry = name.entry.as_deref();
    let failed = |error| emit::failure(spec, error);
    let text = stages::emit(&spec.checked, name.stage, entry, Format::Text).map_err(failed)?;
    let graph = stages::graph_of(&spec.checked, name.stage, entry).map_err(failed)?;
    let file = name.file(path);
    let kept = file::read(&file)?.map(|kept| kept.text);
    Ok(Shot { path: file, name, text, graph, kept })
}

/// Writes what a spec gives now, as decided or as pending.
fn keep(path: &Path, shot: &Shot, to: &Path) -> Result<(), Failure> {
    let source = path.file_name().unwrap_or_default().to_string_lossy();
    let mut expression = format!("weft emit {source} --stage {}", shot.name.stage.name());
    if let Some(entry) = &shot.name.entry {
        expression += &format!(" --entry {entry}");
    }
    for (name, value) in &shot.name.settings {
        expression += &format!(" --set {name}={value}");
    }
    file::write(to, &source, &expression, &shot.text)
}
