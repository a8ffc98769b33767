//! Help, wrong usage, and pipes that close.

use crate::harness::{command, fine, folder, weft, write};
use std::process::Stdio;

const COMMANDS: [&str; 8] = ["check", "emit", "snapshot", "summary", "train", "eval", "predict", "bench"];

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = fine(&["--help"]).out;
    for part in COMMANDS.into_iter().chain(["Exit codes: 0 fine, 1 the input is wrong, 2 wrong usage, 3"]) {
        assert!(help.contains(part), "`{part}` is not in:\n{help}");
    }
    for name in COMMANDS {
        let help = fine(&[name, "--help"]).out;
        assert!(help.contains("--json") && help.contains("--set <NAME=VALUE>"), "{help}");
    }
    for flag in ["--data", "--seed", "--threads", "--epochs", "--batch", "--out", "--device"] {
        assert!(fine(&["train", "--help"]).out.contains(flag), "train has no {flag}");
    }
    for name in ["fmt", "new", "completions"] {
        assert!(help.contains(name), "`{name}` is not in:\n{help}");
    }
    assert_eq!(fine(&["--version"]).out, format!("weft {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_2() {
    let spec = "specs/mnist_mlp.weft";
    for (args, says) in [
        (&[][..], "Usage: weft"),
        (&["chek", spec], "did you mean|similar subcommand exists: 'check'"),
        (&["check"], "<SPEC>"),
        (&["check", spec, "--jsn"], "--json"),
        (&["check", spec, "--set", "units"], "expected NAME=VALUE"),
        (&["check", spec, "--set", "=3"], "expected NAME=VALUE"),
        (&["check", spec, "--deny", "errors"], "warnings"),
        (&["fmt", "-", spec], "`-` stands alone"),
        (&["completions", "tcsh"], "zsh"),
        (&["emit", spec], "--stage"),
        (&["emit", spec, "--stage", "lops"], "loops"),
        (&["emit", spec, "--stage", "typed", "--format", "svg"], "`typed` has no svg form"),
        (&["emit", spec, "--stage", "graph", "--entry", "predict.digits"], "predict.digit"),
        (&["train", spec, "--threads", "0"], "1..=1024"),
        (&["train", spec, "--threads", "many"], "--threads"),
        (&["train", spec, "--epochs", "0"], "--epochs"),
        (&["train", spec, "--batch", "-1"], "-1"),
        (&["train", spec, "--seed", "x"], "--seed"),
        (&["train", spec, "--device", "gpu"], "cpu"),
        (&["train", spec, "--train", "other"], "no train block `other`; it has: train"),
        (&["eval", spec], "--weights"),
        (&["predict", spec, "--weights", "x.safetensors"], "--input"),
        (&["bench", spec, "--entry", "nothing"], "`nothing`"),
    ] {
        let run = weft(args).fails(2, &[]);
        assert!(says.split('|').any(|part| run.err.contains(part)), "it does not say {says}:\n{run}");
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    for args in [
        &["emit", "specs/mnist_cnn.weft", "--stage", "graph", "--format", "svg"][..],
        &["summary", "specs/mnist_mlp.weft"],
        &["check", "specs/mnist_mlp.weft"],
    ] {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weft starts");
        // Nobody reads: the first write fails.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("weft ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

/// The README's table of commands is that of `weft --help`.
#[test]
fn the_readme_lists_every_command() {
    let help = fine(&["--help"]).out;
    let (_, commands) = help.split_once("Commands:\n").expect("help lists the commands");
    let names: Vec<&str> = commands
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 8, "{help}");
    let readme =
        std::fs::read_to_string(crate::harness::root().join("README.md")).expect("there is a README");
    let listed: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `weft ")?.split([' ', '`']).next()).collect();
    for name in &names {
        assert!(listed.contains(name), "the README's table has no `weft {name}`");
    }
    for name in listed {
        assert!(names.contains(&name), "there is no command `{name}`");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = fine(&["completions", shell]).out;
        for part in ["weft", "train", "--epochs"].iter().take(if shell == "fish" { 2 } else { 3 }) {
            assert!(script.contains(part), "`{part}` is not in the script for {shell}");
        }
    }
    // Where there is a bash, it must be able to read its script.
    let script = write(&folder("completions"), "weft.bash", fine(&["completions", "bash"]).out);
    let Ok(bash) = std::process::Command::new("bash").args(["-n", &script]).output() else { return };
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
}
