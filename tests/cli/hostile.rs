//! What strangers send: the server refuses it, lives on, and takes no more memory than its limits allow.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::executable::{ROWS, digits, json_row, run};
use crate::files;
use crate::harness::write;
use crate::served::{PATIENCE, Server, request};

/// A picture of one pixel whose header says that it is as large as this.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut png = files::png(1, 1, &[0]);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = files::crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&sum);
    png
}

/// The beginning of a JPEG of this size.
fn jpeg_bomb(side: u16) -> Vec<u8> {
    let [high, low] = side.to_be_bytes();
    let frame = [0xff, 0xc0, 0, 11, 8, high, low, high, low, 1, 1, 0x11, 0];
    [&[0xff, 0xd8][..], &frame, &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0], &[0; 64], &[0xff, 0xd9]].concat()
}

/// An array with this header and nothing behind it.
fn array(version: u8, length: &[u8], header: &str) -> Vec<u8> {
    [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes()].concat()
}

fn arrays() -> Vec<Vec<u8>> {
    let shaped = |shape: &str| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        array(1, &(header.len() as u16).to_le_bytes(), &header)
    };
    vec![
        array(2, &u32::MAX.to_le_bytes(), "{"),
        array(1, &u16::MAX.to_le_bytes(), "{"),
        array(9, &[0; 2], ""),
        shaped("(18446744073709551615, 18446744073709551615)"),
        shaped("(4294967296, 4294967296, 28, 28, 1)"),
        shaped("(99999999999999999999999999999999999,)"),
        shaped("(1000000000, 28, 28, 1)"),
        shaped(&format!("({})", "1,".repeat(10_000))),
        shaped("(-1, 28, 28, 1)"),
    ]
}

/// The most memory that a process has had, in KiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system says it");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn no_content_takes_memory_or_the_process() {
    let digits = digits("hostile_content");
    let server = Server::start(&digits, &["--max-body", "4M"]);
    server.post("/predict", json_row(ROWS.start)).fine();
    let before = peak(&server);
    let ask = |kind: &str, body: &[u8]| server.ask("POST", "/predict", kind, body);
    for array in arrays() {
        ask("application/x-npy", &array).fails(422, &["the body"]);
    }
    for (width, height) in [(60_000, 60_000), (u32::MAX, 1), (8_000, 8_000), (28, 29), (0, 0)] {
        ask("image/png", &bomb(width, height)).fails(422, &["the body"]);
    }
    // The size is known, so that nothing is decoded to find it out.
    ask("image/png", &bomb(8_000, 8_000)).fails(422, &["8000 × 8000 pixels, where 28 × 28 are wanted"]);
    ask("image/jpeg", &jpeg_bomb(65_000)).fails(422, &["the body"]);
    ask("image/jpeg", &jpeg_bomb(8_000)).fails(422, &["8000 × 8000"]);
    let picture = files::png(28, 28, &files::digit(0));
    for end in [0, 1, 8, 20, 33, 60, picture.len() - 13] {
        let cut = ask("image/png", &picture[..end]);
        assert_eq!(cut.status, 422, "cut at {end}: {}", cut.text());
    }
    for length in [u64::MAX, 1 << 62, 1 << 20, 0] {
        let file = [&length.to_le_bytes()[..], b"{\"image\":{\"dtype\":\"U8\"}}"].concat();
        ask("application/safetensors", &file).fails(422, &["safetensors"]);
    }
    // Lists that go a million deep, that never end, or are millions of rows.
    let json = |body: String| server.post("/predict", body);
    json(format!("{{\"image\": {}", "[".repeat(1_000_000))).fails(400, &["recursion limit"]);
    json("{\"a\":".repeat(500_000)).fails(400, &["no JSON"]);
    json(format!("[{}{{}}]", "{},".repeat(1_000_000))).fails(422, &["65536 rows at most"]);
    json(format!("{{\"image\": [{}1]}}", "1,".repeat(2_000_000))).fails(422, &["`image`"]);
    json(format!("{{\"image\": \"{}\"}}", "a".repeat(3_000_000))).fails(422, &["`image`"]);
    json(format!("{{\"{}\": 1}}", "a".repeat(3_000_000))).fails(422, &["no input"]);
    json("{\"image\": 1e999}".into()).fails(400, &["out of range"]);
    ask("application/json", b"{\"image\": \"\xff\xfe\"}").fails(400, &["no JSON"]);
    ask("application/jsonl", b"{\"image\": 1}\n\xff\n").fails(400, &["line 2"]);
    ask("application/octet-stream", &vec![0; 784 * 5000]).fine();
    let mut client = server.connect();
    let headers = [("content-type", "application/octet-stream"), ("x-shape", "4294967296,4294967296,28,28")];
    client.send(&request("POST", "/predict", &headers, &[1; 16]));
    client.answer().fails(422, &["16 bytes"]);
    server.is_well();
    let taken = peak(&server) - before;
    assert!(taken < 80 << 10, "{taken} KiB");
    assert_eq!(server.post("/predict", json_row(ROWS.start)).status, 200);
}

#[test]
fn damaged_pictures_are_answered_or_refused() {
    let digits = digits("hostile_pictures");
    let server = Server::start(&digits, &[]);
    let (jpeg, png) = (files::jpeg(), files::png(28, 28, &files::digit(0)));
    for (kind, picture) in [("image/jpeg", jpeg), ("image/png", png)] {
        let mut client = server.connect();
        let mut ask = |bytes: &[u8]| {
            client.send(&request("POST", "/predict", &[("content-type", kind)], bytes));
            client.answer()
        };
        assert!(ask(&picture).fine()["label"].is_number());
        // What ends before the mark of its end is no picture; a PNG's mark takes 12 bytes.
        let end = picture.len() - if kind == "image/jpeg" { 2 } else { 12 };
        for length in (1..end).step_by(3).chain([end]) {
            let cut = ask(&picture[..length]);
            assert_eq!(cut.status, 422, "{kind} cut at {length}: {}", cut.text());
        }
        for place in 0..picture.len() {
            for with in [0xff, 0x80, 1 << (place % 7)] {
                let mut changed = picture.clone();
                changed[place] ^= with;
                let answer = ask(&changed);
                let known = [200, 422].contains(&answer.status);
                assert!(known, "{kind}, byte {place} ^ {with}: {} {}", answer.status, answer.text());
            }
        }
    }
    server.is_well();
    // The same reader answers files.
    let home = digits.parent().expect("a folder");
    let predict = |bytes: &[u8]| run(&digits, &["predict", "--image", &write(home, "x.jpg", bytes)], "");
    predict(&files::jpeg()).ends_with(0);
    predict(&files::jpeg()[..300]).fails(1, &["x.jpg", "cannot be decoded"]);
}

#[test]
fn no_bytes_on_the_wire_end_it() {
    let digits = digits("hostile_wire");
    let server = Server::start(&digits, &["--max-body", "64k"]);
    let raw = |bytes: &[u8]| {
        let mut client = server.connect();
        client.try_send(bytes);
        client
    };
    // Garbage behind a request that is fine.
    let mut client =
        raw(&[&request("GET", "/health", &[], b"")[..], b"\x00\xff\x16\x03 garbage\r\n\r\n"].concat());
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 400);
    assert!(client.is_closed());
    // Requests behind each other are answered in their order.
    let both = [request("GET", "/health", &[], b""), request("GET", "/none", &[], b"")].concat();
    let mut client = raw(&both);
    assert_eq!((client.answer().status, client.answer().status), (200, 404));
    for (bytes, status) in [
        (format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000)), 431),
        (format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000)), 431),
        ("GET /health HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("\r\n\r\n\r\nGET\r\n\r\n".to_owned(), 400),
        ("POST /predict HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n".to_owned(), 400),
        ("POST /predict HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned(), 400),
        ("POST /predict HTTP/1.1\r\ncontent-length: 18446744073709551613\r\n\r\n".to_owned(), 413),
        ("POST /predict HTTP/1.1\r\ncontent-length: 9999999999\r\n\r\n".to_owned(), 413),
        ("POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(), 400),
    ] {
        let mut client = raw(bytes.as_bytes());
        assert_eq!(client.answer().status, status, "{}", &bytes[..bytes.len().min(80)]);
        assert!(client.is_closed());
    }
    // A body in pieces without end.
    let mut client = raw(b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [&b"1000\r\n"[..], &[b' '; 4096], b"\r\n"].concat();
    while client.try_send(&chunk) && !client.has_answer() {}
    client.answer().fails(413, &["--max-body"]);
    // Clients that hang up: in the head, in the body, and before their answer.
    for bytes in [&b"POST /pre"[..], b"POST /predict HTTP/1.1\r\ncontent-length: 50\r\n\r\n{\"im"] {
        drop(raw(bytes));
    }
    for _ in 0..20 {
        let body = json_row(ROWS.start);
        drop(raw(&request("POST", "/predict", &[("content-type", "application/json")], body.as_bytes())));
    }
    server.is_well();
}

#[test]
fn the_slow_are_told() {
    let digits = digits("hostile_slow");
    let server = Server::start(&digits, &["--timeout", "1"]);
    thread::scope(|scope| {
        // A byte now and then is no request.
        scope.spawn(|| {
            let mut client = server.connect();
            for byte in b"GET /health HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'a')) {
                if !client.try_send(&[*byte]) || client.has_answer() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            client.answer().fails(408, &["head of a request", "--timeout"]);
        });
        scope.spawn(|| assert!(server.connect().is_closed()));
        for begun in [&b"GET /he"[..], b"POST /predict HTTP/1.1\r\ncontent-length: 50\r\n\r\n{\"im"] {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                client.send(begun);
                client.answer().fails(408, &["did not arrive in time"]);
                assert!(client.is_closed());
            });
        }
    });
    server.is_well();
}

#[test]
fn one_client_more_than_there_are_places_for_is_told_so() {
    let digits = digits("hostile_many");
    let server = Server::start(&digits, &["--connections", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    // The answers say that all have been let in.
    clients.iter_mut().for_each(|client| {
        client.send(&request("GET", "/health", &[], b""));
        assert_eq!(client.answer().status, 200);
    });
    for _ in 0..5 {
        let mut refused = server.connect();
        let answer = refused.answer();
        answer.fails(503, &["too many clients"]);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(refused.is_closed());
    }
    drop(clients);
    let end = Instant::now() + PATIENCE;
    while server.ask("GET", "/health", "", "").status != 200 {
        assert!(Instant::now() < end, "nobody is let in again");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    let digits = digits("hostile_queue");
    // A run waits for its 64th row, which the others are too many for; behind it one may wait.
    let server = Server::start(&digits, &["--queue", "1", "--max-batch", "64", "--max-delay", "60000"]);
    let pixels: Vec<u8> = (0..60).flat_map(files::digit).collect();
    let (told, answers) = mpsc::channel();
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            let headers = [("content-type", "application/octet-stream")];
            client.send(&request("POST", "/predict", &headers, &pixels));
            client
        })
        .collect();
    thread::scope(|scope| {
        for mut client in clients.drain(..) {
            let told = told.clone();
            scope.spawn(move || {
                if let Some(answer) = client.answer_if_any() {
                    told.send(answer).expect("it is waited for");
                }
            });
        }
        for _ in 0..6 {
            let answer = answers.recv_timeout(PATIENCE).expect("it is refused at once");
            answer.fails(503, &["too many requests are waiting", "try again"]);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        server.is_well();
        server.signal("KILL");
    });
}

#[test]
fn predict_refuses_what_the_server_refuses() {
    let digits = digits("hostile_predict");
    let home = digits.parent().expect("a folder");
    let predict = |name: &str, content: &[u8]| {
        let file = write(home, name, content);
        run(&digits, &["predict", "--image", &file], "").fails(1, &[name])
    };
    for array in arrays() {
        predict("x.npy", &array);
    }
    let refused = predict("x.png", &bomb(8_000, 8_000));
    assert!(refused.err.contains("where 28 × 28 are wanted"), "{refused}");
    predict("x.png", &bomb(60_000, 60_000));
    predict("x.jpg", &jpeg_bomb(65_000));
    let line = |content: &str| run(&digits, &["predict"], content);
    line(&format!("{{\"image\": {}\n", "[".repeat(1_000_000))).fails(1, &["line 1", "recursion limit"]);
    line("{\"image\": NaN}\n").fails(1, &["line 1"]);
    // A line without end is not waited for: the way out is a file.
    let endless = format!("{{\"image\": [{}", "1,".repeat(40 << 20));
    line(&endless).fails(1, &["line 1", "67108864 bytes at most", "FILE.npy"]);
    let mut command = std::process::Command::new(&digits);
    command.arg("predict").env_clear().stdin(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let _ = child.stdin.take().map(|mut to| to.write_all(b"{\"image\": \"\xff\xff\"}\n"));
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
}
