//! Where definitions come from.

#[cfg(feature = "posthog-api")]
pub(crate) mod posthog;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{FetchErrorKind, KeyFingerprint, ProjectFingerprint};

/// An answer with definitions, or the word that they are unchanged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchResponse {
    /// A 200. The poller checks the body; the source does not.
    Definitions {
        /// The body, decompressed.
        body: Bytes,
        /// The `ETag` header, byte for byte.
        etag: Option<String>,
    },
    /// A 304.
    NotModified {
        /// The `ETag` header, if the answer carries one.
        etag: Option<String>,
    },
}

/// Why a fetch failed. `Display` says what happened and what to do, never a key, and does not repeat the
/// [`source`](Error::source).
#[derive(Debug)]
pub struct FetchError {
    failure: FetchErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// An error of this kind. Never put a key or a token in `message`.
    pub fn new(failure: FetchErrorKind, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// Keeps the cause. The cause must not show a key either.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Keeps the server's `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// What kind of failure it was; the poller's policy hangs on it.
    pub fn kind(&self) -> FetchErrorKind {
        self.failure
    }

    /// How long the server asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Where a poller gets definitions from. [`PostHogApi`](crate::PostHogApi) is the one to use; a test or a proxy may have
/// its own.
///
/// Futures must be cancel safe: the poller drops a request at shutdown.
#[async_trait]
pub trait FlagDefinitionSource: Send + Sync + 'static {
    /// Sends one request, conditional if `etag` is given. Must end by itself: the source has its own limit of time.
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError>;

    /// Whether a request can be sent at all. Without a secret key it cannot, and the poller only reads from the cache.
    fn can_fetch(&self) -> bool {
        true
    }

    /// Which project the definitions belong to. A cached copy of another project is refused.
    fn project(&self) -> Option<ProjectFingerprint> {
        None
    }

    /// Which secret key the next request carries, so that workers with a key that the API refused to another need not try
    /// it too. Without an answer, at most three workers try.
    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        None
    }
}
