//! Which files a source reads: a file, all files of a folder, or those whose names match `*`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Does a name match a pattern in which `*` stands for any letters and `?` for one?
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and where in the name what it stands for ends.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, end)) => {
                    star = Some((at, end + 1));
                    p = at + 1;
                    n = end + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The files of a source in the order of their names, so that rows have the same order everywhere. A folder stands for its files
/// with one of the endings.
pub fn files(set: &str, path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_pattern = name.contains(['*', '?']) && !path.exists();
    if !is_pattern && !path.is_dir() {
        if path.is_file() {
            return Ok(vec![path.to_path_buf()]);
        }
        let message = format!("data set `{set}`: there is no file {}", path.display());
        return Err(Error::MissingData(format!("{message} (or give another one with --data {set}=FILE)")));
    }
    let folder = if is_pattern { path.parent().unwrap_or(Path::new("")) } else { path };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let fits = |name: &str| match is_pattern {
        true => matches(&path.file_name().unwrap_or_default().to_string_lossy(), name),
        false => !name.starts_with('.') && endings.iter().any(|ending| name.to_lowercase().ends_with(ending)),
    };
    let mut found: Vec<PathBuf> = list(folder)?
        .into_iter()
        .filter(|file| file.is_file() && fits(&file.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    found.sort();
    if found.is_empty() {
        let wanted = if is_pattern {
            name
        } else {
            endings.iter().map(|e| format!("*{e}")).collect::<Vec<_>>().join(" or ")
        };
        let message = format!("data set `{set}`: the folder {} has no file {wanted}", folder.display());
        return Err(Error::MissingData(format!("{message} (or give another place with --data {set}=PATH)")));
    }
    Ok(found)
}

/// What stands where a source looks for its folder: nothing, or a file, which another source may read.
pub fn no_folder(path: &Path) -> String {
    if !path.is_file() {
        return format!("the folder {} does not exist", path.display());
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let source = match ending.as_str() {
        "csv" | "tsv" | "parquet" | "npz" | "ts" => ending.as_str(),
        "jsonl" | "ndjson" | "json" => "jsonl",
        "txt" | "md" | "text" => "text",
        _ => return format!("{} is a file, where this source reads a folder", path.display()),
    };
    format!(
        "{} is a file, where this source reads a folder (`{source}(…)` reads such a file)",
        path.display()
    )
}

/// What a folder holds.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::file("read the folder", folder))?;
    entries.map(|entry| Ok(entry.map_err(Error::file("read the folder", folder))?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use crate::io::testing::Folder;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name, expected) in [
            ("pixel*", "pixel12", true),
            ("pixel*", "pixe", false),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("é*", "école", true),
            ("é?", "é", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let folder = Folder::new();
        for name in ["b.csv", "a.csv", "c.txt", ".d.csv"] {
            folder.file(name, b"");
        }
        let names = |path: &Path| -> Vec<String> {
            let files = files("rows", path, &[".csv"]).unwrap();
            files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(folder.path()), ["a.csv", "b.csv"]);
        assert_eq!(names(&folder.path().join("*.txt")), ["c.txt"]);
        let error = files("rows", &folder.path().join("none.csv"), &[".csv"]).unwrap_err();
        assert!(error.to_string().contains("--data rows=FILE"), "{error}");
        assert_eq!(error.class(), Class::Input);
        assert!(
            files("rows", &folder.path().join("*.tsv"), &[])
                .unwrap_err()
                .to_string()
                .contains("no file *.tsv")
        );
    }
}
