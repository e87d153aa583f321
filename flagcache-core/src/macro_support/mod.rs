//! What the macro expansion and the crates beside this one call. Not API: it changes with any release.
//!
//! The expansion of a method is one expression, and everything that depends on types is decided here: whether the method's
//! value is awaited, what it means, and in which form the argument is passed. The traits of [`provider_method`] carry the text
//! of the compiler's messages, so each names what may be written instead.

mod argument;
mod blocking;
mod call;
mod outcome;
pub mod provider_method;

pub use argument::{Detach, Lend};
pub use blocking::blocking;
pub use call::{Boxed, Call, call};
pub use outcome::{Decision, Definitions, Done};
pub use provider_method::{
    CloneForThread, ContextArgument, DecisionReturn, DecisionValue, DefinitionsArgument,
    DefinitionsReturn, DefinitionsValue, DoneReturn, DoneValue, GenericCloneForThread,
    GenericMethodError, Given, Itself, MethodError, OutcomeArgument, SharedProvider,
    SharedProviderOf,
};

// What the trait's signatures are made of.
pub use std::marker::{Send, Sync};

pub use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
};

// What `flagcache-providers` calls a tier with.
pub use crate::guard::{Interrupted, guarded};
