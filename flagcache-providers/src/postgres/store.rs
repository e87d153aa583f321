//! [`PostgresStore`]: makes the providers of a process.

use std::fmt;

use super::PostgresStoreBuilder;
use crate::{Versioned, VersionedProvider};

/// Flag definitions shared by a fleet through one table of a PostgreSQL database.
///
/// Cheap to clone. Make one store for each process and one [`provider`](Self::provider) for each poller: the providers
/// share a connection for calls and one that listens.
///
/// ```
/// use flagcache_providers::PostgresStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://app@127.0.0.1/app?sslmode=disable";
/// let store = PostgresStore::builder(url, "checkout-prod").build()?;
/// let provider = store.provider();
/// # let _ = provider;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    versioned: Versioned,
    endpoint: String,
}

impl PostgresStore {
    /// Returns a builder of a store for `service` in the database at `url`:
    /// `postgres://user:password@host:port/database`, with `?sslmode=` `disable`, `prefer` (the default) or `require`,
    /// `application_name`, `options`, `target_session_attrs`. Workers that share flags use the same service name;
    /// include the environment in it if one database serves several.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into(), service.into())
    }

    pub(super) fn new(versioned: Versioned, endpoint: String) -> Self {
        Self {
            versioned,
            endpoint,
        }
    }

    /// Returns a provider for a single poller, with its own identity.
    pub fn provider(&self) -> VersionedProvider {
        self.versioned.provider()
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        self.versioned.service()
    }

    /// The servers and the database, without user and password.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("endpoint", &self.endpoint)
            .field("service", &self.service())
            .finish_non_exhaustive()
    }
}
