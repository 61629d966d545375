//! The run's side of the catalogue of defects: who carries what was asked for, and the decoys that no node knows of.

use std::time::Duration;

use super::clients::DEADLINE;
use crate::fault::NodeId;
use crate::fault::defects::{self, Place};
use crate::proxy::{Action, Guard, Match, MessageRule, Methods, Network, Route};
use crate::scenario::Resolved;

/// How long the decoy's clients wait.
const IMPATIENCE: Duration = Duration::from_millis(60);
/// Between a message and its double.
const DOUBLE_GAP: Duration = Duration::from_millis(30);

/// Who carries the run's defect or decoy.
pub(super) fn planted(resolved: &Resolved) -> Option<Place> {
    let defect = resolved.defect.as_deref().and_then(defects::find);
    defect.map(|defect| defect.place)
}

/// How long clients wait.
pub(super) fn patience(place: Option<Place>) -> Duration {
    match place {
        Some(Place::Clients) => IMPATIENCE,
        _ => DEADLINE,
    }
}

/// The decoy of the network: every vote and every unary append arrives twice.
pub(super) fn double_everything(network: &Network, nodes: &[NodeId]) -> Guard {
    let pairs = nodes
        .iter()
        .flat_map(|&from| nodes.iter().map(move |&to| (from, to)));
    let routes: Vec<Route> = pairs
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Route::nodes(from, to))
        .collect();
    Guard::join([Methods::Votes, Methods::Appends].map(|methods| {
        let rule = MessageRule {
            matching: Match::every(methods),
            action: Action::Duplicate {
                copies: 1,
                gap: DOUBLE_GAP,
            },
        };
        network.put_rule(&routes, &rule)
    }))
}
