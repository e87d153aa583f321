//! Other attributes on a provider's methods go on working.

use std::sync::Arc;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};

use crate::support::data;

struct Store;

/// The block's own documentation.
#[flag_cache_provider]
#[cfg(not(any()))]
impl Store {
    /// Documentation of a method.
    #[tracing::instrument(skip(self), ret)]
    pub(crate) async fn should_fetch_flag_definitions(&self) -> bool {
        tokio::task::yield_now().await;
        true
    }

    #[must_use]
    #[inline]
    pub(crate) fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    #[tracing::instrument(skip_all, err)]
    async fn on_flag_definitions_received(
        &self,
        #[allow(unused_variables)] data: &FlagDefinitionCacheData,
    ) -> Result<(), std::io::Error> {
        Ok(())
    }

    #[deprecated = "the poller is not warned"]
    async fn shutdown(&self) {}
}

#[tokio::test]
async fn stay_in_place() {
    let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);
    assert!(store.should_fetch_flag_definitions().await.unwrap());
    store.on_flag_definitions_received(&data()).await.unwrap();
    store.shutdown().await.unwrap();
    // A plain method is a plain method still: no runtime, no await.
    assert!(Store.get_flag_definitions().is_none());
}

mod cfg {
    use super::*;

    struct Store;

    #[flag_cache_provider]
    impl Store {
        #[cfg(any())]
        fn should_fetch_flag_definitions(&self) -> bool {
            false
        }

        #[cfg(not(any()))]
        async fn should_fetch_flag_definitions(&self) -> Result<bool, String> {
            Ok(true)
        }

        #[cfg(not(any()))]
        #[cfg(not(doctest))]
        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        #[cfg_attr(not(any()), allow(clippy::needless_pass_by_value), inline)]
        fn on_flag_definitions_received(&self, _: FlagDefinitionCacheData) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn picks_the_definition() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        store.on_flag_definitions_received(&data()).await.unwrap();
    }
}

/// A forwarder that outlives its method would find the trait's method under the same name: itself.
mod recursion_trap {
    use super::*;

    struct Store;

    #[flag_cache_provider]
    impl Store {
        fn should_fetch_flag_definitions(&self) -> bool {
            true
        }

        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

        #[cfg(any())]
        async fn shutdown(&self) {
            unreachable!("configured out");
        }

        #[cfg(any())]
        fn peek_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            unreachable!("configured out");
        }
    }

    #[tokio::test]
    async fn a_method_removed_by_cfg_does_nothing() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);
        store.shutdown().await.unwrap();
        assert!(store.peek_flag_definitions().await.unwrap().is_none());
    }
}
