//! Tests of the state machine by rule: each one sends events to a machine and compares its steps.

mod decision;
mod fleet;
mod harness;
mod operations;
mod ordering;
mod properties;
mod requests;
mod responses;
mod shared_failure;
