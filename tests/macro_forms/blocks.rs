//! What else may stand in a block, and what a block may stand in.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};

use crate::support::data;

mod generics {
    use super::*;

    trait Backend {
        type Fetch<'a>: Future<Output = Option<FlagDefinitionCacheData>> + Send
        where
            Self: 'a;

        fn fetch(&self) -> Self::Fetch<'_>;
    }

    struct Here(FlagDefinitionCacheData);

    impl Backend for Here {
        type Fetch<'a> = std::future::Ready<Option<FlagDefinitionCacheData>>;

        fn fetch(&self) -> Self::Fetch<'_> {
            std::future::ready(Some(self.0.clone()))
        }
    }

    struct Store<B, S, const SHARDS: usize>
    where
        S: BuildHasher,
    {
        backend: B,
        shards: Mutex<[HashMap<String, u8, S>; SHARDS]>,
    }

    #[flag_cache_provider]
    impl<B, S: BuildHasher, const SHARDS: usize> Store<B, S, { SHARDS }>
    where
        B: Backend + Send + Sync + 'static,
        S: Send + 'static,
    {
        fn should_fetch_flag_definitions(&self) -> bool {
            self.shards.lock().unwrap().len() == SHARDS
        }

        fn get_flag_definitions(&self) -> B::Fetch<'_> {
            self.backend.fetch()
        }

        async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {
            self.shards
                .lock()
                .unwrap()
                .iter_mut()
                .for_each(HashMap::clear);
        }
    }

    #[tokio::test]
    async fn are_copied_with_their_bounds() {
        let shards: Mutex<[HashMap<String, u8>; 3]> = Mutex::default();
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store {
            backend: Here(data()),
            shards,
        });
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        assert!(store.get_flag_definitions().await.unwrap().is_some());
        store.on_flag_definitions_received(&data()).await.unwrap();
    }

    #[derive(Clone)]
    struct Blocking<T>(T);

    #[flag_cache_provider]
    impl<T: Clone + Debug + Send + Sync + 'static> Blocking<T> {
        #[flag_cache(blocking)]
        fn should_fetch_flag_definitions(&self) -> Result<bool, String> {
            Err(format!("{:?}", self.0))
        }

        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
    }

    #[tokio::test]
    async fn go_to_the_other_thread() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Blocking("ink"));
        let error = store.should_fetch_flag_definitions().await.unwrap_err();
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "\"ink\""
        );
    }

    /// Two blocks of one generic type, each a provider of its own.
    struct Either<T>(T);

    #[flag_cache_provider]
    impl Either<u8> {
        fn should_fetch_flag_definitions(&self) -> bool {
            self.0 > 0
        }

        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
    }

    #[flag_cache_provider]
    impl Either<&'static str> {
        async fn should_fetch_flag_definitions(&self) -> bool {
            self.0.is_empty()
        }

        async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
    }

    #[tokio::test]
    async fn may_be_filled_in() {
        let stores: [Arc<dyn FlagDefinitionCacheProvider>; 2] =
            [Arc::new(Either(1)), Arc::new(Either(""))];
        for store in stores {
            assert!(store.should_fetch_flag_definitions().await.unwrap());
        }
    }
}

mod helpers {
    use super::*;

    struct Store {
        asked: AtomicUsize,
    }

    #[flag_cache_provider]
    impl Store {
        #![allow(non_upper_case_globals)]

        const EVERY: usize = { 2 };
        const fn new() -> Self {
            Self {
                asked: AtomicUsize::new(0),
            }
        }

        fn count<T>(&self, step: T) -> usize
        where
            T: Into<usize>,
        {
            self.asked.fetch_add(step.into(), Ordering::Relaxed)
        }

        fn should_fetch_flag_definitions(&self) -> bool {
            self.count(1_usize).is_multiple_of(Self::EVERY)
        }

        // One letter from `shutdown`, and not meant to be it.
        #[flag_cache(helper)]
        #[allow(dead_code)]
        fn shutdowns(self) -> usize {
            self.asked.into_inner()
        }

        async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            Self::nothing().await
        }

        async fn nothing<T>() -> Option<T> {
            None
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

        #[allow(dead_code)]
        extern "C" fn raw(_: *const u8) {}
    }

    #[tokio::test]
    async fn pass_through() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store::new());
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        assert!(!store.should_fetch_flag_definitions().await.unwrap());
        assert!(store.get_flag_definitions().await.unwrap().is_none());
    }
}

mod raw_identifiers {
    use super::*;

    #[allow(non_camel_case_types)]
    struct r#type {
        r#fn: bool,
    }

    #[flag_cache_provider]
    impl r#type {
        fn r#should_fetch_flag_definitions(&self) -> bool {
            self.r#fn
        }

        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        async fn r#on_flag_definitions_received(&self, r#match: &FlagDefinitionCacheData) {
            drop(r#match.clone());
        }
    }

    #[tokio::test]
    async fn are_the_same_names() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(r#type { r#fn: true });
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        store.on_flag_definitions_received(&data()).await.unwrap();
    }
}

mod in_macros {
    use super::*;

    macro_rules! provider {
        ($name:ident<$parameter:ident: $bound:path>, $ty:ty, $decision:ty => $body:block, $get:item) => {
            struct $name<$parameter>($parameter);

            #[flag_cache_provider]
            impl<$parameter: $bound + Send + Sync + 'static> $ty {
                fn should_fetch_flag_definitions(&self) -> $decision $body

                fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
                    None
                }

                async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) {
                    let _ = (&self.0, data);
                }
            }

            #[flag_cache_provider]
            $get
        };
    }

    struct Whole;

    provider! {
        Parts<T: std::fmt::Debug>,
        Parts<T>,
        impl Future<Output = bool> + Send => { async { true } },
        impl Whole {
            async fn should_fetch_flag_definitions(&self) -> bool {
                true
            }

            fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
                None
            }

            fn on_flag_definitions_received(&self, _: FlagDefinitionCacheData) {}
        }
    }

    #[tokio::test]
    async fn in_parts_and_whole() {
        let stores: [Arc<dyn FlagDefinitionCacheProvider>; 2] =
            [Arc::new(Parts(1)), Arc::new(Whole)];
        for store in stores {
            assert!(store.should_fetch_flag_definitions().await.unwrap());
            store.on_flag_definitions_received(&data()).await.unwrap();
        }
    }
}

mod in_a_function {
    use super::*;

    #[tokio::test]
    async fn a_local_type_is_a_provider() {
        struct Local;

        #[flag_cache_provider]
        impl Local {
            fn should_fetch_flag_definitions(&self) -> bool {
                true
            }

            fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
                None
            }

            fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
        }

        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Local);
        assert!(store.should_fetch_flag_definitions().await.unwrap());
        store.shutdown().await.unwrap();
    }
}

mod by_path {
    use super::*;

    mod inner {
        pub(crate) struct Store;
    }

    #[flag_cache_provider]
    impl self::inner::Store {
        fn should_fetch_flag_definitions(&self) -> bool {
            true
        }

        fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
            None
        }

        fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
    }

    #[tokio::test]
    async fn the_type_may_be_elsewhere() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(inner::Store);
        assert!(store.should_fetch_flag_definitions().await.unwrap());
    }
}
