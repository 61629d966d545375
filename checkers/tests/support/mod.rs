//! What the tests and the `agree` example share: a brute-force oracle and a source of random small histories.

#![allow(dead_code)]

pub(crate) mod agree;
pub(crate) mod flags;
pub(crate) mod mutate;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod starts;
