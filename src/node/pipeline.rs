//! Pipelined replication: one StreamAppend for each peer, many requests in flight, answers in their order.
//!
//! ```text
//!   openraft ─► window of 8  ─► gRPC stream ─► peer
//!                  │ spans, oldest first          │
//!   openraft ◄─ matched, checked ◄───────────────┘
//! ```
//!
//! An answer belongs to the oldest request that has none; it has to speak of that request's entries, else the stream
//! ends. Conflict, higher vote and a partial success end it too, as openraft wants. A stream that has ended takes no more
//! requests: they belong to the one that follows it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};
use openraft::{
    RPCTypes,
    base::BoxStream,
    errors::{NetworkError, RPCError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult},
};
use prost::Message;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::{
    convert::{self, Span},
    defect::{Defect, hooks},
    network::{Network, note_unimplemented},
    peers::{Call, Peer},
    types::Types,
};
use crate::wire::kiwi;

/// Requests without an answer, at most. While there is no room, entries gather, and the next request takes them all: on
/// a slow link requests grow instead of queueing, and a busy peer writes fewer and larger batches.
const WINDOW: usize = 8;

type Item = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// A request that has been sent.
struct Sent {
    span: Span,
    at: Instant,
    call: Call,
}

/// What the sending and the receiving half share.
struct Window {
    room: Semaphore,
    sent: Mutex<VecDeque<Sent>>,
    /// The stream has been given up. The call may outlive that, and so may the sending half: a call whose answers nobody
    /// reads is not reset as long as there may be requests.
    over: CancellationToken,
}

impl Window {
    fn new() -> Window {
        Window {
            room: Semaphore::new(WINDOW),
            sent: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    fn oldest(&self) -> Option<Instant> {
        let sent = self.sent.lock().expect("no holder panics");
        sent.front().map(|sent| sent.at)
    }

    fn take_oldest(&self) -> Option<Sent> {
        let oldest = self.sent.lock().expect("no holder panics").pop_front();
        if oldest.is_some() {
            self.room.add_permits(1);
        }
        oldest
    }

    /// Gives the stream up, and ends every call in flight with the same status.
    fn fail_all(&self, status: &Status) {
        // First: the room that this makes is for nobody.
        self.over.cancel();
        while let Some(sent) = self.take_oldest() {
            sent.call.failed(status);
        }
    }
}

/// Opens the stream and connects both halves.
///
/// # Errors
/// When the peer does not take it within the stall limit.
pub(super) async fn open<'s, S>(
    network: &'s mut Network,
    input: S,
) -> Result<BoxStream<'s, Item>, RPCError<Types>>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let window = Arc::new(Window::new());
    let given_up = window.over.clone().drop_guard();
    let mut client = network.bulk()?;
    let mut requests = Box::pin(outgoing(input, window.clone(), network.peer.clone()));
    // openraft backs off before it gives a request: connecting has to come after that.
    let Some(first) = requests.next().await else {
        return Ok(stream::empty().boxed());
    };
    let requests = stream::iter([first]).chain(requests);
    let opening = tokio::time::timeout(network.stall, client.stream_append(requests)).await;
    let opened = opening.unwrap_or_else(|_| Err(Status::deadline_exceeded("no stream in time")));
    let answers = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => {
            if network.planted.is(Defect::PhantomAck)
                && let Some(sent) = window.take_oldest()
            {
                let yes = hooks::phantom_stream_ack(&network.planted, sent.span);
                return Ok(stream::iter([Ok(yes)]).boxed());
            }
            note_unimplemented(&network.peer, &status);
            window.fail_all(&status);
            return Err(network.error(RPCTypes::AppendEntries, network.stall, &status));
        }
    };
    Ok(matched(Receiving {
        network,
        window,
        answers,
        _given_up: given_up,
    }))
}

/// The answers, until one of them ends the stream.
fn matched<'s, A>(receiving: Receiving<'s, A>) -> BoxStream<'s, Item>
where
    A: Stream<Item = Result<kiwi::AppendEntriesResponse, Status>> + Send + Unpin + 's,
{
    Box::pin(stream::unfold(Some(receiving), |receiving| async move {
        let mut receiving = receiving?;
        let item = receiving.next().await?;
        let goes_on = item.1;
        Some((item.0, goes_on.then_some(receiving)))
    }))
}

/// openraft's requests, as long as there is room in the window; it ends when the stream is given up.
fn outgoing<S>(
    input: S,
    window: Arc<Window>,
    peer: Arc<Peer>,
) -> impl Stream<Item = kiwi::AppendEntriesRequest> + Send + 'static
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    stream::unfold(
        (input, window, peer),
        |(mut input, window, peer)| async move {
            let next = async {
                window.room.acquire().await.expect("never closed").forget();
                input.next().await
            };
            let request = tokio::select! {
                biased;
                () = window.over.cancelled() => return None,
                next = next => next?,
            };
            let wire = kiwi::AppendEntriesRequest::from(&request);
            let sent = Sent {
                span: Span::of(&request),
                at: Instant::now(),
                call: peer.begin("StreamAppend", wire.encoded_len()),
            };
            window
                .sent
                .lock()
                .expect("no holder panics")
                .push_back(sent);
            Some((wire, (input, window, peer)))
        },
    )
}

/// The receiving half.
struct Receiving<'s, A> {
    network: &'s mut Network,
    window: Arc<Window>,
    answers: A,
    /// Without it the stream is over for the sending half, too.
    _given_up: DropGuard,
}

impl<A> Receiving<'_, A>
where
    A: Stream<Item = Result<kiwi::AppendEntriesResponse, Status>> + Unpin,
{
    /// The next answer, and whether the stream goes on after it; `None` when it ended with nothing in flight.
    async fn next(&mut self) -> Option<(Item, bool)> {
        let stalled = stalled(&self.window, self.network.stall);
        let answer = tokio::select! {
            answer = self.answers.next() => answer.transpose(),
            () = stalled => Err(Status::deadline_exceeded("the stream brings no answer")),
        };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) if self.window.oldest().is_none() => return None,
            Ok(None) => {
                return Some((
                    self.fail(&Status::unavailable("the peer ended the stream")),
                    false,
                ));
            }
            Err(status) => {
                if self.network.planted.is(Defect::PhantomAck)
                    && let Some(sent) = self.window.take_oldest()
                {
                    let yes = hooks::phantom_stream_ack(&self.network.planted, sent.span);
                    return Some((Ok(yes), false));
                }
                return Some((self.fail(&status), false));
            }
        };
        let Some(sent) = self.window.take_oldest() else {
            let error = NetworkError::from_string("an answer to no request");
            return Some((Err(error.into()), false));
        };
        sent.call.answered(answer.encoded_len());
        let kind = RPCTypes::AppendEntries;
        match convert::append_response(answer, sent.span) {
            Ok(response) => {
                let goes_on = matches!(response, AppendEntriesResponse::Success);
                let result = response.into_stream_result(sent.span.prev, sent.span.last);
                Some((Ok(result), goes_on))
            }
            Err(error) => Some((Err(self.network.malformed(kind, &error)), false)),
        }
    }

    fn fail(&self, status: &Status) -> Item {
        note_unimplemented(&self.network.peer, status);
        self.window.fail_all(status);
        let kind = RPCTypes::AppendEntries;
        Err(self.network.error(kind, self.network.stall, status))
    }
}

/// Ends when the oldest request in flight, if any, has had no answer for `limit` since now or since it was sent.
async fn stalled(window: &Window, limit: Duration) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(limit / 4);
    loop {
        tick.tick().await;
        let waiting = window.oldest().map(|sent| sent.max(began).elapsed());
        if waiting.is_some_and(|waiting| waiting > limit) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        pin::Pin,
        sync::atomic::{AtomicU64, Ordering},
    };

    use futures::{FutureExt, channel::mpsc};
    use openraft::{EntryPayload, network::RaftNetworkFactory};

    use super::*;
    use crate::node::{
        defect::Planted,
        network::NetworkFactory,
        options::AppendMode,
        peers::Peers,
        types::{Address, Entry, LeaderId, LogId, Vote},
    };

    type Answers = mpsc::UnboundedSender<Result<kiwi::AppendEntriesResponse, Status>>;

    const LEADER: LeaderId = LeaderId {
        term: 3,
        node_id: 1,
    };

    async fn network() -> Network {
        let mut factory = NetworkFactory {
            me: 1,
            peers: Peers::new(BTreeMap::new(), Duration::from_secs(1), None),
            append: AppendMode::Stream,
            stall: Duration::from_secs(60),
            snapshot_chunk: 1_024,
            planted: Planted::default(),
        };
        let address = Address {
            raft: "127.0.0.1:1".to_owned(),
            resp: String::new(),
        };
        factory.new_client(2, &address).await
    }

    fn id(index: u64) -> LogId {
        LogId::new(LEADER, index)
    }

    /// Requests of one entry each, for ever, and how many have been drawn.
    fn endless() -> (
        impl Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
        Arc<AtomicU64>,
    ) {
        let drawn = Arc::new(AtomicU64::new(0));
        let count = drawn.clone();
        let request = move |index: u64| {
            count.fetch_add(1, Ordering::Relaxed);
            AppendEntriesRequest {
                vote: Vote {
                    leader_id: LEADER,
                    committed: true,
                },
                prev_log_id: Some(id(index)),
                entries: vec![Entry {
                    log_id: id(index + 1),
                    payload: EntryPayload::Blank,
                }],
                leader_commit: None,
            }
        };
        (stream::iter(0..).map(request), drawn)
    }

    /// Both halves of a stream to a peer that answers when the test does.
    fn halves<'s, S>(
        network: &'s mut Network,
        input: S,
    ) -> (
        Pin<Box<impl Stream<Item = kiwi::AppendEntriesRequest> + use<S>>>,
        Answers,
        BoxStream<'s, Item>,
    )
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let window = Arc::new(Window::new());
        let given_up = window.over.clone().drop_guard();
        let requests = outgoing(input, window.clone(), network.peer.clone());
        let (answers, read) = mpsc::unbounded();
        let receiving = Receiving {
            network,
            window,
            answers: read,
            _given_up: given_up,
        };
        (Box::pin(requests), answers, matched(receiving))
    }

    fn success() -> Result<kiwi::AppendEntriesResponse, Status> {
        Ok(kiwi::AppendEntriesResponse {
            success: true,
            ..Default::default()
        })
    }

    #[tokio::test]
    async fn a_window_of_requests_is_in_flight_and_answers_are_matched_in_their_order() {
        let (input, drawn) = endless();
        let mut network = network().await;
        let (mut requests, answers, mut results) = halves(&mut network, input);
        for _ in 0..WINDOW {
            let sent = requests.next().now_or_never();
            assert!(sent.flatten().is_some(), "nothing has been answered yet");
        }
        assert!(requests.next().now_or_never().is_none(), "there is no room");
        assert_eq!(drawn.load(Ordering::Relaxed), WINDOW as u64);
        for index in 1..=20 {
            answers.unbounded_send(success()).expect("it is read");
            let result = results.next().await.expect("an answer");
            assert_eq!(result.expect("no error"), Ok(Some(id(index))));
            let next = requests.next().now_or_never().flatten();
            let next = next.expect("an answer makes room for one");
            let prev = next.prev_log_id.expect("a place").index;
            assert_eq!(prev, index + WINDOW as u64 - 1);
            assert!(requests.next().now_or_never().is_none(), "and for no more");
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_given_up_takes_no_more_requests() {
        type Ending = fn(&Answers, &mut Option<BoxStream<'_, Item>>);
        let dropped: Ending = |_, results| drop(results.take());
        let failed: Ending = |answers, results| {
            let _ = answers.unbounded_send(Err(Status::unavailable("gone")));
            let results = results.as_mut().expect("kept");
            let item = results.next().now_or_never().flatten();
            assert!(item.expect("an answer").is_err());
        };
        let conflict: Ending = |answers, results| {
            let no = kiwi::AppendEntriesResponse {
                result: kiwi::AppendEntriesResult::Conflict as i32,
                ..Default::default()
            };
            let _ = answers.unbounded_send(Ok(no));
            let results = results.as_mut().expect("kept");
            let item = results.next().now_or_never().flatten();
            assert!(item.expect("an answer").expect("no error").is_err());
        };
        for (name, end) in [
            ("dropped", dropped),
            ("failed", failed),
            ("conflict", conflict),
        ] {
            for sent in [1, WINDOW] {
                let (input, drawn) = endless();
                let mut network = network().await;
                let (mut requests, answers, results) = halves(&mut network, input);
                for _ in 0..sent {
                    assert!(requests.next().await.is_some());
                }
                let mut results = Some(results);
                end(&answers, &mut results);
                let next = requests.next().now_or_never();
                assert!(matches!(next, Some(None)), "{name} after {sent}: {next:?}");
                assert_eq!(drawn.load(Ordering::Relaxed), sent as u64, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_entries_ends_when_it_is_given_up() {
        let (entries, input) = mpsc::unbounded();
        let mut network = network().await;
        let (requests, _answers, results) = halves(&mut network, input);
        let waiting = tokio::spawn(async move { { requests }.next().await });
        tokio::task::yield_now().await;
        drop(results);
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(ended.expect("it ends").expect("no panic").is_none());
        assert!(entries.is_closed(), "nobody waits for entries any more");
    }
}
