//! The PostgreSQL store against real servers, which each test starts for itself.
//!
//! Without PostgreSQL's programs these tests fail and say how to install them: silently passing would prove nothing.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod faults;
mod figures;
mod history;
mod pooler;
mod server;
#[path = "../support/sets.rs"]
mod sets;
mod worker;
