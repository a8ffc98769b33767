//! A server to be asked, and a client that can do more wrong than a library would let it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// No test waits longer for anything. It is far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// `./executable serve` in an empty environment, killed when the test is over.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Starts it at a free port, and waits until it listens.
    pub fn start(executable: &Path, options: &[&str]) -> Server {
        Server::start_in(executable, options, &[])
    }

    /// The same in an environment of these variables alone.
    pub fn start_in(executable: &Path, options: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = Command::new(executable);
        command.args(["serve", "--port", "0"]).args(options).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening at http://").expect("an address").to_owned();
        Server { child, address }
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).expect("it listens"))
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(&request(method, path, &[("content-type", kind)], body.as_ref()));
        client.answer()
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST", path, "application/json", body)
    }

    /// It lives, and answers.
    pub fn is_well(&self) {
        let health = self.ask("GET", "/health", "", "");
        assert_eq!((health.status, &health.json()["status"]), (200, &Value::from("ok")));
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, and gives the exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("it can be waited for").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Client { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("it takes what is sent");
    }

    /// Sends what the server may refuse in the middle.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line of the head");
        line.trim_end().to_owned()
    }

    /// Reads one answer; several may follow each other.
    pub fn answer(&mut self) -> Answer {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("this is no answer: `{first}`"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if let Some(length) = answer.header("content-length").map(|text| text.parse().expect("a number")) {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).expect("the whole body");
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line(), 16).expect("the length of a chunk");
                let mut chunk = vec![0; length + 2];
                self.stream.read_exact(&mut chunk).expect("a whole chunk");
                answer.body.extend(&chunk[..length]);
                if length == 0 {
                    break;
                }
            }
        }
        answer
    }

    /// Has something come, without waiting for it?
    pub fn has_answer(&mut self) -> bool {
        let stream = self.stream.get_mut();
        stream.set_nonblocking(true).expect("it can be asked");
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("it can be waited for again");
        !matches!(found, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Waits until something comes, but takes nothing of it.
    pub fn has_answer_soon(&mut self) -> bool {
        self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }

    /// The same where the server may be ended instead.
    pub fn answer_if_any(&mut self) -> Option<Answer> {
        self.has_answer_soon().then(|| self.answer())
    }

    /// The other side has nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 1];
        !matches!(self.stream.read(&mut rest), Ok(1..))
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It went well, and this is the body.
    pub fn fine(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// It failed, and says all of this.
    pub fn fails(&self, status: u16, says: &[&str]) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert!(self.json()["error"].is_string(), "{text}");
        for part in says {
            assert!(text.contains(part), "it does not say `{part}`: {text}");
        }
    }
}
