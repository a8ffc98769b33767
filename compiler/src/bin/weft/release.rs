//! Memory that a training does not need is given back before it begins.
//!
//! Most of the command is a compiler, and once a program is there, it is not used again. What it had for its values lies free between those
//! that are left, where the allocator keeps it; and its code stays in memory for as long as nobody else wants the room. A training runs for
//! minutes or hours beside other work, so the system gets both back: holes of the heap, and the pages of the code, which it
//! reads again from the file where they are called. Elsewhere than on Linux, the system decides by itself.

/// Gives back what compiling leaves behind.
pub fn compiler() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the allocator's own function, which moves nothing that is allocated.
        unsafe { libc::malloc_trim(0) };
        file();
    }
}

/// Gives back the pages of this program's file: code, and constants.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn file() {
    use std::os::unix::ffi::OsStrExt;
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let Ok(maps) = std::fs::read("/proc/self/maps") else { return };
    for line in maps.split(|byte| *byte == b'\n') {
        let Some((start, end)) = unchanged(line, program.as_os_str().as_bytes()) else { continue };
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: the mapping is of a file and has never been writable, so that its pages are those of the file, now and when they are read
        // again; the file is that of the running program, which the system lets nobody write to.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// From where to where a line of the system's list of mappings says that a part of this file is which nobody has ever been able to write to: code, and
/// what the file begins with. (Addresses among constants are filled in when a program starts, and protected behind that: such pages
/// are not those of the file. They lie behind the code.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn unchanged(line: &[u8], program: &[u8]) -> Option<(usize, usize)> {
    let line = line.strip_suffix(program)?.strip_suffix(b" ")?;
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    let (kind, offset) = (words.next()?, words.next()?);
    (kind == "r-xp" || kind == "r--p" && address(offset)? == 0).then_some((address(start)?, address(end)?))
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::unchanged;

    #[test]
    fn what_is_given_back_is_code_and_what_the_file_begins_with() {
        let line = |kind: &str, file: &str| {
            format!("55d0c0a00000-55d0c2013000 {kind} fe:00 1234   {file}").into_bytes()
        };
        let found = |kind: &str, file: &str| unchanged(&line(kind, file), b"/opt/weft");
        let all = Some((0x55d0_c0a0_0000, 0x55d0_c201_3000));
        assert_eq!(found("r-xp 00b00000", "/opt/weft"), all);
        assert_eq!(found("r--p 00000000", "/opt/weft"), all);
        assert_eq!(found("r--p 00b00000", "/opt/weft"), None);
        assert_eq!(found("rw-p 00000000", "/opt/weft"), None);
        assert_eq!(found("rwxp 00b00000", "/opt/weft"), None);
        assert_eq!(found("r-xp 00b00000", "/usr/lib/libc.so.6"), None);
        assert_eq!(found("r-xp 00b00000", "/other/opt/weft"), None);
        assert_eq!(found("r-xp 00b00000", ""), None);
        assert_eq!(unchanged(b"", b"/opt/weft"), None);
        assert_eq!(unchanged(b"nonsense r-xp 00b00000 /opt/weft", b"/opt/weft"), None);
    }

    #[test]
    fn what_was_given_back_is_read_again() {
        let length = || (0..1000u32).map(|number| number.to_string()).collect::<String>().len();
        let before = length();
        super::compiler();
        assert_eq!(length(), before);
    }
}
