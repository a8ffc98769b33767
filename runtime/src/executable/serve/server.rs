//! Listens, holds the clients' connections, and stops when it is told to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::answer::{Problem, refusal};
use super::wire::{Begun, Clock, Pulse, Wire, close};
use super::{State, route};
use crate::command::{Failure, output};

/// Headers of a request, and bytes of all of them.
const HEADERS: usize = 64;
const HEAD: usize = 32 << 10;
/// Threads that make tensors of large bodies.
const DECODERS: usize = 2;
/// A client that was told to go, or whose request was refused unread, is listened to for so long that it reads why.
const FAREWELL: Duration = Duration::from_secs(2);
/// Clients that are being told that there are too many, at once; more are cut off.
const REFUSED: usize = 64;
/// How long a connection on which no request has begun lives on when the server stops.
const GRACE: Duration = Duration::from_millis(200);

/// Serves until the process is told to stop, and then until what has begun is answered.
pub fn run(state: Arc<State>) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::environment(format!("cannot serve: {}", crate::error::plain(&error)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(DECODERS)
        .build()
        .map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let told = move || {
        // Who says it twice does not want to wait.
        if stop.send_replace(true) {
            exit(130);
        }
    };
    ctrlc::set_handler(told).map_err(|error| Failure::environment(format!("cannot serve: {error}")))?;
    runtime.block_on(async {
        let address = SocketAddr::new(state.options.host, state.options.port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let message = format!("cannot listen at {address}: {}", crate::error::plain(&error));
            Failure::environment(message)
                .help("another process may: take another --port, or 0 for a free one")
        })?;
        output::line(&format!("listening at http://{}", listener.local_addr().map_err(failed)?));
        serve(state, listener, stopped).await;
        Ok(())
    })
}

async fn serve(state: Arc<State>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(state.options.connections));
    let refused = Arc::new(Semaphore::new(REFUSED));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => Arc::new(stream),
            // The client has gone again, or there are no more files: that passes.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // Answers are written whole: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let (state, stopped) = (Arc::clone(&state), stopped.clone());
            tokio::spawn(async move {
                connection(&state, stream, stopped).await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&refused).try_acquire_owned() {
            tokio::spawn(async move {
                tell(&stream, &Problem::busy("there are too many clients")).await;
                drop(place);
            });
        }
    }
    drop(listener);
    // Every place is free when every client has gone. Each has limits of its own, of which this is the sum.
    let all = u32::try_from(state.options.connections).unwrap_or(u32::MAX);
    let longest = 3 * state.options.timeout + FAREWELL;
    if timeout(longest, places.acquire_many(all)).await.is_err() {
        output::note("note: some clients did not take their answers in time");
    }
}

/// One client, from request to request.
async fn connection(state: &Arc<State>, stream: Arc<TcpStream>, mut stopped: watch::Receiver<bool>) {
    let patience = state.options.timeout;
    let pulse = Arc::new(Pulse::default());
    let service = service_fn(|request| {
        let pulse = &pulse;
        async move {
            let begun = Begun::new(pulse);
            let (head, body) = route::answer(state, request).await.into_parts();
            if head.headers.contains_key(hyper::header::CONNECTION) {
                pulse.unread.store(true, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(Response::from_parts(head, body.until_written(begun)))
        }
    });
    let served = {
        let connection = http1::Builder::new()
            .timer(Clock)
            .header_read_timeout(patience)
            .max_headers(HEADERS)
            .max_buf_size(HEAD)
            .serve_connection(Wire::new(Arc::clone(&stream), patience, Arc::clone(&pulse)), service);
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => Some(served),
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        match served {
            Some(served) => served,
            None => {
                connection.as_mut().graceful_shutdown();
                // A request of which only a part of the head is here has not begun.
                match timeout(GRACE, connection.as_mut()).await {
                    Ok(served) => served,
                    Err(_) if pulse.is_idle() => return,
                    Err(_) => connection.await,
                }
            }
        }
    };
    match served {
        // Who has asked for nothing is not told that it took too long.
        Err(error) if error.is_timeout() && pulse.partial.load(Ordering::Relaxed) => {
            tell(&stream, &Problem::slow("the head of a request")).await;
        }
        // The library has said what is wrong with it.
        Err(error) if error.is_parse() => farewell(&stream).await,
        _ if pulse.unread.load(Ordering::Relaxed) => farewell(&stream).await,
        _ => {}
    }
}

/// Answers before any request was read, and ends the connection.
async fn tell(stream: &TcpStream, problem: &Problem) {
    // It fits into the socket's buffer, which is empty, or the client is gone.
    if stream.try_write(&refusal(problem)).is_ok() && close(stream).is_ok() {
        farewell(stream).await;
    }
}

/// Takes what still comes and drops it: a socket that is closed with unread bytes would take the answer with it.
async fn farewell(stream: &TcpStream) {
    let drained = async {
        let mut dropped = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut dropped) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let _ = timeout(FAREWELL, drained).await;
}
