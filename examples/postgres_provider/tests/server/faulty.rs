//! The provider of the guide with one mistake at a time, as an author might make it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagcache::{
    FetchOutcome, FlagDefinitionCacheData, FleetStatus, NotificationListener, PollerContext,
    ProviderError, ProviderErrorKind, flag_cache_provider,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NeverCreatesTheRow,
    EverybodyLeads,
    LooksThenLeads,
    NeverRenews,
    LeaseNeverEnds,
    LeaseInTheWrongUnit,
    OneNameForAll,
    ShutdownKeepsTheLease,
    AnybodyReleases,
    ComesStraightBack,
    NeverStepsDown,
    PublishesWithoutTheLease,
    BelievesItStillLeads,
    CreateOverwrites,
    LooksThenCreates,
    StoresJsonb,
    StoresNoMetadata,
    CutsLargeCopies,
    EmptySetIsNull,
    EmptyRowIsAnError,
    DeletesTheRowAtShutdown,
    HidesTheStoredCopy,
    ForgetsTheVersion,
    RemembersALostCopy,
    FailureReplacesANewerCopy,
    RestoresOnlyNull,
    NeverRestores,
    RestoresOnlyWhenConfirmed,
    PublishesInSilence,
    ReleasesInSilence,
    RestoresInSilence,
    NotifiesWithoutItsName,
    AnybodyConfirms,
    NeverConfirms,
    HidesTheLeaseEnd,
    GarbageIsEmpty,
    RefusesOtherSdks,
    FailedReadIsEmpty,
    FailedDecisionIsFalse,
    FailedPublishIsFine,
    NoTimeout,
    NeverConnectsAgain,
    NeverListensAgain,
    ListensAgainInSilence,
    ListensForEver,
    StaysBusyWhenCut,
    DropNeedsARuntime,
    UnusedShutdownFails,
    WritesInTwoSteps,
}

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
    fault: Option<Fault>,
    believes: AtomicBool,
    busy: Arc<AtomicBool>,
    used: AtomicBool,
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The last copy that was read, by its version: an unchanged one is not moved again.
    copy: Option<(i64, FlagDefinitionCacheData)>,
    steps_down_until: Option<Instant>,
}

impl PostgresProvider {
    /// A provider with one mistake, or none.
    pub fn new(config: Config, service: &str, lease: Duration, fault: Option<Fault>) -> Self {
        Self {
            config,
            service: service.to_owned(),
            worker: match fault {
                Some(Fault::OneNameForAll) => "worker".to_owned(),
                _ => NotificationListener::worker_name(),
            },
            lease,
            listener: NotificationListener::new(),
            client: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            fault,
            believes: AtomicBool::new(false),
            busy: Arc::default(),
            used: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Runs one statement, over an open connection or a new one, in bounded time.
    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, ProviderError> {
        while self.busy.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.used.store(true, Ordering::Relaxed);
        if self.failed.load(Ordering::Relaxed) && self.has(Fault::NeverConnectsAgain) {
            return Err(ProviderError::new(
                ProviderErrorKind::Unavailable,
                "the connection is closed",
            ));
        }
        self.busy
            .store(self.has(Fault::StaysBusyWhenCut), Ordering::Relaxed);
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
        let limit = if self.has(Fault::NoTimeout) {
            TIMEOUT * 1_000
        } else {
            TIMEOUT
        };
        let result = tokio::time::timeout(limit, exchange).await;
        self.busy.store(false, Ordering::Relaxed);
        self.failed
            .fetch_or(!matches!(result, Ok(Ok(_))), Ordering::Relaxed);
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

    /// Writes, and notifies the others if something was written.
    async fn write(&self, sql: &str, params: Params<'_>) -> Result<bool, ProviderError> {
        let silent = match sql {
            RELEASE => self.has(Fault::ReleasesInSilence),
            RESTORE => self.has(Fault::RestoresInSilence),
            _ => self.has(Fault::PublishesInSilence),
        };
        let sql = self.statement(sql);
        if silent {
            return Ok(!self
                .query(&format!("{sql} RETURNING 1"), params)
                .await?
                .is_empty());
        }
        // One statement, so that both happen or neither.
        let sql =
            format!("WITH written AS ({sql} RETURNING 1) SELECT pg_notify('flag_definitions', $");
        let sql = format!("{sql}{}::text) FROM written", params.len() + 1);
        let worker = if self.has(Fault::NotifiesWithoutItsName) {
            "someone"
        } else {
            &self.worker
        };
        let note = format!("{worker} {}", self.service);
        let params: Vec<_> = params
            .iter()
            .copied()
            .chain([&note as &(dyn ToSql + Sync)])
            .collect();
        Ok(!self.query(&sql, &params).await?.is_empty())
    }

    /// The statement with its mistake. Every one uses all of its parameters, or PostgreSQL refuses it.
    fn statement(&self, sql: &str) -> String {
        let (from, to) = match (self.fault, sql) {
            (Some(Fault::EverybodyLeads), DECIDE) => {
                ("WHERE f.leader = $2", "WHERE true OR f.leader = $2")
            }
            (Some(Fault::NeverRenews), DECIDE) => (
                "lease_ends = excluded.lease_ends",
                "lease_ends = CASE f.leader WHEN $2 THEN f.lease_ends ELSE excluded.lease_ends END",
            ),
            (Some(Fault::LeaseNeverEnds), DECIDE) => (" OR f.lease_ends < clock_timestamp()", ""),
            (Some(Fault::LeaseInTheWrongUnit), DECIDE) => ("'1 millisecond'", "'1 second'"),
            (Some(Fault::AnybodyReleases), RELEASE) => ("leader = $2", "$2::text IS NOT NULL"),
            (Some(Fault::DeletesTheRowAtShutdown), RELEASE) => (
                "UPDATE flag_definitions SET leader = NULL, lease_ends = NULL",
                "DELETE FROM flag_definitions",
            ),
            (Some(Fault::PublishesWithoutTheLease), PUBLISH) => {
                ("leader = $2", "$2::text IS NOT NULL")
            }
            (Some(Fault::BelievesItStillLeads), PUBLISH)
                if self.believes.load(Ordering::Relaxed) =>
            {
                ("leader = $2", "$2::text IS NOT NULL")
            }
            (Some(Fault::CreateOverwrites), CREATE) => ("WHERE f.copy IS NULL", ""),
            (Some(Fault::LooksThenCreates), CREATE) => ("WHERE f.copy IS NULL", ""),
            (Some(Fault::StoresJsonb), PUBLISH) => (
                "copy = $3",
                "copy = convert_to((convert_from($3::bytea, 'UTF8')::jsonb)::text, 'UTF8')",
            ),
            (Some(Fault::ForgetsTheVersion), PUBLISH) => ("version = version + 1, ", ""),
            (Some(Fault::AnybodyConfirms), CONFIRM) => ("leader = $2", "$2::text IS NOT NULL"),
            _ => ("", ""),
        };
        assert!(sql.contains(from), "the statement has changed");
        if from.is_empty() {
            sql.to_owned()
        } else {
            sql.replace(from, to)
        }
    }

    /// The copy as it is stored.
    fn stored_form(&self, data: &FlagDefinitionCacheData) -> Option<Vec<u8>> {
        let mut json = match self.fault {
            Some(Fault::StoresNoMetadata) => data.raw_json(),
            _ => data.to_json(),
        }
        .to_vec();
        if self.has(Fault::CutsLargeCopies) {
            json.truncate(1 << 16);
        }
        (!(data.is_empty() && self.has(Fault::EmptySetIsNull))).then_some(json)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        match self.read_copy().await {
            Err(error)
                if error.kind() == ProviderErrorKind::InvalidData
                    && self.has(Fault::GarbageIsEmpty) =>
            {
                Ok(None)
            }
            Err(error)
                if error.kind() != ProviderErrorKind::InvalidData
                    && self.has(Fault::FailedReadIsEmpty) =>
            {
                Ok(None)
            }
            Ok(Some(copy)) if copy.etag().is_none() && self.has(Fault::RefusesOtherSdks) => Err(
                ProviderError::new(ProviderErrorKind::InvalidData, "the copy has no ETag"),
            ),
            Ok(None) if self.has(Fault::EmptyRowIsAnError) => Err(ProviderError::new(
                ProviderErrorKind::Other,
                "there is no row",
            )),
            copy => copy,
        }
    }

    async fn read_copy(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let Some(seen) = self.look().await? else {
            return Ok(None);
        };
        if !seen.get::<_, bool>("has_copy") {
            if self.has(Fault::RemembersALostCopy) {
                return Ok(self.state().copy.as_ref().map(|(_, copy)| copy.clone()));
            }
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

    /// What the row says beside the copy; reports it to the poller.
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
                .lease_ends_in(
                    seconds("lease_left")
                        .filter(|_| row.get("follows") && !self.has(Fault::HidesTheLeaseEnd)),
                );
            poller.report(report);
        }
        Ok(row)
    }

    async fn store(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        let json = self.stored_form(data);
        if self.has(Fault::WritesInTwoSteps) {
            self.write(PUBLISH, &[&self.service, &self.worker, &None::<Vec<u8>>])
                .await?;
        }
        if self
            .write(PUBLISH, &[&self.service, &self.worker, &json])
            .await?
        {
            return Ok(());
        }
        if self.has(Fault::LooksThenCreates) && self.read().await?.is_some() {
            return Ok(());
        }
        self.write(CREATE, &[&self.service, &json]).await.map(drop)
    }

    async fn is_led_by_another(&self) -> Result<bool, ProviderError> {
        let seen = self.look().await?;
        let lead = |row: &Row| {
            row.get::<_, Option<bool>>("follows") == Some(true)
                && row
                    .get::<_, Option<f64>>("lease_left")
                    .is_some_and(|left| left > 0.0)
        };
        Ok(seen.as_ref().is_some_and(lead))
    }

    async fn decide(&self) -> Result<bool, ProviderError> {
        let steps_down = self
            .state()
            .steps_down_until
            .is_some_and(|until| Instant::now() < until);
        let lease = self.lease.as_millis() as f64;
        let leads = match steps_down {
            true => false,
            false if self.has(Fault::NeverCreatesTheRow) => {
                let update =
                    "UPDATE flag_definitions SET leader = $2, lease_ends = clock_timestamp()
                    + $3 * interval '1 millisecond' WHERE service = $1 RETURNING 1";
                !self
                    .query(update, &[&self.service, &self.worker, &lease])
                    .await?
                    .is_empty()
            }
            false if self.has(Fault::LooksThenLeads) && self.is_led_by_another().await? => false,
            false => {
                let mut sql = self.statement(DECIDE);
                if self.has(Fault::LooksThenLeads) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    sql = sql.replace("WHERE f.leader = $2", "WHERE true OR f.leader = $2");
                }
                !self
                    .query(
                        &format!("{sql} RETURNING 1"),
                        &[&self.service, &self.worker, &lease],
                    )
                    .await?
                    .is_empty()
            }
        };
        self.believes.fetch_or(leads, Ordering::Relaxed);
        self.look().await?;
        Ok(leads)
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
        match self.decide().await {
            Err(_) if self.has(Fault::FailedDecisionIsFalse) => Ok(false),
            leads => leads,
        }
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read().await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        if self.has(Fault::HidesTheStoredCopy) {
            return Ok(None);
        }
        if self.has(Fault::EmptyRowIsAnError) {
            return self.read_copy().await;
        }
        self.read().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        match self.store(data).await {
            Err(_) if self.has(Fault::FailedPublishIsFine) => Ok(()),
            stored => stored,
        }
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        if let Some(data) = outcome.data() {
            let stored = self.query(READ, &[&self.service]).await?.pop();
            let stored: Option<Vec<u8>> = stored.and_then(|row| row.get("copy"));
            let copy = stored
                .as_ref()
                .and_then(|copy| FlagDefinitionCacheData::from_json(copy.clone()).ok());
            // What the API just confirmed wins; after a failure a copy that was fetched later than ours stays.
            let stays = copy.is_some_and(|copy| {
                let is_newer = copy.fetched_at() > data.fetched_at()
                    && !self.has(Fault::FailureReplacesANewerCopy);
                copy.copy_id() == data.copy_id() || (!outcome.is_unchanged() && is_newer)
            });
            let never = match self.fault {
                Some(Fault::RestoresOnlyNull) => stored.is_some(),
                Some(Fault::NeverRestores) => true,
                Some(Fault::RestoresOnlyWhenConfirmed) => !outcome.is_unchanged(),
                _ => false,
            };
            if !stays && !never {
                let json = data.to_json();
                self.write(RESTORE, &[&self.service, &self.worker, &&json[..], &stored])
                    .await?;
            }
        }
        if outcome.is_unchanged() && !self.has(Fault::NeverConfirms) {
            self.query(&self.statement(CONFIRM), &[&self.service, &self.worker])
                .await?;
        }
        if let Some(duration) = outcome.step_down_for() {
            if !self.has(Fault::ComesStraightBack) {
                self.state().steps_down_until = Some(Instant::now() + duration);
            }
            if !self.has(Fault::NeverStepsDown) {
                self.release().await?;
            }
        }
        Ok(())
    }

    fn on_poller_attached(&self, poller: PollerContext) {
        let (listener, config, service) = (
            self.listener.clone(),
            self.config.clone(),
            Arc::new(self.service.clone()),
        );
        let fault = self.fault;
        let listened = Arc::new(AtomicBool::new(false));
        let listen = move || {
            let again = listened.load(Ordering::Relaxed);
            listen(
                listener.clone(),
                config.clone(),
                Arc::clone(&service),
                fault,
                again,
                Arc::clone(&listened),
            )
        };
        self.listener.attach(&self.worker, poller, listen);
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        if self.has(Fault::UnusedShutdownFails) && !self.used.load(Ordering::Relaxed) {
            return Err(ProviderError::new(
                ProviderErrorKind::Other,
                "there is no connection to close",
            ));
        }
        if !self.has(Fault::ListensForEver) {
            self.listener.detach(&self.worker);
        }
        if self.has(Fault::ShutdownKeepsTheLease) {
            return Ok(());
        }
        let released = self.release().await;
        self.client.lock().await.take();
        released
    }
}

impl Drop for PostgresProvider {
    fn drop(&mut self) {
        if self.has(Fault::DropNeedsARuntime) {
            tokio::spawn(async {});
        }
        if !self.has(Fault::ListensForEver) {
            self.listener.detach(&self.worker);
        }
    }
}

/// Listens on a connection of its own until that ends.
async fn listen(
    listener: NotificationListener,
    config: Config,
    service: Arc<String>,
    fault: Option<Fault>,
    again: bool,
    listened: Arc<AtomicBool>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let subscribe = async {
        if again && fault == Some(Fault::NeverListensAgain) {
            listener.notify_all();
            std::future::pending::<()>().await;
        }
        client.batch_execute("LISTEN flag_definitions").await?;
        listened.store(true, Ordering::Relaxed);
        if again && fault == Some(Fault::ListensAgainInSilence) {
            return std::future::pending::<Result<(), tokio_postgres::Error>>().await;
        }
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
