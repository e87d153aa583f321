//! The decoded copy that all pollers of one process share.

use parking_lot::Mutex;
use std::sync::Arc;

use flagcache_core::{FlagDefinitionCacheData, Version};

use super::head::CopyRef;
use super::lock;

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
pub(super) struct Held {
    copy: CopyRef,
    pub(super) version: Version,
    pub(super) data: FlagDefinitionCacheData,
}

#[derive(Debug, Default)]
pub(super) struct Copies {
    held: Mutex<Option<Arc<Held>>>,
    /// Held while a slot is read and decoded, so that the pollers of one process read a change once.
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

    /// The data, if it is held.
    pub(super) fn find(&self, copy: &CopyRef) -> Option<FlagDefinitionCacheData> {
        self.held(copy).map(|held| held.data.clone())
    }

    pub(super) fn held(&self, copy: &CopyRef) -> Option<Arc<Held>> {
        lock(&self.held).clone().filter(|held| held.copy == *copy)
    }
}
