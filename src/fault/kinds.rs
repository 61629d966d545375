//! The kinds of faults by name, which is what people type and read: the only place where they are written.

/// A kind of fault: its name wherever a name is typed or shown, and what it does, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// One word, as in `--faults kill,pause`.
    pub name: &'static str,
    /// For `whitewater list faults` and the fault menu.
    pub about: &'static str,
}

/// Every kind of fault, in the order in which people meet them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "isolate",
        about: "cut a node off from its peers, both ways or one way; its clients still reach it",
    },
    Kind {
        name: "kill",
        about: "SIGKILL a node, start it again on its own disk",
    },
    Kind {
        name: "pause",
        about: "SIGSTOP a node, SIGCONT it later; it does not notice",
    },
    Kind {
        name: "restart",
        about: "end a node, gracefully or not, and start it again at once",
    },
    Kind {
        name: "kill-several",
        about: "SIGKILL a minority, a majority, all followers or all nodes at once",
    },
    Kind {
        name: "freeze",
        about: "SIGSTOP a minority, a majority, all followers or all nodes at once, SIGCONT one after the other",
    },
    Kind {
        name: "limit",
        about: "let a node write no file (EFBIG) or open none (EMFILE): it stops or refuses",
    },
    Kind {
        name: "split",
        about: "part the nodes into two sides that do not hear each other",
    },
    Kind {
        name: "bridge",
        about: "part the nodes into two sides that hear each other only through one node between them",
    },
    Kind {
        name: "ring",
        about: "let only neighbours in a ring hear each other: majorities everywhere, no two the same",
    },
    Kind {
        name: "graph",
        about: "stop a random set of directed links",
    },
    Kind {
        name: "hide",
        about: "cut a node off from its clients; its peers still hear it",
    },
    Kind {
        name: "crash-loop",
        about: "SIGKILL a node again and again, soon after each start",
    },
    Kind {
        name: "throttle",
        about: "let a node run and stand in turns of some milliseconds: a slow processor",
    },
    Kind {
        name: "cut",
        about: "stop the packets from one node to another; the other way flows",
    },
    Kind {
        name: "slow",
        about: "delay the packets from one node to another, in order",
    },
    Kind {
        name: "wire",
        about: "narrow, slice, delay at random, half close, reset or refuse the connections from one node to another",
    },
    Kind {
        name: "crash",
        about: "cut the power of one node, a minority, a majority or all: what was not synced is lost",
    },
    Kind {
        name: "drop",
        about: "lose requests: votes, appends, heartbeats, or clients' own",
    },
    Kind {
        name: "swallow",
        about: "lose answers: the request does its work, and nobody hears of it",
    },
    Kind {
        name: "late",
        about: "deliver requests late, also those that their sender has given up",
    },
    Kind {
        name: "late-answer",
        about: "deliver answers late: the request did its work in time",
    },
    Kind {
        name: "double",
        about: "deliver requests twice",
    },
    Kind {
        name: "reorder",
        about: "let requests overtake one another",
    },
    Kind {
        name: "refuse",
        about: "answer requests with an error, without delivering them",
    },
    Kind {
        name: "disk",
        about: "slow, held or failing syncs (EIO), failing reads (EIO), a full disk (ENOSPC), random or torn write-back under a node",
    },
    Kind {
        name: "lying-disk",
        about: "syncs say that they are done and are not; OUTSIDE of the fault model, never drawn: no store can keep its word",
    },
    Kind {
        name: "bit-flip",
        about: "what is read from the disk has one bit wrong; OUTSIDE of the fault model, never drawn: the node has to notice",
    },
    Kind {
        name: "clock",
        about: "let a node's own clock run fast or slow, stand still or step forward; leases may break",
    },
    Kind {
        name: "shrink",
        about: "take a node's vote away by a change of the membership, give it back later",
    },
    Kind {
        name: "transfer",
        about: "hand the leadership to another node",
    },
    Kind {
        name: "replay",
        about: "deliver an old request between nodes again, before a new one",
    },
    Kind {
        name: "cut-stream",
        about: "reset streams of appends or snapshots after their first request",
    },
    Kind {
        name: "stall",
        about: "let streams of appends or snapshots stand after their first request",
    },
    Kind {
        name: "corrupt",
        about: "flip a bit of each request; OUTSIDE of the fault model, never drawn: TCP does not do that",
    },
    Kind {
        name: "replace",
        about: "take a voter out of the membership, end it and empty its disk; later it joins as a new one",
    },
    Kind {
        name: "grow",
        about: "let a node that is no member join and vote; later it leaves again",
    },
    Kind {
        name: "wipe",
        about: "start a voter again on an empty disk; OUTSIDE of the fault model, never drawn: it forgets its vote",
    },
];

/// The kinds that change who has a vote.
pub const MEMBERSHIP: &[&str] = &["shrink", "replace", "grow"];

/// The kinds that no quorum protocol need survive. A plan never draws them; whoever writes one down gets what is found
/// labelled.
pub const OUTSIDE: &[&str] = &["lying-disk", "bit-flip", "wipe", "corrupt"];

/// Among fewer nodes than this a fault of that kind would do nothing, or nothing that another kind does not do.
#[must_use]
pub fn least_nodes(kind: &str) -> usize {
    match kind {
        "kill" | "pause" | "restart" | "crash-loop" | "throttle" | "hide" | "limit" | "crash"
        | "disk" | "lying-disk" | "bit-flip" | "clock" | "wipe" => 1,
        "bridge" | "kill-several" | "freeze" => 3,
        "ring" => 4,
        _ => 2,
    }
}
