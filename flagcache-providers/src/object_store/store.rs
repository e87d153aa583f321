//! [`BucketStore`]: makes the providers of a process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use super::BucketStoreBuilder;
use crate::{Versioned, VersionedProvider};

/// Flag definitions shared by a fleet through an object store: Amazon S3, Google Cloud Storage, Azure Blob Storage, or
/// a compatible server.
///
/// Cheap to clone. Make one store for each process and one [`provider`](Self::provider) for each poller: the providers
/// share the HTTP client and the decoded copy.
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
    /// The default of [`lease_ttl`](BucketStoreBuilder::lease_ttl). It is longer than that of the other stores, because
    /// each request is billed.
    pub const DEFAULT_LEASE_TTL: Duration = Duration::from_secs(60);

    /// Returns a builder of a store for `service` in the bucket at `url`: `s3://bucket/prefix`, `gs://bucket/prefix` or
    /// `az://container/prefix`. Credentials, region and the like come from the environment (`AWS_…`, `GOOGLE_…`,
    /// `AZURE_…`); the options of the URL are configuration keys of the `object_store` crate: `?region=eu-west-1`,
    /// `?endpoint=http://127.0.0.1:9000`. Workers that share flags use the same service name; include the environment
    /// in it if one bucket serves several.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> BucketStoreBuilder {
        BucketStoreBuilder::by_url(url.into(), service.into())
    }

    /// Returns a builder of a store for `service` in any object store with conditional puts. Configure there what a URL
    /// cannot: another source of credentials, a prefix, timeouts, and retries, which should end well within the
    /// response timeout.
    pub fn over(store: Arc<dyn ObjectStore>, service: impl Into<String>) -> BucketStoreBuilder {
        BucketStoreBuilder::over(store, service.into())
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

    /// The bucket and the prefix, or the `Display` output of the object store passed to [`over`](Self::over).
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
