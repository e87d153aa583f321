//! The background thread of a store. A lock does not notify and a watch can fail, so the thread checks both ten times a
//! second, and at the watcher's notifications.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::watch::Watch;

const ROUND: Duration = Duration::from_millis(100);
const WATCH_RETRY: Duration = Duration::from_secs(10);

/// Starts the thread. It ends when the last poller of the store is detached.
pub(super) fn start(store: &Arc<Shared>) -> io::Result<()> {
    let store = Arc::downgrade(store);
    thread::Builder::new()
        .name("flagcache-file".to_owned())
        .spawn(move || maintain(&store))
        .map(drop)
}

fn maintain(store: &Weak<Shared>) {
    let mut watching = Watching::default();
    loop {
        let Some(store) = store.upgrade() else { return };
        if !store.has_pollers() {
            return;
        }
        watching.keep_up(&store);
        if store.maintain() {
            watching.missed_a_change(&store);
        }
        drop(store);
        // Jitter, so that the workers of a fleet do not all try at once.
        thread::sleep(ROUND.mul_f64(0.75 + 0.5 * fastrand::f64()));
    }
}

/// The thread's watch, and when to retry if there is none.
#[derive(Default)]
struct Watching {
    watch: Option<Watch>,
    next_try: Option<Instant>,
    warned: bool,
}

impl Watching {
    fn keep_up(&mut self, store: &Arc<Shared>) {
        let is_due = self.next_try.is_none_or(|at| at <= Instant::now());
        // Without a folder there is nothing to watch yet.
        if store.watches() && self.watch.is_none() && is_due && store.files().folder.is_dir() {
            self.start(store);
        }
    }

    /// The folder was removed and created again, or the notification was slightly late. Renew the watch in both cases,
    /// before the old one is dropped, so that nothing is missed in between.
    fn missed_a_change(&mut self, store: &Arc<Shared>) {
        if !store.files().folder.is_dir() {
            self.watch = None;
        } else if self.watch.is_some() {
            self.start(store);
        }
    }

    fn start(&mut self, store: &Arc<Shared>) {
        let weak_store = Arc::downgrade(store);
        let on_change = move || {
            if let Some(store) = weak_store.upgrade() {
                store.maintain();
            }
        };
        match Watch::start(store.files(), Arc::new(on_change)) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                self.watch = None;
                self.next_try = Some(Instant::now() + WATCH_RETRY);
                if !std::mem::replace(&mut self.warned, true) {
                    let folder = store.files().folder.display();
                    tracing::warn!(%folder, %error, "cannot watch the cache folder; changes are seen within 0.1 s instead");
                }
            }
        }
    }
}
