//! The model of election and replication as openraft does them.

pub mod trace;
