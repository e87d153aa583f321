//! One provider call under a time limit and a panic boundary. The only place that calls a provider.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::poller::blocking_calls::BlockingCalls;
use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError, ProviderErrorKind,
};

/// A provider behind the fence.
pub(crate) struct Guard {
    provider: Box<dyn FlagDefinitionCacheProvider>,
    limit: Duration,
    detached: Arc<BlockingCalls>,
}

impl Guard {
    pub(crate) fn new(
        provider: Box<dyn FlagDefinitionCacheProvider>,
        limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            provider,
            limit,
            detached: Arc::default(),
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
        outcome: FetchOutcome<'_>,
    ) -> Result<(), ProviderError> {
        self.call(ProviderMethod::FetchWithoutUpdate, || {
            self.provider.on_fetch_without_update(outcome)
        })
        .await
    }

    /// Waits until no blocking body of an earlier call is running, however long that takes; then calls under the limit.
    pub(crate) async fn shutdown(&self) -> Result<(), ProviderError> {
        self.detached.idle().await;
        self.call(ProviderMethod::Shutdown, || self.provider.shutdown())
            .await
    }

    pub(crate) fn attach(&self, link: PollerContext) -> Result<(), ProviderError> {
        catch_unwind(AssertUnwindSafe(|| self.provider.on_poller_attached(link)))
            .map_err(|panic| panicked(ProviderMethod::Attached, panic.as_ref()))
    }

    async fn call<T, F>(
        &self,
        method: ProviderMethod,
        make: impl FnOnce() -> F + Send,
    ) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>> + Send,
    {
        let begun = Instant::now();
        // Made inside the fence: a provider written by hand may panic before it returns its future.
        let mut future = Box::pin(
            self.detached
                .scope(AssertUnwindSafe(async { make().await }).catch_unwind()),
        );
        let answer = timeout(self.limit, future.as_mut()).await;
        // Dropped inside it too: a future that was cut may hold a user's value whose `drop` panics.
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(future)));
        match answer {
            Err(_) => Err(timed_out(method, self.limit)),
            // A body that blocked the thread past the limit answers all the same, but too late.
            Ok(Ok(_)) if begun.elapsed() > self.limit => Err(timed_out(method, self.limit)),
            Ok(Err(panic)) => Err(panicked(method, panic.as_ref())),
            Ok(Ok(answer)) => match dropped {
                Ok(()) => answer,
                Err(panic) => Err(panicked(method, panic.as_ref())),
            },
        }
    }
}

/// The methods of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProviderMethod {
    ShouldFetch,
    Get,
    Stored,
    Received,
    FetchWithoutUpdate,
    Shutdown,
    Attached,
}

impl ProviderMethod {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ShouldFetch => "should_fetch_flag_definitions",
            Self::Get => "get_flag_definitions",
            Self::Stored => "peek_flag_definitions",
            Self::Received => "on_flag_definitions_received",
            Self::FetchWithoutUpdate => "on_fetch_without_update",
            Self::Shutdown => "shutdown",
            Self::Attached => "on_poller_attached",
        }
    }
}

fn timed_out(method: ProviderMethod, limit: Duration) -> ProviderError {
    let name = method.name();
    ProviderError::new(
        ProviderErrorKind::Timeout,
        format!("`{name}` did not return within the provider timeout of {limit:?}"),
    )
}

fn panicked(method: ProviderMethod, panic: &(dyn Any + Send)) -> ProviderError {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    ProviderError::new(
        ProviderErrorKind::Panic,
        format!("`{}` panicked: {said}", method.name()),
    )
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// Blocks the thread in each decision.
    struct Blocks(Duration);

    #[async_trait]
    impl FlagDefinitionCacheProvider for Blocks {
        async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
            std::thread::sleep(self.0);
            Ok(true)
        }

        async fn get_flag_definitions(
            &self,
        ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
            Ok(None)
        }

        async fn on_flag_definitions_received(
            &self,
            _data: &FlagDefinitionCacheData,
        ) -> Result<(), ProviderError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn b4_41_an_answer_of_a_body_that_blocked_the_thread_past_the_limit_is_ignored() {
        let limit = Duration::from_millis(100);
        for (blocks, kind) in [
            (limit * 2, Some(ProviderErrorKind::Timeout)),
            (Duration::ZERO, None),
        ] {
            let answer = Guard::new(Box::new(Blocks(blocks)), limit)
                .should_fetch()
                .await;
            assert_eq!(answer.err().map(|error| error.kind()), kind);
        }
    }
}
