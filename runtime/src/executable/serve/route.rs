//! Which request is about what.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::answer::{Body, Problem, value};
use super::{State, card};

pub async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    match find(state, request).await {
        Ok(answer) => answer,
        Err(problem) => problem.answer(),
    }
}

async fn find(state: &State, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let posts = *request.method() == Method::POST;
    match parts[..] {
        ["health"] if reads => {
            Ok(value(&json!({ "status": "ok", "model": state.payload.manifest.program.name })))
        }
        [] | ["model"] if reads => Ok(value(&card::card(&state.payload.manifest))),
        [] | ["health" | "model"] => Err(Problem::method("GET, HEAD")),
        ["predict"] | ["predict", _] if posts => {
            let item = named(&state.predictions, parts.get(1).copied(), "predict", |item| item.name)?;
            item.answer(state, request).await
        }
        ["generate"] | ["generate", _] if posts => {
            let item = named(&state.generations, parts.get(1).copied(), "generate", |item| item.name)?;
            item.answer(state, request).await
        }
        ["predict" | "generate"] | ["predict" | "generate", _] => Err(Problem::method("POST")),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
            .help("GET / says what there is")),
    }
}

/// The item of a name; without one, the only item.
fn named<'s, T>(
    items: &'s [T],
    name: Option<&str>,
    verb: &str,
    of: impl Fn(&T) -> &str,
) -> Result<&'s T, Problem> {
    let missing = |message: String| {
        let there: Vec<String> = items.iter().map(|item| format!("/{verb}/{}", of(item))).collect();
        let problem = Problem::new(StatusCode::NOT_FOUND, message);
        problem.help(format!("there is: {}", there.join(", "))).unread()
    };
    match (name, items) {
        (_, []) => {
            Err(Problem::new(StatusCode::NOT_FOUND, format!("this model has nothing to {verb}")).unread())
        }
        (Some(name), items) => items
            .iter()
            .find(|item| of(item) == name)
            .ok_or_else(|| missing(format!("there is no `{name}` to {verb}"))),
        (None, [only]) => Ok(only),
        (None, _) => Err(missing(format!("there are several things to {verb}"))),
    }
}

/// The value of a name in a request's query: `?seed=3`.
pub fn query<'r>(request: &'r Request<Incoming>, name: &str) -> Option<&'r str> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// The same for a whole number.
pub fn number(request: &Request<Incoming>, name: &str) -> Result<Option<u64>, Problem> {
    let wrong = |value: &str| {
        Problem::new(StatusCode::BAD_REQUEST, format!("`{name}` is a whole number, not `{value}`"))
    };
    query(request, name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
}
