//! Why a store cannot be set up.

use std::time::Duration;

use thiserror::Error;

/// Why [`Versioned::new`](super::Versioned::new) or [`with_lease_ttl`](super::Versioned::with_lease_ttl) refuses its
/// argument.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionedConfigError {
    /// The service's name cannot be part of a key in every store.
    #[error(
        "{0:?} cannot name a service; use 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit"
    )]
    Service(String),
    /// The lease is too short to be renewed in time, or longer than a day.
    #[error("a lease TTL of {0:?} cannot be used; give 100 ms to 24 h")]
    LeaseTtl(Duration),
}
