//! A panic in a body, sync or not, is a panic of the future: it never leaves the call before it is awaited.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::support::data;

#[derive(Clone)]
struct Clumsy;

#[flag_cache_provider]
impl Clumsy {
    fn should_fetch_flag_definitions(&self) -> bool {
        panic!("plain")
    }

    fn get_flag_definitions(&self) -> impl Future<Output = Option<FlagDefinitionCacheData>> + Send {
        if true {
            panic!("before the future");
        }
        async { None }
    }

    #[flag_cache(blocking)]
    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {
        panic!("blocking")
    }

    async fn shutdown(&self) {
        panic!("async")
    }

    fn peek_flag_definitions(&self) -> BoxFuture<'_, Option<FlagDefinitionCacheData>> {
        panic!("before the box")
    }
}

async fn panic_of<T>(call: BoxFuture<'_, T>) -> &'static str {
    let Err(panic) = AssertUnwindSafe(call).catch_unwind().await else {
        panic!("the call did not panic")
    };
    panic.downcast_ref::<&str>().unwrap()
}

#[tokio::test]
async fn meets_whoever_awaits() {
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Clumsy);
    let data = data();
    // Each future is made outside of the fence: only the await is fenced.
    assert_eq!(
        panic_of(provider.should_fetch_flag_definitions()).await,
        "plain"
    );
    assert_eq!(
        panic_of(provider.get_flag_definitions()).await,
        "before the future"
    );
    assert_eq!(
        panic_of(provider.on_flag_definitions_received(&data)).await,
        "blocking"
    );
    assert_eq!(panic_of(provider.shutdown()).await, "async");
    assert_eq!(
        panic_of(provider.peek_flag_definitions()).await,
        "before the box"
    );
}

#[tokio::test]
async fn a_call_that_is_not_awaited_runs_nothing() {
    let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Clumsy);
    drop(provider.should_fetch_flag_definitions());
    drop(provider.get_flag_definitions());
    drop(provider.on_flag_definitions_received(&data()));
}
