//! [`PostgresProvider`]: shares flag definitions between the workers of a fleet through a PostgreSQL database.
//!
//! It is an example of a complete provider for a server. Each service has one row with the copy in its stored form, the
//! lease (the leader's name, and the end by the server's clock) and the time of the last confirmation. Each write is
//! one statement that also checks the lease, so a leader that was suspended beyond its lease overwrites nothing.
//! Changes are notified with `NOTIFY`, including the name of the worker that made the change. `tests/conformance.rs` of
//! `examples/postgres_provider` runs the conformance kit on it, with outages.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagcache::{
    FetchOutcome, FlagDefinitionCacheData, FleetStatus, NotificationListener, PollerContext,
    ProviderError, ProviderErrorKind, flag_cache_provider,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row};

/// The statement that creates the table, for use in a migration.
pub const TABLE: &str = "
CREATE TABLE IF NOT EXISTS flag_definitions (
    service text PRIMARY KEY, copy bytea, version bigint NOT NULL DEFAULT 0, confirmed_at timestamptz,
    leader text, lease_ends timestamptz)";

/// The decision: creates a missing row, and acquires or renews the lease if it is free or held by this worker. One row
/// means `true`.
const DECIDE: &str = "
INSERT INTO flag_definitions AS f (service, leader, lease_ends)
VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
ON CONFLICT (service) DO UPDATE SET leader = excluded.leader, lease_ends = excluded.lease_ends
WHERE f.leader = $2 OR f.leader IS NULL OR f.lease_ends < clock_timestamp()";

/// The values that a worker reports and compares in each load. They are small at any size of the copy.
const LOOK: &str = "
SELECT version, copy IS NOT NULL AS has_copy, leader IS NOT NULL AND leader <> $2 AS follows,
       extract(epoch FROM clock_timestamp() - confirmed_at)::float8 AS confirmed_ago,
       extract(epoch FROM lease_ends - clock_timestamp())::float8 AS lease_left
FROM flag_definitions WHERE service = $1";

const READ: &str = "SELECT version, copy FROM flag_definitions WHERE service = $1";

/// Replaces and confirms the copy, if this worker leads.
const PUBLISH: &str = "
UPDATE flag_definitions SET copy = $3, version = version + 1, confirmed_at = clock_timestamp()
WHERE service = $1 AND leader = $2";

/// Fills an empty row, as a worker that does not lead.
const CREATE: &str = "
INSERT INTO flag_definitions AS f (service, copy, version, confirmed_at) VALUES ($1, $2, 1, clock_timestamp())
ON CONFLICT (service) DO UPDATE SET copy = excluded.copy, version = f.version + 1, confirmed_at = clock_timestamp()
WHERE f.copy IS NULL";

/// Restores the copy, unless it has changed since it was compared.
const RESTORE: &str = "
UPDATE flag_definitions SET copy = $3, version = version + 1
WHERE service = $1 AND leader = $2 AND copy IS NOT DISTINCT FROM $4";

const CONFIRM: &str = "UPDATE flag_definitions SET confirmed_at = clock_timestamp() WHERE service = $1 AND leader = $2";

const RELEASE: &str = "UPDATE flag_definitions SET leader = NULL, lease_ends = NULL WHERE service = $1 AND leader = $2";

/// Below the poller's timeout of a call (2 s), so that the error names the server that did not answer.
const TIMEOUT: Duration = Duration::from_secs(1);

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// One worker's provider.
pub struct PostgresProvider {
    config: Config,
    service: String,
    worker: String,
    lease: Duration,
    listener: NotificationListener,
    /// Opened by the first call that needs it, dropped by the first that fails.
    client: tokio::sync::Mutex<Option<Client>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last copy that was read, with its version: an unchanged copy is not transferred again.
    copy: Option<(i64, FlagDefinitionCacheData)>,
    steps_down_until: Option<Instant>,
}

impl PostgresProvider {
    /// Makes a provider for one poller. Does not connect. A leader that stops renewing is replaced after `lease`.
    pub fn new(config: Config, service: &str, lease: Duration) -> Self {
        Self {
            config,
            service: service.to_owned(),
            worker: NotificationListener::worker_name(),
            lease,
            listener: NotificationListener::new(),
            client: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Runs one statement on an open or a new connection, with a timeout.
    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, ProviderError> {
        let exchange = async {
            let mut client = self.client.lock().await;
            // Taken, and stored again after a success: a cancelled call leaves no connection in an unknown state.
            let open = match client.take().filter(|client| !client.is_closed()) {
                Some(open) => open,
                None => self.connect().await?,
            };
            let rows = open.query(sql, params).await?;
            *client = Some(open);
            Ok(rows)
        };
        let result = tokio::time::timeout(TIMEOUT, exchange).await;
        result
            .unwrap_or(Err(None))
            .map_err(|error: Option<tokio_postgres::Error>| {
                let text = format!(
                    "service `{}`: PostgreSQL cannot be reached or refused the statement",
                    self.service
                );
                match error {
                    Some(error) => {
                        ProviderError::new(ProviderErrorKind::Unavailable, text).with_source(error)
                    }
                    None => ProviderError::new(
                        ProviderErrorKind::Timeout,
                        format!("{text}: no answer within {TIMEOUT:?}"),
                    ),
                }
            })
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(connection); // ends with the client
        Ok(client)
    }

    /// Writes, and notifies the other workers if a row was written.
    async fn write(&self, sql: &str, params: Params<'_>) -> Result<bool, ProviderError> {
        // One statement, so that the write and the notification are atomic.
        let sql =
            format!("WITH written AS ({sql} RETURNING 1) SELECT pg_notify('flag_definitions', $");
        let sql = format!("{sql}{}::text) FROM written", params.len() + 1);
        let note = format!("{} {}", self.worker, self.service);
        let params: Vec<_> = params
            .iter()
            .copied()
            .chain([&note as &(dyn ToSql + Sync)])
            .collect();
        Ok(!self.query(&sql, &params).await?.is_empty())
    }

    async fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let Some(seen) = self.look().await? else {
            return Ok(None);
        };
        if !seen.get::<_, bool>("has_copy") {
            return Ok(None);
        }
        let version: i64 = seen.get("version");
        if let Some((_, copy)) = self
            .state()
            .copy
            .as_ref()
            .filter(|(known, _)| *known == version)
        {
            return Ok(Some(copy.clone()));
        }
        let rows = self.query(READ, &[&self.service]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let Some(copy) = row.get::<_, Option<Vec<u8>>>("copy") else {
            return Ok(None);
        };
        let copy = FlagDefinitionCacheData::decode(copy).await?;
        self.state().copy = Some((row.get("version"), copy.clone()));
        Ok(Some(copy))
    }

    /// Reads the row without the copy, and reports the fleet status to the poller.
    async fn look(&self) -> Result<Option<Row>, ProviderError> {
        let row = self
            .query(LOOK, &[&self.service, &self.worker])
            .await?
            .pop();
        if let (Some(row), Some(poller)) = (&row, self.listener.poller(&self.worker)) {
            let seconds = |name| {
                row.get::<_, Option<f64>>(name)
                    .map(|left| Duration::from_secs_f64(left.max(0.0)))
            };
            let report = FleetStatus::new()
                .confirmed_ago(seconds("confirmed_ago"))
                .lease_ends_in(seconds("lease_left").filter(|_| row.get("follows")));
            poller.report(report);
        }
        Ok(row)
    }

    async fn release(&self) -> Result<(), ProviderError> {
        self.write(RELEASE, &[&self.service, &self.worker])
            .await
            .map(drop)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[flag_cache_provider]
impl PostgresProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        let steps_down = self
            .state()
            .steps_down_until
            .is_some_and(|until| Instant::now() < until);
        let lease = self.lease.as_millis() as f64;
        let leads = match steps_down {
            true => false,
            false => !self
                .query(
                    &format!("{DECIDE} RETURNING 1"),
                    &[&self.service, &self.worker, &lease],
                )
                .await?
                .is_empty(),
        };
        self.look().await?;
        Ok(leads)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read().await
    }

    /// Called by a new leader, whose first request is then conditional: it costs 1 unit instead of 10.
    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let json = data.to_json();
        if !self
            .write(PUBLISH, &[&self.service, &self.worker, &&json[..]])
            .await?
        {
            self.write(CREATE, &[&self.service, &&json[..]]).await?;
        }
        Ok(())
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        if let Some(data) = outcome.data() {
            let stored = self.query(READ, &[&self.service]).await?.pop();
            let stored: Option<Vec<u8>> = stored.and_then(|row| row.get("copy"));
            let copy = stored
                .as_ref()
                .and_then(|copy| FlagDefinitionCacheData::from_json(copy.clone()).ok());
            // Store what the API just confirmed; after a failure, keep a stored copy that was fetched later.
            let stays = copy.is_some_and(|copy| {
                copy.copy_id() == data.copy_id()
                    || (!outcome.is_unchanged() && copy.fetched_at() > data.fetched_at())
            });
            if !stays {
                let json = data.to_json();
                self.write(RESTORE, &[&self.service, &self.worker, &&json[..], &stored])
                    .await?;
            }
        }
        if outcome.is_unchanged() {
            self.query(CONFIRM, &[&self.service, &self.worker]).await?;
        }
        if let Some(duration) = outcome.step_down_for() {
            self.state().steps_down_until = Some(Instant::now() + duration);
            self.release().await?;
        }
        Ok(())
    }

    fn on_poller_attached(&self, poller: PollerContext) {
        let (listener, config, service) = (
            self.listener.clone(),
            self.config.clone(),
            Arc::new(self.service.clone()),
        );
        self.listener.attach(&self.worker, poller, move || {
            listen(listener.clone(), config.clone(), Arc::clone(&service))
        });
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.listener.detach(&self.worker);
        let released = self.release().await;
        self.client.lock().await.take();
        released
    }
}

impl Drop for PostgresProvider {
    fn drop(&mut self) {
        self.listener.detach(&self.worker);
    }
}

/// Listens on a separate connection until it ends.
async fn listen(
    listener: NotificationListener,
    config: Config,
    service: Arc<String>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let subscribe = async {
        client.batch_execute("LISTEN flag_definitions").await?;
        // A change may have been missed while there was no connection.
        listener.notify_all();
        std::future::pending::<Result<(), tokio_postgres::Error>>().await
    };
    let receive = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message?
                && let Some((worker, of)) = notification.payload().split_once(' ')
                && of == service.as_str()
            {
                listener.on_message(worker.as_bytes());
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = subscribe => ended,
        ended = receive => ended,
    }
}
