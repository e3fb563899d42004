//! One connection of the API: HTTP/1.1 with keep-alive, and a bound on every wait. TLS has ended before it.
//!
//! - a request's head must be there [`ApiTimes::head`] after its first byte, and the first one after the connection's start;
//! - a connection between two requests is kept for [`ApiTimes::idle`];
//! - a client that takes nothing of its answer for [`ApiTimes::write`] is let go.
//!
//! How long a request's body may take is up to who reads it.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::Service,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{config::ApiTimes, metrics::Counters};

/// Bytes of a request's head, and of an answer on its way into the socket. Kubernetes' clients send some KiB.
const BUFFER_BYTES: usize = 64 << 10;

/// What every connection of a listener is served with.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) router: Router,
    pub(crate) times: ApiTimes,
    pub(crate) counters: Arc<Counters>,
}

/// Serves a connection to its end.
/// `peer`: who is at the far end; it goes with every request, as an extension. `stop` ends when the connection is to end:
/// what was begun is answered, and no more.
pub(crate) async fn serve<S, P>(
    stream: S,
    peer: P,
    keep_alive: bool,
    stop: impl Future<Output = ()>,
    serving: &Serving,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Clone + Send + Sync + 'static,
{
    let activity = Arc::new(Activity::new());
    let service = Noted {
        router: TowerToHyperService::new(serving.router.clone()),
        peer,
        activity: activity.clone(),
    };
    let stream = TokioIo::new(Timed { stream, activity: activity.clone() });
    let connection = http1::Builder::new()
        .keep_alive(keep_alive)
        .max_buf_size(BUFFER_BYTES)
        // Ours also tells a connection between two requests from one amid a head.
        .header_read_timeout(None)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let mut stop = pin!(stop);
    let mut stopped = false;
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        if !stopped && stop.as_mut().poll(context).is_ready() {
            stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        // What goes wrong on a connection is its client's affair.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // Whatever moves the deadline happens while the connection is polled.
        match activity.deadline(&serving.times) {
            Some(at) => {
                wait_until(at, alarm.as_mut(), context).map(|()| serving.counters.timed_out())
            }
            None => Poll::Pending,
        }
    })
    .await;
}

fn wait_until(at: Instant, mut alarm: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<()> {
    if alarm.deadline() != at {
        alarm.as_mut().reset(at);
    }
    alarm.poll(context)
}

/// What a connection is waiting for.
struct Activity(Mutex<State>);

#[derive(Clone, Copy)]
struct State {
    phase: Phase,
    /// Since when the client has taken nothing of what is to be sent.
    blocked: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// For the next request.
    Idle(Instant),
    /// For the rest of a head, or the first byte of the first one.
    Head(Instant),
    /// For the hub, or for more of a body.
    Serving,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(State { phase: Phase::Head(Instant::now()), blocked: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self, times: &ApiTimes) -> Option<Instant> {
        let state = *self.state();
        match (state.blocked, state.phase) {
            (Some(since), _) => Some(since + times.write),
            (None, Phase::Idle(since)) => Some(since + times.idle),
            (None, Phase::Head(since)) => Some(since + times.head),
            (None, Phase::Serving) => None,
        }
    }

    fn heard(&self) {
        let mut state = self.state();
        if let Phase::Idle(_) = state.phase {
            state.phase = Phase::Head(Instant::now());
        }
    }

    fn wrote(&self, some: bool) {
        let mut state = self.state();
        state.blocked = if some { None } else { state.blocked.or_else(|| Some(Instant::now())) };
    }

    fn is(&self, phase: Phase) {
        self.state().phase = phase;
    }
}

/// Says of each request who sends it, and notes when it begins and when its answer has been handed over.
struct Noted<P> {
    router: TowerToHyperService<Router>,
    /// Who is at the other end.
    peer: P,
    activity: Arc<Activity>,
}

impl<P: Clone + Send + Sync + 'static> Service<Request<Incoming>> for Noted<P> {
    type Response = Response<NotedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.activity.is(Phase::Serving);
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.call(request);
        let activity = self.activity.clone();
        Box::pin(async move { Ok(answer.await?.map(|body| NotedBody { body, activity })) })
    }
}

/// A body; the connection is idle once hyper has done with it.
struct NotedBody {
    body: Body,
    activity: Arc<Activity>,
}

impl Drop for NotedBody {
    fn drop(&mut self) {
        self.activity.is(Phase::Idle(Instant::now()));
    }
}

impl hyper::body::Body for NotedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that notes when bytes come and when none can go.
struct Timed<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Timed<S> {
    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.wrote(written.is_ready());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written may still wait here, encrypted.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
