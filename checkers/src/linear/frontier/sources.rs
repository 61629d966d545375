//! Who wrote what was found, before any search: where values repeat, many a finder still has one possible source.
//!
//! A write and those who certainly found it are a cluster, as in [zones](crate::linear::zones), with F the first end
//! and S the last begin in it. What is known of clusters limits the sources of the other finders, and so on:
//!
//! ```text
//!   w: write 1 ├──┤                            w can't be the source: v came after w (F(w) < S(v))
//!   v: write 2        ├──┤                     and ended before r began (F(v) < begin of r)
//!   x: write 1              ├──────┤           x is the only one left: r belongs to x
//!   r: read 1                 ├──┤
//! ```
//!
//! A finder without a source is a violation; so are two clusters of which each must come before the other, and two cas
//! that took the same write. Each of these is a fact about every order, so what fails here fails. Where every finder
//! has one source, values can be renamed until each is written once, and zones decide. Otherwise nothing is said.

use crate::history::{ABSENT, End, Kind, NEVER, Op};
use crate::linear::zones::{self, Zones};

use super::{matters, produces};

/// What the sources say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    Holds,
    Fails,
    /// Some finder has several possible sources, and nothing is wrong with the others.
    Several,
}

/// No cluster.
const NONE: u32 = u32::MAX;

/// Rounds of narrowing down at most: each is linear, and hardly any history needs more than four.
const ROUNDS: usize = 12;

/// A write and those who found it. Times are positions plus one.
#[derive(Clone, Copy)]
struct Cluster {
    begin: u32,
    first_end: u32,
    last_begin: u32,
    /// The writer among the operations; [`NONE`] for the initial value.
    op: u32,
    /// The cluster that a cas put in its place.
    next: u32,
}

/// An operation that found a value.
#[derive(Clone, Copy)]
struct Finder {
    op: u32,
    value: u32,
    begin: u32,
    end: u32,
    /// The cluster that it wrote itself, where it is a cas.
    own: u32,
    source: u32,
}

struct Search {
    clusters: Vec<Cluster>,
    finders: Vec<Finder>,
    /// The clusters of each value, in order of their begins.
    of_value: Vec<Vec<u32>>,
    /// For each of them the last one not after it that still may be a source, plus one: a forest that is flattened.
    alive: Vec<Vec<u32>>,
    events: u32,
}

/// Narrows the sources of `ops` down as far as that goes.
pub(super) fn decide(ops: &[Op], values: usize, events: u32) -> Sources {
    let mut search = Search::new(ops, values, events);
    for _ in 0..ROUNDS {
        match search.round() {
            None => return Sources::Fails,
            Some(true) => {}
            Some(false) => break,
        }
    }
    let all_known = search.finders.iter().all(|finder| {
        finder.source != NONE || (finder.end == NEVER && !search.happened(finder.own))
    });
    if all_known {
        return match search.rename(ops) {
            Zones::Holds => Sources::Holds,
            Zones::Fails(_) => Sources::Fails,
            Zones::NotUnique => Sources::Several,
        };
    }
    if search.clash() {
        return Sources::Fails;
    }
    Sources::Several
}

impl Search {
    fn new(ops: &[Op], values: usize, events: u32) -> Self {
        let mut search = Self {
            clusters: Vec::new(),
            finders: Vec::new(),
            of_value: vec![Vec::new(); values],
            alive: Vec::new(),
            events,
        };
        search.add_cluster(0, 0, ABSENT, NONE);
        for (i, op) in ops.iter().enumerate().filter(|(_, op)| matters(op)) {
            let begin = op.call + 1;
            let end = if op.end == End::Ok { op.ret + 1 } else { NEVER };
            let mut own = NONE;
            if let Some(value) = produces(op) {
                own = search.clusters.len() as u32;
                search.add_cluster(begin, end, value, i as u32);
            }
            let value = match op.kind {
                Kind::Read => op.value,
                Kind::Cas => op.old,
                Kind::Write | Kind::Delete | Kind::Append => continue,
            };
            search.finders.push(Finder {
                op: i as u32,
                value,
                begin,
                end,
                own,
                source: NONE,
            });
        }
        search
    }

    fn add_cluster(&mut self, begin: u32, end: u32, value: u32, op: u32) {
        let of_value = &mut self.of_value[value as usize];
        of_value.push(self.clusters.len() as u32);
        self.clusters.push(Cluster {
            begin,
            first_end: end,
            last_begin: begin,
            op,
            next: NONE,
        });
    }

    /// Whether a cas certainly took effect.
    fn happened(&self, cluster: u32) -> bool {
        cluster != NONE && self.clusters[cluster as usize].first_end != NEVER
    }

    /// Looks at each finder without a source: whether any found its own; nothing where one has none.
    fn round(&mut self) -> Option<bool> {
        // What is dead for one finder is dead for those that began later, in this round.
        let places = self.of_value.iter();
        self.alive = places.map(|of| (1..=of.len() as u32).collect()).collect();
        let by_end = self.clusters_by_end();
        let mut ended = by_end.iter().copied().peekable();
        // Of the clusters that ended before the finder at hand began: the two largest last begins, and whose.
        let (mut s1, mut w1, mut s2) = (0, NONE, 0);
        let mut progress = false;
        for i in 0..self.finders.len() {
            let finder = self.finders[i];
            while let Some(&(first_end, number)) = ended.peek()
                && first_end < finder.begin
            {
                ended.next();
                let last_begin = self.clusters[number as usize].last_begin;
                if last_begin >= s1 {
                    (s2, s1, w1) = (s1, last_begin, number);
                } else {
                    s2 = s2.max(last_begin);
                }
            }
            if finder.source != NONE {
                continue;
            }
            // An unknown cas must find something only if somebody found what it wrote.
            if finder.end == NEVER && !self.happened(finder.own) {
                continue;
            }
            let bound = |number| if number == w1 { s2 } else { s1 };
            let (first, another) = self.candidates(&finder, s2, bound);
            if first == NONE {
                return None;
            }
            if !another {
                self.assign(i, first)?;
                progress = true;
            }
        }
        Some(progress)
    }

    fn clusters_by_end(&self) -> Vec<(u32, u32)> {
        let mut by_end: Vec<(u32, u32)> = (0..)
            .zip(&self.clusters)
            .filter(|(_, cluster)| cluster.first_end != NEVER)
            .map(|(number, cluster)| (cluster.first_end, number))
            .collect();
        by_end.sort_unstable();
        by_end
    }

    /// One possible source, and whether there is another. What ended before `dead` is none for anybody from here on.
    fn candidates(
        &mut self,
        finder: &Finder,
        dead: u32,
        bound: impl Fn(u32) -> u32,
    ) -> (u32, bool) {
        let end = self.end_of(finder);
        let of_value = &self.of_value[finder.value as usize];
        let alive = &mut self.alive[finder.value as usize];
        let begun = of_value.partition_point(|w| self.clusters[*w as usize].begin < end);
        let mut first = NONE;
        let mut at = last_alive(alive, begun);
        while at > 0 {
            let number = of_value[at - 1];
            let cluster = &self.clusters[number as usize];
            if cluster.first_end < dead {
                alive[at - 1] = at as u32 - 1;
            } else if number != finder.own && cluster.first_end >= bound(number) {
                if first != NONE {
                    return (first, true);
                }
                first = number;
            }
            at = last_alive(alive, at - 1);
        }
        (first, false)
    }

    /// Before when the finder certainly took effect.
    fn end_of(&self, finder: &Finder) -> u32 {
        match finder.end {
            // An unknown cas, of which somebody found what it wrote.
            NEVER => self.clusters[finder.own as usize].first_end,
            end => end,
        }
    }

    /// The finder belongs to the cluster.
    fn assign(&mut self, finder: usize, source: u32) -> Option<()> {
        self.finders[finder].source = source;
        let finder = self.finders[finder];
        let end = self.end_of(&finder);
        let cluster = &mut self.clusters[source as usize];
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(finder.begin);
        if finder.own != NONE {
            if cluster.next != NONE {
                return None;
            }
            cluster.next = finder.own;
        }
        Some(())
    }

    /// Whether two clusters must each come before the other, or one was found before it was written.
    fn clash(&self) -> bool {
        let mut zones: Vec<(u32, u32, u32)> = Vec::new();
        for cluster in self.clusters.iter().filter(|c| c.first_end != NEVER) {
            if cluster.first_end < cluster.begin {
                return true;
            }
            let left = cluster.first_end.min(cluster.last_begin);
            zones.push((left, cluster.first_end, cluster.last_begin));
        }
        zones.sort_unstable();
        let mut last = 0;
        for (_, first_end, last_begin) in zones {
            if first_end < last {
                return true;
            }
            if first_end < last_begin {
                last = last_begin;
            }
        }
        false
    }

    /// The operations with a value of its own for each write, through zones.
    fn rename(&self, ops: &[Op]) -> Zones {
        let mut renamed = Vec::with_capacity(ops.len());
        // Clusters were made in the order of the operations; the first one is the initial value's.
        let mut value_of = vec![NONE; ops.len()];
        for (number, cluster) in (0..).zip(&self.clusters) {
            if cluster.op != NONE {
                value_of[cluster.op as usize] = number;
            }
        }
        let mut source_of = vec![NONE; ops.len()];
        for finder in &self.finders {
            source_of[finder.op as usize] = finder.source;
        }
        for (i, op) in ops.iter().enumerate().filter(|(_, op)| matters(op)) {
            let (value, source) = (value_of[i], source_of[i]);
            let op = match op.kind {
                Kind::Read => Op {
                    value: source,
                    ..*op
                },
                // An unknown cas that nobody found need not have happened.
                Kind::Cas if source == NONE => continue,
                Kind::Cas => Op {
                    value,
                    old: source,
                    ..*op
                },
                Kind::Write | Kind::Delete | Kind::Append => Op {
                    kind: Kind::Write,
                    value,
                    ..*op
                },
            };
            renamed.push(op);
        }
        zones::check(&renamed, self.clusters.len(), self.events)
    }
}

/// The last place not after `at` that is alive; places count from one, and 0 is none.
fn last_alive(alive: &mut [u32], at: usize) -> usize {
    let mut root = at;
    while root > 0 && alive[root - 1] as usize != root {
        root = alive[root - 1] as usize;
    }
    let mut here = at;
    while here > 0 && here != root {
        here = std::mem::replace(&mut alive[here - 1], root as u32) as usize;
    }
    root
}
