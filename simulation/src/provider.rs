//! [`Provider`]: a store on the modelled Redis, written against the public trait. It follows the Redis store step by step
//! (`flagcache-providers/src/redis/provider.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use flagcache::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FleetStatus, PollerContext,
    ProviderError, ProviderErrorKind,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::api::{version_of, without_flag};
use crate::costs::{Costs, PIECE};
use crate::link::{Link, RESPONSE_TIMEOUT};
use crate::plant::Plant;
use crate::redis::{Attempt, Copy, Kept, Mark, Message, Redis, Served, Tick, Token};
use crate::world::{LOCK_TTL, World};

/// The provider of one worker.
pub(crate) struct Provider {
    world: Arc<World>,
    link: Arc<Link>,
    lead: Arc<Mutex<Leadership>>,
    load: Mutex<Load>,
    held: Mutex<Held>,
}

/// The worker's view of the lock.
#[derive(Debug)]
struct Leadership {
    number: u64,
    /// The token and the end of the lease.
    lease: Option<(Token, Instant)>,
    may_hold: bool,
    out_until: Option<Instant>,
    saw_clock: bool,
    load_began: Instant,
    renewing: bool,
}

/// The current load.
#[derive(Debug, Default)]
struct Load {
    copy: Option<Option<Arc<Copy>>>,
    token: Option<Token>,
}

/// The copy that this process holds.
#[derive(Debug, Default)]
struct Held {
    copy: Option<Arc<Copy>>,
    /// For [`Plant::ReturnsOldCopy`].
    before: Option<Arc<Copy>>,
    reads: u64,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.link.kill();
    }
}

impl Provider {
    pub(crate) fn new(world: &Arc<World>, link: &Arc<Link>) -> Self {
        let lead = Leadership {
            number: 0,
            lease: None,
            may_hold: false,
            out_until: None,
            saw_clock: false,
            load_began: Instant::now(),
            renewing: false,
        };
        Self {
            world: Arc::clone(world),
            link: Arc::clone(link),
            lead: Arc::new(Mutex::new(lead)),
            load: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// An attempt to acquire the lock, unless the worker has stepped down.
    fn attempt(&self) -> Option<Attempt> {
        let now = Instant::now();
        let mut lead = self.lead.lock();
        lead.load_began = now;
        if lead.out_until.is_some_and(|until| now < until) {
            return None;
        }
        lead.out_until = None;
        lead.number += 1;
        lead.may_hold = true;
        let expires = lead.saw_clock.then(|| now + RESPONSE_TIMEOUT);
        Some(Attempt {
            number: lead.number,
            expires,
        })
    }

    async fn tick(&self, attempt: Option<Attempt>) -> Result<Tick, ProviderError> {
        let process = self.link.process;
        let world = &self.world;
        let call = |redis: &mut Redis| {
            let (served, tick) = redis.tick(process, attempt);
            if tick.leads {
                world.checks.lock().lease(process, served.at + LOCK_TTL);
            }
            (served, tick)
        };
        let tick = world.exchange(&self.link, call).await?;
        if let Some(context) = self.link.context() {
            let report = FleetStatus::new()
                .confirmed_ago(tick.confirmed_ago)
                .lease_ends_in(tick.lock_left.filter(|_| !tick.leads))
                .fleet_failure(tick.failure)
                .refresh_requested(tick.refresh);
            context.report(report);
        }
        Ok(tick)
    }

    /// Reads the copy that a tick saw, unless the process holds it: by patches, or whole.
    async fn read(&self, seen: &Arc<Copy>) -> Result<Option<Arc<Copy>>, ProviderError> {
        let held = self.held.lock().copy.clone();
        let plant = self.world.plan.plant;
        if let Some(held) = &held
            && (held.id == seen.id || plant == Some(Plant::KeepsOldCopy))
        {
            return Ok(Some(self.planted(held)));
        }
        if let Some(held) = held {
            let patched = self
                .world
                .exchange(&self.link, |redis| match redis.patch(held.id) {
                    Some((served, copy)) => (served, Some(copy)),
                    // Answered by the tick already, which names the oldest patch.
                    None => {
                        let now = Instant::now();
                        (
                            Served {
                                at: now,
                                reply: now,
                            },
                            None,
                        )
                    }
                });
            if let Some(copy) = patched.await? {
                self.hold(&copy);
                return Ok(Some(copy));
            }
        }
        let length = self.world.plan.copy_bytes;
        let mut from = 0;
        let mut copy = None;
        while from < length {
            let piece = (length - from).min(PIECE);
            from += piece;
            copy = self
                .world
                .exchange(&self.link, |redis| redis.read(piece, from >= length))
                .await?;
        }
        let Some(copy) = copy else { return Ok(None) };
        let nanos = self.world.redis.lock().costs.nanos_per_decoded_byte;
        sleep(Costs::of_bytes(length, nanos)).await;
        self.hold(&copy);
        Ok(Some(copy))
    }

    fn planted(&self, copy: &Arc<Copy>) -> Arc<Copy> {
        let mut held = self.held.lock();
        held.reads += 1;
        match &held.before {
            Some(before)
                if self.world.plan.plant == Some(Plant::ReturnsOldCopy)
                    && held.reads.is_multiple_of(3) =>
            {
                Arc::clone(before)
            }
            _ => Arc::clone(copy),
        }
    }

    fn hold(&self, copy: &Arc<Copy>) {
        let mut held = self.held.lock();
        if let Some(before) = held.copy.replace(Arc::clone(copy)) {
            held.before = Some(before);
        }
    }

    /// The id of the copy that the process holds, if it stands for `data`.
    fn stands_for(&self, data: &FlagDefinitionCacheData) -> Option<u64> {
        self.held
            .lock()
            .copy
            .as_ref()
            .filter(|copy| copy.data.same_content(data) && copy.data.etag() == data.etag())
            .map(|copy| copy.id)
    }

    async fn store(
        &self,
        token: Option<Token>,
        mark: Mark,
        data: &FlagDefinitionCacheData,
    ) -> Result<bool, ProviderError> {
        self.load.lock().copy = None;
        let (id, version) = (self.stands_for(data), version_of(data).unwrap_or_default());
        let length = self.world.plan.copy_bytes;
        let process = self.link.process;
        let world = &self.world;
        let call = |redis: &mut Redis| {
            let (served, copy) = redis.publish(token, mark, id, (version, data), length);
            if copy.is_some() {
                world.notify_fleet(redis, served.at, process, Message::Changed);
                world.checks.lock().published(version, served.at);
            }
            (served, copy)
        };
        let stored = world.exchange(&self.link, call).await?;
        if let Some(copy) = &stored {
            self.hold(copy);
        }
        Ok(stored.is_some())
    }

    async fn keep_or_restore(
        &self,
        token: Token,
        outcome: &FetchOutcome,
    ) -> Result<(), ProviderError> {
        let mark = match outcome.failure() {
            None => Mark::Confirmed,
            Some(_) => Mark::Failed(outcome.fleet_failure()),
        };
        let Some(data) = outcome.data() else {
            let mark = Mark::Failed(outcome.fleet_failure());
            self.keep(token, mark, None).await?;
            return Ok(());
        };
        let expected = self.stands_for(data).unwrap_or(u64::MAX);
        if self.keep(token, mark, Some(expected)).await? == Kept::Alive {
            return Ok(());
        }
        let stored = match self.tick(None).await?.copy {
            Some(copy) => self.read(&copy).await?,
            None => None,
        };
        let confirmed = matches!(mark, Mark::Confirmed);
        let newer = |copy: &Arc<Copy>| Some(copy.version) > version_of(data);
        let same =
            |copy: &Arc<Copy>| copy.data.same_content(data) && copy.data.etag() == data.etag();
        match stored.filter(|copy| same(copy) || (!confirmed && newer(copy))) {
            Some(staying) => self.keep(token, mark, Some(staying.id)).await.map(drop),
            None => self.publish(token, mark, data).await,
        }
    }

    async fn keep(
        &self,
        token: Token,
        mark: Mark,
        expected: Option<u64>,
    ) -> Result<Kept, ProviderError> {
        let kept = self
            .world
            .exchange(&self.link, |redis| redis.keep(token, mark, expected))
            .await?;
        match kept {
            Kept::Refused => Err(self.lost(token)),
            kept => Ok(kept),
        }
    }

    async fn publish(
        &self,
        token: Token,
        mark: Mark,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        match self.store(Some(token), mark, data).await? {
            true => Ok(()),
            false => Err(self.lost(token)),
        }
    }

    /// The token of the load, if its lease is valid.
    fn token(&self) -> Option<Result<Token, ProviderError>> {
        let token = self.load.lock().token?;
        let lease = self.lead.lock().lease;
        let valid = lease.is_some_and(|(held, ends)| held == token && Instant::now() < ends);
        Some(if valid {
            Ok(token)
        } else {
            Err(self.lost(token))
        })
    }

    fn lost(&self, token: Token) -> ProviderError {
        let mut lead = self.lead.lock();
        if lead.lease.is_some_and(|(held, _)| held == token) && lead.number == token.number {
            lead.lease = None;
        }
        drop(lead);
        if let Some(context) = self.link.context() {
            context.notify_changed();
        }
        ProviderError::new(
            ProviderErrorKind::Other,
            "nothing was written: leadership was lost before the load ended",
        )
    }

    async fn release(&self) -> Result<(), ProviderError> {
        {
            let mut lead = self.lead.lock();
            lead.lease = None;
            if !std::mem::take(&mut lead.may_hold) {
                return Ok(());
            }
        }
        let process = self.link.process;
        let world = &self.world;
        let call = |redis: &mut Redis| {
            let (served, released) = redis.release(process);
            if released {
                world.checks.lock().lease_released(process);
                world.notify_fleet(redis, served.at, process, Message::Changed);
            }
            (served, ())
        };
        world.exchange(&self.link, call).await
    }

    /// The attempt of a load succeeded. Begins to renew the lock.
    fn won(&self, number: u64, sent: Instant) -> Option<Token> {
        let ends = sent + LOCK_TTL;
        if Instant::now() >= ends {
            return None;
        }
        let token = Token {
            process: self.link.process,
            number,
        };
        let mut lead = self.lead.lock();
        lead.lease = Some((token, ends));
        if !std::mem::replace(&mut lead.renewing, true) {
            let (world, link) = (Arc::clone(&self.world), Arc::clone(&self.link));
            tokio::spawn(renew(world, link, Arc::clone(&self.lead)));
        }
        Some(token)
    }
}

/// Renews the lock each third of its TTL, while the poller runs loads.
async fn renew(world: Arc<World>, link: Arc<Link>, lead: Arc<Mutex<Leadership>>) {
    let current = || {
        let lease = lead.lock().lease;
        lease.filter(|(_, ends)| Instant::now() < *ends)
    };
    while current().is_some() && !link.is_dead() {
        sleep(LOCK_TTL / 3).await;
        let Some(schedule) = link.context().and_then(PollerContext::schedule) else {
            break;
        };
        if lead.lock().load_began.elapsed() > schedule.poll_interval * 2 + schedule.fetch_backoff {
            break;
        }
        let Some((token, _)) = current() else { break };
        let sent = Instant::now();
        let call = |redis: &mut Redis| {
            let (served, renewed) = redis.renew(token);
            if renewed {
                world
                    .checks
                    .lock()
                    .lease(token.process, served.at + LOCK_TTL);
            }
            (served, renewed)
        };
        let renewed = world.exchange(&link, call).await;
        let mut lead = lead.lock();
        let number = lead.number;
        match (renewed, &mut lead.lease) {
            (Ok(true), Some((held, ends))) if held.number == token.number => {
                *ends = (*ends).max(sent + LOCK_TTL);
            }
            (Ok(false), lease @ Some(_)) if number == token.number => {
                *lease = None;
                if let Some(context) = link.context() {
                    context.notify_changed();
                }
            }
            _ => {}
        }
    }
    lead.lock().renewing = false;
}

#[async_trait]
impl FlagDefinitionCacheProvider for Provider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        *self.load.lock() = Load::default();
        let attempt = self.attempt();
        let sent = Instant::now();
        let seen = self.tick(attempt).await.inspect_err(|_| {
            self.link.set_leads(false);
        })?;
        self.lead.lock().saw_clock = true;
        let token = match attempt {
            Some(attempt) if seen.leads => self.won(attempt.number, sent),
            _ => {
                let mut lead = self.lead.lock();
                lead.lease = None;
                lead.may_hold = false;
                None
            }
        };
        let leads = token.is_some();
        if !self.link.set_leads(leads) && leads {
            self.world.checks.lock().acquired(self.link.slot);
        }
        *self.load.lock() = Load {
            copy: Some(seen.copy),
            token,
        };
        Ok(leads)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let known = self.load.lock().copy.take();
        let copy = match known {
            Some(copy) => copy,
            None => self.tick(None).await?.copy,
        };
        let Some(copy) = copy else { return Ok(None) };
        let read = self.read(&copy).await?;
        let loses =
            |copy: &Copy| self.world.plan.plant == Some(Plant::LosesFlag) && copy.version > 1;
        Ok(read.and_then(|copy| {
            if loses(&copy) {
                without_flag(&copy.data)
            } else {
                Some(copy.data.clone())
            }
        }))
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
            // A worker that does not lead only fills an empty store.
            return self.store(None, Mark::Confirmed, data).await.map(drop);
        };
        let token = token?;
        if let Some(same) = self.stands_for(data)
            && self.keep(token, Mark::Confirmed, Some(same)).await? == Kept::Alive
        {
            return Ok(());
        }
        self.publish(token, Mark::Confirmed, data).await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        let Some(token) = self.token() else {
            return Ok(());
        };
        let kept = match token {
            Ok(token) => self.keep_or_restore(token, &outcome).await,
            Err(error) => Err(error),
        };
        let Some(duration) = outcome.step_down_for() else {
            return kept;
        };
        self.load.lock().token = None;
        {
            let mut lead = self.lead.lock();
            lead.lease = None;
            lead.out_until = Some(Instant::now() + duration);
        }
        kept.and(self.release().await)
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        let process = self.link.process;
        let world = &self.world;
        let call = |redis: &mut Redis| {
            let (served, notifies) = redis.request_refresh();
            if notifies {
                world.notify_fleet(redis, served.at, process, Message::Refresh);
            }
            (served, true)
        };
        world.exchange(&self.link, call).await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.load.lock().token = None;
        let released = self.release().await;
        self.link.kill();
        self.link.lost();
        released
    }

    fn on_poller_attached(&self, context: PollerContext) {
        // The first load, which is due at once, opens the connection.
        self.link.attach(context);
    }
}
