//! [`Tiered`] and [`ReadOnly`]: stores that compose.
//!
//! # Order
//!
//! [`Tiered::new(first).fallback(second)`](Tiered) puts the store that the whole fleet shares *first*, and a nearer,
//! more robust one after it:
//!
//! ```
//! # #[cfg(all(feature = "memory", feature = "file"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use flagcache_providers::{FileStore, MemoryStore, Tiered};
//!
//! let fleet = MemoryStore::new(); // in production: Redis
//! let machine = FileStore::builder("/var/cache/flags", "checkout-prod").build()?;
//! let provider = Tiered::new(fleet.provider()).fallback(machine.provider());
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "memory", feature = "file")))]
//! # fn main() {}
//! ```
//!
//! **The wrong order** compiles too and does lasting damage: with `Tiered::new(file).fallback(redis)` the *file*
//! elects, so every machine has a leader that fetches; and since all of them write to Redis, Redis holds what any of
//! them fetched last. The store that elects must be the one that all workers share.
//!
//! # What each tier does
//!
//! | call | first tier | the fallback tiers |
//! |---|---|---|
//! | decision | decides, alone; its error is returned | not called |
//! | read | its copy is returned | written to if the copy is new; read as described below |
//! | publish, and an outcome without an update | its result is returned | written to concurrently |
//! | notifications, reports | reach the poller | do not reach it |
//! | shutdown | its result is returned | shut down concurrently |
//!
//! Writing a copy during a read does not confirm it, because the API was not asked.
//! A fallback tier has a leader of its *own*: a bundled store lets only its leader overwrite, so one worker per machine
//! keeps the file current. That leader has no other role. A worker that could not write tries again with its next read
//! until the tier holds the copy. A failure of a fallback tier (an error, a panic, a call that hangs) is logged at
//! level `warn`, once per change of state, and never hides the result of the first tier.
//!
//! # When the first tier fails or is empty
//!
//! The result depends on whether the worker already has definitions (is *warm*), because the poller acts differently:
//!
//! - **Warm, failing**: the read fails. The poller keeps its definitions and fetches at most once per fail-open
//!   interval. A copy of a fallback tier would hide the outage and could be older than what the worker has.
//! - **Warm, empty**: `None`, so the poller keeps its definitions, and a worker that fetched directly fills the first
//!   tier.
//! - **Cold, no leader available** (the decision failed too): the poller calls `peek_flag_definitions` before its
//!   request. It gets the copy of a fallback tier, serves it at once, *marked stale*, and its request is conditional.
//!   This is how a worker starts while the first tier and the API are both down.
//! - **Cold, the decision was `false` but the read fails**: the read fails, so that the poller sends its request at
//!   once. If that fails too, the poller reads once more; this second read returns the copy of a fallback tier, marked
//!   stale.
//! - **Cold, empty**: the copy of a fallback tier at once, with its age: it counts as unconfirmed since it was
//!   confirmed there, or else since it was fetched (unknown counts as stale), so an old one is stale and makes the
//!   poller fetch.
//! - **A poller without a secret key** asks for no decision. While cold it gets the copy of a fallback tier, with its
//!   age.
//! - If no tier has a copy, the result is that of the first tier: `None` only if it is empty, never if it failed.
//!
//! # Timeouts
//!
//! While the worker is cold, each call of a tier, including the decision, times out after a quarter of the poller's
//! provider timeout (less with more than three tiers): one that hangs leaves time for the next, and a worker is ready
//! in 1.2 s with the default timeouts. Once it is warm the first tier has the whole timeout. Writes to fallback tiers
//! never make a call last longer than three quarters of it; the rest is written with the next read.

mod fallback_tier;
mod guard;
mod read_only;
mod state;
mod tiered;

pub use read_only::ReadOnly;
pub use tiered::Tiered;
