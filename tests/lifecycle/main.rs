//! The lifecycle of a poller, rule by rule: the real poller between a scripted provider and a scripted source.
//!
//! A module is a section of the conformance list, and a test's name begins with the number of the rule that it proves.
//! What is in memory runs on tokio's paused clock; threads, sockets and processes run on the real one, with short limits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy exempts the test functions, not their helpers"
)]

mod b12_refresh;
mod b1_decision;
mod b2_responses;
mod b2_secrets;
mod b3_ordering;
mod b4_faults;
mod b5_shutdown;
mod b6_data;
mod b7_readiness;
mod operations;
mod support;
