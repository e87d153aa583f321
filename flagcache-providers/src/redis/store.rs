//! [`RedisStore`]: flag definitions shared through Redis.

use std::fmt;
use std::sync::Arc;

use super::builder::RedisStoreBuilder;
use super::connection::config::Config;
use super::provider::RedisProvider;
use super::shared::Shared;

/// Flag definitions shared by a fleet through one Redis or Valkey: a server, a primary behind Sentinels, or a cluster.
///
/// Cheap to clone. One store has one connection, opened when first needed, and one decoded copy; give each poller a
/// [`provider`](Self::provider) of its own.
///
/// ```
/// use flagcache_providers::redis::RedisStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("redis://127.0.0.1:6379", "checkout-prod").build()?;
/// let provider = store.provider();
/// # let _ = provider;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("endpoint", &self.endpoint())
            .field("service", &self.service())
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Configures a store for `service` on the servers at `url`:
    ///
    /// | URL | servers |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/database]` | one primary |
    /// | `redis+unix:///path/to.sock[?db=0&user=…&pass=…]`, or `unix:///…` | the same, by a Unix socket |
    /// | `redis+sentinel://[user:password@]host[:port],host[:port]…/primary-name[/database]` | Sentinels, and the primary that they know by that name; user and password are the primary's |
    /// | `redis+cluster://[user:password@]host[:port],host[:port]…` | nodes of a cluster |
    ///
    /// With `rediss` in place of `redis` all connections use TLS. `?protocol=resp2` selects the older protocol; a URL
    /// has no other options. `service` names the keys; workers that share flags share it. Include the project and the
    /// environment if one server holds several. On a cluster it needs a hash tag: `{checkout-prod}`.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url, service)
    }

    /// A provider for one poller, with its own identity.
    pub fn provider(&self) -> RedisProvider {
        RedisProvider::new(Arc::clone(&self.shared))
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.shared.config.service
    }

    /// The URL without user and password.
    pub fn endpoint(&self) -> &str {
        self.shared.client.endpoint()
    }

    pub(super) fn new(config: Config) -> Self {
        Self {
            shared: Arc::new(Shared::new(config)),
        }
    }
}
