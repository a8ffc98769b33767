//! Builds the stubs of executables and what is linked into programs: the runtime alone, once for each set of features that specs need.
//!
//! Cargo has no dependencies on binaries, so the stubs are built here, by the same Cargo, in a folder of their own (which debug and release
//! builds share), and `weft build` takes them out of the `weft` binary. So it works from `cargo run` and from `cargo install` alike.
//!
//! The one for GPUs opens NVIDIA's driver when it starts, which a static executable cannot do: it is linked with the system's C library.
//!
//! Of the static library that Rust makes, which holds all of its standard library, what the runtime needs becomes one object. Nothing in it
//! but the functions of `weft_runtime::library` is seen by whom it is linked with.
//!
//! `WEFT_STUBS=none` builds none, for who changes the runtime and builds no executables: `weft build` then says so. `WEFT_STUBS=plain,text`
//! builds these alone.

// The library next door is pure; reading the environment and starting Cargo is what a build script is for.
#![allow(clippy::disallowed_methods)]

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

mod pages;
#[path = "src/library/private.rs"]
mod private;

/// Each stub, and the runtime's features in it.
const STUBS: [(&str, &str); 4] = [
    ("plain", "executable,library"),
    ("text", "executable,library,text"),
    ("train", "executable,text,train"),
    ("cuda", "executable,text,train,cuda"),
];

/// The functions that models call which are linked into programs.
const FUNCTIONS: [&str; 7] = [
    "weft_1_create",
    "weft_1_destroy",
    "weft_1_last_error",
    "weft_1_call",
    "weft_1_class_name",
    "weft_1_memory",
    "weft_1_create_in",
];

/// Sections of one kind become one. What only tools read (bitcode for another optimiser, lines for debuggers) goes.
const SECTIONS: &str = "SECTIONS {
    .text 0 : { *(.text .text.*) }
    .rodata 0 : { *(.rodata .rodata.*) }
    .data.rel.ro 0 : { *(.data.rel.ro .data.rel.ro.*) }
    .data 0 : { *(.data .data.*) }
    .tdata 0 : { *(.tdata .tdata.*) }
    .tbss 0 : { *(.tbss .tbss.*) }
    .bss 0 : { *(.bss .bss.* COMMON) }
    .init_array 0 : { KEEP(*(.init_array .init_array.*)) }
    .gcc_except_table 0 : { *(.gcc_except_table .gcc_except_table.*) }
    .eh_frame 0 : { KEEP(*(.eh_frame)) }
    .note.GNU-stack 0 : { *(.note.GNU-stack) }
    /DISCARD/ : { *(.comment .llvmbc .llvmcmd .debug_* .note.gnu.property) }
}";

fn main() {
    for changed in [
        "build.rs",
        "pages.rs",
        "src/library/private.rs",
        "../stub",
        "../runtime/src",
        "../runtime/Cargo.toml",
        "../Cargo.lock",
        "../Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={changed}");
    }
    println!("cargo::rerun-if-env-changed=WEFT_STUBS");
    let out = PathBuf::from(variable("OUT_DIR"));
    let wanted = env::var("WEFT_STUBS").ok();
    let is_wanted =
        |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|one| one == name));
    for (name, features) in STUBS {
        let made = if !is_wanted(name) {
            let kinds = ["stub", "object", "shared"];
            let none =
                kinds.into_iter().try_for_each(|kind| fs::write(out.join(format!("{kind}-{name}")), []));
            none.map_err(|error| error.to_string())
        } else {
            build(name, features, &out)
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

/// What becomes of sections in executables where it is not the linker's own choice. A panic ends the process, so nothing is ever unwound, and the
/// tables that tell how are left out: those of the standard library, and of all that is compiled beside its lines. What looks whether the file is whole
/// (`stub/src/whole.rs`) comes first, so that it is there whatever else is not.
const SECTIONS_OF_EXECUTABLES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) } } INSERT AFTER .text;
SECTIONS { .whole : { KEEP(*(.whole)) } } INSERT BEFORE .rodata;";

/// Where an executable begins that looks whether it is whole.
const START: &str = "-Wl,-e,weft_start";

/// Addresses that are corrected when the process starts, in the short form of tables (DT_RELR) that C libraries know since 2022.
const SHORT_TABLES: &str = "-Wl,-z,pack-relative-relocs";

/// Cargo, for one of the stubs.
struct Cargo<'a> {
    features: &'a str,
    triple: &'a str,
    /// Where it builds.
    folder: &'a Path,
}

/// What all crates of all stubs are compiled with: the same, so that what stubs have in common is compiled once. Random numbers, which seed the
/// tables of tokenizers, are the kernel's own: the call for them is otherwise looked for in a shared library, and /dev/urandom taken where there
/// is none, which a bare root may not have.
const FLAGS: &str = "--cfg=getrandom_backend=\"linux_getrandom\"";

/// With this, the C library becomes part of an executable. What is linked is all that it changes, so that it is said where stubs are linked.
const ALONE: &str = "-Ctarget-feature=+crt-static";

impl Cargo<'_> {
    /// Builds the executable or the library, with flags for its own crate and with arguments for the linker.
    fn build(&self, product: &[&str], flags: &[&str], link: &[&str]) -> Result<(), String> {
        let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../stub/Cargo.toml");
        let mut cargo = Command::new(variable("CARGO"));
        cargo.args(["rustc", "--quiet", "--profile", "stub"]).args(product);
        cargo.args(["--features", self.features, "--target", self.triple, "--manifest-path"]).arg(manifest);
        cargo.arg("--target-dir").arg(self.folder).arg("--").args(flags);
        cargo.args(link.iter().map(|arg| format!("-Clink-arg={arg}")));
        // What is set for this package is not meant for the stub: clippy's wrapper, flags, the profile's own.
        env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)).for_each(|(name, _)| {
            cargo.env_remove(name);
        });
        cargo.env("CARGO_ENCODED_RUSTFLAGS", if self.triple.contains("linux") { FLAGS } else { "" });
        match cargo.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cargo ended with {status}")),
            Err(error) => Err(format!("{}: {error}", variable("CARGO").display())),
        }
    }

    /// Builds the executable, as small as linker and C library make it.
    fn executable(&self, stub: &Path, script: &Path) -> Result<(), String> {
        let build = |flags: &[&str], link: &[&str]| self.build(&["--bin", "weft-stub"], flags, link);
        fs::write(script, SECTIONS_OF_EXECUTABLES)
            .map_err(|error| format!("{}: {error}", script.display()))?;
        let script = script.to_string_lossy();
        if self.features.contains("cuda") {
            // Without the short tables, which C libraries since 2022 alone know, and without the look at the file's size: what loads libraries has
            // touched all of the file before.
            let smaller = ["-T", &script, "-Wl,--no-eh-frame-hdr"];
            return build(&[], &smaller).or_else(|_| build(&[], &[]));
        }
        if !self.triple.ends_with("linux-gnu") {
            return build(&[], &[]);
        }
        // Nothing of the system is needed to run it, not even its C library, where that is installed in its static form.
        let alone = build(&[ALONE], &[]).is_ok();
        let flags: &[&str] = if alone { &[ALONE] } else { &[] };
        if !alone {
            build(&[], &[])?;
            println!(
                "cargo::warning=there is no static C library here: executables will need one like this system's"
            );
        }
        // What the linker or the C library doesn't know is found out by trying; a stub by itself says that it holds no program, and ends.
        let smaller = ["-T", &script, "-Wl,--no-eh-frame-hdr", START, SHORT_TABLES];
        let is_here = env::var("HOST").is_ok_and(|host| host == self.triple);
        let starts = || Command::new(stub).output().is_ok_and(|ended| ended.status.code().is_some());
        if alone && is_here && build(flags, &smaller).is_ok() && starts() {
            return Ok(());
        }
        build(flags, &smaller[..4]).or_else(|_| build(flags, &[]))
    }
}

fn build(name: &str, features: &str, out: &Path) -> Result<(), String> {
    // OUT_DIR is target/PROFILE/build/PACKAGE/out; where it is not, the stubs have a folder for each profile.
    let target = out.ancestors().nth(4).filter(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap_or(out);
    let triple = env::var("TARGET").unwrap_or_default();
    let folder = target.join("stub");
    if features.contains("cuda") && !triple.contains("linux") {
        return fs::write(out.join(format!("stub-{name}")), []).map_err(|error| error.to_string());
    }
    let cargo = Cargo { features, triple: &triple, folder: &folder };
    let built = folder.join(&triple).join("stub");
    let stub = built.join(format!("weft-stub{}", env::consts::EXE_SUFFIX));
    cargo.executable(&stub, &out.join("stub.ld"))?;
    let to = out.join(format!("stub-{name}"));
    let bytes = fs::read(&stub).map_err(|error| format!("{}: {error}", stub.display()))?;
    fs::write(&to, pages::fill(bytes)).map_err(|error| format!("{}: {error}", to.display()))?;
    if !features.contains("library") {
        return Ok(());
    }
    // Objects of other systems have other forms.
    let (object, shared) = match triple.contains("linux") {
        true => {
            cargo.build(&["--lib"], &[], &[])?;
            libraries(&built.join("libweft_library.a"), out)?
        }
        false => (Vec::new(), Vec::new()),
    };
    for (kind, bytes) in [("object", object), ("shared", shared)] {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        let packed = packed.write_all(&bytes).and_then(|()| packed.finish());
        let path = out.join(format!("{kind}-{name}"));
        packed.and_then(|packed| fs::write(&path, packed)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// What the functions need of a static library, as one object and as a shared library.
fn libraries(archive: &Path, out: &Path) -> Result<(Vec<u8>, Vec<u8>), String> {
    let file = |name: &str| out.join(name);
    let read = |name: &str| fs::read(file(name)).map_err(|error| format!("{name}: {error}"));
    let write = |name: &str, bytes: &[u8]| fs::write(file(name), bytes).map_err(|e| format!("{name}: {e}"));
    write("library.ld", SECTIONS.as_bytes())?;
    link(|link| {
        link.args(["-r", "-nostdlib", "-Wl,--gc-sections,--force-group-allocation", "-T"]);
        link.arg(file("library.ld"));
        FUNCTIONS.iter().for_each(|name| {
            link.arg(format!("-Wl,-u,{name}"));
        });
        link.arg(archive).arg("-o").arg(file("joined.o"));
    })?;
    let object = private::private(&read("joined.o")?, &FUNCTIONS)?;
    write("library.o", &object)?;
    link(|link| {
        // Names are found by the older of the two tables: a model's are added to it. The name is a placeholder for the model's file.
        link.args([
            "-shared",
            "-static-libgcc",
            "-Wl,--hash-style=sysv,-soname,weft,-z,now,-z,relro,--gc-sections,-s",
        ]);
        link.arg(file("library.o"))
            .args(["-Wl,--as-needed", "-lpthread", "-ldl", "-lm", "-o"])
            .arg(file("library.so"));
    })?;
    Ok((object, read("library.so")?))
}

/// Runs the linker that Rust itself links with.
fn link(give: impl FnOnce(&mut Command)) -> Result<(), String> {
    let named = Some(variable("RUSTC_LINKER")).filter(|name| !name.is_empty());
    let mut link = Command::new(named.unwrap_or_else(|| "cc".into()));
    give(&mut link);
    match link.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", link.get_program().display())),
        Err(error) => Err(format!("{}: {error}", link.get_program().display())),
    }
}
