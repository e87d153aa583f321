//! What the benches share.
//!
//! ```text
//! scripts/bench            # all of it, and BENCHMARKS.md
//! cargo bench -p flagcache-benches --features redis --bench lookup
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `measure` | measuring with criterion, and ratios of two things in turn |
//! | `record` | the results of a bench, printed and stored for the report |
//! | `bodies` | the sets that all of them measure, and the same ones for the peers |
//! | `stores` | the stores, with a leader and a follower on each |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

pub mod bodies;
mod measure;
mod record;
mod stores;

pub use measure::{Figure, criterion, is_quick, measure, ratio_in_turn};
pub use record::{Chart, Section, Series, Table, Verdict};
pub use stores::{Pair, Provider, StoreLocation, Stores};
