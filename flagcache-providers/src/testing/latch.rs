//! A gate that a test opens by hand.

use tokio::sync::watch;

/// Holds calls back until the test opens it: a call that is in flight for exactly as long as the test needs.
///
/// Clones are the same gate. Once open it stays open.
#[derive(Clone, Debug)]
pub struct Latch {
    open: watch::Sender<bool>,
}

impl Latch {
    /// A closed gate.
    pub fn new() -> Self {
        Self {
            open: watch::Sender::new(false),
        }
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns once the gate is open. Cancel safe.
    pub async fn passed(&self) {
        let mut state = self.open.subscribe();
        // Cannot fail: `self` keeps the sender alive.
        let _ = state.wait_for(|open| *open).await;
    }
}

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}
