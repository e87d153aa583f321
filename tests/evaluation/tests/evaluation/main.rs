//! The evaluation bridge beside posthog-rs itself, over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod ask;
mod bridge;
mod capture;
mod differential;
mod equal;
mod generated;
mod large;
mod logs;
mod rig;
