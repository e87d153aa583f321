//! The rules on the Redis store, and those that depend on a server.

mod keys;
mod mixed;
mod peer;
mod sdks;
mod shapes;
mod tiers;

use std::time::Duration;

use flagcache_test_support::RedisServer;

use crate::process::Worker;
use crate::rules::rules_for;
use crate::test_store::{Failing, TestStore};
use crate::worker::Store;

rules_for!(Server, with servers that fail);

pub(crate) const DATA: &str = "posthog:flags:checkout";
pub(crate) const LOCK: &str = "posthog:flags:checkout:lock";

pub(crate) struct Server(pub(crate) RedisServer);

impl TestStore for Server {
    const NAME: &'static str = "Redis";
    /// The shortest that the default response timeout allows.
    const LOCK_TTL: Duration = Duration::from_secs(3);

    fn new() -> Self {
        Self(RedisServer::start())
    }

    fn store(&self, lock_ttl: Duration) -> Store {
        Store::Redis {
            url: self.0.url(),
            lock_ttl,
        }
    }

    fn copy(&self) -> Option<Vec<u8>> {
        self.0.run(&format!("GET {DATA}"))
    }

    fn put(&self, copy: &[u8]) {
        self.0
            .run_args::<()>(&["SET", DATA, &String::from_utf8_lossy(copy)]);
    }

    fn add_unrelated_data(&self) {
        let script = "for key = 1, 20000 do redis.call('SET', 'other:' .. key, 'x', 'PX', 500 + key % 5000) end";
        self.0.run_args::<()>(&["EVAL", script, "0"]);
    }

    fn take_leadership_away(&self) {
        // Its TTL ends it.
    }

    fn block_leadership(&self, leader: &mut Worker) {
        leader.kill();
        self.0
            .run::<()>(&format!("SET {LOCK} flagcache:blocked:1 PX 60000"));
    }
}

impl Failing for Server {
    const GATHERS_IN: Duration = Duration::ZERO;

    fn evict(&self) {
        self.0.run(&format!("DEL {DATA}"))
    }

    fn flush(&self) {
        self.0.run("FLUSHALL")
    }

    fn restart(&mut self) {
        self.0.kill();
        self.0.start_again();
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn start_again(&mut self) {
        self.0.start_again();
    }

    fn hang(&mut self) {
        self.0.hang();
    }

    fn resume(&mut self) {
        self.0.resume();
    }
}
