//! The rules of many workers (B8), tested with real processes: each worker is this binary, started again.
//!
//! A rule that does not depend on the store is written once, in `rules`, and runs for each store. The figures that a test
//! measures are printed: `cargo test --all-features --test fleet_rules -- --nocapture`.
#![cfg(unix)]
#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "what only the rules of the Redis store use")
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod api;
mod file;
mod fleet;
mod process;
mod protocol;
mod rules;
mod test_store;
mod worker;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

#[test]
#[ignore = "what a worker process runs: the other tests start it"]
fn a_worker() {
    worker::work();
}
