//! The contract, the data and the lifecycle of [flagcache](https://docs.rs/flagcache).
//!
//! Applications depend on the facade `flagcache`, which re-exports everything here under the same paths. This crate is
//! what a provider crate depends on when it wants nothing but the contract.
//!
//! | module | what lives there |
//! |---|---|
//! | `data`, `scan`, `diff` | [`FlagDefinitionCacheData`]: one immutable set over one buffer of JSON |
//! | `envelope` | the stored form, readable by the other SDKs |
//! | `provider`, `outcome`, `link` | the contract between a poller and a store |
//! | `source` | where definitions come from; [`PostHogApi`] with feature `posthog-api` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod data;
mod detached;
mod error;
mod link;
mod outcome;
mod provider;
mod source;

#[doc(hidden)]
pub mod __private;

pub use data::{DataError, FlagDefinitionCacheData, ProjectFingerprint};
pub use error::{ProviderError, ProviderErrorKind};
pub use link::{LinkOwner, PollerLink, PollerSchedule, StoreReport};
pub use outcome::{FetchFailure, FetchOutcome};
pub use provider::FlagDefinitionCacheProvider;
pub use source::{FetchError, FetchResponse, FlagDefinitionSource};
