//! A flag definition cache in a PostgreSQL database, shared by a fleet.
//!
//! This is what a provider for a server looks like. One row for each service holds the copy in its stored form, the lease (who
//! leads, and until when, by the server's clock) and the time of the last confirmation. Each write is one statement that
//! checks the lease itself, so a leader that overslept overwrites nothing. What changed is notified by `NOTIFY`, with the name
//! of the worker that changed it. `tests/conformance.rs` of `examples/postgres_provider` holds it to the rules, with outages.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagcache::{
    FetchOutcome, FlagDefinitionCacheData, NotificationListener, PollerContext, ProviderError, ProviderErrorKind,
    FleetStatus, flag_cache_provider,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row};

/// The table, for a migration of yours.
pub const TABLE: &str = "
CREATE TABLE IF NOT EXISTS flag_definitions (
    service text PRIMARY KEY, copy bytea, version bigint NOT NULL DEFAULT 0, confirmed_at timestamptz,
    leader text, lease_ends timestamptz)";

/// The decision: creates the row if there is none, takes or renews the lease if it is free or ours. One row means `true`.
const DECIDE: &str = "
INSERT INTO flag_definitions AS f (service, leader, lease_ends)
VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
ON CONFLICT (service) DO UPDATE SET leader = excluded.leader, lease_ends = excluded.lease_ends
WHERE f.leader = $2 OR f.leader IS NULL OR f.lease_ends < clock_timestamp()";

/// What a worker reports and compares at each load: small, whatever the size of the copy.
const LOOK: &str = "
SELECT version, copy IS NOT NULL AS has_copy, leader IS NOT NULL AND leader <> $2 AS follows,
       extract(epoch FROM clock_timestamp() - confirmed_at)::float8 AS confirmed_ago,
       extract(epoch FROM lease_ends - clock_timestamp())::float8 AS lease_left
FROM flag_definitions WHERE service = $1";

const READ: &str = "SELECT version, copy FROM flag_definitions WHERE service = $1";

/// The leader replaces the copy, and whoever leads confirms it.
const PUBLISH: &str = "
UPDATE flag_definitions SET copy = $3, version = version + 1, confirmed_at = clock_timestamp()
WHERE service = $1 AND leader = $2";

/// A worker that does not lead fills an empty row.
const CREATE: &str = "
INSERT INTO flag_definitions AS f (service, copy, version, confirmed_at) VALUES ($1, $2, 1, clock_timestamp())
ON CONFLICT (service) DO UPDATE SET copy = excluded.copy, version = f.version + 1, confirmed_at = clock_timestamp()
WHERE f.copy IS NULL";

/// Puts a copy back, unless it is no longer the one that was compared.
const RESTORE: &str = "
UPDATE flag_definitions SET copy = $3, version = version + 1
WHERE service = $1 AND leader = $2 AND copy IS NOT DISTINCT FROM $4";

const CONFIRM: &str = "UPDATE flag_definitions SET confirmed_at = clock_timestamp() WHERE service = $1 AND leader = $2";

const RELEASE: &str = "UPDATE flag_definitions SET leader = NULL, lease_ends = NULL WHERE service = $1 AND leader = $2";

/// Below the poller's limit for a call (2 s), so that the error says what did not answer.
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
    /// The last copy that was read, by its version: an unchanged one is not moved again.
    copy: Option<(i64, FlagDefinitionCacheData)>,
    steps_down_until: Option<Instant>,
}

impl PostgresProvider {
    /// A provider for one poller; connects to nothing yet. A leader that stops asking is replaced after `lease`.
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

    /// Runs one statement, over an open connection or a new one, in bounded time.
    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, ProviderError> {
        let exchange = async {
            let mut client = self.client.lock().await;
            // Taken, and put back if all went well: a call that is dropped half-way leaves no connection of unknown state.
            let open = match client.take().filter(|client| !client.is_closed()) {
                Some(open) => open,
                None => self.connect().await?,
            };
            let rows = open.query(sql, params).await?;
            *client = Some(open);
            Ok(rows)
        };
        let result = tokio::time::timeout(TIMEOUT, exchange).await;
        result.unwrap_or(Err(None)).map_err(|error: Option<tokio_postgres::Error>| {
            let text = format!("service `{}`: PostgreSQL cannot be reached or refused the statement", self.service);
            match error {
                Some(error) => ProviderError::new(ProviderErrorKind::Unavailable, text).with_source(error),
                None => ProviderError::new(ProviderErrorKind::Timeout, format!("{text}: no answer within {TIMEOUT:?}")),
            }
        })
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(connection); // ends with the client
        Ok(client)
    }

    /// Writes, and notifies the others if something was written.
    async fn write(&self, sql: &str, params: Params<'_>) -> Result<bool, ProviderError> {
        // One statement, so that both happen or neither.
        let sql = format!("WITH written AS ({sql} RETURNING 1) SELECT pg_notify('flag_definitions', $");
        let sql = format!("{sql}{}::text) FROM written", params.len() + 1);
        let note = format!("{} {}", self.worker, self.service);
        let params: Vec<_> = params.iter().copied().chain([&note as &(dyn ToSql + Sync)]).collect();
        Ok(!self.query(&sql, &params).await?.is_empty())
    }

    async fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let Some(seen) = self.look().await? else { return Ok(None) };
        if !seen.get::<_, bool>("has_copy") {
            return Ok(None);
        }
        let version: i64 = seen.get("version");
        if let Some((_, copy)) = self.state().copy.as_ref().filter(|(known, _)| *known == version) {
            return Ok(Some(copy.clone()));
        }
        let rows = self.query(READ, &[&self.service]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(copy) = row.get::<_, Option<Vec<u8>>>("copy") else { return Ok(None) };
        let copy = FlagDefinitionCacheData::decode(copy).await?;
        self.state().copy = Some((row.get("version"), copy.clone()));
        Ok(Some(copy))
    }

    /// What the row says beside the copy; reports it to the poller.
    async fn look(&self) -> Result<Option<Row>, ProviderError> {
        let row = self.query(LOOK, &[&self.service, &self.worker]).await?.pop();
        if let (Some(row), Some(poller)) = (&row, self.listener.poller(&self.worker)) {
            let seconds = |name| row.get::<_, Option<f64>>(name).map(|left| Duration::from_secs_f64(left.max(0.0)));
            let report = FleetStatus::new()
                .confirmed_ago(seconds("confirmed_ago"))
                .lease_ends_in(seconds("lease_left").filter(|_| row.get("follows")));
            poller.report(report);
        }
        Ok(row)
    }

    async fn release(&self) -> Result<(), ProviderError> {
        self.write(RELEASE, &[&self.service, &self.worker]).await.map(drop)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[flag_cache_provider]
impl PostgresProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        let steps_down = self.state().steps_down_until.is_some_and(|until| Instant::now() < until);
        let lease = self.lease.as_millis() as f64;
        let leads = match steps_down {
            true => false,
            false => {
                !self.query(&format!("{DECIDE} RETURNING 1"), &[&self.service, &self.worker, &lease]).await?.is_empty()
            }
        };
        self.look().await?;
        Ok(leads)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read().await
    }

    /// A leader that starts anew is given the copy: its first request costs 1 unit, not 10.
    async fn peek_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read().await
    }

    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        let json = data.to_json();
        if !self.write(PUBLISH, &[&self.service, &self.worker, &&json[..]]).await? {
            self.write(CREATE, &[&self.service, &&json[..]]).await?;
        }
        Ok(())
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        if let Some(data) = outcome.data() {
            let stored = self.query(READ, &[&self.service]).await?.pop();
            let stored: Option<Vec<u8>> = stored.and_then(|row| row.get("copy"));
            let copy = stored.as_ref().and_then(|copy| FlagDefinitionCacheData::from_json(copy.clone()).ok());
            // What the API just confirmed wins; after a failure a copy that was fetched later than ours stays.
            let stays = copy.is_some_and(|copy| {
                copy.copy_id() == data.copy_id() || (!outcome.is_unchanged() && copy.fetched_at() > data.fetched_at())
            });
            if !stays {
                let json = data.to_json();
                self.write(RESTORE, &[&self.service, &self.worker, &&json[..], &stored]).await?;
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
        let (listener, config, service) = (self.listener.clone(), self.config.clone(), Arc::new(self.service.clone()));
        self.listener
            .attach(&self.worker, poller, move || listen(listener.clone(), config.clone(), Arc::clone(&service)));
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

/// Listens on a connection of its own until that ends.
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
