//! The connection: opened when needed, shared by all pollers of a store, every exchange bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flagcache_core::ProviderError;
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::config::Config;
use super::error::Place;
use super::keys::Keys;
use super::scripts::Call;
use super::watch::Listeners;

/// The shared connection of a store. Cheap to clone.
///
/// Nothing is retried here: a call that fails says so, and the poller decides. A call finds the connection open, or
/// opens it; while a poller is attached, its watch opens it again in the background.
#[derive(Clone, Debug)]
pub(super) struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    place: Place,
    channel: String,
    listeners: Arc<Listeners>,
    live: watch::Sender<Option<Live>>,
    /// Held while connecting, so that many callers open one connection.
    connecting: tokio::sync::Mutex<()>,
    epochs: AtomicU64,
    /// The epoch after that of the last connection that was seen to end.
    ended: AtomicU64,
    /// Whether notices may have been missed since the last time that all listeners were told.
    missed: AtomicBool,
    /// Whether the server was seen not to speak RESP3.
    resp2: AtomicBool,
    /// Whether the missing permission for notices was told.
    told: AtomicBool,
}

/// An open connection.
#[derive(Clone, Debug)]
struct Live {
    epoch: u64,
    connection: MultiplexedConnection,
    /// RESP2 delivers notices on a second connection, which this task reads.
    _reader: Option<Arc<AbortOnDrop>>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// A link that connects to nothing yet.
    pub(super) fn new(config: Config, keys: &Keys) -> Self {
        let place = Place { endpoint: config.endpoint(), service: config.service.clone() };
        let inner = Inner {
            config,
            place,
            channel: keys.channel.clone(),
            listeners: Arc::default(),
            live: watch::Sender::new(None),
            connecting: tokio::sync::Mutex::default(),
            epochs: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            missed: AtomicBool::new(false),
            resp2: AtomicBool::new(false),
            told: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.inner.place.endpoint
    }

    pub(super) fn listeners(&self) -> &Arc<Listeners> {
        &self.inner.listeners
    }

    /// Runs a script. `doing` completes "cannot …" in an error.
    pub(super) async fn run<T: FromRedisValue>(&self, doing: &str, call: Call) -> Result<T, ProviderError> {
        self.bounded(doing, async |live| match call.command.query_async(&mut live.connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call.script.load_async(&mut live.connection).await?;
                call.command.query_async(&mut live.connection).await
            }
            result => result,
        })
        .await
    }

    /// The value of a key.
    pub(super) async fn get(&self, doing: &str, key: &str) -> Result<Option<Bytes>, ProviderError> {
        self.bounded(doing, async |live| {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(&mut live.connection).await?;
            Ok(value.map(Bytes::from))
        })
        .await
    }

    /// Opens the connection if it is not open.
    pub(super) async fn connect(&self) -> Result<(), ProviderError> {
        self.bounded("connect", async |_| Ok(())).await
    }

    /// Waits until the connection is not open.
    pub(super) async fn closed(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.inner.live.subscribe().wait_for(Option::is_none).await;
    }

    /// One exchange within the response limit. One that is cut leaves a connection of unknown state, perhaps to a
    /// server that is gone without a word, so the next exchange opens a new one.
    async fn bounded<T>(
        &self,
        doing: &str,
        exchange: impl AsyncFnOnce(&mut Live) -> RedisResult<T>,
    ) -> Result<T, ProviderError> {
        let limit = self.inner.config.response_limit;
        let mut used = None;
        let whole = async {
            let mut live = self.inner.live().await?;
            used = Some(live.epoch);
            exchange(&mut live).await
        };
        let result = tokio::time::timeout(limit, whole).await;
        let broken = match &result {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => {
                // A primary that was demoted answers, but is the wrong server now: the name may lead to the new one.
                error.is_unrecoverable_error() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            }
            Err(_) => true,
        };
        if broken {
            self.inner.missed.store(true, Ordering::Relaxed);
            if let Some(epoch) = used {
                self.inner.lost(epoch);
            }
        }
        match result {
            Ok(result) => result.map_err(|error| self.inner.place.refused(doing, error)),
            Err(_) => Err(self.inner.place.silent(doing, limit)),
        }
    }
}

impl Inner {
    async fn live(self: &Arc<Self>) -> RedisResult<Live> {
        if let Some(live) = self.live.borrow().clone() {
            return Ok(live);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(live) = self.live.borrow().clone() {
            return Ok(live);
        }
        let live = self.open().await?;
        self.live.send_replace(Some(live.clone()));
        // It may have ended before it was there to be taken away.
        if self.ended.load(Ordering::SeqCst) > live.epoch {
            self.lost(live.epoch);
        }
        // A notice may have been missed while there was no connection; the pollers compare what they hold.
        if self.missed.swap(false, Ordering::Relaxed) {
            self.listeners.notify_all();
        }
        Ok(live)
    }

    fn lost(&self, epoch: u64) {
        self.ended.fetch_max(epoch + 1, Ordering::SeqCst);
        // Dropped after the lock is released: what ends with the connection is not ours to know.
        let mut lost = None;
        self.live.send_if_modified(|live| {
            lost = live.take_if(|live| live.epoch == epoch);
            if lost.is_some() {
                self.missed.store(true, Ordering::Relaxed);
            }
            lost.is_some()
        });
    }

    async fn open(self: &Arc<Self>) -> RedisResult<Live> {
        install_crypto(self.config.server.addr());
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let wanted = self.config.server.redis_settings().protocol();
        if wanted != ProtocolVersion::RESP2 && !self.resp2.load(Ordering::Relaxed) {
            match self.open_resp3(epoch).await {
                Err(error) if speaks_no_resp3(&error) => {
                    self.resp2.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        self.open_resp2(epoch).await
    }

    async fn open_resp3(self: &Arc<Self>, epoch: u64) -> RedisResult<Live> {
        let inner = Arc::downgrade(self);
        let heard = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            let inner = inner.upgrade().ok_or(redis::aio::SendError)?;
            match push.kind {
                PushKind::Message => {
                    if let Some(Value::BulkString(worker)) = push.data.get(1) {
                        inner.listeners.heard(worker);
                    }
                }
                PushKind::Disconnection => inner.lost(epoch),
                _ => {}
            }
            Ok(())
        };
        let config = self.connection_config().set_push_sender(heard);
        let client = Client::open(self.config.server.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        self.subscribed(connection.subscribe(&self.channel).await)?;
        Ok(Live { epoch, connection, _reader: None })
    }

    async fn open_resp2(self: &Arc<Self>, epoch: u64) -> RedisResult<Live> {
        let settings = self.config.server.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(self.config.server.clone().set_redis_settings(settings))?;
        let (mut sink, mut notices) = client.get_async_pubsub().await?.split();
        self.subscribed(sink.subscribe(&self.channel).await)?;
        let connection = client.get_multiplexed_async_connection_with_config(&self.connection_config()).await?;
        let inner = Arc::downgrade(self);
        let reader = tokio::spawn(async move {
            // The connection closes when its subscribing end goes.
            let _sink = sink;
            while let Some(notice) = notices.next().await {
                let Some(inner) = inner.upgrade() else { return };
                inner.listeners.heard(notice.get_payload_bytes());
            }
            if let Some(inner) = inner.upgrade() {
                inner.lost(epoch);
            }
        });
        Ok(Live { epoch, connection, _reader: Some(Arc::new(AbortOnDrop(reader.abort_handle()))) })
    }

    /// A user who may not subscribe is served all the same, at its ticks.
    fn subscribed(&self, result: Result<(), RedisError>) -> RedisResult<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        service = self.place.service,
                        channel = self.channel,
                        "the Redis user may not subscribe to the channel of changes; this worker sees changes only at \
                         its ticks; grant `&{}` and `+subscribe`",
                        self.channel
                    );
                }
                Ok(())
            }
            result => result,
        }
    }

    /// No limits of its own: each exchange has ours around it.
    fn connection_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new().set_connection_timeout(None::<Duration>).set_response_timeout(None::<Duration>)
    }
}

/// The redis crate knows the answer of servers before 6, not that of a proxy or of a later server without HELLO.
fn speaks_no_resp3(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || (detail.starts_with("unknown command") && detail.contains("HELLO"))
}

/// TLS needs a process-wide crypto provider, which the application may have chosen; if it has not, ring is taken.
fn install_crypto(address: &ConnectionAddr) {
    if matches!(address, ConnectionAddr::TcpTls { .. }) && rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
