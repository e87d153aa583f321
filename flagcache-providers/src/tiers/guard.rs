//! [`guarded_tier`]: a tier's call with timeout and panic isolation, so that the next tier gets its turn.

use std::time::Duration;

use flagcache_core::macro_support::{Interrupted, guarded};
use flagcache_core::{ProviderError, ProviderErrorKind};

pub(super) async fn guarded_tier<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    guarded(timeout, || call)
        .await
        .unwrap_or_else(|interrupted| {
            Err(match interrupted {
                Interrupted::TimedOut => ProviderError::new(
                    ProviderErrorKind::Timeout,
                    format!("a tier did not answer within {timeout:?}, its share of the provider timeout"),
                ),
                Interrupted::Panicked(message) => ProviderError::new(
                    ProviderErrorKind::Panic,
                    format!("a tier panicked: {message}"),
                ),
            })
        })
}
