//! Built states for the tests: what a run would have told, told by hand, so that a test needs no cluster.

pub(super) mod long;

use std::path::PathBuf;

use checkers::history::{self, At, Call, EventKind, Operation, Outcome};
use checkers::verdict::{Counterexample, Staleness};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::app::{App, Input};
use super::picker::Recipe;
use super::theme::Theme;
use super::update::update;
use crate::fault::{By, Fault, FaultId, NodeId, Way};
use crate::journal::{
    ChildState, Entry, Event, LinkState, Load, NodeView, Phase, Progress, Role, RpcView,
    VerdictWord, Vote,
};
use crate::oracle::Evidence;
use crate::oracle::state_hash::differences::Differences;
use crate::oracle::state_hash::{Differ, Held, States};

const MS: u64 = 1_000_000;

/// Tells an app what a run would.
pub(super) struct Teller {
    pub(super) app: App,
    next: u64,
    faults: FaultId,
    random: ChaCha8Rng,
    /// For each client: until when it is busy or idle, and how its operation will end.
    busy: [(u64, Option<Outcome>); 8],
    value: i64,
}

impl Teller {
    /// A run of so many nodes that has just begun to serve: n1 leads term 3.
    pub(super) fn started(nodes: u64) -> Teller {
        let mut teller = Teller::over(App::new(Theme::colourful()), 0);
        teller.app.picker.recipes = recipes();
        teller.app.picker.defects = vec!["stale-read".to_owned()];
        teller.at(
            0,
            Event::Started {
                scenario: "rapids".into(),
                seed: 7141,
                nodes: (1..=nodes).collect(),
                seconds: 60,
                load: Load {
                    rate: 200,
                    clients: 8,
                    contended: 5,
                },
                defect: None,
                dir: PathBuf::from("runs/20261123-141503-rapids-7141"),
                again: "whitewater run rapids --nodes 3 --time 60 --seed 7141".into(),
            },
        );
        for id in 1..=nodes {
            teller.node(900, view(id, 1, 3, 0));
        }
        teller.at(
            1000,
            Event::Phase {
                phase: Phase::Running,
            },
        );
        teller
    }

    fn over(app: App, next: u64) -> Teller {
        Teller {
            app,
            next,
            faults: 0,
            random: ChaCha8Rng::seed_from_u64(7),
            busy: [(0, None); 8],
            value: 0,
        }
    }

    pub(super) fn at(&mut self, ms: u64, event: Event) {
        update(
            &mut self.app,
            Input::Entry(Entry {
                time_ns: ms * MS,
                event,
            }),
        );
    }

    pub(super) fn node(&mut self, ms: u64, node: NodeView) {
        self.at(ms, Event::Node { node });
    }

    pub(super) fn fault_in(&mut self, ms: u64, fault: Fault, by: By) {
        self.faults += 1;
        let ids = self.app.picture.ids();
        let slow = matches!(fault, Fault::Slow { .. });
        for (from, to) in fault.links(&ids) {
            self.at(
                ms,
                Event::Link {
                    from,
                    to,
                    state: if slow {
                        LinkState::Slow
                    } else {
                        LinkState::Cut
                    },
                },
            );
        }
        self.at(
            ms,
            Event::FaultIn {
                id: self.faults,
                fault,
                by,
                unpromised: false,
            },
        );
    }

    pub(super) fn invoke(&mut self, ms: u64, client: u64, node: u64, key: &str, call: Call) -> u64 {
        let kind = EventKind::Invoke {
            key: key.into(),
            call,
        };
        self.event(history::Event {
            index: self.next,
            time_ns: ms * MS,
            client: Some(client),
            node: Some(node),
            kind,
        })
    }

    pub(super) fn complete(&mut self, ms: u64, client: u64, outcome: Outcome) -> u64 {
        let error = match outcome {
            Outcome::Ok(_) => None,
            Outcome::Failed | Outcome::Differed(_) => Some("not leader".to_owned()),
            Outcome::Unknown => Some("no answer within 1 s".to_owned()),
        };
        let at = matches!(outcome, Outcome::Ok(_)).then_some(At {
            term: 4,
            index: self.next,
        });
        let kind = EventKind::Complete { outcome, at, error };
        self.event(history::Event {
            index: self.next,
            time_ns: ms * MS,
            client: Some(client),
            node: None,
            kind,
        })
    }

    fn event(&mut self, event: history::Event) -> u64 {
        self.next += 1;
        let index = event.index;
        update(&mut self.app, Input::Entry(event.into()));
        index
    }

    /// Traffic of eight clients over five keys, drawn from a seed.
    pub(super) fn traffic(&mut self, from_ms: u64, to_ms: u64) {
        for ms in from_ms..to_ms {
            for client in 1..=8 {
                let (until, outcome) = self.busy[client as usize - 1];
                if ms < until {
                    continue;
                }
                let busy = if let Some(outcome) = outcome {
                    self.complete(ms, client, outcome);
                    (ms + self.random.random_range(2..20), None)
                } else {
                    let outcome = self.ask(ms, client);
                    (ms + self.random.random_range(20..90), Some(outcome))
                };
                self.busy[client as usize - 1] = busy;
            }
        }
    }

    fn ask(&mut self, ms: u64, client: u64) -> Outcome {
        let key = format!("k{}", self.random.random_range(1..=5));
        self.value += 1;
        let (new, old) = (self.value, self.value / 2);
        let (call, outcome) = match self.random.random_range(0..10) {
            0..5 => (Call::Read, Outcome::Ok(Some(old))),
            5..8 => (Call::Write(new), Outcome::Ok(None)),
            8 => (Call::Cas { old, new }, Outcome::Failed),
            _ => (Call::Delete, Outcome::Ok(None)),
        };
        self.invoke(ms, client, client % 3 + 1, &key, call);
        outcome
    }

    /// The clock of the session and of the picture.
    pub(super) fn clock(mut self, ms: u64) -> App {
        update(&mut self.app, Input::Clock(0));
        let passed = (ms * MS).saturating_sub(self.app.now_ns);
        update(&mut self.app, Input::Clock(passed));
        self.app.flash = None;
        self.app
    }
}

/// A node that follows `leader`, or is it.
pub(super) fn view(id: NodeId, leader: NodeId, term: u64, committed: u64) -> NodeView {
    NodeView {
        id,
        child: ChildState::Up,
        pid: Some(4100 + id as u32),
        grpc: Some(([127, 0, 0, 1], 41_001 + 10 * id as u16).into()),
        redis: Some(([127, 0, 0, 1], 41_003 + 10 * id as u16).into()),
        restarts: 0,
        role: if id == leader {
            Role::Leader
        } else {
            Role::Follower
        },
        term,
        vote: Some(Vote {
            term,
            node: leader,
            committed: true,
        }),
        leader: Some(leader),
        last_log: committed + 2,
        committed,
        applied: committed,
        snapshot: committed / 300 * 300,
    }
}

pub(super) fn recipes() -> Vec<Recipe> {
    [
        (
            "rapids",
            "isolate, kill and pause the leader, then whatever the seed draws",
            30,
        ),
        ("calm", "no faults", 20),
        ("by-hand", "no plan: you are the nemesis", 0),
    ]
    .map(|(name, about, seconds)| Recipe {
        name: name.into(),
        about: about.into(),
        seconds,
        nodes: 3,
        clients: 8,
        keys: 5,
    })
    .to_vec()
}

fn progress(proven_to: u64, open: u64, worlds: u64) -> Event {
    Event::Progress {
        progress: Progress {
            proven_to,
            open,
            configurations: worlds,
            gave_up: None,
        },
    }
}

/// Nothing was told yet.
pub(super) fn empty() -> App {
    let mut app = App::new(Theme::colourful());
    app.picker.recipes = recipes();
    app
}

/// Everything is well.
pub(super) fn calm() -> App {
    let mut teller = Teller::started(3);
    teller.traffic(1000, 4000);
    for id in 1..=3 {
        teller.node(3900, view(id, 1, 3, 204));
    }
    teller.at(3990, progress(187, 5, 12));
    teller.clock(4000)
}

/// The same, and what n1's calls have come to is known.
pub(super) fn called() -> App {
    let mut teller = Teller::over(cut(), 100_000);
    let row = |method: &str, calls, errors, p99_us| RpcView {
        method: method.to_owned(),
        calls,
        errors,
        in_flight: 1,
        bytes: calls * 180,
        p50_us: p99_us / 4,
        p99_us,
    };
    let rpcs = vec![
        row("AppendEntries", 90, 7, 2_400),
        row("StreamAppend", 1_204, 0, 3_100),
        row("Vote", 4, 1, 900),
    ];
    teller.at(4_995, Event::Rpcs { node: 1, rpcs });
    teller.clock(5_000)
}

/// Two faults are in, a node lags, an operation is unknown.
pub(super) fn cut() -> App {
    let mut teller = cut_teller(3);
    teller.at(4990, progress(263, 6, 40));
    teller.clock(5000)
}

fn cut_teller(nodes: u64) -> Teller {
    let mut teller = Teller::started(nodes);
    teller.traffic(1000, 4200);
    teller.fault_in(4300, Fault::Cut { from: 1, to: 3 }, By::You);
    teller.fault_in(4300, Fault::Cut { from: 3, to: 1 }, By::You);
    teller.invoke(4400, 9, 3, "k3", Call::Cas { old: 2, new: 8 });
    for id in 1..=nodes {
        teller.node(4450, view(id, 1, 4, 1204));
    }
    let lost = NodeView {
        leader: None,
        committed: 1188,
        ..view(3, 1, 3, 1188)
    };
    teller.node(4460, lost);
    teller.traffic(4500, 4800);
    teller.complete(4810, 9, Outcome::Unknown);
    teller.fault_in(
        4820,
        Fault::Slow {
            from: 3,
            to: 2,
            delay_ms: 40,
            jitter_ms: 10,
        },
        By::Plan,
    );
    teller.traffic(4830, 5000);
    teller
}

/// Five nodes: one paused, one dead, one isolated.
pub(super) fn five() -> App {
    let mut teller = cut_teller(5);
    teller.fault_in(4850, Fault::Pause { who: 2 }, By::Plan);
    teller.fault_in(4860, Fault::Kill { who: 4 }, By::You);
    teller.fault_in(
        4870,
        Fault::Isolate {
            who: 5,
            way: Way::In,
        },
        By::Plan,
    );
    teller.node(
        4880,
        NodeView {
            child: ChildState::Paused,
            ..view(2, 2, 3, 1100)
        },
    );
    teller.node(
        4890,
        NodeView {
            child: ChildState::Dead,
            pid: None,
            ..view(4, 1, 4, 1204)
        },
    );
    teller.node(
        4890,
        NodeView {
            role: Role::Candidate,
            leader: None,
            ..view(5, 1, 5, 1190)
        },
    );
    teller.at(4895, Event::Nemesis { on: false });
    teller.clock(5000)
}

/// The judge works through many worlds.
pub(super) fn working() -> App {
    let mut teller = cut_teller(3);
    teller.at(4990, progress(263, 9, 12_345));
    teller.clock(5000)
}

/// The judge gave up on a key.
pub(super) fn unknown() -> App {
    let mut teller = cut_teller(3);
    let progress = Progress {
        proven_to: 263,
        open: 9,
        configurations: 2_000_000,
        gave_up: Some("k4".into()),
    };
    teller.at(4990, Event::Progress { progress });
    teller.clock(5000)
}

/// The screen is frozen and the run goes on.
pub(super) fn frozen() -> App {
    let mut teller = Teller::over(cut(), 100_000);
    let space = super::keys::Key::Char(' ').event();
    update(&mut teller.app, Input::Key(space));
    teller.traffic(5000, 5400);
    teller.app
}

/// The workload is held.
pub(super) fn held() -> App {
    let mut teller = cut_teller(3);
    teller.at(4950, Event::Workload { paused: true });
    teller.clock(5000)
}

/// A stale read was caught, and the network is held for a person to look.
pub(super) fn standing() -> App {
    let mut teller = Teller::over(violation(), 100_000);
    teller.at(5_760, Event::PausedByViolation { paused: true });
    teller.clock(6_000)
}

/// A stale read was caught.
pub(super) fn violation() -> App {
    let mut teller = cut_teller(3);
    teller.traffic(5000, 5180);
    let found = stale_read(&mut teller);
    teller.at(
        5700,
        Event::Alarm {
            counterexample: Box::new(found),
        },
    );
    teller.clock(5750)
}

/// The same, over and its screen on the proof.
pub(super) fn ended_in_violation() -> App {
    let mut app = violation();
    let ended = Event::Ended {
        verdict: VerdictWord::Violation,
        exit: 1,
        summary: "NOT LINEARIZABLE".into(),
    };
    update(
        &mut app,
        Input::Entry(Entry {
            time_ns: 5800 * MS,
            event: ended,
        }),
    );
    app
}

/// It held.
pub(super) fn ended_well() -> App {
    let mut teller = cut_teller(3);
    let summary = "✓ LINEARIZABLE · 311 operations, 4.0 s".into();
    teller.at(
        5100,
        Event::Ended {
            verdict: VerdictWord::Linearizable,
            exit: 0,
            summary,
        },
    );
    teller.clock(5100)
}

/// It held, but the states of two nodes differ.
pub(super) fn finding() -> App {
    let mut teller = cut_teller(3);
    let held = |node, hash: &str| Held {
        node,
        hash: hash.into(),
    };
    let states = States::Nodes {
        at: (2, 1204),
        first: held(1, "5eaf00d1"),
        second: held(3, "0ddba115"),
    };
    let differences = Differences::Same;
    let differ = Differ {
        states,
        differences,
    };
    let finding = Evidence::StateHash(differ).into();
    teller.at(5000, Event::Found { finding });
    teller.clock(5100)
}

/// The bench failed.
pub(super) fn bench_error() -> App {
    let mut teller = Teller::started(3);
    let text =
        "n2 ended before it was ready; its last lines:\nCould not lock the store: it is in use"
            .into();
    let phase = Phase::Judging;
    teller.at(1150, Event::Phase { phase });
    teller.at(1200, Event::BenchError { text });
    teller.clock(1300)
}

fn stale_read(teller: &mut Teller) -> Counterexample {
    let key = "k9";
    let step = |teller: &mut Teller, from: u64, to: u64, client, node, call, outcome| {
        let invoked = teller.invoke(from, client, node, key, call);
        (invoked, from, to, client, node, call, outcome)
    };
    // Events must come in the order of time: begin and end are told one by one.
    let a = step(teller, 5200, 5320, 13, 1, Call::Write(9), Outcome::Ok(None));
    let b = step(
        teller,
        5250,
        5480,
        11,
        1,
        Call::Write(17),
        Outcome::Ok(None),
    );
    let a_end = teller.complete(5320, 13, Outcome::Ok(None));
    let b_end = teller.complete(5480, 11, Outcome::Ok(None));
    let c = step(teller, 5500, 5570, 15, 3, Call::Read, Outcome::Ok(Some(17)));
    let c_end = teller.complete(5570, 15, Outcome::Ok(Some(17)));
    let d = step(teller, 5580, 5690, 12, 2, Call::Read, Outcome::Ok(Some(9)));
    let d_end = teller.complete(5690, 12, Outcome::Ok(Some(9)));
    let operations = [(a, a_end), (b, b_end), (c, c_end), (d, d_end)]
        .map(
            |((id, from, to, client, node, call, outcome), end)| Operation {
                id,
                client,
                key: key.into(),
                call,
                outcome,
                invoked: id,
                completed: Some(end),
                invoked_ns: from * MS,
                completed_ns: Some(to * MS),
                node: Some(node),
                at: Some(At {
                    term: if node == 2 { 3 } else { 4 },
                    index: 1200 + id,
                }),
                error: None,
            },
        )
        .to_vec();
    Counterexample {
        key: key.into(),
        order: vec![a.0, b.0, c.0],
        culprit: d.0,
        why: vec![
            format!("#{} began after #{} had ended.", d.0, c.0),
            "No order can put the read of 9 before the read of 17, and nothing wrote 9 again in between.".into(),
        ],
        event: d_end,
        at_the_latest: false,
        unshrunk: false,
        typed: None,
        staleness: Some(Staleness { nanoseconds: 10 * MS, versions: 1 }),
        operations,
    }
}
