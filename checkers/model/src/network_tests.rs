//! Facts against messages: the same rules over a network that is a set of messages, and nothing else.
//!
//! Here every message is an object. It is sent at a step of its own or never, received at any time, again, or never,
//! and kept for ever, since it may be doubled. What a candidate and a leader count is their own memory, filled by the
//! answers that they receive. If keeping facts instead of messages loses or invents anything, the nodes of the two
//! models do not go through the same states.

use std::cell::RefCell;
use std::collections::HashSet;

use super::check::{Configuration, Votes};
use super::raft::{PackedOrder, Raft};
use super::rules::{Answer, Ballot, Received, Rules};
use super::search::Fingerprints;
use super::state::{Lid, NODES, PackedLog, State, lid, op, owner_of, term_of, unpack};

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    /// A vote request, with the id of the candidate's last entry.
    Ask(Lid, (Lid, u8)),
    /// A vote granted by a node.
    Grant(Lid, u8),
    /// A leader's log up to `log`'s end, of which the entries after `prev` are carried, and a commit.
    Entries {
        from: Lid,
        log: u32,
        prev: u8,
        commit: u8,
    },
    /// A node's log equals the leader's up to a position.
    Ack(Lid, u8, u8),
    /// To a node: another one has a higher vote than the one it was asked with.
    Higher(u8, Lid),
}

/// One node: what it stores, and what it only remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Peer {
    log: PackedLog,
    vote: u8,
    active: bool,
    commit: u8,
    granted: u8,
    acks: [u8; NODES],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    peers: [Peer; NODES],
    /// The messages that were sent, as bits: see [`Explicit::bit`].
    sent: u128,
}

/// What both models have of a node: its log, its vote, whether it campaigns or leads, its commit.
type View = [(u32, u8, bool, u8); NODES];

/// When a message is sent that could be.
#[derive(Clone, Copy, PartialEq)]
enum Sending {
    /// At a step of its own, or never.
    Whenever,
    /// At once. It may still never be received, so nothing is lost, and sets of messages differ less.
    AtOnce,
}

struct Explicit {
    terms: u64,
    entries: u8,
    order: PackedOrder,
    rules: Rules,
    sending: Sending,
    /// Every message that was ever sent in any state, by its bit.
    messages: RefCell<Vec<Message>>,
}

impl Explicit {
    /// The bit of a message.
    fn bit(&self, message: Message) -> u128 {
        let mut messages = self.messages.borrow_mut();
        let at = messages
            .iter()
            .position(|&m| m == message)
            .unwrap_or_else(|| {
                messages.push(message);
                messages.len() - 1
            });
        assert!(at < 128, "more kinds of messages than bits");
        1 << at
    }

    fn successors(&self, w: &World) -> Vec<World> {
        let mut out = Vec::new();
        for i in 0..NODES {
            self.local(w, i, &mut out);
        }
        let mut left = w.sent;
        while left != 0 {
            let message = self.messages.borrow()[left.trailing_zeros() as usize];
            left &= left - 1;
            for j in 0..NODES {
                let mut next = *w;
                self.receive(&mut next, message, j);
                out.push(next);
            }
        }
        if self.sending == Sending::AtOnce {
            for next in &mut out {
                for i in 0..NODES {
                    for message in self.offers(next, i) {
                        next.sent |= self.bit(message);
                    }
                }
            }
        }
        out.retain(|next| next != w);
        out
    }

    /// What node `i` does by itself.
    fn local(&self, w: &World, i: usize, out: &mut Vec<World>) {
        let p = &w.peers[i];
        let leads = p.active && p.vote & 1 == 1;
        let mut with = |change: &dyn Fn(&mut Peer)| {
            let mut next = *w;
            change(&mut next.peers[i]);
            out.push(next);
        };
        with(&|p| {
            let own = p.vote > 1 && owner_of(p.vote >> 1) == i;
            // A committed vote of its own steps back in memory: it does not lead on.
            let vote = if own { p.vote & !1 } else { p.vote };
            *p = Peer {
                log: p.log,
                vote,
                ..Peer::default()
            };
        });
        if !leads && term_of(p.vote >> 1) < self.terms {
            let new = lid(term_of(p.vote >> 1) + 1, i);
            let mut next = *w;
            next.peers[i] = Peer {
                vote: new << 1,
                active: true,
                granted: 1 << i,
                acks: [0; NODES],
                ..*p
            };
            if self.sending == Sending::AtOnce {
                next.sent |= self.bit(Message::Ask(new, p.log.last_id()));
            }
            out.push(next);
        }
        let appended = |p: &Peer, op: u8| {
            let mut p = *p;
            p.log = p.log.push(p.vote >> 1 | op << 4);
            p.acks[i] = p.log.len();
            p
        };
        let room = p.log.len() < self.entries;
        if p.active && !leads && room && self.rules.quorum(p.granted.into(), (0b111, None)) {
            let mut next = *w;
            next.peers[i].vote |= 1;
            next.peers[i] = appended(&next.peers[i], op::BLANK);
            out.push(next);
        }
        if leads {
            if room {
                let mut next = *w;
                next.peers[i] = appended(p, op::WRITE);
                out.push(next);
            }
            for position in p.commit + 1..=p.log.len() {
                let holders =
                    (0..NODES).fold(0, |set, j| set | u64::from(p.acks[j] >= position) << j);
                let own = self
                    .rules
                    .countable(p.log.entry(position) & 15, p.vote >> 1);
                if own && self.rules.quorum(holders, (0b111, None)) {
                    let mut next = *w;
                    next.peers[i].commit = position;
                    out.push(next);
                }
            }
        }
        if self.sending == Sending::Whenever {
            for message in self.offers(w, i) {
                let mut next = *w;
                next.sent |= self.bit(message);
                out.push(next);
            }
        }
    }

    /// What node `i` may send now.
    fn offers(&self, w: &World, i: usize) -> Vec<Message> {
        let p = &w.peers[i];
        let mut messages = Vec::new();
        if p.active && p.vote & 1 == 0 {
            messages.push(Message::Ask(p.vote >> 1, p.log.last_id()));
        }
        if p.active && p.vote & 1 == 1 {
            let mut offer = |prev: u8, end: u8, commit: u8| {
                messages.push(Message::Entries {
                    from: p.vote >> 1,
                    log: p.log.prefix(end).0,
                    prev,
                    commit,
                });
            };
            if self.sending == Sending::Whenever {
                // A heartbeat without a commit, and the whole log: sets of more would be too many.
                offer(0, 0, 0);
                offer(0, p.log.len(), p.commit);
            } else {
                for end in 0..=p.log.len() {
                    for prev in 0..=end {
                        (0..=p.commit).for_each(|commit| offer(prev, end, commit));
                    }
                }
            }
        }
        messages
    }

    fn receive(&self, w: &mut World, message: Message, j: usize) {
        let p = &mut w.peers[j];
        let mine = unpack(p.vote);
        match message {
            Message::Ask(l, last) if owner_of(l) != j => {
                let last = (last.1 > 0).then_some((last.0, u64::from(last.1)));
                let my_last = match p.log.last_id() {
                    (_, 0) => None,
                    (leader, index) => Some((leader, u64::from(index))),
                };
                match self
                    .rules
                    .answer(&self.order, (l, last), mine, my_last, false)
                {
                    Answer::Granted { saves } => {
                        if saves {
                            *p = Peer {
                                log: p.log,
                                commit: p.commit,
                                vote: l << 1,
                                ..Peer::default()
                            };
                        }
                        w.sent |= self.bit(Message::Grant(l, j as u8));
                    }
                    _ => {
                        w.sent |= self.bit(Message::Higher(owner_of(l) as u8, mine.leader));
                    }
                }
            }
            Message::Grant(l, by) if owner_of(l) == j && p.active && p.vote == l << 1 => {
                p.granted |= 1 << by;
            }
            Message::Entries {
                from,
                log,
                prev,
                commit,
            } if owner_of(from) != j => {
                if !self.rules.accepts(&self.order, from, mine) {
                    let higher = Message::Higher(owner_of(from) as u8, mine.leader);
                    w.sent |= self.bit(higher);
                    return;
                }
                if let Some(upto) = self.follow(p, from, (PackedLog(log), prev, commit)) {
                    w.sent |= self.bit(Message::Ack(from, j as u8, upto));
                }
            }
            Message::Ack(l, by, upto) if owner_of(l) == j && p.active && p.vote == l << 1 | 1 => {
                p.acks[by as usize] = p.acks[by as usize].max(upto);
            }
            Message::Higher(to, l) if to as usize == j && p.active && l != 0 => {
                let theirs = Ballot {
                    leader: l,
                    committed: false,
                };
                if self.rules.above(&self.order, theirs, mine) {
                    *p = Peer {
                        log: p.log,
                        commit: p.commit,
                        vote: l << 1,
                        ..Peer::default()
                    };
                }
            }
            _ => {}
        }
    }

    /// A slice of the leader `from` at a node that accepts it: what is acknowledged, if it fitted.
    fn follow(&self, p: &mut Peer, from: Lid, slice: (PackedLog, u8, u8)) -> Option<u8> {
        let (leaders, prev, announced) = slice;
        if p.vote != from << 1 | 1 {
            *p = Peer {
                log: p.log,
                commit: p.commit,
                vote: from << 1 | 1,
                ..Peer::default()
            };
        }
        let end = leaders.len();
        match self
            .rules
            .receive(&p.log, &leaders, u64::from(prev), u64::from(end))
        {
            Received::Conflict { keep } => {
                p.log = p.log.prefix(keep as u8);
                None
            }
            Received::Fits {
                keep,
                from,
                matched,
            } => {
                p.log = p.log.splice(keep as u8, leaders, from as u8, end);
                let length = u64::from(p.log.len());
                let commit = self
                    .rules
                    .follower_commit(announced.into(), end.into(), length);
                p.commit = p.commit.max(commit as u8);
                Some(matched as u8)
            }
        }
    }

    /// What the nodes go through, and in how many states of nodes and network.
    fn views(&self) -> (HashSet<View>, usize) {
        let start = World {
            peers: Default::default(),
            sent: 0,
        };
        let mut known = HashSet::from([start]);
        let mut todo = vec![start];
        let mut views = HashSet::new();
        while let Some(world) = todo.pop() {
            views.insert(world.peers.map(|p| (p.log.0, p.vote, p.active, p.commit)));
            for next in self.successors(&world) {
                if known.insert(next) {
                    todo.push(next);
                }
            }
        }
        (views, known.len())
    }
}

/// The same of the model.
fn views<const SLOTS: usize>(configuration: Configuration) -> HashSet<View> {
    let model = Raft::<SLOTS>::new(configuration);
    let mut known = Fingerprints::default();
    let mut todo = vec![State::<SLOTS>::default()];
    let mut views = HashSet::new();
    let mut actions = Vec::new();
    known.insert(todo[0].fingerprint());
    while let Some(state) = todo.pop() {
        assert_eq!(state.violated, 0);
        views.insert(state.nodes.map(|n| {
            let active = n.leads() || n.campaigns();
            (n.log.0, n.vote, active, n.commit)
        }));
        actions.clear();
        model.actions(&state, &mut actions);
        for &action in &actions {
            if let Some(next) = model.step(&state, action, &mut 0)
                && known.insert(next.fingerprint())
            {
                todo.push(next);
            }
        }
    }
    views
}

fn explicit(c: &Configuration, sending: Sending) -> Explicit {
    Explicit {
        terms: c.terms,
        entries: c.entries,
        order: PackedOrder { votes: c.votes },
        rules: Rules::default(),
        sending,
        messages: RefCell::new(Vec::new()),
    }
}

#[test]
fn facts_and_messages_reach_the_same_nodes() {
    let smallest = Configuration::named("1x1").unwrap();
    let by_term = Configuration {
        votes: Votes::ByTerm,
        ..smallest
    };
    for (c, sending) in [
        (smallest, Sending::Whenever),
        (smallest, Sending::AtOnce),
        (by_term, Sending::Whenever),
    ] {
        let facts = views::<3>(c);
        let (messages, states) = explicit(&c, sending).views();
        assert!(facts == messages, "{} and {}", facts.len(), messages.len());
        assert!(
            states > 50 * facts.len(),
            "{states} states: hardly a network"
        );
    }
}
