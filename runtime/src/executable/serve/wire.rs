//! A client's socket and the clock as the HTTP library wants them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{ReadBufCursor, Sleep, Timer};
use tokio::net::TcpStream;

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// What is going on on a connection, for who wants to end it.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Requests whose answers are not written yet, but for what the socket has not taken.
    requests: AtomicUsize,
    stuck: AtomicBool,
    /// Bytes have come that belong to no request yet.
    pub partial: AtomicBool,
    /// A request was refused before all of it was read.
    pub unread: AtomicBool,
}

impl Pulse {
    pub fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.stuck.load(Ordering::Relaxed)
    }
}

/// A request that has begun, until this is dropped.
#[derive(Debug)]
pub struct Begun(Arc<Pulse>);

impl Begun {
    pub fn new(pulse: &Arc<Pulse>) -> Begun {
        pulse.requests.fetch_add(1, Ordering::Relaxed);
        pulse.partial.store(false, Ordering::Relaxed);
        Begun(Arc::clone(pulse))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.partial.store(false, Ordering::Relaxed);
    }
}

/// A socket. A client that takes nothing of its answer for as long as our patience lasts is left alone.
pub struct Wire {
    stream: Arc<TcpStream>,
    patience: Duration,
    pulse: Arc<Pulse>,
    /// Since nothing more can be written.
    stuck: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Wire {
    pub fn new(stream: Arc<TcpStream>, patience: Duration, pulse: Arc<Pulse>) -> Wire {
        Wire { stream, patience, pulse, stuck: None }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        let most = to.remaining().min(CHUNK);
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(&mut chunk[..most]) {
                Ok(count) => {
                    to.put_slice(&chunk[..count]);
                    self.pulse.partial.store(true, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        loop {
            match wire.stream.poll_write_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    let patience = wire.patience;
                    wire.pulse.stuck.store(true, Ordering::Relaxed);
                    let stuck = wire.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    ready!(stuck.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            match wire.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    if wire.stuck.take().is_some() {
                        wire.pulse.stuck.store(false, Ordering::Relaxed);
                    }
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(close(&self.stream))
    }
}

/// Says that nothing more will be written.
pub fn close(stream: &TcpStream) -> io::Result<()> {
    // A second handle to the same socket, as only it can be told that.
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?).shutdown(std::net::Shutdown::Write)
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsSocket;
        std::net::TcpStream::from(stream.as_socket().try_clone_to_owned()?)
            .shutdown(std::net::Shutdown::Write)
    }
}

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, end: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(tokio::time::sleep_until(end.into()))))
    }
}

struct Nap(Pin<Box<tokio::time::Sleep>>);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Sleep for Nap {}
