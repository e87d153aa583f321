//! [`NotificationListener`]: passes a server's notifications to the pollers.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flagcache_core::PollerContext;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Before the name of the sender, in a message that requests a refresh.
const REFRESH: &str = "refresh:";

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What each store on a server needs besides its queries: it keeps the [`PollerContext`] of each worker, keeps a
/// listening connection open while a worker is attached, and passes the server's notifications to all workers except
/// their sender.
///
/// Cheap to clone; all clones share one state. A provider calls [`attach`](Self::attach) in `on_poller_attached`, and
/// [`detach`](Self::detach) in `shutdown` and when it is dropped. The listening task calls
/// [`notify_all`](Self::notify_all) when it is connected, because it may have missed a change, and
/// [`on_message`](Self::on_message) for each notification, which should carry the name of the worker that caused it.
///
/// ```
/// use flagcache_core::{FlagDefinitionCacheData, PollerContext, ProviderError};
/// use flagcache_derive::flag_cache_provider;
/// use flagcache_providers::NotificationListener;
/// # struct Server;
/// # struct Messages;
/// # impl Server { async fn subscribe(&self) -> Result<Messages, std::io::Error> { Ok(Messages) } }
/// # impl Messages { async fn next(&mut self) -> Option<Vec<u8>> { None } }
/// # type Copy = Option<FlagDefinitionCacheData>;
///
/// struct Provider {
///     worker: String, // NotificationListener::worker_name()
///     listener: NotificationListener,
/// }
///
/// #[flag_cache_provider(crate = flagcache_core)]
/// impl Provider {
///     fn on_poller_attached(&self, poller: PollerContext) {
///         let listener = self.listener.clone();
///         self.listener.attach(&self.worker, poller, move || {
///             let listener = listener.clone();
///             async move {
///                 let mut messages = Server.subscribe().await?; // a connection of its own
///                 listener.notify_all();
///                 while let Some(sender) = messages.next().await {
///                     listener.on_message(&sender);
///                 }
///                 Ok::<_, std::io::Error>(()) // ended: called again after a pause
///             }
///         });
///     }
///
///     async fn shutdown(&self) {
///         self.listener.detach(&self.worker);
///     }
/// #   fn should_fetch_flag_definitions(&self) -> bool { true }
/// #   fn get_flag_definitions(&self) -> Copy { None }
/// #   fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) {}
/// }
///
/// impl Drop for Provider {
///     fn drop(&mut self) {
///         self.listener.detach(&self.worker);
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct NotificationListener {
    workers: Arc<Mutex<HashMap<String, Attached>>>,
}

#[derive(Debug)]
struct Attached {
    poller: PollerContext,
    listening: AbortHandle,
}

impl NotificationListener {
    /// A listener without workers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A random name for one worker, unique in the whole fleet. It identifies the owner of a lease and the sender of a
    /// notification: two workers of the same name would both lead, and ignore each other's notifications.
    pub fn worker_name() -> String {
        format!("{:016x}", fastrand::u64(..))
    }

    /// Adds a worker, and keeps `listen` running on the current runtime until the worker is detached.
    ///
    /// `listen` connects, subscribes, and passes notifications on until the connection ends. After each end it is
    /// called again, with a backoff of 25 ms to 2 s, which has jitter, so that a fleet does not overload a server that
    /// recovers, and is reset after a connection that lasted. Its errors are logged as `debug`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime; `on_poller_attached` is called inside one.
    pub fn attach<F, L, E>(&self, worker: &str, poller: PollerContext, listen: F)
    where
        F: Fn() -> L + Send + 'static,
        L: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let listening = tokio::spawn(keep_listening(poller.clone(), listen)).abort_handle();
        let before = self
            .lock()
            .insert(worker.to_owned(), Attached { poller, listening });
        if let Some(before) = before {
            before.listening.abort();
        }
    }

    /// Removes a worker and ends its listening connection. Does nothing if the worker is not attached.
    pub fn detach(&self, worker: &str) {
        // Dropped after the lock is released: the end of a task runs foreign code.
        let attached = self.lock().remove(worker);
        if let Some(attached) = attached {
            attached.listening.abort();
        }
    }

    /// The worker's [`PollerContext`]; `None` if it is not attached.
    pub fn poller(&self, worker: &str) -> Option<PollerContext> {
        self.lock()
            .get(worker)
            .map(|attached| attached.poller.clone())
    }

    /// The notification by which `worker` requests a refresh of the leader.
    pub fn refresh_message(worker: &str) -> String {
        format!("{REFRESH}{worker}")
    }

    /// Handles a notification. If it is the name of the worker that caused it, all other workers load; if it is a
    /// [`refresh_message`](Self::refresh_message), the leader asks the API.
    pub fn on_message(&self, message: &[u8]) {
        let requested_by = message.strip_prefix(REFRESH.as_bytes());
        let sender = requested_by.unwrap_or(message);
        for (worker, attached) in self.lock().iter() {
            match requested_by {
                _ if worker.as_bytes() == sender => {}
                Some(_) => attached.poller.notify_refresh_requested(),
                None => attached.poller.notify_changed(),
            }
        }
    }

    /// Makes all workers load, because notifications may have been missed.
    pub fn notify_all(&self) {
        self.lock()
            .values()
            .for_each(|attached| attached.poller.notify_changed());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Attached>> {
        self.workers.lock()
    }
}

/// Calls `listen` again and again, until the task is aborted or the poller is gone.
async fn keep_listening<F, L, E>(poller: PollerContext, listen: F)
where
    F: Fn() -> L,
    L: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let mut pause = FIRST_PAUSE;
    while poller.is_connected() {
        let began = Instant::now();
        let ended = listen().await;
        if let Err(error) = &ended {
            tracing::debug!(%error, "not listening for notifications");
        }
        // The connection lasted, however it ended: reset the backoff.
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use flagcache_core::{PollerContextOwner, PollerSchedule};

    use super::*;

    fn poller() -> PollerContextOwner {
        PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(30)))
    }

    async fn is_notified(poller: &PollerContextOwner) -> bool {
        tokio::time::timeout(Duration::from_millis(1), poller.changed())
            .await
            .is_ok()
    }

    async fn never() -> Result<(), Infallible> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn all_but_the_sender_are_notified() {
        let (listener, one, two) = (NotificationListener::new(), poller(), poller());
        listener.attach("one", one.context(), never);
        listener.attach("two", two.context(), never);
        listener.on_message(b"one");
        assert!(!is_notified(&one).await && is_notified(&two).await);
        listener.notify_all();
        assert!(is_notified(&one).await && is_notified(&two).await);
        listener.on_message(NotificationListener::refresh_message("one").as_bytes());
        let requested = tokio::time::timeout(Duration::from_millis(1), two.refresh_requested());
        assert!(requested.await.is_ok() && !is_notified(&two).await);
        listener.detach("two");
        listener.notify_all();
        assert!(is_notified(&one).await && !is_notified(&two).await);
        assert!(listener.poller("one").is_some() && listener.poller("two").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_listens_again_after_longer_and_longer_pauses_until_it_is_detached() {
        let (listener, owner, calls) = (
            NotificationListener::new(),
            poller(),
            Arc::new(AtomicU32::new(0)),
        );
        let count = Arc::clone(&calls);
        listener.attach("one", owner.context(), move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err("refused") }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        let in_a_minute = calls.load(Ordering::Relaxed);
        assert!(
            (30..=70).contains(&in_a_minute),
            "{in_a_minute} attempts in a minute"
        );
        listener.detach("one");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(calls.load(Ordering::Relaxed), in_a_minute);
    }
}
