//! The store under test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;

use crate::testing::{Connections, Outage};

/// A fresh, empty store that a test has for itself.
///
/// A function that returns a provider is one, with the defaults for the rest.
#[async_trait]
pub trait TestStore: Send + Sync + 'static {
    /// A provider for one more worker. Make it as another process would, with a connection of its own if there is one.
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider>;

    /// How long it takes at most until the lead of a worker that stops asking, or is dropped without a shutdown, is free;
    /// default 10 s. The worker's [poll interval](super::POLL_INTERVAL) is 50 ms. Set up the store so that this is about
    /// 1 s: the tests wait for it.
    fn lease_time(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// How long a notification takes at most to reach the others; default 1 s.
    fn notification_time(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Puts `copy` in the place of the stored copy, past the provider and whatever it is; `None` takes the copy away. Needed
    /// with the capability `damage`; does nothing unless implemented.
    async fn damage(&self, copy: Option<Bytes>) {
        drop(copy);
    }

    /// Begins or ends an outage of the server, for all workers: with a [`TcpProxy`](crate::testing::TcpProxy) between the
    /// providers and the server this is `self.proxy.set(outage)`. Needed with the capability `outage`.
    ///
    /// # Panics
    /// Unless implemented.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    async fn outage(&self, outage: Outage) {
        let _ = outage;
        panic!("a store with the capability `outage` must implement `TestStore::outage`")
    }

    /// The connections of all providers to the server: `self.proxy.connections()`. Needed with the capability `outage`.
    ///
    /// # Panics
    /// Unless implemented.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    fn connections(&self) -> Connections {
        panic!("a store with the capability `outage` must implement `TestStore::connections`")
    }
}

impl<F, P> TestStore for F
where
    F: Fn() -> P + Send + Sync + 'static,
    P: FlagDefinitionCacheProvider,
{
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(self())
    }
}
