//! Named data sets that are not there: `mnist`, `fashion_mnist` and `cifar10` without a folder, or with the usual one, are fetched from
//! their mirrors into the user's cache, once for all specs. Only the command touches the network; the runtime reads folders.
//!
//! `WEFT_MIRROR=http://host/path/` replaces the mirrors, for places behind a wall: it serves `SET/FILE`, such as
//! `mnist/train-images-idx3-ubyte.gz`. With `--offline` or `WEFT_OFFLINE=1` nothing is fetched, and the message says which files to put where.

mod fetch;
mod known;
#[cfg(test)]
mod tests;
mod unpack;

use crate::failure::Failure;
use crate::output;
use crate::spec::Spec;
use fetch::{FetchError, Patience};
use indicatif::{ProgressBar, ProgressStyle};
use known::DataSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use weft_runtime::data::cache_folder;
use weft_runtime::error::plain;

/// Adds folders for the spec's named data sets that are not where they usually are; those that the user gave stay.
pub fn provide(spec: &Spec, given: &mut Vec<(String, PathBuf)>, offline: bool) -> Result<(), Failure> {
    let Some(typed) = &spec.checked.typed else { return Ok(()) };
    for set in &typed.data {
        let source = set.source.split('(').next().unwrap_or_default().trim();
        let Some(known) = known::find(source) else { continue };
        let usual = weft_compiler::check::sources().find(|s| s.name == source).and_then(|s| s.place);
        let named = set.source.split('"').nth(1).or(usual);
        if given.iter().any(|(name, _)| *name == set.name) || named != usual {
            continue;
        }
        let folder = spec.folder.join(usual.unwrap_or_default());
        if folder.is_dir() {
            continue;
        }
        given.push((set.name.clone(), cached(known, &set.name, &folder, offline)?));
    }
    Ok(())
}

/// The cache's folder of a set, filled if it was not.
fn cached(set: &DataSet, name: &str, usual: &Path, offline: bool) -> Result<PathBuf, Failure> {
    let cache = cache_folder().map(|cache| cache.join("datasets").join(set.name));
    if let Some(folder) = cache.clone().filter(|folder| is_whole(set, folder)) {
        return Ok(folder);
    }
    let held = set.held();
    let files: Vec<&str> = held.iter().map(|(name, _)| *name).collect();
    let mirrors = mirrors(set);
    let way_out = |into: &Path| {
        let from: Vec<String> = set.files.iter().map(|f| format!("{}{}", mirrors[0], f.name)).collect();
        format!(
            "put {} into {} (from {}), or name the folder that has them: --data {name}=DIR",
            files.join(", "),
            into.display(),
            from.join(", ")
        )
    };
    let forbidden = std::env::var_os("WEFT_OFFLINE").is_some_and(|v| !v.is_empty() && v != "0");
    if offline || forbidden {
        let message = format!(
            "data set `{name}`: the folder {} does not exist, and nothing is fetched offline",
            usual.display()
        );
        return Err(Failure::input(message).help(way_out(usual)));
    }
    let Some(folder) = cache else {
        let message = format!("data set `{name}`: there is no cache folder to fetch it into");
        return Err(Failure::environment(message).help(format!("set WEFT_CACHE, or {}", way_out(usual))));
    };
    fill(set, &folder, &mirrors, Patience::default()).map_err(|error| {
        let failure = match error {
            FetchError::Disk(path, error) => Failure::environment(format!(
                "data set `{name}`: cannot write {}: {}",
                path.display(),
                plain(&error)
            )),
            FetchError::Mirrors(why) => {
                Failure::environment(format!("data set `{name}` cannot be fetched:\n  {}", why.join("\n  ")))
            }
        };
        failure.help(way_out(usual))
    })?;
    Ok(folder)
}

/// Where the files are: the usual mirrors, or the one that the environment names. Each ends in `/`.
fn mirrors(set: &DataSet) -> Vec<String> {
    match std::env::var("WEFT_MIRROR").ok().filter(|mirror| !mirror.is_empty()) {
        Some(mirror) => vec![format!("{}/{}/", mirror.trim_end_matches('/'), set.name)],
        None => set.mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
    }
}

fn is_whole(set: &DataSet, folder: &Path) -> bool {
    let there =
        |(name, bytes): &(&str, u64)| fs::metadata(folder.join(name)).is_ok_and(|m| m.len() == *bytes);
    set.held().iter().all(there)
}

/// Fetches what a folder lacks. One process at a time does; others wait for it and find all done.
fn fill(set: &DataSet, folder: &Path, mirrors: &[String], patience: Patience) -> Result<(), FetchError> {
    let disk = |path: &Path| {
        let path = path.to_path_buf();
        move |error| FetchError::Disk(path, error)
    };
    fs::create_dir_all(folder).map_err(disk(folder))?;
    let lock = folder.join(".lock");
    let guard = File::create(&lock).map_err(disk(&lock))?;
    if guard.try_lock().is_err() {
        output::note(&format!("waiting for another process, which fetches {}", set.name));
        guard.lock().map_err(disk(&lock))?;
    }
    if is_whole(set, folder) {
        return Ok(());
    }
    for file in set.files {
        let path = folder.join(file.name);
        if fs::metadata(&path).is_ok_and(|m| m.len() == file.bytes) {
            continue;
        }
        let bar = bar(&format!("{}/{}", set.name, file.name), file.bytes);
        let fetched = fetch::fetch(file, folder, mirrors, patience, &mut |there| bar.set_position(there));
        bar.finish_and_clear();
        fetched?;
    }
    if let ([archive], [_, ..]) = (set.files, set.members) {
        let path = folder.join(archive.name);
        unpack::unpack(&path, folder, set.members).map_err(disk(&path))?;
        // Its content is there; the archive is only a second copy.
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// A bar on a terminal; elsewhere a line that says what takes so long.
fn bar(name: &str, bytes: u64) -> ProgressBar {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        output::note(&format!("fetching {name} ({})", output::scaled(bytes as f64, "B")));
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes).with_message(name.to_owned());
    let style = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
