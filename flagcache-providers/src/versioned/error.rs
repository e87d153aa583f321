//! [`VersionedConfigError`]: an invalid name or lease TTL.

use std::time::Duration;

use thiserror::Error;

/// An error of [`Versioned::new`](super::Versioned::new) or [`with_lease_ttl`](super::Versioned::with_lease_ttl).
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionedConfigError {
    /// The service's name contains characters that not every store accepts in a key, or is too long.
    #[error(
        "{0:?} cannot name a service; use 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit"
    )]
    Service(String),
    /// The lease TTL is too short to be renewed in time, or longer than a day.
    #[error("a lease TTL of {0:?} cannot be used; give 100 ms to 24 h")]
    LeaseTtl(Duration),
}
