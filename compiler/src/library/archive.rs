//! Static libraries: objects in one file, with an index of their symbols.

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use std::io::Cursor;

/// Puts objects into an archive. The same objects make the same bytes, whenever and by whomever.
pub fn archive(members: &[(&str, &[u8])]) -> Result<Vec<u8>, String> {
    let members: Vec<NewArchiveMember<'_>> = members
        .iter()
        .map(|(name, object)| NewArchiveMember {
            perms: 0o644,
            ..NewArchiveMember::new(*object, &DEFAULT_OBJECT_READER, (*name).to_owned())
        })
        .collect();
    let mut out = Cursor::new(Vec::new());
    write_archive_to_stream(&mut out, &members, ArchiveKind::Gnu, false, None)
        .map_err(|error| error.to_string())?;
    Ok(out.into_inner())
}
