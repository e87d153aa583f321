//! The contract, the data and the lifecycle of [flagcache](https://docs.rs/flagcache).
//!
//! Applications depend on the facade `flagcache`, which re-exports everything here under the same paths. A provider crate
//! that needs only the contract depends on this crate.
//!
//! | module | contents |
//! |---|---|
//! | `contract` | [`FlagDefinitionCacheProvider`], the contract between a poller and a store, and its types |
//! | `definitions` | [`FlagDefinitionCacheData`]: one immutable snapshot of the API's JSON, and its stored form |
//! | `lifecycle` | the poller's decisions: a pure state machine, time as an argument |
//! | `poller`, `guard` | [`FlagDefinitionPoller`]: the task that carries the decisions out, and its handle; [`refresh_once`] |
//! | [`blocking`] | the same handle for programs without tokio |
//! | `source` | where definitions come from; [`PostHogApi`] with feature `posthog-api` |
//! | `reloadable`, `detached` | secrets that are read again, and threads for what may hang |
//! | `macro_support` | what the expansion of `#[flag_cache_provider]` calls |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
mod contract;
mod definitions;
mod detached;
mod duration;
mod guard;
mod lifecycle;
mod poller;
mod reloadable;
mod source;
mod text;

#[doc(hidden)]
pub mod macro_support;
// The compiler prints the short name of a trait that it can reach by a path without a hidden module.
#[doc(hidden)]
pub use macro_support::{provider_method, store_method};

pub use contract::context::{FleetStatus, PollerContext, PollerContextOwner, PollerSchedule};
pub use contract::error::{ProviderError, ProviderErrorKind};
pub use contract::fetch_outcome::{FetchErrorKind, FetchOutcome};
pub use contract::fleet_failure::{FleetFailure, FleetFailureError, KeyFingerprint};
pub use contract::provider::FlagDefinitionCacheProvider;
pub use contract::provider_method::ProviderMethod;
pub use contract::versioned_store::{
    ChangeNotifier, Expected, ReadIfChanged, Version, VersionedStore, VersionedValue,
};
pub use definitions::diff::DefinitionsDiff;
pub use definitions::error::{DataError, DataErrorKind};
pub use definitions::fingerprint::{ContentFingerprint, CopyId};
pub use definitions::flag::{Flag, RawJson};
pub use definitions::patch::{Patch, PatchError};
pub use definitions::project::ProjectFingerprint;
pub use definitions::snapshot::{FlagDefinitionCacheData, HEAD_LEN};
pub use lifecycle::{
    DefinitionsOrigin, OnQuotaLimited, OnUnauthorized, OnWastedUnits, ReadFailure, Role,
};
pub use poller::changes::{DefinitionsChange, DefinitionsChanges};
pub use poller::error::{LoadError, NotReadyError, RefreshError, ShutdownError};
pub use poller::refresh_once::{RefreshOnceError, RefreshOutcome, RefreshedOnce, refresh_once};
pub use poller::status::{PollerCounters, PollerState, PollerStatus};
pub use poller::{
    DefinitionsWatch, FlagDefinitionPoller, FlagDefinitionPollerBuilder, StartError,
    WatchedDefinitions,
};
#[cfg(feature = "posthog-api")]
pub use source::posthog::{PostHogApi, PostHogApiBuilder, PostHogApiError};
pub use source::{FetchError, FetchResponse, FlagDefinitionSource};

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
