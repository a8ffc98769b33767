//! Snapshots whose spec, entry or setting is gone.

use super::name::{self, FOLDER, Known, Name};
use super::{Mode, Run, ask, file};
use crate::failure::Failure;
use crate::output;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

impl Run<'_> {
    /// Names them, and removes them where that was asked for. Only snapshots that `weft snapshot` made are looked at, of the specs
    /// that were checked and, in folders that are covered whole, of those that are no longer there.
    pub fn orphans(
        &mut self,
        checked: &BTreeMap<PathBuf, Option<Known>>,
        covered: &BTreeSet<PathBuf>,
    ) -> Result<(), Failure> {
        let beside = checked.keys().map(|spec| name::folder(spec));
        let folders: BTreeSet<PathBuf> = beside.chain(covered.iter().map(|f| f.join(FOLDER))).collect();
        for folder in folders {
            let home = folder.parent().unwrap_or(Path::new(""));
            for path in file::all(&folder)? {
                let pending = file::pending(&path);
                let kept = match file::read(&path)? {
                    Some(kept) => Some(kept),
                    None => file::read(&pending)?,
                };
                // A test's own snapshot names the test.
                let source = kept.and_then(|k| k.source).filter(|source| source.ends_with(".weft"));
                let Some(spec) = source.map(|source| home.join(source)) else { continue };
                let gone = match checked.get(&spec) {
                    // A spec that has errors tells nothing of its entries.
                    Some(None) => None,
                    Some(Some(known)) => match Name::of(&path, &spec) {
                        Some(name) => known.lacks(&name).map(|lack| format!("{} has {lack}", spec.display())),
                        None => Some(format!("its name is not that of a snapshot of {}", spec.display())),
                    },
                    None if covered.contains(home) && !spec.exists() => {
                        Some(format!("there is no {}", spec.display()))
                    }
                    None => None,
                };
                if let Some(why) = gone {
                    self.orphan(&path, &pending, &why)?;
                }
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
            Mode::Review => ask::removal()?,
            Mode::Check | Mode::Compare => false,
        };
        if remove {
            file::remove(path)?;
            file::remove(pending)?;
            self.counts.settled += 1;
        }
        Ok(())
    }
}
