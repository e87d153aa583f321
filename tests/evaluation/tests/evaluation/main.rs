//! The evaluation bridge beside posthog-rs itself, over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod bridge;
mod capture;
mod equal;
mod generated;
mod large;
mod logs;
mod rig;
