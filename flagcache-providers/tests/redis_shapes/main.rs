//! The Redis store on the kinds of server that run in production: behind Sentinels, as a cluster, with TLS, with access
//! lists. Every test starts its servers for itself.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod cluster;
#[path = "../support/failures.rs"]
mod failures;
mod recovery;
mod sentinels;
mod sharing;
mod tls;
mod urls;

#[allow(
    dead_code,
    reason = "shared with the tests on a single server, which use all of it"
)]
#[path = "../redis/worker.rs"]
mod worker;
