//! Opens the connection: finds the primary, connects and subscribes.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use futures_util::{FutureExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{
    Client, ConnectionInfo, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind, Value,
};

use super::super::error::{Failure, Party, Place};
use super::config::Config;
use super::connection::{AbortOnDrop, Connection, CurrentConnection, NO_EPOCH};
use super::credentials::is_unauthenticated;
use super::endpoint::{Endpoint, Sentinels, connection_config, redirected};
use super::keys::Keys;
use super::race;
use super::tls::install_crypto;
use crate::NotificationListener;

/// Opens connections to the primary of a store, and subscribes there.
#[derive(Debug)]
pub(in crate::redis) struct Connector {
    pub(in crate::redis) config: Config,
    pub(in crate::redis) place: Place,
    pub(in crate::redis) listeners: NotificationListener,
    pub(in crate::redis) current: CurrentConnection,
    data: String,
    channel: String,
    /// The node of a cluster that another one redirected to.
    pointed_to: Mutex<Option<ConnectionInfo>>,
    epochs: AtomicU64,
    /// Whether the server does not support RESP3.
    resp2: AtomicBool,
    /// Whether the lack of notifications was logged.
    warned: AtomicBool,
}

/// Removes a connection that has ended, on drop. Owned by the task that serves it, so that it also happens when that
/// task's runtime ends: pollers may have different runtimes, and the connection serves them all.
struct End {
    epoch: u64,
    connector: Weak<Connector>,
    ended: Arc<AtomicBool>,
}

impl End {
    fn mark_closed(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(connector) = self.connector.upgrade() {
            connector.current.remove(self.epoch);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.mark_closed();
    }
}

impl Connector {
    /// One that connects to nothing yet.
    pub(in crate::redis) fn new(config: Config, keys: &Keys) -> Self {
        let place = Place {
            endpoint: config.endpoint.to_string(),
            service: config.service.clone(),
            commands: config.endpoint.commands(),
        };
        Self {
            config,
            place,
            listeners: NotificationListener::new(),
            current: CurrentConnection::none(),
            data: keys.data.clone(),
            channel: keys.channel.clone(),
            pointed_to: Mutex::default(),
            epochs: AtomicU64::new(NO_EPOCH),
            resp2: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        }
    }

    /// Finds the primary and opens the connection to it.
    pub(in crate::redis) async fn open(self: &Arc<Self>) -> Result<Connection, Failure> {
        let head_start = self.config.response_timeout / 10;
        let opened = match &self.config.endpoint {
            Endpoint::Single(server) => return self.open_at(server).await,
            Endpoint::Sentinel(sentinels) => {
                let by = |sentinel| self.open_by(sentinels, sentinel).boxed();
                let attempts: Vec<_> = sentinels.servers.iter().map(by).collect();
                race::first(attempts, head_start, Failure::weight).await
            }
            Endpoint::Cluster(nodes) => {
                let pointed_to = self.pointed_to.lock().take();
                let nodes = pointed_to.as_ref().into_iter().chain(nodes);
                let attempts: Vec<_> = nodes.map(|node| self.open_from(node).boxed()).collect();
                race::first(attempts, head_start, Failure::weight).await
            }
        };
        opened.map_err(|failure| {
            // The URL names at least one server, so without a success there is a failure.
            failure.unwrap_or_else(|| {
                Failure::of(
                    Party::Primary,
                    RedisError::from((ErrorKind::InvalidClientConfig, "no server is named")),
                )
            })
        })
    }

    /// The primary that a Sentinel names. An isolated Sentinel may name a former one, so the primary's role is checked.
    async fn open_by(
        self: &Arc<Self>,
        sentinels: &Sentinels,
        sentinel: &ConnectionInfo,
    ) -> Result<Connection, Failure> {
        let said = sentinels.ask(sentinel).await;
        let primary =
            said.map_err(|error| Failure::of(Party::Sentinel(sentinel.addr().to_string()), error))?;
        let mut live = self.open_at(&primary).await?;
        let role: RedisResult<Vec<Value>> =
            redis::cmd("ROLE").query_async(&mut live.connection).await;
        let failed = |error| Failure::of(self.party(&primary), error);
        match role.map_err(failed)?.into_iter().next() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(live),
            _ => Err(failed(RedisError::from((
                ErrorKind::Server(ServerErrorKind::ReadOnly),
                "it is no primary",
            )))),
        }
    }

    /// The node of a cluster that has the keys, as `node` knows it.
    async fn open_from(self: &Arc<Self>, node: &ConnectionInfo) -> Result<Connection, Failure> {
        let mut live = self.open_at(node).await?;
        let asked: RedisResult<u64> = redis::cmd("STRLEN")
            .arg(&self.data)
            .query_async(&mut live.connection)
            .await;
        match asked {
            // Other errors are ignored: the actual call will meet them again.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                match redirected(node, &error) {
                    Some(owner) => self.open_at(&owner).await,
                    None => Err(Failure::of(self.party(node), error)),
                }
            }
            Err(error) if is_elsewhere(&error) || error.is_unrecoverable_error() => {
                Err(Failure::of(self.party(node), error))
            }
            _ => Ok(live),
        }
    }

    /// Connects with the current credentials. If the server rejects them and they have been replaced, connects
    /// once more.
    async fn open_at(self: &Arc<Self>, server: &ConnectionInfo) -> Result<Connection, Failure> {
        install_crypto(server.addr());
        let Some(credentials) = &self.config.credentials else {
            return self.open_as(server).await;
        };
        // The rest of the time is for the exchange.
        let limit = self.config.response_timeout / 4;
        credentials.read_again(limit).await;
        match self.open_as(&credentials.apply(server)).await {
            Err(failure)
                if is_unauthenticated(&failure.error) && credentials.read_again(limit).await =>
            {
                self.open_as(&credentials.apply(server)).await
            }
            result => result,
        }
    }

    async fn open_as(self: &Arc<Self>, server: &ConnectionInfo) -> Result<Connection, Failure> {
        let wanted = server.redis_settings().protocol();
        if wanted != ProtocolVersion::RESP2 && !self.resp2.load(Ordering::Relaxed) {
            match self.open_resp3(server).await {
                Err(error) if refuses_resp3(&error) => {
                    let opened = self.open_resp2(server).await;
                    self.resp2.store(opened.is_ok(), Ordering::Relaxed);
                    return opened.map_err(|error| Failure::of(self.party(server), error));
                }
                // By chance, or because a proxy closes the connection at an unknown command.
                Err(error) if error.is_connection_dropped() && !error.is_connection_refusal() => {}
                result => return result.map_err(|error| Failure::of(self.party(server), error)),
            }
        }
        self.open_resp2(server)
            .await
            .map_err(|error| Failure::of(self.party(server), error))
    }

    async fn open_resp3(self: &Arc<Self>, server: &ConnectionInfo) -> RedisResult<Connection> {
        let (epoch, ended) = self.next_epoch();
        let end = End {
            epoch,
            connector: Arc::downgrade(self),
            ended: Arc::clone(&ended),
        };
        let on_push = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            let connector = end.connector.upgrade().ok_or(redis::aio::SendError)?;
            match push.kind {
                PushKind::Message => {
                    if let Some(Value::BulkString(worker)) = push.data.get(1) {
                        connector.listeners.on_message(worker);
                    }
                }
                PushKind::Disconnection => end.mark_closed(),
                _ => {}
            }
            Ok(())
        };
        let config = connection_config().set_push_sender(on_push);
        let client = Client::open(server.clone())?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        match connection.subscribe(&self.channel).await {
            // It was the only one.
            Err(error) if error.is_connection_dropped() => return Err(error),
            subscribed => self.subscribed(subscribed)?,
        };
        Ok(Connection {
            epoch,
            server: Arc::new(server.clone()),
            connection,
            ended,
            _reader: None,
        })
    }

    async fn open_resp2(self: &Arc<Self>, server: &ConnectionInfo) -> RedisResult<Connection> {
        let (epoch, ended) = self.next_epoch();
        let settings = server
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(server.clone().set_redis_settings(settings))?;
        let (mut sink, mut notifications) = client.get_async_pubsub().await?.split();
        let mut subscribed = sink.subscribe(&self.channel).await;
        if subscribed
            .as_ref()
            .is_err_and(RedisError::is_connection_dropped)
        {
            // By chance, or because a proxy answers unknown commands like this: then it does so again.
            (sink, notifications) = client.get_async_pubsub().await?.split();
            subscribed = sink.subscribe(&self.channel).await;
        }
        let subscribed = self.subscribed(subscribed)?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&connection_config())
            .await?;
        if !subscribed {
            return Ok(Connection {
                epoch,
                server: Arc::new(server.clone()),
                connection,
                ended,
                _reader: None,
            });
        }
        let end = End {
            epoch,
            connector: Arc::downgrade(self),
            ended: Arc::clone(&ended),
        };
        let reader = tokio::spawn(async move {
            // The connection closes when its subscriber is dropped.
            let _sink = sink;
            while let Some(notification) = notifications.next().await {
                let Some(connector) = end.connector.upgrade() else {
                    return;
                };
                connector
                    .listeners
                    .on_message(notification.get_payload_bytes());
            }
            // The subscriber, or its runtime, has ended.
            drop(end);
        });
        let reader = Some(Arc::new(AbortOnDrop(reader.abort_handle())));
        Ok(Connection {
            epoch,
            server: Arc::new(server.clone()),
            connection,
            ended,
            _reader: reader,
        })
    }

    /// A connection without notifications, for one exchange.
    pub(in crate::redis) async fn open_plain(
        &self,
        server: &ConnectionInfo,
    ) -> RedisResult<MultiplexedConnection> {
        let settings = server
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(server.clone().set_redis_settings(settings))?;
        client
            .get_multiplexed_async_connection_with_config(&connection_config())
            .await
    }

    /// Opens the next connection to `node` first.
    pub(in crate::redis) fn point_to(&self, node: Option<ConnectionInfo>) {
        *self.pointed_to.lock() = node;
    }

    pub(in crate::redis) fn is_cluster(&self) -> bool {
        matches!(self.config.endpoint, Endpoint::Cluster(_))
    }

    pub(in crate::redis) fn party(&self, server: &ConnectionInfo) -> Party {
        match self.config.endpoint {
            Endpoint::Single(_) => Party::Primary,
            Endpoint::Sentinel(_) | Endpoint::Cluster(_) => Party::Found(server.addr().to_string()),
        }
    }

    fn next_epoch(&self) -> (u64, Arc<AtomicBool>) {
        (
            self.epochs.fetch_add(1, Ordering::Relaxed) + 1,
            Arc::default(),
        )
    }

    /// Whether notifications arrive. Without permission or support for SUBSCRIBE a worker sees changes at its ticks.
    fn subscribed(&self, result: RedisResult<()>) -> RedisResult<bool> {
        let Err(error) = result else { return Ok(true) };
        let why = match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                format!(
                    "the Redis user may not subscribe to it; grant `&{}` and `+subscribe`",
                    self.channel
                )
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                "the server, or a proxy in front of it, rejects SUBSCRIBE".to_owned()
            }
            _ if error.is_connection_dropped() => {
                "the server, or a proxy in front of it, closes the connection at SUBSCRIBE"
                    .to_owned()
            }
            _ => return Err(error),
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                service = self.place.service,
                channel = self.channel,
                "no notifications of changes arrive, and this worker sees changes only at its ticks: {why}"
            );
        }
        Ok(false)
    }
}

/// Whether the server or a proxy rejects HELLO. The error differs.
fn refuses_resp3(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::RESP3NotSupported | ErrorKind::Server(ServerErrorKind::ResponseError)
    ) || error.code() == Some("NOPROTO")
}

/// Whether the server answers, but is not, or no more, the one that has the keys: a primary that was demoted, or a node
/// whose slot went to another. The name, the Sentinels or the cluster may lead to the right one.
pub(in crate::redis) fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, Moved, ReadOnly};
    matches!(
        error.kind(),
        ErrorKind::Server(ReadOnly | Moved | ClusterDown)
    )
}
