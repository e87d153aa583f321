//! [`Tiered`]: a store with fallbacks.

use std::time::Duration;

use async_trait::async_trait;
use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FleetStatus, PollerContext,
    ProviderError,
};
use futures_util::future::{join, join_all};
use tokio::time::Instant;

use super::fallback_tier::FallbackTier;
use super::guard::guarded_tier;
use super::state::State;

/// A first store, and fallbacks that take over when it fails or is empty. The [module](crate::tiers) documents what
/// each tier does, the right order, and the effects of each failure.
///
/// The providers of all tiers belong to this provider, and it to one poller.
#[derive(Debug)]
pub struct Tiered<P> {
    first: P,
    fallbacks: Vec<FallbackTier>,
    state: State,
}

impl<P: FlagDefinitionCacheProvider> Tiered<P> {
    /// The first tier: the store that elects the leader, and so must be the one that all workers share.
    pub fn new(first: P) -> Self {
        Self {
            first,
            fallbacks: Vec::new(),
            state: State::default(),
        }
    }

    /// Adds a fallback after those added so far.
    #[must_use]
    pub fn fallback(mut self, next: impl FlagDefinitionCacheProvider) -> Self {
        self.fallbacks
            .push(FallbackTier::new(self.fallbacks.len() + 2, Box::new(next)));
        self
    }

    /// The first tier.
    pub fn first(&self) -> &P {
        &self.first
    }

    /// The timeout of one tier while other tiers must also get time.
    fn per_tier_timeout(&self) -> Duration {
        let parts = u32::try_from(self.fallbacks.len() + 1).unwrap_or(u32::MAX);
        self.state.schedule().provider_timeout / parts.max(4)
    }

    /// What is left of three quarters of the call's timeout.
    fn left_since(&self, begin: Instant) -> Duration {
        (self.state.schedule().provider_timeout * 3 / 4).saturating_sub(begin.elapsed())
    }

    /// Calls the first tier: with the per-tier timeout while the worker is cold, otherwise with the poller's timeout
    /// only.
    async fn call_first<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if self.state.is_warm() || self.fallbacks.is_empty() {
            return call.await;
        }
        guarded_tier(self.per_tier_timeout(), call).await
    }

    async fn read_fallbacks(&self) -> Option<(FlagDefinitionCacheData, Option<Duration>)> {
        for tier in &self.fallbacks {
            if let Some(found) = tier.read(self.per_tier_timeout()).await {
                return Some(found);
            }
        }
        None
    }

    /// Copies what the first tier returned to the fallback tiers.
    async fn copy_to_fallbacks(&self, data: &FlagDefinitionCacheData, timeout: Duration) {
        let schedule = self.state.schedule();
        join_all(
            self.fallbacks
                .iter()
                .map(|tier| tier.copy(data, schedule, timeout)),
        )
        .await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: FlagDefinitionCacheProvider> FlagDefinitionCacheProvider for Tiered<P> {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.state.decided(false);
        let decision = self
            .call_first(self.first.should_fetch_flag_definitions())
            .await;
        self.state.decided(matches!(decision, Ok(false)));
        decision
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let begin = Instant::now();
        let follows = self.state.begin_read();
        let answer = self.call_first(self.first.get_flag_definitions()).await;
        if let Ok(Some(copy)) = &answer {
            self.state.mark_warm();
            self.copy_to_fallbacks(copy, self.left_since(begin)).await;
            return answer;
        }
        if self.state.is_warm() || (follows && answer.is_err()) {
            return answer;
        }
        let Some((copy, age)) = self.read_fallbacks().await else {
            return answer;
        };
        self.state.mark_warm();
        if let Some(context) = self.state.context() {
            // A report of the first tier would be about a copy that it does not have.
            let age = age.unwrap_or(self.state.schedule().max_staleness);
            context.report(FleetStatus::new().confirmed_ago(age));
        }
        Ok(Some(copy))
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.state.mark_warm();
        let (timeout, schedule) = (self.left_since(Instant::now()), self.state.schedule());
        let fallbacks = join_all(
            self.fallbacks
                .iter()
                .map(|tier| tier.publish(data, schedule, timeout)),
        );
        join(self.first.on_flag_definitions_received(data), fallbacks)
            .await
            .0
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        let timeout = self.left_since(Instant::now());
        join(
            self.first.shutdown(),
            join_all(self.fallbacks.iter().map(|tier| tier.shut_down(timeout))),
        )
        .await
        .0
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let begin = Instant::now();
        let answer = self.call_first(self.first.peek_flag_definitions()).await;
        if let Ok(Some(copy)) = &answer {
            self.state.mark_warm();
            self.copy_to_fallbacks(copy, self.left_since(begin)).await;
            return answer;
        }
        let Some((copy, _)) = self.read_fallbacks().await else {
            return answer;
        };
        self.state.mark_warm();
        Ok(Some(copy))
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        if outcome.data().is_some() {
            self.state.mark_warm();
        }
        let (timeout, schedule) = (self.left_since(Instant::now()), self.state.schedule());
        // Fallback tiers elect their own leader; never ask them to step down.
        let fallbacks = outcome.clone().with_step_down_for(None);
        let report = join_all(
            self.fallbacks
                .iter()
                .map(|tier| tier.report(fallbacks.clone(), schedule, timeout)),
        );
        join(self.first.on_fetch_without_update(outcome), report)
            .await
            .0
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        // The first tier elects the leader, so only it can carry the request there.
        self.first.request_refresh().await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.state.attach(context.clone());
        let schedule = self.state.schedule();
        self.fallbacks.iter().for_each(|tier| tier.attach(schedule));
        self.first.on_poller_attached(context);
    }
}
