//! The decoded copy that all pollers of one process share.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flagcache_core::{
    FlagDefinitionCacheData, ProviderError, ProviderErrorKind, ReadIfChanged, Version,
};

use super::head::CopyRef;
use super::lock;
use super::shared::Shared;

/// What a slot was found to hold in place of the copy that the head names.
#[derive(Debug)]
pub(super) enum Missing {
    /// Nothing.
    Gone,
    /// Another value: the head changed meanwhile, or someone else wrote there.
    Other,
}

/// A copy in its slot, and what it decodes to.
#[derive(Debug)]
struct Held {
    copy: CopyRef,
    version: Version,
    data: FlagDefinitionCacheData,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    held: Mutex<Option<Arc<Held>>>,
    /// Held while a slot is read and decoded, so that the pollers of one process read a change once.
    reading: tokio::sync::Mutex<()>,
}

impl Copies {
    pub(super) fn hold(&self, copy: CopyRef, version: Version, data: FlagDefinitionCacheData) {
        *lock(&self.held) = Some(Arc::new(Held {
            copy,
            version,
            data,
        }));
    }

    /// The data, if it is held.
    pub(super) fn find(&self, copy: &CopyRef) -> Option<FlagDefinitionCacheData> {
        self.held(copy).map(|held| held.data.clone())
    }

    fn held(&self, copy: &CopyRef) -> Option<Arc<Held>> {
        lock(&self.held).clone().filter(|held| held.copy == *copy)
    }
}

impl Shared {
    /// The copy that the head names, from memory or from its slot.
    pub(super) async fn copy(
        &self,
        copy: &CopyRef,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        if let Some(data) = self.copies.find(copy) {
            return Ok(Ok(data));
        }
        let _reading = self.copies.reading.lock().await;
        if let Some(data) = self.copies.find(copy) {
            return Ok(Ok(data));
        }
        self.take_in(copy, self.read_slot(copy.slot).await?).await
    }

    /// The same, but for the slot itself, which another program may have changed.
    pub(super) async fn copy_in_place(
        &self,
        copy: &CopyRef,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        let Some(held) = self.copies.held(copy) else {
            return self.copy(copy).await;
        };
        let key = self.keys.slot(copy.slot);
        let read = self.store.read_if_changed(key, &held.version).await;
        match read.map_err(|error| self.cannot("read the copy", key, error))? {
            ReadIfChanged::Unchanged => Ok(Ok(held.data.clone())),
            ReadIfChanged::Changed(value) => self.take_in(copy, value).await,
        }
    }

    async fn take_in(
        &self,
        copy: &CopyRef,
        value: Option<(Bytes, Version)>,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        let Some((bytes, version)) = value else {
            return Ok(Err(Missing::Gone));
        };
        if !copy.is_of(&bytes) {
            return Ok(Err(Missing::Other));
        }
        let data = match self.copies.find(copy) {
            Some(data) => data,
            None => FlagDefinitionCacheData::decode(bytes).await?,
        };
        self.copies.hold(copy.clone(), version, data.clone());
        Ok(Ok(data))
    }

    pub(super) fn damaged_copy(&self, copy: &CopyRef) -> ProviderError {
        ProviderError::new(
            ProviderErrorKind::InvalidData,
            format!(
                "`{}` does not hold the copy that `{}` names; the leader's next load puts it right",
                self.keys.slot(copy.slot),
                self.keys.head
            ),
        )
    }
}
