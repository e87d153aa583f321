//! A versioned store on a server, with one mistake at a time, as an author of `read` and `write` might make it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{
    ChangeNotifier, Expected, FlagDefinitionCacheProvider, ProviderError, ProviderErrorKind,
    ReadIfChanged, Version, VersionedStore, VersionedValue,
};
use flagcache_providers::Versioned;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache_providers::testing::{Connections, Outage};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::records::{head, key, put_copy};

const SERVICE: &str = "kit";
const LEASE_TTL: Duration = Duration::from_millis(1_500);
/// How long a call waits for the server.
const TIME_LIMIT: Duration = Duration::from_millis(300);
/// For how long a store that caches does so, or how late a write is that nobody waits for.
const LAG: Duration = Duration::from_millis(100);
const LARGEST: usize = 64 * 1024;

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // Of `write`.
    NeverCompares,
    ComparesThenWrites,
    CreateOverwrites,
    UpdateComparesNothing,
    ConflictIsSuccess,
    UpdateWritesNothing,
    WritesLater,
    ErrorIsSuccess,
    CutsLargeValues,
    StoresJson,
    // Of the version.
    VersionIsConstant,
    VersionIsTheTimeInSeconds,
    VersionIsTheLength,
    // Of `read`.
    ReadsFromACache,
    FailedReadIsEmpty,
    FailedUnconditionalReadIsEmpty,
    OneNameForAllKeys,
    // Of `read_if_changed`.
    AlwaysUnchanged,
    MissingIsUnchanged,
    UnchangedIsNone,
    FailedReadIsUnchanged,
    // Of `watch`.
    NeverNotifies,
    NotifiesBeforeTheWrite,
    NotifiesOfEveryKey,
    NeverWatchesAgain,
    WatchesAgainInSilence,
    WatchesForEver,
    // Of the client.
    NoTimeLimit,
    NeverConnectsAgain,
    StaysBusyWhenCut,
}

/// A server, and how its clients err.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    clients: Arc<AtomicU64>,
    started_at: Instant,
    fault: Option<Fault>,
}

#[derive(Default)]
struct State {
    values: HashMap<String, Value>,
    last_version: u64,
    watches: HashMap<u64, (String, ChangeNotifier)>,
    outage: Option<Outage>,
    connected: HashSet<u64>,
    opened: u64,
}

#[derive(Clone)]
struct Value {
    bytes: Bytes,
    version: u64,
    written_at: Instant,
}

impl Server {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            state: Arc::default(),
            clients: Arc::default(),
            started_at: Instant::now(),
            fault,
        }
    }

    fn client(&self) -> Client {
        Client {
            id: self.clients.fetch_add(1, Ordering::Relaxed),
            server: self.clone(),
            cache: Mutex::default(),
            was_cut: Mutex::default(),
            is_busy: Mutex::default(),
        }
    }

    /// A client without mistakes, past the outages.
    fn admin(&self) -> Client {
        Self {
            fault: None,
            ..self.clone()
        }
        .client()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl TestStore for Server {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let store = Versioned::new(self.client(), SERVICE).unwrap();
        Arc::new(store.with_lease_ttl(LEASE_TTL).unwrap().provider())
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        if let Some(copy) = copy {
            return put_copy(&self.admin(), SERVICE, copy).await;
        }
        if let Some(head) = head(&self.admin(), SERVICE).await
            && let Some(slot) = head["copy"]["slot"].as_str()
        {
            self.state().values.remove(&key(SERVICE, slot));
        }
    }

    async fn outage(&self, outage: Outage) {
        let mut state = self.state();
        let was_cut = state.outage.replace(outage) == Some(Outage::Cut);
        match outage {
            Outage::Cut => state.connected.clear(),
            Outage::Healed if was_cut => {
                // Who watches connects again by itself.
                match self.fault {
                    Some(Fault::WatchesAgainInSilence) => {}
                    Some(Fault::NeverWatchesAgain) => {
                        let watches = std::mem::take(&mut state.watches);
                        watches.values().for_each(|(_, watch)| watch.notify());
                    }
                    _ => state.watches.values().for_each(|(_, watch)| watch.notify()),
                }
            }
            Outage::Hang | Outage::Healed => {}
        }
    }

    fn connections(&self) -> Connections {
        let state = self.state();
        Connections {
            open: state.connected.len(),
            opened: state.opened,
        }
    }
}

/// One process's connection.
struct Client {
    id: u64,
    server: Server,
    cache: Mutex<HashMap<String, (Option<VersionedValue>, Instant)>>,
    was_cut: Mutex<bool>,
    is_busy: Mutex<bool>,
}

impl Client {
    fn has(&self, fault: Fault) -> bool {
        self.server.fault == Some(fault)
    }

    fn key(&self, key: &str) -> String {
        match self.has(Fault::OneNameForAllKeys) {
            true => "flags".to_owned(),
            false => key.to_owned(),
        }
    }

    /// A request reaches the server.
    async fn request(&self) -> Result<(), ProviderError> {
        if self.has(Fault::StaysBusyWhenCut)
            && std::mem::replace(&mut *self.is_busy.lock().unwrap(), true)
        {
            return Err(unavailable("a call is under way"));
        }
        yield_now().await;
        let reached = self.reach().await;
        *self.is_busy.lock().unwrap() = false;
        if reached.is_err() {
            *self.was_cut.lock().unwrap() = true;
        }
        reached?;
        if self.has(Fault::NeverConnectsAgain) && *self.was_cut.lock().unwrap() {
            return Err(unavailable("the connection is closed"));
        }
        let mut state = self.server.state();
        if state.connected.insert(self.id) {
            state.opened += 1;
        }
        Ok(())
    }

    async fn reach(&self) -> Result<(), ProviderError> {
        let begun = Instant::now();
        loop {
            let outage = self.server.state().outage;
            match outage {
                Some(Outage::Cut) => return Err(unavailable("the server cannot be reached")),
                Some(Outage::Hang) => {}
                Some(Outage::Healed) | None => return Ok(()),
            }
            if begun.elapsed() >= TIME_LIMIT && !self.has(Fault::NoTimeLimit) {
                return Err(unavailable("the server does not answer"));
            }
            sleep(TIME_LIMIT / 10).await;
        }
    }

    fn version(&self, value: &Value) -> Version {
        let number = match self.server.fault {
            Some(Fault::VersionIsConstant) => 1,
            Some(Fault::VersionIsTheTimeInSeconds) => {
                (value.written_at - self.server.started_at).as_secs()
            }
            Some(Fault::VersionIsTheLength) => value.bytes.len() as u64,
            _ => value.version,
        };
        Version::from(number)
    }

    fn look(&self, key: &str) -> Option<VersionedValue> {
        let state = self.server.state();
        let value = state.values.get(&self.key(key))?;
        Some((value.bytes.clone(), self.version(value)))
    }

    fn put(&self, key: &str, mut bytes: Bytes) -> Version {
        if self.has(Fault::CutsLargeValues) {
            bytes.truncate(LARGEST);
        }
        if self.has(Fault::StoresJson)
            && let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes)
        {
            bytes = value.to_string().into();
        }
        let mut state = self.server.state();
        state.last_version += 1;
        let value = Value {
            bytes,
            version: state.last_version,
            written_at: Instant::now(),
        };
        let version = self.version(&value);
        state.values.insert(self.key(key), value);
        state.watches.retain(|_, (_, watch)| watch.is_connected());
        let is_watched = |watched: &str| {
            (watched == key || self.has(Fault::NotifiesOfEveryKey))
                && !self.has(Fault::NeverNotifies)
                && !self.has(Fault::NotifiesBeforeTheWrite)
        };
        let is_cut = state.outage == Some(Outage::Cut);
        let watches = state.watches.values();
        watches
            .filter(|(watched, _)| is_watched(watched) && !is_cut)
            .for_each(|(_, watch)| watch.notify());
        version
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.has(Fault::WatchesForEver) {
            self.server.state().connected.remove(&self.id);
        }
    }
}

#[async_trait]
impl VersionedStore for Client {
    async fn read(&self, key: &str) -> Result<Option<VersionedValue>, ProviderError> {
        let reached = self.request().await;
        let is_empty =
            self.has(Fault::FailedReadIsEmpty) || self.has(Fault::FailedUnconditionalReadIsEmpty);
        if is_empty && reached.is_err() {
            return Ok(None);
        }
        reached?;
        let value = self.look(key);
        if !self.has(Fault::ReadsFromACache) {
            return Ok(value);
        }
        let mut cache = self.cache.lock().unwrap();
        if let Some((cached, at)) = cache.get(key)
            && at.elapsed() < LAG
        {
            return Ok(cached.clone());
        }
        cache.insert(key.to_owned(), (value.clone(), Instant::now()));
        Ok(value)
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
    ) -> Result<Option<Version>, ProviderError> {
        let reached = self.request().await;
        if self.has(Fault::ErrorIsSuccess) && reached.is_err() {
            return Ok(Some(Version::from(u64::MAX)));
        }
        reached?;
        let present = self.look(key).map(|(_, version)| version);
        let is_create = expected == Expected::Absent;
        let is_expected = present.as_ref() == expected.version();
        let writes = match self.server.fault {
            Some(Fault::NeverCompares) => true,
            Some(Fault::CreateOverwrites) if is_create => true,
            Some(Fault::UpdateComparesNothing) if !is_create => present.is_some(),
            _ => is_expected,
        };
        if !writes {
            return Ok(present.filter(|_| self.has(Fault::ConflictIsSuccess)));
        }
        match self.server.fault {
            Some(Fault::ComparesThenWrites) => yield_now().await,
            Some(Fault::UpdateWritesNothing) if !is_create => return Ok(present),
            Some(Fault::WritesLater) => {
                let (server, key) = (self.server.clone(), key.to_owned());
                let version = self.server.state().last_version + 1;
                tokio::spawn(async move {
                    sleep(LAG).await;
                    server.client().put(&key, value);
                });
                return Ok(Some(Version::from(version)));
            }
            Some(Fault::NotifiesBeforeTheWrite) => {
                let watches: Vec<_> = self.server.state().watches.values().cloned().collect();
                watches
                    .iter()
                    .filter(|(watched, _)| watched == key)
                    .for_each(|(_, watch)| watch.notify());
                sleep(LAG / 50).await;
                if self.look(key).map(|(_, version)| version) != present {
                    return Ok(None);
                }
            }
            _ => {}
        }
        Ok(Some(self.put(key, value)))
    }

    async fn read_if_changed(
        &self,
        key: &str,
        known: &Version,
    ) -> Result<ReadIfChanged, ProviderError> {
        if self.has(Fault::AlwaysUnchanged) {
            return Ok(ReadIfChanged::Unchanged);
        }
        if self.has(Fault::FailedUnconditionalReadIsEmpty) {
            self.request().await?;
        }
        let value = match self.read(key).await {
            Err(_) if self.has(Fault::FailedReadIsUnchanged) => {
                return Ok(ReadIfChanged::Unchanged);
            }
            read => read?,
        };
        Ok(match &value {
            None if self.has(Fault::MissingIsUnchanged) => ReadIfChanged::Unchanged,
            Some((_, version)) if version == known => match self.has(Fault::UnchangedIsNone) {
                true => ReadIfChanged::Changed(None),
                false => ReadIfChanged::Unchanged,
            },
            _ => ReadIfChanged::Changed(value),
        })
    }

    fn watch(&self, key: &str, changed: ChangeNotifier) -> bool {
        let watch = (key.to_owned(), changed);
        self.server.state().watches.insert(self.id, watch);
        true
    }
}

fn unavailable(message: &str) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Unavailable, message)
}
