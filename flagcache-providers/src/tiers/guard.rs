//! One tier's call under a limit and a panic boundary, so that the next tier has its turn.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use flagcache_core::{ProviderError, ProviderErrorKind};
use futures_util::FutureExt;
use tokio::time::timeout;

pub(super) async fn fenced<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let (kind, message) = match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => return answer,
        Ok(Err(_)) => (ProviderErrorKind::Panic, "a tier panicked".to_owned()),
        Err(_) => (
            ProviderErrorKind::Timeout,
            format!("a tier did not answer within {limit:?}, its share of the time"),
        ),
    };
    Err(ProviderError::new(kind, message))
}
