//! Data that are larger than the memory they may take: the same bits, from the cache, in bounded memory.

use crate::files;
use crate::harness::{command, fine, folder, text, write};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use weft_runtime::io::weights;

/// A training on a source.
struct Case {
    name: &'static str,
    spec: String,
}

const TABLE: &str = "{ a: f32, b: f32?, kind: class }";
const ON_TABLE: &str = "
    data d = SOURCE { x = stack([a, fill_missing(b, 0)])  fit level = mean(x, axis = 0)  split test = 0.2, stratify = kind }
    model Net(x: f32[n, 2]) -> f32[n, 3] { x |> dense(8) |> relu |> dense(3) }
    train { on d as { x, kind } batch = 16 epochs = 2
        let y = Net(x - d.level)
        minimize cross_entropy(y, kind) using adam() measure accuracy(y, kind) }";
const ON_IMAGES: &str = "
    data d = SOURCE { image = f32(image) / 255  fit level = mean(image) }
    model Net(x: f32[n, SHAPE]) -> f32[n, 10] { x |> flatten |> dense(10) }
    train { on d as { image, label } batch = 16 epochs = 2 minimize cross_entropy(Net(image - d.level), label) using sgd(0.1) }";
const ON_TEXT: &str = "
    data d = SOURCE { x = f32(text) / 255 }
    model Net(x: f32[n, 16]) -> f32[n, 1] { x |> dense(1) }
    train { on d as { x } batch = 16 epochs = 2 minimize mean((Net(x) - 1) ** 2, axis = -1) using sgd(0.1) }";

/// Rows with a missing number now and then, as CSV, as JSON lines and as Parquet.
fn tables(folder: &Path, rows: usize) {
    let (mut csv, mut json) = ("a,unread,kind,b\n".to_owned(), String::new());
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let (a, kind) = (row as f32 * 0.25 % 7.0, ["left", "right", "none"][row * 7 % 3]);
        let b = if row % 5 == 0 { None } else { Some(row % 11) };
        columns.0.push(a);
        columns.1.push(kind.into());
        columns.2.extend(b.map(|b| b as i64));
        columns.3.push(i16::from(b.is_some()));
        let cell = b.map_or(String::new(), |b| b.to_string());
        writeln!(csv, "{a},\"x, y\",{kind},{cell}").expect("text grows");
        let b = b.map_or("null".to_owned(), |b| b.to_string());
        writeln!(json, "{{\"kind\": \"{kind}\", \"b\": {b}, \"a\": {a}}}").expect("text grows");
    }
    write(folder, "rows.csv", csv);
    write(folder, "rows.jsonl", json);
    write(folder, "rows.parquet", parquet(&columns.0, &columns.1, &columns.2, &columns.3));
}

/// The columns `a`, `kind` and `b` in row groups of 64 rows; `there` says which rows have a `b`.
fn parquet(a: &[f32], kind: &[ByteArray], b: &[i64], there: &[i16]) -> Vec<u8> {
    let schema = "message rows { REQUIRED FLOAT a; REQUIRED BYTE_ARRAY kind (UTF8); OPTIONAL INT64 b; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let packed = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(packed)).expect("a writer");
    let mut b = b.iter().copied();
    for ((a, kind), there) in a.chunks(64).zip(kind.chunks(64)).zip(there.chunks(64)) {
        let b: Vec<i64> = b.by_ref().take(there.iter().filter(|there| **there == 1).count()).collect();
        let mut group = writer.next_row_group().expect("a group");
        for place in 0..3 {
            let mut column = group.next_column().expect("it can be written").expect("a column");
            match place {
                0 => column.typed::<FloatType>().write_batch(a, None, None),
                1 => column.typed::<ByteArrayType>().write_batch(kind, None, None),
                _ => column.typed::<Int64Type>().write_batch(&b, Some(there), None),
            }
            .expect("written");
            column.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.into_inner().expect("written")
}

/// A `.npy` file of bytes, of this many rows.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    header += &" ".repeat((64 - (11 + header.len()) % 64) % 64);
    header += "\n";
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn pictures(folder: &Path) {
    for row in 0..60 {
        let class = folder.join(format!("class{}", files::label(row)));
        std::fs::create_dir_all(&class).expect("made");
        std::fs::write(class.join(format!("{row}.png")), files::png(28, 28, &files::digit(row)))
            .expect("written");
    }
}

fn cases(home: &Path) -> Vec<Case> {
    let inside = |name: &str| {
        let path = home.join(name);
        std::fs::create_dir_all(&path).expect("made");
        path
    };
    tables(home, 200);
    files::digits(&inside("digits"));
    files::photos(&inside("photos"), 20);
    pictures(&inside("pictures"));
    let images: Vec<u8> = (0..90).flat_map(files::digit).collect();
    let labels: Vec<u8> = (0..90).flat_map(|row| i64::from(files::label(row)).to_le_bytes()).collect();
    write(home, "x.npy", npy("|u1", "(90, 28, 28, 1)", &images));
    write(home, "y.npy", npy("<i8", "(90,)", &labels));
    write(home, "book.txt", "Es war einmal ein König, der hatte drei Söhne. ".repeat(20));
    let arrays = "npy(image = \"x.npy\", label = \"y.npy\") -> { image: u8[28, 28, 1], label: class }";
    let case = |name, source: &str, body: &str| Case { name, spec: body.replace("SOURCE", source) };
    let of_images = |name, source: &str, shape: &str| case(name, source, &ON_IMAGES.replace("SHAPE", shape));
    vec![
        case("csv", &format!("csv(\"rows.csv\") -> {TABLE}"), ON_TABLE),
        case("jsonl", &format!("jsonl(\"rows.jsonl\") -> {TABLE}"), ON_TABLE),
        case("parquet", &format!("parquet(\"rows.parquet\") -> {TABLE}"), ON_TABLE),
        of_images("npy", arrays, "28, 28, 1"),
        of_images("idx", "mnist(\"digits\")", "28, 28, 1"),
        of_images("cifar", "cifar10(\"photos\")", "32, 32, 3"),
        of_images("images", "images(\"pictures\", size = (14, 14), channels = 1)", "14, 14, 1"),
        case("text", "text(\"book.txt\", window = 16, stride = 5)", ON_TEXT),
    ]
}

/// Trains with so much memory for the data and gives the weights.
fn trained(spec: &str, cache: &Path, memory: &str, out: PathBuf) -> Vec<u8> {
    let args = ["train", spec, "--out", text(&out), "--data-memory", memory, "--quiet"];
    let output = command(&args).env("WEFT_CACHE", cache).output().expect("weft starts");
    assert!(output.status.success(), "{spec} {memory}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(out.join("last.safetensors")).expect("the weights are there")
}

fn entries(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("data")).map_or(0, |entries| entries.flatten().count())
}

#[test]
fn every_source_gives_the_same_bits_paged_and_in_memory() {
    let home = folder("paging");
    let mut table = None;
    for Case { name, spec } in cases(&home) {
        let spec = write(&home, &format!("{name}.weft"), spec);
        let (cache, out) =
            (home.join(format!("{name}.cache")), |run: &str| home.join(format!("{name}.{run}")));
        let here = trained(&spec, &home.join("none"), "1GB", out("memory"));
        let first = trained(&spec, &cache, "0", out("first"));
        assert!(here == first, "{name}: paged rows are other rows");
        assert!(entries(&cache) > 0, "{name} left nothing in the cache");
        let again = trained(&spec, &cache, "0", out("again"));
        assert!(here == again, "{name}: the cache holds other rows");
        let unnamed = trained(&spec, Path::new(""), "0", out("unnamed"));
        assert!(here == unnamed, "{name}: without a cache, rows are other rows");
        // One table in three formats; the files' metadata name their specs.
        if ["csv", "jsonl", "parquet"].contains(&name) {
            let tensors = weights::read(&out("memory").join("last.safetensors")).expect("weights").tensors;
            let csv = table.get_or_insert_with(|| tensors.clone());
            assert!(*csv == tensors, "{name}: other rows than the CSV file's");
        }
    }
}

#[test]
fn a_full_disk_says_what_to_do_and_leaves_nothing() {
    let home = folder("paging_full");
    for Case { name, spec } in cases(&home) {
        if name == "npy" {
            // Large arrays stay where they are.
            continue;
        }
        let spec = write(&home, &format!("{name}.weft"), spec);
        let cache = home.join(format!("{name}.cache"));
        let mut command =
            command(&["train", &spec, "--data-memory", "100", "--out", text(&home.join("out"))]);
        command.env("WEFT_CACHE", &cache).env("WEFT_FAILPOINT", "cache:1=enospc");
        let output = command.output().expect("weft starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{name}: {said}");
        for part in
            ["the data take more than 100 bytes of memory", "no storage space", "WEFT_CACHE", "--data-memory"]
        {
            assert!(said.contains(part), "{name}: {said}");
        }
        assert_eq!(entries(&cache), 0, "{name}");
    }
}

#[test]
fn how_much_may_be_in_memory_can_be_said_in_the_environment() {
    let home = folder("paging_environment");
    tables(&home, 50);
    let spec =
        write(&home, "rows.weft", ON_TABLE.replace("SOURCE", &format!("csv(\"rows.csv\") -> {TABLE}")));
    let run = |memory: &str, cache: &Path| {
        let mut command = command(&["data", &spec]);
        command.env("WEFT_DATA_MEMORY", memory).env("WEFT_CACHE", cache);
        command.output().expect("weft starts")
    };
    assert!(run("64", &home.join("small")).status.success());
    assert_eq!(entries(&home.join("small")), 1);
    assert!(run("1 MiB", &home.join("large")).status.success());
    assert_eq!(entries(&home.join("large")), 0);
    let wrong = run("much", &home.join("large"));
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("WEFT_DATA_MEMORY is `much`: expected a number of bytes such as 512MB"), "{said}");
    fine(&["data", &spec, "--data-memory", "0.5GB"]);
}

#[test]
fn the_cache_holds_what_was_used_last_and_no_more_than_it_may() {
    let home = folder("paging_room");
    tables(&home, 200);
    let table = |name: &str| {
        let spec = ON_TABLE.replace("SOURCE", &format!("csv(\"{name}.csv\") -> {TABLE}"));
        std::fs::copy(home.join("rows.csv"), home.join(format!("{name}.csv"))).expect("copied");
        write(&home, &format!("{name}.weft"), spec)
    };
    let (cache, specs) = (home.join("cache"), ["one", "two", "three"].map(table));
    let read = |spec: &str, room: &str| {
        let mut command = command(&["data", spec, "--data-memory", "0"]);
        command.env("WEFT_CACHE", &cache).env("WEFT_CACHE_SIZE", room).output().expect("weft starts")
    };
    assert!(read(&specs[0], "").status.success());
    let files = std::fs::read_dir(cache.join("data")).expect("it is there").flatten();
    let files = files.flat_map(|entry| std::fs::read_dir(entry.path()).expect("a folder").flatten());
    let one: u64 = files.map(|file| file.metadata().expect("a file").len()).sum();
    // Two tables have room; a third has not.
    let room = (one * 5 / 2).to_string();
    for (spec, left) in specs.iter().zip([1, 2, 2]) {
        assert!(read(spec, &room).status.success());
        assert_eq!(entries(&cache), left, "{spec}");
    }
    assert!(read(&specs[0], "").status.success());
    assert_eq!(entries(&cache), 3);
    assert!(read(&specs[1], "1").status.success());
    assert_eq!(entries(&cache), 3, "what is there is used, and nothing is made");
    let rows = std::fs::read_to_string(home.join("rows.csv")).expect("it is there");
    write(&home, "two.csv", rows + "1,2,left,3\n");
    assert!(read(&specs[1], "1").status.success());
    assert_eq!(entries(&cache), 1, "the new one stays, however little room there is");
    let wrong = read(&specs[1], "1GG");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.contains("WEFT_CACHE_SIZE is `1GG`: `GG` is no unit of bytes; did you mean `1GB`?"),
        "{said}"
    );
}

/// The most memory of its own that a run of `weft train` ever has, in bytes.
#[cfg(target_os = "linux")]
fn peak(args: &[&str], cache: &Path) -> u64 {
    let mut child = command(args)
        .env("WEFT_CACHE", cache)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weft starts");
    let mut peak = 0;
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let own = own.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|n| n.parse::<u64>().ok());
        peak = peak.max(own.unwrap_or(0) * 1024);
        if let Some(code) = child.try_wait().expect("it can be waited for") {
            break code;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(code.success(), "{args:?}");
    peak
}

/// Nine million numbers in 60 MB of text, which would take 36 MB: with 4 MB for them, a run takes little more memory than
/// one of a few rows.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_however_large_the_file_is() {
    const COLUMNS: usize = 60;
    let home = folder("paging_bounded");
    let spec = format!(
        "data d = csv(\"rows.csv\") -> {{ x: f32[{COLUMNS}] from \"c*\", y: f32[1] }} {{ fit scale = std(x, axis = 0)  fit low = min(x) }}
         model Net(x: f32[n, {COLUMNS}]) -> f32[n, 1] {{ x |> dense(1) }}
         train {{ on d as {{ x, y }} batch = 2000 epochs = 1
             minimize mean((Net((x - d.low) / (d.scale + 1)) - y) ** 2, axis = -1) using adam() }}"
    );
    let spec = write(&home, "rows.weft", spec);
    let rows = |count: usize| {
        let head: Vec<String> = (0..COLUMNS).map(|c| format!("c{c}")).collect();
        let mut text = head.join(",") + ",y\n";
        for row in 0..count {
            for column in 0..COLUMNS {
                write!(text, "{}.{:02},", row % 10, (row * 31 + column * 7) % 100).expect("text grows");
            }
            writeln!(text, "{}", row % 3).expect("text grows");
        }
        write(&home, "rows.csv", text);
    };
    let out = home.join("out");
    let run = |cache: &str| {
        let args = ["train", &spec, "--data-memory", "4MB", "--out", text(&out), "--quiet", "--fresh"];
        peak(&args, &home.join(cache))
    };
    rows(4000);
    let few = run("few");
    rows(150_000);
    let (first, second) = (run("many"), run("many"));
    let many = first.max(second);
    assert!(many < few + (20 << 20), "{} MB, but {} MB for a few rows", many >> 20, few >> 20);
}
