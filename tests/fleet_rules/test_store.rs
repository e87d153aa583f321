//! [`TestStore`]: what the rules need of a store.

use std::time::Duration;

#[cfg(feature = "redis")]
use flagcache_test_support::RedisServer;

use crate::process::Worker;
use crate::worker::Store;

/// A store of a test's own, empty at first. Gone when dropped.
pub(crate) trait TestStore {
    const NAME: &'static str;
    /// The shortest time for which the lock of a killed leader stays.
    const LOCK_TTL: Duration;

    fn new() -> Self;

    /// What the workers open. `lock_ttl` applies if the lock has a TTL.
    fn store(&self, lock_ttl: Duration) -> Store;

    /// The copy as it lies in the store.
    fn copy(&self) -> Option<Vec<u8>>;

    /// Writes a copy directly, as a foreign writer does.
    fn put(&self, copy: &[u8]);

    /// Fills the store with much that is not ours, where that is possible.
    fn add_unrelated_data(&self) {}

    /// Takes the lock from a paused leader, where no TTL does so.
    fn take_leadership_away(&self);

    /// Gives the lock to a holder that neither loads nor ends.
    fn block_leadership(&self, leader: &mut Worker);
}

/// A store whose servers can fail.
pub(crate) trait Failing: TestStore {
    /// How long its servers need to find each other, once all of them run.
    const GATHERS_IN: Duration;

    /// Loses the copy only.
    fn evict(&self);

    /// Loses all that it holds.
    fn flush(&self);

    /// The server that holds all is killed, and started again at once, empty.
    fn restart(&mut self);

    /// All servers die.
    fn kill(&mut self);

    /// All servers run again, empty.
    fn start_again(&mut self);

    /// All servers are paused.
    fn hang(&mut self);

    /// All servers resume.
    fn resume(&mut self);
}

/// A store with a replica that takes over from the primary.
#[cfg(feature = "redis")]
pub(crate) trait Redundant: TestStore {
    /// The primary at the start.
    fn primary(&mut self) -> &mut RedisServer;

    /// The replica at the start.
    fn replica(&self) -> &RedisServer;
}
