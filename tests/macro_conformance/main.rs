//! A provider made by `#[flag_cache_provider]` keeps every rule of the conformance kit, in whatever form its methods are
//! written: one store, its methods in each accepted form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::unit_arg,
    reason = "the forms are written once for methods with and without a value"
)]

mod store;

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use flagcache::{
    DataError, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    flag_cache_provider,
};
use flagcache_providers::testing::conformance::{Capabilities, Verdict, run_all};
use futures_util::future::BoxFuture;

use crate::store::{Store, WorkerHandle};

type Definitions = Result<Option<FlagDefinitionCacheData>, DataError>;
type AliasOf<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

async fn keeps_every_rule(provider: fn(WorkerHandle) -> Arc<dyn FlagDefinitionCacheProvider>) {
    let claims = Capabilities {
        outage: false,
        carries_requests: false,
        ..Capabilities::ALL
    };
    let verdicts = run_all(claims, || Store::of(provider)).await;
    let broken: Vec<_> = verdicts
        .iter()
        // The store is in memory, without connections that the test could cut, and carries no requests.
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Passed | Verdict::DoesNotApply(_)))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A provider whose methods all have one form. `$before` stands before each `fn`, `$wrap` makes what it returns of a call.
macro_rules! form {
    ($name:ident, [$($before:tt)*] $decision:ty, $definitions:ty, $done:ty, |$call:ident| $wrap:expr) => {
        mod $name {
            use super::*;

            #[derive(Clone)]
            struct Provider(WorkerHandle);

            #[allow(clippy::let_unit_value, reason = "one body for all outcomes")]
            #[flag_cache_provider]
            impl Provider {
                $($before)* fn should_fetch_flag_definitions(&self) -> $decision {
                    let handle = self.0.clone();
                    let $call = move || handle.decide();
                    $wrap
                }

                $($before)* fn get_flag_definitions(&self) -> $definitions {
                    let handle = self.0.clone();
                    let $call = move || handle.read();
                    $wrap
                }

                $($before)* fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> $done {
                    let (handle, data) = (self.0.clone(), data.clone());
                    let $call = move || handle.write(&data);
                    $wrap
                }

                $($before)* fn shutdown(&self) -> $done {
                    let handle = self.0.clone();
                    let $call = move || handle.end();
                    $wrap
                }

                $($before)* fn peek_flag_definitions(&self) -> $definitions {
                    let handle = self.0.clone();
                    let $call = move || handle.read();
                    $wrap
                }

                $($before)* fn on_fetch_without_update(&self, outcome: FetchOutcome) -> $done {
                    let handle = self.0.clone();
                    let $call = move || handle.fetched_nothing_new(&outcome);
                    $wrap
                }

                fn on_poller_attached(&self, context: PollerContext) {
                    self.0.attach(context);
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn keeps_every_rule() {
                super::keeps_every_rule(|handle| Arc::new(Provider(handle))).await;
            }
        }
    };
}

form!(plain, [] bool, Definitions, (), |call| call());
form!(blocking, [#[flag_cache(blocking)]] bool, Definitions, (), |call| call());
form!(async_fn, [async] bool, Definitions, (), |call| {
    tokio::task::yield_now().await;
    call()
});
form!(impl_future, [] impl Future<Output = bool>, impl Future<Output = Definitions>, impl Future<Output = ()>, |call| {
    later(call)
});
form!(
    pinned_box,
    [] Pin<Box<dyn Future<Output = bool> + Send>>,
    Pin<Box<dyn Future<Output = Definitions> + Send>>,
    Pin<Box<dyn Future<Output = ()> + Send>>,
    |call| Box::pin(later(call))
);
form!(box_future, [] BoxFuture<'_, bool>, BoxFuture<'_, Definitions>, BoxFuture<'_, ()>, |call| Box::pin(later(call)));
form!(alias, [] AliasOf<'_, bool>, AliasOf<'_, Definitions>, AliasOf<'static, ()>, |call| Box::pin(later(call)));
form!(ready_future, [] Ready<bool>, Ready<Definitions>, Ready<()>, |call| {
    let value = call();
    ready(value)
});

/// Calls when it is polled the second time.
async fn later<T>(call: impl FnOnce() -> T) -> T {
    tokio::task::yield_now().await;
    call()
}
