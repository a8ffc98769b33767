//! `weft fmt`: files, folders, standard input, and what stays untouched.

use crate::harness::{command, fine, folder, text, weft, write};
use std::io::Write;
use std::process::{Output, Stdio};

const LOOSE: &str = "model M(x:f32[n,8])->f32[n,4]{x|>dense(8)|>relu // a note, kept\n|>dense(4)}\n";
const CANONICAL: &str =
    "model M(x: f32[n, 8]) -> f32[n, 4] {\n    x |> dense(8) |> relu // a note, kept\n    |> dense(4)\n}\n";

#[test]
fn a_folder_is_formatted_once() {
    let folder = folder("fmt_folder");
    std::fs::create_dir_all(folder.join("blocks")).expect("the folder can be made");
    std::fs::create_dir_all(folder.join(".hidden")).expect("the folder can be made");
    let loose = write(&folder, "loose.weft", LOOSE);
    let deep = write(&folder.join("blocks"), "deep.weft", LOOSE);
    let good = write(&folder, "good.weft", CANONICAL);
    let other = write(&folder, "notes.txt", LOOSE);
    let hidden = write(&folder.join(".hidden"), "old.weft", LOOSE);
    let run = fine(&["fmt", text(&folder)]);
    assert_eq!(run.out, format!("{deep}: formatted\n{loose}: formatted\n"));
    let read = |path: &str| std::fs::read_to_string(path).expect("the file is there");
    for path in [&loose, &deep, &good] {
        assert_eq!(read(path), CANONICAL, "{path}");
    }
    for path in [&other, &hidden] {
        assert_eq!(read(path), LOOSE, "{path}");
    }
    assert_eq!(fine(&["fmt", text(&folder)]).out, "");
    fine(&["fmt", "--check", text(&folder)]);
    let leftovers = std::fs::read_dir(&folder).expect("the folder is there").count();
    assert_eq!(leftovers, 5, "a temporary file was left behind");
}

#[test]
fn check_shows_what_would_change_and_changes_nothing() {
    let folder = folder("fmt_check");
    let loose = write(&folder, "loose.weft", LOOSE);
    let run = weft(&["fmt", "--check", &loose]).ends_with(1);
    assert!(run.err.contains("1 of 1 file would change") && run.err.contains("`weft fmt`"), "{run}");
    assert!(run.out.contains("-model M(x:f32[n,8])") && run.out.contains("+    |> dense(4)"), "{run}");
    assert_eq!(std::fs::read_to_string(&loose).expect("the file is there"), LOOSE);
    let found = weft(&["fmt", "--check", "--json", &loose]).ends_with(1).objects();
    assert_eq!(found, [serde_json::json!({ "file": loose, "changed": true })]);
}

#[test]
fn what_cannot_be_read_stays_untouched_and_the_rest_is_formatted() {
    let folder = folder("fmt_wrong");
    let wrong = write(&folder, "wrong.weft", "model M(x: f32[n, 8]) { let = 3\n x }\n");
    let loose = write(&folder, "loose.weft", LOOSE);
    let run = weft(&["fmt", &wrong, &loose]).ends_with(1);
    assert!(run.err.contains("error[E00") && run.err.contains("wrong.weft:1:"), "{run}");
    assert!(run.err.contains("1 of 2 files cannot be read"), "{run}");
    assert!(std::fs::read_to_string(&wrong).expect("the file is there").contains("let = 3"));
    assert_eq!(std::fs::read_to_string(&loose).expect("the file is there"), CANONICAL);
    weft(&["fmt", "nowhere.weft"]).fails(1, &["cannot read nowhere.weft: no such file"]);
}

fn through_standard_input(args: &[&str], given: &str) -> Output {
    let pipes = |command: &mut std::process::Command| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let mut child = pipes(&mut command(args)).expect("weft starts");
    child.stdin.take().expect("it is piped").write_all(given.as_bytes()).expect("weft reads");
    child.wait_with_output().expect("weft ends")
}

#[test]
fn standard_input_goes_to_standard_output() {
    let output = through_standard_input(&["fmt", "-"], LOOSE);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), CANONICAL.as_bytes()));
    let output = through_standard_input(&["fmt", "--check", "-"], CANONICAL);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert_eq!(through_standard_input(&["fmt", "--check", "-"], LOOSE).status.code(), Some(1));
    let output = through_standard_input(&["fmt", "-"], "model {");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input:1:"));
}

#[cfg(unix)]
#[test]
fn permissions_and_links_stay() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("fmt_permissions");
    let loose = write(&folder, "loose.weft", LOOSE);
    std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o640)).expect("they can be set");
    let link = folder.join("link.weft");
    std::os::unix::fs::symlink(&loose, &link).expect("the link can be made");
    fine(&["fmt", text(&link)]);
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
    let mode = std::fs::metadata(&loose).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&loose).expect("the file is there"), CANONICAL);
}
