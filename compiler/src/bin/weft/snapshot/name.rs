//! What a snapshot is called: `snapshots/digits__graph_predict.digit@width=8.snap` is the graph of `predict.digit` of `digits.weft`
//! where the setting `width` is 8.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use weft_compiler::check::Checked;
use weft_compiler::stages::Stage;

/// The folder beside the spec.
pub const FOLDER: &str = "snapshots";

/// Settings with the values that they are given, by name; none for the spec as it stands.
pub type Settings = Vec<(String, String)>;

/// What of a spec a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub settings: Settings,
    pub stage: Stage,
    /// `None` for the stages that are of the whole spec.
    pub entry: Option<String>,
}

impl Name {
    /// The file of a snapshot of this spec.
    pub fn file(&self, spec: &Path) -> PathBuf {
        let mut name = format!("{}{}", prefix(spec), self.stage.name());
        if let Some(entry) = &self.entry {
            name += &format!("_{entry}");
        }
        for (place, (setting, value)) in self.settings.iter().enumerate() {
            name += &format!("{}{}={}", if place == 0 { '@' } else { ',' }, escaped(setting), escaped(value));
        }
        folder(spec).join(name + ".snap")
    }

    /// What a file's name says; `None` when it is no snapshot of this spec.
    pub fn of(file: &Path, spec: &Path) -> Option<Name> {
        let name = file.file_name()?.to_str()?.strip_suffix(".snap")?.strip_prefix(&prefix(spec))?;
        let (what, settings) = name.split_once('@').unwrap_or((name, ""));
        let (stage, entry) = Stage::ALL.into_iter().find_map(|stage| {
            let rest = what.strip_prefix(stage.name())?;
            let entry = rest.strip_prefix('_');
            (rest.is_empty() || entry.is_some()).then_some((stage, entry))
        })?;
        let pair = |text: &str| {
            let (setting, value) = text.split_once('=')?;
            Some((unescaped(setting)?, unescaped(value)?))
        };
        let settings = settings.split(',').filter(|s| !s.is_empty()).map(pair).collect::<Option<_>>()?;
        Some(Name { settings, stage, entry: entry.map(str::to_owned) })
    }
}

/// `graph of predict.digit with width = 8`
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.name())?;
        if let Some(entry) = &self.entry {
            write!(f, " of {entry}")?;
        }
        for (place, (setting, value)) in self.settings.iter().enumerate() {
            write!(f, "{}{setting} = {value}", if place == 0 { " with " } else { ", " })?;
        }
        Ok(())
    }
}

/// What a spec has that snapshots can be of.
pub struct Known {
    entries: BTreeSet<String>,
    settings: BTreeSet<String>,
}

impl Known {
    pub fn of(checked: &Checked) -> Known {
        let entries = checked.module.iter().flat_map(|m| m.entries.iter().map(|e| e.graph.name.clone()));
        let settings = checked.typed.iter().flat_map(|t| t.settings.iter().map(|(name, _)| name.clone()));
        Known { entries: entries.collect(), settings: settings.collect() }
    }

    /// Why there can be no such snapshot; `None` when there can be one.
    pub fn lacks(&self, name: &Name) -> Option<String> {
        match &name.entry {
            Some(entry) if name.stage.of_entry() && !self.entries.contains(entry) => {
                return Some(format!("no entry {entry}"));
            }
            entry if entry.is_some() != name.stage.of_entry() => {
                return Some(format!("no such stage as {name}"));
            }
            _ => {}
        }
        let gone = name.settings.iter().find(|(setting, _)| !self.settings.contains(setting));
        gone.map(|(setting, _)| format!("no setting {setting}"))
    }
}

/// Where the snapshots of a spec lie.
pub fn folder(spec: &Path) -> PathBuf {
    spec.parent().map_or_else(PathBuf::new, Path::to_path_buf).join(FOLDER)
}

/// How the names of a spec's snapshots begin: `digits__`.
fn prefix(spec: &Path) -> String {
    format!("{}__", spec.file_stem().unwrap_or_default().to_string_lossy())
}

/// A text as part of a file's name: all but letters, digits and a few marks as `%2F`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || "_-+.".contains(c) {
            out.push(c);
        } else {
            out.extend(c.to_string().bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let spec = Path::new("nets/my digits.weft");
        let settings: Settings =
            [("drop", "0.5"), ("path", "a/b, 100%=ä@")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        for name in [
            Name { settings: vec![], stage: Stage::Typed, entry: None },
            Name { settings: settings.clone(), stage: Stage::Ast, entry: None },
            Name { settings, stage: Stage::Loops, entry: Some("train.step.critic_2".into()) },
        ] {
            let file = name.file(spec);
            assert!(file.starts_with("nets/snapshots"), "{}", file.display());
            assert_eq!(Name::of(&file, spec), Some(name), "{}", file.display());
        }
        for file in
            ["my digits__graphs.snap", "digits__graph.snap", "my digits__graph@a.snap", "my digits__graph"]
        {
            assert_eq!(Name::of(Path::new(file), spec), None, "{file}");
        }
    }
}
