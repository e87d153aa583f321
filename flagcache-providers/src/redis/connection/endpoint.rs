//! [`Endpoint`]: how to find the primary of a service.

use std::fmt;
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion,
    RedisError, RedisResult,
};

use super::tls::install_crypto;

/// The servers of a store. All keys of a service are on one primary, which is looked up whenever the connection is
/// opened.
#[derive(Clone, Debug)]
pub(in crate::redis) enum Endpoint {
    /// The primary itself.
    Single(ConnectionInfo),
    /// Sentinels, which name the primary.
    Sentinel(Sentinels),
    /// Nodes of a cluster, each of which names the node with the service's slot.
    ///
    /// One slot is on one node at any time, so one connection suffices: the redis crate's cluster client would hold one
    /// to every node, in every worker of the fleet.
    /// cluster client holds, would be paid by the whole fleet.
    Cluster(Vec<ConnectionInfo>),
}

/// The Sentinels that monitor a primary.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Sentinels {
    pub(in crate::redis) servers: Vec<ConnectionInfo>,
    /// The name by which they monitor it.
    pub(in crate::redis) primary: String,
    /// The settings of a connection to the primary. Its address is that of a Sentinel.
    pub(in crate::redis) template: ConnectionInfo,
}

impl Sentinels {
    /// The primary, according to `sentinel`.
    pub(in crate::redis) async fn ask(
        &self,
        sentinel: &ConnectionInfo,
    ) -> RedisResult<ConnectionInfo> {
        install_crypto(sentinel.addr());
        let client = Client::open(sentinel.clone())?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&connection_config())
            .await?;
        let address: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.primary)
            .query_async(&mut connection)
            .await?;
        let Some((host, port)) = address else {
            return Err(RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "no primary of that name",
            )));
        };
        Ok(at(&self.template, host, port))
    }
}

impl Endpoint {
    /// The settings of a connection to any server that holds keys.
    pub(in crate::redis) fn template(&self) -> Option<&ConnectionInfo> {
        match self {
            Self::Single(server) => Some(server),
            Self::Sentinel(sentinels) => Some(&sentinels.template),
            Self::Cluster(nodes) => nodes.first(),
        }
    }

    /// The permissions that this kind of server needs in addition.
    pub(in crate::redis) fn commands(&self) -> &'static str {
        match self {
            Self::Sentinel(_) if self.database() != 0 => " +role +select",
            Self::Sentinel(_) => " +role",
            Self::Single(_) if self.database() != 0 => " +select",
            Self::Single(_) => "",
            // While the slot is being moved. A cluster has only database 0.
            Self::Cluster(_) => " +asking",
        }
    }

    fn database(&self) -> i64 {
        self.template()
            .map_or(0, |template| template.redis_settings().db())
    }

    fn servers(&self) -> &[ConnectionInfo] {
        match self {
            Self::Single(server) => std::slice::from_ref(server),
            Self::Sentinel(sentinels) => &sentinels.servers,
            Self::Cluster(nodes) => nodes,
        }
    }
}

/// For errors: without user and password.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.servers();
        let first = servers.first().map(ConnectionInfo::addr);
        let database = self.database();
        if let Some(ConnectionAddr::Unix(path)) = first {
            return write!(f, "redis+unix://{}?db={database}", path.display());
        }
        let tls = if matches!(first, Some(ConnectionAddr::TcpTls { .. })) {
            "s"
        } else {
            ""
        };
        let shape = match self {
            Self::Single(_) => "",
            Self::Sentinel(_) => "+sentinel",
            Self::Cluster(_) => "+cluster",
        };
        write!(f, "redis{tls}{shape}://")?;
        for (index, server) in servers.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "," }, server.addr())?;
        }
        match self {
            Self::Sentinel(Sentinels { primary, .. }) => write!(f, "/{primary}/{database}"),
            Self::Single(_) | Self::Cluster(_) => write!(f, "/{database}"),
        }
    }
}

/// A connection like `template`, to another server.
pub(in crate::redis) fn at(template: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match template.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    template.clone().set_addr(address)
}

/// The node that `error`, a reply of `node`, redirects to.
pub(in crate::redis) fn redirected(
    node: &ConnectionInfo,
    error: &RedisError,
) -> Option<ConnectionInfo> {
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    // A node that does not know its own name omits it: it means itself.
    let host = match (host, node.addr()) {
        ("", ConnectionAddr::Tcp(known, _) | ConnectionAddr::TcpTls { host: known, .. }) => known,
        _ => host,
    };
    Some(at(node, host.to_owned(), port.parse().ok()?))
}

/// The settings of a connection to a Sentinel, which has no databases, separate users, and no notifications for us.
pub(in crate::redis) fn of_sentinel(
    server: ConnectionInfo,
    username: Option<&str>,
    password: Option<&str>,
) -> ConnectionInfo {
    let mut settings = redis::RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    server.set_redis_settings(settings)
}

/// Without timeouts of the client's own: the store bounds each exchange.
pub(in crate::redis) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None::<Duration>)
        .set_response_timeout(None::<Duration>)
}
