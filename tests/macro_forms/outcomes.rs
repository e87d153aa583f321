//! Results: the user's error arrives whole.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use flagcache::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind,
    flag_cache_provider,
};

use crate::support::data;

#[derive(Debug)]
struct OutOfInk;

impl fmt::Display for OutOfInk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of ink")
    }
}

impl Error for OutOfInk {}

type Outcome<T, E = OutOfInk> = Result<T, E>;

struct Store;

#[flag_cache_provider]
impl Store {
    async fn should_fetch_flag_definitions(&self) -> Outcome<bool> {
        Err(OutOfInk)
    }

    fn get_flag_definitions(&self) -> anyhow::Result<Option<FlagDefinitionCacheData>> {
        Err(anyhow::Error::new(OutOfInk).context("cannot print"))
    }

    fn on_flag_definitions_received(
        &self,
        _: &FlagDefinitionCacheData,
    ) -> Result<(), &'static str> {
        Err("no paper")
    }

    async fn shutdown(&self) -> Result<(), String> {
        Err("no power".to_owned())
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, Box<dyn Error + Send + Sync>> {
        Err(Box::new(OutOfInk))
    }
}

#[tokio::test]
async fn the_users_error_is_the_source() {
    let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);

    let error = store.should_fetch_flag_definitions().await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Other);
    assert!(error.source().unwrap().is::<OutOfInk>());

    let error = store.get_flag_definitions().await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "cannot print");
    assert_eq!(
        error.source().unwrap().source().unwrap().to_string(),
        "out of ink"
    );

    let error = store
        .on_flag_definitions_received(&data())
        .await
        .unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "no paper");

    let error = store.shutdown().await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "no power");

    let error = store.peek_flag_definitions().await.unwrap_err();
    assert!(error.source().unwrap().is::<OutOfInk>());
}

mod passed_on {
    use super::*;

    #[derive(Clone)]
    struct Store;

    fn refused() -> ProviderError {
        ProviderError::new(ProviderErrorKind::PermissionDenied, "the safe is locked")
            .with_source(OutOfInk)
    }

    #[flag_cache_provider]
    impl Store {
        async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
            Err(refused())
        }

        fn get_flag_definitions(
            &self,
        ) -> Result<Option<FlagDefinitionCacheData>, Box<dyn Error + Send + Sync>> {
            Err(refused().into())
        }

        #[flag_cache(blocking)]
        fn on_flag_definitions_received(
            &self,
            _: &FlagDefinitionCacheData,
        ) -> Result<(), ProviderError> {
            Err(refused())
        }
    }

    #[tokio::test]
    async fn a_provider_error_is_not_wrapped_again() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);
        let errors = [
            store.should_fetch_flag_definitions().await.unwrap_err(),
            store.get_flag_definitions().await.unwrap_err(),
            store
                .on_flag_definitions_received(&data())
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ProviderErrorKind::PermissionDenied);
            assert_eq!(error.to_string(), "the safe is locked");
            assert!(error.source().unwrap().is::<OutOfInk>());
        }
    }
}

mod question_mark {
    use super::*;

    struct Store(&'static [u8]);

    #[flag_cache_provider]
    impl Store {
        fn should_fetch_flag_definitions(&self) -> bool {
            false
        }

        async fn get_flag_definitions(
            &self,
        ) -> Result<Option<FlagDefinitionCacheData>, Box<dyn Error + Send + Sync>> {
            Ok(Some(FlagDefinitionCacheData::from_json(self.0)?))
        }

        async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
    }

    #[tokio::test]
    async fn works_in_a_body() {
        let store: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store(crate::support::FLAGS));
        assert!(store.get_flag_definitions().await.unwrap().is_some());
    }
}
