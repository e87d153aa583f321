//! The API source and the network between it and PostHog: a TLS front, a forward proxy, a network that fails. Real nginx,
//! tinyproxy, Node and network namespaces, each started by the test on ports of its own.
//!
//! ```text
//! cargo test --all-features --test real_http
//! ```
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside the test functions fail a test as these do"
)]

mod certificates;
mod fleet;
mod front;
mod network;
mod nginx;
mod proxy;
mod worker;
