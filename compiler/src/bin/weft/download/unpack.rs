//! What is wanted of a `.tar.gz`, and nothing else: only members of the expected names and lengths are written, whatever paths, links or
//! devices an archive may hold, and no more is unpacked than an archive of them can be.

use super::known::Member;
use flate2::read::GzDecoder;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// The unpacked archive may be so much longer than what is wanted of it.
const SLACK: u64 = 16 << 20;

/// Takes the members out of an archive into its folder, each renamed to its place when it is whole.
pub fn unpack(archive: &Path, folder: &Path, members: &[Member]) -> io::Result<()> {
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    let most = members.iter().map(|(_, bytes)| bytes).sum::<u64>() + SLACK;
    let mut tar = tar::Archive::new(GzDecoder::new(fs::File::open(archive)?).take(most));
    let mut done = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((name, bytes)) = members.iter().find(|(wanted, _)| *wanted == name) else { continue };
        if !entry.header().entry_type().is_file() || entry.size() != *bytes || done.contains(name) {
            return Err(wrong(format!("`{}` in the archive is not what it should be", path.display())));
        }
        let part = folder.join(format!(".{name}.part"));
        let mut out = fs::File::create(&part)?;
        if io::copy(&mut entry, &mut out)? != *bytes {
            return Err(wrong(format!("the archive ends within `{name}`")));
        }
        out.flush()?;
        out.sync_all()?;
        fs::rename(&part, folder.join(name))?;
        done.push(*name);
    }
    match members.iter().find(|(name, _)| !done.contains(name)) {
        Some((name, _)) => Err(wrong(format!("the archive has no `{name}`"))),
        None => Ok(()),
    }
}
