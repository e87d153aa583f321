//! Stores that compose: one behind another, and one that is only read.
//!
//! # Order
//!
//! [`Tiered::new(first).fallback(second)`](Tiered) puts the store that the whole fleet shares *first* and what is nearer and
//! more robust behind it:
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
//! **The wrong order** compiles too and is slow poison: with `Tiered::new(file).fallback(redis)` the *file* elects, so every
//! machine has a leader and each of them fetches; and since all of them write to Redis, Redis holds what one machine or
//! another fetched last. The store that elects must be the one that all workers see.
//!
//! # Who does what
//!
//! | call | first tier | the tiers behind it |
//! |---|---|---|
//! | decision | decides, alone; its error is the error | not asked |
//! | read | its copy is the answer | written to if the copy is new; read as below |
//! | publish, and a load without news | its result is the result | written to at the same time |
//! | notifications, reports | reach the poller | do not |
//! | shutdown | its result is the result | shut down at the same time |
//!
//! A copy that is written during a read is not confirmed by that: the API said nothing about it.
//! A write behind the first tier asks that tier for *its* lead first: a bundled store lets only its leader overwrite. So one
//! worker of each machine keeps the file. That lead decides about nothing else. A worker that could not write tries again
//! with its next read until the tier holds the copy. A fault behind the first tier (an error, a panic, a call that hangs) is
//! logged at level `warn`, once per change of state, and never hides what the first tier answered.
//!
//! # When the first tier fails or is empty
//!
//! What the answer is depends on whether the worker has definitions already (is *warm*), because what a poller does with
//! it does:
//!
//! - **Warm, failing**: the read fails. The poller keeps its set and fetches under its fail-open limit. A copy from behind
//!   would hide the outage and could be older than what the worker has.
//! - **Warm, empty**: `None`, at which the poller keeps its set, and a worker that fetched directly fills the first tier.
//! - **Cold, no leader to be had** (the decision failed, too): the poller asks `peek_flag_definitions` before its request.
//!   It gets the copy from behind, serves it at once, *marked stale*, and its request is conditional. This is how a
//!   worker boots while the first tier and the API are both down.
//! - **Cold, the decision was `false` but the read fails**: the read fails, so that the poller sends its request at once. If
//!   that fails too, the poller reads a last time; this second read gives the copy from behind, marked stale.
//! - **Cold, empty**: the copy from behind at once, with its age: it counts as unconfirmed since it was confirmed there, or
//!   else since it was fetched (unknown counts as stale), so an old one is stale and makes the poller fetch.
//! - **A poller without a secret key** asks no decision. While cold it gets the copy from behind, with its age.
//! - If no tier has a copy, the answer is the first tier's own: `None` only if it is empty, never if it failed.
//!
//! # Time
//!
//! While the worker is cold, each tier is cut off after a quarter of the poller's provider timeout (less with more than three
//! tiers), the decision too: one that hangs leaves time for the next, and a worker is ready in 1.2 s at the default limits.
//! Once it is warm the first tier has the whole limit. Writing behind never makes a call last longer than three quarters
//! of it; what does not fit is done with the next read.

mod fallback_tier;
mod guard;
mod read_only;
mod state;
mod tiered;

pub use read_only::ReadOnly;
pub use tiered::Tiered;
