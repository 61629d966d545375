//! Whether a fault can do anything at all: what would be without effect is refused when it is read, and never counts as
//! one that took effect.
//!
//! What its own numbers say is [`Fault::check`]; what it needs of the nodes and of how they replicate is
//! [`Fault::check_among`]. A fault for roles is checked as the one for the nodes
//! that could play them.

use super::{
    Act, DiskHarm, Fault, Impossible, NodeId, NodeSelector, Of, Only, Role, Roles, WireHarm,
};

/// Why a fault makes no sense, or would do nothing, and which of its words says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Senseless {
    /// The word in a plan that is wrong; `fault` where it is the whole.
    pub field: &'static str,
    /// What is wrong with it, and what could stand there.
    pub why: String,
}

impl Senseless {
    pub(super) fn of(field: &'static str, why: impl Into<String>) -> Senseless {
        let why = why.into();
        Senseless { field, why }
    }

    /// Something that would change nothing.
    pub(super) fn without_effect(field: &'static str, why: impl std::fmt::Display) -> Senseless {
        Senseless::of(field, format!("without effect: {why}"))
    }
}

/// What a fault may meet: who there is, and how entries travel between them.
#[derive(Clone, Copy, Debug)]
pub struct Among<'a> {
    /// The nodes, in the order of their ids.
    pub nodes: &'a [NodeId],
    /// Whether entries travel in streams; else each append is a call of its own.
    pub streams: bool,
}

/// Nothing comes later than this, and nothing stands longer: a minute is longer than any timeout of a node.
pub(super) const MOST_MS: u64 = 60_000;
/// A clock steps no further than a day.
const MOST_STEP_MS: u64 = 86_400_000;
/// A clock runs no faster than this; a node refuses more.
const FASTEST_PERCENT: u32 = 10_000;

/// Whether so many milliseconds are more than nothing, and not too many.
pub(super) fn some_ms(field: &'static str, ms: u64, what: &str) -> Result<(), Senseless> {
    match ms {
        0 => Err(Senseless::without_effect(field, what)),
        ms => at_most(field, ms, MOST_MS),
    }
}

pub(super) fn at_most(field: &'static str, ms: u64, most: u64) -> Result<(), Senseless> {
    if ms <= most {
        return Ok(());
    }
    Err(Senseless::of(
        field,
        format!("{field} = {ms}: there can be {most} at most"),
    ))
}

impl Fault {
    /// Whether it can do anything among these nodes.
    ///
    /// # Errors
    /// Why not.
    pub fn check_among(&self, among: Among<'_>) -> Result<(), Senseless> {
        self.check()?;
        match self {
            Fault::Isolate { .. }
            | Fault::Split { .. }
            | Fault::Bridge { .. }
            | Fault::Ring { .. }
            | Fault::Graph { .. }
            | Fault::Cut { .. } => self.check_links(among.nodes),
            Fault::Message { act, of, only, .. } => {
                if !of.is_of_clients() && among.nodes.len() < 2 {
                    let why = "one node alone has no peer to exchange messages with";
                    return Err(Senseless::without_effect("of", why));
                }
                check_travel(*act, *of, *only, among.streams)
            }
            _ => Ok(()),
        }
    }

    fn check_links(&self, nodes: &[NodeId]) -> Result<(), Senseless> {
        if let Fault::Ring { order } = self
            && let Some(left_out) = nodes.iter().find(|node| !order.contains(node))
        {
            let why = format!("order names all nodes, and n{left_out} is not in it");
            return Err(Senseless::of("order", why));
        }
        if !self.links(nodes).is_empty() {
            return Ok(());
        }
        let count = nodes.len();
        let (field, why) = match self {
            Fault::Ring { .. } => (
                "order",
                format!("in a ring of {count} every node is a neighbour of every other"),
            ),
            Fault::Split { .. } => ("side", "all nodes are on one side".to_owned()),
            Fault::Bridge { .. } => ("side", "nobody is left for the other side".to_owned()),
            _ => ("fault", format!("it cuts no link among {count} nodes")),
        };
        Err(Senseless::without_effect(field, why))
    }

    pub(super) fn check_message(&self) -> Result<(), Senseless> {
        let Fault::Message {
            act,
            of,
            per_mille,
            ms,
            to,
            only,
            ..
        } = self
        else {
            return Ok(());
        };
        if !(1..=1_000).contains(per_mille) {
            let why = format!("per_mille = {per_mille}: there can be 1 to 1000");
            return Err(Senseless::of("per_mille", why));
        }
        let name = act.name();
        match act {
            Act::DelayRequest | Act::DelayResponse | Act::Reorder if *ms == 0 => {
                let why = format!("{name} of 0 ms: ms says by how much");
                return Err(Senseless::without_effect("ms", why));
            }
            Act::DelayRequest | Act::DelayResponse | Act::Reorder | Act::Duplicate => {
                at_most("ms", *ms, MOST_MS)?;
            }
            _ if *ms > 0 => {
                let why = format!("ms = {ms}: {name} takes no time");
                return Err(Senseless::without_effect("ms", why));
            }
            _ => {}
        }
        check_act(*act, *of, to.is_some())?;
        only.check(*act, *of)
    }
}

pub(super) fn somebody(nodes: &[NodeId]) -> Result<(), Senseless> {
    match nodes.is_empty() {
        true => Err(Senseless::without_effect("who", "it meets nobody")),
        false => Ok(()),
    }
}

pub(super) fn check_bridge(over: NodeId, side: &[NodeId]) -> Result<(), Senseless> {
    if side.is_empty() {
        return Err(Senseless::without_effect("side", "nobody is on that side"));
    }
    if side.contains(&over) {
        let why = format!("n{over} is the bridge and on no side of it");
        return Err(Senseless::of("side", why));
    }
    Ok(())
}

pub(super) fn check_order(order: &[NodeId]) -> Result<(), Senseless> {
    let mut seen = std::collections::BTreeSet::new();
    match order.iter().find(|node| !seen.insert(**node)) {
        Some(twice) => Err(Senseless::of(
            "order",
            format!("n{twice} stands in the ring twice"),
        )),
        None => Ok(()),
    }
}

pub(super) fn check_disk(harm: DiskHarm, ms: u64) -> Result<(), Senseless> {
    match harm {
        DiskHarm::SlowSync => some_ms("ms", ms, "syncs that take 0 ms more"),
        _ if ms > 0 => {
            let why = format!("ms = {ms}: only slow-sync takes a time");
            Err(Senseless::without_effect("ms", why))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_clock(rate_percent: u32, step_ms: u64) -> Result<(), Senseless> {
    if (rate_percent, step_ms) == (100, 0) {
        let why = "a clock at 100 % that steps 0 ms is as it should be";
        return Err(Senseless::without_effect("rate_percent", why));
    }
    if rate_percent > FASTEST_PERCENT {
        let why = format!("rate_percent = {rate_percent}: there can be {FASTEST_PERCENT} at most");
        return Err(Senseless::of("rate_percent", why));
    }
    at_most("step_ms", step_ms, MOST_STEP_MS)
}

/// Whether such messages can suffer this.
fn check_act(act: Act, of: Of, has_receiver: bool) -> Result<(), Senseless> {
    if act.repeats() && of.is_of_clients() {
        let why = format!(
            "{} have no numbers of their own: two of them would be two writes",
            of.name()
        );
        return Err(Senseless::of("of", why));
    }
    if act == Act::DelayResponse && of == Of::Heartbeats {
        let why = "an answer does not say that it is a heartbeat's: name appends";
        return Err(Senseless::of("of", why));
    }
    if has_receiver && of.is_of_clients() {
        let why = format!(
            "{} go to one node anyway: it is named without a receiver",
            of.name()
        );
        return Err(Senseless::of("to", why));
    }
    if of == Of::Snapshots && act.needs_calls() {
        let why = format!(
            "{} snapshots: they travel in streams, whose order is kept: delay-request, delay-response, cut-stream and stall meet them",
            act.name()
        );
        return Err(Senseless::without_effect("act", why));
    }
    let has_streams = matches!(of, Of::Peers | Of::Appends | Of::Snapshots);
    if act.needs_streams() && !has_streams {
        let why = format!("{} {}: they are no stream", act.name(), of.name());
        return Err(Senseless::without_effect("of", why));
    }
    Ok(())
}

/// Whether messages that can suffer this are sent at all where entries travel in streams, or do not.
fn check_travel(act: Act, of: Of, only: Only, streams: bool) -> Result<(), Senseless> {
    if act.needs_streams() && of == Of::Appends && !streams {
        let why = format!(
            "{} appends: with append = \"unary\" there is no stream of them",
            act.name()
        );
        return Err(Senseless::without_effect("act", why));
    }
    let entries = only.entries.is_some_and(|[least, _]| least > 0);
    if act.needs_calls() && entries && streams {
        let why = format!(
            "{} {} with entries: entries travel in streams, whose order is kept; append = \"unary\" sends them in calls",
            act.name(),
            of.name()
        );
        return Err(Senseless::without_effect("only", why));
    }
    Ok(())
}

/// A plan can name nodes up to this one.
const MOST_NAMED: NodeId = 9;

impl Fault<Role> {
    /// Whether it can be had among so many nodes, and does anything, whoever leads: as far as its own words tell.
    ///
    /// # Errors
    /// Why it can't.
    pub fn check_for(&self, nodes: NodeId) -> Result<(), Senseless> {
        self.checked(nodes, |_, fault| fault.check())
    }

    /// Whether it does anything among exactly so many nodes, and in a cluster that replicates like this.
    ///
    /// # Errors
    /// Why it doesn't.
    pub fn check_for_just(&self, nodes: NodeId, streams: bool) -> Result<(), Senseless> {
        self.checked(nodes, |nodes, fault| {
            fault.check_among(Among { nodes, streams })
        })
    }

    fn checked(
        &self,
        nodes: NodeId,
        check: impl Fn(&[NodeId], &Fault) -> Result<(), Senseless>,
    ) -> Result<(), Senseless> {
        let all: Vec<NodeId> = (1..=nodes).collect();
        match self {
            Fault::Transfer {
                to: NodeSelector::Leader,
            } => {
                let why = "without effect: the leader leads already";
                return Err(Senseless::of("to", why));
            }
            Fault::AddVoter {
                who: NodeSelector::Leader,
            } => {
                let why = "without effect: the leader has a vote";
                return Err(Senseless::of("who", why));
            }
            Fault::KillSeveral { who } | Fault::Freeze { who, .. } | Fault::PowerLoss { who } => {
                who.check(all.len())?;
            }
            _ => {}
        }
        let roles = Roles {
            nodes: &all,
            leader: Some(1),
            newcomer: Some(1),
        };
        match self.resolve(roles) {
            Ok(fault) => check(&all, &fault),
            // They are two nodes when another one leads.
            Err(Impossible::SameNodeNow) => Ok(()),
            Err(why) => Err(Senseless::of("fault", why.to_string())),
        }
    }

    /// Whether it does something although it is taken out as soon as it is in.
    #[must_use]
    pub fn needs_no_time(&self) -> bool {
        let nodes: Vec<NodeId> = (1..=MOST_NAMED).collect();
        let fault = self.resolve(Roles {
            nodes: &nodes,
            leader: Some(1),
            newcomer: Some(2),
        });
        fault.is_ok_and(|fault| fault.is_over_at_once() || fault.kills())
    }
}

impl Act {
    /// Whether it acts on calls alone, which have one request and one answer.
    fn needs_calls(self) -> bool {
        !self.needs_streams() && !matches!(self, Act::DelayRequest | Act::DelayResponse)
    }

    /// Whether it acts on streams alone.
    fn needs_streams(self) -> bool {
        matches!(self, Act::CutStream | Act::Stall)
    }
}

impl Only {
    /// Whether some message can fit, as far as can be told: `act` and `of` as in [`Fault::Message`].
    fn check(self, act: Act, of: Of) -> Result<(), Senseless> {
        for (name, bounds) in [
            ("terms", self.terms),
            ("entries", self.entries),
            ("nth", self.nth),
        ] {
            if let Some([least, most]) = bounds.filter(|[least, most]| least > most) {
                let why = format!("{name} = [{least}, {most}]: the lesser comes first");
                return Err(Senseless::of("only", why));
            }
        }
        let why = if self.nth.is_some_and(|[first, _]| first == 0) {
            "they are counted from 1"
        } else if self.nth.is_some() && act.needs_streams() {
            "streams are not met by number"
        } else if self.kind.is_some() && of.is_of_calls() {
            "a type says which they are: name peers or clients, and the type"
        } else if self.kind.is_some() && (self.terms.is_some() || self.entries.is_some()) {
            "messages that are known by their type have neither term nor entries to be known by"
        } else if self.terms.is_some() && of.is_of_clients() {
            "clients know no term"
        } else if self.entries.is_some_and(|[least, _]| match of {
            Of::Peers | Of::Appends => false,
            Of::Heartbeats => least > 0,
            _ => true,
        }) {
            "they carry no entries"
        } else if (self.terms.is_some() || self.entries.is_some()) && act == Act::DelayResponse {
            "answers have neither term nor entries to be known by"
        } else {
            return Ok(());
        };
        let why = format!("{} {}: {why}", act.name(), of.name());
        Err(Senseless::of("only", why))
    }
}

impl WireHarm {
    /// Whether it can count so much.
    pub(super) fn check(self, amount: u64) -> Result<(), Senseless> {
        let (unit, most) = match self {
            WireHarm::Bandwidth => ("bytes a second", 1_000_000),
            WireHarm::Slicer | WireHarm::LimitData => ("bytes", 1_000_000),
            WireHarm::Spikes | WireHarm::LongTail | WireHarm::SlowClose => ("ms", 10_000),
            WireHarm::HalfClose | WireHarm::ResetPeer | WireHarm::Refuse | WireHarm::Unanswered => {
                return match amount {
                    0 => Ok(()),
                    _ => Err(Senseless::without_effect(
                        "amount",
                        format!("amount = {amount}: {} counts nothing", self.name()),
                    )),
                };
            }
        };
        match (1..=most).contains(&amount) {
            true => Ok(()),
            false => Err(Senseless::of(
                "amount",
                format!(
                    "{} of {amount}: there can be 1 to {most} {unit}",
                    self.name()
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
