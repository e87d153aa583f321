//! The handle for programs without tokio. Its poller runs on threads and sockets, so these tests run on the real clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod changes;
mod end;
mod inside_a_runtime;
mod loads;
#[cfg(feature = "redis")]
mod redis;
mod stores;
mod support;
