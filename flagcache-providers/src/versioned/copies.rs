//! [`Copies`]: the decoded copy that all pollers of a process share.

use parking_lot::Mutex;
use std::sync::Arc;

use flagcache_core::{FlagDefinitionCacheData, Version};

use super::head::CopyRef;
use super::lock;

/// Why a slot does not hold the copy that the head names.
#[derive(Debug)]
pub(super) enum Missing {
    /// The slot is empty.
    Gone,
    /// The slot holds another value: the head has changed since it was read, or another program wrote to the slot.
    Other,
}

/// A decoded copy, and the version of its slot.
#[derive(Debug)]
pub(super) struct Held {
    copy: CopyRef,
    pub(super) version: Version,
    pub(super) data: FlagDefinitionCacheData,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    held: Mutex<Option<Arc<Held>>>,
    /// Locked while a slot is read and decoded, so that the pollers of a process read a change only once.
    pub(super) reading: tokio::sync::Mutex<()>,
}

impl Copies {
    pub(super) fn hold(&self, copy: CopyRef, version: Version, data: FlagDefinitionCacheData) {
        *lock(&self.held) = Some(Arc::new(Held {
            copy,
            version,
            data,
        }));
    }

    /// The decoded copy, if it is in memory.
    pub(super) fn find(&self, copy: &CopyRef) -> Option<FlagDefinitionCacheData> {
        self.held(copy).map(|held| held.data.clone())
    }

    /// The copy that was last read or written, whichever it is.
    pub(super) fn last(&self) -> Option<FlagDefinitionCacheData> {
        lock(&self.held).as_ref().map(|held| held.data.clone())
    }

    pub(super) fn held(&self, copy: &CopyRef) -> Option<Arc<Held>> {
        lock(&self.held).clone().filter(|held| held.copy == *copy)
    }
}
