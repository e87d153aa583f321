//! [`Client`]: the connection of a store. Opened when needed, shared by all its pollers; every exchange has a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flagcache_core::ProviderError;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};

use super::super::error::Failure;
use super::call::Call;
use super::config::Config;
use super::connection::{Connection, NO_EPOCH};
use super::connector::{Connector, is_elsewhere};
use super::credentials::is_unauthenticated;
use super::endpoint::redirected;
use super::keys::Keys;
use super::rate_limit::RateLimit;
use crate::NotificationListener;

/// Limits how often all pollers are notified because they may have missed a notification: a burst, then one per pause.
const NOTIFICATIONS: u32 = 5;
const NOTIFICATIONS_PAUSE: Duration = Duration::from_secs(30);

/// The shared connection of a store. Cheap to clone.
///
/// A failed call returns an error, and the poller decides what to do. Only if an open connection turns out to be
/// closed, as servers and proxies close idle ones, is a call repeated, on a new connection. A call opens the connection
/// if necessary; while a poller is attached, its watch reopens it in the background.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Client {
    inner: Arc<Inner>,
}

/// The state that the clones of a client share.
#[derive(Debug)]
struct Inner {
    connector: Arc<Connector>,
    /// Held while connecting, so that many callers open one connection.
    connecting: tokio::sync::Mutex<()>,
    notifications: RateLimit,
}

impl Client {
    /// A client without a connection yet.
    pub(in crate::redis) fn new(config: Config, keys: &Keys) -> Self {
        let inner = Inner {
            connector: Arc::new(Connector::new(config, keys)),
            connecting: tokio::sync::Mutex::default(),
            notifications: RateLimit::new(NOTIFICATIONS, NOTIFICATIONS_PAUSE),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(in crate::redis) fn endpoint(&self) -> &str {
        &self.inner.connector.place.endpoint
    }

    pub(in crate::redis) fn listeners(&self) -> &NotificationListener {
        &self.inner.connector.listeners
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
        let opened = async { self.inner.connection().await.map(drop) };
        self.bounded("connect", &AtomicU64::new(NO_EPOCH), opened)
            .await
    }

    /// Waits until the connection is closed.
    pub(in crate::redis) async fn closed(&self) {
        self.inner.connector.current.closed().await;
    }

    /// One exchange with the response timeout. A timed-out one leaves a connection of unknown state, perhaps to an
    /// unreachable server, so the next exchange opens a new one. `used` is the epoch of the connection.
    async fn bounded<T>(
        &self,
        doing: &str,
        used: &AtomicU64,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, ProviderError> {
        let connector = &self.inner.connector;
        let limit = connector.config.response_timeout;
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
            connector.current.mark_missed();
            connector.current.remove(epoch);
        }
        match result {
            Ok(result) => result.map_err(|failure| connector.place.refused(doing, failure)),
            Err(_) => Err(connector.place.silent(doing, limit, epoch != NO_EPOCH)),
        }
    }
}

impl Inner {
    async fn connection(&self) -> Result<Connection, Failure> {
        let current = &self.connector.current;
        if let Some(connection) = current.get() {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = current.get() {
            return Ok(connection);
        }
        let connection = self.connector.open().await?;
        current.set(connection.clone());
        // A notification may have been missed while disconnected, so the pollers load. Limited, because such loads
        // could themselves close one connection after the other.
        if current.has_missed() && self.notifications.take() {
            current.clear_missed();
            self.connector.listeners.notify_all();
        }
        Ok(connection)
    }

    /// Sends `call`, and sets `used` to the epoch of the connection.
    async fn exchange<T: FromRedisValue>(
        &self,
        call: &Call,
        used: &AtomicU64,
    ) -> Result<T, Failure> {
        let (mut followed, mut repeated) = (false, false);
        loop {
            let open_before = self.connector.current.epoch();
            let mut connection = self.connection().await?;
            used.store(connection.epoch, Ordering::Relaxed);
            match self.send(&mut connection, call).await {
                Ok(value) => return Ok(value),
                // Safe to repeat: the node only redirected.
                Err(error) if !followed && self.follow(&connection, &error) => followed = true,
                Err(error)
                    if !repeated
                        && call.is_repeatable()
                        && open_before == Some(connection.epoch)
                        && error.is_connection_dropped() =>
                {
                    repeated = true;
                    self.connector.current.remove(connection.epoch);
                }
                // Safe to repeat: the server refused it. A new connection reads the credentials again.
                Err(error)
                    if !repeated
                        && self.connector.config.credentials.is_some()
                        && is_unauthenticated(&error) =>
                {
                    repeated = true;
                    self.connector.current.remove(connection.epoch);
                }
                Err(error) => {
                    return Err(Failure::of_call(
                        call,
                        self.connector.party(&connection.server),
                        error,
                    ));
                }
            }
        }
    }

    async fn send<T: FromRedisValue>(
        &self,
        connection: &mut Connection,
        call: &Call,
    ) -> RedisResult<T> {
        let error = match call.send(&mut connection.connection, false).await {
            Err(error)
                if self.connector.is_cluster()
                    && error.kind() == ErrorKind::Server(ServerErrorKind::Ask) =>
            {
                error
            }
            result => return result,
        };
        // The slot is being moved to another node, which has these keys already.
        let Some(node) = redirected(&connection.server, &error) else {
            return Err(error);
        };
        call.send(&mut self.connector.open_plain(&node).await?, true)
            .await
    }

    /// Whether `error` redirects to another node of the cluster; the connection is then opened to that.
    fn follow(&self, connection: &Connection, error: &RedisError) -> bool {
        if !self.connector.is_cluster() || error.kind() != ErrorKind::Server(ServerErrorKind::Moved)
        {
            return false;
        }
        self.connector
            .point_to(redirected(&connection.server, error));
        self.connector.current.remove(connection.epoch);
        true
    }
}
