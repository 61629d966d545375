//! A connection taken apart into gRPC messages: an HTTP/2 server towards the dialler, an HTTP/2 client towards the
//! node, and between them each message with its own fate.
//!
//! ```text
//!   dialler ─▶ Reader ─▶ HTTP/2 server ─▶ fate ─▶ HTTP/2 client ─▶ Writer ─▶ node
//!           ◀─ Writer ◀─               ◀─ fate ◀─               ◀─ Reader ◀─
//! ```
//!
//! A unary request is taken whole, and it is delivered although its sender has given up meanwhile: a Raft node drops
//! the call at its deadline, and it is the late vote that tests the others. Streams pass through, message by message,
//! and end when either side ends them. The byte-level faults of both legs act as ever:
//! the gates sit on both sockets. HTTP/2 is spoken with each side, so a ping is answered here, not by the node.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header, request};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Half;
use super::gate::{Reader, Side, Writer};
use super::listener::{Ending, RouteState};
use super::rule::{Fate, HEADER, Method};

/// Unary requests of one connection that are on their way at once; further ones wait at the door.
const MOST_UNDER_WAY: usize = 1024;

/// The longest message that is kept whole. A node sends snapshots in chunks of 1 MiB and limits its batches.
const MOST_MESSAGE: usize = 64 << 20;

/// What one stream keeps while its messages wait for their time.
const MOST_WAITING: usize = 4 << 20;
/// Messages that a stream keeps likewise: each costs more than a hundred bytes, however short it is.
const MOST_READY: usize = 32 << 10;

/// How long what was said before the node's end may take to reach the dialler, before that end does.
const LAST_ANSWERS: Duration = Duration::from_millis(20);

/// How long late requests of a dialler that is gone may take.
const LATE_REQUESTS: Duration = Duration::from_secs(60);

/// Room for messages of a megabyte without waiting for the other side's leave.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME: u32 = 256 << 10;

/// Why a call or a stream breaks.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// One of its ends broke it; the reason passes on.
    #[error(transparent)]
    End(#[from] hyper::Error),
    /// Not what a node may send.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// A rule said so.
    #[error("the stream is cut here on purpose")]
    Cut,
}

type Out = UnsyncBoxBody<Bytes, Broken>;

/// Joins two sockets by messages until either is gone.
pub(super) async fn join(route: Arc<RouteState>, down: Arc<Side>, up: Arc<Side>) -> Ending {
    let [request, response] = &route.legs;
    let near = Socket {
        reader: Reader::new(down.clone(), request),
        writer: Writer::new(down.clone(), response),
    };
    let far = Socket {
        reader: Reader::new(up.clone(), response),
        writer: Writer::new(up.clone(), request),
    };
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_reset_streams(MOST_UNDER_WAY)
        .handshake::<_, Out>(TokioIo::new(far))
        .await;
    let Ok((sender, far)) = handshake else {
        response.lets_ends_pass().await;
        return Ending::Reset;
    };
    let exchange = Arc::new(Exchange {
        route: route.clone(),
        sender,
        room: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
    });
    let service = hyper::service::service_fn(move |request| {
        let exchange = exchange.clone();
        async move { exchange.meet(request).await }
    });
    let near = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(4096)
        // A dialler that gives up a lot is what is looked for here, not an attack.
        .max_pending_accept_reset_streams(MOST_UNDER_WAY)
        .max_local_error_reset_streams(None)
        .serve_connection(TokioIo::new(near), service);
    let mut near = Box::pin(near);
    let mut far = std::pin::pin!(far);
    tokio::select! {
        // The dialler is gone: what it has sent still arrives, then the node hears of it.
        _ = &mut near => {
            drop(near);
            let _ = tokio::time::timeout(LATE_REQUESTS, far).await;
            if down.was_reset() { Ending::Reset } else { Ending::Finished }
        }
        // The node is gone: its last answers pass, then the dialler hears of it, if it can hear at all.
        _ = &mut far => {
            near.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_ANSWERS, &mut near).await;
            let alone = async {
                // Meanwhile the dialler may go too.
                let _ = near.await;
            };
            tokio::select! {
                () = response.lets_ends_pass() => {}
                () = alone => {}
            }
            if up.was_reset() { Ending::Reset } else { Ending::Finished }
        }
    }
}

/// One end's socket behind its two gates.
struct Socket {
    reader: Reader,
    writer: Writer,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// What the calls of one connection share.
struct Exchange {
    route: Arc<RouteState>,
    sender: SendRequest<Out>,
    room: Arc<Semaphore>,
}

impl Exchange {
    async fn meet(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Out>, Broken> {
        if let Some(authenticator) = &self.route.authenticator
            && let Err(status) = authenticator.check(request.headers())
        {
            // No rule counts it: a stranger must not shift the fates that the seed deals.
            return Ok(status.into_http::<()>().map(|()| empty_body()));
        }
        let method = Method::of(request.uri().path());
        if method.is_unary() {
            self.unary(method, request).await
        } else {
            self.stream(method, request).await
        }
    }

    async fn unary(
        self: Arc<Self>,
        method: Method,
        request: Request<Incoming>,
    ) -> Result<Response<Out>, Broken> {
        let Ok(place) = self.room.clone().acquire_owned().await else {
            return lost().await;
        };
        let (mut head, body) = request.into_parts();
        let message = whole(body).await?;
        let mut fate = self.route.rules.decide(method, Half::Request, 1, &message);
        if let Some(code) = fate.fail {
            return Ok(failed(code));
        }
        if fate.drop_request {
            drop(place);
            return lost().await;
        }
        let request = self.route.leg(Half::Request).effect();
        if !fate.late.is_zero() || fate.copies > 0 || !request.delays.is_empty() || request.held {
            // The node would give up what comes late, counted from when it left.
            head.headers.remove("grpc-timeout");
        }
        let message = match fate.corrupt {
            Some(bit) => flipped(&message, bit),
            None => message,
        };
        if let Some(old) = fate.replay.take() {
            tokio::spawn(self.clone().deliver_for_nobody(head.clone(), old));
        }
        let delivery = async move {
            let _place = place;
            self.deliver(method, head, message, fate).await
        };
        match Undeterred(Some(Box::pin(delivery))).await {
            Some(response) => response,
            None => lost().await,
        }
    }

    /// Brings one unary request to the node and gives its answer; `None` where there is none to give.
    async fn deliver(
        self: Arc<Self>,
        method: Method,
        head: request::Parts,
        message: Bytes,
        fate: Fate,
    ) -> Option<Result<Response<Out>, Broken>> {
        if !fate.late.is_zero() {
            tokio::time::sleep(fate.late).await;
        }
        drop(fate.held);
        for copy in 1..=fate.copies {
            let again = self
                .clone()
                .deliver_for_nobody(head.clone(), message.clone());
            let gap = fate.gap * copy;
            tokio::spawn(async move {
                tokio::time::sleep(gap).await;
                again.await;
            });
        }
        let (head, body) = match self.send(head, whole_body(message)).await {
            Ok(response) => response.into_parts(),
            // Without its node nobody answers; the connection's end is about to be heard.
            Err(_) if self.sender.is_closed() => return None,
            Err(error) => return Some(Err(error.into())),
        };
        let collected = match body.collect().await {
            Ok(collected) => collected,
            Err(_) if self.sender.is_closed() => return None,
            Err(error) => return Some(Err(error.into())),
        };
        let rules = &self.route.rules;
        let late = rules
            .decide(method, Half::Response, 1, &Bytes::new())
            .late_response;
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        let body = collected.map_err(|never| match never {}).boxed_unsync();
        let response = Response::from_parts(head, body);
        (!fate.drop_response).then_some(Ok(response))
    }

    /// Brings a copy to the node; what it answers is thrown away.
    async fn deliver_for_nobody(self: Arc<Self>, head: request::Parts, message: Bytes) {
        if let Ok(response) = self.send(head, whole_body(message)).await {
            let _ = response.into_body().collect().await;
        }
    }

    async fn send(&self, head: request::Parts, body: Out) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(Request::from_parts(head, body)).await
    }

    async fn stream(
        self: Arc<Self>,
        method: Method,
        request: Request<Incoming>,
    ) -> Result<Response<Out>, Broken> {
        let framed = |half, body| {
            let route = self.route.clone();
            Framed::new(body, route, method, half).boxed_unsync()
        };
        let (head, body) = request.into_parts();
        match self.send(head, framed(Half::Request, body)).await {
            Ok(response) => Ok(response.map(|body| framed(Half::Response, body))),
            Err(_) if self.sender.is_closed() => lost().await,
            Err(error) => Err(error.into()),
        }
    }
}

/// A delivery that goes on, in a task of its own, when whoever waits for it gives up. Until then it needs no task.
struct Undeterred<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Future for Undeterred<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let delivery = self.0.as_mut().expect("it is not polled after its end");
        let polled = delivery.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Undeterred<T> {
    fn drop(&mut self) {
        if let (Some(delivery), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(delivery);
        }
    }
}

/// A call that is never answered; it ends when the dialler gives it up, or with the connection.
async fn lost() -> Result<Response<Out>, Broken> {
    std::future::pending().await
}

fn failed(code: u8) -> Response<Out> {
    let mut response = Response::new(empty_body());
    let headers = response.headers_mut();
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let message = HeaderValue::from_static("failed on purpose before it was forwarded");
    headers.insert("grpc-message", message);
    response
}

fn empty_body() -> Out {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn whole_body(message: Bytes) -> Out {
    Full::new(message)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The one message of a unary request. It is not waited for the end of the stream: if the dialler has given up in the
/// same breath (as after a hold), its message counts all the same.
async fn whole(mut body: Incoming) -> Result<Bytes, Broken> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    loop {
        let so_far = first.as_deref().unwrap_or(&all);
        if length(so_far)?.is_some_and(|length| so_far.len() >= length) {
            break;
        }
        let Some(frame) = body.frame().await else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// The length of the message that begins here, its header included; `None` where the header is not whole yet.
fn length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let Some(&[_, a, b, c, d]) = bytes.get(..HEADER) else {
        return Ok(None);
    };
    let payload = u32::from_be_bytes([a, b, c, d]) as usize;
    if payload > MOST_MESSAGE {
        return Err(Broken::TooLong(payload));
    }
    Ok(Some(HEADER + payload))
}

/// The message with one bit of its payload flipped.
pub(super) fn flipped(message: &Bytes, bit: u64) -> Bytes {
    let mut bytes = message.to_vec();
    let payload = &mut bytes[HEADER..];
    let at = usize::try_from(bit % (payload.len() as u64 * 8)).unwrap_or(0);
    payload[at / 8] ^= 1 << (at % 8);
    bytes.into()
}

/// One half of a stream, message by message, each at its time and in order.
struct Framed {
    inner: Incoming,
    route: Arc<RouteState>,
    method: Method,
    half: Half,
    /// The beginning of a message.
    part: BytesMut,
    ready: VecDeque<Queued>,
    waiting: usize,
    last_due: Instant,
    seen: u64,
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    end: Option<End>,
}

/// One message of a stream that waits for its time, and for the end of what stalls it.
struct Queued {
    bytes: Bytes,
    due: Instant,
    until: Option<CancellationToken>,
}

/// How a stream ends after what is ready.
enum End {
    Over(Option<HeaderMap>),
    Broken(Broken),
}

impl Framed {
    fn new(inner: Incoming, route: Arc<RouteState>, method: Method, half: Half) -> Framed {
        Framed {
            inner,
            route,
            method,
            half,
            part: BytesMut::new(),
            ready: VecDeque::new(),
            waiting: 0,
            last_due: Instant::now(),
            seen: 0,
            timer: None,
            stalled: None,
            end: None,
        }
    }

    /// Takes what has come, as far as there is room.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && self.waiting < MOST_WAITING && self.ready.len() < MOST_READY {
            let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(frame) => frame,
            };
            self.end = match frame {
                None => Some(End::Over(None)),
                Some(Err(error)) => Some(End::Broken(error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.split(data).err().map(End::Broken),
                    Err(frame) => Some(End::Over(frame.into_trailers().ok())),
                },
            };
        }
        if matches!(self.end, Some(End::Over(_))) && !self.part.is_empty() {
            // Half a message before the end: not ours to judge.
            let rest = self.part.split().freeze();
            self.queue(rest, self.last_due, None);
        }
    }

    fn split(&mut self, data: Bytes) -> Result<(), Broken> {
        let mut data = if self.part.is_empty() {
            data
        } else {
            self.part.extend_from_slice(&data);
            self.part.split().freeze()
        };
        while let Some(length) = length(&data)?.filter(|&length| data.len() >= length) {
            self.message(data.split_to(length))?;
        }
        if !data.is_empty() {
            self.part.extend_from_slice(&data);
        }
        Ok(())
    }

    fn message(&mut self, message: Bytes) -> Result<(), Broken> {
        self.seen += 1;
        let rules = &self.route.rules;
        let fate = rules.decide(self.method, self.half, self.seen, &message);
        if fate.cut {
            return Err(Broken::Cut);
        }
        let due = Instant::now() + fate.late + fate.late_response;
        self.queue(message, due, fate.stalled_until);
        Ok(())
    }

    fn queue(&mut self, bytes: Bytes, due: Instant, until: Option<CancellationToken>) {
        self.last_due = self.last_due.max(due);
        self.waiting += bytes.len();
        let due = self.last_due;
        self.ready.push_back(Queued { bytes, due, until });
    }

    /// The next message, once it is due and nothing stalls it.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(front) = self.ready.front_mut() else {
            return Poll::Ready(None);
        };
        let due = front.due;
        if let Some(until) = front.until.take() {
            self.stalled = Some(Box::pin(until.cancelled_owned()));
        }
        if let Some(stalled) = &mut self.stalled {
            ready!(stalled.as_mut().poll(cx));
            self.stalled = None;
        }
        if due > Instant::now() {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if timer.deadline() != due.into() {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(cx));
        }
        let bytes = self.ready.pop_front().map(|queued| queued.bytes);
        self.waiting -= bytes.as_ref().map_or(0, Bytes::len);
        Poll::Ready(bytes)
    }
}

impl Body for Framed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        this.fill(cx);
        if let Some(bytes) = ready!(this.next(cx)) {
            if (this.method, this.half) == (Method::InstallSnapshot, Half::Request) {
                this.route.pieces_passed.fetch_add(1, Ordering::Relaxed);
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match this.end.take() {
            None => Poll::Pending,
            Some(End::Over(trailers)) => {
                this.end = Some(End::Over(None));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Some(End::Broken(error)) => {
                this.end = Some(End::Over(None));
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}
