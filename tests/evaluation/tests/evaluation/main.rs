//! `LocalEvaluation`, compared with posthog-rs and PostHog's other SDKs, over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod capture;
mod differential;
mod fixture;
mod generated;
mod large_definitions;
mod local_evaluation;
mod logs;
mod posthog_rs_evaluator;
mod remote_evaluation;
