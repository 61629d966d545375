//! Where bytes meet the faults of their leg: a [`Reader`] behind the sender's socket, a [`Writer`] before the
//! receiver's.
//!
//! ```text
//!   sender's socket ─▶ Reader: stamp, queue, wait until due ─▶ (bytes or messages) ─▶ Writer: hold ─▶ receiver's
//! ```
//!
//! A chunk is stamped when it is read and released when its time has come, so a delay needs no task and no sleep for
//! each chunk, and keeps the order. The end of a stream and its reset are stamped and queued like bytes. Both gates
//! look at their leg's faults before each byte passes, so a hold works from the moment it is put in, also on what
//! the reader had already let through.

mod line;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures::task::AtomicWaker;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::effect::{ByteFault, Effect, LetOut};
use super::{Half, Leg};

/// Bytes that one gate keeps while they wait for their time; then it stops reading, and TCP holds the sender back.
const MOST_WAITING: usize = 4 << 20;

/// Pieces that one gate keeps likewise: each costs more than a hundred bytes, however short a fault slices them.
const MOST_PIECES: usize = 32 << 10;

/// Bytes taken at once.
const CHUNK: usize = 64 << 10;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Side {
    stream: TcpStream,
    /// A write failed. The kernel tells of a reset only once, to a read or to a write; the other sees a mere end.
    broken: AtomicBool,
    /// Its reader has given a reset, not an end.
    was_reset: AtomicBool,
}

impl Side {
    pub(crate) fn new(stream: TcpStream) -> Arc<Side> {
        // Nagle's wait would be a delay that nobody asked for. It fails only where the peer is already gone.
        let _ = stream.set_nodelay(true);
        Arc::new(Side {
            stream,
            broken: AtomicBool::new(false),
            was_reset: AtomicBool::new(false),
        })
    }

    /// Whether its reader has given a reset.
    pub(crate) fn was_reset(&self) -> bool {
        self.was_reset.load(Ordering::SeqCst)
    }

    /// Its peer gets a reset at once, and its tasks here an end.
    pub(crate) fn reset(&self) {
        reset(&self.stream);
    }
}

/// One leg: its faults, its live gates, its counters.
#[derive(Debug)]
pub(crate) struct LegState {
    pub(crate) leg: Leg,
    seed: u64,
    /// Counts the changes of `effect`, so that a gate sees one without a lock.
    version: AtomicU64,
    faults: Mutex<Faults>,
    gates: Mutex<BTreeMap<u64, Arc<Bell>>>,
    changed: Notify,
    made: AtomicU64,
    /// Chunks that were queued.
    chunks: AtomicU64,
    taken: AtomicU64,
    delivered: AtomicU64,
    waiting: AtomicU64,
}

#[derive(Debug, Default)]
struct Faults {
    by_guard: BTreeMap<u64, ByteFault>,
    effect: Arc<Effect>,
}

/// How a gate is woken, and whether it is at work right now.
#[derive(Debug, Default)]
struct Bell {
    waker: AtomicWaker,
    busy: AtomicBool,
}

impl LegState {
    pub(crate) fn new(leg: Leg, seed: u64) -> LegState {
        LegState {
            leg,
            seed,
            version: AtomicU64::new(0),
            faults: Mutex::default(),
            gates: Mutex::default(),
            changed: Notify::new(),
            made: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    pub(crate) fn put(&self, id: u64, mut fault: ByteFault) {
        if let ByteFault::HoldBack(held_back) = &mut fault {
            held_back.since = self.chunks.load(Ordering::SeqCst);
        }
        self.change(|faults| _ = faults.insert(id, fault));
    }

    /// Lets more out of what this fault holds back, if it does.
    pub(crate) fn let_out(&self, id: u64, more: LetOut) {
        self.change(|faults| {
            if let Some(ByteFault::HoldBack(held_back)) = faults.get_mut(&id) {
                held_back.let_out(more);
            }
        });
    }

    pub(crate) fn take(&self, id: u64) {
        self.change(|faults| {
            faults.remove(&id);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, ByteFault>)) {
        {
            let mut faults = self.faults.lock().unwrap();
            change(&mut faults.by_guard);
            let folded = Effect::of(faults.by_guard.iter().map(|(&id, fault)| (id, fault)));
            faults.effect = Arc::new(folded);
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        for bell in self.gates.lock().unwrap().values() {
            bell.waker.wake();
        }
        self.changed.notify_waiters();
    }

    /// Waits until the end of a connection would pass this leg.
    pub(crate) async fn lets_ends_pass(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let effect = self.effect();
            if !effect.held && !effect.holds_back() && !effect.vanish {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn effect(&self) -> Arc<Effect> {
        self.faults.lock().unwrap().effect.clone()
    }

    /// Whether no gate is between its look at the faults and its byte: then every later byte meets the faults of now.
    pub(crate) fn settled(&self) -> bool {
        let gates = self.gates.lock().unwrap();
        gates.values().all(|bell| !bell.busy.load(Ordering::SeqCst))
    }

    /// Bytes read from senders.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes written to receivers.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    /// Bytes that wait for their time.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn gate(self: &Arc<Self>) -> Gate {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let bell = Arc::new(Bell::default());
        self.gates.lock().unwrap().insert(number, bell.clone());
        let faults = self.faults.lock().unwrap();
        Gate {
            version: self.version.load(Ordering::SeqCst),
            effect: faults.effect.clone(),
            leg: self.clone(),
            number,
            bell,
        }
    }
}

/// What reader and writer share: the faults as last seen, and the bell that tells of newer ones.
#[derive(Debug)]
struct Gate {
    leg: Arc<LegState>,
    number: u64,
    bell: Arc<Bell>,
    version: u64,
    effect: Arc<Effect>,
}

impl Gate {
    /// Begins one look: from here to [`Gate::end`] a byte may pass. Gives whether the faults have changed.
    fn begin(&mut self, cx: &Context<'_>) -> bool {
        self.bell.waker.register(cx.waker());
        self.bell.busy.store(true, Ordering::SeqCst);
        if self.leg.version.load(Ordering::SeqCst) == self.version {
            return false;
        }
        let faults = self.leg.faults.lock().unwrap();
        self.version = self.leg.version.load(Ordering::SeqCst);
        self.effect = faults.effect.clone();
        true
    }

    fn end(&self) {
        self.bell.busy.store(false, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.leg.gates.lock().unwrap().remove(&self.number);
    }
}

/// What waits in a reader.
#[derive(Debug)]
struct Waiting {
    what: What,
    /// The how manieth of its leg, from 0.
    chunk: u64,
    read_at: Instant,
    due: Instant,
}

#[derive(Debug)]
enum What {
    Bytes(Bytes),
    End,
    Reset,
}

/// Reads one side's socket and gives its bytes when they are due.
///
/// The end of the stream is `Ok` with nothing read; a reset is `ConnectionReset`. Both come after every byte before
/// them, and neither while the leg is held.
#[derive(Debug)]
pub(crate) struct Reader {
    side: Arc<Side>,
    gate: Gate,
    queue: VecDeque<Waiting>,
    queued: usize,
    /// Nothing more is read: the end is queued, or was given.
    ended: bool,
    /// The sender's machine is gone: its end was swallowed.
    vanished: bool,
    /// When the link has sent all that was stamped.
    link_free: Instant,
    last_due: Instant,
    /// The limiting fault, and the bytes that still pass.
    limit: Option<(u64, u64)>,
    timer: Option<Pin<Box<Sleep>>>,
    rng: ChaCha8Rng,
    scratch: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(side: Arc<Side>, leg: &Arc<LegState>) -> Reader {
        let gate = leg.gate();
        let half = match leg.leg.half {
            Half::Request => 1,
            Half::Response => 2,
        };
        let seed = super::mix(leg.seed, &[leg.leg.route.number(), half, gate.number]);
        let now = Instant::now();
        let mut reader = Reader {
            side,
            gate,
            queue: VecDeque::new(),
            queued: 0,
            ended: false,
            vanished: false,
            link_free: now,
            last_due: now,
            limit: None,
            timer: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
            scratch: Vec::new(),
        };
        reader.meet(now);
        reader
    }

    /// Takes up changed faults: what waits is stamped anew by the new ones, from the time when it was read.
    fn meet(&mut self, now: Instant) {
        let effect = self.gate.effect.clone();
        self.limit = match (effect.limit, self.limit) {
            (Some((id, _)), Some((old, left))) if id == old => Some((id, left)),
            (limit, _) => limit,
        };
        if effect.half_close && !self.ended {
            self.push(What::End, now);
            self.ended = true;
        }
        if self.vanished && !effect.vanish {
            self.vanished = false;
            if let Some(front) = self.queue.front_mut() {
                front.what = What::Reset;
            }
        }
        if let Some(first) = self.queue.front() {
            self.link_free = first.read_at;
            self.last_due = first.read_at;
        }
        let mut queue = std::mem::take(&mut self.queue);
        for waiting in &mut queue {
            waiting.due = self.stamp(&waiting.what, waiting.read_at);
        }
        self.queue = queue;
    }

    fn stamp(&mut self, what: &What, read_at: Instant) -> Instant {
        let effect = self.gate.effect.clone();
        let late = effect.sample_delay(&mut self.rng);
        self.link_free = self.link_free.max(read_at);
        let extra = match what {
            What::Bytes(bytes) => {
                self.link_free += effect.busy_for(bytes.len());
                Duration::ZERO
            }
            What::End => effect.slow_close,
            What::Reset => Duration::ZERO,
        };
        self.last_due = self.last_due.max(self.link_free + late + extra);
        self.last_due
    }

    fn push(&mut self, what: What, read_at: Instant) {
        let due = self.stamp(&what, read_at);
        if let What::Bytes(bytes) = &what {
            self.queued += bytes.len();
            let leg = &self.gate.leg;
            leg.waiting.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let chunk = self.gate.leg.chunks.fetch_add(1, Ordering::SeqCst);
        self.queue.push_back(Waiting {
            what,
            chunk,
            read_at,
            due,
        });
    }

    /// The sender has sent its last byte, or is gone.
    fn end(&mut self, now: Instant) {
        let broken = self.side.broken.load(Ordering::SeqCst);
        self.push(if broken { What::Reset } else { What::End }, now);
        self.ended = true;
    }

    /// Takes what the sender has sent, as far as there is room.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while !self.ended && self.queued < MOST_WAITING && self.queue.len() < MOST_PIECES {
            if self.side.stream.poll_read_ready(cx).is_pending() {
                return;
            }
            self.scratch.resize(CHUNK, 0);
            let chunk = self.gate.effect.chunk(CHUNK);
            let result = self.side.stream.try_read(&mut self.scratch[..chunk]);
            let now = Instant::now();
            match result {
                Ok(0) => self.end(now),
                Ok(n) => {
                    self.gate.leg.taken.fetch_add(n as u64, Ordering::Relaxed);
                    let bytes = Bytes::copy_from_slice(&self.scratch[..n]);
                    self.push(What::Bytes(bytes), now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.push(What::Reset, now);
                    self.ended = true;
                }
            }
        }
    }

    /// Straight from the socket, where no fault is in and nothing waits.
    fn pass(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.side.stream.poll_read_ready(cx))?;
            match self.side.stream.try_read(buf.initialize_unfilled()) {
                // The slow path knows what to do with an end.
                Ok(0) => {
                    self.end(Instant::now());
                    return self.release(cx, buf);
                }
                Ok(n) => {
                    self.gate.leg.taken.fetch_add(n as u64, Ordering::Relaxed);
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.push(What::Reset, Instant::now());
                    self.ended = true;
                    return self.release(cx, buf);
                }
            }
        }
    }

    /// Gives what is due, or arms the timer.
    fn release(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some((_, 0)) = self.limit {
            self.side.was_reset.store(true, Ordering::SeqCst);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(front) = self.queue.front_mut() else {
            return Poll::Pending;
        };
        if !self.gate.effect.lets_out(front.chunk, front.read_at) {
            return Poll::Pending;
        }
        let due = front.due;
        if due > Instant::now() {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if timer.deadline() != due.into() {
                timer.as_mut().reset(due.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        match &mut front.what {
            What::Bytes(bytes) => {
                let mut n = bytes.len().min(buf.remaining());
                if let Some((_, left)) = &mut self.limit {
                    n = n.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= n as u64;
                }
                buf.put_slice(&bytes[..n]);
                bytes.advance(n);
                let empty = bytes.is_empty();
                self.queued -= n;
                self.gate.leg.waiting.fetch_sub(n as u64, Ordering::Relaxed);
                if empty {
                    self.queue.pop_front();
                }
                Poll::Ready(Ok(()))
            }
            What::End | What::Reset if self.gate.effect.vanish => {
                self.vanished = true;
                Poll::Pending
            }
            // The end stays queued: whoever asks again hears it again.
            What::End => Poll::Ready(Ok(())),
            What::Reset => {
                self.side.was_reset.store(true, Ordering::SeqCst);
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gate.begin(cx) {
            this.meet(Instant::now());
        }
        let result = if this.gate.effect.held {
            Poll::Pending
        } else if this.queue.is_empty() && !this.ended && this.gate.effect.passes_at_once() {
            this.pass(cx, buf)
        } else {
            this.fill(cx);
            this.release(cx, buf)
        };
        this.gate.end();
        result
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let queued = self.queued as u64;
        self.gate.leg.waiting.fetch_sub(queued, Ordering::Relaxed);
    }
}

/// Writes to the other side's socket, unless the leg is held.
#[derive(Debug)]
pub(crate) struct Writer {
    side: Arc<Side>,
    gate: Gate,
}

impl Writer {
    pub(crate) fn new(side: Arc<Side>, leg: &Arc<LegState>) -> Writer {
        Writer {
            side,
            gate: leg.gate(),
        }
    }

    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gate.effect.held {
            return Poll::Pending;
        }
        loop {
            ready!(self.side.stream.poll_write_ready(cx))?;
            match self.side.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.side.broken.store(true, Ordering::SeqCst);
                    return Poll::Ready(Err(error));
                }
                Ok(n) => {
                    self.gate
                        .leg
                        .delivered
                        .fetch_add(n as u64, Ordering::SeqCst);
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.gate.begin(cx);
        let result = this.pass(cx, bytes);
        this.gate.end();
        result
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends this half towards the receiver.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.gate.begin(cx);
        let result = if this.gate.effect.held {
            Poll::Pending
        } else {
            let socket = socket2::SockRef::from(&this.side.stream);
            Poll::Ready(socket.shutdown(std::net::Shutdown::Write))
        };
        this.gate.end();
        result
    }
}

/// Resets a connection, towards its peer.
pub(crate) fn reset(stream: &TcpStream) {
    // A disconnect (connect to AF_UNSPEC) sends the reset now, however many handles share the socket. Where it does
    // not apply any more, the connection is already gone; the linger makes the last close a reset too.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = rustix::net::connect_unspec(stream);
}

#[cfg(test)]
mod tests;
