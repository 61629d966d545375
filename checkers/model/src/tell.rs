//! A step of the model as a sentence: who acts, what happens, and why the rules let it.

use std::fmt::Write as _;

use super::invariant::floor;
use super::raft::{Action, Raft};
use super::state::{LEASE, Lid, NODES, Node, PackedLog, State, op, owner_of, term_of};

/// The step from `s` to `t`, as the acting node (from 1) and a sentence.
#[must_use]
pub fn tell<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    s: &State<SLOTS>,
    t: &State<SLOTS>,
    action: Action,
) -> (usize, String) {
    let node = match action {
        Action::Append { to, .. } | Action::Install { to, .. } => to,
        Action::Promise(_, j) => j,
        Action::ReadDone => owner_of(s.read.lid) as u8,
        Action::Elect(i)
        | Action::Vote(i, _)
        | Action::Lead(i)
        | Action::Write(i)
        | Action::Change(i)
        | Action::Advance(i, _)
        | Action::Learn(i, _)
        | Action::Restart(i)
        | Action::Flush(i)
        | Action::ReadStart(i)
        | Action::ReadConfirm(i)
        | Action::LeaseEnds(i, _)
        | Action::PromiseEnds(i)
        | Action::LeaseRead(i) => i,
    };
    let i = usize::from(node);
    let sentence = match action {
        Action::ReadStart(_)
        | Action::ReadConfirm(_)
        | Action::ReadDone
        | Action::Promise(..)
        | Action::LeaseEnds(..)
        | Action::PromiseEnds(_)
        | Action::LeaseRead(_) => tell_read(s, t, i, action),
        _ => tell_step(model, s, t, i, action),
    };
    (i + 1, format!("n{} {sentence}.", i + 1))
}

/// The steps of elections and replication, without their subject, node `i`.
fn tell_step<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    s: &State<SLOTS>,
    t: &State<SLOTS>,
    i: usize,
    action: Action,
) -> String {
    let (a, b) = (&s.nodes[i], &t.nodes[i]);
    match action {
        Action::Elect(_) => {
            format!(
                "campaigns in term {} with {}",
                term_of(b.lid()),
                count(a.log)
            )
        }
        Action::Vote(_, l) => tell_vote(a, b, l),
        Action::Lead(_) => format!(
            "leads term {}, granted by {}, and appends a blank entry at {}",
            term_of(b.lid()),
            names(s.slot(b.lid()).granted()),
            b.log.len()
        ),
        Action::Write(_) => format!("appends a client's write at {}", b.log.len()),
        Action::Change(_) => {
            let what = kind(b.log.entry(b.log.len()));
            format!("appends the {what} at {}", b.log.len())
        }
        Action::Append {
            from,
            prev,
            end,
            announced,
            ..
        } => tell_append(
            model,
            (a, b),
            s.slot(from).log(),
            from,
            (prev, end, announced),
        ),
        Action::Install { from, end, .. } => {
            format!(
                "installs n{}'s snapshot of {}",
                owner_of(from) + 1,
                span(1, end)
            )
        }
        Action::Advance(_, p) => {
            let slot = s.slot(a.lid());
            let holders = (0..NODES).fold(0, |set, j| set | u8::from(slot.ack(j) >= p) << j);
            format!(
                "commits {}, acknowledged by {}",
                span(a.commit + 1, p),
                names(holders)
            )
        }
        Action::Learn(_, l) => format!(
            "hears of n{}'s vote for term {} and steps back",
            owner_of(l) + 1,
            term_of(l)
        ),
        Action::Restart(_) => tell_restart(a, b),
        Action::Flush(_) => "has its vote and log on its disk now, and answers".into(),
        _ => String::new(),
    }
}

/// The steps of reads and leases, likewise.
fn tell_read<const SLOTS: usize>(
    s: &State<SLOTS>,
    t: &State<SLOTS>,
    i: usize,
    action: Action,
) -> String {
    match action {
        Action::ReadStart(_) => {
            let waits = match t.read.at & 15 {
                0 => "for nothing".to_string(),
                index => format!("until it has applied {index}"),
            };
            let newest = match t.read.at >> 4 {
                0 => "no write is committed anywhere yet".to_string(),
                floor => format!("the newest write committed anywhere is at {floor}"),
            };
            format!("begins a read, which waits {waits}; {newest}")
        }
        Action::ReadConfirm(_) => {
            let leader = owner_of(s.read.lid) + 1;
            format!("answers a heartbeat of n{leader}, sent after the read began: n{leader} leads")
        }
        Action::ReadDone => {
            let confirmed = names(s.read.acks);
            let shown = shown(s.nodes[i].commit, s.read.at >> 4);
            format!("answers the read, confirmed by {confirmed}, {shown}")
        }
        Action::Promise(leader, _) => format!(
            "answers n{0}'s heartbeat: it promises not to vote, and pays for n{0}'s lease",
            leader + 1
        ),
        Action::LeaseEnds(_, j) => format!("loses the part of its lease that n{} paid for", j + 1),
        Action::PromiseEnds(_) => "is free to vote again: its promise runs out".into(),
        Action::LeaseRead(_) => {
            let n = &s.nodes[i];
            let shown = shown(n.commit, floor(s.committed));
            format!(
                "answers a read under its lease, paid by {}, {shown}",
                names(n.payers())
            )
        }
        _ => String::new(),
    }
}

/// What a client is shown that reads a log applied up to `applied`, where the write at `floor` is committed.
fn shown(applied: u8, floor: u8) -> String {
    let with = match applied {
        0 => "with nothing applied".to_string(),
        n => format!("with what it has applied, {}", span(1, n)),
    };
    if applied < floor {
        format!("{with}: without the write at {floor}")
    } else {
        with
    }
}

fn tell_vote(a: &Node, b: &Node, l: Lid) -> String {
    let way = if a.vote == b.vote {
        "again grants"
    } else {
        "grants"
    };
    let mut text = format!(
        "{way} its vote to n{} for term {}",
        owner_of(l) + 1,
        term_of(l)
    );
    if a.lid() != 0 && a.lid() != l && term_of(a.lid()) == term_of(l) {
        let (than, mine) = (if l > a.lid() { "above" } else { "below" }, a.lid());
        let _ = write!(
            text,
            ", {than} n{}'s in the same term, its own until now",
            owner_of(mine) + 1
        );
    }
    text
}

fn tell_append<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    (a, b): (&Node, &Node),
    leaders: PackedLog,
    from: Lid,
    (prev, end, announced): (u8, u8, u8),
) -> String {
    let leader = format!("n{} (term {})", owner_of(from) + 1, term_of(from));
    let mut text = match (prev, end) {
        (0, 0) => format!("receives a heartbeat from {leader}"),
        (prev, end) if prev == end => {
            format!("receives a heartbeat after entry {prev} from {leader}")
        }
        _ => format!("receives {} from {leader}", span(prev + 1, end)),
    };
    if a.leads() && b.leads() && a.lid() > from {
        let _ = write!(text, ", though it leads term {} itself", term_of(a.lid()));
    }
    let slice = model.slice(a.log, leaders, prev, end);
    if !slice.fits {
        let _ = match a.log.entry(prev) {
            0 => write!(text, ", has nothing at {prev} yet, and reports a conflict"),
            mine => write!(
                text,
                ", has {} at {prev}, and reports a conflict",
                entry(mine)
            ),
        };
        if slice.ack > 0 {
            let _ = write!(
                text,
                ", which is read as an acknowledgement of {}",
                span(1, slice.ack)
            );
        }
        if slice.cuts {
            let _ = write!(text, "; it cuts its log to {}", count(b.log));
        }
        return text;
    }
    let same = a.log.common(b.log);
    if slice.cuts && same < a.log.len() {
        let _ = write!(text, ", cuts away its own {}", span(same + 1, a.log.len()));
    } else if end > same && a.log == b.log && a.log.entry(end) != leaders.entry(end) {
        let _ = write!(
            text,
            ", keeps its own {}",
            span(same.min(end - 1) + 1, a.log.len())
        );
    }
    if slice.ack > 0 {
        let _ = write!(text, ", acknowledges {}", span(1, slice.ack));
        if b.log.common(leaders) < slice.ack {
            let _ = write!(text, " although its own log differs there");
        }
    } else if model.configuration.flush && end > prev {
        let _ = write!(text, ", not on its disk yet");
    }
    if announced > 0 && b.commit > a.commit {
        let _ = write!(text, ", and commits up to {}", b.commit);
    }
    text
}

fn tell_restart(a: &Node, b: &Node) -> String {
    let mut text = String::from("crashes and comes back");
    let mut lost: Vec<String> = Vec::new();
    if b.log.len() < a.log.len() {
        lost.push(format!(
            "{}, which was not on its disk",
            span(b.log.len() + 1, a.log.len())
        ));
    }
    if b.vote >> 1 != a.vote >> 1 {
        lost.push("its vote".into());
    }
    if a.bits & LEASE != 0 && b.bits & LEASE == 0 {
        lost.push("its promise not to vote".into());
    }
    if a.commit > 0 {
        lost.push("what it knew to be committed".into());
    }
    if !lost.is_empty() {
        let _ = write!(text, " without {}", lost.join(" and without "));
    }
    if b.leads() {
        text.push_str(", as the leader of the same term");
        if a.vote & 1 == 0 {
            text.push_str(", though no quorum granted that");
        }
    }
    text
}

/// Nodes of a bit set: `n1 alone`, `n1 and n3`, `all`.
pub(super) fn names(set: u8) -> String {
    let nodes: Vec<String> = (0..NODES)
        .filter(|i| set >> i & 1 == 1)
        .map(|i| format!("n{}", i + 1))
        .collect();
    match nodes.as_slice() {
        [] => "nobody".into(),
        [one] => format!("{one} alone"),
        [one, two] => format!("{one} and {two}"),
        _ => "all".into(),
    }
}

fn count(log: PackedLog) -> String {
    match log.len() {
        0 => "an empty log".into(),
        1 => format!("a log of one entry ({})", entry(log.entry(1))),
        n => format!("a log of {n} entries (the last: {})", entry(log.entry(n))),
    }
}

fn span(first: u8, last: u8) -> String {
    if first >= last {
        format!("entry {first}")
    } else {
        format!("entries {first} to {last}")
    }
}

fn kind(byte: u8) -> &'static str {
    match byte >> 4 {
        op::BLANK => "blank",
        op::WRITE => "write",
        op::JOINT => "joint membership",
        _ => "new membership",
    }
}

/// An entry as `term.node` of the leader that proposed it, and what it carries.
pub(super) fn entry(byte: u8) -> String {
    let l = byte & 15;
    format!("{}.{} {}", term_of(l), owner_of(l) + 1, kind(byte))
}
