//! Histories out of which events are lost: what stands before a gap is judged as it is, and nothing behind it is.

use crate::history::{KeyHistory, Op};

/// The operations that were begun before the gap at position `gap`. None of them ends behind it.
pub(super) fn before(key: &KeyHistory, gap: u32) -> Vec<Op> {
    let begun = key.ops.partition_point(|op| op.call < gap);
    key.ops[..begun].to_vec()
}
