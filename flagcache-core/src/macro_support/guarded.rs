//! The guard, for the bench of what it costs.

use std::sync::Arc;
use std::time::Duration;

use crate::poller::attachment::Attachment;
use crate::poller::guard::Guard;
use crate::{FlagDefinitionCacheProvider, ProviderError};

/// A provider that is called as the poller calls it.
#[allow(missing_debug_implementations, reason = "a guard has none")]
pub struct Guarded(Arc<Guard>);

impl Guarded {
    /// `None` if a poller has this instance.
    pub fn new(provider: Arc<dyn FlagDefinitionCacheProvider>, limit: Duration) -> Option<Self> {
        let attachment = Attachment::new(&provider)?;
        Some(Self(Guard::new(provider, attachment, limit)))
    }

    /// One call under the limit and behind the panic boundary.
    pub async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.0.should_fetch().await
    }
}
