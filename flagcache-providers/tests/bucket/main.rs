//! The object store over one in memory, whose requests are recorded and can be made to fail. `tests/object_store` is the same
//! with servers.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod faults;
mod google;
#[path = "../support/objects.rs"]
mod objects;
mod recorder;
mod redirects;
mod requests;
#[path = "../support/sets.rs"]
mod sets;
#[path = "../support/bucket_worker.rs"]
mod worker;
