//! The handle that a user holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::VersionedStore;

use super::keys::Keys;
use super::shared::Shared;
use super::{VersionedConfigError, VersionedProvider};

/// Flag definitions shared by a fleet through any [`VersionedStore`].
///
/// Cheap to clone. Make one for each process and give each poller a [`provider`](Self::provider) of its own: the store and
/// one decoded copy are shared. See the [module](crate::versioned) for what it guarantees.
#[derive(Clone)]
pub struct Versioned {
    shared: Arc<Shared>,
}

impl Versioned {
    /// The default of [`with_lease_ttl`](Self::with_lease_ttl).
    pub const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(10);

    /// Shares the definitions of `service` through `store`. Connects to nothing. Workers that share flags share the name;
    /// the environment belongs in it where one store serves several.
    ///
    /// # Errors
    /// If the name cannot be part of a key.
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

    /// Within which time a leader that was killed is replaced; default 10 s. A leader writes the leader record six times in
    /// it, and each follower reads it twice. Call it before the first provider is made.
    ///
    /// # Errors
    /// If it is shorter than 100 ms or longer than a day.
    pub fn with_lease_ttl(self, ttl: Duration) -> Result<Self, VersionedConfigError> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        if ttl < Duration::from_millis(100) || ttl > DAY {
            return Err(VersionedConfigError::LeaseTtl(ttl));
        }
        let keys = Keys::of(&self.shared.keys.service)?;
        let shared = Shared::new(Arc::clone(&self.shared.store), keys, ttl / 2);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A provider for one poller, with an identity of its own.
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
