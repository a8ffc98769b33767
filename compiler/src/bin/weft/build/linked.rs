//! A model as a part of other programs: an object or a library, with the header that C reads, and how to link it.

use super::{Built, output, size, stubs};
use crate::args::{Build, Product};
use crate::failure::Failure;
use crate::output as page;
use serde_json::json;
use std::path::{Path, PathBuf};
use weft_compiler::cpu::Target;
use weft_compiler::library::object::Parts;
use weft_compiler::library::{Model, archive, docs, header, names, object, shared};
use weft_runtime::io;
use weft_runtime::payload::Manifest;

/// What a program needs of the system beside the C library itself; where that is new, it is a part of it.
const SYSTEM: &str = "-lpthread -ldl -lm";

pub fn write(args: &Build, built: Built) -> Result<(), Failure> {
    let Built { program, variables, vocabularies, classes, card, .. } = built;
    let (before, after) = match args.emit {
        Product::Staticlib => ("lib", ".a"),
        Product::Sharedlib => ("lib", ".so"),
        Product::Object => ("", ".o"),
        _ => ("", ".h"),
    };
    let path = output(args, &program, before, after);
    let prefix = prefix(&path)?;
    let docs = docs(&program);
    let (manifest, code) = Manifest::linked(program, vocabularies, classes, card);
    let Manifest { program, vocabularies, classes, card, .. } = &manifest;
    let model = Model { prefix: &prefix, program, classes, card, docs: &docs };
    let internal = |message: String| Failure::input(format!("the object cannot be made: {message}"));
    let target = Target::from(args.target);
    let encoded = manifest.to_bytes()?;
    let parts = Parts { code: &code, variables: &variables, manifest: &encoded };
    let object = || object::object(&model, target, &parts).map_err(internal);
    let header_path = path.with_file_name(format!("{prefix}.h"));
    let header_path = if args.emit == Product::Header { path.clone() } else { header_path };

    // The link line for a program in one file beside them.
    let (mut files, link): (Vec<(PathBuf, Vec<u8>)>, String) = match args.emit {
        Product::Object => {
            let library = path.with_file_name("libweft.a");
            let runtime = archive::archive(&[("weft.o", &stubs::object_for_all()?)]).map_err(internal)?;
            let link = format!("{} {} {SYSTEM}", path.display(), library.display());
            (vec![(path, object()?), (library, runtime)], link)
        }
        Product::Staticlib => {
            let (name, runtime) = (format!("{prefix}.o"), stubs::object(vocabularies)?);
            let library = archive::archive(&[(&name, &object()?), ("weft.o", &runtime)]).map_err(internal)?;
            let link = format!("{} {SYSTEM}", path.display());
            (vec![(path, library)], link)
        }
        Product::Sharedlib => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let library = shared::shared(&model, target, &stubs::shared(vocabularies)?, &name, &parts)
                .map_err(internal)?;
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let link = format!("{} -Wl,-rpath,{}", path.display(), folder.display());
            (vec![(path, library)], link)
        }
        _ => (Vec::new(), String::new()),
    };
    files.push((header_path, header::header(&model).into_bytes()));
    for (path, bytes) in &files {
        io::write_atomically(path, &[bytes])?;
    }
    let folder = files[0].0.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map(|folder| format!("-I{} ", folder.display())).unwrap_or_default();
    let link = (!link.is_empty()).then(|| format!("cc {folder}main.c {link}"));
    if args.spec.json {
        let listed: Vec<_> =
            files.iter().map(|(path, _)| json!({ "path": path, "bytes": size(path) })).collect();
        page::json(&json!({
            "output": files[0].0, "bytes": size(&files[0].0), "weight_bytes": variables.len(), "files": listed,
            "functions": model.names(), "link": link,
        }));
        return Ok(());
    }
    for (path, _) in &files {
        page::line(&format!("{} of {}", page::bytes(size(path)), path.display()));
    }
    if let Some(link) = link {
        page::line(&format!("link it with: {link}"));
    }
    Ok(())
}

/// What its C names begin with: the file's name, without the `lib` of libraries.
fn prefix(path: &Path) -> Result<String, Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    names::prefix(stem.strip_prefix("lib").unwrap_or(&stem)).map_err(|message| {
        Failure::usage(message).help("name the file after a C identifier with --output: --output digits.h")
    })
}
