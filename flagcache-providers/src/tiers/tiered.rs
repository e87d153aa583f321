//! One store behind another.

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

/// A store in front, and others behind it that take over when it fails or is empty. The [module](crate::tiers) says who does
/// what, which order is right, and what comes of each failure.
///
/// Each provider given here belongs to this one, as this one belongs to one poller.
#[derive(Debug)]
pub struct Tiered<P> {
    first: P,
    behind: Vec<FallbackTier>,
    state: State,
}

impl<P: FlagDefinitionCacheProvider> Tiered<P> {
    /// The first tier: the store that elects, so the one that all workers share.
    pub fn new(first: P) -> Self {
        Self {
            first,
            behind: Vec::new(),
            state: State::default(),
        }
    }

    /// One more tier, behind those given so far.
    #[must_use]
    pub fn fallback(mut self, next: impl FlagDefinitionCacheProvider) -> Self {
        self.behind
            .push(FallbackTier::new(self.behind.len() + 2, Box::new(next)));
        self
    }

    /// The first tier.
    pub fn first(&self) -> &P {
        &self.first
    }

    /// How long one tier may take while others wait for their turn.
    fn per_tier_timeout(&self) -> Duration {
        let parts = u32::try_from(self.behind.len() + 1).unwrap_or(u32::MAX);
        self.state.schedule().provider_timeout / parts.max(4)
    }

    /// What is left of three quarters of a call that began then.
    fn left_since(&self, begin: Instant) -> Duration {
        (self.state.schedule().provider_timeout * 3 / 4).saturating_sub(begin.elapsed())
    }

    /// Asks the first tier: for its share of the time while the worker is cold, else for as long as the poller lets it.
    async fn ask_first<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if self.state.is_warm() || self.behind.is_empty() {
            return call.await;
        }
        guarded_tier(self.per_tier_timeout(), call).await
    }

    async fn read_behind(&self) -> Option<(FlagDefinitionCacheData, Option<Duration>)> {
        for tier in &self.behind {
            if let Some(found) = tier.read(self.per_tier_timeout()).await {
                return Some(found);
            }
        }
        None
    }

    /// Copies what the first tier returned to the tiers behind it.
    async fn copy_behind(&self, data: &FlagDefinitionCacheData, limit: Duration) {
        let schedule = self.state.schedule();
        join_all(
            self.behind
                .iter()
                .map(|tier| tier.copy(data, schedule, limit)),
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
            .ask_first(self.first.should_fetch_flag_definitions())
            .await;
        self.state.decided(matches!(decision, Ok(false)));
        decision
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let begin = Instant::now();
        let follows = self.state.begin_read();
        let answer = self.ask_first(self.first.get_flag_definitions()).await;
        if let Ok(Some(copy)) = &answer {
            self.state.mark_warm();
            self.copy_behind(copy, self.left_since(begin)).await;
            return answer;
        }
        if self.state.is_warm() || (follows && answer.is_err()) {
            return answer;
        }
        let Some((copy, age)) = self.read_behind().await else {
            return answer;
        };
        self.state.mark_warm();
        if let Some(link) = self.state.link() {
            // The first tier's report, if it made one, is about a copy that it does not have.
            let age = age.unwrap_or(self.state.schedule().max_staleness);
            link.report(FleetStatus::new().confirmed_ago(age));
        }
        Ok(Some(copy))
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.state.mark_warm();
        let (limit, schedule) = (self.left_since(Instant::now()), self.state.schedule());
        let behind = join_all(
            self.behind
                .iter()
                .map(|tier| tier.publish(data, schedule, limit)),
        );
        join(self.first.on_flag_definitions_received(data), behind)
            .await
            .0
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        let limit = self.left_since(Instant::now());
        join(
            self.first.shutdown(),
            join_all(self.behind.iter().map(|tier| tier.shut_down(limit))),
        )
        .await
        .0
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let begin = Instant::now();
        let answer = self.ask_first(self.first.peek_flag_definitions()).await;
        if let Ok(Some(copy)) = &answer {
            self.state.mark_warm();
            self.copy_behind(copy, self.left_since(begin)).await;
            return answer;
        }
        let Some((copy, _)) = self.read_behind().await else {
            return answer;
        };
        self.state.mark_warm();
        Ok(Some(copy))
    }

    async fn on_fetch_without_update(
        &self,
        outcome: FetchOutcome<'_>,
    ) -> Result<(), ProviderError> {
        if outcome.data().is_some() {
            self.state.mark_warm();
        }
        let (limit, schedule) = (self.left_since(Instant::now()), self.state.schedule());
        // Who leads behind is nobody's affair but that tier's.
        let behind = outcome.with_step_down_for(None);
        let tell = join_all(
            self.behind
                .iter()
                .map(|tier| tier.tell(behind, schedule, limit)),
        );
        join(self.first.on_fetch_without_update(outcome), tell)
            .await
            .0
    }

    fn on_poller_attached(&self, link: PollerContext) {
        self.state.attach(link.clone());
        let schedule = self.state.schedule();
        self.behind.iter().for_each(|tier| tier.attach(schedule));
        self.first.on_poller_attached(link);
    }
}
