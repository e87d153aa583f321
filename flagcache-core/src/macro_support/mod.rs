//! Support for the macro's expansion and for the other crates. Not API: it changes with any release.
//!
//! The expansion of a method is one expression; everything that depends on types is decided here: whether the method's
//! value is awaited, what it means, and in which form the argument is passed. The traits of [`provider_method`] and
//! [`store_method`] carry the texts of the compiler's messages, so each names what may be written instead.

mod argument;
mod blocking;
mod call;
mod outcome;
pub mod provider_method;
pub mod store_method;

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
pub use store_method::{
    ClonedStore, GivenBytes, IntoStoreOutcome, IntoWatching, ResolveStore, SharedStore,
    SharedStoreOf, StoreArgument, StoredChange, StoredValue, Written, blocking_store,
};

// The types of the trait's signatures.
pub use std::marker::{Send, Sync};

pub use std::clone::Clone;
pub use std::string::String;

pub use crate::{ChangeNotifier, Expected, Version, VersionedStore};
pub use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
};

// Used by the stores of `flagcache-providers`.
pub use crate::reloadable::{Reload, Reloadable, read_secret_file};

// Used by the tiers of `flagcache-providers`.
pub use crate::guard::{Interrupted, guarded};
