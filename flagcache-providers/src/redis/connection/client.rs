//! [`Client`]: the connection of a store. Opened when needed, shared by all its pollers; every exchange has a timeout.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flagcache_core::ProviderError;
use redis::{ConnectionInfo, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::watch;

use super::super::builder::Config;
use super::super::error::{Failure, Party, Place};
use super::super::keys::Keys;
use super::call::Call;
use super::connector::Connection;
use super::endpoint::{Endpoint, redirected};
use super::rate_limit::RateLimit;
use crate::NotificationListener;

/// Limits how often all pollers are notified because they may have missed a notification: a burst, then one per pause.
const TELLINGS: u32 = 5;
const TELLINGS_PAUSE: Duration = Duration::from_secs(30);

/// The epoch before the first connection.
const NO_EPOCH: u64 = 0;

/// The shared connection of a store. Cheap to clone.
///
/// A failed call returns an error, and the poller decides what to do. Only if an open connection turns out to be
/// closed, as servers and proxies close idle ones, is a call repeated, on a new connection. A call opens the connection
/// if necessary; while a poller is attached, its watch reopens it in the background.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Client {
    inner: Arc<Inner>,
}

/// The state that the clones of a client share; `connector.rs` opens the connection.
#[derive(Debug)]
pub(in crate::redis) struct Inner {
    pub(in crate::redis) config: Config,
    pub(in crate::redis) place: Place,
    pub(in crate::redis) data: String,
    pub(in crate::redis) channel: String,
    pub(in crate::redis) listeners: NotificationListener,
    live: watch::Sender<Option<Connection>>,
    /// Held while connecting, so that many callers open one connection.
    connecting: tokio::sync::Mutex<()>,
    /// The node of a cluster that another one redirected to.
    pub(in crate::redis) pointed_to: Mutex<Option<ConnectionInfo>>,
    pub(in crate::redis) epochs: AtomicU64,
    /// Whether notifications may have been missed since all listeners were last notified.
    missed: AtomicBool,
    tellings: RateLimit,
    /// Whether the server does not support RESP3.
    pub(in crate::redis) resp2: AtomicBool,
    /// Whether the lack of notifications was logged.
    pub(in crate::redis) warned: AtomicBool,
}

impl Client {
    /// A client without a connection yet.
    pub(in crate::redis) fn new(config: Config, keys: &Keys) -> Self {
        let place = Place {
            endpoint: config.endpoint.to_string(),
            service: config.service.clone(),
            commands: config.endpoint.commands(),
        };
        let inner = Inner {
            config,
            place,
            data: keys.data.clone(),
            channel: keys.channel.clone(),
            listeners: NotificationListener::new(),
            live: watch::Sender::new(None),
            connecting: tokio::sync::Mutex::default(),
            pointed_to: Mutex::default(),
            epochs: AtomicU64::new(NO_EPOCH),
            missed: AtomicBool::new(false),
            tellings: RateLimit::new(TELLINGS, TELLINGS_PAUSE),
            resp2: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(in crate::redis) fn endpoint(&self) -> &str {
        &self.inner.place.endpoint
    }

    pub(in crate::redis) fn listeners(&self) -> &NotificationListener {
        &self.inner.listeners
    }

    /// Runs one command, on whichever server has the keys. `doing` completes "cannot …" in an error.
    pub(in crate::redis) async fn run<T: FromRedisValue>(
        &self,
        doing: &str,
        call: Call,
    ) -> Result<T, ProviderError> {
        let used = AtomicU64::new(NO_EPOCH);
        self.bounded(doing, &used, self.inner.exchange(&call, &used))
            .await
    }

    /// Opens the connection if it is not open.
    pub(in crate::redis) async fn connect(&self) -> Result<(), ProviderError> {
        let opened = async { self.inner.live().await.map(drop) };
        self.bounded("connect", &AtomicU64::new(NO_EPOCH), opened)
            .await
    }

    /// Waits until the connection is closed.
    pub(in crate::redis) async fn closed(&self) {
        // Cannot fail: `self` keeps the sender.
        let _ = self.inner.live.subscribe().wait_for(Option::is_none).await;
    }

    /// One exchange with the response timeout. A timed-out one leaves a connection of unknown state, perhaps to an
    /// unreachable server, so the next exchange opens a new one. `used` is the epoch of the connection.
    async fn bounded<T>(
        &self,
        doing: &str,
        used: &AtomicU64,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, ProviderError> {
        let limit = self.inner.config.response_timeout;
        let result = tokio::time::timeout(limit, exchange).await;
        let broken = match &result {
            Ok(Ok(_)) => false,
            Ok(Err(failure)) => {
                is_elsewhere(&failure.error) || failure.error.is_unrecoverable_error()
            }
            Err(_) => true,
        };
        let epoch = used.load(Ordering::Relaxed);
        if broken {
            self.inner.missed.store(true, Ordering::Relaxed);
            self.inner.lost(epoch);
        }
        match result {
            Ok(result) => result.map_err(|failure| self.inner.place.refused(doing, failure)),
            Err(_) => Err(self.inner.place.silent(doing, limit, epoch != NO_EPOCH)),
        }
    }
}

impl Inner {
    async fn live(self: &Arc<Self>) -> Result<Connection, Failure> {
        if let Some(live) = self.live.borrow().clone() {
            return Ok(live);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(live) = self.live.borrow().clone() {
            return Ok(live);
        }
        let live = self.open().await?;
        self.live.send_replace(Some(live.clone()));
        // It may have ended before it was registered.
        if live.ended.load(Ordering::SeqCst) {
            self.lost(live.epoch);
        }
        // A notification may have been missed while disconnected, so the pollers load. Limited, because such loads
        // could themselves close one connection after the other.
        if self.missed.load(Ordering::Relaxed) && self.tellings.take() {
            self.missed.store(false, Ordering::Relaxed);
            self.listeners.notify_all();
        }
        Ok(live)
    }

    /// Sends `call`, and returns the epoch of the connection used.
    async fn exchange<T: FromRedisValue>(
        self: &Arc<Self>,
        call: &Call,
        used: &AtomicU64,
    ) -> Result<T, Failure> {
        let (mut followed, mut repeated) = (false, false);
        loop {
            let open_before = self.live.borrow().as_ref().map(|live| live.epoch);
            let mut live = self.live().await?;
            used.store(live.epoch, Ordering::Relaxed);
            match self.send(&mut live, call).await {
                Ok(value) => return Ok(value),
                // Safe to repeat: the node only redirected.
                Err(error) if !followed && self.follow(&live, &error) => followed = true,
                Err(error)
                    if !repeated
                        && call.is_repeatable()
                        && open_before == Some(live.epoch)
                        && error.is_connection_dropped() =>
                {
                    repeated = true;
                    self.lost(live.epoch);
                }
                Err(error) => return Err(Failure::of_call(call, self.party(&live.server), error)),
            }
        }
    }

    async fn send<T: FromRedisValue>(&self, live: &mut Connection, call: &Call) -> RedisResult<T> {
        let error = match call.send(&mut live.connection, false).await {
            Err(error)
                if self.is_cluster() && error.kind() == ErrorKind::Server(ServerErrorKind::Ask) =>
            {
                error
            }
            result => return result,
        };
        // The slot is being moved to another node, which has these keys already.
        let Some(node) = redirected(&live.server, &error) else {
            return Err(error);
        };
        call.send(&mut self.open_plain(&node).await?, true).await
    }

    /// Whether `error` redirects to another node of the cluster; the connection is then opened to that.
    fn follow(&self, live: &Connection, error: &RedisError) -> bool {
        if !self.is_cluster() || error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
            return false;
        }
        *self
            .pointed_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = redirected(&live.server, error);
        self.lost(live.epoch);
        true
    }

    fn is_cluster(&self) -> bool {
        matches!(self.config.endpoint, Endpoint::Cluster(_))
    }

    pub(in crate::redis) fn party(&self, server: &ConnectionInfo) -> Party {
        match self.config.endpoint {
            Endpoint::Single(_) => Party::Primary,
            Endpoint::Sentinel(_) | Endpoint::Cluster(_) => Party::Found(server.addr().to_string()),
        }
    }

    pub(in crate::redis) fn lost(&self, epoch: u64) {
        // Dropped after the lock is released, because the drop may run foreign code.
        let mut lost = None;
        self.live.send_if_modified(|live| {
            lost = live.take_if(|live| live.epoch == epoch);
            if lost.is_some() {
                self.missed.store(true, Ordering::Relaxed);
            }
            lost.is_some()
        });
    }
}

/// Whether the server answers, but does not have the keys any more: a demoted primary, or a node whose slot was moved.
/// The name, the Sentinels or the cluster may lead to the right one.
pub(in crate::redis) fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, Moved, ReadOnly};
    matches!(
        error.kind(),
        ErrorKind::Server(ReadOnly | Moved | ClusterDown)
    )
}
