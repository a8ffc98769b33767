//! Builds the stubs of executables: the runtime alone, once for each set of features that specs need.
//!
//! Cargo has no dependencies on binaries, so the stubs are built here, by the same Cargo, in a folder of their own (which debug and release
//! builds share), and `weft build` takes them out of the `weft` binary. So it works from `cargo run` and from `cargo install` alike.
//!
//! `WEFT_STUBS=none` builds none, for who changes the runtime and builds no executables: `weft build` then says so.

// The library next door is pure; reading the environment and starting Cargo is what a build script is for.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Each stub, and the runtime's features in it.
const STUBS: [(&str, &str); 3] =
    [("plain", "executable"), ("text", "executable,text"), ("train", "executable,text,train")];

fn main() {
    for changed in ["build.rs", "../runtime/src", "../runtime/Cargo.toml", "../Cargo.lock", "../Cargo.toml"] {
        println!("cargo::rerun-if-changed={changed}");
    }
    println!("cargo::rerun-if-env-changed=WEFT_STUBS");
    let out = PathBuf::from(variable("OUT_DIR"));
    let none = env::var("WEFT_STUBS").is_ok_and(|value| value == "none");
    for (name, features) in STUBS {
        let to = out.join(format!("stub-{name}"));
        let made = if none {
            fs::write(&to, []).map_err(|error| error.to_string())
        } else {
            build(features, &out, &to)
        };
        if let Err(message) = made {
            println!("cargo::error=the stub `{name}` of executables was not built: {message}");
            exit(1);
        }
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_default()
}

/// Is a variable of the environment about the package that is being built?
fn is_ours(name: &str) -> bool {
    let others = [
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
    ];
    name.starts_with("CARGO_FEATURE_") || name.starts_with("CARGO_CFG_") || others.contains(&name)
}

fn build(features: &str, out: &Path, to: &Path) -> Result<(), String> {
    // OUT_DIR is target/PROFILE/build/PACKAGE/out; where it is not, the stubs have a folder for each profile.
    let target = out.ancestors().nth(4).filter(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out);
    let (folder, triple) = (target.join("stub"), env::var("TARGET").unwrap_or_default());
    let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../runtime/Cargo.toml");
    let stub = |flags: &str| {
        let mut cargo = Command::new(variable("CARGO"));
        cargo.args(["build", "--quiet", "--profile", "stub", "--bin", "weft-stub", "--no-default-features"]);
        cargo.args(["--features", features, "--target", &triple, "--manifest-path"]).arg(&manifest);
        cargo.arg("--target-dir").arg(&folder);
        // What is set for this package is not meant for the stub: clippy's wrapper, flags, the profile's own.
        env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)).for_each(|(name, _)| {
            cargo.env_remove(name);
        });
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        match cargo.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cargo ended with {status}")),
            Err(error) => Err(format!("{}: {error}", variable("CARGO").display())),
        }
    };
    // Nothing of the system is needed to run it, not even its C library, where that is installed in its static form.
    let alone = triple.ends_with("linux-gnu") && stub("-Ctarget-feature=+crt-static").is_ok();
    if !alone {
        stub("")?;
        if triple.ends_with("linux-gnu") {
            println!(
                "cargo::warning=there is no static C library here: executables will need one like this system's"
            );
        }
    }
    let built = folder.join(&triple).join("stub").join(format!("weft-stub{}", env::consts::EXE_SUFFIX));
    fs::copy(&built, to).map(|_| ()).map_err(|error| format!("{}: {error}", built.display()))
}
