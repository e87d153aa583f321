//! [`RedisInspector`]: a test's access to a store's keys and its server's counters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{ProviderError, ProviderErrorKind};

use super::connection::call::Call;
use super::connection::client::Client;
use super::connection::keys::Keys;
use super::provider::RedisProvider;

/// Accesses the server of a Redis store directly: the server's counters, and the keys of the service. For tests and
/// measurements; not API-stable.
///
/// It uses the connection of the store that it was made from, with that store's address, user, certificates and
/// timeouts, so it reaches whatever the store reaches. In a cluster it uses the node that has the service's keys.
///
/// ```no_run
/// use flagcache_providers::RedisStore;
/// use flagcache_providers::testing::RedisInspector;
///
/// # async fn measure() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("redis://127.0.0.1:6379", "checkout-test").build()?;
/// let inspector = RedisInspector::of(&store.provider());
/// let before = inspector.counters().await?;
/// // … what is to be measured …
/// let bytes = inspector.counters().await?.since(before).bytes;
/// inspector.remove_keys().await?;
/// # let _ = bytes;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisInspector {
    keys: Arc<Keys>,
    client: Client,
}

impl fmt::Debug for RedisInspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisInspector")
            .field("endpoint", &self.client.endpoint())
            .finish_non_exhaustive()
    }
}

impl RedisInspector {
    /// An inspector of this provider's store.
    pub fn of(provider: &RedisProvider) -> Self {
        let shared = provider.shared();
        Self {
            keys: Arc::clone(&shared.keys),
            client: shared.client.clone(),
        }
    }

    /// The server's counters since its start, for all its clients together. They include this command itself: its bytes
    /// are in the next result, the command in this one.
    ///
    /// # Errors
    ///
    /// As a store's calls; also if the user may not run `INFO`.
    pub async fn counters(&self) -> Result<RedisCounters, ProviderError> {
        let info: String = self
            .client
            .run(
                "ask what the server has counted",
                Call::plain("INFO").arg("all"),
            )
            .await?;
        RedisCounters::parse(&info).ok_or_else(|| {
            let message =
                "the server's answer to INFO does not have the counters of Redis 6 or newer";
            ProviderError::new(ProviderErrorKind::InvalidData, message)
        })
    }

    /// Whether the service has any key on the server.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn has_keys(&self) -> Result<bool, ProviderError> {
        let found: u64 = self
            .client
            .run("look for the keys", self.on_all_keys("EXISTS"))
            .await?;
        Ok(found > 0)
    }

    /// Deletes the service's keys: the copy, the lock, the metadata, the patches, and a
    /// copy that is being written.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn remove_keys(&self) -> Result<(), ProviderError> {
        self.client
            .run::<u64>("remove the keys", self.on_all_keys("DEL"))
            .await
            .map(drop)
    }

    /// The stored copy, unchanged.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn copy(&self) -> Result<Option<Bytes>, ProviderError> {
        let copy: Option<Vec<u8>> = self
            .client
            .run("read the copy", Call::get(&self.keys.data))
            .await?;
        Ok(copy.map(Bytes::from))
    }

    /// Overwrites the stored copy, like a faulty program: without the lock, a notification or a TTL.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn set_copy(&self, with: &[u8]) -> Result<(), ProviderError> {
        self.client
            .run(
                "overwrite the copy",
                Call::plain("SET").arg(&self.keys.data).arg(with),
            )
            .await
    }

    /// The token of the leader lock; `None` if no worker leads.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn lock_token(&self) -> Result<Option<String>, ProviderError> {
        self.client
            .run("read the lock", Call::get(&self.keys.lock))
            .await
    }

    /// How long the copy is kept unless its TTL is extended; `None` without a TTL, or without a copy.
    ///
    /// # Errors
    ///
    /// As a store's calls.
    pub async fn copy_ttl(&self) -> Result<Option<Duration>, ProviderError> {
        let left: i64 = self
            .client
            .run(
                "read the TTL of the copy",
                Call::plain("PTTL").arg(&self.keys.data),
            )
            .await?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    /// The lengths of the patches beside the copy, the newest first.
    ///
    /// # Errors
    ///
    /// As a store's calls; also if the user may not read the key of the patches.
    pub async fn patches(&self) -> Result<Vec<u64>, ProviderError> {
        let key = &self.keys.patches;
        let order: Option<String> = self
            .client
            .run(
                "read the list of patches",
                Call::plain("HGET").arg(key).arg("order"),
            )
            .await?;
        // Pairs of the digest of a copy and the length of the patch that begins with it.
        let order = order.unwrap_or_default();
        let lengths = order.split_whitespace().skip(1).step_by(2);
        Ok(lengths.filter_map(|length| length.parse().ok()).collect())
    }

    fn on_all_keys(&self, command: &'static str) -> Call {
        let Keys {
            data,
            lock,
            meta,
            patches,
            staging,
            ..
        } = &*self.keys;
        Call::plain(command)
            .arg(data)
            .arg(lock)
            .arg(meta)
            .arg(patches)
            .arg(staging)
    }
}

/// A server's counters, from [`RedisInspector::counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisCounters {
    /// Messages received: reads from clients' sockets. A client that waits for each answer sends one per command;
    /// several pipelined commands may be one.
    pub messages: u64,
    /// Scripts run: calls of EVALSHA and EVAL.
    pub scripts: u64,
    /// Commands run, including those that scripts run inside the server.
    pub commands: u64,
    /// Bytes received from clients and sent to them.
    pub bytes: u64,
    /// Clients connected at that moment; not a counter.
    pub clients: u64,
}

impl RedisCounters {
    /// The increase since `earlier`; the number of clients is the current one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            scripts: self.scripts.saturating_sub(earlier.scripts),
            commands: self.commands.saturating_sub(earlier.commands),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            clients: self.clients,
        }
    }

    fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().parse::<u64>().ok()
        };
        let mut counters = Self {
            messages: field("total_reads_processed")?,
            scripts: 0,
            commands: 0,
            bytes: field("total_net_input_bytes")? + field("total_net_output_bytes")?,
            clients: field("connected_clients")?,
        };
        // cmdstat_evalsha:calls=12,usec=340,…
        for line in info
            .lines()
            .filter_map(|line| line.strip_prefix("cmdstat_"))
        {
            let (name, rest) = line.split_once(":calls=")?;
            let calls: u64 = rest.split(',').next()?.parse().ok()?;
            counters.commands += calls;
            if matches!(name, "evalsha" | "eval") {
                counters.scripts += calls;
            }
        }
        Some(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Clients\r\nconnected_clients:3\r\n\r\n# Stats\r\ntotal_net_input_bytes:1000\r\n\
        total_net_output_bytes:234\r\ntotal_net_repl_input_bytes:7\r\ntotal_reads_processed:20\r\n# Commandstats\r\n\
        cmdstat_evalsha:calls=12,usec=340,usec_per_call=28.33\r\ncmdstat_get:calls=30,usec=1\r\n\
        cmdstat_client|setinfo:calls=2,usec=1\r\n";

    #[test]
    fn the_servers_own_counts_are_read() {
        let counters = RedisCounters::parse(INFO).unwrap();
        assert_eq!(
            counters,
            RedisCounters {
                messages: 20,
                scripts: 12,
                commands: 44,
                bytes: 1234,
                clients: 3
            }
        );
        let earlier = RedisCounters {
            messages: 15,
            scripts: 10,
            commands: 40,
            bytes: 1200,
            clients: 9,
        };
        assert_eq!(
            counters.since(earlier),
            RedisCounters {
                messages: 5,
                scripts: 2,
                commands: 4,
                bytes: 34,
                clients: 3
            }
        );
    }

    #[test]
    fn an_answer_without_them_is_none() {
        assert_eq!(
            RedisCounters::parse("# Server\r\nredis_version:7.0.15\r\n"),
            None
        );
        assert_eq!(
            RedisCounters::parse(&INFO.replace("calls=12", "calls=many")),
            None
        );
    }
}
