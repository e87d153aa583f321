//! Faults in front of any provider.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

use super::{Fault, ProviderMethod};

/// How often an injected fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// For this many calls, then the method is sound again.
    Next(usize),
    /// Until [`FaultInjector::clear`].
    UntilCleared,
}

/// Stands in front of a provider and makes chosen calls go wrong *before* they reach it; with [`Fault::Slow`] they reach it
/// late. Clones share the faults and the provider, so a test hands one to a poller and keeps another.
///
/// ```
/// use flagcache_core::FlagDefinitionCacheProvider;
/// use flagcache_providers::testing::{Fault, FaultInjector, ProviderMethod, ScriptedProvider, Times};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = FaultInjector::new(ScriptedProvider::new());
/// provider.inject(ProviderMethod::Get, Fault::Undecodable, Times::Next(1));
/// assert!(provider.get_flag_definitions().await.is_err());
/// assert!(provider.get_flag_definitions().await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultInjector<P: ?Sized> {
    faults: Arc<Mutex<HashMap<ProviderMethod, (Fault, Times)>>>,
    provider: Arc<P>,
}

impl<P> FaultInjector<P> {
    /// No faults yet: every call goes through.
    pub fn new(provider: P) -> Self {
        Self::over(Arc::new(provider))
    }
}

impl<P: ?Sized> FaultInjector<P> {
    /// [`new`](Self::new) for a provider that is shared already, such as an `Arc<dyn FlagDefinitionCacheProvider>`.
    pub fn over(provider: Arc<P>) -> Self {
        Self {
            faults: Arc::default(),
            provider,
        }
    }

    /// Makes calls of `method` go wrong; replaces the fault injected there before.
    ///
    /// For [`ProviderMethod::Attached`], which is not async and has no result, only [`Fault::Panic`] has a meaning; any other fault
    /// keeps the context from the provider.
    pub fn inject(&self, method: ProviderMethod, fault: Fault, times: Times) {
        self.lock().insert(method, (fault, times));
    }

    /// Makes `method` sound again. A call that hangs already goes on hanging.
    pub fn clear(&self, method: ProviderMethod) {
        self.lock().remove(&method);
    }

    /// Makes every method sound again.
    pub fn clear_all(&self) {
        self.lock().clear();
    }

    /// The provider behind.
    pub fn provider(&self) -> &P {
        &self.provider
    }

    fn take(&self, method: ProviderMethod) -> Option<Fault> {
        let mut faults = self.lock();
        match faults.get_mut(&method)? {
            (fault, Times::UntilCleared) => Some(*fault),
            (fault, Times::Next(left)) if *left > 0 => {
                *left -= 1;
                Some(*fault)
            }
            _ => None,
        }
    }

    async fn strike(&self, method: ProviderMethod) -> Result<(), ProviderError> {
        match self.take(method) {
            Some(fault) => fault.strike().await,
            None => Ok(()),
        }
    }

    // Nothing panics while it is held; a poisoned lock is still whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<ProviderMethod, (Fault, Times)>> {
        self.faults.lock()
    }
}

impl<P: ?Sized> Clone for FaultInjector<P> {
    fn clone(&self) -> Self {
        Self {
            faults: Arc::clone(&self.faults),
            provider: Arc::clone(&self.provider),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: FlagDefinitionCacheProvider + ?Sized> FlagDefinitionCacheProvider for FaultInjector<P> {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.strike(ProviderMethod::ShouldFetch).await?;
        self.provider.should_fetch_flag_definitions().await
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.strike(ProviderMethod::Get).await?;
        self.provider.get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.strike(ProviderMethod::Received).await?;
        self.provider.on_flag_definitions_received(data).await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.strike(ProviderMethod::Shutdown).await?;
        self.provider.shutdown().await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.strike(ProviderMethod::Peek).await?;
        self.provider.peek_flag_definitions().await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.strike(ProviderMethod::FetchWithoutUpdate).await?;
        self.provider.on_fetch_without_update(outcome).await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        self.strike(ProviderMethod::RequestRefresh).await?;
        self.provider.request_refresh().await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        match self.take(ProviderMethod::Attached) {
            Some(Fault::Panic) => super::fault::injected_panic(),
            Some(_) => {}
            None => self.provider.on_poller_attached(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flagcache_core::ProviderErrorKind;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::testing::ScriptedProvider;

    async fn call(
        provider: &dyn FlagDefinitionCacheProvider,
        method: ProviderMethod,
    ) -> Result<(), ProviderError> {
        let data = FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#).unwrap();
        match method {
            ProviderMethod::ShouldFetch => provider.should_fetch_flag_definitions().await.map(drop),
            ProviderMethod::Get => provider.get_flag_definitions().await.map(drop),
            ProviderMethod::Received => provider.on_flag_definitions_received(&data).await,
            ProviderMethod::Shutdown => provider.shutdown().await,
            ProviderMethod::Peek => provider.peek_flag_definitions().await.map(drop),
            ProviderMethod::FetchWithoutUpdate => {
                provider
                    .on_fetch_without_update(FetchOutcome::unchanged(&data))
                    .await
            }
            ProviderMethod::RequestRefresh => provider.request_refresh().await.map(drop),
            ProviderMethod::Attached => unreachable!("not async"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_strikes_each_method_and_no_other() {
        for method in ProviderMethod::ASYNC {
            let provider = FaultInjector::new(ScriptedProvider::new());
            provider.inject(
                method,
                Fault::Error(ProviderErrorKind::Unavailable),
                Times::Next(2),
            );
            for other in ProviderMethod::ASYNC {
                assert_eq!(
                    call(&provider, other).await.is_err(),
                    other == method,
                    "{other} with a fault in {method}"
                );
            }
            assert!(call(&provider, method).await.is_err());
            assert!(call(&provider, method).await.is_ok());
            assert_eq!(
                provider.provider().count(method),
                1,
                "a faulty call does not reach the provider"
            );

            provider.inject(method, Fault::Hang, Times::UntilCleared);
            assert!(
                timeout(Duration::from_secs(60), call(&provider, method))
                    .await
                    .is_err()
            );
            provider.clear(method);
            provider.inject(method, Fault::Slow(Duration::from_secs(5)), Times::Next(1));
            let begin = Instant::now();
            assert!(call(&provider, method).await.is_ok());
            assert_eq!(begin.elapsed(), Duration::from_secs(5));

            provider.inject(method, Fault::Panic, Times::UntilCleared);
            let provider = provider.clone();
            let panicked = tokio::spawn(async move { call(&provider, method).await });
            assert!(panicked.await.unwrap_err().is_panic());
        }
    }
}
