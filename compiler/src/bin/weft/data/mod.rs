//! `weft data`: what a spec's data sets hold, raw and as the model sees them, before anything is trained on them.

mod figures;
mod lengths;
mod pictures;
mod rows;

use crate::args::Data;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::{output, spec};
use figures::{FieldFigures, SPLITS};
use rows::{Reader, Seen};
use serde_json::{Value, json};
use weft_compiler::check::typed;
use weft_runtime::program::Program;
use weft_runtime::tensor::Tensor;

/// Rows whose numbers are printed.
const PRINTED: usize = 3;
/// The longest bar of a class, in characters.
const BAR: usize = 24;
/// Rows that are looked at in each part, at most.
const MOST_ROWS: usize = 200_000;

pub fn run(args: &Data) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, Some(&args.run), None)?;
    let Some(typed) = &spec.checked.typed else { return Err(Failure::reported()) };
    if typed.data.is_empty() {
        return Err(Failure::input("the spec has no `data` item").help("add one: `data digits = mnist()`"));
    }
    let program = compile::program(&spec, Wanted::Data, args.run.threads)?;
    let options = compile::run_options(&args.run, &spec)?;
    for (index, set) in typed.data.iter().enumerate() {
        let mut reader = Reader::new(program.clone(), index, &options)?;
        let mut all = Vec::new();
        for split in SPLITS {
            all.push(reader.figures(split, MOST_ROWS)?);
        }
        let shown = args.show.map_or(PRINTED, |n| n as usize);
        let seen = reader.first(shown)?;
        let picture = match args.show {
            // Rows without a picture are printed, as many as were asked for.
            Some(_) if args.out.is_none() && !pictures::any(&seen) => None,
            Some(_) => {
                let folder = std::path::Path::new("runs").join(&spec.name);
                let path = args.out.clone().unwrap_or_else(|| folder.join(format!("data.{}.png", set.name)));
                Some((pictures::sheet(&seen, &path)?, path))
            }
            None => None,
        };
        let fits = fits(&program, &reader, index);
        if args.spec.json {
            let classes = figures::classes(&all);
            output::json(&json!({
                "data": set.name, "source": set.source,
                "rows": { "train": reader.rows[0], "validation": reader.rows[1], "test": reader.rows[2] },
                "batch": reader.batch, "raw": pairs(&set.raw), "row": pairs(&set.row),
                "fit": fits.iter().map(|(name, value)| json!({ "name": name, "value": value.view().to_f64() })).collect::<Vec<_>>(),
                "fields": SPLITS.iter().zip(&all).map(|(split, fields)| json!({ "part": split.name(), "fields": fields.iter().map(FieldFigures::json).collect::<Vec<_>>() })).collect::<Vec<_>>(),
                "lengths": reader.row_lengths().iter().map(|(field, parts)| json!({ "field": field, "parts": SPLITS.iter().zip(parts).map(|(split, lengths)| json!({ "part": split.name(), "counts": lengths::counts(lengths) })).collect::<Vec<_>>() })).collect::<Vec<_>>(),
                "vocabularies": reader.vocabularies().iter().map(|(name, size, _)| json!({ "name": name, "tokens": size })).collect::<Vec<_>>(),
                "notes": reader.notes(),
                "classes": classes.iter().map(|(field, values)| json!({ "field": field, "names": values.keys().map(|v| reader.class_name(field, *v)).collect::<Vec<_>>(), "counts": values.iter().map(|(v, n)| json!([v, n])).collect::<Vec<_>>() })).collect::<Vec<_>>(),
                "picture": picture.as_ref().map(|(_, path)| path),
            }));
            continue;
        }
        let printed = if picture.is_some() { PRINTED.min(shown) } else { shown };
        print(set, &reader, &all, &fits, &seen[..printed.min(seen.len())]);
        if let Some((sheet, path)) = picture {
            if crate::paint::allowed() {
                output::write(&pictures::blocks(&sheet));
            }
            output::line(&format!("wrote {}", path.display()));
        }
    }
    Ok(())
}

fn pairs(fields: &[(String, String)]) -> Value {
    fields
        .iter()
        .map(|(name, ty)| (name.clone(), Value::from(ty.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The fit values of a data set, by name.
fn fits(program: &Program, reader: &Reader, set: usize) -> Vec<(String, Tensor)> {
    let values = program.data.get(set).and_then(|set| set.fit.as_ref()).map(|fit| fit.values.clone());
    let place = |path: &String| program.variables.iter().position(|v| v.path == *path);
    values.iter().flatten().filter_map(|path| Some((path.clone(), reader.variable(place(path)?)))).collect()
}

fn print(
    set: &typed::DataSet,
    reader: &Reader,
    all: &[Vec<FieldFigures>],
    fits: &[(String, Tensor)],
    seen: &[Seen],
) {
    let count = |n: usize| output::thousands(n as u64);
    output::line(&format!("{} = {}", set.name, set.source));
    output::line(&format!(
        "  {} rows to train on, {} to validate, {} to test; {} batches of {} an epoch",
        count(reader.rows[0]),
        count(reader.rows[1]),
        count(reader.rows[2]),
        count(reader.rows[0].div_ceil(reader.batch)),
        reader.batch
    ));
    let raw = |name: &str| set.raw.iter().find(|(n, _)| n == name).map_or("-", |(_, ty)| ty.as_str());
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut set.row.iter().map(|(n, _)| n.chars().count())).max(5);
    let raws = width(&mut set.row.iter().map(|(n, _)| raw(n).chars().count())).max(3);
    let types = width(&mut set.row.iter().map(|(_, ty)| ty.chars().count())).max(3);
    output::line(&format!("  {:names$}  {:raws$}  {:types$}  training part", "field", "raw", "row"));
    for (name, ty) in &set.row {
        let range = match reader.classes(name) {
            Some(names) => format!("{} classes", count(names.len())),
            None => all[0].iter().find(|f| f.name == *name).map_or(String::new(), FieldFigures::range),
        };
        output::line(&format!("  {name:names$}  {:raws$}  {ty:types$}  {range}", raw(name)));
    }
    for (name, value) in fits {
        output::line(&format!("  fit {name} = {}", figures::short(&value.view().to_f64())));
    }
    for (name, size, tokens) in reader.vocabularies() {
        output::line(&format!("  {name}: {} tokens: {} …", count(size), tokens.join(" ")));
    }
    for (field, lengths) in reader.row_lengths() {
        lengths::histogram(&field, &lengths).iter().for_each(|line| output::line(line));
    }
    for (field, counts) in figures::classes(all) {
        let most = counts.values().map(|n| n[0]).max().unwrap_or(0).max(1);
        let word = |value: i64| reader.class_name(&field, value);
        let words = width(&mut counts.keys().map(|value| word(*value).chars().count()));
        let gap = if words > 0 { "  " } else { "" };
        output::line(&format!(
            "  {field:>names$}{gap}{:words$}  {:>9}  {:>9}  {:>9}",
            "", "train", "validate", "test"
        ));
        for (value, [train, validation, test]) in counts {
            let bar = "█".repeat((train * BAR).div_ceil(most));
            output::line(&format!(
                "  {value:>names$}{gap}{:words$}  {:>9}  {:>9}  {:>9}  {bar}",
                word(value),
                count(train),
                count(validation),
                count(test)
            ));
        }
    }
    for note in reader.notes() {
        output::line(&format!("  note: {note}"));
    }
    for (place, row) in seen.iter().enumerate() {
        let texts = row.texts.iter().map(|(name, text)| format!("{name} {}", lengths::beginning(text)));
        let numbers = |(name, t): &(String, Tensor)| format!("{name} {}", figures::short(&t.view().to_f64()));
        let cells: Vec<String> = texts.chain(row.plain.iter().map(numbers)).collect();
        output::line(&format!("  row {}: {}", place + 1, cells.join("  ")));
    }
}
