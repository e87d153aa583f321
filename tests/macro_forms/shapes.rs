//! Each method in each shape: plain, async, and every way to return a future.

use std::future::{Ready, ready};
use std::pin::Pin;

use flagcache::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider,
};
use futures_util::future::BoxFuture;

use crate::support::{Log, exercise};

/// A provider whose methods all have one shape. `$wrap` makes a value of that shape from a block.
macro_rules! shape {
    ($name:ident, $decision:ty, $definitions:ty, $done:ty, |$value:ident| $wrap:expr) => {
        mod $name {
            use super::*;

            struct Store(Log);

            #[allow(clippy::let_unit_value, reason = "one body for all outcomes")]
            #[flag_cache_provider]
            impl Store {
                fn should_fetch_flag_definitions(&self) -> $decision {
                    let $value = {
                        self.0.call("should_fetch");
                        true
                    };
                    $wrap
                }

                fn get_flag_definitions(&self) -> $definitions {
                    let $value = {
                        self.0.call("get");
                        self.0.kept()
                    };
                    $wrap
                }

                fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> $done {
                    let $value = {
                        self.0.keep(data);
                        self.0.call("received");
                    };
                    $wrap
                }

                fn shutdown(&self) -> $done {
                    let $value = self.0.call("shutdown");
                    $wrap
                }

                fn peek_flag_definitions(&self) -> $definitions {
                    let $value = {
                        self.0.call("stored");
                        self.0.kept()
                    };
                    $wrap
                }

                fn on_fetch_without_update(&self, outcome: FetchOutcome) -> $done {
                    let $value = {
                        assert!(outcome.is_unchanged());
                        self.0.call("unchanged");
                    };
                    $wrap
                }

                fn request_refresh(&self) -> $decision {
                    let $value = {
                        self.0.call("requested");
                        true
                    };
                    $wrap
                }
            }

            #[tokio::test]
            async fn carries_requests() {
                let log = Log::default();
                let store: Box<dyn FlagDefinitionCacheProvider> = Box::new(Store(log.clone()));
                assert!(store.request_refresh().await.unwrap());
                assert_eq!(log.calls(), ["requested"]);
            }

            #[tokio::test]
            async fn runs_behind_the_trait() {
                let log = Log::default();
                exercise(Store(log.clone()), &log).await;
            }
        }
    };
}

type Data = FlagDefinitionCacheData;
type AliasOf<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer<T> = Result<T, String>;

/// A future of the user's own.
struct Named<T>(Option<T>);

impl<T: Unpin> Future for Named<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<T> {
        match self.0.take() {
            Some(value) => std::task::Poll::Ready(value),
            None => {
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        }
    }
}

/// Not a future, but awaitable.
struct Request<T>(T);

impl<T> IntoFuture for Request<T> {
    type Output = T;
    type IntoFuture = Ready<T>;

    fn into_future(self) -> Ready<T> {
        ready(self.0)
    }
}

trait Awaitable<T>: Future<Output = T> + Send {}

impl<T, F: Future<Output = T> + Send> Awaitable<T> for F {}

shape!(value, bool, Option<Data>, (), |value| value);
shape!(result, Result<bool, String>, Result<Option<Data>, String>, Result<(), String>, |value| Ok(value));
shape!(
    result_alias,
    Answer<bool>,
    Answer<Option<Data>>,
    Answer<()>,
    |value| Ok(value)
);
shape!(
    impl_future,
    impl Future<Output = bool>,
    impl Future<Output = Option<Data>>,
    impl Future<Output = ()>,
    |value| later(value)
);
shape!(
    impl_future_send,
    impl Future<Output = bool> + Send + '_,
    impl Future<Output = Option<Data>> + Send + '_,
    impl Future<Output = ()> + Send + '_,
    |value| async move { value }
);
shape!(
    impl_future_of_result,
    impl std::future::Future<Output = std::io::Result<bool>>,
    impl std::future::Future<Output = std::io::Result<Option<Data>>>,
    impl std::future::Future<Output = std::io::Result<()>>,
    |value| async move { Ok(value) }
);
shape!(
    impl_other_trait,
    impl Awaitable<bool>,
    impl Awaitable<Option<Data>>,
    impl Awaitable<()>,
    |value| async move { value }
);
shape!(
    pinned_box,
    Pin<Box<dyn Future<Output = bool> + Send>>,
    Pin<Box<dyn Future<Output = Option<Data>> + Send + '_>>,
    std::pin::Pin<std::boxed::Box<dyn std::future::Future<Output = ()> + std::marker::Send + '_>>,
    |value| Box::pin(async move { value })
);
shape!(
    box_future,
    BoxFuture<'_, bool>,
    BoxFuture<'_, Option<Data>>,
    BoxFuture<'static, ()>,
    |value| Box::pin(async move { value })
);
shape!(
    alias,
    AliasOf<'_, bool>,
    AliasOf<'_, Option<Data>>,
    AliasOf<'static, ()>,
    |value| Box::pin(later(value))
);
shape!(
    alias_of_result,
    AliasOf<'_, Answer<bool>>,
    AliasOf<'_, Answer<Option<Data>>>,
    AliasOf<'_, Answer<()>>,
    |value| Box::pin(async move { Ok(value) })
);
shape!(
    ready_future,
    core::future::Ready<bool>,
    Ready<Option<Data>>,
    Ready<()>,
    |value| ready(value)
);
shape!(
    named_future,
    Named<bool>,
    Named<Option<Data>>,
    Named<()>,
    |value| Named(Some(value))
);
shape!(
    into_future,
    Request<bool>,
    Request<Option<Data>>,
    Request<()>,
    |value| Request(value)
);

/// Gives a value after a pause: such a future is polled more than once.
async fn later<T>(value: T) -> T {
    tokio::task::yield_now().await;
    value
}

mod async_fn {
    use super::*;

    struct Store(Log);

    #[flag_cache_provider]
    impl Store {
        async fn should_fetch_flag_definitions(&self) -> bool {
            tokio::task::yield_now().await;
            self.0.call("should_fetch");
            true
        }

        async fn get_flag_definitions(&self) -> Result<Option<Data>, std::io::Error> {
            tokio::task::yield_now().await;
            self.0.call("get");
            Ok(self.0.kept())
        }

        async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Answer<()> {
            tokio::task::yield_now().await;
            self.0.keep(data);
            self.0.call("received");
            Ok(())
        }

        async fn shutdown(&self) {
            self.0.call("shutdown");
        }

        async fn peek_flag_definitions(&self) -> Answer<Option<Data>> {
            self.0.call("stored");
            Ok(self.0.kept())
        }

        async fn on_fetch_without_update(&self, outcome: FetchOutcome) {
            tokio::task::yield_now().await;
            assert!(outcome.is_unchanged());
            self.0.call("unchanged");
        }
    }

    #[tokio::test]
    async fn runs_behind_the_trait() {
        let log = Log::default();
        exercise(Store(log.clone()), &log).await;
    }
}

mod blocking {
    use super::*;

    #[derive(Clone)]
    struct Store(Log);

    #[flag_cache_provider]
    impl Store {
        #[flag_cache(blocking)]
        fn should_fetch_flag_definitions(&self) -> bool {
            self.0.call("should_fetch");
            true
        }

        #[flag_cache(blocking)]
        fn get_flag_definitions(&self) -> Option<Data> {
            self.0.call("get");
            self.0.kept()
        }

        #[flag_cache(blocking)]
        fn on_flag_definitions_received(
            &self,
            data: &FlagDefinitionCacheData,
        ) -> std::io::Result<()> {
            self.0.keep(data);
            self.0.call("received");
            Ok(())
        }

        #[flag_cache(blocking)]
        fn shutdown(&self) {
            self.0.call("shutdown");
        }

        #[flag_cache(blocking)]
        fn peek_flag_definitions(&self) -> Answer<Option<Data>> {
            self.0.call("stored");
            Ok(self.0.kept())
        }

        #[flag_cache(blocking)]
        fn on_fetch_without_update(&self, outcome: FetchOutcome) {
            assert!(outcome.is_unchanged());
            assert!(outcome.data().is_some());
            self.0.call("unchanged");
        }
    }

    #[tokio::test]
    async fn runs_behind_the_trait() {
        let log = Log::default();
        exercise(Store(log.clone()), &log).await;
    }
}

mod named_lifetimes {
    #![allow(
        clippy::manual_async_fn,
        clippy::needless_lifetimes,
        reason = "the forms under test"
    )]

    use super::*;

    struct Store(Log);

    #[flag_cache_provider]
    impl Store {
        fn should_fetch_flag_definitions<'a>(&'a self) -> BoxFuture<'a, bool> {
            Box::pin(async move {
                self.0.call("should_fetch");
                true
            })
        }

        #[allow(clippy::needless_arbitrary_self_type, reason = "the form under test")]
        fn get_flag_definitions<'a>(
            self: &'a Self,
        ) -> Pin<Box<dyn Future<Output = Option<Data>> + Send + 'a>> {
            Box::pin(async move {
                self.0.call("get");
                self.0.kept()
            })
        }

        fn on_flag_definitions_received<'a>(
            &'a self,
            data: &'a Data,
        ) -> impl Future<Output = ()> + Send + 'a {
            async move {
                tokio::task::yield_now().await;
                self.0.keep(data);
                self.0.call("received");
            }
        }

        fn shutdown<'a>(&'a self) -> AliasOf<'a, ()> {
            Box::pin(async move { self.0.call("shutdown") })
        }

        async fn peek_flag_definitions<'a>(&'a self) -> Option<Data> {
            self.0.call("stored");
            self.0.kept()
        }

        fn on_fetch_without_update<'a, 'b>(&'a self, outcome: FetchOutcome) -> AliasOf<'a, ()>
        where
            'b: 'a,
        {
            Box::pin(async move {
                assert!(outcome.is_unchanged());
                self.0.call("unchanged");
            })
        }
    }

    #[tokio::test]
    async fn runs_behind_the_trait() {
        let log = Log::default();
        exercise(Store(log.clone()), &log).await;
    }
}
