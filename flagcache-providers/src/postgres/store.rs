//! The handle that a user holds.

use std::fmt;

use super::PostgresStoreBuilder;
use crate::{Versioned, VersionedProvider};

/// Flag definitions shared by a fleet through one table of a PostgreSQL database.
///
/// Cheap to clone. One store has one connection for its calls and one on which it listens; give each poller a
/// [`provider`](Self::provider) of its own.
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
    /// Starts a store for `service` in the database at `url`: `postgres://user:password@host:port/database`, with
    /// `?sslmode=` `disable`, `prefer` (the default) or `require`, `application_name`, `options`, `target_session_attrs`. Workers
    /// that share flags share the service's name; the environment belongs in it where one database serves several.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into(), service.into())
    }

    pub(super) fn new(versioned: Versioned, endpoint: String) -> Self {
        Self {
            versioned,
            endpoint,
        }
    }

    /// A provider for one poller, with an identity of its own.
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
