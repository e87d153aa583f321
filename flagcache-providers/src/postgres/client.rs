//! [`Client`]: the connection to the server, opened on demand.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::ProviderError;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{failed, timed_out};

/// A parameter and its type. The type is explicit because statements are not prepared: a pooler in transaction mode
/// does not support prepared statements.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One connection, shared by all calls of a store.
pub(super) struct Client {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    pub(super) endpoint: String,
    pub(super) response_timeout: Duration,
    open: Mutex<Option<Open>>,
    /// Locked while a connection is opened, so that concurrent calls share it.
    opening: tokio::sync::Mutex<()>,
}

/// An open connection, and the task that drives it.
struct Open {
    client: Arc<tokio_postgres::Client>,
    driver: AbortHandle,
}

impl Client {
    pub(super) fn new(config: Config, tls: MakeRustlsConnect, response_timeout: Duration) -> Self {
        Self {
            endpoint: endpoint(&config),
            config,
            tls,
            response_timeout,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Runs one statement and returns its row, if any. If the table does not exist, runs `create` first.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        create: &str,
    ) -> Result<Option<Row>, ProviderError> {
        match timeout(self.response_timeout, self.attempt(sql, parameters, create)).await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(error)) => Err(failed(&self.endpoint, error)),
            Err(_) => {
                // The server may never answer, and the connection would wait for the answer indefinitely.
                if let Some(open) = self.lock().take() {
                    open.driver.abort();
                }
                Err(timed_out(&self.endpoint, self.response_timeout))
            }
        }
    }

    async fn attempt(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        create: &str,
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        let client = self.connection().await?;
        match client.query_typed_opt(sql, parameters).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                match client.batch_execute(create).await {
                    Err(error) if !is_there_already(&error) => Err(error),
                    _ => client.query_typed_opt(sql, parameters).await,
                }
            }
            answer => answer,
        }
    }

    async fn connection(&self) -> Result<Arc<tokio_postgres::Client>, tokio_postgres::Error> {
        if let Some(client) = self.usable() {
            return Ok(client);
        }
        let _opening = self.opening.lock().await;
        if let Some(client) = self.usable() {
            return Ok(client);
        }
        let (client, driver) = self.config.connect(self.tls.clone()).await?;
        let endpoint = self.endpoint.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(endpoint, %error, "the connection to PostgreSQL has ended");
            }
        });
        let client = Arc::new(client);
        *self.lock() = Some(Open {
            client: Arc::clone(&client),
            driver: driver.abort_handle(),
        });
        Ok(client)
    }

    fn usable(&self) -> Option<Arc<tokio_postgres::Client>> {
        let open = self.lock();
        let client = &open.as_ref()?.client;
        (!client.is_closed()).then(|| Arc::clone(client))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock()
    }
}

/// Whether another worker has created the table concurrently.
fn is_there_already(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
    ]
    .iter()
    .any(|code| error.code() == Some(code))
}

/// The servers and the database, without user and password.
pub(super) fn endpoint(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).unwrap_or(&5432);
        match host {
            Host::Tcp(host) => format!("{host}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    format!(
        "{}/{}",
        hosts.join(","),
        config.get_dbname().unwrap_or_default()
    )
}
