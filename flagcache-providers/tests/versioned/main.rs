//! The kernel of versioned stores over one in memory, and the protocol over all orders of what happens to it.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
#[path = "../support/failures.rs"]
mod failures;
mod faults;
mod faulty;
mod kernel;
mod memory;
mod model;
#[path = "../support/versioned.rs"]
mod records;
#[path = "../support/sets.rs"]
mod sets;
