//! `weft snapshot`: the generated graphs of specs are kept in files beside them, and every change of them is seen.
//!
//! For each spec there is a file `snapshots/SPEC__STAGE_ENTRY.snap`, with `@NAME=VALUE` at its end where settings were given. What
//! is compared without `--stage` are the stages that a spec has files of, and its graph when it has none; without `--entry` its
//! training steps and predictions, and whatever else it has files of. A change waits as `.snap.new` until it is accepted.

mod file;
mod show;

use crate::args::{Snapshot, SpecArgs};
use crate::failure::Failure;
use crate::spec::{self, Spec};
use crate::{emit, output};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use weft_compiler::graph::{Graph, Module};
use weft_compiler::stages::{self, Format, Stage};

/// What becomes of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are written beside the kept ones, to be decided.
    Compare,
    Check,
    Accept,
    Review,
}

/// A stage of an entry of a spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stage: &'static str,
    entry: Option<String>,
}

impl Key {
    /// `graph_predict.digit`
    fn name(&self) -> String {
        self.entry.as_ref().map_or(self.stage.to_owned(), |entry| format!("{}_{entry}", self.stage))
    }
}

/// `graph of predict.digit`
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{} of {entry}", self.stage),
            None => f.write_str(self.stage),
        }
    }
}

/// What a spec gives now, and what was kept of it.
struct Shot {
    key: Key,
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

struct Run<'a> {
    args: &'a Snapshot,
    mode: Mode,
    counts: Counts,
    /// Specs with errors.
    broken: usize,
}

pub fn run(args: &Snapshot) -> Result<(), Failure> {
    let mode = match args {
        Snapshot { check: true, .. } => Mode::Check,
        Snapshot { accept: true, .. } => Mode::Accept,
        Snapshot { review: true, .. } => Mode::Review,
        _ => Mode::Compare,
    };
    let (specs, folders) = targets(&args.specs)?;
    let mut run = Run { args, mode, counts: Counts::default(), broken: 0 };
    let mut checked: BTreeMap<PathBuf, Option<BTreeSet<String>>> = BTreeMap::new();
    for (path, named) in specs {
        let keys = run.spec(&path, named)?;
        checked.insert(path, keys);
    }
    run.orphans(&checked, &folders)?;
    run.finish()
}

/// Specs, each with whether it was named on the command line, and the folders they stand in.
type Targets = (Vec<(PathBuf, bool)>, BTreeSet<PathBuf>);

/// The specs, each with whether it was named, and the folders that are covered whole.
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
    if specs.is_empty() && folders.iter().all(|f| file::all(&f.join(FOLDER)).is_ok_and(|all| all.is_empty()))
    {
        return Err(
            Failure::input("there is no .weft file here").help("name specs, or folders that hold some")
        );
    }
    Ok((specs, folders))
}

const FOLDER: &str = "snapshots";

/// A file name's beginning for a spec: `digits__`.
fn prefix(spec: &Path) -> String {
    format!("{}__", spec.file_stem().unwrap_or_default().to_string_lossy())
}

fn folder_of(spec: &Path) -> PathBuf {
    spec.parent().map_or_else(PathBuf::new, Path::to_path_buf).join(FOLDER)
}

/// A snapshot's name without the spec and the settings: `graph_predict.digit` of `digits__graph_predict.digit@width=8.snap`.
fn key_of(path: &Path, prefix: &str) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".snap")?.strip_prefix(prefix)?;
    Some(name.split_once('@').map_or(name, |(key, _)| key).to_owned())
}

/// The stage and the entry that a snapshot's name says.
fn stage_of(key: &str) -> Option<(Stage, Option<&str>)> {
    Stage::ALL.into_iter().find_map(|stage| {
        let rest = key.strip_prefix(stage.name())?;
        if rest.is_empty() { Some((stage, None)) } else { Some((stage, Some(rest.strip_prefix('_')?))) }
    })
}

impl Run<'_> {
    /// Compares all that is wanted of a spec. Gives the names that its snapshots can have; `None` when it has errors.
    fn spec(&mut self, path: &Path, named: bool) -> Result<Option<BTreeSet<String>>, Failure> {
        let args = SpecArgs { spec: path.to_path_buf(), set: self.args.set.clone(), json: self.args.json };
        let spec = spec::read(&args, None, None)?;
        let errors = spec::show(&spec.checked, self.args.json);
        let Some(module) = spec.checked.module.as_ref().filter(|_| errors == 0) else {
            self.broken += 1;
            return Ok(None);
        };
        let possible = possible(module);
        let wanted = self.wanted(path, module, &possible)?;
        if wanted.is_empty() && named && !self.args.json {
            output::note(&format!(
                "{}: neither trains nor predicts, so there is nothing to keep",
                path.display()
            ));
        }
        for key in wanted {
            let shot = self.shoot(path, &spec, key)?;
            self.judge(path, &spec, &shot)?;
        }
        Ok(Some(possible))
    }

    /// What to compare of a spec.
    fn wanted(
        &self,
        path: &Path,
        module: &Module,
        possible: &BTreeSet<String>,
    ) -> Result<BTreeSet<Key>, Failure> {
        let prefix = prefix(path);
        let suffix = self.suffix();
        let ours = |p: &PathBuf| p.to_str().is_some_and(|p| p.ends_with(&format!("{suffix}.snap")));
        let kept: Vec<String> = file::all(&folder_of(path))?
            .iter()
            .filter(|p| ours(p) && file::read(p).is_ok_and(|kept| kept.is_some()))
            .filter_map(|p| key_of(p, &prefix))
            .filter(|key| possible.contains(key))
            .collect();
        let kept: Vec<(Stage, Option<&str>)> = kept.iter().filter_map(|key| stage_of(key)).collect();
        let mut stages: Vec<Stage> = self.args.stage.iter().map(|s| Stage::from(*s)).collect();
        if stages.is_empty() {
            stages = Stage::ALL.into_iter().filter(|s| kept.iter().any(|(k, _)| k == s)).collect();
        }
        if stages.is_empty() {
            stages.push(Stage::Graph);
        }
        let mut entries: BTreeSet<String> = BTreeSet::new();
        for name in &self.args.entry {
            let entry = stages::entry_name(module, Some(name));
            entries.insert(entry.map_err(|e| match e {
                stages::EmitError::Request(why) => Failure::usage(format!("{}: {why}", path.display())),
                _ => Failure::reported(),
            })?);
        }
        if entries.is_empty() {
            entries.extend(module.trainings.iter().flat_map(|t| t.steps.iter().cloned()));
            entries.extend(module.predictions.iter().map(|p| p.entry.clone()));
        }
        let mut wanted = BTreeSet::new();
        for stage in stages {
            let key = |entry: Option<&str>| Key { stage: stage.name(), entry: entry.map(str::to_owned) };
            if !stage.of_entry() {
                wanted.insert(key(None));
                continue;
            }
            wanted.extend(entries.iter().map(|entry| key(Some(entry))));
            if self.args.entry.is_empty() {
                wanted.extend(kept.iter().filter(|(s, _)| *s == stage).map(|(_, entry)| key(*entry)));
            }
        }
        Ok(wanted)
    }

    /// `@width=8`, or nothing.
    fn suffix(&self) -> String {
        let set: Vec<String> = self.args.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if set.is_empty() {
            return String::new();
        }
        let harmless = |c: char| if c.is_alphanumeric() || "=-_.,".contains(c) { c } else { '_' };
        format!("@{}", set.join(",").chars().map(harmless).collect::<String>())
    }

    fn shoot(&self, path: &Path, spec: &Spec, key: Key) -> Result<Shot, Failure> {
        let stage = Stage::ALL.into_iter().find(|s| s.name() == key.stage).unwrap_or(Stage::Graph);
        let entry = key.entry.as_deref();
        let failed = |error| emit::failure(spec, error);
        let text = stages::emit(&spec.checked, stage, entry, Format::Text).map_err(failed)?;
        let graph = stages::graph_of(&spec.checked, stage, entry).map_err(failed)?;
        let file = folder_of(path).join(format!("{}{}{}.snap", prefix(path), key.name(), self.suffix()));
        let kept = file::read(&file)?.map(|kept| kept.text);
        Ok(Shot { key, path: file, text, graph, kept })
    }

    /// Compares, tells, and does what the mode asks.
    fn judge(&mut self, path: &Path, spec: &Spec, shot: &Shot) -> Result<(), Failure> {
        let pending = file::pending(&shot.path);
        if shot.kept.as_ref().is_some_and(|kept| file::same(kept, &shot.text)) {
            self.counts.same += 1;
            self.object(path, &shot.key, "same", &shot.path, json!({}));
            return if self.mode == Mode::Check { Ok(()) } else { file::remove(&pending) };
        }
        let status = if shot.kept.is_some() { "changed" } else { "new" };
        match status {
            "new" => self.counts.new += 1,
            _ => self.counts.changed += 1,
        }
        let compared = show::compare(shot, &spec.checked.sources);
        let detail = compared.as_ref().map_or_else(|| json!({}), show::Compared::json);
        self.object(path, &shot.key, status, &shot.path, detail);
        if !self.args.json {
            output::write(&describe(path, shot, compared.as_ref()));
        }
        let accepted = match self.mode {
            Mode::Accept => true,
            Mode::Check => return Ok(()),
            Mode::Compare => {
                self.keep(path, shot, &pending)?;
                false
            }
            Mode::Review => match self.ask("accept, reject, skip or diff? [a/r/s/d] ", Some(shot))? {
                Answer::Accept => true,
                Answer::Reject => {
                    file::remove(&pending)?;
                    false
                }
                Answer::Skip => {
                    self.keep(path, shot, &pending)?;
                    false
                }
            },
        };
        if accepted {
            self.keep(path, shot, &shot.path)?;
            file::remove(&pending)?;
            self.counts.settled += 1;
        }
        Ok(())
    }

    fn keep(&self, path: &Path, shot: &Shot, to: &Path) -> Result<(), Failure> {
        let source = path.file_name().unwrap_or_default().to_string_lossy();
        let mut expression = format!("weft emit {source} --stage {}", shot.key.stage);
        if let Some(entry) = &shot.key.entry {
            expression += &format!(" --entry {entry}");
        }
        for (name, value) in &self.args.set {
            expression += &format!(" --set {name}={value}");
        }
        file::write(to, &source, &expression, &shot.text)
    }

    /// Snapshots of specs and entries that are gone. Only those that `weft snapshot` made are looked at.
    fn orphans(
        &mut self,
        checked: &BTreeMap<PathBuf, Option<BTreeSet<String>>>,
        covered: &BTreeSet<PathBuf>,
    ) -> Result<(), Failure> {
        let folders: BTreeSet<PathBuf> =
            checked.keys().map(|p| folder_of(p)).chain(covered.iter().map(|f| f.join(FOLDER))).collect();
        for folder in folders {
            for path in file::all(&folder)? {
                let pending = file::pending(&path);
                let kept = match file::read(&path)? {
                    Some(kept) => Some(kept),
                    None => file::read(&pending)?,
                };
                let Some(source) = kept.and_then(|k| k.source).filter(|s| s.ends_with(".weft")) else {
                    continue;
                };
                let home = folder.parent().unwrap_or(Path::new(""));
                let spec = home.join(&source);
                let why = match checked.get(&spec) {
                    // A spec that has errors tells nothing of its entries.
                    Some(None) => continue,
                    Some(Some(possible)) => match key_of(&path, &prefix(&spec)) {
                        Some(key) if possible.contains(&key) => continue,
                        Some(key) => match stage_of(&key) {
                            Some((_, Some(entry))) => format!("{} has no entry {entry}", spec.display()),
                            _ => format!("there is no stage {key}"),
                        },
                        None => format!("its name is not that of a snapshot of {}", spec.display()),
                    },
                    None if covered.contains(home) && !spec.exists() => {
                        format!("there is no {}", spec.display())
                    }
                    None => continue,
                };
                self.orphan(&path, &pending, &why)?;
            }
        }
        Ok(())
    }

    fn orphan(&mut self, path: &Path, pending: &Path, why: &str) -> Result<(), Failure> {
        self.counts.orphaned += 1;
        if self.args.json {
            let file = path.display().to_string();
            output::json(&json!({ "status": "orphaned", "snapshot": file, "reason": why }));
        } else {
            output::line(&format!("{}: orphaned, {why}", path.display()));
        }
        let remove = match self.mode {
            Mode::Accept => true,
            Mode::Review => matches!(self.ask("remove it (accept) or skip? [a/s] ", None)?, Answer::Accept),
            Mode::Check | Mode::Compare => false,
        };
        if remove {
            file::remove(path)?;
            file::remove(pending)?;
            self.counts.settled += 1;
        }
        Ok(())
    }

    /// Asks on standard output and reads standard input; at its end the rest is skipped.
    fn ask(&self, question: &str, shot: Option<&Shot>) -> Result<Answer, Failure> {
        loop {
            output::write(question);
            let mut answer = String::new();
            let read = std::io::stdin().lock().read_line(&mut answer);
            if read.map_err(|e| Failure::environment(format!("cannot read the answer: {e}")))? == 0 {
                output::write("\n");
                return Ok(Answer::Skip);
            }
            match (answer.trim(), shot) {
                ("a" | "accept", _) => return Ok(Answer::Accept),
                ("r" | "reject", Some(_)) => return Ok(Answer::Reject),
                ("s" | "skip", _) => return Ok(Answer::Skip),
                ("d" | "diff", Some(shot)) => {
                    output::write(&show::lines(shot.kept.as_deref().unwrap_or(""), &shot.text));
                }
                _ => {}
            }
        }
    }

    fn object(&self, path: &Path, key: &Key, status: &str, file: &Path, detail: Value) {
        if self.args.json {
            let mut object = json!({
                "spec": path.display().to_string(), "stage": key.stage, "entry": key.entry,
                "status": status, "snapshot": file.display().to_string(),
            });
            if let (Some(object), Value::Object(detail)) = (object.as_object_mut(), detail) {
                object.extend(detail);
            }
            output::json(&object);
        }
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

#[derive(Debug)]
enum Answer {
    Accept,
    Reject,
    Skip,
}

/// All names that snapshots of a spec can have.
fn possible(module: &Module) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for stage in Stage::ALL {
        if stage.of_entry() {
            names.extend(module.entries.iter().map(|e| format!("{}_{}", stage.name(), e.graph.name)));
        } else {
            names.insert(stage.name().to_owned());
        }
    }
    names
}

/// A new or changed snapshot, for people.
fn describe(path: &Path, shot: &Shot, compared: Option<&show::Compared<'_>>) -> String {
    let (spec, key) = (path.display(), &shot.key);
    match (&shot.kept, compared) {
        (None, _) => format!("{spec}: {key} is new, {} lines\n", shot.text.lines().count()),
        (Some(_), Some(compared)) => {
            format!("{spec}: {key} has changed: {}\n{}\n", compared.summary(), compared.text())
        }
        (Some(kept), None) => format!("{spec}: {key} has changed\n{}\n", show::lines(kept, &shot.text)),
    }
}
