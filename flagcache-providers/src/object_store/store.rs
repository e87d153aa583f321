//! The handle that a user holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use super::BucketStoreBuilder;
use crate::{Versioned, VersionedProvider};

/// Flag definitions shared by a fleet through an object store: Amazon S3, Google Cloud Storage, Azure Blob Storage, or a server
/// that speaks their protocols.
///
/// Cheap to clone. One store has one HTTP client and one decoded copy; give each poller a [`provider`](Self::provider) of its
/// own.
///
/// ```
/// use std::sync::Arc;
///
/// use flagcache_providers::BucketStore;
/// use object_store::memory::InMemory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = BucketStore::over(Arc::new(InMemory::new()), "checkout-prod").build()?;
/// let provider = store.provider();
/// # let _ = provider;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BucketStore {
    versioned: Versioned,
    endpoint: String,
}

impl BucketStore {
    /// The default of [`lease_ttl`](BucketStoreBuilder::lease_ttl): longer than that of the other stores, since each request costs
    /// money.
    pub const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(60);

    /// Starts a store for `service` in the bucket at `url`: `s3://bucket/prefix`, `gs://bucket/prefix` or
    /// `az://container/prefix`. Credentials, region and the like come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`);
    /// an option of the URL is a setting of the `object_store` crate by its name: `?region=eu-west-1`,
    /// `?endpoint=http://127.0.0.1:9000`. Workers that share flags share the service's name; the environment belongs in it where
    /// one bucket serves several.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> BucketStoreBuilder {
        BucketStoreBuilder::by_url(url.into(), service.into())
    }

    /// Starts a store for `service` in any object store that puts on condition. What a URL cannot say is set up there: another
    /// source of credentials, a prefix, timeouts and retries, which should end well within the response timeout.
    pub fn over(store: Arc<dyn ObjectStore>, service: impl Into<String>) -> BucketStoreBuilder {
        BucketStoreBuilder::over(store, service.into())
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

    /// The bucket and the prefix, or what the object store calls itself.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore")
            .field("endpoint", &self.endpoint)
            .field("service", &self.service())
            .finish_non_exhaustive()
    }
}
