//! The timer that renews the lock. It never acquires it.

use std::sync::Arc;
use std::time::Instant;

use flagcache_core::PollerContext;

use super::super::connection::client::Client;
use super::super::connection::keys::Keys;
use super::super::scripts;
use super::lease::Leadership;

/// Renews the lock each third of its TTL, while the poller runs loads. Ends with the poller.
///
/// Because renewal is independent of the poll interval, the lock can have a TTL of seconds, so that a dead leader is
/// replaced soon. The lock of a leader whose loads have stopped is not renewed, and another worker takes over.
pub(in crate::redis) async fn renew(
    lead: Arc<Leadership>,
    client: Client,
    keys: Arc<Keys>,
    poller: PollerContext,
) {
    loop {
        lead.won().await;
        while lead.current().is_some() {
            tokio::time::sleep(lead.life() / 3).await;
            let Some(schedule) = poller.schedule() else {
                return;
            };
            let patience = schedule.poll_interval * 2 + schedule.fetch_backoff;
            // In manual mode no load comes by itself, so leadership lasts one TTL from the load that acquired it.
            if schedule.manual || lead.idle() > patience {
                break;
            }
            let Some(lease) = lead.current() else { break };
            let sent = Instant::now();
            match client
                .run(
                    "renew the lock",
                    scripts::renew(&keys, &lease.token, lead.life()),
                )
                .await
            {
                Ok(true) => lead.renew(&lease, sent),
                Ok(false) if lead.lose_token(&lease.token) => {
                    tracing::info!(
                        lock = keys.lock,
                        "leadership was lost: the lock is gone or held by another worker"
                    );
                    poller.notify_changed();
                }
                // A load has made a new attempt since, or the server did not answer: the next renewal will show.
                Ok(false) => {}
                Err(error) => tracing::debug!(
                    lock = keys.lock,
                    error = error.to_string(),
                    "the lock was not renewed"
                ),
            }
        }
    }
}
