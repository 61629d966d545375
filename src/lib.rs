//! whitewater: rough water for Raft clusters. It starts a real replicated store as real processes, breaks it, writes
//! down what every client saw, and says while it happens whether that is linearizable.
//!
//! # The map, in reading order
//!
//! One operation passes through these rooms, from wish to screen:
//!
//! - [`fault`] is what can go wrong, as data, and plans: faults over time. [`scenario`] is a recipe: cluster, workload,
//!   plan, length. Neither acts.
//! - [`workload`] picks the next operation, purely, from the seed.
//! - [`target`] is what is tested: its command line, its protocol and its status, one file for each, or a TOML file that
//!   describes somebody else's system. Its clients are the only translators between an operation and a store's protocol,
//!   and say how it ended: ok, failed or unknown.
//! - [`recorder`] is the only writer of a history, and the only clock that it trusts. It hands every event to
//!   [`judge`], which feeds the online checker of the `checkers` crate on a thread of its own.
//! - [`cluster`] is the children: spawned, killed, paused, asked, reaped. [`proxy`] is the network between them: one
//!   listener for each ordered pair. [`testbed`] is both, with what leads from one to the other. [`nemesis`] is the only
//!   hand on them.
//! - `node` is the system under test: Kiwi's Raft RPC layer over openraft, one process. Nobody imports it but [`cli`];
//!   it does not know that it is tested. [`wire`] is the generated protocol, and what every call carries beside its
//!   message. [`shortage`] is the table of what a machine may have run out of, by the kernel's error numbers and a node's
//!   exit codes: bench and node share it. [`last_words`] are what a process left on stderr.
//! - [`machine`], a crate of its own, is an unmodified program on a host of its own: what it asks the kernel for, the
//!   bench answers.
//! - [`host`] is the machine under all that: whether it has what a run needs, and had it when somebody is about to be
//!   accused.
//! - [`oracle`] is what is proven beside the history: one property a file, and who is to blame for what was seen.
//! - [`journal`] is what happened: one typed event, one log of it in the run's folder, and folds over it: the view of a
//!   run, operations over time, coverage, the result. Live, or read back whole.
//! - [`run`] is the conductor, the only owner of all that: commands in, events out. [`exit`] is the list of exit codes.
//! - [`campaign`] is many runs for one answer, each a child process of its own: a line is kept of each, and the table is
//!   a fold over these lines.
//! - [`report`] prints what a run says. [`cli`] is flags and front doors: a door decides its exit code, and what becomes of
//!   its words afterwards can only make it worse.
//!
//! The judge's algorithms and the formats of histories live in `checkers`, the model of election and replication in `model`:
//! pure libraries.
//!
//! # Four things that are never mixed
//!
//! An *outcome* is what a client saw: ok, failed (proven never applied), unknown. A *verdict* is what the history
//! proves: linearizable, violation, unknown. A *finding* is what another oracle proves against the system under test:
//! states differ, no convergence, a panic, an exit. A *bench error* is our own failure or our host's (a full disk, no
//! descriptor, no port, no memory, no time), and never becomes a verdict or a finding.
//!
//! # Glossary
//!
//! One noun, one meaning, in code, on screen and in files.
//!
//! | noun | meaning |
//! | --- | --- |
//! | node | a member of the system under test |
//! | child | its operating-system process |
//! | client | one logical client: one operation at a time |
//! | operation | an invocation and its outcome |
//! | history | what clients saw, in order |
//! | event, journal | one fact of a run; the log of them, beside the history |
//! | view, result | what a screen shows of a run; what a report says of it: both are folds over its events |
//! | mark | a fault put in or taken out, in the history |
//! | link | one direction between two parties |
//! | fault, plan | one thing wrong, as data; faults over time |
//! | nemesis | who carries out a plan |
//! | scenario, run | cluster, workload, plan and length; one execution of it |
//! | campaign, signature | many runs, counted; what failures of one kind have in common |
//! | spec | the sequential machine that a history is judged by |
//! | model | stateright's, of election and replication, and nothing else |
//! | counterexample, witness | the operations that prove a violation; an order that proves a linearizable history |
//! | defect, mutant, decoy | a deliberate bug in our node; one in the model; what looks wrong and is legal |
//! | target | what is being tested |
//! | token | the secret of one run, which every call to its nodes carries |
//! | shortage | what the host has no more of, by the kernel's word |
//!
//! # The nevers
//!
//! 1. `checkers` never knows tokio, tonic, openraft, ratatui, a path or a clock.
//! 2. A byte inside a TCP stream is never dropped with the stream going on: a link holds, delays, slows, resets or
//!    refuses.
//! 3. A client never retries what might have been applied, but with the same session and sequence, recorded as one
//!    operation; and it never judges.
//! 4. The recorder is never bypassed: an invocation is on record before its first byte leaves, a completion after its
//!    last byte came.
//! 5. An unknown operation never completes later, and its client id is never used again.
//! 6. The screen never awaits the cluster, never slows the recorder, never changes state while it draws.
//! 7. A report never decides; it prints the verdict that it was given, with the evidence.
//! 8. A bench error never becomes a verdict or a finding, and a verdict is never withheld because of one, nor its exit
//!    code.
//! 9. A fault is never put in without a guard that takes it out, and both are events of the journal and marks in the history.
//! 10. Nothing is global, except the list of the children's process groups, so that a panic or a signal can end them.

pub mod campaign;
pub mod cli;
pub mod cluster;
pub mod exit;
pub mod fault;
pub mod host;
pub mod journal;
pub mod judge;
pub mod last_words;
pub mod nemesis;
pub mod node;
pub mod oracle;
pub mod proxy;
pub mod recorder;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shortage;
pub mod target;
pub mod testbed;
pub mod tui;
pub mod wire;
pub mod workload;
