//! Support for the macro's expansion and for the other crates. Not API: it changes with any release.
//!
//! The expansion of a method is one expression; everything that depends on types is decided here: whether the method's
//! value is awaited, what it means, and in which form the argument is passed. The traits of [`provider_method`] carry
//! the texts of the compiler's messages, so each names what may be written instead.

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

// The types of the trait's signatures.
pub use std::marker::{Send, Sync};

pub use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
};

// Used by the tiers of `flagcache-providers`.
pub use crate::guard::{Interrupted, guarded};
