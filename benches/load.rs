//! Asks a server as fast as it answers: so many connections, each with one request after another, for so many seconds.
//!
//! ```sh
//! rustc -O benches/load.rs -o load
//! ./load 127.0.0.1:8080 /predict application/json body.json 64 5
//! ```
//!
//! It prints one line: answers a second, and the milliseconds in which half and 99% of them came. A connection is a thread that blocks,
//! and reads no more of an answer than where it ends, so that nearly all of the time is the server's.

use std::env::args;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = args().collect();
    let [_, address, path, kind, file, connections, seconds] = &args[..] else {
        eprintln!("usage: load ADDRESS PATH CONTENT-TYPE FILE CONNECTIONS SECONDS");
        std::process::exit(2);
    };
    let body = std::fs::read(file).expect("the body can be read");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let count: usize = connections.parse().expect("a number of connections");
    let time = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
    // The first fifth of the time is not counted.
    let (ready, warm) = (Barrier::new(count), time / 5);
    let mut all: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(address).expect("it listens");
                    stream.set_nodelay(true).expect("a socket");
                    ready.wait();
                    let (begin, mut times) = (Instant::now(), Vec::new());
                    while begin.elapsed() < time + warm {
                        let sent = Instant::now();
                        stream.write_all(&request).expect("it takes requests");
                        answer(&mut stream);
                        if begin.elapsed() > warm {
                            times.push(sent.elapsed());
                        }
                    }
                    times
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("it ended well")).collect()
    });
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{:.0} {:.3} {:.3}", all.len() as f64 / time.as_secs_f64(), at(0.5), at(0.99));
}

/// Reads one answer to its end.
fn answer(stream: &mut TcpStream) {
    let (mut buffer, mut there) = ([0u8; 8192], 0);
    loop {
        let count = stream.read(&mut buffer[there..]).expect("an answer");
        assert!(count > 0, "the server hung up");
        there += count;
        let text = &buffer[..there];
        let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).expect("the length of an answer");
        if there >= end + 4 + length {
            return;
        }
    }
}
