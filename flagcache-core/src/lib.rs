//! The contract, the data and the lifecycle of [flagcache](https://docs.rs/flagcache).
//!
//! Applications depend on the facade `flagcache`, which re-exports everything here under the same paths. This crate is
//! what a provider crate depends on when it wants nothing but the contract.
//!
//! | module | what lives there |
//! |---|---|
//! | `data`, `set`, `scan`, `flag`, `diff` | [`FlagDefinitionCacheData`]: one immutable set over one buffer of JSON |
//! | `envelope`, `data_serde` | the stored form, readable by the other SDKs |
//! | `identity`, `project` | what tells sets, copies and projects apart |
//! | `provider`, `outcome`, `link` | the contract between a poller and a store |
//! | `cycle` | the lifecycle's decisions: a pure state machine, time as an argument |
//! | `poller`, `guard`, `observer`, `status` | [`FlagDefinitionPoller`]: the task that carries them out, and its handle |
//! | [`blocking`] | the same handle for programs without tokio |
//! | `refresher` | [`refresh_once`]: one load, for jobs that run and end |
//! | `evaluation` | [`LocalEvaluation`]: the official evaluator over a poller's set, with feature `posthog-rs` |
//! | `source` | where definitions come from; [`PostHogApi`] with feature `posthog-api` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attachment;
pub mod blocking;
mod bounded;
mod change;
mod cycle;
mod data;
mod data_error;
mod data_serde;
mod delegate;
mod detached;
mod diff;
mod envelope;
mod error;
#[cfg(feature = "posthog-rs")]
mod evaluation;
mod flag;
mod fleet_failure;
mod guard;
mod identity;
mod link;
mod meter;
mod observer;
mod outcome;
mod poller;
#[cfg(feature = "posthog-api")]
mod posthog;
mod project;
mod provider;
mod refresher;
mod scan;
mod set;
mod source;
mod status;
mod text;

#[doc(hidden)]
pub mod __private;

pub use change::{DefinitionsChange, DefinitionsChanges};
pub use cycle::{DefinitionsSource, OnQuotaLimited, OnUnauthorized, ReadFailure, Role};
pub use data::{FlagDefinitionCacheData, HEAD_LEN};
pub use data_error::{DataError, DataErrorKind};
pub use diff::DefinitionsDiff;
pub use error::{ProviderError, ProviderErrorKind};
#[cfg(feature = "posthog-rs")]
#[cfg_attr(docsrs, doc(cfg(feature = "posthog-rs")))]
pub use evaluation::{FlagSubject, LocalEvaluation, UndecodableDefinitions};
pub use flag::{Flag, RawJson};
pub use fleet_failure::{FleetFailure, FleetFailureError, KeyFingerprint};
pub use identity::{ContentFingerprint, CopyId};
pub use link::{LinkOwner, PollerLink, PollerSchedule, StoreReport};
pub use outcome::{FetchFailure, FetchOutcome};
pub use poller::{
    FlagDefinitionPoller, FlagDefinitionPollerBuilder, NotReady, RefreshError, ShutdownError, StartError,
};
#[cfg(feature = "posthog-api")]
pub use posthog::{PostHogApi, PostHogApiBuilder, PostHogApiError};
pub use project::ProjectFingerprint;
pub use provider::FlagDefinitionCacheProvider;
pub use refresher::{RefreshOnceError, RefreshOutcome, RefreshedOnce, refresh_once};
pub use source::{FetchError, FetchResponse, FlagDefinitionSource};
pub use status::{PollerCounters, PollerState, PollerStatus};
