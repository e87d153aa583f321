//! A poller between a scripted provider and a scripted source.

use std::ops::Deref;
use std::time::Duration;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionPoller, FlagDefinitionPollerBuilder};
use flagcache_providers::testing::{ProviderMethod, ScriptedProvider, ScriptedSource};
use tokio::time::{sleep, timeout};

use super::{body, millis, secs};

/// Sets the two fakes up before the poller starts, and inspects them afterwards.
///
/// The API holds the set `a` under the ETag `"a"`; the provider leads on an empty store.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) provider: ScriptedProvider,
    pub(crate) api: ScriptedSource,
}

/// A started [`Rig`].
pub(crate) struct Worker {
    pub(crate) rig: Rig,
    pub(crate) poller: FlagDefinitionPoller,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let api = ScriptedSource::new();
        api.serve(body("a"), Some("\"a\""));
        Self {
            provider: ScriptedProvider::new(),
            api,
        }
    }

    /// A follower whose store holds this.
    pub(crate) fn following(data: FlagDefinitionCacheData) -> Self {
        let rig = Self::new();
        rig.provider.decision().always(false);
        rig.provider.read().always(Some(data));
        rig
    }

    /// A follower whose store is empty.
    pub(crate) fn following_nothing() -> Self {
        let rig = Self::new();
        rig.provider.decision().always(false);
        rig
    }

    /// Source and provider, ticks every 30 s, and the defaults for the rest.
    pub(crate) fn builder(&self) -> FlagDefinitionPollerBuilder {
        FlagDefinitionPoller::builder()
            .source(self.api.clone())
            .flag_definition_cache_provider(self.provider.clone())
            .poll_interval(secs(30))
    }

    pub(crate) fn start(&self) -> Worker {
        self.start_with(|builder| builder)
    }

    pub(crate) fn start_with(
        &self,
        configure: impl FnOnce(FlagDefinitionPollerBuilder) -> FlagDefinitionPollerBuilder,
    ) -> Worker {
        let poller = configure(self.builder()).start().unwrap();
        Worker {
            rig: self.clone(),
            poller,
        }
    }
}

impl Deref for Worker {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Worker {
    /// Waits until `count` loads have ended in all.
    pub(crate) async fn loads(&self, count: u64) {
        let enough = async {
            // Finely at first, so that what should happen at once is seen at once; coarsely for what takes a tick.
            let mut steps = (0..).map(|step| if step < 50 { millis(1) } else { millis(100) });
            while self.poller.status().counters.loads < count {
                sleep(steps.next().unwrap_or_default()).await;
            }
        };
        if timeout(secs(3600), enough).await.is_err() {
            panic!(
                "{} loads within an hour, not {count}: {:?}",
                self.poller.status().counters.loads,
                self.methods()
            );
        }
    }

    /// Waits for the end of the load that runs, or of the next one.
    pub(crate) async fn next_load(&self) {
        self.loads(self.poller.status().counters.loads + 1).await;
    }

    /// The key of the one flag in memory.
    pub(crate) fn key(&self) -> Option<String> {
        key_of(self.poller.definitions()?)
    }

    /// What was called since the attachment.
    pub(crate) fn methods(&self) -> Vec<ProviderMethod> {
        self.provider
            .methods()
            .into_iter()
            .filter(|method| *method != ProviderMethod::Attached)
            .collect()
    }

    /// The keys of the sets that were published.
    pub(crate) fn published(&self) -> Vec<String> {
        self.provider
            .published()
            .into_iter()
            .filter_map(key_of)
            .collect()
    }

    /// The time between the beginnings of one request and the next.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let requests = self.api.requests();
        requests
            .windows(2)
            .map(|pair| pair[1].started - pair[0].started)
            .collect()
    }

    /// Ends the poller and checks what it promises to a provider and to an API.
    pub(crate) async fn finish(self) {
        self.poller.shutdown().await.unwrap();
        self.provider.assert_contract_kept();
        assert_eq!(self.provider.count(ProviderMethod::Shutdown), 1);
        assert_eq!(self.api.overlaps(), 0, "two requests at the same time");
    }
}

fn key_of(set: FlagDefinitionCacheData) -> Option<String> {
    set.flags().next().map(|flag| flag.key().to_owned())
}
