//! The errors of a poller. Each keeps its cause as [`source`](std::error::Error::source), so `Display` prints only what
//! happened here; `{error:#}` prints the causes too, on one line.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::text::chain;
use crate::{FetchError, ProviderError, ProviderMethod};

/// The first error of a load. Cheap to clone; never shows a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// A provider call failed, panicked or timed out.
    Provider {
        /// The method that was called.
        method: ProviderMethod,
        /// Its error.
        error: Arc<ProviderError>,
    },
    /// The request failed, or its answer was unusable.
    Fetch(Arc<FetchError>),
    /// No request was sent, because the backoff after this earlier failure has not passed.
    Backoff(Arc<FetchError>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            _ if f.alternate() => f.write_str(&chain(self)),
            Self::Provider { method, .. } => write!(f, "`{method}` failed"),
            Self::Fetch(_) => f.write_str("the flag definitions could not be fetched"),
            Self::Backoff(_) => {
                f.write_str("no request was sent because of the backoff after an earlier failure")
            }
        }
    }
}

impl StdError for LoadError {
    /// The error itself, not its `Arc`, so that it can be downcast.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match self {
            Self::Provider { error, .. } => &**error,
            Self::Fetch(error) | Self::Backoff(error) => &**error,
        })
    }
}

/// Why there are no definitions yet.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum NotReadyError {
    /// The timeout passed.
    Timeout {
        /// The timeout.
        timeout: Duration,
        /// The last load's error, if it had one.
        #[source]
        last_error: Option<LoadError>,
    },
    /// The timeout passed. This worker only reads, and the store is empty.
    NothingStored {
        /// The timeout.
        timeout: Duration,
    },
    /// The poller was shut down, or its runtime is gone.
    Stopped,
}

impl fmt::Display for NotReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            _ if f.alternate() => f.write_str(&chain(self)),
            Self::Timeout { timeout, .. } => write!(f, "no flag definitions within {timeout:?}"),
            Self::NothingStored { timeout } => write!(
                f,
                "no flag definitions within {timeout:?}: this worker only reads, having no source with a secret key, \
                 and the store has no definitions"
            ),
            Self::Stopped => f.write_str("the poller was shut down before it had flag definitions"),
        }
    }
}

/// A load on demand met an error. The definitions in memory are kept.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The API or the provider failed.
    #[error(transparent)]
    Failed(#[from] LoadError),
    /// The poller was shut down, or its runtime is gone.
    #[error("the poller was shut down")]
    Stopped,
}

/// Shutdown did not complete cleanly. The poller has stopped all the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ShutdownError {
    /// A provider call still hangs; the provider's `shutdown` runs when it ends.
    Timeout {
        /// The shutdown timeout, which passed.
        timeout: Duration,
    },
    /// The provider's `shutdown` failed. A lock that it holds frees itself.
    Provider(Arc<ProviderError>),
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            _ if f.alternate() => f.write_str(&chain(self)),
            Self::Timeout { timeout } => write!(
                f,
                "a provider call still runs after {timeout:?}; the provider's shutdown follows when it ends"
            ),
            Self::Provider(_) => f.write_str("the provider's shutdown failed"),
        }
    }
}

impl StdError for ShutdownError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Timeout { .. } => None,
            Self::Provider(error) => Some(&**error),
        }
    }
}
