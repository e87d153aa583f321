//! [`Versioned`]: makes the providers of a process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::VersionedStore;

use super::head::MAX_LEASE_TTL;
use super::keys::Keys;
use super::shared::Shared;
use super::{VersionedConfigError, VersionedProvider};

/// Flag definitions shared by a fleet through any [`VersionedStore`].
///
/// Cheap to clone. Make one for each process and one [`provider`](Self::provider) for each poller: the providers share
/// the store and the decoded copy. See the [module](crate::versioned) for the guarantees.
#[derive(Clone)]
pub struct Versioned {
    shared: Arc<Shared>,
}

impl Versioned {
    /// The default of [`with_lease_ttl`](Self::with_lease_ttl).
    pub const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);

    /// Shares the definitions of `service` through `store`. Does not connect. Workers that share flags use the same
    /// name; include the environment in it if one store serves several.
    ///
    /// # Errors
    /// If the name is not 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub fn new(
        store: impl VersionedStore,
        service: impl AsRef<str>,
    ) -> Result<Self, VersionedConfigError> {
        let keys = Keys::of(service.as_ref())?;
        let shared = Shared::new(Arc::new(store), keys, Self::DEFAULT_LEASE_TTL / 2);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The TTL of the lease: the time within which a killed leader is replaced; default 10 s. During one TTL, a leader
    /// writes the leader record six times, and each follower reads it twice. Call this before the first
    /// [`provider`](Self::provider).
    ///
    /// # Errors
    /// If the TTL is shorter than 100 ms or longer than a day.
    pub fn with_lease_ttl(self, ttl: Duration) -> Result<Self, VersionedConfigError> {
        if ttl < Duration::from_millis(100) || ttl > MAX_LEASE_TTL {
            return Err(VersionedConfigError::LeaseTtl(ttl));
        }
        let keys = Keys::of(&self.shared.keys.service)?;
        let shared = Shared::new(Arc::clone(&self.shared.store), keys, ttl / 2);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns a provider for a single poller, with its own identity.
    pub fn provider(&self) -> VersionedProvider {
        VersionedProvider::new(Arc::clone(&self.shared))
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.shared.keys.service
    }
}

impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned")
            .field("service", &self.service())
            .field("lease_ttl", &(self.shared.lease * 2))
            .finish_non_exhaustive()
    }
}
