//! One provider, one poller.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::FlagDefinitionCacheProvider;

/// The addresses of the providers that are attached to a poller of this process.
static ATTACHED: Mutex<Option<HashSet<usize>>> = Mutex::new(None);

fn attached() -> MutexGuard<'static, Option<HashSet<usize>>> {
    ATTACHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That a provider belongs to a poller. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Attachment {
    address: usize,
}

impl Attachment {
    /// `None` if the same instance is attached already: two pollers would take each other's decisions for their own.
    pub(crate) fn new(provider: &Arc<dyn FlagDefinitionCacheProvider>) -> Option<Self> {
        let address = Arc::as_ptr(provider).cast::<()>().addr();
        let is_free = attached().get_or_insert_default().insert(address);
        // Made only then: dropping one frees the address.
        is_free.then(|| Self { address })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(addresses) = attached().as_mut() {
            addresses.remove(&self.address);
        }
    }
}
