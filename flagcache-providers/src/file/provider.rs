//! One poller's end of the store.

use std::panic::resume_unwind;
use std::sync::Arc;

use flagcache_core::{FetchOutcome, FlagDefinitionCacheData, PollerLink, ProviderError, ProviderErrorKind};
use flagcache_derive::flag_cache_provider;
use tokio::task::spawn_blocking;

use super::seat::Seat;
use super::store::{Shared, Unreceived};

/// What a [`FileStore`](super::FileStore) gives to one poller. Dropping it frees the lead, as a shutdown does.
#[derive(Debug)]
pub struct FileProvider {
    store: Arc<Shared>,
    seat: Arc<Seat>,
}

impl FileProvider {
    pub(super) fn new(store: Arc<Shared>) -> Self {
        let seat = Arc::new(Seat::new(Arc::clone(store.files())));
        Self { store, seat }
    }

    /// Runs `call` where it may wait for a disk. A call whose future is dropped runs to its end all the same; what it does
    /// is harmless then, because every write asks for the lead anew.
    async fn blocking<T, F>(&self, call: F) -> Result<T, ProviderError>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &Seat) -> Result<T, ProviderError> + Send + 'static,
    {
        let running = self.seat.begin_call()?;
        let (store, seat) = (Arc::clone(&self.store), Arc::clone(&self.seat));
        off_runtime(move || {
            let _running = running;
            call(&store, &seat)
        })
        .await
    }
}

async fn off_runtime<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    match spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => {
                let message = "the runtime is shutting down";
                Err(ProviderError::new(ProviderErrorKind::Unavailable, message).with_source(error))
            }
        },
    }
}

#[flag_cache_provider(crate = flagcache_core)]
impl FileProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.blocking(|store, seat| store.decide(seat)).await
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.blocking(|store, seat| store.read(seat)).await
    }

    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        let data = data.clone();
        self.blocking(move |store, seat| store.publish(seat, &data)).await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.store.leave(&self.seat);
        let seat = Arc::clone(&self.seat);
        off_runtime(move || {
            seat.close();
            Ok(())
        })
        .await
    }

    async fn stored_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.blocking(|store, seat| store.read(seat)).await
    }

    async fn on_flag_definitions_not_received(&self, outcome: FetchOutcome<'_>) -> Result<(), ProviderError> {
        let outcome = Unreceived {
            failure: outcome.failure(),
            data: outcome.data().cloned(),
            give_up_lead_for: outcome.give_up_lead_for(),
            fleet_failure: outcome.fleet_failure(),
        };
        self.blocking(move |store, seat| store.not_received(seat, &outcome)).await
    }

    fn on_poller_attached(&self, link: PollerLink) {
        self.store.attach(&self.seat, link);
    }
}

impl Drop for FileProvider {
    fn drop(&mut self) {
        self.store.leave(&self.seat);
        self.seat.close_soon();
    }
}
