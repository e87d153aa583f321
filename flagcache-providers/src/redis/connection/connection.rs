//! [`Connection`], an open one, and [`CurrentConnection`], the one that a store uses now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::ConnectionInfo;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// No connection has this epoch.
pub(in crate::redis) const NO_EPOCH: u64 = 0;

/// An open connection.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Connection {
    pub(in crate::redis) epoch: u64,
    pub(in crate::redis) server: Arc<ConnectionInfo>,
    pub(in crate::redis) connection: MultiplexedConnection,
    /// Whether it has ended.
    pub(in crate::redis) ended: Arc<AtomicBool>,
    /// With RESP2, notifications come on a second connection, which this task reads.
    pub(in crate::redis) _reader: Option<Arc<AbortOnDrop>>,
}

/// Ends a task with the last connection that holds it.
#[derive(Debug)]
pub(in crate::redis) struct AbortOnDrop(pub(in crate::redis) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connection that a store uses now, if there is one.
#[derive(Debug)]
pub(in crate::redis) struct CurrentConnection {
    current: watch::Sender<Option<Connection>>,
    /// Whether notifications may have been missed since all listeners were last notified.
    missed: AtomicBool,
}

impl CurrentConnection {
    pub(in crate::redis) fn none() -> Self {
        Self {
            current: watch::Sender::new(None),
            missed: AtomicBool::new(false),
        }
    }

    pub(in crate::redis) fn get(&self) -> Option<Connection> {
        self.current.borrow().clone()
    }

    pub(in crate::redis) fn epoch(&self) -> Option<u64> {
        self.current.borrow().as_ref().map(|current| current.epoch)
    }

    pub(in crate::redis) fn set(&self, connection: Connection) {
        let (epoch, ended) = (connection.epoch, Arc::clone(&connection.ended));
        self.current.send_replace(Some(connection));
        // It may have ended before it was set.
        if ended.load(Ordering::SeqCst) {
            self.remove(epoch);
        }
    }

    /// Removes the connection of this epoch, unless a newer one has replaced it.
    pub(in crate::redis) fn remove(&self, epoch: u64) {
        // Dropped after the lock is released, because foreign code may run with it.
        let mut removed = None;
        self.current.send_if_modified(|current| {
            removed = current.take_if(|current| current.epoch == epoch);
            if removed.is_some() {
                self.mark_missed();
            }
            removed.is_some()
        });
    }

    pub(in crate::redis) fn mark_missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    pub(in crate::redis) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    pub(in crate::redis) fn clear_missed(&self) {
        self.missed.store(false, Ordering::Relaxed);
    }

    /// Waits until there is no connection.
    pub(in crate::redis) async fn closed(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.current.subscribe().wait_for(Option::is_none).await;
    }
}
