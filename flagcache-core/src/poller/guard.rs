//! [`Guard`]: the provider of a poller, with a timeout and panic isolation. All provider calls go through it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::guard::{self, Interrupted, guarded};
use crate::poller::blocking_calls::BlockingCalls;
use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError, ProviderErrorKind, ProviderMethod,
};

/// A provider, its timeout, and the count of its running blocking calls.
pub(crate) struct Guard {
    provider: Box<dyn FlagDefinitionCacheProvider>,
    timeout: Duration,
    blocking_calls: Arc<BlockingCalls>,
}

impl Guard {
    pub(crate) fn new(
        provider: Box<dyn FlagDefinitionCacheProvider>,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            provider,
            timeout,
            blocking_calls: Arc::default(),
        })
    }

    pub(crate) async fn should_fetch(&self) -> Result<bool, ProviderError> {
        self.call(ProviderMethod::ShouldFetch, || {
            self.provider.should_fetch_flag_definitions()
        })
        .await
    }

    pub(crate) async fn get(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.call(ProviderMethod::Get, || self.provider.get_flag_definitions())
            .await
    }

    pub(crate) async fn stored(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.call(ProviderMethod::Peek, || {
            self.provider.peek_flag_definitions()
        })
        .await
    }

    pub(crate) async fn received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.call(ProviderMethod::Received, || {
            self.provider.on_flag_definitions_received(data)
        })
        .await
    }

    pub(crate) async fn fetch_without_update(
        &self,
        outcome: FetchOutcome,
    ) -> Result<(), ProviderError> {
        self.call(ProviderMethod::FetchWithoutUpdate, || {
            self.provider.on_fetch_without_update(outcome)
        })
        .await
    }

    pub(crate) async fn request_refresh(&self) -> Result<bool, ProviderError> {
        self.call(ProviderMethod::RequestRefresh, || {
            self.provider.request_refresh()
        })
        .await
    }

    /// Waits for blocking bodies of earlier calls, without a timeout; then makes the call with the timeout.
    pub(crate) async fn shutdown(&self) -> Result<(), ProviderError> {
        self.blocking_calls.idle().await;
        self.call(ProviderMethod::Shutdown, || self.provider.shutdown())
            .await
    }

    pub(crate) fn attach(&self, context: PollerContext) -> Result<(), ProviderError> {
        catch_unwind(AssertUnwindSafe(|| {
            self.provider.on_poller_attached(context)
        }))
        .map_err(|panic| panicked(ProviderMethod::Attached, &guard::message(panic.as_ref())))
    }

    async fn call<T, F>(
        &self,
        method: ProviderMethod,
        make: impl FnOnce() -> F + Send,
    ) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>> + Send,
    {
        guarded(self.timeout, || {
            self.blocking_calls.scope(async { make().await })
        })
        .await
        .unwrap_or_else(|interrupted| {
            Err(match interrupted {
                Interrupted::TimedOut => timed_out(method, self.timeout),
                Interrupted::Panicked(message) => panicked(method, &message),
            })
        })
    }
}

fn timed_out(method: ProviderMethod, timeout: Duration) -> ProviderError {
    ProviderError::new(
        ProviderErrorKind::Timeout,
        format!("`{method}` did not return within the provider timeout of {timeout:?}"),
    )
}

fn panicked(method: ProviderMethod, message: &str) -> ProviderError {
    ProviderError::new(
        ProviderErrorKind::Panic,
        format!("`{method}` panicked: {message}"),
    )
}
