//! [`ProviderError`]: the error of a provider call, and its kinds.

use std::error::Error;
use std::fmt;

use crate::DataError;
use crate::text::chain;

/// Why a provider call failed, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// The store is unreachable or does not answer. It may answer later.
    Unavailable,
    /// The call did not return within the poller's provider timeout.
    Timeout,
    /// The stored copy is not valid flag definitions, or belongs to another project, another feed or a newer schema.
    InvalidData,
    /// The store denied access: credentials, file permissions, a forbidden command.
    PermissionDenied,
    /// Too many blocking calls of this provider are still running.
    Busy,
    /// The provider's code panicked.
    Panic,
    /// Anything else, such as an error of a custom provider that is not a [`ProviderError`].
    Other,
}

impl ProviderErrorKind {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::InvalidData => "invalid_data",
            Self::PermissionDenied => "permission_denied",
            Self::Busy => "busy",
            Self::Panic => "panic",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ProviderErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a provider call.
///
/// A provider built with `#[flag_cache_provider]` may return any error type, which becomes the
/// [`source`](Error::source). `Display` never repeats the source, so printing the chain prints each cause once;
/// `{error:#}` prints it on one line.
///
/// ```
/// use flagcache_core::{ProviderError, ProviderErrorKind};
///
/// let cause = std::io::Error::other("disk on fire");
/// let error = ProviderError::new(ProviderErrorKind::Unavailable, "cannot read /var/cache/flags.json").with_source(cause);
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "cannot read /var/cache/flags.json");
/// assert_eq!(format!("{error:#}"), "cannot read /var/cache/flags.json: disk on fire");
/// ```
#[derive(Debug)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ProviderError {
    /// An error with a message: what happened, to which key of the store or which file, and what to do. Never include a
    /// password or a token.
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Sets the [`source`](Error::source).
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Converts any error. A `ProviderError` is returned as it is; a [`DataError`] is converted and determines the
    /// kind; any other becomes the [`source`](Error::source) of an error of kind [`Other`](ProviderErrorKind::Other).
    pub fn from_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<DataError>() {
            Ok(error) => (*error).into(),
            Err(error) => Self::new(ProviderErrorKind::Other, "the provider returned an error")
                .with_source(error),
        }
    }

    /// Why the call failed.
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without intervention.
    pub fn is_retryable(&self) -> bool {
        use ProviderErrorKind::{Busy, Other, Timeout, Unavailable};
        matches!(self.kind, Unavailable | Timeout | Busy | Other)
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&chain(self));
        }
        f.write_str(&self.message)
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
