//! [`listen`]: receives notifications on a separate connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::ChangeNotifier;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Error};

use super::client::Client;

/// The channel, shared by all services: the payload is the key that was written.
pub(super) const CHANNEL: &str = "flagcache";

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause between attempts behind a pooler that does not support `LISTEN`.
const PAUSE_AT_A_POOLER: Duration = Duration::from_secs(60);
/// The timeout of the listener's notification to itself.
const PROOF: Duration = Duration::from_secs(2);

/// Why listening on a connection ended.
enum End {
    /// The store was dropped.
    Unwanted,
    /// The server did not answer in time.
    Silent,
    /// The notification to itself did not arrive: a pooler assigns each statement to another connection.
    Deaf,
    Closed,
}

/// Listens until the store is dropped. Pauses are jittered, so that the workers of a fleet do not all reconnect at the
/// same moment, and grow until a connection has lasted.
pub(super) async fn listen(client: Arc<Client>, key: String, changed: ChangeNotifier) {
    let mut pause = FIRST_PAUSE;
    let mut warned = false;
    while changed.is_connected() {
        let begun = Instant::now();
        match once(&client, &key, &changed).await {
            Ok(End::Unwanted) => return,
            Ok(End::Deaf) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        endpoint = client.endpoint,
                        "no notifications arrive, probably because of a pooler in transaction mode; changes are seen \
                         at the next tick. Use the address of the server itself, or set `listen` to false"
                    );
                }
                wait(PAUSE_AT_A_POOLER, &changed).await;
                continue;
            }
            Ok(End::Closed | End::Silent) => {}
            Err(error) => {
                tracing::debug!(endpoint = client.endpoint, %error, "cannot listen for changes");
            }
        }
        if begun.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        wait(pause.mul_f64(0.5 + fastrand::f64() / 2.0), &changed).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn wait(pause: Duration, changed: &ChangeNotifier) {
    let end = Instant::now() + pause;
    while changed.is_connected() && Instant::now() < end {
        sleep(pause.min(Duration::from_secs(1))).await;
    }
}

/// Listens on one connection until it ends.
async fn once(client: &Client, key: &str, changed: &ChangeNotifier) -> Result<End, Error> {
    let limit = client.response_timeout;
    let connect = client.config.connect(client.tls.clone());
    let Ok(connected) = timeout(limit, connect).await else {
        return Ok(End::Silent);
    };
    let (listener, mut connection) = connected?;
    let proof = format!("{:016x}", fastrand::u64(..));
    let subscribe = async {
        let listen = format!("LISTEN {CHANNEL}");
        let Ok(listening) = timeout(limit, listener.batch_execute(&listen)).await else {
            return Ok(End::Silent);
        };
        listening?;
        // Sent on another connection: a pooler would forward a connection's own notification, but no others.
        let notify = format!("SELECT pg_notify('{CHANNEL}', $1)");
        if let Err(error) = client.query(&notify, &[(&proof, Type::TEXT)], "").await {
            tracing::debug!(endpoint = client.endpoint, %error, "cannot verify that notifications arrive");
            return Ok(End::Silent);
        }
        sleep(PROOF).await;
        // The notification has not arrived. If the connection still answers, a pooler is in between.
        let answers = timeout(limit, listener.batch_execute("SELECT 1")).await;
        match answers {
            Ok(answered) => answered.map(|()| End::Deaf),
            Err(_) => Ok(End::Silent),
        }
    };
    let mut subscribe = std::pin::pin!(subscribe);
    let mut is_proven = false;
    let mut look = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = &mut subscribe, if !is_proven => return ended,
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                None => return Ok(End::Closed),
                Some(Err(error)) => return Err(error),
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if notification.payload() == proof {
                        is_proven = true;
                        // A change may have been missed before this connection listened.
                        changed.notify();
                    } else if notification.payload() == key {
                        changed.notify();
                    }
                }
                Some(Ok(_)) => {}
            },
            _ = look.tick() => {
                if !changed.is_connected() {
                    return Ok(End::Unwanted);
                }
            }
        }
    }
}
