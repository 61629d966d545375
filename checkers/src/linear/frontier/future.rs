//! What is known of each value from the whole history, before the search begins.

use super::demand::Demand;
use super::{matters, produces};
use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// What is known of the whole history beforehand.
#[derive(Debug)]
pub(in crate::linear) struct Future {
    pub(super) of_value: Vec<Prospect>,
    pub(super) demands: Vec<Demand>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prospect {
    /// How many operations may produce it.
    pub(super) writers: u32,
    /// The end of the last operation that needs it, plus one; [`NEVER`] for an unknown cas that somebody needs.
    pub(super) last_need: u32,
    /// The last begin among those of them that end, plus one.
    pub(super) last_begin: u32,
    /// Whether a cas may take it away.
    pub(super) cas: bool,
}

impl Future {
    pub(super) fn of(ops: &[Op], values: usize) -> Self {
        let mut of_value = vec![Prospect::default(); values];
        of_value[ABSENT as usize].writers = 1;
        let mut chances = Vec::new();
        for op in ops.iter().filter(|op| matters(op)) {
            if let Some(value) = produces(op) {
                of_value[value as usize].writers += 1;
            }
            let needs = match op.kind {
                Kind::Read => op.value,
                Kind::Cas => op.old,
                Kind::Write | Kind::Delete | Kind::Append => continue,
            };
            let prospect = &mut of_value[needs as usize];
            prospect.cas |= op.kind == Kind::Cas;
            if op.end == End::Ok {
                prospect.last_need = prospect.last_need.max(op.ret + 1);
                prospect.last_begin = prospect.last_begin.max(op.call + 1);
            } else {
                chances.push((op.old, op.value));
            }
        }
        // An unknown cas needs its old value for as long as somebody needs its new one.
        chances.sort_unstable();
        chances.dedup();
        for round in 0.. {
            let mut changed = false;
            for &(old, new) in &chances {
                let need = if round < 16 {
                    of_value[new as usize].last_need
                } else {
                    NEVER
                };
                if of_value[old as usize].last_need < need {
                    of_value[old as usize].last_need = need;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        Self {
            of_value,
            demands: Demand::of_each(ops, values),
        }
    }
}
