//! What a rule must know of a store.

use std::time::Duration;

use crate::process::WorkerProcess;
use crate::worker::Store;

/// A store of a test's own, empty at first. Gone when dropped.
pub(crate) trait Place {
    const NAME: &'static str;
    /// How long the lead of a killed leader lives on, at the shortest.
    const LOCK_LIFE: Duration;

    fn new() -> Self;

    /// What the workers open. `lock_life` is how long a lead lives on, where it has a life.
    fn store(&self, lock_life: Duration) -> Store;

    /// The copy as it lies in the store.
    fn copy(&self) -> Option<Vec<u8>>;

    /// Writes a copy past all rules, as a wrong hand does.
    fn put(&self, copy: &[u8]);

    /// Fills the store with much that is not ours, where that is possible.
    fn crowd(&self) {}

    /// A paused leader loses the lead: by this, or because its lock's life ends.
    fn take_lead_away(&self);

    /// Lets the lead be held by one who neither loads nor dies.
    fn petrify(&self, leader: &mut WorkerProcess);
}
