//! [`renew`]: the timer that renews a lease.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flagcache_core::{PollerContext, ProviderError, ProviderErrorKind};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::head::{Content, Record};
use super::leadership::Leadership;
use super::shared::Shared;

/// Renews the lease after each third of its duration, while the poller runs loads. Never acquires a lease. Ends with
/// the poller.
///
/// If the loads of a leader have stopped, its lease is not renewed, and another worker takes over.
pub(super) async fn renew(shared: Arc<Shared>, leadership: Arc<Leadership>, poller: PollerContext) {
    let pause = shared.lease / 3;
    loop {
        leadership.acquired().await;
        while let Some(term) = leadership.term() {
            sleep(pause.saturating_sub(leadership.since_renewal())).await;
            let Some(schedule) = poller.schedule() else {
                return;
            };
            let longest_wait = schedule
                .poll_interval
                .saturating_mul(2)
                .saturating_add(schedule.fetch_backoff);
            // In manual mode loads run only on demand, so only loads renew the lease.
            if schedule.manual || leadership.idle() > longest_wait {
                sleep(pause).await;
                continue;
            }
            if leadership.since_renewal() < pause || leadership.term() != Some(term) {
                continue;
            }
            let renewal = AssertUnwindSafe(shared.renew(&leadership, term)).catch_unwind();
            let renewed = timeout(shared.lease, renewal).await;
            match renewed.map(|renewed| renewed.unwrap_or_else(|_| Err(panicked()))) {
                Ok(Ok(true)) => {
                    if shared.has_refresh_request() {
                        poller.notify_refresh_requested();
                    }
                }
                Ok(Ok(false)) => poller.notify_changed(),
                Ok(Err(error)) => {
                    tracing::debug!(service = shared.keys.service, %error, "the lease was not renewed");
                    sleep(pause / 3).await;
                }
                Err(_) => {
                    tracing::debug!(
                        service = shared.keys.service,
                        "the renewal was not answered"
                    );
                }
            }
        }
    }
}

fn panicked() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Panic, "the store panicked")
}

impl Shared {
    /// Whether a request for a refresh waits for the leader.
    fn has_refresh_request(&self) -> bool {
        let seen = self.last_seen();
        seen.is_some_and(|record| record.head().is_some_and(|head| head.refresh))
    }

    /// Renews the lease of this term. Returns `false` if leadership was lost.
    async fn renew(&self, leadership: &Leadership, term: u64) -> Result<bool, ProviderError> {
        let sent = Instant::now();
        let base = match self.last_seen() {
            Some(record) => record,
            None => self.read_head().await?,
        };
        let first = base.head().map(|head| head.renewal);
        let worker = leadership.worker();
        let ours = |record: &Record| record.led_by(worker).is_some_and(|head| head.term == term);
        let record = self
            .update(base, |record| {
                let head = record.led_by(worker).filter(|head| head.term == term)?;
                // A load of this worker has written the head in the meantime, which renewed the lease.
                (Some(head.renewal) == first).then(|| self.renewed(record, head))
            })
            .await?;
        if ours(&record) {
            leadership.renewed(term, sent);
            return Ok(true);
        }
        let was_current = leadership.term() == Some(term);
        if was_current {
            leadership.lose();
            let by = match &record.content {
                Content::Head(head) => head.leader.as_deref().unwrap_or("none"),
                Content::Absent | Content::Damaged => "none",
            };
            tracing::info!(
                service = self.keys.service,
                leader = by,
                "leadership was lost: the lease was not renewed in time"
            );
        }
        Ok(!was_current)
    }
}
