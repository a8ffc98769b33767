//! Downloads from a server on this machine that answers well, badly, slowly and falsely.

use super::fetch::{FetchError, Patience, fetch};
use super::known::{DataSet, File};
use super::{fill, unpack};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const QUICK: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(1500),
    body: Duration::from_millis(400),
    attempts: 2,
    wait: Duration::from_millis(5),
};

/// What the server does with one request.
#[derive(Clone, Debug)]
enum Answer {
    Good,
    /// The whole file, whatever part is asked for.
    Whole,
    Status(u16),
    Redirect(String),
    /// So many bytes of the right ones, then the connection is cut.
    BreakOff(usize),
    /// So many bytes, then nothing for long.
    Stall(usize),
    /// The right length, other bytes.
    Lie,
    /// Claims and sends a length of its own.
    OfLength(usize),
    WebPage,
    /// No length given, and more than there should be.
    Endless,
}

struct Server {
    url: String,
    /// Each request's path, and where it began.
    asked: Arc<Mutex<Vec<(String, usize)>>>,
}

/// Answers requests in this order; the last answer is given again and again.
fn serve(content: Vec<u8>, answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let answer = answers.get(number).or(answers.last()).cloned().unwrap();
            let (content, log) = (content.clone(), log.clone());
            std::thread::spawn(move || reply(stream.unwrap(), &content, &answer, &log));
        }
    });
    Server { url, asked }
}

fn reply(mut stream: TcpStream, content: &[u8], answer: &Answer, log: &Mutex<Vec<(String, usize)>>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let start = request.split("range: bytes=").nth(1).and_then(|r| r.split('-').next()?.parse().ok());
    let start: usize = start.unwrap_or(0);
    log.lock().unwrap().push((path, start));
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    let good = |start: usize| match start {
        0 => head("200 OK", &format!("Content-Length: {}\r\n", content.len())),
        _ => {
            let range = format!("Content-Range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
            head("206 Partial Content", &format!("{range}Content-Length: {}\r\n", content.len() - start))
        }
    };
    let until = |count: usize| &content[start..(start + count).min(content.len())];
    let mut send = |head: String, body: &[u8]| {
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let _ = stream.flush();
    };
    match answer {
        Answer::Good => send(good(start), &content[start..]),
        Answer::Whole => send(good(0), content),
        Answer::Status(code) => send(head(&format!("{code} No"), "Content-Length: 2\r\n"), b"no"),
        Answer::Redirect(to) => {
            send(head("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n")), b"")
        }
        Answer::BreakOff(count) => send(good(start), until(*count)),
        Answer::Stall(count) => {
            send(good(start), until(*count));
            std::thread::sleep(Duration::from_secs(3));
        }
        Answer::Lie => send(good(0), &vec![7; content.len()]),
        Answer::OfLength(count) => {
            send(head("200 OK", &format!("Content-Length: {count}\r\n")), &vec![1; *count]);
        }
        Answer::WebPage => {
            let length = format!("Content-Type: text/html\r\nContent-Length: {}\r\n", content.len());
            send(head("200 OK", &length), &vec![b'<'; content.len()]);
        }
        Answer::Endless => send(head("200 OK", ""), &vec![1; content.len() * 2]),
    }
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn file(content: &[u8]) -> File {
    let sha256: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    File { name: "file.bin", bytes: content.len() as u64, sha256: Box::leak(sha256.into_boxed_str()) }
}

/// A folder of its own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("weft-download-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Fetches from these servers in turn: what each of those that failed did, and the requests of each.
fn outcome(name: &str, servers: &[Vec<Answer>]) -> (Result<(), Vec<String>>, Vec<Vec<usize>>) {
    let (content, folder) = (content(), folder(name));
    let servers: Vec<Server> =
        servers.iter().map(|answers| serve(content.clone(), answers.clone())).collect();
    let mirrors: Vec<String> = servers.iter().map(|s| s.url.clone()).collect();
    let result = fetch(&file(&content), &folder, &mirrors, QUICK, &mut |_| {});
    let path = folder.join("file.bin");
    assert_eq!(path.is_file(), result.is_ok(), "a file is there when it was fetched, and only then");
    if result.is_ok() {
        assert!(fs::read(&path).unwrap() == content, "the right bytes");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    }
    let _ = fs::remove_dir_all(&folder);
    let asked =
        servers.iter().map(|s| s.asked.lock().unwrap().iter().map(|(_, start)| *start).collect()).collect();
    let result = result.map_err(|error| match error {
        FetchError::Mirrors(why) => why,
        FetchError::Disk(path, error) => panic!("{}: {error}", path.display()),
    });
    (result, asked)
}

#[test]
fn a_good_mirror_is_enough() {
    let (result, asked) = outcome("good", &[vec![Answer::Good], vec![Answer::Status(500)]]);
    assert_eq!((result, asked), (Ok(()), vec![vec![0], vec![]]));
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_ended() {
    let answers = vec![Answer::BreakOff(100_000), Answer::BreakOff(100_000), Answer::Good];
    let (result, asked) = outcome("broken", &[answers]);
    assert_eq!((result, asked), (Ok(()), vec![vec![0, 100_000, 200_000]]));
    // A mirror that always sends the whole file is fine too.
    let (result, _) = outcome("whole", &[vec![Answer::BreakOff(100_000), Answer::Whole]]);
    assert_eq!(result, Ok(()));
}

#[test]
fn a_stalled_download_is_taken_up_again() {
    let (result, asked) = outcome("stalled", &[vec![Answer::Stall(120_000), Answer::Good]]);
    assert_eq!(result, Ok(()));
    assert_eq!(asked, [vec![0, 120_000]]);
}

#[test]
fn mirrors_that_fail_or_lie_are_left_for_the_next() {
    for (name, answer, says) in [
        ("404", Answer::Status(404), "404"),
        ("lie", Answer::Lie, "SHA-256"),
        ("longer", Answer::OfLength(300_001), "offers 300001 bytes"),
        ("shorter", Answer::OfLength(10), "offers 10 bytes"),
        ("page", Answer::WebPage, "web page"),
        ("endless", Answer::Endless, "more than the 300000 bytes"),
        ("500", Answer::Status(500), "500"),
        ("truncated", Answer::BreakOff(0), "of 300000 bytes"),
        ("loop", Answer::Redirect("/file.bin".into()), "redirect"),
    ] {
        let (result, asked) = outcome(name, &[vec![answer.clone()], vec![Answer::Good]]);
        assert_eq!(result, Ok(()), "{name}");
        assert_eq!(asked[1], [0], "{name}: the next mirror starts afresh");
        let (result, _) = outcome(name, &[vec![answer]]);
        let why = result.unwrap_err().join("\n");
        assert!(why.contains(says), "{name}: {why}");
    }
}

#[test]
fn a_redirect_is_followed() {
    let good = serve(content(), vec![Answer::Good]);
    let (result, _) = outcome("redirect", &[vec![Answer::Redirect(format!("{}/elsewhere/f", good.url))]]);
    assert_eq!(result, Ok(()));
    assert_eq!(good.asked.lock().unwrap()[0].0, "/elsewhere/f");
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    let (content, folder) = (content(), folder("foreign"));
    let server = serve(content.clone(), vec![Answer::Good]);
    for foreign in [vec![9; 1000], vec![9; content.len()], vec![9; content.len() + 5]] {
        fs::write(folder.join(".file.bin.part"), foreign).unwrap();
        let result = fetch(&file(&content), &folder, std::slice::from_ref(&server.url), QUICK, &mut |_| {});
        assert!(result.is_ok(), "{result:?}");
        assert!(fs::read(folder.join("file.bin")).unwrap() == content);
    }
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn a_disk_that_fails_is_no_mirrors_fault() {
    let (content, folder) = (content(), folder("disk"));
    let server = serve(content.clone(), vec![Answer::Good]);
    // The place of the partial file is taken by a folder: nothing can be written there.
    fs::create_dir(folder.join(".file.bin.part")).unwrap();
    let mirrors = [server.url.clone(), server.url.clone()];
    let result = fetch(&file(&content), &folder, &mirrors, QUICK, &mut |_| {});
    assert!(matches!(result, Err(FetchError::Disk(..))), "{result:?}");
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn of_two_at_once_one_fetches() {
    let content = content();
    let server = serve(content.clone(), vec![Answer::Good]);
    let files: &'static [File] = vec![file(&content)].leak();
    let set = DataSet { name: "two", mirrors: &[], files, members: &[] };
    let folder = folder("two");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| fill(&set, &folder, std::slice::from_ref(&server.url), QUICK).unwrap());
        }
    });
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    assert!(fs::read(folder.join("file.bin")).unwrap() == content);
    let _ = fs::remove_dir_all(&folder);
}

/// An archive of files with these paths.
fn archive(entries: &[(&str, tar::EntryType, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, kind, data) in entries {
        let mut header = tar::Header::new_gnu();
        // `set_path` would refuse what an attacker's tool would not.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &data[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn only_what_is_expected_is_unpacked_and_nothing_outside() {
    use tar::EntryType::{Regular, Symlink};
    let wanted = [("a.bin", 3), ("b.bin", 2)];
    let good = |path: &'static str, data: &[u8]| (path, Regular, data.to_vec());
    let sound =
        [good("set/a.bin", b"aaa"), good("../../evil", b"x"), good("/b.bin", b"bb"), good("set/c", b"c")];
    let try_it = |name: &str, entries: &[(&str, tar::EntryType, Vec<u8>)]| {
        let outer = folder(name);
        let inner = outer.join("one/two");
        fs::create_dir_all(&inner).unwrap();
        let path = inner.join("x.tar.gz");
        fs::write(&path, archive(entries)).unwrap();
        let result = unpack::unpack(&path, &inner, &wanted).map_err(|e| e.to_string());
        assert_eq!(fs::read_dir(&outer).unwrap().count(), 1, "nothing outside");
        let read = |name| fs::read(inner.join(name)).unwrap_or_default();
        let found = (read("a.bin"), read("b.bin"), inner.join("c").exists());
        let _ = fs::remove_dir_all(&outer);
        (result, found)
    };
    assert_eq!(try_it("sound", &sound), (Ok(()), (b"aaa".to_vec(), b"bb".to_vec(), false)));
    for (name, entries, says) in [
        ("lacks", vec![good("a.bin", b"aaa")], "has no `b.bin`"),
        ("long", vec![good("a.bin", b"aaaa"), good("b.bin", b"bb")], "not what it should be"),
        ("link", vec![("a.bin", Symlink, Vec::new()), good("b.bin", b"bb")], "not what it should be"),
        ("twice", vec![good("a.bin", b"aaa"), good("x/a.bin", b"aaa")], "not what it should be"),
    ] {
        let why = try_it(name, &entries).0.unwrap_err();
        assert!(why.contains(says), "{name}: {why}");
    }
}
