//! A versioned store in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{
    ChangeNotifier, Expected, ProviderError, ProviderErrorKind, ReadIfChanged, Version,
    VersionedStore, VersionedValue,
};

#[derive(Clone, Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) values: HashMap<String, (Bytes, u64)>,
    last_version: u64,
    watchers: Vec<(String, ChangeNotifier)>,
    is_down: bool,
    pub(crate) writes: HashMap<String, u64>,
    /// How many bytes of values were read.
    pub(crate) moved: usize,
}

impl Memory {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.with(|state| state.is_down = is_down);
    }

    fn up(&self) -> Result<(), ProviderError> {
        if self.with(|state| state.is_down) {
            let message = "the store is down";
            return Err(ProviderError::new(ProviderErrorKind::Unavailable, message));
        }
        Ok(())
    }
}

#[async_trait]
impl VersionedStore for Memory {
    async fn read(&self, key: &str) -> Result<Option<VersionedValue>, ProviderError> {
        self.up()?;
        tokio::task::yield_now().await;
        Ok(self.with(|state| {
            let (value, version) = state.values.get(key)?.clone();
            state.moved += value.len();
            Some((value, Version::from(version)))
        }))
    }

    async fn read_if_changed(
        &self,
        key: &str,
        known: &Version,
    ) -> Result<ReadIfChanged, ProviderError> {
        let present = self.with(|state| Some(Version::from(state.values.get(key)?.1)));
        if present.as_ref() == Some(known) {
            self.up()?;
            return Ok(ReadIfChanged::Unchanged);
        }
        Ok(ReadIfChanged::Changed(self.read(key).await?))
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
    ) -> Result<Option<Version>, ProviderError> {
        self.up()?;
        tokio::task::yield_now().await;
        let (version, watchers) = self.with(|state| {
            let present = state.values.get(key).map(|(_, version)| *version);
            let expected = expected.version().map(|version| version.parse().unwrap());
            if present != expected {
                return (None, Vec::new());
            }
            state.last_version += 1;
            let version = state.last_version;
            state.values.insert(key.to_owned(), (value, version));
            *state.writes.entry(key.to_owned()).or_default() += 1;
            state.watchers.retain(|(_, watcher)| watcher.is_connected());
            let watchers = state.watchers.iter().filter(|(watched, _)| watched == key);
            (
                Some(Version::from(version)),
                watchers.map(|(_, watcher)| watcher.clone()).collect(),
            )
        });
        watchers.iter().for_each(ChangeNotifier::notify);
        Ok(version)
    }

    fn watch(&self, key: &str, changed: ChangeNotifier) -> bool {
        self.with(|state| state.watchers.push((key.to_owned(), changed)));
        true
    }
}
