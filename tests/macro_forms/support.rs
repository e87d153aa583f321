//! What a provider under test remembers, and the calls that a poller would make.

use std::sync::{Arc, Mutex};

use flagcache::{FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider};

pub(crate) const FLAGS: &[u8] =
    br#"{"flags":[{"id":1,"key":"beta","active":true,"filters":{}}],"group_type_mapping":{},"cohorts":{}}"#;

pub(crate) fn data() -> FlagDefinitionCacheData {
    FlagDefinitionCacheData::from_json(FLAGS).unwrap()
}

/// What happened to a provider; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    calls: Arc<Mutex<Vec<&'static str>>>,
    kept: Arc<Mutex<Option<FlagDefinitionCacheData>>>,
}

impl Log {
    pub(crate) fn call(&self, name: &'static str) {
        self.calls.lock().unwrap().push(name);
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn keep(&self, data: &FlagDefinitionCacheData) {
        *self.kept.lock().unwrap() = Some(data.clone());
    }

    pub(crate) fn kept(&self) -> Option<FlagDefinitionCacheData> {
        self.kept.lock().unwrap().clone()
    }
}

/// Calls everything but `on_poller_attached`, through the trait object, and checks that each method of the block was run
/// and that what it gave arrived.
pub(crate) async fn exercise(provider: impl FlagDefinitionCacheProvider, log: &Log) {
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(provider);
    let data = data();

    assert!(provider.should_fetch_flag_definitions().await.unwrap());
    assert!(provider.get_flag_definitions().await.unwrap().is_none());
    provider.on_flag_definitions_received(&data).await.unwrap();
    let kept = provider.get_flag_definitions().await.unwrap().unwrap();
    assert_eq!(kept.to_json(), data.to_json());
    let stored = provider.peek_flag_definitions().await.unwrap().unwrap();
    assert_eq!(stored.to_json(), data.to_json());
    provider
        .on_fetch_without_update(FetchOutcome::unchanged(&data))
        .await
        .unwrap();
    provider.shutdown().await.unwrap();

    assert_eq!(
        log.calls(),
        [
            "should_fetch",
            "get",
            "received",
            "get",
            "stored",
            "unchanged",
            "shutdown"
        ]
    );
}
