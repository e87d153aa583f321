//! [`Shared`]: what a store and its providers have in common.

use std::sync::Arc;

use flagcache_core::{FlagDefinitionCacheData, ProviderError};

use super::connection::client::Client;
use super::connection::config::Config;
use super::connection::keys::Keys;
use super::copy::body::Body;
use super::copy::cached::SharedCopy;
use super::copy::fingerprint::Fingerprint;
use super::copy::staging::Staging;

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) client: Client,
    pub(super) copy: SharedCopy,
    pub(super) staging: Staging,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        let keys = Arc::new(Keys::of(&config.service));
        Self {
            client: Client::new(config.clone(), &keys),
            copy: SharedCopy::new(config.patches),
            staging: Staging::default(),
            config,
            keys,
        }
    }

    /// The copy with this fingerprint; reads its body only if this process does not hold it.
    pub(super) async fn read(
        &self,
        seen: &Fingerprint,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.copy.get(seen, self.body()).await
    }

    pub(super) fn body(&self) -> Body<'_> {
        Body {
            client: &self.client,
            keys: &self.keys,
        }
    }
}
