//! From the service's channel to the pollers, and the watch that keeps the channel open.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flagcache_core::PollerContext;
use tokio::time::Instant;

use super::client::Client;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pollers that are told of changes, by the name of their worker.
#[derive(Debug, Default)]
pub(in crate::redis) struct Listeners {
    pollers: Mutex<Vec<(String, PollerContext)>>,
}

impl Listeners {
    pub(in crate::redis) fn add(&self, worker: &str, poller: PollerContext) {
        let mut pollers = self.lock();
        pollers.retain(|(_, poller)| poller.is_connected());
        pollers.push((worker.to_owned(), poller));
    }

    pub(in crate::redis) fn remove(&self, worker: &str) {
        self.lock().retain(|(listener, _)| listener != worker);
    }

    /// A notification of `sender` came: all others load.
    pub(in crate::redis) fn heard(&self, sender: &[u8]) {
        for (worker, poller) in self.lock().iter() {
            if worker.as_bytes() != sender {
                poller.notify_changed();
            }
        }
    }

    /// Notifications may have been missed: all load.
    pub(in crate::redis) fn notify_all(&self) {
        for (_, poller) in self.lock().iter() {
            poller.notify_changed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, PollerContext)>> {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the connection open, and with it the subscription, until it is dropped.
///
/// The pauses are jittered, so that a fleet does not fall upon a server that comes back, and only a connection that has
/// lasted resets them.
pub(in crate::redis) async fn keep_open(link: Client) {
    let mut pause = FIRST_PAUSE;
    loop {
        let tried = Instant::now();
        let opened = link.connect().await;
        if opened.is_ok() {
            link.closed().await;
        }
        if opened.is_ok() && tried.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
