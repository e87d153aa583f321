//! What a method may take, and how definitions may be given back.

use std::sync::{Arc, Mutex};

use flagcache::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    PollerContext, PollerContextOwner, PollerSchedule, flag_cache_provider,
};

use crate::support::data;

/// One block for each way to take the data and each way to give it.
macro_rules! store {
    ($name:ident, $field:ty, $start:expr, ($given:ident: $taken:ty) => $keep:expr, ($kept:ident) -> $answer:ty { $give:expr }) => {
        mod $name {
            use super::*;

            struct Store {
                kept: $field,
            }

            #[flag_cache_provider]
            impl Store {
                fn should_fetch_flag_definitions(&self) -> bool {
                    false
                }

                fn get_flag_definitions(&self) -> $answer {
                    let $kept = &self.kept;
                    $give
                }

                fn on_flag_definitions_received(&self, $given: $taken) {
                    let keep: fn(&Self, $taken) = $keep;
                    keep(self, $given);
                }
            }

            #[tokio::test]
            async fn gives_what_it_holds() {
                let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store { kept: $start });
                store.on_flag_definitions_received(&data()).await.unwrap();
                let given = store.get_flag_definitions().await.unwrap().unwrap();
                assert_eq!(given.to_json(), data().to_json());
            }
        }
    };
}

type Data = FlagDefinitionCacheData;
type DataRef<'a> = &'a FlagDefinitionCacheData;

store!(
    by_reference,
    Mutex<Option<Data>>,
    Mutex::default(),
    (given: &FlagDefinitionCacheData) => |store, given| *store.kept.lock().unwrap() = Some(given.clone()),
    (kept) -> Option<Data> { kept.lock().unwrap().clone() }
);
store!(
    by_value,
    Mutex<Option<Data>>,
    Mutex::default(),
    (given: FlagDefinitionCacheData) => |store, given| *store.kept.lock().unwrap() = Some(given),
    (kept) -> Result<Option<Data>, String> { Ok(kept.lock().unwrap().clone()) }
);
store!(
    by_an_alias,
    Mutex<Option<Data>>,
    Mutex::default(),
    (given: DataRef<'_>) => |store, given| *store.kept.lock().unwrap() = Some(given.clone()),
    (kept) -> Option<Data> { kept.lock().unwrap().clone() }
);
store!(
    as_a_reference,
    std::sync::OnceLock<Data>,
    std::sync::OnceLock::new(),
    (given: Data) => |store, given| store.kept.set(given).unwrap(),
    (kept) -> Option<&FlagDefinitionCacheData> { kept.get() }
);
store!(
    as_a_result_of_a_reference,
    std::sync::OnceLock<Data>,
    std::sync::OnceLock::new(),
    (given: Data) => |store, given| store.kept.set(given).unwrap(),
    (kept) -> std::io::Result<Option<&Data>> { Ok(kept.get()) }
);
store!(
    as_an_arc,
    Mutex<Option<Arc<Data>>>,
    Mutex::default(),
    (given: Data) => |store, given| *store.kept.lock().unwrap() = Some(Arc::new(given)),
    (kept) -> Option<Arc<FlagDefinitionCacheData>> { kept.lock().unwrap().clone() }
);
store!(
    as_a_future_of_an_arc,
    Mutex<Option<Arc<Data>>>,
    Mutex::default(),
    (given: Data) => |store, given| *store.kept.lock().unwrap() = Some(Arc::new(given)),
    (kept) -> impl Future<Output = Result<Option<Arc<Data>>, String>> { async { Ok(kept.lock().unwrap().clone()) } }
);

mod async_borrows {
    use super::*;

    struct Store(Data);

    #[flag_cache_provider]
    impl Store {
        async fn should_fetch_flag_definitions(&self) -> bool {
            false
        }

        async fn get_flag_definitions(&self) -> Option<&FlagDefinitionCacheData> {
            Some(&self.0)
        }

        async fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) {
            tokio::task::yield_now().await;
            assert_eq!(data.to_json(), self.0.to_json());
        }

        async fn peek_flag_definitions(&self) -> Result<Option<&Data>, String> {
            Ok(Some(&self.0))
        }
    }

    #[tokio::test]
    async fn lives_as_long_as_the_call() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store(data()));
        store.on_flag_definitions_received(&data()).await.unwrap();
        assert!(store.get_flag_definitions().await.unwrap().is_some());
        assert!(store.peek_flag_definitions().await.unwrap().is_some());
    }
}

mod blocking_borrows {
    use super::*;

    #[derive(Clone)]
    struct Store {
        held: Data,
        seen: Arc<Mutex<Vec<String>>>,
    }

    #[flag_cache_provider]
    impl Store {
        fn should_fetch_flag_definitions(&self) -> bool {
            false
        }

        #[flag_cache(blocking)]
        fn get_flag_definitions(&self) -> Option<&Data> {
            Some(&self.held)
        }

        #[flag_cache(blocking)]
        fn on_flag_definitions_received(&self, data: Data) {
            self.seen
                .lock()
                .unwrap()
                .push(format!("{} bytes", data.to_json().len()));
        }

        #[flag_cache(blocking)]
        fn on_fetch_without_update(&self, outcome: FetchOutcome) {
            let failure = outcome
                .failure()
                .map_or("unchanged", FetchErrorKind::as_str);
            let held = outcome.data().is_some();
            self.seen
                .lock()
                .unwrap()
                .push(format!("{failure} {held} {:?}", outcome.step_down_for()));
        }
    }

    #[tokio::test]
    async fn the_argument_reaches_the_other_thread_whole() {
        let seen = Arc::default();
        let held = data();
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store {
            held: held.clone(),
            seen: Arc::clone(&seen),
        });
        assert!(store.get_flag_definitions().await.unwrap().is_some());
        store.on_flag_definitions_received(&held).await.unwrap();
        store
            .on_fetch_without_update(FetchOutcome::unchanged(&held))
            .await
            .unwrap();
        let failed = FetchOutcome::failed(FetchErrorKind::Connect, None)
            .with_step_down_for(Some(std::time::Duration::from_secs(9)));
        store.on_fetch_without_update(failed).await.unwrap();
        let bytes = format!("{} bytes", held.to_json().len());
        assert_eq!(
            *seen.lock().unwrap(),
            [
                bytes.as_str(),
                "unchanged true None",
                "connect false Some(9s)"
            ]
        );
    }
}

mod attached {
    use super::*;

    struct Store(Mutex<Option<PollerContext>>);

    #[flag_cache_provider]
    impl Store {
        fn should_fetch_flag_definitions(&self) -> bool {
            false
        }

        fn get_flag_definitions(&self) -> Option<Data> {
            None
        }

        fn on_flag_definitions_received(&self, _: &Data) {}

        #[allow(clippy::unused_unit, reason = "the form under test")]
        fn on_poller_attached(&self, context: PollerContext) -> () {
            *self.0.lock().unwrap() = Some(context);
        }
    }

    #[tokio::test]
    async fn hands_the_link_over() {
        let store = Arc::new(Store(Mutex::default()));
        let provider: Arc<dyn FlagDefinitionCacheProvider> = store.clone();
        let owner =
            PollerContextOwner::new(PollerSchedule::new(std::time::Duration::from_secs(30)));
        provider.on_poller_attached(owner.context());
        assert!(store.0.lock().unwrap().as_ref().unwrap().is_connected());
    }
}
