//! [`RedisProvider`]: the provider of one poller.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetStatus, PollerContext,
    ProviderError, ProviderErrorKind,
};
use flagcache_derive::flag_cache_provider;
use tokio::task::AbortHandle;

use super::copy::fingerprint::Fingerprint;
use super::copy::staging::Staged;
use super::error;
use super::leadership::clock::Clock;
use super::leadership::lease::{Attempt, Leadership};
use super::leadership::renewal;
use super::scripts::{self, FetchMark, KeepReply, NewCopy, Published, TickReply};
use super::shared::Shared;
use crate::restore;

/// The provider of one poller; made by [`RedisStore::provider`](super::RedisStore::provider).
///
/// If dropped without [`shutdown`](flagcache_core::FlagDefinitionCacheProvider::shutdown), it stops renewing, and its
/// lock expires with its TTL.
pub struct RedisProvider {
    shared: Arc<Shared>,
    lead: Arc<Leadership>,
    poller: OnceLock<PollerContext>,
    load: Mutex<Load>,
    renewal: Mutex<Option<AbortHandle>>,
}

/// The state of the current load.
#[derive(Debug, Default)]
struct Load {
    /// The copy as the decision saw it, until a read has used it or a write has replaced it.
    copy: Option<Option<Fingerprint>>,
    /// The token of the decision, if it was `true`.
    token: Option<String>,
}

impl fmt::Debug for RedisProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisProvider")
            .field("endpoint", &self.shared.client.endpoint())
            .field("service", &self.shared.config.service)
            .field("worker", &self.lead.worker())
            .finish()
    }
}

impl Drop for RedisProvider {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

#[flag_cache_provider(crate = flagcache_core)]
impl RedisProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        *self.load() = Load::default();
        let bid = self.lead.bid(Instant::now());
        let mut seen = self.tick(bid).await?;
        self.lead
            .see_clock(Clock::shown(seen.clock, Instant::now()));
        if let Some(bid) = bid.filter(|_| seen.too_late) {
            // The answer came in time, so the clock differs: it was set, or it is another server's.
            seen = self.tick(Some(bid.without_end())).await?;
        }
        let token = match bid {
            Some(bid) if seen.leads => self.lead.win(bid),
            _ => {
                self.lead.lose();
                None
            }
        };
        let leads = token.is_some();
        *self.load() = Load {
            copy: Some(seen.copy),
            token,
        };
        Ok(leads)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let known = self.load().copy.take();
        let copy = match known {
            Some(copy) => copy,
            // No decision in this load, as in a worker that only reads, or a second read.
            None => self.tick(None).await?.copy,
        };
        match copy {
            Some(copy) => self.shared.read(&copy).await,
            None => Ok(None),
        }
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let Some(token) = self.token() else {
            return self.create(data).await;
        };
        self.check(&token)?;
        if let Some(same) = self.shared.copy.stands_for(data) {
            match self.keep(&token, FetchMark::Confirmed, Some(&same)).await? {
                KeepReply::Alive => return Ok(()),
                KeepReply::Refused => return Err(self.lost(&token)),
                KeepReply::Other => {}
            }
        }
        self.publish(&token, FetchMark::Confirmed, data).await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        // Only a leader's load reports about the copy.
        let Some(token) = self.token() else {
            return Ok(());
        };
        let kept = self.keep_or_put_back(&token, &outcome).await;
        let Some(duration) = outcome.step_down_for() else {
            return kept;
        };
        self.load().token = None;
        self.lead.step_down_until(duration);
        kept.and(self.release().await)
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.stop_tasks();
        self.load().token = None;
        self.release().await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        let Shared { keys, client, .. } = &*self.shared;
        let call = scripts::request_refresh(keys, self.lead.worker());
        client.run::<bool>("request a refresh", call).await?;
        Ok(true)
    }

    fn on_poller_attached(&self, context: PollerContext) {
        let Shared { keys, client, .. } = &*self.shared;
        // The store's connection, which all its pollers share, also receives the notifications.
        let listening = client.clone();
        client
            .listeners()
            .attach(self.lead.worker(), context.clone(), move || {
                let client = listening.clone();
                async move {
                    client.connect().await?;
                    client.closed().await;
                    Ok::<_, ProviderError>(())
                }
            });
        let renewal = renewal::renew(
            Arc::clone(&self.lead),
            client.clone(),
            Arc::clone(keys),
            context.clone(),
        );
        *self.renewal() = Some(tokio::spawn(renewal).abort_handle());
        // Set once: a provider has one poller.
        let _ = self.poller.set(context);
    }
}

impl RedisProvider {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let lead = Arc::new(Leadership::new(
            shared.config.lock_ttl,
            shared.config.response_timeout,
        ));
        Self {
            shared,
            lead,
            poller: OnceLock::new(),
            load: Mutex::default(),
            renewal: Mutex::default(),
        }
    }

    #[cfg(feature = "testing")]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs the tick script, with the attempt to acquire leadership if there is one, and reports the result to the
    /// poller.
    async fn tick(&self, bid: Option<Attempt>) -> Result<TickReply, ProviderError> {
        let Shared {
            config,
            keys,
            client,
            ..
        } = &*self.shared;
        let key = self
            .poller
            .get()
            .and_then(PollerContext::schedule)
            .and_then(|schedule| schedule.key);
        let call = scripts::tick(keys, self.lead.worker(), bid, key, config.lock_ttl);
        let seen: TickReply = client.run("ask who leads", call).await?;
        if let Some(poller) = self.poller.get() {
            let report = FleetStatus::new()
                .confirmed_ago(seen.confirmed_ago)
                .lease_ends_in(seen.lock_left.filter(|_| !seen.leads))
                .quota_limited(seen.quota_limited)
                .refresh_requested(seen.refresh_requested)
                .fleet_failure(seen.failure);
            poller.report(report);
        }
        Ok(seen)
    }

    async fn keep_or_put_back(
        &self,
        token: &str,
        outcome: &FetchOutcome,
    ) -> Result<(), ProviderError> {
        self.check(token)?;
        let mark = match outcome.failure() {
            None => FetchMark::Confirmed,
            Some(FetchErrorKind::QuotaLimited) => FetchMark::Quota(outcome.fleet_failure()),
            Some(_) => FetchMark::Failed(outcome.fleet_failure()),
        };
        let Some(data) = outcome.data() else {
            // A confirmation refers to the copy; without data there is none.
            let mark = if mark == FetchMark::Confirmed {
                FetchMark::Failed(None)
            } else {
                mark
            };
            return match self.keep(token, mark, None).await? {
                KeepReply::Refused => Err(self.lost(token)),
                KeepReply::Alive | KeepReply::Other => Ok(()),
            };
        };
        let expected = self
            .shared
            .copy
            .stands_for(data)
            .unwrap_or_else(|| Fingerprint::of_data(data));
        match self.keep(token, mark, Some(&expected)).await? {
            KeepReply::Alive => Ok(()),
            KeepReply::Refused => Err(self.lost(token)),
            KeepReply::Other => {
                let Some(staying) = self.may_stay(mark, data).await? else {
                    return self.publish(token, mark, data).await;
                };
                match self.keep(token, mark, Some(&staying)).await? {
                    KeepReply::Refused => Err(self.lost(token)),
                    // Another program changed it meanwhile; the next load repairs it.
                    KeepReply::Alive | KeepReply::Other => Ok(()),
                }
            }
        }
    }

    /// The stored copy, which is not the one last seen, if it may stay although the leader serves `data`. An invalid one
    /// is replaced.
    async fn may_stay(
        &self,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> Result<Option<Fingerprint>, ProviderError> {
        let Some(copy) = self.tick(None).await?.copy else {
            return Ok(None);
        };
        let stored = match self.shared.read(&copy).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ProviderErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(error),
        };
        let data_was_confirmed = mark == FetchMark::Confirmed;
        Ok((!restore::must_replace(&stored, data, data_was_confirmed)).then_some(copy))
    }

    async fn keep(
        &self,
        token: &str,
        mark: FetchMark,
        expected: Option<&Fingerprint>,
    ) -> Result<KeepReply, ProviderError> {
        let Shared {
            config,
            keys,
            client,
            ..
        } = &*self.shared;
        let call = scripts::keep(keys, token, config.data_ttl, mark, expected);
        client.run("keep the definitions", call).await
    }

    /// Stores `data` as the leader.
    async fn publish(
        &self,
        token: &str,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        match self.store_copy(Some(token), mark, data).await? {
            Published::Stored { .. } => Ok(()),
            Published::Refused | Published::Exists | Published::NotStaged => Err(self.lost(token)),
        }
    }

    /// Stores `data` as a worker that does not lead: only if there is no copy.
    async fn create(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        // An existing copy is expected, not an error.
        self.store_copy(None, FetchMark::Confirmed, data)
            .await
            .map(drop)
    }

    async fn store_copy(
        &self,
        token: Option<&str>,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> Result<Published, ProviderError> {
        let Shared {
            config,
            keys,
            client,
            copy,
            staging,
        } = &*self.shared;
        // The copy that the decision saw is about to be replaced.
        self.load().copy = None;
        let fingerprint = Fingerprint::of_data(data);
        // Without a token there is no copy to replace.
        let link = token.and_then(|_| copy.link(data, &fingerprint));
        let publish = |what: NewCopy<'_>| {
            let worker = self.lead.worker();
            let call = scripts::publish(
                keys,
                token,
                config.data_ttl,
                mark,
                worker,
                what,
                link.as_ref(),
            );
            client.run::<Published>("store the definitions", call)
        };
        let (length, body) = (fingerprint.length, self.shared.body());
        let staged = match token {
            Some(token) => staging.stage(token, data, length, body).await?,
            // Workers without a lock could mix their pieces.
            None => Staged::None,
        };
        let published = match staged {
            Staged::All => {
                let published = publish(NewCopy::Staged(&fingerprint)).await;
                let published = staging.usable(published, body)?;
                if let Some(Published::Stored { .. }) = published {
                    staging.succeeded();
                }
                published.unwrap_or(Published::NotStaged)
            }
            Staged::Refused => Published::Refused,
            Staged::None => Published::NotStaged,
        };
        let published = match published {
            Published::NotStaged => {
                // The JSON is dropped before the call is sent.
                let sent = publish(NewCopy::Whole(&data.to_json()));
                sent.await?
            }
            published => published,
        };
        if let Published::Stored {
            not_notified,
            unpatched,
        } = &published
        {
            copy.hold(fingerprint, data.clone());
            match unpatched {
                Some(refusal) => copy.patching().warn(&keys.patches, refusal),
                None if link.is_some() => copy.patching().clear(),
                None => {}
            }
            if let Some(refusal) = not_notified {
                let remedy = if error::is_about_permission(refusal) {
                    format!("grant `&{}` and `+publish`", keys.channel)
                } else {
                    "the server, or a proxy in front of it, rejects PUBLISH".to_owned()
                };
                tracing::warn!(
                    channel = keys.channel,
                    error = refusal,
                    "the definitions are stored, but other workers could not be notified and see them at their ticks: {remedy}"
                );
            }
        }
        Ok(published)
    }

    async fn release(&self) -> Result<(), ProviderError> {
        if !self.lead.take_release_needed() {
            return Ok(());
        }
        let Shared { keys, client, .. } = &*self.shared;
        client
            .run::<bool>(
                "release leadership",
                scripts::release(keys, self.lead.worker()),
            )
            .await
            .map(drop)
    }

    /// Fails early where the server would refuse, so that large definitions are not sent in vain.
    fn check(&self, token: &str) -> Result<(), ProviderError> {
        if self.lead.believes(token) {
            Ok(())
        } else {
            Err(self.lost(token))
        }
    }

    fn lost(&self, token: &str) -> ProviderError {
        self.lead.lose_token(token);
        // What another leader stored meanwhile is probably newer than what this worker serves.
        if let Some(poller) = self.poller.get() {
            poller.notify_changed();
        }
        let message = format!(
            "nothing was written for service `{}`: leadership was lost before the load ended; the holder of `{}` \
             stores its own definitions",
            self.shared.config.service, self.shared.keys.lock
        );
        ProviderError::new(ProviderErrorKind::Other, message)
    }

    fn token(&self) -> Option<String> {
        self.load().token.clone()
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock()
    }

    fn renewal(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.renewal.lock()
    }

    fn stop_tasks(&self) {
        if let Some(renewal) = self.renewal().take() {
            renewal.abort();
        }
        self.shared.client.listeners().detach(self.lead.worker());
    }
}
