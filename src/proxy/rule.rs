//! Faults of single gRPC messages, as data: which messages ([`Match`]), what becomes of them ([`Action`]), and the
//! fates that the rules of one route deal out.
//!
//! A message's fate is drawn from a hash of (seed, route, method, half, its ordinal there, the kind of action). Timing
//! does not change the draw: the same message of the same run draws the same lot. Every fate that a rule dealt is
//! written into a journal with its ordinal.
//!
//! Not all of a fate is such a function. Which messages a rule meets at all begins and ends with its put-in and take-out,
//! and [`Match::nth`] counts from the put-in. What a message says (term, entries) is the nodes' doing. Whether
//! [`Action::Reorder`] lets a message wait depends on how many wait already, and which one [`Action::Replay`] sends again
//! on which old ones are kept. [`Action::CutStream`] and [`Action::Stall`] count a stream's own messages.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::effect::Delay;
use super::{Half, Route, mix};
use crate::wire::kiwi;

mod line;

pub(crate) use line::LineFate;

/// Decisions that are kept until somebody takes them; older ones are counted and forgotten.
const MOST_DECISIONS: usize = 1 << 16;

/// Old requests that a route keeps to be replayed, for each method.
const MOST_REPLAYED: usize = 8;

/// The methods that the network knows; every other one passes as a stream. Their order is part of every fate: new ones
/// come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `RaftCoreService/Vote`, unary.
    Vote,
    /// `RaftCoreService/AppendEntries`, unary: heartbeats, and replication where it is not streamed.
    AppendEntries,
    /// `RaftCoreService/StreamAppend`, a stream both ways.
    StreamAppend,
    /// `RaftCoreService/InstallSnapshot`, a stream of requests.
    InstallSnapshot,
    /// `RaftCoreService/TransferLeader`, unary.
    TransferLeader,
    /// `RaftClientService/Write`, unary.
    Write,
    /// `RaftClientService/Read`, unary.
    Read,
    /// Any method of the admin and metrics services, unary.
    Admin,
    /// Anything else: its messages pass, and only streams' faults act on it.
    Other,
}

impl Method {
    /// Of a request's path.
    #[must_use]
    pub fn of(path: &str) -> Method {
        let Some(rest) = path.strip_prefix("/kiwi.raft.v1.") else {
            return Method::Other;
        };
        match rest {
            "RaftCoreService/Vote" => Method::Vote,
            "RaftCoreService/AppendEntries" => Method::AppendEntries,
            "RaftCoreService/StreamAppend" => Method::StreamAppend,
            "RaftCoreService/InstallSnapshot" => Method::InstallSnapshot,
            "RaftCoreService/TransferLeader" => Method::TransferLeader,
            "RaftClientService/Write" => Method::Write,
            "RaftClientService/Read" => Method::Read,
            _ if rest.starts_with("RaftAdminService/") => Method::Admin,
            _ if rest.starts_with("RaftMetricsService/") => Method::Admin,
            _ => Method::Other,
        }
    }

    /// In words, for the log of decisions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Vote => "vote",
            Method::AppendEntries => "append-entries",
            Method::StreamAppend => "stream-append",
            Method::InstallSnapshot => "install-snapshot",
            Method::TransferLeader => "transfer-leader",
            Method::Write => "write",
            Method::Read => "read",
            Method::Admin => "admin",
            Method::Other => "other",
        }
    }

    /// One request message, one response message.
    #[must_use]
    pub fn is_unary(self) -> bool {
        use Method::{InstallSnapshot, Other, StreamAppend};
        !matches!(self, StreamAppend | InstallSnapshot | Other)
    }
}

/// Which methods a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every method.
    All,
    /// Votes and pre-votes.
    Votes,
    /// AppendEntries, unary or streamed, heartbeats included.
    Appends,
    /// Unary AppendEntries without entries.
    Heartbeats,
    /// InstallSnapshot.
    Snapshots,
    /// What clients ask: Write and Read.
    Clients,
    /// Exactly this one.
    Only(Method),
}

/// Which messages a rule is for. All that is said must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// By method.
    pub methods: Methods,
    /// By the type that a line says it is of; what is no line does not match.
    pub kind: Option<String>,
    /// By the sender's term; a message that has none does not match.
    pub terms: Option<RangeInclusive<u64>>,
    /// By the number of entries in it; a message that has none does not match.
    pub entries: Option<RangeInclusive<u64>>,
    /// Of those that match so far, only these, counted from 1 since the rule was put in.
    pub nth: Option<RangeInclusive<u64>>,
    /// Of those, so many of a thousand, drawn by each message's own hash.
    pub per_mille: u32,
}

impl Match {
    /// Every message of these methods.
    #[must_use]
    pub fn every(methods: Methods) -> Match {
        Match {
            methods,
            kind: None,
            terms: None,
            entries: None,
            nth: None,
            per_mille: 1000,
        }
    }
}

/// What becomes of a message.
///
/// On unary calls every action but [`Action::CutStream`] and [`Action::Stall`] acts. In a stream the order of messages
/// is HTTP/2's promise: there only the delays act, on each message and in order, and those two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// The request is never forwarded, and never answered.
    DropRequest,
    /// The request is forwarded and does its work; its answer is never delivered.
    DropResponse,
    /// The request comes late, also when its sender has given up meanwhile.
    DelayRequest(Delay),
    /// The response comes late.
    DelayResponse(Delay),
    /// The request arrives so many times more, one gap apart; the answers of the copies are thrown away.
    Duplicate {
        /// How many more.
        copies: u32,
        /// Between two of them.
        gap: Duration,
    },
    /// The request waits for up to the window while others overtake it.
    Reorder {
        /// The longest wait; each message's own is drawn.
        window: Duration,
        /// At most so many wait at once; others pass.
        most_held: u32,
    },
    /// The request is never forwarded and is answered with this gRPC status code.
    Fail(u8),
    /// An old request of the same method on this route is sent again before this one.
    Replay,
    /// One bit of the request is flipped. TCP does not let that happen: outside of the fault model.
    Corrupt,
    /// A stream is reset after so many of its request messages.
    CutStream {
        /// Messages that still pass.
        after: u64,
    },
    /// A stream stays open, and after so many of its request messages the others wait until the rule is taken out; then
    /// they arrive, in order.
    Stall {
        /// Messages that still pass.
        after: u64,
    },
}

impl Action {
    /// How many actions there are.
    pub const COUNT: usize = 11;

    /// In words, for the log of decisions and for counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Action::DropRequest => "drop-request",
            Action::DropResponse => "drop-response",
            Action::DelayRequest(_) => "delay-request",
            Action::DelayResponse(_) => "delay-response",
            Action::Duplicate { .. } => "duplicate",
            Action::Reorder { .. } => "reorder",
            Action::Fail(_) => "fail",
            Action::Replay => "replay",
            Action::Corrupt => "corrupt",
            Action::CutStream { .. } => "cut-stream",
            Action::Stall { .. } => "stall",
        }
    }

    fn number(&self) -> u64 {
        match self {
            Action::DropRequest => 1,
            Action::DropResponse => 2,
            Action::DelayRequest(_) => 3,
            Action::DelayResponse(_) => 4,
            Action::Duplicate { .. } => 5,
            Action::Reorder { .. } => 6,
            Action::Fail(_) => 7,
            Action::Replay => 8,
            Action::Corrupt => 9,
            Action::CutStream { .. } => 10,
            Action::Stall { .. } => 11,
        }
    }

    /// On which half it acts.
    fn half(&self) -> Half {
        match self {
            Action::DelayResponse(_) => Half::Response,
            _ => Half::Request,
        }
    }

    fn acts_in_streams(&self) -> bool {
        matches!(self, Action::DelayRequest(_) | Action::DelayResponse(_)) || self.is_of_streams()
    }

    /// Whether it makes sense only in a stream.
    fn is_of_streams(&self) -> bool {
        matches!(self, Action::CutStream { .. } | Action::Stall { .. })
    }

    /// Whether a network with TCP can do this at all: a violation under any other action accuses nobody.
    #[must_use]
    pub fn is_inside_the_model(&self) -> bool {
        !matches!(self, Action::Corrupt)
    }
}

/// One thing wrong with the messages of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRule {
    /// Which messages.
    pub matching: Match,
    /// What becomes of them.
    pub action: Action,
}

/// What a message says, as far as rules and readers of the journal care. Zeros where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The term of the sender's vote.
    pub term: Option<u64>,
    /// How many entries it carries.
    pub entries: Option<u64>,
    /// The index before its entries, or the candidate's last one, or the snapshot's.
    pub index: u64,
    /// A vote that asks only whether it would be granted.
    pub pre_vote: bool,
}

impl Summary {
    /// Decodes the payload of one gRPC message (behind its five bytes of header) of a request; of a response, or of
    /// what does not decode, it is empty.
    #[must_use]
    pub fn of(method: Method, half: Half, payload: &[u8]) -> Summary {
        if half == Half::Response {
            return Summary::default();
        }
        let term = |vote: &Option<kiwi::Vote>| {
            let leader = vote.as_ref().and_then(|vote| vote.leader_id.as_ref());
            leader.map(|leader| leader.term)
        };
        let index = |id: &Option<kiwi::LogId>| id.as_ref().map_or(0, |id| id.index);
        let summary = match method {
            Method::Vote => kiwi::VoteRequest::decode(payload).map(|request| Summary {
                term: term(&request.vote),
                entries: None,
                index: index(&request.last_log_id),
                pre_vote: request.pre_vote,
            }),
            Method::AppendEntries | Method::StreamAppend => {
                kiwi::AppendEntriesRequest::decode(payload).map(|request| Summary {
                    term: term(&request.vote),
                    entries: Some(request.entries.len() as u64),
                    index: index(&request.prev_log_id),
                    pre_vote: false,
                })
            }
            Method::InstallSnapshot => {
                kiwi::InstallSnapshotRequest::decode(payload).map(|request| Summary {
                    term: Some(request.term),
                    entries: None,
                    index: request.last_included_index,
                    pre_vote: false,
                })
            }
            _ => Ok(Summary::default()),
        };
        summary.unwrap_or_default()
    }
}

/// A fate that a rule dealt to a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Instant,
    /// On which route.
    pub route: Route,
    /// Which method; of a line [`Method::Other`].
    pub method: Method,
    /// The type of a line.
    pub kind: Option<String>,
    /// Requests and responses are counted apart.
    pub half: Half,
    /// The how manieth message of this method on this half of the route, from 1.
    pub ordinal: u64,
    /// What it says.
    pub summary: Summary,
    /// What became of it.
    pub action: Action,
    /// By how much it comes late, as drawn; nothing where the action has no time.
    pub late: Duration,
}

/// Decisions that wait to be taken.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: Mutex<VecDeque<Decision>>,
    forgotten: AtomicU64,
}

impl Journal {
    fn write(&self, decision: Decision) {
        let mut kept = self.kept.lock().unwrap();
        if kept.len() == MOST_DECISIONS {
            kept.pop_front();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        kept.push_back(decision);
    }

    pub(crate) fn take(&self) -> Decisions {
        Decisions {
            made: self.kept.lock().unwrap().drain(..).collect(),
            forgotten: self.forgotten.swap(0, Ordering::Relaxed),
        }
    }
}

/// What [`super::Network::take_decisions`] gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// In the order in which they were made.
    pub made: Vec<Decision>,
    /// How many older ones nobody took in time.
    pub forgotten: u64,
}

/// How many messages of a route met which fate so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// Request messages that came from the dialler.
    pub requests: u64,
    /// Response messages that came from the node.
    pub responses: u64,
    /// By the number of [`Action`]s in their order: drop request, drop response, delay request, delay response,
    /// duplicate, reorder, fail, replay, corrupt, cut stream, stall.
    pub by_action: [u64; Action::COUNT],
}

/// The rules of one route, and what they must remember.
#[derive(Debug)]
pub(crate) struct Rules {
    route: Route,
    seed: u64,
    journal: Arc<Journal>,
    active: Mutex<Arc<Vec<Active>>>,
    ordinals: Mutex<BTreeMap<(Method, Half), u64>>,
    counters: Mutex<MessageCounters>,
    old: Mutex<BTreeMap<Method, VecDeque<Bytes>>>,
}

#[derive(Clone, Debug)]
struct Active {
    id: u64,
    rule: MessageRule,
    matched: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
    /// Messages that it had something to do with.
    met: Arc<AtomicU64>,
    /// Cancelled when the rule is taken out.
    out: CancellationToken,
}

/// What is to be done with one message.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) drop_request: bool,
    pub(crate) drop_response: bool,
    pub(crate) fail: Option<u8>,
    pub(crate) late: Duration,
    pub(crate) late_response: Duration,
    pub(crate) copies: u32,
    pub(crate) gap: Duration,
    pub(crate) replay: Option<Bytes>,
    /// The bit to flip, counted over the payload and taken modulo its length.
    pub(crate) corrupt: Option<u64>,
    /// Its stream is reset instead of it.
    pub(crate) cut: bool,
    /// It and those behind it in its stream wait for this.
    pub(crate) stalled_until: Option<CancellationToken>,
    /// Gives the place among the held ones back when it is dropped.
    pub(crate) held: Vec<HeldPlace>,
}

/// One place among those that a reordering rule lets wait.
#[derive(Debug)]
pub(crate) struct HeldPlace(Arc<AtomicU64>);

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Rules {
    pub(crate) fn new(route: Route, seed: u64, journal: Arc<Journal>) -> Rules {
        Rules {
            route,
            seed,
            journal,
            active: Mutex::default(),
            ordinals: Mutex::default(),
            counters: Mutex::default(),
            old: Mutex::default(),
        }
    }

    pub(crate) fn put(&self, id: u64, rule: MessageRule) {
        let mut active = self.active.lock().unwrap();
        let mut more = active.to_vec();
        more.push(Active {
            id,
            rule,
            matched: Arc::default(),
            held: Arc::default(),
            met: Arc::default(),
            out: CancellationToken::new(),
        });
        *active = Arc::new(more);
    }

    pub(crate) fn take(&self, id: u64) {
        let mut active = self.active.lock().unwrap();
        let (out, less): (Vec<Active>, _) =
            active.iter().cloned().partition(|active| active.id == id);
        *active = Arc::new(less);
        out.iter().for_each(|active| active.out.cancel());
    }

    /// How many messages a rule has had something to do with.
    pub(crate) fn met(&self, id: u64) -> u64 {
        let active = self.active.lock().unwrap();
        let own = active.iter().filter(|active| active.id == id);
        own.map(|active| active.met.load(Ordering::SeqCst)).sum()
    }

    pub(crate) fn counters(&self) -> MessageCounters {
        *self.counters.lock().unwrap()
    }

    /// How many messages of a method passed here so far, whatever became of them.
    pub(crate) fn counted(&self, method: Method, half: Half) -> u64 {
        let ordinals = self.ordinals.lock().unwrap();
        ordinals.get(&(method, half)).copied().unwrap_or_default()
    }

    /// Numbers a message, header and payload, and deals its fate. `place` is its own in its stream, from 1.
    pub(crate) fn decide(&self, method: Method, half: Half, place: u64, message: &Bytes) -> Fate {
        let ordinal = self.number(method, half);
        let mut fate = Fate::default();
        let active = self.active.lock().unwrap().clone();
        if active.is_empty() {
            return fate;
        }
        let plain = message.first() == Some(&0);
        let said = message.get(HEADER..).filter(|_| plain).unwrap_or_default();
        let summary = Summary::of(method, half, said);
        for one in active.iter() {
            if one.rule.action.half() != half
                || !(method.is_unary() || one.rule.action.acts_in_streams())
                || (method.is_unary() && one.rule.action.is_of_streams())
                || !fits(&one.rule.matching, method, &summary)
            {
                continue;
            }
            let Some(draw) = self.draw(one, method, half, ordinal) else {
                continue;
            };
            let before = fate.late + fate.late_response;
            if self.deal(one, method, place, message, draw, &mut fate) {
                self.journal.write(Decision {
                    at: Instant::now(),
                    route: self.route,
                    method,
                    kind: None,
                    half,
                    ordinal,
                    summary,
                    action: one.rule.action,
                    late: (fate.late + fate.late_response).saturating_sub(before),
                });
                one.met.fetch_add(1, Ordering::SeqCst);
                let at = one.rule.action.number() as usize - 1;
                self.counters.lock().unwrap().by_action[at] += 1;
            }
        }
        if half == Half::Request && method.is_unary() {
            self.remember(method, message, &active);
        }
        fate
    }

    /// The number of a message that has come, from 1.
    fn number(&self, method: Method, half: Half) -> u64 {
        let mut ordinals = self.ordinals.lock().unwrap();
        let ordinal = ordinals.entry((method, half)).or_default();
        *ordinal += 1;
        let mut counters = self.counters.lock().unwrap();
        match half {
            Half::Request => counters.requests += 1,
            Half::Response => counters.responses += 1,
        }
        *ordinal
    }

    /// The lot that a message draws which fits a rule, if it is one of those that are meant by their number and share.
    fn draw(&self, one: &Active, method: Method, half: Half, ordinal: u64) -> Option<u64> {
        let nth = one.matched.fetch_add(1, Ordering::SeqCst) + 1;
        let meant = one.rule.matching.nth.as_ref();
        if !meant.is_none_or(|nths| nths.contains(&nth)) {
            return None;
        }
        let words = [
            self.route.number(),
            method as u64,
            half as u64,
            ordinal,
            one.rule.action.number(),
        ];
        let draw = mix(self.seed, &words);
        (draw % 1000 < u64::from(one.rule.matching.per_mille)).then_some(draw)
    }

    /// Adds one rule's action to a fate; false where there was nothing to do.
    fn deal(
        &self,
        one: &Active,
        method: Method,
        place: u64,
        bytes: &Bytes,
        draw: u64,
        fate: &mut Fate,
    ) -> bool {
        // Another draw, so that "whether" and "how much" do not hang together.
        let mut rng = ChaCha8Rng::seed_from_u64(mix(draw, &[1]));
        match one.rule.action {
            Action::DropRequest => fate.drop_request = true,
            Action::DropResponse => fate.drop_response = true,
            Action::DelayRequest(delay) => fate.late += delay.sample(&mut rng),
            Action::DelayResponse(delay) => fate.late_response += delay.sample(&mut rng),
            Action::Duplicate { copies, gap } => {
                fate.copies += copies;
                fate.gap = fate.gap.max(gap);
            }
            Action::Reorder { window, most_held } => {
                let before = one.held.fetch_add(1, Ordering::SeqCst);
                let place = HeldPlace(one.held.clone());
                if before >= u64::from(most_held) {
                    return false;
                }
                let least = Duration::ZERO;
                let most = window;
                fate.late += Delay::Uniform { least, most }.sample(&mut rng);
                fate.held.push(place);
            }
            Action::Fail(code) => fate.fail = Some(code),
            Action::Replay => {
                let old = self.old.lock().unwrap();
                let Some(old) = old.get(&method).filter(|old| !old.is_empty()) else {
                    return false;
                };
                let at = usize::try_from(mix(draw, &[2]) % old.len() as u64).unwrap_or(0);
                fate.replay = Some(old[at].clone());
            }
            Action::Corrupt if bytes.len() <= HEADER => return false,
            Action::Corrupt => fate.corrupt = Some(mix(draw, &[3])),
            Action::CutStream { after } | Action::Stall { after } if place <= after => {
                return false;
            }
            Action::CutStream { .. } => fate.cut = true,
            Action::Stall { .. } => fate.stalled_until = Some(one.out.clone()),
        }
        true
    }

    /// Keeps a request for later, as long as there is a rule that may replay it.
    fn remember(&self, method: Method, bytes: &Bytes, active: &[Active]) {
        let wanted = active.iter().any(|one| one.rule.action == Action::Replay);
        if wanted {
            let mut old = self.old.lock().unwrap();
            let old = old.entry(method).or_default();
            if old.len() == MOST_REPLAYED {
                old.pop_front();
            }
            old.push_back(bytes.clone());
        }
    }
}

/// The header of a gRPC message: a flag byte and four of length.
pub(crate) const HEADER: usize = 5;

fn fits(matching: &Match, method: Method, summary: &Summary) -> bool {
    let appends = matches!(method, Method::AppendEntries | Method::StreamAppend);
    let method_fits = match matching.methods {
        Methods::All => true,
        Methods::Votes => method == Method::Vote,
        Methods::Appends => appends,
        Methods::Heartbeats => method == Method::AppendEntries && summary.entries == Some(0),
        Methods::Snapshots => method == Method::InstallSnapshot,
        Methods::Clients => matches!(method, Method::Write | Method::Read),
        Methods::Only(only) => method == only,
    };
    let within = |range: &Option<RangeInclusive<u64>>, value: Option<u64>| {
        range
            .as_ref()
            .is_none_or(|range| value.is_some_and(|value| range.contains(&value)))
    };
    method_fits
        && matching.kind.is_none()
        && within(&matching.terms, summary.term)
        && within(&matching.entries, summary.entries)
}
