//! `./executable serve`: what clients get, right and wrong, and how it ends.

use std::thread;

use serde_json::{Value, json};
use weft_runtime::io::{npy, weights};
use weft_runtime::tensor::Tensor;

use crate::executable::{ROWS, digits, json_row, rows, run};
use crate::files;
use crate::generate;
use crate::harness::{fine, folder, text, write};
use crate::served::{Server, request};

/// What `predict` says of a row alone.
fn alone(digits: &std::path::Path, row: usize) -> Value {
    run(digits, &["predict"], &json_row(row)).ends_with(0).last_object()
}

#[test]
fn a_server_answers_as_predict_does() {
    let digits = digits("serve");
    let home = digits.parent().expect("a folder");
    let rows = rows(home);
    let due = run(&digits, &["predict", "--image", &rows, "--json"], "").ends_with(0).last_object();
    let due: Vec<Value> = (0..ROWS.len())
        .map(|row| json!({ "label": due["label"][row], "confidence": due["confidence"][row] }))
        .collect();
    let server = Server::start(&digits, &[]);
    // A row alone, as an object, a picture and an array.
    let single = alone(&digits, ROWS.start);
    assert_eq!(server.post("/predict", json_row(ROWS.start)).fine(), single);
    assert_eq!(server.post("/predict/digit", json_row(ROWS.start)).fine(), single);
    let picture = files::png(28, 28, &files::digit(ROWS.start));
    assert_eq!(server.ask("POST", "/predict", "image/png", picture).fine(), single);
    let pixels = files::digit(ROWS.start);
    let array = npy::encode(Tensor::from_u8(&[28, 28, 1], &pixels).view()).expect("it can be written");
    assert_eq!(server.ask("POST", "/predict", "application/x-npy", array).fine(), single);
    // Several, in every form.
    let list: Vec<Value> =
        ROWS.map(|row| serde_json::from_str(&json_row(row)).expect("it is JSON")).collect();
    assert_eq!(server.post("/predict", Value::Array(list).to_string()).fine(), Value::Array(due.clone()));
    let lines: String = ROWS.map(|row| json_row(row) + "\n").collect();
    let told = server.ask("POST", "/predict", "application/jsonl", lines);
    let told: Vec<Value> =
        told.text().lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(told, due);
    let file = std::fs::read(&rows).expect("it can be read");
    let told = server.ask("POST", "/predict", "application/x-npy", file).fine();
    assert_eq!(told, Value::Array(due.clone()));
    let all: Vec<u8> = ROWS.flat_map(files::digit).collect();
    let told = server.ask("POST", "/predict", "application/octet-stream", &all).fine();
    assert_eq!(told, Value::Array(due.clone()));
    // Binary answers.
    let ask = |accept: &str| {
        let mut client = server.connect();
        let headers = [("content-type", "application/octet-stream"), ("accept", accept)];
        client.send(&request("POST", "/predict?input=image", &headers, &all));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(accept)));
        answer.body
    };
    let labels = npy::parse(ask("application/x-npy")).expect("an array");
    let due_labels: Vec<i32> =
        due.iter().map(|row| row["label"].as_i64().expect("a number") as i32).collect();
    assert_eq!(labels.to_i32(), due_labels);
    let both = weights::parse("answer".as_ref(), &ask("application/safetensors")).expect("tensors");
    assert_eq!(both.tensors["label"], labels);
    assert_eq!(both.tensors["confidence"].shape, [ROWS.len()]);
    // What it is.
    let card = server.ask("GET", "/", "", "").fine();
    assert_eq!(card["model"], "mnist_mlp");
    let item = json!({
        "path": "/predict", "item": "digit",
        "inputs": { "image": { "dtype": "u8", "shape": ["n", 28, 28, 1] } },
        "outputs": { "label": { "dtype": "i32", "shape": ["n"] }, "confidence": { "dtype": "f32", "shape": ["n"] } },
    });
    assert_eq!(card["predictions"], json!([item]));
    server.is_well();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn what_runs_together_is_what_runs_alone() {
    let digits = digits("serve_together");
    let due: Vec<Value> = ROWS.map(|row| alone(&digits, row)).collect();
    // Runs wait for rows, so that those of several clients meet in one.
    let server = Server::start(&digits, &["--max-delay", "20", "--max-batch", "7"]);
    thread::scope(|scope| {
        for client in 0..8 {
            let (server, due) = (&server, &due);
            scope.spawn(move || {
                let mut client_of = server.connect();
                for round in 0..12 {
                    let row = (client * 5 + round * 3) % ROWS.len();
                    let body = json_row(ROWS.start + row);
                    let headers = [("content-type", "application/json")];
                    client_of.send(&request("POST", "/predict", &headers, body.as_bytes()));
                    assert_eq!(client_of.answer().fine(), due[row], "row {row}");
                }
            });
        }
    });
    server.is_well();
}

#[test]
fn wrong_requests_get_the_reason_and_the_way_out() {
    let digits = digits("serve_wrong");
    let server = Server::start(&digits, &["--max-body", "64k"]);
    let post = |body: &str| server.post("/predict", body);
    post("").fails(400, &["no JSON"]);
    post("{\"image\": [1, 2").fails(400, &["no JSON"]);
    post("7").fails(422, &["an object with a value for each input"]);
    post("[]").fails(422, &["no rows"]);
    post("{\"imag\": 1}").fails(422, &["no input `imag`", "`image`"]);
    post("{\"image\": [1, 2, 3]}")
        .fails(422, &["`image` of one row has the shape [3], where [28, 28, 1] is wanted"]);
    post("{\"image\": [[1, 2], [3, 4]]}").fails(422, &["the shape [2, 2], where [28, 28, 1] is wanted"]);
    post("{\"image\": [[1, 2], [3]]}").fails(422, &["no even list"]);
    post("{\"image\": 1, \"image\": 2}").fails(422, &["given twice"]);
    // A text is no file here, whatever there is.
    post("{\"image\": \"/etc/hostname.npy\"}").fails(422, &["no number"]);
    let dark = json_row(ROWS.start).replace("[0]", "[256]");
    post(&dark).fails(422, &["takes u8"]);
    let ask = |method: &str, path: &str, kind: &str, body: &str| server.ask(method, path, kind, body);
    ask("POST", "/predict", "application/xml", "<a/>").fails(415, &["application/xml", "application/json"]);
    ask("POST", "/predict", "application/octet-stream", "abc").fails(422, &["no rows of `image`", "x-shape"]);
    ask("POST", "/predict", "text/plain", "seven").fails(422, &["JSON"]);
    ask("POST", "/predict", "application/x-npy", "abc").fails(422, &["not an .npy file"]);
    ask("POST", "/predict", "application/safetensors", "abc").fails(422, &["safetensors"]);
    ask("POST", "/predict", "image/png", "abc").fails(422, &["cannot be decoded"]);
    ask("POST", "/predict?seed=x", "", "{}").fails(400, &["`seed`"]);
    ask("POST", "/predict/letter", "", "{}").fails(404, &["`letter`", "/predict/digit"]);
    ask("POST", "/generate", "", "{}").fails(404, &["nothing to generate"]);
    ask("GET", "/nowhere", "", "").fails(404, &["/nowhere", "GET /"]);
    let method = ask("GET", "/predict", "", "");
    method.fails(405, &["POST"]);
    assert_eq!(method.header("allow"), Some("POST"));
    ask("DELETE", "/health", "", "").fails(405, &["GET"]);
    post(&" ".repeat(70_000)).fails(413, &["65536 bytes", "--max-body"]);
    server.is_well();
}

#[test]
fn texts_and_several_items_are_served() {
    let folder = folder("serve_items");
    let spec = write(
        &folder,
        "sums.weft",
        "predict sums(x: f32[n, 3], y: f32[n]) -> { total } { { total = sum(x, axis = -1) + y } }\n\
         predict one(x: f32[3]) -> { least } { { least = min(x, axis = 0) } }\n\
         predict noise(x: f32[n]) -> { y } { { y = x + normal(n) } }\n",
    );
    let executable = folder.join("sums");
    fine(&["build", &spec, "-o", text(&executable)]);
    let server = Server::start(&executable, &["--max-batch", "4"]);
    server.post("/predict", "{}").fails(404, &["/predict/sums", "/predict/one"]);
    let total = |body: &str| server.post("/predict/sums", body);
    assert_eq!(total("{\"x\": [1, 2, 3], \"y\": 1}").fine(), json!({ "total": 7.0 }));
    // More rows than a run takes.
    let many: Vec<Value> = (0..11).map(|row| json!({ "x": [row, 0, 0], "y": 1 })).collect();
    let due: Vec<Value> = (0..11).map(|row| json!({ "total": f64::from(row) + 1.0 })).collect();
    assert_eq!(total(&Value::Array(many).to_string()).fine(), Value::Array(due));
    total("{\"x\": [1, 2, 3]}").fails(422, &["`y` is missing"]);
    let two = ["`x` of one row has the shape [2, 3], where [3] is wanted", "each row by itself"];
    total("{\"x\": [[1, 2, 3], [4, 5, 6]], \"y\": 1}").fails(422, &two);
    total("{\"x\": [1, 2, 3], \"y\": [1, 2]}")
        .fails(422, &["`y` of one row has the shape [2], where a number is"]);
    total("{\"x\": 7, \"y\": 1}").fails(422, &["`x` of one row is a number, where [3] is wanted"]);
    // An axis of the one row changes nothing.
    assert_eq!(total("{\"x\": [[1, 2, 3]], \"y\": [1]}").fine(), json!({ "total": 7.0 }));
    assert_eq!(server.post("/predict/one", "{\"x\": [3, 1, 2]}").fine(), json!({ "least": 1.0 }));
    server
        .post("/predict/one", "{\"x\": [3, 1]}")
        .fails(422, &["`x` has the shape [2], where [3] is wanted"]);
    server
        .post("/predict/one", "[{\"x\": [3, 1, 2]}, {\"x\": [3, 1, 2]}]")
        .fails(422, &["one row at a time"]);
    // Several tensors by name; rows that do not agree.
    let body = |rows: usize| {
        let (x, y) = (Tensor::from_f32(&[2, 3], &[1.0; 6]), Tensor::from_f32(&[rows], &vec![0.5; rows]));
        let tensors = [("x", x.view()), ("y", y.view())].into_iter().collect();
        let head = weights::head(&tensors, &Default::default());
        [&head, &x.data[..], &y.data[..]].concat()
    };
    let ask = |rows| server.ask("POST", "/predict/sums", "application/safetensors", body(rows));
    assert_eq!(ask(2).fine(), json!([{ "total": 3.5 }, { "total": 3.5 }]));
    ask(3).fails(422, &["`y` has 3 rows"]);
    // Numbers that are none are numbers: what comes of them is told as null.
    let none = npy::encode(Tensor::from_f32(&[1], &[f32::NAN]).view()).expect("it can be written");
    let told = server.ask("POST", "/predict/noise", "application/x-npy", none).fine();
    assert_eq!(told, json!([{ "y": null }]));
    server.post("/predict/noise", "{\"x\": NaN}").fails(400, &["no JSON"]);
    // What is drawn depends on the seed alone.
    let drawn = |seed: u32| server.post(&format!("/predict/noise?seed={seed}"), "{\"x\": 0}").fine();
    assert_eq!(drawn(3), drawn(3));
    assert_ne!(drawn(3), drawn(4));
    server.is_well();
}

/// A served model that goes on with the letters of a small book.
fn story(name: &str, options: &[&str]) -> (generate::Home, Server) {
    let home = generate::home(name);
    let executable = home.folder.join("next");
    fine(&["build", &home.spec, "--weights", &home.weights, "-o", text(&executable)]);
    let server = Server::start(&executable, options);
    (home, server)
}

#[test]
fn texts_are_written_over_http() {
    let (home, server) = story("serve_generate", &[]);
    let told = server.post("/generate/story", "{\"prompt\": \"a\"}").fine();
    assert_eq!(told["text"], "bc é,\nabc é,\na");
    assert_eq!(told["given"]["prompt"], "a");
    let told = |body: &str| server.post("/generate/story?max=4", body).fine();
    assert_eq!(told("{\"prompt\": \"a\"}")["text"], "bc \u{fffd}");
    let both = told("[{\"prompt\": \"a\"}, {\"prompt\": \"abc\"}]");
    assert_eq!((&both[0]["text"], &both[1]["text"]), (&json!("bc \u{fffd}"), &json!(" é,")));
    assert_eq!(server.post("/generate/numbers", "{}").fine()["tokens"], json!([99, 32, 195]));
    let searched = server.ask("POST", "/generate/searched", "text/plain", "a").fine();
    assert_eq!(searched["text"], "bc é,");
    // What is drawn is what `weft` draws.
    let given = ["--input", "prompt=a", "--seed", "3", "--json"];
    let due: Value = serde_json::from_str(&home.written("wild", &given)).expect("it is JSON");
    assert_eq!(server.post("/generate/wild?seed=3", "{\"prompt\": \"a\"}").fine(), due);
    // As it is written.
    let live = |accept: &str, path: &str, body: &str| {
        let mut client = server.connect();
        let headers = [("content-type", "application/json"), ("accept", accept)];
        client.send(&request("POST", path, &headers, body.as_bytes()));
        client
    };
    let whole = live("text/plain", "/generate/story", "{\"prompt\": \"a\"}").answer();
    assert_eq!((whole.status, whole.text()), (200, "bc é,\nabc é,\na"));
    let events = live("text/event-stream", "/generate/word", "{\"prompt\": \"ab\"}").answer();
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let mut pieces = String::new();
    let mut last = Value::Null;
    for event in events.text().split("\n\n").filter(|event| !event.is_empty()) {
        let (kind, data) = event.split_once("\ndata: ").expect("an event with data");
        let data: Value = serde_json::from_str(data).expect("it is JSON");
        match kind {
            "event: text" => pieces += data["text"].as_str().expect("a text"),
            "event: done" => last = data,
            _ => panic!("{event}"),
        }
    }
    assert_eq!((pieces.as_str(), &last["text"], &last["ended"]), ("c", &json!("c"), &json!(true)));
    // A client that goes away ends its text, so that the next one has its turn.
    let mut gone = live("text/plain", "/generate/story?max=1000000000", "{\"prompt\": \"a\"}");
    assert!(gone.has_answer_soon());
    drop(gone);
    assert_eq!(told("{\"prompt\": \"a\"}")["text"], "bc \u{fffd}");
    // Other weights are read once, whatever is asked of them.
    let other = Server::start(&home.folder.join("next"), &["--weights", &home.weights]);
    let told = other.post("/generate/story?max=4", "{\"prompt\": \"a\"}").fine();
    assert_eq!(told["text"], "bc \u{fffd}");
    assert_eq!(other.post("/generate/numbers", "{}").fine()["tokens"], json!([99, 32, 195]));
    // And what cannot be.
    server.post("/generate", "{}").fails(404, &["/generate/story", "/generate/wild"]);
    // The model itself can be asked as well.
    server.post("/predict", "{}").fails(422, &["`tokens` is missing"]);
    let post = |body: &str| server.post("/generate/story", body);
    post("{\"promt\": \"a\"}").fails(422, &["no input `promt`", "`prompt`"]);
    post("{}").fails(422, &["`prompt` is missing"]);
    post("{\"prompt\": 1}").fails(422, &["`prompt` is no text"]);
    post("{\"prompt\": \"\"}").fails(422, &["no token to begin with"]);
    post("[]").fails(422, &["1 to 64 rows"]);
    server.post("/generate/story?max=0", "{\"prompt\": \"a\"}").fails(422, &["`max`"]);
    server.post("/generate/story?max=many", "{\"prompt\": \"a\"}").fails(400, &["`max`", "many"]);
    server.ask("POST", "/generate/story", "image/png", "a").fails(422, &["JSON", "prompt"]);
    let card = server.ask("GET", "/model", "", "").fine();
    assert_eq!(card["generations"][0]["inputs"], json!({ "prompt": "text" }));
    server.is_well();
}

#[test]
fn a_text_ends_at_its_time_and_the_server_after_it() {
    let (_home, server) = story("serve_generate_time", &["--timeout", "1"]);
    let endless = "/generate/story?max=1000000000";
    let cut = server.post(endless, "{\"prompt\": \"a\"}").fine();
    assert_eq!(cut["ended"], false);
    assert!(cut["text"].as_str().is_some_and(|text| text.starts_with("bc é,\nabc é,\n")));
    let mut client = server.connect();
    let headers = [("content-type", "application/json"), ("accept", "text/plain")];
    client.send(&request("POST", endless, &headers, b"{\"prompt\": \"a\"}"));
    assert!(client.has_answer_soon());
    server.signal("TERM");
    assert!(client.answer().text().starts_with("bc é,\nabc é,\n"));
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn what_has_begun_is_answered_before_the_end() {
    let digits = digits("serve_stop");
    let due = alone(&digits, ROWS.start);
    let body = json_row(ROWS.start);
    for name in ["TERM", "INT"] {
        let server = Server::start(&digits, &[]);
        let mut idle = server.connect();
        idle.send(&request("GET", "/health", &[], b""));
        assert_eq!(idle.answer().status, 200);
        let mut half = server.connect();
        half.send(b"GET /heal");
        let mut client = server.connect();
        let length = body.len().to_string();
        let headers = [("expect", "100-continue"), ("content-length", &length)];
        client.send(&request("POST", "/predict", &headers, b""));
        // Now it reads the body, so the request has begun.
        assert_eq!(client.answer().status, 100);
        server.signal(name);
        // Who asks for nothing is let go; only then is it sure that it was told.
        assert!(idle.is_closed());
        client.send(body.as_bytes());
        assert_eq!(client.answer().fine(), due);
        assert_eq!(server.ended(), Some(0), "{name}");
    }
}
