//! The rules of loads, answers and ordering, without a runtime: each test is a short story told to the machine.

mod decision;
mod fleet;
mod harness;
mod ordering;
mod properties;
mod responses;
mod shared_failure;
