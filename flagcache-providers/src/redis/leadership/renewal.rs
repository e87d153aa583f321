//! The timer that renews a lead, and never acquires one.

use std::sync::Arc;
use std::time::Instant;

use flagcache_core::PollerContext;

use super::super::connection::client::Client;
use super::super::keys::Keys;
use super::super::scripts;
use super::lease::Leadership;

/// Renews the lease each third of its life, for as long as the poller runs loads. Ends with the poller.
///
/// Renewing apart from the poll is what lets a lock live for seconds at any poll interval, so that a dead leader is
/// replaced soon. A leader whose loads have stopped is as good as dead: it is not renewed, and another takes over.
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
            // In manual mode no load comes by itself, so a lead lasts one life from the load that won it.
            if schedule.manual || lead.idle() > patience {
                break;
            }
            let Some(lease) = lead.current() else { break };
            let sent = Instant::now();
            match client
                .run(
                    "renew the lead",
                    scripts::renew(&keys, &lease.token, lead.life()),
                )
                .await
            {
                Ok(true) => lead.renew(&lease, sent),
                Ok(false) if lead.lose_token(&lease.token) => {
                    tracing::info!(
                        lock = keys.lock,
                        "the lead was lost: the lock is gone or another's"
                    );
                    poller.notify_changed();
                }
                // A load has bid since under a new number, or the server did not answer: the next turn tells.
                Ok(false) => {}
                Err(error) => tracing::debug!(
                    lock = keys.lock,
                    error = error.to_string(),
                    "the lead was not renewed"
                ),
            }
        }
    }
}
