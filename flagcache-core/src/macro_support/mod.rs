//! What the macro expansion and the crates beside this one call. Not API: it changes with any release.
//!
//! The expansion of a method is one expression, and everything that can be decided by type is decided here: whether the
//! method's value is awaited ([`Resolve`]), what it says ([`IntoOutcome`]), in which form the argument is passed
//! ([`Argument`]). The traits carry the text of the compiler's messages, so each names what may be written instead.

mod argument;
mod blocking;
mod call;
mod outcome;
mod resolve;
mod shareable;

pub use argument::{Argument, Detach, Given, Lend};
pub use blocking::{ClonedProvider, blocking};
pub use call::{Boxed, Call, call};
pub use outcome::{Decision, Definitions, Done, IntoOutcome};
pub use resolve::Resolve;
pub use shareable::Shareable;

// What the trait's signatures are made of.
pub use std::marker::{Send, Sync};

pub use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
};

// What `flagcache-providers` calls a tier with.
pub use crate::guard::{Interrupted, guarded};
