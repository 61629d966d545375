//! Pipelined replication: one StreamAppend for each peer, many requests in flight, answers in their order.
//!
//! ```text
//!   openraft ─► window of 64 ─► gRPC stream ─► peer
//!                  │ spans, oldest first          │
//!   openraft ◄─ matched, checked ◄───────────────┘
//! ```
//!
//! An answer belongs to the oldest request that has none; it has to speak of that request's entries, else the stream
//! ends. Conflict, higher vote and a partial success end it too, as openraft wants.

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
use tonic::{Status, Streaming};

use super::{
    convert::{self, Span},
    defect::{Defect, hooks},
    network::{Network, note_unimplemented},
    peers::{Call, Peer},
    types::Types,
};
use crate::wire::kiwi;

/// Requests without an answer, at most; openraft's receiving side buffers as many.
const WINDOW: usize = 64;

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
}

impl Window {
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

    /// Ends every call in flight with the same status.
    fn fail_all(&self, status: &Status) {
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
    let window = Arc::new(Window {
        room: Semaphore::new(WINDOW),
        sent: Mutex::default(),
    });
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
            note_unimplemented(&network.peer, &status);
            window.fail_all(&status);
            return Err(network.error(RPCTypes::AppendEntries, network.stall, &status));
        }
    };
    let receiving = Receiving {
        network,
        window,
        answers,
    };
    Ok(Box::pin(stream::unfold(
        Some(receiving),
        |receiving| async move {
            let mut receiving = receiving?;
            let item = receiving.next().await?;
            let goes_on = item.1;
            Some((item.0, goes_on.then_some(receiving)))
        },
    )))
}

/// openraft's requests, as long as there is room in the window.
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
            window.room.acquire().await.expect("never closed").forget();
            let request = input.next().await?;
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
struct Receiving<'s> {
    network: &'s mut Network,
    window: Arc<Window>,
    answers: Streaming<kiwi::AppendEntriesResponse>,
}

impl Receiving<'_> {
    /// The next answer, and whether the stream goes on after it; `None` when it ended with nothing in flight.
    async fn next(&mut self) -> Option<(Item, bool)> {
        let stalled = stalled(&self.window, self.network.stall);
        let answer = tokio::select! {
            answer = self.answers.message() => answer,
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
