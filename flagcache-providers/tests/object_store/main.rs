//! The object store against emulators of S3 (moto) and Azure (Azurite), which each test starts for itself.
//!
//! Without them these tests fail and say how to install them: silently passing would prove nothing.

// clippy.toml exempts test functions; what they share is not inside one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_url;
mod conformance;
mod emulator;
mod faults;
mod lossy;
#[path = "../support/objects.rs"]
mod objects;
#[path = "../support/sets.rs"]
mod sets;
#[path = "../support/bucket_worker.rs"]
mod worker;
