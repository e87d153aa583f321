//! [`Link`]: one worker's connection to the modelled Redis: opened when needed, given up at the response timeout, reopened in
//! the background, as by the Redis store (`flagcache-providers/src/redis/connection`).

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use flagcache::{PollerContext, ProviderError, ProviderErrorKind};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::redis::{Message, Power, Process, Redis, Served};

/// The default of the Redis store.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a worker loads because it may have missed a notification: a burst, then once per pause.
const NOTIFICATIONS: u32 = 5;
const NOTIFICATIONS_PAUSE: Duration = Duration::from_secs(30);

/// The connection of one process.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) slot: usize,
    pub(crate) process: Process,
    redis: Arc<Mutex<Redis>>,
    context: OnceLock<PollerContext>,
    connecting: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Killed: nothing leaves the process any more.
    dead: bool,
    /// Cut off from Redis: packets are lost.
    cut: bool,
    /// The server's epoch in which the connection was opened, while it is open.
    open: Option<u64>,
    missed: bool,
    reopening: bool,
    notifications: u32,
    refilled: Instant,
    /// Whether the last decision was true.
    leads: bool,
}

impl Link {
    pub(crate) fn new(slot: usize, process: Process, redis: Arc<Mutex<Redis>>) -> Self {
        let state = State {
            dead: false,
            cut: false,
            open: None,
            missed: false,
            reopening: false,
            notifications: NOTIFICATIONS,
            refilled: Instant::now(),
            leads: false,
        };
        Self {
            slot,
            process,
            redis,
            context: OnceLock::new(),
            connecting: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn attach(&self, context: PollerContext) {
        // Set once: a link has one poller.
        let _ = self.context.set(context);
    }

    pub(crate) fn context(&self) -> Option<&PollerContext> {
        self.context.get()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    pub(crate) fn leads(&self) -> bool {
        self.state.lock().leads
    }

    /// Sets whether the last decision was true; returns whether the one before was.
    pub(crate) fn set_leads(&self, leads: bool) -> bool {
        std::mem::replace(&mut self.state.lock().leads, leads)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state.lock().cut
    }

    pub(crate) fn set_cut(&self, cut: bool) {
        self.state.lock().cut = cut;
    }

    pub(crate) fn kill(&self) {
        self.state.lock().dead = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.open.is_some() && !state.dead
    }

    /// A notification arrives.
    pub(crate) fn notified(&self, message: Message) {
        let state = self.state.lock();
        if state.open.is_some() && !state.cut && !state.dead {
            drop(state);
            match message {
                Message::Changed => self.notify(),
                Message::Refresh => {
                    if let Some(context) = self.context.get() {
                        context.notify_refresh_requested();
                    }
                }
            }
        }
    }

    fn notify(&self) {
        if let Some(context) = self.context.get() {
            context.notify_changed();
        }
    }

    /// Sends a call, and waits for its reply for at most the response timeout, connecting included.
    pub(crate) async fn exchange<T>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut Redis) -> (Served, T),
    ) -> Result<T, ProviderError> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let epoch = self.connect(deadline).await?;
        self.send(deadline, Some(epoch), call).await
    }

    /// One exchange with the server. `epoch` is that of the connection; without one it opens the connection.
    async fn send<T>(
        self: &Arc<Self>,
        deadline: Instant,
        epoch: Option<u64>,
        call: impl FnOnce(&mut Redis) -> (Served, T),
    ) -> Result<T, ProviderError> {
        if self.is_dead() {
            return Err(refused());
        }
        if self.is_cut() {
            return self.give_up(deadline).await;
        }
        let sent = {
            let mut redis = self.redis.lock();
            let up = redis.power == Power::Up;
            up.then(|| (redis.epoch, call(&mut redis)))
        };
        let Some((sent_in, (served, value))) = sent else {
            self.lost();
            return Err(refused());
        };
        if epoch.is_some_and(|epoch| epoch != sent_in) || served.reply > deadline {
            return self.give_up(deadline).await;
        }
        sleep_until(served.reply).await;
        if self.is_cut() {
            return self.give_up(deadline).await;
        }
        if self.redis.lock().epoch != sent_in {
            self.lost();
            return Err(refused());
        }
        Ok(value)
    }

    async fn give_up<T>(self: &Arc<Self>, deadline: Instant) -> Result<T, ProviderError> {
        sleep_until(deadline).await;
        self.lost();
        let message = format!("the modelled Redis did not answer within {RESPONSE_TIMEOUT:?}");
        Err(ProviderError::new(ProviderErrorKind::Unavailable, message))
    }

    /// Opens the connection if it is not open; returns its epoch.
    async fn connect(self: &Arc<Self>, deadline: Instant) -> Result<u64, ProviderError> {
        let open = || self.state.lock().open;
        if let Some(epoch) = open() {
            return Ok(epoch);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(epoch) = open() {
            return Ok(epoch);
        }
        let (up, full) = {
            let redis = self.redis.lock();
            (redis.power == Power::Up, redis.is_full())
        };
        if up && full && !self.is_dead() {
            return self.give_up(deadline).await;
        }
        let epoch = self
            .send(deadline, None, |redis| (redis.connect(), redis.epoch))
            .await?;
        self.redis.lock().load.connections += 1;
        let missed = {
            let mut state = self.state.lock();
            state.open = Some(epoch);
            state.missed && state.take_notification()
        };
        if missed {
            self.state.lock().missed = false;
            self.notify();
        }
        Ok(epoch)
    }

    /// The connection is closed. It is reopened in the background.
    pub(crate) fn lost(self: &Arc<Self>) {
        let (closed, reopens) = {
            let mut state = self.state.lock();
            state.missed = true;
            let closed = state.open.take();
            (
                closed,
                !state.dead && !std::mem::replace(&mut state.reopening, true),
            )
        };
        {
            let mut redis = self.redis.lock();
            if closed == Some(redis.epoch) {
                redis.load.connections -= 1;
            }
        }
        if !reopens {
            return;
        }
        tokio::spawn(reopen(Arc::clone(self)));
    }
}

impl State {
    fn take_notification(&mut self) -> bool {
        let now = Instant::now();
        while self.notifications < NOTIFICATIONS && now >= self.refilled + NOTIFICATIONS_PAUSE {
            self.refilled += NOTIFICATIONS_PAUSE;
            self.notifications += 1;
        }
        if self.notifications == NOTIFICATIONS {
            self.refilled = now;
        }
        let left = self.notifications > 0;
        self.notifications = self.notifications.saturating_sub(1);
        left
    }
}

async fn reopen(link: Arc<Link>) {
    let mut pause = FIRST_PAUSE;
    while !link.is_dead() {
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        if link.connect(deadline).await.is_ok() {
            break;
        }
    }
    link.state.lock().reopening = false;
}

fn refused() -> ProviderError {
    let message = "the modelled Redis refuses connections; it starts again by itself";
    ProviderError::new(ProviderErrorKind::Unavailable, message)
}
