//! The Redis store against a real `redis-server`, which each test starts for itself.
//!
//! Without `redis-server` on the path these tests fail and say how to install it: silently passing would prove nothing.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod copy;
mod deployments;
#[path = "../support/failures.rs"]
mod failures;
mod faults;
mod fleet_failure;
mod inspector;
mod large;
mod late_attempts;
mod leadership;
mod model;
mod notifications;
mod partition;
mod patches;
mod permissions;
mod tls;
mod worker;
