//! [`FlagDefinitionSource`]: where a poller fetches definitions from.

#[cfg(feature = "posthog-api")]
pub(crate) mod posthog;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::text::chain;
use crate::{FetchErrorKind, KeyFingerprint, ProjectFingerprint};

/// Definitions, or the answer that they are unchanged.
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
        /// The `ETag` header, if present.
        etag: Option<String>,
    },
}

/// Why a fetch failed. `Display` says what happened and what to do, never a key, and does not repeat the
/// [`source`](Error::source). `{error:#}` prints the causes on the same line.
#[derive(Debug)]
pub struct FetchError {
    failure: FetchErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// An error of this kind. Never include a key or a token in `message`.
    pub fn new(failure: FetchErrorKind, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// Sets the [`source`](Error::source). It must not show a key either.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the server's `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The kind of failure. The poller's backoff depends on it.
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
        if f.alternate() {
            return f.write_str(&chain(self));
        }
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

/// Where a poller fetches definitions from. Usually [`PostHogApi`](crate::PostHogApi); tests and proxies can implement
/// their own.
///
/// Futures must be cancel safe: the poller drops a request at shutdown.
#[async_trait]
pub trait FlagDefinitionSource: Send + Sync + 'static {
    /// Sends one request, conditional if `etag` is given. Should have a timeout of its own.
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError>;

    /// Whether the source can send requests. If not, as without a secret key, the poller only reads from the cache.
    fn can_fetch(&self) -> bool {
        true
    }

    /// The project that the definitions belong to. The poller refuses a cached copy of another project.
    fn project(&self) -> Option<ProjectFingerprint> {
        None
    }

    /// Identifies the secret key that the next request carries, so that workers need not try a key that the API refused
    /// to another. If `None`, at most three workers try.
    fn key_fingerprint(&self) -> Option<KeyFingerprint> {
        None
    }

    /// Reads the secret key again, if it can be replaced while the worker runs. Called when another worker reports that
    /// the API refused this worker's key, before the worker acts on that: its own key may have been replaced since its
    /// last request. Limited to one second. The default does nothing.
    async fn reload_key(&self) {}
}
