//! The conformance kit: held to itself, and run for the stores.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod broken;
mod four_methods;
mod ignored;
mod memory;
mod model;
mod tiered;
